//! What was received: passed on, left for the next turn, or held back for who is paused.

use std::io;

use rustix::io::Errno;

use super::buffers::{BUFFER_BYTES, Filled};
use super::connection::{Connection, Marks, find};
use super::ring::Completion;
use super::{Uring, enqueue, is, mark_of};
use crate::base::io::Sink;
use crate::base::keys::ConnKey;
use crate::base::limits::READ_BYTES_MAX;
use crate::net::epoll::why_ended;

/// At this many bytes of one connection in a turn, the rest is for the next: so that one more piece fits into one read's
/// worth, which is what a sink holds back if it must.
const SHARE_BYTES: usize = READ_BYTES_MAX - BUFFER_BYTES;

/// A piece that was received, or the end.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) key: ConnKey,
    pub(super) result: io::Result<usize>,
    pub(super) filled: Option<Filled>,
    pub(super) last: bool,
}

/// What a turn may still read.
pub(super) struct Budget {
    pub(super) events: usize,
    pub(super) bytes: usize,
}

impl Uring {
    /// Passes on a piece that was received, holds it back, or leaves it for later. Once a piece of a connection is left
    /// for later, all that follow in this turn are.
    pub(super) fn receive(&mut self, received: Received, budget: &mut Budget, sink: &mut impl Sink) {
        let key = received.key;
        let Some(connection) = find(&mut self.connections, key) else {
            self.ring.give_back(received.filled);
            if received.last {
                self.left(key, Marks::RECEIVES);
            }
            return;
        };
        let no_room = matches!(&received.result, Err(error) if is(error, Errno::NOBUFS));
        self.short |= no_room;
        // That costs the sink nothing, and who waits for a buffer should not wait for a turn, too.
        let spent = !no_room && (budget.is_spent() || usize::from(connection.turn_bytes) > SHARE_BYTES);
        if spent || connection.marks.has(Marks::LATER) {
            connection.marks.set(Marks::LATER);
            self.later.push_back(received);
            return;
        }
        budget.events = budget.events.saturating_sub(1);
        if received.last {
            connection.marks.clear(Marks::RECEIVES | Marks::CALLED_BACK);
            enqueue(&mut self.due, Marks::DUE, connection, key);
        }
        match received.result {
            Ok(0) => {
                self.ring.give_back(received.filled);
                connection.marks.set(Marks::FINISHED);
                if !connection.marks.has(Marks::PAUSED | Marks::HOLDS) {
                    self.tell_fin(key, sink);
                }
            }
            Ok(_) => {
                let Some(filled) = received.filled else { return };
                let bytes = self.ring.bytes(&filled);
                if connection.marks.has(Marks::PAUSED | Marks::HOLDS) {
                    connection.marks.set(Marks::HOLDS);
                    self.held.entry(key).or_default().extend_from_slice(bytes);
                } else {
                    take_share(&mut self.read, connection, key, bytes.len());
                    budget.bytes = budget.bytes.saturating_sub(bytes.len());
                    sink.received(key, bytes);
                }
                self.ring.give_back(Some(filled));
            }
            Err(error) => {
                self.ring.give_back(received.filled);
                if !passes(&error) {
                    self.end(key, why_ended(&error), sink);
                }
            }
        }
    }

    /// Serves those in `ready`, each once, up to the bounds of a turn; who has more goes to the end.
    pub(super) fn serve_ready(&mut self, budget: &mut Budget, sink: &mut impl Sink) {
        for _ in 0..self.ready.len() {
            if budget.is_spent() {
                return;
            }
            let Some(key) = self.ready.pop_front() else { return };
            let Some(connection) = find(&mut self.connections, key) else { continue };
            connection.marks.clear(Marks::READY);
            budget.events -= 1;
            if self.end_if_broken(key, sink) {
                continue;
            }
            self.tell_held(key, budget, sink);
        }
    }

    /// Passes on what was held back for a connection that is read from again, as much as a read's worth.
    fn tell_held(&mut self, key: ConnKey, budget: &mut Budget, sink: &mut impl Sink) {
        let Some(connection) = find(&mut self.connections, key) else { return };
        if connection.marks.has(Marks::PAUSED) {
            return;
        }
        if let Some(held) = self.held.get_mut(&key) {
            let len = held.len().min(READ_BYTES_MAX);
            take_share(&mut self.read, connection, key, len);
            budget.bytes = budget.bytes.saturating_sub(len);
            sink.received(key, &mut held[..len]);
            held.drain(..len);
            if !held.is_empty() {
                return enqueue(&mut self.ready, Marks::READY, connection, key);
            }
            self.held.remove(&key);
            connection.marks.clear(Marks::HOLDS);
        }
        enqueue(&mut self.due, Marks::DUE, connection, key);
        if connection.marks.has(Marks::FINISHED) && !connection.marks.has(Marks::FIN_TOLD) {
            self.tell_fin(key, sink);
        }
    }

    fn tell_fin(&mut self, key: ConnKey, sink: &mut impl Sink) {
        let Some(connection) = find(&mut self.connections, key) else { return };
        connection.marks.set(Marks::FIN_TOLD);
        if connection.marks.has(Marks::BROKEN) {
            enqueue(&mut self.ready, Marks::READY, connection, key);
        }
        sink.finished(key);
    }

    /// Takes note of what has ended of a connection that is to be released; nothing is told to the sink yet.
    pub(super) fn settle(&mut self, key: ConnKey) {
        for completion in self.ring.take_of(key) {
            let Some(connection) = find(&mut self.connections, key) else { return };
            let marks = &mut connection.marks;
            match completion {
                Completion::Received { result, filled, last, .. } => {
                    if last {
                        marks.clear(Marks::RECEIVES | Marks::CALLED_BACK);
                    }
                    // A FIN is found again by who takes the socket; so is an error, except one that is told only once.
                    match (result, &filled) {
                        (Ok(len), Some(filled)) if len > 0 => {
                            marks.set(Marks::HOLDS);
                            self.held.entry(key).or_default().extend_from_slice(self.ring.bytes(filled));
                        }
                        (Ok(_), _) => {}
                        (Err(error), _) if passes(&error) => {}
                        (Err(_), _) => marks.set(Marks::BROKEN | Marks::PAUSED),
                    }
                    self.ring.give_back(filled);
                }
                Completion::Room { .. } => marks.clear(Marks::WAITS_FOR_ROOM),
                Completion::Watched { last, .. } if last => marks.clear(Marks::WATCHED),
                Completion::NotCancelled { op, .. } if marks.has(mark_of(op)) => self.ring.cancel(op, key),
                Completion::Watched { .. }
                | Completion::NotCancelled { .. }
                | Completion::Sent { .. }
                | Completion::Accepted { .. }
                | Completion::Woken { .. } => {}
            }
        }
    }
}

/// All buffers were in use, or we have called it back: it is due again, if it is wanted.
fn passes(error: &io::Error) -> bool {
    [Errno::NOBUFS, Errno::CANCELED, Errno::INTR, Errno::AGAIN].iter().any(|errno| is(error, *errno))
}

impl Budget {
    fn is_spent(&self) -> bool {
        self.events == 0 || self.bytes == 0
    }
}

fn take_share(read: &mut Vec<ConnKey>, connection: &mut Connection, key: ConnKey, len: usize) {
    connection.turn_bytes = connection.turn_bytes.saturating_add(u16::try_from(len).unwrap_or(u16::MAX));
    if !connection.marks.has(Marks::READ) {
        connection.marks.set(Marks::READ);
        read.push(key);
    }
}
