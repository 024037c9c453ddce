//! From polling to WebSocket: a probe, then the session moves to the WebSocket's connection, on whatever core that is.

use std::collections::VecDeque;
use std::sync::Arc;

use super::handshake::Fault;
use super::letters::{Answer, Matter, Requester, Waits};
use super::polling::Upgrade;
use super::told::Told;
use super::{Carrier, Session, Sid, Talk, Waiting, frames};
use crate::base::keys::ConnKey;
use crate::base::limits::{ENGINE_IO_MOVE_WAIT, ENGINE_IO_UPGRADE_WAIT};
use crate::conn::ws::{Event, WebSocket};
use crate::route::EngineIo;
use crate::shard::connection::{Alarm, Answering, Begins, Pending, Protocol, Stage};
use crate::shard::{Flow, Shard};
use crate::wire::engineio::{self, Data, Kind, Packet, Version};
use crate::wire::ws::{MessageLimits, close, handshake};

/// A WebSocket that may take a session over.
#[derive(Debug)]
pub(in crate::shard) struct Probe {
    pub(super) socket: WebSocket,
    sid: Sid,
    number: u32,
    endpoint: Arc<EngineIo>,
    version: Version,
    /// The session knows that nothing comes of it, or is being taken.
    over: bool,
}

/// A session on its way to its WebSocket.
#[derive(Debug)]
pub(super) struct Cargo {
    talk: Talk,
    /// What it was not told yet.
    frames: Vec<u8>,
    resume: VecDeque<Resume>,
}

/// A namespace whose channel is to be listened to again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Resume {
    /// Its place in the endpoint's list.
    pub(super) namespace: u16,
    /// Where its client was left off.
    pub(super) begins: Begins,
    /// What its client is told when it listens; of a namespace that it is in already, nothing.
    pub(super) head: Box<[u8]>,
    /// Who was there then.
    pub(super) told: Option<Told>,
}

/// A session that has come from elsewhere.
#[derive(Debug)]
pub(super) struct Taking {
    resume: VecDeque<Resume>,
    /// Who was there when the stream was left off that goes on now.
    pub(super) told: Option<Told>,
}

// The session's side.
impl Shard {
    /// The probe was answered: whatever GET waits is to come back empty, so that its client can stop polling.
    pub(super) fn probed(&mut self, sid: Sid, from: Requester) {
        let Some(polling) = self.find_session(sid).and_then(Session::polling) else { return };
        if polling.upgrade == Upgrade::Asked(from) {
            polling.upgrade = Upgrade::Probed(from);
            self.relay.wake(sid.key);
            self.moves(sid.key, true);
        }
    }

    pub(super) fn moves(&mut self, key: ConnKey, moves: bool) {
        if let Some(conn) = self.conns.get_mut(key) {
            conn.moves = moves;
        }
    }

    /// The WebSocket takes the session over, as soon as what was asked and posted is answered.
    pub(super) fn take_session(&mut self, sid: Sid, from: Requester) {
        let until = self.now + ENGINE_IO_MOVE_WAIT;
        let polling = self.find_session(sid).and_then(Session::polling);
        let Some(polling) = polling.filter(|polling| polling.upgrade.by() == Some(from) && !polling.has_moved()) else {
            return self.write_to(from.core, Matter::Gone { to: from });
        };
        polling.upgrade = Upgrade::Moving(from, until);
        let late = polling.parked.take();
        // It came behind the probe, from somebody who does not know that the session has a WebSocket.
        if let Some(late) = late {
            self.relay.parked -= 1;
            self.write_answer(late, Answer::Fault(Fault::Request));
        }
        self.moves(sid.key, true);
        self.relay.moving.push(sid.key);
        self.set_engine_io_alarm(sid.key);
    }

    /// Moves the sessions that can, and those that have waited long enough.
    pub(super) fn move_sessions(&mut self) {
        let mut later = Vec::new();
        for key in std::mem::take(&mut self.relay.moving) {
            if !self.move_session(key) {
                later.push(key);
            }
        }
        self.relay.moving.append(&mut later);
    }

