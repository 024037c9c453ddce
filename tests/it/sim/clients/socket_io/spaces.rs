//! The namespaces of one client: what it says there, and what it is told, judged by the reference.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::{Value, json};
use tallycast::engine::Origin;

use super::asked::Asked;
use super::judges::Bare;
use super::wire::{Packet, Said, read_said, write_said};
use crate::sim::clients::cells::Shown;
use crate::sim::clients::percent;
use crate::sim::clients::stream::{Reply, Stream, word};
use crate::sim::clients::table::check_refusal;
use crate::sim::model::{At, Entry};
use crate::sim::scene::Scene;
use crate::sim::wire::json as parse;

/// Name, event, channel.
pub(super) const NAMES: [(&str, &str, &str); 8] = [
    ("/", "message", ""),
    ("/room", "message", "room/lobby"),
    ("/table", "change", "table/people"),
    ("/test", "input-change", "table/people"),
    ("/poll", "vote", "poll/lunch"),
    ("/plain", "message", "room/lobby"),
    ("/news", "news", "news"),
    ("/lunch", "vote", "poll/lunch"),
];

/// How a client stands with a namespace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    /// `was`: it has been there in this session.
    Out {
        was: bool,
    },
    Asked {
        was: bool,
    },
    In,
    Refused,
}

/// What it is told there.
#[derive(Debug)]
pub(super) enum Judge {
    /// What comes back, and whether it was greeted.
    Root(VecDeque<(String, Vec<Vec<u8>>)>),
    Own(Box<Stream>),
    Cells(Shown),
    Steps(Bare),
    Plain(Bare),
}

#[derive(Debug)]
pub(super) struct Space {
    pub(super) name: &'static str,
    pub(super) event: &'static str,
    pub(super) channel: &'static str,
    pub(super) standing: Standing,
    pub(super) judge: Judge,
    /// The event that is to come right behind the reply.
    greeting: Option<String>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Spaces {
    who: String,
    pub(super) user: Option<&'static str>,
    pub(super) spaces: Vec<Space>,
    pub(super) pending: BTreeMap<u64, (usize, Asked)>,
    pub(super) nameless: Vec<(usize, Asked)>,
    /// Answers to these may or may not come: their namespace was left.
    dropped: BTreeSet<u64>,
    /// Some refusal may have been of any.
    doubtful: bool,
    pub(super) said: u64,
    me: Option<Origin>,
    /// Its attachments are to come.
    partial: Option<(Said, Vec<Vec<u8>>)>,
}

impl Spaces {
    pub(super) fn new(who: &str, user: Option<&'static str>) -> Spaces {
        let own = |name: &str, channel| Judge::Own(Box::new(Stream::new(&format!("{who} {name}"), channel)));
        let space = |(name, event, channel): (&'static str, &'static str, &'static str)| {
            let judge = match name {
                "/room" | "/table" | "/news" | "/lunch" => own(name, channel),
                "/test" => Judge::Cells(Shown::default()),
                _ => Judge::Root(VecDeque::new()),
            };
            Space { name, event, channel, standing: Standing::Out { was: false }, judge, greeting: None }
        };
        Spaces {
            who: who.to_owned(),
            user,
            spaces: NAMES.into_iter().map(space).collect(),
            pending: BTreeMap::new(),
            nameless: Vec::new(),
            dropped: BTreeSet::new(),
            doubtful: false,
            said: 0,
            me: None,
            partial: None,
        }
    }

    /// The session is over.
    pub(super) fn reset(&mut self) {
        self.pending.clear();
        self.nameless.clear();
        self.dropped.clear();
        self.doubtful = false;
        self.partial = None;
        self.spaces.iter_mut().for_each(|space| space.standing = Standing::Out { was: false });
    }

    /// Who it is.
    pub(super) fn is(&mut self, me: Option<Origin>) {
        self.me = me;
        for space in &mut self.spaces {
            match &mut space.judge {
                Judge::Own(stream) => stream.me = me,
                Judge::Steps(bare) | Judge::Plain(bare) => bare.is(me),
                Judge::Root(_) | Judge::Cells(_) => {}
            }
        }
    }

    /// The session goes on over another connection.
    pub(super) fn moves(&mut self, to: Option<Origin>) {
        self.me = to;
        for space in &mut self.spaces {
            match &mut space.judge {
                Judge::Own(stream) => stream.moves(to),
                Judge::Steps(bare) | Judge::Plain(bare) => bare.moves(to),
                Judge::Root(_) | Judge::Cells(_) => {}
            }
        }
    }

    pub(super) fn me(&self) -> Option<Origin> {
        self.me
    }

    pub(super) fn who(&self) -> &str {
        &self.who
    }

    pub(super) fn is_in(&self, index: usize) -> bool {
        self.spaces[index].standing == Standing::In
    }

