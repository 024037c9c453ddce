//! Random ops of many cores, and batches that come twice. The judge is a naive model that knows every state there ever
//! was; each core's mirror is fed with nothing but its mail, and must be that state at every step.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tallycast::base::keys::{CoreId, OfConnection, OfSession, Slots};
use tallycast::base::limits::LISTENERS_PACE;
use tallycast::base::time::Time;
use tallycast::engine::{
    Answer, Asker, Attached, Batch, Change, Editing, EngineMail, Epoch, Outcome, Position, Presence, Publication,
    State, Table,
};

#[cfg(feature = "faults")]
use super::FAULT;
use super::model::{Attaching, CHANNELS, Expected, Mark, Model, channel_of, is_durable, is_log, is_table, passes};
use super::sheet::Sheet;
use super::{Engine, IDLE, Mail, model, specs};

const SEEDS: u64 = 300;
const STEPS: usize = 150;
pub(super) const CORES: u16 = 4;
/// What must have come up, and not only by chance.
const SEEN: [&str; 19] = [
    "absent",
    "unknown_row",
    "unknown_column",
    "unknown_option",
    "too_long",
    "stale",
    "row_exists",
    "full",
    "wrong_type",
    "joined",
    "left",
    "unheard",
    "editing",
    "edits nothing",
    "message",
    "tally",
    "table",
    "table state",
    "resumed",
];

/// Runs all seeds. A seed that fails is named, and fails again when it is run alone.
pub(super) fn run<E: Engine>() {
    let mut seen: BTreeMap<&'static str, u64> = BTreeMap::new();
    for seed in 0..SEEDS {
        let mut world: World<E> = World::new(seed);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| world.run())) {
            #[expect(clippy::print_stderr, reason = "a seed that fails must be seen")]
            {
                eprintln!("engine: seed {seed} failed");
            }
            resume_unwind(panic);
        }
        for (what, count) in world.seen {
            *seen.entry(what).or_default() += count;
        }
    }
    for what in SEEN {
        assert!(seen.get(what).is_some_and(|count| *count > SEEDS), "{what}: {seen:?}");
    }
}

/// What a core knows of a channel.
struct Mirror {
    at: Position,
    /// Where the last publication began.
    first: u64,
    told: u32,
    users: BTreeSet<String>,
    editing: BTreeMap<String, Mark>,
    table: Option<Table>,
}

pub(super) struct World<E> {
    engine: E,
    pub(super) random: StdRng,
    now: Time,
    pub(super) askers: Vec<Asker>,
    pub(super) ticket: u32,
    sent: Vec<Vec<Batch>>,
    pub(super) model: Model,
    expected: BTreeMap<u32, (u16, usize, Expected)>,
    mirrors: HashMap<(u16, usize), Mirror>,
    announced: HashMap<(u16, usize), Time>,
    /// When, and in which turn, it was told last who edits what.
    edits_told: HashMap<usize, (Time, u64)>,
    turn: u64,
    seen: BTreeMap<&'static str, u64>,
}

impl<E: Engine> World<E> {
    fn new(seed: u64) -> World<E> {
        let now = Time::from_millis(5_000);
        let mut connections: Slots<OfConnection, ()> = Slots::default();
        let mut sessions: Slots<OfSession, ()> = Slots::default();
        World {
            engine: E::start(specs(), model::PASSING_MAX, seed, now),
            random: StdRng::seed_from_u64(seed),
            now,
            // The same slot and generation, but another sort.
            askers: vec![
                Asker::Connection(connections.insert(())),
                Asker::Connection(connections.insert(())),
                Asker::Session(sessions.insert(())),
            ],
            ticket: 0,
            sent: vec![Vec::new(); usize::from(CORES)],
            model: Model::default(),
            expected: BTreeMap::new(),
            mirrors: HashMap::new(),
            announced: HashMap::new(),
            edits_told: HashMap::new(),
            turn: 0,
            seen: BTreeMap::new(),
        }
    }

