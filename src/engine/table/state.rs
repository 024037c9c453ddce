//! The table itself: what is decided, and what is applied.

use std::collections::BTreeMap;
use std::sync::Arc;

use compact_str::{CompactString, format_compact};

use super::{
    Cell, CellEdit, CellName, CellSet, CellValue, Column, Edit, Row, RowId, RowPlace, RowRef, Stale, TableAct,
    TableChange, TableSpec,
};
use crate::base::limits::TABLE_ID_BYTES_MAX;
use crate::engine::contract::{Refusal, UserName};
use crate::engine::tally::expected;

/// Ids that users gave and that look like made ones are not made again if their number is below this. Those who count as
/// far as that on purpose must not bring the counter to its end.
const NOTED_MAX: u64 = 1 << 53;

/// See the module.
///
/// An id is found in logarithmic time: comparing needs no secret, and no choice of ids can make it slow. Adding, moving
/// and removing a row cost a pass over the numbers of all rows, unless it stands at the end.
#[derive(Clone, PartialEq, Debug)]
pub struct Table {
    spec: Arc<TableSpec>,
    rows: Vec<Row>,
    /// Where each row stands.
    by_id: BTreeMap<RowId, u32>,
    /// Of all values and row ids.
    bytes: usize,
    /// The next row that gets no id is `r` and this number, or a later one: no made id comes twice.
    made: u64,
}

impl Table {
    /// The table at its beginning.
    pub fn new(spec: Arc<TableSpec>) -> Table {
        let mut table = Table { spec: spec.clone(), rows: Vec::new(), by_id: BTreeMap::new(), bytes: 0, made: 1 };
        for (id, values) in &spec.rows {
            table.insert(table.rows.len(), id.clone(), values, 0, None);
        }
        table
    }

    /// Its columns, in their order.
    pub fn columns(&self) -> &[Column] {
        &self.spec.columns
    }

    /// Its rows, in their order.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Bytes of all values and row ids together.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Judges an act, and changes nothing. Of a cell that one act writes twice, the last value counts.
    ///
    /// # Errors
    /// The refusal; of several cells the first that is wrong.
    pub fn decide(&self, act: &TableAct, by: Option<&UserName>) -> Result<TableChange, Refusal> {
        let edit = match act {
            TableAct::Set(cells) => self.decide_cells(cells)?,
            TableAct::Insert { row, place, cells } => self.decide_insert(row.as_ref(), place, cells)?,
            TableAct::Move { row, place } => self.decide_move(row, place)?,
            TableAct::Delete { row } => {
                let index = self.index(row)?;
                Edit::Delete { row: self.rows[index].id.clone(), index: index as u32 }
            }
        };
        Ok(TableChange { edit, by: by.cloned() })
    }

    /// Applies a change that was decided on this table, or that follows all that a mirror has applied. `revision`: of the
    /// change.
    pub fn apply(&mut self, change: &TableChange, revision: u64) {
        let by = change.by.as_ref();
        match &change.edit {
            Edit::Cells(cells) => {
                for edit in cells {
                    self.write(edit, revision, by);
                }
            }
            Edit::Insert { row, index, cells } => self.insert(*index as usize, row.clone(), cells, revision, by),
            Edit::Move { row, from, to } => self.move_row(row, *from, *to),
            Edit::Delete { row, index } => self.delete(row, *index),
        }
    }

    /// Whether there is such a cell.
    ///
    /// # Errors
    /// What is not there.
    pub fn find(&self, cell: &CellName) -> Result<(), Refusal> {
        self.index_of(&cell.row)?;
        self.column(&cell.column).map(drop)
    }

    /// What a copy of it takes, about.
    pub(in crate::engine) fn memory_bytes(&self) -> usize {
        let row = 2 * size_of::<Row>() + self.columns().len() * size_of::<Cell>();
        self.rows.len() * row + self.bytes
    }

