//! The driver on io_uring: whatever can be asked for once is asked for once (all connections of a listener, all that a
//! connection receives), sends are collected and handed over once a turn, and bytes arrive in buffers that all share.
//!
//! An operation that is in flight refers to its socket by number, so a socket stays open until its operations are over:
//! [`close`](Driver::close) calls them back, and the connection waits among those that leave. By then its slot may have
//! another owner; completions carry the whole key, and find the right one.
//!
//! Nobody waits in the kernel with bytes to send: a send takes what fits at once. Who takes less is stuck, and the kernel
//! is asked for word of room alone, which holds no slice. Nobody who is paused receives: what the kernel had received
//! before it was told is held back here, which is at most what the shared buffers hold.

mod accepting;
mod buffers;
mod connection;
mod receiving;
mod ring;
mod setup;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;
use socket2::SockRef;

use self::accepting::Accepting;
use self::connection::{Connection, Leaving, Marks, find};
use self::receiving::{Budget, Received};
use self::ring::{Completion, Op, Ring, SLOTS_MAX};
use super::clock::Clock;
use super::driver::Wake;
use super::epoll::why_ended;
use crate::base::io::{Driver, Ended, Sink};
use crate::base::keys::{ConnKey, ListenerId};
use crate::base::limits::{TURN_ACCEPTS_MAX, TURN_EVENTS_MAX, TURN_READ_BYTES_MAX};
use crate::base::segment::Slice;

/// Connections whose operations are started in one turn.
const TURN_STARTS_MAX: usize = 4 * TURN_EVENTS_MAX;
/// How often `release` looks whether what is in flight has ended, and how long each time.
const RELEASE_TRIES: usize = 100;
const RELEASE_PATIENCE: Duration = Duration::from_millis(10);

/// Sockets of one event loop.
#[derive(Debug)]
pub struct Uring {
    // First, so that nothing is in flight any more when the rest is dropped.
    ring: Ring,
    clock: Clock,
    waker: Arc<Event>,
    /// The waker is watched.
    wakeable: bool,
    accepting: Accepting,
    /// By [`ConnKey::slot`].
    connections: Vec<Option<Connection>>,
    /// Closed, and waiting for their operations to end.
    leaving: HashMap<ConnKey, Leaving>,
    /// Received for those who are paused, and not told.
    held: HashMap<ConnKey, Vec<u8>>,
    /// Whose operations are to be started or called back before the next wait; stale keys among them find nobody.
    due: VecDeque<ConnKey>,
    /// Who has something for the sink that no completion will tell of.
    ready: VecDeque<ConnKey>,
    /// Received, but not in this turn: a turn is bounded, and so is a connection's share of it.
    later: VecDeque<Received>,
    /// Who has had a share of this turn.
    read: Vec<ConnKey>,
    /// The shared buffers did not suffice of late: who is to receive takes one at a time, in order, so that a few who
    /// send much do not have them all.
    short: bool,
}

#[derive(Debug)]
struct Event(OwnedFd);

impl Wake for Event {
    fn wake(&self) -> io::Result<()> {
        Ok(rustix::io::write(&self.0, &1_u64.to_ne_bytes()).map(drop)?)
    }
}

impl Uring {
    /// A driver without sockets. It belongs to the thread of its first turn.
    ///
    /// # Errors
    /// `Unsupported`, in words, if this kernel lacks what is needed; else what the operating system says.
    pub fn new(clock: Clock) -> io::Result<Uring> {
        Uring::with(Ring::new(&setup::TASK_RUNS)?, clock)
    }

    fn with(ring: Ring, clock: Clock) -> io::Result<Uring> {
        Ok(Uring {
            ring,
            clock,
            waker: Arc::new(Event(eventfd(0, EventfdFlags::CLOEXEC)?)),
            wakeable: false,
            accepting: Accepting::new(),
            connections: Vec::new(),
            leaving: HashMap::new(),
            held: HashMap::new(),
            due: VecDeque::new(),
            ready: VecDeque::new(),
            later: VecDeque::new(),
            read: Vec::new(),
            short: false,
        })
    }

