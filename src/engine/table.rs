//! Rows in order, columns, and cells with revisions.
//!
//! The same value serves an engine, which decides, and a mirror, which follows: an engine [decides](Table::decide) an act
//! into a [`TableChange`] or refuses it, and both [apply](Table::apply) the change.

mod state;

use std::sync::Arc;

use compact_str::CompactString;

pub use state::Table;

use super::contract::UserName;

/// A row's id: stable while the row lives, 1 to [`TABLE_ID_BYTES_MAX`](crate::base::limits::TABLE_ID_BYTES_MAX) bytes.
pub type RowId = CompactString;

/// A cell's value: a JSON scalar (string, number, boolean, null), compact, as its text.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct CellValue(pub Arc<str>);

impl CellValue {
    /// A string.
    pub fn text(text: &str) -> CellValue {
        CellValue(serde_json::Value::from(text).to_string().into())
    }
}

/// A column.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Column {
    /// What a message names.
    pub id: CompactString,
    /// What people read, by language; the first is the default.
    pub labels: Vec<(CompactString, String)>,
}

/// What a table is from its beginning, and its bounds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableSpec {
    /// In their order; ids are unique.
    pub columns: Arc<[Column]>,
    /// The rows that it begins with, at revision 0: each has a value for every column.
    pub rows: Vec<(RowId, Vec<CellValue>)>,
    /// Rows.
    pub rows_max: usize,
    /// Bytes of a cell's value.
    pub cell_bytes_max: usize,
    /// Bytes of all values and row ids together.
    pub bytes_max: usize,
}

/// Names a cell.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct CellName {
    /// The row.
    pub row: RowId,
    /// The column's id.
    pub column: CompactString,
}

/// Names a row: by its id, or by where it stands now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RowRef {
    /// Its id.
    Id(RowId),
    /// Its index, from 0.
    Index(u32),
}

/// Where a row goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RowPlace {
    /// Before all others.
    First,
    /// Behind all others.
    Last,
    /// Right before this row.
    Before(RowId),
    /// Right behind this row.
    After(RowId),
}

/// A cell to be written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CellSet {
    /// The row.
    pub row: RowRef,
    /// The column's id.
    pub column: CompactString,
    /// The value.
    pub value: CellValue,
    /// Only if this is still the cell's revision.
    pub if_rev: Option<u64>,
}

/// What someone wants of a table. All or nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TableAct {
    /// Writes cells, at least one.
    Set(Vec<CellSet>),
    /// Adds a row; cells that are not named are the empty string.
    Insert {
        /// Its id; if there is none, the table makes one.
        row: Option<RowId>,
        /// Where.
        place: RowPlace,
        /// Column ids and values.
        cells: Vec<(CompactString, CellValue)>,
    },
    /// Moves a row.
    Move {
        /// Which.
        row: RowRef,
        /// Where to.
        place: RowPlace,
    },
    /// Removes a row.
    Delete {
        /// Which.
        row: RowRef,
    },
}

/// An accepted act: nothing is left to be looked up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableChange {
    /// What changed.
    pub edit: Edit,
    /// Who did it, if they gave a name.
    pub by: Option<UserName>,
}

impl TableChange {
    /// Bytes that it owns besides itself, about: what is shared with the table counts here too.
    pub(super) fn owned_bytes(&self) -> usize {
        let edit = match &self.edit {
            Edit::Cells(cells) => {
                let values = cells.iter().map(|cell| cell.value.0.len());
                size_of_val(&**cells) + values.sum::<usize>()
            }
            Edit::Insert { cells, .. } => {
                let values = cells.iter().map(|value| value.0.len());
                size_of_val(&**cells) + values.sum::<usize>()
            }
            Edit::Move { .. } | Edit::Delete { .. } => 0,
        };
        edit + self.by.as_ref().map_or(0, |by| by.len())
    }
}

/// What changed. Indexes are those of the moment: of the table before the change for rows that are there, after it for
/// where a row comes to stand.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Edit {
    /// Cells have these values, and the revision of the change.
    Cells(Box<[CellEdit]>),
    /// A row is new, and stands at this index.
    Insert {
        /// Its id.
        row: RowId,
        /// Its index.
        index: u32,
        /// A value for each column.
        cells: Box<[CellValue]>,
    },
    /// A row went from one index to another.
    Move {
        /// Its id.
        row: RowId,
        /// Where it stood.
        from: u32,
        /// Where it stands.
        to: u32,
    },
    /// A row is gone.
    Delete {
        /// Its id.
        row: RowId,
        /// Where it stood.
        index: u32,
    },
}

/// One cell's new value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CellEdit {
    /// The row.
    pub row: RowId,
    /// Where it stands.
    pub index: u32,
    /// The column, as an index.
    pub column: u16,
    /// The value.
    pub value: CellValue,
}

/// A cell that was written since the revision that an asker named.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stale {
    /// Which.
    pub cell: CellName,
    /// Its revision.
    pub revision: u64,
    /// Its value.
    pub value: CellValue,
    /// Who wrote it, if they gave a name.
    pub by: Option<UserName>,
}

/// A cell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cell {
    /// Its value.
    pub value: CellValue,
    /// The channel's revision when it was written; 0: from the beginning.
    pub revision: u64,
    /// Who wrote it, if they gave a name.
    pub by: Option<UserName>,
}

/// A row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// Its id.
    pub id: RowId,
    /// A cell for each column.
    pub cells: Vec<Cell>,
}
