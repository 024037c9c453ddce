//! An old page with a table over WebSocket: one cell at a time, each where it stands.

use std::collections::BTreeMap;

use serde_json::Value;
use tallycast::engine::Origin;

use super::link::{Seen, WebSocket};
use super::stream::{number, word};
use super::visitor::{Visit, Visitor};
use super::{Hears, query};
use crate::sim::scene::Scene;
use crate::sim::setup::{CELL_BYTES_MAX, COLUMNS, TABLE_ROWS_MAX};
use crate::sim::wire::json;

const CHANNEL: &str = "table/people";

/// See the module.
#[derive(Debug)]
pub(crate) struct Page {
    visit: Visit,
    name: Option<&'static str>,
    me: Option<Origin>,
    shown: Shown,
    /// Messages of this connection; a refusal may come for each.
    sent: usize,
    said: usize,
}

impl Page {
    pub(crate) fn new(who: &str, name: Option<&'static str>, stuck: bool) -> Page {
        Page { visit: Visit::new(who, stuck), name, me: None, shown: Shown::default(), sent: 0, said: 0 }
    }

    fn write(&mut self, socket: &mut WebSocket, scene: &mut Scene) {
        self.said += 1;
        self.sent += 1;
        let text = message(&format!("{}-{}", self.visit.who, self.said), scene);
        socket.send(scene, 1, text.as_bytes());
    }
}

/// What stands where, as JSON, by what a page was told.
#[derive(Debug, Default)]
pub(crate) struct Shown(BTreeMap<(u64, String), String>);

impl Shown {
    pub(crate) fn take(&mut self, who: &str, message: &Value) {
        assert_eq!(message.as_object().map(|keys| keys.len()), Some(3), "{who}: {message}");
        let (index, column) = (number(message, "index"), word(message, "forms"));
        // What was the last row before one went is emptied.
        assert!(index <= TABLE_ROWS_MAX as u64 && COLUMNS.contains(&column), "{who}: {message}");
        self.0.insert((index, column.to_owned()), message["value"].to_string());
    }

    /// The page shows the table, and nothing below it.
    pub(crate) fn check_rest(&self, who: &str, scene: &Scene) {
        let life = scene.model.present(CHANNEL).expect("it is listened to");
        let table = life.table(life.end());
        for ((index, column), value) in &self.0 {
            let row = table.rows.get(*index as usize);
            let column = COLUMNS.iter().position(|known| known == column).expect("a column");
            let expected = row.map_or("\"\"", |row| &row.cells[column].value);
            assert_eq!(value, expected, "{who}: row {index}, {}: {table:?}", COLUMNS[column]);
        }
        let all = table.rows.len() * COLUMNS.len();
        assert!(self.0.len() >= all, "{who}: {all} cells: {:?}", self.0);
    }
}

/// A cell, as an old page writes it, or something that is none.
pub(crate) fn message(mark: &str, scene: &mut Scene) -> String {
    let index = scene.random.below(TABLE_ROWS_MAX + 1);
    let quote = scene.random.pick(&["", "", "\""]);
    let column = scene.random.pick(&COLUMNS);
    match scene.random.below(20) {
        0 => "{\"index\":0}".to_owned(),
        1 => format!("{{\"index\":{index},\"value\":[],\"forms\":\"{column}\"}}"),
        2 => format!("{{\"index\":{index},\"value\":\"{mark}\",\"forms\":\"nothing\"}}"),
        3 => format!("{{\"index\":{index},\"value\":\"{}\",\"forms\":\"{column}\"}}", "x".repeat(CELL_BYTES_MAX)),
        4 => format!("{{\"index\":{index},\"value\":17,\"forms\":\"{column}\"}}"),
        _ => format!("{{\"index\": {quote}{index}{quote}, \"value\": \"{mark}\", \"forms\": \"{column}\"}}"),
    }
}

impl Visitor for Page {
    fn visit(&self) -> &Visit {
        &self.visit
    }

    fn visit_mut(&mut self) -> &mut Visit {
        &mut self.visit
    }

    fn begin(&mut self, _: &mut Scene) -> String {
        self.shown = Shown::default();
        self.sent = 0;
        format!("/cells{}", query(self.name, None))
    }

    fn is_on(&mut self, me: Option<Origin>) {
        self.me = me;
    }

    fn see(&mut self, seen: Seen, scene: &mut Scene) {
        match seen {
            Seen::Open => {}
            Seen::Binary(bytes) => panic!("{}: a binary message: {bytes:?}", self.visit.who),
            Seen::Close(code) => {
                assert!(!matches!(code, 1002 | 1003 | 1007 | 1009 | 1011), "{}: closed by {code}", self.visit.who);
            }
            Seen::Text(text) => {
                let message = json(&text);
                if message.get("error").is_some() {
                    assert!(self.sent > 0, "{}: a refusal of somebody else's", self.visit.who);
                    self.sent -= 1;
                    let code = word(&message, "error");
                    let known = ["malformed", "unknown_row", "unknown_column", "too_long", "full"].contains(&code);
                    assert!(known, "{}: {text}", self.visit.who);
                    return scene.coverage.hit("cells: refused");
                }
                self.shown.take(&self.visit.who, &message);
                scene.coverage.hit("cells: cell");
            }
        }
    }

    fn do_something(&mut self, socket: &mut WebSocket, scene: &mut Scene) {
        match scene.random.below(1000) {
            0..200 => self.write(socket, scene),
            200..210 => socket.ping(scene),
            210..215 => socket.close(scene, 1000),
            215..218 => socket.link.finish(),
            218..222 => socket.link.reset(scene),
            222..227 => self.visit.asleep_until = scene.soon(20_000),
            _ => {}
        }
    }

    fn heard(&self) -> Hears<'_> {
        Hears { channel: CHANNEL, told: None, name: self.name, me: self.me }
    }

    fn check_live(&mut self, scene: &mut Scene) {
        self.shown.check_rest(&self.visit.who, scene);
        scene.coverage.hit("rest: page shows the table");
    }
}
