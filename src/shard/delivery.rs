//! Sending: connections with something of their own, and rounds over the logs, both in bounded slices.

use smallvec::SmallVec;

use super::Shard;
use super::connection::{Alarm, Conn, Stage, Subscription};
use super::outgoing::{Behind, Part, Parts, gather, settle};
use crate::base::io::Driver;
use crate::base::keys::{ConnKey, MirrorKey, OfConnection, Slots};
use crate::base::limits::FLUSH_SENDS_MAX;
use crate::base::segment::Slice;
use crate::mirror::sendlog::{Deliver, Place, Readers};

/// Sends that one log gets before it is another's turn.
const ROUND_SENDS_MAX: usize = FLUSH_SENDS_MAX / 4;

/// What the driver is told at the next flush.
#[derive(Clone, Copy, Debug)]
pub(super) enum Command {
    Pause(ConnKey),
    Resume(ConnKey),
    Finish(ConnKey),
    Close { key: ConnKey, reset: bool },
}

impl Command {
    fn key(self) -> ConnKey {
        match self {
            Command::Pause(key) | Command::Resume(key) | Command::Finish(key) | Command::Close { key, .. } => key,
        }
    }
}

/// The connections, as the readers of one log.
pub(super) struct LogReaders<'a> {
    pub(super) conns: &'a mut Slots<OfConnection, Conn>,
    pub(super) mirror: MirrorKey,
    pub(super) log: u8,
}

impl Readers for LogReaders<'_> {
    fn moved(&mut self, conn: ConnKey, place: Place) {
        let Some(conn) = self.conns.get_mut(conn) else { return };
        let of_log = |known: &&mut Subscription| known.mirror == self.mirror && known.log == self.log;
        if let Some(subscription) = conn.subscriptions.iter_mut().find(of_log) {
            subscription.place = place;
        }
    }

    fn in_flight(&self, conn: ConnKey) -> usize {
        let outgoing = self.conns.get(conn).and_then(|conn| conn.outgoing.as_ref());
        outgoing.map_or(0, |outgoing| outgoing.in_flight(self.mirror, self.log))
    }
}

struct Round<'a, D> {
    readers: LogReaders<'a>,
    driver: &'a mut D,
    stuck: Vec<ConnKey>,
}

impl<D: Driver> Readers for Round<'_, D> {
    fn moved(&mut self, conn: ConnKey, place: Place) {
        self.readers.moved(conn, place);
    }

    fn in_flight(&self, conn: ConnKey) -> usize {
        self.readers.in_flight(conn)
    }
}

impl<D: Driver> Deliver for Round<'_, D> {
    fn send(&mut self, conn: ConnKey, slice: &Slice) -> Option<usize> {
        self.driver.send(conn, slice)
    }

    fn stuck(&mut self, key: ConnKey, in_flight: Option<usize>) {
        let LogReaders { conns, mirror, log } = &mut self.readers;
        let Some(conn) = conns.get_mut(key) else { return };
        conn.stuck = true;
        if let Some(len) = in_flight {
            conn.outgoing().fly(Parts::from_slice(&[Part::log(*mirror, *log, len)]));
        }
        self.stuck.push(key);
    }
}

impl Shard {
    /// Sends, a bounded amount. True if there is more to do at once: the loop must not wait.
    pub fn flush(&mut self, driver: &mut impl Driver) -> bool {
        if self.stopping && self.accepting {
            self.accepting = false;
            driver.accept(false);
        }
        self.give_commands(driver);
        self.wake_gatherers();
        // Neither those who are served one by one nor the rounds starve the others; what one side leaves is the other's.
        let for_rounds = if self.rounds.is_empty() { 0 } else { FLUSH_SENDS_MAX / 2 };
        let mut budget = self.serve_ready(FLUSH_SENDS_MAX - for_rounds, driver) + for_rounds;
        while budget > 0
            && let Some((mirror, log)) = self.rounds.pop_front()
        {
            budget -= self.round(mirror, log, budget.min(ROUND_SENDS_MAX), driver);
        }
        self.serve_ready(budget, driver);
        self.forget_all();
        self.trim_logs();
        self.give_commands(driver);
        !self.ready.is_empty() || !self.rounds.is_empty() || self.has_work()
    }

