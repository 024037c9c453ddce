//! One thread's voters and listeners, and what all threads know of the poll.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::tally::{Standing, Told, told};
use crate::clock::Nanos;
use crate::codec;
use crate::fleet::Behaviour;
use crate::io::{Client, Dial, Ended, Io};
use crate::latency::Latencies;
use crate::modes::stages::phase;
use crate::schedule::Schedule;

/// All votes are sent, and how many they are is known: listeners that have the true totals are done.
pub(super) const JUDGE: u32 = 10;
/// Writes of one turn, so that what arrives is read in between.
const WRITES_PER_TURN_MAX: usize = 64;
/// How soon voters look again that wait for votes to be counted, in nanoseconds.
const LOOK_NANOS: Nanos = 2_000_000;
/// Times of votes that are remembered; the oldest go.
const TIMES_MAX: usize = 1 << 20;

/// What a connection is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    Voter,
    Listener,
}

/// How fast one thread votes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Votes a second of this thread; without it, `outstanding` of all threads.
    pub(super) rate: Option<f64>,
    pub(super) outstanding: u64,
    pub(super) pipeline: usize,
}

/// How far the poll is, in votes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    pub(super) sent: u64,
    /// Of those, how many some listener has seen counted.
    pub(super) counted: u64,
}

/// What all threads know.
#[derive(Debug)]
pub(super) struct Poll {
    options: Vec<String>,
    sent: Vec<AtomicU64>,
    sent_sum: AtomicU64,
    counted: AtomicU64,
    last_vote: AtomicU64,
    /// The totals from before, where the server was asked.
    asked: Option<Vec<u64>>,
    /// The totals from before, as listeners were told on joining.
    joined: Mutex<Option<Vec<u64>>>,
    /// Some listener was told single votes.
    is_stepped: AtomicBool,
    /// The totals from before, fixed when the first vote is sent or the first steps are seen.
    before: Mutex<Vec<Option<u64>>>,
    /// Votes sent so far, and when the last of them was due.
    times: Mutex<Vec<(u64, Nanos)>>,
    /// Set when all votes are sent; `true` if all threads have said so.
    is_closed: OnceLock<bool>,
}

impl Poll {
    pub(super) fn new(options: Vec<String>, asked: Option<Vec<u64>>) -> Self {
        let count = options.len();
        Self {
            sent: (0..count).map(|_| AtomicU64::new(0)).collect(),
            options,
            sent_sum: AtomicU64::new(0),
            counted: AtomicU64::new(0),
            last_vote: AtomicU64::new(0),
            before: Mutex::new(
                asked.as_ref().map_or(vec![None; count], |asked| asked.iter().copied().map(Some).collect()),
            ),
            asked,
            joined: Mutex::new(None),
            is_stepped: AtomicBool::new(false),
            times: Mutex::new(vec![]),
            is_closed: OnceLock::new(),
        }
    }

    pub(super) fn progress(&self) -> Progress {
        Progress { sent: self.sent_sum.load(Ordering::Acquire), counted: self.counted.load(Ordering::Acquire) }
    }

    /// Votes sent, by option.
    pub(super) fn sent(&self) -> Vec<u64> {
        self.sent.iter().map(|sent| sent.load(Ordering::Acquire)).collect()
    }

    /// When the last vote was sent.
    pub(super) fn last_vote(&self) -> Nanos {
        self.last_vote.load(Ordering::Acquire)
    }

    /// All votes are sent. `for_sure`: all threads have said so.
    pub(super) fn close(&self, for_sure: bool) {
        let _ = self.is_closed.set(for_sure);
    }

    /// What the totals have to be, as far as that is known.
    pub(super) fn expected(&self) -> Option<Vec<u64>> {
        let before = lock(&self.before);
        let known: Option<Vec<u64>> = before.iter().copied().collect();
        Some(known?.iter().zip(self.sent()).map(|(before, sent)| before + sent).collect())
    }

    /// How many of the votes a listener knows.
    pub(super) fn votes_known(&self, standing: &Standing) -> u64 {
        let before = lock(&self.before);
        let rows = standing.counts.iter().zip(before.iter());
        rows.map(|(count, before)| count.unwrap_or(0).saturating_sub(before.unwrap_or(0))).sum()
    }

    /// Does a listener know the true totals? Of an option that nobody was told of, nothing is to be known if nobody voted
    /// for it.
    pub(super) fn is_right(&self, standing: &Standing) -> bool {
        if self.is_closed.get() != Some(&true) {
            return false;
        }
        let before = lock(&self.before);
        let rows = standing.counts.iter().zip(before.iter()).zip(self.sent());
        rows.into_iter().all(|((count, before), sent)| match (count, before) {
            (Some(count), Some(before)) => *count == before + sent,
            (None, _) => sent == 0,
            (Some(_), None) => false,
        })
    }

