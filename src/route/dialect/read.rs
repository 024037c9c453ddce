//! Messages of clients, read.

use std::borrow::Cow;
use std::fmt;

use compact_str::CompactString;
use serde::de::{DeserializeOwned, Error as _, Visitor};
use serde::{Deserialize, Deserializer};

use super::{Content, Incoming, Raw};
use crate::base::limits::TABLE_ID_BYTES_MAX;
use crate::engine::{CellName, CellSet, CellValue, Refusal, RowId, RowPlace, RowRef, TableAct};
use crate::kind::Kind;

pub(super) const BALLOT: &str = r#"{"choice":"ID"}, with "id":NUMBER if an answer is to carry one"#;
const SAID: &str = r#"{"text":".."}, with "id":NUMBER if an answer is to carry one"#;
const TO: &str = r#"{"to":"USER","text":".."}, with "id":NUMBER if an answer is to carry one"#;
const CHANGE: &str = r#"an object with one of "set", "insert", "move", "delete", "editing", with "id":NUMBER if an answer is to carry one"#;
const CELL: &str = r#"{"index":0,"value":"..","forms":"COLUMN"}"#;
const ADDRESSED: &str = "a JSON object that names the user whom it is for";

type Read<'a> = Result<Incoming<'a>, (Refusal, Option<u64>)>;

/// Our own dialect.
pub(super) fn own<'a>(kind: Kind, message: Raw<'a>) -> Read<'a> {
    let json = match message {
        Raw::Text(json) => json,
        Raw::Binary(bytes) => return Ok(Incoming { content: Content::Binary(bytes), id: None }),
    };
    let (read, expected): (fn(&'a str) -> Option<Object<'a>>, _) = match kind {
        Kind::Vote => (ballot, BALLOT),
        Kind::Group => (said, SAID),
        Kind::Direct => (to, TO),
        Kind::Table => (change, CHANGE),
        Kind::Feed | Kind::Echo => return Ok(Incoming { content: Content::Text(json.into()), id: None }),
        #[cfg(feature = "faults")]
        Kind::Fault => return Ok(Incoming { content: Content::Text(json.into()), id: None }),
    };
    match read(json) {
        // Who listens has the name of its connection.
        Some(Object { content, id, from: None }) => Ok(Incoming { content, id }),
        _ => Err((Refusal::Malformed { expected }, answer_id(json))),
    }
}

/// What one of our own dialect's objects says.
pub(super) struct Object<'a> {
    pub(super) content: Content<'a>,
    pub(super) id: Option<u64>,
    pub(super) from: Option<String>,
}

/// A JSON object; `None` if it is not what it should be.
fn object<'a, T: Deserialize<'a>>(json: &'a str) -> Option<T> {
    // A general reader takes a list for the fields in their order.
    if json.trim_ascii_start().starts_with('{') { serde_json::from_str(json).ok() } else { None }
}

/// `{"choice":"1"}`
pub(super) fn ballot(json: &str) -> Option<Object<'_>> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Ballot<'a> {
        #[serde(borrow)]
        choice: Choice<'a>,
        id: Option<u64>,
    }

    let Ballot { choice: Choice(choice), id } = object(json)?;
    Some(Object { content: Content::Text(choice), id, from: None })
}

/// An option's id: a text, or a number as it is written. By hand, because serde finds out which of two by trying, and
/// what it writes down of each failure costs three allocations.
struct Choice<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Choice<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(ChoiceVisitor)
    }
}

struct ChoiceVisitor;

impl<'de> Visitor<'de> for ChoiceVisitor {
    type Value = Choice<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a whole number")
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Choice<'de>, E> {
        Ok(Choice(number.to_string().into()))
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Choice<'de>, E> {
        i64::try_from(number).map_err(|_| E::custom("too large"))?;
        Ok(Choice(number.to_string().into()))
    }

    fn visit_borrowed_str<E: serde::de::Error>(self, text: &'de str) -> Result<Choice<'de>, E> {
        Ok(Choice(text.into()))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Choice<'de>, E> {
        Ok(Choice(text.to_owned().into()))
    }
}

/// `{"text":".."}`
pub(super) fn said(json: &str) -> Option<Object<'_>> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Said<'a> {
        #[serde(borrow)]
        text: Cow<'a, str>,
        id: Option<u64>,
        from: Option<String>,
    }

    let Said { text, id, from } = object(json)?;
    Some(Object { content: Content::Text(text), id, from })
}

/// `{"to":"bob","text":".."}`
fn to(json: &str) -> Option<Object<'_>> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct To<'a> {
        #[serde(borrow)]
        to: Cow<'a, str>,
        #[serde(borrow)]
        text: Cow<'a, str>,
        id: Option<u64>,
    }

    let To { to, text, id } = object(json)?;
    Some(Object { content: Content::To { user: to, text }, id, from: None })
}

