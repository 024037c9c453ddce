//! Edits the table in our own dialect over WebSocket: cells, rows, and what it edits; resumes.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use tallycast::engine::Origin;

use super::link::{Seen, WebSocket};
use super::stream::{Reply, Stream, number, word};
use super::visitor::{Visit, Visitor};
use super::{Hears, query};
use crate::sim::model::table::{Cell, Change, Edit, Table};
use crate::sim::model::{At, Entry};
use crate::sim::random::Random;
use crate::sim::scene::Scene;
use crate::sim::setup::{CELL_BYTES_MAX, COLUMNS};
use crate::sim::wire::json as parse;

/// The table.
pub(crate) const CHANNEL: &str = "table/people";

/// What it wants, the refusals that may come, and whether it may be accepted.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Asked {
    message: Value,
    codes: Vec<&'static str>,
    may_be: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Editor {
    visit: Visit,
    stream: Stream,
    name: Option<&'static str>,
    pending: BTreeMap<u64, Asked>,
    nameless: Vec<Asked>,
    said: u64,
}

impl Editor {
    pub(crate) fn new(who: &str, name: Option<&'static str>, stuck: bool) -> Editor {
        Editor {
            visit: Visit::new(who, stuck),
            stream: Stream::new(who, CHANNEL),
            name,
            pending: BTreeMap::new(),
            nameless: Vec::new(),
            said: 0,
        }
    }

    fn answered(&self, id: Option<u64>, fits: impl Fn(&Asked) -> bool) -> Asked {
        let found = match id {
            Some(id) => self.pending.get(&id).filter(|asked| fits(asked)),
            None => self.nameless.iter().find(|asked| fits(asked)),
        };
        found.cloned().unwrap_or_else(|| panic!("{}: an answer to nothing: id {id:?}: {self:?}", self.visit.who))
    }

    fn forget(&mut self, id: Option<u64>, asked: &Asked) {
        match id {
            Some(id) => _ = self.pending.remove(&id),
            None => {
                let place = self.nameless.iter().position(|other| other == asked).expect("it was found");
                self.nameless.remove(place);
            }
        }
    }

    fn ask(&mut self, socket: &mut WebSocket, scene: &mut Scene) {
        self.said += 1;
        let mark = format!("{}-{}", self.visit.who, self.said);
        let rows: Vec<String> = self.stream.grid.rows.iter().map(|row| row.id.clone()).collect();
        let revision = |row: &str, column: &str| {
            let row = self.stream.grid.rows.iter().find(|known| known.id == row)?;
            let column = COLUMNS.iter().position(|known| *known == column)?;
            Some(row.cells[column].rev)
        };
        let mut asked = if scene.random.chance(25) {
            editing(&rows, &mut scene.random)
        } else {
            change(&mark, &rows, &revision, &mut scene.random)
        };
        if scene.random.chance(70) {
            asked.message["id"] = self.said.into();
            socket.send(scene, 1, asked.message.to_string().as_bytes());
            self.pending.insert(self.said, asked);
        } else {
            socket.send(scene, 1, asked.message.to_string().as_bytes());
            self.nameless.push(asked);
        }
    }
}

fn some_row(rows: &[String], random: &mut Random) -> String {
    if rows.is_empty() || random.chance(10) {
        random.pick(&["1", "r1", "zz"]).to_owned()
    } else {
        random.pick(&rows.iter().collect::<Vec<_>>()).clone()
    }
}

/// Names a row by its id or by where it stands.
fn name_row(object: &mut Value, rows: &[String], random: &mut Random) -> Option<String> {
    if random.chance(25) {
        object["index"] = random.below(rows.len() + 1).into();
        return None;
    }
    let row = some_row(rows, random);
    object["row"] = row.as_str().into();
    Some(row)
}

fn name_place(object: &mut Value, rows: &[String], random: &mut Random) {
    match random.below(4) {
        0 => {}
        1 => object["first"] = true.into(),
        2 => object["before"] = some_row(rows, random).into(),
        _ => object["after"] = some_row(rows, random).into(),
    }
}

