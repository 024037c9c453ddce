//! What a shard holds of one connection.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};

use super::admission::Standing;
use super::engine_io::{Probe, Session, Waiting};
use super::outgoing::Outgoing;
use super::sessions::SessionName;
use crate::base::keys::{ListenerId, MirrorKey};
use crate::base::time::Time;
use crate::base::wheel::TimerKey;
use crate::conn::http::Http;
use crate::conn::sse::EventStream;
use crate::conn::ws::WebSocket;
use crate::engine::{Position, UserName};
use crate::kind::Kind;
use crate::mirror::encoding::Encoding;
use crate::mirror::sendlog::Place;
use crate::route::page::{Language, PageId};
use crate::route::{DialectId, Target};

#[derive(Debug)]
pub(super) struct Conn {
    pub(super) listener: ListenerId,
    pub(super) protocol: Protocol,
    /// What waits for this connection alone; none at rest.
    pub(super) outgoing: Option<Box<Outgoing>>,
    pub(super) subscriptions: Subscriptions,
    /// What it waits for: the request in hand, or the snapshot of a stream that begins.
    pub(super) pending: Option<Box<Pending>>,
    /// Received and not parsed yet: parsing waits for room. At most one read's worth.
    pub(super) held: Held,
    /// When something came last.
    pub(super) heard: Time,
    /// If it is stuck, since when it took nothing.
    pub(super) stuck_since: Time,
    pub(super) alarm: Option<(Time, Alarm)>,
    /// Fires when the alarm is due, or before.
    pub(super) timer: Option<TimerKey>,
    pub(super) stage: Stage,
    pub(super) standing: Standing,
    /// A send was cut short or is in flight: the driver will tell.
    pub(super) stuck: bool,
    /// It stands in the queue of those to be served.
    pub(super) ready: bool,
    /// It has no socket: requests carry its bytes. Always stuck, and unknown to the driver.
    pub(super) carried: bool,
    /// It is carried, and its client polls no more, because a WebSocket is about to take it over: what waits for it cannot
    /// get less before what it has posted is read.
    pub(super) moves: bool,
    /// The driver was told not to read.
    pub(super) paused: bool,
    /// The peer sends no more.
    pub(super) peer_finished: bool,
    /// A close that was decided while its bytes were being read.
    pub(super) closing: Option<Box<(u16, &'static str)>>,
}

/// Every byte of it is there once per idle connection.
const _: () = assert!(size_of::<Conn>() <= 136 && size_of::<Ws>() <= 80);

#[derive(Debug)]
pub(super) enum Protocol {
    Http(Box<Http>),
    WebSocket(Box<Ws>),
    EventStream(EventStream),
    /// A session of Engine.IO, over WebSocket or carried by requests.
    EngineIo(Box<Session>),
    /// A WebSocket that may take such a session over.
    Probe(Box<Probe>),
    /// Out of the table while its bytes are read.
    Away,
}

/// A WebSocket connection and the channel it talks to.
#[derive(Debug)]
pub(super) struct Ws {
    pub(super) socket: WebSocket,
    pub(super) target: Target,
    pub(super) kind: Kind,
    pub(super) dialect: DialectId,
    /// Under which name it listens and speaks.
    pub(super) user: Option<Box<UserName>>,
    /// Questions that the engine has not answered yet, in order.
    pub(super) asked: Questions,
}

/// Questions in the order of their asking. Their memory is given back when the connection falls idle, not when they are
/// answered: who asks all the time would have it made anew all the time.
#[expect(clippy::box_collection, reason = "hardly ever there, and every connection has room for it")]
#[derive(Debug, Default)]
pub(super) struct Questions(Option<Box<VecDeque<Asked>>>);

impl Questions {
    pub(super) fn push(&mut self, asked: Asked) {
        self.0.get_or_insert_default().push_back(asked);
    }

    /// Takes the question with this number out.
    pub(super) fn take(&mut self, number: u32) -> Option<Asked> {
        let questions = self.0.as_mut()?;
        let index = questions.iter().position(|asked| asked.number == number)?;
        questions.remove(index)
    }

    pub(super) fn clear(&mut self) {
        self.0 = None;
    }

