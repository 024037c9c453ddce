//! Mail between threads: the inbox of each core, and the engine's queue of batches. Both are bounded, and nobody waits
//! for room in them.
//!
//! No wake-up is lost: whether the reader may sleep is decided under the lock under which mail is put in. A reader that
//! is awake is not woken, and one that sleeps is woken once, whatever comes meanwhile.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::driver::Wake;
use crate::base::keys::CoreId;
use crate::base::limits::{ENGINE_BATCHES_MAX, INBOX_MAIL_MAX};
use crate::engine::{Batch, EngineMail};
use crate::shard::Mail;

/// Mail in an inbox when even what must not be lost finds no room. Outcomes are bounded by the ops in flight and mail
/// between cores by the requests in hand, so this is not reached; it bounds what a fault elsewhere could cost.
const INBOX_HARD_MAX: usize = 4 * INBOX_MAIL_MAX;

/// The inbox of one core.
#[derive(Debug)]
pub struct Mailbox {
    inbox: Mutex<Inbox>,
    waker: Arc<dyn Wake>,
}

#[derive(Debug, Default)]
struct Inbox {
    mail: Vec<Mail>,
    /// Mail was dropped since the last drain.
    overflowed: bool,
    /// The reader must look up, though there may be no mail.
    nudged: bool,
    /// The reader sleeps, or is about to, and nobody has woken it yet.
    asleep: bool,
}

impl Mailbox {
    /// An empty inbox whose reader `waker` wakes.
    pub fn new(waker: Arc<dyn Wake>) -> Mailbox {
        Mailbox { inbox: Mutex::default(), waker }
    }

    /// Puts all of `mail` in, in order, and wakes the reader if it sleeps. Publications and listener counts that find no
    /// room are dropped, and the reader is told.
    pub fn post(&self, mail: Vec<Mail>) {
        let wake = {
            let mut inbox = lock(&self.inbox);
            inbox.put(mail);
            inbox.rouse()
        };
        self.wake_if(wake);
    }

    /// Makes the reader look up, now or instead of its next sleep.
    pub fn nudge(&self) {
        let wake = {
            let mut inbox = lock(&self.inbox);
            inbox.nudged = true;
            inbox.rouse()
        };
        self.wake_if(wake);
    }

    /// For the reader, before it waits for its waker: false if there is something to do first. After true, the next
    /// piece of mail wakes it.
    pub fn may_sleep(&self) -> bool {
        let mut inbox = lock(&self.inbox);
        inbox.asleep = inbox.mail.is_empty() && !inbox.overflowed && !inbox.nudged;
        inbox.nudged = false;
        inbox.asleep
    }

    /// For the reader, who is awake: moves all mail into `mail`, which is empty (its memory is used for what comes next).
    /// True if mail was dropped since the last drain; what is dropped would have come after some of this mail.
    pub fn drain(&self, mail: &mut Vec<Mail>) -> bool {
        debug_assert!(mail.is_empty());
        let mut inbox = lock(&self.inbox);
        inbox.asleep = false;
        std::mem::swap(&mut inbox.mail, mail);
        std::mem::take(&mut inbox.overflowed)
    }

    fn wake_if(&self, wake: bool) {
        if wake && let Err(error) = self.waker.wake() {
            tracing::error!("an event loop cannot be woken: {error}");
        }
    }
}

