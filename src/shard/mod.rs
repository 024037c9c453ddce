//! One core's whole state, as a value without I/O, clock, randomness or threads: connections, sessions, mirrors, timers.
//! Bytes, mail and time go in; bytes and mail come out.
//!
//! A turn of the loop: the driver brings bytes (the [`Sink`]), the inbox is drained into [`Shard::mail`],
//! [`Shard::advance`] runs timers and answers reads (so behind all mail that came before), [`Shard::flush`] sends, and
//! [`Shard::take_mail`] hands out what is for the engine and for other cores.

mod admission;
mod closing;
mod connection;
mod delivery;
mod engine_io;
mod gathering;
mod memory;
mod mirrors;
mod names;
mod outgoing;
mod pace;
mod posts;
mod reads;
mod requests;
mod responses;
mod sessions;
mod slow;
mod streams;
mod timers;
mod websocket;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::base::hash::{Map, Seed};
use crate::base::io::{Ended, Sink};
use crate::base::keys::{ConnKey, CoreId, ListenerId, MirrorKey, OfConnection, OfMirror, SessionKey, Slots};
use crate::base::limits::{Limits, MOVING_ROOM_FACTOR, OPS_IN_FLIGHT_MAX, TURN_MESSAGES_MAX};
use crate::base::time::Time;
use crate::base::wheel::Wheel;
use crate::engine::{Act, Asker, Batch, ChannelName, EngineMail, Op, Position, Refusal, Ticket};
use crate::kind::{Deed, Message, Sender};
use crate::mirror::Mirror;
use crate::mirror::encoding::Encoder;
use crate::route::{SharedSetup, Target};
use crate::wire::http;
use crate::wire::ws::MessageLimits;

use admission::Admission;
use connection::{Conn, Pending, Protocol, Stage};
use delivery::Command;
pub use engine_io::Letter;
use memory::LogMemory;
use names::Names;
use sessions::Sessions;
pub use sessions::{ForwardedPoll, PollAnswer, SessionName};
use timers::Timer;

/// What a shard gets besides bytes and time.
#[derive(Debug)]
pub enum Mail {
    /// From the engine.
    Engine(EngineMail),
    /// From another core: a poll of a session that lives here.
    Poll(ForwardedPoll),
    /// From another core: who polled is gone.
    Withdraw {
        /// The session.
        name: SessionName,
        /// Who polled.
        from: CoreId,
        /// On which connection.
        conn: ConnKey,
        /// With which number.
        number: u32,
    },
    /// From another core: the client of a session that lives here was shown the state at this position.
    Renew {
        /// The session.
        name: SessionName,
        /// The position.
        at: Position,
    },
    /// From another core: about a session of Engine.IO.
    EngineIo(Letter),
    /// From another core: the channel's code failed there, and its listeners end everywhere.
    Failed {
        /// The channel.
        channel: ChannelName,
    },
    /// From another core: the answer to a poll that was forwarded from here.
    Answer {
        /// Whose.
        conn: ConnKey,
        /// To which of its polls.
        number: u32,
        /// What.
        answer: PollAnswer,
    },
}

/// What a shard sends besides bytes.
#[derive(Debug)]
pub enum Post {
    /// To the engine.
    Engine(Batch),
    /// To another core: all that it gets from this turn.
    Core(CoreId, Vec<Mail>),
}

/// How much a shard holds, in counts and bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[expect(missing_docs, reason = "each is what its name says")]
pub struct Census {
    pub connections: usize,
    pub turned_away: usize,
    pub handshakes: usize,
    pub sessions: usize,
    pub parked_polls: usize,
    pub subscribers: usize,
    pub mirrors: usize,
    pub send_log_bytes: usize,
    pub private_bytes: usize,
    pub timers: usize,
    pub names: usize,
}

