//! Manners: methods, origins, pipelining; and peers that break the rules, stop reading or say too much.

use std::io::Write;

use serde_json::json;
use tungstenite::Message;

use super::http::{Answer, Http, connect, get_json, post, post_form, request};
use super::server::Server;
use super::socket::{End, Socket};
use super::with_one_loop_and_two;

with_one_loop_and_two!(
    methods,
    foreign_origins,
    allowed_origins,
    pipelined_requests_are_answered_in_order,
    a_broken_request_ends_its_connection_alone,
    a_broken_frame_ends_its_connection_alone,
    a_message_over_the_limit,
    a_body_over_the_limit,
    who_does_not_read_is_let_go,
    who_leaves_in_any_way_is_forgotten,
);

fn methods(cores: u16) {
    let server = Server::demo(cores);
    let (at, poll) = (server.main(), server.poll());
    let mut http = Http::to(at);
    let get_answer = http.ask("GET", &poll, &[], b"").ok();
    let head = http.ask("HEAD", &poll, &[], b"").ok();
    for name in ["Content-Length", "Content-Type", "ETag", "Cache-Control"] {
        assert_eq!(head.header(name), get_answer.header(name), "{name}");
    }
    let options = http.ask("OPTIONS", &poll, &[], b"").with_status(204);
    let allowed = |answer: &Answer| -> Vec<String> {
        let list = answer.header("Allow").expect("an Allow").split(',');
        list.map(|method| method.trim().to_owned()).collect()
    };
    for method in ["GET", "HEAD", "POST", "OPTIONS"] {
        assert!(allowed(&options).iter().any(|known| known == method), "{method}: {options:?}");
    }
    // (method, path, status, methods that must be allowed, a method that must not)
    let rows = [
        ("DELETE", poll.as_str(), 405, "POST", "DELETE"),
        ("PUT", poll.as_str(), 405, "GET", "PUT"),
        ("POST", "/index", 405, "GET", "POST"),
        ("GET", "/ticket", 405, "POST", "GET"),
        ("POST", "/message", 405, "GET", "POST"),
    ];
    for (method, path, status, may, may_not) in rows {
        let answer = http.ask(method, path, &[], b"").with_status(status);
        let allowed = allowed(&answer);
        assert!(allowed.iter().any(|known| known == may), "{method} {path}: {allowed:?}");
        assert!(allowed.iter().all(|known| known != may_not), "{method} {path}: {allowed:?}");
    }
    for path in ["/c/nobody/knows", "/c/", "/nothing", "/index/more", "/c/../index"] {
        let answer = http.ask("GET", path, &[], b"");
        assert_eq!(answer.status, 404, "{path}");
    }
    let refused = http.ask("POST", "/c/nobody/knows", &[("Content-Type", "text/plain")], b"1").with_status(404);
    assert_eq!(refused.json()["code"], "not_found");
    assert_eq!(Socket::try_open(at, "/c/nobody/knows", &[]).err(), Some(404));
    http.ask("GET", "/index", &[], b"").ok();
}

fn foreign_origins(cores: u16) {
    let server = Server::demo(cores);
    let (at, poll) = (server.main(), server.poll());
    for origin in ["http://evil.test", "https://127.0.0.1.evil.test", "http://localhost.evil.test:5000"] {
        let headers = [("Origin", origin)];
        for path in [poll.as_str(), "/message", "/get_new_vote"] {
            assert_eq!(Socket::try_open(at, path, &headers).err(), Some(403), "{origin} {path}");
        }
        let form = [("Origin", origin), ("Content-Type", "application/x-www-form-urlencoded")];
        let posts: [(&str, &[u8]); 3] = [(&poll, b"choice=1"), ("/ticket", b"nid=1"), ("/vote", b"uid=1")];
        for (path, body) in posts {
            Http::to(at).ask("POST", path, &form, body).with_status(403);
        }
        let read = Http::to(at).ask("GET", &poll, &headers, b"").ok();
        assert_eq!(read.header("Access-Control-Allow-Origin"), None, "{origin}");
    }
    assert_eq!(get_json(at, &poll)["state"]["total"], 0, "nothing was counted");
}

