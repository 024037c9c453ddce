//! Options and how often each was chosen.

use std::sync::Arc;

use compact_str::CompactString;

use super::contract::{Change, Position, Publication, Refusal, State, Step, TallyOption};
use super::history::History;
use crate::base::hash::{Map, Seed};

/// Up to this many options are compared one by one, which is faster than hashing.
const LINEAR_OPTIONS_MAX: usize = 8;
/// Bytes of the ids that a refusal lists.
const EXPECTED_BYTES_MAX: usize = 200;
/// Votes whose room is kept from one publication to the next.
const STEPS_KEPT_MAX: usize = 64;

/// The options of a class of channels, found by their ids. Shared by its tallies.
#[derive(Debug)]
pub struct Options {
    list: Arc<[TallyOption]>,
    /// Empty if there are few.
    by_id: Map<CompactString, u16>,
    expected: String,
}

impl Options {
    /// An index of the options, at most 65,536.
    pub fn new(list: Arc<[TallyOption]>, seed: Seed) -> Options {
        let mut by_id = Map::with_hasher(seed);
        if list.len() > LINEAR_OPTIONS_MAX {
            by_id.extend((0..=u16::MAX).zip(&*list).map(|(index, option)| (option.id.clone(), index)));
        }
        let expected = expected(list.iter().map(|option| &*option.id));
        Options { list, by_id, expected }
    }

    fn find(&self, id: &str) -> Option<u16> {
        if self.list.len() > LINEAR_OPTIONS_MAX {
            return self.by_id.get(id).copied();
        }
        let index = self.list.iter().position(|option| option.id == id)?;
        Some(index as u16)
    }
}

/// The ids as a refusal lists them: separated by a comma and a space, cut between two characters.
pub(super) fn expected<'a>(ids: impl Iterator<Item = &'a str>) -> String {
    let mut text = String::new();
    for id in ids {
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str(id);
        if text.len() > EXPECTED_BYTES_MAX {
            break;
        }
    }
    let cut = (0..=EXPECTED_BYTES_MAX.min(text.len())).rev();
    text.truncate(cut.into_iter().find(|&end| text.is_char_boundary(end)).unwrap_or(0));
    text
}

/// Counts, and the votes that were accepted but not published yet.
#[derive(Debug)]
pub struct Tally {
    options: Arc<Options>,
    counts: Vec<u64>,
    /// The votes behind the history's position.
    steps: Vec<Step>,
    history: History,
}

impl Tally {
    /// A tally without votes.
    pub fn new(options: Arc<Options>, history: History) -> Tally {
        Tally { counts: vec![0; options.list.len()], options, steps: Vec::new(), history }
    }

    /// Counts a vote. Where the tally stands with it; the next [`publish`](Tally::publish) covers it.
    pub fn cast(&mut self, choice: &str) -> Result<Position, Refusal> {
        let Some(option) = self.options.find(choice) else {
            let expected = self.options.expected.clone();
            return Err(Refusal::UnknownOption { expected });
        };
        let count = &mut self.counts[usize::from(option)];
        *count += 1;
        self.steps.push(Step { option, count: *count });
        Ok(self.at())
    }

    /// Publishes all votes since the last publication as one; `None` if there are none.
    pub fn publish(&mut self) -> Option<Arc<Publication>> {
        if self.steps.is_empty() {
            return None;
        }
        let change = Change::Tally { steps: self.steps.as_slice().into(), counts: self.counts.as_slice().into() };
        let votes = self.steps.len() as u64;
        self.steps.clear();
        self.steps.shrink_to(STEPS_KEPT_MAX);
        Some(self.history.publish(votes, change))
    }

    /// Where it stands, votes that are not published included.
    pub fn at(&self) -> Position {
        let published = self.history.at();
        Position { revision: published.revision + self.steps.len() as u64, ..published }
    }

    /// The counts at that position.
    pub fn state(&self) -> State {
        State::Tally { options: self.options.list.clone(), counts: self.counts.clone() }
    }

    /// See [`History::recent_since`].
    pub fn recent_since(&self, since: Option<Position>) -> Vec<Arc<Publication>> {
        self.history.recent_since(since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::contract::{ChannelSpec, Data, Epoch};

    fn options(ids: impl IntoIterator<Item = String>) -> Arc<Options> {
        let list = ids.into_iter().map(|id| TallyOption { id: id.into(), labels: Vec::new() });
        Arc::new(Options::new(list.collect(), Seed(1, 2)))
    }

    #[test]
    fn options_are_found_whether_few_or_many() {
        for len in [1, 2, 8, 9, 1000] {
            let options = options((0..len).map(|i| format!("选{i}")));
            for i in 0..len {
                assert_eq!(options.find(&format!("选{i}")), Some(i), "{i} of {len}");
            }
            for no in [String::new(), "选".into(), format!("选{len}"), "选0 ".into()] {
                assert_eq!(options.find(&no), None, "{no:?} of {len}");
            }
            assert_eq!(options.by_id.is_empty(), len <= 8);
        }
    }

    #[test]
    fn a_refusal_lists_what_it_has_room_for() {
        let (a, ming) = ("a".repeat(64), "明".repeat(21));
        let rows = [
            (vec!["1", "2", "3"], "1, 2, 3".to_string()),
            (vec!["x"; 1000], "x, ".repeat(66) + "x,"),
            (vec![&a; 9], format!("{a}, {a}, {a}, aa")),
            (vec![&ming; 9], format!("{ming}, {ming}, {ming}, 明")),
        ];
        for (ids, expected) in rows {
            let options = options(ids.into_iter().map(String::from));
            assert!(options.expected.len() <= EXPECTED_BYTES_MAX);
            assert_eq!(options.expected, expected);
        }
    }

    #[test]
    fn votes_become_one_publication() {
        let options = options(["a", "b"].map(String::from));
        let spec = ChannelSpec {
            data: Data::Tally { options: options.list.clone() },
            history_publications_max: 10,
            history_bytes_max: 10_000,
            durable: false,
            unheard: None,
            users_max: 1000,
            idle: None,
        };
        let mut tally = Tally::new(options, History::new("poll".into(), Epoch(1), &spec));
        assert_eq!(tally.publish(), None);
        for (choice, revision) in [("a", 1), ("b", 2), ("a", 3)] {
            assert_eq!(tally.cast(choice).map(|at| at.revision), Ok(revision));
        }
        let expected = "a, b".to_string();
        assert_eq!(tally.cast("c"), Err(Refusal::UnknownOption { expected }));
        let publication = tally.publish().expect("three votes");
        let step = |option, count| Step { option, count };
        let change = Change::Tally { steps: [step(0, 1), step(1, 1), step(0, 2)].into(), counts: [2, 1].into() };
        assert_eq!((publication.first, publication.last, &publication.change), (1, 3, &change));
        assert_eq!(tally.publish(), None);
        assert_eq!(tally.recent_since(None), [publication]);
    }
}