    /// Gives memory back that nothing lies in.
    pub(super) fn rest(&mut self) {
        self.0.take_if(|questions| questions.is_empty());
    }
}

/// Bytes that are hardly ever there.
#[expect(clippy::box_collection, reason = "hardly ever there, and every connection has room for it")]
#[derive(Debug, Default)]
pub(super) struct Held(Option<Box<Vec<u8>>>);

impl Held {
    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |bytes| bytes.len())
    }

    /// Adds behind what there is.
    pub(super) fn append(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.0.get_or_insert_default().extend_from_slice(bytes);
        }
    }

    /// Adds before what there is.
    pub(super) fn prepend(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.0.get_or_insert_default().splice(0..0, bytes.iter().copied());
        }
    }

    pub(super) fn take(&mut self) -> Vec<u8> {
        self.0.take().map_or_else(Vec::new, |bytes| *bytes)
    }
}

/// What a connection listens to: mostly one channel, which lies in place.
#[derive(Debug, Default)]
pub(super) enum Subscriptions {
    #[default]
    None,
    One(Subscription),
    #[expect(clippy::box_collection, reason = "it must not make room for one larger")]
    Many(Box<Vec<Subscription>>),
}

impl Subscriptions {
    pub(super) fn push(&mut self, subscription: Subscription) {
        *self = match std::mem::take(self) {
            Subscriptions::None => Subscriptions::One(subscription),
            Subscriptions::One(first) => Subscriptions::Many(Box::new(vec![first, subscription])),
            Subscriptions::Many(mut all) => {
                all.push(subscription);
                Subscriptions::Many(all)
            }
        }
    }

    /// Takes one out; the order of the others stays.
    pub(super) fn remove(&mut self, index: usize) -> Option<Subscription> {
        match self {
            Subscriptions::Many(all) if index < all.len() => Some(all.remove(index)),
            Subscriptions::One(_) if index == 0 => match std::mem::take(self) {
                Subscriptions::One(subscription) => Some(subscription),
                Subscriptions::None | Subscriptions::Many(_) => None,
            },
            Subscriptions::None | Subscriptions::One(_) | Subscriptions::Many(_) => None,
        }
    }
}

impl Deref for Subscriptions {
    type Target = [Subscription];

    fn deref(&self) -> &[Subscription] {
        match self {
            Subscriptions::None => &[],
            Subscriptions::One(subscription) => std::slice::from_ref(subscription),
            Subscriptions::Many(all) => all,
        }
    }
}

impl DerefMut for Subscriptions {
    fn deref_mut(&mut self) -> &mut [Subscription] {
        match self {
            Subscriptions::None => &mut [],
            Subscriptions::One(subscription) => std::slice::from_mut(subscription),
            Subscriptions::Many(all) => all,
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) number: u32,
    /// The client's own number for it.
    pub(super) id: Option<u64>,
}

#[derive(Clone, Debug)]
pub(super) struct Subscription {
    pub(super) mirror: MirrorKey,
    /// Index of the mirror's log.
    pub(super) log: u8,
    pub(super) place: Place,
    /// Stretches of the log that it does not get, in order: messages of its own. Invariant: the cursor stands before the
    /// first of them, and while there are any it lies among the laggards, so that no round delivers them.
    #[expect(clippy::box_collection, reason = "hardly ever there, and every subscription has room for it")]
    pub(super) skips: Option<Box<VecDeque<Skip>>>,
}

/// A stretch of a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Skip {
    pub(super) start: u64,
    pub(super) end: u64,
}

/// How far a connection is with ending. What is received after `Open` is ignored.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Stage {
    Open,
    /// Our FIN follows when all that waits is sent.
    Ending,
    /// Our FIN is out; the peer's is awaited.
    Finished,
    /// To be closed in this turn's flush; the slot is free after it.
    Gone,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Alarm {
    /// A request's head takes too long, or none comes on a new connection.
    Head,
    /// A request's body takes too long.
    Body,
    /// No further request.
    KeepAlive,
    /// A parked poll's wait is over.
    PollOver,
    /// Time to ask whether the peer is there.
    PingDue,
    /// The answer to that is overdue.
    PongDue,
    /// The peer takes too long over its half of the close.
    CloseDue,
    /// A deadline of a session of Engine.IO.
    EngineIo,
}

