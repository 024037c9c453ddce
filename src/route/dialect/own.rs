//! Our own dialect, written.

use std::sync::Arc;

use base64::Engine as _;

use super::{Snapshot, number, position, put, string};
use crate::engine::table::{CellEdit, Edit};
use crate::engine::{
    Body, Change, Column, Editing, Entry, Position, Publication, Refusal, State, Table, TableChange, TallyOption,
    UserName,
};
use crate::kind::Kind;

/// `{"type":"snapshot",..}`
pub fn snapshot(out: &mut Vec<u8>, snapshot: &Snapshot<'_>) {
    head(out, "snapshot", snapshot.channel, snapshot.kind, snapshot.history.at());
    put(out, r#","state":{"#);
    match snapshot.state {
        State::Tally { options, counts } => tally(out, options, counts),
        State::Table(state) => table(out, state),
        State::Log => {
            put(out, r#""messages":"#);
            list(out, snapshot.history.recent(), |out, news| publication(out, snapshot.state, news));
        }
    }
    put(out, "}}");
}

/// `{"type":"resumed",..}`: what follows continues at `at`.
pub fn resumed(out: &mut Vec<u8>, channel: &str, kind: Kind, at: Position) {
    head(out, "resumed", channel, kind, at);
    put(out, "}");
}

/// `{"type":"gap",..}`: what was to come up to `at` does not come; what follows continues there.
pub fn gap(out: &mut Vec<u8>, channel: &str, kind: Kind, at: Position) {
    head(out, "gap", channel, kind, at);
    put(out, "}");
}

/// The present counts as a `{"type":"tally",..}`; of another state, nothing.
pub fn counts(out: &mut Vec<u8>, state: &State, at: Position) {
    if let State::Tally { options, counts } = state {
        changed(out, at, options, counts);
        put(out, "}");
    }
}

/// `{"type":"tally",..}`, `{"type":"message",..}` or a change of a table. `state` names the options and columns.
pub fn publication(out: &mut Vec<u8>, state: &State, publication: &Publication) {
    let at = publication.at();
    match (&publication.change, state) {
        (Change::Tally { counts, .. }, State::Tally { options, .. }) => {
            changed(out, at, options, counts);
        }
        (Change::Message(entry), State::Log) => message(out, at, entry),
        (Change::Table(change), State::Table(table)) => edit(out, at, table.columns(), change),
        (Change::Tally { .. } | Change::Message(_) | Change::Table(_), _) => {
            unreachable!("a channel has one data type")
        }
    }
    put(out, "}");
}

/// `{"type":"publications",..}`, a long-poll's answer.
pub fn publications<'p>(
    out: &mut Vec<u8>,
    channel: &str,
    at: Position,
    state: &State,
    news: impl Iterator<Item = &'p Arc<Publication>>,
) {
    put(out, r#"{"type":"publications","channel":"#);
    string(out, channel);
    named_position(out, at);
    put(out, r#","publications":"#);
    list(out, news, |out, news| publication(out, state, news));
    put(out, "}");
}

/// `{"type":"listeners",..}`
pub fn listeners(out: &mut Vec<u8>, count: u32) {
    put(out, r#"{"type":"listeners","count":"#);
    number(out, count.into());
    put(out, "}");
}

/// `{"type":"members",..}`; to who asked by GET with the channel and how many listen.
pub fn members<'u>(out: &mut Vec<u8>, channel: Option<(&str, u32)>, users: impl Iterator<Item = &'u UserName>) {
    put(out, r#"{"type":"members""#);
    if let Some((channel, listeners)) = channel {
        put(out, r#","channel":"#);
        string(out, channel);
        put(out, r#","listeners":"#);
        number(out, listeners.into());
    }
    put(out, r#","users":"#);
    list(out, users, |out, user| string(out, user));
    put(out, "}");
}

/// `{"type":"joined",..}`
pub fn joined(out: &mut Vec<u8>, user: &str) {
    put(out, r#"{"type":"joined","user":"#);
    string(out, user);
    put(out, "}");
}

/// `{"type":"left",..}`
pub fn left(out: &mut Vec<u8>, user: &str) {
    put(out, r#"{"type":"left","user":"#);
    string(out, user);
    put(out, "}");
}

/// `{"type":"editing",..}`
pub fn editing(out: &mut Vec<u8>, editing: &Editing) {
    put(out, r#"{"type":"editing","who":""#);
    put(out, &editing.who.to_string());
    put(out, "\"");
    if let Some(user) = &editing.user {
        put(out, r#","user":"#);
        string(out, user);
    }
    if let Some(cell) = &editing.cell {
        put(out, r#","row":"#);
        string(out, &cell.row);
        put(out, r#","column":"#);
        string(out, &cell.column);
    }
    put(out, "}");
}

/// `{"type":"ok",..}`
pub fn ok(out: &mut Vec<u8>, id: Option<u64>, at: Position) {
    put(out, r#"{"type":"ok""#);
    answer_id(out, id);
    named_position(out, at);
    put(out, "}");
}

/// `{"type":"refused",..}`
pub fn refused(out: &mut Vec<u8>, id: Option<u64>, code: &str, expected: &str) {
    begin_refused(out, id, code, expected);
    put(out, "}");
}

/// The same with all that a refusal says: of a stale write what stands there now.
pub fn refusal(out: &mut Vec<u8>, id: Option<u64>, refusal: &Refusal) {
    begin_refused(out, id, refusal.code(), refusal.expected());
    if let Refusal::Stale(stale) = refusal {
        put(out, r#","row":"#);
        string(out, &stale.cell.row);
        put(out, r#","column":"#);
        string(out, &stale.cell.column);
        put(out, r#","rev":"#);
        number(out, stale.revision);
        put(out, r#","value":"#);
        put(out, &stale.value.0);
        author(out, stale.by.as_ref());
    }
    put(out, "}");
}

fn begin_refused(out: &mut Vec<u8>, id: Option<u64>, code: &str, expected: &str) {
    put(out, r#"{"type":"refused""#);
    answer_id(out, id);
    put(out, r#","code":"#);
    string(out, code);
    put(out, r#","expected":"#);
    string(out, expected);
}

fn changed(out: &mut Vec<u8>, at: Position, options: &[TallyOption], counts: &[u64]) {
    begin(out, "tally", at);
    put(out, r#","counts":{"#);
    for (index, (option, count)) in options.iter().zip(counts).enumerate() {
        put(out, if index == 0 { "" } else { "," });
        string(out, &option.id);
        put(out, ":");
        number(out, *count);
    }
    put(out, r#"},"total":"#);
    number(out, counts.iter().sum());
}

fn tally(out: &mut Vec<u8>, options: &[TallyOption], counts: &[u64]) {
    put(out, r#""options":"#);
    list(out, options.iter().zip(counts), |out, (option, count)| {
        put(out, r#"{"id":"#);
        string(out, &option.id);
        labels(out, &option.labels);
        put(out, r#","count":"#);
        number(out, *count);
        put(out, "}");
    });
    put(out, r#","total":"#);
    number(out, counts.iter().sum());
}

fn table(out: &mut Vec<u8>, table: &Table) {
    put(out, r#""columns":"#);
    list(out, table.columns().iter(), |out, column| {
        put(out, r#"{"id":"#);
        string(out, &column.id);
        labels(out, &column.labels);
        put(out, "}");
    });
    put(out, r#","rows":"#);
    list(out, table.rows().iter(), |out, row| {
        put(out, r#"{"id":"#);
        string(out, &row.id);
        put(out, r#","cells":"#);
        list(out, row.cells.iter(), |out, cell| {
            put(out, r#"{"value":"#);
            put(out, &cell.value.0);
            put(out, r#","rev":"#);
            number(out, cell.revision);
            author(out, cell.by.as_ref());
            put(out, "}");
        });
        put(out, "}");
    });
}

fn message(out: &mut Vec<u8>, at: Position, entry: &Entry) {
    begin(out, "message", at);
    if let Some(from) = &entry.from {
        put(out, r#","from":"#);
        string(out, from);
    }
    match &entry.body {
        Body::Text(text) => {
            put(out, r#","text":"#);
            string(out, text);
        }
        Body::Binary(bytes) => {
            put(out, r#","binary":""#);
            put(out, &base64::engine::general_purpose::STANDARD.encode(bytes));
            put(out, "\"");
        }
    }
}

fn edit(out: &mut Vec<u8>, at: Position, columns: &[Column], change: &TableChange) {
    let row = |out: &mut Vec<u8>, name: &str, row: &str, index: Option<u32>| {
        begin(out, name, at);
        author(out, change.by.as_ref());
        put(out, r#","row":"#);
        string(out, row);
        if let Some(index) = index {
            put(out, r#","index":"#);
            number(out, index.into());
        }
    };
    match &change.edit {
        Edit::Cells(cells) => {
            begin(out, "cells", at);
            author(out, change.by.as_ref());
            put(out, r#","cells":"#);
            list(out, cells.iter(), |out, CellEdit { row, column, value, .. }| {
                put(out, r#"{"row":"#);
                string(out, row);
                put(out, r#","column":"#);
                string(out, &columns[usize::from(*column)].id);
                put(out, r#","value":"#);
                put(out, &value.0);
                put(out, "}");
            });
        }
        Edit::Insert { row: id, index, cells } => {
            row(out, "row_inserted", id, Some(*index));
            put(out, r#","cells":"#);
            list(out, cells.iter(), |out, value| put(out, &value.0));
        }
        Edit::Move { row: id, to, .. } => row(out, "row_moved", id, Some(*to)),
        Edit::Delete { row: id, .. } => row(out, "row_deleted", id, None),
    }
}

/// A list, `[..]`.
fn list<T>(out: &mut Vec<u8>, items: impl Iterator<Item = T>, mut write: impl FnMut(&mut Vec<u8>, T)) {
    put(out, "[");
    for (index, item) in items.enumerate() {
        put(out, if index == 0 { "" } else { "," });
        write(out, item);
    }
    put(out, "]");
}

fn labels(out: &mut Vec<u8>, labels: &[(compact_str::CompactString, String)]) {
    put(out, r#","label":{"#);
    for (index, (language, label)) in labels.iter().enumerate() {
        put(out, if index == 0 { "" } else { "," });
        string(out, language);
        put(out, ":");
        string(out, label);
    }
    put(out, "}");
}

fn head(out: &mut Vec<u8>, kind_of_message: &str, channel: &str, kind: Kind, at: Position) {
    put(out, r#"{"type":""#);
    put(out, kind_of_message);
    put(out, r#"","channel":"#);
    string(out, channel);
    put(out, r#","kind":""#);
    put(out, kind.name());
    put(out, "\"");
    named_position(out, at);
}

fn begin(out: &mut Vec<u8>, kind_of_message: &str, at: Position) {
    put(out, r#"{"type":""#);
    put(out, kind_of_message);
    put(out, "\"");
    named_position(out, at);
}

fn named_position(out: &mut Vec<u8>, at: Position) {
    put(out, r#","at":""#);
    position(out, at);
    put(out, "\"");
}

fn author(out: &mut Vec<u8>, by: Option<&UserName>) {
    if let Some(by) = by {
        put(out, r#","by":"#);
        string(out, by);
    }
}

fn answer_id(out: &mut Vec<u8>, id: Option<u64>) {
    if let Some(id) = id {
        put(out, r#","id":"#);
        number(out, id);
    }
}
