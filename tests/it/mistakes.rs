//! What a client gets for every mistake in a request: the status, whether the connection goes on, and a word that says what
//! was expected. Over real sockets; the rows that are cut at every byte stand with the parsers.

use serde_json::Value;

use crate::limits::config;
use crate::live::http::{Http, get_json, request};
use crate::live::server::Server;
use crate::live::socket::Socket;

/// What becomes of the connection.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Then {
    Closes,
    GoesOn,
}
use Then::{Closes, GoesOn};

fn start() -> Server {
    config().limit("body_bytes_max", 1024).start()
}

/// Sends each, judges the answer, and asks something else: on the same connection if it goes on.
fn check(server: &Server, rows: &[(&[u8], u16, Then, &str)]) {
    let at = server.main();
    for (bytes, status, then, words) in rows {
        let shown = String::from_utf8_lossy(bytes);
        let mut http = Http::to(at);
        http.write(bytes);
        let method = shown.split(' ').next().unwrap_or_default();
        let answer = http.answer_to(method);
        assert_eq!(answer.status, *status, "{shown:?}: {answer:?}");
        assert!(answer.text().contains(words), "{shown:?} lacks {words:?}: {}", answer.text());
        let closes = answer.header("Connection") == Some("close");
        assert_eq!(closes, *then == Closes, "{shown:?}");
        match then {
            Closes => assert!(http.ends(), "{shown:?}"),
            GoesOn => assert_eq!(http.ask("GET", "/text", &[], b"").ok().text(), "a text", "{shown:?}"),
        }
        Http::to(at).ask("GET", "/text", &[], b"").ok();
    }
    assert_eq!(get_json(at, "/c/poll")["state"]["total"], 0, "none of them voted");
}

