//! One core's whole state as a value without I/O, clock, randomness or threads.

use std::net::SocketAddr;
use std::time::Duration;

use crate::base::hash::Seed;
use crate::base::io::{Driver, Ended, Sink};
use crate::base::keys::{ConnKey, CoreId, ListenerId};
use crate::base::time::Time;
use crate::engine::{Batch, EngineMail};
use crate::route::SharedSetup;

/// What a shard gets besides bytes and time.
#[derive(Debug)]
pub enum Mail {
    /// From the engine.
    Engine(EngineMail),
    /// From another core: a request for a session that lives here (to come).
    Request(()),
    /// From another core: the response to a request that was forwarded from here (to come).
    Response(()),
}

/// What a shard sends besides bytes.
#[derive(Debug)]
pub enum Post {
    /// To the engine.
    Engine(Batch),
    /// To another core: all that it gets from this turn.
    Core(CoreId, Vec<Mail>),
}

/// One core.
#[derive(Debug)]
pub struct Shard {}

impl Shard {
    /// An empty shard. `cores`: how many there are in all. `unix`: what the wall clock said at [`Time::ZERO`], since 1970.
    pub fn new(_setup: SharedSetup, _core: CoreId, _cores: u16, _seed: Seed, _now: Time, _unix: Duration) -> Shard {
        Shard {}
    }

    /// Takes a piece of mail.
    pub fn mail(&mut self, _mail: Mail) {}

    /// The inbox had no room, and publications were dropped: every mirror attaches anew.
    pub fn inbox_overflowed(&mut self) {}

    /// Lets time pass, and answers reads. Returns when it wants to be called again at the latest.
    pub fn advance(&mut self, _now: Time) -> Option<Time> {
        None
    }

    /// Sends, a bounded amount. True if there is more to send at once: the loop must not wait.
    pub fn flush(&mut self, _driver: &mut impl Driver) -> bool {
        false
    }

    /// Hands out what is for others. What `post` gives back had no room: it is kept, and reading pauses until it has gone.
    pub fn take_mail(&mut self, _post: impl FnMut(Post) -> Result<(), Post>) {}

    /// Ends in order: no new connections, 1001 to WebSockets, parked polls answered, and what is left cut after a while.
    pub fn stop(&mut self) {}

    /// Whether everything has ended since [`stop`](Shard::stop).
    pub fn is_stopped(&self) -> bool {
        true
    }
}

impl Sink for Shard {
    fn accepted(&mut self, _listener: ListenerId, _peer: SocketAddr) -> Option<ConnKey> {
        None
    }
    fn received(&mut self, _key: ConnKey, _bytes: &mut [u8]) {}
    fn sent(&mut self, _key: ConnKey, _len: usize) {}
    fn finished(&mut self, _key: ConnKey) {}
    fn ended(&mut self, _key: ConnKey, _why: Ended) {}
}
