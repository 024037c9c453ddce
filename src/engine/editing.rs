//! Who edits which cell: marks that are owned by a listener, go with its core, and are told to all cores at a pace.

use std::collections::BTreeMap;

use super::contract::{Asker, Editing, Origin, Refusal, UserName};
use super::members::Announce;
use super::table::CellName;
use crate::base::keys::CoreId;
use crate::base::limits::LISTENERS_PACE;
use crate::base::time::Time;

/// An origin in an order: core, sort, key.
type Place = (u16, u8, u64);

/// What someone edits.
#[derive(Clone, PartialEq, Debug)]
struct Mark {
    cell: CellName,
    user: Option<UserName>,
}

/// One origin's part.
#[derive(Debug)]
struct Entry {
    who: Origin,
    now: Option<Mark>,
    /// What the attached cores know, but for the exceptions.
    told: Option<Mark>,
    /// Cores that know something else, as they attached behind the last announcement.
    exceptions: Vec<(CoreId, Option<Mark>)>,
    /// Which change made it what it is now: the order of telling.
    change: u64,
}

/// The marks of one table.
#[derive(Default, Debug)]
pub struct Marks {
    /// Invariant: who edits nothing, and of whom nobody knows otherwise, is not remembered.
    entries: BTreeMap<Place, Entry>,
    count: Count,
    announced: Option<Time>,
}

/// Over all entries.
#[derive(Default, Debug)]
struct Count {
    /// Those who edit something.
    present: usize,
    /// Changes that there ever were.
    changes: u64,
    /// Whether something changed of which a core may not know yet.
    untold: bool,
}

impl Marks {
    /// Someone edits this cell, or none.
    ///
    /// # Errors
    /// With `marks_max` marks of others.
    pub fn set(
        &mut self,
        who: Origin,
        cell: Option<CellName>,
        user: Option<UserName>,
        marks_max: usize,
    ) -> Result<(), Refusal> {
        let place = place(who);
        let entry = self.entries.get_mut(&place);
        let was_present = entry.as_ref().is_some_and(|entry| entry.now.is_some());
        if cell.is_some() && !was_present && self.count.present >= marks_max {
            return Err(Refusal::Full { bound: "limits.users_max" });
        }
        let mark = cell.map(|cell| Mark { cell, user });
        match entry {
            Some(entry) => entry.change(mark, &mut self.count),
            None if mark.is_none() => return Ok(()),
            None => {
                let mut entry = Entry { who, now: None, told: None, exceptions: Vec::new(), change: 0 };
                entry.change(mark, &mut self.count);
                self.entries.insert(place, entry);
            }
        }
        if self.entries.get(&place).is_some_and(Entry::is_over) {
            self.entries.remove(&place);
        }
        Ok(())
    }

    /// The row is gone, and nobody edits it any more.
    pub fn drop_row(&mut self, row: &str) {
        self.end_where(|entry| entry.now.as_ref().is_some_and(|mark| mark.cell.row == row));
    }

    /// The core is gone: its listeners edit nothing any more, and it is told nothing.
    pub fn drop_core(&mut self, core: CoreId) {
        for entry in self.entries.values_mut() {
            entry.exceptions.retain(|(known, _)| *known != core);
        }
        self.end_where(|entry| entry.who.core == core);
    }

    /// The core is told all marks by the answer to its attach: these.
    pub fn attach(&mut self, core: CoreId) -> Vec<Editing> {
        for entry in self.entries.values_mut() {
            entry.exceptions.retain(|(known, _)| *known != core);
            if entry.now != entry.told {
                entry.exceptions.push((core, entry.now.clone()));
            }
        }
        self.entries.retain(|_, entry| !entry.is_over());
        let present = self.entries.values().filter(|entry| entry.now.is_some());
        present.map(|entry| entry.news(None)).collect()
    }

    /// Whether, and when, the changes are to be announced to those of the attached cores that do not know them.
    pub fn announce(&mut self, now: Time, attached: impl Iterator<Item = CoreId> + Clone) -> Announce {
        let unknown = |entry: &Entry| attached.clone().any(|core| *entry.known(core) != entry.now);
        self.count.untold = self.count.untold && self.entries.values().any(unknown);
        if !self.count.untold {
            return Announce::Never;
        }
        match self.announced.map(|announced| announced + LISTENERS_PACE) {
            Some(at) if at > now => Announce::At(at),
            Some(_) | None => Announce::Now,
        }
    }

    /// Announces what changed, in the order of the changes: the attached cores that do not know it yet are told by `tell`.
    pub fn announced(
        &mut self,
        now: Time,
        attached: impl Iterator<Item = CoreId> + Clone,
        mut tell: impl FnMut(CoreId, Editing),
    ) {
        (self.announced, self.count.untold) = (Some(now), false);
        let unsettled = self.entries.values_mut().filter(|entry| !entry.is_settled());
        let mut unsettled: Vec<&mut Entry> = unsettled.collect();
        unsettled.sort_by_key(|entry| entry.change);
        for entry in unsettled {
            for core in attached.clone() {
                let known = entry.known(core);
                if *known != entry.now {
                    tell(core, entry.news(known.as_ref()));
                }
            }
            entry.told.clone_from(&entry.now);
            entry.exceptions.clear();
        }
        self.entries.retain(|_, entry| !entry.is_over());
    }

    fn end_where(&mut self, ends: impl Fn(&Entry) -> bool) {
        for entry in self.entries.values_mut().filter(|entry| ends(entry)) {
            entry.change(None, &mut self.count);
        }
        self.entries.retain(|_, entry| !entry.is_over());
    }
}

