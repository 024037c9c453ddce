//! Ordered messages.

use std::sync::Arc;

use super::contract::{Change, Entry, Position, Publication};
use super::history::History;

/// A log has no state beside its recent messages. Every message is a revision and a publication.
#[derive(Debug)]
pub struct Log {
    history: History,
}

impl Log {
    /// A log that goes on where `history` stands.
    pub fn new(history: History) -> Log {
        Log { history }
    }

    /// Adds a message.
    pub fn append(&mut self, entry: Entry) -> Arc<Publication> {
        self.history.publish(1, Change::Message(entry))
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
