//! A channel's present by its ops alone: who is attached, how many listen, under which names, who edits what, up to where
//! somebody listened, and the table.

use std::collections::{BTreeMap, BTreeSet};

use tallycast::base::keys::CoreId;
use tallycast::engine::{
    Act, Answer, Attached, CellName, Editing, Op, Origin, Presence, Refusal, State, TableAct, UserName,
};

use super::table::{Change, Table};

/// The row, the column, and who edits there.
type Mark = (String, String, Option<String>);

/// Who edits what, by their opaque id.
pub(crate) type Marks = BTreeMap<String, Mark>;

/// See the module.
#[derive(Debug)]
pub(crate) struct Present {
    /// Of a log, how far somebody has listened is kept; who joins something else sees its present state.
    is_log: bool,
    epoch: u64,
    attached: BTreeSet<CoreId>,
    listeners: BTreeMap<CoreId, u32>,
    pub(crate) names: BTreeMap<String, BTreeMap<CoreId, u32>>,
    pub(crate) marks: Marks,
    /// On which core each of them lives.
    homes: BTreeMap<String, CoreId>,
    /// The marks that an attached core was told.
    told: BTreeMap<CoreId, Marks>,
    /// Up to this revision somebody listened, or has joined since.
    heard: u64,
    pub(crate) table: Table,
}

/// Joined and left: what a core is to be told, in order.
pub(crate) type Expected = Vec<(CoreId, Presence)>;

impl Present {
    pub(crate) fn new(is_log: bool) -> Present {
        Present {
            is_log,
            epoch: 0,
            attached: BTreeSet::new(),
            listeners: BTreeMap::new(),
            names: BTreeMap::new(),
            marks: Marks::new(),
            homes: BTreeMap::new(),
            told: BTreeMap::new(),
            heard: 0,
            table: Table::new(),
        }
    }

    /// How many listen.
    pub(crate) fn listeners(&self) -> u64 {
        self.listeners.values().map(|count| u64::from(*count)).sum()
    }

    fn is_heard(&self) -> bool {
        self.listeners() > 0 || !self.names.is_empty()
    }

    fn live_in(&mut self, epoch: u64) {
        if self.epoch != epoch {
            assert!(!self.is_heard() && self.attached.is_empty(), "a channel ended that was in use: {self:?}");
            *self = Present { epoch, ..Present::new(self.is_log) };
        }
    }

    /// Does an op, and judges its answer. Returns the table's change, if it is one.
    pub(crate) fn take(
        &mut self,
        core: CoreId,
        op: &Op,
        result: Option<&Result<Answer, Refusal>>,
        users_max: usize,
        expected: &mut Expected,
    ) -> Option<Change> {
        if let Some(Ok(answer)) = result {
            let at = match answer {
                Answer::Accepted(at) | Answer::Joined { at, .. } => *at,
                Answer::Attached(attached) => attached.at,
            };
            self.live_in(at.epoch.0);
        }
        match (&op.act, result) {
            (Act::Append { only_if_heard, .. }, Some(Ok(Answer::Accepted(at)))) => {
                assert!(self.is_heard() || !only_if_heard, "nobody is there, and it was accepted: {op:?}");
                if self.is_heard() {
                    self.heard = at.revision;
                }
            }
            (Act::Append { only_if_heard, .. }, Some(Err(Refusal::Absent))) => {
                assert!(*only_if_heard && !self.is_heard(), "somebody is there, and it was refused: {op:?} {self:?}");
            }
            (Act::Table { act, by }, Some(result)) => return self.table_act(act, by.as_ref(), result),
            (Act::Editing { cell, by }, Some(result)) => {
                let who = Origin { core, asker: op.ticket.asker };
                self.edit(who, cell.as_ref(), by.as_ref(), result, users_max);
            }
            (Act::Join { user, count }, Some(result)) => self.join(core, user, *count, result, users_max, expected),
            (Act::Leave { user, count }, None) => self.leave(core, user, *count, expected),
            (Act::Listeners { count }, None) => _ = self.listeners.insert(core, *count),
            (Act::Attach { .. }, Some(Ok(Answer::Attached(attached)))) => self.attach(core, attached),
            (Act::Detach, None) => self.detach(core, expected),
            (Act::Cast { .. } | Act::Append { .. } | Act::Attach { .. }, _) => {}
            other => panic!("an act with such an answer: {other:?}"),
        }
        None
    }

    fn table_act(&mut self, act: &TableAct, by: Option<&UserName>, result: &Result<Answer, Refusal>) -> Option<Change> {
        match (self.table.decide(act), result) {
            (Ok(edit), Ok(Answer::Accepted(at))) => {
                let change = Change { edit, by: by.map(|by| by.to_string()) };
                self.table.apply(&change, at.revision);
                let Table { rows, .. } = &self.table;
                self.marks.retain(|_, (row, _, _)| rows.iter().any(|known| known.id == *row));
                Some(change)
            }
            (Err(refused), Err(refusal)) => {
                assert_eq!(refused.code, refusal.code(), "{act:?} of {:?}", self.table);
                if let (Some((row, column, cell)), Refusal::Stale(stale)) = (refused.stale, refusal) {
                    let name = CellName { row: row.into(), column: crate::sim::setup::COLUMNS[column].into() };
                    let by = stale.by.as_deref().map(str::to_owned);
                    assert_eq!((&stale.cell, stale.revision), (&name, cell.rev), "{act:?}");
                    assert_eq!((&*stale.value.0, by), (cell.value.as_str(), cell.by), "{act:?}");
                }
                None
            }
            (expected, found) => panic!("{act:?} of {:?}: {expected:?} is right, the engine: {found:?}", self.table),
        }
    }

