//! The send log: encoded messages of one channel and encoding, back to back, and a cursor for each who reads them.
//!
//! Nothing is copied or counted per subscriber: delivering is sending `log[cursor..end]`. Subscribers who have all lie
//! densely in one list; who could not take it all lies in another, of laggards, until it has caught up. A round visits
//! the first list once. It is sliced: it stops after a bounded number of sends and goes on in the next turn.
//!
//! Whom the bounded tail passes leaves, or waits in a third list until it can take bytes again: who waits there pins
//! nothing, and costs a round nothing.

use std::collections::VecDeque;

use crate::base::keys::ConnKey;
use crate::base::limits::{REST_COPIED_BYTES_MAX, ROUND_TAIL_FACTOR, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
use crate::base::rarely::Rarely;
use crate::base::segment::{Slice, Writer};

/// Where a subscriber lies in a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// No round serves it: it is a laggard, or was passed.
    pub lagging: bool,
    /// The tail has passed it, and it has not been told so yet: it has no cursor.
    pub passed: bool,
    /// Index in its list.
    pub index: u32,
}

impl Place {
    const fn subscriber(index: usize) -> Place {
        Place { lagging: false, passed: false, index: index as u32 }
    }

    const fn laggard(index: usize) -> Place {
        Place { lagging: true, passed: false, index: index as u32 }
    }

    const fn passed(index: usize) -> Place {
        Place { lagging: true, passed: true, index: index as u32 }
    }
}

#[derive(Clone, Copy, Debug)]
struct Subscriber {
    conn: ConnKey,
    /// The next byte it gets, counted from the log's beginning.
    cursor: u64,
}

/// So many subscribers get room for just themselves: most channels have no more.
const FEW_SUBSCRIBERS: usize = 4;

/// Who was passed has no place in the log: it stands nowhere before its end.
const NOWHERE: u64 = u64::MAX;

/// What becomes of whom the tail passes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It leaves.
    Leaves,
    /// It stays, to [come back](SendLog::come_back) at the end of the log.
    Waits,
}

/// Who keeps the places of the readers.
pub trait Readers {
    /// A reader lies elsewhere now.
    fn moved(&mut self, conn: ConnKey, place: Place);
    /// How many bytes of this log are under way to a reader: they count as in hand.
    fn in_flight(&self, conn: ConnKey) -> usize;
}

/// Who does the sending.
pub trait Deliver: Readers {
    /// Sends; the answer as in [`Driver::send`](crate::base::io::Driver::send).
    fn send(&mut self, conn: ConnKey, slice: &Slice) -> Option<usize>;
    /// A send was cut short: it is a laggard now, and the driver tells when to go on. `in_flight`: that many bytes are
    /// under way, and the cursor stands before them.
    fn stuck(&mut self, conn: ConnKey, in_flight: Option<usize>);
}

/// What a reader takes along that leaves.
#[derive(Debug)]
pub struct Left {
    /// The rest of the message in hand, if it was in the middle of one.
    pub rest: Option<Slice>,
    /// How far it will have got with that; 0 of who was passed before.
    pub reached: u64,
}

/// A reader whom the tail has passed. If it waits and what it takes along is the last of the log, it goes on behind that.
#[derive(Debug)]
pub struct Passed {
    /// Who.
    pub conn: ConnKey,
    /// What it takes along.
    pub left: Left,
}

#[derive(Debug)]
struct Placed {
    base: u64,
    writer: Writer,
}

/// See the module.
#[derive(Debug, Default)]
pub struct SendLog {
    segments: VecDeque<Placed>,
    /// Over all segments.
    bytes: usize,
    /// Where each message begins that is still kept.
    starts: VecDeque<u64>,
    end: u64,
    subscribers: Vec<Subscriber>,
    laggards: Vec<Subscriber>,
    /// Whom the tail has passed and who were not told so yet.
    passed: Rarely<Subscriber>,
    /// In a round: those before this index were visited in it.
    visited: usize,
    in_round: bool,
    /// Something was appended since the round began: those already visited need another.
    dirty: bool,
}

impl SendLog {
    /// Where the next message will begin.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// How many read it.
    pub fn readers(&self) -> usize {
        self.subscribers.len() + self.laggards.len() + self.passed.len()
    }

