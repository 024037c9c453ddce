//! Random ops.

use rand::RngExt;
use tallycast::engine::{
    Act, Body, CellName, CellSet, CellValue, Op, RowId, RowPlace, RowRef, TableAct, Ticket, UserName,
};

use super::model::{CHANNELS, GIVEN, is_table, is_tally};
use super::random::World;
use super::{COLUMNS, Engine, OPTIONS};

/// One more than may be there at a time, and another.
const USERS: [&str; 5] = ["小明", "bob", "a", "b", "Z"];

impl<E: Engine> World<E> {
    pub(super) fn some_op(&mut self, core: u16) -> Op {
        let channel = self.random.random_range(0..CHANNELS.len());
        let (name, class) = CHANNELS[channel];
        self.ticket += 1;
        let act = match self.random.random_range(0..28) {
            0..10 if is_tally(channel) => Act::Cast { choice: OPTIONS[self.random.random_range(0..3)].into() },
            0..10 if is_table(channel) => Act::Table { act: self.some_table_act(), by: self.some_user() },
            0..10 => self.some_append(),
            10 => Act::Cast { choice: "?".into() },
            11 if is_tally(channel) || is_table(channel) => self.some_append(),
            11 => Act::Table { act: self.some_table_act(), by: None },
            12..16 => Act::Attach { since: self.some_position(core, channel) },
            16 => Act::Detach,
            #[cfg(feature = "faults")]
            17 => Act::Panic,
            18..20 => Act::Listeners { count: self.random.random_range(0..3) },
            20..22 => Act::Join { user: self.some_name(), count: self.random.random_range(1..4) },
            22..24 => {
                let zero = self.random.random::<bool>();
                let count = if zero { 0 } else { self.random.random_range(1..3) };
                Act::Leave { user: self.some_name(), count }
            }
            _ => {
                let cell = (self.random.random_range(0..4) > 0)
                    .then(|| CellName { row: self.some_row(), column: self.some_column().into() });
                Act::Editing { cell, by: self.some_user() }
            }
        };
        let asker = self.askers[self.random.random_range(0..self.askers.len())];
        Op { channel: name.into(), class, ticket: Ticket { asker, number: self.ticket }, act }
    }

    fn some_append(&mut self) -> Act {
        Act::Append {
            body: Body::Text(format!("{}", self.ticket).into()),
            from: self.some_user(),
            echo: self.random.random(),
            only_if_heard: self.random.random_range(0..3) == 0,
        }
    }

    fn some_name(&mut self) -> UserName {
        USERS[self.random.random_range(0..USERS.len())].into()
    }

    fn some_user(&mut self) -> Option<UserName> {
        self.random.random::<bool>().then(|| self.some_name())
    }

    /// Mostly one that may be there.
    fn some_row(&mut self) -> RowId {
        let row = self.random.random_range(0..=GIVEN.len());
        GIVEN.get(row).copied().unwrap_or("no").into()
    }

    fn some_row_ref(&mut self) -> RowRef {
        if self.random.random() { RowRef::Id(self.some_row()) } else { RowRef::Index(self.random.random_range(0..5)) }
    }

    fn some_place(&mut self) -> RowPlace {
        match self.random.random_range(0..4) {
            0 => RowPlace::First,
            1 => RowPlace::Last,
            2 => RowPlace::Before(self.some_row()),
            _ => RowPlace::After(self.some_row()),
        }
    }

    fn some_column(&mut self) -> &'static str {
        if self.random.random_range(0..10) == 0 { "?" } else { COLUMNS[self.random.random_range(0..2)] }
    }

    fn some_value(&mut self) -> CellValue {
        let letters = if self.random.random_range(0..10) == 0 { 17 } else { self.random.random_range(0..17) };
        CellValue::text(&"x".repeat(letters))
    }

    fn some_table_act(&mut self) -> TableAct {
        match self.random.random_range(0..10) {
            0..5 => {
                let cells = (0..self.random.random_range(1..3)).map(|_| CellSet {
                    row: self.some_row_ref(),
                    column: self.some_column().into(),
                    value: self.some_value(),
                    if_rev: (self.random.random_range(0..3) == 0).then(|| self.random.random_range(0..20)),
                });
                TableAct::Set(cells.collect())
            }
            5..7 => {
                let row = self.random.random::<bool>().then(|| self.some_row());
                let cells = (0..self.random.random_range(0..2)).map(|_| (self.some_column().into(), self.some_value()));
                TableAct::Insert { row, cells: cells.collect(), place: self.some_place() }
            }
            7 => TableAct::Move { row: self.some_row_ref(), place: self.some_place() },
            8 => TableAct::Move { row: RowRef::Index(0), place: RowPlace::Last },
            _ => TableAct::Delete { row: self.some_row_ref() },
        }
    }
}
