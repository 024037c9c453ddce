//! The client's end of a connection, and requests and WebSocket messages over it.

use std::collections::{BTreeSet, VecDeque};

use tallycast::base::keys::CoreId;
use tallycast::base::time::Time;
use tallycast::engine::{Asker, Origin};

use crate::sim::network::{Read, SocketId};
use crate::sim::scene::{Scene, shown};
use crate::sim::wire::{Response, read_frame, read_head, read_response, write_frame};

/// How a connection stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    Open,
    /// The server's FIN was read.
    Ended,
    Reset,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Link {
    who: String,
    core: usize,
    socket: SocketId,
    pub(crate) input: Vec<u8>,
    output: VecDeque<u8>,
    fin: bool,
    fin_sent: bool,
    opened: Time,
    /// Something was read.
    heard: bool,
    /// It breaks the rules, and may be cut off without a word.
    pub(crate) rude: bool,
    pub(crate) state: State,
}

impl Link {
    /// A connection to a core that chance (in the place of SO_REUSEPORT) picks.
    pub(crate) fn open(scene: &mut Scene, who: &str) -> Link {
        let core = scene.random.below(scene.drivers.len());
        let socket = scene.drivers[core].connect();
        scene.moved += 1;
        scene.note(|| format!("{who}: connects: core {core} socket {socket}"));
        Link {
            who: who.to_owned(),
            core,
            socket,
            input: Vec::new(),
            output: VecDeque::new(),
            fin: false,
            fin_sent: false,
            opened: scene.now,
            heard: false,
            rude: false,
            state: State::Open,
        }
    }

    /// Who this is to the server, once it is accepted.
    pub(crate) fn origin(&self, scene: &Scene) -> Option<Origin> {
        let key = scene.drivers[self.core].key_of(self.socket)?;
        Some(Origin { core: CoreId(self.core as u16), asker: Asker::Connection(key) })
    }

    /// Behind our FIN nothing is sent.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        if !self.fin && !self.fin_sent {
            self.output.extend(bytes);
        }
    }

    /// Our FIN, behind what is to be sent.
    pub(crate) fn finish(&mut self) {
        self.fin = true;
    }

    pub(crate) fn is_finishing(&self) -> bool {
        self.fin
    }

    /// Judges a response that says that there is no room, or that a request took too long.
    pub(crate) fn check_uninvited(&self, response: &Response, scene: &Scene) {
        let late = scene.now - self.opened >= scene.knobs.limits.head_wait;
        let right = response.status == 503 || (response.status == 408 && late);
        assert!(right, "{}: opened at {:?}: nobody asked for {response:?}", self.who, self.opened);
    }

    /// Ends it at once.
    pub(crate) fn reset(&mut self, scene: &mut Scene) {
        if self.state == State::Open {
            scene.note(|| format!("{}: resets", self.who));
            scene.drivers[self.core].client_reset(self.socket);
            scene.moved += 1;
            self.state = State::Reset;
        }
    }

    /// Moves bytes both ways, as many as chance and the pipes have it.
    pub(crate) fn pump(&mut self, scene: &mut Scene, reading: bool) {
        if self.state != State::Open {
            return;
        }
        self.write(scene);
        if !reading {
            return;
        }
        let most = if scene.calm || scene.random.chance(60) { 1 << 20 } else { scene.random.upto(200) };
        match scene.drivers[self.core].client_read(self.socket, most) {
            Read::Bytes(bytes) => {
                scene.moved += bytes.len() as u64;
                self.heard = true;
                scene.digest(&bytes);
                scene.note(|| format!("{}: reads {}", self.who, shown(&bytes)));
                self.input.extend(bytes);
            }
            Read::Nothing => {}
            Read::End => self.end(scene, State::Ended),
            Read::Reset => self.end(scene, State::Reset),
        }
    }

    fn end(&mut self, scene: &mut Scene, state: State) {
        scene.moved += 1;
        scene.note(|| format!("{}: finds the connection {state:?}", self.who));
        self.state = state;
        let limits = &scene.knobs.limits;
        let excuse = self.heard || self.fin || self.rude || scene.stopping || limits.connections_max < 100;
        let early = scene.now - self.opened < limits.head_wait;
        assert!(excuse || !early || state == State::Reset, "{}: closed at once, without a word", self.who);
        if state == State::Ended && !self.fin_sent {
            scene.drivers[self.core].client_fin(self.socket);
            self.fin_sent = true;
        }
    }

    fn write(&mut self, scene: &mut Scene) {
        if !self.output.is_empty() {
            let some = if scene.calm || scene.random.chance(70) {
                self.output.len()
            } else {
                scene.random.upto(self.output.len())
            };
            let bytes: Vec<u8> = self.output.iter().take(some).copied().collect();
            let len = scene.drivers[self.core].client_write(self.socket, &bytes);
            self.output.drain(..len);
            scene.moved += len as u64;
            if len > 0 {
                scene.note(|| format!("{}: writes {}", self.who, shown(&bytes[..len])));
            }
        }
        if self.fin && !self.fin_sent && self.output.is_empty() {
            self.fin_sent = true;
            scene.moved += 1;
            scene.drivers[self.core].client_fin(self.socket);
            scene.note(|| format!("{}: FIN", self.who));
        }
    }
}

