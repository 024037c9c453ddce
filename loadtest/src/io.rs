//! What a mode may do with its connections, on one thread.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::ops::AddAssign;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use slab::Slab;

use crate::clock::{Clock, Nanos};
use crate::codec::{self, Reader};
use crate::fleet::Shared;
use crate::target::Target;

/// Different failures that are told apart; more are told as one.
const FAILURES_MAX: usize = 100;
/// Bytes of a refusal's body that are shown.
const SHOWN_BYTES_MAX: usize = 200;
/// Bytes that may wait for one connection that does not take them: then messages are dropped and counted.
const OUT_BYTES_MAX: usize = 64 << 20;

/// A connection of this thread.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Client {
    pub(crate) key: usize,
    /// What the mode called it when it asked for it.
    pub(crate) tag: u32,
}

/// How to connect, and as what.
#[derive(Clone, Debug)]
pub(crate) struct Dial {
    pub(crate) target: Target,
    pub(crate) speaks: Speaks,
    /// The whole head of the handshake or the same for each request; made by [`Dial::websocket`] and [`Dial::http`].
    pub(crate) head: String,
    /// Texts that are sent when the WebSocket is open.
    pub(crate) hellos: Vec<String>,
}

/// What is spoken on a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Speaks {
    /// Messages, after a handshake.
    WebSocket,
    /// Requests and responses in turn; [`Io::send_bytes`] sends a whole request.
    Http,
    /// Bytes as they come: `Behaviour::bytes`.
    Raw,
}

/// How a connection ended that we did not end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Ended {
    /// Never connected: nobody listens, no route, no address left.
    Unreachable(String),
    /// Answered, but not by a 101. Status and the body's beginning.
    Refused(u16, String),
    /// The handshake's answer was wrong.
    BadHandshake(&'static str),
    /// The server broke the protocol.
    Broken(&'static str),
    /// A Close frame: code (1005: none) and reason.
    Closed(u16, String),
    /// The end of the stream without a Close.
    Eof,
    /// RST.
    Reset,
    /// Connecting and shaking hands took too long.
    TimedOut,
}

impl Ended {
    /// Under which name it is counted. `was_open`: the handshake was done.
    pub(crate) fn name(&self, was_open: bool) -> String {
        match (self, was_open) {
            (Ended::Unreachable(error), _) => format!("cannot connect: {error}"),
            (Ended::Refused(429, body), _) => format!("refused: 429 Too Many Requests (a limit of the server): {body}"),
            (Ended::Refused(503, body), _) => {
                format!("refused: 503 Service Unavailable (a limit of the server): {body}")
            }
            (Ended::Refused(status, body), _) => format!("refused: answered {status}: {body}"),
            (Ended::BadHandshake(what), _) => format!("wrong handshake: {what}"),
            (Ended::Broken(what), _) => format!("protocol broken by the server: {what}"),
            (Ended::Closed(1008, reason), _) => format!("closed: 1008 policy, perhaps a limit of the server {reason}"),
            (Ended::Closed(1013, reason), _) => format!("closed: 1013 try again later, a limit of the server {reason}"),
            (Ended::Closed(code @ 4000..=4999, reason), _) => {
                format!("closed: {code} (the server's own code) {reason}")
            }
            (Ended::Closed(code, reason), _) => format!("closed: {code} {reason}"),
            (Ended::Eof, true) => "closed by the server without a Close".into(),
            (Ended::Eof, false) => "hung up on before the handshake was answered: perhaps a limit of the server".into(),
            (Ended::Reset, true) => "reset by the server".into(),
            (Ended::Reset, false) => "reset before the handshake was answered: perhaps a limit of the server".into(),
            (Ended::TimedOut, _) => "connecting took too long: the server accepts no more, or too slowly".into(),
        }
    }
}

/// What happened so far; each thread has its own, and they are added up.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Counts {
    /// Connections that opened.
    pub(crate) opened: u64,
    /// Connections that did not open.
    pub(crate) refused: u64,
    /// Connections that opened and were ended by the server.
    pub(crate) ended: u64,
    /// Messages sent; the mode counts.
    pub(crate) sent: u64,
    /// Deliveries, or whatever answers are in the mode; the mode counts.
    pub(crate) received: u64,
    /// Messages that are none of ours; the mode counts.
    pub(crate) others: u64,
    /// For a mode's own progress.
    pub(crate) done: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.opened += other.opened;
        self.refused += other.refused;
        self.ended += other.ended;
        self.sent += other.sent;
        self.received += other.received;
        self.others += other.others;
        self.done += other.done;
    }
}

