//! A listener and voter over WebSocket in our own dialect, who resumes.

use std::collections::BTreeMap;

use super::Hears;
use super::link::{Seen, WebSocket};
use super::stream::{Reply, Stream};
use super::visitor::{Visit, Visitor};
use crate::sim::model::Entry;
use crate::sim::scene::Scene;
use crate::sim::setup::OPTIONS;

/// See the module.
#[derive(Debug)]
pub(crate) struct Listener {
    visit: Visit,
    stream: Stream,
    /// Votes with an id that are not answered: the option, or the refusal to come.
    pending: BTreeMap<u64, Result<usize, &'static str>>,
    /// Those without an id.
    nameless: Vec<Result<usize, &'static str>>,
    next_id: u64,
}

impl Listener {
    pub(crate) fn new(who: &str, channel: &str, stuck: bool) -> Listener {
        Listener {
            visit: Visit::new(who, stuck),
            stream: Stream::new(who, channel),
            pending: BTreeMap::new(),
            nameless: Vec::new(),
            next_id: 0,
        }
    }

    fn refused(&mut self, id: Option<u64>, code: &str, scene: &mut Scene) {
        let excuse = matches!(code, "busy" | "full" | "unknown");
        let fits = |asked: Result<usize, &str>| match asked {
            Ok(_) => excuse,
            Err(expected) => code == expected || (expected == "malformed" && code == "wrong_type"),
        };
        if let Ok(option) = self.answered(id, fits)
            && code != "unknown"
        {
            scene.model.refused(&self.stream.channel, Entry::Vote(option));
        }
        scene.coverage.hit("ws: vote refused");
    }

    fn answered(&mut self, id: Option<u64>, fits: impl Fn(Result<usize, &str>) -> bool) -> Result<usize, &'static str> {
        let found = match id {
            Some(id) => self.pending.remove(&id).filter(|asked| fits(*asked)),
            None => {
                let place = self.nameless.iter().position(|asked| fits(*asked));
                place.map(|place| self.nameless.remove(place))
            }
        };
        found.unwrap_or_else(|| panic!("{}: an answer to nothing: id {id:?}", self.visit.who))
    }

    fn vote(&mut self, socket: &mut WebSocket, scene: &mut Scene) {
        self.next_id += 1;
        let (mut choice, mut asked) = match scene.random.below(20) {
            0 | 1 => ("\"9\"".to_owned(), Err("unknown_option")),
            2 => ("{}".to_owned(), Err("malformed")),
            _ => {
                let option = scene.random.below(OPTIONS.len());
                let quote = scene.random.pick(&["\"", ""]);
                (format!("{quote}{}{quote}", OPTIONS[option]), Ok(option))
            }
        };
        if self.stream.channel == "news" {
            asked = Err("read_only");
            choice = "\"1\"".into();
        }
        // What cannot be read as a vote has no id that an answer could carry.
        let readable = matches!(asked, Ok(_) | Err("unknown_option"));
        let id = (readable && scene.random.chance(70)).then_some(self.next_id);
        let space = scene.random.pick(&["", " "]);
        let text = match id {
            Some(id) => format!("{{\"choice\":{space}{choice},{space}\"id\":{id}}}"),
            None => format!("{{{space}\"choice\":{choice}}}"),
        };
        if let Ok(option) = asked {
            scene.model.asked(&self.stream.channel, Entry::Vote(option));
        }
        match id {
            Some(id) => drop(self.pending.insert(id, asked)),
            None => self.nameless.push(asked),
        }
        socket.send(scene, 1, text.as_bytes());
    }
}

impl Visitor for Listener {
    fn visit(&self) -> &Visit {
        &self.visit
    }

    fn visit_mut(&mut self) -> &mut Visit {
        &mut self.visit
    }

    fn begin(&mut self, scene: &mut Scene) -> String {
        let since = self.stream.begin(scene).map(|since| format!("?since={since}"));
        format!("/c/{}{}", self.stream.channel, since.unwrap_or_default())
    }

    fn see(&mut self, seen: Seen, scene: &mut Scene) {
        match seen {
            Seen::Open => {}
            Seen::Text(text) => match self.stream.take(&text, scene) {
                None => {}
                Some(Reply::Accepted { id, at }) => {
                    let entry = scene.model.life(&self.stream.channel, at).entry(at.revision).clone();
                    let Entry::Vote(option) = entry else { panic!("a vote was accepted: {entry:?}") };
                    let _ = self.answered(id, |asked| asked == Ok(option));
                    scene.model.claim(&self.stream.channel, at, entry);
                    scene.coverage.hit("ws: vote accepted");
                }
                Some(Reply::Refused { id, code, .. }) => self.refused(id, &code, scene),
            },
            Seen::Binary(bytes) => panic!("{}: a binary message: {bytes:?}", self.visit.who),
            Seen::Close(code) => {
                assert!(!matches!(code, 1002 | 1003 | 1007 | 1009 | 1011), "{}: closed by {code}", self.visit.who);
            }
        }
    }

    fn lost(&mut self, scene: &mut Scene) {
        scene.note(|| format!("{}: lost, {} unanswered", self.visit.who, self.pending.len()));
        self.pending.clear();
        self.nameless.clear();
    }

    fn do_something(&mut self, socket: &mut WebSocket, scene: &mut Scene) {
        match scene.random.below(1000) {
            0..250 => {
                for _ in 0..scene.random.upto(3) {
                    self.vote(socket, scene);
                }
            }
            250..270 => socket.ping(scene),
            270..275 => socket.close(scene, 1000),
            275..278 => socket.link.finish(),
            278..282 => socket.link.reset(scene),
            282..287 => self.visit.asleep_until = scene.soon(20_000),
            _ => {}
        }
    }

    fn heard(&self) -> Hears<'_> {
        Hears { channel: &self.stream.channel, told: self.stream.listeners, name: None, me: None }
    }

    fn check_live(&mut self, scene: &mut Scene) {
        self.stream.check_rest(scene);
        let waits = self.pending.len() + self.nameless.len();
        assert_eq!(waits, 0, "{}: unanswered: {:?} {:?}", self.visit.who, self.pending, self.nameless);
    }
}
