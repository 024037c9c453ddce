//! A network that cuts, delays, chops, stalls and resets: one [`SimDriver`] for each core plays the I/O wall, now like
//! epoll and now like io_uring, and insists that the shard keeps the wall's rules.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use tallycast::base::io::{Driver, Ended, Sink};
use tallycast::base::keys::{ConnKey, ListenerId};
use tallycast::base::segment::Slice;
use tallycast::base::time::Time;

use super::random::{Coverage, Random};
use super::scene::Trace;
use super::setup::Knobs;

/// Index into a driver's sockets; never used again.
pub(crate) type SocketId = usize;

/// What a client finds when it reads.
#[derive(Debug)]
pub(crate) enum Read {
    Bytes(Vec<u8>),
    Nothing,
    /// The server's FIN.
    End,
    Reset,
}

#[derive(Debug)]
enum Sending {
    Idle,
    /// Some bytes were not taken: `sent(key, 0)` is to come.
    Short,
    /// As io_uring: `sent(key, n)` is to come.
    Under(Slice),
}

#[derive(Debug)]
struct Socket {
    peer: SocketAddr,
    key: Option<ConnKey>,
    sending: Sending,
    paused: bool,
    /// From the client to the server.
    up: VecDeque<u8>,
    /// The client's FIN stands behind `up`.
    up_fin: bool,
    up_fin_told: bool,
    up_stall: Time,
    /// From the server to the client.
    down: VecDeque<u8>,
    down_fin: bool,
    down_stall: Time,
    /// The server is to be told that the connection is gone.
    broken: bool,
    /// The client finds it reset.
    reset: bool,
    /// The server has let go of it.
    gone: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Known {
    Live(SocketId),
    /// The driver said that it is gone: a last call may cross.
    Ended,
    /// The shard closed it: not one call more.
    Closed,
}

/// All connections of one core.
#[derive(Debug)]
pub(crate) struct SimDriver {
    pub(crate) now: Time,
    pub(crate) coverage: Coverage,
    /// No more chance: everything is brought at once and whole.
    pub(crate) calm: bool,
    trace: Trace,
    core: usize,
    random: Random,
    completions: usize,
    pipe_max: usize,
    sockets: Vec<Socket>,
    live: Vec<SocketId>,
    backlog: VecDeque<SocketId>,
    accepting: bool,
    keys: BTreeMap<u64, Known>,
}

impl SimDriver {
    pub(crate) fn new(core: usize, random: Random, knobs: &Knobs) -> SimDriver {
        SimDriver {
            now: Time::ZERO,
            coverage: Coverage::default(),
            calm: false,
            trace: Trace::from_environment(),
            core,
            random,
            completions: knobs.completions,
            pipe_max: knobs.pipe_max,
            sockets: Vec::new(),
            live: Vec::new(),
            backlog: VecDeque::new(),
            accepting: true,
            keys: BTreeMap::new(),
        }
    }

    /// Ends all stalls, and from now on nothing fails.
    pub(crate) fn heal(&mut self) {
        self.calm = true;
        self.pipe_max = 1 << 20;
        for socket in &mut self.sockets {
            (socket.up_stall, socket.down_stall) = (Time::ZERO, Time::ZERO);
        }
    }

    /// From now on a direction of a connection holds so many bytes.
    pub(crate) fn narrow(&mut self, pipe_max: usize) {
        self.pipe_max = pipe_max;
    }

    /// Whether a turn would bring anything.
    pub(crate) fn has_events(&self) -> bool {
        (self.accepting && !self.backlog.is_empty())
            || self.live.iter().any(|id| {
                let socket = &self.sockets[*id];
                let room = socket.down.len() < self.pipe_max;
                let readable = !socket.paused && socket.up_stall <= self.now;
                socket.broken
                    || (room && !matches!(socket.sending, Sending::Idle))
                    || (readable && (!socket.up.is_empty() || (socket.up_fin && !socket.up_fin_told)))
            })
    }

    /// What is open, for messages.
    pub(crate) fn describe(&self) -> String {
        let open = self.live.iter().map(|id| (id, &self.sockets[*id]));
        open.map(|(id, socket)| {
            let Socket { key, sending, paused, up, up_fin, up_fin_told, down, down_fin, broken, .. } = socket;
            let (up, down) = (up.len(), down.len());
            format!(
                "\n  socket {id}: key {key:?} {sending:?} paused {paused} up {up} fin {up_fin}/{up_fin_told} down {down} fin {down_fin} broken {broken}"
            )
        })
        .collect()
    }

