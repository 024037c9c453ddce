//! A table as a page keeps it: what a snapshot shows, and every change done to that.

use serde_json::Value;

use super::stream::{number, word};
use crate::sim::model::table::{Cell, Row};
use crate::sim::setup::COLUMNS;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Grid {
    pub(crate) rows: Vec<Row>,
}

fn signed(message: &Value) -> Option<String> {
    message.get("by").map(|by| by.as_str().expect("a name").to_owned())
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().unwrap_or_else(|| panic!("no list: {value}")).iter()
}

impl Grid {
    pub(crate) fn of(state: &Value) -> Grid {
        let cell = |cell: &Value| Cell { value: cell["value"].to_string(), rev: number(cell, "rev"), by: signed(cell) };
        let row = |row: &Value| Row { id: word(row, "id").into(), cells: items(&row["cells"]).map(cell).collect() };
        Grid { rows: items(&state["rows"]).map(row).collect() }
    }

    fn index(&self, id: &str) -> usize {
        let index = self.rows.iter().position(|row| row.id == id);
        index.unwrap_or_else(|| panic!("no row {id:?} in {self:?}"))
    }

    /// Does a change; `rev` is the revision of its position.
    pub(crate) fn change(&mut self, message: &Value, rev: u64) {
        let by = signed(message);
        let cell = |value: &Value| Cell { value: value.to_string(), rev, by: by.clone() };
        match word(message, "type") {
            "cells" => {
                for written in items(&message["cells"]) {
                    let index = self.index(word(written, "row"));
                    let column = word(written, "column");
                    let column = COLUMNS.iter().position(|known| *known == column).expect("a column");
                    self.rows[index].cells[column] = cell(&written["value"]);
                }
            }
            "row_inserted" => {
                let row = Row { id: word(message, "row").into(), cells: items(&message["cells"]).map(cell).collect() };
                self.rows.insert(number(message, "index") as usize, row);
            }
            "row_moved" => {
                let row = self.rows.remove(self.index(word(message, "row")));
                self.rows.insert(number(message, "index") as usize, row);
            }
            "row_deleted" => _ = self.rows.remove(self.index(word(message, "row"))),
            other => panic!("no change of a table: {other}"),
        }
    }
}
