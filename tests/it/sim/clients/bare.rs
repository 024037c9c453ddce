//! The old chats over WebSocket: messages as they are, to a group or, by a field of theirs, to one user.

use tallycast::engine::Origin;

use super::link::{Seen, WebSocket};
use super::stream::word;
use super::visitor::{Visit, Visitor};
use super::{Hears, percent, query};
use crate::sim::model::Entry;
use crate::sim::scene::Scene;
use crate::sim::setup::{GAP, NAMES, Sort, TEXT_BYTES_MAX};
use crate::sim::wire::json;

/// See the module.
#[derive(Debug)]
pub(crate) struct Talker {
    visit: Visit,
    channel: String,
    name: Option<String>,
    me: Option<Origin>,
    /// The last message that this connection was shown: life and revision.
    seen: Option<(usize, u64)>,
    /// What every answer before the handshake was sent had reached.
    floor: Option<(usize, u64)>,
    /// How the channel stood when the handshake's response was read.
    opened: Option<(usize, u64)>,
    /// It was told that messages are missing; behind that it has seen none. How the channel stood then.
    gap: Option<(usize, u64)>,
    /// To the group, on this connection.
    sent: Vec<Entry>,
    /// Refusals that are to come, and messages that nobody may have been there for.
    wrong: Vec<&'static str>,
    maybe_absent: usize,
    /// Some refusal may have been of any.
    doubtful: bool,
    said: usize,
}

impl Talker {
    pub(crate) fn new(who: &str, channel: &str, name: Option<&str>, stuck: bool) -> Talker {
        let user = channel.split_once('/').map(|(_, user)| user);
        let name = if Sort::of(channel) == Sort::Direct { user } else { name };
        Talker {
            visit: Visit::new(who, stuck),
            channel: channel.to_owned(),
            name: name.map(str::to_owned),
            me: None,
            seen: None,
            floor: None,
            opened: None,
            gap: None,
            sent: Vec::new(),
            wrong: Vec::new(),
            maybe_absent: 0,
            doubtful: false,
            said: 0,
        }
    }

    fn target(&self) -> String {
        let name = self.name.as_deref();
        match self.channel.split_once('/').expect("a channel of some class") {
            ("room", "lobby") => format!("/my_ws{}", query(name, None)),
            ("room", room) => format!("/my_room/{room}{}", query(name, None)),
            ("dm", user) => format!("/my_ws/{}", percent(user)),
            ("keep", user) => format!("/my_keep/{}", percent(user)),
            other => panic!("{other:?}"),
        }
    }

    fn refused(&mut self, text: &str, scene: &mut Scene) {
        let message = json(text);
        assert!(message["expected"].is_string() && message.as_object().is_some_and(|keys| keys.len() == 2), "{text}");
        match word(&message, "error") {
            "absent" => {
                assert!(self.maybe_absent > 0, "{}: a refusal of somebody else's: {text}", self.visit.who);
                self.maybe_absent -= 1;
                scene.coverage.hit("bare: absent");
            }
            "busy" | "full" | "unknown" => self.doubtful = true,
            code => {
                let place = self.wrong.iter().position(|wrong| *wrong == code);
                let place = place.unwrap_or_else(|| panic!("{}: a refusal of somebody else's: {text}", self.visit.who));
                self.wrong.remove(place);
                scene.coverage.hit("bare: refused");
            }
        }
    }

    /// Where the first message stands, at most, that this connection gets; and the earliest that it may.
    fn first(&self, life: usize, scene: &mut Scene) -> (u64, Option<u64>) {
        let limits = &scene.knobs.limits;
        let (kept, recent) = (limits.history_publications_max as u64, scene.knobs.recent as u64);
        let recent = if self.channel == "room/lobby" { recent } else { 0 };
        let joined = self.me.and_then(|me| scene.model.joined(&self.channel, me));
        let lives = &scene.model.channel(&self.channel).lives;
        let end = self.opened.filter(|(opened, _)| *opened == life).map_or(lives[life].end(), |(_, end)| end);
        let floor = self.floor.filter(|(floor, _)| *floor == life).map_or(0, |(_, revision)| revision);
        let (earliest, latest) = match Sort::of(&self.channel) {
            Sort::Direct => {
                let (epoch, _, heard) = joined.expect("who listens has joined");
                assert_eq!(epoch, lives[life].epoch, "{}: joined another life", self.visit.who);
                (heard, heard.max(end.saturating_sub(kept)))
            }
            _ => (floor.saturating_sub(recent), end.saturating_sub(recent)),
        };
        (earliest + 1, lives[life].next_end(latest, self.me))
    }

