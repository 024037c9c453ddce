//! Ordered messages.

use std::sync::Arc;

use super::contract::{Change, Entry, Position, Publication};
use super::history::History;

/// A log has no state beside its recent messages. Every message is a revision and a publication.
#[derive(Debug)]
pub struct Log {
    history: History,
    /// Up to this revision somebody listened, or has joined since.
    heard: u64,
}

impl Log {
    /// A log that goes on where `history` stands.
    pub fn new(history: History) -> Log {
        Log { heard: history.at().revision, history }
    }

    /// Adds a message. `is_heard`: somebody listens.
    pub fn append(&mut self, entry: Entry, is_heard: bool) -> Arc<Publication> {
        let publication = self.history.publish(1, Change::Message(entry));
        if is_heard {
            self.heard = publication.last;
        }
        publication
    }

    /// Somebody joins, and has all messages from now on. Up to which revision somebody had listened before.
    pub fn hear(&mut self) -> u64 {
        std::mem::replace(&mut self.heard, self.history.at().revision)
    }

    /// Whether there are messages that nobody heard.
    pub fn is_unheard(&self) -> bool {
        self.heard < self.history.at().revision
    }

    /// Where it stands.
    pub fn at(&self) -> Position {
        self.history.at()
    }

    /// See [`History::recent_since`].
    pub fn recent_since(&self, since: Option<Position>) -> Vec<Arc<Publication>> {
        self.history.recent_since(since)
    }
}