fn allowed_origins(cores: u16) {
    let server = Server::demo(cores);
    let (at, poll) = (server.main(), server.poll());
    for origin in ["http://127.0.0.1:5000", "http://localhost:5000", "http://localhost:1234", "null"] {
        let headers = [("Origin", origin), ("Content-Type", "text/plain")];
        for (method, body) in [("GET", &b""[..]), ("POST", b"1")] {
            let answer = Http::to(at).ask(method, &poll, &headers, body).ok();
            assert_eq!(answer.header("Access-Control-Allow-Origin"), Some(origin));
            let varies = answer.headers.iter().any(|(name, value)| {
                name.eq_ignore_ascii_case("Vary")
                    && value.split(',').any(|part| part.trim().eq_ignore_ascii_case("origin"))
            });
            assert!(varies, "{answer:?}");
        }
        let preflight = [
            ("Origin", origin),
            ("Access-Control-Request-Method", "POST"),
            ("Access-Control-Request-Headers", "content-type"),
        ];
        let answer = Http::to(at).ask("OPTIONS", &poll, &preflight, b"").with_status(204);
        assert_eq!(answer.header("Access-Control-Allow-Origin"), Some(origin));
        assert!(answer.header("Access-Control-Allow-Methods").is_some_and(|list| list.contains("POST")), "{answer:?}");
        for path in [poll.as_str(), "/message", "/get_new_vote"] {
            assert!(Socket::try_open(at, path, &[("Origin", origin)]).is_ok(), "{origin} {path}");
        }
    }
}

fn pipelined_requests_are_answered_in_order(cores: u16) {
    let server = Server::demo(cores);
    let (at, poll) = (server.main(), server.poll());
    let text = [("Content-Type", "text/plain")];
    let mut bytes = Vec::new();
    for _ in 0..20 {
        bytes.extend(request("POST", &poll, &text, b"1"));
        bytes.extend(request("GET", &poll, &[], b""));
        bytes.extend(request("GET", "/message", &[], b""));
        bytes.extend(request("HEAD", &poll, &[], b""));
    }
    for piece in [bytes.len(), 1000, 7] {
        let before = get_json(at, &poll)["state"]["total"].as_u64().expect("a total");
        let mut http = Http::to(at);
        for piece in bytes.chunks(piece) {
            http.write(piece);
        }
        for votes in 1..=20 {
            assert_eq!(http.answer_to("POST").ok().json()["type"], "ok");
            let seen = http.answer_to("GET").ok().json();
            assert_eq!(seen["state"]["total"], before + votes, "a read behind a vote sees it");
            assert_eq!(http.answer_to("GET").ok().text(), "您使用的是Http协议");
            http.answer_to("HEAD").ok();
        }
    }
}

fn a_broken_request_ends_its_connection_alone(cores: u16) {
    let server = Server::demo(cores);
    let (at, poll) = (server.main(), server.poll());
    let mut bystanders: Vec<Socket> = (0..4).map(|_| Socket::open(at, "/message")).collect();
    let huge = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
    let rows: [(&[u8], &[u16]); 9] = [
        (b"nonsense\r\n\r\n", &[400]),
        (b"GET / HTTP/1.1\r\n\r\n", &[400]),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", &[400]),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", &[400]),
        (b"GET / HTTP/3.0\r\nHost: a\r\n\r\n", &[400, 505]),
        (b"POST /vote HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", &[400]),
        (b"POST /vote HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nuid=1", &[400]),
        (b"POST /vote HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nuid=1", &[400]),
        (huge.as_bytes(), &[431]),
    ];
    for (bytes, statuses) in rows {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
        let mut stream = connect(at);
        // The server may answer and close before all is written.
        let _ = stream.write_all(bytes);
        let mut http = Http::over(stream);
        let answer = http.answer_to("GET");
        assert!(statuses.contains(&answer.status), "{shown:?}: {}", answer.status);
        assert_eq!(answer.header("Connection").map(str::to_ascii_lowercase).as_deref(), Some("close"), "{shown:?}");
        assert!(http.ends(), "{shown:?}");
    }
    assert_eq!(get_json(at, &poll)["state"]["total"], 0, "none of them voted");
    bystanders[0].send("1");
    for bystander in &mut bystanders {
        assert_eq!(bystander.json(), json!({"cid": "1", "count": 1}));
    }
}

fn a_broken_frame_ends_its_connection_alone(cores: u16) {
    let server = Server::demo(cores);
    let (at, poll) = (server.main(), server.poll());
    let mut bystanders: Vec<Socket> = (0..4).map(|_| Socket::open(at, "/message")).collect();
    let rows: [(&str, &[u8], u16); 9] = [
        ("an unmasked frame", b"\x81\x011", 1002),
        ("a reserved bit", b"\xc1\x81\0\0\0\x001", 1002),
        ("an unknown opcode", b"\x83\x80\0\0\0\0", 1002),
        ("a fragmented ping", b"\x09\x80\0\0\0\0", 1002),
        ("a long ping", b"\x89\xfe\x00\x7e\0\0\0\0", 1002),
        ("a continuation of nothing", b"\x80\x80\0\0\0\0", 1002),
        ("a length longer than need be", b"\x81\xfe\x00\x01\0\0\0\x001", 1002),
        ("text that is no UTF-8", b"\x81\x82\0\0\0\0\xc3\x28", 1007),
        ("a close of one byte", b"\x88\x81\0\0\0\x001", 1002),
    ];
    for path in ["/message", poll.as_str()] {
        for (what, bytes, code) in rows {
            let mut socket = Socket::open(at, path);
            socket.write_raw(bytes);
            assert_eq!(socket.end(), End::Closed(code), "{what}");
        }
    }
    bystanders[0].send("1");
    for bystander in &mut bystanders {
        assert_eq!(bystander.json(), json!({"cid": "1", "count": 1}));
    }
    assert_eq!(get_json(at, &poll)["state"]["total"], 1, "none of the broken ones voted");
}

