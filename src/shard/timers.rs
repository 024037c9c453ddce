//! Deadlines: one timer per connection, moved lazily, and a few others.

use std::time::Duration;

use super::Shard;
use super::connection::{Alarm, Pending, Protocol, Stage};
use crate::base::keys::{ConnKey, MirrorKey, SessionKey};
use crate::base::limits::MIRROR_LINGER;
use crate::base::time::Time;
use crate::conn::http::Phase;

/// What a timer is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Timer {
    /// A connection's alarm may be due.
    Conn(ConnKey),
    /// A connection gets its heartbeat text.
    Heartbeat(ConnKey),
    /// Polls of a session may be over.
    Session(SessionKey),
    /// A mirror may have been unused for long enough.
    Mirror(MirrorKey),
    /// A paced channel's next flush may be due.
    Pace(MirrorKey),
    /// The stop takes too long.
    Cut,
}

impl Shard {
    /// Sets, moves or clears a connection's alarm. A timer that stands earlier than the alarm is left and moved when it
    /// fires, so that a busy connection costs no timer operation.
    pub(super) fn set_alarm(&mut self, key: ConnKey, alarm: Option<(Time, Alarm)>) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        conn.alarm = alarm;
        let Some((at, _)) = alarm else { return };
        if conn.timer.is_some_and(|timer| self.timers.fires_by(timer, at)) {
            return;
        }
        if let Some(timer) = conn.timer.take() {
            self.timers.cancel(timer);
        }
        conn.timer = Some(self.timers.insert(at, Timer::Conn(key)));
    }

    pub(super) fn run_timers(&mut self) {
        while let Some(timer) = self.timers.expire(self.now) {
            match timer {
                Timer::Conn(key) => self.conn_timer(key),
                Timer::Heartbeat(key) => self.heartbeat(key),
                Timer::Session(key) => self.session_polls_over(key),
                Timer::Mirror(key) => self.mirror_timer(key),
                Timer::Pace(key) => self.pace_timer(key),
                Timer::Cut => self.cut_all(),
            }
        }
        self.expire_sessions();
    }

    fn conn_timer(&mut self, key: ConnKey) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        conn.timer = None;
        match conn.alarm {
            Some((at, alarm)) if at <= self.now => {
                conn.alarm = None;
                self.alarm(key, alarm, at);
            }
            later => self.set_alarm(key, later),
        }
    }

    fn alarm(&mut self, key: ConnKey, alarm: Alarm, at: Time) {
        let Some(conn) = self.conns.get(key) else { return };
        let heard = conn.heard;
        // An event stream cannot be asked: it shows that it is there by taking what it gets.
        let stalled = matches!(conn.protocol, Protocol::EventStream(_)) && conn.stuck;
        let stuck_since = conn.stuck_since;
        let limits = self.limits();
        let (ping_interval, ping_wait) = (limits.ping_interval, limits.ping_wait);
        match alarm {
            Alarm::Head | Alarm::Body => self.request_too_slow(key),
            Alarm::KeepAlive => self.end(key),
            Alarm::EngineIo => self.engine_io_alarm(key),
            Alarm::PollOver => self.poll_over(key),
            // Whatever waits for it still: the peer had its time.
            Alarm::CloseDue => {
                let all_sent = self.conns.get(key).is_some_and(|conn| conn.stage == Stage::Finished);
                self.close(key, !all_sent);
            }
            Alarm::PingDue if stalled && stuck_since + ping_interval + ping_wait <= self.now => self.cut(key),
            Alarm::PingDue if heard + ping_interval > self.now => {
                self.set_alarm(key, Some((heard + ping_interval, Alarm::PingDue)));
            }
            Alarm::PingDue => {
                let asked = self.ask_whether_there(key);
                let next = if asked { (ping_wait, Alarm::PongDue) } else { (ping_interval, Alarm::PingDue) };
                self.set_alarm(key, Some((self.now + next.0, next.1)));
            }
            // Something came since the ping went out, which was `ping_wait` before `at`; what comes in a turn is noted with
            // the time of the turn before.
            Alarm::PongDue if heard + ping_wait >= at => {
                self.set_alarm(key, Some((heard + ping_interval, Alarm::PingDue)));
            }
            Alarm::PongDue => self.cut(key),
        }
    }

    /// Sends a ping, or a comment to an event stream. Returns whether there will be an answer.
    fn ask_whether_there(&mut self, key: ConnKey) -> bool {
        // Not before a stream has begun.
        let Some(conn) = self.conns.get_mut(key).filter(|conn| conn.pending.is_none()) else { return false };
        let mut out = Vec::new();
        let asked = match &mut conn.protocol {
            Protocol::WebSocket(ws) => {
                ws.asked.rest();
                ws.socket.ping(&mut out);
                true
            }
            Protocol::EventStream(stream) => {
                // Behind what waits already it would say nothing.
                if conn.outgoing.is_none() {
                    stream.heartbeat(&mut out);
                }
                false
            }
            Protocol::Http(_) | Protocol::EngineIo(_) | Protocol::Probe(_) | Protocol::Away => false,
        };
        self.push(key, &out, None);
        asked
    }

    /// The alarm that fits what a connection with HTTP is at.
    pub(super) fn set_http_alarm(&mut self, key: ConnKey, phase: Phase) {
        let limits = self.limits();
        let (wait, alarm) = match phase {
            Phase::Idle => (limits.keep_alive, Alarm::KeepAlive),
            Phase::Head => (limits.head_wait, Alarm::Head),
            Phase::Body => (limits.body_wait, Alarm::Body),
            Phase::InHand => return,
        };
        let Some(conn) = self.conns.get(key) else { return };
        // The time runs from the beginning of a phase; more bytes do not prolong it.
        if conn.alarm.is_some_and(|(_, known)| known == alarm || (alarm == Alarm::KeepAlive && known == Alarm::Head)) {
            return;
        }
        self.set_alarm(key, Some((self.now + wait, alarm)));
    }

    fn heartbeat(&mut self, key: ConnKey) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let Protocol::WebSocket(ws) = &conn.protocol else {
            return;
        };
        let Some(heartbeat) = self.setup.class(ws.target.class).heartbeat.clone() else {
            return;
        };
        if conn.stage != Stage::Open || !ws.socket.is_open() {
            return;
        }
        // Who does not read gets no more of them.
        if conn.outgoing.is_none() {
            let mut out = Vec::new();
            crate::wire::ws::head::write_frame(&mut out, crate::wire::ws::Opcode::Text, heartbeat.text.as_bytes());
            self.push(key, &out, None);
        }
        self.arm_heartbeat(key, heartbeat.every);
    }

    pub(super) fn arm_heartbeat(&mut self, key: ConnKey, every: Duration) {
        self.timers.insert(self.now + every, Timer::Heartbeat(key));
    }

    fn poll_over(&mut self, key: ConnKey) {
        let Some(conn) = self.conns.get(key) else { return };
        if let Some(Pending::Parked { mirror, .. }) = conn.pending.as_deref() {
            let mirror = *mirror;
            self.unpark(key, mirror);
            self.answer_parked(key, true);
        }
    }

    fn mirror_timer(&mut self, key: MirrorKey) {
        let Some(mirror) = self.mirrors.get_mut(key) else { return };
        mirror.lingers = false;
        // Who began to use it in this turn is counted at the turn's end only.
        mirror.unused_since = mirror.unused_since.filter(|_| !mirror.is_used());
        let Some(since) = mirror.unused_since else {
            self.recount(key);
            return;
        };
        if since + MIRROR_LINGER <= self.now {
            self.drop_mirror(key);
        } else {
            mirror.lingers = true;
            self.timers.insert(since + MIRROR_LINGER, Timer::Mirror(key));
        }
    }
}
