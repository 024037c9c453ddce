//! What the threads of a server do: the turns of an event loop, and those of an engine that has its own thread.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::clock::Clock;
use super::driver::SocketDriver;
use super::mailbox::{EngineQueue, Mailbox, post_all};
use crate::base::keys::CoreId;
use crate::base::time::Time;
use crate::engine::Batch;
use crate::engine::embedded::{Embedded, Outbox};
use crate::shard::{Mail, Post, Shard};

/// What all threads of a server share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) clock: Clock,
    /// By core.
    pub(super) mailboxes: Vec<Mailbox>,
    /// Unused if the engine has its seat in the only loop.
    pub(super) queue: EngineQueue,
    /// The loops are to end in order.
    pub(super) stopping: AtomicBool,
}

/// An engine with its way out.
#[derive(Debug)]
pub(super) struct Seat {
    engine: Embedded,
    out: Outbox,
    /// By core; emptied by each delivery.
    mail: Vec<Vec<Mail>>,
    deadline: Option<Time>,
}

impl Seat {
    pub(super) fn new(engine: Embedded, cores: usize) -> Seat {
        Seat {
            engine,
            out: Outbox::default(),
            mail: std::iter::repeat_with(Vec::new).take(cores).collect(),
            // Before the first batch, time may bring something too.
            deadline: Some(Time::ZERO),
        }
    }

    fn batch(&mut self, batch: Batch, now: Time) {
        self.engine.batch(batch, now, &mut self.out);
        // The batch may have moved the deadline: ask.
        self.deadline = Some(Time::ZERO);
    }

    /// Lets time pass, if it is due, and posts all that came of this turn: one batch of mail for each core.
    fn deliver(&mut self, now: Time, mailboxes: &[Mailbox]) {
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.deadline = self.engine.advance(now, &mut self.out);
        }
        // There is no journal yet that would keep these, and no durable channel that would wait for one.
        self.out.keep.clear();
        if self.out.mail.is_empty() {
            return;
        }
        for (core, mail) in self.out.mail.drain(..) {
            self.mail[usize::from(core.0)].push(Mail::Engine(mail));
        }
        post_all(mailboxes, &mut self.mail);
    }
}

/// One event loop.
#[derive(Debug)]
pub(super) struct EventLoop<D> {
    pub(super) core: CoreId,
    pub(super) driver: D,
    pub(super) shard: Shard,
    /// The engine, if this is the only loop; otherwise its batches go into the queue.
    pub(super) seat: Option<Seat>,
    pub(super) shared: Arc<Shared>,
}

impl<D: SocketDriver> EventLoop<D> {
    /// Turns until the server stops and the shard has ended all it had.
    ///
    /// # Errors
    /// What the operating system says, if it does not let us wait for sockets any more.
    pub(super) fn run(mut self) -> io::Result<()> {
        let shared = self.shared.clone();
        let _leave = Leave(&shared.queue);
        let mailbox = &shared.mailboxes[usize::from(self.core.0)];
        let mut mail = Vec::new();
        let mut told_to_stop = false;
        // What the last turn left: nothing known yet, so the first does not wait.
        let mut wait = Some(Duration::ZERO);
        loop {
            if wait != Some(Duration::ZERO) && !mailbox.may_sleep() {
                wait = Some(Duration::ZERO);
            }
            self.driver.turn(wait, &mut self.shard)?;

            let overflowed = mailbox.drain(&mut mail);
            if overflowed {
                tracing::warn!("the inbox of core {} overflowed; its channels attach anew", self.core.0);
                self.shard.inbox_overflowed();
            }
            for piece in mail.drain(..) {
                self.shard.mail(piece);
            }
            if !told_to_stop && shared.stopping.load(Ordering::Acquire) {
                told_to_stop = true;
                self.shard.stop();
            }

            let now = shared.clock.now();
            self.shard.advance(now);
            let more = self.shard.flush(&mut self.driver);
            self.post(now);

            if told_to_stop && self.shard.is_stopped() {
                return Ok(());
            }
            let deadline = earlier(self.shard.deadline(), self.seat.as_ref().and_then(|seat| seat.deadline));
            wait =
                if more { Some(Duration::ZERO) } else { deadline.map(|deadline| deadline.since(shared.clock.now())) };
        }
    }

    /// Ops to the engine, requests and responses to other cores.
    fn post(&mut self, now: Time) {
        let EventLoop { shard, seat, shared, .. } = self;
        shard.take_mail(|post| match post {
            Post::Core(core, mail) => {
                shared.mailboxes[usize::from(core.0)].post(mail);
                Ok(())
            }
            Post::Engine(batch) => match seat {
                Some(seat) => {
                    seat.batch(batch, now);
                    Ok(())
                }
                None => shared.queue.post(batch).map_err(Post::Engine),
            },
        });
        if let Some(seat) = seat {
            seat.deliver(now, &shared.mailboxes);
        }
    }
}

/// Turns of an engine on its own thread: all batches that wait, then one batch of mail to each core. Ends when all
/// loops have ended.
pub(super) fn run_engine(mut seat: Seat, shared: &Shared) {
    let mut batches = Vec::new();
    let mut room = Vec::new();
    loop {
        let timeout = seat.deadline.map(|deadline| deadline.since(shared.clock.now()));
        let open = shared.queue.take(timeout, &mut batches, &mut room);
        // Before the work: the core fills the queue again meanwhile.
        for core in room.drain(..) {
            shared.mailboxes[usize::from(core.0)].nudge();
        }
        let now = shared.clock.now();
        for batch in batches.drain(..) {
            seat.batch(batch, now);
        }
        seat.deliver(now, &shared.mailboxes);
        if !open {
            return;
        }
    }
}

/// Tells the engine that a loop has ended, however it did.
struct Leave<'a>(&'a EngineQueue);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

fn earlier(one: Option<Time>, other: Option<Time>) -> Option<Time> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earlier_deadline_counts() {
        let (one, two) = (Some(Time::from_millis(1)), Some(Time::from_millis(2)));
        let rows = [(None, None, None), (one, None, one), (None, two, two), (one, two, one), (two, one, one)];
        for (left, right, expected) in rows {
            assert_eq!(earlier(left, right), expected);
        }
    }
}
