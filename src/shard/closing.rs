//! How connections end: in order (all that waits is sent, our FIN, the peer's FIN or a timeout, close), or cut.

use super::connection::{Alarm, Held, Pending, Protocol, Read, Stage, Subscription};
use super::delivery::{Command, LogReaders};
use super::{Mail, Shard};
use crate::base::keys::{ConnKey, MirrorKey};
use crate::conn::http::Phase;
use crate::engine::{Asker, Refusal};
use crate::mirror::encoding::Encoding;
use crate::mirror::sendlog::{Fate, Passed};
use crate::route::Target;
use crate::wire::ws::close;

impl Shard {
    /// Ends a connection in order. What it receives from now on is ignored.
    pub(super) fn end(&mut self, key: ConnKey) {
        let close_wait = self.limits().close_wait;
        let Some(conn) = self.conns.get_mut(key) else { return };
        if conn.stage != Stage::Open {
            return;
        }
        self.unsubscribe(key);
        self.drop_pending(key);
        let Some(conn) = self.conns.get_mut(key) else { return };
        conn.stage = Stage::Ending;
        self.handshake_over(key);
        let Some(conn) = self.conns.get_mut(key) else { return };
        conn.held = Held::default();
        if conn.paused {
            conn.paused = false;
            self.commands.push(Command::Resume(key));
        }
        // A message in hand that the peer does not take ends by this too.
        self.set_alarm(key, Some((self.now + close_wait, Alarm::CloseDue)));
        self.serve_soon(key);
    }

    /// Sends a WebSocket close; the connection ends when the peer has answered it.
    pub(super) fn close_websocket(&mut self, key: ConnKey, code: u16, reason: &'static str) {
        let close_wait = self.limits().close_wait;
        let conn = self.conns.get(key);
        if conn.is_some_and(|conn| conn.carried || matches!(conn.protocol, Protocol::EngineIo(_) | Protocol::Probe(_)))
        {
            return self.close_engine_io(key, code, reason);
        }
        if self.refuse_stream(key, &Refusal::Busy) {
            return;
        }
        self.unsubscribe(key);
        let Some(conn) = self.conns.get_mut(key) else { return };
        match &mut conn.protocol {
            Protocol::WebSocket(ws) => {
                let mut out = Vec::new();
                ws.socket.close(code, reason, &mut out);
                ws.asked.clear();
                self.push(key, &out, None);
                self.set_alarm(key, Some((self.now + close_wait, Alarm::CloseDue)));
            }
            // Its bytes are being read right now: the reader looks for this.
            Protocol::Away => conn.closing = Some(Box::new((code, reason))),
            Protocol::Http(_) | Protocol::EventStream(_) | Protocol::EngineIo(_) | Protocol::Probe(_) => self.end(key),
        }
    }

    /// The tail of a log has passed a reader. If it leaves, it is to come back and resume.
    pub(super) fn passed(&mut self, passed: Passed, mirror: MirrorKey, log: u8, fate: Fate) {
        if fate == Fate::Waits {
            return self.wait_for_room(passed, mirror, log);
        }
        let key = passed.conn;
        let Some(conn) = self.conns.get_mut(key) else { return };
        let left = conn.subscriptions.iter().position(|known| (known.mirror, known.log) == (mirror, log));
        left.and_then(|index| conn.subscriptions.remove(index));
        conn.outgoing().left(mirror, log, passed.left, false);
        conn.outgoing().forget_pieces();
        self.recount(mirror);
        if let Some(dialect) = self.mirrors.get(mirror).map(|mirror| mirror.logs[usize::from(log)].encoding.dialect) {
            self.depart(mirror, Asker::Connection(key), dialect);
        }
        self.close_websocket(key, close::TOO_SLOW, "too slow: come back and resume");
    }

    /// Ends a connection at once, whatever is under way.
    pub(super) fn cut(&mut self, key: ConnKey) {
        self.close(key, true);
    }

