//! The judge of one listener's stream in our own dialect, whatever carries it: WebSocket, event stream or long-poll.

use std::collections::BTreeMap;

use serde_json::Value;
use tallycast::engine::Origin;
use tallycast::route::Slow;

use super::grid::Grid;
use super::people::People;
use crate::sim::model::{At, Entry};
use crate::sim::scene::Scene;
use crate::sim::setup::{OPTIONS, Sort};
use crate::sim::wire::json;

/// What the server was asked to begin with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Asked {
    Present,
    Since(At),
    /// A position that cannot be followed: another epoch, or beyond the present.
    Bogus(At),
}

/// An answer to this client alone.
#[derive(Debug)]
pub(crate) enum Reply {
    Accepted { id: Option<u64>, at: At },
    Refused { id: Option<u64>, code: String, message: Value },
}

/// See the module. It outlives connections.
#[derive(Debug)]
pub(crate) struct Stream {
    who: String,
    pub(crate) channel: String,
    pub(crate) at: Option<At>,
    asked: Asked,
    /// On this connection, the snapshot or `resumed` has come.
    pub(crate) begun: bool,
    floor: Option<(usize, u64)>,
    pub(crate) listeners: Option<u64>,
    /// Who its connection is, once it is known: what it says itself does not come back on it.
    pub(crate) me: Option<Origin>,
    /// Who it was before its session moved.
    formerly: Option<Origin>,
    /// Up to here what it was told may have been a replay, which knows nobody's own.
    replayed: u64,
    people: People,
    /// Of a table, as it was told.
    pub(crate) grid: Grid,
    /// Cells (row and column) that were left out because they are written again later, and where they were written.
    owed: BTreeMap<(String, String), u64>,
}

impl Stream {
    pub(crate) fn new(who: &str, channel: &str) -> Stream {
        Stream {
            who: who.to_owned(),
            channel: channel.to_owned(),
            at: None,
            asked: Asked::Present,
            begun: false,
            floor: None,
            listeners: None,
            me: None,
            formerly: None,
            replayed: 0,
            people: People::default(),
            grid: Grid::default(),
            owed: BTreeMap::new(),
        }
    }

    fn sort(&self) -> Sort {
        Sort::of(&self.channel)
    }

    /// Begins anew: the `since` to ask for.
    pub(crate) fn begin(&mut self, scene: &mut Scene) -> Option<String> {
        let bogus = scene.random.chance(5).then(|| match self.at {
            Some(at) if scene.random.chance(50) => At { revision: at.revision + 100_000, ..at },
            _ => At { epoch: 0xbad, revision: 1 },
        });
        self.asked = match (bogus, self.at) {
            (Some(at), _) => Asked::Bogus(at),
            (None, Some(at)) if scene.random.chance(90) => Asked::Since(at),
            (None, _) => Asked::Present,
        };
        self.begun = false;
        self.floor = scene.model.floor(&self.channel);
        self.listeners = None;
        (self.me, self.formerly, self.replayed) = (None, None, 0);
        self.people = People::default();
        match self.asked {
            Asked::Present => {
                self.at = None;
                None
            }
            Asked::Since(at) | Asked::Bogus(at) => Some(at.to_string()),
        }
    }

    /// Its session goes on over another connection.
    pub(crate) fn moves(&mut self, to: Option<Origin>) {
        (self.formerly, self.me) = (self.me, to);
    }

    /// Judges one message.
    pub(crate) fn take(&mut self, text: &str, scene: &mut Scene) -> Option<Reply> {
        assert!(text.starts_with("{\"type\":\""), "{}: begins with its type: {text:?}", self.who);
        let message = json(text);
        match word(&message, "type") {
            "snapshot" => self.snapshot(&message, scene),
            "resumed" => self.resumed(&message, scene),
            "gap" => self.gap(&message, scene),
            "tally" | "message" | "cells" | "row_inserted" | "row_moved" | "row_deleted" => {
                let told = self.listeners.is_some() && self.people.is_told(&self.channel);
                assert!(told, "{}: who is there comes before {message}", self.who);
                self.publication(&message, scene);
            }
            "members" | "joined" | "left" | "editing" => {
                assert!(self.listeners.is_some(), "{}: how many are there comes before {message}", self.who);
                self.people.take(&self.channel, &message, self.me, self.formerly, scene);
            }
            "listeners" => {
                assert!(self.begun, "{}: listeners before anything else", self.who);
                self.listeners = Some(number(&message, "count"));
                scene.coverage.hit("stream: listeners");
            }
            "ok" => return Some(self.accepted(&message, scene)),
            "refused" => {
                let code = word(&message, "code").to_owned();
                assert!(message["expected"].is_string(), "a refusal says what is expected: {message}");
                return Some(Reply::Refused { id: message["id"].as_u64(), code, message });
            }
            other => panic!("{}: no such type: {other}", self.who),
        }
        None
    }