    /// Serves who is ready now, each once, with so many sends, about. Returns how many of these are left.
    fn serve_ready(&mut self, mut budget: usize, driver: &mut impl Driver) -> usize {
        for _ in 0..self.ready.len() {
            if budget == 0 {
                break;
            }
            let Some(key) = self.ready.pop_front() else { break };
            if let Some(conn) = self.conns.get_mut(key) {
                conn.ready = false;
                budget = budget.saturating_sub(self.serve(key, driver));
            }
        }
        budget
    }

    fn has_work(&self) -> bool {
        !self.due_sessions.is_empty()
            || self.relay.has_work()
            || !self.poll_answers.is_empty()
            || self.reads.iter().any(|(conn, mirror)| !self.must_read_later(*conn, *mirror))
            || self.waiting.iter().any(|key| !self.has_no_room(*key))
    }

    /// Adds a message for one connection alone.
    pub(super) fn push(&mut self, key: ConnKey, bytes: &[u8], behind: Option<Behind>) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        if !bytes.is_empty() && conn.stage <= Stage::Ending {
            match behind.filter(|behind| conn.must_wait_behind(*behind)) {
                Some(behind) => self.wait_behind(key, bytes, behind),
                None => conn.outgoing().push(bytes, behind),
            }
            self.serve_soon(key);
        }
    }

    /// Adds a message that others get too.
    pub(super) fn push_shared(&mut self, key: ConnKey, slice: Slice) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        if conn.stage <= Stage::Ending {
            conn.outgoing().push_shared(slice);
            self.serve_soon(key);
        }
    }

    /// Has a connection served in the next flush, if it has something of its own to send.
    pub(super) fn serve_soon(&mut self, key: ConnKey) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        if conn.carried {
            return self.relay.wake(key);
        }
        let lagging = conn.subscriptions.iter().any(|subscription| subscription.place.lagging);
        if !conn.ready && !conn.stuck && (conn.outgoing.is_some() || conn.stage == Stage::Ending || lagging) {
            conn.ready = true;
            self.ready.push_back(key);
        }
    }

    /// The driver can go on with a connection, and has taken `len` bytes more of a send in flight.
    pub(super) fn went_on(&mut self, key: ConnKey, len: usize) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        conn.stuck = false;
        if let Some(outgoing) = conn.outgoing.as_deref_mut() {
            let parts = outgoing.landed();
            settle(Some(outgoing), &mut conn.subscriptions, &mut self.mirrors, &parts, len);
        }
        self.serve_soon(key);
    }

    /// Sends what a connection has, its own and its logs', in their order. Returns the number of sends.
    fn serve(&mut self, key: ConnKey, driver: &mut impl Driver) -> usize {
        let mut sends = 0;
        loop {
            let Some(conn) = self.conns.get_mut(key) else {
                return sends;
            };
            if conn.stuck || conn.stage > Stage::Ending {
                return sends;
            }
            let Some((parts, slice)) = gather(conn.outgoing.as_deref(), &conn.subscriptions, &self.mirrors) else {
                if self.come_back(key) {
                    continue;
                }
                break;
            };
            sends += 1;
            match driver.send(key, &slice) {
                Some(taken) => {
                    settle(conn.outgoing.as_deref_mut(), &mut conn.subscriptions, &mut self.mirrors, &parts, taken);
                    conn.stuck = taken < slice.len();
                }
                None => {
                    conn.outgoing().fly(parts);
                    conn.stuck = true;
                }
            }
            if conn.stuck {
                conn.stuck_since = self.now;
                self.demote(key);
                return sends;
            }
        }
        self.all_sent(key);
        sends
    }

    /// All its logs know that a connection is stuck.
    fn demote(&mut self, key: ConnKey) {
        self.each_subscription(key, |log, place, readers| log.demote(place, readers));
    }

    fn each_subscription(
        &mut self,
        key: ConnKey,
        mut act: impl FnMut(&mut crate::mirror::sendlog::SendLog, Place, &mut LogReaders<'_>),
    ) {
        let Some(conn) = self.conns.get(key) else { return };
        for subscription in conn.subscriptions.iter().cloned().collect::<SmallVec<[Subscription; 1]>>() {
            let Some(mirror) = self.mirrors.get_mut(subscription.mirror) else {
                continue;
            };
            let mut readers = LogReaders { conns: &mut self.conns, mirror: subscription.mirror, log: subscription.log };
            act(&mut mirror.logs[usize::from(subscription.log)].log, subscription.place, &mut readers);
        }
    }

    fn all_sent(&mut self, key: ConnKey) {
        self.all_read(key);
        let close_wait = self.limits().close_wait;
        let Some(conn) = self.conns.get_mut(key) else { return };
        conn.outgoing = conn.outgoing.take().filter(|outgoing| !outgoing.is_empty());
        if conn.stage == Stage::Ending {
            if conn.peer_finished {
                self.close(key, false);
            } else {
                conn.stage = Stage::Finished;
                self.commands.push(Command::Finish(key));
                self.set_alarm(key, Some((self.now + close_wait, Alarm::CloseDue)));
            }
        }
    }

    /// A laggard who has all is a subscriber again, unless it reads several logs.
    fn all_read(&mut self, key: ConnKey) {
        let Some(conn) = self.conns.get(key) else { return };
        let several = conn.subscriptions.len() > 1;
        for index in 0..conn.subscriptions.len() {
            let Some(subscription) = self.conns.get(key).and_then(|conn| conn.subscriptions.get(index)) else { return };
            let (mirror_key, log, place) = (subscription.mirror, subscription.log, subscription.place);
            let Some(mirror) = self.mirrors.get_mut(mirror_key).filter(|_| place.lagging) else { continue };
            if !several {
                let mut readers = LogReaders { conns: &mut self.conns, mirror: mirror_key, log };
                mirror.logs[usize::from(log)].log.promote(place, &mut readers);
            }
            self.forget_soon(mirror_key, log);
        }
    }

    /// Goes on with a log's round, and holds its tail to the bound. Returns the number of sends.
    fn round(&mut self, key: MirrorKey, log: u8, budget: usize, driver: &mut impl Driver) -> usize {
        let (tail_bytes_max, fate) = (self.limits().log_bytes_max, self.fate(key, log));
        let Some(mirror) = self.mirrors.get_mut(key) else {
            return 0;
        };
        let encoded = &mut mirror.logs[usize::from(log)];
        let readers = LogReaders { conns: &mut self.conns, mirror: key, log };
        let mut round = Round { readers, driver, stuck: Vec::new() };
        let sends = encoded.log.round(budget, &mut round);
        let Round { mut readers, stuck, .. } = round;
        let passed = encoded.log.trim(tail_bytes_max, fate, &mut readers);
        // Where rounds are paced, the next is not due for having something to send.
        let waits = mirror.pace.as_ref().is_some_and(|pace| !pace.sums);
        encoded.queued = if waits { encoded.log.is_in_round() } else { encoded.log.has_round() };
        if encoded.queued {
            self.rounds.push_back((key, log));
        } else if mirror.pace.is_some() {
            self.round_ends(key);
        }
        for stuck in stuck {
            if let Some(conn) = self.conns.get_mut(stuck) {
                conn.stuck_since = self.now;
            }
            self.demote(stuck);
        }
        for passed in passed {
            self.passed(passed, key, log, fate);
        }
        sends
    }

    fn give_commands(&mut self, driver: &mut impl Driver) {
        for command in std::mem::take(&mut self.commands) {
            // The driver does not know who has no socket.
            if self.conns.get(command.key()).is_some_and(|conn| conn.carried) {
                if matches!(command, Command::Close { .. }) {
                    self.forget_conn(command.key());
                }
                continue;
            }
            match command {
                Command::Pause(key) => driver.pause(key),
                Command::Resume(key) => driver.resume(key),
                Command::Finish(key) => driver.finish(key),
                Command::Close { key, reset } => {
                    driver.close(key, reset);
                    self.forget_conn(key);
                }
            }
        }
    }
}
