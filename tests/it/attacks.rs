//! Attacks in small numbers, over real sockets: others are served meanwhile, memory is bounded, and everything is let go,
//! by the server itself where the attacker holds on. `scripts/attack` does the same in large numbers, and measures.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use crate::live::http::{Http, connect, get_json, post, request};
use crate::live::server::{Config, PATIENCE, Server, eventually, pause};
use crate::live::socket::Socket;

const MIB: usize = 1 << 20;
/// What a server of this build may grow by, besides what an attack is allowed to make it hold. The allocator gives
/// memory back seconds later.
const GROWTH_BYTES_MAX: usize = 64 * MIB;

/// A server under attack.
struct Siege {
    server: Server,
    resident_bytes: usize,
    descriptors: usize,
}

#[test]
fn idle_connections() {
    let siege = Siege::begin();
    let crowd = siege.crowd(200, b"");
    siege.others_are_served();
    siege.grew_at_most(0);
    let said: Vec<u8> = crowd.into_iter().flat_map(|stream| siege.held_to_the_end(stream)).collect();
    assert!(said.is_empty(), "closed without an answer");
    siege.lets_everything_go();
}

#[test]
fn slow_heads() {
    let siege = Siege::begin();
    let mut crowd = siege.crowd(200, b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n");
    for number in 0..5 {
        write_some(&mut crowd, format!("X-{number}: v\r\n").as_bytes());
        siege.others_are_served();
    }
    siege.all_are_told(crowd, "HTTP/1.1 408 ");
    siege.lets_everything_go();
}

#[test]
fn slow_bodies() {
    let siege = Siege::begin();
    let mut crowd = siege.crowd(200, b"POST /c/test/feed HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 4096\r\n\r\n");
    for _ in 0..5 {
        write_some(&mut crowd, b"x");
        siege.others_are_served();
    }
    siege.all_are_told(crowd, "HTTP/1.1 408 ");
    siege.lets_everything_go();
}

#[test]
fn slow_reads() {
    let siege = Siege::begin();
    let crowd = siege.crowd(100, &get("/").repeat(3));
    siege.others_are_served();
    siege.grew_at_most(0);
    siege.lets_everything_go();
    drop(crowd);
}

#[test]
fn heads_of_a_thousand_lines() {
    let siege = Siege::begin();
    let lines: String = (0..1000).map(|number| format!("X-{number}: v\r\n")).collect();
    let crowd = siege.crowd(100, format!("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n{lines}\r\n").as_bytes());
    siege.others_are_served();
    siege.all_are_told(crowd, "HTTP/1.1 431 ");
    siege.lets_everything_go();
}

#[test]
fn bodies_in_chunks_of_a_byte() {
    let siege = Siege::begin();
    let head =
        "POST /c/test/echo HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
    // Extensions say nothing, so there is a bound for all of a body's together.
    for (chunk, status_line) in [("1\r\nx\r\n", "HTTP/1.1 200 "), ("1;a=b\r\nx\r\n", "HTTP/1.1 400 ")] {
        let crowd = siege.crowd(10, format!("{head}{}0\r\n\r\n", chunk.repeat(20_000)).as_bytes());
        siege.others_are_served();
        siege.all_are_told(crowd, status_line);
    }
    siege.lets_everything_go();
}

#[test]
fn pipelined_requests_whose_answers_nobody_reads() {
    let siege = Siege::begin();
    let mut crowd = siege.crowd(50, b"");
    fill(&mut crowd, &get(&siege.server.poll()).repeat(200), 40);
    siege.others_are_served();
    siege.grew_at_most(50 * MIB / 2);
    siege.lets_everything_go();
    drop(crowd);
}

#[test]
fn pipelined_requests_without_end() {
    let siege = Siege::begin();
    let mut crowd = siege.crowd(4, b"");
    for stream in &crowd {
        stream.set_nonblocking(true).expect("an option");
    }
    let requests = get(&siege.server.poll()).repeat(1000);
    let mut places = [0; 4];
    let mut buffer = vec![0; 64 << 10];
    // As many as it takes, and the answers are read: it is to take no more than it answers, and little ahead.
    for round in 0..1500 {
        for (stream, place) in crowd.iter_mut().zip(&mut places) {
            while stream.read(&mut buffer).is_ok_and(|len| len > 0) {}
            while let Ok(len) = stream.write(&requests[*place..]) {
                *place = (*place + len) % requests.len();
            }
        }
        pause(Duration::from_millis(1));
        if round % 500 == 0 {
            siege.others_are_served();
        }
    }
    siege.grew_at_most(0);
    drop(crowd);
    siege.lets_everything_go();
}

#[test]
fn large_answers_that_nobody_reads() {
    let siege = Siege::begin();
    // JSON writes this as six times as many bytes, and history keeps four of it.
    let text = "\u{1}".repeat(1_000_000);
    for _ in 0..4 {
        post(siege.server.main(), "/c/test/feed", "text/plain", &text).ok();
    }
    let crowd = siege.crowd(20, &get("/c/test/feed"));
    siege.others_are_served();
    // The answer is written once, however many ask.
    siege.grew_at_most(128 * MIB);
    siege.lets_everything_go();
    drop(crowd);
}

#[test]
fn event_streams_that_nobody_reads() {
    let siege = Siege::begin();
    let text = "x".repeat(1_000_000);
    for _ in 0..4 {
        post(siege.server.main(), "/c/test/feed", "text/plain", &text).ok();
    }
    let at = get_json(siege.server.main(), "/c/test/feed")["at"].as_str().expect("a position").to_owned();
    let since = at.replace("-4", "-0");
    assert_ne!(since, at);
    // Each of them gets all four again, and takes the beginning.
    let target = format!("/c/test/feed?since={since}");
    let crowd = siege.crowd(20, &request("GET", &target, &[("Accept", "text/event-stream")], b""));
    siege.others_are_served();
    siege.grew_at_most(20 * 8 * MIB);
    siege.lets_everything_go();
    drop(crowd);
}

#[test]
fn a_quiet_listener_stays() {
    let siege = Siege::with(&[("ping_interval", "200ms"), ("ping_wait", "2s")]);
    let mut listener = Socket::open(siege.server.main(), "/c/news");
    listener.news();
    // Asked twice, and it answers faster than a timer can be: 5 s of reading, and a ping ends a wait.
    for _ in 0..12 {
        listener.is_silent(Duration::from_millis(500));
    }
    post(siege.server.main(), "/c/news", "text/plain", "still there?").ok();
    assert_eq!(listener.json_of("message")["text"], "still there?");
    listener.close();
    siege.lets_everything_go();
}

#[test]
fn handshakes() {
    let siege = Siege::begin();
    for round in 0..10 {
        let sockets: Vec<Socket> = (0..50).map(|_| Socket::open(siege.server.main(), &siege.server.poll())).collect();
        if round % 2 == 0 {
            siege.others_are_served();
        }
        drop(sockets);
    }
    siege.grew_at_most(0);
    siege.lets_everything_go();
}

#[test]
fn pings_whose_pongs_nobody_reads() {
    let siege = Siege::begin();
    let mut crowd = siege.websockets(50, &siege.server.poll());
    fill(&mut crowd, &frame(0x89, &[b'x'; 125]).repeat(400), 40);
    siege.others_are_served();
    siege.grew_at_most(50 * MIB / 2);
    siege.lets_everything_go();
    drop(crowd);
}

#[test]
fn fragments_of_a_byte() {
    let siege = Siege::begin();
    let crowd = siege.websockets(20, "/c/test/echo");
    let mut message = frame(0x01, b"x");
    message.extend(frame(0x00, b"x").repeat(1024));
    for stream in &crowd {
        (&*stream).write_all(&message).expect("the server takes what we send");
    }
    siege.others_are_served();
    siege.all_are_closed(crowd, 1009);
    siege.lets_everything_go();
}

#[test]
fn announced_lengths() {
    let siege = Siege::begin();
    for length in [1 << 62, 1 << 30, MIB as u64 + 1] {
        let crowd = siege.websockets(20, "/c/test/echo");
        let mut head = vec![0x82, 0xff];
        head.extend_from_slice(&length.to_be_bytes());
        head.extend_from_slice(&[0; 4]);
        for stream in &crowd {
            (&*stream).write_all(&head).expect("the server takes what we send");
        }
        siege.others_are_served();
        siege.all_are_closed(crowd, 1009);
    }
    siege.grew_at_most(0);
    siege.lets_everything_go();
}

#[test]
fn messages_without_their_last_byte() {
    let siege = Siege::begin();
    let message = frame(0x82, &vec![0; MIB]);
    let crowd = siege.websockets(20, "/c/test/echo");
    for stream in &crowd {
        (&*stream).write_all(&message[..message.len() - 1]).expect("the server takes what we send");
    }
    siege.others_are_served();
    siege.grew_at_most(20 * 2 * MIB);
    siege.lets_everything_go();
    drop(crowd);
}

#[test]
fn readers_that_stop_in_the_middle_of_a_message() {
    let siege = Siege::begin();
    let crowd = siege.websockets(50, "/c/test/feed");
    let text = "x".repeat(256 << 10);
    for number in 0..40 {
        post(siege.server.main(), "/c/test/feed", "text/plain", &text).ok();
        if number % 10 == 0 {
            siege.others_are_served();
        }
    }
    // History keeps 4 MiB, in the engine and the mirrors the same; a stuck reader keeps the message in hand, which it shares.
    siege.grew_at_most(16 * MIB);
    siege.lets_everything_go();
    drop(crowd);
}

#[test]
fn parked_polls_that_one_vote_answers() {
    let siege = Siege::begin();
    let (at, poll) = (siege.server.main(), siege.server.poll());
    let since = get_json(at, &poll)["at"].as_str().expect("a position").to_owned();
    let mut crowd = siege.crowd(100, &get(&format!("{poll}?wait=30&since={since}")));
    crowd.extend(siege.crowd(100, &get("/get_new_vote")));
    let mut polls: Vec<Http> = crowd.into_iter().map(Http::over).collect();
    assert!(
        polls[0].is_silent(Duration::from_millis(100)) && polls[199].is_silent(Duration::from_millis(100)),
        "parked"
    );
    siege.others_are_served();
    for http in &mut polls {
        let answer = http.answer_to("GET").ok().json();
        assert!(answer["publications"].is_array() || answer["status"] == true, "{answer}");
    }
    siege.grew_at_most(0);
    drop(polls);
    siege.lets_everything_go();
}

#[test]
fn votes_from_one_connection() {
    const VOTES: u64 = 20_000;
    let siege = Siege::begin();
    let path = "/c/test/polls/flood";
    let mut crowd = siege.websockets(1, path);
    let mut reader = crowd[0].try_clone().expect("a socket");
    // Both directions at once: a client that does not read is held back.
    reader.set_nonblocking(true).expect("an option");
    let votes = frame(0x81, br#"{"choice":"1"}"#).repeat(100);
    let mut buffer = vec![0; 64 << 10];
    for number in 0..VOTES / 100 {
        write_while_reading(&mut crowd[0], &mut reader, &votes, &mut buffer);
        if number % 50 == 0 {
            siege.others_are_served();
        }
    }
    eventually("all votes are counted", || {
        let _ = reader.read(&mut buffer);
        get_json(siege.server.main(), path)["state"]["total"] == VOTES
    });
    siege.grew_at_most(0);
    drop((crowd, reader));
    siege.lets_everything_go();
}

impl Siege {
    fn begin() -> Siege {
        Siege::with(&[("ping_interval", "2s"), ("ping_wait", "1s")])
    }

    fn with(limits: &[(&str, &str)]) -> Siege {
        let mut config = Config::demo().cores(2).channel("test/feed", "feed").channel("test/echo", "echo");
        let times = [("head_wait", "1s"), ("body_wait", "1s"), ("keep_alive", "2s"), ("close_wait", "500ms")];
        for (key, time) in times.iter().chain(limits) {
            config = config.limit(key, *time);
        }
        let server = config.vote("test/polls/*").start();
        let mut siege = Siege { server, resident_bytes: 0, descriptors: 0 };
        siege.descriptors = siege.count_descriptors();
        siege.others_are_served();
        siege.resident_bytes = siege.count_resident_bytes();
        siege
    }

    /// Connections that have sent this.
    fn crowd(&self, count: usize, first: &[u8]) -> Vec<TcpStream> {
        let mut crowd: Vec<TcpStream> = (0..count).map(|_| connect(self.server.main())).collect();
        for stream in &mut crowd {
            stream.write_all(first).expect("the server takes what we send");
        }
        crowd
    }

    /// Connections on which the handshake is done, and nothing behind it is read.
    fn websockets(&self, count: usize, path: &str) -> Vec<TcpStream> {
        let headers = [
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        let crowd = self.crowd(count, &request("GET", path, &headers, b""));
        for mut stream in &crowd {
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") {
                stream.read_exact(&mut byte).expect("a handshake in time");
                head.push(byte[0]);
            }
            assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
        }
        crowd
    }

    /// A vote over a WebSocket with its answer, a GET that shows it, and a broadcast to three.
    fn others_are_served(&self) {
        let (at, poll) = (self.server.main(), self.server.poll());
        let total = |json: Value| json["state"]["total"].as_u64().expect("a total");
        let before = total(get_json(at, &poll));
        let mut listeners: Vec<Socket> = (0..3).map(|_| Socket::open(at, "/c/news")).collect();
        let mut voter = Socket::open(at, &poll);
        voter.send(r#"{"choice":"1","id":7}"#);
        assert_eq!(voter.json_of("ok")["id"], 7);
        assert_eq!(total(get_json(at, &poll)), before + 1);
        post(at, "/c/news", "text/plain", "hello").ok();
        for listener in &mut listeners {
            assert_eq!(listener.json_of("message")["text"], "hello");
        }
        voter.close();
        listeners.into_iter().for_each(Socket::close);
    }

    /// Memory is bounded: what an attack may make it hold, and a general allowance.
    fn grew_at_most(&self, allowed_bytes: usize) {
        let (before, now) = (self.resident_bytes, self.count_resident_bytes());
        assert!(now <= before + allowed_bytes + GROWTH_BYTES_MAX, "{} MiB became {} MiB", before / MIB, now / MIB);
    }

    /// The server holds no connection any more, does not spin, and serves.
    fn lets_everything_go(&self) {
        eventually("all descriptors are given back", || self.count_descriptors() <= self.descriptors);
        let ticks = self.server.cpu_ticks();
        pause(Duration::from_millis(500));
        let ticks = self.server.cpu_ticks() - ticks;
        assert!(ticks <= 25, "it rests: {ticks} ticks of 50");
        self.others_are_served();
        assert!(!self.server.stderr().contains("panicked"), "{}", self.server.stderr());
    }

    /// Reads to the end, which is the server's doing.
    fn held_to_the_end(&self, mut stream: TcpStream) -> Vec<u8> {
        let mut said = Vec::new();
        match stream.read_to_end(&mut said) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "the server ends it"),
        }
        said
    }

    /// Everyone is answered like this, and the connection ends.
    fn all_are_told(&self, crowd: Vec<TcpStream>, status_line: &str) {
        for stream in crowd {
            let said = self.held_to_the_end(stream);
            let said = String::from_utf8_lossy(&said);
            assert!(said.starts_with(status_line), "{status_line}: {said:.200}");
        }
    }

    /// Everyone gets this close code as the last thing, and the connection ends.
    fn all_are_closed(&self, crowd: Vec<TcpStream>, code: u16) {
        for stream in crowd {
            let said = self.held_to_the_end(stream);
            let close = said.windows(4).any(|window| window[0] == 0x88 && window[2..] == code.to_be_bytes());
            assert!(close, "{code}: {said:?}");
        }
    }

    fn count_descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.server.pid())).expect("the process is there").count()
    }

    fn count_resident_bytes(&self) -> usize {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.server.pid())).expect("the process is there");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its resident memory");
        line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") << 10
    }
}

