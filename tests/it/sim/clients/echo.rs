//! Sends messages and gets them back, with a heartbeat in between.

use std::collections::VecDeque;

use tallycast::base::time::Time;

use super::link::{Seen, WebSocket};
use super::{Client, Hears, Patience};
use crate::sim::scene::Scene;
use crate::sim::setup::{HEARTBEAT, HEARTBEAT_EVERY};

/// See the module.
#[derive(Debug)]
pub(crate) struct Echo {
    who: String,
    socket: Option<WebSocket>,
    sent: VecDeque<(bool, Vec<u8>)>,
    opened: Time,
    beats: u128,
    back_at: Time,
    leaving: bool,
    patience: Patience,
}

impl Echo {
    pub(crate) fn new(who: &str) -> Echo {
        Echo {
            who: who.to_owned(),
            socket: None,
            sent: VecDeque::new(),
            opened: Time::ZERO,
            beats: 0,
            back_at: Time::ZERO,
            leaving: false,
            patience: Patience::default(),
        }
    }

    fn see(&mut self, seen: Seen, scene: &mut Scene) {
        let (text, bytes) = match seen {
            Seen::Open => return,
            Seen::Close(code) => {
                return assert!(!matches!(code, 1002 | 1003 | 1007 | 1009 | 1011), "{}: closed by {code}", self.who);
            }
            Seen::Text(text) if text == HEARTBEAT => {
                self.beats += 1;
                let most = (scene.now - self.opened).as_nanos() / HEARTBEAT_EVERY.as_nanos();
                assert!(self.beats <= most, "{}: {} heartbeats, {most} are due", self.who, self.beats);
                return scene.coverage.hit("echo: heartbeat");
            }
            Seen::Text(text) => (true, text.into_bytes()),
            Seen::Binary(bytes) => (false, bytes),
        };
        assert_eq!(Some((text, bytes)), self.sent.pop_front(), "{}", self.who);
        scene.coverage.hit("echo: message");
    }

    fn say(&mut self, socket: &mut WebSocket, scene: &mut Scene) {
        let text = scene.random.chance(50);
        let len = scene.random.pick(&[0, 1, 125, 126, 500, 2000]);
        let bytes: Vec<u8> = if text {
            "投票a".repeat(len / 7).into_bytes()
        } else {
            (0..len).map(|_| scene.random.next() as u8).collect()
        };
        socket.send(scene, if text { 1 } else { 2 }, &bytes);
        self.sent.push_back((text, bytes));
    }
}

impl Client for Echo {
    fn act(&mut self, scene: &mut Scene) {
        let Some(mut socket) = self.socket.take() else {
            let back = scene.calm || scene.now >= self.back_at;
            if !self.leaving && back && self.patience.is_left(scene) {
                self.sent.clear();
                (self.opened, self.beats) = (scene.now, 0);
                self.socket = Some(WebSocket::open(scene, &self.who, "/c/echo"));
            }
            return;
        };
        let reading = scene.calm || scene.random.chance(80);
        socket.link.pump(scene, reading);
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
            match scene.random.below(1000) {
                0..300 => self.say(&mut socket, scene),
                300..310 => socket.ping(scene),
                310..314 => socket.close(scene, 1000),
                314..318 => socket.link.finish(),
                318..321 => socket.link.reset(scene),
                _ => {}
            }
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
        None
    }

    fn check_rest(&mut self, scene: &mut Scene) {
        match &self.socket {
            Some(socket) if socket.is_live() => {
                assert!(self.sent.is_empty(), "{}: {} messages never came back", self.who, self.sent.len());
            }
            Some(socket) => assert!(!socket.open, "{}: half closed at rest: {socket:?}", self.who),
            None => self.patience.check(&self.who, scene),
        }
    }
}
