//! Requests at an endpoint: a handshake begins a session; what names one goes to it, wherever it lives.

use std::borrow::Cow;
use std::sync::Arc;

use rand::RngExt;

use super::letters::{Ask, Requester, Waits};
use super::polling::Polling;
use super::{Carrier, Client, Heartbeat, Session, Sid, Talk, Waiting, frames};
use crate::base::keys::ConnKey;
use crate::base::limits::ENGINE_IO_UPGRADE_WAIT;
use crate::conn::http::Request;
use crate::conn::ws::WebSocket;
use crate::route::{EngineIo, Speaks};
use crate::shard::Shard;
use crate::shard::connection::{Alarm, Answering, Conn, Pending, Protocol, Stage};
use crate::shard::requests::Taken;
use crate::shard::responses::JSON;
use crate::wire::engineio::{self, Kind, Version};
use crate::wire::http::{self, BodyFraming};
use crate::wire::ws::handshake;

/// The official client, which pages load from their endpoint.
const BUNDLE: &[u8] = include_bytes!("../../../web/vendor/socket.io.min.js");
/// Its version.
const BUNDLE_TAG: &str = "\"socket.io-client-4.8.4\"";
const BUNDLE_NAMES: [&str; 2] = ["socket.io.js", "socket.io.min.js"];

/// What is wrong with a request: the reference server's codes and words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    Transport,
    Session,
    Method,
    Request,
    Version,
}

impl Fault {
    pub(super) fn json(self) -> &'static [u8] {
        match self {
            Fault::Transport => br#"{"code":0,"message":"Transport unknown"}"#,
            Fault::Session => br#"{"code":1,"message":"Session ID unknown"}"#,
            Fault::Method => br#"{"code":2,"message":"Bad handshake method"}"#,
            Fault::Request => br#"{"code":3,"message":"Bad request"}"#,
            Fault::Version => br#"{"code":5,"message":"Unsupported protocol version"}"#,
        }
    }
}

/// What the query of a request says.
struct Wanted {
    version: Version,
    websocket: bool,
    sid: Option<Sid>,
    /// The client takes no bytes in payloads.
    base64: bool,
}