/// See the module.
#[derive(Debug)]
pub struct Shard {
    setup: SharedSetup,
    core: CoreId,
    cores: u16,
    now: Time,
    /// What the wall clock said at [`Time::ZERO`].
    unix: Duration,
    random: StdRng,
    message_limits: MessageLimits,
    head_limits: http::HeadLimits,
    admission: Admission,

    conns: Slots<OfConnection, Conn>,
    mirrors: Slots<OfMirror, Mirror>,
    /// The mirrors by channel.
    channels: Map<ChannelName, MirrorKey>,
    sessions: Sessions,
    names: Names,
    timers: Wheel<Timer>,
    relay: engine_io::Relay,

    /// Reads to be answered when their mirror is live, behind the inbox.
    reads: Vec<(ConnKey, MirrorKey)>,
    /// Sessions with polls that may be answered now.
    due_sessions: Vec<SessionKey>,
    /// Answers to polls of this core's connections.
    poll_answers: Vec<(ConnKey, u32, PollAnswer)>,
    /// Mirrors whose number of listeners may have changed.
    recount: Vec<MirrorKey>,
    /// Connections with something of their own to send.
    ready: VecDeque<ConnKey>,
    /// Logs with something to send.
    rounds: VecDeque<(MirrorKey, u8)>,
    /// Logs whose readers of several logs are to be served, each once.
    gathering: Vec<(MirrorKey, u8)>,
    /// Logs that are to give back what everyone has got, each once.
    forgetting: Vec<(MirrorKey, u8)>,
    /// Messages and requests read in this turn.
    turn_messages: usize,
    /// Connections whose parsing waits for room, or for the next turn.
    waiting: Vec<ConnKey>,
    commands: Vec<Command>,

    ops: Vec<Op>,
    /// A batch for which the engine had no room.
    refused: Option<Batch>,
    batches: u64,
    ops_in_flight: usize,
    /// Over all mirrors.
    parked_polls: usize,
    log_memory: LogMemory,
    number: u32,
    /// By core: what goes to it.
    letters: Vec<Vec<Mail>>,

    encoder: Encoder,
    scratch: Vec<u8>,
    date: (u64, String),
    stopping: bool,
    accepting: bool,
}

impl Shard {
    /// An empty shard. `cores`: how many there are in all. `unix`: what the wall clock said at [`Time::ZERO`], since 1970.
    pub fn new(setup: SharedSetup, core: CoreId, cores: u16, seed: Seed, now: Time, unix: Duration) -> Shard {
        let limits = &setup.limits;
        let mut random_seed = [0; 32];
        random_seed[..8].copy_from_slice(&seed.0.to_le_bytes());
        random_seed[8..16].copy_from_slice(&seed.1.to_le_bytes());
        Shard {
            core,
            cores,
            now,
            unix,
            random: StdRng::from_seed(random_seed),
            message_limits: MessageLimits {
                message_bytes_max: limits.message_bytes_max,
                fragments_max: limits.fragments_max,
            },
            head_limits: http::HeadLimits::from(limits),
            admission: Admission::new(limits, cores),
            conns: Slots::default(),
            mirrors: Slots::default(),
            channels: Map::with_hasher(seed),
            sessions: Sessions::default(),
            names: Names::new(seed),
            timers: Wheel::new(now),
            relay: engine_io::Relay::default(),
            reads: Vec::new(),
            due_sessions: Vec::new(),
            poll_answers: Vec::new(),
            recount: Vec::new(),
            ready: VecDeque::new(),
            rounds: VecDeque::new(),
            gathering: Vec::new(),
            forgetting: Vec::new(),
            turn_messages: 0,
            waiting: Vec::new(),
            commands: Vec::new(),
            ops: Vec::new(),
            refused: None,
            batches: 0,
            ops_in_flight: 0,
            parked_polls: 0,
            log_memory: LogMemory::default(),
            number: 0,
            letters: (0..cores).map(|_| Vec::new()).collect(),
            encoder: Encoder::default(),
            scratch: Vec::new(),
            date: (u64::MAX, String::new()),
            stopping: false,
            accepting: true,
            setup,
        }
    }

