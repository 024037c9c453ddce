//! The rows of clients that must work unmodified: each as its page or program does it on the wire.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tungstenite::Message;

use super::http::{Answer, Http, connect, get, post_form, read_head};
use super::server::{Server, pause};
use super::socket::Socket;
use super::with_one_loop_and_two;

with_one_loop_and_two!(
    polling_page,
    long_polling_page,
    long_poll_without_a_vote,
    two_tabs_share_a_cursor,
    votes_between_polls,
    websocket_pages,
    all_four_are_one_poll,
    raw_handshake_programs,
    echo_with_heartbeat,
    echo_queue_is_bounded,
);

const ACCEPTED: &str = "投票成功";

/// Row 1: counts in the page, and a form.
fn polling_page(cores: u16) {
    let server = Server::demo(cores);
    let at = server.main();
    assert_eq!(counts(&get(at, "/index")), [0, 0, 0]);
    for expected in 1..=20 {
        let answer = post_form(at, "/ticket", "nid=1").ok();
        assert_eq!(answer.text(), ACCEPTED);
        assert_eq!(answer.header("Content-Type"), Some("text/plain; charset=utf-8"));
        assert_eq!(counts(&get(at, "/index")), [expected, 0, 0], "on any connection");
    }
    let refused = post_form(at, "/ticket", "nid=9");
    assert!((400..500).contains(&refused.status), "{refused:?}");
    assert_eq!(refused.text(), "unknown_option: expected 1, 2, 3");
    let empty = post_form(at, "/ticket", "other=1");
    assert!((400..500).contains(&empty.status), "{empty:?}");
    assert_eq!(counts(&get(at, "/index")), [20, 0, 0]);
}

/// Row 2: a poll that is parked until the next vote.
fn long_polling_page(cores: u16) {
    let server = Server::demo(cores);
    let at = server.main();
    let cookie = get(at, "/index").ok().cookie();
    for count in 1..=5 {
        let mut poll = parked(at, &cookie);
        assert!(poll.is_silent(Duration::from_millis(50)), "parked until a vote comes");
        assert_eq!(post_form(at, "/vote", "uid=3").ok().text(), ACCEPTED);
        assert_eq!(poll.answer_to("GET").ok().json(), step("uid", "3", count));
    }
    // Another visitor begins at the page that was shown to them, and not at the beginning.
    let other = get(at, "/index").ok().cookie();
    assert_ne!(cookie, other);
    let mut poll = parked(at, &other);
    assert!(poll.is_silent(Duration::from_millis(50)));
    post_form(at, "/vote", "uid=2").ok();
    assert_eq!(poll.answer_to("GET").ok().json(), step("uid", "2", 1));
}

/// Row 2: after 10 s without a vote.
fn long_poll_without_a_vote(cores: u16) {
    let server = Server::demo(cores);
    let cookie = get(server.main(), "/index").ok().cookie();
    let mut poll = parked(server.main(), &cookie);
    assert_eq!(poll.answer_to("GET").ok().json(), json!({"status": false, "data": null}));
}

/// Row 2: two tabs with one cookie, whose polls may arrive on different loops.
fn two_tabs_share_a_cursor(cores: u16) {
    let server = Server::demo(cores);
    let at = server.main();
    let cookie = get(at, "/index").ok().cookie();
    for count in 1..=8 {
        let mut tabs = [parked(at, &cookie), parked(at, &cookie), parked(at, &cookie)];
        assert!(tabs.iter_mut().all(|tab| tab.is_silent(Duration::from_millis(20))));
        post_form(at, "/vote", "uid=1").ok();
        for tab in &mut tabs {
            assert_eq!(tab.answer_to("GET").ok().json(), step("uid", "1", count), "parked together, the same vote");
        }
    }
}