    /// How the totals from before are known.
    pub(super) fn before_known_by(&self) -> &'static str {
        match (&self.asked, lock(&self.joined).is_some(), self.is_stepped.load(Ordering::Acquire)) {
            (Some(_), ..) => "asking",
            (None, true, _) => "joining",
            (None, false, true) => "the first steps",
            (None, false, false) => "nothing: taken as zero",
        }
    }

    /// A listener was told all counts. Those before the first vote are what there was before; who is first told
    /// afterwards cannot know, and takes it for nothing.
    fn told_counts(&self, counts: &[u64]) {
        let is_before = self.progress().sent == 0;
        if is_before {
            *lock(&self.joined) = Some(counts.to_vec());
        }
        for (before, count) in lock(&self.before).iter_mut().zip(counts) {
            before.get_or_insert(if is_before { *count } else { 0 });
        }
    }

    /// A listener was told a vote, the first for this option that it knows.
    fn told_first_step(&self, option: usize, count: u64) {
        self.is_stepped.store(true, Ordering::Release);
        if self.asked.is_none() && lock(&self.joined).is_none() {
            // Who missed the first step tells of a later one.
            let before = &mut lock(&self.before)[option];
            *before = Some(before.unwrap_or(u64::MAX).min(count.saturating_sub(1)));
        }
    }

    /// What a listener whose counts come to `total` has of the votes: how many, and when the newest was due.
    fn seen(&self, total: u64) -> Option<(u64, Nanos)> {
        let before: u64 = lock(&self.before).iter().map(|before| before.unwrap_or(0)).sum();
        let votes = total.checked_sub(before).filter(|votes| *votes > 0)?;
        self.counted.fetch_max(votes, Ordering::AcqRel);
        let times = lock(&self.times);
        let at = times.partition_point(|(sent, _)| *sent < votes);
        times.get(at).map(|(_, time)| (votes, *time))
    }

    fn cast(&self, votes: &[u64], due: Nanos, now: Nanos) {
        for (sent, votes) in self.sent.iter().zip(votes) {
            sent.fetch_add(*votes, Ordering::AcqRel);
        }
        // The order of the times is that of the sums.
        let mut times = lock(&self.times);
        let sum = votes.iter().sum::<u64>();
        let sent = self.sent_sum.fetch_add(sum, Ordering::AcqRel) + sum;
        if times.len() >= TIMES_MAX {
            times.drain(..TIMES_MAX / 2);
        }
        times.push((sent, due));
        self.last_vote.fetch_max(now, Ordering::AcqRel);
    }
}

/// A listener and what it knows.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) standing: Standing,
    /// When its counts last changed.
    pub(super) changed: Nanos,
    is_done: bool,
}

/// One thread's voters and listeners.
pub(super) struct Booth {
    poll: Arc<Poll>,
    pace: Pace,
    roles: Vec<Role>,
    vote: Arc<Dial>,
    listen: Arc<Dial>,
    /// What is sent for each option.
    messages: Vec<String>,
    voters: Vec<Client>,
    pub(super) listeners: Vec<Listener>,
    schedule: Option<Schedule>,
    phase: u32,
    turn: usize,
    pub(super) latencies: Latencies,
    measures_from: Nanos,
    /// Messages that told all counts, and those that told one vote.
    pub(super) tallies: u64,
    pub(super) steps: u64,
}

impl Booth {
    pub(super) fn new(
        poll: Arc<Poll>,
        pace: Pace,
        roles: Vec<Role>,
        vote: Arc<Dial>,
        listen: Arc<Dial>,
        messages: Vec<String>,
    ) -> Self {
        let listeners = roles.iter().filter(|role| **role == Role::Listener).map(|_| Listener {
            standing: Standing::new(messages.len()),
            changed: 0,
            is_done: false,
        });
        Self {
            listeners: listeners.collect(),
            poll,
            pace,
            roles,
            vote,
            listen,
            messages,
            voters: vec![],
            schedule: None,
            phase: phase::CONNECT,
            turn: 0,
            latencies: Latencies::new(0),
            measures_from: Nanos::MAX,
            tallies: 0,
            steps: 0,
        }
    }

