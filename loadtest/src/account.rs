//! Who got what: lost, doubled and reordered deliveries, per subscriber and publisher.

use std::collections::BTreeMap;

/// Gaps that are remembered; of more than that only the size is, so that what comes late counts as lost, and as doubled.
const GAPS_MAX: usize = 1 << 20;

/// The deliveries to some subscribers.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    publishers: usize,
    /// Of each subscriber and publisher, the number that comes next.
    next: Vec<u32>,
    /// Numbers that were jumped over, `from..to`, by the same index.
    gaps: BTreeMap<usize, Vec<(u32, u32)>>,
    gap_count: usize,
    /// Numbers in gaps that are not remembered.
    forgotten: u64,
    /// Different deliveries.
    pub(crate) received: u64,
    /// Deliveries that had come before.
    pub(crate) doubled: u64,
    /// Deliveries that came after a later one.
    pub(crate) reordered: u64,
}

impl Account {
    /// Nothing was delivered.
    pub(crate) fn new(subscribers: usize, publishers: usize) -> Account {
        Account {
            publishers,
            next: vec![0; subscribers * publishers],
            gaps: BTreeMap::new(),
            gap_count: 0,
            forgotten: 0,
            received: 0,
            doubled: 0,
            reordered: 0,
        }
    }

    /// Message `sequence` of `publisher` has come to `subscriber`. Is it the first time?
    #[inline]
    pub(crate) fn deliver(&mut self, subscriber: usize, publisher: usize, sequence: u32) -> bool {
        let index = subscriber * self.publishers + publisher;
        match self.next.get_mut(index) {
            Some(next) if *next == sequence => {
                *next += 1;
                self.received += 1;
                true
            }
            Some(_) => self.deliver_out_of_order(index, sequence),
            None => false,
        }
    }

    /// What never came, if so many messages were published by each publisher.
    pub(crate) fn lost(&self, published: &[u32]) -> u64 {
        let tails = self.next.chunks_exact(self.publishers.max(1)).flat_map(|row| row.iter().zip(published));
        let at_the_end: u64 = tails.map(|(next, published)| u64::from(published.saturating_sub(*next))).sum();
        let jumped: u64 = self.gaps.values().flatten().map(|(from, to)| u64::from(to - from)).sum();
        at_the_end + jumped + self.forgotten
    }

    #[cold]
    fn deliver_out_of_order(&mut self, index: usize, sequence: u32) -> bool {
        let next = &mut self.next[index];
        if sequence > *next {
            if self.gap_count < GAPS_MAX {
                self.gaps.entry(index).or_default().push((*next, sequence));
                self.gap_count += 1;
            } else {
                self.forgotten += u64::from(sequence - *next);
            }
            *next = sequence.saturating_add(1);
            self.received += 1;
            return true;
        }
        let gaps = self.gaps.entry(index).or_default();
        let Some(at) = gaps.iter().position(|(from, to)| (*from..*to).contains(&sequence)) else {
            self.doubled += 1;
            return false;
        };
        let (from, to) = gaps.swap_remove(at);
        let pieces = [(from, sequence), (sequence + 1, to)];
        gaps.extend(pieces.into_iter().filter(|(from, to)| from < to));
        self.received += 1;
        self.reordered += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    #[test]
    fn a_lossy_doubling_shuffling_server_is_seen_through() {
        for seed in 0..50 {
            let mut random = StdRng::seed_from_u64(seed);
            let (subscribers, publishers) = (random.random_range(1..4), random.random_range(1..4));
            let published: Vec<u32> = (0..publishers).map(|_| random.random_range(0..60)).collect();
            let mut account = Account::new(subscribers, publishers);
            let mut seen = BTreeSet::new();
            let (mut doubled, mut reordered) = (0, 0);
            let mut newest = BTreeMap::new();
            let mut waiting = Vec::new();
            for subscriber in 0..subscribers {
                for (publisher, count) in published.iter().enumerate() {
                    waiting.extend((0..*count).map(|sequence| (subscriber, publisher, sequence)));
                }
            }
            while !waiting.is_empty() {
                // Near the front, so that most is in order.
                let at = if random.random_bool(0.9) { 0 } else { random.random_range(0..waiting.len().min(5)) };
                let delivery = waiting.remove(at);
                let times = [1, 1, 1, 1, 1, 1, 1, 0, 2, 3][random.random_range(0..10)];
                for _ in 0..times {
                    let (subscriber, publisher, sequence) = delivery;
                    let is_new = seen.insert(delivery);
                    assert_eq!(account.deliver(subscriber, publisher, sequence), is_new);
                    let newest = newest.entry((subscriber, publisher)).or_insert(0);
                    doubled += u64::from(!is_new);
                    reordered += u64::from(is_new && sequence < *newest);
                    *newest = sequence.max(*newest);
                }
            }
            let all: u64 = published.iter().map(|count| u64::from(*count)).sum::<u64>() * subscribers as u64;
            assert_eq!(account.lost(&published), all - seen.len() as u64, "seed {seed}");
            let found = (account.received, account.doubled, account.reordered);
            assert_eq!(found, (seen.len() as u64, doubled, reordered), "seed {seed}");
        }
    }

    #[test]
    fn a_publisher_that_is_none_is_no_delivery() {
        let mut account = Account::new(1, 1);
        assert!(!account.deliver(0, 5, 0));
        assert_eq!((account.received, account.doubled), (0, 0));
    }
}
