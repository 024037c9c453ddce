//! Paced channels: what is told when, and what waits for it.

use std::ops::Range;

use smallvec::SmallVec;

use super::connection::Skip;
use super::outgoing::Behind;
use super::timers::Timer;
use super::{Shard, guarded};
use crate::base::keys::{ConnKey, MirrorKey};
use crate::base::time::Time;
use crate::engine::{Answer, Asker, Origin, Position, Publication, Refusal};
use crate::mirror::encoding::Encoder;
use crate::mirror::pace::{Ahead, Sum, sum};
use crate::mirror::{EncodedLog, Mirror};
use crate::route::Setup;

/// Where each message of a flush ends: the revision that it leads to, and its end in the log.
type Ends = SmallVec<[(u64, u64); 1]>;

/// Where a log has somebody's own mark, which they are not told.
pub(super) struct OwnMark {
    pub(super) who: Origin,
    pub(super) log: u8,
    pub(super) stretch: Range<u64>,
}

impl Shard {
    /// A publication was taken that its paced logs are to tell in sum: now, if they may.
    pub(super) fn tell_in_sum(&mut self, key: MirrorKey, publication: &Publication) {
        let setup = self.setup.clone();
        let Some(mirror) = self.mirrors.get_mut(key) else { return };
        let is_heard = mirror
            .logs
            .iter()
            .any(|encoded| encoded.log.readers() > 0 && !setup.dialect(encoded.encoding.dialect).wants_steps());
        let Some(pace) = mirror.pace.as_mut().filter(|_| is_heard) else { return };
        let before = Position { epoch: publication.epoch, revision: publication.first - 1 };
        pace.told.get_or_insert(before);
        let due = pace.due();
        if due <= self.now { self.flush_sum(key) } else { self.arm_pace(key, due) }
    }

    /// Tells a paced channel's listeners all that they have not been told.
    pub(super) fn flush_sum(&mut self, key: MirrorKey) {
        let setup = self.setup.clone();
        let now = self.now;
        let Some(mirror) = self.mirrors.get_mut(key) else { return };
        let Some(told) = mirror.pace.as_mut().and_then(|pace| pace.told.take()) else { return };
        let log_bytes = mirror.log_bytes();
        let starts: SmallVec<[u64; 4]> = mirror.logs.iter().map(|encoded| encoded.log.end()).collect();
        let encoder = &mut self.encoder;
        let written = guarded(|| write_sum(&setup, encoder, mirror, told));
        self.log_memory.grew(log_bytes, mirror);
        let Some(WrittenSum { ends, own }) = written else { return self.fail_mirror(key, &Refusal::Failed) };
        let Some(pace) = &mut mirror.pace else { return };
        pace.flush_begins(now);
        let mut ahead = std::mem::take(&mut pace.ahead);
        ahead.sort_unstable();
        for (index, Ahead { conn, log, revision }) in ahead.iter().copied().enumerate() {
            // Who has begun twice is asked about once, where it began last.
            if ahead.get(index + 1).is_some_and(|next| (next.conn, next.log) == (conn, log)) {
                continue;
            }
            let known = ends.get(usize::from(log)).and_then(|ends| ends.iter().rfind(|(to, _)| *to <= revision));
            if let Some((_, end)) = known {
                self.leave_out(conn, key, log, Skip { start: starts[usize::from(log)], end: *end });
            }
        }
        self.leave_out_own(key, own);
        self.give_answers(key);
        self.queue_rounds(key);
    }

    /// Nobody is told of their own mark.
    pub(super) fn leave_out_own(&mut self, key: MirrorKey, own: Vec<OwnMark>) {
        for OwnMark { who, log, stretch } in own {
            if let Asker::Connection(conn) = who.asker
                && who.core == self.core
            {
                self.leave_out(conn, key, log, Skip { start: stretch.start, end: stretch.end });
            }
        }
    }

    /// All is told that there is to tell: answers need not wait for it.
    pub(super) fn give_answers(&mut self, key: MirrorKey) {
        let Some(mirror) = self.mirrors.get_mut(key) else { return };
        let held = mirror.pace.as_mut().map(|pace| std::mem::take(&mut pace.held)).unwrap_or_default();
        let ends: SmallVec<[u64; 4]> = mirror.logs.iter().map(|encoded| encoded.log.end()).collect();
        for conn_key in held {
            let Some(conn) = self.conns.get_mut(conn_key) else { continue };
            let Some(outgoing) = &mut conn.outgoing else { continue };
            for of_it in conn.subscriptions.iter().filter(|subscription| subscription.mirror == key) {
                outgoing.written(key, of_it.log, ends[usize::from(of_it.log)]);
                if !of_it.place.passed {
                    outgoing.wait_no_more(key, of_it.log);
                }
            }
            self.serve_soon(conn_key);
        }
    }

    /// Whether a paced channel's rounds must wait; then a timer will look at it. A tail that grows too long does not wait.
    pub(super) fn must_wait_for_round(&mut self, key: MirrorKey) -> bool {
        let (now, tail_bytes_max) = (self.now, self.limits().log_bytes_max / 2);
        let Some(mirror) = self.mirrors.get_mut(key) else { return false };
        let Some(pace) = mirror.pace.as_mut().filter(|pace| !pace.sums) else { return false };
        let has_something = mirror.logs.iter().any(|encoded| {
            let gathered = !encoded.gatherers.is_empty() && encoded.log.tail_bytes() > 0;
            !encoded.queued && (encoded.log.has_round() || gathered)
        });
        if !has_something {
            return false;
        }
        let due = pace.due();
        if now < due && mirror.logs.iter().all(|encoded| encoded.log.tail_bytes() <= tail_bytes_max) {
            self.arm_pace(key, due);
            return true;
        }
        pace.flush_begins(now);
        false
    }

