//! Who is there, who edits what, and tables, as one client was told.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::client::Reach;
use crate::engine::{Attached, State, Table};

/// Who is there and who edits what.
#[derive(Default)]
pub(super) struct People {
    /// `None`: one is not told.
    users: Option<BTreeSet<String>>,
    /// By whom, which row and column.
    marks: BTreeMap<String, (String, String)>,
}

fn word(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_else(|| panic!("no {key}: {value}")).to_owned()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().unwrap_or_else(|| panic!("no list: {value}")).iter()
}

impl People {
    pub(super) fn take(&mut self, value: &Value) {
        match value["type"].as_str() {
            Some("members") => {
                let users = items(&value["users"]).map(|user| user.as_str().expect("a name").to_owned());
                assert!(self.users.replace(users.collect()).is_none(), "members twice");
            }
            Some("joined") => {
                let users = self.users.as_mut().expect("members come first");
                assert!(users.insert(word(value, "user")), "{value}");
            }
            Some("left") => {
                let users = self.users.as_mut().expect("members come first");
                assert!(users.remove(&word(value, "user")), "{value}");
            }
            _ if value.get("row").is_some() => {
                let mark = (word(value, "row"), word(value, "column"));
                assert_ne!(self.marks.insert(word(value, "who"), mark.clone()), Some(mark), "told again: {value}");
            }
            _ => assert!(self.marks.remove(&word(value, "who")).is_some(), "it edited nothing: {value}"),
        }
    }

    /// At rest it knows all that the engine does; of its own mark nothing.
    pub(super) fn are(&self, present: &Attached) {
        if let Some(users) = &self.users {
            assert!(users.iter().map(String::as_str).eq(present.users.iter().map(|user| &**user)), "{users:?}");
        }
        let mark = |who: &String, row: &String, column: &String| {
            present.editing.iter().any(|mark| {
                let cell = mark.cell.as_ref().map(|cell| (cell.row.as_str(), cell.column.as_str()));
                mark.who.to_string() == *who && cell == Some((row.as_str(), column.as_str()))
            })
        };
        assert!(self.marks.iter().all(|(who, (row, column))| mark(who, row, column)), "{:?}", self.marks);
        assert!(present.editing.len() - self.marks.len() <= 1, "{:?}: {:?}", present.editing, self.marks);
    }
}

/// A table: rows with their cells' values and revisions.
#[derive(Default)]
pub(super) struct Sheet {
    columns: Vec<String>,
    rows: Vec<(String, Vec<(Value, u64)>)>,
}

impl Sheet {
    pub(super) fn of(state: &Value) -> Sheet {
        if state.get("rows").is_none() {
            return Sheet::default();
        }
        let cell = |cell: &Value| (cell["value"].clone(), cell["rev"].as_u64().expect("a revision"));
        let row = |row: &Value| (word(row, "id"), items(&row["cells"]).map(cell).collect());
        Sheet {
            columns: items(&state["columns"]).map(|column| word(column, "id")).collect(),
            rows: items(&state["rows"]).map(row).collect(),
        }
    }

    fn index(&self, value: &Value) -> usize {
        let id = word(value, "row");
        self.rows.iter().position(|(known, _)| *known == id).unwrap_or_else(|| panic!("no such row: {value}"))
    }

    pub(super) fn change(&mut self, value: &Value, revision: u64) {
        let to = || value["index"].as_u64().expect("an index") as usize;
        match value["type"].as_str() {
            Some("cells") => {
                for cell in items(&value["cells"]) {
                    let (row, column) = (self.index(cell), word(cell, "column"));
                    let column = self.columns.iter().position(|known| *known == column).expect("a column");
                    self.rows[row].1[column] = (cell["value"].clone(), revision);
                }
            }
            Some("row_inserted") => {
                let cells = items(&value["cells"]).map(|cell| (cell.clone(), revision)).collect();
                self.rows.insert(to(), (word(value, "row"), cells));
            }
            Some("row_moved") => {
                let row = self.rows.remove(self.index(value));
                self.rows.insert(to(), row);
            }
            _ => _ = self.rows.remove(self.index(value)),
        }
    }

    /// At rest it is the engine's.
    pub(super) fn is(&self, table: &Table) {
        let cell = |cell: &crate::engine::table::Cell| (json(&cell.value.0), cell.revision);
        let row = |row: &crate::engine::table::Row| (row.id.to_string(), row.cells.iter().map(cell).collect());
        let rows: Vec<(String, Vec<(Value, u64)>)> = table.rows().iter().map(row).collect();
        assert_eq!(self.rows, rows);
    }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

/// A table as an old page has it: at rest every cell where it stands, and nothing behind the last row.
pub(super) fn cells(
    texts: &[String],
    at_rest: bool,
    reach: &mut Reach,
    present: &mut dyn FnMut(&str) -> Option<Attached>,
) {
    let mut shown: BTreeMap<(u64, String), Value> = BTreeMap::new();
    for value in texts.iter().map(|text| json(text)).filter(|value| value.get("error").is_none()) {
        reach.cells += 1;
        let index = value["index"].as_u64().expect("an index");
        shown.insert((index, word(&value, "forms")), value["value"].clone());
    }
    if !at_rest {
        return;
    }
    let Some(Attached { state: State::Table(table), .. }) = present("table/people") else { panic!("a table") };
    for (index, row) in table.rows().iter().enumerate() {
        for (column, cell) in table.columns().iter().zip(&row.cells) {
            let place = (index as u64, column.id.to_string());
            assert_eq!(shown.remove(&place), Some(json(&cell.value.0)), "{place:?}");
        }
    }
    assert!(shown.values().all(|value| value == ""), "behind the last row: {shown:?}");
}