    /// Takes a piece of mail.
    pub fn mail(&mut self, mail: Mail) {
        match mail {
            Mail::Engine(EngineMail::Publication(publication)) => self.published(&publication),
            Mail::Engine(EngineMail::Listeners { channel, count }) => self.listeners_counted(&channel, count),
            Mail::Engine(EngineMail::Presence { channel, news }) => self.presence(&channel, &news),
            Mail::Engine(EngineMail::Outcome(outcome)) => self.outcome(outcome),
            Mail::Engine(EngineMail::Failed { channel }) | Mail::Failed { channel } => {
                if let Some(mirror) = self.channels.get(&channel).copied() {
                    self.fail_mirror(mirror, &Refusal::Failed);
                }
            }
            Mail::Poll(poll) => self.poll_forwarded(poll),
            Mail::Withdraw { name, from, conn, number } => self.withdraw(name, from, conn, number),
            Mail::Renew { name, at } => self.renew_session(name, at),
            Mail::Answer { conn, number, answer } => self.poll_answered(conn, number, answer),
            Mail::EngineIo(letter) => self.relay.receive(letter),
        }
    }

    /// The inbox had no room, and publications were dropped: every mirror attaches anew. To be called before the mail
    /// that did find room.
    pub fn inbox_overflowed(&mut self) {
        let mirrors: Vec<MirrorKey> = self.mirrors.iter().map(|(key, _)| key).collect();
        for mirror in mirrors {
            self.attach(mirror);
        }
    }

    /// Lets time pass, and answers reads.
    pub fn advance(&mut self, now: Time) {
        self.now = self.now.max(now);
        self.run_timers();
        self.answer_reads();
        self.answer_sessions();
        self.resume_waiting();
        self.run_engine_io();
    }

    /// When it wants its next turn at the latest. To be asked at the end of a turn: each part of it may set timers.
    pub fn deadline(&self) -> Option<Time> {
        let next = [self.timers.next(), self.sessions.next_expiry(self.setup.limits.session_idle)];
        next.into_iter().flatten().min()
    }

    /// Hands out what is for others. What `post` gives back had no room: it is kept, and reading pauses until it has gone.
    pub fn take_mail(&mut self, mut post: impl FnMut(Post) -> Result<(), Post>) {
        self.count_listeners();
        if let Some(batch) = self.refused.take()
            && let Err(Post::Engine(batch)) = post(Post::Engine(batch))
        {
            self.refused = Some(batch);
        }
        if self.refused.is_none() && !self.ops.is_empty() {
            self.batches += 1;
            let ops = std::mem::take(&mut self.ops);
            let batch = Batch { core: self.core, number: self.batches, ops };
            if let Err(Post::Engine(batch)) = post(Post::Engine(batch)) {
                self.refused = Some(batch);
            }
        }
        for (core, letters) in self.letters.iter_mut().enumerate().filter(|(_, letters)| !letters.is_empty()) {
            let letters_out = std::mem::take(letters);
            if let Err(Post::Core(_, back)) = post(Post::Core(CoreId(core as u16), letters_out)) {
                *letters = back;
            }
        }
    }