    /// Accepts connections from `socket` as `id`.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn listen(&mut self, id: ListenerId, socket: TcpListener) -> io::Result<()> {
        // The kernel would not wait for connections of a socket that says not to.
        socket.set_nonblocking(false)?;
        self.accepting.listen(id, socket);
        Ok(())
    }

    /// Ends a [`turn`](Driver::turn) that waits, from any thread. A wake-up between two turns ends the next one.
    pub fn waker(&self) -> Arc<dyn Wake> {
        self.waker.clone()
    }

    /// Asks for all that is to be in flight, and calls back what is not.
    fn prepare(&mut self) {
        for key in self.read.drain(..) {
            if let Some(connection) = find(&mut self.connections, key) {
                connection.turn_bytes = 0;
                connection.marks.clear(Marks::READ);
            }
        }
        if !self.wakeable {
            self.wakeable = true;
            self.ring.wake(&self.waker.0);
        }
        self.accepting.arm(&mut self.ring, self.clock.now());
        for _ in 0..self.due.len().min(TURN_STARTS_MAX) {
            let Some(key) = self.due.pop_front() else { break };
            self.start(key);
        }
        self.short = false;
    }

    fn start(&mut self, key: ConnKey) {
        let Some(Connection { socket, marks, .. }) = find(&mut self.connections, key) else { return };
        marks.clear(Marks::DUE);
        let silent = marks.has(Marks::PAUSED | Marks::FINISHED);
        if marks.has(Marks::RECEIVES) {
            if marks.has(Marks::PAUSED) && !marks.has(Marks::CALLED_BACK) {
                marks.set(Marks::CALLED_BACK);
                self.ring.cancel(Op::Receive, key);
            }
        } else if silent {
            // Nobody reads up to an error.
            if !marks.has(Marks::WATCHED) {
                marks.set(Marks::WATCHED);
                self.ring.watch(key, socket);
            }
        } else if !marks.has(Marks::HOLDS) {
            marks.set(Marks::RECEIVES);
            self.ring.receive(key, socket, self.short);
        }
        if marks.has(Marks::BLOCKED) && !marks.has(Marks::WAITS_FOR_ROOM) {
            marks.set(Marks::WAITS_FOR_ROOM);
            self.ring.wait_for_room(key, socket);
        }
    }

    /// How long the turn may wait: not at all if there is work that no completion will tell of.
    fn patience(&self, timeout: Option<Duration>) -> Option<Duration> {
        let work = !self.ready.is_empty() || !self.later.is_empty() || !self.due.is_empty();
        if work || self.ring.has_completions() {
            return Some(Duration::ZERO);
        }
        match (timeout, self.accepting.patience(self.clock.now())) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    fn take_completions(&mut self, budget: &mut Budget, sink: &mut impl Sink) {
        // In the order in which they came: who stands here already comes first.
        for received in &self.later {
            if let Some(connection) = find(&mut self.connections, received.key) {
                connection.marks.clear(Marks::LATER);
            }
        }
        for _ in 0..self.later.len() {
            let Some(received) = self.later.pop_front() else { break };
            self.receive(received, budget, sink);
        }
        while let Some(completion) = self.ring.next() {
            match completion {
                Completion::Received { key, result, filled, last } => {
                    self.receive(Received { key, result, filled, last }, budget, sink);
                }
                Completion::Sent { key, asked, result } => self.sent(key, asked, result, sink),
                Completion::Room { key } => self.room(key, sink),
                Completion::Watched { key, broken, last } => self.watched(key, broken, last, sink),
                Completion::Accepted { listener, result, last } => {
                    self.accepting.accepted(listener, result, last, self.clock.now());
                }
                Completion::Woken { last } => self.wakeable &= !last,
                Completion::NotCancelled { op, key } => self.not_cancelled(op, key),
            }
        }
    }

    fn sent(&mut self, key: ConnKey, asked: usize, result: io::Result<usize>, sink: &mut impl Sink) {
        let Some(connection) = find(&mut self.connections, key) else {
            return self.left(key, Marks::SENDS);
        };
        connection.marks.clear(Marks::SENDS);
        let taken = match result {
            Ok(taken) => taken,
            Err(error) if is(&error, Errno::AGAIN) || is(&error, Errno::INTR) => 0,
            Err(error) => return self.end(key, why_ended(&error), sink),
        };
        if taken < asked {
            connection.marks.set(Marks::BLOCKED);
            enqueue(&mut self.due, Marks::DUE, connection, key);
        }
        if connection.marks.has(Marks::FIN_DUE) {
            connection.marks.clear(Marks::FIN_DUE);
            finish(connection);
        }
        sink.sent(key, taken);
    }

    fn room(&mut self, key: ConnKey, sink: &mut impl Sink) {
        let Some(connection) = find(&mut self.connections, key) else {
            return self.left(key, Marks::WAITS_FOR_ROOM);
        };
        connection.marks.clear(Marks::WAITS_FOR_ROOM | Marks::BLOCKED);
        sink.sent(key, 0);
    }

    fn watched(&mut self, key: ConnKey, broken: bool, last: bool, sink: &mut impl Sink) {
        let Some(connection) = find(&mut self.connections, key) else {
            if last {
                self.left(key, Marks::WATCHED);
            }
            return;
        };
        if last {
            connection.marks.clear(Marks::WATCHED);
            enqueue(&mut self.due, Marks::DUE, connection, key);
        }
        if broken {
            connection.marks.set(Marks::BROKEN);
            self.end_if_broken(key, sink);
        }
    }

    /// Ends a connection of whose error no receive will tell: it is paused, or its FIN was told. True if there was one.
    fn end_if_broken(&mut self, key: ConnKey, sink: &mut impl Sink) -> bool {
        let Some(connection) = find(&mut self.connections, key) else { return false };
        let marks = connection.marks;
        if !marks.has(Marks::BROKEN) || marks.has(Marks::RECEIVES) || !marks.has(Marks::PAUSED | Marks::FIN_TOLD) {
            return false;
        }
        let why = match SockRef::from(&connection.socket).take_error() {
            Ok(Some(error)) => why_ended(&error),
            Ok(None) | Err(_) => Ended::Reset,
        };
        self.end(key, why, sink);
        true
    }

    /// What was to be called back goes on, for the moment.
    fn not_cancelled(&mut self, op: Op, key: ConnKey) {
        if let Some(connection) = find(&mut self.connections, key) {
            if op == Op::Receive && connection.marks.has(Marks::CALLED_BACK) {
                connection.marks.clear(Marks::CALLED_BACK);
                enqueue(&mut self.due, Marks::DUE, connection, key);
            }
        } else if self.leaving.get(&key).is_some_and(|leaving| leaving.marks.has(mark_of(op))) {
            self.ring.cancel(op, key);
        }
    }

    /// Tells the sink of new connections, a bounded number.
    fn admit(&mut self, sink: &mut impl Sink) {
        for _ in 0..TURN_ACCEPTS_MAX {
            let Some((listener, socket)) = self.accepting.next() else { return };
            // Accepting many does not bring the addresses. Who has none is gone already.
            if let Some(peer) = SockRef::from(&socket).peer_addr().ok().and_then(|peer| peer.as_socket()) {
                self.install(socket, listener, peer, sink);
            }
        }
    }

    fn install(
        &mut self,
        socket: OwnedFd,
        listener: ListenerId,
        peer: SocketAddr,
        sink: &mut impl Sink,
    ) -> Option<ConnKey> {
        let key = sink.accepted(listener, peer)?;
        let slot = key.slot();
        assert!(slot < SLOTS_MAX, "no configuration allows so many connections");
        if self.connections.len() <= slot {
            self.connections.resize_with(slot + 1, || None);
        }
        // Whoever was there is closed: the sink has forgotten the connection, or would not have given the slot again.
        let connection = self.connections[slot].insert(Connection::new(key, socket));
        enqueue(&mut self.due, Marks::DUE, connection, key);
        Some(key)
    }

    fn end(&mut self, key: ConnKey, why: Ended, sink: &mut impl Sink) {
        if let Some(connection) = self.take(key) {
            self.leave(key, connection);
        }
        sink.ended(key, why);
    }

    fn take(&mut self, key: ConnKey) -> Option<Connection> {
        find(&mut self.connections, key)?;
        let connection = self.connections[key.slot()].take()?;
        if connection.marks.has(Marks::HOLDS) {
            self.held.remove(&key);
        }
        Some(connection)
    }

    /// Closes a socket when nothing of it is in flight any more. A send is not called back: it is over as soon as the
    /// kernel sees it.
    fn leave(&mut self, key: ConnKey, connection: Connection) {
        let Connection { socket, marks, .. } = connection;
        if !marks.has(Marks::IN_FLIGHT) {
            drop(socket);
            self.accepting.shortage_over();
            return;
        }
        for op in [Op::Receive, Op::Watch, Op::Room] {
            if marks.has(mark_of(op)) && !(op == Op::Receive && marks.has(Marks::CALLED_BACK)) {
                self.ring.cancel(op, key);
            }
        }
        self.leaving.insert(key, Leaving { socket, marks });
    }

    /// An operation of a connection that leaves is over.
    fn left(&mut self, key: ConnKey, mark: u16) {
        let Some(leaving) = self.leaving.get_mut(&key) else { return };
        leaving.marks.clear(mark);
        if !leaving.marks.has(Marks::IN_FLIGHT) {
            self.leaving.remove(&key);
            self.accepting.shortage_over();
        }
    }
}

