//! Dialects: how a body is read into a message, and how a publication, a snapshot, an outcome or a refusal is written.

/// Index into [`Setup::dialects`](super::Setup::dialects).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DialectId(pub u8);

impl DialectId {
    /// Our own, [`Dialect::Tallycast`].
    pub const TALLYCAST: DialectId = DialectId(0);
}

/// A dialect.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Dialect {
    /// Our own: JSON objects with a `type`; knows snapshots, positions and gaps.
    Tallycast,
    /// Votes one by one: `{"KEY": "1", "count": 3}`; a message is the bare id. Cannot say that there was a gap.
    Steps {
        /// The name under which the option stands.
        key: String,
    },
    /// Messages as they are. Cannot say that there was a gap.
    Plain,
}
