//! Handshakes, echoes and heartbeats.

use super::*;

#[test]
fn what_is_refused_is_refused_in_the_reference_servers_words() {
    let rows = [
        ("GET", "EIO=4", 0),
        ("GET", "EIO=4&transport=abc", 0),
        ("GET", "transport=polling", 5),
        ("GET", "EIO=abc&transport=polling", 5),
        ("POST", "EIO=4&transport=polling", 2),
        ("PUT", "EIO=4&transport=polling", 2),
        ("GET", "EIO=4&transport=polling&sid=0.1.2", 1),
        ("POST", "EIO=4&transport=polling&sid=0.1.2", 1),
        ("GET", "EIO=4&transport=polling&sid=9.1.2", 1),
        ("GET", "EIO=4&transport=polling&sid=hello", 1),
        ("GET", "EIO=4&transport=websocket", 3),
        ("GET", "EIO=4&transport=polling&j=1", 3),
    ];
    for cores in [1, 2] {
        let mut world = world(cores);
        for path in ["/engine.io/", "/socket.io/"] {
            for (method, query, code) in rows {
                let response = fetch(&mut world, method, &format!("{path}?{query}"), "", b"").expect("an answer");
                let found = (response.status, response.json()["code"].clone());
                assert_eq!(found, (400, code.into()), "{method} {path}?{query}");
            }
        }
        let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        for query in ["transport=websocket", "EIO=4", "EIO=4&transport=websocket&sid=1.2.3"] {
            let response = fetch(&mut world, "GET", &format!("/engine.io/?{query}"), upgrade, b"").expect("an answer");
            assert_eq!(response.status, 400, "{query}");
        }
        assert_empty(&mut world);
    }
}

#[test]
fn pages_of_other_origins_are_kept_out_and_preflights_answered() {
    let mut world = world(1);
    let target = "/socket.io/?EIO=4&transport=polling";
    let local = "Origin: http://localhost:8080\r\n";
    let response = fetch(&mut world, "GET", target, local, b"").expect("an answer");
    assert_eq!(response.header("access-control-allow-origin"), Some("http://localhost:8080"));
    let head = format!("{local}Access-Control-Request-Method: POST\r\n");
    let response = fetch(&mut world, "OPTIONS", target, &head, b"").expect("an answer");
    assert_eq!(response.status, 204);
    assert_eq!(response.header("access-control-allow-methods"), Some("GET, POST, OPTIONS"));
    let foreign = "Origin: http://example.org\r\n";
    let response = fetch(&mut world, "POST", target, foreign, b"4x").expect("an answer");
    assert_eq!(response.status, 403);
    let upgrade = format!("{foreign}Upgrade: websocket\r\nConnection: Upgrade\r\n");
    let response = fetch(&mut world, "GET", "/socket.io/?EIO=4&transport=websocket", &upgrade, b"").expect("an answer");
    assert_eq!(response.status, 403);
}

#[test]
fn the_client_library_is_served_beside() {
    let mut world = world(1);
    let response = fetch(&mut world, "GET", "/socket.io/socket.io.js", "", b"").expect("an answer");
    assert!(response.status == 200 && response.text().starts_with("/*!\n * Socket.IO v4"));
    let tag = format!("If-None-Match: {}\r\n", response.header("etag").expect("a tag"));
    let again = fetch(&mut world, "GET", "/socket.io/socket.io.min.js", &tag, b"").expect("an answer");
    assert_eq!(again.status, 304);
    for nothing in ["/engine.io/socket.io.js", "/socket.io/x"] {
        assert_eq!(fetch(&mut world, "GET", nothing, "", b"").expect("an answer").status, 404);
    }
}

#[test]
fn an_echo_of_texts_and_bytes() {
    let mut echoes = 0;
    for cores in 1..=3 {
        for version in [3, 4] {
            let bytes = if version == 3 { "b4AQIDBA==" } else { "bAQIDBA==" };
            let sent = ["4hello", "4小明", bytes, "4"];
            let mut world = world(cores);
            let mut poller = Poller::open(&mut world, "/engine.io/", version);
            assert_eq!(poller.post(&mut world, &sent), 200);
            assert_eq!(poller.get(&mut world), sent);
            poller.park(&mut world);
            assert_eq!(poller.post(&mut world, &sent[..1]), 200);
            assert_eq!(poller.told(&mut world).expect("the echo"), sent[..1]);
            let mut socket = Socket::open(&mut world, "/engine.io/", version);
            socket.say(&mut world, "4小明");
            let bytes: &[u8] = if version == 3 { &[4, 1, 2] } else { &[1, 2] };
            socket.say_bytes(&mut world, bytes);
            assert_eq!(socket.take(&mut world), ["4小明", if version == 3 { "b040102" } else { "b0102" }]);
            echoes += 1;
        }
    }
    assert_eq!(echoes, 6);
}

/// Whatever the moment at which it begins; polling and not, on whatever core.
#[test]
fn a_heartbeat_is_never_early_and_at_most_a_millisecond_late() {
    for (round, nanos) in [0, 1, 999_999, 1_000_001, 123_456_789].into_iter().enumerate() {
        let mut world = world(1 + round % 3);
        world.pass(Duration::from_nanos(nanos));
        let mut poller = Poller::open(&mut world, "/engine.io/", 4);
        let mut socket = Socket::open(&mut world, "/engine.io/", 4);
        let mut silent = Socket::open(&mut world, "/engine.io/", 4);
        poller.park(&mut world);
        for _ in 0..3 {
            world.pass(PING_INTERVAL - ONE);
            assert_eq!((poller.told(&mut world), socket.take(&mut world)), (None, vec![]), "early");
            world.pass(Duration::from_millis(1));
            assert_eq!((poller.told(&mut world), socket.take(&mut world)), (Some(vec!["2".into()]), vec!["2".into()]));
            assert_eq!(poller.post(&mut world, &["3"]), 200);
            socket.say(&mut world, "3");
            poller.park(&mut world);
        }
        assert_eq!(silent.take(&mut world), ["2"]);
        assert!(silent.closed.is_some(), "it never answered");
        // From here on neither answers.
        world.pass(PING_INTERVAL + PING_TIMEOUT - ONE);
        assert_eq!(poller.told(&mut world), Some(vec!["2".into()]));
        socket.look(&mut world);
        assert_eq!(socket.closed, None, "early");
        world.pass(ONE);
        poller.assert_gone(&mut world, "silent");
        world.pass(Duration::from_millis(1));
        socket.assert_closed(&mut world, "silent");
    }
}

#[test]
fn in_version_3_the_client_pings() {
    for cores in [1, 3] {
        let mut world = world(cores);
        let mut poller = Poller::open(&mut world, "/engine.io/", 3);
        let mut socket = Socket::open(&mut world, "/engine.io/", 3);
        for text in ["2", "2a"] {
            world.pass(PING_INTERVAL + PING_TIMEOUT - Duration::from_millis(1));
            assert_eq!(poller.post(&mut world, &[text]), 200);
            socket.say(&mut world, text);
            let pong = text.replace('2', "3");
            assert_eq!((poller.get(&mut world), socket.take(&mut world)), (vec![pong.clone()], vec![pong]));
        }
        world.pass(PING_INTERVAL + PING_TIMEOUT - Duration::from_millis(1));
        poller.park(&mut world);
        world.pass(Duration::from_millis(2));
        assert_eq!(poller.told(&mut world), Some(vec!["1".into()]));
        poller.assert_gone(&mut world, "silent");
        socket.assert_closed(&mut world, "silent");
        assert_empty(&mut world);
    }
}
