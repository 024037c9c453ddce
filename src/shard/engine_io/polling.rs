//! Sessions that requests carry: a GET takes what waits, or is parked until there is something; a POST brings packets.

use crate::base::keys::{ConnKey, MirrorKey};
use crate::base::limits::{ENGINE_IO_EMPTY_WAIT, PAYLOAD_PACKETS_MAX, POLL_PACKETS_MAX, TURN_READ_BYTES_MAX};
use crate::base::time::Time;
use crate::shard::connection::{Protocol, Stage};
use crate::shard::outgoing::{gather, settle};
use crate::shard::{Flow, Shard};
use crate::wire::engineio::{Kind, Version, read_payload};

use super::handshake::Fault;
use super::letters::{Answer, Ask, Matter, Requester};
use super::{Carrier, Ending, Session, Sid, frames};

/// What carries a session that has no socket.
#[derive(Debug)]
pub(super) struct Polling {
    /// The client takes no bytes in payloads.
    base64: bool,
    /// The GET that waits.
    pub(super) parked: Option<Requester>,
    /// The GET that was answered last: if it finds nobody, what it had is lost.
    told: Option<Requester>,
    /// What was taken for the client and found no room in a payload: less than one send.
    pub(super) rest: Vec<u8>,
    /// When it comes back empty, if it came while a WebSocket was trying; none: at once.
    empty_due: Option<Time>,
    /// The POST that is being read.
    pub(super) posted: Option<Posted>,
    pub(super) upgrade: Upgrade,
}

/// A POST, as far as it is read. It is answered when it is read to its end: this holds a client back.
#[derive(Debug)]
pub(super) struct Posted {
    pub(super) who: Requester,
    octets: bool,
    body: Vec<u8>,
    /// Packets read.
    read: usize,
}

/// How far a WebSocket is with taking the session over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Upgrade {
    None,
    /// Its handshake is answered.
    Asked(Requester),
    /// It has been tried: no GET is parked any more.
    Probed(Requester),
    /// It takes over as soon as the engine has answered, by then at the latest.
    Moving(Requester, Time),
    /// It has taken over. What listens here stays until it listens there, so that nobody is seen to leave.
    Moved(Requester, Time),
}

impl Upgrade {
    pub(super) fn by(self) -> Option<Requester> {
        match self {
            Upgrade::None => None,
            Upgrade::Asked(by) | Upgrade::Probed(by) | Upgrade::Moving(by, _) | Upgrade::Moved(by, _) => Some(by),
        }
    }
}

impl Polling {
    pub(super) fn new(base64: bool) -> Polling {
        Polling {
            base64,
            parked: None,
            told: None,
            rest: Vec::new(),
            empty_due: None,
            posted: None,
            upgrade: Upgrade::None,
        }
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        match self.upgrade {
            Upgrade::Moving(_, until) | Upgrade::Moved(_, until) => Some(until),
            Upgrade::Probed(_) => self.empty_due,
            Upgrade::None | Upgrade::Asked(_) => None,
        }
    }

    /// Whether the GET that waits is to come back, empty if need be.
    fn is_empty_due(&self, now: Time) -> bool {
        match self.upgrade {
            Upgrade::None | Upgrade::Asked(_) => false,
            Upgrade::Probed(_) => self.empty_due.is_none_or(|due| due <= now),
            Upgrade::Moving(..) | Upgrade::Moved(..) => true,
        }
    }

    pub(super) fn has_moved(&self) -> bool {
        matches!(self.upgrade, Upgrade::Moving(..) | Upgrade::Moved(..))
    }
}

impl Session {
    pub(super) fn polling(&mut self) -> Option<&mut Polling> {
        match &mut self.carrier {
            Carrier::Polling(polling) => Some(polling),
            Carrier::WebSocket(_) => None,
        }
    }
}