/// Requests over one connection, each with what the client remembers of it; responses come in order.
#[derive(Debug)]
pub(crate) struct Requests<T> {
    pub(crate) link: Link,
    asked: VecDeque<(&'static str, T)>,
}

impl<T: std::fmt::Debug> Requests<T> {
    pub(crate) fn open(scene: &mut Scene, who: &str) -> Requests<T> {
        Requests { link: Link::open(scene, who), asked: VecDeque::new() }
    }

    /// `head`: the header lines behind Host, each with its CR LF.
    pub(crate) fn ask(&mut self, method: &'static str, target: &str, head: &str, body: &[u8], what: T) {
        let length = match (method, body.len()) {
            ("GET" | "HEAD" | "OPTIONS", 0) => String::new(),
            (_, length) => format!("Content-Length: {length}\r\n"),
        };
        let text = format!("{method} {target} HTTP/1.1\r\nHost: localhost:5000\r\n{head}{length}\r\n");
        self.link.send(text.as_bytes());
        self.link.send(body);
        self.asked.push_back((method, what));
    }

    pub(crate) fn outstanding(&self) -> usize {
        self.asked.len()
    }

    /// The next response. A connection that ends between two responses was cut; within one it must not.
    pub(crate) fn next(&mut self, scene: &Scene) -> Option<(T, Response)> {
        let Some((method, _)) = self.asked.front() else {
            // Before it asked anything, a client may be told that it took too long, or that there are too many.
            let unasked = read_response(&self.link.input, "GET");
            if let Some((response, len)) = unasked {
                self.link.check_uninvited(&response, scene);
                self.link.input.drain(..len);
                self.link.finish();
            }
            return None;
        };
        let Some((response, len)) = read_response(&self.link.input, method) else {
            let partial = self.link.state == State::Ended && !self.link.input.is_empty();
            assert!(!partial, "the server ends within a response: {}", shown(&self.link.input));
            return None;
        };
        self.link.input.drain(..len);
        if response.status == 408 {
            // It wrote too slowly: neither this request nor those behind it were read.
            self.link.check_uninvited(&response, scene);
            self.asked.clear();
            self.link.finish();
            return None;
        }
        let (_, what) = self.asked.pop_front().expect("seen above");
        if response.closes() {
            assert!(self.link.input.is_empty(), "more behind Connection: close");
            self.link.finish();
        }
        Some((what, response))
    }

    /// What will not be answered any more.
    pub(crate) fn unanswered(&mut self) -> Vec<T> {
        self.asked.drain(..).map(|(_, what)| what).collect()
    }

