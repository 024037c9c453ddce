//! Plain HTTP: reads with ETags, votes, publications, and requests that are to be refused.

use super::link::{Requests, State};
use super::stream::{check_state, word};
use super::table::Asked;
use super::{Client, Hears, cells, percent, table};
use crate::sim::model::{At, Entry};
use crate::sim::scene::Scene;
use crate::sim::setup::{ACCEPTED, CHANGED, NAMES, OPTIONS, OPTIONS_TEXT, PLAIN, Sort, TEXT_BYTES_MAX};
use crate::sim::wire::{Response, json};
use std::collections::BTreeMap;
use tallycast::base::time::Time;

const CHANNELS: [&str; 4] = ["poll/lunch", "news", "vote/tea", "vote/cake"];
/// Those to which people talk, by groups or one to one, and the table.
const TALKS: [&str; 6] = ["room/lobby", "room/tea", "dm/ann", "dm/bob", "keep/bob", "table/people"];

#[derive(Debug)]
enum Ask {
    /// The present state; a HEAD if `head`.
    Read { channel: &'static str, etag: Option<At>, floor: Option<(usize, u64)>, head: bool },
    /// A change, and how it is to be answered.
    Change { channel: &'static str, entry: Result<Entry, &'static str> },
    /// A vote by an old form.
    Form { choice: Option<usize> },
    /// A message to a group or a user: the entry, or the refusal to come.
    Say { channel: &'static str, entry: Result<Entry, &'static str> },
    /// A change of the table, and who says so.
    Table { asked: Asked, by: Option<&'static str> },
    /// A cell, as an old page writes it.
    Cell,
    /// Who is there.
    Members(&'static str),
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
        if scene.random.chance(40) {
            return self.ask_talk(requests, scene);
        }
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
            0 => ("text/plain; charset=utf-8", text.clone().into_bytes(), Entry::Text(text, None)),
            1 => {
                let body = format!("{{\"t\":\"{text}\"}}");
                ("application/json", body.clone().into_bytes(), Entry::Text(body, None))
            }
            2 => {
                let coded: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
                let body = format!("a=b&text={coded}");
                ("application/x-www-form-urlencoded", body.into_bytes(), Entry::Text(text, None))
            }
            _ => {
                let mut bytes = text.into_bytes();
                bytes.extend([0xff, 0]);
                ("application/octet-stream", bytes.clone(), Entry::Binary(bytes, None))
            }
        };
        scene.model.asked("news", entry.clone());
        let what = Ask::Change { channel: "news", entry: Ok(entry) };
        requests.ask("POST", "/c/news", &format!("Content-Type: {kind}\r\n"), &body, what);
    }

    fn ask_talk(&mut self, requests: &mut Requests<Ask>, scene: &mut Scene) {
        let channel = scene.random.pick(&TALKS);
        match scene.random.below(10) {
            0 | 1 => self.ask_read(channel, requests, scene),
            2 => {
                let any = scene.random.pick(&[channel, "poll/lunch", "news"]);
                requests.ask("GET", &format!("/c/{any}?members"), "", b"", Ask::Members(any));
            }
            3 => {
                self.texts += 1;
                let body = cells::message(&format!("{}-{}", self.who, self.texts), scene);
                let json = "Content-Type: application/json\r\n";
                requests.ask("POST", "/input-change", json, body.as_bytes(), Ask::Cell);
            }
            _ if channel == table::CHANNEL => self.ask_change(requests, scene),
            _ => self.ask_say(channel, requests, scene),
        }
    }

    fn ask_change(&mut self, requests: &mut Requests<Ask>, scene: &mut Scene) {
        self.texts += 1;
        let rows: Vec<String> = ["1", "2", "3", "r1", "r4"].map(str::to_owned).into();
        let mark = format!("{}-{}", self.who, self.texts);
        let asked = table::change(&mark, &rows, &|_, _| None, &mut scene.random);
        let by = Some(scene.random.pick(&NAMES)).filter(|_| scene.random.chance(50));
        let mut body = json(&asked.body());
        if let Some(by) = by {
            body["from"] = by.into();
        }
        let head = "Content-Type: application/json\r\n";
        let target = format!("/c/{}", table::CHANNEL);
        requests.ask("POST", &target, head, body.to_string().as_bytes(), Ask::Table { asked, by });
    }

    fn ask_say(&mut self, channel: &'static str, requests: &mut Requests<Ask>, scene: &mut Scene) {
        self.texts += 1;
        let filler = scene.random.pick(&[0, 3, 100, 400, TEXT_BYTES_MAX]);
        let text = format!("{}-{} 你好 {}", self.who, self.texts, "x".repeat(filler));
        let from = Some(scene.random.pick(&NAMES)).filter(|_| scene.random.chance(50));
        let (mut kind, mut body, mut said) = ("text/plain", text.clone().into_bytes(), from);
        let mut binary = false;
        match scene.random.below(4) {
            0 => {
                let from = from.map(|from| format!("&from={}", percent(from))).unwrap_or_default();
                kind = "application/x-www-form-urlencoded";
                body = format!("text={}{from}", percent(&text)).into_bytes();
            }
            1 => {
                let from = from.map(|from| format!(",\"from\":\"{from}\"")).unwrap_or_default();
                kind = "application/json";
                body = format!("{{\"text\":\"{text}\"{from}}}").into_bytes();
            }
            2 => said = None,
            _ => (kind, said, binary) = ("image/png", None, true),
        }
        let from = said.map(str::to_owned);
        let entry = if text.len() > TEXT_BYTES_MAX {
            Err("too_long")
        } else if scene.random.chance(3) {
            (kind, body) = ("application/json", b"{\"text\":7}".to_vec());
            Err("malformed")
        } else if binary {
            Ok(Entry::Binary(body.clone(), from))
        } else {
            Ok(Entry::Text(text, from))
        };
        if let Ok(entry) = &entry {
            scene.model.asked(channel, entry.clone());
        }
        let head = format!("Content-Type: {kind}\r\n");
        requests.ask("POST", &format!("/c/{channel}"), &head, &body, Ask::Say { channel, entry });
    }
}

fn ask_vote(channel: &'static str, requests: &mut Requests<Ask>, scene: &mut Scene) {
    if Sort::of(channel) != Sort::Vote {
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
            Ask::Say { channel, entry } => self.see_said(channel, entry, response, scene),
            Ask::Table { asked, by } => self.see_table(&asked, by, response, scene),
            Ask::Cell => match response.status {
                200 => assert_eq!(response.text(), CHANGED, "{}", self.who),
                status => assert!(matches!(status, 400 | 413 | 422), "{}: {response:?}", self.who),
            },
            Ask::Members(channel) => {
                assert_eq!(response.status, 200, "{response:?}");
                let message = response.json();
                assert_eq!((word(&message, "type"), word(&message, "channel")), ("members", channel));
                let users = message["users"].as_array().expect("a list");
                let users: Vec<&str> = users.iter().map(|user| user.as_str().expect("a name")).collect();
                assert!(users.is_sorted() && users.iter().all(|user| NAMES.contains(user)), "{message}");
                assert!(message["listeners"].is_u64(), "{message}");
                scene.coverage.hit("web: members");
            }
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
                self.note_own(channel, at, scene);
                scene.coverage.hit("web: change accepted");
            }
            Err(code) => {
                assert_eq!((response.status, word(&message, "code")), (422, code), "{}", self.who);
                assert_eq!(word(&message, "expected"), OPTIONS_TEXT);
                scene.coverage.hit("web: change refused");
            }
        }
    }

    /// Every later response on this connection shows it.
    fn note_own(&mut self, channel: &'static str, at: At, scene: &Scene) {
        let floor = scene.model.floor(channel).expect("just claimed");
        let life = scene.model.channels[channel].lives.iter().position(|life| life.epoch == at.epoch);
        let mark = (life.unwrap_or(floor.0), at.revision);
        let own = self.own.entry(channel).or_insert(mark);
        *own = (*own).max(mark);
    }

    fn see_said(
        &mut self,
        channel: &'static str,
        entry: Result<Entry, &'static str>,
        response: &Response,
        scene: &mut Scene,
    ) {
        let message = json(response.text());
        match (entry, response.status) {
            (Ok(entry), 200) => {
                let at = At::read(word(&message, "at"));
                scene.model.claim(channel, at, entry);
                self.note_own(channel, at, scene);
                scene.coverage.hit("web: said");
            }
            (Ok(entry), 404) if channel.starts_with("dm/") => {
                assert_eq!(word(&message, "code"), "absent", "{}", self.who);
                scene.model.refused(channel, entry);
                scene.coverage.hit("web: absent");
            }
            (Err(code), status) => {
                let right = if code == "too_long" { 413 } else { 400 };
                assert_eq!((status, word(&message, "code")), (right, code), "{}: {response:?}", self.who);
            }
            (Ok(entry), _) => panic!("{}: {entry:?} to {channel}: {response:?}", self.who),
        }
    }

    fn see_table(&mut self, asked: &Asked, by: Option<&str>, response: &Response, scene: &mut Scene) {
        let message = json(response.text());
        if response.status == 200 {
            let at = At::read(word(&message, "at"));
            assert!(asked.fits(at, by, scene), "{}: {asked:?} at {at}", self.who);
            asked.claim(at, scene);
            self.note_own(table::CHANNEL, at, scene);
            return scene.coverage.hit("web: table changed");
        }
        let code = word(&message, "code");
        assert!(asked.may_be_refused(code), "{}: {asked:?}: {response:?}", self.who);
        let right = match code {
            "malformed" => 400,
            "stale" | "row_exists" => 409,
            "too_long" => 413,
            _ => 422,
        };
        assert_eq!(response.status, right, "{response:?}");
        table::check_refusal(code, &message, scene);
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

    fn hears(&self) -> Option<Hears<'_>> {
        None
    }

    fn check_rest(&mut self, _: &mut Scene) {
        let waits = self.requests.as_ref().is_some_and(|requests| requests.outstanding() > 0);
        assert!(!waits, "{}: never answered: {:?}", self.who, self.requests);
    }
}