fn value(mark: &str, random: &mut Random) -> Value {
    match random.below(8) {
        0 => Value::Null,
        1 => true.into(),
        2 => 17.into(),
        3 => format!("{mark}{}", "x".repeat(40)).into(),
        _ => format!("{mark} 小").into(),
    }
}

/// A cell that it edits, or none.
pub(crate) fn editing(rows: &[String], random: &mut Random) -> Asked {
    if random.chance(25) {
        return Asked { message: json!({"editing": null}), codes: vec![], may_be: true };
    }
    let column = if random.chance(5) { "nothing" } else { random.pick(&COLUMNS) };
    let message = json!({"editing": {"row": some_row(rows, random), "column": column}});
    Asked { message, codes: vec!["unknown_row", "unknown_column", "full"], may_be: column != "nothing" }
}

/// A change of the table, or something that is none. `revision`: of a cell.
pub(crate) fn change(
    mark: &str,
    rows: &[String],
    revision: &dyn Fn(&str, &str) -> Option<u64>,
    random: &mut Random,
) -> Asked {
    let mut codes = vec!["unknown_row", "full"];
    let mut may_be = true;
    let message = match random.below(20) {
        0..12 => {
            let mut cells = Vec::new();
            for part in 0..random.upto(3) {
                let column = random.pick(&COLUMNS);
                let mut cell = json!({"column": column, "value": value(&format!("{mark}.{part}"), random)});
                let row = name_row(&mut cell, rows, random);
                let known = row.and_then(|row| revision(&row, column));
                if random.chance(50) {
                    cell["if_rev"] = known.filter(|_| random.chance(85)).unwrap_or(1).into();
                    codes.push("stale");
                }
                if random.chance(3) {
                    cell["column"] = "nothing".into();
                    codes.push("unknown_column");
                    may_be = false;
                } else if random.chance(3) {
                    cell["value"] = "x".repeat(CELL_BYTES_MAX).into();
                    codes.push("too_long");
                    may_be = false;
                }
                cells.push(cell);
            }
            json!({"set": cells})
        }
        12..15 => {
            let mut insert = json!({"cells": {"name": value(mark, random)}});
            if random.chance(40) {
                insert["row"] = random.pick(&["1", "x1", "x2", "r2", "r5"]).into();
                codes.push("row_exists");
            }
            name_place(&mut insert, rows, random);
            json!({"insert": insert})
        }
        15..17 => {
            let mut moving = json!({});
            name_row(&mut moving, rows, random);
            name_place(&mut moving, rows, random);
            json!({"move": moving})
        }
        17..19 => {
            let mut delete = json!({});
            name_row(&mut delete, rows, random);
            json!({"delete": delete})
        }
        _ => {
            let wrong = ["{}", "{\"set\":[]}", "{\"set\":[{\"row\":\"1\"}]}", "{\"delete\":{}}", "{\"x\":1}"];
            (codes, may_be) = (vec!["malformed"], false);
            parse(random.pick(&wrong))
        }
    };
    Asked { message, codes, may_be }
}

/// Of a stale write, what stands there.
pub(crate) fn check_refusal(code: &str, message: &Value, scene: &mut Scene) {
    if code != "stale" {
        return scene.coverage.hit("table: refused");
    }
    let rev = number(message, "rev");
    let life = scene.model.present(CHANNEL);
    let table = life.map_or_else(Table::new, |life| life.table(rev).clone());
    let by = message.get("by").map(|by| by.as_str().expect("a name").to_owned());
    let stands = Cell { value: message["value"].to_string(), rev, by };
    let known = table.cell(word(message, "row"), word(message, "column"));
    assert_eq!(known, Some(&stands), "what stands there: {message}");
    scene.coverage.hit("table: stale");
}

impl Asked {
    pub(crate) fn body(&self) -> String {
        self.message.to_string()
    }

    pub(crate) fn may_be_refused(&self, code: &str) -> bool {
        self.codes.contains(&code)
    }