    /// One write of the next voter that takes it. `false`: none does.
    fn cast(&mut self, due: Nanos, io: &mut Io) -> bool {
        for _ in 0..self.voters.len() {
            let client = self.voters[self.turn % self.voters.len()];
            self.turn += 1;
            // Without a rate, a voter that the server does not read from is passed over.
            if self.pace.rate.is_none() && io.links.get(client.key).is_none_or(|link| !link.out.is_empty()) {
                continue;
            }
            let mut votes = vec![0; self.messages.len()];
            let mut frames = Vec::with_capacity(self.pace.pipeline * 16);
            for _ in 0..self.pace.pipeline {
                let random = io.random();
                let option = (random >> 32) as usize % self.messages.len();
                votes[option] += 1;
                codec::write_text(&mut frames, self.messages[option].as_bytes(), random as u32);
            }
            // Told first: a listener may hear of them before this thread goes on.
            self.poll.cast(&votes, due, io.clock.now());
            io.send_bytes(client, &frames);
            io.counts.sent += self.pace.pipeline as u64;
            return true;
        }
        false
    }

    fn may_cast(&self) -> bool {
        let progress = self.poll.progress();
        progress.sent.saturating_sub(progress.counted) + self.pace.pipeline as u64 <= self.pace.outstanding
    }

    fn heard(&mut self, index: usize, told: &Told, io: &mut Io) {
        let listener = &mut self.listeners[index];
        match told {
            Told::Counts(counts) => {
                self.tallies += 1;
                self.poll.told_counts(counts);
                listener.standing.counts(counts);
            }
            Told::Step(option, count) => {
                self.steps += 1;
                self.poll.told_first_step(*option, *count);
                listener.standing.step(*option, *count);
            }
            Told::Accepted | Told::Other => return,
            Told::Refused(why) => {
                io.fail(&format!("refused: {why}"));
                return;
            }
        }
        listener.changed = io.now;
        let total = listener.standing.counts.iter().flatten().sum();
        if let Some((_, due)) = self.poll.seen(total)
            && due >= self.measures_from
        {
            self.latencies.record(io.now, due);
        }
        if self.phase == JUDGE {
            self.judge(index, io);
        }
    }

    fn judge(&mut self, index: usize, io: &mut Io) {
        let listener = &mut self.listeners[index];
        if !listener.is_done && self.poll.is_right(&listener.standing) {
            listener.is_done = true;
            io.counts.done += 1;
        }
    }
}

impl Behaviour for Booth {
    fn phase(&mut self, phase: u32, io: &mut Io) {
        self.phase = phase;
        match phase {
            phase::CONNECT => {
                let mut listener = 0;
                for role in self.roles.clone() {
                    match role {
                        Role::Voter => io.connect(&self.vote, u32::MAX),
                        Role::Listener => {
                            io.connect(&self.listen, listener);
                            listener += 1;
                        }
                    }
                }
            }
            phase::WARM => {
                let writes = self.pace.rate.map(|rate| rate / self.pace.pipeline as f64);
                self.schedule = writes.filter(|rate| *rate > 0.0).map(|rate| Schedule::new(io.now, rate));
            }
            phase::MEASURE => {
                self.latencies = Latencies::new(io.now);
                self.measures_from = io.now;
            }
            JUDGE => (0..self.listeners.len()).for_each(|index| self.judge(index, io)),
            _ => self.schedule = None,
        }
    }

    fn opened(&mut self, client: Client, _: &mut Io) {
        if client.tag == u32::MAX {
            self.voters.push(client);
        }
    }

    fn message(&mut self, client: Client, payload: &[u8], io: &mut Io) {
        if client.tag != u32::MAX {
            self.heard(client.tag as usize, &told(payload, &self.poll.options), io);
        } else if payload.starts_with(b"{\"error\"") || payload.starts_with(b"{\"type\":\"refused\"") {
            if let Told::Refused(why) = told(payload, &self.poll.options) {
                io.fail(&format!("a vote was refused: {why}"));
            }
        } else {
            io.counts.others += 1;
        }
    }

    fn ended(&mut self, client: Client, _: &Ended, _: bool, _: &mut Io) -> bool {
        self.voters.retain(|voter| voter.key != client.key);
        false
    }

    fn turn(&mut self, io: &mut Io) -> Option<Nanos> {
        if !matches!(self.phase, phase::WARM | phase::MEASURE) || self.voters.is_empty() {
            return None;
        }
        if self.pace.rate.is_some() {
            for _ in 0..WRITES_PER_TURN_MAX {
                let due = self.schedule.as_mut()?.take(io.now);
                if due.is_none_or(|due| !self.cast(due, io)) {
                    break;
                }
            }
            return self.schedule.as_ref().map(Schedule::next);
        }
        for _ in 0..WRITES_PER_TURN_MAX {
            let now = io.clock.now();
            if !self.may_cast() || !self.cast(now, io) {
                return Some(io.now + LOOK_NANOS);
            }
        }
        Some(io.now)
    }
}

/// Nothing that holds these can panic half-way.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
