//! Scenes: senders, names, and who has heard what.

use tallycast::engine::{Act, Body};

use super::bench::{Bench, NEW, cast, join, leave, listeners, say};
use super::{DM, ECHO, Engine, FULL_USERS, KEPT, LOG, POLL, ROOM, SAVED_LOG, TABLE};

/// If somebody is there.
fn tell(text: &str) -> Act {
    Act::Append { body: Body::Text(text.into()), from: Some("小明".into()), echo: true, only_if_heard: true }
}

pub(super) fn a_sender_is_left_out_unless_it_wants_its_echo<E: Engine>() {
    let mut bench: Bench<E> = Bench::new(9);
    bench.send(1, &[("l", LOG, NEW)]);
    let append = |echo, from: Option<&str>| Act::Append {
        body: Body::Text("x".into()),
        from: from.map(Into::into),
        echo,
        only_if_heard: false,
    };
    let rows = [
        (0, 0, append(true, None), "1: x"),
        (0, 0, append(false, None), "2: x not c0.100000000"),
        (2, 1, append(false, Some("小明")), "3: x by 小明 not c2.200000001"),
        (2, 1, append(true, Some("小明")), "4: x by 小明"),
    ];
    for (core, who, act, line) in rows {
        let lines = bench.send_as(who, core, &[("l", LOG, act)]);
        assert_eq!(lines[0], format!("1 l {line}"));
        assert_eq!(lines.len(), 2);
    }
}

pub(super) fn who_is_not_there_is_absent_and_nothing_is_kept<E: Engine>() {
    let mut bench: Bench<E> = Bench::new(1);
    let told = |bench: &mut Bench<E>| {
        let lines = bench.send(0, &[("dm/1", DM, tell("x"))]);
        let (_, result) = lines.last().expect("an answer").split_once(" dm/1 ").expect("a channel");
        (lines.len(), result.to_owned())
    };
    let absent = (1, "absent: the name of someone who is there".to_owned());
    // Nor does a channel begin, which would take the only place.
    assert_eq!(told(&mut bench), absent);
    assert!(bench.send(0, &[("dm/2", DM, say("x"))])[0].ends_with("accepted 1"));
    bench.wait(20_000);
    // Somebody listens without a name; on another core; and has gone.
    bench.send(1, &[("dm/1", DM, NEW), ("dm/1", DM, listeners(1))]);
    assert_eq!(told(&mut bench), (2, "accepted 1".into()));
    bench.send(2, &[("dm/1", DM, listeners(1))]);
    bench.send(1, &[("dm/1", DM, listeners(0))]);
    assert_eq!(told(&mut bench), (2, "accepted 2".into()));
    bench.send(2, &[("dm/1", DM, listeners(0))]);
    assert_eq!(told(&mut bench), absent);
    // Somebody has a name, and is not counted yet.
    bench.send(2, &[("dm/1", DM, join("a", 1))]);
    assert_eq!(told(&mut bench), (2, "accepted 3".into()));
    bench.send(2, &[("dm/1", DM, leave("a", 0))]);
    assert_eq!(told(&mut bench), absent);
    bench.send(2, &[("dm/1", DM, join("a", 1))]);
    bench.send(2, &[("dm/1", DM, Act::Detach)]);
    assert_eq!(told(&mut bench), absent);
    bench.wait(1000);
    let lines = bench.send(3, &[("dm/1", DM, NEW)]);
    assert!(lines[0].ends_with("attached 3, 0 listen, recent 1-1 2-2 3-3"), "{lines:?}");
    // Where nothing can be said, that is what is wrong.
    for (channel, class) in [("p", POLL), ("e", ECHO), ("t", TABLE), ("p", POLL)] {
        assert!(bench.send(0, &[(channel, class, tell("x"))])[0].contains("wrong_type"), "{channel}");
        bench.send(0, &[(channel, class, NEW)]);
        assert!(bench.send(0, &[(channel, class, tell("x"))])[0].contains("wrong_type"), "{channel}");
    }
}