    pub(crate) fn snapshot(&mut self, message: &Value, scene: &mut Scene) {
        let at = At::read(word(message, "at"));
        assert_eq!(word(message, "channel"), self.channel, "{}", self.who);
        assert_eq!(word(message, "kind"), self.sort().kind(), "{}", self.who);
        check_state(message, at, &self.channel, scene);
        if self.begun {
            let before = self.at.expect("it has begun");
            // Of what a slow reader missed, nothing may have had a position.
            let slow = scene.knobs.slow[0] == Slow::Latest && at.revision == before.revision;
            let later = at.epoch != before.epoch || at.revision > before.revision || slow;
            assert!(later, "{}: a gap from {before} to {at}", self.who);
            let slow = scene.knobs.slow[0] == Slow::Latest && scene.knobs.inbox_max >= 1000;
            scene.coverage.hit(if slow { "stream: latest state" } else { "stream: snapshot behind a gap" });
            self.begins_anew();
        } else {
            scene.model.check_floor(&self.channel, at, self.floor);
            scene.coverage.hit(match self.asked {
                Asked::Present => "stream: snapshot",
                Asked::Since(_) => "stream: snapshot instead of a replay",
                Asked::Bogus(_) => "stream: snapshot for a bogus position",
            });
        }
        if self.sort() == Sort::Table {
            self.grid = Grid::of(&message["state"]);
            self.owed.clear();
        }
        self.begun = true;
        self.at = Some(at);
    }

    /// Behind a gap everyone who is there is told anew.
    fn begins_anew(&mut self) {
        self.listeners = None;
        self.people = People::default();
    }

    /// It was too slow, and something is missing.
    fn gap(&mut self, message: &Value, scene: &mut Scene) {
        let at = At::read(word(message, "at"));
        assert_eq!(word(message, "channel"), self.channel, "{}", self.who);
        assert_eq!(word(message, "kind"), self.sort().kind(), "{}", self.who);
        let before = self.at.expect("it has begun");
        let told = self.begun && at.epoch == before.epoch && at.revision >= before.revision;
        assert!(told, "{}: a gap from {before} to {at}", self.who);
        let _ = scene.model.life(&self.channel, at);
        assert_eq!(scene.knobs.slow[1], Slow::Skip, "{}: {message}", self.who);
        assert!(!matches!(self.sort(), Sort::Vote | Sort::Table), "{}: {message}", self.who);
        scene.coverage.hit(if at == before { "stream: gap without a message" } else { "stream: gap" });
        self.begins_anew();
        self.at = Some(at);
    }

    fn resumed(&mut self, message: &Value, scene: &mut Scene) {
        let at = At::read(word(message, "at"));
        assert!(!self.begun, "{}: resumed in the middle", self.who);
        assert_eq!(word(message, "channel"), self.channel, "{}", self.who);
        assert_eq!(word(message, "kind"), self.sort().kind(), "{}", self.who);
        assert_eq!(Asked::Since(at), self.asked, "{}: resumed where it was not asked to", self.who);
        let life = scene.model.life(&self.channel, at);
        let replays = life.end() > at.revision;
        self.replayed = life.end();
        scene.coverage.hit(if replays { "stream: resumed behind" } else { "stream: resumed at the end" });
        self.begun = true;
        self.at = Some(at);
    }

    /// The next publication: exactly the one that follows.
    pub(crate) fn publication(&mut self, message: &Value, scene: &mut Scene) {
        assert!(self.begun, "{}: a publication before anything else: {message}", self.who);
        let before = self.at.expect("it has begun");
        let at = At::read(word(message, "at"));
        assert_eq!(at.epoch, before.epoch, "{}: another epoch without a word", self.who);
        let life = scene.model.life(&self.channel, at);
        if scene.knobs.rates[0].is_some() && matches!(self.sort(), Sort::Vote | Sort::Table) {
            return self.sum(message, before, at, scene);
        }
        // Nothing is conflated while there is no pace: every publication comes, and each by itself. But what was said on
        // this connection itself is passed over.
        let follows = life.may_follow(before.revision, at.revision, self.me, self.formerly, self.replayed);
        assert!(follows, "{}: behind {before} comes {message}", self.who);
        if Some(at.revision) != life.next_end(before.revision, None) {
            scene.coverage.hit("stream: own message passed over");
        }
        match (self.sort(), life.entry(at.revision)) {
            (Sort::Vote, Entry::Vote(_)) => check_counts(message, life.counts(at.revision)),
            (Sort::Table, Entry::Table(change)) => {
                assert_eq!(*message, change.json(&at.to_string()), "{}", self.who);
                self.grid.change(message, at.revision);
                assert_eq!(self.grid.rows, life.table(at.revision).rows, "{}: the table at {at}", self.who);
                scene.coverage.hit("stream: change of a table");
            }
            (_, said) => assert_eq!(entry(message), *said, "{}", self.who),
        }
        scene.coverage.hit("stream: publication");
        self.at = Some(at);
    }

