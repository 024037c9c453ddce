//! The driver on epoll (mio), edge-triggered: a socket is registered once, for reading and writing, and then costs one
//! system call for each read and each send.
//!
//! Edges must not be lost. The kernel tells of a change once, so each connection remembers what was told and not yet used
//! up: `readable` until a read comes back short, `blocked` from a short send to the next writable edge. A short read
//! means that the socket was empty, and anything later is a new edge; not so if the edge told of the end as well
//! (FIN, error), for which there will be no other: then it is read until it says so itself.

use std::collections::VecDeque;
use std::io;
use std::net::{self, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use rustix::net::{RecvFlags, SendFlags};
use socket2::SockRef;

use super::clock::Clock;
use crate::base::io::{Driver, Ended, Sink};
use crate::base::keys::{ConnKey, ListenerId};
use crate::base::limits::{READ_BYTES_MAX, TURN_ACCEPTS_MAX, TURN_EVENTS_MAX, TURN_READ_BYTES_MAX};
use crate::base::segment::Slice;
use crate::base::time::Time;

/// How long accepting rests at most when the system has no descriptor or memory for a connection.
pub(super) const ACCEPT_REST: Duration = Duration::from_millis(100);

// A token is a packed key. No key has this slot: it is that of listeners (their index in place of the generation) and
// of the waker.
const NO_SLOT: u32 = u32::MAX;
const WAKER: Token = Token(usize::MAX);
const _: () = assert!(usize::BITS == 64, "a packed key must fit mio's Token");

/// Sockets of one event loop.
#[derive(Debug)]
pub struct Epoll {
    poll: Poll,
    events: Events,
    waker: Arc<Waker>,
    clock: Clock,
    /// By [`ConnKey::slot`].
    connections: Vec<Option<Connection>>,
    /// Who is to be served without another edge, each at most once (`queued`); stale keys among them find nobody.
    ready: VecDeque<ConnKey>,
    /// All connections are read through this one, and the sink gets the bytes in place.
    buffer: Box<[u8]>,
    listeners: Vec<Listening>,
    /// Which listener is asked first; it moves on each turn, so that none starves the others.
    first_listener: usize,
    accepting: bool,
    /// Set while the system has no room for a connection: not to be tried before.
    accept_again: Option<Time>,
    /// Whether that was said already: once, and again only after a connection was accepted.
    shortage_told: bool,
}

#[derive(Debug)]
struct Listening {
    id: ListenerId,
    socket: TcpListener,
    /// Connections may wait in its queue.
    ready: bool,
}

#[derive(Debug)]
struct Connection {
    key: ConnKey,
    stream: TcpStream,
    /// There may be bytes, or the end, to read.
    readable: bool,
    /// The last edge told of the end (FIN or error), which comes behind the bytes that are left.
    ending: bool,
    /// An edge told of an error. The connection stays queued until it is `ended`.
    broken: bool,
    /// The sink does not want to read.
    paused: bool,
    /// A send was short, and no writable edge has come since.
    blocked: bool,
    /// In `ready`.
    queued: bool,
    /// The peer's FIN was told to the sink.
    finished: bool,
    /// A send failed; the next turn tells the sink.
    failed: Option<Ended>,
}

impl Epoll {
    /// A driver without sockets.
    ///
    /// # Errors
    /// What the operating system says, if it has no descriptors left.
    pub fn new(clock: Clock) -> io::Result<Epoll> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        Ok(Epoll {
            poll,
            events: Events::with_capacity(TURN_EVENTS_MAX),
            waker,
            clock,
            connections: Vec::new(),
            ready: VecDeque::new(),
            buffer: vec![0; READ_BYTES_MAX].into_boxed_slice(),
            listeners: Vec::new(),
            first_listener: 0,
            accepting: true,
            accept_again: None,
            shortage_told: false,
        })
    }

    /// Accepts connections from `socket`, which must be non-blocking, as `id`.
    ///
    /// # Errors
    /// What the operating system says when it is registered.
    pub fn listen(&mut self, id: ListenerId, socket: net::TcpListener) -> io::Result<()> {
        let mut socket = TcpListener::from_std(socket);
        let token = Token((self.listeners.len() << 32) | NO_SLOT as usize);
        self.poll.registry().register(&mut socket, token, Interest::READABLE)?;
        self.listeners.push(Listening { id, socket, ready: true });
        Ok(())
    }

    /// Ends a [`turn`](Driver::turn) that waits, from any thread. A wake-up between two turns ends the next one.
    pub fn waker(&self) -> Arc<Waker> {
        self.waker.clone()
    }

    /// How long the turn may wait: not at all if there is work that no edge will tell of.
    fn patience(&self, timeout: Option<Duration>) -> Option<Duration> {
        if !self.ready.is_empty() {
            return Some(Duration::ZERO);
        }
        if !self.accepting || !self.listeners.iter().any(|listener| listener.ready) {
            return timeout;
        }
        let Some(again) = self.accept_again else {
            return Some(Duration::ZERO);
        };
        let rest = again.since(self.clock.now());
        Some(timeout.map_or(rest, |timeout| timeout.min(rest)))
    }

    /// Notes what the kernel told, and tells the sink who can send again.
    fn take_events(&mut self, sink: &mut impl Sink) {
        for event in &self.events {
            if event.token() == WAKER {
                continue;
            }
            let packed = event.token().0 as u64;
            if packed as u32 == NO_SLOT {
                self.listeners[(packed >> 32) as usize].ready = true;
                continue;
            }
            let key = ConnKey::unpack(packed);
            let Some(connection) = find(&mut self.connections, key) else {
                continue;
            };
            connection.broken |= event.is_error();
            connection.ending |= event.is_error() || event.is_read_closed();
            connection.readable |= event.is_readable() || connection.ending;
            if connection.wants_service() {
                enqueue(&mut self.ready, connection);
            }
            if event.is_writable() && !connection.broken && connection.blocked {
                connection.blocked = false;
                sink.sent(key, 0);
            }
        }
    }

    /// Accepts a bounded number of connections. At a shortage of the system's (EMFILE, ENFILE, ENOMEM, ..) the rest stay
    /// in the listeners' queues, of which no new edge would tell.
    fn accept_waiting(&mut self, sink: &mut impl Sink) {
        if !self.accepting || self.accept_again.is_some_and(|again| self.clock.now() < again) {
            return;
        }
        self.accept_again = None;
        let count = self.listeners.len();
        self.first_listener = (self.first_listener + 1) % count.max(1);
        let mut budget = TURN_ACCEPTS_MAX;
        for step in 0..count {
            let index = (self.first_listener + step) % count;
            while budget > 0 && self.listeners[index].ready {
                budget -= 1;
                let listener = &mut self.listeners[index];
                let id = listener.id;
                match listener.socket.accept() {
                    Ok((stream, peer)) => {
                        self.shortage_told = false;
                        self.install(stream, id, peer, sink);
                    }
                    Err(error) => match error.kind() {
                        io::ErrorKind::WouldBlock => listener.ready = false,
                        // The peer gave up while it waited, or a signal came.
                        io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted => {}
                        _ => return self.rest_from_accepting(&error),
                    },
                }
            }
        }
    }

    fn rest_from_accepting(&mut self, error: &io::Error) {
        self.accept_again = Some(self.clock.now() + ACCEPT_REST);
        if !self.shortage_told {
            self.shortage_told = true;
            tracing::warn!("no new connections for the moment: {error}");
        }
    }

    fn install(
        &mut self,
        mut stream: TcpStream,
        listener: ListenerId,
        peer: SocketAddr,
        sink: &mut impl Sink,
    ) -> Option<ConnKey> {
        let key = sink.accepted(listener, peer)?;
        let token = Token(key.pack() as usize);
        let both = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self.poll.registry().register(&mut stream, token, both) {
            tracing::warn!("a connection cannot be watched: {error}");
            sink.ended(key, Ended::Failed);
            return None;
        }
        let slot = key.slot();
        if self.connections.len() <= slot {
            self.connections.resize_with(slot + 1, || None);
        }
        // Whoever was there is closed: the sink has forgotten the connection, or would not have given the slot again.
        self.connections[slot] = Some(Connection {
            key,
            stream,
            readable: false,
            ending: false,
            broken: false,
            paused: false,
            blocked: false,
            queued: false,
            finished: false,
            failed: None,
        });
        Some(key)
    }

    /// Serves those in `ready`, each once, up to the bounds of a turn; who has more goes to the end.
    fn serve_ready(&mut self, sink: &mut impl Sink) {
        let mut bytes = 0;
        for _ in 0..self.ready.len().min(TURN_EVENTS_MAX) {
            let Some(key) = self.ready.pop_front() else { return };
            bytes += self.serve(key, sink);
            if bytes >= TURN_READ_BYTES_MAX {
                return;
            }
        }
    }

    /// One read, or the end. Returns the bytes read.
    fn serve(&mut self, key: ConnKey, sink: &mut impl Sink) -> usize {
        let Some(connection) = find(&mut self.connections, key) else {
            return 0;
        };
        connection.queued = false;
        if let Some(why) = connection.failed {
            self.end(key, why, sink);
            return 0;
        }
        if connection.broken && (connection.paused || connection.finished) {
            // Nobody would read up to the error.
            let why = match connection.stream.take_error() {
                Ok(Some(error)) => why_ended(&error),
                Ok(None) | Err(_) => Ended::Reset,
            };
            self.end(key, why, sink);
            return 0;
        }
        if !connection.wants_service() {
            return 0;
        }
        match connection.receive(&mut self.buffer) {
            Ok(0) => {
                connection.finished = true;
                connection.readable = false;
                if connection.broken {
                    enqueue(&mut self.ready, connection);
                }
                sink.finished(key);
                0
            }
            Ok(len) => {
                connection.readable = len == self.buffer.len() || connection.ending;
                if connection.readable {
                    enqueue(&mut self.ready, connection);
                }
                sink.received(key, &mut self.buffer[..len]);
                len
            }
            Err(error) => {
                match error.kind() {
                    io::ErrorKind::WouldBlock => connection.readable = false,
                    io::ErrorKind::Interrupted => enqueue(&mut self.ready, connection),
                    _ => self.end(key, why_ended(&error), sink),
                }
                0
            }
        }
    }

    fn end(&mut self, key: ConnKey, why: Ended, sink: &mut impl Sink) {
        drop(self.take(key));
        self.accept_again = None;
        sink.ended(key, why);
    }

    fn take(&mut self, key: ConnKey) -> Option<Connection> {
        find(&mut self.connections, key)?;
        self.connections[key.slot()].take()
    }
}

