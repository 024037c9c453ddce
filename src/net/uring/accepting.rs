//! Listeners: one operation accepts all connections of one, and what it brings waits here for its turn.

use std::collections::VecDeque;
use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;

use super::ring::Ring;
use crate::base::keys::ListenerId;
use crate::base::limits::TURN_ACCEPTS_MAX;
use crate::base::time::Time;
use crate::net::epoll::ACCEPT_REST;

/// Connections that wait to be told: at this many the kernel is asked to accept no more. What it accepted before it
/// hears of that comes on top, at most its queue of completions.
const ARRIVED_MAX: usize = 4 * TURN_ACCEPTS_MAX;

#[derive(Debug)]
pub(super) struct Accepting {
    listeners: Vec<Listening>,
    /// Accepted by the kernel and not told yet.
    arrived: VecDeque<(ListenerId, OwnedFd)>,
    on: bool,
    /// Set while the system has no room for a connection: not to be tried before.
    again: Option<Time>,
    /// Whether that was said already: once, and again only after a connection was accepted.
    shortage_told: bool,
}

#[derive(Debug)]
struct Listening {
    id: ListenerId,
    socket: TcpListener,
    armed: bool,
    called_back: bool,
}

impl Accepting {
    pub(super) fn new() -> Accepting {
        Accepting { listeners: Vec::new(), arrived: VecDeque::new(), on: true, again: None, shortage_told: false }
    }

    pub(super) fn listen(&mut self, id: ListenerId, socket: TcpListener) {
        self.listeners.push(Listening { id, socket, armed: false, called_back: false });
    }

    pub(super) fn switch(&mut self, on: bool) {
        self.on = on;
    }

    /// There is room again, perhaps.
    pub(super) fn shortage_over(&mut self) {
        self.again = None;
    }

    /// Has the kernel accept, or stop it.
    pub(super) fn arm(&mut self, ring: &mut Ring, now: Time) {
        if self.again.is_some_and(|again| again <= now) {
            self.again = None;
        }
        let wanted = self.on && self.again.is_none() && self.arrived.len() < ARRIVED_MAX;
        for (number, listening) in self.listeners.iter_mut().enumerate() {
            if wanted && !listening.armed {
                listening.armed = true;
                ring.accept(number, &listening.socket);
            } else if !wanted && listening.armed && !listening.called_back {
                listening.called_back = true;
                ring.cancel_accept(number);
            }
        }
    }

    /// The kernel has accepted a connection, or could not. At a shortage of the system's (EMFILE, ENFILE, ENOMEM, ..)
    /// the rest stay in the listeners' queues for a while.
    pub(super) fn accepted(&mut self, number: usize, result: io::Result<OwnedFd>, last: bool, now: Time) {
        let listening = &mut self.listeners[number];
        if last {
            (listening.armed, listening.called_back) = (false, false);
        }
        match result {
            Ok(socket) => {
                self.shortage_told = false;
                self.arrived.push_back((listening.id, socket));
            }
            Err(error) if passes(&error) => {}
            Err(error) => {
                self.again = Some(now + ACCEPT_REST);
                if !self.shortage_told {
                    self.shortage_told = true;
                    tracing::warn!("no new connections for the moment: {error}");
                }
            }
        }
    }

    /// The next that waits to be told, if any may be.
    pub(super) fn next(&mut self) -> Option<(ListenerId, OwnedFd)> {
        if self.on { self.arrived.pop_front() } else { None }
    }

    /// How long nothing need be done here. `None`: no matter how long.
    pub(super) fn patience(&self, now: Time) -> Option<Duration> {
        if !self.on {
            return None;
        }
        if !self.arrived.is_empty() {
            return Some(Duration::ZERO);
        }
        self.again.filter(|_| !self.listeners.is_empty()).map(|again| again.since(now))
    }
}

/// The peer gave up while it waited, a signal came, or we have called it back.
fn passes(error: &io::Error) -> bool {
    let passes = [Errno::CONNABORTED, Errno::INTR, Errno::CANCELED, Errno::AGAIN];
    passes.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}
