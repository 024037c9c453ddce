//! RFC 6455 and RFC 9112 against `configs/conformance.toml` over real sockets, where the Autobahn TestSuite has no case:
//! the opening handshake, unmasked frames, lengths longer than need be, data behind Close, huge announced lengths.
//! The suite itself is run by `scripts/autobahn`.

use std::io::Write;

use tungstenite::Message;

use crate::live::http::{Answer, Http, connect, request};
use crate::live::server::{Config, Server};
use crate::live::socket::{End, Socket};

const WS: u16 = 9001;
const HTTP: u16 = 9002;
/// RFC 6455 section 1.3.
const KEY: (&str, &str) = ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const VERSION: (&str, &str) = ("Sec-WebSocket-Version", "13");
const UPGRADE: (&str, &str) = ("Upgrade", "websocket");
const CONNECTION: (&str, &str) = ("Connection", "Upgrade");

type Headers<'a> = &'a [(&'a str, &'a str)];

fn server() -> Server {
    Config::conformance().cores(1).start()
}

fn handshake(server: &Server, method: &str, headers: Headers<'_>) -> Answer {
    let mut http = Http::to(server.at(WS));
    http.write(&request(method, "/", headers, b""));
    // The head alone: behind a 101 there is no body.
    http.head()
}

#[test]
fn opening_handshakes_that_are_right() {
    let server = server();
    let rows: [Headers<'_>; 8] = [
        &[UPGRADE, CONNECTION, KEY, VERSION],
        &[("upgrade", "WebSocket"), ("connection", "upgrade"), KEY, VERSION],
        &[UPGRADE, ("Connection", "keep-alive, Upgrade"), KEY, VERSION],
        &[("Connection", "keep-alive"), ("Connection", "UPGRADE"), UPGRADE, KEY, VERSION],
        &[UPGRADE, CONNECTION, KEY, VERSION, ("Origin", "http://anywhere.test")],
        &[UPGRADE, CONNECTION, KEY, VERSION, ("Sec-WebSocket-Protocol", "chat, superchat")],
        &[UPGRADE, CONNECTION, KEY, VERSION, ("Sec-WebSocket-Extensions", "permessage-deflate")],
        &[UPGRADE, CONNECTION, KEY, VERSION, ("Sec-WebSocket-Extensions", "x-unknown; a=1")],
    ];
    for headers in rows {
        let answer = handshake(&server, "GET", headers).with_status(101);
        assert_eq!(answer.header("Sec-WebSocket-Accept"), Some(ACCEPT), "{headers:?}");
        // Nothing was agreed on that the server does not do (sections 4.1 and 9.1).
        assert_eq!(answer.header("Sec-WebSocket-Protocol"), None, "{headers:?}");
        assert_eq!(answer.header("Sec-WebSocket-Extensions"), None, "{headers:?}");
        assert_eq!(answer.header("Content-Length"), None, "{headers:?}");
    }
}

