//! From polling to WebSocket, on the same core and from another.

use super::*;

/// Probes and takes over; with what the WebSocket was told first.
fn upgrade(world: &mut World, poller: &Poller) -> Socket {
    let mut socket = Socket::upgrade(world, &poller.websocket());
    socket.say(world, "2probe");
    assert_eq!(socket.take(world), ["3probe"]);
    socket.say(world, "5");
    socket
}

#[test]
fn a_session_moves_with_all_that_waits_for_it() {
    for cores in 1..=3 {
        for version in [3, 4] {
            for _ in 0..cores {
                let mut world = world(cores);
                let mut poller = Poller::open(&mut world, "/engine.io/", version);
                poller.park(&mut world);
                let mut socket = Socket::upgrade(&mut world, &poller.websocket());
                assert_eq!(poller.told(&mut world), None, "not before the probe");
                socket.say(&mut world, "2probe");
                assert_eq!(socket.take(&mut world), ["3probe"]);
                assert_eq!(poller.told(&mut world), Some(vec!["6".into()]));
                poller.park(&mut world);
                world.pass(Duration::from_millis(21));
                assert_eq!(poller.told(&mut world), Some(vec!["6".into()]), "a late one comes back soon");
                assert_eq!(poller.post(&mut world, &["4late"]), 200, "what was on its way is taken");
                socket.say(&mut world, "5");
                socket.say(&mut world, "4hello");
                assert_eq!(socket.take(&mut world), ["4late", "4hello"]);
                assert_eq!(poller.status(&mut world), 400);
                assert_eq!(poller.post(&mut world, &["4x"]), 400);
                // Another WebSocket is closed, and the first goes on.
                let mut second = Socket::upgrade(&mut world, &poller.websocket());
                second.assert_closed(&mut world, "the second");
                socket.say(&mut world, "4more");
                assert_eq!(socket.take(&mut world), ["4more"]);
                assert_eq!(world.cores.iter().map(|core| core.shard.census().sessions).sum::<usize>(), 0);
                // And when it has ended, nobody knows it any more.
                socket.socket.close(&mut world.scene, 1000);
                socket.look(&mut world);
                poller.assert_gone(&mut world, "ended");
                second.look(&mut world);
                assert_empty(&mut world);
            }
        }
    }
}

#[test]
fn frames_in_one_piece_are_a_whole_upgrade() {
    for cores in 1..=3 {
        let mut world = world(cores);
        let poller = Poller::open(&mut world, "/engine.io/", 4);
        let mut socket = Socket::upgrade(&mut world, &poller.websocket());
        for text in ["2probe", "5", "4one", "4two"] {
            socket.socket.send(&mut world.scene, 1, text.as_bytes());
        }
        assert_eq!(socket.take(&mut world), ["3probe", "4one", "4two"]);
    }
}

#[test]
fn an_upgrade_that_fails_leaves_the_session_polling() {
    for cores in 1..=3 {
        let mut world = world(cores);
        let target = |poller: &Poller| poller.websocket();
        let poller = Poller::open(&mut world, "/engine.io/", 3);
        let beats = |world: &mut World| {
            for _ in 0..26 {
                world.pass(Duration::from_millis(400));
                assert_eq!(poller.post(world, &["2"]), 200);
                poller.get(world);
            }
        };
        // Too slow, with the wrong words, gone.
        let mut slow = Socket::upgrade(&mut world, &target(&poller));
        slow.say(&mut world, "2probe");
        let mut beside = Socket::upgrade(&mut world, &target(&poller));
        beside.assert_closed(&mut world, "one at a time");
        beats(&mut world);
        slow.assert_closed(&mut world, "too slow");
        let mut wrong = Socket::upgrade(&mut world, &target(&poller));
        wrong.say(&mut world, "4hello");
        wrong.assert_closed(&mut world, "no probe");
        let mut gone = Socket::upgrade(&mut world, &target(&poller));
        gone.say(&mut world, "2probe");
        gone.socket.link.reset(&mut world.scene);
        world.rest();
        assert_eq!(poller.post(&mut world, &["4still here"]), 200);
        assert_eq!(poller.get(&mut world), ["4still here"]);
        let mut right = upgrade(&mut world, &poller);
        right.say(&mut world, "4hello");
        assert_eq!(right.take(&mut world), ["4hello"]);
    }
}

