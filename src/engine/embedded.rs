//! The engine inside the process: one writer, no locks, no I/O. Batches and time go in; mail, and what a journal must
//! save, come out.

use std::hash::BuildHasher;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::channel::{Channel, Class, Mailing};
use super::contract::{
    Act, Answer, Batch, ChannelName, ChannelSpec, ClassId, EngineMail, Epoch, Op, Origin, Outcome, Presence,
    Publication, Refusal, Ticket,
};
use super::hold::Hold;
use super::members::Announce;
use crate::base::hash::{Map, Seed};
use crate::base::keys::{CoreId, Key, Slots};
use crate::base::limits::LISTENERS_PACE;
use crate::base::time::Time;
use crate::base::wheel::Wheel;

/// What an engine hands out. The caller takes it; the engine only adds.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Outbox {
    /// For the cores; for each core in the order in which it must arrive.
    pub mail: Vec<(CoreId, EngineMail)>,
    /// For the journal, in order. Whoever saves it calls [`Embedded::committed`].
    pub keep: Vec<Keep>,
}

/// What a journal must save of one batch: all of it or nothing.
#[derive(Clone, PartialEq, Debug)]
pub struct Keep {
    /// The engine's own number of the batch. Numbers rise, with gaps: most batches have nothing to save.
    pub number: u64,
    /// The publications of durable channels, in revision order for each channel.
    pub publications: Vec<Arc<Publication>>,
}

#[derive(Debug)]
enum OfChannel {}
type ChannelKey = Key<OfChannel>;

/// What a timer is for.
#[derive(Clone, Copy, Debug)]
enum Due {
    /// The number of listeners may be announced again.
    Announce(ChannelKey),
    /// Who edits what may be announced again.
    Editing(ChannelKey),
    /// The channel may have been idle for long enough to go.
    Idle(ChannelKey),
}

/// The engine.
#[derive(Debug)]
pub struct Embedded {
    classes: Vec<Option<Class>>,
    seed: Seed,
    /// The last batch from each core.
    seen: Vec<u64>,
    /// Batches that were done.
    number: u64,
    /// Channels that were ever begun.
    epochs: u64,
    channels: Slots<OfChannel, Channel>,
    names: Map<ChannelName, ChannelKey>,
    /// Channels that came by a pattern, and their bound.
    passing: usize,
    passing_max: usize,
    /// Channels that the batch in hand names, each once.
    touched: Vec<ChannelKey>,
    wheel: Wheel<Due>,
    hold: Hold,
}

impl Embedded {
    /// An engine without channels. `specs` are found by [`ClassId`]; channels of the others have nothing to do here, and
    /// every op on them is of the wrong type. `channels_max` bounds the channels whose class has an idle time. The seed
    /// makes epochs, which nobody without it can guess, and keys the hashing.
    pub fn new(specs: Vec<Option<ChannelSpec>>, channels_max: usize, seed: Seed, now: Time) -> Embedded {
        let classes = specs.into_iter().map(|spec| Some(Class::new(spec?, seed)));
        Embedded {
            classes: classes.collect(),
            seed,
            seen: Vec::new(),
            number: 0,
            epochs: 0,
            channels: Slots::default(),
            names: Map::with_hasher(seed),
            passing: 0,
            passing_max: channels_max,
            touched: Vec::new(),
            wheel: Wheel::new(now),
            hold: Hold::default(),
        }
    }

    /// Does the ops of a batch, in order; does nothing if the batch was done before (its number is not above the last).
    ///
    /// All votes of a batch in one channel become one publication, unless their core attaches or detaches in between.
    /// [`advance`](Embedded::advance) must be called afterwards, for the next deadline.
    pub fn batch(&mut self, batch: Batch, now: Time, out: &mut Outbox) {
        if !self.is_new(batch.core, batch.number) {
            return;
        }
        self.number += 1;
        let mut found = None;
        for op in batch.ops {
            self.op(batch.core, op, now, &mut found, out);
        }
        self.end_batch(now, out);
    }

    /// All batches to keep, up to and including `number`, are saved: the mail that waited for them goes.
    pub fn committed(&mut self, number: u64, out: &mut Outbox) {
        self.hold.release(number, out);
    }

    /// Does what time alone brings: announces listeners and who edits what, lets idle channels go. Returns the next deadline.
    pub fn advance(&mut self, now: Time, out: &mut Outbox) -> Option<Time> {
        while let Some(due) = self.wheel.expire(now) {
            match due {
                Due::Announce(key) => {
                    if let Some(channel) = self.channels.get_mut(key) {
                        channel.announce_timer = None;
                        self.announce(key, now, out);
                    }
                }
                Due::Editing(key) => {
                    if let Some(channel) = self.channels.get_mut(key) {
                        channel.editing_timer = None;
                        self.announce_editing(key, now, out);
                    }
                }
                Due::Idle(key) => {
                    if let Some(channel) = self.channels.get_mut(key) {
                        channel.idle_timer = None;
                        self.check_idle(key, now);
                    }
                }
            }
        }
        self.hold.end_batch(self.number, out);
        self.wheel.next()
    }