impl Driver for Uring {
    fn turn(&mut self, timeout: Option<Duration>, sink: &mut impl Sink) -> io::Result<()> {
        self.prepare();
        let timeout = self.patience(timeout);
        self.ring.enter(timeout)?;
        sink.woke(self.clock.now());
        let mut budget = Budget { events: TURN_EVENTS_MAX, bytes: TURN_READ_BYTES_MAX };
        self.serve_ready(&mut budget, sink);
        self.take_completions(&mut budget, sink);
        self.admit(sink);
        Ok(())
    }

    fn send(&mut self, key: ConnKey, slice: &Slice) -> Option<usize> {
        let Some(connection) = find(&mut self.connections, key) else {
            return Some(0);
        };
        if connection.marks.has(Marks::BLOCKED | Marks::SENDS) || slice.is_empty() {
            return Some(0);
        }
        connection.marks.set(Marks::SENDS);
        self.ring.send(key, &connection.socket, slice.clone());
        None
    }

    fn pause(&mut self, key: ConnKey) {
        if let Some(connection) = find(&mut self.connections, key) {
            connection.marks.set(Marks::PAUSED);
            enqueue(&mut self.due, Marks::DUE, connection, key);
            if connection.marks.has(Marks::BROKEN) {
                enqueue(&mut self.ready, Marks::READY, connection, key);
            }
        }
    }