/// [`Counts`] of one thread as others read them.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct PostedCounts([AtomicU64; 7]);

impl PostedCounts {
    pub(crate) fn post(&self, counts: &Counts) {
        let Counts { opened, refused, ended, sent, received, others, done } = *counts;
        for (posted, count) in self.0.iter().zip([opened, refused, ended, sent, received, others, done]) {
            posted.store(count, Ordering::Release);
        }
    }

    pub(crate) fn read(&self) -> Counts {
        let [opened, refused, ended, sent, received, others, done] =
            std::array::from_fn(|index| self.0[index].load(Ordering::Acquire));
        Counts { opened, refused, ended, sent, received, others, done }
    }
}

/// The connections of one thread, and what goes with them.
pub(crate) struct Io {
    pub(crate) clock: Clock,
    /// The time, as of the last read or turn.
    pub(crate) now: Nanos,
    pub(crate) counts: Counts,
    /// Which thread this is.
    pub(crate) thread: usize,
    pub(crate) shared: Arc<Shared>,
    pub(super) registry: Registry,
    pub(super) links: Slab<Link>,
    /// Connections asked for and not begun, in order.
    pub(super) queue: std::collections::VecDeque<(Arc<Dial>, u32)>,
    /// Connections begun and not open.
    pub(super) connecting: usize,
    pub(super) failures: BTreeMap<String, u64>,
    pub(super) random: u64,
    /// At most this much of a message is kept that arrives in pieces.
    pub(crate) keep_bytes: usize,
    /// Connections that the kernel told to be gone while something was sent.
    pub(super) broken: Vec<(usize, Ended)>,
}

/// One connection.
pub(super) struct Link {
    pub(super) stream: TcpStream,
    pub(super) dial: Arc<Dial>,
    pub(super) tag: u32,
    pub(super) stage: Stage,
    pub(super) reader: Reader,
    /// Bytes that the kernel did not take yet; before the handshake is done, those of the response.
    pub(super) out: Vec<u8>,
    /// Of a response that is not all here.
    pub(super) response: Vec<u8>,
    /// Parts of a fragmented message.
    pub(super) fragments: Vec<u8>,
    pub(super) key: [u8; 24],
    pub(super) since: Nanos,
    pub(super) is_paused: bool,
}

/// How far a connection is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    Connecting,
    Handshake,
    Open,
}

impl Dial {
    /// A WebSocket handshake with these further headers (`Name: value`) and subprotocols.
    pub(crate) fn websocket(target: Target, subprotocols: &[String], headers: &[String], hellos: &[String]) -> Dial {
        let mut head = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n",
            target.path, target.host
        );
        if !subprotocols.is_empty() {
            head += &format!("Sec-WebSocket-Protocol: {}\r\n", subprotocols.join(", "));
        }
        headers.iter().for_each(|header| head += &format!("{header}\r\n"));
        Dial { target, speaks: Speaks::WebSocket, head, hellos: hellos.to_vec() }
    }

    /// A connection for requests; [`Dial::request`] makes them.
    pub(crate) fn http(target: Target, headers: &[String]) -> Dial {
        let mut head = format!("Host: {}\r\n", target.host);
        headers.iter().for_each(|header| head += &format!("{header}\r\n"));
        Dial { target, speaks: Speaks::Http, head, hellos: vec![] }
    }

    /// The same, whose bytes the mode reads itself.
    pub(crate) fn raw(target: Target, headers: &[String]) -> Dial {
        Dial { speaks: Speaks::Raw, ..Dial::http(target, headers) }
    }

    /// A whole request. `more` are header lines of this request alone, each with its `\r\n`.
    pub(crate) fn request(&self, method: &str, path: &str, more: &str, body: &[u8]) -> Vec<u8> {
        let length = if body.is_empty() && method == "GET" {
            String::new()
        } else {
            format!("Content-Length: {}\r\n", body.len())
        };
        let head = format!("{method} {path} HTTP/1.1\r\n{}{more}{length}\r\n", self.head);
        [head.as_bytes(), body].concat()
    }
}

