//! What goes into an engine and what comes out: ops and batches in, outcomes and publications out.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use compact_str::CompactString;

use super::table::{CellName, Stale, Table, TableAct, TableChange, TableSpec};
use crate::base::keys::{ConnKey, CoreId, MirrorKey, SessionKey};

/// A channel's name, `poll/lunch`: UTF-8, at most [`CHANNEL_NAME_BYTES_MAX`](crate::base::limits::CHANNEL_NAME_BYTES_MAX) bytes.
pub type ChannelName = Arc<str>;

/// Which life of a channel: it changes when history was, or may have been, lost. Never 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Epoch(pub u64);

/// Where a channel stands: `epoch-revision`, the epoch in hexadecimal, the revision in decimal. The revision counts
/// accepted changes, from 0 (none).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Position {
    /// The life of the channel.
    pub epoch: Epoch,
    /// Accepted changes in it.
    pub revision: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{}", self.epoch.0, self.revision)
    }
}

/// The text is no position.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoPosition;

impl FromStr for Position {
    type Err = NoPosition;

    fn from_str(text: &str) -> Result<Position, NoPosition> {
        let (epoch, revision) = text.split_once('-').ok_or(NoPosition)?;
        let plain = |digits: &str| !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_alphanumeric());
        if !plain(epoch) || !plain(revision) || epoch.len() > 16 {
            return Err(NoPosition);
        }
        let epoch = Epoch(u64::from_str_radix(epoch, 16).map_err(|_| NoPosition)?);
        Ok(Position { epoch, revision: revision.parse().map_err(|_| NoPosition)? })
    }
}

/// A user's name as they gave it: UTF-8, 1 to [`USER_NAME_BYTES_MAX`](crate::base::limits::USER_NAME_BYTES_MAX) bytes
/// without control characters. Whoever makes one has checked that.
pub type UserName = Arc<str>;

/// Which entry of the configuration a channel belongs to: the engine finds its [`ChannelSpec`] there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ClassId(pub u16);

/// What the engine must know of a class of channels.
#[derive(Clone, PartialEq, Debug)]
pub struct ChannelSpec {
    /// What is kept of it.
    pub data: Data,
    /// How many publications are kept for those who resume.
    pub history_publications_max: usize,
    /// How many bytes of publications are kept for those who resume.
    pub history_bytes_max: usize,
    /// Whether answers and publications wait for [`Embedded::committed`](super::embedded::Embedded::committed).
    pub durable: bool,
    /// How long the channel is kept when no core is attached and nobody has a name there; `None` for ever (channels that have their own name in the configuration).
    pub idle: Option<Duration>,
    /// Instead of that, how long it is kept while it has messages that nobody heard; `None`: no longer than otherwise.
    pub unheard: Option<Duration>,
    /// How many different names its listeners may have at a time.
    pub users_max: usize,
}

/// A data type with its fixed part.
#[derive(Clone, PartialEq, Debug)]
pub enum Data {
    /// Ordered messages.
    Log,
    /// Options and counts.
    Tally {
        /// In the order in which they are shown; at least one; ids are unique.
        options: Arc<[TallyOption]>,
    },
    /// Rows in order and cells with revisions.
    Table(Arc<TableSpec>),
    /// Its code panics when told to: for tests.
    #[cfg(feature = "faults")]
    Fault,
}

/// What can be voted for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TallyOption {
    /// What a ballot names.
    pub id: CompactString,
    /// What people read, by language (`en`, `zh`, ..); the first is the default.
    pub labels: Vec<(CompactString, String)>,
}

/// Who asked, so that the outcome finds them; an asker who is gone is not found.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Asker {
    /// A connection.
    Connection(ConnKey),
    /// A session.
    Session(SessionKey),
    /// A mirror.
    Mirror(MirrorKey),
}

/// Who asked, on which core: among all askers of this process.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Origin {
    /// The core.
    pub core: CoreId,
    /// Who.
    pub asker: Asker,
}