    fn run(&mut self) {
        for _ in 0..STEPS {
            match self.random.random_range(0..20) {
                0..13 => self.send(),
                13..15 => self.send_again(),
                15..17 => self.save(),
                17 => self.pass(IDLE + Duration::from_millis(1)),
                _ => {
                    let millis = self.random.random_range(0..300);
                    self.pass(Duration::from_millis(millis));
                }
            }
        }
        self.end();
    }

    /// When all is quiet, every core that is attached has the present state, and knows who is there.
    fn end(&mut self) {
        while let Some((publications, mail)) = self.engine.save() {
            self.saved(&publications, mail);
        }
        self.pass(LISTENERS_PACE);
        self.pass(LISTENERS_PACE);
        assert!(self.expected.is_empty(), "every op is answered");
        assert!(self.model.news.values().all(|news| news.is_empty()), "every name was told");
        let present = self.model.present.iter();
        let attached =
            present.flat_map(|(&channel, present)| present.attached.iter().map(move |&core| (core, channel)));
        assert_eq!(attached.clone().count(), self.mirrors.len());
        for (core, channel) in attached {
            let (mirror, present) = (&self.mirrors[&(core, channel)], &self.model.present[&channel]);
            let life = &self.model.lives[present.life];
            assert_eq!((mirror.at.revision, Some(mirror.at.epoch)), (life.revision(), life.epoch));
            assert_eq!(mirror.told, present.sum(), "listeners of {}", CHANNELS[channel].0);
            assert!(mirror.users.iter().eq(present.names.keys()), "names of {}", CHANNELS[channel].0);
            assert_eq!(mirror.editing, present.marks, "who edits {}", CHANNELS[channel].0);
            assert_eq!(mirror.table.is_some(), is_table(channel));
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.model.pass(self.now);
        let (mail, next) = self.engine.advance(self.now);
        assert!(next.is_none_or(|next| next > self.now), "calling again at once brings nothing");
        self.read(mail);
    }

    fn save(&mut self) {
        if let Some((publications, mail)) = self.engine.save() {
            self.saved(&publications, mail);
        }
    }

    fn saved(&mut self, publications: &[std::sync::Arc<Publication>], mail: Mail) {
        for publication in publications {
            let channel = channel_of(&publication.channel);
            assert!(is_durable(channel));
            // Durable channels have one life here.
            let life = &mut self.model.lives[self.model.present[&channel].life];
            assert_eq!(publication.first, life.saved + 1, "what is saved has no gap");
            life.saved = publication.last;
        }
        self.read(mail);
    }

    fn send(&mut self) {
        let core = self.random.random_range(0..CORES);
        let ops = (0..self.random.random_range(1..12)).map(|_| self.some_op(core)).collect::<Vec<_>>();
        let batch = Batch { core: CoreId(core), number: self.sent[usize::from(core)].len() as u64 + 1, ops };
        for op in &batch.ops {
            let channel = channel_of(&op.channel);
            let detached = self.model.detached.get(&(core, channel)).copied();
            if let Some(expected) = self.model.op(core, op, self.now) {
                self.expected.insert(op.ticket.number, (core, channel, expected));
            }
            if self.model.detached.get(&(core, channel)).copied() != detached {
                self.mirrors.remove(&(core, channel));
            }
        }
        for life in &mut self.model.lives {
            life.open = false;
        }
        self.sent[usize::from(core)].push(batch.clone());
        let mail = self.engine.batch(batch, self.now);
        self.read(mail);
        let waits = |(_, channel, _): &(u16, usize, Expected)| is_durable(*channel);
        assert!(self.expected.values().all(waits), "what is not durable is answered at once");
        let told = |((_, channel), news): (&(u16, usize), &std::collections::VecDeque<String>)| {
            is_durable(*channel) || news.is_empty()
        };
        assert!(self.model.news.iter().all(told), "what is not durable is told at once");
    }

    fn send_again(&mut self) {
        let core = self.random.random_range(0..CORES);
        let sent = &self.sent[usize::from(core)];
        if !sent.is_empty() {
            let batch = sent[self.random.random_range(0..sent.len())].clone();
            assert!(self.engine.batch(batch, self.now).is_empty());
        }
    }

    pub(super) fn some_position(&mut self, core: u16, channel: usize) -> Option<Position> {
        if let Some(mirror) = self.mirrors.get(&(core, channel)).filter(|_| self.random.random()) {
            return Some(mirror.at);
        }
        let epochs: Vec<Epoch> = self.model.lives.iter().filter_map(|life| life.epoch).collect();
        if epochs.is_empty() || self.random.random() {
            return None;
        }
        Some(Position {
            epoch: epochs[self.random.random_range(0..epochs.len())],
            revision: self.random.random_range(0..30),
        })
    }

    fn saw(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    fn read(&mut self, mail: Mail) {
        self.turn += 1;
        // A life is known by its epoch from the first answer on; its first publication comes before that.
        for (_, mail) in &mail {
            if let EngineMail::Outcome(outcome) = mail {
                self.learn(outcome);
            }
        }
        for (CoreId(core), mail) in mail {
            match mail {
                EngineMail::Publication(publication) => self.read_publication(core, &publication),
                EngineMail::Outcome(outcome) => self.read_outcome(core, outcome),
                EngineMail::Listeners { channel, count } => self.read_listeners(core, channel_of(&channel), count),
                EngineMail::Presence { channel, news } => self.read_presence(core, channel_of(&channel), news),
                EngineMail::Failed { channel } => {
                    self.mirrors.remove(&(core, channel_of(&channel)));
                }
            }
        }
        self.check_editing();
    }

    /// Unless who edits what was told just now, all know it.
    fn check_editing(&self) {
        for (&(_, channel), mirror) in &self.mirrors {
            let told = self.edits_told.get(&channel).map(|(told, _)| *told);
            let may_be_late = is_durable(channel) || told.is_some_and(|told| self.now.since(told) < LISTENERS_PACE);
            if let Some(present) = self.model.present.get(&channel).filter(|_| !may_be_late) {
                assert_eq!(mirror.editing, present.marks, "who edits is told");
            }
        }
    }

    fn learn(&mut self, outcome: &Outcome) {
        let at = match &outcome.result {
            Ok(Answer::Accepted(at) | Answer::Joined { at, .. }) => *at,
            Ok(Answer::Attached(attached)) => attached.at,
            Err(_) => return,
        };
        let life = match &self.expected[&outcome.ticket.number].2 {
            Expected::Accepted { life, .. } | Expected::Joined { life, .. } => *life,
            Expected::Attached(attaching) => attaching.life,
            Expected::Refused(code) => panic!("{code} was expected: {outcome:?}"),
        };
        assert_ne!(at.epoch.0, 0);
        assert_eq!(*self.model.lives[life].epoch.get_or_insert(at.epoch), at.epoch, "a life has one epoch");
        assert_eq!(self.life(at.epoch), life, "an epoch has one life");
    }

    fn life(&self, epoch: Epoch) -> usize {
        let life = self.model.lives.iter().position(|life| life.epoch == Some(epoch));
        life.expect("a known epoch")
    }

    fn read_publication(&mut self, core: u16, publication: &Publication) {
        let life = self.life(publication.epoch);
        let life = &mut self.model.lives[life];
        life.check(publication);
        let Some(mirror) = self.mirrors.get_mut(&(core, life.channel)) else {
            return; // It has detached meanwhile.
        };
        assert_eq!(mirror.at.epoch, publication.epoch);
        assert_eq!(publication.first, mirror.at.revision + 1, "none missed, doubled or out of order");
        (mirror.at, mirror.first) = (publication.at(), publication.first);
        let what = match (&publication.change, &mut mirror.table) {
            (Change::Table(change), Some(table)) => {
                table.apply(change, publication.last);
                assert_eq!(Sheet::of(table), life.sheet(publication.last));
                "table"
            }
            (Change::Message(_), None) => "message",
            (Change::Tally { .. }, None) => "tally",
            (Change::Table(_) | Change::Message(_) | Change::Tally { .. }, _) => panic!("{publication:?}"),
        };
        self.saw(what);
    }

    fn read_outcome(&mut self, core: u16, outcome: Outcome) {
        let number = outcome.ticket.number;
        let (asked, channel, expected) = self.expected.remove(&number).expect("one outcome for each op");
        assert_eq!((core, channel_of(&outcome.channel)), (asked, channel));
        // One ticket after the other on each channel; and over all of them where nothing waits.
        let earlier = |(other, &(from, at, _)): (&u32, &(u16, usize, Expected))| {
            *other < number && from == core && (at == channel || !is_durable(at) && !is_durable(channel))
        };
        assert!(!self.expected.iter().any(earlier), "in the order of the ops");
        match (expected, outcome.result) {
            (Expected::Refused(code), Err(refusal)) => {
                assert_eq!(refusal.code(), code);
                self.saw(code);
            }
            (Expected::Accepted { life, revision }, Ok(Answer::Accepted(at))) => {
                self.check_position(core, channel, life, revision, at);
            }
            (Expected::Joined { life, revision, heard, users }, Ok(Answer::Joined { at, heard: told })) => {
                self.check_position(core, channel, life, revision, at);
                assert_eq!(told, heard, "what was not heard");
                if heard < revision {
                    self.saw("unheard");
                }
                if let Some(mirror) = self.mirrors.get(&(core, channel)).filter(|mirror| mirror.at.epoch == at.epoch) {
                    assert!(mirror.users.iter().eq(&users), "a name is told before its answer");
                }
            }
            (Expected::Attached(attaching), Ok(Answer::Attached(attached))) => {
                self.check_attached(&attaching, &attached);
                if self.model.detached.get(&(core, channel)).copied().unwrap_or(0) == attaching.detached {
                    self.attach(core, channel, &attached);
                }
            }
            (Expected::Refused(code), Ok(answer)) => panic!("{code} was expected: {answer:?}"),
            (_, result) => panic!("an answer was expected: {result:?}"),
        }
    }

    /// An answer's position stands where it belongs among the publications.
    fn check_position(&self, core: u16, channel: usize, life: usize, revision: u64, at: Position) {
        let life = &self.model.lives[life];
        assert_eq!((Some(at.epoch), at.revision), (life.epoch, revision));
        assert!(!is_durable(channel) || revision <= life.saved, "a number shown is a number saved");
        if let Some(mirror) = self.mirrors.get(&(core, channel)).filter(|mirror| mirror.at.epoch == at.epoch) {
            assert!(mirror.at.revision >= revision, "behind the publication that covers it");
            assert!(mirror.first <= revision, "before the next one");
        }
    }

    fn check_attached(&mut self, attaching: &Attaching, attached: &Attached) {
        let revision = attaching.revision;
        assert_eq!((attached.at.revision, attached.listeners), (revision, attaching.listeners));
        assert!(attached.users.iter().map(|user| &**user).eq(&attaching.users), "{:?}", attached.users);
        let editing: BTreeMap<String, Mark> = attached.editing.iter().map(mark).collect();
        assert_eq!(editing, attaching.marks);
        assert_eq!(editing.len(), attached.editing.len(), "each once");
        let life = &mut self.model.lives[attaching.life];
        assert!(!is_durable(life.channel) || revision <= life.saved, "a number shown is a number saved");
        match &attached.state {
            State::Log => assert!(is_log(life.channel)),
            State::Tally { counts, .. } => life.check_counts(counts, revision),
            State::Table(table) => life.check_sheet(&Sheet::of(table), revision),
        }
        // What was kept when it was decided.
        let mut then = life.clone();
        then.changes.truncate(revision as usize);
        then.publications.truncate(attaching.publications);
        let recent: Vec<_> = attached.recent.iter().map(|recent| (recent.first, recent.last)).collect();
        assert_eq!(recent, then.recent(attaching.since), "since {:?}", attaching.since);
        for publication in &attached.recent {
            life.check(publication);
        }
        let is_table = matches!(attached.state, State::Table(_));
        if recent.first().is_some_and(|(first, _)| Some(first - 1) == attaching.since.map(|since| since.revision)) {
            self.saw("resumed");
        }
        if is_table && revision > 0 {
            self.saw("table state");
        }
    }

    fn attach(&mut self, core: u16, channel: usize, attached: &Attached) {
        let mirror = Mirror {
            at: attached.at,
            first: attached.at.revision,
            told: attached.listeners,
            users: attached.users.iter().map(|user| user.to_string()).collect(),
            editing: attached.editing.iter().map(mark).collect(),
            table: match &attached.state {
                State::Table(table) => Some(table.clone()),
                State::Log | State::Tally { .. } => None,
            },
        };
        let (at, users, table) = (mirror.at, mirror.users.clone(), mirror.table.clone());
        if let Some(before) = self.mirrors.insert((core, channel), mirror) {
            let before = (before.at, before.users, before.table);
            assert_eq!(before, (at, users, table), "who is attached has missed nothing");
        }
    }

    fn read_presence(&mut self, core: u16, channel: usize, news: Presence) {
        let (what, news) = match news {
            Presence::Joined(user) => ("joined", format!("joined {user}")),
            Presence::Left(user) => ("left", format!("left {user}")),
            Presence::Editing(editing) => return self.read_editing(core, channel, &editing),
        };
        let next = self.model.news.get_mut(&(core, channel)).and_then(|news| news.pop_front());
        assert_eq!(Some(&news), next.as_ref(), "each name once, and in order");
        let user = news.split_once(' ').map(|(_, user)| user.to_owned()).expect("two words");
        if let Some(mirror) = self.mirrors.get_mut(&(core, channel)) {
            let changed = if what == "joined" { mirror.users.insert(user) } else { mirror.users.remove(&user) };
            assert!(changed, "{news}: known already");
        }
        self.saw(what);
    }

    fn read_editing(&mut self, core: u16, channel: usize, editing: &Editing) {
        let who = editing.who.to_string();
        let news = editing.cell.clone().map(|cell| (cell, editing.user.clone()));
        if let Some(mirror) = self.mirrors.get_mut(&(core, channel)) {
            let known = match &news {
                Some(mark) => mirror.editing.insert(who.clone(), mark.clone()),
                None => mirror.editing.remove(&who),
            };
            assert_ne!(known, news, "{who}: known already");
        }
        self.saw(if news.is_some() { "editing" } else { "edits nothing" });
        if is_durable(channel) {
            return; // What waited is not the latest any more, and comes close together.
        }
        assert_eq!(self.model.present[&channel].marks.get(&who), news.as_ref(), "the latest counts");
        let (now, turn) = (self.now, self.turn);
        if let Some((last, in_turn)) = self.edits_told.insert(channel, (now, turn)) {
            assert!(in_turn == turn || now.since(last) >= LISTENERS_PACE, "paced");
        }
    }

    fn read_listeners(&mut self, core: u16, channel: usize, count: u32) {
        if let Some(mirror) = self.mirrors.get_mut(&(core, channel)) {
            mirror.told = count;
        }
        if is_durable(channel) || passes(channel) {
            return; // What waited, and a new life of a room, may come close together.
        }
        #[cfg(feature = "faults")]
        if CHANNELS[channel].1 == FAULT {
            return;
        }
        if let Some(last) = self.announced.insert((core, channel), self.now) {
            assert!(self.now.since(last) >= LISTENERS_PACE, "paced");
        }
    }
}

fn mark(editing: &Editing) -> (String, Mark) {
    let cell = editing.cell.clone().expect("who edits nothing is not among those who edit");
    (editing.who.to_string(), (cell, editing.user.clone()))
}
