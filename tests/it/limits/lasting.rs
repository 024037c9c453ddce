//! What is kept and what is waited for: polls, sessions, channels, history, and time. No time is measured: each is set so
//! that the default, or none, would outlast the patience of the tests.

use std::collections::HashSet;

use super::*;

fn since(server: &Server, path: &str) -> String {
    get_json(server.main(), path)["at"].as_str().expect("a position").to_owned()
}

/// Parks a long-poll and makes sure that it waits.
fn park(server: &Server, path: &str) -> Http {
    let mut http = Http::to(server.main());
    http.send("GET", &format!("{path}?wait=60&since={}", since(server, path)), &[], b"");
    assert!(http.is_silent(Duration::from_millis(100)));
    http
}

#[test]
fn parked_polls() {
    let server = config().limit("polls_max", 2).start();
    let at = server.main();
    for _ in 0..3 {
        let mut parked = [park(&server, "/c/poll"), park(&server, "/c/news")];
        for path in ["/c/poll", "/c/news", "/c/feed/a"] {
            let mut third = Http::to(at);
            let target = format!("{path}?wait=60&since={}", since(&server, path));
            is_503(&third.ask("GET", &target, &[], b""));
            // It may go on, and what need not wait is answered.
            third.ask("GET", &format!("{path}?wait=60"), &[], b"").ok();
        }
        post(at, "/c/news", "text/plain", "x").ok();
        post_form(at, "/vote", "uid=1").ok();
        for http in &mut parked {
            assert_eq!(http.answer_to("GET").ok().json()["type"], "publications");
        }
        // Who leaves makes room, too.
        drop(park(&server, "/c/news"));
        eventually("there is room", || {
            let mut http = Http::to(at);
            http.send("GET", &format!("/c/news?wait=60&since={}", since(&server, "/c/news")), &[], b"");
            http.is_silent(Duration::from_millis(100))
        });
        eventually("they are all gone", || {
            let target = |path| format!("{path}?wait=0.05&since={}", since(&server, path));
            let mut both = ["/c/news", "/c/poll"].map(|path| {
                let mut http = Http::to(at);
                http.send("GET", &target(path), &[], b"");
                http
            });
            both.iter_mut().all(|http| http.answer_to("GET").status == 200)
        });
    }
}

#[test]
fn sessions() {
    let server = config().limit("sessions_max", 2).limit("session_polls_max", 1).start();
    let at = server.main();
    let enter = || get(at, "/page").ok().cookie();
    let poll = |cookie: &str| {
        let mut http = Http::to(at);
        http.send("GET", "/poll", &[("Cookie", cookie)], b"");
        http
    };
    let [first, second] = [enter(), enter()];
    let mut waits = poll(&first);
    assert!(waits.is_silent(Duration::from_millis(100)));
    // As many polls as one session may have.
    assert_eq!(poll(&first).answer_to("GET").with_status(429).json()["code"], "too_many_polls");
    // As many sessions as there may be: the one that is unused makes way, the one that is polled does not.
    let third = enter();
    assert_eq!([&first, &second, &third].into_iter().collect::<HashSet<_>>().len(), 3);
    let mut waits_too = poll(&third);
    assert!(waits_too.is_silent(Duration::from_millis(100)));
    is_503(&poll("").answer_to("GET"));
    is_503(&poll(&second).answer_to("GET"));
    // A page goes without.
    assert_eq!(get(at, "/page").ok().header("Set-Cookie"), None);
    post_form(at, "/vote", "uid=1").ok();
    for http in [&mut waits, &mut waits_too] {
        assert_eq!(http.answer_to("GET").ok().json()["data"]["uid"], "1");
    }
}

/// A session that nobody used is gone; who comes back with its cookie goes on from where it began.
#[test]
fn idle_sessions() {
    let config = config().limit("session_idle", "100ms").limit("poll_wait_max", "100ms");
    let server = config.start();
    let at = server.main();
    let cookie = get(at, "/page").ok().cookie();
    post_form(at, "/vote", "uid=1").ok();
    eventually("the session is gone", || {
        // Its cookie alone does not keep it: nobody polls.
        assert!(Http::to(at).is_silent(Duration::from_millis(300)));
        let answer = Http::to(at).ask("GET", "/poll", &[("Cookie", &cookie)], b"").ok();
        answer.header("Set-Cookie").is_some() && answer.json()["data"]["uid"] == "1"
    });
}

#[test]
fn channels_by_pattern() {
    let server = config().limit("channels_max", 3).start();
    let at = server.main();
    for name in ["a", "b", "c"] {
        get(at, &format!("/c/feed/{name}")).ok();
    }
    is_503(&get(at, "/c/feed/d"));
    is_503(&post(at, "/c/feed/d", "text/plain", "x"));
    let end = Socket::try_open(at, "/c/feed/d", &[]).map_or_else(End::Closed, |mut socket| socket.end());
    assert!(matches!(end, End::Closed(503 | 1013)), "{end:?}");
    // Those that have a name are none of these, and those that are there stay.
    for path in ["/c/news", "/c/poll", "/c/feed/a"] {
        get(at, path).ok();
    }
}

