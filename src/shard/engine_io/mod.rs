//! Engine.IO, and Socket.IO above it.
//!
//! A session is a connection of this core, whatever carries it. With WebSocket that is the socket's own connection. With
//! polling it is a *carried* one: a connection without a socket, always stuck, so that logs, private pieces, joins,
//! answers and bounds are those of every stream; what waits for it leaves as the answer to a GET, and what a POST brings
//! is read as if it had been received. Its bytes are WebSocket frames in both cases, and become a payload on the way out.
//!
//! A carried session lives on the core that its sid names. Requests that arrive elsewhere come and go by [`Letter`]s; an
//! upgrade moves what was said so far ([`Talk`]) to the core of the WebSocket.

mod client;
mod frames;
mod handshake;
mod letters;
mod packets;
mod polling;
mod told;
mod upgrade;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::Shard;
use super::connection::{Alarm, Protocol, Stage};
use crate::base::keys::{ConnKey, CoreId};
use crate::base::time::Time;
use crate::conn::ws::WebSocket;
use crate::route::EngineIo;
use crate::wire::engineio::Version;
use crate::wire::ws::close;

use client::Client;
pub use letters::Letter;
pub(super) use letters::Waiting;
use polling::Polling;
pub(super) use told::{News, told_before};
pub(super) use upgrade::Probe;
use upgrade::Taking;

/// A session's name: where it lives, which connection it is, and a secret.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Sid {
    core: CoreId,
    key: ConnKey,
    secret: u64,
}

impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:x}.{:016x}", self.core.0, self.key.pack(), self.secret)
    }
}

/// The text is no session's name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct NoSid;

impl FromStr for Sid {
    type Err = NoSid;

    fn from_str(text: &str) -> Result<Sid, NoSid> {
        // What Rust reads as a number may begin with a plus; none is written.
        if text.contains('+') {
            return Err(NoSid);
        }
        let mut parts = text.splitn(3, '.');
        let mut part = || parts.next().ok_or(NoSid);
        let hex = |text: &str| u64::from_str_radix(text, 16).map_err(|_| NoSid);
        Ok(Sid {
            core: CoreId(part()?.parse().map_err(|_| NoSid)?),
            key: ConnKey::unpack(hex(part()?)?),
            secret: hex(part()?)?,
        })
    }
}

/// A session.
#[derive(Debug)]
pub(super) struct Session {
    talk: Talk,
    carrier: Carrier,
    /// It came from another connection, where its name is known until it ends.
    moved: bool,
    /// Its namespaces are being joined again here.
    taking: Option<Taking>,
}

/// What carries a session's packets.
#[derive(Debug)]
enum Carrier {
    WebSocket(WebSocket),
    /// The connection has no socket.
    Polling(Box<Polling>),
}

/// What stays of a session when something else carries it.
#[derive(Debug)]
struct Talk {
    endpoint: Arc<EngineIo>,
    version: Version,
    sid: Sid,
    heartbeat: Heartbeat,
    /// By when the client must have joined a namespace.
    connect_due: Option<Time>,
    /// By when the attachments of the packet in hand must have come.
    attachments_due: Option<Time>,
    /// The Socket.IO part; none at an endpoint that echoes.
    client: Option<Client>,
}

/// The heartbeat's deadline. Each is counted from when the one before was due, so that it does not drift.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Heartbeat {
    due: Time,
    /// Version 4: a ping is out, and `due` is for the answer. Always so in version 3, in which the client pings.
    waits: bool,
}

/// What the protocol is about besides its session: kept in the shard.
#[derive(Debug, Default)]
pub(super) struct Relay {
    /// Sessions without a socket.
    carried: usize,
    /// GETs that wait for something.
    parked: usize,
    /// Carried connections that may have something for the GET that waits.
    due: Vec<ConnKey>,
    /// Carried connections that are to move as soon as they can.
    moving: Vec<ConnKey>,
    /// Sessions that have moved from here and live, and their secrets.
    moved: BTreeMap<ConnKey, u64>,
    /// From other cores, and from this one to itself.
    letters: VecDeque<Letter>,
}