/// As clients see it: opaque, the same for as long as the asker lives.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (letter, key) = match self.asker {
            Asker::Connection(key) => ('c', key.pack()),
            Asker::Session(key) => ('s', key.pack()),
            Asker::Mirror(key) => ('m', key.pack()),
        };
        write!(f, "{letter}{}.{key:x}", self.core.0)
    }
}

/// What an op carries and its [`Outcome`] brings back.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Ticket {
    /// Who asked.
    pub asker: Asker,
    /// Which of the asker's questions; a number that the asker no longer waits for is stale.
    pub number: u32,
}

/// What someone wants of a channel.
#[derive(Clone, PartialEq, Debug)]
pub struct Op {
    /// Which channel.
    pub channel: ChannelName,
    /// Its class; every core has the same configuration, so it is always the same for a name.
    pub class: ClassId,
    /// Whom to answer.
    pub ticket: Ticket,
    /// What.
    pub act: Act,
}

/// The acts.
#[derive(Clone, PartialEq, Debug)]
pub enum Act {
    /// Adds a message to a log.
    Append {
        /// The message.
        body: Body,
        /// Who says so, if they gave a name.
        from: Option<UserName>,
        /// Whether the asker gets it too, if it listens.
        echo: bool,
        /// Whether it is refused ([`Refusal::Absent`]) while nobody listens, on any core.
        only_if_heard: bool,
    },
    /// A change of a table.
    Table {
        /// Which.
        act: TableAct,
        /// Who does it, if they gave a name.
        by: Option<UserName>,
    },
    /// The asker edits this cell of a table from now on, or none any more. Ephemeral: no revision, no history; the latest
    /// counts, and it goes with the core. A core that loses the asker says `None` for it.
    Editing {
        /// Which, if any.
        cell: Option<CellName>,
        /// Who, if they gave a name.
        by: Option<UserName>,
    },
    /// So many of this core's connections and sessions listen under this name now, one more than before: the number itself
    /// and not a change of it. Answered by [`Answer::Joined`], behind which the user counts as present.
    Join {
        /// The name.
        user: UserName,
        /// How many, 1 at least.
        count: u32,
    },
    /// The same, and one fewer than before. Not answered.
    Leave {
        /// The name.
        user: UserName,
        /// How many.
        count: u32,
    },
    /// A ballot in a tally.
    Cast {
        /// An option's id.
        choice: CompactString,
    },
    /// How many listen on the asking core, now: the number itself and not a change of it. Not answered.
    Listeners {
        /// How many.
        count: u32,
    },
    /// From now on the core gets the channel's publications. Answered by [`Answer::Attached`].
    Attach {
        /// What the asker has already: if history still has all that came after it, only that is sent.
        since: Option<Position>,
    },
    /// From now on the core gets nothing of the channel, and its listeners count no more. Not answered.
    Detach,
    /// Makes the engine panic, if the class is [`Data::Fault`].
    #[cfg(feature = "faults")]
    Panic,
}

/// A message of a log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Body {
    /// UTF-8.
    Text(Arc<str>),
    /// Anything.
    Binary(Arc<[u8]>),
}

impl Body {
    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Body::Text(text) => text.as_bytes(),
            Body::Binary(bytes) => bytes,
        }
    }
}

/// The ops of one core that go to the engine together. Known by (core, number): numbers of a core rise by one from 1.
#[derive(Clone, PartialEq, Debug)]
pub struct Batch {
    /// Who sends it.
    pub core: CoreId,
    /// Which one.
    pub number: u64,
    /// In order.
    pub ops: Vec<Op>,
}

/// The engine's answer to one op.
#[derive(Clone, PartialEq, Debug)]
pub struct Outcome {
    /// From the op.
    pub ticket: Ticket,
    /// From the op.
    pub channel: ChannelName,
    /// What came of it.
    pub result: Result<Answer, Refusal>,
}

/// A yes.
#[derive(Clone, PartialEq, Debug)]
pub enum Answer {
    /// The change was made, and the channel stands at this position.
    Accepted(Position),
    /// The core is attached.
    Attached(Arc<Attached>),
    /// The user is present.
    Joined {
        /// Where the channel stands.
        at: Position,
        /// Up to this revision someone listened; what came behind it was kept for them. They have it from now on.
        heard: u64,
    },
}

