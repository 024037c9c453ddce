//! The naive model of the random ops: every state that there ever was.

use std::collections::{BTreeMap, HashMap, VecDeque};

use tallycast::base::keys::CoreId;
use tallycast::base::time::Time;
use tallycast::engine::table::Edit;
use tallycast::engine::{
    Act, CellName, Change, ChannelName, ClassId, Epoch, Op, Origin, Position, Publication, TableChange, UserName,
};

#[cfg(feature = "faults")]
use super::FAULT;
use super::sheet::{Sheet, named};
use super::{DM, ECHO, FULL_USERS, HISTORY, IDLE, LOG, OPTIONS, POLL, ROOM, SAVED, SAVED_LOG, SAVED_TABLE, TABLE};

pub(super) const CHANNELS: &[(&str, ClassId)] = &[
    ("log", LOG),
    ("poll", POLL),
    ("saved", SAVED),
    ("saved/log", SAVED_LOG),
    ("table", TABLE),
    // Again, so that it comes more often.
    ("table", TABLE),
    ("saved/table", SAVED_TABLE),
    ("room/1", ROOM),
    ("room/2", ROOM),
    ("dm/1", DM),
    ("dm/2", DM),
    ("echo", ECHO),
    #[cfg(feature = "faults")]
    ("fault", FAULT),
];

/// Channels that come and go, at most.
pub(super) const PASSING_MAX: usize = 2;
/// Row ids that users give; what the table makes is none of them.
pub(super) const GIVEN: [&str; 4] = ["1", "2", "x", "y"];

/// What someone edits, and under which name.
pub(super) type Mark = (CellName, Option<UserName>);

/// All states that a channel had in one life, by revision; what changed is a text for a log and an option for a tally.
#[derive(Clone)]
pub(super) struct Life {
    pub(super) channel: usize,
    pub(super) epoch: Option<Epoch>,
    pub(super) changes: Vec<String>,
    /// If it is a table: as it was at each revision. A row that was given no id has one that begins with `?`.
    pub(super) sheets: Vec<Sheet>,
    /// The ids that such rows turned out to have.
    pub(super) made: BTreeMap<String, String>,
    /// Revisions at which somebody had all.
    heard: Vec<u64>,
    /// Ranges, and whether the last may still grow.
    pub(super) publications: Vec<(u64, u64)>,
    pub(super) open: bool,
    pub(super) saved: u64,
}

/// A channel now.
pub(super) struct Present {
    pub(super) life: usize,
    pub(super) attached: Vec<u16>,
    pub(super) listeners: BTreeMap<u16, u32>,
    pub(super) names: BTreeMap<String, BTreeMap<u16, u32>>,
    /// By origin.
    pub(super) marks: BTreeMap<String, Mark>,
    pub(super) used: Time,
}

pub(super) enum Expected {
    Accepted { life: usize, revision: u64 },
    Joined { life: usize, revision: u64, heard: u64, users: Vec<String> },
    Attached(Box<Attaching>),
    Refused(&'static str),
}

/// What an attach must bring.
pub(super) struct Attaching {
    pub(super) life: usize,
    pub(super) revision: u64,
    pub(super) publications: usize,
    pub(super) since: Option<Position>,
    pub(super) detached: u32,
    pub(super) listeners: u32,
    pub(super) users: Vec<String>,
    pub(super) marks: BTreeMap<String, Mark>,
}

#[derive(Default)]
pub(super) struct Model {
    pub(super) lives: Vec<Life>,
    pub(super) present: HashMap<usize, Present>,
    /// How often a core detached: an answer to an earlier attach makes no mirror.
    pub(super) detached: HashMap<(u16, usize), u32>,
    /// What a core is still to be told of names, in order.
    pub(super) news: HashMap<(u16, usize), VecDeque<String>>,
}

impl Life {
    fn new(channel: usize) -> Life {
        Life {
            channel,
            epoch: None,
            changes: Vec::new(),
            sheets: if is_table(channel) { vec![Sheet::new()] } else { Vec::new() },
            made: BTreeMap::new(),
            heard: vec![0],
            publications: Vec::new(),
            open: false,
            saved: 0,
        }
    }

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