    /// The network does something bad to some connection.
    pub(crate) fn trouble(&mut self, cut: bool) {
        if self.live.is_empty() {
            return;
        }
        let id = self.random.pick(&self.live);
        let until = self.now + Duration::from_millis(self.random.below(8000) as u64);
        let socket = &mut self.sockets[id];
        if cut {
            (socket.broken, socket.reset) = (true, true);
            self.coverage.hit("network: reset");
        } else if self.random.chance(50) {
            socket.up_stall = until;
            self.coverage.hit("network: stalled up");
        } else {
            socket.down_stall = until;
            self.coverage.hit("network: stalled down");
        }
    }
}

// What clients do.
impl SimDriver {
    pub(crate) fn connect(&mut self) -> SocketId {
        let id = self.sockets.len();
        self.sockets.push(Socket {
            peer: SocketAddr::from(([127, 0, 0, 1], 1024 + (id % 60_000) as u16)),
            key: None,
            sending: Sending::Idle,
            paused: false,
            up: VecDeque::new(),
            up_fin: false,
            up_fin_told: false,
            up_stall: Time::ZERO,
            down: VecDeque::new(),
            down_fin: false,
            down_stall: Time::ZERO,
            broken: false,
            reset: false,
            gone: false,
        });
        self.backlog.push_back(id);
        id
    }

    /// What the server calls it, once it is accepted.
    pub(crate) fn key_of(&self, id: SocketId) -> Option<ConnKey> {
        self.sockets[id].key
    }

    /// How many bytes were taken.
    pub(crate) fn client_write(&mut self, id: SocketId, bytes: &[u8]) -> usize {
        let room = self.pipe_max.saturating_sub(self.sockets[id].up.len());
        let socket = &mut self.sockets[id];
        assert!(!socket.up_fin, "a client writes behind its FIN");
        if socket.gone && !bytes.is_empty() {
            // What reaches a closed socket is answered by a reset, which may overtake what was sent before.
            self.coverage.hit("network: written to a closed socket");
            socket.reset |= socket.down.is_empty() || self.random.chance(50);
        }
        if socket.gone || socket.reset {
            return bytes.len();
        }
        let len = bytes.len().min(room);
        socket.up.extend(&bytes[..len]);
        len
    }

    pub(crate) fn client_read(&mut self, id: SocketId, most: usize) -> Read {
        let socket = &mut self.sockets[id];
        if socket.reset {
            return Read::Reset;
        }
        if socket.down_stall > self.now {
            return Read::Nothing;
        }
        if socket.down.is_empty() {
            return if socket.down_fin { Read::End } else { Read::Nothing };
        }
        let len = socket.down.len().min(most);
        Read::Bytes(socket.down.drain(..len).collect())
    }

    pub(crate) fn client_fin(&mut self, id: SocketId) {
        self.sockets[id].up_fin = true;
    }

    pub(crate) fn client_reset(&mut self, id: SocketId) {
        let socket = &mut self.sockets[id];
        (socket.broken, socket.reset) = (true, true);
        self.coverage.hit("client: reset");
    }
}

// What a turn brings.
impl SimDriver {
    fn note(&self, id: SocketId, line: impl FnOnce() -> String) {
        self.trace.print(self.now, || format!("core {} socket {id}: {}", self.core, line()));
    }

    fn accept_some(&mut self, sink: &mut impl Sink) {
        while self.accepting && (self.calm || self.random.chance(80)) {
            let Some(id) = self.backlog.pop_front() else { return };
            if self.sockets[id].broken {
                continue;
            }
            match sink.accepted(ListenerId(0), self.sockets[id].peer) {
                Some(key) => {
                    self.note(id, || format!("accepted as {key:?}"));
                    let before = self.keys.insert(key.pack(), Known::Live(id));
                    assert_eq!(before, None, "the key {key:?} was given before");
                    self.sockets[id].key = Some(key);
                    self.live.push(id);
                }
                None => {
                    self.coverage.hit("server: connection refused");
                    self.let_go(id, false);
                }
            }
        }
    }

    fn let_go(&mut self, id: SocketId, reset: bool) {
        let socket = &mut self.sockets[id];
        if let Sending::Under(slice) = std::mem::replace(&mut socket.sending, Sending::Idle) {
            // The kernel still has it.
            socket.down.extend(&*slice);
        }
        // A socket that is closed with bytes unread resets the connection.
        socket.reset |= reset || !socket.up.is_empty();
        (socket.gone, socket.down_fin) = (true, true);
        socket.up.clear();
    }

    fn serve(&mut self, id: SocketId, sink: &mut impl Sink) {
        let key = self.sockets[id].key.expect("a live socket was accepted");
        if self.sockets[id].broken {
            self.keys.insert(key.pack(), Known::Ended);
            self.sockets[id].gone = true;
            self.sockets[id].sending = Sending::Idle;
            let why = self.random.pick(&[Ended::Reset, Ended::Reset, Ended::Failed]);
            self.note(id, || format!("ended: {why:?}"));
            return sink.ended(key, why);
        }
        self.complete(id, key, sink);
        for _ in 0..self.random.upto(3) {
            self.bring(id, key, sink);
        }
    }