/// All that a mirror needs to be live.
#[derive(Clone, PartialEq, Debug)]
pub struct Attached {
    /// Where the channel stands.
    pub at: Position,
    /// The present state, at that position.
    pub state: State,
    /// How many listen, on all cores together.
    pub listeners: u32,
    /// The publications that are kept, oldest first, without a gap, up to `at`. If `since` was given and could be
    /// followed, they begin not later than right behind it.
    pub recent: Vec<Arc<Publication>>,
    /// The names under which people listen, on all cores together, in the order of the names.
    pub users: Vec<UserName>,
    /// Who edits which cell.
    pub editing: Vec<Editing>,
}

/// The present state of a channel, beside its recent publications.
#[derive(Clone, PartialEq, Debug)]
pub enum State {
    /// A log has no other state.
    Log,
    /// Counts, in the order of the options.
    Tally {
        /// The options.
        options: Arc<[TallyOption]>,
        /// A count for each.
        counts: Vec<u64>,
    },
    /// Rows and cells.
    Table(Table),
}

/// An accepted change, or several in a row. Immutable, and shared between cores.
#[derive(Clone, PartialEq, Debug)]
pub struct Publication {
    /// The channel.
    pub channel: ChannelName,
    /// The channel's life.
    pub epoch: Epoch,
    /// The revision of the first change in it.
    pub first: u64,
    /// The revision of the last change in it; `last - first + 1` changes.
    pub last: u64,
    /// What changed.
    pub change: Change,
}

impl Publication {
    /// Where the channel stands after it.
    pub fn at(&self) -> Position {
        Position { epoch: self.epoch, revision: self.last }
    }
}

/// What changed.
#[derive(Clone, PartialEq, Debug)]
pub enum Change {
    /// One message (`first == last`).
    Message(Entry),
    /// Votes, one per revision.
    Tally {
        /// Each vote in order: which option (index), and that option's count after it.
        steps: Box<[Step]>,
        /// The counts after all of them, in the order of the options.
        counts: Box<[u64]>,
    },
    /// One change of a table (`first == last`).
    Table(TableChange),
}

/// A message, and where it came from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// What it says.
    pub body: Body,
    /// Who says so, if they gave a name.
    pub from: Option<UserName>,
    /// Who does not get it although it listens: its sender.
    pub skip: Option<Origin>,
}

impl From<Body> for Entry {
    /// From nobody, for everyone.
    fn from(body: Body) -> Entry {
        Entry { body, from: None, skip: None }
    }
}

/// One vote.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    /// Index into the options.
    pub option: u16,
    /// That option's count after this vote.
    pub count: u64,
}

/// From the engine to one core.
#[derive(Clone, PartialEq, Debug)]
pub enum EngineMail {
    /// For all cores that are attached.
    Publication(Arc<Publication>),
    /// How many listen to the channel, on all cores together. Ephemeral: no revision, no history, the latest counts.
    Listeners {
        /// The channel.
        channel: ChannelName,
        /// How many.
        count: u32,
    },
    /// Somebody came, went, or edits something else. Ephemeral; each exactly once while the core is attached, in the order
    /// in which it happened; names the channel's present state when the core attaches.
    Presence {
        /// The channel.
        channel: ChannelName,
        /// What happened.
        news: Presence,
    },
    /// For the asker.
    Outcome(Outcome),
    /// The channel's code failed: its state is gone, and so is the attachment. A later op begins a new epoch.
    Failed {
        /// The channel.
        channel: ChannelName,
    },
}

/// What happened among those who listen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Presence {
    /// The first connection or session under this name, over all cores.
    Joined(UserName),
    /// The last one is gone.
    Left(UserName),
    /// Someone edits another cell, or none any more.
    Editing(Editing),
}

