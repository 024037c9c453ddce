//! The life of mirrors: attached at first use, fed by the engine, dropped after lingering.

use std::sync::Arc;

use smallvec::SmallVec;

use super::connection::{Skip, Subscription};
use super::delivery::LogReaders;
use super::pace::OwnMark;
use super::timers::Timer;
use super::{Shard, guarded};
use crate::base::keys::{ConnKey, MirrorKey};
use crate::base::limits::MIRROR_LINGER;
use crate::engine::{Act, Answer, Asker, Attached, Change, Data, Origin, Outcome, Presence, Publication, Refusal};
use crate::mirror::encoding::{Encoding, Transport};
use crate::mirror::pace::Pace;
use crate::mirror::{EncodedLog, Mirror, Present, Sequel};
use crate::route::{Slow, Target};
use crate::wire::ws::close;

impl Shard {
    /// The mirror of a channel, made and attached if there is none.
    ///
    /// # Errors
    /// A refusal, if there are too many.
    pub(super) fn mirror_of(&mut self, target: &Target) -> Result<MirrorKey, Refusal> {
        if let Some(key) = self.channels.get(&target.channel) {
            return Ok(*key);
        }
        if self.mirrors.len() >= self.limits().channels_max + self.setup.classes.len() {
            return Err(Refusal::Full { bound: "fewer channels at a time" });
        }
        let class = self.setup.class(target.class);
        let mut mirror = Mirror::new(target.channel.clone(), target.class, class.kind, 0);
        let has_state =
            class.spec.as_ref().is_some_and(|spec| matches!(spec.data, Data::Tally { .. } | Data::Table(_)));
        mirror.pace = class.max_rate.map(|max_rate| Box::new(Pace::new(max_rate, has_state)));
        let key = self.mirrors.insert(mirror);
        self.channels.insert(target.channel.clone(), key);
        self.attach(key);
        Ok(key)
    }

    /// Asks the engine for all that a mirror has not.
    pub(super) fn attach(&mut self, key: MirrorKey) {
        let number = self.next_number();
        let Some(mirror) = self.mirrors.get_mut(key) else {
            return;
        };
        mirror.attaching = Some(number);
        // What the engine knows of this core's listeners it may have forgotten.
        mirror.reported = 0;
        let since = mirror.standing.as_ref().map(|standing| standing.at());
        let target = mirror.target();
        self.ask(&target, Asker::Mirror(key), number, Act::Attach { since });
        self.enter_again(key, &target);
        self.recount(key);
    }

    /// A publication has come.
    pub(super) fn published(&mut self, publication: &Arc<Publication>) {
        let Some(key) = self.channels.get(&publication.channel).copied() else {
            return;
        };
        let Some(mirror) = self.mirrors.get_mut(key) else {
            return;
        };
        match mirror.take(publication) {
            Sequel::Old => {}
            Sequel::Gap => self.attach(key),
            Sequel::Next => self.spread(key, publication),
        }
    }

    /// Writes a publication into each log, and wakes who waits for one.
    fn spread(&mut self, key: MirrorKey, publication: &Publication) {
        let Some(mirror) = self.mirrors.get_mut(key) else {
            return;
        };
        let log_bytes = mirror.log_bytes();
        let Some(standing) = &mirror.standing else { return };
        let (setup, encoder) = (&self.setup, &mut self.encoder);
        let skip = match &publication.change {
            Change::Message(entry) => entry.skip,
            Change::Tally { .. } | Change::Table(_) => None,
        };
        let in_sum = mirror.pace.as_ref().is_some_and(|pace| pace.sums);
        let starts: SmallVec<[u64; 4]> = mirror.logs.iter().map(|encoded| encoded.log.end()).collect();
        let written = guarded(|| {
            for encoded in mirror.logs.iter_mut().filter(|encoded| encoded.log.readers() > 0) {
                let Encoding { transport, dialect } = encoded.encoding;
                let log = &mut encoded.log;
                let dialect = setup.dialect(dialect);
                if in_sum && !dialect.wants_steps() {
                    continue;
                }
                encoder.publication(transport, dialect, &standing.state, publication, |message| log.append(message));
            }
        });
        self.log_memory.grew(log_bytes, mirror);
        if let Some(skip) = skip {
            self.skip(key, skip, &starts);
        }
        if written.is_none() {
            self.fail_mirror(key, &Refusal::Failed);
            return;
        }
        if in_sum {
            self.tell_in_sum(key, publication);
        }
        self.queue_rounds(key);
        let Some(mirror) = self.mirrors.get_mut(key) else {
            return;
        };
        self.due_sessions.extend(&mirror.sessions);
        let parked = std::mem::take(&mut mirror.parked);
        self.parked_polls -= parked.len();
        for conn in parked {
            self.answer_parked(conn, false);
        }
        self.recount(key);
    }

