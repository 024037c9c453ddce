//! What people choose from or read over a column: entries with an id and, by language, a label.

use std::collections::HashMap;

use compact_str::CompactString;
use toml::de::{DeArray, DeValue};

use super::section::Section;
use super::value::{self, quote};
use crate::base::limits::{OPTION_BYTES_MAX, TABLE_ID_BYTES_MAX};

pub(super) const ID_ALLOWED: &str =
    "1 to 64 bytes of text without white space at its ends and without control characters, such as \"1\"";
const LABEL_ALLOWED: &str = "a text, or texts by language such as { en = \"Rice\", zh = \"米饭\" }";
const LANGUAGE_ALLOWED: &str = "a language tag such as `en` or `zh-Hant`";
/// The language of a label that names none (RFC 5646 section 4.1: undetermined).
const LANGUAGE_UNKNOWN: &str = "und";

const _: () = assert!(OPTION_BYTES_MAX == 64 && TABLE_ID_BYTES_MAX == 64, "ID_ALLOWED says so");

/// Something with an id.
pub(super) struct Labelled {
    /// Unique in its list.
    pub(super) id: CompactString,
    /// By language; the first is the default. The id, if the file has none.
    pub(super) labels: Vec<(CompactString, String)>,
}

/// The list under `key` of 1 to `most` such entries; `example` is one. `None` if the list is missing or not all of it is
/// right.
pub(super) fn read(section: &Section<'_>, key: &str, most: usize, example: &str) -> Option<Vec<Labelled>> {
    let allowed = allowed(key, most, example);
    let list = section.read(key, &allowed, |value| list(value, key, 1, most))?.into_inner();
    let mut indexes: HashMap<CompactString, usize> = HashMap::new();
    let mut read = Vec::with_capacity(list.len());
    for (index, entry) in list.iter().enumerate() {
        let path = section.path_of(&format!("{key}[{index}]"));
        let Some(entry) = Section::of(section.source(), entry, path, &["id", "label"], example) else {
            continue;
        };
        let Some(labelled) = labelled(&entry) else { continue };
        if let Some(other) = indexes.insert(labelled.id.clone(), index) {
            let wrong = format!("{} is also the id of {key}[{other}]", quote(&labelled.id));
            entry.refuse("id", wrong, "an id of its own");
        }
        read.push(labelled);
    }
    (read.len() == list.len()).then_some(read)
}

/// What the list may be.
pub(super) fn allowed(key: &str, most: usize, example: &str) -> String {
    format!("a list of 1 to {most} {key} such as [{example}]")
}

/// A list of `least` to `most` entries, which are called `noun`.
pub(super) fn list<'t>(
    value: &'t DeValue<'t>,
    noun: &str,
    least: usize,
    most: usize,
) -> Result<&'t DeArray<'t>, String> {
    match value {
        DeValue::Array(list) if (least..=most).contains(&list.len()) => Ok(list),
        DeValue::Array(list) => Err(format!("{} {noun} are not allowed", list.len())),
        other => Err(format!("{} where a list belongs", value::describe(other))),
    }
}

/// An id: what a message names is trimmed before it is looked up.
pub(super) fn id<'t>(value: &'t DeValue<'t>) -> Result<&'t str, String> {
    let text = value::text(value)?;
    let odd = text.trim() != text || text.contains(char::is_control);
    if text.is_empty() || text.len() > OPTION_BYTES_MAX || odd {
        return Err(format!("{} is not an id", quote(text)));
    }
    Ok(text)
}

fn labelled(entry: &Section<'_>) -> Option<Labelled> {
    let id = entry.require("id", ID_ALLOWED, id).map(CompactString::new);
    let labels = labels(entry);
    let id = id?;
    let labels = labels.unwrap_or_else(|| vec![(LANGUAGE_UNKNOWN.into(), id.to_string())]);
    Some(Labelled { id, labels })
}

/// The labels in the order of the file: the first is the default. `None` if there are none.
fn labels(entry: &Section<'_>) -> Option<Vec<(CompactString, String)>> {
    let value = entry.get("label")?;
    let table = match value.get_ref() {
        DeValue::String(text) if !text.is_empty() => return Some(vec![(LANGUAGE_UNKNOWN.into(), text.to_string())]),
        DeValue::Table(table) if !table.is_empty() => table,
        other => {
            let wrong = match other {
                DeValue::String(_) | DeValue::Table(_) => "the label is empty".to_owned(),
                other => format!("{} where a label belongs", value::describe(other)),
            };
            entry.refuse("label", wrong, LABEL_ALLOWED);
            return None;
        }
    };
    let keys: Vec<&str> = table.keys().map(|key| key.get_ref().as_ref()).collect();
    let section = Section::of(entry.source(), value, entry.path_of("label"), &keys, LABEL_ALLOWED)?;
    let mut labels = Vec::new();
    for (language, _) in section.entries() {
        let tag = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if !(2..=35).contains(&language.len()) || !language.bytes().all(tag) {
            let wrong = format!("{} is not a language", quote(language));
            section.refuse(language, wrong, LANGUAGE_ALLOWED);
        }
        let text = section.require(language, "a text that is not empty", |value| match value::text(value)? {
            "" => Err("the label is empty".to_owned()),
            text => Ok(text),
        });
        labels.push((language.into(), text.unwrap_or_default().to_owned()));
    }
    Some(labels)
}