    /// Whether it listens to what cannot say that there was a gap.
    pub(super) fn is_fragile(&self) -> bool {
        let listens = |space: &Space| matches!(space.standing, Standing::Asked { .. } | Standing::In);
        self.spaces.iter().any(|space| matches!(space.judge, Judge::Steps(_) | Judge::Plain(_)) && listens(space))
    }

    /// A client of version 3 is in `/` from the beginning.
    pub(super) fn greeted(&mut self) {
        self.spaces[0].judge = Judge::Root(VecDeque::new());
        self.spaces[0].greeting = Some("[\"auth\",{}]".to_owned());
        self.spaces[0].standing = Standing::Asked { was: false };
    }

    /// Asks to join a namespace.
    pub(super) fn join(&mut self, index: usize, version: u8, scene: &mut Scene) -> Packet {
        let (who, user) = (self.who.clone(), self.user);
        let space = &mut self.spaces[index];
        let mut since = None;
        space.greeting = None;
        match (space.name, &mut space.judge) {
            (_, Judge::Own(stream)) => {
                since = stream.begin(scene);
                stream.me = self.me;
            }
            ("/test", judge) => {
                *judge = Judge::Cells(Shown::default());
                space.greeting = Some("[\"my_response\",{\"data\":\"Connected\",\"count\":0}]".to_owned());
            }
            ("/poll", judge) => *judge = Judge::Steps(Bare::new(&who, space.channel, scene)),
            ("/plain", judge) => *judge = Judge::Plain(Bare::new(&who, space.channel, scene)),
            (_, judge) => *judge = Judge::Root(VecDeque::new()),
        }
        if let Judge::Steps(bare) | Judge::Plain(bare) = &mut space.judge {
            bare.is(self.me);
        }
        let was = matches!(space.standing, Standing::Out { was: true });
        space.standing = Standing::Asked { was };
        if since.is_some() {
            scene.coverage.hit("sio: connects with since");
        }
        if index == 0 {
            let payload = scene.random.pick(&["", "{}", "{\"token\":\"123\"}"]);
            let payload = if version == 3 { "" } else { payload };
            space.greeting = Some(format!("[\"auth\",{}]", if payload.is_empty() { "{}" } else { payload }));
            return Packet::Text(format!("40{payload}"));
        }
        if version == 3 {
            let user = user.map(|user| format!("name={}", percent(user)));
            let since = since.map(|since| format!("since={since}"));
            let fields: Vec<String> = user.into_iter().chain(since).collect();
            let query = if fields.is_empty() { String::new() } else { format!("?{}", fields.join("&")) };
            let comma = scene.random.pick(&[",", ""]);
            return Packet::Text(format!("40{}{query}{comma}", space.name));
        }
        let mut auth = json!({});
        user.into_iter().for_each(|user| auth["name"] = user.into());
        since.into_iter().for_each(|since| auth["since"] = since.into());
        let empty = auth.as_object().is_some_and(serde_json::Map::is_empty) && scene.random.chance(50);
        write_said("0", space.name, None, &if empty { String::new() } else { auth.to_string() })
    }

    /// Leaves a namespace.
    pub(super) fn leave(&mut self, index: usize, scene: &mut Scene) -> Packet {
        let space = &mut self.spaces[index];
        space.standing = Standing::Out { was: true };
        scene.coverage.hit("sio: namespace left");
        let dropped = self.pending.iter().filter(|(_, (of, _))| *of == index);
        self.dropped.extend(dropped.map(|(id, _)| id));
        self.pending.retain(|_, (of, _)| *of != index);
        self.nameless.retain(|(of, _)| *of != index);
        write_said("1", space.name, None, "")
    }
}

// What it is told.
impl Spaces {
    pub(super) fn take(&mut self, packet: Packet, scene: &mut Scene) {
        let (said, attachments) = match (packet, self.partial.take()) {
            (Packet::Text(text), None) => (read_said(&text), Vec::new()),
            (Packet::Bytes(bytes), Some((said, mut attachments))) => {
                attachments.push(bytes);
                (said, attachments)
            }
            (packet, partial) => panic!("{}: {packet:?}, while {partial:?}", self.who),
        };
        if attachments.len() < said.attachments {
            self.partial = Some((said, attachments));
            return;
        }
        if said.attachments > 0 {
            scene.coverage.hit("sio: attachments");
        }
        let index = self.spaces.iter().position(|space| space.name == said.namespace);
        let index = index.unwrap_or_else(|| panic!("{}: no such namespace: {said:?}", self.who));
        match said.kind {
            '0' => self.joined(index, &said, scene),
            '4' => self.refused_to_join(index, &said, scene),
            '2' | '5' => self.event(index, &said, &attachments, scene),
            '3' | '6' => self.acknowledged(index, &said, &attachments, scene),
            _ => panic!("{}: {said:?}", self.who),
        }
    }

