//! HTTP responses: now, into the buffer of the request being read, or later, to the request in hand.

use std::time::{Duration, UNIX_EPOCH};

use super::Shard;
use super::connection::{Answering, Joining, Pending, Protocol, Read, Reply};
use crate::base::keys::ConnKey;
use crate::base::limits::SCRATCH_BYTES_MAX;
use crate::base::segment::Slice;
use crate::engine::{Answer, Refusal};
use crate::route::dialect::own;
use crate::wire::http::{Framing, Response, write};

pub(super) const JSON: &str = "application/json";
pub(super) const TEXT: &str = "text/plain; charset=utf-8";
pub(super) const HTML: &str = "text/html; charset=utf-8";

/// A header.
pub(super) type Header<'a> = (&'a str, &'a str);

/// The status of a refusal.
pub(super) fn status(refusal: &Refusal) -> u16 {
    match refusal {
        Refusal::Malformed { .. } => 400,
        Refusal::ReadOnly => 403,
        Refusal::UnknownOption { .. } | Refusal::WrongType | Refusal::UnknownRow | Refusal::UnknownColumn { .. } => 422,
        Refusal::Absent => 404,
        Refusal::RowExists | Refusal::Stale(_) => 409,
        Refusal::TooLong { .. } => 413,
        Refusal::Failed => 500,
        Refusal::Full { .. } | Refusal::Busy | Refusal::Unknown => 503,
    }
}

/// A refusal as our own JSON, with all that it says.
fn refusal_text(refusal: &Refusal) -> Vec<u8> {
    let mut json = Vec::new();
    own::refusal(&mut json, None, refusal);
    json
}

/// A refusal as our own JSON.
pub(super) fn refusal_json(code: &str, expected: &str) -> Vec<u8> {
    let mut json = Vec::new();
    own::refused(&mut json, None, code, expected);
    json
}

