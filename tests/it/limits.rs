//! Every limit of `[limits]`, hit: what a client gets, and that others are served meanwhile. The real binary, with limits
//! small enough to be met at once.

mod lasting;
mod people;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::live::http::{Answer, Http, connect, get, get_json, post, post_form, request};
use crate::live::server::{Config, PATIENCE, Server, Signal, eventually};
use crate::live::socket::{End, Socket};
use socket2::{Domain, Socket as RawSocket, Type};

/// Of a peer that does not read, at most so much fits into the buffers of both kernels and ours.
const BUFFERS_BYTES_MAX: usize = 48 << 20;

/// A poll by every transport, feeds, an echo, and a page with its session.
const CONFIG: &str = r#"
    [server]
    cores = 1
    [[listener]]
    name = "main"
    address = "127.0.0.1:5000"
    [[channel]]
    name = "poll"
    kind = "vote"
    options = [{ id = "1" }, { id = "2" }]
    [[channel]]
    name = "news"
    kind = "feed"
    [[channel]]
    pattern = "feed/*"
    kind = "feed"
    [[channel]]
    name = "echo"
    kind = "echo"
    [[route]]
    listener = "main"
    path = "/c/*"
    serve = "channels"
    [[route]]
    listener = "main"
    path = "/page"
    serve = "page"
    page = "vote"
    channel = "poll"
    session = true
    [[route]]
    listener = "main"
    path = "/poll"
    serve = "long-poll"
    channel = "poll"
    key = "uid"
    [[route]]
    listener = "main"
    path = "/vote"
    serve = "form"
    channel = "poll"
    field = "uid"
    accepted = "yes"
    [[route]]
    listener = "main"
    path = "/text"
    serve = "text"
    text = "a text"
"#;

pub(crate) fn config() -> Config {
    Config::of(CONFIG)
}

fn served(server: &Server) {
    get(server.main(), "/page").ok();
}

/// A connection that takes hardly anything it does not read.
fn narrow(address: SocketAddr) -> TcpStream {
    let socket = RawSocket::new(Domain::for_address(address), Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    socket.connect(&address.into()).expect("connected");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).expect("a read timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("a write timeout");
    stream
}

/// Writes a piece again and again until the other side takes no more for a while. Returns how many bytes it took.
fn fill(stream: &mut TcpStream, piece: &[u8]) -> usize {
    stream.set_write_timeout(Some(Duration::from_millis(300))).expect("a write timeout");
    let mut taken = 0;
    loop {
        match stream.write(&piece[taken % piece.len()..]) {
            Ok(len) => taken += len,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return taken,
            Err(error) => panic!("{error}"),
        }
        assert!(taken < BUFFERS_BYTES_MAX, "the server reads on and on");
    }
}

fn is_503(answer: &Answer) {
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.header("Retry-After").is_some(), "{answer:?}");
    assert_eq!(answer.json()["code"], "full", "{answer:?}");
}

#[test]
fn connections() {
    let server = config().limit("connections_max", 3).start();
    let at = server.main();
    let mut inside: Vec<Http> = (0..3).map(|_| Http::to(at)).collect();
    for http in &mut inside {
        http.ask("GET", "/page", &[], b"").ok();
    }
    let mut outside = Http::to(at);
    // Without a request, and with one, and in order: no reset takes the answer away.
    let answer = outside.answer_to("GET").with_status(503);
    assert!(answer.header("Retry-After").is_some(), "{answer:?}");
    assert_eq!((answer.header("Connection"), answer.text()), (Some("close"), ""));
    outside.write(&request("GET", "/page", &[], b""));
    assert!(outside.ends());
    // Many at once are let go too, with or without an answer, and nobody else notices.
    let flood: Vec<TcpStream> = (0..300).map(|_| connect(at)).collect();
    let mut told = 0;
    for mut stream in flood {
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        told += usize::from(bytes.starts_with(b"HTTP/1.1 503 "));
        assert!(bytes.is_empty() || bytes.starts_with(b"HTTP/1.1 503 "));
    }
    assert!(told > 0);
    for http in &mut inside {
        http.ask("GET", "/page", &[], b"").ok();
    }
    drop(inside.pop());
    eventually("a place is free", || {
        let mut http = Http::to(at);
        http.write(&request("GET", "/page", &[], b""));
        http.answer_to("GET").status == 200
    });
}

/// Nobody is told how many files there are, and yet they are never used up.
#[test]
fn connections_by_open_files() {
    let server = config().limit("close_wait", "100ms").files(500).start();
    let at = server.main();
    assert!(server.stderr().contains("this process may have 500 open files"), "{}", server.stderr());
    let clients: Vec<TcpStream> = (0..600).map(|_| connect(at)).collect();
    let mut served = 0;
    for (number, stream) in clients.iter().enumerate() {
        let mut http = Http::over(stream.try_clone().expect("a copy"));
        // Who is turned away may be closed already.
        let _ = stream.try_clone().expect("a copy").write_all(&request("GET", "/text", &[], b""));
        if number < 200 {
            served += usize::from(http.answer_to("GET").status == 200);
        }
    }
    assert_eq!(served, 200, "the first are in");
    assert!(!server.stderr().contains("no new connections for the moment"), "{}", server.stderr());
}

