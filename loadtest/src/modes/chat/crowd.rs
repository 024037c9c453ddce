//! Rooms whose members all send and all listen: one big room is a chat, many small ones are rooms.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crate::account::Account;
use crate::arguments::{Common, Stop};
use crate::clock::{Clock, Nanos, SECOND, seconds};
use crate::fleet::{Behaviour, Fleet};
use crate::io::{Client, Counts, Dial, Ended, Io};
use crate::latency::Latencies;
use crate::modes::stages::{self, WARM_DELIVERIES, phase};
use crate::report::Report;
use crate::schedule::Schedule;
use crate::stamp::{STAMP_BYTES, Stamp, Stamper};
use crate::window::Window;

/// Nothing is sent between warm-up and measuring, until all of the warm-up has come.
const SETTLE: u32 = 10;
/// Messages of one turn, so that what arrives is read in between.
const SENT_PER_TURN_MAX: usize = 256;
/// Where a stamp has the number of its run, which each room has another of.
const MARK_DIGITS: Range<usize> = 1..5;

/// Rooms, their members, and what they do.
#[derive(Clone, Debug)]
pub(crate) struct Crowd {
    pub(crate) mode: &'static str,
    pub(crate) rooms: u32,
    /// Of each room.
    pub(crate) members: u32,
    /// Messages a second, all together.
    pub(crate) rate: f64,
    pub(crate) pick: Pick,
    /// Who sends does not get it.
    pub(crate) not_sender: bool,
    /// Bytes of a message.
    pub(crate) size: u32,
    /// Before and behind each message.
    pub(crate) around: (String, String),
    pub(crate) seconds: f64,
    pub(crate) warm_seconds: f64,
    pub(crate) patience: f64,
}

/// Who sends next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pick {
    /// One after the other.
    InTurn,
    /// Anyone.
    Random,
}

impl Crowd {
    /// Connects, warms up, measures, drains and counts. `dial` is how to come into a room.
    pub(crate) fn run(&self, common: &Common, dial: impl Fn(u32) -> Arc<Dial>) -> Result<Report, Stop> {
        let count = u64::from(self.rooms) * u64::from(self.members);
        common.files(count)?;
        let watched = common.watched()?;
        let clock = Clock::new();
        let run = stages::run_number()?;
        let rooms: Vec<Arc<Dial>> = (0..self.rooms).map(dial).collect();
        let shares = common.shares(count).into_iter();
        let threads = shares.map(|share| Members::new(self, &rooms, run, share)).collect();
        let fleet = Fleet::start(clock, &common.setup(), threads).map_err(Stop::Usage)?;
        let mut report = Report::new(self.mode, &common.url);
        report.subscribers = count;
        report.set("rate", self.rate);
        report.set("size", self.size.max(STAMP_BYTES as u32));
        if !stages::connect_all(&fleet, common, count) {
            return stages::refused(fleet, report, count);
        }
        let receivers = u64::from(self.members - u32::from(self.not_sender));
        let all = |counts: &Counts| counts.sent * receivers;
        let patience = seconds(self.patience);
        fleet.set_phase(phase::WARM);
        let warm = WARM_DELIVERIES * count;
        if !fleet.wait(clock.now() + seconds(self.warm_seconds), |counts, _| counts.received >= warm) {
            let each = fleet.shared.counts().received as f64 / count as f64;
            report.notes.push(format!(
                "the warm-up had {each:.1} deliveries per connection, not {WARM_DELIVERIES}: the server's figures are dearer"
            ));
        }
        fleet.set_phase(SETTLE);
        stages::drain(&fleet, None, patience, all);
        let before = fleet.shared.counts();
        let mut window = Window::open(clock, watched.as_ref(), common.threads.into(), before.received);
        fleet.set_phase(phase::MEASURE);
        stages::measure(&fleet, &mut window, seconds(self.seconds), common.quiet, |_| false);
        fleet.set_phase(phase::DRAIN);
        stages::drain(&fleet, Some(&mut window), patience, all);
        let counts = fleet.shared.counts();
        window.close(counts.received, &mut report);
        report.expected = (counts.sent - before.sent) * receivers;
        report.set("messages", counts.sent - before.sent);
        let (threads, failures) = fleet.stop().map_err(Stop::Usage)?;
        Ok(self.account(report, threads, &failures))
    }

