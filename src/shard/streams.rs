//! Streams that begin: WebSockets and event streams, under a name or none.

use super::Shard;
use super::connection::{Answering, Begins, Joining, Pending, Protocol, Read};
use super::requests::Taken;
use crate::base::keys::ConnKey;
use crate::conn::http::Request;
use crate::conn::sse::EventStream;
use crate::engine::{Asker, Position, Refusal, UserName};
use crate::kind::{Kind, USER_NAME, user_name};
use crate::mirror::encoding::{Encoding, Transport};
use crate::route::{DialectId, Target};
use crate::wire::http::{self, BodyFraming};
use crate::wire::ws::handshake;

use super::responses::Header;

/// How long an EventSource waits before it comes back.
const RETRY_MILLIS: u32 = 1000;

impl Shard {
    pub(super) fn open_websocket(
        &mut self,
        key: ConnKey,
        request: &Request<'_>,
        out: &mut Vec<u8>,
        how: &Answering,
        target: Target,
        dialect: DialectId,
    ) -> Taken {
        let head = &request.head;
        let has_body = head.body != BodyFraming::None;
        let accepted = match handshake::check(head.method, head.minor_version, has_body, head.headers()) {
            Ok(accepted) => accepted,
            Err(refused) => return self.refuse_handshake(out, how, &refused),
        };
        let since = match since(head.query, None) {
            Ok(since) => since,
            Err(expected) => return self.refuse(out, how, 400, "malformed", expected, &[]),
        };
        let user = match self.listener_name(&target, head.query) {
            Ok(user) => user,
            Err(refusal) => return self.refuse_now(out, how, &refusal),
        };
        let encoding = Encoding { dialect, transport: Transport::WebSocket };
        let mut head = Vec::new();
        handshake::write_response(&mut head, &accepted.accept, &[]);
        match self.join(key, how, &target, encoding, begins(since), &head, user.as_ref()) {
            Ok(pending) => {
                if pending.is_none() {
                    out.extend_from_slice(&head);
                }
                let ws = self.new_websocket(target, dialect, user);
                Taken::Switched { protocol: Protocol::WebSocket(Box::new(ws)), pending }
            }
            Err(refusal) => self.refuse_now(out, how, &refusal),
        }
    }

    /// Refuses the opening handshake of a WebSocket.
    pub(super) fn refuse_handshake(
        &mut self,
        out: &mut Vec<u8>,
        how: &Answering,
        refused: &handshake::Refused,
    ) -> Taken {
        let version: &[Header<'_>] =
            if refused.status == 426 { &[("Sec-WebSocket-Version", "13"), ("Upgrade", "websocket")] } else { &[] };
        self.refuse(out, how, refused.status, "bad_handshake", refused.reason, version)
    }

    /// The name under which somebody listens: the channel's own, or the one that the query gives.
    pub(super) fn listener_name(&self, target: &Target, query: Option<&str>) -> Result<Option<UserName>, Refusal> {
        if self.setup.class(target.class).kind == Kind::Direct {
            return self.user_of(target).map(Some).ok_or(Refusal::Malformed { expected: USER_NAME });
        }
        let field = http::field(query.unwrap_or_default().as_bytes(), "name");
        let field = field.map_err(|error| Refusal::Malformed { expected: error.expected() })?;
        field.map(|name| user_name(&name)).transpose()
    }

    /// A stream begins. A kind that never reaches the engine has nothing to listen to.
    #[expect(clippy::too_many_arguments, reason = "a stream is all of this, and each caller has all of it at hand")]
    pub(super) fn join(
        &mut self,
        key: ConnKey,
        how: &Answering,
        target: &Target,
        encoding: Encoding,
        begins: Begins,
        head: &[u8],
        user: Option<&UserName>,
    ) -> Result<Option<Pending>, Refusal> {
        if self.setup.class(target.class).spec.is_none() {
            return Ok(None);
        }
        let mirror = self.mirror_of(target)?;
        let joining = match user {
            Some(user) => Joining::Asked(self.enter(mirror, Asker::Connection(key), encoding.dialect, user)),
            None => Joining::Nameless,
        };
        let read = Read::Join { encoding, begins, head: head.into(), joining };
        Ok(Some(Pending::Read { mirror, how: how.clone(), read }))
    }

    pub(super) fn open_event_stream(
        &mut self,
        key: ConnKey,
        out: &mut Vec<u8>,
        how: &Answering,
        target: &Target,
        begins: Begins,
        user: Option<&UserName>,
    ) -> Taken {
        let mut headers =
            vec![("Content-Type", "text/event-stream"), ("Cache-Control", "no-store"), ("X-Accel-Buffering", "no")];
        if let Some(origin) = &how.origin {
            headers.extend([("Access-Control-Allow-Origin", &**origin), ("Vary", "Origin")]);
        }
        self.renew_date();
        let mut head = Vec::new();
        http::write_stream_head(&mut head, 200, &headers, &self.date.1);
        if how.head_only {
            out.extend_from_slice(&head);
            return Taken::Written { keep_alive: false };
        }
        crate::wire::sse::write_retry(&mut head, RETRY_MILLIS);
        let encoding = Encoding { dialect: DialectId::TALLYCAST, transport: Transport::EventStream };
        match self.join(key, how, target, encoding, begins, &head, user) {
            Ok(pending) => Taken::Switched { protocol: Protocol::EventStream(EventStream), pending },
            Err(refusal) => self.refuse_now(out, how, &refusal),
        }
    }
}

pub(super) fn begins(since: Option<Position>) -> Begins {
    since.map_or(Begins::Now, Begins::Since)
}

const POSITION: &str = "since: a position as this channel gave it, EPOCH-REVISION";

/// The position to resume from: `Last-Event-ID` before `since`.
pub(super) fn since(query: Option<&str>, last_event_id: Option<&str>) -> Result<Option<Position>, &'static str> {
    if let Some(id) = last_event_id.filter(|id| !id.is_empty()) {
        return id.parse().map(Some).map_err(|_| POSITION);
    }
    let field = http::field(query.unwrap_or_default().as_bytes(), "since").map_err(|error| error.expected())?;
    field.filter(|text| !text.is_empty()).map(|text| text.parse().map_err(|_| POSITION)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Epoch;

    #[test]
    fn positions_of_a_query() {
        let at = Position { epoch: Epoch(0xe), revision: 3 };
        assert_eq!(since(None, None), Ok(None));
        assert_eq!(since(Some("since=e-3"), None), Ok(Some(at)));
        assert_eq!(since(Some("since=e-9"), Some("e-3")), Ok(Some(at)));
        assert_eq!(since(Some("since="), Some("")), Ok(None));
        assert_eq!(since(Some("since=x"), None), Err(POSITION));
        assert!(since(Some("since=e-3&since=e-4"), None).is_err());
    }
}
