//! A whole server of one core as a value: one shard, the engine, and a driver that takes everything and keeps nothing.
//! What is measured here is what the server does for a message in user space, and nothing else.

#![allow(dead_code, reason = "benches, tests and examples each use their part of it")]

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use tallycast::app::config;
use tallycast::base::hash::Seed;
use tallycast::base::io::{Driver, Sink};
use tallycast::base::keys::{ConnKey, CoreId, ListenerId};
use tallycast::base::segment::Slice;
use tallycast::base::time::Time;
use tallycast::engine::embedded::{Embedded, Outbox};
use tallycast::shard::{Mail, Post, Shard};
use tallycast::wire::ws::Opcode;
use tallycast::wire::ws::head::write_masked;

/// Limits that are out of the way, and channels of each sort that is measured.
pub(crate) const CONFIG: &str = r#"
[server]
cores = 1

[limits]
connections_max = 1_000_000
handshakes_max = 1_000_000
channels_max = 500_000
history_publications_max = 16
ping_interval = "0"

[[listener]]
name = "main"
address = "127.0.0.1:0"
origins = "any"
hosts = "any"

[[channel]]
name = "bench"
kind = "group"
echo_sender = true

[[channel]]
name = "echo"
kind = "echo"

[[channel]]
name = "steps"
kind = "vote"
options = [{ id = "1", label = "1" }, { id = "2", label = "2" }, { id = "3", label = "3" }, { id = "4", label = "4" }]

[[channel]]
name = "vote"
kind = "vote"
options = [{ id = "1", label = "1" }, { id = "2", label = "2" }, { id = "3", label = "3" }, { id = "4", label = "4" }]
slow = "latest"
max_rate = 20

[[channel]]
pattern = "room/*"
kind = "group"
echo_sender = true

[[route]]
listener = "main"
path = "/bench"
serve = "websocket"
channel = "bench"
dialect = "plain"

[[route]]
listener = "main"
path = "/echo"
serve = "websocket"
channel = "echo"
dialect = "plain"

[[route]]
listener = "main"
path = "/steps"
serve = "websocket"
channel = "steps"
dialect = "steps"
key = "cid"

[[route]]
listener = "main"
path = "/vote"
serve = "websocket"
channel = "vote"
dialect = "tally"

[[route]]
listener = "main"
path = "/room/*"
serve = "websocket"
channel = "room/*"
dialect = "plain"

[[route]]
listener = "main"
path = "/c/*"
serve = "channels"
"#;

/// The mask of every frame.
pub(crate) const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// Takes everything, and counts it.
#[derive(Debug, Default)]
pub(crate) struct Taking {
    /// Calls of `send`.
    pub(crate) sends: u64,
    /// Bytes that were taken.
    pub(crate) bytes: u64,
    /// Connections that the shard has closed.
    pub(crate) closed: u64,
    /// What is sent to this one is kept in `seen`.
    pub(crate) watched: Option<ConnKey>,
    /// See `watched`.
    pub(crate) seen: Vec<u8>,
    /// Sends to the one that is watched.
    pub(crate) watched_sends: u64,
}

impl Driver for Taking {
    fn turn(&mut self, _: Option<Duration>, _: &mut impl Sink) -> io::Result<()> {
        Ok(())
    }

    fn send(&mut self, key: ConnKey, slice: &Slice) -> Option<usize> {
        self.sends += 1;
        self.bytes += slice.len() as u64;
        if self.watched == Some(key) {
            self.watched_sends += 1;
            self.seen.extend_from_slice(slice);
        }
        Some(slice.len())
    }

    fn pause(&mut self, _: ConnKey) {}

    fn resume(&mut self, _: ConnKey) {}

    fn finish(&mut self, _: ConnKey) {}

    fn close(&mut self, _: ConnKey, _: bool) {
        self.closed += 1;
    }

    fn adopt(&mut self, _: OwnedFd, _: ListenerId, _: std::net::SocketAddr, _: &mut impl Sink) -> Option<ConnKey> {
        None
    }

    fn release(&mut self, _: ConnKey) -> Option<OwnedFd> {
        None
    }

    fn accept(&mut self, _: bool) {}
}

/// See the module.
#[derive(Debug)]
pub(crate) struct House {
    /// The core.
    pub(crate) shard: Shard,
    /// The engine; a test that asks what it weighs takes it out at the end.
    pub(crate) engine: Option<Embedded>,
    /// What the core sends.
    pub(crate) driver: Taking,
    /// The clock's hand, moved by whoever runs the house.
    pub(crate) now: Time,
    out: Outbox,
    inbox: Vec<Mail>,
    engine_wake: Option<Time>,
    incoming: Vec<u8>,
}

impl House {
    /// An empty one, with [`CONFIG`].
    pub(crate) fn new() -> House {
        House::with_config(CONFIG)
    }

    /// An empty one.
    pub(crate) fn with_config(text: &str) -> House {
        let setup = config::parse(text, "house.toml").unwrap_or_else(|errors| panic!("{errors}")).setup;
        let setup = Arc::new(setup);
        let now = Time::from_millis(1);
        let engine = Embedded::new(setup.specs(), setup.limits.channels_max, Seed(1, 2), now);
        House {
            shard: Shard::new(setup, CoreId(0), 1, Seed(3, 4), now, Duration::from_secs(1_700_000_000)),
            engine: Some(engine),
            driver: Taking::default(),
            now,
            out: Outbox::default(),
            inbox: Vec::new(),
            engine_wake: Some(Time::ZERO),
            incoming: Vec::new(),
        }
    }

