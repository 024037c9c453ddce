//! Which driver moves the bytes, and what the loops need of any.

use std::fmt;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;

use super::clock::Clock;
use super::epoll::Epoll;
use super::uring::Uring;
use crate::base::io::Driver;
use crate::base::keys::ListenerId;

/// A driver that a server can be built with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DriverKind {
    /// [`Epoll`].
    Epoll,
    /// [`Uring`].
    Uring,
}

impl DriverKind {
    /// As in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            DriverKind::Epoll => "epoll",
            DriverKind::Uring => "uring",
        }
    }

    /// Whether this kernel can do it.
    ///
    /// # Errors
    /// What it lacks, in words.
    pub fn probe(self) -> io::Result<()> {
        match self {
            DriverKind::Epoll => Ok(()),
            DriverKind::Uring => Uring::new(Clock::new()).map(drop),
        }
    }
}

impl fmt::Display for DriverKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A driver over sockets. It comes into being on one thread, and from its first turn on it stays on the loop's.
pub trait SocketDriver: Driver + fmt::Debug + Send + Sized + 'static {
    /// Which it is.
    const KIND: DriverKind;

    /// One without sockets.
    ///
    /// # Errors
    /// What the operating system does not give.
    fn open(clock: Clock) -> io::Result<Self>;

    /// Accepts connections from `socket` as `id`.
    ///
    /// # Errors
    /// What the operating system says.
    fn listen(&mut self, id: ListenerId, socket: TcpListener) -> io::Result<()>;

    /// Ends a turn that waits, from any thread. A wake-up between two turns ends the next one.
    fn waker(&self) -> Arc<dyn Wake>;
}

/// Wakes a loop.
pub trait Wake: fmt::Debug + Send + Sync {
    /// From any thread.
    ///
    /// # Errors
    /// What the operating system says.
    fn wake(&self) -> io::Result<()>;
}

impl SocketDriver for Epoll {
    const KIND: DriverKind = DriverKind::Epoll;

    fn open(clock: Clock) -> io::Result<Epoll> {
        Epoll::new(clock)
    }

    fn listen(&mut self, id: ListenerId, socket: TcpListener) -> io::Result<()> {
        Epoll::listen(self, id, socket)
    }

    fn waker(&self) -> Arc<dyn Wake> {
        Epoll::waker(self)
    }
}

impl SocketDriver for Uring {
    const KIND: DriverKind = DriverKind::Uring;

    fn open(clock: Clock) -> io::Result<Uring> {
        Uring::new(clock)
    }

    fn listen(&mut self, id: ListenerId, socket: TcpListener) -> io::Result<()> {
        Uring::listen(self, id, socket)
    }

    fn waker(&self) -> Arc<dyn Wake> {
        Uring::waker(self)
    }
}

impl Wake for mio::Waker {
    fn wake(&self) -> io::Result<()> {
        mio::Waker::wake(self)
    }
}

#[cfg(test)]
pub(in crate::net) use tests::{over_each_driver, works_here};

#[cfg(test)]
pub(in crate::net) mod tests;