#[test]
fn heads() {
    let rows: [(&[u8], u16, Then, &str); 53] = [
        (b"\x16\x03\x01\x02\x00", 400, Closes, "method"),
        (b"GET\r\n", 400, Closes, "request line"),
        (b"GET /text\r\n", 400, Closes, "no version"),
        (b"GET /text HTTP/0.9\r\n", 400, Closes, "HTTP/1.1"),
        (b"GET /text HTTP/2.0\r\n", 505, Closes, "HTTP/1.1"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, Closes, "HTTP/1.1"),
        (b"GET /text HTTP/1.1 \r\n", 400, Closes, "request line"),
        (b"GET  /text HTTP/1.1\r\n", 400, Closes, "request line"),
        (b"GET /te\x00xt HTTP/1.1\r\nHost: a\r\n\r\n", 400, Closes, "target"),
        (b"GET /te\x80xt HTTP/1.1\r\nHost: a\r\n\r\n", 400, Closes, "target"),
        (b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400, Closes, "target"),
        (b"GET text HTTP/1.1\r\nHost: a\r\n\r\n", 400, Closes, "target"),
        (b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 400, Closes, "proxy"),
        (b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 501, Closes, "method"),
        (b"get / HTTP/1.1\r\nHost: a\r\n\r\n", 501, Closes, "method"),
        (b"GET /text HTTP/1.1\nHost: a\r\n\r\n", 400, Closes, "LF"),
        (b"GET /text HTTP/1.1\r\nHost: a\n\r\n", 400, Closes, "LF"),
        (b"GET /text HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", 400, Closes, "CR"),
        (b"GET /text HTTP/1.1\r\nHost: a\r\n X: b\r\n\r\n", 400, Closes, "begins with a space"),
        (b"GET /text HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n", 400, Closes, "before a header's colon"),
        (b"GET /text HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", 400, Closes, "no colon"),
        (b"GET /text HTTP/1.1\r\nHost: a\r\nX Y: b\r\n\r\n", 400, Closes, "not a token"),
        (b"GET /text HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n", 400, Closes, "control character"),
        (b"GET /text HTTP/1.1\r\nHost: a\r\nX: \x7f\r\n\r\n", 400, Closes, "control character"),
        (b"GET /text HTTP/1.1\r\n\r\n", 400, Closes, "no Host"),
        (b"GET /text HTTP/1.1\r\nHost:\r\n\r\n", 400, Closes, "host:port"),
        (b"GET /text HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, Closes, "more than one Host"),
        (b"GET /text HTTP/1.1\r\nHost: u@a\r\n\r\n", 400, Closes, "host:port"),
        (b"GET /text HTTP/1.1\r\nHost: a/text\r\n\r\n", 400, Closes, "host:port"),
        (b"GET http://b/text HTTP/1.1\r\nHost: a\r\n\r\n", 400, Closes, "another host"),
        (b"GET http://u@a/text HTTP/1.1\r\nHost: a\r\n\r\n", 400, Closes, "target"),
        (
            b"POST /vote HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nuid=1",
            400,
            Closes,
            "more than one",
        ),
        (b"POST /vote HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nuid=1", 400, Closes, "more than one"),
        (b"POST /vote HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nuid=1", 400, Closes, "not a number"),
        (
            b"POST /vote HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
            Closes,
            "both",
        ),
        (b"POST /vote HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n", 400, Closes, "malformed"),
        (b"POST /vote HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n", 400, Closes, "malformed"),
        (b"POST /vote HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501, Closes, "not chunked"),
        (b"POST /vote HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xyz, chunked\r\n\r\n", 501, Closes, "unknown"),
        (b"POST /vote HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400, Closes, "HTTP/1.0"),
        (b"POST /vote HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", 400, Closes, "hexadecimal"),
        (b"POST /vote HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;=\r\n", 400, Closes, "extension"),
        (b"POST /vote HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nuid=12", 400, Closes, "CRLF"),
        (b"POST /vote HTTP/1.1\r\nHost: a\r\nContent-Length: 1025\r\n\r\n", 413, Closes, "too long"),
        (b"POST /vote HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n401\r\n", 413, Closes, "too long"),
        (b"POST /vote HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\nContent-Length: 5\r\n\r\n", 417, Closes, "100-continue"),
        (b"\r\n\r\n\r\n\r\n\r\n", 400, Closes, "empty lines"),
        (b"GET /none HTTP/1.1\r\nHost: a\r\n\r\n", 404, GoesOn, "not_found"),
        (b"GET /c/none HTTP/1.1\r\nHost: a\r\n\r\n", 404, GoesOn, "not_found"),
        (b"GET /% HTTP/1.1\r\nHost: a\r\n\r\n", 400, GoesOn, "percent-encoded"),
        (b"GET /%ff HTTP/1.1\r\nHost: a\r\n\r\n", 400, GoesOn, "UTF-8"),
        (b"GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n", 400, GoesOn, "percent-encoded"),
        (b"GET /none HTTP/1.0\r\n\r\n", 404, Closes, "not_found"),
    ];
    check(&start(), &rows);
}

/// A body that is not what it should be: the refusal says what was expected, and the connection goes on.
#[test]
fn bodies() {
    let server = start();
    let form = "application/x-www-form-urlencoded";
    let json = "application/json";
    let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
    let nested = format!(r#"{{"choice":{deep}}}"#);
    let long = "1".repeat(65);
    let long_json = format!(r#"{{"choice":"{long}"}}"#);
    let rows: Vec<(&str, &str, &[u8], u16, &str)> = vec![
        ("/c/poll", form, b"", 400, "choice=ID"),
        ("/c/poll", form, b"choise=1", 400, "choice=ID"),
        ("/c/poll", form, b"choice=1&choice=1", 400, "each field once"),
        ("/c/poll", form, b"choice=%", 400, "two hexadecimal digits"),
        ("/c/poll", form, b"choice=%4", 400, "two hexadecimal digits"),
        ("/c/poll", form, b"choice=%zz", 400, "two hexadecimal digits"),
        ("/c/poll", form, b"choice=%ff", 400, "UTF-8"),
        ("/c/poll", form, b"choice=\xff", 400, "UTF-8"),
        ("/c/poll", form, b"choice=1&x=%", 400, "two hexadecimal digits"),
        ("/c/poll", form, b"choice=", 400, "option's id"),
        ("/c/poll", form, b"choice=9", 422, "1, 2"),
        ("/c/poll", json, b"", 400, "choice"),
        ("/c/poll", json, b"choice=1", 400, "choice"),
        ("/c/poll", json, b"{\"choice\":\"1\"", 400, "choice"),
        ("/c/poll", json, b"{\"choice\":\"1\"}x", 400, "choice"),
        ("/c/poll", json, b"{\"choice\":\"1\",\"choice\":\"1\"}", 400, "choice"),
        ("/c/poll", json, b"{\"choice\":null}", 400, "choice"),
        ("/c/poll", json, b"{\"choice\":true}", 400, "choice"),
        ("/c/poll", json, b"{\"choice\":1.5}", 400, "choice"),
        ("/c/poll", json, b"{\"choice\":[\"1\"]}", 400, "choice"),
        ("/c/poll", json, b"{\"choice\":{\"id\":\"1\"}}", 400, "choice"),
        ("/c/poll", json, b"{\"choice\":99999999999999999999}", 400, "choice"),
        ("/c/poll", json, b"{\"choice\":\"\xff\"}", 400, "UTF-8"),
        ("/c/poll", json, b"{\"choice\":\"\\ud800\"}", 400, "choice"),
        ("/c/poll", json, b"{\"choice\":\"1\",\"x\":1}", 400, "choice"),
        ("/c/poll", json, b"[\"1\"]", 400, "choice"),
        ("/c/poll", json, deep.as_bytes(), 400, "choice"),
        ("/c/poll", json, nested.as_bytes(), 400, "choice"),
        ("/c/poll", json, long_json.as_bytes(), 400, "64 bytes"),
        ("/c/poll", json, b"\xff\xfe{\x00}\x00", 400, "UTF-8"),
        ("/c/poll", json, b"{\"choice\":\"9\"}", 422, "1, 2"),
        ("/c/poll", "text/plain", b"", 400, "option's id"),
        ("/c/poll", "text/plain", b"\xff", 400, "UTF-8"),
        ("/c/poll", "text/plain", long.as_bytes(), 400, "64 bytes"),
        ("/c/poll", "text/plain", b"9", 422, "1, 2"),
        ("/c/poll", "text/html", b"1", 415, "application/json"),
        ("/c/poll", "multipart/form-data; boundary=x", b"1", 415, "application/x-www-form-urlencoded"),
        ("/c/poll", "application", b"1", 415, "application/json"),
        ("/c/news", form, b"txt=1", 400, "field text"),
        ("/c/news", form, b"text=1&text=2", 400, "each field once"),
        ("/c/news", form, b"text=%C0%AF", 400, "UTF-8"),
        ("/c/news", "text/plain; charset=utf-8", b"\xC0\xAF", 400, "UTF-8"),
        ("/c/news", json, b"\xff", 400, "UTF-8"),
        ("/vote", form, b"", 400, "field"),
        ("/vote", form, b"uid=1&uid=2", 400, "each field once"),
        ("/vote", form, b"uid=%", 400, "two hexadecimal digits"),
        ("/vote", form, b"uid=9", 422, "1, 2"),
        ("/c/none", form, b"choice=1", 404, "not_found"),
    ];
    for (path, media, body, status, words) in &rows {
        let shown = format!("{path} {media} {}", String::from_utf8_lossy(body));
        let mut http = Http::to(server.main());
        let answer = http.ask("POST", path, &[("Content-Type", media)], body);
        assert_eq!(answer.status, *status, "{shown}: {}", answer.text());
        let expected = match serde_json::from_slice::<Value>(&answer.body) {
            Ok(json) => {
                json["expected"].as_str().expect("what was expected").to_owned()
                    + json["code"].as_str().expect("a code")
            }
            Err(_) => answer.text().to_owned(),
        };
        assert!(expected.contains(words), "{shown} lacks {words}: {expected}");
        http.ask("GET", "/text", &[], b"").ok();
    }
    assert_eq!(get_json(server.main(), "/c/poll")["state"]["total"], 0, "none of them voted");
    assert_eq!(get_json(server.main(), "/c/news")["state"]["messages"], serde_json::json!([]), "and nothing is news");
    // A body that is compressed besides is nobody's to read, and its end is known all the same.
    check(
        &server,
        &[
            (
                b"POST /vote HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5\r\nuid=1\r\n0\r\n\r\n",
                501,
                GoesOn,
                "besides chunked",
            ),
            (
                b"POST /c/poll HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: deflate, chunked\r\n\r\n1\r\n1\r\n0\r\n\r\n",
                501,
                GoesOn,
                "besides chunked",
            ),
            (
                b"POST /c/echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n1\r\n1\r\n0\r\n\r\n",
                501,
                GoesOn,
                "besides chunked",
            ),
        ],
    );
}

/// A position that is none is refused; one that cannot be followed gets the present state.
#[test]
fn positions() {
    let server = start();
    let at = server.main();
    let ask = |target: &str, headers: &[(&str, &str)]| Http::to(at).ask("GET", target, headers, b"");
    let here = get_json(at, "/c/poll")["at"].as_str().expect("a position").to_owned();
    let elsewhere = get_json(at, "/c/news")["at"].as_str().expect("a position").to_owned();
    let (epoch, _) = here.split_once('-').expect("an epoch and a revision");
    let (future, last) = (format!("{epoch}-1"), format!("{epoch}-{}", u64::MAX));
    for position in [&future, &last, &elsewhere] {
        let answer = ask(&format!("/c/poll?wait=60&since={position}"), &[]).ok();
        assert_eq!(answer.json()["type"], "snapshot", "{position}");
        let mut socket = Socket::open(at, &format!("/c/poll?since={position}"));
        assert_eq!(socket.news()["type"], "snapshot", "{position}");
    }
    let overflow = format!("{epoch}-18446744073709551616");
    for bad in ["x", "1", "-1", "1-", "-", "1--1", "1-1-1", "g-1", "1-x", "%20", "1-1%20", "%EF%BC%91-1", &overflow] {
        for target in [format!("/c/poll?wait=60&since={bad}"), format!("/c/poll?since={bad}")] {
            let answer = ask(&target, &[]).with_status(400);
            assert!(answer.text().contains("EPOCH-REVISION"), "{target}: {}", answer.text());
        }
        assert_eq!(Socket::try_open(at, &format!("/c/poll?since={bad}"), &[]).err(), Some(400), "{bad}");
    }
    for bad in ["x", "1-x"] {
        let answer = ask("/c/poll", &[("Accept", "text/event-stream"), ("Last-Event-ID", bad)]).with_status(400);
        assert!(answer.text().contains("EPOCH-REVISION"), "{bad}: {}", answer.text());
    }
    let twice = format!("since={here}&since={here}");
    for (query, words) in [
        (twice.as_str(), "each field once"),
        ("since=%", "two hexadecimal digits"),
        ("since=%ff", "UTF-8"),
        ("wait=%", "two hexadecimal digits"),
        ("wait=", "seconds"),
        ("wait=x", "seconds"),
        ("wait=-1", "seconds"),
        ("wait=NaN", "seconds"),
        ("wait=inf", "seconds"),
        ("wait=1s", "seconds"),
        ("wait=1&wait=1", "each field once"),
    ] {
        let answer = ask(&format!("/c/poll?{query}"), &[]).with_status(400);
        assert!(answer.text().contains(words), "{query}: {}", answer.text());
    }
}

/// A cookie that says nothing is as good as none: there is a new session, and a new cookie.
#[test]
fn cookies() {
    let server = config().limit("poll_wait_max", "50ms").start();
    let at = server.main();
    let cookie = Http::to(at).ask("GET", "/page", &[], b"").ok().cookie();
    let value = cookie.strip_prefix("tallycast_session=").expect("its name");
    let (all_but_one, changed) = (&cookie[..cookie.len() - 1], cookie.replacen('=', "=9", 1));
    let quoted = format!("tallycast_session=\"{value}\"");
    let among = format!("a=b; {cookie}; c");
    let twice = format!("{cookie}; tallycast_session=x");
    let long = format!("tallycast_session={}", "1.".repeat(2000));
    let rows: [(&str, bool); 14] = [
        (&cookie, true),
        (&quoted, true),
        (&among, true),
        // The first of two counts.
        (&twice, true),
        ("", false),
        ("tallycast_session", false),
        ("tallycast_session=", false),
        ("tallycast_session=x", false),
        ("tallycast_session=0.0.0.", false),
        ("tallycast_session=65535.1.1.", false),
        ("tallycast_session=0.ffffffffffffffff.ffffffffffffffff.", false),
        ("tallycast_session=\u{1F36A}", false),
        (&changed, false),
        (&long, false),
    ];
    for (sent, known) in rows {
        let answer = Http::to(at).ask("GET", "/page", &[("Cookie", sent)], b"").ok();
        assert_eq!(answer.header("Set-Cookie").is_none(), known, "{sent:.80}");
        Http::to(at).ask("GET", "/poll", &[("Cookie", sent)], b"").ok();
    }
    // Who has most of a name has none, or another's.
    Http::to(at).ask("GET", "/page", &[("Cookie", all_but_one)], b"").ok();
}

#[test]
fn methods() {
    let server = start();
    let at = server.main();
    let rows = [
        ("POST", "/text", "GET"),
        ("DELETE", "/text", "GET"),
        ("POST", "/page", "HEAD"),
        ("POST", "/poll", "GET"),
        ("GET", "/vote", "POST"),
        ("PUT", "/vote", "POST"),
        ("PATCH", "/c/poll", "POST"),
        ("TRACE", "/c/poll", "GET"),
        ("PROPFIND", "/c/news", "GET"),
    ];
    for (method, path, allowed) in rows {
        let mut http = Http::to(at);
        let answer = http.ask(method, path, &[], b"").with_status(405);
        let allow = answer.header("Allow").expect("an Allow").to_owned();
        assert!(allow.split(", ").any(|known| known == allowed), "{method} {path}: {allow}");
        assert!(allow.split(", ").all(|known| known != method), "{method} {path}: {allow}");
        assert!(answer.text().contains(allowed), "{}", answer.text());
        http.ask("GET", "/text", &[], b"").ok();
    }
    let mut http = Http::to(at);
    for path in ["/text", "/page", "/c/poll"] {
        let get = http.ask("GET", path, &[], b"").ok();
        let head = http.ask("HEAD", path, &[], b"").ok();
        for name in ["Content-Length", "Content-Type"] {
            assert_eq!(head.header(name), get.header(name), "{path}");
        }
        assert!(http.ask("OPTIONS", path, &[], b"").with_status(204).header("Allow").is_some());
    }
    assert!(http.ask("OPTIONS", "*", &[], b"").with_status(204).header("Allow").is_some());
    http.ask("OPTIONS", "/none", &[], b"").with_status(404);
    http.ask("HEAD", "/none", &[], b"").with_status(404);
}

#[test]
fn versions_and_continue() {
    let server = start();
    let at = server.main();
    let rows: [(&str, bool); 6] = [
        ("GET /text HTTP/1.0\r\n\r\n", false),
        ("GET /text HTTP/1.0\r\nConnection: close\r\n\r\n", false),
        ("GET /text HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true),
        ("GET /text HTTP/1.1\r\nHost: a\r\n\r\n", true),
        ("GET /text HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", false),
        ("GET /text HTTP/1.9\r\nHost: a\r\n\r\n", true),
    ];
    for (bytes, goes_on) in rows {
        let mut http = Http::to(at);
        http.write(bytes.as_bytes());
        let answer = http.answer_to("GET").ok();
        if goes_on {
            http.write(bytes.as_bytes());
            http.answer_to("GET").ok();
        } else {
            assert_eq!(answer.header("Connection"), Some("close"), "{bytes:?}");
            assert!(http.ends(), "{bytes:?}");
        }
    }
    let mut http = Http::to(at);
    http.write(b"POST /vote HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    http.head().with_status(100);
    http.write(b"uid=1");
    http.answer_to("POST").ok();
    // Pipelined, in order, mistakes among them.
    let mut all = request("GET", "/text", &[], b"");
    all.extend(request("GET", "/none", &[], b""));
    all.extend(request("POST", "/vote", &[], b"uid=%"));
    all.extend(request("GET", "/text", &[], b""));
    all.extend(b"GET /text HTTP/1.1\r\n\r\n");
    all.extend(request("GET", "/text", &[], b""));
    http.write(&all);
    for status in [200, 404, 400, 200, 400] {
        http.answer_to("GET").with_status(status);
    }
    assert!(http.ends(), "nothing is answered behind a violation");
}
