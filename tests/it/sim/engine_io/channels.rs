//! Socket.IO namespaces and the channels behind them.

use super::*;

#[test]
fn events_acknowledgements_and_bytes() {
    for cores in 1..=3 {
        let mut world = world(cores);
        let mut socket = Socket::open(&mut world, "/socket.io/", 4);
        socket.say(&mut world, "40{\"token\":\"123\"}");
        let told = socket.take(&mut world);
        assert!(told[0].starts_with("40{\"sid\":\"") && told.len() == 2, "{told:?}");
        assert_eq!(told[1], "42[\"auth\",{\"token\":\"123\"}]");
        socket.say(&mut world, "40/custom,");
        let told = socket.take(&mut world);
        assert!(told[0].starts_with("40/custom,{\"sid\":\""), "{told:?}");
        assert_eq!(told[1..], ["42/custom,[\"auth\",{}]"]);
        for (said, answers) in [
            ("42[\"message\",1,\"2\",{\"3\":[true]}]", &["42[\"message-back\",1,\"2\",{\"3\":[true]}]"][..]),
            ("42[\"message\"]", &["42[\"message-back\"]"]),
            ("427[\"message\",1]", &["42[\"message-back\",1]", "437[]"]),
            ("42456[\"message-with-ack\",1,\"2\",{\"3\":[false]}]", &["43456[1,\"2\",{\"3\":[false]}]"]),
            ("42[\"message-with-ack\"]", &[]),
            (
                "429[\"other\"]",
                &["439[{\"type\":\"refused\",\"code\":\"unknown_event\",\"expected\":\"message, message-with-ack\"}]"],
            ),
            (
                "42/custom,[\"other\"]",
                &["42/custom,[\"refused\",{\"type\":\"refused\",\"code\":\"unknown_event\",\"expected\":\"\"}]"],
            ),
            ("41/custom,", &[]),
        ] {
            socket.say(&mut world, said);
            assert_eq!(socket.take(&mut world), answers, "{said}");
        }
        let two = "{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,\"num\":1}";
        socket.say(&mut world, &format!("452-789[\"message-with-ack\",{two}]"));
        socket.say_bytes(&mut world, &[1, 2, 3]);
        assert_eq!(socket.take(&mut world), Vec::<String>::new());
        socket.say_bytes(&mut world, &[4, 5, 6]);
        assert_eq!(socket.take(&mut world), [format!("462-789[{two}]"), "b010203".into(), "b040506".into()]);
        let poller = Poller::open(&mut world, "/socket.io/", 4);
        let event = format!("452-[\"message\",{two}]");
        assert_eq!(poller.post(&mut world, &["40", &event, "bAQID", "bBAUG"]), 200);
        let told = poller.get(&mut world);
        assert_eq!(told[2..], [format!("452-[\"message-back\",{two}]"), "bAQID".into(), "bBAUG".into()]);
    }
}

/// Row 9: the clients of a collaborative table, old and new, polling and not.
#[test]
fn a_shared_table() {
    for cores in 1..=3 {
        for version in [3, 4] {
            let mut world = world(cores);
            let mut socket = Socket::open(&mut world, "/quiet/", version);
            if version == 3 {
                assert_eq!(socket.take(&mut world), ["40"], "whoever is there waits for it");
            }
            socket.say(&mut world, "40/test,");
            let told = socket.take(&mut world);
            assert!(told[0].starts_with("40/test"), "{told:?}");
            assert_eq!(argument(&told[1], "my_response"), json("{\"data\":\"Connected\",\"count\":0}"));
            let cells: Vec<Value> = told[2..].iter().map(|packet| argument(packet, "input-change")).collect();
            assert_eq!(cells.len(), 4);
            assert_eq!(cells[0], json("{\"index\":0,\"value\":\"小明\",\"forms\":\"name\"}"));
            socket.say(&mut world, "42/test,5[\"my_event\",{\"data\":\"I'm connected!\"}]");
            assert_eq!(socket.take(&mut world), ["43/test,5[]"]);
            let mut poller = Poller::open(&mut world, "/quiet/", version);
            assert_eq!(poller.post(&mut world, &["40/test,"]), 200);
            assert_eq!(poller.get(&mut world).len(), if version == 3 { 7 } else { 6 });
            poller.park(&mut world);
            let change = "{\"index\":1,\"value\":\"小小\",\"forms\":\"name\"}";
            let head = "Content-Type: application/json\r\nOrigin: http://localhost:5000\r\n";
            let response = fetch(&mut world, "POST", "/input-change", head, change.as_bytes()).expect("an answer");
            assert_eq!((response.status, response.text()), (200, "success!"));
            for told in [socket.take(&mut world), poller.told(&mut world).expect("the change")] {
                assert_eq!(told.len(), 1, "{told:?}");
                assert_eq!(argument(&told[0], "input-change"), json(change));
            }
            let late = Poller::open(&mut world, "/quiet/", version);
            assert_eq!(late.post(&mut world, &["40/test,"]), 200);
            assert!(late.get(&mut world).iter().any(|packet| packet.contains("小小")));
        }
    }
}