    fn decide_cells(&self, cells: &[CellSet]) -> Result<Edit, Refusal> {
        if cells.is_empty() {
            return Err(Refusal::Malformed { expected: "at least one cell" });
        }
        let mut edits = Vec::with_capacity(cells.len());
        // How long the values are that this act wrote already.
        let mut written = BTreeMap::new();
        let mut bytes = self.bytes;
        for set in cells {
            let index = self.index(&set.row)?;
            let column = self.column(&set.column)?;
            self.check_value(&set.value)?;
            let (row, cell) = (&self.rows[index].id, &self.rows[index].cells[column]);
            if set.if_rev.is_some_and(|revision| revision != cell.revision) {
                let name = CellName { row: row.clone(), column: set.column.clone() };
                let stale =
                    Stale { cell: name, revision: cell.revision, value: cell.value.clone(), by: cell.by.clone() };
                return Err(Refusal::Stale(Box::new(stale)));
            }
            let len = set.value.0.len();
            let before = if cells.len() > 1 { written.insert((index, column), len) } else { None };
            bytes = bytes + len - before.unwrap_or(cell.value.0.len());
            edits.push(CellEdit {
                row: row.clone(),
                index: index as u32,
                column: column as u16,
                value: set.value.clone(),
            });
        }
        self.check_bytes(bytes)?;
        Ok(Edit::Cells(edits.into()))
    }

    fn decide_insert(
        &self,
        row: Option<&RowId>,
        place: &RowPlace,
        named: &[(CompactString, CellValue)],
    ) -> Result<Edit, Refusal> {
        let row = match row {
            Some(id) if id.is_empty() => return Err(Refusal::Malformed { expected: "a row id of 1 to 64 bytes" }),
            Some(id) if id.len() > TABLE_ID_BYTES_MAX => {
                return Err(Refusal::TooLong { bound: "at most 64 bytes in a row's id" });
            }
            Some(id) if self.by_id.contains_key(id) => return Err(Refusal::RowExists),
            Some(id) => id.clone(),
            None => self.make_id(),
        };
        let index = match place {
            RowPlace::First => 0,
            RowPlace::Last => self.rows.len(),
            RowPlace::Before(other) => self.index_of(other)?,
            RowPlace::After(other) => self.index_of(other)? + 1,
        };
        let mut cells = vec![CellValue::text(""); self.columns().len()];
        for (column, value) in named {
            let column = self.column(column)?;
            self.check_value(value)?;
            cells[column] = value.clone();
        }
        if self.rows.len() >= self.spec.rows_max {
            return Err(Refusal::Full { bound: "limits.table_rows_max" });
        }
        let values = cells.iter().map(|value| value.0.len());
        self.check_bytes(self.bytes + row.len() + values.sum::<usize>())?;
        Ok(Edit::Insert { row, index: index as u32, cells: cells.into() })
    }

    /// A row that is to stand beside itself stays where it is.
    fn decide_move(&self, row: &RowRef, place: &RowPlace) -> Result<Edit, Refusal> {
        let from = self.index(row)?;
        // Without the row, all that stands behind it has moved up by one.
        let without = |index: usize| index - usize::from(index > from);
        let to = match place {
            RowPlace::First => 0,
            RowPlace::Last => self.rows.len() - 1,
            RowPlace::Before(other) => without(self.index_of(other)?),
            RowPlace::After(other) => without(self.index_of(other)? + 1),
        };
        Ok(Edit::Move { row: self.rows[from].id.clone(), from: from as u32, to: to as u32 })
    }

    fn index(&self, row: &RowRef) -> Result<usize, Refusal> {
        match row {
            RowRef::Id(id) => self.index_of(id),
            RowRef::Index(index) => {
                let index = *index as usize;
                if index < self.rows.len() { Ok(index) } else { Err(Refusal::UnknownRow) }
            }
        }
    }