    fn is_new(&mut self, core: CoreId, number: u64) -> bool {
        let core = usize::from(core.0);
        if self.seen.len() <= core {
            self.seen.resize(core + 1, 0);
        }
        let is_new = number > self.seen[core];
        self.seen[core] = self.seen[core].max(number);
        is_new
    }

    /// Does one op. `found`: the channel of the op before, which is often the same.
    fn op(&mut self, core: CoreId, op: Op, now: Time, found: &mut Option<(ChannelName, ChannelKey)>, out: &mut Outbox) {
        let Op { channel: name, class, ticket, act } = op;
        let same = found.as_ref().filter(|(last, _)| Arc::ptr_eq(last, &name)).map(|&(_, key)| key);
        let key = match same.filter(|&key| self.channels.get(key).is_some()) {
            Some(key) => key,
            None => match self.find_or_begin(&name, class, &act, now) {
                Ok(Some(key)) => {
                    *found = Some((name.clone(), key));
                    key
                }
                Ok(None) => return,
                Err(refusal) => return refuse(core, name, ticket, is_answered(&act), refusal, out),
            },
        };
        let Some(channel) = self.channels.get_mut(key) else {
            return;
        };
        let answered = is_answered(&act);
        if channel.durable && answered && self.hold.is_full() {
            // At once, and before what waits: a refusal that waited would need room itself, and it shows no number.
            return refuse(core, name, ticket, answered, Refusal::Busy, out);
        }
        channel.used = now;
        if !channel.touched {
            channel.touched = true;
            self.touched.push(key);
        }
        let durable = channel.durable;
        let mut to = Mailing { hold: &mut self.hold, out };
        let who = Origin { core, asker: ticket.asker };
        // What a panic leaves behind is a channel that is dropped, and mail that is plain data.
        let result = match catch_unwind(AssertUnwindSafe(|| channel.apply(who, act, &mut to))) {
            Ok(None) => return,
            Ok(Some(result)) => result,
            Err(_) => {
                self.fail(key, out);
                if !answered {
                    return;
                }
                Err(Refusal::Failed)
            }
        };
        let mail = self.hold.mail_of(durable, out);
        mail.push((core, outcome(name, ticket, result)));
    }

    /// The channel, which begins now if need be. `None`: there is none, and the act needs none.
    fn find_or_begin(
        &mut self,
        name: &ChannelName,
        class: ClassId,
        act: &Act,
        now: Time,
    ) -> Result<Option<ChannelKey>, Refusal> {
        if let Some(&key) = self.names.get(&**name) {
            return Ok(Some(key));
        }
        if matches!(act, Act::Detach | Act::Leave { .. } | Act::Listeners { count: 0 }) {
            return Ok(None);
        }
        let class = self.classes.get(usize::from(class.0)).and_then(Option::as_ref);
        let class = class.ok_or(Refusal::WrongType)?;
        if let Some(refusal) = class.refuse_without_channel(act) {
            return Err(refusal);
        }
        if class.goes() {
            if self.passing >= self.passing_max {
                let bound = "limits.channels_max";
                return Err(Refusal::Full { bound });
            }
            self.passing += 1;
        }
        let epoch = next_epoch(&mut self.epochs, self.seed);
        let key = self.channels.insert(Channel::new(name.clone(), class, epoch, now));
        self.names.insert(name.clone(), key);
        Ok(Some(key))
    }

    fn end_batch(&mut self, now: Time, out: &mut Outbox) {
        let mut touched = std::mem::take(&mut self.touched);
        for key in touched.drain(..) {
            let Some(channel) = self.channels.get_mut(key) else {
                continue;
            };
            channel.touched = false;
            channel.close(&mut Mailing { hold: &mut self.hold, out });
            self.announce(key, now, out);
            self.announce_editing(key, now, out);
            self.watch_idle(key);
        }
        self.touched = touched;
        self.hold.end_batch(self.number, out);
    }

    /// Announces the number of listeners to those who do not know it, now or when it may be.
    fn announce(&mut self, key: ChannelKey, now: Time, out: &mut Outbox) {
        let Some(channel) = self.channels.get_mut(key) else {
            return;
        };
        let mut when = channel.members.announce(now);
        if when == Announce::Now && channel.durable && self.hold.is_full() {
            when = Announce::At(now + LISTENERS_PACE);
        }
        match when {
            Announce::Never => {}
            Announce::At(at) => {
                let wheel = &mut self.wheel;
                channel.announce_timer.get_or_insert_with(|| wheel.insert(at, Due::Announce(key)));
            }
            Announce::Now => {
                // Behind a durable channel's other mail: before it, an answer that shows an older number would come last.
                let mail = self.hold.mail_of(channel.durable, out);
                let name = &channel.name;
                channel.members.announced(now, |core, count| {
                    let channel = name.clone();
                    mail.push((core, EngineMail::Listeners { channel, count }));
                });
            }
        }
    }

