//! The reference: what the engine accepted, in its order, and what clients were told about it.
//!
//! It is fed at the engine's outbox, before any core sees the mail, and judges the engine's promises there. Clients
//! compare what reaches them with it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use tallycast::base::keys::CoreId;
use tallycast::engine::{Op, Origin};

use super::setup::{OPTIONS, Sort};
use present::Present;
use table::{Change, Table};

mod judge;
pub(crate) mod present;
pub(crate) mod table;

/// A position as a client reads it: `hexadecimal-decimal`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct At {
    pub(crate) epoch: u64,
    pub(crate) revision: u64,
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{}", self.epoch, self.revision)
    }
}

impl At {
    pub(crate) fn read(text: &str) -> At {
        let Some((epoch, revision)) = text.split_once('-') else { panic!("no position: {text:?}") };
        let at = At {
            epoch: u64::from_str_radix(epoch, 16).expect("a position's epoch is hexadecimal"),
            revision: revision.parse().expect("a position's revision is decimal"),
        };
        assert_eq!(at.to_string(), text, "a position is written in one way only");
        at
    }
}

/// One accepted change.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Entry {
    /// Index into the options.
    Vote(usize),
    /// And who says so.
    Text(String, Option<String>),
    Binary(Vec<u8>, Option<String>),
    Table(Change),
}

/// One epoch of a channel.
#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) epoch: u64,
    /// By revision, from 1.
    pub(crate) entries: Vec<Entry>,
    /// Counts by revision, from 0.
    tallies: Vec<[u64; OPTIONS.len()]>,
    /// Of a table, the table by revision, from 0.
    tables: Vec<Table>,
    /// By revision, from 1: who does not get it.
    skips: Vec<Option<Origin>>,
    /// The last revisions of publications.
    ends: BTreeSet<u64>,
    /// Revisions that an asker was told to be its own.
    claimed: BTreeSet<u64>,
}

impl Life {
    fn new(epoch: u64, sort: Sort) -> Life {
        assert_ne!(epoch, 0, "an epoch is never 0");
        Life {
            epoch,
            entries: Vec::new(),
            tallies: vec![Default::default()],
            tables: if sort == Sort::Table { vec![Table::new()] } else { Vec::new() },
            skips: Vec::new(),
            ends: BTreeSet::new(),
            claimed: BTreeSet::new(),
        }
    }

    pub(crate) fn end(&self) -> u64 {
        self.entries.len() as u64
    }

    pub(crate) fn counts(&self, revision: u64) -> &[u64; OPTIONS.len()] {
        &self.tallies[revision as usize]
    }

    pub(crate) fn entry(&self, revision: u64) -> &Entry {
        &self.entries[revision as usize - 1]
    }

    pub(crate) fn table(&self, revision: u64) -> &Table {
        &self.tables[revision as usize]
    }

    /// Whether the engine had told of this position: the end of a publication, or the beginning.
    pub(crate) fn is_end(&self, revision: u64) -> bool {
        revision == 0 || self.ends.contains(&revision)
    }

    /// Where the next publication ends that `me`, who has all up to `revision`, gets.
    pub(crate) fn next_end(&self, revision: u64, me: Option<Origin>) -> Option<u64> {
        let is_own = |end: u64| me.is_some() && self.skips[end as usize - 1] == me;
        self.ends.range(revision + 1..).copied().find(|end| !is_own(*end))
    }

    /// As [`next_end`](Life::next_end) of one who was another connection before.
    pub(crate) fn next_end_beside(&self, revision: u64, mine: &[Option<Origin>]) -> Option<u64> {
        let is_own = |end: u64| {
            let skip = self.skips[end as usize - 1];
            skip.is_some() && mine.contains(&skip)
        };
        self.ends.range(revision + 1..).copied().find(|end| !is_own(*end))
    }

    /// Whether the next publication that `me`, who was `formerly` before its session moved, gets behind `before` may be
    /// this one. What it said before it moved is passed over, unless it was accepted so late that the session could not
    /// wait for it; then nobody told it that it was. Up to `replayed` it may be shown what it said itself: as to somebody
    /// who comes late.
    pub(crate) fn may_follow(
        &self,
        before: u64,
        revision: u64,
        me: Option<Origin>,
        formerly: Option<Origin>,
        replayed: u64,
    ) -> bool {
        let mut passed = before;
        while let Some(end) = self.next_end(passed, None) {
            let is_mine = self.next_end(passed, me) != Some(end);
            let was_mine = self.next_end_beside(passed, &[me, formerly]) != Some(end);
            if end == revision {
                return !was_mine || end <= replayed || (!is_mine && !self.claimed.contains(&end));
            }
            if !was_mine {
                return false;
            }
            passed = end;
        }
        false
    }

