use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::base::keys::{OfConnection, Slots};

/// A naive reader: what it has got, and what it must have got in the end.
#[derive(Default)]
struct Reader {
    place: Option<Place>,
    got: Vec<u8>,
    due: Vec<u8>,
    /// Lengths of the messages that are due, to find boundaries.
    messages: Vec<usize>,
    flying: Vec<u8>,
    stuck: bool,
    room: usize,
    /// What it is to be told before anything else: the tail has passed it.
    rest: Option<Vec<u8>>,
}

#[derive(Default)]
struct World {
    readers: BTreeMap<ConnKey, Reader>,
    completions: bool,
    sends: usize,
}

impl Readers for World {
    fn moved(&mut self, conn: ConnKey, place: Place) {
        self.readers.get_mut(&conn).unwrap().place = Some(place);
    }

    fn in_flight(&self, conn: ConnKey) -> usize {
        self.readers[&conn].flying.len()
    }
}

impl Deliver for World {
    fn send(&mut self, conn: ConnKey, slice: &Slice) -> Option<usize> {
        self.sends += 1;
        let reader = self.readers.get_mut(&conn).unwrap();
        assert!(!reader.stuck, "a stuck reader is not sent to");
        assert!(!slice.is_empty(), "nothing is never sent");
        if self.completions {
            reader.flying = slice.to_vec();
            return None;
        }
        let taken = slice.len().min(reader.room);
        reader.room -= taken;
        reader.got.extend_from_slice(&slice[..taken]);
        Some(taken)
    }

    fn stuck(&mut self, conn: ConnKey, in_flight: Option<usize>) {
        let reader = self.readers.get_mut(&conn).unwrap();
        reader.stuck = true;
        assert_eq!(in_flight.unwrap_or(0), reader.flying.len());
    }
}

impl World {
    /// The driver can go on with a stuck reader: what flies lands, in part or whole.
    fn go_on(&mut self, log: &mut SendLog, conn: ConnKey, random: &mut StdRng) {
        let reader = self.readers.get_mut(&conn).unwrap();
        let place = reader.place.unwrap();
        assert!(place.lagging, "a stuck reader is a laggard");
        if place.passed {
            return self.come_back(log, conn);
        }
        let landed = if reader.flying.is_empty() { 0 } else { random.random_range(1..=reader.flying.len()) };
        reader.got.extend_from_slice(&reader.flying[..landed]);
        reader.flying.clear();
        reader.stuck = false;
        log.advance(place, landed);
        let cursor = log.cursor(place);
        if cursor < log.end() && random.random_bool(0.8) {
            let slice = log.slice(cursor, log.end());
            let taken = if random.random_bool(0.5) { slice.len() } else { random.random_range(1..=slice.len()) };
            reader.got.extend_from_slice(&slice[..taken]);
            log.advance(place, taken);
        }
        if log.cursor(place) < log.end() {
            reader.stuck = true;
        } else {
            log.promote(place, self);
            log.forget();
        }
    }

    /// A reader is passed and stays: what it has got is whole messages, and what it missed it never gets.
    fn passed(&mut self, conn: ConnKey, left: Left) {
        let reader = self.readers.get_mut(&conn).unwrap();
        let place = reader.place.unwrap();
        assert!(place.lagging && reader.rest.is_none(), "passed once");
        let rest = left.rest.map_or(Vec::new(), |rest| rest.to_vec());
        assert!(rest.starts_with(&reader.flying), "what flies is in hand");
        reader.flying.clear();
        let got = [&reader.got[..], &rest].concat();
        assert_eq!(got, reader.due[..got.len()]);
        let ends = reader.messages.iter().scan(0, |end, len| {
            *end += len;
            Some(*end)
        });
        assert!(got.is_empty() || ends.into_iter().any(|end| end == got.len()), "a message was cut");
        reader.stuck = true;
        if place.passed {
            reader.rest = Some(rest);
        } else {
            assert_eq!(got, reader.due, "nothing is missing");
            reader.got = got;
        }
    }

