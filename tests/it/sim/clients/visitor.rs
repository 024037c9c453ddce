//! Whoever has one WebSocket at a time, and comes back when it is lost. What these clients say, and how they judge what
//! they hear, is their own.

use tallycast::base::time::Time;
use tallycast::engine::Origin;

use super::link::{Seen, State, WebSocket};
use super::{Client, Hears, Patience};
use crate::sim::scene::Scene;

/// How a client is with its connection.
#[derive(Debug)]
pub(crate) struct Visit {
    pub(crate) who: String,
    socket: Option<WebSocket>,
    back_at: Time,
    /// It reads nothing until then.
    pub(crate) asleep_until: Time,
    /// It never reads, once its connection is open.
    stuck: bool,
    leaving: bool,
    patience: Patience,
}

impl Visit {
    pub(crate) fn new(who: &str, stuck: bool) -> Visit {
        Visit {
            who: who.to_owned(),
            socket: None,
            back_at: Time::ZERO,
            asleep_until: Time::ZERO,
            stuck,
            leaving: false,
            patience: Patience::default(),
        }
    }

    /// Whether it opens a connection now.
    fn begins(&mut self, scene: &Scene) -> bool {
        !self.leaving && (scene.calm || scene.now >= self.back_at) && self.patience.is_left(scene)
    }
}

/// See the module.
pub(crate) trait Visitor {
    fn visit(&self) -> &Visit;
    fn visit_mut(&mut self) -> &mut Visit;

    /// Begins anew, and forgets the connection before: the target of the handshake.
    fn begin(&mut self, scene: &mut Scene) -> String;

    /// It is on this connection of the server.
    fn is_on(&mut self, _me: Option<Origin>) {}

    /// Judges what it reads.
    fn see(&mut self, seen: Seen, scene: &mut Scene);

    /// Its connection is over.
    fn lost(&mut self, _scene: &mut Scene) {}

    /// Says or does one thing, or nothing.
    fn do_something(&mut self, socket: &mut WebSocket, scene: &mut Scene);

    /// What it listens to, given that it does.
    fn heard(&self) -> Hears<'_>;

    /// At rest, connected: what it waited for has come.
    fn check_live(&mut self, scene: &mut Scene);
}

impl<T: Visitor> Client for T {
    fn act(&mut self, scene: &mut Scene) {
        let Some(mut socket) = self.visit_mut().socket.take() else {
            if self.visit_mut().begins(scene) {
                let target = self.begin(scene);
                let socket = WebSocket::open(scene, &self.visit().who, &target);
                self.visit_mut().socket = Some(socket);
            }
            return;
        };
        let stuck = self.visit().stuck && socket.open;
        socket.link.pump(scene, scene.calm || (!stuck && self.visit().asleep_until <= scene.now));
        self.is_on(socket.link.origin(scene));
        while let Some(seen) = socket.next(scene) {
            self.see(seen, scene);
        }
        if socket.is_over() {
            self.lost(scene);
            self.visit_mut().back_at = scene.soon(3000);
            return;
        }
        if self.visit().leaving {
            socket.close(scene, 1000);
            if !socket.open {
                socket.link.finish();
            }
        } else if !scene.calm && socket.is_live() {
            self.do_something(&mut socket, scene);
        }
        self.visit_mut().socket = Some(socket);
    }

    fn leave(&mut self) {
        self.visit_mut().leaving = true;
    }

    fn is_poller(&self) -> bool {
        false
    }

    fn hears(&self) -> Option<Hears<'_>> {
        let socket = self.visit().socket.as_ref()?;
        (socket.open && socket.link.state == State::Open).then(|| self.heard())
    }

    fn check_rest(&mut self, scene: &mut Scene) {
        let Visit { who, socket, patience, .. } = self.visit();
        match socket {
            Some(socket) if socket.is_live() => self.check_live(scene),
            Some(socket) => assert!(!socket.open, "{who}: half closed at rest: {socket:?}"),
            None => patience.check(who, scene),
        }
    }
}
