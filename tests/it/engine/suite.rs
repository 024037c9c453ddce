//! The behaviour suite: what goes in, and the mail that comes out, written as lines.

use tallycast::base::hash::Seed;
use tallycast::base::limits::OPS_IN_FLIGHT_MAX;
use tallycast::engine::{Act, ClassId, Position};

use super::bench::{Bench, NEW, attach, cast, listeners, say};
pub(super) use super::people::*;
pub(super) use super::tables::*;
use super::{ECHO, Engine, LOG, POLL, ROOM, SAVED, SAVED_LOG, specs};

/// One test for each function below.
macro_rules! run_on {
    ($engine:ident as $name:ident) => {
        $crate::engine::suite::run_on!($engine as $name:
            a_publication_comes_before_the_outcome_and_votes_are_merged
            answers_stand_between_the_publications_they_belong_to
            an_attach_in_a_batch_sees_what_was_before_it
            who_detached_gets_nothing_more
            resuming_brings_what_was_missed_or_all_there_is
            a_batch_that_comes_twice_counts_once
            what_is_durable_waits_and_the_rest_does_not
            too_much_that_waits_is_busy
            refusals
            listeners_are_told_at_once_then_paced
            listeners_of_durable_channels_keep_their_order
            idle_channels_go_and_begin_anew
            channels_that_come_and_go_are_bounded
            epochs_are_never_zero_and_never_twice
            a_sender_is_left_out_unless_it_wants_its_echo
            who_is_not_there_is_absent_and_nothing_is_kept
            what_nobody_heard_is_for_the_first_who_joins
            what_nobody_heard_outlives_idling
            a_name_comes_once_and_goes_once
            names_are_bounded
            a_channel_with_names_stays
            who_leaves_begins_nothing
            names_of_durable_channels_wait
            a_table_changes_one_publication_at_a_time
            refusals_of_tables
            durable_tables_wait
            who_edits_is_told_at_once_then_paced
            a_mark_ends_with_its_row_and_with_its_core
            marks_are_bounded
            #[cfg(feature = "faults")] a_panic_ends_its_channel_and_no_other
        );
    };
    ($engine:ident as $name:ident: $($(#[$only:meta])? $test:ident)*) => {
        mod $name {
            use super::$engine;
            $($(#[$only])? #[test] fn $test() { $crate::engine::suite::$test::<$engine>(); })*
            #[test] fn random_ops() { $crate::engine::random::run::<$engine>(); }
        }
    };
}
pub(super) use run_on;

pub(super) fn a_publication_comes_before_the_outcome_and_votes_are_merged<E: Engine>() {
    let mut bench: Bench<E> = Bench::new(9);
    assert_eq!(bench.send(0, &[("p", POLL, NEW)]), ["0 #1 p attached 0 [0, 0, 0], 0 listen, recent"]);
    bench.send(1, &[("p", POLL, NEW), ("l", LOG, NEW)]);
    let ops = [("p", POLL, cast("明")), ("p", POLL, cast("a")), ("l", LOG, say("你好")), ("p", POLL, cast("明"))];
    // From a core that is attached, and from one that is not.
    assert_eq!(
        bench.send(0, &ops),
        [
            "0 p 1-3: 明=1 a=1 明=2 [1, 0, 2]",
            "1 p 1-3: 明=1 a=1 明=2 [1, 0, 2]",
            "0 #4 p accepted 1",
            "0 #5 p accepted 2",
            "1 l 1: 你好",
            "0 #6 l accepted 1",
            "0 #7 p accepted 3",
        ]
    );
    assert_eq!(
        bench.send(2, &[("p", POLL, cast("b"))]),
        ["0 p 4-4: b=1 [1, 1, 2]", "1 p 4-4: b=1 [1, 1, 2]", "2 #8 p accepted 4"]
    );
}

pub(super) fn answers_stand_between_the_publications_they_belong_to<E: Engine>() {
    let mut bench: Bench<E> = Bench::new(9);
    bench.send(0, &[("l", LOG, NEW)]);
    assert_eq!(
        bench.send(0, &[("l", LOG, say("x")), ("l", LOG, cast("a")), ("l", LOG, say("y"))]),
        [
            "0 l 1: x",
            "0 #2 l accepted 1",
            "0 #3 l wrong_type: a message that fits the channel's kind",
            "0 l 2: y",
            "0 #4 l accepted 2"
        ]
    );
}

pub(super) fn an_attach_in_a_batch_sees_what_was_before_it<E: Engine>() {
    let mut bench: Bench<E> = Bench::new(9);
    bench.send(1, &[("p", POLL, NEW)]);
    let ops = [("p", POLL, cast("a")), ("p", POLL, NEW), ("p", POLL, cast("b")), ("p", POLL, NEW)];
    assert_eq!(
        bench.send(0, &ops),
        [
            "1 p 1-1: a=1 [1, 0, 0]",
            "0 #2 p accepted 1",
            "0 #3 p attached 1 [1, 0, 0], 0 listen, recent 1-1",
            "1 p 2-2: b=1 [1, 1, 0]",
            "0 p 2-2: b=1 [1, 1, 0]",
            "0 #4 p accepted 2",
            "0 #5 p attached 2 [1, 1, 0], 0 listen, recent 1-1 2-2",
        ]
    );
}

pub(super) fn who_detached_gets_nothing_more<E: Engine>() {
    let mut bench: Bench<E> = Bench::new(9);
    bench.send(1, &[("p", POLL, NEW)]);
    let ops = [("p", POLL, NEW), ("p", POLL, cast("a")), ("p", POLL, Act::Detach)];
    assert_eq!(bench.send(0, &ops).len(), 4);
    let lines = ["1 p 2-2: b=1 [1, 1, 0]", "0 #5 p accepted 2"];
    assert_eq!(bench.send(0, &[("p", POLL, cast("b"))]), lines);
    assert!(bench.send(0, &[("p", POLL, Act::Detach), ("no", POLL, Act::Detach)]).is_empty());
}

pub(super) fn resuming_brings_what_was_missed_or_all_there_is<E: Engine>() {
    let mut bench: Bench<E> = Bench::new(9);
    for _ in 0..5 {
        bench.send(0, &[("p", POLL, cast("a")), ("p", POLL, cast("a"))]);
    }
    let elsewhere = Some(Position { epoch: tallycast::engine::Epoch(!bench.epoch), revision: 10 });
    // Three publications are kept: 5-6, 7-8, 9-10.
    let rows = [
        (None, " 5-6 7-8 9-10"),
        (bench.at(3), " 5-6 7-8 9-10"),
        (bench.at(4), " 5-6 7-8 9-10"),
        (bench.at(5), " 5-6 7-8 9-10"),
        (bench.at(6), " 7-8 9-10"),
        (bench.at(9), " 9-10"),
        (bench.at(10), ""),
        (bench.at(11), " 5-6 7-8 9-10"),
        (elsewhere, " 5-6 7-8 9-10"),
    ];
    for (since, recent) in rows {
        let lines = bench.send(1, &[("p", POLL, attach(since))]);
        let ticket = bench.tickets;
        let expected = format!("1 #{ticket} p attached 10 [10, 0, 0], 0 listen, recent{recent}");
        assert_eq!(lines, [expected], "{since:?}");
    }
}

pub(super) fn a_batch_that_comes_twice_counts_once<E: Engine>() {
    let mut bench: Bench<E> = Bench::new(9);
    let old = bench.make(0, &[("p", POLL, cast("a")), ("l", LOG, say("x"))]);
    let new = bench.make(0, &[("p", POLL, cast("b"))]);
    let other = bench.make(1, &[("p", POLL, cast("a"))]);
    let rows = [(&old, 2), (&old, 0), (&new, 1), (&old, 0), (&new, 0), (&other, 1), (&other, 0)];
    for (row, (batch, pieces)) in rows.into_iter().enumerate() {
        let mail = bench.engine.batch(batch.clone(), bench.now);
        assert_eq!(mail.len(), pieces, "row {row}");
    }
    let lines = bench.send(0, &[("p", POLL, NEW)]);
    assert_eq!(lines, ["0 #5 p attached 3 [2, 1, 0], 0 listen, recent 1-1 2-2 3-3"]);
}

pub(super) fn what_is_durable_waits_and_the_rest_does_not<E: Engine>() {
    let mut bench: Bench<E> = Bench::new(9);
    // With nothing to save there is nothing to wait for.
    assert_eq!(bench.send(0, &[("s", SAVED, NEW)]).len(), 1);
    let ops = [("s", SAVED, cast("a")), ("p", POLL, cast("a")), ("s", SAVED, cast("x"))];
    assert_eq!(bench.send(0, &ops), ["0 #3 p accepted 1"]);
    assert_eq!(bench.send(1, &[("s", SAVED, NEW), ("t", SAVED_LOG, say("x"))]), [""; 0]);
    assert_eq!(bench.send(1, &[("s", SAVED, cast("b"))]), [""; 0]);
    // No change, but it shows one that is not saved yet.
    assert_eq!(bench.send(2, &[("s", SAVED, NEW)]), [""; 0]);
    assert_eq!(bench.save(), ["0 s 1-1: a=1 [1, 0, 0]", "0 #2 s accepted 1", "0 #4 s unknown_option: a, b, 明"]);
    assert_eq!(bench.save(), ["1 #5 s attached 1 [1, 0, 0], 0 listen, recent 1-1", "1 #6 t accepted 1"]);
    assert_eq!(
        bench.save(),
        [
            "0 s 2-2: b=1 [1, 1, 0]",
            "1 s 2-2: b=1 [1, 1, 0]",
            "1 #7 s accepted 2",
            "2 #8 s attached 2 [1, 1, 0], 0 listen, recent 1-1 2-2"
        ]
    );
    assert!(bench.engine.save().is_none());
    assert_eq!(bench.send(2, &[("s", SAVED, NEW)]).len(), 1);
}

pub(super) fn too_much_that_waits_is_busy<E: Engine>() {
    let mut bench: Bench<E> = Bench::new(9);
    let (mut sent, mut busy) = (0, 0);
    while busy == 0 {
        assert!(sent <= 16, "it must end");
        let lines = bench.send(0, &vec![("s", SAVED, cast("a")); OPS_IN_FLIGHT_MAX / 2]);
        assert!(lines.iter().all(|line| line.ends_with("s busy: try again later")));
        (sent, busy) = (sent + 1, lines.len());
    }
    assert!(sent > 2, "one core's ops in flight have room");
    assert_eq!(bench.send(1, &[("s", SAVED, NEW), ("p", POLL, NEW)]).len(), 2);
    let mut released = 0;
    loop {
        let lines = bench.save();
        if lines.is_empty() {
            break;
        }
        assert!(lines.iter().all(|line| line.contains("accepted")));
        released += lines.len();
    }
    assert_eq!(released + busy, sent * OPS_IN_FLIGHT_MAX / 2);
    bench.send(1, &[("s", SAVED, cast("a"))]);
    let revision = released + 1;
    let lines = bench.save();
    assert!(lines[0].ends_with(&format!("accepted {revision}")), "{lines:?}");
    // Few, but large.
    let large = say(&"x".repeat(1 << 20));
    let lines = bench.send(0, &vec![("t", SAVED_LOG, large); 100]);
    assert!(!lines.is_empty() && lines.len() < 50, "{} of 100 are busy", lines.len());
    assert_eq!(bench.save().len() + lines.len(), 100);
}

pub(super) fn refusals<E: Engine>() {
    let mut bench: Bench<E> = Bench::new(1);
    bench.send(0, &[("room/1", ROOM, NEW)]);
    let rows = [
        ("p", POLL, cast("c"), "unknown_option: a, b, 明"),
        ("p", POLL, cast(""), "unknown_option: a, b, 明"),
        ("p", POLL, say("a"), "wrong_type: a message that fits the channel's kind"),
        ("l", LOG, cast("a"), "wrong_type: a message that fits the channel's kind"),
        ("e", ECHO, NEW, "wrong_type: a message that fits the channel's kind"),
        ("?", ClassId(999), NEW, "wrong_type: a message that fits the channel's kind"),
        ("room/2", ROOM, NEW, "full: limits.channels_max"),
        ("room/2", ROOM, cast("a"), "full: limits.channels_max"),
    ];
    for (channel, class, act, refusal) in rows {
        let lines = bench.send(0, &[(channel, class, act)]);
        assert_eq!(lines, [format!("0 #{} {channel} {refusal}", bench.tickets)]);
    }
    let silent = [("room/2", ROOM, listeners(1)), ("e", ECHO, listeners(1)), ("e", ECHO, Act::Detach)];
    assert!(bench.send(0, &silent).is_empty());
    // Nothing was counted, and what was refused is no change.
    let lines = bench.send(0, &[("p", POLL, NEW)]);
    assert!(lines[0].ends_with("p attached 0 [0, 0, 0], 0 listen, recent"), "{lines:?}");
}

pub(super) fn listeners_are_told_at_once_then_paced<E: Engine>() {
    let mut bench: Bench<E> = Bench::new(9);
    let told = |bench: &mut Bench<E>, core, count| bench.send(core, &[("p", POLL, listeners(count))]);
    bench.send(0, &[("p", POLL, NEW)]);
    assert_eq!(told(&mut bench, 0, 1), ["0 p listeners 1"]);
    let lines = bench.send(1, &[("p", POLL, NEW), ("p", POLL, listeners(2))]);
    assert_eq!(lines, ["1 #3 p attached 0 [0, 0, 0], 1 listen, recent"]);
    assert!(bench.wait(100).is_empty());
    assert!(told(&mut bench, 1, 7).is_empty());
    assert!(bench.wait(99).is_empty());
    assert_eq!(bench.wait(1), ["0 p listeners 8", "1 p listeners 8"]);
    // Back to what all know: nothing to tell, except to who came in between.
    assert!(told(&mut bench, 1, 6).is_empty());
    let lines = bench.send(2, &[("p", POLL, NEW)]);
    assert_eq!(lines, ["2 #7 p attached 0 [0, 0, 0], 7 listen, recent"]);
    assert!(told(&mut bench, 1, 7).is_empty());
    assert_eq!(bench.wait(200), ["2 p listeners 8"]);
    // After a pause, at once; the last of a batch counts; a core takes its listeners with it.
    bench.wait(1000);
    let ops = [("p", POLL, listeners(3)), ("p", POLL, listeners(2))];
    assert_eq!(bench.send(0, &ops), ["0 p listeners 9", "1 p listeners 9", "2 p listeners 9"]);
    bench.wait(1000);
    assert!(told(&mut bench, 0, 2).is_empty());
    assert_eq!(bench.send(1, &[("p", POLL, Act::Detach)]), ["0 p listeners 2", "2 p listeners 2"]);
    assert_eq!(bench.wait(1000), [""; 0]);
}

pub(super) fn listeners_of_durable_channels_keep_their_order<E: Engine>() {
    let mut bench: Bench<E> = Bench::new(9);
    let ops = [("s", SAVED, cast("a")), ("s", SAVED, NEW), ("s", SAVED, listeners(1))];
    bench.send(0, &ops);
    bench.send(1, &[("s", SAVED, NEW)]);
    bench.send(1, &[("s", SAVED, listeners(1))]);
    bench.wait(200);
    let mut lines = bench.save();
    lines.extend(bench.wait(400));
    // Whatever was told when: each core ends with the last number.
    for core in ["0 ", "1 "] {
        let last = lines.iter().rfind(|line| line.starts_with(core) && line.contains("listen"));
        let last = last.expect("each core was told");
        assert!(last.ends_with("listeners 2") || last.contains(" 2 listen"), "{lines:?}");
    }
}

pub(super) fn idle_channels_go_and_begin_anew<E: Engine>() {
    let mut bench: Bench<E> = Bench::new(1);
    let epoch = |bench: &mut Bench<E>, core, act| {
        bench.send(core, &[("room/1", ROOM, act)]);
        bench.epoch
    };
    let first = epoch(&mut bench, 0, cast("a"));
    bench.wait(9_999);
    assert_eq!(epoch(&mut bench, 0, cast("a")), first, "used 9.999 s ago");
    bench.wait(9_999);
    assert_eq!(epoch(&mut bench, 0, NEW), first);
    bench.wait(100_000);
    assert_eq!(epoch(&mut bench, 1, NEW), first, "attached");
    epoch(&mut bench, 0, Act::Detach);
    bench.wait(100_000);
    assert_eq!(epoch(&mut bench, 1, cast("a")), first, "one is still attached");
    epoch(&mut bench, 1, Act::Detach);
    bench.wait(9_999);
    bench.wait(1);
    // There is room for another now, and the old one begins anew when that is gone.
    assert!(bench.send(0, &[("room/2", ROOM, cast("a"))])[0].ends_with("room/2 accepted 1"));
    bench.wait(10_000);
    let since = Some(Position { epoch: tallycast::engine::Epoch(first), revision: 2 });
    let lines = bench.send(0, &[("room/1", ROOM, attach(since))]);
    assert!(lines[0].ends_with("room/1 attached 0 [0, 0, 0], 0 listen, recent"), "{lines:?}");
    assert_ne!(bench.epoch, first);
    // Channels with their own name stay.
    bench.send(0, &[("p", POLL, cast("a"))]);
    let named = bench.epoch;
    bench.wait(100_000_000);
    bench.send(0, &[("p", POLL, cast("a"))]);
    assert_eq!(bench.epoch, named);
}

pub(super) fn channels_that_come_and_go_are_bounded<E: Engine>() {
    let mut bench: Bench<E> = Bench::new(2);
    for round in 0..3 {
        for (name, line) in [("room/1", "accepted 1"), ("room/2", "accepted 1"), ("room/3", "limits.channels_max")] {
            let lines = bench.send(0, &[(name, ROOM, cast("a")), ("p", POLL, cast("a"))]);
            assert!(lines[0].ends_with(line), "round {round}: {lines:?}");
            assert!(lines[1].contains("p accepted"));
        }
        bench.wait(10_000);
    }
}

pub(super) fn epochs_are_never_zero_and_never_twice<E: Engine>() {
    let mut seen = std::collections::HashSet::from([0]);
    for seed in 0..3 {
        let mut bench: Bench<E> = Bench::new(100);
        bench.engine = E::start(specs(), 100, Seed(seed, 0).0, bench.now);
        for _ in 0..5 {
            for room in 0..100 {
                bench.send(0, &[(&format!("room/{room}"), ROOM, cast("a"))]);
                assert!(seen.insert(bench.epoch));
            }
            bench.wait(10_000);
        }
    }
}

#[cfg(feature = "faults")]
pub(super) fn a_panic_ends_its_channel_and_no_other<E: Engine>() {
    use super::FAULT;
    let mut bench: Bench<E> = Bench::new(9);
    bench.send(0, &[("f", FAULT, NEW), ("p", POLL, NEW)]);
    bench.send(1, &[("f", FAULT, NEW)]);
    bench.send(0, &[("f", FAULT, listeners(1)), ("f", FAULT, say("x"))]);
    let first = bench.epoch;
    let ops = [
        ("p", POLL, cast("a")),
        ("f", FAULT, say("y")),
        ("f", FAULT, Act::Panic),
        ("p", POLL, Act::Panic),
        ("f", FAULT, say("z")),
        ("p", POLL, cast("b")),
    ];
    assert_eq!(
        bench.send(2, &ops),
        [
            "0 p 1-2: a=1 b=1 [1, 1, 0]",
            "2 #6 p accepted 1",
            "0 f 2: y",
            "1 f 2: y",
            "2 #7 f accepted 2",
            "0 f failed",
            "1 f failed",
            "2 #8 f failed: the channel failed and begins anew; try again",
            "2 #9 p wrong_type: a message that fits the channel's kind",
            "2 #10 f accepted 1",
            "2 #11 p accepted 2",
        ]
    );
    let ops = [("f", FAULT, NEW)];
    assert_eq!(bench.send(0, &ops), ["0 #12 f attached 1, 0 listen, recent 1-1"]);
    assert_ne!(bench.epoch, first);
}