    /// A publication is what the model says, wherever it is seen.
    pub(super) fn check(&mut self, publication: &Publication) {
        assert_eq!(&*publication.channel, CHANNELS[self.channel].0);
        let (first, last) = (publication.first, publication.last);
        assert!(self.publications.contains(&(first, last)), "{first}-{last}");
        assert!(!is_durable(self.channel) || last <= self.saved, "a number shown is a number saved");
        if let Change::Table(change) = &publication.change {
            assert_eq!(first, last);
            return self.check_change(change, first);
        }
        let changes = &self.changes[first as usize - 1..last as usize];
        match &publication.change {
            Change::Message(entry) => {
                assert_eq!([message(entry.body.bytes(), entry.from.as_ref(), entry.skip)], *changes);
            }
            Change::Tally { steps, counts } => {
                assert_eq!(steps.len(), changes.len());
                for ((step, change), revision) in steps.iter().zip(changes).zip(first..) {
                    assert_eq!(OPTIONS[usize::from(step.option)], change);
                    assert_eq!(step.count, self.count(change, revision));
                }
                self.check_counts(counts, last);
            }
            Change::Table(_) => unreachable!("looked at above"),
        }
    }

    pub(super) fn check_counts(&self, counts: &[u64], revision: u64) {
        let expected: Vec<u64> = OPTIONS.iter().map(|option| self.count(option, revision)).collect();
        assert_eq!(counts, expected, "at revision {revision}");
    }

    /// What the change says leads from one table to the next.
    fn check_change(&mut self, change: &TableChange, revision: u64) {
        let is_new = matches!(change.edit, Edit::Insert { .. });
        for (index, id) in named(change) {
            let sheet = &self.sheets[revision as usize - usize::from(!is_new)];
            let known = sheet.rows[index].0.clone();
            self.learn(known, id);
        }
        let after = self.sheet(revision - 1).follow(change, revision);
        assert_eq!(after, self.sheet(revision), "{change:?}");
    }

    /// A whole table is what the model says.
    pub(super) fn check_sheet(&mut self, sheet: &Sheet, revision: u64) {
        let known: Vec<String> = self.sheets[revision as usize].rows.iter().map(|(id, _)| id.clone()).collect();
        assert_eq!(known.len(), sheet.rows.len());
        for (known, (id, _)) in known.into_iter().zip(&sheet.rows) {
            self.learn(known, id);
        }
        assert_eq!(*sheet, self.sheet(revision), "at revision {revision}");
    }

    /// A row that was given no id has this one: short, and nobody else's ever.
    fn learn(&mut self, known: String, id: &str) {
        if !known.starts_with('?') {
            return;
        }
        assert!((1..=10).contains(&id.len()) && !GIVEN.contains(&id), "{id:?}");
        let other = self.made.iter().find(|(other, made)| **other != known && *made == id);
        assert_eq!(other, None, "{id:?} was another row");
        assert_eq!(self.made.entry(known).or_insert_with(|| id.to_owned()), id);
    }

    /// The table at a revision, with the ids that are known by now.
    pub(super) fn sheet(&self, revision: u64) -> Sheet {
        let mut sheet = self.sheets[revision as usize].clone();
        for (id, _) in &mut sheet.rows {
            if let Some(made) = self.made.get(id) {
                id.clone_from(made);
            }
        }
        sheet
    }
}

impl Present {
    pub(super) fn sum(&self) -> u32 {
        self.listeners.values().sum()
    }

    pub(super) fn users(&self) -> Vec<String> {
        self.names.keys().cloned().collect()
    }

    /// Whether somebody hears what is said now.
    fn is_heard(&self) -> bool {
        self.sum() > 0 || !self.names.is_empty()
    }
}

impl Model {
    /// Idle channels go.
    pub(super) fn pass(&mut self, now: Time) {
        self.present.retain(|&channel, present| {
            let is_used = !present.attached.is_empty() || !present.names.is_empty();
            is_used || !passes(channel) || present.used + IDLE > now
        });
    }