    /// Bytes that its segments occupy.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes kept for those who have not got them.
    pub fn tail_bytes(&self) -> usize {
        self.segments.front().map_or(0, |front| (self.end - front.base) as usize)
    }

    /// All readers.
    pub fn conns(&self) -> impl Iterator<Item = ConnKey> {
        self.subscribers.iter().chain(&self.laggards).chain(&self.passed).map(|subscriber| subscriber.conn)
    }

    /// Those who have not got all.
    pub fn laggards(&self) -> impl Iterator<Item = ConnKey> {
        self.laggards.iter().map(|subscriber| subscriber.conn)
    }

    /// Adds a whole message.
    pub fn append(&mut self, message: &[u8]) {
        let room = self.segments.back().map_or(0, |placed| placed.writer.capacity() - placed.writer.len());
        if room < message.len() {
            let last = self.segments.back().map_or(0, |placed| placed.writer.capacity());
            let class = (last * 2).clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX);
            let writer = Writer::with_capacity(class.max(message.len()));
            self.bytes += writer.capacity();
            self.segments.push_back(Placed { base: self.end, writer });
        }
        if let Some(placed) = self.segments.back_mut() {
            placed.writer.append(message);
        }
        self.starts.push_back(self.end);
        self.end += message.len() as u64;
        self.dirty = true;
    }

    /// A new reader, who gets what is appended from now on.
    pub fn join(&mut self, conn: ConnKey) -> Place {
        if self.subscribers.len() < FEW_SUBSCRIBERS {
            self.subscribers.reserve_exact(1);
        }
        self.subscribers.push(Subscriber { conn, cursor: self.end });
        Place::subscriber(self.subscribers.len() - 1)
    }

    /// A reader leaves; up to two others move.
    pub fn leave(&mut self, place: Place, readers: &mut impl Readers) -> Left {
        let subscriber = self.take(place, readers);
        self.left_of(subscriber, readers)
    }

    /// Makes a subscriber a laggard: it is stuck.
    pub fn demote(&mut self, place: Place, readers: &mut impl Readers) {
        if !place.lagging {
            let subscriber = self.take(place, readers);
            self.laggards.push(subscriber);
            readers.moved(subscriber.conn, Place::laggard(self.laggards.len() - 1));
        }
    }

    /// Makes a laggard who has all a subscriber again.
    pub fn promote(&mut self, place: Place, readers: &mut impl Readers) {
        if place.lagging && !place.passed && self.cursor(place) == self.end {
            let subscriber = self.take(place, readers);
            self.subscribers.push(subscriber);
            readers.moved(subscriber.conn, Place::subscriber(self.subscribers.len() - 1));
        }
    }

    /// Makes who was passed a laggard who has all: it goes on here.
    pub fn come_back(&mut self, place: Place, readers: &mut impl Readers) {
        if place.passed {
            let conn = self.take(place, readers).conn;
            self.laggards.push(Subscriber { conn, cursor: self.end });
            readers.moved(conn, Place::laggard(self.laggards.len() - 1));
        }
    }

    /// The next byte that a reader gets; of who was passed, one that never comes.
    pub fn cursor(&self, place: Place) -> u64 {
        self.list(place)[place.index as usize].cursor
    }

    /// A reader has got `len` bytes more.
    pub fn advance(&mut self, place: Place, len: usize) {
        debug_assert!(!place.passed || len == 0);
        let end = self.end;
        let cursor = self.cursor_mut(place);
        *cursor += len as u64;
        debug_assert!(*cursor <= end || place.passed);
    }

    /// A reader who has got all up to `from` goes on at `to`. False if it has not got so far.
    pub fn pass_over(&mut self, place: Place, from: u64, to: u64) -> bool {
        debug_assert!(from <= to && to <= self.end);
        let cursor = self.cursor_mut(place);
        let passes = *cursor == from;
        if passes {
            *cursor = to;
        }
        passes
    }

    /// A reader who stands before bytes that are not for it goes on behind them.
    pub fn jump(&mut self, place: Place, to: u64) {
        debug_assert!(self.cursor(place) <= to && to <= self.end);
        *self.cursor_mut(place) = to;
    }

    /// The first message boundary that is not before `cursor`: `cursor` itself, unless it stands within a message.
    pub fn boundary(&self, cursor: u64) -> u64 {
        let index = self.starts.partition_point(|start| *start < cursor);
        self.starts.get(index).copied().unwrap_or(self.end)
    }

    /// The bytes from `cursor` on, up to `to` or the end of a segment.
    pub fn slice(&self, cursor: u64, to: u64) -> Slice {
        slice(&self.segments, cursor, to)
    }

    /// Whether a round is due or under way.
    pub fn has_round(&self) -> bool {
        self.in_round || (self.dirty && !self.subscribers.is_empty())
    }

    /// Whether a round is under way.
    pub fn is_in_round(&self) -> bool {
        self.in_round
    }

    /// Goes on with the round, or begins one, for at most `budget` sends. Returns how many were done.
    pub fn round(&mut self, budget: usize, deliver: &mut impl Deliver) -> usize {
        if !self.in_round && self.dirty {
            (self.in_round, self.dirty, self.visited) = (true, false, 0);
        }
        let mut sends = 0;
        let mut common: Option<(u64, Slice)> = None;
        while self.in_round && sends < budget {
            let Some(subscriber) = self.subscribers.get_mut(self.visited) else {
                self.in_round = false;
                break;
            };
            if subscriber.cursor == self.end {
                self.visited += 1;
                continue;
            }
            // Nearly everyone stands at the same place: one slice serves them all.
            let slice = match &common {
                Some((cursor, slice)) if *cursor == subscriber.cursor => slice,
                _ => {
                    let made = slice(&self.segments, subscriber.cursor, self.end);
                    &common.insert((subscriber.cursor, made)).1
                }
            };
            sends += 1;
            let (conn, len) = (subscriber.conn, slice.len());
            let taken = deliver.send(conn, slice);
            subscriber.cursor += taken.unwrap_or(0) as u64;
            if taken != Some(len) {
                let place = Place::subscriber(self.visited);
                self.demote(place, deliver);
                deliver.stuck(conn, if taken.is_none() { Some(len) } else { None });
            } else if subscriber.cursor == self.end {
                self.visited += 1;
            }
        }
        // With the last send of the budget the round may be over.
        self.in_round &= self.visited < self.subscribers.len();
        if !self.in_round {
            self.forget();
        }
        sends
    }

    /// Holds the tail to its bound, `tail_bytes_max`: who is behind it is passed.
    pub fn trim(&mut self, tail_bytes_max: usize, fate: Fate, readers: &mut impl Readers) -> Vec<Passed> {
        let mut passed = Vec::new();
        while self.tail_bytes() > tail_bytes_max && self.segments.len() > 1 {
            let base = self.segments[1].base;
            // Who is merely not visited yet, or has a send under way that the driver has not told of, is not slow.
            let unvisited = self.subscribers.iter().any(|subscriber| subscriber.cursor < base)
                || self.laggards.iter().any(|laggard| laggard.cursor < base && readers.in_flight(laggard.conn) > 0);
            if unvisited && self.tail_bytes() <= tail_bytes_max * ROUND_TAIL_FACTOR {
                break;
            }
            for lagging in [true, false] {
                self.pass(lagging, base, fate, readers, &mut passed);
            }
            self.drop_front();
        }
        passed
    }

    /// Lets go of the tail: every laggard is passed, and with `everyone` whoever is merely not visited yet, too.
    pub fn release(&mut self, everyone: bool, fate: Fate, readers: &mut impl Readers) -> Vec<Passed> {
        let mut passed = Vec::new();
        self.pass(true, self.end, fate, readers, &mut passed);
        if everyone {
            self.pass(false, self.end, fate, readers, &mut passed);
            (self.in_round, self.dirty) = (false, false);
        }
        self.forget();
        passed
    }

    /// Gives back what everyone has got. Costs a look at each laggard.
    pub fn forget(&mut self) {
        if self.in_round || (self.dirty && !self.subscribers.is_empty()) {
            return;
        }
        let oldest = self.laggards.iter().map(|laggard| laggard.cursor).min().unwrap_or(self.end);
        if oldest == self.end {
            (self.segments, self.starts, self.bytes) = Default::default();
            self.dirty = false;
            return;
        }
        while self.segments.len() > 1 && self.segments[1].base <= oldest {
            self.drop_front();
        }
    }

    fn left_of(&self, Subscriber { conn, cursor }: Subscriber, readers: &impl Readers) -> Left {
        if cursor == NOWHERE {
            return Left { rest: None, reached: 0 };
        }
        let reached = self.boundary(cursor + readers.in_flight(conn) as u64);
        Left { rest: (reached > cursor).then(|| self.rest(cursor, reached)), reached }
    }

    fn rest(&self, cursor: u64, boundary: u64) -> Slice {
        let first = self.slice(cursor, boundary);
        let len = (boundary - cursor) as usize;
        if len > REST_COPIED_BYTES_MAX && first.len() == len {
            return first;
        }
        let mut rest = first.to_vec();
        while rest.len() < len {
            rest.extend_from_slice(&self.slice(cursor + rest.len() as u64, boundary));
        }
        Slice::copied(&rest)
    }

    /// Takes out those of a list whose cursor is before `base`.
    fn pass(&mut self, lagging: bool, base: u64, fate: Fate, readers: &mut impl Readers, passed: &mut Vec<Passed>) {
        let mut index = 0;
        while let Some(subscriber) = (if lagging { &self.laggards } else { &self.subscribers }).get(index).copied() {
            if subscriber.cursor >= base {
                index += 1;
                continue;
            }
            let conn = subscriber.conn;
            self.take(if lagging { Place::laggard(index) } else { Place::subscriber(index) }, readers);
            let left = self.left_of(subscriber, readers);
            let has_all = left.reached == self.end;
            passed.push(Passed { conn, left });
            if fate == Fate::Waits && has_all {
                // What is under way or in hand is the last that there is: nothing is missing.
                self.laggards.push(Subscriber { conn, cursor: self.end });
                readers.moved(conn, Place::laggard(self.laggards.len() - 1));
            } else if fate == Fate::Waits {
                self.passed.push(Subscriber { conn, cursor: NOWHERE });
                readers.moved(conn, Place::passed(self.passed.len() - 1));
            }
        }
    }

    fn drop_front(&mut self) {
        self.bytes -= self.segments.pop_front().map_or(0, |front| front.writer.capacity());
        let base = self.segments.front().map_or(self.end, |front| front.base);
        while self.starts.front().is_some_and(|start| *start < base) {
            self.starts.pop_front();
        }
    }

    fn list(&self, place: Place) -> &[Subscriber] {
        match (place.lagging, place.passed) {
            (false, _) => &self.subscribers,
            (true, false) => &self.laggards,
            (true, true) => &self.passed,
        }
    }

    fn cursor_mut(&mut self, place: Place) -> &mut u64 {
        let list: &mut [Subscriber] = match (place.lagging, place.passed) {
            (false, _) => &mut self.subscribers,
            (true, false) => &mut self.laggards,
            (true, true) => &mut self.passed,
        };
        &mut list[place.index as usize].cursor
    }

    /// Takes a reader out. In a round, visited and unvisited stay apart.
    fn take(&mut self, place: Place, readers: &mut impl Readers) -> Subscriber {
        let index = place.index as usize;
        if place.lagging {
            let passed = place.passed;
            let taken = if passed { self.passed.swap_remove(index) } else { self.laggards.swap_remove(index) };
            if let Some(other) = self.list(place).get(index) {
                readers.moved(other.conn, place);
            }
            return taken;
        }
        let mut hole = index;
        let taken = self.subscribers[index];
        if self.in_round && index < self.visited {
            self.visited -= 1;
            if hole != self.visited {
                self.subscribers[hole] = self.subscribers[self.visited];
                readers.moved(self.subscribers[hole].conn, Place::subscriber(hole));
            }
            hole = self.visited;
        }
        self.subscribers.swap_remove(hole);
        if let Some(other) = self.subscribers.get(hole) {
            readers.moved(other.conn, Place::subscriber(hole));
        }
        taken
    }
}

fn slice(segments: &VecDeque<Placed>, cursor: u64, to: u64) -> Slice {
    let index = segments.partition_point(|placed| placed.base <= cursor) - 1;
    let placed = &segments[index];
    let start = (cursor - placed.base) as usize;
    placed.writer.slice(start..placed.writer.len().min(start + (to - cursor) as usize))
}

#[cfg(test)]
mod tests;
