//! A kind says what a client's message means. It holds no state and cannot send: it answers with a [`Deed`].

mod echo;
mod feed;
mod vote;

use crate::engine::{Act, Refusal};

/// What a channel is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A message is a choice; listeners get the tally.
    Vote,
    /// Publishers send by HTTP; listeners get the messages.
    Feed,
    /// A message goes back to who sent it.
    Echo,
    /// Panics when told to.
    #[cfg(feature = "faults")]
    Fault,
}

/// How a message came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sender {
    /// From someone who listens (WebSocket).
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
}

/// What is to be done.
#[derive(Clone, PartialEq, Debug)]
pub enum Deed {
    /// Send the same message back to who sent it.
    Reply,
    /// Ask the engine.
    Op(Act),
}

impl Kind {
    /// What `message` from `who` means.
    ///
    /// # Errors
    /// The refusal, if it means nothing here; the connection stays.
    pub fn receive(&self, who: Sender, message: Message<'_>) -> Result<Deed, Refusal> {
        match self {
            Kind::Vote => vote::receive(message),
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
            Kind::Feed => "feed",
            Kind::Echo => "echo",
            #[cfg(feature = "faults")]
            Kind::Fault => "fault",
        }
    }
}

#[cfg(feature = "faults")]
mod fault {
    //! Panics where the message says: `kind` here, `engine` in the engine, `encode` when a publication is written.

    use super::{Act, Deed, Message};
    use crate::engine::Body;

    pub(super) fn receive(message: Message<'_>) -> Deed {
        match message {
            Message::Text("kind") => panic!("a fault in a kind, as asked"),
            Message::Text("engine") => Deed::Op(Act::Panic),
            Message::Text(text) => Deed::Op(Act::Append { body: Body::Text(text.into()) }),
            Message::Binary(bytes) => Deed::Op(Act::Append { body: Body::Binary(bytes.into()) }),
        }
    }
}
