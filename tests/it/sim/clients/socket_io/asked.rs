//! What a client says in its namespaces, and how that may be answered.

use serde_json::{Value, json};

use super::spaces::{Judge, Spaces, said};
use super::wire::{Packet, write_said};
use crate::sim::clients::{cells, table};
use crate::sim::model::{At, Entry};
use crate::sim::scene::Scene;
use crate::sim::setup::{COLUMNS, OPTIONS, TEXT_BYTES_MAX};

/// What it wants, if it wants an answer.
#[derive(Clone, Debug)]
pub(super) enum Asked {
    /// These arguments, and attachments.
    Exactly(String, Vec<Vec<u8>>),
    /// To be accepted, or the refusal to come.
    Say(Result<Entry, &'static str>),
    Table(table::Asked),
    Cell,
}

impl Asked {
    pub(super) fn entry(&self) -> Option<&Entry> {
        match self {
            Asked::Say(Ok(entry)) => Some(entry),
            Asked::Say(Err(_)) | Asked::Exactly(..) | Asked::Table(_) | Asked::Cell => None,
        }
    }

    pub(super) fn must_be_refused(&self) -> bool {
        matches!(self, Asked::Say(Err(_)))
    }

    pub(super) fn may_be_refused(&self, code: &str) -> bool {
        let excuse = matches!(code, "busy" | "full" | "unknown");
        match self {
            Asked::Say(Ok(_)) => excuse,
            Asked::Say(Err(expected)) => code == *expected,
            Asked::Table(asked) => excuse || asked.may_be_refused(code),
            Asked::Cell => excuse || matches!(code, "malformed" | "unknown_row" | "unknown_column" | "too_long"),
            Asked::Exactly(..) => false,
        }
    }

    /// It was accepted there.
    pub(super) fn claim(self, channel: &str, at: At, user: Option<&str>, scene: &mut Scene) {
        match self {
            Asked::Say(Ok(entry)) => scene.model.claim(channel, at, entry),
            Asked::Table(asked) => {
                assert!(asked.fits(at, user, scene), "{asked:?} was not done at {at}");
                asked.claim(at, scene);
            }
            Asked::Cell => {
                assert!(matches!(scene.model.entry_at(channel, at), Some(Entry::Table(_))), "no change at {at}");
                scene.model.claim_position(channel, at);
            }
            other => panic!("accepted: {other:?}"),
        }
    }
}

/// What stands for the first attachment.
const PLACEHOLDER: &str = "{\"_placeholder\":true,\"num\":0}";

impl Spaces {
    /// Says something in a namespace: the packet and its attachments.
    pub(super) fn say(&mut self, index: usize, scene: &mut Scene) -> Vec<Packet> {
        self.said += 1;
        let id = scene.random.chance(60).then_some(self.said);
        if scene.random.chance(8) {
            return self.say_anything(index, id, scene);
        }
        let mark = format!("{}-{}", self.who(), self.said);
        let event = self.spaces[index].event;
        let channel = self.spaces[index].channel;
        let (argument, bytes, asked) = match &self.spaces[index].judge {
            Judge::Root(_) => return self.say_in_root(id, scene),
            Judge::Own(stream) if channel == "table/people" => {
                let rows: Vec<String> = stream.grid.rows.iter().map(|row| row.id.clone()).collect();
                let revision = |row: &str, column: &str| {
                    let row = stream.grid.rows.iter().find(|known| known.id == row)?;
                    Some(row.cells[COLUMNS.iter().position(|known| *known == column)?].rev)
                };
                let asked = if scene.random.chance(25) {
                    table::editing(&rows, &mut scene.random)
                } else {
                    table::change(&mark, &rows, &revision, &mut scene.random)
                };
                (asked.body(), None, Asked::Table(asked))
            }
            Judge::Own(_) if channel == "news" => ("{\"choice\":\"1\"}".into(), None, Asked::Say(Err("read_only"))),
            Judge::Own(_) if channel == "poll/lunch" => {
                let (choice, bytes, asked) = vote(scene);
                (format!("{{\"choice\":{choice}}}"), bytes, asked)
            }
            Judge::Own(_) => self.message(&mark, true, scene),
            Judge::Plain(_) => self.message(&mark, false, scene),
            Judge::Cells(_) => (cells::message(&mark, scene), None, Asked::Cell),
            Judge::Steps(_) => vote(scene),
        };
        if let Some(entry) = asked.entry() {
            scene.model.asked(channel, entry.clone());
        }
        self.ask(index, id, event, &argument, bytes, asked)
    }

