//! Letters between cores, and of a core to itself: requests and what becomes of them, and sessions that move.

use std::sync::Arc;

use super::handshake::Fault;
use super::upgrade::Cargo;
use super::{Session, Sid};
use crate::base::keys::{ConnKey, CoreId};
use crate::route::EngineIo;
use crate::shard::connection::{Answering, Pending, Protocol, Stage};
use crate::shard::responses::{JSON, refusal_json};
use crate::shard::{Mail, Shard};
use crate::wire::engineio::Version;

/// See the module.
#[derive(Debug)]
pub struct Letter(Matter);

#[derive(Debug)]
pub(super) enum Matter {
    /// To a session: a request.
    Ask { sid: Sid, from: Requester, endpoint: Arc<EngineIo>, version: Version, ask: Ask },
    /// To a session: who asked is gone.
    Withdraw { sid: Sid, from: Requester },
    /// To a session: the WebSocket that may take it over has been tried.
    Probed { sid: Sid, from: Requester },
    /// To a session: that WebSocket takes it over.
    Take { sid: Sid, from: Requester },
    /// To where a session came from: everything it listens to has been joined again.
    Taken { sid: Sid },
    /// To where a session came from: it has ended.
    Ended { sid: Sid },
    /// To who asked.
    Answer { to: Requester, answer: Answer },
    /// To the WebSocket that takes a session over: the session.
    Moved { to: Requester, cargo: Box<Cargo> },
    /// To the WebSocket that was to take a session over: there is none any more.
    Gone { to: Requester },
}

/// Which request, on which connection of which core.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Requester {
    pub(super) core: CoreId,
    pub(super) conn: ConnKey,
    pub(super) number: u32,
}

/// What is asked of a session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Ask {
    /// What waits for the client.
    Poll,
    /// To read this.
    Post { octets: bool, body: Vec<u8> },
    /// Whether a WebSocket may take it over.
    Upgrade,
}

/// What a session answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Answer {
    /// Packets.
    Payload { body: Vec<u8>, media: &'static str },
    /// All of a POST was read.
    Read,
    /// The WebSocket may.
    Upgrade,
    /// The session has a WebSocket, or is about to.
    Taken,
    /// 400.
    Fault(Fault),
    /// 413: the POST has more than it may.
    TooLarge,
    /// 503: too many GETs wait already.
    Full,
    /// 503: the server stops.
    Over,
}

/// What a connection waits for.
#[derive(Debug)]
pub(in crate::shard) struct Waiting {
    pub(super) sid: Sid,
    pub(super) number: u32,
    pub(super) how: Answering,
    pub(super) waits: Waits,
}

#[derive(Debug)]
pub(super) enum Waits {
    Poll,
    Post,
    Upgrade {
        accept: [u8; 28],
        endpoint: Arc<EngineIo>,
        version: Version,
    },
    /// For the session that it takes over.
    Take,
}

impl Waiting {
    /// Whether its answer is worth waiting for although the peer sends no more.
    pub(in crate::shard) fn is_post(&self) -> bool {
        matches!(self.waits, Waits::Post)
    }
}

impl Shard {
    pub(super) fn ask_letter(
        &mut self,
        sid: Sid,
        from: Requester,
        endpoint: Arc<EngineIo>,
        version: Version,
        ask: Ask,
    ) {
        self.write_to(sid.core, Matter::Ask { sid, from, endpoint, version, ask });
    }

    pub(super) fn write_to(&mut self, core: CoreId, matter: Matter) {
        let letter = Letter(matter);
        if core == self.core {
            self.relay.letters.push_back(letter);
        } else {
            self.letters[usize::from(core.0)].push(Mail::EngineIo(letter));
        }
    }

    pub(super) fn write_answer(&mut self, to: Requester, answer: Answer) {
        self.write_to(to.core, Matter::Answer { to, answer });
    }

    pub(super) fn letter(&mut self, Letter(matter): Letter) {
        match matter {
            Matter::Ask { sid, from, endpoint, version, ask } => {
                let fits = self
                    .find_session(sid)
                    .map(|session| Arc::ptr_eq(&session.talk.endpoint, &endpoint) && session.talk.version == version);
                let moved = self.relay.moved.get(&sid.key) == Some(&sid.secret);
                match fits {
                    Some(true) => self.asked(sid, from, ask),
                    None if moved && ask == Ask::Upgrade => self.write_answer(from, Answer::Taken),
                    None if !moved => self.write_answer(from, Answer::Fault(Fault::Session)),
                    Some(false) | None => self.write_answer(from, Answer::Fault(Fault::Request)),
                }
            }
            Matter::Withdraw { sid, from } => self.withdraw_engine_io(sid, from),
            Matter::Probed { sid, from } => self.probed(sid, from),
            Matter::Take { sid, from } => self.take_session(sid, from),
            Matter::Taken { sid } => self.session_was_taken(sid),
            Matter::Ended { sid } => self.session_has_ended(sid),
            Matter::Answer { to, answer } => self.engine_io_answered(to, answer),
            Matter::Moved { to, cargo } => self.session_arrives(to, *cargo),
            Matter::Gone { to } => self.session_is_gone(to),
        }
    }

