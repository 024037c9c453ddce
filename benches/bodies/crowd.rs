//! A send log with many subscribers, and a driver that takes everything.

#![allow(dead_code, reason = "benches, tests and examples each use their part of it")]

use tallycast::base::keys::{ConnKey, OfConnection, Slots};
use tallycast::base::segment::Slice;
use tallycast::mirror::sendlog::{Deliver, Place, Readers, SendLog};

/// A frame with a text of 32 bytes.
pub(crate) const MESSAGE: [u8; 34] = *b"\x81\x20a message of thirty-two bytes...";
/// Sends of a slice of a round, as the shard has it.
pub(crate) const SENDS_MAX: usize = 56;

/// Takes everything.
#[derive(Debug, Default)]
pub(crate) struct Taker {
    /// Bytes that were taken.
    pub(crate) bytes: u64,
    /// Sends.
    pub(crate) sends: u64,
}

impl Readers for Taker {
    fn moved(&mut self, _: ConnKey, _: Place) {}

    fn in_flight(&self, _: ConnKey) -> usize {
        0
    }
}

impl Deliver for Taker {
    fn send(&mut self, conn: ConnKey, slice: &Slice) -> Option<usize> {
        std::hint::black_box(conn);
        self.bytes += slice.len() as u64;
        self.sends += 1;
        Some(slice.len())
    }

    fn stuck(&mut self, _: ConnKey, _: Option<usize>) {}
}

/// A log with so many subscribers.
pub(crate) fn log_of(subscribers: usize) -> SendLog {
    let mut keys: Slots<OfConnection, ()> = Slots::default();
    let mut log = SendLog::default();
    for _ in 0..subscribers {
        log.join(keys.insert(()));
    }
    log
}

/// Publishes and delivers.
pub(crate) fn round(log: &mut SendLog, messages: usize, taker: &mut Taker) {
    for _ in 0..messages {
        log.append(&MESSAGE);
    }
    while log.has_round() {
        log.round(SENDS_MAX, taker);
    }
}