impl Shard {
    /// A request has come for the session of this name, which lives here.
    pub(super) fn asked(&mut self, sid: Sid, from: Requester, ask: Ask) {
        let now = self.now;
        let key = sid.key;
        let polls = self.relay.parked + self.parked_polls;
        let polls_max = self.limits().polls_max;
        let Some(session) = self.find_session(sid) else { return };
        let payload_bytes_max = session.talk.endpoint.payload_bytes_max;
        let upgrades = ask == Ask::Upgrade;
        let Some(polling) = session.polling().filter(|polling| !polling.has_moved()) else {
            return self.write_answer(from, if upgrades { Answer::Taken } else { Answer::Fault(Fault::Request) });
        };
        match ask {
            Ask::Poll if polling.parked.is_some() => {
                self.write_answer(from, Answer::Fault(Fault::Request));
                self.close(key, false);
            }
            Ask::Poll if polls >= polls_max => self.write_answer(from, Answer::Full),
            Ask::Poll => {
                polling.parked = Some(from);
                // The WebSocket may be about to take over, which is not known here yet: then this is not for the session.
                polling.empty_due = matches!(polling.upgrade, Upgrade::Probed(_)).then(|| now + ENGINE_IO_EMPTY_WAIT);
                self.relay.parked += 1;
                self.relay.wake(key);
                self.set_engine_io_alarm(key);
            }
            Ask::Post { .. } if polling.posted.is_some() => {
                self.write_answer(from, Answer::Fault(Fault::Request));
                self.close(key, false);
            }
            Ask::Post { body, .. } if body.len() > payload_bytes_max => {
                self.write_answer(from, Answer::TooLarge);
                self.close(key, false);
            }
            Ask::Post { octets, body } => {
                polling.posted = Some(Posted { who: from, octets, body, read: 0 });
                if let Some(conn) = self.conns.get_mut(key) {
                    conn.heard = now;
                    // Otherwise it goes on as soon as it may.
                    if !conn.paused {
                        self.read(key, &mut []);
                    }
                }
            }
            Ask::Upgrade if polling.upgrade != Upgrade::None => self.write_answer(from, Answer::Taken),
            Ask::Upgrade => {
                polling.upgrade = Upgrade::Asked(from);
                self.write_answer(from, Answer::Upgrade);
            }
        }
    }

    /// Reads the POST in hand, as far as there is room.
    pub(super) fn read_posted(&mut self, key: ConnKey, session: &mut Session) -> Flow {
        let Session { talk, carrier: Carrier::Polling(polling), .. } = session else { return Flow::Stop };
        let Some(mut posted) = polling.posted.take() else { return Flow::Stop };
        let mut read = posted.read;
        let mut packets = read_payload(talk.version, posted.octets, &posted.body).skip(read).peekable();
        let ending = loop {
            if self.closing(key) {
                break Err(Ending::Violation("closed"));
            }
            if packets.peek().is_none() {
                break Ok(());
            }
            if self.must_wait(key) {
                drop(packets);
                posted.read = read;
                polling.posted = Some(posted);
                return Flow::Wait;
            }
            let Some(packet) = packets.next() else { break Ok(()) };
            self.turn_messages += 1;
            read += 1;
            if read > PAYLOAD_PACKETS_MAX {
                break Err(Ending::Violation("too many packets"));
            }
            let packet = packet.map_err(|_| Ending::Violation("a packet is malformed"));
            if let Err(ending) = packet.and_then(|packet| self.packet(key, talk, packet)) {
                break Err(ending);
            }
        };
        drop(packets);
        match ending {
            Ok(()) => self.write_answer(posted.who, Answer::Read),
            Err(ending) => {
                let closed = ending == Ending::Closed;
                let answer = match ending {
                    Ending::Closed => Answer::Read,
                    Ending::Violation(_) if read > PAYLOAD_PACKETS_MAX => Answer::TooLarge,
                    Ending::Violation(_) => Answer::Fault(Fault::Request),
                };
                self.write_answer(posted.who, answer);
                let version = talk.version;
                self.dismiss(polling, version, closed);
                self.close(key, false);
            }
        }
        Flow::Stop
    }

    /// Something has decided to end a connection while its bytes are being read.
    fn closing(&self, key: ConnKey) -> bool {
        self.conns.get(key).is_none_or(|conn| conn.closing.is_some() || conn.stage != Stage::Open)
    }

    /// A session ends: who waits for it is told. `by_client`: it has said that it closes.
    pub(super) fn dismiss(&mut self, polling: &mut Polling, version: Version, by_client: bool) {
        if let Some(who) = polling.parked.take() {
            self.relay.parked -= 1;
            let kind = if by_client { Kind::Noop } else { Kind::Close };
            let (body, media) = frames::payload_of(version, polling.base64, kind, "");
            let over = if self.stopping { Answer::Over } else { Answer::Payload { body, media } };
            self.write_answer(who, over);
        }
        if let Some(Posted { who, .. }) = polling.posted.take() {
            self.write_answer(who, Answer::Fault(Fault::Request));
        }
        match std::mem::replace(&mut polling.upgrade, Upgrade::None) {
            Upgrade::Asked(by) | Upgrade::Probed(by) | Upgrade::Moving(by, _) => {
                self.write_to(by.core, Matter::Gone { to: by });
            }
            Upgrade::None | Upgrade::Moved(..) => {}
        }
    }

    /// Who asked is gone. A GET takes its session with it, because what it was to get may be lost.
    pub(super) fn withdraw_engine_io(&mut self, sid: Sid, from: Requester) {
        let Some(polling) = self.find_session(sid).and_then(Session::polling) else { return };
        if polling.parked == Some(from) {
            polling.parked = None;
            self.relay.parked -= 1;
            self.close(sid.key, false);
        } else if polling.told == Some(from) && !polling.has_moved() {
            self.close(sid.key, false);
        } else if matches!(polling.upgrade, Upgrade::Asked(by) | Upgrade::Probed(by) if by == from) {
            polling.upgrade = Upgrade::None;
            polling.empty_due = None;
            self.moves(sid.key, false);
        }
    }