    /// Ends in order: no new connections, 1001 to WebSockets, parked polls answered, and what is left cut after a while.
    pub fn stop(&mut self) {
        if self.stopping {
            return;
        }
        self.stopping = true;
        self.timers.insert(self.now + self.setup.limits.stop_wait, Timer::Cut);
        let keys: Vec<ConnKey> = self.conns.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.stop_conn(key);
        }
    }

    /// Whether everything has ended since [`stop`](Shard::stop).
    pub fn is_stopped(&self) -> bool {
        self.stopping && self.conns.is_empty()
    }

    /// How much it holds.
    pub fn census(&self) -> Census {
        let parked = self.mirrors.iter().map(|(_, mirror)| mirror.parked.len()).sum::<usize>();
        debug_assert_eq!(parked, self.parked_polls);
        Census {
            connections: self.served_conns(),
            turned_away: self.admission.turned_away,
            handshakes: self.admission.handshakes,
            sessions: self.sessions.len() + self.relay.carried(),
            parked_polls: parked + self.sessions.parked() + self.relay.parked(),
            subscribers: self.mirrors.iter().map(|(_, mirror)| mirror.readers()).sum(),
            mirrors: self.mirrors.len(),
            send_log_bytes: self.mirrors.iter().map(|(_, mirror)| mirror.log_bytes()).sum(),
            private_bytes: self.conns.iter().map(|(_, conn)| conn.private_bytes() + conn.held.len()).sum(),
            timers: self.timers.len(),
            names: self.names.len(),
        }
    }

    fn limits(&self) -> &Limits {
        &self.setup.limits
    }

    /// Asks a kind what a message means. Its code may fail: then its listeners here are told, and nobody else notices.
    fn receive(&mut self, target: &Target, sender: Sender<'_>, message: Message<'_>) -> Result<Deed, Refusal> {
        let kind = self.setup.class(target.class).kind;
        let setup = self.setup.clone();
        let manners = &setup.class(target.class).manners;
        guarded(|| kind.receive(manners, &setup.limits, sender, message)).unwrap_or_else(|| {
            if let Some(mirror) = self.channels.get(&target.channel).copied() {
                self.fail_mirror(mirror, &Refusal::Failed);
            }
            for (core, letters) in self.letters.iter_mut().enumerate() {
                if core != usize::from(self.core.0) {
                    letters.push(Mail::Failed { channel: target.channel.clone() });
                }
            }
            Err(Refusal::Failed)
        })
    }

    /// Sends an op with a ticket that brings its outcome back to `asker`.
    fn ask(&mut self, target: &Target, asker: Asker, number: u32, act: Act) {
        let answered = !matches!(act, Act::Listeners { .. } | Act::Leave { .. } | Act::Detach);
        self.ops_in_flight += usize::from(answered);
        let ticket = Ticket { asker, number };
        self.ops.push(Op { channel: target.channel.clone(), class: target.class, ticket, act });
    }

    /// Whether the engine has as much of this core's as it may have.
    fn is_engine_full(&self) -> bool {
        self.ops_in_flight >= OPS_IN_FLIGHT_MAX
    }
}

impl Sink for Shard {
    fn woke(&mut self, now: Time) {
        self.now = self.now.max(now);
        self.turn_messages = 0;
        // Who waits comes before who has just sent more: each gets its share of a turn.
        self.resume_waiting();
    }

    fn accepted(&mut self, listener: ListenerId, _peer: SocketAddr) -> Option<ConnKey> {
        self.admit(listener)
    }

    fn received(&mut self, key: ConnKey, bytes: &mut [u8]) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        conn.heard = self.now;
        if conn.stage != Stage::Open {
            return;
        }
        if conn.paused {
            conn.held.append(bytes);
            // The driver does not read from who is paused: so much cannot be but by its fault.
            if conn.held.len() > self.setup.limits.pipelined_bytes_max {
                self.cut(key);
            }
            return;
        }
        self.read(key, bytes);
    }

    fn sent(&mut self, key: ConnKey, len: usize) {
        self.went_on(key, len);
    }

    fn finished(&mut self, key: ConnKey) {
        self.peer_finished(key);
    }

    fn ended(&mut self, key: ConnKey, _why: Ended) {
        self.detach_conn(key);
        self.forget_conn(key);
    }
}