    /// A publication of a paced channel: it may stand for several, and never leads back.
    fn sum(&mut self, message: &Value, before: At, at: At, scene: &mut Scene) {
        let life = scene.model.life(&self.channel, at);
        let later = at.revision > before.revision && life.is_end(at.revision);
        assert!(later, "{}: behind {before} comes {message}", self.who);
        if life.next_end(before.revision, None) != Some(at.revision) {
            scene.coverage.hit("stream: sum");
        }
        let life = scene.model.life(&self.channel, at);
        match life.entry(at.revision) {
            Entry::Table(_) => {
                if at.revision > before.revision + 1 {
                    scene.coverage.hit("stream: sum of a table");
                }
                for revision in before.revision + 1..=at.revision {
                    let Entry::Table(change) = life.entry(revision) else { panic!("a table has changes") };
                    let written = if revision == at.revision { message } else { &Value::Null };
                    self.owe(change.json(&At { revision, ..at }.to_string()), revision, written);
                }
                self.grid.change(message, at.revision);
                if self.owed.is_empty() {
                    assert_eq!(self.grid.rows, life.table(at.revision).rows, "{}: the table at {at}", self.who);
                }
            }
            _ => check_counts(message, life.counts(at.revision)),
        }
        scene.coverage.hit("stream: publication");
        self.at = Some(at);
    }

    /// What a change writes and the message does not is written again later; nothing else is left out.
    fn owe(&mut self, mut change: Value, revision: u64, message: &Value) {
        if change == *message && change["type"] != "cells" {
            assert!(self.owed.is_empty(), "{}: rows change, and these are owed: {:?}", self.who, self.owed);
            return;
        }
        assert_eq!(word(&change, "type"), "cells", "{}: left out: {change}", self.who);
        let told = message["cells"].as_array().cloned().unwrap_or_default();
        let cells = change["cells"].as_array().expect("a list").clone();
        let key = |cell: &Value| (word(cell, "row").to_owned(), word(cell, "column").to_owned());
        for cell in &cells {
            self.owed.remove(&key(cell));
            if !told.contains(cell) {
                self.owed.insert(key(cell), revision);
            }
        }
        change["cells"] = cells.into_iter().filter(|cell| told.contains(cell)).collect();
        assert!(message.is_null() || change == *message, "{}: {message} of {change}", self.who);
    }

    /// The answer to a long-poll that began by [`begin`](Stream::begin). True if it had waited in vain.
    pub(crate) fn polled(&mut self, message: &Value, scene: &mut Scene) -> bool {
        if word(message, "type") == "snapshot" {
            self.snapshot(message, scene);
            return false;
        }
        assert_eq!(word(message, "type"), "publications", "{}", self.who);
        assert_eq!(word(message, "channel"), self.channel, "{}", self.who);
        let Asked::Since(since) = self.asked else { panic!("{}: publications behind {:?}", self.who, self.asked) };
        (self.begun, self.at) = (true, Some(since));
        let publications = message["publications"].as_array().expect("a list");
        for publication in publications {
            self.publication(publication, scene);
        }
        let at = self.at.expect("set above");
        assert_eq!(word(message, "at"), at.to_string(), "{}: where the last one led", self.who);
        scene.model.check_floor(&self.channel, at, self.floor);
        publications.is_empty()
    }

