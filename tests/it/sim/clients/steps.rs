//! The old pages over WebSocket: a bare id is a vote, and every vote comes back by itself.

use tallycast::base::time::Time;

use super::link::{Seen, State, WebSocket};
use super::stream::{number, word};
use super::{Client, Hears, Patience};
use crate::sim::model::{Entry, option};
use crate::sim::scene::Scene;
use crate::sim::setup::{OPTIONS, OPTIONS_TEXT};
use crate::sim::wire::json;

const CHANNEL: &str = "poll/lunch";

/// See the module.
#[derive(Debug)]
pub(crate) struct Voter {
    who: String,
    target: &'static str,
    key: &'static str,
    socket: Option<WebSocket>,
    /// The last revision that this connection was shown.
    seen: Option<u64>,
    /// What every answer before the handshake was sent had reached.
    floor: u64,
    /// Votes of this connection.
    sent: Vec<usize>,
    /// Unknown options that were not refused yet.
    wrong: usize,
    back_at: Time,
    asleep_until: Time,
    stuck: bool,
    leaving: bool,
    patience: Patience,
}

impl Voter {
    pub(crate) fn new(who: &str, uid: bool, stuck: bool) -> Voter {
        let (target, key) = if uid { ("/get_new_vote", "uid") } else { ("/message", "cid") };
        Voter {
            who: who.to_owned(),
            target,
            key,
            socket: None,
            seen: None,
            floor: 0,
            sent: Vec::new(),
            wrong: 0,
            back_at: Time::ZERO,
            asleep_until: Time::ZERO,
            stuck,
            leaving: false,
            patience: Patience::default(),
        }
    }

    fn join(&mut self, scene: &mut Scene) {
        if self.leaving || (!scene.calm && scene.now < self.back_at) || !self.patience.is_left(scene) {
            return;
        }
        self.seen = None;
        self.floor = scene.model.floor(CHANNEL).map_or(0, |(_, revision)| revision);
        self.sent.clear();
        self.wrong = 0;
        self.socket = Some(WebSocket::open(scene, &self.who, self.target));
    }

    fn see(&mut self, seen: Seen, scene: &mut Scene) {
        match seen {
            Seen::Open => {}
            Seen::Binary(bytes) => panic!("{}: a binary message: {bytes:?}", self.who),
            Seen::Close(code) => {
                assert!(!matches!(code, 1002 | 1003 | 1007 | 1009 | 1011), "{}: closed by {code}", self.who);
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

    fn refused(&mut self, message: &serde_json::Value) {
        assert_eq!(word(message, "error"), "unknown_option", "{}: {message}", self.who);
        assert_eq!(word(message, "expected"), OPTIONS_TEXT, "{}: {message}", self.who);
        assert!(self.wrong > 0, "{}: a refusal of somebody else's", self.who);
        self.wrong -= 1;
    }

    fn step(&mut self, message: &serde_json::Value, scene: &mut Scene) {
        assert_eq!(message.as_object().map(|keys| keys.len()), Some(2), "{}: {message}", self.who);
        let (choice, count) = (option(word(message, self.key)), number(message, "count"));
        let life = scene.model.present(CHANNEL).expect("there was a vote");
        let revision = life.revision_of(choice, count);
        let revision = revision.unwrap_or_else(|| panic!("{}: there was no such vote: {message}", self.who));
        match self.seen {
            Some(before) => assert_eq!(revision, before + 1, "{}: each vote once, in order: {message}", self.who),
            None => assert!(revision > self.floor, "{}: an old vote: {message}", self.who),
        }
        self.seen = Some(revision);
        scene.coverage.hit("steps: vote seen");
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
            245..250 => self.asleep_until = scene.soon(20_000),
            _ => {}
        }
    }
}

impl Client for Voter {
    fn act(&mut self, scene: &mut Scene) {
        let Some(mut socket) = self.socket.take() else {
            return self.join(scene);
        };
        let stuck = self.stuck && socket.open;
        socket.link.pump(scene, scene.calm || (!stuck && self.asleep_until <= scene.now));
        while let Some(seen) = socket.next(scene) {
            self.see(seen, scene);
        }
        if socket.is_over() {
            self.back_at = scene.soon(3000);
            return;
        }
        if self.leaving {
            socket.close(scene, 1000);
            if !socket.open {
                socket.link.finish();
            }
        } else if !scene.calm && socket.is_live() {
            self.do_something(&mut socket, scene);
        }
        self.socket = Some(socket);
    }

    fn leave(&mut self) {
        self.leaving = true;
    }

    fn is_poller(&self) -> bool {
        false
    }

    fn hears(&self) -> Option<Hears<'_>> {
        let socket = self.socket.as_ref()?;
        (socket.open && socket.link.state == State::Open).then_some(Hears {
            channel: CHANNEL,
            told: None,
            name: None,
            me: None,
        })
    }

    fn check_rest(&mut self, scene: &mut Scene) {
        match &self.socket {
            Some(socket) if socket.is_live() => {
                assert_eq!(self.wrong, 0, "{}: not refused yet", self.who);
                if self.seen.is_some() || !self.sent.is_empty() {
                    let end = scene.model.present(CHANNEL).map(|life| life.end());
                    assert_eq!(self.seen, end, "{}: at rest, the last vote that was shown", self.who);
                }
                // Nobody cut this connection: all that it sent is in.
                for choice in self.sent.drain(..) {
                    scene.model.accepted(CHANNEL, Entry::Vote(choice));
                }
            }
            Some(socket) => assert!(!socket.open, "{}: half closed at rest: {socket:?}", self.who),
            None => self.patience.check(&self.who, scene),
        }
    }
}
