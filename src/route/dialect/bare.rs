//! The bare dialects, written.

use super::{Each, number, put, string, text};
use crate::engine::table::Edit;
use crate::engine::{CellValue, Refusal, State, Table, TableChange, TallyOption};

/// `{"KEY": "1", "count": 3}`
pub fn step(out: &mut Vec<u8>, key: &str, option: &TallyOption, count: u64) {
    put(out, "{");
    string(out, key);
    put(out, ": ");
    string(out, &option.id);
    put(out, ", \"count\": ");
    number(out, count);
    put(out, "}");
}

/// `{"error":"unknown_option","expected":"1, 2, 3"}`
pub fn refused(out: &mut Vec<u8>, refusal: &Refusal) {
    put(out, r#"{"error":""#);
    put(out, refusal.code());
    put(out, r#"","expected":"#);
    string(out, refusal.expected());
    put(out, "}");
}

/// A long-poll's answer: `{"status": true, "data": STEP}`, or with `null` when the wait is over.
pub fn poll(out: &mut Vec<u8>, key: &str, news: Option<(&TallyOption, u64)>) {
    match news {
        Some((option, count)) => {
            put(out, r#"{"status": true, "data": "#);
            step(out, key, option, count);
            put(out, "}");
        }
        None => put(out, r#"{"status": false, "data": null}"#),
    }
}

/// `{"index":0,"value":"小明","forms":"name"}`
fn cell(out: &mut Vec<u8>, index: usize, value: &str, column: &str) {
    put(out, r#"{"index":"#);
    number(out, index as u64);
    put(out, r#","value":"#);
    put(out, value);
    put(out, r#","forms":"#);
    string(out, column);
    put(out, "}");
}

/// Every cell of a table.
pub(super) fn cells(state: &State, scratch: &mut Vec<u8>, each: Each<'_>) {
    let State::Table(table) = state else { return };
    rows(table, 0, table.rows().len(), scratch, each);
}

/// A change of a table. Where rows come to stand elsewhere, all cells whose place has other values now; what was the last
/// row before one went is empty.
pub(super) fn change(state: &State, change: &TableChange, scratch: &mut Vec<u8>, each: Each<'_>) {
    let State::Table(table) = state else { return };
    let len = table.rows().len();
    match &change.edit {
        Edit::Cells(edits) => {
            for edit in edits {
                let column = &table.columns()[usize::from(edit.column)].id;
                text(scratch, None, each, |out| cell(out, edit.index as usize, &edit.value.0, column));
            }
        }
        Edit::Insert { index, .. } => rows(table, *index as usize, len, scratch, each),
        Edit::Move { from, to, .. } => {
            rows(table, (*from).min(*to) as usize, (*from).max(*to) as usize + 1, scratch, each);
        }
        Edit::Delete { index, .. } => {
            rows(table, *index as usize, len, scratch, each);
            emptied(state, len + 1, scratch, each);
        }
    }
}

/// Empty cells where, of `before` rows, none stands any more.
pub(super) fn emptied(state: &State, before: usize, scratch: &mut Vec<u8>, each: Each<'_>) {
    let State::Table(table) = state else { return };
    let empty = CellValue::text("");
    for index in table.rows().len()..before {
        for column in table.columns() {
            text(scratch, None, each, |out| cell(out, index, &empty.0, &column.id));
        }
    }
}

fn rows(table: &Table, from: usize, to: usize, scratch: &mut Vec<u8>, each: Each<'_>) {
    let rows = table.rows().iter().enumerate().skip(from).take(to.saturating_sub(from));
    for (index, row) in rows {
        for (column, of) in table.columns().iter().zip(&row.cells) {
            text(scratch, None, each, |out| cell(out, index, &of.value.0, &column.id));
        }
    }
}