    fn resume(&mut self, key: ConnKey) {
        if let Some(connection) = find(&mut self.connections, key) {
            connection.marks.clear(Marks::PAUSED);
            enqueue(&mut self.due, Marks::DUE, connection, key);
            if connection.marks.has(Marks::HOLDS | Marks::FINISHED) {
                enqueue(&mut self.ready, Marks::READY, connection, key);
            }
        }
    }

    fn finish(&mut self, key: ConnKey) {
        if let Some(connection) = find(&mut self.connections, key) {
            if connection.marks.has(Marks::SENDS) {
                connection.marks.set(Marks::FIN_DUE);
            } else {
                finish(connection);
            }
        }
    }

    fn close(&mut self, key: ConnKey, reset: bool) {
        let Some(connection) = self.take(key) else { return };
        if reset {
            // If it fails, the connection is closed without a reset: there is nothing better to do.
            let _ = SockRef::from(&connection.socket).set_linger(Some(Duration::ZERO));
        }
        self.leave(key, connection);
    }

    fn adopt(&mut self, fd: OwnedFd, listener: ListenerId, peer: SocketAddr, sink: &mut impl Sink) -> Option<ConnKey> {
        // The kernel would not wait for bytes of a socket that says not to.
        if let Err(error) = SockRef::from(&fd).set_nonblocking(false) {
            tracing::warn!("a connection cannot be adopted: {error}");
            return None;
        }
        self.install(fd, listener, peer, sink)
    }

    /// Calls back what is in flight, and waits for that a little. `None` also while the sink has not got all that was
    /// received, or a send is in flight: what is not in the socket cannot be given away with it.
    fn release(&mut self, key: ConnKey) -> Option<OwnedFd> {
        let connection = find(&mut self.connections, key)?;
        if connection.marks.has(Marks::HOLDS | Marks::SENDS | Marks::LATER) {
            return None;
        }
        for op in [Op::Receive, Op::Watch, Op::Room] {
            if connection.marks.has(mark_of(op)) {
                self.ring.cancel(op, key);
            }
        }
        for _ in 0..RELEASE_TRIES {
            let connection = find(&mut self.connections, key)?;
            if !connection.marks.has(Marks::IN_FLIGHT) {
                break;
            }
            self.ring.enter(Some(RELEASE_PATIENCE)).ok()?;
            self.settle(key);
        }
        let connection = find(&mut self.connections, key)?;
        if connection.marks.has(Marks::IN_FLIGHT | Marks::HOLDS | Marks::BROKEN) {
            enqueue(&mut self.due, Marks::DUE, connection, key);
            enqueue(&mut self.ready, Marks::READY, connection, key);
            return None;
        }
        Some(self.take(key)?.socket)
    }

    fn accept(&mut self, on: bool) {
        self.accepting.switch(on);
    }
}

fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno.raw_os_error())
}

/// Our FIN.
fn finish(connection: &Connection) {
    // It fails only if the peer is gone, of which a completion tells.
    let _ = SockRef::from(&connection.socket).shutdown(std::net::Shutdown::Write);
}

fn enqueue(queue: &mut VecDeque<ConnKey>, mark: u16, connection: &mut Connection, key: ConnKey) {
    if !connection.marks.has(mark) {
        connection.marks.set(mark);
        queue.push_back(key);
    }
}

/// What says that an operation of a connection is in flight.
fn mark_of(op: Op) -> u16 {
    match op {
        Op::Receive => Marks::RECEIVES,
        Op::Watch => Marks::WATCHED,
        Op::Room => Marks::WAITS_FOR_ROOM,
        Op::Send => Marks::SENDS,
        // These are not a connection's.
        Op::Accept | Op::Wake => 0,
    }
}

#[cfg(test)]
mod tests;
