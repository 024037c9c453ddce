//! Readers whom the tail of a log has passed and who stay: they wait until they can take bytes again, and are told then,
//! not before, so that who never reads costs nothing but the rest of the message in hand.

use smallvec::SmallVec;

use super::connection::{Conn, Skip};
use super::delivery::LogReaders;
use super::outgoing::Behind;
use super::{Shard, guarded};
use crate::base::keys::{ConnKey, MirrorKey};
use crate::base::segment::Slice;
use crate::engine::{Asker, Origin, Position, Refusal};
use crate::mirror::View;
use crate::mirror::encoding::Encoding;
use crate::mirror::sendlog::{Fate, Passed};
use crate::route::{Slow, Target};

impl Shard {
    /// What becomes of whom the tail of a log passes.
    pub(super) fn fate(&self, mirror: MirrorKey, log: u8) -> Fate {
        let Some(mirror) = self.mirrors.get(mirror) else { return Fate::Leaves };
        let dialect = mirror.logs[usize::from(log)].encoding.dialect;
        match self.setup.slow(mirror.class, dialect) {
            Slow::Close => Fate::Leaves,
            Slow::Skip | Slow::Latest => Fate::Waits,
        }
    }

    /// The tail of a log has passed a reader who stays.
    pub(super) fn wait_for_room(&mut self, passed: Passed, mirror: MirrorKey, log: u8) {
        let Passed { conn: key, left } = passed;
        let Some(conn) = self.conns.get_mut(key) else { return };
        if left.rest.is_some() || conn.outgoing.is_some() {
            conn.outgoing().left(mirror, log, left, true);
        }
        let of_log = conn.subscriptions.iter_mut().filter(|known| (known.mirror, known.log) == (mirror, log));
        of_log.for_each(|subscription| subscription.skips = None);
        self.serve_soon(key);
    }

    /// A connection that can take bytes, and has got all that waited for it: where it was passed it is told so, and goes
    /// on at the end of the log. False if it was passed nowhere.
    pub(super) fn come_back(&mut self, key: ConnKey) -> bool {
        let Some(conn) = self.conns.get(key) else { return false };
        let passed = conn.subscriptions.iter().filter(|subscription| subscription.place.passed);
        let passed: SmallVec<[(MirrorKey, u8); 1]> = passed.map(|passed| (passed.mirror, passed.log)).collect();
        for &(mirror, log) in &passed {
            // Writing is the channel's code, and may fail.
            let shard = &mut *self;
            match guarded(|| shard.told_again(key, mirror, log)) {
                Some(messages) => self.come_back_to(key, mirror, log, messages),
                None => self.fail_mirror(mirror, &Refusal::Failed),
            }
        }
        !passed.is_empty()
    }

    /// The messages for who was passed: that there was a gap, or the present state; and who is there, as on joining.
    fn told_again(&mut self, key: ConnKey, mirror: MirrorKey, log: u8) -> Vec<Slice> {
        let setup = self.setup.clone();
        let Some(mirror) = self.mirrors.get_mut(mirror) else { return Vec::new() };
        let Encoding { transport, dialect: id } = mirror.logs[usize::from(log)].encoding;
        let (dialect, encoder) = (setup.dialect(id), &mut self.encoder);
        let mut messages = Vec::new();
        match setup.slow(mirror.class, id) {
            Slow::Close => {}
            Slow::Skip => {
                let standing = mirror.standing.as_ref();
                let snapshot = standing.map(|standing| standing.snapshot(&mirror.channel, mirror.kind));
                messages.extend(snapshot.map(|of| Slice::copied(encoder.gap(transport, dialect, &of))));
            }
            Slow::Latest => {
                let rows = mirror.standing.as_ref().map_or(0, |standing| standing.rows_most);
                messages.extend(mirror.view(View::Again(mirror.logs[usize::from(log)].encoding), |snapshot| {
                    let mut all = encoder.snapshot(transport, dialect, snapshot)?.to_vec();
                    all.extend_from_slice(encoder.emptied(transport, dialect, snapshot.state, rows));
                    Some(all)
                }));
            }
        }
        let Some(standing) = &mirror.standing else { return messages };
        let manners = &setup.class(mirror.class).manners;
        let myself = Origin { core: self.core, asker: Asker::Connection(key) };
        encoder.present(transport, dialect, standing, manners.notices, Some(myself), |_, message| {
            messages.push(Slice::copied(message));
        });
        messages
    }

