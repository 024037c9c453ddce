//! A table as anyone would write it: what an act makes of it, or why it is refused, and how both look in our dialect.

use serde_json::{Value, json};
use tallycast::engine::table::Edit as EngineEdit;
use tallycast::engine::{RowPlace, RowRef, TableAct, TableChange};

use crate::sim::setup::{
    CELL_BYTES_MAX, COLUMNS, ROWS, TABLE_BYTES_MAX, TABLE_ROWS_MAX, column_label, rows_of_the_beginning,
};
use crate::sim::wire::json as parse;

/// A cell: its value as JSON.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Cell {
    pub(crate) value: String,
    pub(crate) rev: u64,
    pub(crate) by: Option<String>,
}

/// A row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) cells: Vec<Cell>,
}

/// All rows, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Table {
    pub(crate) rows: Vec<Row>,
    /// No row that gets its id here has one below this number.
    made: u64,
}

/// What became of an act.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Edit {
    /// Row, its index, column, value.
    Cells(Vec<(String, usize, usize, String)>),
    Insert {
        row: String,
        index: usize,
        cells: Vec<String>,
    },
    Move {
        row: String,
        from: usize,
        to: usize,
    },
    Delete {
        row: String,
        index: usize,
    },
}

/// An accepted change.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Change {
    pub(crate) edit: Edit,
    pub(crate) by: Option<String>,
}

/// Why not: the code, and of a stale write the cell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Refused {
    pub(crate) code: &'static str,
    pub(crate) stale: Option<(String, usize, Cell)>,
}

fn refused<T>(code: &'static str) -> Result<T, Refused> {
    Err(Refused { code, stale: None })
}

impl Table {
    pub(crate) fn new() -> Table {
        let mut table = Table { rows: Vec::new(), made: 1 };
        for (id, values) in rows_of_the_beginning() {
            let cells = values.into_iter().map(|value| Cell { value, rev: 0, by: None });
            table.rows.push(Row { id, cells: cells.collect() });
        }
        assert_eq!(table.rows.len(), ROWS.len());
        table
    }

    pub(crate) fn index_of(&self, id: &str) -> Option<usize> {
        self.rows.iter().position(|row| row.id == id)
    }

    pub(crate) fn cell(&self, row: &str, column: &str) -> Option<&Cell> {
        let column = COLUMNS.iter().position(|known| *known == column)?;
        Some(&self.rows[self.index_of(row)?].cells[column])
    }

    fn bytes(&self) -> usize {
        let row = |row: &Row| row.id.len() + row.cells.iter().map(|cell| cell.value.len()).sum::<usize>();
        self.rows.iter().map(row).sum()
    }

    fn find(&self, row: &RowRef) -> Result<usize, Refused> {
        let index = match row {
            RowRef::Id(id) => self.index_of(id),
            RowRef::Index(index) => Some(*index as usize).filter(|index| *index < self.rows.len()),
        };
        index.map_or_else(|| refused("unknown_row"), Ok)
    }

    /// What the act comes to.
    pub(crate) fn decide(&self, act: &TableAct) -> Result<Edit, Refused> {
        let edit = match act {
            TableAct::Set(sets) => {
                let mut cells = Vec::new();
                for set in sets {
                    let index = self.find(&set.row)?;
                    let column = column_of(&set.column)?;
                    if set.value.0.len() > CELL_BYTES_MAX {
                        return refused("too_long");
                    }
                    let (row, cell) = (&self.rows[index].id, &self.rows[index].cells[column]);
                    if set.if_rev.is_some_and(|rev| rev != cell.rev) {
                        return Err(Refused { code: "stale", stale: Some((row.clone(), column, cell.clone())) });
                    }
                    cells.push((row.clone(), index, column, set.value.0.to_string()));
                }
                Edit::Cells(cells)
            }
            TableAct::Insert { row, place, cells } => self.decide_insert(row.as_deref(), place, cells)?,
            TableAct::Move { row, place } => {
                let from = self.find(row)?;
                let row = self.rows[from].id.clone();
                let mut others: Vec<&str> = self.rows.iter().map(|row| row.id.as_str()).collect();
                others.remove(from);
                let beside = |other: &str, behind: usize| match others.iter().position(|id| *id == other) {
                    Some(index) => Ok(index + behind),
                    None if other == row => Ok(from),
                    None => refused("unknown_row"),
                };
                let to = match place {
                    RowPlace::First => 0,
                    RowPlace::Last => others.len(),
                    RowPlace::Before(other) => beside(other, 0)?,
                    RowPlace::After(other) => beside(other, 1)?,
                };
                Edit::Move { row, from, to }
            }
            TableAct::Delete { row } => {
                let index = self.find(row)?;
                Edit::Delete { row: self.rows[index].id.clone(), index }
            }
        };
        let mut after = self.clone();
        after.apply(&Change { edit: edit.clone(), by: None }, u64::MAX);
        if after.bytes() > TABLE_BYTES_MAX && after.bytes() > self.bytes() {
            return refused("full");
        }
        Ok(edit)
    }

