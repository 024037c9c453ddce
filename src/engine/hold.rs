//! What waits for the disk: the mail of durable channels, in order, until the batch it was decided in is saved.

use std::collections::VecDeque;
use std::sync::Arc;

use super::contract::{Answer, EngineMail, Publication, State};
use super::embedded::{Keep, Outbox};
use super::history;
use crate::base::keys::CoreId;
use crate::base::limits::{HELD_BYTES_MAX, HELD_MAIL_MAX};

/// The mail of durable channels.
#[derive(Default, Debug)]
pub(super) struct Hold {
    /// The mail of the batch in hand.
    mail: Vec<(CoreId, EngineMail)>,
    /// What of the batch in hand must be saved.
    publications: Vec<Arc<Publication>>,
    /// The batches that are being saved, with all mail that was decided in or behind them.
    waiting: VecDeque<Waiting>,
    /// Over all that waits.
    pieces: usize,
    bytes: usize,
    /// Of the batch in hand.
    hand_bytes: usize,
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    mail: Vec<(CoreId, EngineMail)>,
    bytes: usize,
}

impl Hold {
    /// Where the mail of durable channels goes, or that of the others: which is the outbox. Until the batch ends, both
    /// are only added to.
    pub(super) fn mail_of<'a>(&'a mut self, durable: bool, out: &'a mut Outbox) -> &'a mut Vec<(CoreId, EngineMail)> {
        if durable { &mut self.mail } else { &mut out.mail }
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.mail.is_empty()
    }

    /// Whether a bound is reached: durable channels take no more ops.
    pub(super) fn is_full(&self) -> bool {
        self.pieces + self.mail.len() >= HELD_MAIL_MAX || self.bytes + self.hand_bytes >= HELD_BYTES_MAX
    }

    /// A publication of the batch in hand must be saved.
    pub(super) fn keep(&mut self, publication: Arc<Publication>) {
        self.hand_bytes += history::bytes(&publication);
        self.publications.push(publication);
    }

    /// Counts the bytes of an answer of the batch in hand.
    pub(super) fn weigh(&mut self, answer: &Answer) {
        let Answer::Attached(attached) = answer else { return };
        let state = match &attached.state {
            State::Log => 0,
            State::Tally { counts, .. } => size_of_val(counts.as_slice()),
            State::Table(table) => table.memory_bytes(),
        };
        let present = size_of_val(attached.users.as_slice()) + size_of_val(attached.editing.as_slice());
        self.hand_bytes += size_of_val(attached.recent.as_slice()) + state + present;
    }

    /// The batch in hand is complete. Its mail waits until what is to be saved of it is saved; if that is nothing, until
    /// the last batch before it that has something; if that is saved, it goes.
    pub(super) fn end_batch(&mut self, number: u64, out: &mut Outbox) {
        let bytes = std::mem::take(&mut self.hand_bytes);
        if !self.publications.is_empty() {
            let publications = std::mem::take(&mut self.publications);
            out.keep.push(Keep { number, publications });
            self.waiting.push_back(Waiting { number, mail: Vec::new(), bytes: 0 });
        }
        let Some(last) = self.waiting.back_mut() else {
            out.mail.append(&mut self.mail);
            return;
        };
        self.pieces += self.mail.len();
        self.bytes += bytes;
        last.bytes += bytes;
        if last.mail.is_empty() {
            last.mail = std::mem::take(&mut self.mail);
        } else {
            last.mail.append(&mut self.mail);
        }
    }

    /// All batches up to and including `number` are saved.
    pub(super) fn release(&mut self, number: u64, out: &mut Outbox) {
        while self.waiting.front().is_some_and(|waiting| waiting.number <= number) {
            let Some(saved) = self.waiting.pop_front() else { break };
            self.pieces -= saved.mail.len();
            self.bytes -= saved.bytes;
            out.mail.extend(saved.mail);
        }
    }
}