#[test]
fn a_probe_ends_with_its_session() {
    for cores in 1..=3 {
        let mut world = world(cores);
        let poller = Poller::open(&mut world, "/engine.io/", 4);
        let mut socket = Socket::upgrade(&mut world, &poller.websocket());
        socket.say(&mut world, "2probe");
        assert_eq!(poller.post(&mut world, &["x"]), 400);
        socket.assert_closed(&mut world, "no session");
        let poller = Poller::open(&mut world, "/engine.io/", 4);
        let mut socket = Socket::upgrade(&mut world, &poller.websocket());
        world.pass(PING_INTERVAL + PING_TIMEOUT + Duration::from_millis(1));
        socket.assert_closed(&mut world, "no session");
    }
}

#[test]
fn a_heartbeat_goes_on_over_an_upgrade() {
    for cores in 1..=3 {
        let mut world = world(cores);
        let poller = Poller::open(&mut world, "/engine.io/", 4);
        world.pass(Duration::from_millis(200));
        let mut socket = upgrade(&mut world, &poller);
        world.pass(Duration::from_millis(100) - ONE);
        assert_eq!(socket.take(&mut world), Vec::<String>::new());
        world.pass(Duration::from_millis(1));
        assert_eq!(socket.take(&mut world), ["2"]);
        world.pass(PING_TIMEOUT);
        socket.assert_closed(&mut world, "silent");
    }
}

/// One writes all the time, and who upgrades meanwhile misses nothing and is told nothing twice.
#[test]
fn nothing_is_lost_and_nothing_doubled_while_a_session_moves() {
    for cores in 1..=3 {
        for _ in 0..4 {
            let mut world = world(cores);
            let poller = Poller::open(&mut world, "/quiet/", 4);
            assert_eq!(poller.post(&mut world, &["40/plain,", "40/news,", "40/table,{\"name\":\"小明\"}"]), 200);
            let begun = poller.get(&mut world);
            assert_eq!(begun.iter().filter(|packet| packet.starts_with("40/")).count(), 3, "{begun:?}");
            let mut sent = 0;
            let mut write = |world: &mut World| {
                for channel in ["plain", "news"] {
                    let text = format!("{channel}-{sent}");
                    let head = "Content-Type: text/plain\r\n";
                    let target = format!("/c/{channel}");
                    let response = fetch(world, "POST", &target, head, text.as_bytes()).expect("an answer");
                    assert_eq!(response.status, 200);
                }
                sent += 1;
            };
            write(&mut world);
            let mut told = poller.get(&mut world);
            write(&mut world);
            let mut socket = Socket::upgrade(&mut world, &poller.websocket());
            write(&mut world);
            // Part of the upgrade, a message and another in one breath.
            socket.socket.send(&mut world.scene, 1, b"2probe");
            write(&mut world);
            socket.socket.send(&mut world.scene, 1, b"5");
            socket.socket.link.pump(&mut world.scene, false);
            write(&mut world);
            socket.look(&mut world);
            write(&mut world);
            told.extend(socket.take(&mut world));
            for channel in ["plain", "news"] {
                let texts: Vec<String> = (0..6).map(|number| format!("{channel}-{number}")).collect();
                let found: Vec<&str> = told
                    .iter()
                    .filter_map(|packet| texts.iter().find(|text| packet.contains(&format!("{text}\""))))
                    .map(String::as_str)
                    .collect();
                assert_eq!(found, texts, "{told:?}");
            }
            let begins_anew = |packet: &&String| packet.contains("snapshot") || packet.contains("resumed");
            assert_eq!(told.iter().find(begins_anew), None);
        }
    }
}

