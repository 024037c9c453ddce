//! Talks in our own dialect over WebSocket, in a group or to one user; resumes.

use std::collections::BTreeMap;

use tallycast::engine::Origin;

use super::link::{Seen, WebSocket};
use super::stream::{Reply, Stream};
use super::visitor::{Visit, Visitor};
use super::{Hears, path, query};
use crate::sim::model::{At, Entry};
use crate::sim::scene::Scene;
use crate::sim::setup::{NAMES, Sort, TEXT_BYTES_MAX};

/// What it said: in which channel, and what is to be accepted, or the refusal to come.
#[derive(Clone, PartialEq, Debug)]
struct Asked {
    channel: String,
    entry: Result<Entry, &'static str>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Talker {
    visit: Visit,
    stream: Stream,
    name: Option<String>,
    pending: BTreeMap<u64, Asked>,
    nameless: Vec<Asked>,
    /// So many of these were refused.
    vague: usize,
    said: u64,
}

impl Talker {
    /// Who listens to a user's channel has that user's name.
    pub(crate) fn new(who: &str, channel: &str, name: Option<&str>, stuck: bool) -> Talker {
        let user = channel.split_once('/').map(|(_, user)| user);
        let name = if Sort::of(channel) == Sort::Direct { user } else { name };
        Talker {
            visit: Visit::new(who, stuck),
            stream: Stream::new(who, channel),
            name: name.map(str::to_owned),
            pending: BTreeMap::new(),
            nameless: Vec::new(),
            vague: 0,
            said: 0,
        }
    }

    fn accepted(&mut self, id: Option<u64>, at: At, scene: &mut Scene) {
        let is_it = |asked: &Asked| {
            asked.entry.as_ref().is_ok_and(|entry| scene.model.entry_at(&asked.channel, at) == Some(entry))
        };
        let Asked { channel, entry } = self.answered(id, is_it);
        let entry = entry.expect("it is the entry at that position");
        scene.model.claim(&channel, at, entry);
        scene.coverage.hit(match Sort::of(&channel) {
            Sort::Direct => "talk: accepted for one",
            _ => "talk: accepted for all",
        });
    }

    fn refused(&mut self, id: Option<u64>, code: &str, scene: &mut Scene) {
        let excuse = matches!(code, "busy" | "full" | "unknown");
        let fits = |asked: &Asked| match asked.entry {
            Ok(_) => excuse || (code == "absent" && asked.channel.starts_with("dm/")),
            Err(expected) => code == expected,
        };
        if id.is_none() && (excuse || code == "absent") {
            // Of which one does not show: it stays among those that wait.
            self.vague += 1;
            let waits = self.nameless.iter().filter(|asked| fits(asked)).count();
            return assert!(self.vague <= waits, "{}: {code} to nothing: {:?}", self.visit.who, self.nameless);
        }
        let asked = self.answered(id, fits);
        if let (Ok(entry), true) = (asked.entry, code != "unknown") {
            scene.model.refused(&asked.channel, entry);
        }
        scene.coverage.hit(if code == "absent" { "talk: absent" } else { "talk: refused" });
    }

    fn answered(&mut self, id: Option<u64>, fits: impl Fn(&Asked) -> bool) -> Asked {
        let found = match id {
            Some(id) => self.pending.remove(&id).filter(|asked| fits(asked)),
            None => {
                let place = self.nameless.iter().position(fits);
                place.map(|place| self.nameless.remove(place))
            }
        };
        found.unwrap_or_else(|| panic!("{}: an answer to nothing: id {id:?}: {:?}", self.visit.who, self.nameless))
    }