    /// Which revision made the count of `option` this.
    pub(crate) fn revision_of(&self, option: usize, count: u64) -> Option<u64> {
        let found = self.tallies.partition_point(|counts| counts[option] < count);
        (found > 0 && found < self.tallies.len() && self.tallies[found][option] == count).then_some(found as u64)
    }

    fn push(&mut self, entry: Entry, skip: Option<Origin>) {
        let mut counts = *self.tallies.last().expect("there is one for revision 0");
        match &entry {
            Entry::Vote(option) => counts[*option] += 1,
            Entry::Text(..) | Entry::Binary(..) => {}
            Entry::Table(change) => {
                let mut table = self.tables.last().expect("a table changes").clone();
                table.apply(change, self.end() + 1);
                self.tables.push(table);
            }
        }
        self.entries.push(entry);
        self.skips.push(skip);
        self.tallies.push(counts);
    }

    fn record(&mut self, first: u64, entries: Vec<Entry>, skip: Option<Origin>) {
        for (revision, entry) in (first..).zip(entries) {
            // What is no vote is a publication by itself.
            if !matches!(entry, Entry::Vote(_)) {
                self.ends.insert(revision);
            }
            if revision == self.end() + 1 {
                self.push(entry, skip);
            } else {
                assert!(revision <= self.end(), "revision {revision} follows {}", self.end());
                assert_eq!(*self.entry(revision), entry, "revision {revision} told in two ways");
                assert_eq!(self.skips[revision as usize - 1], skip, "revision {revision} told in two ways");
            }
        }
    }
}

/// All lives of a channel, in order, and what clients know.
#[derive(Debug, Default)]
pub(crate) struct Channel {
    pub(crate) lives: Vec<Life>,
    /// The highest position that any client was told as its own: (life, revision). Every later read shows it.
    floor: Option<(usize, u64)>,
    /// What clients sent and may have been accepted.
    asked: BTreeMap<Entry, u64>,
    /// What was surely accepted.
    sure: BTreeMap<Entry, u64>,
    /// What was surely not.
    refused: BTreeMap<Entry, u64>,
    /// Where each message stands, by life and revision: no two are alike.
    messages: BTreeMap<Vec<u8>, (usize, u64)>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) channels: BTreeMap<String, Channel>,
    /// The last revision that each attached core was sent, by channel.
    attached: BTreeMap<(CoreId, String), (u64, u64)>,
    /// Ops under way in the batch being judged.
    waiting: Vec<Op>,
    /// What ops alone make of each channel.
    present: BTreeMap<String, Present>,
    /// Of each connection that joined under a name: the epoch, where the channel stood, and up to where it was heard.
    joined: BTreeMap<(String, String), (u64, u64, u64)>,
    users_max: usize,
}

impl Model {
    pub(crate) fn new(users_max: usize) -> Model {
        Model { users_max, ..Model::default() }
    }

    pub(crate) fn channel(&mut self, name: &str) -> &mut Channel {
        self.channels.entry(name.to_owned()).or_default()
    }

    /// The life in which `at` lies. Panics if there never was such a position.
    pub(crate) fn life(&self, name: &str, at: At) -> &Life {
        let life = self.channels.get(name).and_then(|channel| channel.lives.iter().find(|life| life.epoch == at.epoch));
        let Some(life) = life else { panic!("{name} never was at {at}: no such epoch") };
        assert!(at.revision <= life.end(), "{name} never was at {at}, only at {}", life.end());
        life
    }

    /// What was accepted at a position, if there is such.
    pub(crate) fn entry_at(&self, name: &str, at: At) -> Option<&Entry> {
        let life = self.channels.get(name)?.lives.iter().find(|life| life.epoch == at.epoch)?;
        life.entries.get((at.revision as usize).checked_sub(1)?)
    }

    /// The present life.
    pub(crate) fn present(&self, name: &str) -> Option<&Life> {
        self.channels.get(name)?.lives.last()
    }

