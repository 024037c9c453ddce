//! What ends a session, at once and as the protocol says.

use super::*;

/// Endpoint, version, what was said before, what ends it.
type Row = (&'static str, u8, &'static [&'static str], &'static str);

const ROWS: [Row; 20] = [
    ("/engine.io/", 4, &[], "abc"),
    ("/engine.io/", 4, &[], "2"),
    ("/engine.io/", 4, &[], "8"),
    ("/engine.io/", 3, &[], "3"),
    ("/engine.io/", 3, &[], "x"),
    ("/engine.io/", 4, &["4hello"], "7"),
    ("/socket.io/", 4, &[], "4abc"),
    ("/socket.io/", 4, &[], "42{}"),
    ("/socket.io/", 4, &[], "42[\"message\"]"),
    ("/socket.io/", 4, &[], "43/custom,1[]"),
    ("/socket.io/", 4, &[], "41"),
    ("/socket.io/", 4, &["40"], "40"),
    ("/socket.io/", 4, &["40"], "42/custom,[\"message\"]"),
    ("/socket.io/", 4, &["40"], "42abc[\"message\"]"),
    ("/socket.io/", 4, &["40"], "42[\"connect\"]"),
    ("/socket.io/", 4, &["40"], "451-[\"message\",{\"_placeholder\":true,\"num\":1}]"),
    ("/socket.io/", 4, &["40"], "4599-[\"message\"]"),
    ("/socket.io/", 4, &["40", "451-[\"message\",{\"_placeholder\":true,\"num\":0}]"], "42[\"message\"]"),
    ("/socket.io/", 4, &["40", "41"], "42[\"message\"]"),
    ("/socket.io/", 3, &[], "40"),
];

#[test]
fn who_breaks_the_protocol_is_closed_at_once() {
    for cores in 1..=3 {
        for (path, version, before, last) in ROWS {
            let why = format!("{path} version {version} {before:?} {last:?}");
            let mut world = world(cores);
            let poller = Poller::open(&mut world, path, version);
            for packet in before {
                assert_eq!(poller.post(&mut world, &[packet]), 200, "{why}");
            }
            assert_eq!(poller.post(&mut world, &[last]), 400, "{why}");
            poller.assert_gone(&mut world, &why);
            let mut socket = Socket::open(&mut world, path, version);
            for packet in before {
                socket.say(&mut world, packet);
                assert_eq!(socket.closed, None, "{why}");
            }
            socket.say(&mut world, last);
            socket.assert_closed(&mut world, &why);
            assert_empty(&mut world);
        }
    }
}

#[test]
fn a_payload_is_read_up_to_what_is_wrong_in_it() {
    let mut world = world(2);
    let mut poller = Poller::open(&mut world, "/engine.io/", 4);
    poller.park(&mut world);
    assert_eq!(poller.post(&mut world, &["4one", "4two", "", "4three"]), 400);
    // The session is gone before its echoes are sent.
    assert_eq!(poller.told(&mut world), Some(vec!["1".into()]));
    poller.assert_gone(&mut world, "an empty packet");
    let poller = Poller::open(&mut world, "/engine.io/", 4);
    let response = poller.post_raw(&mut world, &"x".repeat(100_001)).expect("an answer");
    assert_eq!(response.status, 413);
    poller.assert_gone(&mut world, "too large");
    let poller = Poller::open(&mut world, "/engine.io/", 4);
    let octets = "Content-Type: application/octet-stream\r\n";
    assert_eq!(fetch(&mut world, "POST", &poller.target, octets, b"4x").expect("an answer").status, 400);
    poller.assert_gone(&mut world, "bytes in version 4");
    assert_empty(&mut world);
}

#[test]
fn one_get_at_a_time() {
    for cores in 1..=3 {
        let mut world = world(cores);
        let mut poller = Poller::open(&mut world, "/engine.io/", 4);
        poller.park(&mut world);
        assert_eq!(poller.status(&mut world), 400, "the second");
        assert_eq!(poller.told(&mut world), Some(vec!["1".into()]));
        poller.assert_gone(&mut world, "two GETs");
    }
}

#[test]
fn a_get_that_is_cut_takes_its_session_along() {
    for cores in 1..=3 {
        for reset in [false, true] {
            let mut world = world(cores);
            let mut poller = Poller::open(&mut world, "/engine.io/", 4);
            poller.park(&mut world);
            let mut parked = poller.parked.take().expect("a parked GET");
            if reset {
                parked.link.reset(&mut world.scene);
            } else {
                parked.link.finish();
                parked.link.pump(&mut world.scene, true);
            }
            world.rest();
            poller.assert_gone(&mut world, "cut");
            assert_eq!(world.cores.iter().map(|core| core.shard.census().parked_polls).sum::<usize>(), 0);
            parked.link.pump(&mut world.scene, true);
            assert_empty(&mut world);
        }
    }
}

#[test]
fn a_client_closes() {
    for cores in 1..=3 {
        for version in [3, 4] {
            let mut world = world(cores);
            let mut poller = Poller::open(&mut world, "/engine.io/", version);
            poller.park(&mut world);
            assert_eq!(poller.post(&mut world, &["1"]), 200);
            assert_eq!(poller.told(&mut world), Some(vec!["6".into()]));
            poller.assert_gone(&mut world, "closed");
            let mut socket = Socket::open(&mut world, "/engine.io/", version);
            socket.say(&mut world, "1");
            assert_eq!(socket.closed, Some(1000));
            assert_empty(&mut world);
        }
    }
}

#[test]
fn who_joins_nothing_is_closed_in_time() {
    let mut world = world(2);
    let (mut idle, mut busy) = (Socket::open(&mut world, "/socket.io/", 4), Socket::open(&mut world, "/socket.io/", 4));
    let mut poller = Poller::open(&mut world, "/socket.io/", 4);
    let mut third = Socket::open(&mut world, "/socket.io/", 3);
    assert_eq!(third.take(&mut world), ["40", "42[\"auth\",{}]"], "a client of protocol 4 is in from the beginning");
    busy.say(&mut world, "40/custom,");
    idle.say(&mut world, "40/random,");
    assert_eq!(idle.take(&mut world), ["44/random,{\"message\":\"Invalid namespace\"}"]);
    poller.park(&mut world);
    for _ in 0..3 {
        world.pass(PING_INTERVAL);
        world.pass(Duration::from_millis(1));
        for socket in [&mut idle, &mut busy] {
            socket.look(&mut world);
            socket.say(&mut world, "3");
        }
        assert_eq!(poller.told(&mut world), Some(vec!["2".into()]));
        assert_eq!(poller.post(&mut world, &["3"]), 200);
        third.say(&mut world, "2");
        poller.park(&mut world);
    }
    world.pass(CONNECT_TIMEOUT - 3 * (PING_INTERVAL + Duration::from_millis(1)) - ONE);
    idle.look(&mut world);
    assert_eq!((idle.closed, poller.told(&mut world)), (None, None), "early");
    world.pass(Duration::from_millis(1));
    assert_eq!(poller.told(&mut world), Some(vec!["1".into()]));
    idle.assert_closed(&mut world, "joined nothing");
    for socket in [&mut busy, &mut third] {
        socket.look(&mut world);
        assert_eq!(socket.closed, None);
    }
}

#[test]
fn a_stop_says_good_bye() {
    for cores in [1, 2] {
        let mut world = world(cores);
        let mut poller = Poller::open(&mut world, "/engine.io/", 4);
        poller.park(&mut world);
        let quiet = Poller::open(&mut world, "/engine.io/", 4);
        let mut socket = Socket::open(&mut world, "/socket.io/", 4);
        let mut probe = Socket::upgrade(&mut world, &quiet.websocket());
        socket.say(&mut world, "40");
        socket.take(&mut world);
        world.stop();
        assert_eq!(socket.take(&mut world), Vec::<String>::new());
        probe.look(&mut world);
        assert_eq!((socket.closed, probe.closed), (Some(1001), Some(1001)));
        let answer = answer(&mut world, poller.parked.as_mut().expect("parked")).expect("answered");
        assert!(answer.status == 503 && answer.closes(), "a transport that fails makes a client come back: {answer:?}");
        for link in [&mut poller.parked.as_mut().expect("parked").link, &mut socket.socket.link, &mut probe.socket.link]
        {
            link.finish();
            link.pump(&mut world.scene, true);
        }
        assert_empty(&mut world);
        assert!(world.cores.iter().all(|core| core.shard.is_stopped()));
    }
}

#[test]
fn there_is_room_for_so_many_and_no_more() {
    let mut knobs = Knobs::calm(1);
    (knobs.limits.sessions_max, knobs.limits.polls_max) = (3, 2);
    let mut world = world_with(knobs, CONFIG);
    let mut pollers: Vec<Poller> = (0..3).map(|_| Poller::open(&mut world, "/engine.io/", 4)).collect();
    let target = "/engine.io/?EIO=4&transport=polling";
    assert_eq!(fetch(&mut world, "GET", target, "", b"").expect("an answer").status, 503);
    let census = world.cores[0].shard.census();
    assert_eq!((census.sessions, census.connections), (3, 0), "a session is no connection");
    pollers[0].park(&mut world);
    pollers[1].park(&mut world);
    assert_eq!(pollers[2].status(&mut world), 503);
    assert_eq!(pollers[0].post(&mut world, &["4x"]), 200);
    assert_eq!(pollers[0].told(&mut world), Some(vec!["4x".into()]));
    pollers[2].park(&mut world);
    assert_eq!(pollers[1].post(&mut world, &["1"]), 200);
    Poller::open(&mut world, "/engine.io/", 4);
}

/// Who posts and does not poll is held back: the POST is answered when all of it could be read.
#[test]
fn who_does_not_poll_is_held_back() {
    let mut knobs = Knobs::calm(1);
    knobs.limits.private_messages_max = 10;
    let mut world = world_with(knobs, CONFIG);
    let poller = Poller::open(&mut world, "/engine.io/", 4);
    // So many that an answer to a GET does not hold them either: 16 is what python-engineio takes.
    let sent: Vec<String> = (0..35).map(|number| format!("4{number}")).collect();
    let mut post = Requests::open(&mut world.scene, "post");
    let body = sent.join("\u{1e}");
    post.ask("POST", &poller.target, "", body.as_bytes(), ());
    assert!(answer(&mut world, &mut post).is_none(), "held back");
    assert!(world.cores[0].shard.census().private_bytes < 500);
    let mut told = poller.get(&mut world);
    for _ in 0..3 {
        assert!(told.len() < 35);
        told.extend(poller.get(&mut world));
    }
    assert_eq!(told, sent);
    assert_eq!(answer(&mut world, &mut post).expect("answered").text(), "ok");
    // A second POST beside the first breaks the protocol.
    let mut post = Requests::open(&mut world.scene, "post");
    post.ask("POST", &poller.target, "", body.as_bytes(), ());
    assert!(answer(&mut world, &mut post).is_none(), "held back");
    assert_eq!(poller.post(&mut world, &["4x"]), 400);
    assert_eq!(answer(&mut world, &mut post).expect("answered").status, 400);
    poller.assert_gone(&mut world, "two POSTs");
}
