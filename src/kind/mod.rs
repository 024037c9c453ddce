//! A kind says what a client's message means. It holds no state and cannot send: it answers with a [`Deed`].

mod direct;
mod echo;
mod feed;
mod group;
mod table;
mod vote;

use crate::base::limits::{Limits, USER_NAME_BYTES_MAX};
use crate::engine::{Act, Body, CellName, Refusal, TableAct, UserName};

/// What a channel is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A message is a choice; listeners get the tally.
    Vote,
    /// A message is a text; everyone gets it, but for its sender.
    Group,
    /// A message names a user, and that user gets it. The channel's pattern ends with the user's name: `dm/*`.
    Direct,
    /// A message changes cells or rows; listeners get the change.
    Table,
    /// Publishers send by HTTP; listeners get the messages.
    Feed,
    /// A message goes back to who sent it.
    Echo,
    /// Panics when told to.
    #[cfg(feature = "faults")]
    Fault,
}

/// How a class of channels treats those who talk and listen there.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Manners {
    /// `group`: the sender gets its own messages too, if it listens.
    pub echo_sender: bool,
    /// `direct`: messages to who is not there are kept for them, as long as history keeps them.
    pub keep_for_absent: bool,
    /// Who listens is told of every name that comes or goes.
    pub notices: bool,
    /// `group`: how many of the last messages a late joiner gets in a dialect that has no snapshots.
    pub recent: usize,
}

/// Who sends a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sender<'a> {
    /// How it came.
    pub by: By,
    /// Under which name, if any.
    pub user: Option<&'a UserName>,
}

/// How a message came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum By {
    /// From someone who listens (WebSocket, Socket.IO).
    Listener,
    /// By HTTP POST.
    Publisher,
}

/// A client's message, as its dialect read it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Message<'a> {
    /// UTF-8.
    Text(&'a str),
    /// Anything.
    Binary(&'a [u8]),
    /// A text to one user.
    To {
        /// Whom.
        user: &'a str,
        /// What they get.
        text: &'a str,
    },
    /// A change of a table.
    Table(&'a TableAct),
    /// The sender edits this cell now, or none any more.
    Editing(Option<&'a CellName>),
}

/// What is to be done.
#[derive(Clone, PartialEq, Debug)]
pub enum Deed {
    /// Send the same message back to who sent it.
    Reply,
    /// Ask the engine, of this channel.
    Op(Act),
    /// Ask the engine, of the channel of this user: the class's prefix and the name.
    OpOf(UserName, Act),
}

impl Kind {
    /// What `message` from `who` means.
    ///
    /// # Errors
    /// The refusal, if it means nothing here; the connection stays.
    pub fn receive(
        &self,
        manners: &Manners,
        limits: &Limits,
        who: Sender<'_>,
        message: Message<'_>,
    ) -> Result<Deed, Refusal> {
        match self {
            Kind::Vote => vote::receive(message),
            Kind::Group => group::receive(manners, limits, who, message),
            Kind::Direct => direct::receive(manners, limits, who, message),
            Kind::Table => table::receive(limits, who, message),
            Kind::Feed => feed::receive(who, message),
            Kind::Echo => Ok(echo::receive()),
            #[cfg(feature = "faults")]
            Kind::Fault => Ok(fault::receive(message)),
        }
    }

    /// The name in a configuration.
    pub fn name(&self) -> &'static str {
        match self {
            Kind::Vote => "vote",
            Kind::Group => "group",
            Kind::Direct => "direct",
            Kind::Table => "table",
            Kind::Feed => "feed",
            Kind::Echo => "echo",
            #[cfg(feature = "faults")]
            Kind::Fault => "fault",
        }
    }
}

/// What a user's name must be.
pub const USER_NAME: &str = "a name of 1 to 64 bytes without control characters";

/// The name, if it may be one.
///
/// # Errors
/// A refusal that says what it must be.
pub fn user_name(text: &str) -> Result<UserName, Refusal> {
    if text.is_empty() || text.len() > USER_NAME_BYTES_MAX || text.contains(char::is_control) {
        return Err(Refusal::Malformed { expected: USER_NAME });
    }
    Ok(text.into())
}

/// A text or bytes that are not too long for people to read.
fn body(limits: &Limits, message: Message<'_>, expected: &'static str) -> Result<Body, Refusal> {
    let body = match message {
        Message::Text(text) => Body::Text(text.into()),
        Message::Binary(bytes) => Body::Binary(bytes.into()),
        Message::To { .. } | Message::Table(_) | Message::Editing(_) => return Err(Refusal::Malformed { expected }),
    };
    if body.bytes().len() > limits.text_bytes_max {
        return Err(Refusal::TooLong { bound: "at most limits.text_bytes_max bytes" });
    }
    Ok(body)
}

#[cfg(feature = "faults")]
mod fault {
    //! Panics where the message says: `kind` here, `engine` in the engine, `encode` when a publication is written.

    use super::{Act, Deed, Message};
    use crate::engine::Body;

    pub(super) fn receive(message: Message<'_>) -> Deed {
        let append = |body| Deed::Op(Act::Append { body, from: None, echo: true, only_if_heard: false });
        match message {
            Message::Text("kind") => panic!("a fault in a kind, as asked"),
            Message::Text("engine") => Deed::Op(Act::Panic),
            Message::Text(text) => append(Body::Text(text.into())),
            Message::Binary(bytes) => append(Body::Binary(bytes.into())),
            Message::To { .. } | Message::Table(_) | Message::Editing(_) => Deed::Reply,
        }
    }
}