    /// Adds up what the threads found.
    fn account(&self, mut report: Report, threads: Vec<Members>, failures: &BTreeMap<String, u64>) -> Report {
        let members = self.members as usize;
        let sent: Vec<u32> = threads.iter().flat_map(|thread| thread.sent.iter().copied()).collect();
        let mut latencies: Option<Latencies> = None;
        for thread in threads {
            for (room, account) in thread.accounts.iter().enumerate() {
                let room = thread.first_room + room;
                report.lost += account.lost(&sent[room * members..(room + 1) * members]);
                report.doubled += account.doubled;
                report.reordered += account.reordered;
            }
            if self.not_sender {
                // What was never to come is no loss.
                report.lost -= thread.sent.iter().map(|sent| u64::from(*sent)).sum::<u64>();
            }
            match &mut latencies {
                None => latencies = Some(thread.latencies),
                Some(all) => all.add(thread.latencies),
            }
        }
        if let Some(latencies) = latencies {
            report.latency_us = latencies.report();
            latencies.fill(&mut report.series);
        }
        if report.reordered > 0 {
            report.fail("out of order", report.reordered);
        }
        report.finish(failures)
    }
}

/// One thread's members. They are numbered through all rooms, room by room; a thread's share is a range of them.
struct Members {
    /// The dials and the stampers of the rooms of the share, and who got what in each; by number from `first_room`.
    rooms: Vec<Arc<Dial>>,
    stampers: Vec<Stamper>,
    accounts: Vec<Account>,
    first_room: usize,
    share: Range<u64>,
    members: u64,
    run: u16,
    rooms_of_all: u32,
    not_sender: bool,
    pick: Pick,
    /// Messages a second of this thread.
    rate: f64,
    schedule: Option<Schedule>,
    /// Whose turn it is.
    turn: usize,
    clients: Vec<Option<Client>>,
    sent: Vec<u32>,
    latencies: Latencies,
    measures_from: Nanos,
    text: Vec<u8>,
}

impl Members {
    fn new(crowd: &Crowd, rooms: &[Arc<Dial>], run: u16, share: Range<u64>) -> Self {
        let (members, count) = (u64::from(crowd.members), (share.end - share.start) as usize);
        let first_room = share.start / members;
        let room_numbers = if share.is_empty() { 0..0 } else { first_room..share.end.div_ceil(members) };
        let listeners = |room: u64| (share.end.min((room + 1) * members) - share.start.max(room * members)) as usize;
        let stamper = |room: u64| {
            Stamper::new(run.wrapping_add(room as u16), crowd.size as usize, &crowd.around.0, &crowd.around.1)
        };
        Self {
            rooms: room_numbers.clone().map(|room| Arc::clone(&rooms[room as usize])).collect(),
            stampers: room_numbers.clone().map(stamper).collect(),
            accounts: room_numbers.map(|room| Account::new(listeners(room), members as usize)).collect(),
            first_room: first_room as usize,
            members,
            run,
            rooms_of_all: crowd.rooms,
            not_sender: crowd.not_sender,
            pick: crowd.pick,
            rate: crowd.rate * count as f64 / (u64::from(crowd.rooms) * members) as f64,
            schedule: None,
            turn: 0,
            clients: vec![None; count],
            sent: vec![0; count],
            latencies: Latencies::new(0),
            measures_from: Nanos::MAX,
            text: vec![],
            share,
        }
    }