    fn edit(
        &mut self,
        who: Origin,
        cell: Option<&CellName>,
        by: Option<&UserName>,
        result: &Result<Answer, Refusal>,
        users_max: usize,
    ) {
        let key = who.to_string();
        let (row, column) = cell.map_or(("", ""), |cell| (&cell.row, &cell.column));
        let code = if cell.is_none() {
            None
        } else if self.table.index_of(row).is_none() {
            Some("unknown_row")
        } else if self.table.cell(row, column).is_none() {
            Some("unknown_column")
        } else if !self.marks.contains_key(&key) && self.marks.len() >= users_max {
            Some("full")
        } else {
            None
        };
        assert_eq!(result.as_ref().err().map(Refusal::code), code, "{key} edits {cell:?} of {:?}", self.table);
        match (code, cell) {
            (Some(_), _) => {}
            (None, None) => _ = self.marks.remove(&key),
            (None, Some(_)) => {
                let by = by.map(|by| by.to_string());
                self.marks.insert(key.clone(), (row.to_owned(), column.to_owned(), by));
                self.homes.insert(key, who.core);
            }
        }
    }

    fn tell(&self, news: &Presence, expected: &mut Expected) {
        expected.extend(self.attached.iter().map(|core| (*core, news.clone())));
    }

    fn join(
        &mut self,
        core: CoreId,
        user: &UserName,
        count: u32,
        result: &Result<Answer, Refusal>,
        users_max: usize,
        expected: &mut Expected,
    ) {
        let is_new = !self.names.contains_key(&**user);
        match result {
            Ok(Answer::Joined { at, heard }) => {
                assert!(!is_new || self.names.len() < users_max, "too many names: {user}");
                let right = if self.is_log { self.heard } else { at.revision };
                assert_eq!(*heard, right, "{user} gets what was kept, once");
                self.heard = at.revision;
                self.names.entry(user.to_string()).or_default().insert(core, count);
                if is_new {
                    self.tell(&Presence::Joined(user.clone()), expected);
                }
            }
            Err(Refusal::Full { .. }) => {
                assert!(is_new && self.names.len() >= users_max, "there is room for {user}: {:?}", self.names);
            }
            other => panic!("{user} joins: {other:?}"),
        }
    }

    fn leave(&mut self, core: CoreId, user: &UserName, count: u32, expected: &mut Expected) {
        let Some(cores) = self.names.get_mut(&**user) else { return };
        if cores.contains_key(&core) {
            cores.insert(core, count);
        }
        cores.retain(|_, count| *count > 0);
        if cores.is_empty() {
            self.names.remove(&**user);
            self.tell(&Presence::Left(user.clone()), expected);
        }
    }

    fn attach(&mut self, core: CoreId, attached: &Attached) {
        self.attached.insert(core);
        let users: Vec<&str> = attached.users.iter().map(|user| &**user).collect();
        assert!(users.iter().eq(self.names.keys()), "names to who attaches: {users:?} {self:?}");
        let marks: Marks = attached.editing.iter().filter_map(mark).collect();
        assert_eq!((&marks, marks.len()), (&self.marks, attached.editing.len()), "marks, to who attaches");
        assert_eq!(u64::from(attached.listeners), self.listeners(), "listeners, to who attaches");
        self.told.insert(core, marks);
        if let State::Table(table) = &attached.state {
            let rows = table.rows().iter().map(|row| (row.id.as_str(), row.cells.len()));
            assert!(rows.eq(self.table.rows.iter().map(|row| (row.id.as_str(), row.cells.len()))), "{table:?}");
            for (row, known) in table.rows().iter().zip(&self.table.rows) {
                for (cell, known) in row.cells.iter().zip(&known.cells) {
                    let by = cell.by.as_deref().map(str::to_owned);
                    assert_eq!((&*cell.value.0, cell.revision, by), (&*known.value, known.rev, known.by.clone()));
                }
            }
        }
    }

    fn detach(&mut self, core: CoreId, expected: &mut Expected) {
        self.attached.remove(&core);
        self.listeners.remove(&core);
        self.told.remove(&core);
        let Present { marks, homes, .. } = self;
        marks.retain(|who, _| homes[who] != core);
        let mut gone = Vec::new();
        self.names.retain(|name, cores| {
            cores.remove(&core);
            if cores.is_empty() {
                gone.push(name.clone());
            }
            !cores.is_empty()
        });
        for name in gone {
            self.tell(&Presence::Left(name.as_str().into()), expected);
        }
    }

    /// A core is told of a mark: the present one, and nothing that it knows.
    pub(crate) fn told(&mut self, core: CoreId, editing: &Editing) {
        let who = editing.who.to_string();
        let told = self.told.get_mut(&core).unwrap_or_else(|| panic!("{core:?} is not attached and told {editing:?}"));
        let present = self.marks.get(&who);
        assert_eq!(mark(editing).map(|(_, mark)| mark).as_ref(), present, "{who}, told to {core:?}");
        assert_ne!(told.get(&who), present, "{who}, told to {core:?} who knows it");
        match present {
            Some(mark) => _ = told.insert(who, mark.clone()),
            None => _ = told.remove(&who),
        }
    }

    /// At rest: every core knows all.
    pub(crate) fn check_rest(&self, name: &str) {
        for (core, told) in &self.told {
            assert_eq!(*told, self.marks, "{name}: what {core:?} knows of who edits what");
        }
    }
}

fn mark(editing: &Editing) -> Option<(String, Mark)> {
    let cell = editing.cell.as_ref()?;
    let user = editing.user.as_deref().map(str::to_owned);
    Some((editing.who.to_string(), (cell.row.to_string(), cell.column.to_string(), user)))
}