impl Driver for Epoll {
    fn turn(&mut self, timeout: Option<Duration>, sink: &mut impl Sink) -> io::Result<()> {
        // mio rounds up to the milliseconds of epoll, so that no deadline is met early and then waited for in a spin.
        let timeout = self.patience(timeout);
        match self.poll.poll(&mut self.events, timeout) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        sink.woke(self.clock.now());
        self.take_events(sink);
        self.accept_waiting(sink);
        self.serve_ready(sink);
        Ok(())
    }

    fn send(&mut self, key: ConnKey, slice: &Slice) -> Option<usize> {
        let Some(connection) = find(&mut self.connections, key) else {
            return Some(0);
        };
        if connection.blocked || connection.failed.is_some() || slice.is_empty() {
            return Some(0);
        }
        let result = loop {
            match connection.transmit(slice) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        match result {
            Ok(len) => {
                connection.blocked = len < slice.len();
                Some(len)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                connection.blocked = true;
                Some(0)
            }
            Err(error) => {
                connection.failed = Some(why_ended(&error));
                enqueue(&mut self.ready, connection);
                Some(0)
            }
        }
    }

    fn pause(&mut self, key: ConnKey) {
        if let Some(connection) = find(&mut self.connections, key) {
            connection.paused = true;
        }
    }

    fn resume(&mut self, key: ConnKey) {
        if let Some(connection) = find(&mut self.connections, key) {
            connection.paused = false;
            if connection.wants_service() {
                enqueue(&mut self.ready, connection);
            }
        }
    }

    fn finish(&mut self, key: ConnKey) {
        if let Some(connection) = find(&mut self.connections, key) {
            // It fails only if the peer is gone, of which an edge tells.
            let _ = connection.stream.shutdown(net::Shutdown::Write);
        }
    }

    fn close(&mut self, key: ConnKey, reset: bool) {
        let Some(connection) = self.take(key) else { return };
        if reset {
            // If it fails, the connection is closed without a reset: there is nothing better to do.
            let _ = SockRef::from(&connection.stream).set_linger(Some(Duration::ZERO));
        }
        drop(connection);
        self.accept_again = None;
    }

    fn adopt(&mut self, fd: OwnedFd, listener: ListenerId, peer: SocketAddr, sink: &mut impl Sink) -> Option<ConnKey> {
        if let Err(error) = SockRef::from(&fd).set_nonblocking(true) {
            tracing::warn!("a connection cannot be adopted: {error}");
            return None;
        }
        self.install(TcpStream::from(fd), listener, peer, sink)
    }

    fn release(&mut self, key: ConnKey) -> Option<OwnedFd> {
        if find(&mut self.connections, key)?.failed.is_some() {
            // It has ended, and the next turn says so.
            return None;
        }
        let mut connection = self.take(key)?;
        if let Err(error) = self.poll.registry().deregister(&mut connection.stream) {
            tracing::warn!("a connection that is given away is still watched: {error}");
        }
        Some(OwnedFd::from(connection.stream))
    }

    fn accept(&mut self, on: bool) {
        self.accepting = on;
    }
}

impl Connection {
    // The system calls are made from here, not by the C library: to that they are points where a thread may be
    // cancelled, which costs some 20 ns each. And it is send(2), not write(2), which costs more.

    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.try_io(|| Ok(rustix::net::recv(&self.stream, buffer, RecvFlags::empty())?.0))
    }

    fn transmit(&self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.try_io(|| Ok(rustix::net::send(&self.stream, bytes, SendFlags::NOSIGNAL)?))
    }

    /// Whether a look at it would bring the sink something.
    fn wants_service(&self) -> bool {
        self.broken || (self.readable && !self.paused && !self.finished)
    }
}

fn find(connections: &mut [Option<Connection>], key: ConnKey) -> Option<&mut Connection> {
    connections.get_mut(key.slot())?.as_mut().filter(|connection| connection.key == key)
}

fn enqueue(ready: &mut VecDeque<ConnKey>, connection: &mut Connection) {
    if !connection.queued {
        connection.queued = true;
        ready.push_back(connection.key);
    }
}

/// What an error of a connection means.
pub(super) fn why_ended(error: &io::Error) -> Ended {
    match error.kind() {
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::NotConnected
        | io::ErrorKind::TimedOut
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::NetworkDown => Ended::Reset,
        _ => Ended::Failed,
    }
}