    /// What an op must bring.
    pub(super) fn op(&mut self, core: u16, op: &Op, now: Time) -> Option<Expected> {
        let (channel, act) = (channel_of(&op.channel), &op.act);
        let answered = !matches!(act, Act::Detach | Act::Listeners { .. } | Act::Leave { .. });
        if matches!(act, Act::Detach) {
            *self.detached.entry((core, channel)).or_default() += 1;
        }
        if !self.present.contains_key(&channel) {
            if matches!(act, Act::Detach | Act::Leave { .. } | Act::Listeners { count: 0 }) {
                return None;
            }
            if let Err(code) = self.begin(channel, act, now) {
                return answered.then_some(Expected::Refused(code));
            }
        }
        let present = self.present.get_mut(&channel)?;
        present.used = now;
        let who = Origin { core: CoreId(core), asker: op.ticket.asker };
        let done = match act {
            Act::Join { .. } | Act::Leave { .. } | Act::Listeners { .. } | Act::Attach { .. } | Act::Detach => {
                self.come_and_go(channel, who, act)
            }
            #[cfg(feature = "faults")]
            Act::Panic if CHANNELS[channel].1 == FAULT => {
                self.present.remove(&channel);
                Err("failed")
            }
            #[cfg(feature = "faults")]
            Act::Panic => Err("wrong_type"),
            Act::Append { .. } | Act::Table { .. } | Act::Editing { .. } | Act::Cast { .. } => {
                let made = format!("?{}", op.ticket.number);
                self.change(channel, who, act, &made).map(Some)
            }
        };
        let expected = done.unwrap_or_else(|code| Some(Expected::Refused(code)));
        assert_eq!(expected.is_some(), answered);
        expected
    }

    fn begin(&mut self, channel: usize, act: &Act, now: Time) -> Result<(), &'static str> {
        let passing = self.present.keys().filter(|&&other| passes(other)).count();
        match act {
            _ if CHANNELS[channel].1 == ECHO => return Err("wrong_type"),
            Act::Append { only_if_heard: true, .. } => {
                return Err(if is_log(channel) { "absent" } else { "wrong_type" });
            }
            Act::Editing { cell: None, .. } => {
                return Err(if is_table(channel) { "unknown_row" } else { "wrong_type" });
            }
            _ if passes(channel) && passing == PASSING_MAX => return Err("full"),
            _ => {}
        }
        self.lives.push(Life::new(channel));
        let present = Present {
            life: self.lives.len() - 1,
            attached: Vec::new(),
            listeners: BTreeMap::new(),
            names: BTreeMap::new(),
            marks: BTreeMap::new(),
            used: now,
        };
        self.present.insert(channel, present);
        Ok(())
    }