#[test]
fn opening_handshakes_that_are_wrong() {
    let server = server();
    let rows: [(&str, &str, Headers<'_>, &[u16]); 8] = [
        ("no key", "GET", &[UPGRADE, CONNECTION, VERSION], &[400]),
        ("a short key", "GET", &[UPGRADE, CONNECTION, ("Sec-WebSocket-Key", "AAAA"), VERSION], &[400]),
        (
            "a key that is no base64",
            "GET",
            &[UPGRADE, CONNECTION, ("Sec-WebSocket-Key", "*GhlIHNhbXBsZSBub25jZQ=="), VERSION],
            &[400],
        ),
        ("two keys", "GET", &[UPGRADE, CONNECTION, KEY, KEY, VERSION], &[400]),
        ("no version", "GET", &[UPGRADE, CONNECTION, KEY], &[400, 426]),
        ("an old version", "GET", &[UPGRADE, CONNECTION, KEY, ("Sec-WebSocket-Version", "8")], &[426]),
        ("another method", "POST", &[UPGRADE, CONNECTION, KEY, VERSION], &[400, 405]),
        ("no Connection", "GET", &[UPGRADE, KEY, VERSION], &[400, 426]),
    ];
    for (what, method, headers, statuses) in rows {
        let answer = handshake(&server, method, headers);
        assert!(statuses.contains(&answer.status), "{what}: {answer:?}");
        if answer.status == 426 {
            assert_eq!(answer.header("Sec-WebSocket-Version"), Some("13"), "{what}: says what it speaks (section 4.4)");
        }
    }
}

#[test]
fn frames_that_end_the_connection() {
    let server = server();
    let huge = [&[0x82, 0xff], &(1_u64 << 62).to_be_bytes()[..], &[0; 4]].concat();
    let negative = [&[0x82, 0xff], &u64::MAX.to_be_bytes()[..], &[0; 4]].concat();
    let over = [&[0x82, 0xff], &(33_u64 << 20).to_be_bytes()[..], &[0; 4]].concat();
    let rows: [(&str, &[u8], &[u16]); 10] = [
        ("an unmasked text", b"\x81\x01a", &[1002]),
        ("an unmasked ping", b"\x89\x00", &[1002]),
        ("an unmasked close", b"\x88\x02\x03\xe8", &[1002]),
        ("16 bits for a length of 125", b"\x82\xfe\x00\x7d\0\0\0\0", &[1002]),
        ("64 bits for a length of 65535", b"\x82\xff\0\0\0\0\0\0\xff\xff\0\0\0\0", &[1002]),
        ("64 bits for a length of 0", b"\x82\xff\0\0\0\0\0\0\0\0\0\0\0\0", &[1002]),
        ("a huge length", &huge, &[1009]),
        ("a length with the highest bit", &negative, &[1002, 1009]),
        ("a length over the limit", &over, &[1009]),
        ("a fragmented close", b"\x08\x82\0\0\0\0\x03\xe8", &[1002]),
    ];
    for (what, bytes, codes) in rows {
        // Whole, and cut at every byte.
        for cut in 0..bytes.len() {
            let mut socket = Socket::open(server.at(WS), "/");
            socket.write_raw(&bytes[..cut]);
            socket.write_raw(&bytes[cut..]);
            let end = socket.end();
            assert!(codes.iter().any(|code| end == End::Closed(*code)), "{what}, cut at {cut}: {end:?}");
        }
    }
}

#[test]
fn nothing_is_answered_behind_a_close() {
    let server = server();
    let mut socket = Socket::open(server.at(WS), "/");
    // "one", a close with 1000, and "two" in the same write.
    let bytes = [&b"\x81\x83\0\0\0\0one"[..], b"\x88\x82\0\0\0\0\x03\xe8", b"\x81\x83\0\0\0\0two"];
    socket.write_raw(&bytes.concat());
    assert_eq!(socket.rest(), (vec![Message::text("one")], End::Closed(1000)));
}

#[test]
fn messages_up_to_32_mib_come_back() {
    let server = server();
    let mut socket = Socket::open(server.at(WS), "/");
    for bytes in [0, 125, 126, 65_535, 65_536, 1 << 20, 16 << 20] {
        let payload: Vec<u8> = (0..bytes).map(|index| (index % 251) as u8).collect();
        socket.send_binary(&payload);
        assert!(socket.message() == Message::binary(payload), "{bytes} bytes");
    }
    // 65536 fragments of one byte, the last of them final.
    let mut frames = b"\x02\x81\0\0\0\0x".to_vec();
    for _ in 1..65_535 {
        frames.extend_from_slice(b"\x00\x81\0\0\0\0x");
    }
    frames.extend_from_slice(b"\x80\x81\0\0\0\0x");
    socket.write_raw(&frames);
    assert!(socket.message() == Message::binary(vec![b'x'; 65_536]));
}

#[test]
fn any_method_and_any_body_come_back_over_http() {
    let server = server();
    let mut http = Http::to(server.at(HTTP));
    let large = vec![0xa5; 500_000];
    for method in ["POST", "PUT", "PATCH", "DELETE", "GET", "REPORT"] {
        for body in [&b""[..], b"body", &large] {
            let answer = http.ask(method, "/", &[], body).ok();
            assert!(answer.body == body, "{method}: {} bytes of {}", answer.body.len(), body.len());
        }
    }
    assert!(http.ask("HEAD", "/", &[], b"").ok().body.is_empty());
    // Chunked, with an extension and a trailer, in one piece and byte by byte (RFC 9112 section 7.1).
    let chunked = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                    4;x=y\r\nWiki\r\n5\r\npedia\r\n0\r\nTrailer: t\r\n\r\n";
    http.write(chunked);
    assert_eq!(http.answer_to("POST").ok().text(), "Wikipedia");
    for byte in chunked {
        http.write(&[*byte]);
    }
    assert_eq!(http.answer_to("POST").ok().text(), "Wikipedia");
    // Who asks first is told to go on (RFC 9110 section 10.1.1).
    http.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(http.head().status, 100);
    http.write(b"ok");
    assert_eq!(http.answer_to("POST").ok().text(), "ok");
    // HTTP/1.0 is answered and closed.
    let mut old = connect(server.at(HTTP));
    old.write_all(b"POST / HTTP/1.0\r\nContent-Length: 3\r\n\r\nold").expect("written");
    let mut old = Http::over(old);
    assert_eq!(old.answer_to("POST").ok().text(), "old");
    assert!(old.ends());
}