    /// False: not yet.
    fn move_session(&mut self, key: ConnKey) -> bool {
        let now = self.now;
        let Some(conn) = self.conns.get_mut(key).filter(|conn| conn.stage == Stage::Open) else { return true };
        let holds = conn.outgoing.as_ref().is_some_and(|outgoing| outgoing.waits_for_news());
        let Protocol::EngineIo(session) = &mut conn.protocol else { return true };
        let Session { talk, carrier: Carrier::Polling(polling), .. } = &mut **session else { return true };
        let Upgrade::Moving(to, until) = polling.upgrade else { return true };
        let asks = talk.client.as_ref().is_some_and(super::Client::asks);
        if (asks || holds || polling.posted.is_some()) && now < until {
            return false;
        }
        if polling.posted.is_some() {
            // What it brought can neither be read here any more nor elsewhere.
            self.close(key, false);
            return true;
        }
        let replies = talk.client.as_mut().map(super::Client::give_up_questions).unwrap_or_default();
        // What is told from here on is told there.
        polling.upgrade = Upgrade::Moved(to, now + ENGINE_IO_UPGRADE_WAIT);
        let moved = Talk {
            endpoint: talk.endpoint.clone(),
            version: talk.version,
            sid: talk.sid,
            heartbeat: talk.heartbeat,
            connect_due: talk.connect_due.take(),
            attachments_due: talk.attachments_due.take(),
            client: talk.client.as_mut().map(super::Client::hand_over),
        };
        talk.heartbeat.due = now + ENGINE_IO_UPGRADE_WAIT;
        if holds {
            self.flush_for(key);
        }
        self.refuse_unanswered(key, &moved, &replies);
        let resume = self.resume_points(key, &moved);
        let frames = self.take_frames(key, usize::MAX, usize::MAX, &mut Vec::new());
        self.set_engine_io_alarm(key);
        self.write_to(to.core, Matter::Moved { to, cargo: Box::new(Cargo { talk: moved, frames, resume }) });
        true
    }

    /// The session listens elsewhere now.
    pub(super) fn session_was_taken(&mut self, sid: Sid) {
        if let Some(polling) = self.find_session(sid).and_then(Session::polling)
            && matches!(polling.upgrade, Upgrade::Moved(..))
        {
            self.close(sid.key, false);
        }
        // Its name is known for as long as it lives: who asks for it is told that it has a WebSocket.
        self.relay.moved.insert(sid.key, sid.secret);
    }

    /// The session has ended elsewhere.
    pub(super) fn session_has_ended(&mut self, sid: Sid) {
        self.session_was_taken(sid);
        self.relay.moved.remove(&sid.key);
    }
}

// The WebSocket's side.
impl Shard {
    /// The session lets itself be taken over: the handshake is answered, and the probe awaited.
    pub(super) fn begin_probe(
        &mut self,
        to: Requester,
        sid: Sid,
        accept: &[u8; 28],
        endpoint: Arc<EngineIo>,
        version: Version,
        over: bool,
    ) {
        let key = to.conn;
        let Some(conn) = self.conns.get_mut(key).filter(|conn| conn.stage == Stage::Open) else {
            return self.write_to(sid.core, Matter::Withdraw { sid, from: to });
        };
        let socket = WebSocket::new();
        let probe = Probe { socket, sid, number: to.number, endpoint, version, over };
        let Protocol::Http(http) = std::mem::replace(&mut conn.protocol, Protocol::Probe(Box::new(probe))) else {
            debug_assert!(false, "a handshake is asked for in HTTP");
            return;
        };
        let paused = conn.paused;
        let mut out = Vec::new();
        handshake::write_response(&mut out, accept, &[]);
        self.push(key, &out, None);
        self.set_alarm(key, Some((self.now + ENGINE_IO_UPGRADE_WAIT, Alarm::EngineIo)));
        if over {
            return self.close_engine_io(key, close::POLICY, "the session has a WebSocket");
        }
        // Frames may have come in the same segment as the handshake.
        let mut rest = http.into_rest();
        if paused {
            if let Some(conn) = self.conns.get_mut(key) {
                conn.held.prepend(&rest);
            }
        } else {
            self.read(key, &mut rest);
        }
    }