    /// The session that lives here under this name. One whose time is up does not.
    pub(super) fn find_session(&mut self, sid: Sid) -> Option<&mut Session> {
        let now = self.now;
        let session = self.session_of(sid)?;
        if session.deadline() <= now {
            self.engine_io_alarm(sid.key);
        }
        self.session_of(sid)
    }

    fn session_of(&mut self, sid: Sid) -> Option<&mut Session> {
        let conn = self.conns.get_mut(sid.key).filter(|conn| conn.stage == Stage::Open)?;
        match &mut conn.protocol {
            Protocol::EngineIo(session) if session.talk.sid == sid => Some(session),
            Protocol::EngineIo(_)
            | Protocol::Probe(_)
            | Protocol::Http(_)
            | Protocol::WebSocket(_)
            | Protocol::EventStream(_)
            | Protocol::Away => None,
        }
    }

    /// The request that a connection waits with, if it is this one.
    pub(super) fn waiting_for(&mut self, to: Requester) -> Option<Waiting> {
        let conn = self.conns.get_mut(to.conn)?;
        match conn.pending.as_deref() {
            Some(Pending::EngineIo(waiting)) if waiting.number == to.number => {}
            Some(_) | None => return None,
        }
        match *conn.pending.take()? {
            Pending::EngineIo(waiting) => Some(*waiting),
            _ => None,
        }
    }

    /// A session has answered a request of this core's.
    fn engine_io_answered(&mut self, to: Requester, answer: Answer) {
        let Some(Waiting { how, sid, waits, .. }) = self.waiting_for(to) else {
            // Who wanted to take the session over is gone.
            if answer == Answer::Upgrade {
                debug_assert!(self.conns.get(to.conn).is_none_or(|conn| conn.stage > Stage::Open));
            }
            return;
        };
        let no_store = ("Cache-Control", "no-store");
        match answer {
            Answer::Payload { body, media } => {
                self.answer(to.conn, &how, 200, &[("Content-Type", media), no_store], &body);
            }
            // The reference server's: some browsers offer to save what is text/plain.
            Answer::Read => self.answer(to.conn, &how, 200, &[("Content-Type", "text/html"), no_store], b"ok"),
            Answer::Upgrade | Answer::Taken => {
                if let Waits::Upgrade { accept, endpoint, version } = waits {
                    self.begin_probe(to, sid, &accept, endpoint, version, answer == Answer::Taken);
                }
            }
            Answer::Fault(fault) => self.answer(to.conn, &how, 400, &[("Content-Type", JSON)], fault.json()),
            Answer::TooLarge => {
                let body =
                    refusal_json("too_large", "no more than the handshake's maxPayload, in no more than 16384 packets");
                self.answer(to.conn, &how, 413, &[("Content-Type", JSON)], &body);
            }
            Answer::Over => {
                let body = refusal_json("busy", "the server stops: try again later");
                self.answer(to.conn, &how, 503, &[("Content-Type", JSON)], &body);
            }
            Answer::Full => {
                let body = refusal_json("full", "fewer polls at a time");
                self.answer(to.conn, &how, 503, &[("Content-Type", JSON)], &body);
            }
        }
    }

    /// A connection waits no more for what it waited for: it is gone.
    pub(in crate::shard) fn drop_waiting(&mut self, key: ConnKey, waiting: &Waiting) {
        let from = Requester { core: self.core, conn: key, number: waiting.number };
        self.write_to(waiting.sid.core, Matter::Withdraw { sid: waiting.sid, from });
    }

    /// The server stops: what a request waits for is not to come.
    pub(in crate::shard) fn answer_waiting_over(&mut self, key: ConnKey) {
        let Some(Pending::EngineIo(waiting)) = self.conns.get(key).and_then(|conn| conn.pending.as_deref()) else {
            return;
        };
        let to = Requester { core: self.core, conn: key, number: waiting.number };
        let sid = waiting.sid;
        let answer = match &waiting.waits {
            Waits::Poll => Answer::Over,
            Waits::Post | Waits::Upgrade { .. } => Answer::Fault(Fault::Session),
            Waits::Take => return,
        };
        self.write_to(sid.core, Matter::Withdraw { sid, from: to });
        self.engine_io_answered(to, answer);
    }
}