impl Io {
    /// Asks for a connection: it opens when its turn comes (`Behaviour::opened`), or does not (`Behaviour::ended`).
    pub(crate) fn connect(&mut self, dial: &Arc<Dial>, tag: u32) {
        self.queue.push_back((Arc::clone(dial), tag));
    }

    /// Sends a text message.
    pub(crate) fn send_text(&mut self, client: Client, text: &[u8]) {
        let mask = self.random() as u32;
        self.send_with(client, |out| codec::write_text(out, text, mask));
    }

    /// Sends bytes as they are: a request, or frames that are encoded already.
    pub(crate) fn send_bytes(&mut self, client: Client, bytes: &[u8]) {
        self.send_with(client, |out| out.extend_from_slice(bytes));
    }

    /// Sends what `write` appends, in one call if the kernel takes it.
    pub(crate) fn send_with(&mut self, client: Client, write: impl FnOnce(&mut Vec<u8>)) {
        let Some(link) = self.links.get_mut(client.key) else { return };
        if link.out.len() > OUT_BYTES_MAX {
            self.fail("not sent: the server takes no more of this connection");
            return;
        }
        let waits = !link.out.is_empty();
        write(&mut link.out);
        if !waits && let Err(ended) = flush(link) {
            self.broken.push((client.key, ended));
        }
    }

    /// Ends a connection from our side, at once. The mode is not told.
    pub(crate) fn close(&mut self, client: Client) {
        if let Some(link) = self.links.try_remove(client.key)
            && link.stage != Stage::Open
        {
            self.connecting -= 1;
        }
    }

    /// Reads no more from this connection, until [`Io::resume_reading`].
    pub(crate) fn pause_reading(&mut self, client: Client) {
        if let Some(link) = self.links.get_mut(client.key) {
            link.is_paused = true;
        }
    }

    /// Reads again, and what came meanwhile.
    pub(crate) fn resume_reading(&mut self, client: Client) {
        let Some(link) = self.links.get_mut(client.key) else { return };
        link.is_paused = false;
        // Registering again makes the kernel tell again what is there.
        let token = Token(client.key);
        if let Err(error) = self.registry.reregister(&mut link.stream, token, Interest::READABLE | Interest::WRITABLE) {
            self.fail(&format!("cannot watch a connection: {error}"));
        }
    }

    /// Counts a failure under a name. `ok` is false then, whatever else the mode finds.
    pub(crate) fn fail(&mut self, what: &str) {
        count_failure(&mut self.failures, what, 1);
    }

    /// A number that is new each time; good for masks and choices.
    pub(crate) fn random(&mut self) -> u64 {
        // splitmix64
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.random;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }
}

/// Adds to a list of failures that stays short.
pub(crate) fn count_failure(failures: &mut BTreeMap<String, u64>, what: &str, count: u64) {
    let what = if failures.contains_key(what) || failures.len() < FAILURES_MAX { what } else { "other failures" };
    *failures.entry(what.trim().to_owned()).or_default() += count;
}

/// The beginning of a body, in one line.
pub(super) fn shown(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(SHOWN_BYTES_MAX)]);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Hands the kernel what waits. Without an error the rest, if any, is sent when the socket is writable.
pub(super) fn flush(link: &mut Link) -> Result<(), Ended> {
    let mut sent = 0;
    while sent < link.out.len() {
        match link.stream.write(&link.out[sent..]) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(ended_by(&error)),
        }
    }
    link.out.drain(..sent);
    if link.out.is_empty() && link.out.capacity() > 4096 {
        link.out = Vec::new();
    }
    Ok(())
}

/// One read. `None`: nothing is there.
pub(super) fn read(link: &mut Link, buffer: &mut [u8]) -> Result<Option<usize>, Ended> {
    match link.stream.read(buffer) {
        Ok(0) => Err(Ended::Eof),
        Ok(count) => Ok(Some(count)),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(None),
        Err(error) => Err(ended_by(&error)),
    }
}

pub(super) fn ended_by(error: &io::Error) -> Ended {
    match error.kind() {
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted => Ended::Reset,
        _ => Ended::Unreachable(error.to_string()),
    }
}