    /// What was appended to the logs since `starts` is not for `who`.
    fn skip(&mut self, key: MirrorKey, who: Origin, starts: &[u64]) {
        let Asker::Connection(conn_key) = who.asker else { return };
        let Some(conn) = self.conns.get(conn_key).filter(|_| who.core == self.core) else { return };
        let Some(mirror) = self.mirrors.get(key) else { return };
        let subscriptions = conn.subscriptions.iter().filter(|subscription| subscription.mirror == key);
        let skips: SmallVec<[(u8, Skip); 1]> = subscriptions
            .map(|&Subscription { log, .. }| {
                let (start, end) = (starts[usize::from(log)], mirror.logs[usize::from(log)].log.end());
                (log, Skip { start, end })
            })
            .collect();
        for (log, skip) in skips {
            self.leave_out(conn_key, key, log, skip);
        }
    }

    /// Somebody came, went, or edits something else.
    pub(super) fn presence(&mut self, channel: &str, news: &Presence) {
        let Some(key) = self.channels.get(channel).copied() else { return };
        let Some(mirror) = self.mirrors.get_mut(key) else { return };
        // Before it is live, its attachment will tell.
        let Some(standing) = mirror.standing.as_mut().filter(|_| mirror.attaching.is_none()) else { return };
        if standing.present.take(news) {
            self.spread_presence(key, news);
        }
    }

    fn spread_presence(&mut self, key: MirrorKey, news: &Presence) {
        let Some(mirror) = self.mirrors.get_mut(key) else { return };
        let told = news.is_told(self.setup.class(mirror.class).manners.notices);
        if !told {
            return;
        }
        let log_bytes = mirror.log_bytes();
        let starts: SmallVec<[u64; 4]> = mirror.logs.iter().map(|encoded| encoded.log.end()).collect();
        for encoded in mirror.logs.iter_mut().filter(|encoded| encoded.log.readers() > 0) {
            let dialect = self.setup.dialect(encoded.encoding.dialect);
            let message = self.encoder.presence(encoded.encoding.transport, dialect, news);
            if !message.is_empty() {
                encoded.log.append(message);
            }
        }
        self.log_memory.grew(log_bytes, mirror);
        if let Presence::Editing(editing) = news {
            self.skip(key, editing.who, &starts);
        }
        self.queue_rounds(key);
    }

    pub(super) fn queue_rounds(&mut self, key: MirrorKey) {
        if self.must_wait_for_round(key) {
            return;
        }
        let Some(mirror) = self.mirrors.get_mut(key) else {
            return;
        };
        for (index, encoded) in mirror.logs.iter_mut().enumerate() {
            let carries = matches!(encoded.encoding.transport, Transport::EngineIo(_));
            for conn in encoded.log.laggards().filter(|_| carries) {
                if self.conns.get(conn).is_some_and(|conn| conn.carried) {
                    self.relay.wake(conn);
                }
            }
            if !encoded.gatherers.is_empty() && !encoded.woken {
                encoded.woken = true;
                self.gathering.push((key, index as u8));
            }
            if !encoded.queued && encoded.log.tail_bytes() > 0 {
                encoded.queued = true;
                self.rounds.push_back((key, index as u8));
            }
        }
    }

    /// The number of listeners, on all cores, has come.
    pub(super) fn listeners_counted(&mut self, channel: &str, count: u32) {
        let Some(key) = self.channels.get(channel).copied() else {
            return;
        };
        let Some(mirror) = self.mirrors.get_mut(key) else {
            return;
        };
        let Some(standing) = &mut mirror.standing else { return };
        standing.listeners = count;
        self.spread_listeners(key, count);
    }

    fn spread_listeners(&mut self, key: MirrorKey, count: u32) {
        let Some(mirror) = self.mirrors.get_mut(key) else {
            return;
        };
        let log_bytes = mirror.log_bytes();
        for encoded in mirror.logs.iter_mut().filter(|encoded| encoded.log.readers() > 0) {
            let dialect = self.setup.dialect(encoded.encoding.dialect);
            let message = self.encoder.listeners(encoded.encoding.transport, dialect, count);
            if !message.is_empty() {
                encoded.log.append(message);
            }
        }
        self.log_memory.grew(log_bytes, mirror);
        self.queue_rounds(key);
    }

