//! Messages that change a table, in our own dialect and in the old pages' form: whatever they say, the table stays one,
//! who follows has the same, and what is written of it is JSON.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::Value;

use crate::engine::table::TableSpec;
use crate::engine::{CellValue, Change, Column, Epoch, Publication, State, Table};
use crate::kind::Kind;
use crate::route::dialect::{Content, Dialect, Raw, Written};

const ROWS_MAX: usize = 4;
const CELL_BYTES_MAX: usize = 40;
const BYTES_MAX: usize = 300;

/// A message a line.
pub fn tables(data: &[u8]) {
    let spec = Arc::new(spec());
    let mut table = Table::new(spec.clone());
    let mut follower = Table::new(spec);
    let mut revision = 0;
    for line in data.split(|byte| *byte == b'\n').take(100) {
        let Ok(text) = std::str::from_utf8(line) else { continue };
        for dialect in [Dialect::Tallycast, Dialect::Cells] {
            let Ok(incoming) = dialect.read(Kind::Table, Raw::Text(text)) else { continue };
            let act = match incoming.content {
                Content::Table(act) => act,
                Content::Editing(cell) => {
                    let known = |cell| table.find(cell).is_ok();
                    let found = |row: &str| table.rows().iter().any(|of| of.id == row);
                    assert!(cell.as_ref().is_none_or(|cell| !known(cell) || found(&cell.row)));
                    continue;
                }
                other => panic!("no change of a table: {other:?}"),
            };
            let before = table.clone();
            let decided = table.decide(&act, None);
            assert_eq!(table, before, "deciding changes nothing");
            let Ok(change) = decided else { continue };
            revision += 1;
            table.apply(&change, revision);
            follower.apply(&change, revision);
            assert_eq!(table, follower);
            check(&table);
            written(&table, change, revision);
        }
    }
}

fn spec() -> TableSpec {
    let column = |id: &str| Column { id: id.into(), labels: vec![("en".into(), id.into())] };
    let row = |id: &str, text: &str| (id.into(), vec![CellValue::text(text), CellValue("1".into())]);
    TableSpec {
        columns: [column("a"), column("名")].into(),
        rows: vec![row("1", "x"), row("2", "")],
        rows_max: ROWS_MAX,
        cell_bytes_max: CELL_BYTES_MAX,
        bytes_max: BYTES_MAX,
    }
}

fn check(table: &Table) {
    let ids: HashSet<&str> = table.rows().iter().map(|row| row.id.as_str()).collect();
    assert_eq!(ids.len(), table.rows().len(), "each id once");
    assert!(ids.len() <= ROWS_MAX && !ids.contains(""));
    let mut bytes = 0;
    for row in table.rows() {
        assert_eq!(row.cells.len(), table.columns().len());
        bytes += row.id.len();
        for cell in &row.cells {
            assert!(cell.value.0.len() <= CELL_BYTES_MAX);
            bytes += cell.value.0.len();
            let value: Value = serde_json::from_str(&cell.value.0).expect("a cell is JSON");
            assert!(!value.is_array() && !value.is_object(), "a scalar: {value}");
        }
    }
    assert!(bytes <= BYTES_MAX, "{bytes}");
}

fn written(table: &Table, change: crate::engine::TableChange, revision: u64) {
    let state = State::Table(table.clone());
    let publication = Publication {
        channel: "t".into(),
        epoch: Epoch(1),
        first: revision,
        last: revision,
        change: Change::Table(change),
    };
    for dialect in [Dialect::Tallycast, Dialect::Cells] {
        let mut messages = 0;
        dialect.publication(&state, &publication, &mut Vec::new(), &mut |written: Written<'_>| {
            let Raw::Text(text) = written.body else { panic!("a text") };
            let json: Value = serde_json::from_str(text).expect("JSON");
            assert!(json.is_object(), "{json}");
            messages += 1;
        });
        assert!(messages > 0 || dialect == Dialect::Cells);
    }
}