    /// A message for all, in our own dialect or as it is.
    fn message(&self, mark: &str, own: bool, scene: &mut Scene) -> (String, Option<Vec<u8>>, Asked) {
        let filler = scene.random.pick(&[0, 0, 3, 100, 400]);
        let mut text = format!("{mark} 你好\u{1f600} \"{}\"", "x".repeat(scene.random.below(filler + 1)));
        let mut asked = Ok(());
        match scene.random.below(20) {
            0 => {
                text.push_str(&"x".repeat(TEXT_BYTES_MAX));
                asked = Err("too_long");
            }
            1 if own => return ("{\"text\":7}".to_owned(), None, Asked::Say(Err("malformed"))),
            2..6 => {
                let bytes = [text.as_bytes(), &[0xff, 0]].concat();
                let entry = Entry::Binary(bytes.clone(), self.user.map(str::to_owned));
                scene.coverage.hit("sio: binary event");
                return (PLACEHOLDER.to_owned(), Some(bytes), Asked::Say(Ok(entry)));
            }
            _ => {}
        }
        let argument = if own { json!({"text": text}) } else { Value::from(text.as_str()) };
        (argument.to_string(), None, Asked::Say(asked.map(|()| said(&text, self.user))))
    }

    /// In any namespace: nothing, or what it does not know.
    fn say_anything(&mut self, index: usize, id: Option<u64>, scene: &mut Scene) -> Vec<Packet> {
        if scene.random.chance(50) {
            return self.ask(index, id, "nothing", "[1,null]", None, Asked::Exactly("[]".into(), Vec::new()));
        }
        scene.coverage.hit("sio: unknown event");
        self.ask(index, id, "bogus", "1", None, Asked::Say(Err("unknown_event")))
    }

    fn say_in_root(&mut self, id: Option<u64>, scene: &mut Scene) -> Vec<Packet> {
        let argument =
            scene.random.pick(&["1,\"2\",{\"3\":[true]}", "\"a \\\"b\\\" 你\u{1f600}\"", "null", PLACEHOLDER]);
        let bytes = (argument == PLACEHOLDER).then(|| vec![1, 2, self.said as u8]);
        let attachments: Vec<Vec<u8>> = bytes.iter().cloned().collect();
        if scene.random.chance(50) {
            let asked = Asked::Exactly(format!("[{argument}]"), attachments);
            return self.ask(0, id, "message-with-ack", argument, bytes, asked);
        }
        if let Judge::Root(back) = &mut self.spaces[0].judge {
            back.push_back((format!("[\"message-back\",{argument}]"), attachments));
        }
        self.ask(0, id, "message", argument, bytes, Asked::Exactly("[]".into(), Vec::new()))
    }

    fn ask(
        &mut self,
        index: usize,
        id: Option<u64>,
        event: &str,
        argument: &str,
        bytes: Option<Vec<u8>>,
        asked: Asked,
    ) -> Vec<Packet> {
        match id {
            Some(id) => drop(self.pending.insert(id, (index, asked))),
            None => self.nameless.push((index, asked)),
        }
        let kind = if bytes.is_some() { "51-" } else { "2" };
        let packet = write_said(kind, self.spaces[index].name, id, &format!("[\"{event}\",{argument}]"));
        std::iter::once(packet).chain(bytes.map(Packet::Bytes)).collect()
    }
}

fn vote(scene: &mut Scene) -> (String, Option<Vec<u8>>, Asked) {
    if scene.random.chance(15) {
        return ("\"9\"".to_owned(), None, Asked::Say(Err("unknown_option")));
    }
    let choice = scene.random.below(OPTIONS.len());
    let quote = scene.random.pick(&["\"", "\"", ""]);
    (format!("{quote}{}{quote}", OPTIONS[choice]), None, Asked::Say(Ok(Entry::Vote(choice))))
}