/// Row 2: what fell between two polls comes one at a time, in order.
fn votes_between_polls(cores: u16) {
    let server = Server::demo(cores);
    let at = server.main();
    let cookie = get(at, "/index").ok().cookie();
    let votes = ["1", "2", "1", "3", "1", "2", "1", "1", "3", "2"];
    for vote in votes {
        post_form(at, "/vote", &format!("uid={vote}")).ok();
    }
    let mut tally = [0_u64; 3];
    for vote in votes {
        let option = vote.parse::<usize>().expect("a number") - 1;
        tally[option] += 1;
        assert_eq!(parked(at, &cookie).answer_to("GET").ok().json(), step("uid", vote, tally[option]));
    }
    assert!(parked(at, &cookie).is_silent(Duration::from_millis(50)), "and then no more");
}

/// Rows 3 and 4: bare ids in, every vote out to all, the sender too.
fn websocket_pages(cores: u16) {
    for (path, key) in [("/message", "cid"), ("/get_new_vote", "uid")] {
        let server = Server::demo(cores);
        let at = server.main();
        let mut clients: Vec<Socket> = (0..6).map(|_| Socket::open(at, path)).collect();
        let votes = [("1", 1), ("1", 2), ("3", 1), ("2", 1), ("1", 3)];
        for (index, (option, _)) in votes.iter().enumerate() {
            clients[index].send(option);
            // One at a time, so that the order is known.
            let expected = bare(key, option, votes[index].1);
            for client in &mut clients {
                assert_eq!(client.json(), expected, "nothing on joining, one message for each vote");
            }
        }
        clients[0].send("9");
        assert_eq!(clients[0].json(), json!({"error": "unknown_option", "expected": "1, 2, 3"}));
        assert!(clients[1].is_silent(Duration::from_millis(50)), "a refusal is for the sender alone");
        clients[0].send("2");
        for client in &mut clients {
            assert_eq!(client.json(), bare(key, "2", 2), "and the connection stays");
        }
        // Many at once: each vote is one message, all see the same order, and the counts rise by one.
        for client in &mut clients {
            for _ in 0..20 {
                client.send("1");
            }
        }
        for client in &mut clients {
            for count in 4..124 {
                assert_eq!(client.json(), bare(key, "1", count));
            }
        }
        clients.into_iter().for_each(Socket::close);
    }
    let server = Server::demo(cores);
    let answer = get(server.main(), "/message").ok();
    assert_eq!(answer.text(), "您使用的是Http协议");
}

/// Some way to vote.
type Vote = fn(SocketAddr);

/// Rows 1 to 4 share their counts.
fn all_four_are_one_poll(cores: u16) {
    let server = Server::demo(cores);
    let at = server.main();
    let mut third = Socket::open(at, "/message");
    let mut fourth = Socket::open(at, "/get_new_vote");
    let mut ours = Socket::open(at, &server.poll());
    assert_eq!(ours.news()["type"], "snapshot");
    let cookie = get(at, "/index").ok().cookie();
    let vote: [(&str, Vote); 4] = [
        ("the form of row 1", |at| drop(post_form(at, "/ticket", "nid=2").ok())),
        ("the form of row 2", |at| drop(post_form(at, "/vote", "uid=2").ok())),
        ("row 3", |at| Socket::open(at, "/message").vote_and_close("2")),
        ("row 4", |at| Socket::open(at, "/get_new_vote").vote_and_close("2")),
    ];
    for (count, (who, vote)) in (1..).zip(vote) {
        let mut poll = parked(at, &cookie);
        vote(at);
        assert_eq!(poll.answer_to("GET").ok().json(), step("uid", "2", count), "{who}");
        assert_eq!(third.json(), bare("cid", "2", count), "{who}");
        assert_eq!(fourth.json(), bare("uid", "2", count), "{who}");
        assert_eq!(ours.news()["counts"]["2"], count, "{who}");
        assert_eq!(counts(&get(at, "/index")), [0, count, 0], "{who}");
    }
}

