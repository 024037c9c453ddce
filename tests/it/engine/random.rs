//! Random ops of many cores, and batches that come twice. The judge is a naive model that knows every state there ever
//! was; each core's mirror is fed with nothing but its mail, and must be that state at every step.

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tallycast::base::keys::{CoreId, OfConnection, Slots};
use tallycast::base::limits::LISTENERS_PACE;
use tallycast::base::time::Time;
use tallycast::engine::{
    Act, Answer, Asker, Attached, Batch, Body, Change, EngineMail, Epoch, Op, Outcome, Position, Publication, State,
    Ticket,
};

#[cfg(feature = "faults")]
use super::FAULT;
use super::model::{CHANNELS, Life, channel_of, check_counts, is_durable, is_tally};
use super::{ECHO, Engine, IDLE, Mail, OPTIONS, ROOM, specs};

const SEEDS: u64 = 300;
const STEPS: usize = 150;
const CORES: u16 = 4;
const ROOMS_MAX: usize = 2;

/// Runs all seeds. A seed that fails is named, and fails again when it is run alone.
pub(super) fn run<E: Engine>() {
    let mut checked = 0;
    for seed in 0..SEEDS {
        let mut world: World<E> = World::new(seed);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| world.run())) {
            #[expect(clippy::print_stderr, reason = "a seed that fails must be seen")]
            {
                eprintln!("engine: seed {seed} failed");
            }
            resume_unwind(panic);
        }
        checked += world.checked;
    }
    assert!(checked > SEEDS * STEPS as u64, "only {checked} publications were checked");
}

/// A channel now.
#[derive(Default)]
struct Present {
    life: usize,
    attached: Vec<u16>,
    listeners: BTreeMap<u16, u32>,
    used: Time,
}