    fn joined(&mut self, index: usize, said: &Said, scene: &mut Scene) {
        let space = &mut self.spaces[index];
        if said.data.is_empty() {
            scene.coverage.hit("sio: joined, v3");
        } else {
            let reply = parse(&said.data);
            let keys = reply.as_object().map(|reply| reply.len());
            assert!(keys == Some(1) && word(&reply, "sid").len() == 20, "{}: {said:?}", self.who);
            scene.coverage.hit("sio: joined, v5");
        }
        // A namespace that was left before its reply came.
        if matches!(space.standing, Standing::Out { was: true }) {
            return;
        }
        assert!(matches!(space.standing, Standing::Asked { .. }), "{}: {said:?}: {space:?}", self.who);
        space.standing = Standing::In;
        if let Judge::Steps(bare) | Judge::Plain(bare) = &mut space.judge {
            bare.joins(scene);
        }
    }

    fn refused_to_join(&mut self, index: usize, said: &Said, scene: &mut Scene) {
        let space = &mut self.spaces[index];
        let reply = parse(&said.data);
        let few = scene.knobs.users_max < 100 && word(&reply, "message").starts_with("full: ");
        assert!(few && self.user.is_some(), "{}: {said:?}", self.who);
        if matches!(space.standing, Standing::Asked { .. }) {
            space.standing = Standing::Refused;
        }
        scene.coverage.hit("sio: connect refused");
    }

    fn event(&mut self, index: usize, said: &Said, attachments: &[Vec<u8>], scene: &mut Scene) {
        let space = &mut self.spaces[index];
        match space.standing {
            Standing::In => {}
            // It was under way when the namespace was left.
            Standing::Out { was: true } | Standing::Asked { was: true } => return,
            _ => panic!("{}: {said:?}, while {:?}", self.who, space.standing),
        }
        if let Some(greeting) = space.greeting.take() {
            assert_eq!((&said.data, attachments.len()), (&greeting, 0), "{}: it greets", self.who);
            return scene.coverage.hit("sio: greeted");
        }
        let (inner, refused) = match argument(&said.data, "refused") {
            Some(inner) => (inner, true),
            None if index == 0 => (said.data.as_str(), false),
            None => {
                let inner = argument(&said.data, space.event);
                (inner.unwrap_or_else(|| panic!("{}: {said:?}", self.who)), false)
            }
        };
        if refused {
            return self.answered(index, None, inner, scene);
        }
        match &mut space.judge {
            Judge::Root(back) => {
                let expected = back.pop_front();
                assert_eq!(Some((said.data.clone(), attachments.to_vec())), expected, "{}", self.who);
                scene.coverage.hit("sio: message back");
            }
            Judge::Own(stream) => {
                let reply = stream.take(inner, scene);
                assert!(reply.is_none(), "{}: an answer that is no acknowledgement: {said:?}", self.who);
                if inner.starts_with("{\"type\":\"resumed\"") {
                    scene.coverage.hit("sio: resumed with since");
                }
                scene.coverage.hit("sio: event of our own dialect");
            }
            Judge::Cells(shown) => {
                shown.take(&self.who, &parse(inner));
                scene.coverage.hit("sio: cell");
            }
            Judge::Steps(bare) => bare.step(&parse(inner), scene),
            Judge::Plain(bare) => match attachments {
                [] => bare.message(parse(inner).as_str().expect("a text").as_bytes(), true, scene),
                [bytes] => {
                    assert_eq!(parse(inner), json!({"_placeholder": true, "num": 0}), "{}", self.who);
                    bare.message(bytes, false, scene);
                }
                _ => panic!("{}: {said:?}", self.who),
            },
        }
    }

    fn acknowledged(&mut self, index: usize, said: &Said, attachments: &[Vec<u8>], scene: &mut Scene) {
        let id = said.id.expect("an acknowledgement has a number");
        if self.dropped.remove(&id) {
            return;
        }
        let Some((of, asked)) = self.pending.get(&id) else { panic!("{}: acknowledges nothing: {said:?}", self.who) };
        assert_eq!(*of, index, "{}: in another namespace: {said:?}", self.who);
        if let Asked::Exactly(data, bytes) = asked {
            assert_eq!((&said.data, attachments), (data, &bytes[..]), "{}", self.who);
            self.pending.remove(&id);
            let of_bytes = !attachments.is_empty();
            return scene.coverage.hit(if of_bytes { "sio: acknowledged with bytes" } else { "sio: acknowledged" });
        }
        assert!(attachments.is_empty(), "{}: {said:?}", self.who);
        let inner = said.data.strip_prefix('[').and_then(|data| data.strip_suffix(']'));
        self.answered(index, Some(id), inner.unwrap_or_else(|| panic!("{}: {said:?}", self.who)), scene);
    }

