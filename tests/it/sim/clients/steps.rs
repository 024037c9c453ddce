//! The old pages over WebSocket: a bare id is a vote, and every vote comes back by itself.

use super::Hears;
use super::link::{Seen, WebSocket};
use super::stream::{number, word};
use super::visitor::{Visit, Visitor};
use crate::sim::model::{Entry, option};
use crate::sim::scene::Scene;
use crate::sim::setup::{OPTIONS, OPTIONS_TEXT};
use crate::sim::wire::json;

const CHANNEL: &str = "poll/lunch";

/// See the module.
#[derive(Debug)]
pub(crate) struct Voter {
    visit: Visit,
    target: &'static str,
    key: &'static str,
    /// The last revision that this connection was shown.
    seen: Option<u64>,
    /// What every answer before the handshake was sent had reached.
    floor: u64,
    /// Votes of this connection.
    sent: Vec<usize>,
    /// Unknown options that were not refused yet.
    wrong: usize,
}

impl Voter {
    pub(crate) fn new(who: &str, uid: bool, stuck: bool) -> Voter {
        let (target, key) = if uid { ("/get_new_vote", "uid") } else { ("/message", "cid") };
        Voter { visit: Visit::new(who, stuck), target, key, seen: None, floor: 0, sent: Vec::new(), wrong: 0 }
    }

    fn refused(&mut self, message: &serde_json::Value) {
        assert_eq!(word(message, "error"), "unknown_option", "{}: {message}", self.visit.who);
        assert_eq!(word(message, "expected"), OPTIONS_TEXT, "{}: {message}", self.visit.who);
        assert!(self.wrong > 0, "{}: a refusal of somebody else's", self.visit.who);
        self.wrong -= 1;
    }

    fn step(&mut self, message: &serde_json::Value, scene: &mut Scene) {
        assert_eq!(message.as_object().map(|keys| keys.len()), Some(2), "{}: {message}", self.visit.who);
        let (choice, count) = (option(word(message, self.key)), number(message, "count"));
        let life = scene.model.present(CHANNEL).expect("there was a vote");
        let revision = life.revision_of(choice, count);
        let revision = revision.unwrap_or_else(|| panic!("{}: there was no such vote: {message}", self.visit.who));
        match self.seen {
            Some(before) => assert_eq!(revision, before + 1, "{}: each vote once, in order: {message}", self.visit.who),
            None => assert!(revision > self.floor, "{}: an old vote: {message}", self.visit.who),
        }
        self.seen = Some(revision);
        scene.coverage.hit("steps: vote seen");
    }
}

impl Visitor for Voter {
    fn visit(&self) -> &Visit {
        &self.visit
    }

    fn visit_mut(&mut self) -> &mut Visit {
        &mut self.visit
    }

    fn begin(&mut self, scene: &mut Scene) -> String {
        self.seen = None;
        self.floor = scene.model.floor(CHANNEL).map_or(0, |(_, revision)| revision);
        self.sent.clear();
        self.wrong = 0;
        self.target.to_owned()
    }

    fn see(&mut self, seen: Seen, scene: &mut Scene) {
        match seen {
            Seen::Open => {}
            Seen::Binary(bytes) => panic!("{}: a binary message: {bytes:?}", self.visit.who),
            Seen::Close(code) => {
                assert!(!matches!(code, 1002 | 1003 | 1007 | 1009 | 1011), "{}: closed by {code}", self.visit.who);
            }
            Seen::Text(text) => {
                let message = json(&text);
                if message.get("error").is_some() {
                    self.refused(&message);
                    scene.coverage.hit("steps: refused");
                } else {
                    self.step(&message, scene);
                }
            }
        }
    }

    fn do_something(&mut self, socket: &mut WebSocket, scene: &mut Scene) {
        match scene.random.below(1000) {
            0..200 => {
                for _ in 0..scene.random.upto(4) {
                    let choice = scene.random.below(OPTIONS.len());
                    scene.model.asked(CHANNEL, Entry::Vote(choice));
                    self.sent.push(choice);
                    socket.send(scene, 1, OPTIONS[choice].as_bytes());
                }
            }
            200..230 => {
                self.wrong += 1;
                socket.send(scene, 1, b"9");
            }
            230..235 => socket.ping(scene),
            235..239 => socket.close(scene, 1000),
            239..242 => socket.link.finish(),
            242..245 => socket.link.reset(scene),
            245..250 => self.visit.asleep_until = scene.soon(20_000),
            _ => {}
        }
    }

    fn heard(&self) -> Hears<'_> {
        Hears { channel: CHANNEL, told: None, name: None, me: None }
    }

    fn check_live(&mut self, scene: &mut Scene) {
        assert_eq!(self.wrong, 0, "{}: not refused yet", self.visit.who);
        if self.seen.is_some() || !self.sent.is_empty() {
            let end = scene.model.present(CHANNEL).map(|life| life.end());
            assert_eq!(self.seen, end, "{}: at rest, the last vote that was shown", self.visit.who);
        }
        // Nobody cut this connection: all that it sent is in.
        for choice in self.sent.drain(..) {
            scene.model.accepted(CHANNEL, Entry::Vote(choice));
        }
    }
}
