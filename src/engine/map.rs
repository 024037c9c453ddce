//! A table with its history and those who edit it.

use std::sync::Arc;

use super::contract::{Change, Position, Publication, Refusal, State, UserName};
use super::editing::Marks;
use super::history::History;
use super::table::{Edit, Table, TableAct, TableSpec};

/// Every accepted act is a revision and a publication.
#[derive(Debug)]
pub struct Map {
    table: Table,
    history: History,
    /// Who edits which cell.
    pub marks: Marks,
}

impl Map {
    /// The table at its beginning.
    pub fn new(spec: Arc<TableSpec>, history: History) -> Map {
        Map { table: Table::new(spec), history, marks: Marks::default() }
    }

    /// Does what is asked of the table, or refuses it and changes nothing.
    pub fn act(&mut self, act: &TableAct, by: Option<&UserName>) -> Result<Arc<Publication>, Refusal> {
        let change = self.table.decide(act, by)?;
        self.table.apply(&change, self.history.at().revision + 1);
        if let Edit::Delete { row, .. } = &change.edit {
            self.marks.drop_row(row);
        }
        Ok(self.history.publish(1, Change::Table(change)))
    }

    /// The table.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Where it stands.
    pub fn at(&self) -> Position {
        self.history.at()
    }

    /// The table at that position.
    pub fn state(&self) -> State {
        State::Table(self.table.clone())
    }

    /// See [`History::recent_since`].
    pub fn recent_since(&self, since: Option<Position>) -> Vec<Arc<Publication>> {
        self.history.recent_since(since)
    }
}