    /// Whether another request would find nobody.
    pub(crate) fn is_over(&self) -> bool {
        self.link.state != State::Open || self.link.is_finishing()
    }
}

/// What a WebSocket client sees.
#[derive(Debug)]
pub(crate) enum Seen {
    Open,
    Text(String),
    Binary(Vec<u8>),
    /// The server's Close; 1005 if it had no code.
    Close(u16),
}

/// A client's WebSocket.
#[derive(Debug)]
pub(crate) struct WebSocket {
    pub(crate) link: Link,
    pub(crate) open: bool,
    /// Our Close was sent.
    closing: bool,
    /// The handshake may be refused by 400: what it is for may be gone.
    pub(crate) may_be_refused: bool,
    /// The server's Close was read.
    pub(crate) closed: Option<u16>,
    /// The handshake was refused, with this status.
    pub(crate) refused: Option<u16>,
    message: Option<(u8, Vec<u8>)>,
    pings: BTreeSet<Vec<u8>>,
}

impl WebSocket {
    pub(crate) fn open(scene: &mut Scene, who: &str, target: &str) -> WebSocket {
        let mut link = Link::open(scene, who);
        let origin = scene.random.pick(&["", "Origin: http://localhost:5000\r\n", "Origin: null\r\n"]);
        link.send(
            format!(
                "GET {target} HTTP/1.1\r\nHost: localhost:5000\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{origin}\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
            .as_bytes(),
        );
        WebSocket {
            link,
            open: false,
            closing: false,
            closed: None,
            may_be_refused: false,
            refused: None,
            message: None,
            pings: BTreeSet::new(),
        }
    }

    /// Sends a message, at times in fragments.
    pub(crate) fn send(&mut self, scene: &mut Scene, opcode: u8, payload: &[u8]) {
        assert!(!self.closing, "a client says nothing behind its Close");
        let parts = if scene.random.chance(15) { scene.random.upto(3) } else { 1 };
        let mut rest = payload;
        for part in 0..parts {
            let last = part + 1 == parts;
            let len = if last { rest.len() } else { scene.random.below(rest.len() + 1) };
            let (now, then) = rest.split_at(len);
            let mask = scene.mask();
            let opcode = if part == 0 { opcode } else { 0 };
            self.link.send(&write_frame(last, opcode, now, mask));
            rest = then;
        }
    }

    pub(crate) fn ping(&mut self, scene: &mut Scene) {
        let len = scene.random.below(20);
        let payload: Vec<u8> = (0..len).map(|_| scene.random.next() as u8).collect();
        let mask = scene.mask();
        self.link.send(&write_frame(true, 9, &payload, mask));
        self.pings.insert(payload);
        scene.coverage.hit("client: ping");
    }

    /// Our Close.
    pub(crate) fn close(&mut self, scene: &mut Scene, code: u16) {
        if !self.closing && self.open {
            let mask = scene.mask();
            self.link.send(&write_frame(true, 8, &code.to_be_bytes(), mask));
            self.closing = true;
        }
    }

    /// Whether messages may be sent.
    pub(crate) fn is_live(&self) -> bool {
        self.open && !self.closing && self.closed.is_none() && self.link.state == State::Open && !self.link.fin
    }

    /// Whether nothing more will come.
    pub(crate) fn is_over(&self) -> bool {
        self.link.state != State::Open
    }

    /// The next thing seen. Panics if the server breaks RFC 6455, or ends within a frame.
    pub(crate) fn next(&mut self, scene: &mut Scene) -> Option<Seen> {
        if !self.open {
            return self.handshake(scene);
        }
        while let Some((frame, len)) = read_frame(&self.link.input) {
            assert_eq!(self.closed, None, "a frame behind Close: {frame:?}");
            self.link.input.drain(..len);
            match frame.opcode {
                8 => return Some(self.server_closes(scene, &frame.payload)),
                9 => {
                    scene.coverage.hit("server: ping");
                    if !self.closing {
                        let mask = scene.mask();
                        self.link.send(&write_frame(true, 10, &frame.payload, mask));
                    }
                }
                10 => assert!(self.pings.contains(&frame.payload), "a pong to no ping: {frame:?}"),
                _ => {
                    let seen = self.data(frame.opcode, frame.fin, frame.payload);
                    if seen.is_some() {
                        return seen;
                    }
                }
            }
        }
        let partial = !self.link.input.is_empty() || self.message.is_some();
        // Who sends FIN without a Close gave the stream up, and may find it cut anywhere.
        let gave_up = self.link.fin && !self.closing;
        let cut_short = self.link.state == State::Ended && partial && !gave_up;
        assert!(!cut_short, "the server ends within a message: {}", shown(&self.link.input));
        None
    }

    fn handshake(&mut self, scene: &mut Scene) -> Option<Seen> {
        let (head, len) = read_head(&self.link.input)?;
        if head.status != 101 {
            if self.may_be_refused && head.status == 400 {
                self.refused = Some(head.status);
            } else {
                self.link.check_uninvited(&head, scene);
                scene.coverage.hit("server: 503 for a handshake");
            }
            let (_, len) = read_response(&self.link.input, "GET")?;
            self.link.input.drain(..len);
            self.link.finish();
            return None;
        }
        self.link.input.drain(..len);
        assert_eq!(head.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        let word = |name| head.header(name).unwrap_or_default().to_ascii_lowercase();
        assert_eq!((word("upgrade").as_str(), word("connection").as_str()), ("websocket", "upgrade"));
        self.open = true;
        Some(Seen::Open)
    }

    fn server_closes(&mut self, scene: &mut Scene, payload: &[u8]) -> Seen {
        let code = match payload {
            [] => 1005,
            [high, low, ..] => u16::from_be_bytes([*high, *low]),
            [_] => panic!("half a close code"),
        };
        std::str::from_utf8(&payload[payload.len().min(2)..]).expect("a reason is UTF-8");
        assert!(self.message.is_none(), "a Close within a message");
        self.closed = Some(code);
        self.close(scene, if code == 1005 { 1000 } else { code });
        match code {
            4008 => scene.coverage.hit("server: close 4008"),
            1001 => scene.coverage.hit("server: close 1001"),
            1002 => scene.coverage.hit("server: close 1002"),
            _ => scene.coverage.hit("server: close, other"),
        }
        Seen::Close(code)
    }

    fn data(&mut self, opcode: u8, fin: bool, payload: Vec<u8>) -> Option<Seen> {
        let (kind, bytes) = match (self.message.take(), opcode) {
            (None, 1 | 2) => (opcode, payload),
            (Some((kind, mut bytes)), 0) => {
                bytes.extend(payload);
                (kind, bytes)
            }
            (before, opcode) => panic!("opcode {opcode} while {before:?}"),
        };
        if !fin {
            self.message = Some((kind, bytes));
            return None;
        }
        Some(match kind {
            1 => Seen::Text(String::from_utf8(bytes).expect("a text is UTF-8")),
            _ => Seen::Binary(bytes),
        })
    }
}