    /// The engine has answered.
    pub(super) fn outcome(&mut self, outcome: Outcome) {
        self.ops_in_flight = self.ops_in_flight.saturating_sub(1);
        match (outcome.ticket.asker, &outcome.result) {
            (Asker::Mirror(key), Ok(Answer::Attached(attached))) => {
                if self.mirrors.get(key).is_some_and(|mirror| mirror.attaching == Some(outcome.ticket.number)) {
                    self.attached(key, attached);
                }
            }
            // Only a refused attachment ends a mirror: a name that it told again may have lost its place.
            (Asker::Mirror(key), Err(refusal)) => {
                if self.mirrors.get(key).is_some_and(|mirror| mirror.attaching == Some(outcome.ticket.number)) {
                    self.fail_mirror(key, refusal);
                }
            }
            (Asker::Mirror(_), Ok(Answer::Accepted(_) | Answer::Joined { .. })) => {}
            (Asker::Connection(key), _) => {
                // After an overflow an answer may come before publications of earlier revisions: it waits for them.
                let mirror = self.channels.get(&outcome.channel).copied();
                let mirror = mirror.and_then(|mirror| self.mirrors.get_mut(mirror));
                match mirror.filter(|mirror| mirror.attaching.is_some() && mirror.standing.is_some()) {
                    Some(mirror) => mirror.early.push(outcome),
                    None => self.op_answered(key, outcome.ticket.number, outcome.result),
                }
            }
            (Asker::Session(_), _) => {}
        }
    }

    fn attached(&mut self, key: MirrorKey, attached: &Attached) {
        let Some(mirror) = self.mirrors.get_mut(key) else {
            return;
        };
        let known_listeners = mirror.standing.as_ref().map(|standing| standing.listeners);
        let Some(spec) = &self.setup.class(mirror.class).spec else { return };
        let present = Present::of(attached);
        let presence = mirror.standing.as_ref().map(|standing| standing.present.news(&present)).unwrap_or_default();
        let news = mirror.attached(attached, spec);
        let has_gap = news.is_none();
        for publication in news.into_iter().flatten() {
            self.published(&publication);
        }
        if let Some(standing) = self.mirrors.get_mut(key).and_then(|mirror| mirror.standing.as_mut()) {
            standing.present = present;
        }
        match (has_gap, known_listeners) {
            (true, None) => {}
            (true, Some(_)) => self.tell_gap(key),
            (false, known) => {
                for news in &presence {
                    self.spread_presence(key, news);
                }
                if known.is_some_and(|known| known != attached.listeners) {
                    self.spread_listeners(key, attached.listeners);
                }
            }
        }
        self.recount(key);
        let early = self.mirrors.get_mut(key).map(|mirror| std::mem::take(&mut mirror.early));
        for Outcome { ticket, result, .. } in early.into_iter().flatten() {
            if let Asker::Connection(conn) = ticket.asker {
                self.op_answered(conn, ticket.number, result);
            }
        }
        if let Some(mirror) = self.mirrors.get_mut(key) {
            self.due_sessions.extend(&mirror.sessions);
        }
    }

    /// There is a gap on running streams: who can be told gets the present state, or the word that there is a gap, and who
    /// is there; who cannot is to come back.
    fn tell_gap(&mut self, key: MirrorKey) {
        let setup = self.setup.clone();
        let Some(mirror) = self.mirrors.get_mut(key) else {
            return;
        };
        let log_bytes = mirror.log_bytes();
        if let Some(pace) = &mut mirror.pace {
            (pace.told, pace.ahead) = (None, Vec::new());
        }
        let Mirror { channel, class, kind, standing: Some(standing), logs, .. } = mirror else { return };
        let (snapshot, notices) = (standing.snapshot(channel, *kind), setup.class(*class).manners.notices);
        let mut untold: Vec<ConnKey> = Vec::new();
        let mut own = Vec::new();
        for (index, EncodedLog { encoding, log, .. }) in (0..).zip(logs) {
            let dialect = setup.dialect(encoding.dialect);
            if log.readers() == 0 {
                continue;
            }
            if !dialect.has_snapshots() && setup.slow(*class, encoding.dialect) != Slow::Skip {
                untold.extend(log.conns());
                continue;
            }
            let marks = self.encoder.state(encoding.transport, dialect, &snapshot, standing, notices, log);
            own.extend(marks.into_iter().map(|(who, stretch)| OwnMark { who, log: index, stretch }));
        }
        let parked = std::mem::take(&mut mirror.parked);
        self.parked_polls -= parked.len();
        self.log_memory.grew(log_bytes, mirror);
        self.leave_out_own(key, own);
        self.give_answers(key);
        self.queue_rounds(key);
        self.recount(key);
        for conn in untold {
            self.close_websocket(conn, close::TOO_SLOW, "history was lost: come back");
        }
        for conn in parked {
            self.answer_parked(conn, false);
        }
    }

