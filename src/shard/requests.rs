//! HTTP requests: each is answered at once, or waits for the engine, a mirror or a session, or becomes a stream.

use std::time::Duration;

use super::connection::{Answering, PageSession, Pending, Protocol, Read, Reply, SessionPoll};
use super::responses::{HTML, Header, JSON, TEXT, refusal_json, status};
use super::sessions::{COOKIE, SessionName};
use super::streams::{begins, since};
use super::{Flow, Shard};
use crate::base::keys::ConnKey;
use crate::base::segment::Slice;
use crate::conn::http::{Http, Request};
use crate::engine::Refusal;
use crate::route::dialect::{Content, Posted};
use crate::route::page::{self, Language, PageId, Place};
use crate::route::table::Found;
use crate::route::{DialectId, Serve, Target};
use crate::wire::http;
use crate::wire::ws::handshake;

/// What became of a request.
pub(super) enum Taken {
    /// The response is written. Whether the connection goes on.
    Written { keep_alive: bool },
    /// It waits.
    Pending(Pending),
    /// The connection speaks another protocol from now on, and its stream begins with this read.
    Switched { protocol: Protocol, pending: Option<Pending> },
}

impl Shard {
    /// Reads requests until one waits. Returns the protocol, how much of `bytes` was used, and whether to go on.
    pub(super) fn read_http(&mut self, key: ConnKey, mut http: Box<Http>, bytes: &mut [u8]) -> (Protocol, usize, Flow) {
        let mut used = 0;
        let mut out = std::mem::take(&mut self.scratch);
        out.clear();
        let result = loop {
            // The answer to the request in hand goes on with the next.
            if self.conns.get(key).is_none_or(|conn| conn.pending.is_some()) {
                break (Protocol::Http(http), used, Flow::Stop);
            }
            if self.must_wait(key) {
                break (Protocol::Http(http), used, Flow::Wait);
            }
            self.renew_date();
            let Some(listener) = self.conns.get(key).map(|conn| conn.listener) else {
                break (Protocol::Http(http), bytes.len(), Flow::Stop);
            };
            let hosts = self.setup.listeners[usize::from(listener.0)].hosts;
            let limits = http::HeadLimits { hosts, ..self.head_limits };
            let date = std::mem::take(&mut self.date.1);
            let next = http.next(&mut bytes[used..], &limits, &date, &mut out);
            self.date.1 = date;
            let taken = match next {
                Ok((len, Some(request))) => {
                    self.turn_messages += 1;
                    self.handshake_over(key);
                    let taken = self.request(key, &request, &mut out);
                    used += len;
                    taken
                }
                Ok((_, None)) => {
                    // There may be a 100 in it.
                    self.push(key, &out, None);
                    out.clear();
                    self.set_http_alarm(key, http.phase());
                    used = bytes.len();
                    break (Protocol::Http(http), used, Flow::Stop);
                }
                Err(_) => {
                    self.push(key, &out, None);
                    out.clear();
                    self.end(key);
                    break (Protocol::Http(http), bytes.len(), Flow::Stop);
                }
            };
            self.push(key, &out, None);
            out.clear();
            match taken {
                Taken::Written { keep_alive: true } => {
                    http.answered();
                    self.set_alarm(key, None);
                    self.set_http_alarm(key, http.phase());
                }
                Taken::Written { keep_alive: false } => {
                    self.end(key);
                    break (Protocol::Http(http), bytes.len(), Flow::Stop);
                }
                Taken::Pending(pending) => {
                    self.wait(key, pending);
                    break (Protocol::Http(http), used, Flow::Stop);
                }
                Taken::Switched { protocol, pending } => {
                    break self.switch(key, http, protocol, pending, &mut bytes[used..], used);
                }
            }
        };
        self.scratch = out;
        result
    }

    fn wait(&mut self, key: ConnKey, pending: Pending) {
        self.set_alarm(key, None);
        if let Pending::Read { mirror, .. } = &pending {
            let mirror = *mirror;
            if let Some(mirror) = self.mirrors.get_mut(mirror) {
                mirror.reads += 1;
            }
            self.reads.push((key, mirror));
            self.recount(mirror);
        }
        let session = matches!(pending, Pending::Session { .. });
        if let Some(conn) = self.conns.get_mut(key) {
            conn.pending = Some(Box::new(pending));
        }
        if session {
            self.poll_session(key);
        }
    }