#[test]
fn handshakes() {
    let server = config().limit("handshakes_max", 4).start();
    let at = server.main();
    // These are no handshakes any more.
    let enter = |_| {
        let mut http = Http::to(at);
        http.ask("GET", "/page", &[], b"").ok();
        http
    };
    let mut done: Vec<Http> = (0..8).map(enter).collect();
    let mut begun = Http::to(at);
    begun.write(b"GET /page HTTP/1.1\r\n");
    assert!(begun.is_silent(Duration::from_millis(50)));
    let mut silent: Vec<Http> = Vec::new();
    for _ in 0..8 {
        silent.push(Http::to(at));
        // Whoever is in the middle of that many silent ones is served.
        get(at, "/text").ok();
    }
    assert_eq!(begun.answer_to("GET").status, 408, "the oldest makes way");
    assert!(begun.ends());
    for mut http in silent.drain(..4) {
        assert!(http.ends());
    }
    silent.last_mut().expect("the last").ask("GET", "/page", &[], b"").ok();
    for http in &mut done {
        http.ask("GET", "/page", &[], b"").ok();
    }
}

#[test]
fn heads_and_targets_and_bodies() {
    let config = config().limit("head_bytes_max", 600).limit("target_bytes_max", 100).limit("body_bytes_max", 1000);
    let server = config.start();
    let at = server.main();
    let head = |len: usize| {
        let bare = "GET /text HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n";
        bare.replace("X: ", &format!("X: {}", "x".repeat(len - bare.len())))
    };
    let target = |len: usize| format!("GET /text?{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(len - 6));
    let lines = |count: usize| format!("GET /text HTTP/1.1\r\nHost: a\r\n{}\r\n", "X:\r\n".repeat(count - 1));
    let length = |len: usize| {
        let body = "x".repeat(len);
        format!("POST /c/news HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n\r\n{body}")
    };
    let chunked = |len: usize| {
        let head = "POST /c/news HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        format!("{head}{:x}\r\n{}\r\n1\r\nx\r\n0\r\n\r\n", len - 1, "x".repeat(len - 1))
    };
    let rows: [(&str, String, u16); 10] = [
        ("a head", head(600), 200),
        ("a head", head(601), 431),
        ("a target", target(100), 200),
        ("a target", target(101), 414),
        ("header lines", lines(64), 200),
        ("header lines", lines(65), 431),
        ("a body", length(1000), 200),
        ("a body", length(1001), 413),
        ("a body in chunks", chunked(1000), 200),
        ("a body in chunks", chunked(1001), 413),
    ];
    for (what, bytes, status) in rows {
        let mut http = Http::to(at);
        http.write(bytes.as_bytes());
        let answer = http.answer_to("GET");
        assert_eq!(answer.status, status, "{what}: {bytes:.80}");
        if status != 200 {
            assert_eq!(answer.header("Connection"), Some("close"), "{what}");
            assert!(http.ends(), "{what}");
        }
        served(&server);
    }
}

#[test]
fn messages_and_fragments() {
    let server = config().limit("message_bytes_max", 1000).limit("fragments_max", 3).start();
    let at = server.main();
    let frame = |first: u8, len: u16| {
        let mut bytes = vec![first, 0x80 | 126];
        bytes.extend_from_slice(&len.to_be_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend(std::iter::repeat_n(b'x', len.into()));
        bytes
    };
    // Frames of text, and then of continuations; the last one with FIN.
    let message = |lens: &[u16]| -> Vec<u8> {
        let last = lens.len() - 1;
        let first = |index: usize| u8::from(index == 0) | if index == last { 0x80 } else { 0 };
        lens.iter().enumerate().flat_map(|(index, len)| frame(first(index), *len)).collect()
    };
    let rows: [(&[u16], bool); 6] = [
        (&[1000], true),
        (&[1001], false),
        (&[500, 500], true),
        (&[500, 501], false),
        (&[200, 200, 200], true),
        (&[200, 200, 200, 200], false),
    ];
    for (lens, echoed) in rows {
        let mut socket = Socket::open(at, "/c/echo");
        socket.write_raw(&message(lens));
        match echoed {
            true => assert_eq!(socket.text().len(), lens.iter().map(|len| usize::from(*len)).sum::<usize>()),
            false => assert_eq!(socket.end(), End::Closed(1009), "{lens:?}"),
        }
    }
    served(&server);
}

/// A flood behind a request that waits is not read, whoever sends it; and when that one is answered, all are, in order.
#[test]
fn pipelined_requests() {
    let server = config().limit("pipelined_bytes_max", "128 KiB").start();
    let at = server.main();
    let position = get_json(at, "/c/poll")["at"].as_str().expect("a position").to_owned();
    let mut http = Http::to(at);
    http.send("GET", &format!("/c/poll?wait=60&since={position}"), &[], b"");
    let piece = request("GET", "/text", &[], b"");
    let mut stream = connect(at);
    stream.write_all(&request("GET", &format!("/c/poll?wait=60&since={position}"), &[], b"")).expect("written");
    let taken = fill(&mut stream, &piece.repeat(1000));
    assert!(taken > 128 << 10, "the buffers were filled: {taken}");
    post_form(at, "/vote", "uid=1").ok();
    assert_eq!(http.answer_to("GET").ok().json()["type"], "publications");
    let mut flood = Http::over(stream);
    assert_eq!(flood.answer_to("GET").ok().json()["type"], "publications");
    for _ in 0..(taken / piece.len()).min(2000) {
        assert_eq!(flood.answer_to("GET").ok().text(), "a text");
    }
    served(&server);
}

/// Who sends and does not read is not read from either, and gets all when it reads.
#[test]
fn what_waits_for_one_connection_alone() {
    // Many small messages meet the one bound, few large ones the other.
    let rows: [(&str, &str, usize); 2] = [("private_messages_max", "10", 4), ("private_bytes_max", "4096", 60_000)];
    for (key, value, len) in rows {
        let limit: i64 = value.parse().expect("a number");
        let server = config().limit(key, limit).start();
        let stream = narrow(server.main());
        let mut writer = stream.try_clone().expect("a copy");
        let mut socket = Socket::over(stream, "/c/echo", &[]).unwrap_or_else(|status| panic!("{status}"));
        let mut frame = match len {
            0..126 => vec![0x81, 0x80 | len as u8],
            _ => [&[0x81, 0x80 | 126][..], &(len as u16).to_be_bytes()].concat(),
        };
        frame.extend_from_slice(&[0; 4]);
        frame.extend(std::iter::repeat_n(b'x', len));
        let taken = fill(&mut writer, &frame.repeat(1 + 100_000 / frame.len()));
        assert!(taken > frame.len(), "{key}");
        served(&server);
        for _ in 0..(taken / frame.len()).min(5000) {
            assert_eq!(socket.text().len(), len, "{key}");
        }
    }
}

#[test]
fn the_log_of_one_channel() {
    let config = config().limit("log_bytes_max", "16 KiB").limit("body_bytes_max", "8 KiB");
    let server = config.start();
    let at = server.main();
    let mut stuck = Socket::over(narrow(at), "/c/news", &[]).unwrap_or_else(|status| panic!("{status}"));
    let mut healthy = Socket::open(at, "/c/news");
    assert_eq!(healthy.news()["type"], "snapshot");
    let body = "x".repeat(8000);
    for _ in 0..200 {
        post(at, "/c/news", "text/plain", &body).ok();
        assert_eq!(healthy.news()["text"].as_str().map(str::len), Some(8000));
    }
    let (messages, end) = stuck.rest();
    assert!(matches!(end, End::Closed(4008) | End::Cut), "{end:?}");
    assert!(messages.len() < 200, "{}", messages.len());
}

/// Each log is within its bound, all together are not: whose is longest lets its laggards go, and those who read are spared.
#[test]
fn the_logs_of_all_channels() {
    const CHANNELS: usize = 8;
    let server = config().limit("logs_bytes_max", "1 MiB").start();
    let at = server.main();
    let path = |channel: usize| format!("/c/feed/{channel}");
    let open = |channel: usize| {
        let stuck = Socket::over(narrow(at), &path(channel), &[]).unwrap_or_else(|status| panic!("{status}"));
        let mut healthy = Socket::open(at, &path(channel));
        assert_eq!(healthy.news()["type"], "snapshot");
        (stuck, healthy)
    };
    let mut pairs: Vec<(Socket, Socket)> = (0..CHANNELS).map(open).collect();
    // 600 KB for each: less than a log may hold.
    let body = "x".repeat(30_000);
    for _ in 0..20 {
        for (channel, (_, healthy)) in pairs.iter_mut().enumerate() {
            post(at, &path(channel), "text/plain", &body).ok();
            assert_eq!(healthy.news()["text"].as_str().map(str::len), Some(body.len()));
        }
    }
    // Who was spared gets the goodbye behind the message in hand.
    server.signal(Signal::Terminate);
    let mut passed = 0;
    for (stuck, healthy) in &mut pairs {
        match stuck.end() {
            End::Closed(1001) => {}
            End::Closed(4008) | End::Cut => passed += 1,
            End::Closed(other) => panic!("{other}"),
        }
        assert_eq!(healthy.end(), End::Closed(1001));
    }
    assert!((CHANNELS / 2..CHANNELS).contains(&passed), "1 MiB holds one tail, and hardly two: {passed}");
}