#[test]
fn nobody_is_seen_to_leave_while_a_session_moves() {
    for cores in 1..=3 {
        for _ in 0..4 {
            let mut world = world(cores);
            let mut other = Socket::open(&mut world, "/quiet/", 4);
            other.say(&mut world, "40/table,{\"name\":\"bob\"}");
            let poller = Poller::open(&mut world, "/quiet/", 4);
            assert_eq!(poller.post(&mut world, &["40/table,{\"name\":\"小明\"}"]), 200);
            poller.get(&mut world);
            let edits = "42/table,1[\"change\",{\"editing\":{\"row\":\"1\",\"column\":\"age\"}}]";
            assert_eq!(poller.post(&mut world, &[edits]), 200);
            world.pass(Duration::from_millis(250));
            let told = other.take(&mut world);
            assert!(told.iter().any(|packet| packet.contains("\"joined\"")), "{told:?}");
            assert!(told.iter().any(|packet| packet.contains("\"editing\"")), "{told:?}");
            let mut socket = upgrade(&mut world, &poller);
            world.pass(Duration::from_millis(250));
            let told = other.take(&mut world);
            assert!(!told.iter().any(|packet| packet.contains("\"left\"")), "{told:?}");
            assert!(!told.iter().any(|packet| packet.contains("\"joined\"")), "{told:?}");
            // Where it edits now is known again under its new name, before the old one is said to edit nothing.
            let editing: Vec<Value> = told
                .iter()
                .filter(|packet| packet.contains("\"editing\""))
                .map(|packet| argument(packet, "change")["row"].clone())
                .collect();
            assert!(editing.is_empty() || editing.contains(&json("\"1\"")), "{told:?}");
            socket.socket.close(&mut world.scene, 1000);
            socket.look(&mut world);
            world.pass(Duration::from_millis(250));
            let told = other.take(&mut world);
            assert!(told.iter().any(|packet| packet.contains("\"left\"") && packet.contains("小明")), "{told:?}");
        }
    }
}

/// The engine does not answer for a while: a session moves all the same, and what it asked is refused as unknown.
#[test]
fn a_session_does_not_wait_for_ever_to_move() {
    for cores in 1..=3 {
        let mut world = world(cores);
        let poller = Poller::open(&mut world, "/quiet/", 4);
        assert_eq!(poller.post(&mut world, &["40/room,", "40/plain,"]), 200);
        poller.get(&mut world);
        let mut socket = Socket::upgrade(&mut world, &poller.websocket());
        socket.say(&mut world, "2probe");
        assert_eq!(socket.take(&mut world), ["3probe"]);
        // From here on the engine is not run.
        let mut post = Requests::open(&mut world.scene, "post");
        post.ask("POST", &poller.target, "", b"42/room,1[\"message\",{\"text\":\"x\"}]\x1e40/news,", ());
        socket.socket.send(&mut world.scene, 1, b"5");
        let mut asked_at = None;
        for millis in 0..1100 {
            world.scene.now += Duration::from_millis(1);
            let now = world.scene.now;
            world.scene.drivers.iter_mut().for_each(|driver| driver.now = now);
            if millis == 10 {
                socket.socket.link.pump(&mut world.scene, true);
                asked_at = Some(now);
            }
            post.link.pump(&mut world.scene, true);
            for core in 0..cores {
                world.turn(core);
            }
        }
        assert!(asked_at.is_some());
        socket.socket.link.pump(&mut world.scene, true);
        socket.look(&mut world);
        let told = std::mem::take(&mut socket.told);
        let unknown = "43/room,1[{\"type\":\"refused\",\"code\":\"unknown\"";
        assert!(told.iter().any(|packet| packet.starts_with(unknown)), "{told:?}");
        assert!(told.iter().any(|packet| packet.starts_with("40/news,")), "{told:?}");
        assert_eq!(socket.closed, None);
    }
}