    /// A stream's connection reads a log from now on.
    pub(super) fn subscribe(&mut self, conn_key: ConnKey, key: MirrorKey, encoding: Encoding) {
        let Some(mirror) = self.mirrors.get_mut(key) else {
            return;
        };
        let Some(conn) = self.conns.get_mut(conn_key) else {
            return;
        };
        let log = mirror.log(encoding);
        let place = mirror.logs[log].log.join(conn_key);
        conn.subscriptions.push(Subscription { mirror: key, log: log as u8, place, skips: None });
        if conn.stuck {
            let mut readers = LogReaders { conns: &mut self.conns, mirror: key, log: log as u8 };
            mirror.logs[log].log.demote(place, &mut readers);
        }
        self.is_ahead(conn_key, key, log as u8);
        self.note_several(conn_key);
        self.recount(key);
    }

    /// Has a mirror's listeners counted at the end of the turn, and its use looked at.
    pub(super) fn recount(&mut self, key: MirrorKey) {
        if self.recount.last() != Some(&key) {
            self.recount.push(key);
        }
    }

    /// Tells the engine how many listen here, where that has changed.
    pub(super) fn count_listeners(&mut self) {
        for key in std::mem::take(&mut self.recount) {
            let Some(mirror) = self.mirrors.get_mut(key) else {
                continue;
            };
            let count = mirror.readers() as u32;
            if mirror.is_used() {
                mirror.unused_since = None;
            } else if mirror.unused_since.is_none() {
                mirror.unused_since = Some(self.now);
                if !std::mem::replace(&mut mirror.lingers, true) {
                    self.timers.insert(self.now + MIRROR_LINGER, Timer::Mirror(key));
                }
            }
            if count != mirror.reported {
                mirror.reported = count;
                let target = mirror.target();
                self.ask(&target, Asker::Mirror(key), 0, Act::Listeners { count });
            }
        }
    }

    /// Nobody has used it for a while.
    pub(super) fn drop_mirror(&mut self, key: MirrorKey) {
        if let Some(mirror) = self.forget_mirror(key) {
            let target = Target { channel: mirror.channel, class: mirror.class };
            self.ask(&target, Asker::Mirror(key), 0, Act::Detach);
        }
    }

    fn forget_mirror(&mut self, key: MirrorKey) -> Option<Mirror> {
        let mirror = self.mirrors.remove(key)?;
        self.channels.remove(&mirror.channel);
        self.names.forget(key);
        Some(mirror)
    }

    /// The channel's code failed, or the engine refuses to attach: its listeners here are told, and the mirror goes.
    pub(super) fn fail_mirror(&mut self, key: MirrorKey, refusal: &Refusal) {
        let Some(mirror) = self.mirrors.get(key) else { return };
        let readers: Vec<ConnKey> = mirror.logs.iter().flat_map(|encoded| encoded.log.conns()).collect();
        let (code, reason) = match refusal {
            Refusal::Failed => (close::FAILED, "the channel failed: come back"),
            _ => (close::TRY_AGAIN, "the channel cannot be listened to now: try again later"),
        };
        for conn in readers {
            self.close_websocket(conn, code, reason);
        }
        let Some(mirror) = self.forget_mirror(key) else { return };
        // The engine may have it that this core listens: not any more.
        self.ask(&mirror.target(), Asker::Mirror(key), 0, Act::Detach);
        self.parked_polls -= mirror.parked.len();
        let reads: Vec<ConnKey> = self.reads.iter().filter(|(_, of)| *of == key).map(|(conn, _)| *conn).collect();
        self.reads.retain(|(_, of)| *of != key);
        for conn in reads.into_iter().chain(mirror.parked) {
            if !self.refuse_stream(conn, refusal) {
                self.refuse_pending(conn, refusal);
            }
        }
        for session in mirror.sessions {
            self.refuse_session(session, refusal);
        }
        for Outcome { ticket, result, .. } in mirror.early {
            if let Asker::Connection(conn) = ticket.asker {
                self.op_answered(conn, ticket.number, result);
            }
        }
    }
}