    /// Who was passed takes the rest, and goes on where the log ends.
    fn come_back(&mut self, log: &mut SendLog, conn: ConnKey) {
        let reader = self.readers.get_mut(&conn).unwrap();
        let place = reader.place.unwrap();
        assert_eq!(log.cursor(place), NOWHERE);
        reader.got.extend(reader.rest.take().expect("it was passed"));
        (reader.due, reader.messages, reader.stuck) = (reader.got.clone(), vec![reader.got.len()], false);
        log.come_back(place, self);
        let place = self.readers[&conn].place.unwrap();
        assert!(place.lagging && !place.passed && log.cursor(place) == log.end());
        log.promote(place, self);
        assert!(!self.readers[&conn].place.unwrap().lagging);
    }

    /// A reader is no more: what it got must be whole messages once the rest of the one in hand is added.
    fn gone(&mut self, conn: ConnKey, rest: Option<Slice>) {
        let reader = self.readers.remove(&conn).unwrap();
        let mut got = reader.got;
        if let Some(waiting) = reader.rest {
            return assert!(rest.is_none() && reader.due.starts_with(&[got, waiting].concat()));
        }
        let begun = got.len() + reader.flying.len();
        got.extend(rest.iter().flat_map(|rest| rest.iter()));
        assert!(got.len() >= begun, "what flies is in hand");
        assert_eq!(got, reader.due[..got.len()]);
        let mut boundary = 0;
        let mut boundaries = reader.messages.iter().map(|len| {
            boundary += len;
            boundary
        });
        assert!(got.is_empty() || boundaries.any(|boundary| boundary == got.len()), "a message was cut");
    }
}

