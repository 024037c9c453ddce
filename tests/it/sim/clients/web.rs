//! Plain HTTP: reads with ETags, votes, publications, and requests that are to be refused.

use super::Client;
use super::link::{Requests, State};
use super::stream::{check_state, word};
use crate::sim::model::{At, Entry};
use crate::sim::scene::Scene;
use crate::sim::setup::{ACCEPTED, OPTIONS, OPTIONS_TEXT, PLAIN};
use crate::sim::wire::{Response, json};
use std::collections::BTreeMap;
use tallycast::base::time::Time;

const CHANNELS: [&str; 4] = ["poll/lunch", "news", "vote/tea", "vote/cake"];

#[derive(Debug)]
enum Ask {
    /// The present state; a HEAD if `head`.
    Read { channel: &'static str, etag: Option<At>, floor: Option<(usize, u64)>, head: bool },
    /// A change, and how it is to be answered.
    Change { channel: &'static str, entry: Result<Entry, &'static str> },
    /// A vote by an old form.
    Form { choice: Option<usize> },
    /// A body to come back.
    Echo(Vec<u8>),
    /// A fixed status, whatever the body.
    Status(u16),
    /// The text of a route.
    Text,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Web {
    who: String,
    requests: Option<Requests<Ask>>,
    /// What it last read, by channel.
    read: BTreeMap<&'static str, At>,
    /// What it was told as its own on this connection: every later response shows it.
    own: BTreeMap<&'static str, (usize, u64)>,
    texts: usize,
    back_at: Time,
    leaving: bool,
}

impl Web {
    pub(crate) fn new(who: &str) -> Web {
        Web {
            who: who.to_owned(),
            requests: None,
            read: BTreeMap::new(),
            own: BTreeMap::new(),
            texts: 0,
            back_at: Time::ZERO,
            leaving: false,
        }
    }
}

// Asking.
impl Web {
    fn ask(&mut self, requests: &mut Requests<Ask>, scene: &mut Scene) {
        let channel = scene.random.pick(&CHANNELS);
        match scene.random.below(100) {
            0..35 => self.ask_read(channel, requests, scene),
            35..60 => ask_vote(channel, requests, scene),
            60..75 => self.ask_publish(requests, scene),
            75..87 => ask_form(requests, scene),
            87..91 => {
                let body: Vec<u8> = (0..scene.random.below(300)).map(|_| scene.random.next() as u8).collect();
                let kind = "Content-Type: application/octet-stream\r\n";
                requests.ask("POST", "/c/echo", kind, &body, Ask::Echo(body.clone()));
            }
            _ => ask_odd(channel, requests, scene),
        }
    }

    fn ask_read(&mut self, channel: &'static str, requests: &mut Requests<Ask>, scene: &mut Scene) {
        let etag = self.read.get(channel).copied().filter(|_| scene.random.chance(70));
        let header = etag.map(|at| format!("If-None-Match: \"{at}\"\r\n")).unwrap_or_default();
        let head = scene.random.chance(10);
        let floor = scene.model.floor(channel);
        let what = Ask::Read { channel, etag, floor, head };
        let method = if head { "HEAD" } else { "GET" };
        requests.ask(method, &format!("/c/{channel}"), &header, b"", what);
    }

    fn ask_publish(&mut self, requests: &mut Requests<Ask>, scene: &mut Scene) {
        self.texts += 1;
        // Lengths about which a frame's length field and a small log's size change.
        let filler = scene.random.pick(&[0, 0, 3, 100, 400]);
        let text = format!("{}-{} 新闻 {}", self.who, self.texts, "x".repeat(scene.random.below(filler + 1)));
        let (kind, body, entry) = match scene.random.below(4) {
            0 => ("text/plain; charset=utf-8", text.clone().into_bytes(), Entry::Text(text)),
            1 => {
                let body = format!("{{\"t\":\"{text}\"}}");
                ("application/json", body.clone().into_bytes(), Entry::Text(body))
            }
            2 => {
                let coded: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
                let body = format!("a=b&text={coded}");
                ("application/x-www-form-urlencoded", body.into_bytes(), Entry::Text(text))
            }
            _ => {
                let mut bytes = text.into_bytes();
                bytes.extend([0xff, 0]);
                ("application/octet-stream", bytes.clone(), Entry::Binary(bytes))
            }
        };
        scene.model.asked("news", entry.clone());
        let what = Ask::Change { channel: "news", entry: Ok(entry) };
        requests.ask("POST", "/c/news", &format!("Content-Type: {kind}\r\n"), &body, what);
    }
}

fn ask_vote(channel: &'static str, requests: &mut Requests<Ask>, scene: &mut Scene) {
    if channel == "news" {
        return;
    }
    let choice = scene.random.below(OPTIONS.len() + 1);
    let id = OPTIONS.get(choice).copied().unwrap_or("9");
    let (kind, body) = match scene.random.below(3) {
        0 => ("application/x-www-form-urlencoded", format!("choice={id}")),
        1 => ("application/json", format!("{{\"choice\":\"{id}\"}}")),
        _ => ("text/plain", id.to_owned()),
    };
    let entry = if choice < OPTIONS.len() { Ok(Entry::Vote(choice)) } else { Err("unknown_option") };
    if let Ok(entry) = &entry {
        scene.model.asked(channel, entry.clone());
    }
    let target = format!("/c/{channel}");
    let what = Ask::Change { channel, entry };
    requests.ask("POST", &target, &format!("Content-Type: {kind}\r\n"), body.as_bytes(), what);
}

fn ask_form(requests: &mut Requests<Ask>, scene: &mut Scene) {
    let (target, field) = scene.random.pick(&[("/ticket", "nid"), ("/vote", "uid")]);
    let choice = Some(scene.random.below(OPTIONS.len() + 1)).filter(|choice| *choice < OPTIONS.len());
    let id = choice.map_or("9", |choice| OPTIONS[choice]);
    if let Some(choice) = choice {
        scene.model.asked("poll/lunch", Entry::Vote(choice));
    }
    let kind = "Content-Type: application/x-www-form-urlencoded\r\n";
    requests.ask("POST", target, kind, format!("{field}={id}").as_bytes(), Ask::Form { choice });
}

/// Requests that have one right answer each.
fn ask_odd(channel: &str, requests: &mut Requests<Ask>, scene: &mut Scene) {
    let target = format!("/c/{channel}");
    let foreign = "Origin: http://evil.test\r\nContent-Type: text/plain\r\n";
    match scene.random.below(9) {
        0 => requests.ask("OPTIONS", &target, "", b"", Ask::Status(204)),
        1 => requests.ask("GET", "/c/nothing", "", b"", Ask::Status(404)),
        2 => requests.ask("GET", "/nothing", "", b"", Ask::Status(404)),
        3 => requests.ask("DELETE", &target, "", b"", Ask::Status(405)),
        4 => requests.ask("POST", &target, foreign, b"1", Ask::Status(403)),
        5 => requests.ask("GET", &format!("{target}?wait=1&since=x"), "", b"", Ask::Status(400)),
        6 => {
            let big = vec![b'1'; scene.knobs.limits.body_bytes_max + 1];
            requests.ask("POST", &target, "Content-Type: text/plain\r\n", &big, Ask::Status(413));
        }
        7 => {
            let head = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: http://evil.test\r\n";
            requests.ask("GET", &target, head, b"", Ask::Status(403));
        }
        _ => requests.ask("GET", "/message", "", b"", Ask::Text),
    }
}

// Judging.
impl Web {
    fn see(&mut self, ask: Ask, response: &Response, scene: &mut Scene) {
        if response.status == 503 {
            assert!(response.header("retry-after").is_some(), "{response:?}");
            return scene.coverage.hit("web: 503");
        }
        match ask {
            Ask::Read { channel, etag, floor, head } => self.see_state(channel, etag, floor, head, response, scene),
            Ask::Change { channel, entry } => self.see_change(channel, entry, response, scene),
            Ask::Form { choice } => self.see_form(choice, response, scene),
            Ask::Echo(body) => assert_eq!((response.status, &response.body), (200, &body)),
            Ask::Text => assert_eq!((response.status, response.text()), (200, PLAIN)),
            Ask::Status(status) => {
                assert_eq!(response.status, status, "{}: {response:?}", self.who);
                if status == 405 {
                    assert!(response.header("allow").is_some(), "{response:?}");
                }
                scene.coverage.hit("web: refused, as is right");
            }
        }
    }

    fn see_state(
        &mut self,
        channel: &'static str,
        etag: Option<At>,
        floor: Option<(usize, u64)>,
        head: bool,
        response: &Response,
        scene: &mut Scene,
    ) {
        let tag = response.header("etag").unwrap_or_else(|| panic!("no ETag: {response:?}"));
        let tag = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
        let at = At::read(tag.unwrap_or_else(|| panic!("an ETag is quoted: {response:?}")));
        scene.model.check_floor(channel, at, floor.max(self.own.get(channel).copied()));
        if response.status == 304 {
            assert_eq!(Some(at), etag, "{}: unchanged, but not what was asked", self.who);
            return scene.coverage.hit("web: 304");
        }
        assert_eq!(response.status, 200, "{response:?}");
        assert_ne!(Some(at), etag, "{}: unchanged, and sent again", self.who);
        scene.coverage.hit("web: state read");
        self.read.insert(channel, at);
        if !head {
            let message = response.json();
            assert_eq!(word(&message, "type"), "snapshot");
            assert_eq!(word(&message, "at"), at.to_string());
            check_state(&message, at, channel, scene);
        }
    }

    fn see_change(
        &mut self,
        channel: &'static str,
        entry: Result<Entry, &'static str>,
        response: &Response,
        scene: &mut Scene,
    ) {
        let message = json(response.text());
        match entry {
            Ok(entry) => {
                let accepted = response.status == 200 && word(&message, "type") == "ok";
                assert!(accepted, "{}: {entry:?} to {channel}: {response:?}", self.who);
                let at = At::read(word(&message, "at"));
                scene.model.claim(channel, at, entry);
                let floor = scene.model.floor(channel).expect("just claimed");
                let life = scene.model.channels[channel].lives.iter().position(|life| life.epoch == at.epoch);
                let mark = (life.unwrap_or(floor.0), at.revision);
                let own = self.own.entry(channel).or_insert(mark);
                *own = (*own).max(mark);
                scene.coverage.hit("web: change accepted");
            }
            Err(code) => {
                assert_eq!((response.status, word(&message, "code")), (422, code), "{}", self.who);
                assert_eq!(word(&message, "expected"), OPTIONS_TEXT);
                scene.coverage.hit("web: change refused");
            }
        }
    }

    fn see_form(&mut self, choice: Option<usize>, response: &Response, scene: &mut Scene) {
        match choice {
            Some(choice) => {
                assert_eq!((response.status, response.text()), (200, ACCEPTED), "{}", self.who);
                scene.model.accepted("poll/lunch", Entry::Vote(choice));
                scene.coverage.hit("web: form accepted");
            }
            None => {
                assert!((400..500).contains(&response.status), "{response:?}");
                assert_eq!(response.text(), format!("unknown_option: expected {OPTIONS_TEXT}"));
            }
        }
    }
}

impl Client for Web {
    fn act(&mut self, scene: &mut Scene) {
        let Some(mut requests) = self.requests.take() else {
            if !scene.calm && scene.now >= self.back_at {
                self.own.clear();
                self.requests = Some(Requests::open(scene, &self.who));
            }
            return;
        };
        requests.link.pump(scene, true);
        while let Some((ask, response)) = requests.next(scene) {
            self.see(ask, &response, scene);
        }
        if requests.link.state != State::Open {
            self.back_at = scene.soon(1000);
            return;
        }
        if self.leaving {
            requests.link.finish();
        } else if !scene.calm && !requests.is_over() {
            let more = if requests.outstanding() == 0 { scene.random.chance(60) } else { scene.random.chance(10) };
            if more && requests.outstanding() < 4 {
                self.ask(&mut requests, scene);
            } else if scene.random.rarely(6) {
                requests.link.reset(scene);
            } else if scene.random.rarely(6) {
                requests.link.finish();
            }
        }
        self.requests = Some(requests);
    }

    fn leave(&mut self) {
        self.leaving = true;
    }

    fn is_poller(&self) -> bool {
        true
    }

    fn hears(&self) -> Option<(&str, Option<u64>)> {
        None
    }

    fn check_rest(&mut self, _: &mut Scene) {
        let waits = self.requests.as_ref().is_some_and(|requests| requests.outstanding() > 0);
        assert!(!waits, "{}: never answered: {:?}", self.who, self.requests);
    }
}