    fn say(&mut self, socket: &mut WebSocket, scene: &mut Scene) {
        self.said += 1;
        let direct = Sort::of(&self.stream.channel) == Sort::Direct;
        let id = scene.random.chance(70).then_some(self.said);
        let filler = scene.random.pick(&[0, 0, 3, 100, 400]);
        let mut text = format!("{}-{} 你好 {}", self.visit.who, self.said, "x".repeat(scene.random.below(filler + 1)));
        let mut to = scene.random.pick(&NAMES).to_owned();
        let mut refusal = None;
        match scene.random.below(30) {
            0 => {
                text.push_str(&"x".repeat(TEXT_BYTES_MAX));
                refusal = Some("too_long");
            }
            1 if direct => (to, refusal) = (scene.random.pick(&["", "a\nb"]).to_owned(), Some("malformed")),
            2 if direct => (to, refusal) = ("x".repeat(65), Some("malformed")),
            3 => {
                // As if it had the other's kind.
                let wrong = if direct { "{\"text\":\"x\"" } else { "{\"from\":\"ann\",\"text\":\"x\"" };
                return self.send(wrong.to_owned(), id, Err("malformed"), self.stream.channel.clone(), socket, scene);
            }
            4 if !direct => {
                let entry = Entry::Binary([text.as_bytes(), &[0xff, 0]].concat(), self.name.clone());
                let channel = self.stream.channel.clone();
                scene.model.asked(&channel, entry.clone());
                let Entry::Binary(bytes, _) = &entry else { return };
                socket.send(scene, 2, bytes);
                return self.nameless.push(Asked { channel, entry: Ok(entry) });
            }
            _ => {}
        }
        let quoted = serde_json::Value::from(text.as_str());
        let (json, channel) = if direct {
            let (prefix, _) = self.stream.channel.split_once('/').expect("a user's channel");
            (format!("{{\"to\":{},\"text\":{quoted}", serde_json::Value::from(to.as_str())), format!("{prefix}/{to}"))
        } else {
            (format!("{{\"text\":{quoted}"), self.stream.channel.clone())
        };
        let entry = refusal.map_or(Ok(Entry::Text(text, self.name.clone())), Err);
        self.send(json, id, entry, channel, socket, scene);
    }

    fn send(
        &mut self,
        json: String,
        id: Option<u64>,
        entry: Result<Entry, &'static str>,
        channel: String,
        socket: &mut WebSocket,
        scene: &mut Scene,
    ) {
        if let Ok(entry) = &entry {
            scene.model.asked(&channel, entry.clone());
        }
        let asked = Asked { channel, entry };
        let end = match id {
            Some(id) => {
                self.pending.insert(id, asked);
                format!(",\"id\":{id}}}")
            }
            None => {
                self.nameless.push(asked);
                "}".to_owned()
            }
        };
        socket.send(scene, 1, (json + &end).as_bytes());
    }
}

impl Visitor for Talker {
    fn visit(&self) -> &Visit {
        &self.visit
    }

    fn visit_mut(&mut self) -> &mut Visit {
        &mut self.visit
    }

    fn begin(&mut self, scene: &mut Scene) -> String {
        let since = self.stream.begin(scene);
        let name = self.name.as_deref().filter(|_| Sort::of(&self.stream.channel) == Sort::Group);
        format!("/c/{}{}", path(&self.stream.channel), query(name, since))
    }

    fn is_on(&mut self, me: Option<Origin>) {
        self.stream.me = me;
    }

    fn see(&mut self, seen: Seen, scene: &mut Scene) {
        match seen {
            Seen::Open => {}
            Seen::Text(text) => match self.stream.take(&text, scene) {
                None => {}
                Some(Reply::Accepted { id, at }) => self.accepted(id, at, scene),
                Some(Reply::Refused { id, code, .. }) => self.refused(id, &code, scene),
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
        self.vague = 0;
    }

    fn do_something(&mut self, socket: &mut WebSocket, scene: &mut Scene) {
        match scene.random.below(1000) {
            0..250 => {
                for _ in 0..scene.random.upto(4) {
                    self.say(socket, scene);
                }
            }
            250..265 => socket.ping(scene),
            265..270 => socket.close(scene, 1000),
            270..273 => socket.link.finish(),
            273..278 => socket.link.reset(scene),
            278..283 => self.visit.asleep_until = scene.soon(20_000),
            _ => {}
        }
    }

    fn heard(&self) -> Hears<'_> {
        let (channel, told) = (self.stream.channel.as_str(), self.stream.listeners);
        Hears { channel, told, name: self.name.as_deref(), me: self.stream.me }
    }

    fn check_live(&mut self, scene: &mut Scene) {
        self.stream.check_rest(scene);
        let waits = self.pending.len() + self.nameless.len() - self.vague;
        assert_eq!(waits, 0, "{}: unanswered: {:?} {:?}", self.visit.who, self.pending, self.nameless);
    }
}