impl Relay {
    /// Connections without a socket.
    pub(super) fn carried(&self) -> usize {
        self.carried
    }

    /// GETs that wait for something.
    pub(super) fn parked(&self) -> usize {
        self.parked
    }

    /// Whether there is something to do at once.
    pub(super) fn has_work(&self) -> bool {
        !self.letters.is_empty() || !self.due.is_empty()
    }

    /// A letter has come.
    pub(super) fn receive(&mut self, letter: Letter) {
        self.letters.push_back(letter);
    }

    /// A carried connection may have something to tell.
    pub(super) fn wake(&mut self, key: ConnKey) {
        self.due.push(key);
    }

    /// A carried connection's slot is free.
    pub(super) fn forget(&mut self) {
        self.carried -= 1;
    }
}

/// Why a session ends by what its client sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ending {
    /// It says so.
    Closed,
    /// It broke the protocol.
    Violation(&'static str),
}

impl Ending {
    fn close(self) -> (u16, &'static str) {
        match self {
            Ending::Closed => (close::NORMAL, ""),
            Ending::Violation(reason) => (close::POLICY, reason),
        }
    }
}

impl Heartbeat {
    fn new(endpoint: &EngineIo, version: Version, now: Time) -> Heartbeat {
        match version {
            Version::V4 => Heartbeat { due: now + endpoint.ping_interval, waits: false },
            Version::V3 => Heartbeat { due: now + endpoint.ping_interval + endpoint.ping_timeout, waits: true },
        }
    }
}

impl Talk {
    fn deadline(&self) -> Time {
        let others = [self.connect_due, self.attachments_due];
        others.into_iter().flatten().fold(self.heartbeat.due, Time::min)
    }
}

impl Shard {
    /// What letters and time have brought, and answers to GETs that wait: behind reads and all other mail.
    pub(super) fn run_engine_io(&mut self) {
        loop {
            while let Some(letter) = self.relay.letters.pop_front() {
                self.letter(letter);
            }
            self.move_sessions();
            self.tell_polls();
            if self.relay.letters.is_empty() {
                break;
            }
        }
    }

    /// A session's or a probe's deadline may have come.
    pub(super) fn engine_io_alarm(&mut self, key: ConnKey) {
        let now = self.now;
        if !self.polling_alarm(key) {
            return;
        }
        let Some(conn) = self.conns.get_mut(key) else { return };
        let (paused, heard) = (conn.paused, conn.heard);
        let session = match &mut conn.protocol {
            // Nothing is said behind a Close; who asks for the session by its name may come by here.
            Protocol::EngineIo(session) if !session.is_open() => return,
            Protocol::EngineIo(session) => session,
            Protocol::Probe(_) => return self.close_engine_io(key, close::POLICY, "the upgrade took too long"),
            Protocol::Http(_) | Protocol::WebSocket(_) | Protocol::EventStream(_) | Protocol::Away => return,
        };
        let talk = &mut session.talk;
        if talk.connect_due.is_some_and(|due| due <= now) {
            return self.close_engine_io(key, close::POLICY, "no namespace was joined in time");
        }
        if talk.attachments_due.is_some_and(|due| due <= now) {
            return self.close_engine_io(key, close::POLICY, "attachments did not come in time");
        }
        if talk.heartbeat.due <= now {
            if !talk.heartbeat.waits {
                talk.heartbeat = Heartbeat { due: talk.heartbeat.due + talk.endpoint.ping_timeout, waits: true };
                let ping = frames::packet(crate::wire::engineio::Kind::Ping, "");
                self.push(key, &ping, None);
            } else if paused && heard + talk.endpoint.ping_timeout >= talk.heartbeat.due {
                // It may have answered, behind what waits for room here.
                talk.heartbeat.due = now + talk.endpoint.ping_timeout;
            } else {
                return self.close_engine_io(key, close::POLICY, "the heartbeat was not answered in time");
            }
        }
        self.set_engine_io_alarm(key);
    }

    fn set_engine_io_alarm(&mut self, key: ConnKey) {
        let Some(conn) = self.conns.get(key) else { return };
        if conn.stage != Stage::Open {
            return;
        }
        if let Protocol::EngineIo(session) = &conn.protocol
            && session.is_open()
        {
            let alarm = (session.deadline(), Alarm::EngineIo);
            self.set_alarm(key, Some(alarm));
        }
    }