impl Shard {
    /// Appends a response. Knows CORS, the date, and whether the connection goes on; returns the latter.
    pub(super) fn write_response(
        &mut self,
        out: &mut Vec<u8>,
        how: &Answering,
        status: u16,
        headers: &[Header<'_>],
        body: &[u8],
    ) -> bool {
        let keep_alive = how.keep_alive && !self.stopping;
        let mut all: Vec<Header<'_>> = headers.to_vec();
        if let Some(origin) = &how.origin {
            all.extend([("Access-Control-Allow-Origin", &**origin), ("Vary", "Origin")]);
            all.push(("Access-Control-Expose-Headers", "ETag"));
            if how.credentials {
                all.push(("Access-Control-Allow-Credentials", "true"));
            }
        }
        if status == 503 {
            all.push(("Retry-After", "1"));
        }
        self.renew_date();
        let framing = Framing { head_only: how.head_only, keep_alive, minor_version: how.minor_version };
        let bodiless = matches!(status, 204 | 304);
        write(out, &Response { status, headers: &all, body: if bodiless { b"" } else { body } }, framing, &self.date.1);
        keep_alive
    }

    /// Answers the request in hand; the next may be parsed.
    pub(super) fn answer(&mut self, key: ConnKey, how: &Answering, status: u16, headers: &[Header<'_>], body: &[u8]) {
        let mut out = std::mem::take(&mut self.scratch);
        out.clear();
        let keep_alive = self.write_response(&mut out, how, status, headers, body);
        self.push(key, &out, None);
        self.scratch = out;
        self.finish_answer(key, keep_alive);
    }

    /// The same with a body that others get too, and that is not copied if it is large.
    pub(super) fn answer_shared(&mut self, key: ConnKey, how: &Answering, headers: &[Header<'_>], body: Option<Slice>) {
        let Some(body) = body else { return self.answer(key, how, 200, headers, b"") };
        if how.head_only || body.len() <= SCRATCH_BYTES_MAX {
            return self.answer(key, how, 200, headers, &body);
        }
        let head = Answering { head_only: true, ..how.clone() };
        let mut out = Vec::new();
        let keep_alive = self.write_response(&mut out, &head, 200, headers, &body);
        self.push(key, &out, None);
        self.push_shared(key, body);
        self.finish_answer(key, keep_alive);
    }

    /// The request in hand is answered.
    fn finish_answer(&mut self, key: ConnKey, keep_alive: bool) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        conn.pending = None;
        let Protocol::Http(http) = &mut conn.protocol else {
            return;
        };
        http.answered();
        let phase = http.phase();
        let paused = conn.paused;
        if !keep_alive {
            self.end(key);
            return;
        }
        self.set_http_alarm(key, phase);
        if !paused {
            self.read(key, &mut []);
        }
    }

    /// Answers a POST whose op the engine has decided, or a WebSocket client that asked.
    pub(super) fn op_answered(&mut self, key: ConnKey, number: u32, result: Result<Answer, Refusal>) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        if let Some(Pending::Read { read: Read::Join { joining, .. }, .. }) = conn.pending.as_deref_mut()
            && *joining == Joining::Asked(number)
        {
            match result {
                Ok(Answer::Joined { heard, .. }) => *joining = Joining::Joined { heard },
                Ok(Answer::Accepted(_) | Answer::Attached(_)) => {}
                Err(refusal) => _ = self.refuse_stream(key, &refusal),
            }
            return;
        }
        match (&mut conn.protocol, conn.pending.as_deref()) {
            (Protocol::WebSocket(_), _) => self.answer_websocket(key, number, &result),
            (Protocol::EngineIo(_), _) => self.answer_engine_io(key, number, &result),
            (Protocol::Http(_), Some(Pending::Op { number: waited, .. })) if *waited == number => {
                let Some(Pending::Op { how, reply, .. }) = self.pending(key) else {
                    return;
                };
                match result {
                    Ok(answer) => self.accept_post(key, &how, &reply, &answer),
                    Err(refusal) => self.refuse_post(key, &how, &reply, &refusal),
                }
            }
            // Who asked is gone; another has its place.
            (Protocol::Http(_) | Protocol::EventStream(_) | Protocol::Probe(_) | Protocol::Away, _) => {}
        }
    }

    fn accept_post(&mut self, key: ConnKey, how: &Answering, reply: &Reply, answer: &Answer) {
        match reply {
            Reply::Json => {
                let mut json = Vec::new();
                if let Answer::Accepted(at) = answer {
                    own::ok(&mut json, None, *at);
                }
                self.answer(key, how, 200, &[("Content-Type", JSON)], &json);
            }
            Reply::Text { accepted } => self.answer(key, how, 200, &[("Content-Type", TEXT)], accepted.as_bytes()),
        }
    }

    fn refuse_post(&mut self, key: ConnKey, how: &Answering, reply: &Reply, refusal: &Refusal) {
        let (content_type, body) = refusal_body(reply, refusal);
        self.answer(key, how, status(refusal), &[("Content-Type", content_type)], &body);
    }

    /// Answers a stream's request that has no response yet: there is none to be had now. False if there is no such.
    pub(super) fn refuse_stream(&mut self, key: ConnKey, refusal: &Refusal) -> bool {
        if matches!(self.conns.get(key).map(|conn| &conn.protocol), Some(Protocol::EngineIo(_))) {
            return self.refuse_namespace(key, refusal);
        }
        let pending = self.conns.get(key).and_then(|conn| conn.pending.as_deref());
        let Some(Pending::Read { how, read: Read::Join { .. }, .. }) = pending else { return false };
        let how = Answering { keep_alive: false, ..how.clone() };
        let mut out = Vec::new();
        let body = refusal_json(refusal.code(), refusal.expected());
        self.write_response(&mut out, &how, status(refusal), &[("Content-Type", JSON)], &body);
        self.push(key, &out, None);
        self.end(key);
        true
    }

    /// Answers the request in hand with a refusal, whatever it waits for.
    pub(super) fn refuse_pending(&mut self, key: ConnKey, refusal: &Refusal) {
        let (how, reply) = match self.pending(key) {
            Some(Pending::Op { how, reply, .. }) => (how, reply),
            Some(Pending::Read { how, .. } | Pending::Parked { how, .. } | Pending::Session { how, .. }) => {
                (how, Reply::Json)
            }
            Some(Pending::EngineIo(waiting)) => return self.drop_waiting(key, &waiting),
            None => return,
        };
        self.refuse_post(key, &how, &reply, refusal);
    }

    /// A request takes too long to arrive.
    pub(super) fn request_too_slow(&mut self, key: ConnKey) {
        let Some(conn) = self.conns.get(key) else { return };
        let Protocol::Http(http) = &conn.protocol else { return };
        if http.phase() != crate::conn::http::Phase::Idle {
            let how = Answering::closing();
            let mut out = Vec::new();
            let body = b"request_timeout: the request took too long to arrive\n";
            self.write_response(&mut out, &how, 408, &[("Content-Type", TEXT)], body);
            self.push(key, &out, None);
        }
        self.end(key);
    }

    /// Writes the `Date` of this second, once a second.
    pub(super) fn renew_date(&mut self) {
        let unix = self.unix + Duration::from_nanos(self.now.nanos());
        if self.date.0 != unix.as_secs() {
            self.date = (unix.as_secs(), httpdate::fmt_http_date(UNIX_EPOCH + unix));
        }
    }
}

/// A refusal in the form of a reply.
pub(super) fn refusal_body(reply: &Reply, refusal: &Refusal) -> (&'static str, Vec<u8>) {
    match reply {
        Reply::Json => (JSON, refusal_text(refusal)),
        Reply::Text { .. } => (TEXT, format!("{}: expected {}", refusal.code(), refusal.expected()).into_bytes()),
    }
}
