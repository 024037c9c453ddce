//! The reference: what the engine accepted, in its order, and what clients were told about it.
//!
//! It is fed at the engine's outbox, before any core sees the mail, and judges the engine's promises there. Clients
//! compare what reaches them with it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use tallycast::base::keys::CoreId;
use tallycast::engine::{Act, Answer, Attached, Body, Change, EngineMail, Op, Outcome, Publication, State};

use super::setup::OPTIONS;

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
    Text(String),
    Binary(Vec<u8>),
}

/// One epoch of a channel.
#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) epoch: u64,
    /// By revision, from 1.
    pub(crate) entries: Vec<Entry>,
    /// Counts by revision, from 0.
    tallies: Vec<[u64; OPTIONS.len()]>,
    /// The last revisions of publications.
    ends: BTreeSet<u64>,
    /// Revisions that an asker was told to be its own.
    claimed: BTreeSet<u64>,
}

impl Life {
    fn new(epoch: u64) -> Life {
        assert_ne!(epoch, 0, "an epoch is never 0");
        Life {
            epoch,
            entries: Vec::new(),
            tallies: vec![Default::default()],
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

    /// Where the publication ends that the revision behind `revision` belongs to.
    pub(crate) fn next_end(&self, revision: u64) -> Option<u64> {
        self.ends.range(revision + 1..).next().copied()
    }

    /// Which revision made the count of `option` this.
    pub(crate) fn revision_of(&self, option: usize, count: u64) -> Option<u64> {
        let found = self.tallies.partition_point(|counts| counts[option] < count);
        (found > 0 && found < self.tallies.len() && self.tallies[found][option] == count).then_some(found as u64)
    }

    fn push(&mut self, entry: Entry) {
        let mut counts = *self.tallies.last().expect("there is one for revision 0");
        if let Entry::Vote(option) = &entry {
            counts[*option] += 1;
        }
        self.entries.push(entry);
        self.tallies.push(counts);
    }

    fn record(&mut self, first: u64, entries: Vec<Entry>) {
        for (revision, entry) in (first..).zip(entries) {
            if revision == self.end() + 1 {
                self.push(entry);
            } else {
                assert!(revision <= self.end(), "revision {revision} follows {}", self.end());
                assert_eq!(*self.entry(revision), entry, "revision {revision} told in two ways");
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
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) channels: BTreeMap<String, Channel>,
    /// The last revision that each attached core was sent, by channel.
    attached: BTreeMap<(CoreId, String), (u64, u64)>,
    /// Ops under way in the batch being judged.
    waiting: Vec<Op>,
}

impl Model {
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

    /// The present life.
    pub(crate) fn present(&self, name: &str) -> Option<&Life> {
        self.channels.get(name)?.lives.last()
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
        let mark = self.mark(name, at);
        let channel = self.channel(name);
        let fresh = channel.lives[mark.0].claimed.insert(at.revision);
        assert!(fresh, "two askers were told that {name} at {at} is theirs");
        channel.floor = channel.floor.max(Some(mark));
        self.accepted(name, entry);
    }

    /// At the end: what was answered is in, what was refused is not, nothing is in that nobody sent.
    pub(crate) fn check_ledger(&self) {
        for (name, channel) in self.channels.iter().filter(|(name, _)| !name.starts_with("vote/bad")) {
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

// What the engine sends.
impl Model {
    /// Ops that the engine is about to get (not those of a batch that it had already).
    pub(crate) fn expect(&mut self, ops: &[Op]) {
        self.waiting = ops.to_vec();
    }

    /// Judges what came out of one call of the engine.
    pub(crate) fn observe(&mut self, from: Option<CoreId>, mail: &[(CoreId, EngineMail)]) {
        let ops = std::mem::take(&mut self.waiting);
        let detached: Vec<(CoreId, String)> = from
            .iter()
            .flat_map(|core| {
                let gone = ops.iter().filter(|op| op.act == Act::Detach);
                gone.map(|op| (*core, op.channel.to_string()))
            })
            .collect();
        let mut answered = vec![false; ops.len()];
        for (core, mail) in mail {
            match mail {
                EngineMail::Publication(publication) => self.publication(*core, publication, &detached),
                EngineMail::Outcome(outcome) => {
                    let op = ops.iter().position(|op| op.ticket == outcome.ticket && op.channel == outcome.channel);
                    let Some(op) = op else { continue };
                    assert!(!answered[op], "answered twice: {:?}", ops[op]);
                    answered[op] = true;
                    self.outcome(*core, outcome, &ops[op], &detached);
                }
                EngineMail::Listeners { .. } | EngineMail::Presence { .. } => {}
                EngineMail::Failed { channel } => panic!("the engine failed in {channel}"),
            }
        }
        for (op, answered) in ops.iter().zip(answered) {
            let quiet = matches!(op.act, Act::Detach | Act::Listeners { .. });
            assert_eq!(answered, !quiet, "an answer is missing, or too many: {op:?}");
        }
        for key in detached {
            let last =
                ops.iter().rfind(|op| *op.channel == *key.1 && matches!(op.act, Act::Attach { .. } | Act::Detach));
            if last.is_some_and(|op| op.act == Act::Detach) {
                self.attached.remove(&key);
            }
        }
    }

    fn publication(&mut self, core: CoreId, publication: &Publication, detached: &[(CoreId, String)]) {
        let name = publication.channel.to_string();
        self.record(publication);
        let key = (core, name);
        match self.attached.get_mut(&key) {
            Some((epoch, last)) => {
                let expected = (*epoch, *last + 1);
                let found = (publication.epoch.0, publication.first);
                assert_eq!(found, expected, "promise 1: publications to core {} in order", core.0);
                *last = publication.last;
            }
            None => assert!(detached.contains(&key), "{key:?} is not attached and gets a publication"),
        }
    }

    fn record(&mut self, publication: &Publication) {
        let count = (publication.last + 1 - publication.first) as usize;
        let entries = match &publication.change {
            Change::Message(message) => match &message.body {
                Body::Text(text) => vec![Entry::Text(text.to_string())],
                Body::Binary(bytes) => vec![Entry::Binary(bytes.to_vec())],
            },
            Change::Table(_) => todo!("tables"),
            Change::Tally { steps, .. } => steps.iter().map(|step| Entry::Vote(step.option.into())).collect(),
        };
        assert_eq!(entries.len(), count, "as many changes as revisions: {publication:?}");
        let life = self.life_of(&publication.channel, publication.epoch.0);
        life.record(publication.first, entries);
        life.ends.insert(publication.last);
        if let Change::Tally { steps, counts } = &publication.change {
            assert_eq!(**counts, life.counts(publication.last)[..], "{publication:?}");
            for (revision, step) in (publication.first..).zip(steps) {
                assert_eq!(step.count, life.counts(revision)[usize::from(step.option)], "{publication:?}");
            }
        }
    }

    fn life_of(&mut self, name: &str, epoch: u64) -> &mut Life {
        let channel = self.channel(name);
        if !channel.lives.iter().any(|life| life.epoch == epoch) {
            channel.lives.push(Life::new(epoch));
        }
        let last = channel.lives.last_mut().expect("one at least");
        assert_eq!(last.epoch, epoch, "{name}: an epoch that has ended speaks");
        last
    }

    fn outcome(&mut self, core: CoreId, outcome: &Outcome, op: &Op, detached: &[(CoreId, String)]) {
        let name = outcome.channel.to_string();
        match &outcome.result {
            Ok(Answer::Accepted(at)) => {
                let entry = match &op.act {
                    Act::Cast { choice } => Entry::Vote(option(choice)),
                    Act::Append { body: Body::Text(text), .. } => Entry::Text(text.to_string()),
                    Act::Append { body: Body::Binary(bytes), .. } => Entry::Binary(bytes.to_vec()),
                    other => panic!("accepted: {other:?}"),
                };
                let revision = at.revision;
                self.life_of(&name, at.epoch.0).record(revision, vec![entry]);
                for (key, (_, last)) in &self.attached {
                    let behind = key.1 == name && *last < revision && !detached.contains(key);
                    assert!(!behind, "promise 2: {at} is answered, core {} has only {last}", key.0.0);
                }
            }
            Ok(Answer::Attached(attached)) => self.attach(core, &name, attached, op),
            Ok(Answer::Joined { .. }) | Err(_) => {}
        }
    }

    fn attach(&mut self, core: CoreId, name: &str, attached: &Attached, op: &Op) {
        let end = self.life_of(name, attached.at.epoch.0).end();
        assert_eq!(attached.at.revision, end, "{name}: attached at the present position");
        for publication in &attached.recent {
            assert_eq!(publication.epoch, attached.at.epoch);
            self.record(publication);
        }
        let pairs = attached.recent.windows(2);
        assert!(pairs.into_iter().all(|pair| pair[0].last + 1 == pair[1].first), "recent has a gap");
        assert!(attached.recent.last().is_none_or(|last| last.last == end), "recent ends early");
        if let State::Tally { counts, .. } = &attached.state {
            let life = self.life_of(name, attached.at.epoch.0);
            assert_eq!(counts[..], life.counts(end)[..], "{name}: the state at {}", attached.at);
        }
        assert!(matches!(op.act, Act::Attach { .. }), "attached: {op:?}");
        self.attached.insert((core, name.to_owned()), (attached.at.epoch.0, attached.at.revision));
    }
}

/// The index of an option's id.
pub(crate) fn option(id: &str) -> usize {
    let found = OPTIONS.iter().position(|option| *option == id);
    found.unwrap_or_else(|| panic!("{id:?} is no option and was accepted"))
}