    fn index_of(&self, id: &str) -> Result<usize, Refusal> {
        self.by_id.get(id).map(|&index| index as usize).ok_or(Refusal::UnknownRow)
    }

    fn column(&self, id: &str) -> Result<usize, Refusal> {
        let index = self.columns().iter().position(|column| column.id == id);
        index.ok_or_else(|| Refusal::UnknownColumn {
            expected: expected(self.columns().iter().map(|column| &*column.id)),
        })
    }

    fn check_value(&self, value: &CellValue) -> Result<(), Refusal> {
        if value.0.len() > self.spec.cell_bytes_max {
            return Err(Refusal::TooLong { bound: "at most limits.cell_bytes_max bytes in a cell" });
        }
        Ok(())
    }

    /// A table that is too large already may still shrink.
    fn check_bytes(&self, bytes: usize) -> Result<(), Refusal> {
        if bytes > self.spec.bytes_max && bytes > self.bytes {
            return Err(Refusal::Full { bound: "limits.table_bytes_max" });
        }
        Ok(())
    }

    fn make_id(&self) -> RowId {
        let mut number = self.made;
        loop {
            let id = format_compact!("r{number}");
            if !self.by_id.contains_key(&id) {
                return id;
            }
            number += 1;
        }
    }

    /// Lets the next made id come behind this one: a mirror cannot know which were made, and the number of a made one is
    /// passed by no more than there are rows.
    fn note(&mut self, id: &str) {
        let number = id.strip_prefix('r').and_then(|number| number.parse::<u64>().ok());
        let Some(number) = number.filter(|&number| number >= self.made) else { return };
        if number < NOTED_MAX || number - self.made <= self.rows.len() as u64 {
            self.made = number + 1;
        }
    }

    fn write(&mut self, edit: &CellEdit, revision: u64, by: Option<&UserName>) {
        let row = &mut self.rows[edit.index as usize];
        debug_assert_eq!(row.id, edit.row);
        let cell = &mut row.cells[usize::from(edit.column)];
        self.bytes = self.bytes + edit.value.0.len() - cell.value.0.len();
        *cell = Cell { value: edit.value.clone(), revision, by: by.cloned() };
    }

    fn insert(&mut self, index: usize, id: RowId, values: &[CellValue], revision: u64, by: Option<&UserName>) {
        self.note(&id);
        if index < self.rows.len() {
            for at in self.by_id.values_mut() {
                *at += u32::from(*at as usize >= index);
            }
        }
        self.by_id.insert(id.clone(), index as u32);
        self.bytes += id.len() + values.iter().map(|value| value.0.len()).sum::<usize>();
        let cells = values.iter().map(|value| Cell { value: value.clone(), revision, by: by.cloned() });
        self.rows.insert(index, Row { id, cells: cells.collect() });
    }

    fn move_row(&mut self, id: &RowId, from: u32, to: u32) {
        debug_assert_eq!(self.rows[from as usize].id, id);
        for at in self.by_id.values_mut() {
            *at = match *at {
                index if index == from => to,
                index if from < index && index <= to => index - 1,
                index if to <= index && index < from => index + 1,
                index => index,
            };
        }
        // One pass over the rows between them, and none over the others.
        let (from, to) = (from as usize, to as usize);
        if from < to {
            self.rows[from..=to].rotate_left(1);
        } else {
            self.rows[to..=from].rotate_right(1);
        }
    }

    fn delete(&mut self, id: &RowId, index: u32) {
        let row = self.rows.remove(index as usize);
        debug_assert_eq!(row.id, id);
        self.bytes -= row.id.len() + row.cells.iter().map(|cell| cell.value.0.len()).sum::<usize>();
        self.by_id.remove(id);
        if (index as usize) < self.rows.len() {
            for at in self.by_id.values_mut() {
                *at -= u32::from(*at > index);
            }
        }
    }
}

#[cfg(test)]
mod tests;