/// `{"set":[..]}`, `{"insert":{..}}`, `{"move":{..}}`, `{"delete":{..}}` or `{"editing":..}`
pub(super) fn change(json: &str) -> Option<Object<'_>> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Change {
        set: Option<Vec<Set>>,
        insert: Option<Insert>,
        #[serde(rename = "move")]
        moves: Option<Move>,
        delete: Option<Delete>,
        #[serde(default, deserialize_with = "given")]
        editing: Option<Option<Cell>>,
        id: Option<u64>,
        from: Option<String>,
    }

    let Change { set, insert, moves, delete, editing, id, from } = object(json)?;
    let set = set.map(|cells| {
        let cells: Option<Vec<CellSet>> = cells.into_iter().map(Set::read).collect();
        Some(Content::Table(TableAct::Set(cells?)))
    });
    let insert = insert.map(|insert| Some(Content::Table(insert.read()?)));
    let moves = moves.map(|moves| {
        let place = place(moves.first, moves.before, moves.after)?;
        Some(Content::Table(TableAct::Move { row: row(moves.row, moves.index)?, place }))
    });
    let delete = delete.map(|delete| Some(Content::Table(TableAct::Delete { row: row(delete.row, delete.index)? })));
    let editing = editing.map(|cell| Some(Content::Editing(cell.map(|Cell { row, column }| CellName { row, column }))));
    let mut given = [set, insert, moves, delete, editing].into_iter().flatten();
    match (given.next(), given.next()) {
        (Some(content), None) => Some(Object { content: content?, id, from }),
        _ => None,
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Set {
    row: Option<RowId>,
    index: Option<u32>,
    column: CompactString,
    #[serde(deserialize_with = "scalar")]
    value: CellValue,
    if_rev: Option<u64>,
}

impl Set {
    fn read(self) -> Option<CellSet> {
        let Set { row: id, index, column, value, if_rev } = self;
        Some(CellSet { row: row(id, index)?, column, value, if_rev })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Insert {
    row: Option<RowId>,
    #[serde(default)]
    first: bool,
    before: Option<RowId>,
    after: Option<RowId>,
    #[serde(default)]
    cells: serde_json::Map<String, serde_json::Value>,
}

impl Insert {
    fn read(self) -> Option<TableAct> {
        let fits = |id: &RowId| !id.is_empty() && id.len() <= TABLE_ID_BYTES_MAX && !id.contains(char::is_control);
        if self.row.as_ref().is_some_and(|id| !fits(id)) {
            return None;
        }
        let cell = |(column, value): (String, _)| Some((column.into(), scalar_of(&value)?));
        let cells: Option<Vec<_>> = self.cells.into_iter().map(cell).collect();
        Some(TableAct::Insert { row: self.row, place: place(self.first, self.before, self.after)?, cells: cells? })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Move {
    row: Option<RowId>,
    index: Option<u32>,
    #[serde(default)]
    first: bool,
    before: Option<RowId>,
    after: Option<RowId>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Delete {
    row: Option<RowId>,
    index: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cell {
    row: RowId,
    column: CompactString,
}

fn row(id: Option<RowId>, index: Option<u32>) -> Option<RowRef> {
    match (id, index) {
        (Some(id), None) => Some(RowRef::Id(id)),
        (None, Some(index)) => Some(RowRef::Index(index)),
        (Some(_), Some(_)) | (None, None) => None,
    }
}

fn place(first: bool, before: Option<RowId>, after: Option<RowId>) -> Option<RowPlace> {
    match (first, before, after) {
        (false, None, None) => Some(RowPlace::Last),
        (true, None, None) => Some(RowPlace::First),
        (false, Some(row), None) => Some(RowPlace::Before(row)),
        (false, None, Some(row)) => Some(RowPlace::After(row)),
        _ => None,
    }
}

/// A field that is given, be it `null`.
fn given<'de, T: DeserializeOwned, D: Deserializer<'de>>(from: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(from).map(Some)
}

fn scalar<'de, D: Deserializer<'de>>(from: D) -> Result<CellValue, D::Error> {
    let value = serde_json::Value::deserialize(from)?;
    scalar_of(&value).ok_or_else(|| D::Error::custom("a string, number, boolean or null"))
}

fn scalar_of(value: &serde_json::Value) -> Option<CellValue> {
    if value.is_array() || value.is_object() { None } else { Some(CellValue(value.to_string().into())) }
}

/// `{"index":0,"value":"小明","forms":"name"}`, and what else there is.
pub(super) fn cell(json: &str) -> Read<'_> {
    #[derive(Deserialize)]
    struct Old {
        index: Index,
        #[serde(deserialize_with = "scalar")]
        value: CellValue,
        forms: CompactString,
    }

    /// Old pages take it from an attribute.
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Index {
        Number(u32),
        Text(String),
    }

    let read = || {
        let Old { index, value, forms } = object(json)?;
        let index = match index {
            Index::Number(index) => index,
            Index::Text(text) => text.parse().ok()?,
        };
        let set = CellSet { row: RowRef::Index(index), column: forms, value, if_rev: None };
        Some(Incoming { content: Content::Table(TableAct::Set(vec![set])), id: None })
    };
    read().ok_or((Refusal::Malformed { expected: CELL }, None))
}

/// An object whose field `to` names a user, who gets it as it is.
pub(super) fn addressed<'a>(to: &str, text: &'a str) -> Read<'a> {
    let malformed = || (Refusal::Malformed { expected: ADDRESSED }, None);
    let object: serde_json::Map<String, serde_json::Value> = object(text).ok_or_else(malformed)?;
    let user = object.get(to).and_then(|user| user.as_str()).ok_or_else(malformed)?.to_owned();
    Ok(Incoming { content: Content::To { user: user.into(), text: text.into() }, id: None })
}

/// The number of a message that is wrong otherwise.
fn answer_id(json: &str) -> Option<u64> {
    #[derive(Deserialize)]
    struct Numbered {
        id: u64,
    }
    serde_json::from_str::<Numbered>(json).ok().map(|numbered| numbered.id)
}