/// Joins, leaves, short writes, sends in flight, sliced rounds and tails that pass cursors, against readers that simply
/// remember all that was appended since they joined.
fn run(seed: u64) -> [usize; 4] {
    let mut random = StdRng::seed_from_u64(seed);
    let mut world = World { completions: random.random_bool(0.5), ..World::default() };
    let mut keys: Slots<OfConnection, ()> = Slots::default();
    let mut log = SendLog::default();
    let tail_bytes_max = if random.random_bool(0.5) { 2000 } else { 500_000 };
    let fate = if random.random_bool(0.5) { Fate::Leaves } else { Fate::Waits };
    let (mut passed, mut waiting, mut promoted) = (0, 0, 0);
    for step in 0..400_u32 {
        let some = |random: &mut StdRng, world: &World, stuck: bool| {
            let mut fit: Vec<ConnKey> =
                world.readers.iter().filter(|(_, reader)| !stuck || reader.stuck).map(|(key, _)| *key).collect();
            fit.sort();
            (!fit.is_empty()).then(|| fit[random.random_range(0..fit.len())])
        };
        match random.random_range(0..10) {
            0 | 1 => {
                let conn = keys.insert(());
                let room = if random.random_bool(0.3) { random.random_range(0..2000) } else { usize::MAX };
                world.readers.insert(conn, Reader { room, ..Reader::default() });
                let place = log.join(conn);
                world.moved(conn, place);
            }
            2 => {
                if let Some(conn) = some(&mut random, &world, false) {
                    let place = world.readers[&conn].place.unwrap();
                    let rest = log.leave(place, &mut world).rest;
                    log.forget();
                    world.gone(conn, rest);
                    keys.remove(conn);
                }
            }
            3..=5 => {
                let len = match random.random_range(0..20) {
                    0 => SEGMENT_BYTES_MAX + 1,
                    1 => random.random_range(1000..6000),
                    _ => random.random_range(1..200),
                };
                let message: Vec<u8> = (0..len).map(|index| (index as u32 * 7 + step) as u8).collect();
                log.append(&message);
                for reader in world.readers.values_mut().filter(|reader| reader.rest.is_none()) {
                    reader.due.extend_from_slice(&message);
                    reader.messages.push(len);
                }
            }
            6 | 7 => {
                let budget = random.random_range(1..6);
                let before = world.sends;
                let sends = log.round(budget, &mut world);
                assert_eq!(sends, world.sends - before);
                assert!(sends <= budget);
            }
            8 => {
                if let Some(conn) = some(&mut random, &world, true) {
                    let was = world.readers[&conn].place.unwrap();
                    let was = was.lagging && !was.passed;
                    world.go_on(&mut log, conn, &mut random);
                    promoted += usize::from(was && !world.readers[&conn].place.unwrap().lagging);
                }
            }
            _ => {
                let released = random.random_bool(0.1);
                let everyone = random.random_bool(0.5);
                let gone = match released {
                    true => log.release(everyone, fate, &mut world),
                    false => log.trim(tail_bytes_max, fate, &mut world),
                };
                for Passed { conn, left } in gone {
                    match fate {
                        Fate::Leaves => {
                            world.gone(conn, left.rest);
                            keys.remove(conn);
                            passed += 1;
                        }
                        Fate::Waits => {
                            world.passed(conn, left);
                            waiting += 1;
                        }
                    }
                }
                let most = tail_bytes_max * ROUND_TAIL_FACTOR + 2 * (SEGMENT_BYTES_MAX + 1);
                assert!(released || log.tail_bytes() <= most);
                let behind = |lagging| {
                    let here = world.readers.values().filter_map(|reader| reader.place);
                    let here = here.filter(|place| place.lagging == lagging && !place.passed);
                    here.filter(|place| log.cursor(*place) < log.end()).count()
                };
                assert!(!released || behind(true) == 0, "no laggard is left");
                assert!(!released || !everyone || (behind(false), log.bytes()) == (0, 0), "nobody is behind");
            }
        }
        assert_eq!(log.readers(), world.readers.len());
        assert_eq!(log.bytes(), log.segments.iter().map(|placed| placed.writer.capacity()).sum::<usize>());
    }
    // In the end everyone takes everything.
    for reader in world.readers.values_mut() {
        reader.room = usize::MAX;
    }
    world.completions = false;
    while log.has_round() {
        log.round(3, &mut world);
    }
    while let Some(conn) = world.readers.iter().find(|(_, reader)| reader.stuck).map(|(key, _)| *key) {
        world.go_on(&mut log, conn, &mut random);
    }
    while log.has_round() {
        log.round(3, &mut world);
    }
    for reader in world.readers.values() {
        assert_eq!(reader.got, reader.due);
        assert!(!reader.place.unwrap().lagging);
    }
    log.forget();
    assert_eq!((log.bytes(), log.tail_bytes()), (0, 0), "a log that everyone has read owns nothing");
    [passed, waiting, promoted, world.sends]
}

#[test]
fn every_reader_gets_every_byte_once() {
    let mut seen = [0; 4];
    for seed in 0..500 {
        let outcome = std::panic::catch_unwind(|| run(seed)).unwrap_or_else(|_| panic!("replay: run({seed})"));
        seen = [0, 1, 2, 3].map(|index| seen[index] + outcome[index]);
    }
    assert!(seen.iter().all(|count| *count > 100), "passed, passed and back, promoted, sent: {seen:?}");
}

#[test]
fn a_round_is_one_send_for_all_that_was_appended() {
    let mut log = SendLog::default();
    let mut world = World::default();
    let mut keys: Slots<OfConnection, ()> = Slots::default();
    for _ in 0..10 {
        let conn = keys.insert(());
        world.readers.insert(conn, Reader { room: usize::MAX, ..Reader::default() });
        let place = log.join(conn);
        world.moved(conn, place);
    }
    for _ in 0..16 {
        log.append(b"publication");
    }
    assert_eq!(log.round(4, &mut world), 4);
    // Who is visited later gets what came meanwhile in the same write; who was visited needs another round.
    log.append(b"late");
    assert_eq!(log.round(100, &mut world), 6);
    assert!(log.has_round());
    assert_eq!(log.round(100, &mut world), 4);
    assert!(!log.has_round());
    assert_eq!((log.bytes(), log.tail_bytes()), (0, 0));
}