/// One room, over everything: each hears all others once and in one order, and not itself.
#[test]
fn a_room_shared_by_all_transports() {
    for cores in 1..=3 {
        let mut world = world(cores);
        let mut socket = Socket::open(&mut world, "/quiet/", 4);
        socket.say(&mut world, "40/room,{\"name\":\"alice\"}");
        let poller = Poller::open(&mut world, "/quiet/", 3);
        assert_eq!(poller.post(&mut world, &["40/room?name=bob,"]), 200);
        let raw = &mut Socket::upgrade(&mut world, "/c/room/lobby?name=carol");
        world.pass(Duration::from_millis(250));
        let begun = poller.get(&mut world);
        assert!(begun.iter().any(|packet| packet.contains("\"snapshot\"")), "{begun:?}");
        assert!(begun.iter().any(|packet| packet.contains("\"members\"")), "{begun:?}");
        socket.take(&mut world);
        raw.take(&mut world);
        socket.say(&mut world, "42/room,1[\"message\",{\"text\":\"from alice\"}]");
        assert_eq!(poller.post(&mut world, &["42/room,[\"message\",{\"text\":\"from bob\"}]"]), 200);
        raw.say(&mut world, "{\"text\":\"from carol\"}");
        let head = "Content-Type: text/plain\r\n";
        fetch(&mut world, "POST", "/c/room/lobby", head, b"from nobody").expect("an answer");
        let texts = |told: Vec<String>| -> Vec<String> {
            let text = |packet: &String| Some(packet.split("\"text\":\"").nth(1)?.split('"').next()?.to_owned());
            told.iter().filter_map(text).collect()
        };
        let told = socket.take(&mut world);
        assert!(told[0].starts_with("43/room,1[{\"type\":\"ok\",\"at\":\""), "{told:?}");
        assert_eq!(texts(told), ["from bob", "from carol", "from nobody"]);
        assert_eq!(texts(poller.get(&mut world)), ["from alice", "from carol", "from nobody"]);
        assert_eq!(texts(raw.take(&mut world)), ["from alice", "from bob", "from nobody"]);
    }
}

#[test]
fn what_a_channel_refuses_is_told() {
    for cores in [1, 2] {
        let mut world = world(cores);
        let mut socket = Socket::open(&mut world, "/quiet/", 4);
        socket.say(&mut world, "40/table,{\"name\":\"\"}");
        socket.say(&mut world, "40/table,{\"name\":7}");
        socket.say(&mut world, "40/table,{\"since\":\"x\"}");
        let told = socket.take(&mut world);
        assert_eq!(told.len(), 3, "{told:?}");
        for refusal in &told {
            assert!(refusal.starts_with("44/table,{\"message\":\"malformed: "), "{refusal}");
        }
        socket.say(&mut world, "40/table,");
        socket.take(&mut world);
        for (said, code) in [
            ("42/table,1[\"change\",{\"set\":[{\"row\":\"9\",\"column\":\"age\",\"value\":\"1\"}]}]", "unknown_row"),
            ("42/table,2[\"change\",{\"set\":[]}]", "malformed"),
            ("42/table,3[\"change\",\"x\"]", "malformed"),
            ("42/table,4[\"change\"]", "malformed"),
        ] {
            socket.say(&mut world, said);
            let told = socket.take(&mut world);
            let [answer] = &told[..] else { panic!("{said}: {told:?}") };
            let ack = &answer["43/table,N".len()..];
            assert_eq!(json(ack)[0]["code"], code, "{said}: {answer}");
        }
        socket.say(&mut world, "42/table,[\"change\",{\"delete\":{\"row\":\"9\"}}]");
        let told = socket.take(&mut world);
        assert_eq!(argument(&told[0], "refused")["code"], "unknown_row");
        socket
            .say(&mut world, "42/table,5[\"change\",{\"set\":[{\"row\":\"1\",\"column\":\"age\",\"value\":\"19\"}]}]");
        let told = socket.take(&mut world);
        assert_eq!(argument(&told[0], "change")["type"], "cells", "its own change, before the answer: {told:?}");
        assert!(told[1].starts_with("43/table,5[{\"type\":\"ok\""), "{told:?}");
        assert_eq!(socket.closed, None);
    }
}

