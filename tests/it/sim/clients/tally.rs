//! Votes in sum over WebSocket: a bare id is a vote, and what comes is where the tally stands.

use super::Hears;
use super::link::{Seen, WebSocket};
use super::stream::{check_counts, word};
use super::visitor::{Visit, Visitor};
use crate::sim::model::{At, Entry};
use crate::sim::scene::Scene;
use crate::sim::setup::{OPTIONS, OPTIONS_TEXT};
use crate::sim::wire::json;

const CHANNEL: &str = "poll/lunch";

/// See the module.
#[derive(Debug)]
pub(crate) struct Voter {
    visit: Visit,
    /// Where the tally stood that this connection was shown last.
    seen: Option<At>,
    /// What every answer before the handshake was sent had reached.
    floor: Option<(usize, u64)>,
    /// Votes of this connection.
    sent: Vec<usize>,
    /// Unknown options that were not refused yet.
    wrong: usize,
}

impl Voter {
    pub(crate) fn new(who: &str, stuck: bool) -> Voter {
        Voter { visit: Visit::new(who, stuck), seen: None, floor: None, sent: Vec::new(), wrong: 0 }
    }

    fn refused(&mut self, message: &serde_json::Value) {
        assert_eq!(word(message, "error"), "unknown_option", "{}: {message}", self.visit.who);
        assert_eq!(word(message, "expected"), OPTIONS_TEXT, "{}: {message}", self.visit.who);
        assert!(self.wrong > 0, "{}: a refusal of somebody else's", self.visit.who);
        self.wrong -= 1;
    }

    fn tally(&mut self, message: &serde_json::Value, scene: &mut Scene) {
        assert_eq!(word(message, "type"), "tally", "{}: {message}", self.visit.who);
        let at = At::read(word(message, "at"));
        match self.seen {
            Some(before) => {
                let later = at.epoch == before.epoch && at.revision > before.revision;
                assert!(later, "{}: behind {before}: {message}", self.visit.who);
            }
            None => scene.model.check_floor(CHANNEL, at, self.floor),
        }
        let passed_over =
            |before: At| scene.model.life(CHANNEL, at).next_end(before.revision, None) != Some(at.revision);
        if self.seen.is_some_and(passed_over) {
            scene.coverage.hit(if scene.knobs.rates[0].is_none() { "tally: latest state" } else { "tally: sum" });
        }
        let life = scene.model.life(CHANNEL, at);
        assert!(life.is_end(at.revision), "{}: the engine never told this: {message}", self.visit.who);
        check_counts(message, life.counts(at.revision));
        self.seen = Some(at);
        scene.coverage.hit("tally: tally");
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
        self.floor = scene.model.floor(CHANNEL);
        self.sent.clear();
        self.wrong = 0;
        "/tally".to_owned()
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
                    scene.coverage.hit("tally: refused");
                } else {
                    self.tally(&message, scene);
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
        let life = scene.model.present(CHANNEL).expect("it is listened to");
        let end = At { epoch: life.epoch, revision: life.end() };
        assert_eq!(self.seen, Some(end), "{}: at rest, the last tally that was shown", self.visit.who);
        // Nobody cut this connection: all that it sent is in.
        for choice in self.sent.drain(..) {
            scene.model.accepted(CHANNEL, Entry::Vote(choice));
        }
    }
}