    fn accepted(&mut self, message: &Value, scene: &mut Scene) -> Reply {
        let at = At::read(word(message, "at"));
        assert!(self.begun, "{}: ok before anything else", self.who);
        let seen = self.at.expect("it has begun");
        // The message is in another channel, whose order is no concern of this stream.
        if self.sort() == Sort::Direct {
            return Reply::Accepted { id: message["id"].as_u64(), at };
        }
        let life = scene.model.life(&self.channel, at);
        // The publication that covers it may be missing yet, none before that.
        let mine = [self.me, self.formerly];
        let missing = if seen.epoch == at.epoch { life.next_end_beside(seen.revision, &mine) } else { None };
        let in_order = seen.epoch == at.epoch && missing.is_none_or(|end| end >= at.revision);
        assert!(in_order, "{}: law 4: ok at {at} while the stream is at {seen}", self.who);
        Reply::Accepted { id: message["id"].as_u64(), at }
    }

    /// At rest: a live listener has all.
    pub(crate) fn check_rest(&self, scene: &mut Scene) {
        assert!(self.begun, "{}: joined, and got nothing", self.who);
        let at = self.at.expect("it has begun");
        let life = scene.model.present(&self.channel).expect("it is listened to");
        assert_eq!(at.epoch, life.epoch, "{}: at rest, {}", self.who, self.channel);
        let missing = life.next_end_beside(at.revision, &[self.me, self.formerly]);
        assert_eq!(missing, None, "{}: at rest, {} at {at} of {}", self.who, self.channel, life.end());
        if self.sort() == Sort::Table {
            assert!(self.owed.is_empty(), "{}: at rest: {:?}", self.who, self.owed);
            assert_eq!(self.grid.rows, life.table(life.end()).rows, "{}: the table at rest", self.who);
        }
        self.people.check_rest(&self.who, &self.channel, self.me, scene);
    }
}

/// Judges the state in a snapshot.
pub(crate) fn check_state(message: &Value, at: At, channel: &str, scene: &Scene) {
    let life = scene.model.life(channel, at);
    let state = &message["state"];
    if Sort::of(channel) == Sort::Table {
        return assert_eq!(*state, life.table(at.revision).json(), "{channel} at {at}");
    }
    if Sort::of(channel) == Sort::Vote {
        let options = state["options"].as_array().unwrap_or_else(|| panic!("no options: {message}"));
        let ids: Vec<&str> = options.iter().map(|option| word(option, "id")).collect();
        assert_eq!(ids, OPTIONS, "{message}");
        let counts: Vec<u64> = options.iter().map(|option| number(option, "count")).collect();
        assert_eq!(counts, life.counts(at.revision), "{channel} at {at}");
        assert_eq!(number(state, "total"), counts.iter().sum::<u64>(), "{message}");
        return;
    }
    let messages = state["messages"].as_array().unwrap_or_else(|| panic!("no messages: {message}"));
    assert!(messages.len() <= scene.knobs.limits.history_publications_max, "more than are kept");
    let first = at.revision + 1 - messages.len() as u64;
    for (revision, message) in (first..).zip(messages) {
        let expected = At { revision, ..at };
        assert_eq!(word(message, "at"), expected.to_string(), "the last ones, without a gap, up to {at}");
        assert_eq!(entry(message), *life.entry(revision));
    }
}

pub(crate) fn check_counts(message: &Value, expected: &[u64; OPTIONS.len()]) {
    let counts = message["counts"].as_object().unwrap_or_else(|| panic!("no counts: {message}"));
    assert_eq!(counts.len(), OPTIONS.len(), "{message}");
    for (id, count) in OPTIONS.iter().zip(expected) {
        assert_eq!(counts[*id].as_u64(), Some(*count), "{message}, {expected:?} expected");
    }
    assert_eq!(number(message, "total"), expected.iter().sum::<u64>(), "{message}");
}

/// A message, as the model has it.
fn entry(message: &Value) -> Entry {
    assert_eq!(word(message, "type"), "message", "{message}");
    let from = message.get("from").map(|from| from.as_str().expect("a name").to_owned());
    if let Some(text) = message["text"].as_str() {
        return Entry::Text(text.to_owned(), from);
    }
    let coded = message["binary"].as_str().unwrap_or_else(|| panic!("neither text nor binary: {message}"));
    Entry::Binary(unbase64(coded), from)
}

pub(crate) fn unbase64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    assert_eq!(text.len() % 4, 0, "padded");
    let (mut bits, mut held, mut out) = (0u32, 0, Vec::new());
    for digit in text.trim_end_matches('=').bytes() {
        let value = DIGITS.iter().position(|other| *other == digit).expect("a base64 digit");
        bits = (bits << 6) | value as u32;
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
        }
    }
    out
}

pub(crate) fn word<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no text {key:?} in {value}"))
}

pub(crate) fn number(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or_else(|| panic!("no number {key:?} in {value}"))
}