pub(super) fn what_nobody_heard_is_for_the_first_who_joins<E: Engine>() {
    let mut bench: Bench<E> = Bench::new(9);
    let joins = |bench: &mut Bench<E>, user, count, at, heard| {
        let lines = bench.send(0, &[("l", LOG, join(user, count))]);
        let expected = format!("0 #{} l is there at {at}, heard {heard}", bench.tickets);
        assert_eq!(lines, [expected]);
    };
    bench.send(0, &[("l", LOG, say("1")), ("l", LOG, say("2")), ("l", LOG, listeners(1))]);
    // Being counted is not to have heard; the first who joins has.
    joins(&mut bench, "a", 1, 2, 0);
    joins(&mut bench, "b", 1, 2, 2);
    joins(&mut bench, "a", 2, 2, 2);
    // A name is enough to hear.
    bench.send(0, &[("l", LOG, listeners(0)), ("l", LOG, say("3"))]);
    joins(&mut bench, "b", 2, 3, 3);
    bench.send(0, &[("l", LOG, leave("a", 0)), ("l", LOG, leave("b", 0)), ("l", LOG, say("4")), ("l", LOG, say("5"))]);
    joins(&mut bench, "a", 1, 5, 3);
    // So is a listener without one; and what comes while it listens counts as heard, with all before.
    bench.send(0, &[("l", LOG, leave("a", 0)), ("l", LOG, say("6"))]);
    bench.send(1, &[("l", LOG, listeners(2))]);
    bench.send(0, &[("l", LOG, say("7"))]);
    bench.send(1, &[("l", LOG, listeners(0))]);
    bench.send(0, &[("l", LOG, say("8"))]);
    joins(&mut bench, "a", 1, 8, 7);
    // Who is refused has heard nothing.
    let mut bench: Bench<E> = Bench::new(9);
    for user in 0..FULL_USERS {
        bench.send(0, &[("l", LOG, join(&format!("{user}"), 1))]);
    }
    assert!(bench.send(1, &[("l", LOG, say("1")), ("l", LOG, join("x", 1))])[1].contains(" full: "));
    // A tally and a table show what they are: nothing is kept.
    for (channel, class, act) in [("p", POLL, cast("a")), ("t", TABLE, super::tables::write("1.a", "x"))] {
        let lines = bench.send(0, &[(channel, class, act), (channel, class, join("a", 1))]);
        assert!(lines[1].ends_with("is there at 1, heard 1"), "{lines:?}");
    }
}

pub(super) fn what_nobody_heard_outlives_idling<E: Engine>() {
    let mut bench: Bench<E> = Bench::new(9);
    let epoch = |bench: &mut Bench<E>, acts: &[Act]| {
        let ops: Vec<_> = acts.iter().map(|act| ("k", KEPT, act.clone())).collect();
        bench.send(0, &ops);
        bench.epoch
    };
    let first = epoch(&mut bench, &[say("1"), NEW, Act::Detach]);
    bench.wait(99_999);
    // It waits for who joins; heard, it goes as others do, although its timer stood later.
    assert_eq!(epoch(&mut bench, &[NEW, join("a", 1), leave("a", 0), Act::Detach]), first);
    bench.wait(9_999);
    assert_eq!(epoch(&mut bench, &[NEW, Act::Detach]), first);
    bench.wait(10_000);
    let second = epoch(&mut bench, &[NEW, say("2"), Act::Detach]);
    assert_ne!(second, first);
    bench.wait(100_000);
    assert_ne!(epoch(&mut bench, &[NEW]), second, "not for ever");
}

pub(super) fn a_name_comes_once_and_goes_once<E: Engine>() {
    let mut bench: Bench<E> = Bench::new(9);
    bench.send(0, &[("p", POLL, NEW), ("p", POLL, cast("b"))]);
    bench.wait(1000);
    // Before its core is attached, and behind that.
    let lines = bench.send(1, &[("p", POLL, join("小明", 1)), ("p", POLL, NEW), ("p", POLL, join("bob", 1))]);
    assert_eq!(
        lines,
        [
            "0 p joined 小明",
            "1 #3 p is there at 1, heard 1",
            "1 #4 p attached 1 [0, 1, 0], 0 listen, recent 1-1, 小明",
            "0 p joined bob",
            "1 p joined bob",
            "1 #5 p is there at 1, heard 1",
        ]
    );
    // With votes around it, and from a core that is not attached.
    let ops =
        [("p", POLL, cast("a")), ("p", POLL, join("小明", 1)), ("p", POLL, cast("a")), ("p", POLL, join("eve", 1))];
    assert_eq!(
        bench.send(2, &ops),
        [
            "0 p 2-3: a=1 a=2 [2, 1, 0]",
            "1 p 2-3: a=1 a=2 [2, 1, 0]",
            "2 #6 p accepted 2",
            "2 #7 p is there at 2, heard 2",
            "2 #8 p accepted 3",
            "0 p joined eve",
            "1 p joined eve",
            "2 #9 p is there at 3, heard 3",
        ]
    );
    // Numbers are absolute; the last one to go on the last core is told, once.
    assert_eq!(bench.send(1, &[("p", POLL, join("小明", 5)), ("p", POLL, leave("小明", 1))]).len(), 1);
    assert_eq!(bench.send(1, &[("p", POLL, leave("小明", 0))]), [""; 0]);
    assert_eq!(bench.send(1, &[("p", POLL, leave("小明", 0)), ("p", POLL, leave("eve", 0))]), [""; 0]);
    assert_eq!(bench.send(2, &[("p", POLL, leave("小明", 0))]), ["0 p left 小明", "1 p left 小明"]);
    // Who never joined cannot come by leaving.
    assert_eq!(bench.send(2, &[("p", POLL, leave("小明", 0)), ("p", POLL, leave("小明", 3))]), [""; 0]);
    // A core takes its names with it, in their order; not those that are elsewhere too.
    bench.send(2, &[("p", POLL, join("bob", 1)), ("p", POLL, join("x", 1))]);
    assert_eq!(
        bench.send(2, &[("p", POLL, Act::Detach)]),
        ["0 p left eve", "1 p left eve", "0 p left x", "1 p left x"]
    );
    assert_eq!(bench.send(1, &[("p", POLL, Act::Detach)]), ["0 p left bob"]);
    let lines = bench.send(3, &[("p", POLL, NEW)]);
    assert!(lines[0].ends_with("recent 1-1 2-3"), "{lines:?}");
    // In the order of the names.
    let ops = ["c", "明", "A"].map(|user| ("p", POLL, join(user, 1)));
    bench.send(3, &ops);
    assert!(bench.send(3, &[("p", POLL, NEW)])[0].ends_with(", A c 明"));
}

