//! What a namespace's client is told in dialects that know no positions: each publication once, in order, without a gap.

use serde_json::Value;
use tallycast::engine::Origin;

use crate::sim::clients::stream::{number, word};
use crate::sim::model::{Entry, Life, option};
use crate::sim::scene::Scene;
use crate::sim::setup::GAP;

/// Messages as they are, or votes one by one.
#[derive(Debug)]
pub(super) struct Bare {
    who: String,
    channel: &'static str,
    me: Option<Origin>,
    formerly: Option<Origin>,
    /// The last publication that it was shown: life and revision.
    seen: Option<(usize, u64)>,
    /// What every answer before it asked to join had reached.
    floor: Option<(usize, u64)>,
    /// It was told that messages are missing; behind that it has seen none. How the channel stood then.
    gap: Option<(usize, u64)>,
    /// How the channel stood when it heard that it has joined.
    joined: Option<(usize, u64)>,
}

impl Bare {
    pub(super) fn new(who: &str, channel: &'static str, scene: &Scene) -> Bare {
        Bare {
            who: format!("{who} {channel}, bare"),
            channel,
            me: None,
            formerly: None,
            seen: None,
            floor: scene.model.floor(channel),
            gap: None,
            joined: None,
        }
    }

    pub(super) fn is(&mut self, me: Option<Origin>) {
        self.me = me;
    }

    pub(super) fn moves(&mut self, to: Option<Origin>) {
        (self.formerly, self.me) = (self.me, to);
    }

    /// The reply to its connect: it misses nothing from now on.
    pub(super) fn joins(&mut self, scene: &mut Scene) {
        let lives = &scene.model.channel(self.channel).lives;
        let life = lives.last().expect("who has joined listens");
        self.joined = Some((lives.len() - 1, life.end()));
    }

    fn life<'a>(&self, life: usize, scene: &'a Scene) -> &'a Life {
        &scene.model.channels[self.channel].lives[life]
    }

    /// So many messages of before are for who comes late.
    fn recent(&self, scene: &Scene) -> u64 {
        if self.channel == "room/lobby" { scene.knobs.recent as u64 } else { 0 }
    }

    /// The last revision that its first publication may have.
    fn latest(&self, life: usize, scene: &Scene) -> Option<u64> {
        let end = self.joined.filter(|(joined, _)| *joined == life).map_or(0, |(_, end)| end);
        let from = end.saturating_sub(self.recent(scene));
        self.life(life, scene).next_end_beside(from, &[self.me, self.formerly])
    }

    fn follows(&mut self, (life, revision): (usize, u64), what: &dyn std::fmt::Display, scene: &mut Scene) {
        match self.seen {
            _ if self.gap.is_some() => {
                let latest = self.behind_gap(life, scene);
                let right = self.seen.is_none_or(|seen| (life, revision) > seen);
                let right = right && latest.is_none_or(|latest| revision <= latest);
                assert!(right, "{}: {revision} behind {:?}: {what}", self.who, self.gap);
                self.gap = None;
            }
            None => {
                let floor = self.floor.filter(|(floor, _)| *floor == life).map_or(0, |(_, revision)| revision);
                let earliest = floor.saturating_sub(self.recent(scene)) + 1;
                let latest = self.latest(life, scene);
                let right = revision >= earliest && latest.is_none_or(|latest| revision <= latest);
                assert!(right, "{}: begins with {revision}, may with {earliest} to {latest:?}: {what}", self.who);
            }
            Some((before, seen)) => {
                let known = self.life(life, scene);
                let replayed = self.joined.filter(|(joined, _)| *joined == life).map_or(0, |(_, end)| end);
                let follows = known.may_follow(seen, revision, self.me, self.formerly, replayed);
                let right = before == life && follows;
                assert!(right, "{}: {revision} behind {seen}: {what}", self.who);
                if known.next_end(seen, None) != Some(revision) {
                    scene.coverage.hit("sio: own message passed over");
                }
            }
        }
        self.seen = Some((life, revision));
    }

    /// Where the first message stands, at most, that it gets behind a gap.
    fn behind_gap(&self, life: usize, scene: &Scene) -> Option<u64> {
        let end = self.gap.filter(|(of, _)| *of == life).map_or(0, |(_, end)| end);
        self.life(life, scene).next_end_beside(end, &[self.me, self.formerly])
    }

    /// A message.
    pub(super) fn message(&mut self, bytes: &[u8], text: bool, scene: &mut Scene) {
        if text && bytes == GAP.as_bytes() {
            let lives = &scene.model.channel(self.channel).lives;
            self.gap = lives.last().map(|life| (lives.len() - 1, life.end()));
            return scene.coverage.hit("sio: gap");
        }
        let shown = String::from_utf8_lossy(bytes).into_owned();
        let found = scene.model.find(self.channel, bytes);
        let found = found.unwrap_or_else(|| panic!("{}: nobody said {shown:?}", self.who));
        self.follows(found, &shown, scene);
        let entry = self.life(found.0, scene).entry(found.1);
        assert_eq!(matches!(entry, Entry::Text(..)), text, "{}: as it was: {shown:?}", self.who);
        scene.coverage.hit(if text { "sio: message as it is" } else { "sio: message of bytes" });
    }

    /// A vote.
    pub(super) fn step(&mut self, message: &Value, scene: &mut Scene) {
        assert_eq!(message.as_object().map(|keys| keys.len()), Some(2), "{}: {message}", self.who);
        let (choice, count) = (option(word(message, "uid")), number(message, "count"));
        let life = scene.model.channel(self.channel).lives.len() - 1;
        let revision = self.life(life, scene).revision_of(choice, count);
        let revision = revision.unwrap_or_else(|| panic!("{}: there was no such vote: {message}", self.who));
        // Votes that were published together come one by one.
        match self.seen {
            Some((_, seen)) => {
                assert_eq!(revision, seen + 1, "{}: each vote once, in order: {message}", self.who);
                self.seen = Some((life, revision));
            }
            None => self.first_step(life, revision, message, scene),
        }
        scene.coverage.hit("sio: vote seen");
    }

    fn first_step(&mut self, life: usize, revision: u64, message: &Value, scene: &Scene) {
        let floor = self.floor.map_or(0, |(_, revision)| revision);
        let (_, end) = self.joined.expect("the reply comes first");
        let right = revision > floor && revision <= end + 1;
        assert!(right, "{}: begins with {revision}, may with {floor} to {end}, and one more: {message}", self.who);
        let _ = scene;
        self.seen = Some((life, revision));
    }

    /// At rest: it has all.
    pub(super) fn check_rest(&self, scene: &Scene) {
        let present = scene.model.channels[self.channel].lives.len() - 1;
        let missing = match self.seen {
            _ if self.gap.is_some() => self.behind_gap(present, scene),
            Some((life, seen)) => {
                assert_eq!(life, present, "{}: shown another life", self.who);
                self.life(life, scene).next_end_beside(seen, &[self.me, self.formerly])
            }
            None => self.latest(present, scene),
        };
        assert_eq!(missing, None, "{}: at rest, behind {:?}", self.who, self.seen);
    }
}