    /// Room (in the share), number within the room, and number of the listener in the share's part of the room.
    fn place(&self, number: u64) -> (usize, u64, usize) {
        let room = number / self.members;
        let first_here = self.share.start.max(room * self.members);
        (room as usize - self.first_room, number % self.members, (number - first_here) as usize)
    }

    fn send(&mut self, due: Nanos, io: &mut Io) {
        if self.clients.is_empty() {
            return;
        }
        let local = match self.pick {
            Pick::InTurn => self.turn % self.clients.len(),
            Pick::Random => (io.random() % self.clients.len() as u64) as usize,
        };
        self.turn += 1;
        let Some(client) = self.clients[local] else { return };
        let (room, member, _) = self.place(self.share.start + local as u64);
        self.text.clear();
        let stamp = Stamp { publisher: member as u16, sequence: self.sent[local], time: due };
        self.stampers[room].write(&mut self.text, stamp);
        self.sent[local] += 1;
        io.counts.sent += 1;
        io.send_text(client, &self.text);
    }

    /// Is there a stamp of this run, but of another room, in it?
    fn is_of_another_room(&self, payload: &[u8]) -> bool {
        let mut stamps = payload.windows(STAMP_BYTES).filter(|stamp| stamp[0] == b'~');
        stamps.any(|stamp| {
            let digits = std::str::from_utf8(&stamp[MARK_DIGITS]).ok();
            let mark = digits.and_then(|digits| u16::from_str_radix(digits, 16).ok());
            mark.is_some_and(|mark| u32::from(mark.wrapping_sub(self.run)) < self.rooms_of_all)
        })
    }
}

impl Behaviour for Members {
    fn phase(&mut self, phase: u32, io: &mut Io) {
        match phase {
            phase::CONNECT => {
                for number in self.share.clone() {
                    let (room, ..) = self.place(number);
                    io.connect(&self.rooms[room], number as u32);
                }
            }
            phase::WARM | phase::MEASURE => {
                // Threads begin one after the other, so that they do not all send at once.
                let step = SECOND as f64 / self.rate.max(1e-9) * (io.thread as f64 * 0.618).fract();
                self.schedule =
                    (self.rate > 0.0).then(|| Schedule::new(io.now + (step as Nanos).min(SECOND), self.rate));
                if phase == phase::MEASURE {
                    self.latencies = Latencies::new(io.now);
                    self.measures_from = io.now;
                }
            }
            _ => self.schedule = None,
        }
    }

    fn opened(&mut self, client: Client, _: &mut Io) {
        let local = (u64::from(client.tag) - self.share.start) as usize;
        self.clients[local] = Some(client);
    }

    fn message(&mut self, client: Client, payload: &[u8], io: &mut Io) {
        let (room, member, listener) = self.place(client.tag.into());
        let Some(found) = self.stampers[room].find(payload) else {
            io.counts.others += 1;
            if self.rooms_of_all > 1 && self.is_of_another_room(payload) {
                io.fail("a message of another room came");
            }
            return;
        };
        if self.not_sender && found.publisher() as u64 == member {
            io.fail("a message came back to its sender");
            return;
        }
        if self.accounts[room].deliver(listener, found.publisher(), found.sequence()) {
            io.counts.received += 1;
            if found.time() >= self.measures_from {
                self.latencies.record(io.now, found.time());
            }
        }
    }

    fn ended(&mut self, client: Client, _: &Ended, _: bool, _: &mut Io) -> bool {
        let local = (u64::from(client.tag) - self.share.start) as usize;
        self.clients[local] = None;
        false
    }

    fn turn(&mut self, io: &mut Io) -> Option<Nanos> {
        for _ in 0..SENT_PER_TURN_MAX {
            match self.schedule.as_mut().and_then(|schedule| schedule.take(io.now)) {
                Some(due) => self.send(due, io),
                None => break,
            }
        }
        self.schedule.as_ref().map(Schedule::next)
    }
}
