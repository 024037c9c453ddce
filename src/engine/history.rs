//! Where a channel stands, and its most recent publications for those who resume.

use std::collections::VecDeque;
use std::sync::Arc;

use super::contract::{Attached, Change, ChannelName, ChannelSpec, Epoch, Position, Publication};

/// A channel's position and the publications behind it, contiguous up to the present, bounded in number and bytes.
#[derive(Debug)]
pub struct History {
    channel: ChannelName,
    at: Position,
    kept: VecDeque<Arc<Publication>>,
    kept_bytes: usize,
    publications_max: usize,
    bytes_max: usize,
}

impl History {
    /// A new life of a channel, at revision 0.
    pub fn new(channel: ChannelName, epoch: Epoch, spec: &ChannelSpec) -> History {
        History {
            channel,
            at: Position { epoch, revision: 0 },
            kept: VecDeque::new(),
            kept_bytes: 0,
            publications_max: spec.history_publications_max,
            bytes_max: spec.history_bytes_max,
        }
    }

    /// Where the channel stands after its last publication.
    pub fn at(&self) -> Position {
        self.at
    }

    /// Where someone else has left off: a position and the publications kept up to it, as an engine answers an attach.
    pub fn resume(channel: ChannelName, attached: &Attached, publications_max: usize, bytes_max: usize) -> History {
        History {
            channel,
            at: attached.at,
            kept: attached.recent.iter().cloned().collect(),
            kept_bytes: attached.recent.iter().map(|kept| bytes(kept)).sum(),
            publications_max,
            bytes_max,
        }
    }

    /// Publishes the next `changes` changes (at least one) as one publication. The oldest ones that are too many go.
    pub fn publish(&mut self, changes: u64, change: Change) -> Arc<Publication> {
        let publication = Arc::new(Publication {
            channel: self.channel.clone(),
            epoch: self.at.epoch,
            first: self.at.revision + 1,
            last: self.at.revision + changes,
            change,
        });
        self.take(publication.clone());
        publication
    }

    /// Takes the next publication, which begins right behind the position. The oldest ones that are too many go.
    pub fn take(&mut self, publication: Arc<Publication>) {
        debug_assert_eq!((publication.epoch, publication.first), (self.at.epoch, self.at.revision + 1));
        self.at = publication.at();
        self.kept_bytes += bytes(&publication);
        self.kept.push_back(publication);
        while self.kept.len() > self.publications_max || self.kept_bytes > self.bytes_max {
            let Some(oldest) = self.kept.pop_front() else { break };
            self.kept_bytes -= bytes(&oldest);
        }
    }

    /// All publications that are kept, oldest first, without a gap up to the present.
    pub fn recent(&self) -> impl ExactSizeIterator<Item = &Arc<Publication>> {
        self.kept.iter()
    }

    /// The publications that someone at `since` has not; `None` if `since` is of another life or from the future, or if
    /// what came next is not kept any more.
    pub fn follow(&self, since: Position) -> Option<impl ExactSizeIterator<Item = &Arc<Publication>>> {
        if since.epoch != self.at.epoch || since.revision > self.at.revision {
            return None;
        }
        let news = self.kept.range(self.kept.partition_point(|kept| kept.last <= since.revision)..);
        let next = news.clone().next().map_or(self.at.revision + 1, |next| next.first);
        (next <= since.revision + 1).then_some(news)
    }

    /// The publications that someone at `since` has not, or all that are kept if they cannot be followed.
    pub fn recent_since(&self, since: Option<Position>) -> Vec<Arc<Publication>> {
        match since.and_then(|since| self.follow(since)) {
            Some(news) => news.cloned().collect(),
            None => self.kept.iter().cloned().collect(),
        }
    }
}

/// What keeping it takes, about: itself, its reference counts, the pointer to it, and what it owns.
pub(super) fn bytes(publication: &Publication) -> usize {
    let owned = match &publication.change {
        Change::Message(entry) => entry.body.bytes().len() + entry.from.as_ref().map_or(0, |from| from.len()),
        Change::Table(change) => change.owned_bytes(),
        Change::Tally { steps, counts } => size_of_val(&**steps) + size_of_val(&**counts),
    };
    size_of::<Publication>() + 3 * size_of::<usize>() + owned
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::contract::{Body, Data};

    fn history(publications_max: usize, bytes_max: usize) -> History {
        let spec = ChannelSpec {
            data: Data::Log,
            history_publications_max: publications_max,
            history_bytes_max: bytes_max,
            durable: false,
            unheard: None,
            users_max: 1000,
            idle: None,
        };
        History::new("log".into(), Epoch(7), &spec)
    }

    fn tally(votes: u64) -> Change {
        let step = super::super::contract::Step { option: 0, count: 0 };
        Change::Tally { steps: vec![step; votes as usize].into(), counts: Box::new([0]) }
    }

    fn at(epoch: u64, revision: u64) -> Option<Position> {
        Some(Position { epoch: Epoch(epoch), revision })
    }

    #[test]
    fn who_resumes_gets_what_they_miss_or_all_there_is() {
        let mut history = history(3, usize::MAX);
        assert!(history.recent_since(at(7, 0)).is_empty());
        for changes in [2, 3, 1, 4] {
            history.publish(changes, tally(changes));
        }
        // Kept: 3..=5, 6, 7..=10.
        let rows: [(Option<Position>, &[u64]); 14] = [
            (None, &[3, 6, 7]),
            (at(7, 0), &[3, 6, 7]),
            (at(7, 1), &[3, 6, 7]),
            (at(7, 2), &[3, 6, 7]),
            (at(7, 3), &[3, 6, 7]),
            (at(7, 4), &[3, 6, 7]),
            (at(7, 5), &[6, 7]),
            (at(7, 6), &[7]),
            (at(7, 9), &[7]),
            (at(7, 10), &[]),
            (at(7, 11), &[3, 6, 7]),
            (at(7, u64::MAX), &[3, 6, 7]),
            (at(8, 5), &[3, 6, 7]),
            (at(8, 10), &[3, 6, 7]),
        ];
        for (since, expected) in rows {
            let firsts: Vec<u64> = history.recent_since(since).iter().map(|p| p.first).collect();
            assert_eq!(firsts, expected, "{since:?}");
        }
    }

    #[test]
    fn history_is_bounded_by_bytes_too() {
        let message = |len: usize| Change::Message(Body::Binary(vec![0; len].into()).into());
        let one = bytes(&history(1, usize::MAX).publish(1, message(100)));
        let mut history = history(100, 2 * one);
        let mut kept = |len| {
            history.publish(1, message(len));
            assert!(history.kept_bytes <= 2 * one);
            (history.kept.len(), history.recent_since(at(7, 0)).len())
        };
        assert_eq!(kept(100), (1, 1));
        assert_eq!(kept(100), (2, 2));
        assert_eq!(kept(100), (2, 2));
        assert_eq!(kept(101), (1, 1));
        assert_eq!(kept(2 * one), (0, 0), "too large to be kept at all");
        assert_eq!(kept(100), (1, 1));
        assert_eq!(history.recent_since(at(7, 6)).len(), 0);
        assert_eq!(history.at(), at(7, 6).unwrap());
    }
}
