//! `configs/bench.toml` path by path, and readers who are stuck at full rate: the process does not grow, the others notice
//! nothing, and the stuck ones get what their channel says when they wake.

use std::path::Path;

use serde_json::{Value, json};
use tungstenite::Message;

use super::http::get_json;
use super::server::{Config, Server};
use super::socket::{End, Socket};

const STUCK: usize = 20;
const READERS: usize = 40;
const PORT: u16 = 9100;

fn bench() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/bench.toml");
    std::fs::read_to_string(path).expect("it is shipped")
}

/// The same with so little room that a test fills it, and a poll of so many options that a tally is long.
fn small() -> Server {
    let options: Vec<String> = (1..=200).map(|id| format!("{{ id = \"{id}\", label = \"{id}\" }}")).collect();
    let more = format!(
        r#"
        [[channel]]
        name = "wide"
        kind = "vote"
        options = [{}]
        [[route]]
        listener = "main"
        path = "/wide"
        serve = "websocket"
        channel = "wide"
        dialect = "tally"
        "#,
        options.join(",")
    );
    let config = Config::of(&(bench() + &more));
    config.limit("log_bytes_max", "64 KiB").limit("body_bytes_max", "64 KiB").start()
}

/// Memory of the process, in bytes.
fn memory(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("the process is there");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    let kilobytes: u64 = line.trim_end_matches("kB").trim().parse().expect("a number");
    kilobytes * 1024
}

fn open(server: &Server, path: &str, count: usize) -> Vec<Socket> {
    (0..count).map(|_| Socket::open(server.at(PORT), path)).collect()
}

#[test]
fn every_path_of_the_bench_does_what_it_says() {
    let server = Config::of(&bench()).start();
    let at = server.at(PORT);
    let mut talkers = open(&server, "/bench", 3);
    talkers[0].send("hello");
    talkers[1].send("面条");
    for talker in &mut talkers {
        let mut texts = [talker.text(), talker.text()];
        texts.sort();
        assert_eq!(texts, ["hello", "面条"], "to everyone, the sender too");
    }
    let mut echo = Socket::open(at, "/echo");
    echo.send("once more");
    assert_eq!(echo.text(), "once more");

    let mut voters = open(&server, "/vote", 3);
    for voter in &mut voters {
        assert_eq!(voter.json()["counts"], json!({"1": 0, "2": 0, "3": 0, "4": 0}), "the present tally on joining");
    }
    for vote in 0..1000 {
        voters[vote % 3].send(["1", "2", "3", "4"][vote % 4]);
    }
    for voter in &mut voters {
        let mut told = 0;
        let last = loop {
            let tally = voter.json();
            assert_eq!(tally["type"], "tally");
            told += 1;
            if tally["total"] == 1000 {
                break tally;
            }
        };
        assert_eq!(last["counts"], json!({"1": 250, "2": 250, "3": 250, "4": 250}));
        assert!(told < 500, "many votes are one tally: {told}");
    }
    assert_eq!(get_json(at, "/c/vote")["state"]["total"], 1000);

    let mut steps = open(&server, "/steps", 2);
    for count in 1..=50 {
        steps[count % 2].send("4");
        for socket in &mut steps {
            assert_eq!(socket.json(), json!({"cid": "4", "count": count}), "each vote by itself");
        }
    }
}

#[test]
fn stuck_readers_are_skipped_and_cost_nothing() {
    let server = small();
    let mut stuck = open(&server, "/bench", STUCK);
    let mut readers = open(&server, "/bench", READERS);
    let mut writer = Socket::open(server.at(PORT), "/bench");
    let mut before = 0;
    let mut sent = 0;
    for round in 0..150 {
        for _ in 0..20 {
            sent += 1;
            writer.send(&format!("{sent:04096}"));
        }
        for reader in readers.iter_mut().chain([&mut writer]) {
            for number in sent - 19..=sent {
                assert_eq!(reader.text(), format!("{number:04096}"), "who reads misses nothing");
            }
        }
        if round == 30 {
            before = memory(&server);
        }
    }
    let grown = memory(&server).saturating_sub(before);
    assert!(grown < 4 << 20, "grown by {grown} bytes, {} were published", 120 * 20 * 4096);
    for socket in &mut stuck {
        let mut seen = 0;
        let mut gaps = 0;
        // What the kernel held, then the word that there is a gap.
        while gaps == 0 {
            match socket.text().as_str() {
                "gap" => gaps += 1,
                text => {
                    seen += 1;
                    assert_eq!(text, format!("{seen:04096}"), "nothing is missing without a word");
                }
            }
        }
        assert!(seen < sent, "it was stuck");
    }
    writer.send("and on");
    for socket in stuck.iter_mut().chain(&mut readers) {
        assert_eq!(socket.text(), "and on");
    }
}

#[test]
fn stuck_readers_of_a_poll_wake_up_to_the_latest() {
    let server = small();
    let mut stuck = open(&server, "/wide", STUCK);
    let mut readers = open(&server, "/wide", READERS);
    let mut voter = Socket::open(server.at(PORT), "/wide");
    for socket in readers.iter_mut().chain([&mut voter]) {
        assert_eq!(socket.json()["total"], 0);
    }
    let mut before = 0;
    for vote in 1..=2000 {
        voter.send(&(vote % 200 + 1).to_string());
        for socket in readers.iter_mut().chain([&mut voter]) {
            assert_eq!(total(&socket.json()), vote);
        }
        if vote == 500 {
            before = memory(&server);
        }
    }
    let grown = memory(&server).saturating_sub(before);
    assert!(grown < 4 << 20, "grown by {grown} bytes");
    for socket in &mut stuck {
        let (mut last, mut told) = (None, 0);
        while last != Some(2000) {
            let next = total(&socket.json());
            assert!(last.is_none_or(|last| next > last), "{next} behind {last:?}");
            (last, told) = (Some(next), told + 1);
        }
        assert!(told < 1900, "it did not get them all: {told}");
    }
    voter.send("7");
    for socket in stuck.iter_mut().chain(&mut readers) {
        assert_eq!(total(&socket.json()), 2001);
    }
}

fn total(tally: &Value) -> u64 {
    tally["total"].as_u64().expect("a total")
}

#[test]
fn stuck_readers_of_steps_are_told_to_come_back() {
    let server = small();
    let mut stuck = open(&server, "/steps", STUCK);
    let mut voter = Socket::open(server.at(PORT), "/steps");
    for round in 0..200 {
        for _ in 0..100 {
            voter.send("1");
        }
        for count in round * 100 + 1..=round * 100 + 100 {
            assert_eq!(voter.json(), json!({"cid": "1", "count": count}));
        }
    }
    for socket in &mut stuck {
        let (texts, end) = socket.rest();
        assert!(texts.len() < 20_000);
        let json = |text: &Message| serde_json::from_str::<Value>(text.to_text().expect("a text")).expect("JSON");
        let counts = texts.iter().map(|text| json(text)["count"].clone());
        assert!(counts.eq((1..=texts.len()).map(Value::from)), "each vote once, in order, up to the end");
        assert_eq!(end, End::Closed(4008));
    }
}