    fn change(&mut self, channel: usize, who: Origin, act: &Act, made: &str) -> Result<Expected, &'static str> {
        let present = self.present.get_mut(&channel).expect("it has begun");
        let (index, life) = (present.life, &mut self.lives[present.life]);
        match act {
            Act::Append { body, from, echo, only_if_heard } if is_log(channel) => {
                let is_heard = present.is_heard();
                if *only_if_heard && !is_heard {
                    return Err("absent");
                }
                let skip = (!echo).then_some(who);
                life.changes.push(message(body.bytes(), from.as_ref(), skip));
                life.publications.push((life.revision(), life.revision()));
                if is_heard {
                    life.heard.push(life.revision());
                }
            }
            Act::Cast { choice } if is_tally(channel) => {
                if choice == "?" {
                    return Err("unknown_option");
                }
                life.changes.push(choice.to_string());
                let revision = life.revision();
                match life.publications.last_mut().filter(|_| life.open) {
                    Some((_, last)) => *last = revision,
                    None => life.publications.push((revision, revision)),
                }
                life.open = true;
            }
            Act::Table { act, by } if is_table(channel) => {
                let sheet = life.sheets.last().expect("the beginning");
                let next = sheet.act(act, by.as_deref(), life.revision() + 1, made)?;
                present.marks.retain(|_, (cell, _)| next.rows.iter().any(|(id, _)| *id == *cell.row));
                life.sheets.push(next);
                life.changes.push(String::new());
                life.publications.push((life.revision(), life.revision()));
            }
            Act::Editing { cell: None, .. } if is_table(channel) => {
                present.marks.remove(&who.to_string());
            }
            Act::Editing { cell: Some(cell), by } if is_table(channel) => {
                life.sheets.last().expect("the beginning").find(cell)?;
                let who = who.to_string();
                if present.marks.len() == FULL_USERS && !present.marks.contains_key(&who) {
                    return Err("full");
                }
                present.marks.insert(who, (cell.clone(), by.clone()));
            }
            _ => return Err("wrong_type"),
        }
        let revision = life.revision();
        Ok(Expected::Accepted { life: index, revision })
    }

    fn come_and_go(&mut self, channel: usize, who: Origin, act: &Act) -> Result<Option<Expected>, &'static str> {
        let core = who.core.0;
        let present = self.present.get_mut(&channel).expect("it has begun");
        let (index, life) = (present.life, &mut self.lives[present.life]);
        let revision = life.revision();
        let before = present.users();
        let mut expected = None;
        match act {
            Act::Listeners { count } => {
                present.listeners.insert(core, *count);
            }
            Act::Join { user, count } => {
                if !present.names.contains_key(&**user) && present.names.len() == FULL_USERS {
                    return Err("full");
                }
                present.names.entry(user.to_string()).or_default().insert(core, *count);
                let heard = if is_log(channel) { life.heard.iter().copied().max().unwrap_or(0) } else { revision };
                life.heard.push(revision);
                expected = Some(Expected::Joined { life: index, revision, heard, users: present.users() });
            }
            Act::Leave { user, count } => {
                if let Some(known) = present.names.get_mut(&**user).and_then(|cores| cores.get_mut(&core)) {
                    *known = *count;
                }
            }
            Act::Detach => {
                present.attached.retain(|&attached| attached != core);
                present.listeners.remove(&core);
                for cores in present.names.values_mut() {
                    cores.remove(&core);
                }
                present.marks.retain(|who, _| !who[1..].starts_with(&format!("{core}.")));
                life.open = false;
            }
            Act::Attach { since } => {
                life.open = false;
                present.attached.retain(|&attached| attached != core);
                present.attached.push(core);
                expected = Some(Expected::Attached(Box::new(Attaching {
                    life: index,
                    revision,
                    publications: life.publications.len(),
                    since: *since,
                    detached: self.detached.get(&(core, channel)).copied().unwrap_or(0),
                    listeners: present.sum(),
                    users: present.users(),
                    marks: present.marks.clone(),
                })));
            }
            _ => unreachable!("nobody comes or goes by {act:?}"),
        }
        for cores in present.names.values_mut() {
            cores.retain(|_, count| *count > 0);
        }
        present.names.retain(|_, cores| !cores.is_empty());
        let after = present.users();
        let joined = after.iter().filter(|user| !before.contains(user)).map(|user| format!("joined {user}"));
        let left = before.iter().filter(|user| !after.contains(user)).map(|user| format!("left {user}"));
        let news: Vec<String> = joined.chain(left).collect();
        for core in &present.attached {
            self.news.entry((*core, channel)).or_default().extend(news.iter().cloned());
        }
        Ok(expected)
    }
}

fn message(body: &[u8], from: Option<&UserName>, skip: Option<Origin>) -> String {
    format!("{} from {from:?} not to {skip:?}", String::from_utf8_lossy(body))
}

pub(super) fn channel_of(name: &ChannelName) -> usize {
    let channel = CHANNELS.iter().position(|(channel, _)| *channel == &**name);
    channel.expect("one of ours")
}

pub(super) fn is_durable(channel: usize) -> bool {
    [SAVED, SAVED_LOG, SAVED_TABLE].contains(&CHANNELS[channel].1)
}

pub(super) fn is_tally(channel: usize) -> bool {
    [POLL, SAVED, ROOM].contains(&CHANNELS[channel].1)
}

pub(super) fn is_table(channel: usize) -> bool {
    [TABLE, SAVED_TABLE].contains(&CHANNELS[channel].1)
}

pub(super) fn is_log(channel: usize) -> bool {
    !is_tally(channel) && !is_table(channel) && CHANNELS[channel].1 != ECHO
}

/// Whether it comes and goes.
pub(super) fn passes(channel: usize) -> bool {
    [ROOM, DM].contains(&CHANNELS[channel].1)
}