    /// The outcome of what it asked, in our own form.
    fn answered(&mut self, index: usize, id: Option<u64>, outcome: &str, scene: &mut Scene) {
        let space = &mut self.spaces[index];
        let message = parse(outcome);
        assert!(message.get("id").is_none(), "{}: {message}", self.who);
        let reply = match (&mut space.judge, word(&message, "type")) {
            (Judge::Own(stream), _) => stream.take(outcome, scene),
            (_, "ok") => Some(Reply::Accepted { id: None, at: At::read(word(&message, "at")) }),
            (_, "refused") => {
                assert!(message["expected"].is_string(), "{message}");
                let code = word(&message, "code").to_owned();
                Some(Reply::Refused { id: None, code, message: message.clone() })
            }
            _ => None,
        };
        match (reply, id) {
            (Some(Reply::Accepted { at, .. }), Some(id)) => {
                let (_, asked) = self.pending.remove(&id).expect("it was looked for");
                let channel = space.channel;
                asked.claim(channel, at, self.user, scene);
                scene.coverage.hit("sio: accepted");
            }
            (Some(Reply::Refused { code, message, .. }), _) => self.refused(index, id, &code, &message, scene),
            (reply, _) => panic!("{}: {reply:?} to {id:?}: {outcome}", self.who),
        }
    }

    fn refused(&mut self, index: usize, id: Option<u64>, code: &str, message: &Value, scene: &mut Scene) {
        let channel = self.spaces[index].channel;
        let excuse = matches!(code, "busy" | "full" | "unknown");
        let asked = match id {
            Some(id) => self.pending.remove(&id).map(|(_, asked)| asked),
            None => {
                let fits = |(of, asked): &(usize, Asked)| *of == index && asked.may_be_refused(code);
                if excuse && self.nameless.iter().filter(|known| fits(known)).count() > 0 {
                    // Of which one does not show.
                    self.doubtful = true;
                    return scene.coverage.hit("sio: refused for now");
                }
                let place = self.nameless.iter().position(fits);
                place.map(|place| self.nameless.remove(place).1)
            }
        };
        let asked = asked.unwrap_or_else(|| panic!("{}: a refusal of nothing: {message}", self.who));
        assert!(asked.may_be_refused(code), "{}: {asked:?}: {message}", self.who);
        if let (Some(entry), true) = (asked.entry(), code != "unknown") {
            scene.model.refused(channel, entry.clone());
        }
        if channel == "table/people" {
            check_refusal(code, message, scene);
        }
        scene.coverage.hit(match (id, code) {
            (_, "unknown") => "sio: unknown, because its session moved",
            (Some(_), _) => "sio: refused by an acknowledgement",
            (None, _) => "sio: refused by an event",
        });
    }

    /// At rest: it has all, and what it said is in.
    pub(super) fn check_rest(&mut self, scene: &mut Scene) {
        assert!(self.partial.is_none(), "{}: attachments are missing: {:?}", self.who, self.partial);
        assert!(self.pending.is_empty(), "{}: unanswered: {:?}", self.who, self.pending);
        for space in &self.spaces {
            match (space.standing, &space.judge) {
                (Standing::Asked { .. }, _) => panic!("{}: not joined yet: {space:?}", self.who),
                (Standing::Out { .. } | Standing::Refused, _) => continue,
                (Standing::In, Judge::Root(back)) => assert!(back.is_empty(), "{}: {back:?}", self.who),
                (Standing::In, Judge::Own(stream)) => stream.check_rest(scene),
                (Standing::In, Judge::Cells(shown)) => shown.check_rest(&self.who, scene),
                (Standing::In, Judge::Steps(bare)) | (Standing::In, Judge::Plain(bare)) => bare.check_rest(scene),
            }
            assert!(space.greeting.is_none(), "{}: not greeted: {space:?}", self.who);
            scene.coverage.hit("sio: namespace at rest");
        }
        let doubtful = std::mem::take(&mut self.doubtful);
        for (index, asked) in std::mem::take(&mut self.nameless) {
            match asked.entry() {
                Some(entry) if !doubtful => scene.model.accepted(self.spaces[index].channel, entry.clone()),
                Some(_) => {}
                None => assert!(!asked.must_be_refused(), "{}: not refused yet: {asked:?}", self.who),
            }
        }
    }
}

/// The one argument of an event of this name.
fn argument<'a>(data: &'a str, event: &str) -> Option<&'a str> {
    data.strip_prefix(&format!("[\"{event}\","))?.strip_suffix(']')
}

/// What was said, if it is a text or bytes.
pub(super) fn said(text: &str, user: Option<&str>) -> Entry {
    Entry::Text(text.to_owned(), user.map(str::to_owned))
}
