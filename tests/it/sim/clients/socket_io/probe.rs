//! A WebSocket that is to take a session over that polls: tried, and then used or broken off.

use std::time::Duration;

use tallycast::engine::Asker;

use super::past::Past;
use super::session::{Plan, Session};
use crate::sim::clients::link::{Seen, WebSocket};
use crate::sim::scene::Scene;

/// How long an upgrade may take.
const UPGRADE_WAIT: Duration = Duration::from_secs(10);

/// How far it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Stage {
    Opening,
    Asked,
    /// It has been tried: what is under way comes to its end first.
    Answered,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Probe {
    pub(super) socket: WebSocket,
    pub(super) stage: Stage,
    /// It is broken off when it has come so far.
    leaves: Option<Stage>,
    /// Another GET, although no more are needed.
    polls: bool,
}

impl Probe {
    pub(super) fn take_poll(&mut self) -> bool {
        self.stage == Stage::Answered && std::mem::take(&mut self.polls)
    }
}

impl Session {
    /// Begins an upgrade, if it is to be.
    pub(super) fn begin_upgrade(&mut self, scene: &mut Scene) {
        if self.plan != Plan::Upgrade || !self.polls() || self.probe.is_some() || !self.is_live() || self.silent {
            return;
        }
        let target = self.target("websocket");
        let mut socket = WebSocket::open(scene, "probe", &target);
        socket.may_be_refused = true;
        let stage = scene.random.pick(&[Stage::Opening, Stage::Asked, Stage::Answered]);
        let leaves = Some(stage).filter(|_| scene.random.chance(35));
        self.probe = Some(Probe { socket, stage: Stage::Opening, leaves, polls: scene.random.chance(30) });
        self.tried_upgrade = true;
        self.upgrade_due = scene.now + UPGRADE_WAIT;
        scene.coverage.hit("sio: upgrade begun");
    }

    pub(super) fn pump_probe(&mut self, scene: &mut Scene, past: &mut Past) {
        let Some(mut probe) = self.probe.take() else { return };
        probe.socket.link.pump(scene, true);
        while let Some(seen) = probe.socket.next(scene) {
            match (seen, probe.stage) {
                (Seen::Open, Stage::Opening) => {
                    if probe.leaves == Some(Stage::Opening) {
                        return self.break_off(probe, scene, past);
                    }
                    probe.socket.send(scene, 1, b"2probe");
                    probe.stage = Stage::Asked;
                    if probe.leaves == Some(Stage::Asked) {
                        return self.break_off(probe, scene, past);
                    }
                }
                (Seen::Text(text), Stage::Asked) => {
                    assert_eq!(text, "3probe");
                    probe.stage = Stage::Answered;
                    if probe.leaves == Some(Stage::Answered) {
                        return self.break_off(probe, scene, past);
                    }
                }
                (Seen::Close(code), _) => assert!(matches!(code, 1008 | 1001), "a probe is closed by {code}"),
                (seen, stage) => panic!("{stage:?}: {seen:?}"),
            }
        }
        if probe.socket.is_over() || probe.socket.closed.is_some() || probe.socket.refused.is_some() {
            scene.coverage.hit("sio: upgrade failed");
            return past.sockets.push(probe.socket);
        }
        self.probe = Some(probe);
    }

    fn break_off(&mut self, mut probe: Probe, scene: &mut Scene, past: &mut Past) {
        scene.coverage.hit(match probe.stage {
            Stage::Opening => "sio: upgrade abandoned before its probe",
            Stage::Asked => "sio: upgrade abandoned behind its probe",
            Stage::Answered => "sio: upgrade abandoned behind the answer",
        });
        match scene.random.below(4) {
            0 => probe.socket.close(scene, 1000),
            1 => probe.socket.link.finish(),
            2 => probe.socket.link.reset(scene),
            _ => {
                let text = scene.random.pick(&["2", "3probe", "4hello", "x", "2probes"]);
                probe.socket.send(scene, 1, text.as_bytes());
            }
        }
        past.sockets.push(probe.socket);
    }

    /// Goes on over the WebSocket, if nothing is under way by polling. `waits`: answers are still to come.
    pub(super) fn finish_upgrade(&mut self, waits: bool, scene: &mut Scene, past: &mut Past) -> bool {
        let ready = !self.get.awaits && !self.post.awaits && self.is_live();
        let Some(mut probe) = self.probe.take_if(|probe| probe.stage == Stage::Answered && ready) else { return false };
        if !probe.socket.is_live() || probe.polls {
            self.probe = Some(probe);
            return false;
        }
        probe.socket.send(scene, 1, b"5");
        let home = self.home().map(|(core, _)| core);
        let there = probe.socket.link.origin(scene);
        let there = there.map(|origin| {
            assert!(matches!(origin.asker, Asker::Connection(_)));
            usize::from(origin.core.0)
        });
        scene.coverage.hit(if home == there { "sio: upgraded on its core" } else { "sio: upgraded on another core" });
        if waits {
            scene.coverage.hit("sio: upgraded with answers under way");
        }
        if !self.out.is_empty() {
            scene.coverage.hit("sio: upgraded with messages under way");
        }
        self.close_lanes(past);
        self.socket = Some(probe.socket);
        self.upgraded = true;
        if scene.random.chance(20) {
            let mut second = WebSocket::open(scene, "second", &self.target("websocket"));
            second.may_be_refused = true;
            past.sockets.push(second);
        }
        true
    }
}