enum Expected {
    Accepted { life: usize, revision: u64 },
    Attached { life: usize, revision: u64, publications: usize, since: Option<Position>, detached: u32, listeners: u32 },
    Refused(&'static str),
}

/// What a core knows of a channel.
struct Mirror {
    at: Position,
    /// Where the last publication began.
    first: u64,
    told: u32,
}

struct World<E> {
    engine: E,
    random: StdRng,
    now: Time,
    askers: Vec<Asker>,
    ticket: u32,
    sent: Vec<Vec<Batch>>,
    lives: Vec<Life>,
    present: HashMap<usize, Present>,
    expected: BTreeMap<u32, (u16, usize, Expected)>,
    mirrors: HashMap<(u16, usize), Mirror>,
    /// How often a core detached: an answer to an earlier attach makes no mirror.
    detached: HashMap<(u16, usize), u32>,
    announced: HashMap<(u16, usize), Time>,
    checked: u64,
}

impl<E: Engine> World<E> {
    fn new(seed: u64) -> World<E> {
        let now = Time::from_millis(5_000);
        let mut connections: Slots<OfConnection, ()> = Slots::default();
        World {
            engine: E::start(specs(), ROOMS_MAX, seed, now),
            random: StdRng::seed_from_u64(seed),
            now,
            askers: (0..3).map(|_| Asker::Connection(connections.insert(()))).collect(),
            ticket: 0,
            sent: vec![Vec::new(); usize::from(CORES)],
            lives: Vec::new(),
            present: HashMap::new(),
            expected: BTreeMap::new(),
            mirrors: HashMap::new(),
            detached: HashMap::new(),
            announced: HashMap::new(),
            checked: 0,
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

    /// When all is quiet, every core that is attached has the present state and the present number of listeners.
    fn end(&mut self) {
        while let Some((publications, mail)) = self.engine.save() {
            self.saved(&publications, mail);
        }
        self.pass(LISTENERS_PACE);
        self.pass(LISTENERS_PACE);
        assert!(self.expected.is_empty(), "every op is answered");
        let attached: Vec<(u16, usize)> = self
            .present
            .iter()
            .flat_map(|(&channel, present)| present.attached.iter().map(move |&core| (core, channel)))
            .collect();
        assert_eq!(attached.len(), self.mirrors.len());
        for (core, channel) in attached {
            let (mirror, present) = (&self.mirrors[&(core, channel)], &self.present[&channel]);
            assert_eq!(mirror.at.revision, self.lives[present.life].revision());
            assert_eq!(Some(mirror.at.epoch), self.lives[present.life].epoch);
            assert_eq!(mirror.told, present.listeners.values().sum::<u32>(), "listeners of {}", CHANNELS[channel].0);
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        let now = self.now;
        self.present.retain(|&channel, present| {
            let goes = CHANNELS[channel].1 == ROOM && present.attached.is_empty() && present.used + IDLE <= now;
            !goes
        });
        let (mail, next) = self.engine.advance(now);
        assert!(next.is_none_or(|next| next > now), "calling again at once brings nothing");
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
            let life = &mut self.lives[self.present[&channel].life];
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
            self.model(core, op);
        }
        for life in &mut self.lives {
            life.open = false;
        }
        self.sent[usize::from(core)].push(batch.clone());
        let mail = self.engine.batch(batch, self.now);
        self.read(mail);
        let waits = |(_, channel, _): &(u16, usize, Expected)| is_durable(*channel);
        assert!(self.expected.values().all(waits), "what is not durable is answered at once");
    }

    fn send_again(&mut self) {
        let core = self.random.random_range(0..CORES);
        let sent = &self.sent[usize::from(core)];
        if !sent.is_empty() {
            let batch = sent[self.random.random_range(0..sent.len())].clone();
            assert!(self.engine.batch(batch, self.now).is_empty());
        }
    }

    fn some_op(&mut self, core: u16) -> Op {
        let channel = self.random.random_range(0..CHANNELS.len());
        let (name, class) = CHANNELS[channel];
        self.ticket += 1;
        let act = match self.random.random_range(0..20) {
            0..9 if is_tally(channel) => Act::Cast { choice: OPTIONS[self.random.random_range(0..3)].into() },
            0..9 => Act::Append { body: Body::Text(format!("{}", self.ticket).into()) },
            9 => Act::Cast { choice: "?".into() },
            10 if is_tally(channel) => Act::Append { body: Body::Text("?".into()) },
            10..14 => Act::Attach { since: self.some_position(core, channel) },
            14..16 => Act::Detach,
            #[cfg(feature = "faults")]
            16 => Act::Panic,
            _ => Act::Listeners { count: self.random.random_range(0..3) },
        };
        Op {
            channel: name.into(),
            class,
            ticket: Ticket { asker: self.askers[self.random.random_range(0..self.askers.len())], number: self.ticket },
            act,
        }
    }

    fn some_position(&mut self, core: u16, channel: usize) -> Option<Position> {
        if let Some(mirror) = self.mirrors.get(&(core, channel)).filter(|_| self.random.random()) {
            return Some(mirror.at);
        }
        let epochs: Vec<Epoch> = self.lives.iter().filter_map(|life| life.epoch).collect();
        if epochs.is_empty() || self.random.random() {
            return None;
        }
        Some(Position {
            epoch: epochs[self.random.random_range(0..epochs.len())],
            revision: self.random.random_range(0..30),
        })
    }

    /// What an op must bring, by the naive model.
    fn model(&mut self, core: u16, op: &Op) {
        let channel = channel_of(&op.channel);
        let expected = self.model_outcome(core, channel, &op.act);
        if let Some(expected) = expected {
            self.expected.insert(op.ticket.number, (core, channel, expected));
        }
    }

    fn model_outcome(&mut self, core: u16, channel: usize, act: &Act) -> Option<Expected> {
        let answered = !matches!(act, Act::Detach | Act::Listeners { .. });
        if matches!(act, Act::Detach) {
            *self.detached.entry((core, channel)).or_default() += 1;
            self.mirrors.remove(&(core, channel));
        }
        if !self.present.contains_key(&channel) {
            if matches!(act, Act::Detach | Act::Listeners { count: 0 }) {
                return None;
            }
            let rooms = self.present.keys().filter(|&&other| CHANNELS[other].1 == ROOM).count();
            if CHANNELS[channel].1 == ECHO {
                return answered.then_some(Expected::Refused("wrong_type"));
            }
            if CHANNELS[channel].1 == ROOM && rooms == ROOMS_MAX {
                return answered.then_some(Expected::Refused("full"));
            }
            self.lives.push(Life { channel, ..Life::default() });
            let life = self.lives.len() - 1;
            self.present.insert(channel, Present { life, ..Present::default() });
        }
        let present = self.present.get_mut(&channel)?;
        present.used = self.now;
        let (index, life) = (present.life, &mut self.lives[present.life]);
        match act {
            Act::Append { body } if !is_tally(channel) => {
                life.changes.push(String::from_utf8_lossy(body.bytes()).into());
                life.publications.push((life.revision(), life.revision()));
            }
            Act::Cast { choice } if is_tally(channel) => {
                if choice == "?" {
                    return Some(Expected::Refused("unknown_option"));
                }
                life.changes.push(choice.to_string());
                let revision = life.revision();
                match life.publications.last_mut().filter(|_| life.open) {
                    Some((_, last)) => *last = revision,
                    None => life.publications.push((revision, revision)),
                }
                life.open = true;
            }
            Act::Append { .. } | Act::Cast { .. } => return Some(Expected::Refused("wrong_type")),
            Act::Listeners { count } => {
                present.listeners.insert(core, *count);
                return None;
            }
            Act::Detach => {
                present.attached.retain(|&attached| attached != core);
                present.listeners.remove(&core);
                life.open = false;
                return None;
            }
            Act::Attach { since } => {
                life.open = false;
                present.attached.retain(|&attached| attached != core);
                present.attached.push(core);
                return Some(Expected::Attached {
                    life: index,
                    revision: life.revision(),
                    publications: life.publications.len(),
                    since: *since,
                    detached: self.detached.get(&(core, channel)).copied().unwrap_or(0),
                    listeners: present.listeners.values().sum(),
                });
            }
            #[cfg(feature = "faults")]
            Act::Panic if CHANNELS[channel].1 == FAULT => {
                self.present.remove(&channel);
                return Some(Expected::Refused("failed"));
            }
            #[cfg(feature = "faults")]
            Act::Panic => return Some(Expected::Refused("wrong_type")),
        }
        let revision = life.revision();
        Some(Expected::Accepted { life: index, revision })
    }

    fn read(&mut self, mail: Mail) {
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
                EngineMail::Failed { channel } => {
                    self.mirrors.remove(&(core, channel_of(&channel)));
                }
            }
        }
    }