fn a_message_over_the_limit(cores: u16) {
    let server = Server::demo(cores);
    let (at, poll) = (server.main(), server.poll());
    for path in ["/message", poll.as_str(), "/c/test/echo"] {
        // The announced length is enough: 64 MiB, and then 2^63 - 1 bytes, of which none are sent.
        for length in [64 << 20, u64::MAX >> 1] {
            let mut socket = Socket::open(at, path);
            socket.write_raw(&[&[0x82, 0xff], &length.to_be_bytes()[..], &[0; 4]].concat());
            assert_eq!(socket.end(), End::Closed(1009), "{path}");
        }
    }
    let mut socket = Socket::open(at, "/c/test/echo");
    let large = "x".repeat(1 << 20);
    socket.send(&large);
    assert!(socket.text() == large, "1 MiB is within the limit");
}

fn a_body_over_the_limit(cores: u16) {
    let server = Server::demo(cores);
    let (at, poll) = (server.main(), server.poll());
    for path in [poll.as_str(), "/vote", "/c/test/feed"] {
        let mut http = Http::to(at);
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n",
            1_u64 << 40
        );
        http.write(head.as_bytes());
        assert_eq!(http.answer_to("POST").status, 413, "{path}");
    }
    post_form(at, &poll, "choice=1").ok();
}

/// A stuck reader is closed, others are not held up, and what it did get is without a gap.
fn who_does_not_read_is_let_go(cores: u16) {
    const MESSAGES: usize = 64;
    let server = Server::demo(cores);
    let at = server.main();
    let mut stuck: Vec<Socket> = (0..4).map(|_| Socket::open(at, "/c/test/feed")).collect();
    let mut healthy: Vec<Socket> = (0..4).map(|_| Socket::open(at, "/c/test/feed")).collect();
    for socket in stuck.iter_mut().chain(&mut healthy) {
        assert_eq!(socket.news()["type"], "snapshot");
    }
    // 32 MiB: more than the kernel, the log and the history hold together.
    let body = |number: usize| format!("{number:06}{}", "x".repeat(512 << 10));
    for number in 0..MESSAGES {
        post(at, "/c/test/feed", "text/plain", &body(number)).ok();
        for socket in &mut healthy {
            let text = socket.news()["text"].as_str().map(|text| text[..6].parse::<usize>());
            assert_eq!(text, Some(Ok(number)), "nobody waits for those who do not read");
        }
    }
    for socket in &mut stuck {
        let (messages, end) = socket.rest();
        assert!(matches!(end, End::Closed(4008) | End::Cut), "{end:?}");
        let mut numbers = Vec::new();
        for message in &messages {
            let Message::Text(text) = message else { panic!("{message:?}") };
            let json: serde_json::Value = serde_json::from_str(text.as_str()).expect("JSON");
            if let Some(text) = json["text"].as_str() {
                numbers.push(text[..6].parse::<usize>().expect("a number"));
            }
        }
        assert!(numbers.len() < MESSAGES, "it was not closed for nothing");
        assert_eq!(numbers, (0..numbers.len()).collect::<Vec<_>>(), "without a gap up to the end");
    }
    // It may come back and go on.
    assert_eq!(Socket::open(at, "/c/test/feed").news()["type"], "snapshot");
}

fn who_leaves_in_any_way_is_forgotten(cores: u16) {
    let server = Server::demo(cores);
    let (at, poll) = (server.main(), server.poll());
    let mut stays = Socket::open(at, &poll);
    assert_eq!(stays.news()["type"], "snapshot");
    for round in 0..50 {
        let socket = Socket::open(at, &poll);
        match round % 3 {
            0 => socket.close(),
            1 => drop(socket),
            _ => {
                // Leaves in the middle of a frame.
                let mut socket = socket;
                socket.write_raw(b"\x81\xfe\x01");
            }
        }
    }
    // Counts on joining may still hold those who leave; in the end it is the two who are there.
    let mut fresh = Socket::open(at, &poll);
    while fresh.json_of("listeners")["count"] != 2 {}
    stays.send(r#"{"choice":"1"}"#);
    assert_eq!(fresh.json_of("tally")["total"], 1);
    assert_eq!(stays.json_of("tally")["total"], 1);
}