    /// Ends what is left after a stop has taken its time.
    pub(super) fn cut_all(&mut self) {
        let keys: Vec<ConnKey> = self.conns.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.cut(key);
        }
    }

    pub(super) fn close(&mut self, key: ConnKey, reset: bool) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        if conn.stage != Stage::Gone {
            conn.stage = Stage::Gone;
            self.handshake_over(key);
            self.detach_conn(key);
            self.commands.push(Command::Close { key, reset });
        }
    }

    /// Takes a connection out of everything that knows it.
    pub(super) fn detach_conn(&mut self, key: ConnKey) {
        self.leave_engine_io(key);
        self.unsubscribe(key);
        self.drop_pending(key);
        let Some(conn) = self.conns.get_mut(key) else { return };
        conn.outgoing = None;
        conn.held = Held::default();
        conn.alarm = None;
        if let Some(timer) = conn.timer.take() {
            self.timers.cancel(timer);
        }
    }

    /// Leaves all logs; the rest of the message in hand stays with the connection.
    pub(super) fn unsubscribe(&mut self, key: ConnKey) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        for subscription in std::mem::take(&mut conn.subscriptions).iter() {
            self.leave_log(key, subscription);
        }
    }

    /// Leaves one log, if the connection reads it.
    pub(super) fn unsubscribe_from(&mut self, key: ConnKey, target: &Target, encoding: Encoding) {
        let Some(mirror_key) = self.channels.get(&target.channel).copied() else { return };
        let (Some(mirror), Some(conn)) = (self.mirrors.get(mirror_key), self.conns.get_mut(key)) else { return };
        let of_it = |subscription: &Subscription| {
            subscription.mirror == mirror_key && mirror.logs[usize::from(subscription.log)].encoding == encoding
        };
        let index = conn.subscriptions.iter().position(of_it);
        if let Some(subscription) = index.and_then(|index| conn.subscriptions.remove(index)) {
            self.leave_log(key, &subscription);
            // Who has one left is a subscriber like others, once it is served.
            self.serve_soon(key);
        }
    }

    fn leave_log(&mut self, key: ConnKey, subscription: &Subscription) {
        let Some(mirror) = self.mirrors.get_mut(subscription.mirror) else { return };
        let encoded = &mut mirror.logs[usize::from(subscription.log)];
        let (log, dialect) = (&mut encoded.log, encoded.encoding.dialect);
        let mut readers = LogReaders { conns: &mut self.conns, mirror: subscription.mirror, log: subscription.log };
        let left = log.leave(subscription.place, &mut readers);
        if let Some(conn) = self.conns.get_mut(key)
            && (left.rest.is_some() || conn.outgoing.is_some())
        {
            conn.outgoing().left(subscription.mirror, subscription.log, left, false);
        }
        self.forget_soon(subscription.mirror, subscription.log);
        self.recount(subscription.mirror);
        self.depart(subscription.mirror, Asker::Connection(key), dialect);
    }

    /// Nobody waits any more for what a connection waited for.
    pub(super) fn drop_pending(&mut self, key: ConnKey) {
        match self.pending(key) {
            Some(Pending::Parked { mirror, .. }) => self.unpark(key, mirror),
            Some(Pending::EngineIo(waiting)) => self.drop_waiting(key, &waiting),
            Some(Pending::Session { name, number, .. }) => {
                if name.core == self.core {
                    self.withdraw(name, self.core, key, number);
                } else {
                    let letter = Mail::Withdraw { name, from: self.core, conn: key, number };
                    self.letters[usize::from(name.core.0)].push(letter);
                }
            }
            Some(Pending::Read { mirror, read: Read::Join { encoding, .. }, .. }) => {
                self.depart(mirror, Asker::Connection(key), encoding.dialect);
            }
            // Whoever answers these finds that nobody waits.
            Some(Pending::Read { .. } | Pending::Op { .. }) | None => {}
        }
    }

    /// The peer sends no more.
    pub(super) fn peer_finished(&mut self, key: ConnKey) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        conn.peer_finished = true;
        match conn.stage {
            Stage::Open => self.look_at_end(key),
            Stage::Finished => self.close(key, false),
            Stage::Ending | Stage::Gone => {}
        }
    }

    /// Ends a connection whose peer sends no more, once all that it sent is read.
    pub(super) fn look_at_end(&mut self, key: ConnKey) {
        let Some(conn) = self.conns.get(key) else { return };
        if !conn.peer_finished || conn.paused || conn.stage != Stage::Open {
            return;
        }
        match (&conn.protocol, conn.pending.as_deref()) {
            // A peer that closes looks like one that only sends no more. A POST under way is answered; a poll is not,
            // because a vote given to a poll that nobody reads would be lost to its session.
            (Protocol::Http(_), Some(Pending::Op { .. })) => {}
            (Protocol::Http(_), Some(Pending::EngineIo(waiting))) if waiting.is_post() => {}
            (Protocol::Http(_), _) => self.end(key),
            (Protocol::WebSocket(_) | Protocol::EventStream(_) | Protocol::EngineIo(_) | Protocol::Probe(_), _) => {
                self.close(key, false)
            }
            // Its bytes are being read: this is looked at again behind them.
            (Protocol::Away, _) => {}
        }
    }

    /// The server stops.
    pub(super) fn stop_conn(&mut self, key: ConnKey) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        match (&conn.protocol, conn.pending.as_deref()) {
            // Nothing is under way that the peer could miss.
            (Protocol::Http(http), None) if http.phase() == Phase::Idle && conn.outgoing.is_none() => {
                self.close(key, false)
            }
            (Protocol::EngineIo(_) | Protocol::Probe(_), _) => self.stop_engine_io(key),
            (Protocol::Http(_), Some(Pending::EngineIo(_))) => self.answer_waiting_over(key),
            (Protocol::WebSocket(_), _) => self.close_websocket(key, close::GOING_AWAY, "the server stops"),
            (Protocol::Http(_), Some(Pending::Parked { mirror, .. })) => {
                let mirror = *mirror;
                self.unpark(key, mirror);
                self.answer_parked(key, true);
            }
            (Protocol::Http(_), Some(Pending::Session { .. })) => self.answer_session_over(key),
            // Their answers are under way, and are the last.
            (Protocol::Http(_), Some(Pending::Op { .. } | Pending::Read { .. })) => {}
            (Protocol::EventStream(_), Some(_)) => {
                self.refuse_stream(key, &Refusal::Busy);
            }
            (Protocol::Http(_) | Protocol::EventStream(_) | Protocol::Away, _) => self.end(key),
        }
    }
}