    fn learn(&mut self, outcome: &Outcome) {
        let at = match &outcome.result {
            Ok(Answer::Accepted(at)) => *at,
            Ok(Answer::Attached(attached)) => attached.at,
            Err(_) => return,
        };
        let (Expected::Accepted { life, .. } | Expected::Attached { life, .. }) =
            self.expected[&outcome.ticket.number].2
        else {
            panic!("an answer where a refusal was expected: {outcome:?}");
        };
        assert_ne!(at.epoch.0, 0);
        assert_eq!(*self.lives[life].epoch.get_or_insert(at.epoch), at.epoch, "a life has one epoch");
        assert_eq!(self.life(at.epoch), life, "an epoch has one life");
    }

    fn life(&self, epoch: Epoch) -> usize {
        let life = self.lives.iter().position(|life| life.epoch == Some(epoch));
        life.expect("a known epoch")
    }

    fn read_publication(&mut self, core: u16, publication: &Publication) {
        let life = self.life(publication.epoch);
        self.check(life, publication);
        let Some(mirror) = self.mirrors.get_mut(&(core, self.lives[life].channel)) else {
            return; // It has detached meanwhile.
        };
        assert_eq!(mirror.at.epoch, publication.epoch);
        assert_eq!(publication.first, mirror.at.revision + 1, "none missed, doubled or out of order");
        (mirror.at, mirror.first) = (publication.at(), publication.first);
        self.checked += 1;
    }

