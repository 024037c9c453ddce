//! A subscriber that reads nothing for long, and then all that is there.

use std::collections::BTreeMap;

use serde::Serialize;

/// What one of them has got.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Sleeper {
    /// The number that comes next.
    next: Option<u32>,
    /// A notice said that something is missing here.
    is_warned: bool,
    /// The snapshot of joining has come.
    is_begun: bool,
    pub(super) messages: u64,
    gap_notices: u64,
    missing: u64,
    silent_gaps: u64,
    doubled: u64,
    /// How its connection ended, if it did.
    pub(super) ended: Option<String>,
}

impl Sleeper {
    /// It came when so many messages had been published.
    pub(super) fn joined(&mut self, published: u32) {
        self.next = Some(published);
    }

    /// A notice of a gap came.
    pub(super) fn warned(&mut self) {
        self.gap_notices += 1;
        self.is_warned = true;
    }

    /// The state came: on joining, or because what was between is gone.
    pub(super) fn snapshot(&mut self) {
        if std::mem::replace(&mut self.is_begun, true) {
            self.warned();
        }
    }

    /// A message came.
    pub(super) fn received(&mut self, sequence: u32) {
        let next = self.next.unwrap_or(sequence);
        if sequence < next {
            self.doubled += 1;
            return;
        }
        self.messages += 1;
        if sequence > next {
            self.missing += u64::from(sequence - next);
            self.silent_gaps += u64::from(!self.is_warned);
        }
        self.is_warned = false;
        self.next = Some(sequence + 1);
    }
}

/// What all of them have got.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct Woken {
    /// Messages, of all of them together and of the one that has the fewest and the most.
    messages: u64,
    messages_min: u64,
    messages_max: u64,
    gap_notices: u64,
    /// Messages that were jumped over, and those that a close cut off.
    missing: u64,
    /// Jumps without a notice.
    pub(super) silent_gaps: u64,
    pub(super) doubled: u64,
    /// Those whose connection is open and who got the last message.
    caught_up: u64,
    /// Those whose connection is open and who did not.
    pub(super) deaf: u64,
    /// Those whose connection ended, by how.
    ended: BTreeMap<String, u64>,
}

impl Woken {
    /// Adds up; so many messages were published in all.
    pub(super) fn of(sleepers: &[Sleeper], published: u32) -> Self {
        let mut woken = Woken { messages_min: u64::MAX, ..Woken::default() };
        for sleeper in sleepers {
            woken.messages += sleeper.messages;
            woken.messages_min = woken.messages_min.min(sleeper.messages);
            woken.messages_max = woken.messages_max.max(sleeper.messages);
            woken.gap_notices += sleeper.gap_notices;
            let at = sleeper.next.unwrap_or(published);
            woken.missing += sleeper.missing + u64::from(published.saturating_sub(at));
            woken.silent_gaps += sleeper.silent_gaps;
            woken.doubled += sleeper.doubled;
            match &sleeper.ended {
                Some(how) => *woken.ended.entry(how.clone()).or_default() += 1,
                None if at >= published => woken.caught_up += 1,
                None => woken.deaf += 1,
            }
        }
        woken.messages_min = woken.messages_min.min(woken.messages_max);
        woken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_they_get_is_judged() {
        // Numbers, -1 for a notice; messages, notices, missing, silent gaps, doubled, caught up.
        let rows: &[(&[i64], [u64; 6])] = &[
            (&[5, 6, 7, 8, 9], [5, 0, 0, 0, 0, 1]),
            (&[5, -1, 9], [2, 1, 3, 0, 0, 1]),
            (&[5, 9], [2, 0, 3, 1, 0, 1]),
            (&[-1, 7, 9], [2, 1, 3, 1, 0, 1]),
            (&[5, 6, 6, 7, 8, 9], [5, 0, 0, 0, 1, 1]),
            (&[5], [1, 0, 4, 0, 0, 0]),
            (&[], [0, 0, 5, 0, 0, 0]),
        ];
        for (numbers, wanted) in rows {
            let mut sleeper = Sleeper::default();
            sleeper.joined(5);
            for number in *numbers {
                match u32::try_from(*number) {
                    Ok(number) => sleeper.received(number),
                    Err(_) => sleeper.warned(),
                }
            }
            let woken = Woken::of(std::slice::from_ref(&sleeper), 10);
            let found =
                [woken.messages, woken.gap_notices, woken.missing, woken.silent_gaps, woken.doubled, woken.caught_up];
            assert_eq!(found, *wanted, "{numbers:?}");
            assert_eq!(woken.deaf, 1 - wanted[5]);
            sleeper.ended = Some("closed: 4008".to_owned());
            let woken = Woken::of(&[sleeper], 10);
            assert_eq!((woken.deaf, woken.caught_up, woken.ended.len()), (0, 0, 1));
        }
    }
}