    /// Where the first message stands, at most, that it gets behind a gap.
    fn behind_gap(&self, life: usize, scene: &Scene) -> Option<u64> {
        let life_of = &scene.model.channels[&self.channel].lives[life];
        // What is read now may have been written in an earlier life than the present one.
        let end = match self.gap {
            Some((of, end)) if of == life => end,
            Some((of, _)) if of > life => life_of.end(),
            Some(_) | None => 0,
        };
        life_of.next_end(end, self.me)
    }

    /// Each message of others once, in order, from the joining on.
    fn message(&mut self, bytes: &[u8], text: bool, scene: &mut Scene) {
        let found = scene.model.find(&self.channel, bytes);
        let shown = String::from_utf8_lossy(bytes).into_owned();
        let (life, revision) = found.unwrap_or_else(|| panic!("{}: nobody said {shown:?}", self.visit.who));
        match self.seen {
            _ if self.gap.is_some() => {
                let latest = self.behind_gap(life, scene);
                let right = self.seen.is_none_or(|seen| (life, revision) > seen);
                let right = right && latest.is_none_or(|latest| revision <= latest);
                assert!(right, "{}: {revision} behind {:?}: {shown:?}", self.visit.who, self.gap);
                self.gap = None;
            }
            None => {
                let (earliest, latest) = self.first(life, scene);
                let right = revision >= earliest && latest.is_none_or(|latest| revision <= latest);
                assert!(
                    right,
                    "{}: begins with {revision}, may with {earliest} to {latest:?}: {shown:?}",
                    self.visit.who
                );
                let opened = self.opened.expect("the response comes first");
                if (life, revision) <= opened {
                    scene.coverage.hit(match self.channel.split('/').next() {
                        Some("keep") => "bare: kept message",
                        Some("dm") => "bare: message from when it joined",
                        _ => "bare: recent message",
                    });
                }
            }
            Some((before, seen)) => {
                let life_before = &scene.model.channel(&self.channel).lives[before];
                let expected = life_before.next_end(seen, self.me);
                if expected != life_before.next_end(seen, None) {
                    scene.coverage.hit("bare: own message passed over");
                }
                let right = (before, expected) == (life, Some(revision));
                assert!(right, "{}: {expected:?} comes behind {seen}, not {revision}: {shown:?}", self.visit.who);
            }
        }
        let entry = scene.model.channel(&self.channel).lives[life].entry(revision);
        assert_eq!(matches!(entry, Entry::Text(..)), text, "{}: as it was: {shown:?}", self.visit.who);
        self.seen = Some((life, revision));
        scene.coverage.hit(match Sort::of(&self.channel) {
            Sort::Direct => "bare: message for one",
            _ => "bare: message for all",
        });
    }

    fn say(&mut self, socket: &mut WebSocket, scene: &mut Scene) {
        self.said += 1;
        let filler = scene.random.pick(&[0, 0, 3, 100, 400]);
        let text = format!("{}-{} 你好 {}", self.visit.who, self.said, "x".repeat(scene.random.below(filler + 1)));
        let direct = Sort::of(&self.channel) == Sort::Direct;
        let from = self.name.clone();
        if scene.random.chance(4) {
            self.wrong.push("too_long");
            let long = "x".repeat(TEXT_BYTES_MAX + 1);
            let long = if direct { format!("{{\"to_user\":\"ann\",\"message\":\"{long}\"}}") } else { long };
            return socket.send(scene, 1, long.as_bytes());
        }
        if direct {
            return self.write_to_one(&text, socket, scene);
        }
        let entry = if scene.random.chance(20) {
            Entry::Binary([text.as_bytes(), &[0xff, 0]].concat(), from)
        } else {
            Entry::Text(text, from)
        };
        scene.model.asked(&self.channel, entry.clone());
        match &entry {
            Entry::Text(text, _) => socket.send(scene, 1, text.as_bytes()),
            Entry::Binary(bytes, _) => socket.send(scene, 2, bytes),
            Entry::Vote(_) | Entry::Table(_) => {}
        }
        self.sent.push(entry);
    }