#[test]
fn plain_texts_are_strings_and_bytes_are_attachments() {
    for cores in [1, 3] {
        let mut world = world(cores);
        let mut one = Socket::open(&mut world, "/quiet/", 4);
        one.say(&mut world, "40/plain,");
        let other = Poller::open(&mut world, "/quiet/", 3);
        assert_eq!(other.post(&mut world, &["40/plain,"]), 200);
        other.get(&mut world);
        one.say(&mut world, "42/plain,[\"message\",\"a \\\"b\\\"\"]");
        one.say(&mut world, "451-/plain,[\"message\",{\"_placeholder\":true,\"num\":0}]");
        one.say_bytes(&mut world, &[1, 2, 3, 4]);
        let told = other.get(&mut world);
        let bytes = "451-/plain,[\"message\",{\"_placeholder\":true,\"num\":0}]";
        assert_eq!(told, ["42/plain,[\"message\",\"a \\\"b\\\"\"]", bytes, "b4AQIDBA=="]);
    }
}

#[test]
fn who_leaves_a_namespace_stays_in_the_others() {
    for cores in [1, 2] {
        let mut world = world(cores);
        let poller = Poller::open(&mut world, "/quiet/", 4);
        assert_eq!(poller.post(&mut world, &["40/plain,", "40/news,", "41/plain,"]), 200);
        poller.get(&mut world);
        for channel in ["plain", "news"] {
            fetch(&mut world, "POST", &format!("/c/{channel}"), "Content-Type: text/plain\r\n", b"x")
                .expect("an answer");
        }
        let told = poller.get(&mut world);
        assert!(told.len() == 1 && told[0].starts_with("42/news,[\"news\","), "{told:?}");
        world.pass(Duration::from_millis(1));
        let subscribers: usize = world.cores.iter().map(|core| core.shard.census().subscribers).sum();
        assert_eq!(subscribers, 1);
        assert_eq!(poller.post(&mut world, &["40/plain,"]), 200, "it may come back");
    }
}

#[test]
fn a_client_resumes() {
    let mut world = world(2);
    let head = "Content-Type: text/plain\r\n";
    let first = fetch(&mut world, "POST", "/c/news", head, b"one").expect("an answer");
    let at = first.json()["at"].as_str().expect("a position").to_owned();
    fetch(&mut world, "POST", "/c/news", head, b"two").expect("an answer");
    let mut socket = Socket::open(&mut world, "/quiet/", 4);
    socket.say(&mut world, &format!("40/news,{{\"since\":\"{at}\"}}"));
    let told = socket.take(&mut world);
    let types: Vec<Value> = told[1..].iter().map(|packet| argument(packet, "news")["type"].clone()).collect();
    assert_eq!(types[..3], ["resumed", "listeners", "message"]);
    assert!(told[3].contains("\"two\""));
}

/// Python's client takes more for an attack.
#[test]
fn an_answer_has_sixteen_packets_at_most() {
    let mut world = world(2);
    let poller = Poller::open(&mut world, "/quiet/", 4);
    assert_eq!(poller.post(&mut world, &["40/news,"]), 200);
    poller.get(&mut world);
    for number in 0..40 {
        let text = number.to_string();
        fetch(&mut world, "POST", "/c/news", "Content-Type: text/plain\r\n", text.as_bytes()).expect("an answer");
    }
    let told: Vec<Vec<String>> = (0..3).map(|_| poller.get(&mut world)).collect();
    assert_eq!(told.iter().map(Vec::len).collect::<Vec<_>>(), [16, 16, 8]);
    // What is left of an answer goes along with an upgrade.
    for number in 0..20 {
        let text = number.to_string();
        fetch(&mut world, "POST", "/c/news", "Content-Type: text/plain\r\n", text.as_bytes()).expect("an answer");
    }
    poller.get(&mut world);
    let mut socket = Socket::upgrade(&mut world, &poller.websocket());
    socket.say(&mut world, "2probe");
    socket.say(&mut world, "5");
    let told = socket.take(&mut world);
    assert_eq!(told[0], "3probe");
    assert_eq!(told[1..].iter().filter(|packet| packet.contains("\"message\"")).count(), 4, "{told:?}");
}

/// Who polls too slowly for a busy channel is closed; what is held for all of them is bounded.
#[test]
fn who_falls_behind_is_closed() {
    let mut knobs = Knobs::calm(1);
    knobs.limits.log_bytes_max = 4096;
    let mut world = world_with(knobs, CONFIG);
    let pollers: Vec<Poller> = (0..5).map(|_| Poller::open(&mut world, "/quiet/", 4)).collect();
    for poller in &pollers {
        assert_eq!(poller.post(&mut world, &["40/news,"]), 200);
        poller.get(&mut world);
    }
    let text = vec![b'x'; 1000];
    for _ in 0..50 {
        fetch(&mut world, "POST", "/c/news", "Content-Type: text/plain\r\n", &text).expect("an answer");
        assert!(world.cores[0].shard.census().send_log_bytes < 20_000);
    }
    for poller in &pollers {
        poller.assert_gone(&mut world, "too slow");
    }
    assert_empty(&mut world);
}