impl Shard {
    /// Parses what a connection received, until it is all used or must wait.
    fn read(&mut self, key: ConnKey, mut bytes: &mut [u8]) {
        loop {
            let Some(conn) = self.conns.get_mut(key) else { return };
            if conn.stage != Stage::Open {
                return;
            }
            let protocol = std::mem::replace(&mut conn.protocol, Protocol::Away);
            let (protocol, used, flow) = match protocol {
                Protocol::Http(http) => self.read_http(key, http, bytes),
                Protocol::WebSocket(ws) => self.read_websocket(key, ws, bytes),
                Protocol::EventStream(mut stream) => {
                    let used = stream.next(bytes);
                    (Protocol::EventStream(stream), used, Flow::Stop)
                }
                Protocol::EngineIo(session) => self.read_engine_io(key, session, bytes),
                Protocol::Probe(probe) => self.read_probe(key, probe, bytes),
                Protocol::Away => (Protocol::Away, bytes.len(), Flow::Stop),
            };
            let Some(conn) = self.conns.get_mut(key) else { return };
            conn.protocol = protocol;
            bytes = &mut bytes[used..];
            match flow {
                Flow::Go => {}
                Flow::Stop if bytes.is_empty() => break,
                Flow::Stop | Flow::Wait => {
                    self.hold(key, bytes);
                    break;
                }
            }
        }
        self.look_at_end(key);
        self.serve_soon(key);
    }

    /// Keeps what cannot be parsed yet, and stops reading.
    fn hold(&mut self, key: ConnKey, bytes: &[u8]) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        if conn.stage != Stage::Open {
            return;
        }
        conn.held.prepend(bytes);
        if !conn.paused {
            conn.paused = true;
            self.commands.push(Command::Pause(key));
            self.waiting.push(key);
        }
    }

    /// Goes on with connections whose parsing waited for room that there is now.
    fn resume_waiting(&mut self) {
        for key in std::mem::take(&mut self.waiting) {
            let Some(conn) = self.conns.get_mut(key) else { continue };
            if conn.stage != Stage::Open {
                continue;
            }
            if self.must_wait(key) {
                self.waiting.push(key);
                continue;
            }
            let Some(conn) = self.conns.get_mut(key) else { continue };
            conn.paused = false;
            let mut held = conn.held.take();
            self.commands.push(Command::Resume(key));
            self.read(key, &mut held);
        }
    }

    /// Whether parsing must wait: for room, or for the next turn.
    fn must_wait(&self, key: ConnKey) -> bool {
        self.turn_messages >= TURN_MESSAGES_MAX || self.has_no_room(key)
    }

    /// Whether there is no room: in what waits for this connection, in the engine or in its channel's log; or whether
    /// the request in hand is to be answered first.
    fn has_no_room(&self, key: ConnKey) -> bool {
        let Some(conn) = self.conns.get(key) else { return false };
        let limits = self.limits();
        let private = if conn.moves {
            conn.private_bytes() >= MOVING_ROOM_FACTOR * limits.private_bytes_max
        } else {
            conn.private_bytes() >= limits.private_bytes_max || conn.private_messages() >= limits.private_messages_max
        };
        let congested = conn.subscriptions.iter().any(|subscription| {
            self.mirrors.get(subscription.mirror).is_some_and(|mirror| mirror.is_congested(limits))
        });
        // The request in hand is not answered, or the stream has not begun: its snapshot comes before any answer.
        let in_hand = conn.pending.is_some();
        private || congested || in_hand || self.is_engine_full() || self.refused.is_some()
    }

    fn next_number(&mut self) -> u32 {
        self.number = self.number.wrapping_add(1);
        self.number
    }

    fn pending(&mut self, key: ConnKey) -> Option<Pending> {
        self.conns.get_mut(key)?.pending.take().map(|pending| *pending)
    }
}

/// How reading goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Flow {
    /// With what is left, at once: the protocol has changed.
    Go,
    /// Not before more comes, or something else happens that goes on with it.
    Stop,
    /// When there is room: what is left may be inside the protocol's own state.
    Wait,
}

/// Runs one channel's code. A panic in it is that channel's alone; what it was told to change is dropped by the caller.
fn guarded<T>(code: impl FnOnce() -> T) -> Option<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(code)).ok()
}