    fn decide_insert(
        &self,
        row: Option<&str>,
        place: &RowPlace,
        named: &[(impl AsRef<str>, tallycast::engine::CellValue)],
    ) -> Result<Edit, Refused> {
        if row.is_some_and(|row| self.index_of(row).is_some()) {
            return refused("row_exists");
        }
        let row = row.map(str::to_owned).unwrap_or_else(|| {
            let mut ids = (self.made..).map(|number| format!("r{number}"));
            ids.find(|id| self.index_of(id).is_none()).expect("some id is free")
        });
        let index = match place {
            RowPlace::First => 0,
            RowPlace::Last => self.rows.len(),
            RowPlace::Before(other) => self.find(&RowRef::Id(other.clone()))?,
            RowPlace::After(other) => self.find(&RowRef::Id(other.clone()))? + 1,
        };
        let mut cells = vec!["\"\"".to_owned(); COLUMNS.len()];
        for (column, value) in named {
            cells[column_of(column.as_ref())?] = value.0.to_string();
        }
        if self.rows.len() >= TABLE_ROWS_MAX {
            return refused("full");
        }
        Ok(Edit::Insert { row, index, cells })
    }

    pub(crate) fn apply(&mut self, change: &Change, rev: u64) {
        let cell = |value: &String| Cell { value: value.clone(), rev, by: change.by.clone() };
        match &change.edit {
            Edit::Cells(cells) => {
                for (row, index, column, value) in cells {
                    assert_eq!(self.index_of(row), Some(*index), "{change:?}");
                    self.rows[*index].cells[*column] = cell(value);
                }
            }
            Edit::Insert { row, index, cells } => {
                assert_eq!(self.index_of(row), None, "{change:?}");
                if let Some(number) = row.strip_prefix('r').and_then(|number| number.parse::<u64>().ok()) {
                    self.made = self.made.max(number + 1);
                }
                self.rows.insert(*index, Row { id: row.clone(), cells: cells.iter().map(cell).collect() });
            }
            Edit::Move { row, from, to } => {
                assert_eq!(self.index_of(row), Some(*from), "{change:?}");
                let row = self.rows.remove(*from);
                self.rows.insert(*to, row);
            }
            Edit::Delete { row, index } => {
                assert_eq!(self.index_of(row), Some(*index), "{change:?}");
                self.rows.remove(*index);
            }
        }
    }

    /// As our own dialect's snapshot has it.
    pub(crate) fn json(&self) -> Value {
        let columns: Vec<Value> = COLUMNS.iter().map(|id| json!({"id": id, "label": column_label(id)})).collect();
        let cell = |cell: &Cell| {
            let mut object = json!({"value": parse(&cell.value), "rev": cell.rev});
            sign(&mut object, cell.by.as_ref());
            object
        };
        let row = |row: &Row| json!({"id": row.id, "cells": row.cells.iter().map(cell).collect::<Vec<_>>()});
        json!({"columns": columns, "rows": self.rows.iter().map(row).collect::<Vec<_>>()})
    }
}

fn column_of(column: &str) -> Result<usize, Refused> {
    let index = COLUMNS.iter().position(|known| *known == column);
    index.map_or_else(|| refused("unknown_column"), Ok)
}

fn sign(object: &mut Value, by: Option<&String>) {
    if let Some(by) = by {
        object["by"] = by.as_str().into();
    }
}

impl Change {
    /// What the engine published.
    pub(crate) fn of(change: &TableChange) -> Change {
        let text = |text: &str| text.to_owned();
        let edit = match &change.edit {
            EngineEdit::Cells(cells) => {
                let cell = |cell: &tallycast::engine::table::CellEdit| {
                    (text(&cell.row), cell.index as usize, usize::from(cell.column), text(&cell.value.0))
                };
                Edit::Cells(cells.iter().map(cell).collect())
            }
            EngineEdit::Insert { row, index, cells } => Edit::Insert {
                row: text(row),
                index: *index as usize,
                cells: cells.iter().map(|value| text(&value.0)).collect(),
            },
            EngineEdit::Move { row, from, to } => Edit::Move { row: text(row), from: *from as usize, to: *to as usize },
            EngineEdit::Delete { row, index } => Edit::Delete { row: text(row), index: *index as usize },
        };
        Change { edit, by: change.by.as_deref().map(text) }
    }

    /// As our own dialect tells it.
    pub(crate) fn json(&self, at: &str) -> Value {
        let mut object = match &self.edit {
            Edit::Cells(cells) => {
                let cell = |(row, _, column, value): &(String, usize, usize, String)| json!({"row": row, "column": COLUMNS[*column], "value": parse(value)});
                json!({"type": "cells", "at": at, "cells": cells.iter().map(cell).collect::<Vec<_>>()})
            }
            Edit::Insert { row, index, cells } => {
                let cells: Vec<Value> = cells.iter().map(|value| parse(value)).collect();
                json!({"type": "row_inserted", "at": at, "row": row, "index": index, "cells": cells})
            }
            Edit::Move { row, to, .. } => json!({"type": "row_moved", "at": at, "row": row, "index": to}),
            Edit::Delete { row, .. } => json!({"type": "row_deleted", "at": at, "row": row}),
        };
        sign(&mut object, self.by.as_ref());
        object
    }
}