fn get(path: &str) -> Vec<u8> {
    request("GET", path, &[], b"")
}

/// A client's frame, with a mask of zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..126 => frame.push(0x80 | len as u8),
        len @ 126..65_536 => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

/// Sends, as far as the server is still there.
fn write_some(crowd: &mut [TcpStream], bytes: &[u8]) {
    for stream in crowd {
        let _ = stream.write_all(bytes);
    }
}

/// Sends as much as the server and the kernel take, but no more than this many times.
fn fill(crowd: &mut [TcpStream], bytes: &[u8], times: usize) {
    for stream in crowd {
        stream.set_nonblocking(true).expect("an option");
        for _ in 0..times {
            // What was cut in the middle is cut: the server reads no further anyway.
            match stream.write(bytes) {
                Ok(len) if len == bytes.len() => {}
                Ok(_) | Err(_) => break,
            }
        }
    }
}

/// Sends all, reading whatever comes meanwhile.
fn write_while_reading(stream: &mut TcpStream, reader: &mut TcpStream, mut bytes: &[u8], buffer: &mut [u8]) {
    let step = Duration::from_millis(1);
    for _ in 0..PATIENCE.as_millis() {
        while reader.read(buffer).is_ok_and(|len| len > 0) {}
        // The two share one socket, and so its being non-blocking.
        match stream.write(bytes) {
            Ok(len) => bytes = &bytes[len..],
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        if bytes.is_empty() {
            return;
        }
        pause(step);
    }
    panic!("the server does not take what we send");
}