    /// A publication is what the model says, wherever it is seen.
    fn check(&self, life: usize, publication: &Publication) {
        let life = &self.lives[life];
        assert_eq!(&*publication.channel, CHANNELS[life.channel].0);
        let (first, last) = (publication.first, publication.last);
        assert!(life.publications.contains(&(first, last)), "{first}-{last}");
        assert!(!is_durable(life.channel) || last <= life.saved, "a number shown is a number saved");
        let changes = &life.changes[first as usize - 1..last as usize];
        match &publication.change {
            Change::Message(body) => assert_eq!([String::from_utf8_lossy(body.bytes())], *changes),
            Change::Tally { steps, counts } => {
                assert_eq!(steps.len(), changes.len());
                for ((step, change), revision) in steps.iter().zip(changes).zip(first..) {
                    assert_eq!(OPTIONS[usize::from(step.option)], change);
                    assert_eq!(step.count, life.count(change, revision));
                }
                check_counts(life, counts, last);
            }
        }
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
            (Expected::Refused(code), Err(refusal)) => assert_eq!(refusal.code(), code),
            (Expected::Accepted { life, revision }, Ok(Answer::Accepted(at))) => {
                assert_eq!((Some(at.epoch), at.revision), (self.lives[life].epoch, revision));
                assert!(!is_durable(channel) || revision <= self.lives[life].saved, "a number shown is a number saved");
                if let Some(mirror) = self.mirrors.get(&(core, channel)).filter(|mirror| mirror.at.epoch == at.epoch) {
                    assert!(mirror.at.revision >= revision, "behind the publication that covers it");
                    assert!(mirror.first <= revision, "before the next one");
                }
            }
            (
                Expected::Attached { life, revision, publications, since, detached, listeners },
                Ok(Answer::Attached(attached)),
            ) => {
                assert_eq!((attached.at.revision, attached.listeners), (revision, listeners));
                self.check_attached(life, publications, since, &attached);
                if self.detached.get(&(core, channel)).copied().unwrap_or(0) == detached {
                    self.attach(core, channel, &attached);
                }
            }
            (Expected::Refused(code), Ok(answer)) => panic!("{code} was expected: {answer:?}"),
            (_, result) => panic!("an answer was expected: {result:?}"),
        }
    }

    fn check_attached(&self, life: usize, publications: usize, since: Option<Position>, attached: &Attached) {
        let life_index = life;
        let life = &self.lives[life];
        let revision = attached.at.revision;
        assert!(!is_durable(life.channel) || revision <= life.saved, "a number shown is a number saved");
        match &attached.state {
            State::Log => assert!(!is_tally(life.channel)),
            State::Tally { counts, .. } => check_counts(life, counts, revision),
        }
        // What was kept when it was decided.
        let then = Life {
            channel: life.channel,
            epoch: life.epoch,
            changes: life.changes[..revision as usize].to_vec(),
            publications: life.publications[..publications].to_vec(),
            ..Life::default()
        };
        let recent: Vec<_> = attached.recent.iter().map(|recent| (recent.first, recent.last)).collect();
        assert_eq!(recent, then.recent(since), "since {since:?}");
        for publication in &attached.recent {
            self.check(life_index, publication);
        }
    }

    fn attach(&mut self, core: u16, channel: usize, attached: &Attached) {
        let mirror = Mirror { at: attached.at, first: attached.at.revision, told: attached.listeners };
        if let Some(before) = self.mirrors.insert((core, channel), mirror) {
            assert_eq!(before.at, attached.at, "who is attached has missed nothing");
        }
    }

    fn read_listeners(&mut self, core: u16, channel: usize, count: u32) {
        if let Some(mirror) = self.mirrors.get_mut(&(core, channel)) {
            mirror.told = count;
        }
        if is_durable(channel) || CHANNELS[channel].1 == ROOM {
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