    /// A log's round is over. If it was the last of its channel, it is known how long that took.
    pub(super) fn round_ends(&mut self, key: MirrorKey) {
        let now = self.now;
        let Some(mirror) = self.mirrors.get_mut(key) else { return };
        if mirror.logs.iter().any(|encoded| encoded.queued) {
            return;
        }
        let Some(pace) = &mut mirror.pace else { return };
        pace.round_ends(now);
        if pace.sums && pace.told.is_some() {
            let due = pace.due();
            self.arm_pace(key, due);
        } else if mirror.logs.iter().any(|encoded| encoded.log.has_round()) {
            self.queue_rounds(key);
        }
    }

    /// A paced channel's flush may be due.
    pub(super) fn pace_timer(&mut self, key: MirrorKey) {
        let now = self.now;
        let Some(pace) = self.mirrors.get_mut(key).and_then(|mirror| mirror.pace.as_mut()) else { return };
        pace.armed = None;
        let due = pace.due();
        match (pace.sums, pace.told) {
            (true, None) => {}
            (true, Some(_)) if due <= now => self.flush_sum(key),
            (true, Some(_)) => self.arm_pace(key, due),
            (false, _) => self.queue_rounds(key),
        }
    }

    fn arm_pace(&mut self, key: MirrorKey, due: Time) {
        let Some(pace) = self.mirrors.get_mut(key).and_then(|mirror| mirror.pace.as_mut()) else { return };
        if pace.armed.is_some_and(|(_, armed)| armed <= due) {
            return;
        }
        if let Some((timer, _)) = pace.armed.take() {
            self.timers.cancel(timer);
        }
        pace.armed = Some((self.timers.insert(due, Timer::Pace(key)), due));
    }

    /// A reader was shown where the channel stands. If its log does not tell so far yet, it does not tell it again.
    pub(super) fn is_ahead(&mut self, conn: ConnKey, key: MirrorKey, log: u8) {
        let Some(mirror) = self.mirrors.get_mut(key) else { return };
        let dialect = mirror.logs[usize::from(log)].encoding.dialect;
        let (Some(pace), Some(standing)) = (&mut mirror.pace, &mirror.standing) else { return };
        if pace.told.is_some() && !self.setup.dialect(dialect).wants_steps() {
            pace.ahead.push(Ahead { conn, log, revision: standing.at().revision });
        }
    }

    /// Where an answer stands in a log: behind all that is in it and, of what was accepted, behind its own publication.
    pub(super) fn behind(&self, key: MirrorKey, log: u8, at: Option<Position>) -> Option<Behind> {
        let mirror = self.mirrors.get(key)?;
        let encoded = &mirror.logs[usize::from(log)];
        let told = mirror.pace.as_ref().and_then(|pace| pace.told);
        let waits = match (told, at) {
            (Some(told), Some(at)) => {
                let wants_steps = self.setup.dialect(encoded.encoding.dialect).wants_steps();
                told.epoch == at.epoch && told.revision < at.revision && !wants_steps
            }
            (None, _) | (_, None) => false,
        };
        let offset = if waits { Behind::NOT_YET } else { encoded.log.end() };
        Some(Behind { mirror: key, log, offset })
    }

    /// Tells what the answers of a connection wait for that cannot wait itself any longer.
    pub(super) fn flush_for(&mut self, key: ConnKey) {
        let Some(conn) = self.conns.get(key) else { return };
        let mirrors: SmallVec<[MirrorKey; 1]> = conn.subscriptions.iter().map(|known| known.mirror).collect();
        for mirror in mirrors {
            self.flush_sum(mirror);
        }
    }
}

/// The position of what was accepted.
pub(super) fn accepted(result: &Result<Answer, Refusal>) -> Option<Position> {
    match result {
        Ok(Answer::Accepted(at) | Answer::Joined { at, .. }) => Some(*at),
        Ok(Answer::Attached(_)) | Err(_) => None,
    }
}

/// What was written of a sum, by log.
#[derive(Default)]
struct WrittenSum {
    /// Where its messages end.
    ends: SmallVec<[Ends; 4]>,
    own: Vec<OwnMark>,
}

/// Writes what came behind `told` into the logs that tell in sum.
fn write_sum(setup: &Setup, encoder: &mut Encoder, mirror: &mut Mirror, told: Position) -> WrittenSum {
    let Mirror { channel, class, kind, standing: Some(standing), logs, .. } = mirror else {
        return WrittenSum::default();
    };
    let (sum, notices) = (sum(channel, standing, told), setup.class(*class).manners.notices);
    let mut written = WrittenSum::default();
    for (index, EncodedLog { encoding, log, .. }) in (0..).zip(logs) {
        let mut ends = Ends::new();
        let dialect = setup.dialect(encoding.dialect);
        if log.readers() > 0 && !dialect.wants_steps() {
            let news = match &sum {
                Sum::Publications(news) => Some(news),
                Sum::Rows(news) => Some(news).filter(|_| dialect.knows_positions()),
                Sum::State => None,
            };
            for publication in news.into_iter().flatten() {
                encoder.publication(encoding.transport, dialect, &standing.state, publication, |message| {
                    log.append(message);
                });
                ends.push((publication.last, log.end()));
            }
            if news.is_none() {
                let snapshot = standing.snapshot(channel, *kind);
                let own = encoder.state(encoding.transport, dialect, &snapshot, standing, notices, log);
                written.own.extend(own.into_iter().map(|(who, stretch)| OwnMark { who, log: index, stretch }));
                ends.push((standing.at().revision, log.end()));
            }
        }
        written.ends.push(ends);
    }
    written
}