/// How a request is to be answered, whatever the answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Answering {
    pub(super) head_only: bool,
    pub(super) keep_alive: bool,
    pub(super) minor_version: u8,
    /// The `Origin`, if it is allowed.
    pub(super) origin: Option<Box<str>>,
    /// Its page may send what it has of this host along, as Socket.IO's older clients do.
    pub(super) credentials: bool,
}

impl Answering {
    /// An answer that is the last, if there is one.
    pub(super) const fn closing() -> Answering {
        Answering { head_only: false, keep_alive: false, minor_version: 1, origin: None, credentials: false }
    }
}

/// What a connection waits for.
#[derive(Debug)]
pub(super) enum Pending {
    /// The engine's answer to a POST.
    Op { number: u32, how: Answering, reply: Reply },
    /// A mirror that is live, behind the inbox.
    Read { mirror: MirrorKey, how: Answering, read: Read },
    /// The next publication, or the end of the wait.
    Parked { mirror: MirrorKey, how: Answering, since: Position },
    /// A session of Engine.IO, wherever it lives.
    EngineIo(Box<Waiting>),
    /// The session's next change, wherever the session lives.
    Session { name: SessionName, number: u32, how: Answering, poll: SessionPoll, cookie: bool },
}

/// Which form the answer to a POST has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Reply {
    /// Our own JSON.
    Json,
    /// A text that says yes.
    Text { accepted: Box<str> },
}

/// What is read of a mirror.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Read {
    /// The present state, unless the client has it.
    State { known: Option<Box<str>> },
    /// What came after `since`; parked until then if nothing has.
    Poll { since: Option<Position>, until: Time },
    /// A page, and the cookie of a new session for who has none.
    Page { page: PageId, language: Language, session: Option<PageSession> },
    /// A stream begins: the response's head, snapshot or replay, then its log. Who has the head misses nothing from then
    /// on, in a dialect without snapshots too.
    Join { encoding: Encoding, begins: Begins, head: Box<[u8]>, joining: Joining },
    /// Who listens, and how many.
    Members,
}

/// Where a stream begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Begins {
    /// At the present.
    Now,
    /// The client has all up to here: what came behind it, if that can be followed, and the word that it is so.
    Since(Position),
    /// It is the client's stream already, and goes on here without a word.
    Continued(Position),
}

/// Whether the engine knows the name of who begins a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Joining {
    /// It has none.
    Nameless,
    /// It is being told so, with this number.
    Asked(u32),
    /// It knows. What came behind this revision was kept for who has this name.
    Joined { heard: u64 },
}

/// The session that goes with a page.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct PageSession {
    /// How its changes will be written.
    pub(super) dialect: DialectId,
    /// The one that the client has.
    pub(super) name: Option<SessionName>,
}

/// A poll of a session, as it may travel to another core.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct SessionPoll {
    pub(super) target: Target,
    pub(super) dialect: DialectId,
    pub(super) until: Time,
}

impl Conn {
    pub(super) fn new(listener: ListenerId, now: Time) -> Conn {
        Conn {
            listener,
            protocol: Protocol::Http(Box::default()),
            outgoing: None,
            subscriptions: Subscriptions::None,
            pending: None,
            held: Held::default(),
            heard: now,
            stuck_since: now,
            alarm: None,
            timer: None,
            stage: Stage::Open,
            standing: Standing::Handshake,
            stuck: false,
            ready: false,
            carried: false,
            moves: false,
            paused: false,
            peer_finished: false,
            closing: None,
        }
    }

    /// A connection without a socket.
    pub(super) fn carried(listener: ListenerId, now: Time) -> Conn {
        Conn { carried: true, stuck: true, standing: Standing::Admitted, ..Conn::new(listener, now) }
    }

    pub(super) fn outgoing(&mut self) -> &mut Outgoing {
        self.outgoing.get_or_insert_default()
    }

    pub(super) fn private_bytes(&self) -> usize {
        self.outgoing.as_ref().map_or(0, |outgoing| outgoing.bytes())
    }

    pub(super) fn private_messages(&self) -> usize {
        self.outgoing.as_ref().map_or(0, |outgoing| outgoing.messages())
    }
}