impl Presence {
    /// Whether it is told at all: names are where there are `notices`.
    pub fn is_told(&self, notices: bool) -> bool {
        match self {
            Presence::Joined(_) | Presence::Left(_) => notices,
            Presence::Editing(_) => true,
        }
    }
}

/// Who edits which cell of a table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Editing {
    /// Which connection or session.
    pub who: Origin,
    /// Under which name, if it gave one.
    pub user: Option<UserName>,
    /// Which cell; `None`: none any more.
    pub cell: Option<CellName>,
}

/// A kind or the engine said no. The asker gets a reply, and the connection stays.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// No such option; `expected` are those that are.
    UnknownOption {
        /// The ids, separated by a comma and a space, cut at a bound.
        expected: String,
    },
    /// The message does not say what this kind needs.
    Malformed {
        /// What would have been right.
        expected: &'static str,
    },
    /// Nobody may send to this channel over this transport.
    ReadOnly,
    /// The act does not fit the channel's data type.
    WrongType,
    /// Nobody listens under the name that the message is for, and it is not kept for them.
    Absent,
    /// A text or value is too long.
    TooLong {
        /// Which bound, and what it is.
        bound: &'static str,
    },
    /// No such row.
    UnknownRow,
    /// No such column; `expected` are those that are.
    UnknownColumn {
        /// The ids, separated by a comma and a space, cut at a bound.
        expected: String,
    },
    /// There is a row of this id already.
    RowExists,
    /// The cell was written since the revision that the asker named. Nothing of the op was done.
    Stale(Box<Stale>),
    /// A bound is reached: too many channels.
    Full {
        /// Which bound, and what it is.
        bound: &'static str,
    },
    /// Too much is pending; the asker may try again.
    Busy,
    /// Whether it was done is not known; the asker may look, or try again.
    Unknown,
    /// The channel's code failed.
    Failed,
}

impl Refusal {
    /// The word for programs: stable, in snake case.
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::UnknownOption { .. } => "unknown_option",
            Refusal::Malformed { .. } => "malformed",
            Refusal::ReadOnly => "read_only",
            Refusal::WrongType => "wrong_type",
            Refusal::Absent => "absent",
            Refusal::TooLong { .. } => "too_long",
            Refusal::UnknownRow => "unknown_row",
            Refusal::UnknownColumn { .. } => "unknown_column",
            Refusal::RowExists => "row_exists",
            Refusal::Stale(_) => "stale",
            Refusal::Full { .. } => "full",
            Refusal::Busy => "busy",
            Refusal::Unknown => "unknown",
            Refusal::Failed => "failed",
        }
    }

    /// What would have been right, or what to do, for people.
    pub fn expected(&self) -> &str {
        match self {
            Refusal::UnknownOption { expected } => expected,
            Refusal::Malformed { expected } => expected,
            Refusal::ReadOnly => "publish by HTTP POST to /c/{channel}",
            Refusal::WrongType => "a message that fits the channel's kind",
            Refusal::Absent => "the name of someone who is there",
            Refusal::TooLong { bound } => bound,
            Refusal::UnknownRow => "the id, or the index, of a row that is there",
            Refusal::UnknownColumn { expected } => expected,
            Refusal::RowExists => "a row id that is not used yet, or none",
            Refusal::Stale(_) => "the cell's present revision as if_rev",
            Refusal::Full { bound } => bound,
            Refusal::Busy => "try again later",
            Refusal::Unknown => "look at the present state, then try again if need be",
            Refusal::Failed => "the channel failed and begins anew; try again",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_read_as_they_are_written() {
        let position = Position { epoch: Epoch(0xfeed_0000_0000_0001), revision: 42 };
        assert_eq!(position.to_string(), "feed000000000001-42");
        assert_eq!(position.to_string().parse(), Ok(position));
        for bad in
            ["", "-", "a-", "-1", "a1", "g-1", "a--1", "a-+1", "+a-1", "00000000000000001-1", "a-18446744073709551616"]
        {
            assert_eq!(bad.parse::<Position>(), Err(NoPosition), "{bad:?}");
        }
    }
}