/// Puts `mail[core]` into each core's inbox, and leaves it empty. No core sees any of it before all is there: so who
/// got an outcome on one core finds the publication in the inbox of every other.
pub fn post_all(mailboxes: &[Mailbox], mail: &mut [Vec<Mail>]) {
    // In the order of the cores, and nobody else holds two of these locks: this cannot end in a deadlock.
    let mut open: Vec<(&Mailbox, MutexGuard<'_, Inbox>)> = Vec::new();
    for (mailbox, mail) in mailboxes.iter().zip(mail) {
        if !mail.is_empty() {
            let mut inbox = lock(&mailbox.inbox);
            inbox.put(std::mem::take(mail));
            open.push((mailbox, inbox));
        }
    }
    let woken: Vec<(&Mailbox, bool)> = open.iter_mut().map(|(mailbox, inbox)| (*mailbox, inbox.rouse())).collect();
    drop(open);
    for (mailbox, wake) in woken {
        mailbox.wake_if(wake);
    }
}

impl Inbox {
    fn put(&mut self, mut mail: Vec<Mail>) {
        if self.mail.len() + mail.len() <= INBOX_MAIL_MAX {
            if self.mail.is_empty() {
                self.mail = mail;
            } else {
                self.mail.append(&mut mail);
            }
            return;
        }
        for piece in mail {
            let bound = if may_be_dropped(&piece) { INBOX_MAIL_MAX } else { INBOX_HARD_MAX };
            if self.mail.len() < bound {
                self.mail.push(piece);
                continue;
            }
            debug_assert!(bound == INBOX_MAIL_MAX, "more outcomes than ops in flight");
            self.overflowed = true;
        }
    }

    /// Whether the reader is to be woken, which is then as good as done.
    fn rouse(&mut self) -> bool {
        std::mem::take(&mut self.asleep)
    }
}

/// A mirror that attaches again gets these anew. Outcomes have someone waiting for them, and so have requests.
fn may_be_dropped(mail: &Mail) -> bool {
    match mail {
        Mail::Engine(EngineMail::Publication(_) | EngineMail::Listeners { .. } | EngineMail::Presence { .. }) => true,
        Mail::Engine(EngineMail::Outcome(_) | EngineMail::Failed { .. }) => false,
        Mail::Poll(_)
        | Mail::Withdraw { .. }
        | Mail::Renew { .. }
        | Mail::Failed { .. }
        | Mail::Answer { .. }
        | Mail::EngineIo(_) => false,
    }
}

/// Batches on their way to an engine that has its own thread.
#[derive(Debug)]
pub struct EngineQueue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
}

#[derive(Debug)]
struct Waiting {
    /// In the order in which they came.
    batches: Vec<Batch>,
    /// By core.
    lanes: Vec<Lane>,
    /// Cores that may still post.
    posting: usize,
    /// The engine waits, and nobody has woken it yet.
    asleep: bool,
}

#[derive(Clone, Debug, Default)]
struct Lane {
    batches: usize,
    /// A batch was given back since the last take.
    refused: bool,
}

impl EngineQueue {
    /// An empty queue for batches from `cores` cores.
    pub fn new(cores: u16) -> EngineQueue {
        EngineQueue {
            waiting: Mutex::new(Waiting {
                batches: Vec::new(),
                lanes: vec![Lane::default(); usize::from(cores)],
                posting: usize::from(cores),
                asleep: false,
            }),
            arrived: Condvar::new(),
        }
    }

    /// Puts a batch in.
    ///
    /// # Errors
    /// The batch, if [`ENGINE_BATCHES_MAX`] of its core wait already; [`take`](EngineQueue::take) tells when there is room.
    pub fn post(&self, batch: Batch) -> Result<(), Batch> {
        let mut waiting = lock(&self.waiting);
        let lane = &mut waiting.lanes[usize::from(batch.core.0)];
        if lane.batches >= ENGINE_BATCHES_MAX {
            lane.refused = true;
            return Err(batch);
        }
        lane.batches += 1;
        waiting.batches.push(batch);
        let wake = std::mem::take(&mut waiting.asleep);
        drop(waiting);
        if wake {
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// A core posts no more. When all have left, the engine ends.
    pub fn leave(&self) {
        let mut waiting = lock(&self.waiting);
        waiting.posting = waiting.posting.saturating_sub(1);
        waiting.asleep = false;
        drop(waiting);
        self.arrived.notify_one();
    }

    /// For the engine: waits up to `timeout` (`None`: until something comes) if there is no batch, moves all there are
    /// into `batches`, and names in `room` the cores that a batch was given back to. It may return early with nothing.
    /// False if all cores have left and nothing was there any more.
    pub fn take(&self, timeout: Option<Duration>, batches: &mut Vec<Batch>, room: &mut Vec<CoreId>) -> bool {
        let mut waiting = lock(&self.waiting);
        if waiting.batches.is_empty() && waiting.posting > 0 {
            waiting.asleep = true;
            waiting = match timeout {
                None => self.arrived.wait(waiting).unwrap_or_else(PoisonError::into_inner),
                Some(timeout) => {
                    let woken = self.arrived.wait_timeout(waiting, timeout);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
            };
            waiting.asleep = false;
        }
        let open = waiting.posting > 0 || !waiting.batches.is_empty();
        batches.append(&mut waiting.batches);
        for (core, lane) in waiting.lanes.iter_mut().enumerate() {
            if std::mem::take(lane).refused {
                room.push(CoreId(core as u16));
            }
        }
        open
    }
}

/// A thread that panicked between two whole pieces of mail left nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