pub(super) fn names_are_bounded<E: Engine>() {
    let mut bench: Bench<E> = Bench::new(9);
    let joins = |bench: &mut Bench<E>, core, user: &str, count| {
        let lines = bench.send(core, &[("l", LOG, join(user, count))]);
        lines[0].ends_with(" full: limits.users_max")
    };
    for user in 0..FULL_USERS {
        assert!(!joins(&mut bench, 0, &format!("{user}"), 1));
    }
    assert!(joins(&mut bench, 1, "x", 1));
    assert!(!joins(&mut bench, 1, "0", 1), "it is there already");
    bench.send(0, &[("l", LOG, leave("0", 0))]);
    assert!(joins(&mut bench, 1, "x", 1), "it is still there on the other core");
    bench.send(1, &[("l", LOG, leave("0", 0))]);
    assert!(!joins(&mut bench, 1, "x", 2), "the number counts, not that the first was refused");
    assert!(joins(&mut bench, 1, "0", 1));
    assert!(bench.send(1, &[("l", LOG, NEW)])[0].ends_with(", 1 2 x"));
}

pub(super) fn a_channel_with_names_stays<E: Engine>() {
    let mut bench: Bench<E> = Bench::new(1);
    bench.send(0, &[("dm/1", DM, say("x")), ("dm/1", DM, join("a", 1))]);
    let first = bench.epoch;
    bench.wait(100_000);
    let lines = bench.send(1, &[("dm/1", DM, join("a", 1)), ("dm/2", DM, say("x"))]);
    assert_eq!(lines, ["1 #3 dm/1 is there at 1, heard 1", "1 #4 dm/2 full: limits.channels_max"]);
    assert_eq!(bench.epoch, first);
    bench.send(0, &[("dm/1", DM, leave("a", 0))]);
    bench.wait(100_000);
    bench.send(1, &[("dm/1", DM, leave("a", 0))]);
    bench.wait(9_999);
    assert!(bench.send(0, &[("dm/2", DM, say("x"))])[0].contains("full"), "left 9.999 s ago");
    bench.wait(1);
    assert!(bench.send(0, &[("dm/2", DM, say("x"))])[0].ends_with("accepted 1"));
}

pub(super) fn who_leaves_begins_nothing<E: Engine>() {
    let mut bench: Bench<E> = Bench::new(1);
    let ops = [("room/1", ROOM, leave("a", 0)), ("dm/1", DM, leave("a", 2)), ("e", ECHO, leave("a", 0))];
    assert_eq!(bench.send(0, &ops), [""; 0]);
    let lines =
        bench.send(0, &[("room/2", ROOM, super::bench::EDIT_NOTHING), ("t", TABLE, super::bench::EDIT_NOTHING)]);
    assert!(lines[0].contains(" wrong_type") && lines[1].contains(" unknown_row"), "{lines:?}");
    assert!(bench.send(0, &[("room/3", ROOM, NEW)])[0].contains(" attached 0"));
}

pub(super) fn names_of_durable_channels_wait<E: Engine>() {
    let mut bench: Bench<E> = Bench::new(9);
    bench.send(0, &[("s", SAVED_LOG, NEW)]);
    // With nothing to save there is nothing to wait for.
    assert_eq!(bench.send(0, &[("s", SAVED_LOG, join("a", 1))]), ["0 s joined a", "0 #2 s is there at 0, heard 0"]);
    assert_eq!(bench.send(0, &[("s", SAVED_LOG, say("x")), ("s", SAVED_LOG, leave("a", 0))]), [""; 0]);
    assert_eq!(bench.send(1, &[("s", SAVED_LOG, say("y"))]), [""; 0]);
    assert_eq!(bench.send(1, &[("s", SAVED_LOG, join("b", 1)), ("s", SAVED_LOG, NEW)]), [""; 0]);
    assert_eq!(bench.send(0, &[("s", SAVED_LOG, join("c", 1)), ("s", SAVED_LOG, tell("z"))]), [""; 0]);
    assert_eq!(bench.save(), ["0 s 1: x", "0 #3 s accepted 1", "0 s left a"]);
    assert_eq!(
        bench.save(),
        [
            "0 s 2: y",
            "1 #5 s accepted 2",
            "0 s joined b",
            "1 #6 s is there at 2, heard 1",
            "1 #7 s attached 2, 0 listen, recent 1-1 2-2, b",
        ]
    );
    let told = ["0 s joined c", "1 s joined c", "0 #8 s is there at 2, heard 2"];
    let lines = bench.save();
    assert_eq!(lines[..3], told);
    assert_eq!(lines[3..], ["0 s 3: z by 小明", "1 s 3: z by 小明", "0 #9 s accepted 3"]);
}