    /// Ends a session, or a WebSocket that was to carry one. The client may come back.
    pub(super) fn close_engine_io(&mut self, key: ConnKey, code: u16, reason: &'static str) {
        let close_wait = self.limits().close_wait;
        let Some(conn) = self.conns.get_mut(key) else { return };
        if conn.carried {
            return self.close(key, false);
        }
        let mut out = Vec::new();
        match &mut conn.protocol {
            Protocol::EngineIo(session) => {
                session.close(code, reason, &mut out);
                self.leave_engine_io(key);
            }
            Protocol::Probe(probe) => {
                probe.socket.close(code, reason, &mut out);
                self.leave_engine_io(key);
            }
            // Its bytes are being read right now: the reader looks for this.
            Protocol::Away => conn.closing = Some(Box::new((code, reason))),
            Protocol::Http(_) | Protocol::WebSocket(_) | Protocol::EventStream(_) => {}
        }
        if out.is_empty() {
            return;
        }
        self.drop_pending(key);
        self.unsubscribe(key);
        self.push(key, &out, None);
        self.set_alarm(key, Some((self.now + close_wait, Alarm::CloseDue)));
    }

    /// The server stops. There are no words for it in the protocol: a session that is closed by a packet is over for some
    /// clients, and one whose transport fails is not, so that they come back.
    pub(super) fn stop_engine_io(&mut self, key: ConnKey) {
        self.close_engine_io(key, close::GOING_AWAY, "the server stops");
    }

    /// A connection goes, with whatever session it is: whoever waits for that session is told. Does so once.
    pub(super) fn leave_engine_io(&mut self, key: ConnKey) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        match std::mem::replace(&mut conn.protocol, Protocol::Away) {
            Protocol::EngineIo(mut session) => {
                self.farewell(&mut session);
                self.restore(key, Protocol::EngineIo(session));
            }
            Protocol::Probe(mut probe) => {
                self.abandon(key, &mut probe);
                self.restore(key, Protocol::Probe(probe));
            }
            other => self.restore(key, other),
        }
    }

    fn restore(&mut self, key: ConnKey, protocol: Protocol) {
        if let Some(conn) = self.conns.get_mut(key) {
            conn.protocol = protocol;
        }
    }

    /// Whoever waits for a session is told that it is over.
    fn farewell(&mut self, session: &mut Session) {
        session.taking = None;
        if std::mem::take(&mut session.moved) {
            let sid = session.talk.sid;
            self.write_to(sid.core, letters::Matter::Ended { sid });
        }
        if let Some(client) = &mut session.talk.client {
            client.forget_questions();
        }
        if let Carrier::Polling(polling) = &mut session.carrier {
            self.dismiss(polling, session.talk.version, false);
        }
    }
}

impl Session {
    fn is_open(&self) -> bool {
        match &self.carrier {
            Carrier::WebSocket(socket) => socket.is_open(),
            Carrier::Polling(_) => true,
        }
    }

    fn deadline(&self) -> Time {
        let due = self.talk.deadline();
        match &self.carrier {
            Carrier::Polling(polling) => polling.deadline().map_or(due, |until| until.min(due)),
            Carrier::WebSocket(_) => due,
        }
    }

    fn close(&mut self, code: u16, reason: &str, out: &mut Vec<u8>) {
        if let Carrier::WebSocket(socket) = &mut self.carrier {
            socket.close(code, reason, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sids_are_read_as_they_are_written() {
        let sid = Sid { core: CoreId(3), key: ConnKey::unpack(0x1_0000_0002), secret: 0xabc };
        assert_eq!(sid.to_string(), "3.100000002.0000000000000abc");
        assert_eq!(sid.to_string().parse(), Ok(sid));
        for bad in ["", "1", "1.2", "x.1.1", "1.x.1", "1.1.x", "1.1.1.", "70000.1.1", "+1.1.1", "1.+1.1"] {
            assert_eq!(bad.parse::<Sid>(), Err(NoSid), "{bad}");
        }
    }
}