    /// Answers the GETs of sessions that have something.
    pub(super) fn tell_polls(&mut self) {
        let mut touched = Vec::new();
        // What is written in one turn is bounded, so that others are served in between.
        let mut written = 0;
        let due = std::mem::take(&mut self.relay.due);
        let mut due = due.into_iter();
        for key in due.by_ref() {
            written += self.tell_poll(key, &mut touched);
            if written >= TURN_READ_BYTES_MAX {
                break;
            }
        }
        self.relay.due.extend(due);
        touched.sort_unstable();
        touched.dedup();
        for (mirror, log) in touched {
            self.forget_soon(mirror, log);
        }
    }

    fn tell_poll(&mut self, key: ConnKey, touched: &mut Vec<(MirrorKey, u8)>) -> usize {
        let Some(conn) = self.conns.get(key).filter(|conn| conn.stage == Stage::Open) else { return 0 };
        let Protocol::EngineIo(session) = &conn.protocol else { return 0 };
        let Carrier::Polling(polling) = &session.carrier else { return 0 };
        let Some(who) = polling.parked else { return 0 };
        let (version, base64) = (session.talk.version, polling.base64);
        let is_empty_due = polling.is_empty_due(self.now);
        let mut frames = self.take_frames(key, TURN_READ_BYTES_MAX, POLL_PACKETS_MAX, touched);
        let rest = frames.split_off(frames::end_of(&frames, POLL_PACKETS_MAX));
        let (body, media) = match frames.as_slice() {
            [] if is_empty_due => frames::payload_of(version, base64, Kind::Noop, ""),
            [] => return 0,
            frames => frames::payload(version, base64, frames),
        };
        let len = body.len();
        if let Some(Protocol::EngineIo(session)) = self.conns.get_mut(key).map(|conn| &mut conn.protocol)
            && let Some(polling) = session.polling()
        {
            (polling.parked, polling.empty_due) = (None, None);
            polling.told = Some(who);
            polling.rest = rest;
            self.relay.parked -= 1;
        }
        self.write_answer(who, Answer::Payload { body, media });
        len
    }

    /// A session's deadline has come that has to do with its requests. False: there is no other to wait for now.
    pub(super) fn polling_alarm(&mut self, key: ConnKey) -> bool {
        let now = self.now;
        let Some(polling) = self.polling_of(key) else { return true };
        match polling.upgrade {
            // Where it went to is not heard of.
            Upgrade::Moved(_, until) if until <= now => {
                self.close(key, false);
                false
            }
            // It moves in this turn, and its deadlines with it.
            Upgrade::Moving(_, until) if until <= now => false,
            Upgrade::Probed(_) if polling.empty_due.is_some_and(|due| due <= now) => {
                polling.empty_due = None;
                self.relay.wake(key);
                true
            }
            Upgrade::None | Upgrade::Asked(_) | Upgrade::Probed(_) | Upgrade::Moving(..) | Upgrade::Moved(..) => true,
        }
    }

    fn polling_of(&mut self, key: ConnKey) -> Option<&mut Polling> {
        let conn = self.conns.get_mut(key).filter(|conn| conn.stage == Stage::Open)?;
        match &mut conn.protocol {
            Protocol::EngineIo(session) => session.polling(),
            _ => None,
        }
    }

    /// Takes what waits for a carried connection, whole messages, until it is more than `bytes_max` or `packets_max`.
    pub(super) fn take_frames(
        &mut self,
        key: ConnKey,
        bytes_max: usize,
        packets_max: usize,
        touched: &mut Vec<(MirrorKey, u8)>,
    ) -> Vec<u8> {
        let Some(conn) = self.conns.get_mut(key) else { return Vec::new() };
        debug_assert!(conn.carried);
        let mut frames = match &mut conn.protocol {
            Protocol::EngineIo(session) => session.polling().map(|polling| std::mem::take(&mut polling.rest)),
            _ => None,
        }
        .unwrap_or_default();
        touched.extend(conn.subscriptions.iter().map(|subscription| (subscription.mirror, subscription.log)));
        while frames.len() < bytes_max && frames::count(&frames, packets_max) < packets_max {
            let Some(conn) = self.conns.get_mut(key) else { return frames };
            if let Some((parts, slice)) = gather(conn.outgoing.as_deref(), &conn.subscriptions, &self.mirrors) {
                frames.extend_from_slice(&slice);
                settle(conn.outgoing.as_deref_mut(), &mut conn.subscriptions, &mut self.mirrors, &parts, slice.len());
            } else if !self.come_back(key) {
                break;
            }
        }
        let Some(conn) = self.conns.get_mut(key) else { return frames };
        conn.outgoing = conn.outgoing.take().filter(|outgoing| !outgoing.is_empty());
        frames
    }
}