    fn come_back_to(&mut self, key: ConnKey, mirror_key: MirrorKey, log: u8, messages: Vec<Slice>) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let found = conn.subscriptions.iter().find(|known| (known.mirror, known.log) == (mirror_key, log));
        let Some(place) = found.map(|subscription| subscription.place) else { return };
        for message in messages.into_iter().filter(|message| !message.is_empty()) {
            conn.outgoing().push_shared(message);
        }
        if let Some(outgoing) = &mut conn.outgoing {
            outgoing.wait_no_more(mirror_key, log);
        }
        let Some(mirror) = self.mirrors.get_mut(mirror_key) else { return };
        let mut readers = LogReaders { conns: &mut self.conns, mirror: mirror_key, log };
        mirror.logs[usize::from(log)].log.come_back(place, &mut readers);
        self.is_ahead(key, mirror_key, log);
    }

    /// A message for one connection alone that stands behind what is not there yet.
    pub(super) fn wait_behind(&mut self, key: ConnKey, bytes: &[u8], behind: Behind) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let Behind { mirror, log, offset } = behind;
        let is_new = !conn.outgoing().waits(mirror, log, Some(offset));
        conn.outgoing().wait(bytes, behind);
        if offset == Behind::NOT_YET
            && is_new
            && let Some(pace) = self.mirrors.get_mut(mirror).and_then(|mirror| mirror.pace.as_mut())
        {
            pace.held.push(key);
        }
    }

    /// How far a connection was told what it reads in this encoding.
    pub(super) fn told(&self, key: ConnKey, target: &Target, encoding: Encoding) -> Option<Position> {
        let mirror = self.mirrors.get(*self.channels.get(&target.channel)?)?;
        let standing = mirror.standing.as_ref()?;
        let told = mirror.told(self.setup.dialect(encoding.dialect).wants_steps())?;
        let log = mirror.logs.iter().position(|encoded| encoded.encoding == encoding)?;
        let subscriptions = &self.conns.get(key)?.subscriptions;
        // Who was passed is told where the channel stands before it moves.
        let passed = subscriptions.iter().any(|known| {
            usize::from(known.log) == log
                && self.channels.get(&target.channel) == Some(&known.mirror)
                && known.place.passed
        });
        if passed {
            return Some(standing.at());
        }
        let ahead = mirror.pace.iter().flat_map(|pace| &pace.ahead);
        let ahead = ahead.filter(|ahead| ahead.conn == key && usize::from(ahead.log) == log);
        let revision = ahead.map(|ahead| ahead.revision).max().unwrap_or(0).max(told.revision);
        Some(Position { revision, ..told })
    }

    /// A stretch that was appended to a log is not for this reader.
    pub(super) fn leave_out(&mut self, key: ConnKey, mirror_key: MirrorKey, log: u8, stretch: Skip) {
        let (Some(conn), Some(mirror)) = (self.conns.get_mut(key), self.mirrors.get_mut(mirror_key)) else { return };
        let mut subscriptions = conn.subscriptions.iter_mut();
        let Some(subscription) = subscriptions.find(|known| (known.mirror, known.log) == (mirror_key, log)) else {
            return;
        };
        let of = &mut mirror.logs[usize::from(log)].log;
        let place = subscription.place;
        // Who was passed does not get it anyway, and nothing is left out twice.
        let left_out = subscription.skips.as_ref().and_then(|skips| skips.back()).map_or(0, |last| last.end);
        if place.passed || stretch.start >= stretch.end || stretch.end <= left_out.max(of.cursor(place)) {
            return;
        }
        if of.pass_over(place, stretch.start, stretch.end) {
            return;
        }
        subscription.skips.get_or_insert_default().push_back(stretch);
        let mut readers = LogReaders { conns: &mut self.conns, mirror: mirror_key, log };
        mirror.logs[usize::from(log)].log.demote(place, &mut readers);
        self.serve_soon(key);
    }
}

impl Conn {
    /// Whether what stands there must wait: for what is not written yet, for its reader to be told that it was passed, or
    /// for an answer before it that waits.
    pub(super) fn must_wait_behind(&self, behind: Behind) -> bool {
        let Behind { mirror, log, offset } = behind;
        let of_log = self.subscriptions.iter().find(|known| (known.mirror, known.log) == (mirror, log));
        let passed = of_log.is_some_and(|subscription| subscription.place.passed);
        let waits = || self.outgoing.as_ref().is_some_and(|outgoing| outgoing.waits(mirror, log, None));
        offset == Behind::NOT_YET || passed || waits()
    }
}
