//! The columns of a table, and the rows that it begins with.

use std::collections::HashMap;
use std::sync::Arc;

use toml::Spanned;
use toml::de::DeValue;

use super::json;
use super::options;
use super::section::{Section, unknown};
use super::value::{self, quote, quote_all, write_size};
use crate::base::limits::{Limits, TABLE_COLUMNS_MAX};
use crate::engine::{CellValue, Column, RowId, TableSpec};

pub(super) const COLUMN_EXAMPLE: &str = "{ id = \"age\", label = { en = \"Age\", zh = \"年龄\" } }";
const ROW_ALLOWED: &str = "{ id = \"1\", cells = [\"小明\", 18] } or { cells = { name = \"小明\", age = 18 } }";
const CELLS_ALLOWED: &str =
    "a list with a value for each column, in their order, or values by column such as { name = \"小明\" }";

/// The table that the entry of a channel describes. Means nothing if an error was taken down.
pub(super) fn read(section: &Section<'_>, limits: &Limits) -> TableSpec {
    let columns = options::read(section, "columns", TABLE_COLUMNS_MAX, COLUMN_EXAMPLE);
    let columns: Option<Arc<[Column]>> =
        columns.map(|list| list.into_iter().map(|of| Column { id: of.id, labels: of.labels }).collect());
    let rows = rows(section, columns.as_deref(), limits);
    let bytes: usize = rows.iter().map(bytes_of).sum();
    if bytes > limits.table_bytes_max {
        let wrong = format!("the rows have {bytes} bytes, ids and values together");
        let allowed = format!("at most limits.table_bytes_max, which is {}", write_size(limits.table_bytes_max));
        section.refuse("rows", wrong, allowed);
    }
    TableSpec {
        columns: columns.unwrap_or_default(),
        rows,
        rows_max: limits.table_rows_max,
        cell_bytes_max: limits.cell_bytes_max,
        bytes_max: limits.table_bytes_max,
    }
}

fn bytes_of((id, cells): &(RowId, Vec<CellValue>)) -> usize {
    id.len() + cells.iter().map(|value| value.0.len()).sum::<usize>()
}

/// `columns`: none if they are wrong; then the cells are not judged by them.
fn rows(section: &Section<'_>, columns: Option<&[Column]>, limits: &Limits) -> Vec<(RowId, Vec<CellValue>)> {
    let most = limits.table_rows_max;
    let allowed = format!("a list of at most {most} rows (limits.table_rows_max) such as [{ROW_ALLOWED}]");
    let Some(list) = section.read("rows", &allowed, |value| options::list(value, "rows", 0, most)) else {
        return Vec::new();
    };
    let mut indexes: HashMap<RowId, usize> = HashMap::new();
    let mut rows = Vec::new();
    for (index, entry) in list.into_inner().iter().enumerate() {
        let path = section.path_of(&format!("rows[{index}]"));
        let Some(entry) = Section::of(section.source(), entry, path, &["id", "cells"], ROW_ALLOWED) else {
            continue;
        };
        let by_place = RowId::new((index + 1).to_string());
        let id = entry.read("id", options::ID_ALLOWED, options::id);
        let id = id.map_or(by_place, |id| RowId::new(id.into_inner()));
        if let Some(other) = indexes.insert(id.clone(), index) {
            let wrong = format!("{} is also the id of rows[{other}]", quote(&id));
            entry.refuse("id", wrong, "an id of its own; without one a row is called by its place, from \"1\"");
        }
        let Some(value) = entry.get("cells") else {
            entry.missing("cells", CELLS_ALLOWED);
            continue;
        };
        rows.push((id, cells(&entry, value, columns, limits)));
    }
    rows
}

/// A value for each column.
fn cells<'t>(
    row: &Section<'t>,
    value: &'t Spanned<DeValue<'t>>,
    columns: Option<&[Column]>,
    limits: &Limits,
) -> Vec<CellValue> {
    match value.get_ref() {
        DeValue::Array(list) => {
            let found = list.len();
            if let Some(columns) = columns.filter(|columns| columns.len() != found) {
                let wrong = format!("{found} values for {} columns", columns.len());
                row.refuse("cells", wrong, CELLS_ALLOWED);
            }
            let cell = |(index, value)| cell(row, &format!("cells[{index}]"), value, limits);
            list.iter().enumerate().map(cell).collect()
        }
        DeValue::Table(table) => {
            let columns = columns.unwrap_or_default();
            let known = || columns.iter().map(|column| column.id.as_str());
            let mut cells = vec![CellValue::text(""); columns.len()];
            for (key, value) in table {
                let name: &str = key.get_ref();
                let path = format!("cells.{name}");
                let read = cell(row, &path, value, limits);
                match known().position(|id| id == name) {
                    Some(index) => cells[index] = read,
                    // Of columns that are wrong nothing is known.
                    None if columns.is_empty() => {}
                    None => {
                        let wrong = format!("the column {}", unknown(name, known()));
                        row.source().refuse(key.span().start, row.path_of(&path), wrong, quote_all(known()));
                    }
                }
            }
            cells
        }
        other => {
            row.refuse("cells", format!("{} where cells belong", value::describe(other)), CELLS_ALLOWED);
            Vec::new()
        }
    }
}

/// The empty text if the value is wrong.
fn cell(row: &Section<'_>, key: &str, value: &Spanned<DeValue<'_>>, limits: &Limits) -> CellValue {
    let read = json::scalar(value.get_ref()).and_then(|json| match json.len() {
        bytes if bytes > limits.cell_bytes_max => Err(format!("{bytes} bytes as JSON are too many")),
        _ => Ok(json),
    });
    match read {
        Ok(json) => CellValue(json.into()),
        Err(wrong) => {
            let most = write_size(limits.cell_bytes_max);
            let allowed = format!("{}, at most {most} as JSON (limits.cell_bytes_max)", json::SCALAR_ALLOWED);
            row.source().refuse(value.span().start, row.path_of(key), wrong, allowed);
            CellValue::text("")
        }
    }
}