    /// Reads the frames of a WebSocket that may take a session over.
    pub(in crate::shard) fn read_probe(
        &mut self,
        key: ConnKey,
        mut probe: Box<Probe>,
        bytes: &mut [u8],
    ) -> (Protocol, usize, Flow) {
        let mut used = 0;
        let mut flow = Flow::Stop;
        let mut out = Vec::new();
        let limits = MessageLimits {
            message_bytes_max: probe.endpoint.payload_bytes_max,
            fragments_max: self.limits().fragments_max,
        };
        loop {
            if probe.socket.is_open() && self.must_wait(key) {
                flow = Flow::Wait;
                break;
            }
            let from = Requester { core: self.core, conn: key, number: probe.number };
            let Probe { socket, sid, over, version, .. } = &mut *probe;
            let packet = match socket.next(&mut bytes[used..], &limits, &mut out) {
                Ok((len, Some(event))) => {
                    used += len;
                    match event {
                        Event::Text(text) => engineio::read_text(*version, text),
                        Event::Binary(bytes) => engineio::read_binary(*version, bytes),
                        Event::Pong | Event::Closed => continue,
                    }
                }
                Ok((_, None)) | Err(_) => {
                    used = bytes.len();
                    break;
                }
            };
            self.turn_messages += 1;
            match packet {
                Ok(Packet { kind: Kind::Ping, data: Data::Text(text) }) if text == "probe" => {
                    out.extend(frames::packet(Kind::Pong, "probe"));
                    self.write_to(sid.core, Matter::Probed { sid: *sid, from });
                }
                Ok(Packet { kind: Kind::Upgrade, .. }) if !*over => {
                    *over = true;
                    self.write_to(sid.core, Matter::Take { sid: *sid, from });
                    let how = Answering::closing();
                    let waiting = Waiting { sid: *sid, number: from.number, how, waits: Waits::Take };
                    if let Some(conn) = self.conns.get_mut(key) {
                        conn.pending = Some(Box::new(Pending::EngineIo(Box::new(waiting))));
                    }
                }
                Ok(_) | Err(_) => socket.close(close::POLICY, "a probe was expected", &mut out),
            }
            self.push(key, &out, None);
            out.clear();
        }
        if !probe.socket.is_open() {
            self.abandon(key, &mut probe);
        }
        self.push(key, &out, None);
        if probe.socket.is_done() {
            self.end(key);
        } else if !probe.socket.is_open() {
            let due = self.now + self.limits().close_wait;
            self.set_alarm(key, Some((due, Alarm::CloseDue)));
        }
        (Protocol::Probe(probe), used, flow)
    }

    /// Nothing comes of a probe: the session goes on polling.
    pub(super) fn abandon(&mut self, key: ConnKey, probe: &mut Probe) {
        if !std::mem::replace(&mut probe.over, true) {
            let from = Requester { core: self.core, conn: key, number: probe.number };
            self.write_to(probe.sid.core, Matter::Withdraw { sid: probe.sid, from });
        }
    }

    /// There is no session any more that a WebSocket could take over.
    pub(super) fn session_is_gone(&mut self, to: Requester) {
        if let Some(Waiting { how, waits: Waits::Upgrade { .. }, .. }) = self.waiting_for(to) {
            return self.answer(
                to.conn,
                &how,
                400,
                &[("Content-Type", super::super::responses::JSON)],
                Fault::Session.json(),
            );
        }
        let Some(conn) = self.conns.get_mut(to.conn) else { return };
        let Protocol::Probe(probe) = &mut conn.protocol else { return };
        if probe.number == to.number {
            probe.over = true;
            self.close_engine_io(to.conn, close::POLICY, "the session is gone");
        }
    }

    /// The session is here: its WebSocket carries it from now on.
    pub(super) fn session_arrives(&mut self, to: Requester, cargo: Cargo) {
        let Cargo { talk, frames, resume } = cargo;
        let key = to.conn;
        let sid = talk.sid;
        let waits = self.waiting_for(to).is_some();
        let Some(conn) = self.conns.get_mut(key).filter(|conn| waits && conn.stage == Stage::Open) else {
            // Who wanted it is gone, and it with them.
            return self.write_to(sid.core, Matter::Ended { sid });
        };
        let Protocol::Probe(probe) = std::mem::replace(&mut conn.protocol, Protocol::Away) else {
            debug_assert!(false, "a probe waits for it");
            return;
        };
        let Probe { socket, .. } = *probe;
        let carrier = Carrier::WebSocket(socket);
        let session = Session { talk, carrier, moved: true, taking: Some(Taking { resume, told: None }) };
        conn.protocol = Protocol::EngineIo(Box::new(session));
        let paused = conn.paused;
        self.push(key, &frames, None);
        self.set_engine_io_alarm(key);
        if !paused {
            self.read(key, &mut []);
        }
    }

    /// Joins the next namespace of a session that has come from elsewhere, once the one before has been joined; then
    /// it listens to everything, and where it came from is told.
    pub(super) fn go_on_taking(&mut self, key: ConnKey, session: &mut Session) {
        while self.conns.get(key).is_some_and(|conn| conn.pending.is_none()) {
            let Some(taking) = &mut session.taking else { return };
            match taking.resume.pop_front() {
                Some(mut resume) => {
                    taking.told = resume.told.take();
                    self.resume_namespace(key, &mut session.talk, &resume);
                }
                None => {
                    session.taking = None;
                    let sid = session.talk.sid;
                    self.write_to(sid.core, Matter::Taken { sid });
                }
            }
        }
    }
}
