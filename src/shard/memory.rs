//! The memory of a core's send logs, all together: bounded by passing those who lag behind in the longest.

use super::Shard;
use super::delivery::LogReaders;
use crate::base::keys::MirrorKey;
use crate::mirror::Mirror;

/// What the logs of a core hold, from above: counted now and then, and what they have grown by since. What they gave back
/// meanwhile shows when they are counted again, so that keeping this costs nothing but at an append.
#[derive(Debug, Default)]
pub(super) struct LogMemory {
    bytes_at_most: usize,
}

impl LogMemory {
    /// The logs of a mirror may have grown since they held `before` bytes.
    pub(super) fn grew(&mut self, before: usize, mirror: &Mirror) {
        self.bytes_at_most += mirror.log_bytes().saturating_sub(before);
    }
}

impl Shard {
    /// If the logs hold more than they may, passes laggards, the longest logs first, and only if that does not do those
    /// whom the present round has not visited, until they hold three quarters of it.
    pub(super) fn trim_logs(&mut self) {
        let bytes_max = self.limits().logs_bytes_max;
        if self.log_memory.bytes_at_most <= bytes_max {
            return;
        }
        let mut held: usize = self.mirrors.iter().map(|(_, mirror)| mirror.log_bytes()).sum();
        if held > bytes_max {
            for everyone in [false, true] {
                for (bytes, mirror, log) in self.longest_logs() {
                    if held > bytes_max / 4 * 3 {
                        held -= bytes - self.release_log(mirror, log, everyone);
                    }
                }
            }
        }
        self.log_memory.bytes_at_most = held;
    }

    /// All logs that hold something: how much, and which.
    fn longest_logs(&self) -> Vec<(usize, MirrorKey, u8)> {
        let logs = |(key, mirror): (MirrorKey, &Mirror)| {
            let bytes = mirror.logs.iter().map(|encoded| encoded.log.bytes());
            bytes.enumerate().map(move |(log, bytes)| (bytes, key, log as u8)).collect::<Vec<_>>()
        };
        let mut longest: Vec<_> = self.mirrors.iter().flat_map(logs).filter(|(bytes, ..)| *bytes > 0).collect();
        longest.sort_unstable_by(|one, other| other.cmp(one));
        longest
    }

    /// Passes who is behind in a log. Returns what it holds then.
    fn release_log(&mut self, key: MirrorKey, log: u8, everyone: bool) -> usize {
        let fate = self.fate(key, log);
        let Some(mirror) = self.mirrors.get_mut(key) else {
            return 0;
        };
        let mut readers = LogReaders { conns: &mut self.conns, mirror: key, log };
        let encoded = &mut mirror.logs[usize::from(log)];
        let passed = encoded.log.release(everyone, fate, &mut readers);
        let bytes = encoded.log.bytes();
        for passed in passed {
            self.passed(passed, key, log, fate);
        }
        bytes
    }
}
