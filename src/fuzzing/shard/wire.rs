//! A driver whose sends go as the fuzzer says: taken whole, cut short, or answered later.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::base::io::{Driver, Sink};
use crate::base::keys::{ConnKey, ListenerId};
use crate::base::segment::Slice;

/// How the next sends go.
#[derive(Clone, Copy, Debug)]
pub(super) enum Plan {
    /// Taken whole.
    Whole,
    /// So many bytes are taken, and more only when the peer reads.
    Short(u8),
    /// Answered later.
    Later,
}

/// One connection as the network has it.
#[derive(Default, Debug)]
pub(super) struct Line {
    /// What has arrived at the peer.
    pub(super) got: Vec<u8>,
    pub(super) sending: Sending,
    pub(super) paused: bool,
    pub(super) finished: bool,
}

#[derive(Default, Debug)]
pub(super) enum Sending {
    /// A send may come.
    #[default]
    Free,
    /// The last one was cut short.
    Full,
    /// One is under way.
    UnderWay(Slice),
}

/// All connections of one core.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) lines: BTreeMap<ConnKey, Line>,
    /// What arrived at peers whose connection is closed.
    pub(super) closed: BTreeMap<ConnKey, Vec<u8>>,
    pub(super) plan: Plan,
}

impl Wire {
    pub(super) fn new() -> Wire {
        Wire { lines: BTreeMap::new(), closed: BTreeMap::new(), plan: Plan::Whole }
    }

    /// The peer reads: what is to be told of it, if a send waited.
    pub(super) fn go_on(&mut self, key: ConnKey, len: usize) -> Option<usize> {
        let line = self.lines.get_mut(&key)?;
        match std::mem::take(&mut line.sending) {
            Sending::Free => None,
            Sending::Full => Some(0),
            Sending::UnderWay(slice) => {
                let len = len.min(slice.len());
                line.got.extend_from_slice(&slice[..len]);
                Some(len)
            }
        }
    }

    pub(super) fn close_line(&mut self, key: ConnKey) {
        if let Some(line) = self.lines.remove(&key) {
            self.closed.insert(key, line.got);
        }
    }
}

impl Driver for Wire {
    fn turn(&mut self, _: Option<Duration>, _: &mut impl Sink) -> io::Result<()> {
        Ok(())
    }

    fn send(&mut self, key: ConnKey, slice: &Slice) -> Option<usize> {
        let line = self.lines.get_mut(&key).expect("nothing is sent on a connection that is gone");
        assert!(!line.finished, "nothing is sent behind our FIN");
        assert!(matches!(line.sending, Sending::Free), "one send at a time");
        assert!(!slice.is_empty(), "something is sent");
        match self.plan {
            Plan::Whole => {
                line.got.extend_from_slice(slice);
                Some(slice.len())
            }
            Plan::Short(len) => {
                let len = usize::from(len).min(slice.len());
                line.got.extend_from_slice(&slice[..len]);
                if len < slice.len() {
                    line.sending = Sending::Full;
                }
                Some(len)
            }
            Plan::Later => {
                line.sending = Sending::UnderWay(slice.clone());
                None
            }
        }
    }

    fn pause(&mut self, key: ConnKey) {
        if let Some(line) = self.lines.get_mut(&key) {
            line.paused = true;
        }
    }

    fn resume(&mut self, key: ConnKey) {
        if let Some(line) = self.lines.get_mut(&key) {
            line.paused = false;
        }
    }

    fn finish(&mut self, key: ConnKey) {
        if let Some(line) = self.lines.get_mut(&key) {
            assert!(matches!(line.sending, Sending::Free), "all is sent before our FIN");
            line.finished = true;
        }
    }

    fn close(&mut self, key: ConnKey, _reset: bool) {
        self.close_line(key);
    }

    fn adopt(&mut self, _: OwnedFd, _: ListenerId, _: SocketAddr, _: &mut impl Sink) -> Option<ConnKey> {
        None
    }

    fn release(&mut self, _: ConnKey) -> Option<OwnedFd> {
        None
    }

    fn accept(&mut self, _: bool) {}
}
