//! The naive table: rows as lists, and nothing that could be out of step with them.

use tallycast::engine::table::{Cell, Edit, Row};
use tallycast::engine::{CellName, CellSet, CellValue, RowPlace, RowRef, Table, TableAct, TableChange};

use super::{CELL_BYTES_MAX, COLUMNS, ROWS_MAX, sheet};

/// Value, revision, who wrote it.
type SheetCell = (String, u64, Option<String>);

#[derive(Clone, PartialEq, Debug)]
pub(super) struct Sheet {
    pub(super) rows: Vec<(String, Vec<SheetCell>)>,
}

impl Sheet {
    pub(super) fn new() -> Sheet {
        let cell = |value: &CellValue| (value.0.to_string(), 0, None);
        let rows = sheet(0).rows;
        Sheet { rows: rows.iter().map(|(id, cells)| (id.to_string(), cells.iter().map(cell).collect())).collect() }
    }

    /// As an engine's or a mirror's table shows itself.
    pub(super) fn of(table: &Table) -> Sheet {
        let cell = |cell: &Cell| (cell.value.0.to_string(), cell.revision, cell.by.as_ref().map(|by| by.to_string()));
        let row = |row: &Row| (row.id.to_string(), row.cells.iter().map(cell).collect());
        Sheet { rows: table.rows().iter().map(row).collect() }
    }

    pub(super) fn find(&self, cell: &CellName) -> Result<(), &'static str> {
        self.id(&cell.row)?;
        column(&cell.column)?;
        Ok(())
    }

    /// The table behind an act, or the refusal's word. `made`: the id of a row that is given none.
    pub(super) fn act(
        &self,
        act: &TableAct,
        by: Option<&str>,
        revision: u64,
        made: &str,
    ) -> Result<Sheet, &'static str> {
        let mut next = self.clone();
        let cell = |value: &CellValue| match value.0.len() {
            0..=CELL_BYTES_MAX => Ok((value.0.to_string(), revision, by.map(str::to_owned))),
            _ => Err("too_long"),
        };
        match act {
            TableAct::Set(cells) => {
                for CellSet { row, column: id, value, if_rev } in cells {
                    let (row, column) = (self.row(row)?, column(id)?);
                    let value = cell(value)?;
                    if if_rev.is_some_and(|revision| revision != self.rows[row].1[column].1) {
                        return Err("stale");
                    }
                    next.rows[row].1[column] = value;
                }
            }
            TableAct::Insert { row, place, cells } => {
                let id = row.as_deref().unwrap_or(made);
                if self.id(id).is_ok() {
                    return Err("row_exists");
                }
                let place = self.place(place)?;
                let mut values = vec![cell(&CellValue::text(""))?; COLUMNS.len()];
                for (id, value) in cells {
                    let column = column(id)?;
                    values[column] = cell(value)?;
                }
                if self.rows.len() == ROWS_MAX {
                    return Err("full");
                }
                next.rows.insert(place, (id.to_owned(), values));
            }
            TableAct::Move { row, place } => {
                let (row, place) = (self.row(row)?, self.place(place)?);
                // A hole where it stood, so that places stay what they were.
                let moved = std::mem::take(&mut next.rows[row]);
                next.rows.insert(place, moved);
                next.rows.retain(|(id, _)| !id.is_empty());
            }
            TableAct::Delete { row } => {
                next.rows.remove(self.row(row)?);
            }
        }
        Ok(next)
    }

    /// The table behind a change, by what the change says.
    pub(super) fn follow(&self, change: &TableChange, revision: u64) -> Sheet {
        let mut next = self.clone();
        let cell = |value: &CellValue| (value.0.to_string(), revision, change.by.as_ref().map(|by| by.to_string()));
        match &change.edit {
            Edit::Cells(cells) => {
                for edit in cells {
                    let (id, row) = &mut next.rows[edit.index as usize];
                    assert_eq!(*id, *edit.row);
                    row[usize::from(edit.column)] = cell(&edit.value);
                }
            }
            Edit::Insert { row, index, cells } => {
                next.rows.insert(*index as usize, (row.to_string(), cells.iter().map(cell).collect()));
            }
            Edit::Move { row, from, to } => {
                let moved = next.rows.remove(*from as usize);
                assert_eq!(moved.0, **row);
                next.rows.insert(*to as usize, moved);
            }
            Edit::Delete { row, index } => {
                let gone = next.rows.remove(*index as usize);
                assert_eq!(gone.0, **row);
            }
        }
        next
    }

    fn id(&self, wanted: &str) -> Result<usize, &'static str> {
        self.rows.iter().position(|(id, _)| id == wanted).ok_or("unknown_row")
    }

    fn row(&self, row: &RowRef) -> Result<usize, &'static str> {
        match row {
            RowRef::Id(id) => self.id(id),
            RowRef::Index(index) => (0..self.rows.len()).find(|at| at == &(*index as usize)).ok_or("unknown_row"),
        }
    }

    fn place(&self, place: &RowPlace) -> Result<usize, &'static str> {
        match place {
            RowPlace::First => Ok(0),
            RowPlace::Last => Ok(self.rows.len()),
            RowPlace::Before(other) => self.id(other),
            RowPlace::After(other) => Ok(self.id(other)? + 1),
        }
    }
}

fn column(id: &str) -> Result<usize, &'static str> {
    COLUMNS.iter().position(|column| *column == id).ok_or("unknown_column")
}

/// The rows that a change names, with where they stand: before it, or behind it for a new one.
pub(super) fn named(change: &TableChange) -> Vec<(usize, &str)> {
    match &change.edit {
        Edit::Cells(cells) => cells.iter().map(|edit| (edit.index as usize, &*edit.row)).collect(),
        Edit::Insert { row, index, .. } => vec![(*index as usize, row)],
        Edit::Move { row, from, .. } => vec![(*from as usize, row)],
        Edit::Delete { row, index } => vec![(*index as usize, row)],
    }
}