    /// Announces who edits what to the cores that do not know it, now or when it may be.
    fn announce_editing(&mut self, key: ChannelKey, now: Time, out: &mut Outbox) {
        let Some(channel) = self.channels.get_mut(key).filter(|channel| channel.editing_timer.is_none()) else {
            return;
        };
        let durable = channel.durable;
        let Some((marks, members, name)) = channel.marks() else { return };
        let mut when = marks.announce(now, members.attached());
        if when == Announce::Now && durable && self.hold.is_full() {
            when = Announce::At(now + LISTENERS_PACE);
        }
        match when {
            Announce::Never => {}
            Announce::At(at) => channel.editing_timer = Some(self.wheel.insert(at, Due::Editing(key))),
            Announce::Now => {
                let mail = self.hold.mail_of(durable, out);
                marks.announced(now, members.attached(), |core, news| {
                    let (channel, news) = (name.clone(), Presence::Editing(news));
                    mail.push((core, EngineMail::Presence { channel, news }));
                });
            }
        }
    }

    /// Sets the timer of a channel that comes and goes, once nobody needs it.
    fn watch_idle(&mut self, key: ChannelKey) {
        let Some(channel) = self.channels.get_mut(key) else {
            return;
        };
        let Some(at) = channel.idle_at() else { return };
        // A timer that stands earlier looks again; one that stands later was for what has been heard since.
        if channel.is_used() || channel.idle_timer.is_some_and(|(_, armed)| armed <= at) {
            return;
        }
        if let Some((timer, _)) = channel.idle_timer.take() {
            self.wheel.cancel(timer);
        }
        channel.idle_timer = Some((self.wheel.insert(at, Due::Idle(key)), at));
    }

    /// Lets the channel go if nobody needs it and it was idle for long enough.
    fn check_idle(&mut self, key: ChannelKey, now: Time) {
        let Some(channel) = self.channels.get_mut(key) else {
            return;
        };
        let Some(mut at) = channel.idle_at() else { return };
        if channel.is_used() {
            return; // The timer is set anew when the last one detaches or leaves.
        }
        if at <= now {
            if !channel.durable || self.hold.is_empty() {
                return self.end(key);
            }
            at = now + LISTENERS_PACE; // What it changed is not saved yet: look again.
        }
        channel.idle_timer = Some((self.wheel.insert(at, Due::Idle(key)), at));
    }

    /// The channel's code failed: those who are attached are told, and it is gone.
    fn fail(&mut self, key: ChannelKey, out: &mut Outbox) {
        let Some(channel) = self.channels.get_mut(key) else {
            return;
        };
        let hold = &mut self.hold;
        channel.close(&mut Mailing { hold, out });
        let mail = self.hold.mail_of(channel.durable, out);
        let failed = EngineMail::Failed { channel: channel.name.clone() };
        mail.extend(channel.members.attached().map(|core| (core, failed.clone())));
        self.end(key);
    }

    fn end(&mut self, key: ChannelKey) {
        let Some(channel) = self.channels.remove(key) else {
            return;
        };
        self.names.remove(&*channel.name);
        self.passing -= usize::from(channel.goes());
        let idle_timer = channel.idle_timer.map(|(timer, _)| timer);
        for timer in [channel.announce_timer, channel.editing_timer, idle_timer].into_iter().flatten() {
            self.wheel.cancel(timer);
        }
    }
}

fn is_answered(act: &Act) -> bool {
    match act {
        Act::Append { .. }
        | Act::Cast { .. }
        | Act::Table { .. }
        | Act::Editing { .. }
        | Act::Join { .. }
        | Act::Attach { .. } => true,
        Act::Listeners { .. } | Act::Leave { .. } | Act::Detach => false,
        #[cfg(feature = "faults")]
        Act::Panic => true,
    }
}

fn outcome(channel: ChannelName, ticket: Ticket, result: Result<Answer, Refusal>) -> EngineMail {
    EngineMail::Outcome(Outcome { ticket, channel, result })
}

/// Refuses at once, whether the channel is durable or not.
fn refuse(core: CoreId, channel: ChannelName, ticket: Ticket, answered: bool, refusal: Refusal, out: &mut Outbox) {
    if answered {
        out.mail.push((core, outcome(channel, ticket, Err(refusal))));
    }
}

/// Another epoch for every channel that begins.
fn next_epoch(begun: &mut u64, seed: Seed) -> Epoch {
    loop {
        *begun += 1;
        let epoch = seed.hash_one(*begun);
        if epoch != 0 {
            return Epoch(epoch);
        }
    }
}