    /// Where a message stands: life and revision.
    pub(crate) fn find(&self, name: &str, message: &[u8]) -> Option<(usize, u64)> {
        self.channels.get(name)?.messages.get(message).copied()
    }

    /// Who is there just now.
    pub(crate) fn crowd(&mut self, name: &str) -> &mut Present {
        let is_log = !matches!(Sort::of(name), Sort::Vote | Sort::Table);
        self.present.entry(name.to_owned()).or_insert_with(|| Present::new(is_log))
    }

    /// All channels that ever were.
    pub(crate) fn names(&self) -> Vec<String> {
        self.present.keys().cloned().collect()
    }

    /// Where a connection joined the channel under a name: the life's epoch, the revision, and up to where it was heard.
    pub(crate) fn joined(&self, name: &str, who: Origin) -> Option<(u64, u64, u64)> {
        self.joined.get(&(name.to_owned(), who.to_string())).copied()
    }

    fn mark(&self, name: &str, at: At) -> (usize, u64) {
        let lives = &self.channels[name].lives;
        let life = lives.iter().position(|life| life.epoch == at.epoch);
        (life.expect("a known epoch"), at.revision)
    }

    /// What a read that is sent now must show at least.
    pub(crate) fn floor(&self, name: &str) -> Option<(usize, u64)> {
        self.channels.get(name)?.floor
    }

    /// Judges a read: promise 2.
    pub(crate) fn check_floor(&self, name: &str, at: At, floor: Option<(usize, u64)>) {
        let mark = self.mark(name, at);
        assert!(
            Some(mark) >= floor,
            "{name} read at {at} (life {}), but (life, revision) {floor:?} was answered before the read was sent",
            mark.0
        );
    }

    /// A client sent it: it may be accepted.
    pub(crate) fn asked(&mut self, name: &str, entry: Entry) {
        *self.channel(name).asked.entry(entry).or_default() += 1;
    }

    /// A client was told that it is accepted.
    pub(crate) fn accepted(&mut self, name: &str, entry: Entry) {
        *self.channel(name).sure.entry(entry).or_default() += 1;
    }

    /// A client was told that it is refused.
    pub(crate) fn refused(&mut self, name: &str, entry: Entry) {
        *self.channel(name).refused.entry(entry).or_default() += 1;
    }

    /// A client was told that its change is the one at `at`.
    pub(crate) fn claim(&mut self, name: &str, at: At, entry: Entry) {
        let life = self.life(name, at);
        assert!(at.revision > 0, "nothing was changed at {at}");
        assert_eq!(*life.entry(at.revision), entry, "{name} at {at} is not what was answered");
        self.claim_position(name, at);
        self.accepted(name, entry);
    }

    /// A client was told that its change, whatever it was, is the one at `at`.
    pub(crate) fn claim_position(&mut self, name: &str, at: At) {
        let mark = self.mark(name, at);
        let channel = self.channel(name);
        let fresh = channel.lives[mark.0].claimed.insert(at.revision);
        assert!(fresh, "two askers were told that {name} at {at} is theirs");
        channel.floor = channel.floor.max(Some(mark));
    }

    /// At the end: what was answered is in, what was refused is not, nothing is in that nobody sent.
    pub(crate) fn check_ledger(&self) {
        let unknown = |name: &str| name.starts_with("vote/bad") || Sort::of(name) == Sort::Table;
        for (name, channel) in self.channels.iter().filter(|(name, _)| !unknown(name)) {
            let mut present: BTreeMap<&Entry, u64> = BTreeMap::new();
            for entry in channel.lives.iter().flat_map(|life| &life.entries) {
                *present.entry(entry).or_default() += 1;
            }
            let of = |map: &BTreeMap<Entry, u64>, entry| map.get(entry).copied().unwrap_or(0);
            for (entry, count) in &present {
                let most = of(&channel.asked, entry).saturating_sub(of(&channel.refused, entry));
                assert!(*count <= most, "{name}: {entry:?} is in {count} times, {most} may be");
            }
            for (entry, sure) in &channel.sure {
                let count = present.get(entry).copied().unwrap_or(0);
                assert!(count >= *sure, "{name}: {entry:?} was answered {sure} times and is in {count} times");
            }
        }
    }
}

/// The index of an option's id.
pub(crate) fn option(id: &str) -> usize {
    let found = OPTIONS.iter().position(|option| *option == id);
    found.unwrap_or_else(|| panic!("{id:?} is no option and was accepted"))
}