    fn complete(&mut self, id: SocketId, key: ConnKey, sink: &mut impl Sink) {
        let socket = &mut self.sockets[id];
        let room = self.pipe_max.saturating_sub(socket.down.len());
        if room == 0 {
            return;
        }
        match std::mem::replace(&mut socket.sending, Sending::Idle) {
            Sending::Idle => {}
            Sending::Short => {
                self.note(id, || "there is room again".to_owned());
                sink.sent(key, 0);
            }
            Sending::Under(slice) => {
                let most = slice.len().min(room);
                let short = !self.calm && self.random.chance(30);
                let len = if short { self.random.upto(most) } else { most };
                socket.down.extend(&slice[..len]);
                self.coverage.hit(if len < slice.len() {
                    "network: completion, partial"
                } else {
                    "network: completion"
                });
                self.note(id, || format!("sent {len}, as completed"));
                sink.sent(key, len);
            }
        }
    }

    fn bring(&mut self, id: SocketId, key: ConnKey, sink: &mut impl Sink) {
        let socket = &mut self.sockets[id];
        if socket.paused || socket.up_stall > self.now || socket.up_fin_told {
            return;
        }
        if socket.up.is_empty() {
            if socket.up_fin {
                socket.up_fin_told = true;
                self.note(id, || "the client's FIN".to_owned());
                sink.finished(key);
            }
            return;
        }
        let most = socket.up.len();
        let len = match self.random.below(10) {
            0..3 => self.random.upto(most.min(5)),
            3..5 => self.random.upto(most),
            _ => most,
        };
        let mut bytes: Vec<u8> = socket.up.drain(..len).collect();
        self.note(id, || format!("{len} bytes received"));
        sink.received(key, &mut bytes);
    }

    fn known(&mut self, key: ConnKey, call: &str) -> Option<SocketId> {
        match self.keys.get(&key.pack()) {
            Some(Known::Live(id)) => Some(*id),
            Some(Known::Ended) => None,
            Some(Known::Closed) => panic!("the wall: {call}({key:?}) after close"),
            None => panic!("the wall: {call}({key:?}) with a key that no accepted() gave"),
        }
    }
}

impl Driver for SimDriver {
    fn turn(&mut self, _timeout: Option<Duration>, sink: &mut impl Sink) -> io::Result<()> {
        sink.woke(self.now);
        self.accept_some(sink);
        let mut ids = self.live.clone();
        if !ids.is_empty() {
            let first = self.random.below(ids.len());
            ids.rotate_left(first);
        }
        for id in ids {
            if self.calm || self.random.chance(75) {
                self.serve(id, sink);
            }
        }
        self.live.retain(|id| !self.sockets[*id].gone);
        Ok(())
    }

    fn send(&mut self, key: ConnKey, slice: &Slice) -> Option<usize> {
        let Some(id) = self.known(key, "send") else {
            return Some(0);
        };
        let socket = &mut self.sockets[id];
        assert!(!slice.is_empty(), "the wall: nothing to send");
        assert!(!socket.down_fin, "the wall: send({key:?}) behind finish");
        assert!(
            matches!(socket.sending, Sending::Idle),
            "the wall: send({key:?}) while one is in flight: {:?}",
            socket.sending
        );
        if self.random.chance(self.completions) {
            socket.sending = Sending::Under(slice.clone());
            self.note(id, || format!("send {}: under way", slice.len()));
            return None;
        }
        let most = slice.len().min(self.pipe_max.saturating_sub(socket.down.len()));
        let short = !self.calm && self.random.chance(15);
        let len = if short { self.random.below(most + 1) } else { most };
        socket.down.extend(&slice[..len]);
        if len < slice.len() {
            socket.sending = Sending::Short;
            self.coverage.hit("network: short write");
        }
        self.note(id, || format!("send {}: {len} taken", slice.len()));
        Some(len)
    }

    fn pause(&mut self, key: ConnKey) {
        if let Some(id) = self.known(key, "pause") {
            self.note(id, || "pause".to_owned());
            self.sockets[id].paused = true;
            self.coverage.hit("server: paused");
        }
    }

    fn resume(&mut self, key: ConnKey) {
        if let Some(id) = self.known(key, "resume") {
            self.note(id, || "resume".to_owned());
            self.sockets[id].paused = false;
        }
    }

    fn finish(&mut self, key: ConnKey) {
        if let Some(id) = self.known(key, "finish") {
            self.note(id, || "finish".to_owned());
            let socket = &mut self.sockets[id];
            assert!(!socket.down_fin, "the wall: finish({key:?}) twice");
            assert!(
                matches!(socket.sending, Sending::Idle),
                "the wall: finish({key:?}) while a send is in flight: {:?}",
                socket.sending
            );
            socket.down_fin = true;
        }
    }

    fn close(&mut self, key: ConnKey, reset: bool) {
        if let Some(id) = self.known(key, "close") {
            self.note(id, || format!("close, reset: {reset}"));
            self.keys.insert(key.pack(), Known::Closed);
            self.let_go(id, reset);
            self.live.retain(|live| *live != id);
            if reset {
                self.coverage.hit("server: closed by reset");
            }
        }
    }

    fn adopt(&mut self, _: OwnedFd, _: ListenerId, _: SocketAddr, _: &mut impl Sink) -> Option<ConnKey> {
        None
    }

    fn release(&mut self, _: ConnKey) -> Option<OwnedFd> {
        None
    }

    fn accept(&mut self, on: bool) {
        self.accepting = on;
    }
}