    fn switch(
        &mut self,
        key: ConnKey,
        http: Box<Http>,
        protocol: Protocol,
        pending: Option<Pending>,
        bytes: &mut [u8],
        used: usize,
    ) -> (Protocol, usize, Flow) {
        // A stream ends with its peer; this one's went while an earlier request was in hand.
        if let Some(conn) = self.conns.get_mut(key).filter(|conn| conn.peer_finished) {
            conn.pending = pending.map(Box::new);
            self.end(key);
            return (Protocol::Http(http), used + bytes.len(), Flow::Stop);
        }
        self.set_alarm(key, None);
        let is_engine_io = matches!(protocol, Protocol::EngineIo(_));
        let interval = self.limits().ping_interval;
        self.engine_io_begins(key, &protocol);
        if interval > Duration::ZERO && !is_engine_io {
            self.set_alarm(key, Some((self.now + interval, super::connection::Alarm::PingDue)));
        }
        if let Protocol::WebSocket(ws) = &protocol
            && let Some(heartbeat) = &self.setup.class(ws.target.class).heartbeat
        {
            self.arm_heartbeat(key, heartbeat.every);
        }
        if let Some(pending) = pending {
            self.wait_stream(key, pending);
        }
        // Frames may have come in the same segment as the handshake.
        let mut rest = http.into_rest();
        if rest.is_empty() {
            return (protocol, used, Flow::Go);
        }
        rest.extend_from_slice(bytes);
        self.hold(key, &rest);
        (protocol, used + bytes.len(), Flow::Stop)
    }

    pub(super) fn wait_stream(&mut self, key: ConnKey, pending: Pending) {
        let alarm = self.conns.get(key).and_then(|conn| conn.alarm);
        self.wait(key, pending);
        self.set_alarm(key, alarm);
    }

    fn request(&mut self, key: ConnKey, request: &Request<'_>, out: &mut Vec<u8>) -> Taken {
        let head = &request.head;
        let Some(listener) = self.conns.get(key).map(|conn| conn.listener) else {
            return Taken::Written { keep_alive: false };
        };
        let setup = self.setup.clone();
        let origin = head.header_str("origin");
        let origin_is_allowed = setup.listeners[usize::from(listener.0)].origins.allow(origin);
        let mut how = Answering {
            credentials: false,
            head_only: head.method == "HEAD",
            keep_alive: head.keep_alive,
            minor_version: head.minor_version,
            origin: origin.filter(|_| origin_is_allowed).map(Into::into),
        };
        let Some(path) = http::decode_path(head.path) else {
            return self.refuse(out, &how, 400, "malformed", "a path of percent-encoded UTF-8", &[]);
        };
        how.credentials = origin.is_some() && setup.has_engine_io(listener, &path);
        if head.method == "OPTIONS" {
            return self.options(out, &how, &setup.allowed(listener, &path), head.target == "*");
        }
        let websocket = handshake::wants_websocket(head.headers());
        let (serve, target) = match setup.find(listener, head.method, &path, websocket) {
            Found::Serve(serve, target) => (serve, target),
            Found::OtherMethod(methods) => {
                let allow = format!("{}, OPTIONS", methods.join(", "));
                return self.refuse(out, &how, 405, "method_not_allowed", &allow, &[("Allow", &allow)]);
            }
            Found::WebSocketOnly => {
                let headers = [("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")];
                return self.refuse(out, &how, 426, "upgrade_required", "a WebSocket handshake", &headers);
            }
            Found::Nothing => return self.refuse(out, &how, 404, "not_found", "a path that is served here", &[]),
        };
        let switches = websocket && matches!(serve, Serve::Channels | Serve::WebSocket { .. } | Serve::EngineIo(_));
        if !origin_is_allowed && (switches || how.credentials || head.method == "POST") {
            return self.refuse(out, &how, 403, "foreign_origin", "a page of an origin that is allowed here", &[]);
        }
        let reads_body = match serve {
            Serve::Channels => head.method == "POST",
            Serve::Form { .. } | Serve::Json { .. } => true,
            Serve::EngineIo(_) => head.method == "POST",
            Serve::WebSocket { .. } | Serve::LongPoll { .. } | Serve::Page { .. } | Serve::Text { .. } => false,
            // As it came.
            Serve::EchoBody => false,
        };
        if head.coded && reads_body {
            let expected = "a body without a transfer coding besides chunked";
            return self.refuse(out, &how, 501, "transfer_coding", expected, &[]);
        }
        match (serve, target) {
            (Serve::Channels, Some(target)) if switches => {
                self.open_websocket(key, request, out, &how, target, DialectId::TALLYCAST)
            }
            (Serve::WebSocket { dialect, .. }, Some(target)) => {
                self.open_websocket(key, request, out, &how, target, *dialect)
            }
            (Serve::EngineIo(endpoint), _) => {
                let rest = setup.rest_of(listener, serve, &path);
                self.engine_io(key, request, out, how, endpoint, rest)
            }
            (Serve::WebSocket { .. }, _) => self.refuse(out, &how, 404, "not_found", "a channel", &[]),
            (Serve::Json { target, dialect, accepted }, _) => {
                let reply = Reply::Text { accepted: accepted.as_str().into() };
                let kind = setup.class(target.class).kind;
                let posted = setup.dialect(*dialect).read_json(kind, request.body);
                self.publish(key, out, how, target, reply, posted)
            }
            (Serve::Channels, Some(target)) if head.method == "POST" => self.post(key, request, out, how, &target),
            (Serve::Channels, Some(target)) => self.get_channel(key, request, out, how, &target),
            (Serve::Channels, None) => self.refuse(out, &how, 404, "not_found", "a channel", &[]),
            (Serve::Form { target, field, accepted }, _) => {
                let reply = Reply::Text { accepted: accepted.as_str().into() };
                let content = match http::field(request.body, field) {
                    Ok(Some(value)) => Ok(Posted { content: Content::Text(value), from: None }),
                    Ok(None) => Err(Refusal::Malformed { expected: "a form with the field that this page sends" }),
                    Err(error) => Err(Refusal::Malformed { expected: error.expected() }),
                };
                self.publish(key, out, how, target, reply, content)
            }
            // A HEAD must not take a vote that its session would miss.
            (Serve::LongPoll { dialect, .. }, _) if how.head_only => {
                let nothing = self.nothing_new(*dialect);
                self.write_now(out, &how, 200, &[("Content-Type", JSON), ("Cache-Control", "no-store")], &nothing)
            }
            (Serve::LongPoll { target, dialect, wait }, _) => {
                let name = session_name(head);
                let poll = SessionPoll { target: target.clone(), dialect: *dialect, until: self.now + *wait };
                match self.session_poll(name, how.clone(), poll) {
                    Ok(pending) => Taken::Pending(pending),
                    Err(refusal) => self.refuse_now(out, &how, &refusal),
                }
            }
            (Serve::Page { target, page, .. }, _) if *page != PageId::Vote => {
                let language = Language::from_tag(http::language(head.header("accept-language"), &Language::OFFERED));
                let channel = target.as_ref().map(|target| &*target.channel);
                let place = Place { channel, links: &setup.links(listener) };
                let html = page::render_fixed(*page, language, &place);
                let headers = [("Content-Type", HTML), ("Cache-Control", "no-cache"), ("Vary", "Accept-Language")];
                self.write_now(out, &how, 200, &headers, html.as_bytes())
            }
            (Serve::Page { target: None, .. }, _) => self.refuse(out, &how, 404, "not_found", "a channel", &[]),
            (Serve::Page { target: Some(target), page, session }, _) => {
                let tag = http::language(head.header("accept-language"), &Language::OFFERED);
                // A session is for the long-poll of the same page, in whatever dialect that has.
                let dialect = session.then(|| session_dialect(&setup, target)).flatten();
                let session = dialect.map(|dialect| PageSession { dialect, name: session_name(head) });
                let read = Read::Page { page: *page, language: Language::from_tag(tag), session };
                self.read_mirror(out, how, target, read)
            }
            (Serve::Text { text }, _) => self.write_now(out, &how, 200, &[("Content-Type", TEXT)], text.as_bytes()),
            (Serve::EchoBody, _) => self.echo(request, out, &how),
        }
    }