impl Entry {
    fn change(&mut self, mark: Option<Mark>, count: &mut Count) {
        if self.now == mark {
            return;
        }
        count.present = count.present + usize::from(mark.is_some()) - usize::from(self.now.is_some());
        count.changes += 1;
        count.untold = true;
        (self.now, self.change) = (mark, count.changes);
    }

    /// What an attached core knows.
    fn known(&self, core: CoreId) -> &Option<Mark> {
        let exception = self.exceptions.iter().find(|(known, _)| *known == core);
        exception.map_or(&self.told, |(_, mark)| mark)
    }

    /// Whether all know all.
    fn is_settled(&self) -> bool {
        self.now == self.told && self.exceptions.is_empty()
    }

    /// Whether there is nothing to remember.
    fn is_over(&self) -> bool {
        self.now.is_none() && self.is_settled()
    }

    /// What a core is told that knows this.
    fn news(&self, known: Option<&Mark>) -> Editing {
        let user = self.now.as_ref().or(known).and_then(|mark| mark.user.clone());
        Editing { who: self.who, user, cell: self.now.as_ref().map(|mark| mark.cell.clone()) }
    }
}

fn place(who: Origin) -> Place {
    let (sort, key) = match who.asker {
        Asker::Connection(key) => (0, key.pack()),
        Asker::Session(key) => (1, key.pack()),
        Asker::Mirror(key) => (2, key.pack()),
    };
    (who.core.0, sort, key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::keys::ConnKey;

    const A: CoreId = CoreId(0);
    const B: CoreId = CoreId(1);

    fn who(core: CoreId, key: u64) -> Origin {
        Origin { core, asker: Asker::Connection(ConnKey::unpack(key)) }
    }

    fn cell(row: &str) -> Option<CellName> {
        Some(CellName { row: row.into(), column: "c".into() })
    }

    fn tell(marks: &mut Marks, now: Time, attached: &[CoreId]) -> Vec<String> {
        let mut told = Vec::new();
        marks.announced(now, attached.iter().copied(), |core, news| {
            let cell = news.cell.map_or("-".to_owned(), |cell| cell.row.to_string());
            told.push(format!("{} {} {cell}", core.0, news.who));
        });
        told
    }

    #[test]
    fn a_mark_that_came_back_is_still_told_to_who_knows_another() {
        let start = Time::from_millis(1000);
        let due = start + LISTENERS_PACE;
        let mut marks = Marks::default();
        let both = [A, B];
        let x = who(A, 1);
        assert!(marks.attach(A).is_empty());
        assert_eq!(marks.announce(start, [A].into_iter()), Announce::Never);
        assert_eq!(marks.set(x, cell("1"), None, 9), Ok(()));
        assert_eq!(marks.announce(start, [A].into_iter()), Announce::Now);
        assert_eq!(tell(&mut marks, start, &[A]), ["0 c0.1 1"]);
        assert_eq!(marks.set(x, cell("2"), None, 9), Ok(()));
        assert_eq!(marks.announce(start, [A].into_iter()), Announce::At(due));
        // B gets it by its answer, and nothing behind that.
        assert_eq!(marks.attach(B), [Editing { who: x, user: None, cell: cell("2") }]);
        assert_eq!(marks.announce(due, both.into_iter()), Announce::Now);
        assert_eq!(marks.set(x, cell("1"), None, 9), Ok(()));
        assert_eq!(marks.announce(due, both.into_iter()), Announce::Now);
        assert_eq!(tell(&mut marks, due, &both), ["1 c0.1 1"]);
        // What comes back before it is told is not told.
        assert_eq!(marks.set(x, None, None, 9), Ok(()));
        assert_eq!(marks.set(x, cell("1"), None, 9), Ok(()));
        assert_eq!(marks.announce(due, both.into_iter()), Announce::Never);
        assert_eq!(tell(&mut marks, due, &both), [""; 0]);
        // Who came and went untold leaves nothing behind.
        assert_eq!(marks.set(who(B, 2), cell("1"), None, 9), Ok(()));
        assert_eq!(marks.set(who(B, 2), None, None, 9), Ok(()));
        assert_eq!((marks.entries.len(), marks.count.present), (1, 1));
    }

    #[test]
    fn marks_end_with_their_row_and_their_core_and_are_told_in_order() {
        let start = Time::from_millis(1000);
        let mut marks = Marks::default();
        let rows = [(A, 1, "1"), (B, 1, "1"), (B, 2, "2"), (A, 3, "2")];
        for (core, key, row) in rows {
            assert_eq!(marks.set(who(core, key), cell(row), None, 4), Ok(()));
        }
        let full = Err(Refusal::Full { bound: "limits.users_max" });
        assert_eq!(marks.set(who(A, 9), cell("1"), None, 4), full);
        assert_eq!(marks.set(who(A, 9), None, None, 4), Ok(()));
        assert_eq!(marks.set(who(A, 1), cell("3"), None, 4), Ok(()), "no other");
        let told = tell(&mut marks, start, &[A]);
        assert_eq!(told, ["0 c1.1 1", "0 c1.2 2", "0 c0.3 2", "0 c0.1 3"], "in the order of the last changes");
        marks.drop_row("2");
        marks.drop_core(B);
        assert_eq!(marks.count.present, 1);
        // Who attaches now knows of none of them.
        let present = marks.attach(B);
        assert_eq!(present, [Editing { who: who(A, 1), user: None, cell: cell("3") }]);
        let told = tell(&mut marks, start, &[A, B]);
        assert_eq!(told, ["0 c0.3 -", "0 c1.2 -", "0 c1.1 -"]);
        assert_eq!(marks.entries.len(), 1);
        marks.drop_core(A);
        assert_eq!(tell(&mut marks, start, &[B]), ["1 c0.1 -"]);
        assert!(marks.entries.is_empty());
    }
}
