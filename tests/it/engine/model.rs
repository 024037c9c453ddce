//! The naive model of the random ops: every state that there ever was.

use tallycast::engine::{ChannelName, ClassId, Epoch, Position};

#[cfg(feature = "faults")]
use super::FAULT;
use super::{ECHO, HISTORY, LOG, OPTIONS, POLL, ROOM, SAVED, SAVED_LOG};

pub(super) const CHANNELS: &[(&str, ClassId)] = &[
    ("log", LOG),
    ("poll", POLL),
    ("saved", SAVED),
    ("saved/log", SAVED_LOG),
    ("room/1", ROOM),
    ("room/2", ROOM),
    ("room/3", ROOM),
    ("echo", ECHO),
    #[cfg(feature = "faults")]
    ("fault", FAULT),
];

/// All states that a channel had in one life, by revision; what changed is a text for a log and an option for a tally.
#[derive(Default)]
pub(super) struct Life {
    pub(super) channel: usize,
    pub(super) epoch: Option<Epoch>,
    pub(super) changes: Vec<String>,
    /// Ranges, and whether the last may still grow.
    pub(super) publications: Vec<(u64, u64)>,
    pub(super) open: bool,
    pub(super) saved: u64,
}

impl Life {
    pub(super) fn revision(&self) -> u64 {
        self.changes.len() as u64
    }

    /// Naive: counted from the start.
    pub(super) fn count(&self, option: &str, revision: u64) -> u64 {
        let changes = &self.changes[..revision as usize];
        changes.iter().filter(|change| *change == option).count() as u64
    }

    pub(super) fn recent(&self, since: Option<Position>) -> Vec<(u64, u64)> {
        let kept = &self.publications[self.publications.len().saturating_sub(HISTORY)..];
        let Some(since) = since.filter(|since| Some(since.epoch) == self.epoch && since.revision <= self.revision())
        else {
            return kept.to_vec();
        };
        let missed = self.publications.iter().copied();
        let missed: Vec<_> = missed.filter(|(_, last)| *last > since.revision).collect();
        if missed.len() <= kept.len() { missed } else { kept.to_vec() }
    }
}

pub(super) fn check_counts(life: &Life, counts: &[u64], revision: u64) {
    let expected: Vec<u64> = OPTIONS.iter().map(|option| life.count(option, revision)).collect();
    assert_eq!(counts, expected, "at revision {revision}");
}

pub(super) fn channel_of(name: &ChannelName) -> usize {
    let channel = CHANNELS.iter().position(|(channel, _)| *channel == &**name);
    channel.expect("one of ours")
}

pub(super) fn is_durable(channel: usize) -> bool {
    [SAVED, SAVED_LOG].contains(&CHANNELS[channel].1)
}

pub(super) fn is_tally(channel: usize) -> bool {
    [POLL, SAVED, ROOM].contains(&CHANNELS[channel].1)
}