    fn options(&mut self, out: &mut Vec<u8>, how: &Answering, methods: &[&str], all: bool) -> Taken {
        if methods.is_empty() && !all {
            return self.refuse(out, how, 404, "not_found", "a path that is served here", &[]);
        }
        let allow =
            if all { "GET, HEAD, POST, OPTIONS".to_owned() } else { format!("{}, OPTIONS", methods.join(", ")) };
        let mut headers = vec![("Allow", allow.as_str())];
        if how.origin.is_some() {
            headers.push(("Access-Control-Allow-Methods", &allow));
            headers.push(("Access-Control-Allow-Headers", "Content-Type, Last-Event-ID, If-None-Match"));
            headers.push(("Access-Control-Max-Age", "600"));
        }
        self.write_now(out, how, 204, &headers, b"")
    }

    fn get_channel(
        &mut self,
        key: ConnKey,
        request: &Request<'_>,
        out: &mut Vec<u8>,
        how: Answering,
        target: &Target,
    ) -> Taken {
        let head = &request.head;
        if http::field(head.query.unwrap_or_default().as_bytes(), "members").is_ok_and(|field| field.is_some()) {
            return self.read_mirror(out, how, target, Read::Members);
        }
        let stream = http::prefers(head.header("accept"), "text/event-stream");
        let last_event_id = head.header_str("last-event-id").filter(|_| stream);
        let since = match since(head.query, last_event_id) {
            Ok(since) => since,
            Err(expected) => return self.refuse(out, &how, 400, "malformed", expected, &[]),
        };
        if stream {
            let user = match self.listener_name(target, head.query) {
                Ok(user) => user,
                Err(refusal) => return self.refuse_now(out, &how, &refusal),
            };
            return self.open_event_stream(key, out, &how, target, begins(since), user.as_ref());
        }
        match wait(head.query, self.limits().poll_wait_max) {
            Err(expected) => self.refuse(out, &how, 400, "malformed", expected, &[]),
            Ok(Some(wait)) => {
                let until = self.now + wait;
                self.read_mirror(out, how, target, Read::Poll { since, until })
            }
            Ok(None) => {
                let known = head.header_str("if-none-match").map(Into::into);
                self.read_mirror(out, how, target, Read::State { known })
            }
        }
    }