    /// Whether it is what was accepted at this position.
    pub(crate) fn fits(&self, at: At, by: Option<&str>, scene: &Scene) -> bool {
        if self.message.get("editing").is_some() {
            return self.may_be;
        }
        let Some(Entry::Table(Change { edit, by: known })) = scene.model.entry_at(CHANNEL, at) else { return false };
        let fits = match edit {
            Edit::Cells(cells) => self.message["set"].as_array().is_some_and(|sets| {
                let same = |((_, _, column, value), set): (&(String, usize, usize, String), &Value)| {
                    set["column"] == COLUMNS[*column] && set["value"] == parse(value)
                };
                sets.len() == cells.len() && cells.iter().zip(sets).all(same)
            }),
            Edit::Insert { cells, .. } => self.message["insert"]["cells"]["name"] == parse(&cells[0]),
            Edit::Move { row, .. } => is_of(&self.message["move"], row),
            Edit::Delete { row, .. } => is_of(&self.message["delete"], row),
        };
        self.may_be && fits && known.as_deref() == by
    }

    pub(crate) fn claim(&self, at: At, scene: &mut Scene) {
        if self.message.get("editing").is_none() {
            scene.model.claim_position(CHANNEL, at);
        }
    }
}

fn is_of(object: &Value, row: &str) -> bool {
    object.is_object() && (object.get("index").is_some() || object["row"] == row)
}

impl Visitor for Editor {
    fn visit(&self) -> &Visit {
        &self.visit
    }

    fn visit_mut(&mut self) -> &mut Visit {
        &mut self.visit
    }

    fn begin(&mut self, scene: &mut Scene) -> String {
        format!("/c/{CHANNEL}{}", query(self.name, self.stream.begin(scene)))
    }

    fn is_on(&mut self, me: Option<Origin>) {
        self.stream.me = me;
    }

    fn see(&mut self, seen: Seen, scene: &mut Scene) {
        match seen {
            Seen::Open => {}
            Seen::Text(text) => match self.stream.take(&text, scene) {
                None => {}
                Some(Reply::Accepted { id, at }) => {
                    let asked = self.answered(id, |asked| asked.fits(at, self.name, scene));
                    self.forget(id, &asked);
                    asked.claim(at, scene);
                    scene.coverage.hit("table: accepted");
                }
                Some(Reply::Refused { id, code, message }) => {
                    let excuse = matches!(code.as_str(), "busy" | "unknown");
                    let fits = |asked: &Asked| excuse || asked.codes.contains(&code.as_str());
                    let asked = self.answered(id, fits);
                    self.forget(id, &asked);
                    check_refusal(&code, &message, scene);
                }
            },
            Seen::Binary(bytes) => panic!("{}: a binary message: {bytes:?}", self.visit.who),
            Seen::Close(code) => {
                assert!(!matches!(code, 1002 | 1003 | 1007 | 1009 | 1011), "{}: closed by {code}", self.visit.who);
            }
        }
    }

    fn lost(&mut self, _: &mut Scene) {
        self.pending.clear();
        self.nameless.clear();
    }

    fn do_something(&mut self, socket: &mut WebSocket, scene: &mut Scene) {
        match scene.random.below(1000) {
            0..250 => {
                for _ in 0..scene.random.upto(3) {
                    self.ask(socket, scene);
                }
            }
            250..260 => socket.ping(scene),
            260..265 => socket.close(scene, 1000),
            265..268 => socket.link.finish(),
            268..274 => socket.link.reset(scene),
            274..279 => self.visit.asleep_until = scene.soon(20_000),
            _ => {}
        }
    }

    fn heard(&self) -> Hears<'_> {
        Hears { channel: CHANNEL, told: self.stream.listeners, name: self.name, me: self.stream.me }
    }

    fn check_live(&mut self, scene: &mut Scene) {
        self.stream.check_rest(scene);
        let waits = self.pending.len() + self.nameless.len();
        assert_eq!(waits, 0, "{}: unanswered: {:?} {:?}", self.visit.who, self.pending, self.nameless);
    }
}
