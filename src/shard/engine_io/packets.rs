//! Packets from clients, whatever carries them.

use super::{Carrier, Ending, Session, Talk, frames};
use crate::base::keys::ConnKey;
use crate::base::time::Time;
use crate::conn::ws::Event;
use crate::route::Speaks;
use crate::shard::connection::{Alarm, Protocol};
use crate::shard::{Flow, Shard};
use crate::wire::engineio::{self, Data, Kind, Packet, Version};
use crate::wire::ws::MessageLimits;

impl Shard {
    /// Reads what a session's carrier has brought. Returns the protocol, how much of `bytes` was used, and whether to go
    /// on.
    pub(in crate::shard) fn read_engine_io(
        &mut self,
        key: ConnKey,
        mut session: Box<Session>,
        bytes: &mut [u8],
    ) -> (Protocol, usize, Flow) {
        let (used, flow) = match &session.carrier {
            Carrier::Polling(_) => (bytes.len(), self.read_posted(key, &mut session)),
            Carrier::WebSocket(_) => self.read_frames(key, &mut session, bytes),
        };
        if session.is_open() {
            self.engine_io_due(key, session.deadline());
        }
        (Protocol::EngineIo(session), used, flow)
    }

    /// An answer to a ping, or a ping, moves the deadline.
    fn engine_io_due(&mut self, key: ConnKey, due: Time) {
        let known = self.conns.get(key).and_then(|conn| conn.alarm);
        if known.is_some_and(|(at, alarm)| alarm == Alarm::EngineIo && at != due) {
            self.set_alarm(key, Some((due, Alarm::EngineIo)));
        }
    }

    fn read_frames(&mut self, key: ConnKey, session: &mut Session, bytes: &mut [u8]) -> (usize, Flow) {
        let mut used = 0;
        let mut flow = Flow::Stop;
        let mut out = Vec::new();
        let limits = MessageLimits {
            message_bytes_max: session.talk.endpoint.payload_bytes_max,
            fragments_max: self.limits().fragments_max,
        };
        loop {
            if session.is_open() && session.taking.is_some() {
                self.go_on_taking(key, session);
            }
            if let Some(closing) = self.conns.get_mut(key).and_then(|conn| conn.closing.take()) {
                let (code, reason) = *closing;
                session.close(code, reason, &mut out);
            }
            if session.is_open() && self.must_wait(key) {
                flow = Flow::Wait;
                break;
            }
            let Session { talk, carrier: Carrier::WebSocket(socket), .. } = &mut *session else { break };
            let packet = match socket.next(&mut bytes[used..], &limits, &mut out) {
                Ok((len, Some(event))) => {
                    used += len;
                    match event {
                        Event::Text(text) => engineio::read_text(talk.version, text),
                        Event::Binary(bytes) => engineio::read_binary(talk.version, bytes),
                        Event::Pong | Event::Closed => continue,
                    }
                }
                Ok((_, None)) | Err(_) => {
                    used = bytes.len();
                    break;
                }
            };
            self.turn_messages += 1;
            let packet = packet.map_err(|_| Ending::Violation("a packet is malformed"));
            let read = packet.and_then(|packet| self.packet(key, talk, packet));
            self.push(key, &out, None);
            out.clear();
            if let Err((code, reason)) = read.map_err(Ending::close) {
                socket.close(code, reason, &mut out);
            }
        }
        let Carrier::WebSocket(socket) = &session.carrier else { return (used, flow) };
        let (is_open, is_done) = (socket.is_open(), socket.is_done());
        if !is_open {
            // Nothing is sent behind a Close, and what is asked is not answered any more.
            self.unsubscribe(key);
            self.farewell(session);
        }
        self.push(key, &out, None);
        if is_done {
            self.end(key);
        } else if !is_open {
            let due = self.now + self.limits().close_wait;
            self.set_alarm(key, Some((due, Alarm::CloseDue)));
        }
        (used, flow)
    }

    /// A packet of a client.
    pub(super) fn packet(&mut self, key: ConnKey, talk: &mut Talk, packet: Packet<'_>) -> Result<(), Ending> {
        let (interval, timeout) = (talk.endpoint.ping_interval, talk.endpoint.ping_timeout);
        match (packet.kind, packet.data) {
            (Kind::Message, data) => self.message(key, talk, data),
            (Kind::Ping, Data::Text(text)) if talk.version == Version::V3 => {
                talk.heartbeat.due = self.now + interval + timeout;
                self.push(key, &frames::packet(Kind::Pong, &text), None);
                Ok(())
            }
            (Kind::Pong, _) if talk.version == Version::V4 => {
                talk.heartbeat = super::Heartbeat { due: self.now + interval, waits: false };
                Ok(())
            }
            (Kind::Ping | Kind::Pong, _) => Err(Ending::Violation("a heartbeat in the wrong direction")),
            (Kind::Close, _) => Err(Ending::Closed),
            (Kind::Open | Kind::Upgrade | Kind::Noop, _) => Ok(()),
        }
    }

    fn message(&mut self, key: ConnKey, talk: &mut Talk, data: Data<'_>) -> Result<(), Ending> {
        match &talk.endpoint.speaks {
            Speaks::Echo => {
                let mut out = Vec::new();
                match data {
                    Data::Text(text) => out = frames::packet(Kind::Message, &text),
                    Data::Binary(bytes) => frames::binary(&mut out, talk.version, &bytes),
                }
                self.push(key, &out, None);
                Ok(())
            }
            Speaks::SocketIo { .. } => self.socket_io(key, talk, data),
        }
    }
}
