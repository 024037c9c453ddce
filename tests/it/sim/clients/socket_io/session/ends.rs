//! How a session ends: not without a reason, not early, and not late.

use super::*;

impl Session {
    pub(super) fn stopped(&mut self, response: &Response, scene: &mut Scene) -> bool {
        scene.coverage.hit("sio: 503");
        self.again_at = scene.soon(1500) + TICK;
        // Where there are too few connections for all, it lets the others have theirs in the end.
        self.crowded_out |= scene.calm;
        if scene.stopping {
            scene.coverage.hit("sio: told that the server stops");
            self.phase = Phase::Ended;
            assert!(!response.text().contains("full"), "{response:?}");
        }
        scene.stopping
    }

    pub(super) fn unknown(&mut self, response: &Response, scene: &mut Scene) {
        let code = response.json()["code"].as_u64();
        assert!(matches!(code, Some(1 | 3)), "{}: {response:?}", self.who);
        if self.phase == Phase::Live {
            self.check_end(scene);
        }
        self.phase = Phase::Ended;
    }

    pub(super) fn ended_for_it(&mut self, scene: &mut Scene) {
        self.phase = Phase::Ended;
        scene.coverage.hit(match self.last {
            Some(Last::Violation) => "sio bad: ended for a violation",
            Some(Last::TooLarge) => "sio bad: ended for too much",
            Some(Last::SecondGet) => "sio bad: ended for a second GET",
            Some(Last::Attachments(_)) => "sio bad: ended for attachments",
            Some(Last::Close) | None => "sio: ended",
        });
    }

    /// The server says that there is no such session: not without a reason.
    pub(super) fn check_end(&mut self, scene: &mut Scene) {
        let limits = &scene.knobs.limits;
        let mut due = self.alive_heard + PING_INTERVAL + PING_TIMEOUT;
        if self.version == 4 && !self.joined {
            due = due.min(self.begun + CONNECT_WAIT);
        }
        if let Some(Last::Attachments(sent)) = self.last {
            due = due.min(sent + limits.body_wait);
        }
        if self.last.is_some() && !matches!(self.last, Some(Last::Attachments(_))) && self.last != Some(Last::Close) {
            return self.ended_for_it(scene);
        }
        let slow = limits.log_bytes_max < 1 << 20;
        let gap = self.fragile && scene.knobs.inbox_max < 1000;
        let closed = self.last == Some(Last::Close) || (self.upgraded && scene.now >= self.upgrade_due);
        let excuse = slow || gap || scene.stopping || closed;
        assert!(excuse || scene.now >= due, "{}: ended before {due:?} and for no reason: {self:?}", self.who);
        if scene.now >= due && !slow && !gap {
            match self.last {
                Some(_) => self.ended_for_it(scene),
                None if self.silent => scene.coverage.hit("sio: silent, and ended for it"),
                None => scene.coverage.hit("sio: late, and ended for it"),
            }
        }
    }

    pub(super) fn check_close(&mut self, code: u16, scene: &mut Scene) {
        match (code, self.last) {
            (1000 | 1001, _) if scene.stopping => {}
            (1000, Some(Last::Close)) => scene.coverage.hit("sio: closed by its client"),
            (1009, Some(Last::TooLarge)) | (1008, Some(Last::Violation)) => self.ended_for_it(scene),
            (1008, _) => {
                // What its log had no room for is said by another code.
                self.check_end(scene);
            }
            (4008, _) => {
                let slow = scene.knobs.limits.log_bytes_max < 1 << 20;
                let gap = scene.knobs.inbox_max < 1000 || scene.knobs.limits.history_publications_max < 1000;
                assert!(slow || (self.fragile && gap), "{}: too slow for nothing", self.who);
            }
            (1013, _) => assert!(self.upgraded && scene.knobs.users_max < 100, "{}: {code}", self.who),
            _ => panic!("{}: closed by {code}: {:?}", self.who, self.last),
        }
    }

    /// At rest: nothing is owed by either side.
    pub(in crate::sim::clients::socket_io) fn check_rest(&self, scene: &mut Scene) {
        assert!(self.out.is_empty() && !self.post.awaits, "{}: it could not say all: {self:?}", self.who);
        assert!(self.last.is_none() && !self.silent, "{}: it is to be ended: {self:?}", self.who);
        if self.polls() {
            assert!(self.get.awaits && self.probe.is_none(), "{}: at rest, a GET waits: {self:?}", self.who);
            scene.coverage.hit("sio: poll parked");
        }
        let every = if self.version == 3 { PING_INTERVAL / 2 } else { PING_INTERVAL };
        let since = scene.now - self.pinged;
        assert!(since <= every + TICK, "{}: no heartbeat for {since:?}: {self:?}", self.who);
    }
}