    fn read_mirror(&mut self, out: &mut Vec<u8>, how: Answering, target: &Target, read: Read) -> Taken {
        match self.mirror_of(target) {
            Ok(mirror) => Taken::Pending(Pending::Read { mirror, how, read }),
            Err(refusal) => self.refuse_now(out, &how, &refusal),
        }
    }

    pub(super) fn echo(&mut self, request: &Request<'_>, out: &mut Vec<u8>, how: &Answering) -> Taken {
        let content_type = request.head.header_str("content-type").unwrap_or("application/octet-stream");
        // What a page sends here must not become a page.
        let headers = [
            ("Content-Type", content_type),
            ("X-Content-Type-Options", "nosniff"),
            ("Content-Security-Policy", "sandbox"),
        ];
        self.write_now(out, how, 200, &headers, request.body)
    }

    pub(super) fn write_now(
        &mut self,
        out: &mut Vec<u8>,
        how: &Answering,
        status: u16,
        headers: &[Header<'_>],
        body: &[u8],
    ) -> Taken {
        Taken::Written { keep_alive: self.write_response(out, how, status, headers, body) }
    }

    pub(super) fn refuse_now(&mut self, out: &mut Vec<u8>, how: &Answering, refusal: &Refusal) -> Taken {
        self.refuse(out, how, status(refusal), refusal.code(), refusal.expected(), &[])
    }

    pub(super) fn refuse(
        &mut self,
        out: &mut Vec<u8>,
        how: &Answering,
        status: u16,
        code: &str,
        expected: &str,
        headers: &[Header<'_>],
    ) -> Taken {
        let mut all = vec![("Content-Type", JSON)];
        all.extend(headers);
        self.write_now(out, how, status, &all, &refusal_json(code, expected))
    }

    /// A page, and perhaps a new session's cookie.
    pub(super) fn answer_page(&mut self, key: ConnKey, how: &Answering, page: Option<Slice>, cookie: Option<&str>) {
        let mut headers = vec![("Content-Type", HTML), ("Cache-Control", "no-store"), ("Vary", "Accept-Language")];
        headers.extend(cookie.map(|cookie| ("Set-Cookie", cookie)));
        self.answer_shared(key, how, &headers, page);
    }
}

fn session_name(head: &http::Head<'_>) -> Option<SessionName> {
    http::cookie(head, COOKIE)?.parse().ok()
}

/// The dialect of the long-poll that goes with a page: the one of the same channel.
fn session_dialect(setup: &crate::route::Setup, page: &Target) -> Option<DialectId> {
    setup.routes.iter().find_map(|route| match &route.serve {
        Serve::LongPoll { target, dialect, .. } if target == page => Some(*dialect),
        _ => None,
    })
}

const WAIT: &str = "wait: seconds, as in wait=20 or wait=2.5";

fn wait(query: Option<&str>, max: Duration) -> Result<Option<Duration>, &'static str> {
    let field = http::field(query.unwrap_or_default().as_bytes(), "wait").map_err(|error| error.expected())?;
    let Some(text) = field else { return Ok(None) };
    let seconds: f64 = text.parse().map_err(|_| WAIT)?;
    if !seconds.is_finite() {
        return Err(WAIT);
    }
    let seconds = seconds.min(max.as_secs_f64());
    Duration::try_from_secs_f64(seconds).map(|wait| Some(wait.min(max))).map_err(|_| WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_of_a_query() {
        let max = Duration::from_secs(60);
        assert_eq!(wait(None, max), Ok(None));
        assert_eq!(wait(Some("wait=2.5&since=e-3"), max), Ok(Some(Duration::from_millis(2500))));
        assert_eq!(wait(Some("wait=1e9"), max), Ok(Some(max)));
        assert_eq!(wait(Some("wait=1e300"), max), Ok(Some(max)));
        for bad in ["wait=", "wait=x", "wait=-1", "wait=NaN", "wait=inf"] {
            assert_eq!(wait(Some(bad), max), Err(WAIT), "{bad}");
        }
    }
}