    /// A turn begins. What arrives in it is handed in by [`receive`](House::receive); [`end_turn`](House::end_turn) ends it.
    pub(crate) fn begin_turn(&mut self) {
        self.shard.woke(self.now);
    }

    /// Bytes arrive: copied, as a driver reads into its own buffer, for they are unmasked in place.
    pub(crate) fn receive(&mut self, conn: ConnKey, bytes: &[u8]) {
        self.incoming.clear();
        self.incoming.extend_from_slice(bytes);
        self.shard.received(conn, &mut self.incoming);
    }

    /// A connection arrives, and its first request with it.
    pub(crate) fn knock(&mut self, request: &[u8]) -> ConnKey {
        let conn = self.shard.accepted(ListenerId(0), ([127, 0, 0, 1], 1).into()).expect("room for a connection");
        self.receive(conn, request);
        conn
    }

    /// A turn in which so much arrives from one connection, and those that follow from it.
    pub(crate) fn say(&mut self, conn: ConnKey, bytes: &[u8]) {
        self.begin_turn();
        self.receive(conn, bytes);
        self.end_turn();
        self.rest();
    }

    /// The rest of a turn, in the order of the event loop. True if another is due at once.
    pub(crate) fn end_turn(&mut self) -> bool {
        for mail in self.inbox.drain(..) {
            self.shard.mail(mail);
        }
        self.shard.advance(self.now);
        let more = self.shard.flush(&mut self.driver);
        let House { shard, engine, out, engine_wake, now, .. } = self;
        let Some(engine) = engine else { return more };
        shard.take_mail(|post| match post {
            Post::Engine(batch) => {
                engine.batch(batch, *now, out);
                *engine_wake = Some(Time::ZERO);
                Ok(())
            }
            Post::Core(..) => unreachable!("there is one core"),
        });
        if engine_wake.is_some_and(|wake| wake <= *now) {
            *engine_wake = engine.advance(*now, out);
        }
        self.inbox.extend(out.mail.drain(..).map(|(_, mail)| Mail::Engine(mail)));
        more || !self.inbox.is_empty()
    }

    /// Turns until nothing is due any more at this time. How many that were.
    pub(crate) fn rest(&mut self) -> usize {
        for turns in 1.. {
            assert!(turns < 1_000_000, "no rest");
            self.begin_turn();
            if !self.end_turn() {
                return turns;
            }
        }
        0
    }

    /// Lets time pass, turn by turn where something is due.
    pub(crate) fn pass(&mut self, duration: Duration) {
        let until = self.now + duration;
        loop {
            self.rest();
            let next = self.shard.deadline().into_iter().chain(self.engine_wake).min();
            match next.filter(|next| *next <= until) {
                Some(next) => self.now = self.now.max(next),
                None => break,
            }
        }
        self.now = until;
    }

    /// `count` WebSockets on the paths that `path` names, open and at rest.
    pub(crate) fn connect(&mut self, count: usize, path: impl Fn(usize) -> String) -> Vec<ConnKey> {
        let mut conns = Vec::with_capacity(count);
        let mut request = Vec::new();
        for number in 0..count {
            request.clear();
            short_handshake(&mut request, &path(number));
            self.begin_turn();
            conns.push(self.knock(&request));
            // As many as a turn may bring.
            if number % 64 == 63 {
                self.end_turn();
            }
        }
        self.rest();
        assert_eq!(self.driver.closed, 0, "every handshake is accepted");
        conns
    }

    /// Gives back the room for mail, which is neither the core's nor the engine's.
    pub(crate) fn let_go(&mut self) {
        self.inbox.shrink_to_fit();
        self.out.mail.shrink_to_fit();
    }

    /// Lets the listener counts be told, and all else that a beginning brings.
    pub(crate) fn settle(&mut self) {
        self.pass(Duration::from_secs(2));
    }
}

/// Appends an opening handshake as browsers send it, about.
pub(crate) fn handshake(out: &mut Vec<u8>, path: &str) {
    out.extend_from_slice(b"GET ");
    out.extend_from_slice(path.as_bytes());
    out.extend_from_slice(
        b" HTTP/1.1\r\nHost: 127.0.0.1:9100\r\nConnection: Upgrade\r\nPragma: no-cache\r\nCache-Control: no-cache\r\n\
          User-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nUpgrade: websocket\r\nOrigin: http://127.0.0.1:9100\r\n\
          Sec-WebSocket-Version: 13\r\nAccept-Encoding: gzip, deflate\r\nAccept-Language: en,zh\r\n\
          Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
          Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n",
    );
}

/// Appends an opening handshake of what is needed, and no more.
pub(crate) fn short_handshake(out: &mut Vec<u8>, path: &str) {
    out.extend_from_slice(b"GET ");
    out.extend_from_slice(path.as_bytes());
    out.extend_from_slice(
        b" HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
          Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
}

/// A client's text frame.
pub(crate) fn text_frame(text: &str) -> Vec<u8> {
    let mut frame = Vec::new();
    write_masked(&mut frame, Opcode::Text, true, text.as_bytes(), MASK);
    frame
}

/// One read's worth: a vote in each frame, for the four options in turn.
pub(crate) fn vote_frames(count: usize) -> Vec<u8> {
    (0..count).flat_map(|number| text_frame(["1", "2", "3", "4"][number % 4])).collect()
}