#[test]
fn history() {
    let small = || config().limit("body_bytes_max", 1024);
    let by_number = small().limit("history_publications_max", 5);
    let by_bytes = small().limit("history_bytes_max", 5 << 10);
    for config in [by_number, by_bytes] {
        let server = config.start();
        let at = server.main();
        let follow = |position: &str| get_json(at, &format!("/c/news?wait=0&since={position}"));
        let mut positions = vec![since(&server, "/c/news")];
        for _ in 0..10 {
            let answer = post(at, "/c/news", "text/plain", &"x".repeat(1000)).ok();
            positions.push(answer.json()["at"].as_str().expect("a position").to_owned());
        }
        let types: Vec<String> =
            positions.iter().map(|position| follow(position)["type"].as_str().expect("a type").to_owned()).collect();
        let followed = types.iter().rev().take_while(|kind| *kind == "publications").count();
        // Itself, and so many back.
        assert!((2..=6).contains(&followed), "{types:?}");
        assert!(types[..types.len() - followed].iter().all(|kind| kind == "snapshot"), "{types:?}");
        let kept = get_json(at, "/c/news")["state"]["messages"].as_array().expect("messages").len();
        assert_eq!(kept + 1, followed);
    }
}

#[test]
fn the_longest_wait_of_a_poll() {
    let server = config().limit("poll_wait_max", "100ms").start();
    let mut http = Http::to(server.main());
    let target = format!("/c/poll?wait=60&since={}", since(&server, "/c/poll"));
    let answer = http.ask("GET", &target, &[], b"").ok();
    assert_eq!(answer.json()["publications"].as_array().map(Vec::len), Some(0));
}

#[test]
fn time_for_a_head_a_body_and_between_requests() {
    // Each is short in turn, and the others longer than the tests' patience.
    let config = |short: &str| {
        let long = ["head_wait", "body_wait", "keep_alive"].into_iter().filter(|key| *key != short);
        long.fold(config().limit(short, "150ms"), |config, key| config.limit(key, "10m"))
    };
    let server = config("head_wait").start();
    let at = server.main();
    // Who says nothing is just let go.
    assert!(Http::to(at).ends());
    for pieces in [&["GET /te"][..], &["GET /text HTTP/1.1\r\nHost: a\r\n"], &["\r\n", "G", "E", "T"]] {
        let mut http = Http::to(at);
        for piece in pieces {
            http.write(piece.as_bytes());
        }
        let answer = http.answer_to("GET").with_status(408);
        assert_eq!(answer.header("Connection"), Some("close"), "{pieces:?}");
        assert!(http.ends());
    }
    // It is not only the first head.
    let mut http = Http::to(at);
    http.ask("GET", "/text", &[], b"").ok();
    assert!(http.is_silent(Duration::from_millis(400)), "between requests there is time");
    http.write(b"GET /text HTTP/1.1\r\n");
    http.answer_to("GET").with_status(408);
    assert!(http.ends());

    let server = config("body_wait").start();
    let at = server.main();
    for begin in ["Content-Length: 5\r\n\r\nhell", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"] {
        let mut http = Http::to(at);
        http.write(format!("POST /c/news HTTP/1.1\r\nHost: a\r\n{begin}").as_bytes());
        http.answer_to("POST").with_status(408);
        assert!(http.ends(), "{begin}");
    }
    // Bytes that trickle in do not prolong it.
    let mut http = Http::to(at);
    http.write(b"POST /c/news HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
    let mut trickled = 0;
    while http.is_silent(Duration::from_millis(20)) {
        http.write(b"x");
        trickled += 1;
        assert!(trickled < 100);
    }
    http.answer_to("POST").with_status(408);

    let server = config("keep_alive").start();
    let mut http = Http::to(server.main());
    http.ask("GET", "/text", &[], b"").ok();
    assert!(http.ends(), "closed without a word");
}

/// The peer's half of a close does not come.
#[test]
fn time_for_a_close_and_for_a_stop() {
    for (short, long) in [("close_wait", "stop_wait"), ("stop_wait", "close_wait")] {
        let mut server = config().limit(short, "150ms").limit(long, "10m").start();
        let mut socket = Socket::open(server.main(), "/c/poll");
        assert_eq!(socket.news()["type"], "snapshot");
        server.signal(Signal::Terminate);
        // Nobody answers the server's Close.
        assert_eq!(server.ended().code(), Some(0), "{short}");
        assert!(matches!(socket.end(), End::Closed(1001) | End::Cut));
    }
}

#[test]
fn time_between_pings_and_for_a_pong() {
    let server = config().limit("ping_interval", "100ms").limit("ping_wait", "10m").start();
    let stream = connect(server.main());
    let mut raw = stream.try_clone().expect("a copy");
    let _open = Socket::over(stream, "/c/echo", &[]).unwrap_or_else(|status| panic!("{status}"));
    let mut ping = [0; 2];
    raw.read_exact(&mut ping).expect("a ping");
    assert_eq!(ping, [0x89, 0]);

    let server = config().limit("ping_interval", "100ms").limit("ping_wait", "100ms").start();
    let stream = connect(server.main());
    let mut raw = stream.try_clone().expect("a copy");
    let _open = Socket::over(stream, "/c/echo", &[]).unwrap_or_else(|status| panic!("{status}"));
    // Who does not answer is let go.
    let mut bytes = Vec::new();
    let end = raw.read_to_end(&mut bytes);
    assert!(end.is_ok() || end.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset));
    assert_eq!(bytes.get(..2), Some(&[0x89, 0][..]));

    // Who answers stays.
    let mut socket = Socket::open(server.main(), "/c/echo");
    for _ in 0..5 {
        assert!(socket.is_silent(Duration::from_millis(100)));
    }
    socket.send("still here");
    assert_eq!(socket.text(), "still here");
}
