//! The send log: encoded messages of one channel and encoding, back to back, and a cursor for each who reads them.
//!
//! Nothing is copied or counted per subscriber: delivering is sending `log[cursor..end]`. Subscribers who have all lie
//! densely in one list; who could not take it all lies in another, of laggards, until it has caught up. A round visits
//! the first list once. It is sliced: it stops after a bounded number of sends and goes on in the next turn.

use std::collections::VecDeque;

use crate::base::keys::ConnKey;
use crate::base::limits::{REST_COPIED_BYTES_MAX, ROUND_TAIL_FACTOR, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
use crate::base::segment::{Slice, Writer};

/// Where a subscriber lies in a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Among the laggards.
    pub lagging: bool,
    /// Index in its list.
    pub index: u32,
}

#[derive(Clone, Copy, Debug)]
struct Subscriber {
    conn: ConnKey,
    /// The next byte it gets, counted from the log's beginning.
    cursor: u64,
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
    /// How far it will have got with that.
    pub reached: u64,
}

/// A reader whom the tail has passed. It is no subscriber any more.
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
        self.subscribers.len() + self.laggards.len()
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
        self.subscribers.iter().chain(&self.laggards).map(|subscriber| subscriber.conn)
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
        self.subscribers.push(Subscriber { conn, cursor: self.end });
        Place { lagging: false, index: (self.subscribers.len() - 1) as u32 }
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
            readers.moved(subscriber.conn, Place { lagging: true, index: (self.laggards.len() - 1) as u32 });
        }
    }

    /// Makes a laggard who has all a subscriber again.
    pub fn promote(&mut self, place: Place, readers: &mut impl Readers) {
        if place.lagging && self.cursor(place) == self.end {
            let subscriber = self.take(place, readers);
            self.subscribers.push(subscriber);
            readers.moved(subscriber.conn, Place { lagging: false, index: (self.subscribers.len() - 1) as u32 });
        }
    }

    /// The next byte that a reader gets.
    pub fn cursor(&self, place: Place) -> u64 {
        self.list(place)[place.index as usize].cursor
    }

    /// A reader has got `len` bytes more.
    pub fn advance(&mut self, place: Place, len: usize) {
        let list = if place.lagging { &mut self.laggards } else { &mut self.subscribers };
        list[place.index as usize].cursor += len as u64;
        debug_assert!(list[place.index as usize].cursor <= self.end);
    }

    /// A reader who has got all up to `from` does not get what was appended since. False if it has not got so far.
    pub fn pass_over(&mut self, place: Place, from: u64) -> bool {
        let end = self.end;
        let list = if place.lagging { &mut self.laggards } else { &mut self.subscribers };
        let cursor = &mut list[place.index as usize].cursor;
        let passes = *cursor == from;
        if passes {
            *cursor = end;
        }
        passes
    }

    /// A reader who stands before bytes that are not for it goes on behind them.
    pub fn jump(&mut self, place: Place, to: u64) {
        let list = if place.lagging { &mut self.laggards } else { &mut self.subscribers };
        debug_assert!(list[place.index as usize].cursor <= to && to <= self.end);
        list[place.index as usize].cursor = to;
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
                let place = Place { lagging: false, index: self.visited as u32 };
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
    pub fn trim(&mut self, tail_bytes_max: usize, readers: &mut impl Readers) -> Vec<Passed> {
        let mut passed = Vec::new();
        while self.tail_bytes() > tail_bytes_max && self.segments.len() > 1 {
            let base = self.segments[1].base;
            let unvisited = self.subscribers.iter().any(|subscriber| subscriber.cursor < base);
            if unvisited && self.tail_bytes() <= tail_bytes_max * ROUND_TAIL_FACTOR {
                break;
            }
            for lagging in [true, false] {
                self.pass(lagging, base, readers, &mut passed);
            }
            self.drop_front();
        }
        passed
    }

    /// Lets go of the tail: every laggard is passed, and with `everyone` whoever is merely not visited yet, too.
    pub fn release(&mut self, everyone: bool, readers: &mut impl Readers) -> Vec<Passed> {
        let mut passed = Vec::new();
        self.pass(true, self.end, readers, &mut passed);
        if everyone {
            self.pass(false, self.end, readers, &mut passed);
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
    fn pass(&mut self, lagging: bool, base: u64, readers: &mut impl Readers, passed: &mut Vec<Passed>) {
        let mut index = 0;
        while let Some(subscriber) =
            (if lagging { &self.laggards } else { &self.subscribers }).get(index as usize).copied()
        {
            if subscriber.cursor >= base {
                index += 1;
                continue;
            }
            self.take(Place { lagging, index }, readers);
            passed.push(Passed { conn: subscriber.conn, left: self.left_of(subscriber, readers) });
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
        if place.lagging { &self.laggards } else { &self.subscribers }
    }

    /// Takes a reader out. In a round, visited and unvisited stay apart.
    fn take(&mut self, place: Place, readers: &mut impl Readers) -> Subscriber {
        let index = place.index as usize;
        if place.lagging {
            let taken = self.laggards.swap_remove(index);
            if let Some(other) = self.laggards.get(index) {
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
                readers.moved(self.subscribers[hole].conn, Place { lagging: false, index: hole as u32 });
            }
            hole = self.visited;
        }
        self.subscribers.swap_remove(hole);
        if let Some(other) = self.subscribers.get(hole) {
            readers.moved(other.conn, Place { lagging: false, index: hole as u32 });
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
