//! Dialects: how a body is read into a message, and how a publication, a snapshot, an outcome or a refusal is written.
//!
//! Everything here writes JSON or text; framing it for a transport is [`encoding`](crate::mirror::encoding)'s.

use std::borrow::Cow;

use crate::engine::history::History;
use crate::engine::{
    Body, CellName, Change, Editing, Position, Presence, Publication, Refusal, State, TableAct, UserName,
};
use crate::kind::{Kind, Message};
use crate::wire::socketio;

pub mod bare;
pub mod own;
mod post;
mod read;
#[cfg(test)]
mod tests;

pub use post::{Posted, read_post};

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
    /// Votes in sum: a message is the bare id, and what comes is our own `tally`, the present one too. No answer to a vote
    /// but a refusal.
    Tally,
    /// Messages as they are.
    Plain {
        /// The text that says that there was a gap, if there is one that can.
        gap: Option<String>,
    },
    /// `direct`: a JSON object that names the user whom it is for in this field, and that they get as it is. Cannot say
    /// that there was a gap.
    Addressed {
        /// The field, `to_user`.
        to: String,
    },
    /// `table`: one cell at a time, `{"index": 0, "value": "..", "forms": "COLUMN"}`; rows are named by where they stand.
    /// The present state is every cell; behind a gap it is told again.
    Cells,
    /// Socket.IO: what another dialect writes is the one argument of an event, and what it reads is that of another. A
    /// JSON dialect's text is the argument itself, a plain text is a string, bytes are an attachment.
    Event {
        /// The namespace.
        namespace: String,
        /// The event's name.
        event: String,
        /// The other dialect; never an `Event`.
        of: Box<Dialect>,
    },
}

/// A message as it came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Raw<'a> {
    /// UTF-8.
    Text(&'a str),
    /// Anything.
    Binary(&'a [u8]),
}

/// A message as a dialect read it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Incoming<'a> {
    /// What it says.
    pub content: Content<'a>,
    /// The number under which the client wants its answer.
    pub id: Option<u64>,
}

/// What a message says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Content<'a> {
    /// UTF-8.
    Text(Cow<'a, str>),
    /// Anything.
    Binary(&'a [u8]),
    /// A text to one user.
    To {
        /// Whom.
        user: Cow<'a, str>,
        /// What they get.
        text: Cow<'a, str>,
    },
    /// A change of a table.
    Table(TableAct),
    /// The sender edits this cell now, or none any more.
    Editing(Option<CellName>),
}

impl Content<'_> {
    /// As a kind takes it.
    pub fn message(&self) -> Message<'_> {
        match self {
            Content::Text(text) => Message::Text(text),
            Content::Binary(bytes) => Message::Binary(bytes),
            Content::To { user, text } => Message::To { user, text },
            Content::Table(act) => Message::Table(act),
            Content::Editing(cell) => Message::Editing(cell.as_ref()),
        }
    }
}

/// What a channel is, for a snapshot.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot<'a> {
    /// Its name.
    pub channel: &'a str,
    /// Its kind.
    pub kind: Kind,
    /// Its state.
    pub state: &'a State,
    /// Where it stands, and its recent publications.
    pub history: &'a History,
}

/// One message, written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Written<'a> {
    /// What it says.
    pub body: Raw<'a>,
    /// Socket.IO: what its placeholders stand for.
    pub attachments: &'a [&'a [u8]],
    /// Where the channel stands with it, if the dialect says so.
    pub at: Option<Position>,
}