fn wanted(query: Option<&str>) -> Result<Wanted, Fault> {
    let (mut eio, mut transport, mut sid, mut base64) = (None, None, None, false);
    for field in http::fields(query.unwrap_or_default().as_bytes()) {
        let (name, value) = field.map_err(|_| Fault::Request)?;
        let place = match &*name {
            "EIO" => &mut eio,
            "transport" => &mut transport,
            "sid" => &mut sid,
            "b64" => {
                base64 = !matches!(&*value, "" | "0" | "false");
                continue;
            }
            // A script as an answer: not here.
            "j" => return Err(Fault::Request),
            _ => continue,
        };
        if place.replace(value).is_some() {
            return Err(Fault::Request);
        }
    }
    let websocket = match transport.as_deref() {
        Some("polling") => false,
        Some("websocket") => true,
        Some(_) | None => return Err(Fault::Transport),
    };
    let version = match eio.as_deref() {
        Some("4") => Version::V4,
        Some("3") => Version::V3,
        Some(_) | None => return Err(Fault::Version),
    };
    let sid = sid.map(|sid: Cow<'_, str>| sid.parse().map_err(|_| Fault::Session)).transpose()?;
    Ok(Wanted { version, websocket, sid, base64 })
}

impl Shard {
    /// A request at an endpoint; `rest`: what its path has below the endpoint's.
    pub(in crate::shard) fn engine_io(
        &mut self,
        key: ConnKey,
        request: &Request<'_>,
        out: &mut Vec<u8>,
        how: Answering,
        endpoint: &Arc<EngineIo>,
        rest: &str,
    ) -> Taken {
        let head = &request.head;
        if BUNDLE_NAMES.contains(&rest) && matches!(endpoint.speaks, Speaks::SocketIo { .. }) {
            return self.bundle(request, out, &how);
        }
        if !rest.is_empty() {
            return self.refuse(out, &how, 404, "not_found", "a path that is served here", &[]);
        }
        let wanted = match wanted(head.query) {
            Ok(wanted) => wanted,
            Err(fault) => return self.refuse_engine_io(out, &how, fault),
        };
        let upgrades = handshake::wants_websocket(head.headers());
        match (wanted.sid, head.method) {
            (_, "GET") if wanted.websocket && upgrades => {
                self.engine_io_websocket(key, request, out, how, endpoint, &wanted)
            }
            (_, _) if wanted.websocket => self.refuse_engine_io(out, &how, Fault::Request),
            (None, "GET") => self.engine_io_polling(key, out, &how, endpoint, &wanted),
            (None, _) => self.refuse_engine_io(out, &how, Fault::Method),
            (Some(sid), "GET") => {
                let waits = Waits::Poll;
                self.ask_session(key, out, how, (sid, endpoint, wanted.version), waits, Ask::Poll)
            }
            (Some(sid), "POST") => {
                let media = head.header_str("content-type").unwrap_or_default();
                let octets = media.split(';').next().unwrap_or_default().trim() == "application/octet-stream";
                let ask = Ask::Post { octets, body: request.body.to_vec() };
                self.ask_session(key, out, how, (sid, endpoint, wanted.version), Waits::Post, ask)
            }
            (Some(_), _) => self.refuse_engine_io(out, &how, Fault::Request),
        }
    }

    fn refuse_engine_io(&mut self, out: &mut Vec<u8>, how: &Answering, fault: Fault) -> Taken {
        self.write_now(out, how, 400, &[("Content-Type", JSON)], fault.json())
    }

    fn bundle(&mut self, request: &Request<'_>, out: &mut Vec<u8>, how: &Answering) -> Taken {
        if !matches!(request.head.method, "GET" | "HEAD") {
            return self.refuse(out, how, 405, "method_not_allowed", "GET, HEAD", &[("Allow", "GET, HEAD")]);
        }
        let headers = [
            ("Content-Type", "text/javascript; charset=utf-8"),
            ("Cache-Control", "public, max-age=0"),
            ("ETag", BUNDLE_TAG),
        ];
        let known = request.head.header_str("if-none-match").unwrap_or_default();
        if known.split(',').map(str::trim).any(|tag| tag.strip_prefix("W/").unwrap_or(tag) == BUNDLE_TAG) {
            return self.write_now(out, how, 304, &headers, b"");
        }
        self.write_now(out, how, 200, &headers, BUNDLE)
    }

    /// Sends a request to its session; the answer comes as a letter.
    fn ask_session(
        &mut self,
        key: ConnKey,
        out: &mut Vec<u8>,
        how: Answering,
        (sid, endpoint, version): (Sid, &Arc<EngineIo>, Version),
        waits: Waits,
        ask: Ask,
    ) -> Taken {
        if sid.core.0 >= self.cores {
            return self.refuse_engine_io(out, &how, Fault::Session);
        }
        let number = self.next_number();
        let from = Requester { core: self.core, conn: key, number };
        self.ask_letter(sid, from, endpoint.clone(), version, ask);
        Taken::Pending(Pending::EngineIo(Box::new(Waiting { sid, number, how, waits })))
    }

    /// Whether there is room for another session on this core.
    fn has_room_for_session(&self) -> bool {
        self.sessions.len() + self.relay.carried < self.limits().sessions_max
    }

    fn engine_io_polling(
        &mut self,
        key: ConnKey,
        out: &mut Vec<u8>,
        how: &Answering,
        endpoint: &Arc<EngineIo>,
        wanted: &Wanted,
    ) -> Taken {
        if !self.has_room_for_session() {
            return self.refuse(out, how, 503, "full", "fewer sessions at a time", &[]);
        }
        let Some(listener) = self.conns.get(key).map(|conn| conn.listener) else {
            return Taken::Written { keep_alive: false };
        };
        let carried = self.conns.insert(Conn::carried(listener, self.now));
        self.relay.carried += 1;
        let mut talk = self.new_talk(carried, endpoint, wanted.version);
        let open = open_packet(&talk, true);
        self.greet(carried, &mut talk);
        let carrier = Carrier::Polling(Box::new(Polling::new(wanted.base64)));
        self.restore(carried, Protocol::EngineIo(Box::new(Session { talk, carrier, moved: false, taking: None })));
        self.set_engine_io_alarm(carried);
        let (body, media) = frames::payload_of(wanted.version, wanted.base64, Kind::Open, &open);
        self.write_now(out, how, 200, &[("Content-Type", media), ("Cache-Control", "no-store")], &body)
    }

    fn engine_io_websocket(
        &mut self,
        key: ConnKey,
        request: &Request<'_>,
        out: &mut Vec<u8>,
        how: Answering,
        endpoint: &Arc<EngineIo>,
        wanted: &Wanted,
    ) -> Taken {
        let head = &request.head;
        let has_body = head.body != BodyFraming::None;
        let accepted = match handshake::check(head.method, head.minor_version, has_body, head.headers()) {
            Ok(accepted) => accepted,
            Err(refused) => return self.refuse_handshake(out, &how, &refused),
        };
        if let Some(sid) = wanted.sid {
            let waits = Waits::Upgrade { accept: accepted.accept, endpoint: endpoint.clone(), version: wanted.version };
            return self.ask_session(key, out, how, (sid, endpoint, wanted.version), waits, Ask::Upgrade);
        }
        let mut talk = self.new_talk(key, endpoint, wanted.version);
        handshake::write_response(out, &accepted.accept, &[]);
        out.extend(frames::packet(Kind::Open, &open_packet(&talk, false)));
        // What is said to a new client stands behind this.
        self.push(key, out, None);
        out.clear();
        self.greet(key, &mut talk);
        let carrier = Carrier::WebSocket(WebSocket::new());
        let session = Session { talk, carrier, moved: false, taking: None };
        Taken::Switched { protocol: Protocol::EngineIo(Box::new(session)), pending: None }
    }

    fn new_talk(&mut self, key: ConnKey, endpoint: &Arc<EngineIo>, version: Version) -> Talk {
        let (client, connect_due) = match &endpoint.speaks {
            Speaks::Echo => (None, None),
            Speaks::SocketIo { connect_timeout, .. } => {
                let client = Client::new(version, endpoint.payload_bytes_max);
                (Some(client), (version == Version::V4).then(|| self.now + *connect_timeout))
            }
        };
        Talk {
            endpoint: endpoint.clone(),
            version,
            sid: Sid { core: self.core, key, secret: self.random.random() },
            heartbeat: Heartbeat::new(endpoint, version, self.now),
            connect_due,
            attachments_due: None,
            client,
        }
    }

    /// A connection becomes a session's: its deadlines are the session's own. The reader was told to switch.
    pub(in crate::shard) fn engine_io_begins(&mut self, key: ConnKey, protocol: &Protocol) {
        let due = match protocol {
            Protocol::EngineIo(session) => session.deadline(),
            Protocol::Probe(_) => self.now + ENGINE_IO_UPGRADE_WAIT,
            Protocol::Http(_) | Protocol::WebSocket(_) | Protocol::EventStream(_) | Protocol::Away => return,
        };
        if self.conns.get(key).is_some_and(|conn| conn.stage == Stage::Open) {
            self.set_alarm(key, Some((due, Alarm::EngineIo)));
        }
    }
}

fn open_packet(talk: &Talk, may_upgrade: bool) -> String {
    let EngineIo { ping_interval, ping_timeout, payload_bytes_max, .. } = &*talk.endpoint;
    engineio::handshake(&talk.sid.to_string(), may_upgrade, *ping_interval, *ping_timeout, *payload_bytes_max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_query_says() {
        let rows = [
            ("EIO=4&transport=polling", Ok((Version::V4, false, false, false))),
            ("EIO=3&transport=websocket&b64=1&t=Abc", Ok((Version::V3, true, false, true))),
            ("transport=polling&EIO=4&sid=1.2.3", Ok((Version::V4, false, true, false))),
            ("EIO=4&transport=polling&sid=x", Err(Fault::Session)),
            ("EIO=4&transport=polling&sid=", Err(Fault::Session)),
            ("EIO=4", Err(Fault::Transport)),
            ("EIO=4&transport=abc", Err(Fault::Transport)),
            ("", Err(Fault::Transport)),
            ("transport=polling", Err(Fault::Version)),
            ("EIO=abc&transport=polling", Err(Fault::Version)),
            ("EIO=2&transport=polling", Err(Fault::Version)),
            ("EIO=4&EIO=4&transport=polling", Err(Fault::Request)),
            ("EIO=4&transport=polling&j=0", Err(Fault::Request)),
            ("EIO=4&transport=%zz", Err(Fault::Request)),
        ];
        for (query, expected) in rows {
            let found = wanted(Some(query))
                .map(|wanted| (wanted.version, wanted.websocket, wanted.sid.is_some(), wanted.base64));
            assert_eq!(found, expected, "{query}");
        }
        assert_eq!(wanted(None).err(), Some(Fault::Transport));
    }
}