    fn write_to_one(&mut self, text: &str, socket: &mut WebSocket, scene: &mut Scene) {
        let (prefix, me) = self.channel.split_once('/').expect("a user's channel");
        let to = scene.random.pick(&NAMES);
        let wrong = ["x", "{}", "[\"ann\"]", "{\"to_user\":7}", "{\"to_user\":\"\"}", "{\"to_user\":\"\\n\"}"];
        if scene.random.chance(6) {
            self.wrong.push("malformed");
            let wrong = scene.random.pick(&wrong);
            return socket.send(scene, 1, wrong.as_bytes());
        }
        let space = scene.random.pick(&["", " "]);
        let text = format!("{{\"message\":{space}\"{text}\", \"from_user\":\"{me}\",\"to_user\":{space}\"{to}\"}}");
        let channel = format!("{prefix}/{to}");
        scene.model.asked(&channel, Entry::Text(text.clone(), self.name.clone()));
        self.maybe_absent += usize::from(prefix == "dm");
        socket.send(scene, 1, text.as_bytes());
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
        (self.seen, self.opened, self.me, self.gap) = (None, None, None, None);
        self.floor = scene.model.floor(&self.channel);
        self.sent.clear();
        self.wrong.clear();
        (self.maybe_absent, self.doubtful) = (0, false);
        self.target()
    }

    fn is_on(&mut self, me: Option<Origin>) {
        self.me = me;
    }

    fn see(&mut self, seen: Seen, scene: &mut Scene) {
        match seen {
            Seen::Open => {
                let lives = &scene.model.channel(&self.channel).lives;
                let life = lives.last().expect("who has the response listens");
                self.opened = Some((lives.len() - 1, life.end()));
            }
            Seen::Close(code) => {
                assert!(!matches!(code, 1002 | 1003 | 1007 | 1009 | 1011), "{}: closed by {code}", self.visit.who);
            }
            Seen::Text(text) if text.starts_with("{\"error\":") => self.refused(&text, scene),
            Seen::Text(text) if text == GAP => {
                let lives = &scene.model.channel(&self.channel).lives;
                self.gap = lives.last().map(|life| (lives.len() - 1, life.end()));
                scene.coverage.hit("bare: gap");
            }
            Seen::Text(text) => self.message(text.as_bytes(), true, scene),
            Seen::Binary(bytes) => self.message(&bytes, false, scene),
        }
    }

    fn do_something(&mut self, socket: &mut WebSocket, scene: &mut Scene) {
        match scene.random.below(1000) {
            0..250 => {
                for _ in 0..scene.random.upto(4) {
                    self.say(socket, scene);
                }
            }
            250..255 => socket.ping(scene),
            255..262 => socket.close(scene, 1000),
            262..265 => socket.link.finish(),
            265..271 => socket.link.reset(scene),
            271..276 => self.visit.asleep_until = scene.soon(20_000),
            _ => {}
        }
    }

    fn heard(&self) -> Hears<'_> {
        Hears { channel: &self.channel, told: None, name: self.name.as_deref(), me: self.me }
    }

    fn check_live(&mut self, scene: &mut Scene) {
        assert!(self.wrong.is_empty(), "{}: not refused yet: {:?}", self.visit.who, self.wrong);
        let present = scene.model.channel(&self.channel).lives.len() - 1;
        let missing = match self.seen {
            _ if self.gap.is_some() => self.behind_gap(present, scene),
            Some((life, seen)) => {
                assert_eq!(life, present, "{}: shown another life", self.visit.who);
                scene.model.channel(&self.channel).lives[life].next_end(seen, self.me)
            }
            None => self.first(present, scene).1,
        };
        assert_eq!(missing, None, "{}: at rest, behind {:?}", self.visit.who, self.seen);
        if !self.doubtful {
            // Nobody cut this connection: all that it sent is in.
            for entry in self.sent.drain(..) {
                scene.model.accepted(&self.channel, entry);
            }
        }
    }
}
