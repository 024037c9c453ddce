//! The I/O wall: completion-shaped, because readiness (epoll) can play completions and not the reverse.
//!
//! A [`Driver`] moves bytes between sockets and a [`Sink`]; it knows nothing of what they mean. The traits stand here,
//! left of both sides, so that a shard can be flushed into any driver without knowing one.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use super::keys::{ConnKey, ListenerId};
use super::segment::Slice;
use super::time::Time;

/// Why a connection ended without our asking.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// The peer reset it, or the network said that it is gone.
    Reset,
    /// The operating system refused to go on (anything else than a reset).
    Failed,
}

/// Who takes what a driver brings.
pub trait Sink {
    /// A turn has stopped waiting, and brings what happened. This is the time now: without it a sink that slept would
    /// set its deadlines from when it fell asleep.
    fn woke(&mut self, now: Time);
    /// A connection arrived. `None` refuses it: the driver closes it at once.
    fn accepted(&mut self, listener: ListenerId, peer: SocketAddr) -> Option<ConnKey>;
    /// Bytes arrived; they may be changed in place and are gone when this returns.
    fn received(&mut self, key: ConnKey, bytes: &mut [u8]);
    /// A send that was answered by `None`, or cut short, goes on: `len` more bytes are taken, and another send may follow.
    fn sent(&mut self, key: ConnKey, len: usize);
    /// The peer sends no more (its FIN).
    fn finished(&mut self, key: ConnKey);
    /// The connection is gone; the key is stale for the driver.
    fn ended(&mut self, key: ConnKey, why: Ended);
}

/// Moves bytes. Every key is one that the sink made in [`Sink::accepted`]; a stale one does nothing.
pub trait Driver {
    /// Waits up to `timeout` (`None`: until something happens), then brings a bounded amount of what did to `sink`.
    fn turn(&mut self, timeout: Option<Duration>, sink: &mut impl Sink) -> io::Result<()>;
    /// Sends. `Some(n)`: n bytes are taken, and if these are fewer than all, [`Sink::sent`] tells when to go on.
    /// `None`: the driver keeps a clone of the slice, and [`Sink::sent`] tells how many were taken.
    /// One send in flight per connection.
    fn send(&mut self, key: ConnKey, slice: &Slice) -> Option<usize>;
    /// Stops reading from the peer: this holds it back.
    fn pause(&mut self, key: ConnKey);
    /// Reads again.
    fn resume(&mut self, key: ConnKey);
    /// Our FIN: nothing more will be sent.
    fn finish(&mut self, key: ConnKey);
    /// Closes, at once if `reset` (RST: what was not delivered is dropped). No `ended` follows.
    fn close(&mut self, key: ConnKey, reset: bool);
    /// Takes a connection that another loop accepted.
    fn adopt(&mut self, fd: OwnedFd, listener: ListenerId, peer: SocketAddr, sink: &mut impl Sink) -> Option<ConnKey>;
    /// Gives a connection away; the key is stale from now on.
    fn release(&mut self, key: ConnKey) -> Option<OwnedFd>;
    /// Accepts new connections, or leaves them waiting in the listeners' queues.
    fn accept(&mut self, on: bool);
}