/// Row 7: programs that write the handshake and the frames by hand.
fn raw_handshake_programs(cores: u16) {
    let server = Server::demo(cores);
    for (at, path) in [(server.at(8002), "/"), (server.at(8003), "/chatsocket")] {
        let mut stream = connect(at);
        let handshake = format!(
            "GET {path} HTTP/1.1\r\nHost: {at}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        );
        // A head split over reads, and the first frame in the same write as the end of the head.
        let (first, second) = handshake.as_bytes().split_at(40);
        stream.write_all(first).expect("written");
        pause(Duration::from_millis(20));
        stream.write_all(&[second, &frame("你好".as_bytes())].concat()).expect("written");
        let mut stream = std::io::BufReader::new(stream);
        let head = read_head(&mut stream).with_status(101);
        let word = |name| head.header(name).map(str::to_ascii_lowercase);
        assert_eq!(word("Upgrade").as_deref(), Some("websocket"));
        assert_eq!(word("Connection").as_deref(), Some("upgrade"));
        // RFC 6455 section 1.3.
        assert_eq!(head.header("Sec-WebSocket-Accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        echoed(&mut stream, "你好".as_bytes());

        for length in [0, 1, 125, 126, 127, 65_535, 65_536, 300_000] {
            let text: Vec<u8> = (0..length).map(|index| b'a' + (index % 26) as u8).collect();
            stream.get_mut().write_all(&frame(&text)).expect("written");
            echoed(&mut stream, &text);
        }
        // Two frames in one write, then one frame in three.
        stream.get_mut().write_all(&[frame(b"one"), frame(b"two")].concat()).expect("written");
        echoed(&mut stream, b"one");
        echoed(&mut stream, b"two");
        for piece in frame(b"in pieces").chunks(5) {
            stream.get_mut().write_all(piece).expect("written");
            pause(Duration::from_millis(20));
        }
        echoed(&mut stream, b"in pieces");
    }
    let mut unasked = Socket::open(server.at(8002), "/");
    let text = unasked.text();
    assert_eq!(unasked.text(), text, "every 2 s, without being asked");
}

/// Row 8: an echo that also says that it is alive.
fn echo_with_heartbeat(cores: u16) {
    const HEARTBEAT: &str = "*heartbeat from serve";
    let server = Server::demo(cores);
    for port in [7777, 8000] {
        let mut client = Socket::open(server.at(port), "/ws");
        let mut heartbeats = 0;
        let mut next = |client: &mut Socket| loop {
            match client.message() {
                Message::Text(text) if text.as_str() == HEARTBEAT => heartbeats += 1,
                other => return other,
            }
        };
        for text in ["hello", "面条 🍜", ""] {
            client.send(text);
            assert_eq!(next(&mut client), Message::text(text));
        }
        client.send_binary(&[0, 255, 1]);
        assert_eq!(next(&mut client), Message::binary(vec![0, 255, 1]));
        if heartbeats == 0 {
            assert_eq!(client.text(), HEARTBEAT);
        }
        assert_eq!(client.text(), HEARTBEAT, "again and again");
        client.close();
    }
}

/// Row 8: who does not read is not read, and loses nothing.
fn echo_queue_is_bounded(cores: u16) {
    const MESSAGES: usize = 16_384;
    const BYTES: usize = 4096;
    let server = Server::demo(cores);
    let mut reader = connect(server.at(8003));
    reader.write_all(handshake("/chatsocket").as_bytes()).expect("written");
    let mut writer = reader.try_clone().expect("a second handle");
    let sent = Arc::new(AtomicUsize::new(0));
    let mut stream = std::io::BufReader::new(&mut reader);
    read_head(&mut stream).with_status(101);
    let progress = sent.clone();
    let numbered = |number: usize| format!("{number:0BYTES$}").into_bytes();
    #[expect(clippy::disallowed_methods, reason = "a peer that writes without reading")]
    let writing = std::thread::spawn(move || {
        for number in 0..MESSAGES {
            writer.write_all(&frame(&numbered(number))).expect("the server goes on reading in the end");
            progress.store(number + 1, Ordering::Release);
        }
    });
    // It stops when every buffer on the way is full: what was sent no longer grows.
    let mut before = usize::MAX;
    loop {
        pause(Duration::from_millis(300));
        let now = sent.load(Ordering::Acquire);
        if now == before {
            break;
        }
        before = now;
    }
    assert!(before < MESSAGES / 2, "the server took {before} messages from someone who does not read");
    for number in 0..MESSAGES {
        let text = read_frame(&mut stream);
        assert!(text == numbered(number), "message {number}: {:?}", String::from_utf8_lossy(&text[BYTES - 8..]));
    }
    writing.join().expect("all was written");
}

/// Sends a poll with its cookie; the answer is read later.
pub(super) fn parked(at: SocketAddr, cookie: &str) -> Http {
    let mut http = Http::to(at);
    http.send("GET", "/get_new_vote", &[("Cookie", cookie)], b"");
    http
}

/// The counts of the options 1, 2, 3 as the page shows them.
pub(super) fn counts(page: &Answer) -> [u64; 3] {
    let html = page.text();
    ["1", "2", "3"].map(|id| {
        let marks = [format!("data-option=\"{id}\""), format!("data-option='{id}'")];
        let start = marks.iter().find_map(|mark| html.find(mark)).unwrap_or_else(|| panic!("option {id} in {html}"));
        count_in(&html[start..]).unwrap_or_else(|| panic!("a count for {id} in {html}"))
    })
}

/// The text of the first element whose class is or holds `count`, as a number.
fn count_in(html: &str) -> Option<u64> {
    let mut rest = html;
    loop {
        rest = &rest[rest.find("class=\"")? + "class=\"".len()..];
        let class = &rest[..rest.find('"')?];
        if class.split_ascii_whitespace().any(|word| word == "count") {
            let text = &rest[rest.find('>')? + 1..];
            return text[..text.find('<')?].trim().parse().ok();
        }
    }
}

fn step(key: &str, option: &str, count: u64) -> Value {
    json!({"status": true, "data": bare(key, option, count)})
}

fn bare(key: &str, option: &str, count: u64) -> Value {
    json!({key: option, "count": count})
}

fn handshake(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
}

/// A masked text frame.
fn frame(payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut bytes = vec![0x81];
    match payload.len() {
        length @ ..=125 => bytes.push(0x80 | length as u8),
        length @ 126..=65_535 => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// The payload of the next text frame, whose length is written as short as it can be.
fn read_frame(stream: &mut impl Read) -> Vec<u8> {
    let mut take = |length: usize| {
        let mut bytes = vec![0; length];
        stream.read_exact(&mut bytes).expect("a frame in time");
        bytes
    };
    let head = take(2);
    assert_eq!(head[0], 0x81, "one whole text frame");
    let length = match head[1] {
        126 => {
            let length = usize::from(u16::from_be_bytes(take(2).try_into().expect("two")));
            assert!(length > 125);
            length
        }
        127 => {
            let length = u64::from_be_bytes(take(8).try_into().expect("eight")) as usize;
            assert!(length > 65_535);
            length
        }
        short => {
            assert!(short <= 125, "a server does not mask");
            usize::from(short)
        }
    };
    take(length)
}

/// The next frame, or the one behind it if it is the text that :8002 pushes unasked every 2 s.
fn echoed(stream: &mut impl Read, expected: &[u8]) {
    if read_frame(stream) != expected {
        assert!(read_frame(stream) == expected, "{} bytes come back as they were", expected.len());
    }
}

impl Socket {
    /// Votes, sees the vote counted, and leaves.
    fn vote_and_close(mut self, option: &str) {
        self.send(option);
        self.json();
        self.close();
    }
}