/// Who takes what is written, message by message.
pub type Each<'e> = &'e mut dyn FnMut(Written<'_>);

impl Dialect {
    /// Reads a message from someone who listens, for a channel of `kind`.
    ///
    /// # Errors
    /// A refusal that says what was expected, and the client's number if that much could be read.
    pub fn read<'a>(&self, kind: Kind, message: Raw<'a>) -> Result<Incoming<'a>, (Refusal, Option<u64>)> {
        match (self, message) {
            (Dialect::Tallycast, message) => read::own(kind, message),
            (Dialect::Addressed { to }, Raw::Text(text)) => read::addressed(to, text),
            (Dialect::Cells, Raw::Text(json)) => read::cell(json),
            (Dialect::Event { of, .. }, message) => of.read(kind, message),
            (_, Raw::Text(text)) => Ok(Incoming { content: Content::Text(text.into()), id: None }),
            (_, Raw::Binary(bytes)) => Ok(Incoming { content: Content::Binary(bytes), id: None }),
        }
    }

    /// Whether what it writes are JSON texts.
    fn is_json(&self) -> bool {
        match self {
            Dialect::Tallycast | Dialect::Steps { .. } | Dialect::Tally | Dialect::Cells => true,
            Dialect::Plain { .. } | Dialect::Addressed { .. } => false,
            Dialect::Event { of, .. } => of.is_json(),
        }
    }

    /// Whether it can say that what follows continues at a position, and whether there was a gap.
    pub fn knows_positions(&self) -> bool {
        match self {
            Dialect::Tallycast => true,
            Dialect::Event { of, .. } => of.knows_positions(),
            Dialect::Steps { .. }
            | Dialect::Tally
            | Dialect::Plain { .. }
            | Dialect::Addressed { .. }
            | Dialect::Cells => false,
        }
    }

    /// Whether each single step is told: then nothing can stand for several.
    pub fn wants_steps(&self) -> bool {
        match self {
            Dialect::Steps { .. } => true,
            Dialect::Event { of, .. } => of.wants_steps(),
            Dialect::Tallycast
            | Dialect::Tally
            | Dialect::Plain { .. }
            | Dialect::Addressed { .. }
            | Dialect::Cells => false,
        }
    }

    /// Writes a publication, message by message. `state`: of the channel, at the publication or later. `scratch`: for
    /// texts.
    pub fn publication(&self, state: &State, publication: &Publication, scratch: &mut Vec<u8>, each: Each<'_>) {
        match (self, &publication.change) {
            (Dialect::Tallycast, _) | (Dialect::Tally, Change::Tally { .. }) => {
                let at = Some(publication.at());
                text(scratch, at, each, |out| own::publication(out, state, publication));
            }
            (Dialect::Steps { key }, Change::Tally { steps, .. }) => {
                let State::Tally { options, .. } = state else { unreachable!("a channel has one data type") };
                for step in steps {
                    let option = &options[usize::from(step.option)];
                    text(scratch, None, each, |out| bare::step(out, key, option, step.count));
                }
            }
            (Dialect::Plain { .. } | Dialect::Addressed { .. }, Change::Message(entry)) => {
                each(Written { body: raw(&entry.body), attachments: &[], at: None });
            }
            (Dialect::Cells, Change::Table(change)) => bare::change(state, change, scratch, each),
            (Dialect::Event { of, .. }, _) => {
                self.wrap(each, |each| of.publication(state, publication, scratch, each));
            }
            // The configuration lets none of these arise.
            (
                Dialect::Steps { .. }
                | Dialect::Tally
                | Dialect::Plain { .. }
                | Dialect::Addressed { .. }
                | Dialect::Cells,
                Change::Message(_) | Change::Tally { .. } | Change::Table(_),
            ) => {}
        }
    }

    /// Writes the present state, if the dialect can say it.
    pub fn snapshot(&self, snapshot: &Snapshot<'_>, scratch: &mut Vec<u8>, each: Each<'_>) {
        match self {
            Dialect::Tallycast => {
                text(scratch, Some(snapshot.history.at()), each, |out| own::snapshot(out, snapshot));
            }
            Dialect::Tally => {
                let at = snapshot.history.at();
                text(scratch, Some(at), each, |out| own::counts(out, snapshot.state, at));
            }
            Dialect::Cells => bare::cells(snapshot.state, scratch, each),
            Dialect::Event { of, .. } => self.wrap(each, |each| of.snapshot(snapshot, scratch, each)),
            Dialect::Steps { .. } | Dialect::Plain { .. } | Dialect::Addressed { .. } => {}
        }
    }

    /// Writes, where rows are named by where they stand, that of `before` rows none stands behind the last any more.
    pub fn emptied(&self, state: &State, before: usize, scratch: &mut Vec<u8>, each: Each<'_>) {
        match self {
            Dialect::Cells => bare::emptied(state, before, scratch, each),
            Dialect::Event { of, .. } => self.wrap(each, |each| of.emptied(state, before, scratch, each)),
            Dialect::Tallycast
            | Dialect::Steps { .. }
            | Dialect::Tally
            | Dialect::Plain { .. }
            | Dialect::Addressed { .. } => {}
        }
    }

    /// Writes that something is missing and what follows continues at `at`, if the dialect can say it.
    pub fn gap(&self, channel: &str, kind: Kind, at: Position, scratch: &mut Vec<u8>, each: Each<'_>) {
        match self {
            Dialect::Tallycast => text(scratch, Some(at), each, |out| own::gap(out, channel, kind, at)),
            Dialect::Plain { gap: Some(gap) } => each(Written { body: Raw::Text(gap), attachments: &[], at: None }),
            Dialect::Event { of, .. } => self.wrap(each, |each| of.gap(channel, kind, at, scratch, each)),
            Dialect::Plain { gap: None }
            | Dialect::Steps { .. }
            | Dialect::Tally
            | Dialect::Addressed { .. }
            | Dialect::Cells => {}
        }
    }

    /// Whether it can say that something is missing, beside the present state.
    pub fn has_gaps(&self) -> bool {
        match self {
            Dialect::Tallycast | Dialect::Plain { gap: Some(_) } => true,
            Dialect::Event { of, .. } => of.has_gaps(),
            Dialect::Plain { gap: None }
            | Dialect::Steps { .. }
            | Dialect::Tally
            | Dialect::Addressed { .. }
            | Dialect::Cells => false,
        }
    }

    /// Whether it can say the present state, and so that there was a gap.
    pub fn has_snapshots(&self) -> bool {
        match self {
            Dialect::Tallycast | Dialect::Tally | Dialect::Cells => true,
            Dialect::Event { of, .. } => of.has_snapshots(),
            Dialect::Steps { .. } | Dialect::Plain { .. } | Dialect::Addressed { .. } => false,
        }
    }

    /// Writes that what follows continues at `at`, if the dialect can say it.
    pub fn resumed(&self, channel: &str, kind: Kind, at: Position, scratch: &mut Vec<u8>, each: Each<'_>) {
        self.own_text(Some(at), scratch, each, |out| own::resumed(out, channel, kind, at));
    }

    /// Writes how many listen, if the dialect can say it.
    pub fn listeners(&self, count: u32, scratch: &mut Vec<u8>, each: Each<'_>) {
        self.own_text(None, scratch, each, |out| own::listeners(out, count));
    }

    /// Writes under which names people listen, if the dialect can say it.
    pub fn members<'u>(&self, users: impl Iterator<Item = &'u UserName>, scratch: &mut Vec<u8>, each: Each<'_>) {
        self.own_text(None, scratch, each, |out| own::members(out, None, users));
    }

    /// Writes that somebody came, went or edits something, if the dialect can say it.
    pub fn presence(&self, news: &Presence, scratch: &mut Vec<u8>, each: Each<'_>) {
        self.own_text(None, scratch, each, |out| match news {
            Presence::Joined(user) => own::joined(out, user),
            Presence::Left(user) => own::left(out, user),
            Presence::Editing(editing) => own::editing(out, editing),
        });
    }

    /// Writes who edits what, if the dialect can say it.
    pub fn editing(&self, editing: &Editing, scratch: &mut Vec<u8>, each: Each<'_>) {
        self.own_text(None, scratch, each, |out| own::editing(out, editing));
    }

    /// What only our own dialect can say, be it the argument of an event.
    fn own_text(&self, at: Option<Position>, scratch: &mut Vec<u8>, each: Each<'_>, write: impl FnOnce(&mut Vec<u8>)) {
        match self {
            Dialect::Tallycast => text(scratch, at, each, write),
            Dialect::Event { of, .. } if **of == Dialect::Tallycast => {
                self.wrap(each, |each| text(scratch, at, each, write));
            }
            Dialect::Event { .. }
            | Dialect::Steps { .. }
            | Dialect::Tally
            | Dialect::Plain { .. }
            | Dialect::Addressed { .. }
            | Dialect::Cells => {}
        }
    }

    /// Makes each message that `write` writes the argument of this dialect's event.
    fn wrap(&self, each: Each<'_>, write: impl FnOnce(Each<'_>)) {
        let Dialect::Event { namespace, event, .. } = self else { return };
        let json = self.is_json();
        let mut packet = Vec::new();
        write(&mut |written: Written<'_>| {
            packet.clear();
            let one;
            let attachments: &[&[u8]] = match written.body {
                Raw::Binary(bytes) => {
                    one = [bytes];
                    &one
                }
                Raw::Text(_) => &[],
            };
            socketio::begin_event(&mut packet, namespace, event, attachments.len());
            packet.push(b',');
            match written.body {
                Raw::Text(text) if json => put(&mut packet, text),
                Raw::Text(text) => string(&mut packet, text),
                Raw::Binary(_) => socketio::write_placeholder(&mut packet, 0),
            }
            packet.push(b']');
            // What is written here is text throughout.
            let body = Raw::Text(std::str::from_utf8(&packet).unwrap_or_default());
            each(Written { body, attachments, at: written.at });
        });
    }
}

fn raw(body: &Body) -> Raw<'_> {
    match body {
        Body::Text(text) => Raw::Text(text),
        Body::Binary(bytes) => Raw::Binary(bytes),
    }
}

fn text(scratch: &mut Vec<u8>, at: Option<Position>, each: Each<'_>, write: impl FnOnce(&mut Vec<u8>)) {
    scratch.clear();
    write(scratch);
    // Dialects write text.
    let body = Raw::Text(std::str::from_utf8(scratch).unwrap_or_default());
    each(Written { body, attachments: &[], at });
}

fn put(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

fn number(out: &mut Vec<u8>, number: u64) {
    put(out, itoa::Buffer::new().format(number));
}

fn position(out: &mut Vec<u8>, position: Position) {
    use std::io::Write;
    write!(out, "{position}").expect("a Vec takes everything");
}

fn string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a Vec takes everything");
}
