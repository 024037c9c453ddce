//! A whole shard, or two with mail between them, and a real engine: the fuzzer chooses bytes, cuts, short writes and
//! late completions, time, the order of mail, overflows and full queues. Each client judges what it gets. In the end
//! everything is closed, and everything is let go.

mod client;
mod people;
mod wire;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use compact_str::CompactString;

use super::input::Input;
use crate::app::config::parse;
use crate::base::hash::Seed;
use crate::base::io::{Ended, Sink};
use crate::base::keys::{ConnKey, CoreId, ListenerId, MirrorKey};
use crate::base::limits::LISTENERS_PACE;
use crate::base::time::Time;
use crate::engine::embedded::{Embedded, Outbox};
use crate::engine::{Act, Answer, Asker, Attached, Batch, Body, EngineMail, Op, Outcome, Ticket};
use crate::route::SharedSetup;
use crate::shard::{Census, Mail, Post, Shard};
use crate::wire::http::HeadLimits;
use crate::wire::ws::Opcode;
use crate::wire::ws::head::write_masked;

pub use client::Reach;
use client::{Told, judge};
use wire::{Plan, Sending, Wire};

static SETUP: LazyLock<SharedSetup> = LazyLock::new(|| {
    let config = parse(include_str!("setup.toml"), "setup.toml").unwrap_or_else(|errors| panic!("{errors}"));
    Arc::new(config.setup)
});

/// What clients say. `{at}` is a position of the poll, `{cookie}` the last session's cookie, 0x7f a byte that no UTF-8 has.
const REQUESTS: [&str; 46] = [
    "GET /c/poll/lunch HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    "GET /c/poll/lunch?since={at} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    "GET /steps HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    "GET /plain HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    "GET /push HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    "GET /c/echo HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    "GET /c/news HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    "GET /c/poll/lunch HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n",
    "GET /c/poll/lunch HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\nLast-Event-ID: {at}\r\n\r\n",
    "GET /c/news HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n",
    "GET /c/feed/a HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n",
    "GET /c/vote/a HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n",
    "GET /c/poll/lunch HTTP/1.1\r\nHost: a\r\nIf-None-Match: \"{at}\"\r\n\r\n",
    "HEAD /c/news HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /c/poll/lunch?wait=3&since={at} HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /c/news?wait=60 HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /c/poll/lunch HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 14\r\n\r\n{\"choice\":\"2\"}",
    "POST /c/news HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "POST /c/news HTTP/1.1\r\nHost: a\r\nContent-Type: image/png\r\nContent-Length: 3\r\n\r\n\u{7f}\u{e9}",
    "POST /c/feed/b HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\n\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nCookie: {cookie}\r\n\r\n",
    "GET /next HTTP/1.1\r\nHost: a\r\nCookie: {cookie}\r\n\r\n",
    "GET /next HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /vote HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nuid=1",
    "PUT /body HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody",
    "OPTIONS /c/poll/lunch HTTP/1.1\r\nHost: a\r\nOrigin: https://example.org\r\n\r\n",
    "GET /text HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "POST /c/poll/lunch HTTP/1.1\r\nHost: a\r\nOrigin: https://evil.test\r\nContent-Length: 1\r\nConnection: close\r\n\r\n1",
    "GET /c/room/lobby HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    "GET /c/room/lobby?name=ann HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    "GET /c/room/lobby?name=bob&since={at} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    "GET /room?name=bob HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    "GET /c/room/tea?name=ann HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    "GET /c/dm/ann HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    "GET /dm/ann HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    "GET /c/dm/bob HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    "GET /c/table/people?name=ann HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    "GET /c/table/people HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    "GET /cells HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    "GET /c/room/lobby?name=eve HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n",
    "GET /c/table/people HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n",
    "GET /c/room/lobby?members HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /c/room/lobby HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 26\r\n\r\n{\"text\":\"hi\",\"from\":\"eve\"}",
    "POST /c/dm/ann HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 7\r\n\r\ntext=hi",
    "POST /c/table/people HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 22\r\n\r\n{\"delete\":{\"index\":0}}",
    "POST /input HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 37\r\n\r\n{\"index\":1,\"value\":\"x\",\"forms\":\"age\"}",
];
const MESSAGES: [&str; 20] = [
    r#"{"choice":"1"}"#,
    r#"{"choice":2,"id":7}"#,
    r#"{"choice":"9","id":8}"#,
    "1",
    "3",
    "nonsense",
    r#"{"text":"你好","id":1}"#,
    r#"{"text":"again"}"#,
    r#"{"to":"ann","text":"to you","id":2}"#,
    r#"{"to":"bob","text":"to you"}"#,
    r#"{"set":[{"row":"1","column":"age","value":19,"if_rev":0}],"id":3}"#,
    r#"{"set":[{"index":1,"column":"name","value":"x"},{"index":0,"column":"age","value":null}]}"#,
    r#"{"insert":{"cells":{"name":"小小"}},"id":4}"#,
    r#"{"insert":{"row":"x","first":true}}"#,
    r#"{"move":{"index":0,"after":"2"},"id":5}"#,
    r#"{"delete":{"row":"1"},"id":6}"#,
    r#"{"editing":{"row":"2","column":"name"},"id":9}"#,
    r#"{"editing":null}"#,
    r#"{"index":0,"value":"y","forms":"name"}"#,
    r#"{"index":9,"value":"y","forms":"name"}"#,
];
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const CLIENTS_MAX: usize = 8;
/// So often does everything move until it rests; far fewer are needed.
const MOVES_MAX: usize = 2000;
/// Steps of the longest time there is until all is over: as many as polls that one client can have waiting, and a few.
const ENDING_STEPS_MAX: usize = 400;

/// See the module.
pub fn shard(data: &[u8]) {
    shard_reach(data);
}

/// The same; says how deep it came.
pub fn shard_reach(data: &[u8]) -> Reach {
    let mut input = Input::new(data);
    let mut world = World::new(1 + input.below(2), input.below(256) as u64);
    let end = input.byte();
    while !input.is_empty() {
        world.act(&mut input);
        world.is_bounded();
    }
    world.rest();
    // Until nothing moves but by time: listeners are counted at a pace, and a poll that is over may let others begin.
    for _ in 0..MOVES_MAX {
        world.time_passes(LISTENERS_PACE + Duration::from_millis(1));
        if !world.rest() {
            break;
        }
    }
    world.judge_all();
    world.end(end);
    world.reach
}

struct Client {
    core: usize,
    key: ConnKey,
    /// What is to be sent.
    queue: Vec<u8>,
    /// What was sent.
    sent: Vec<u8>,
    finished: bool,
    judged: bool,
}

struct World {
    setup: SharedSetup,
    now: Time,
    shards: Vec<Shard>,
    wires: Vec<Wire>,
    inboxes: Vec<VecDeque<Mail>>,
    batches: VecDeque<Batch>,
    engine: Embedded,
    outbox: Outbox,
    engine_is_full: bool,
    stopped: bool,
    /// Batches of a core that is not there.
    outsider: u64,
    clients: Vec<Client>,
    reach: Reach,
}

impl World {
    fn new(cores: usize, seed: u64) -> World {
        let setup: SharedSetup = SETUP.clone();
        let now = Time::from_millis(1000 + seed);
        let unix = Duration::from_secs(1_700_000_000);
        let shard = |core| Shard::new(setup.clone(), CoreId(core), cores as u16, Seed(seed, core.into()), now, unix);
        World {
            now,
            shards: (0..cores as u16).map(shard).collect(),
            wires: (0..cores).map(|_| Wire::new()).collect(),
            inboxes: (0..cores).map(|_| VecDeque::new()).collect(),
            batches: VecDeque::new(),
            engine: Embedded::new(setup.specs(), setup.limits.channels_max, Seed(seed, 99), now),
            outbox: Outbox::default(),
            engine_is_full: false,
            stopped: false,
            outsider: 0,
            clients: Vec::new(),
            reach: Reach::default(),
            setup,
        }
    }

    /// One thing happens.
    fn act(&mut self, input: &mut Input<'_>) {
        let core = |input: &mut Input<'_>, world: &World| input.below(world.shards.len());
        match input.below(20) {
            0 => self.open(input),
            1 | 17 => {
                let text = input.pick(&REQUESTS);
                self.say(input, |world, out| {
                    out.extend(world.fill_in(text).bytes().map(|byte| if byte == 0x7f { 0xff } else { byte }))
                });
            }
            2 => {
                let bytes = input.some();
                self.say(input, |_, out| out.extend_from_slice(bytes));
            }
            3 => {
                let (bits, payload) = (input.byte(), input.some());
                self.say(input, |_, out| frame(out, bits, payload));
            }
            4 | 18 => {
                let text = input.pick(&MESSAGES);
                self.say(input, |_, out| write_masked(out, Opcode::Text, true, text.as_bytes(), MASK));
            }
            5 => {
                if let Some(client) = self.client(input) {
                    self.pump(client, usize::from(input.byte()));
                }
            }
            6 => {
                if let Some(client) = self.client(input) {
                    self.go_on(client, usize::from(input.byte()));
                }
            }
            7 => _ = self.turn(core(input, self)),
            8 => _ = self.engine_works(1 + input.below(3)),
            9 => _ = self.deliver(core(input, self), 1 + input.below(4)),
            10 => {
                let millis = input.pick(&[1, 10, 100, 250, 1000, 2000, 6000, 12_000, 30_000, 80_000]);
                self.now += Duration::from_millis(millis);
            }
            11 => {
                let how = input.byte();
                if let Some(client) = self.client(input) {
                    self.leave(client, how & 1 == 0);
                }
            }
            12 => self.publish(input),
            13 => self.overflow(core(input, self)),
            14 => self.engine_is_full = input.byte() & 1 == 1,
            15 => {
                let how = input.byte();
                let core = core(input, self);
                self.wires[core].plan = match how % 4 {
                    0 => Plan::Later,
                    1 => Plan::Short(how / 4),
                    _ => Plan::Whole,
                };
            }
            16 => _ = self.move_on(false),
            _ => {
                if input.byte() == 255 {
                    self.stop();
                }
            }
        }
    }

    fn open(&mut self, input: &mut Input<'_>) {
        let (core, listener) = (input.below(self.shards.len()), ListenerId(input.below(8) as u16 / 7));
        if self.clients.len() >= CLIENTS_MAX {
            return;
        }
        let peer: SocketAddr = ([127, 0, 0, 1], 1).into();
        self.shards[core].woke(self.now);
        if let Some(key) = self.shards[core].accepted(listener, peer) {
            assert!(!self.stopped);
            self.wires[core].lines.insert(key, wire::Line::default());
            let client = Client { core, key, queue: Vec::new(), sent: Vec::new(), finished: false, judged: false };
            self.clients.push(client);
        }
    }

    fn client(&self, input: &mut Input<'_>) -> Option<usize> {
        let index = input.below(CLIENTS_MAX);
        (!self.clients.is_empty()).then(|| index % self.clients.len())
    }

    fn say(&mut self, input: &mut Input<'_>, write: impl FnOnce(&World, &mut Vec<u8>)) {
        let (client, cut) = (self.client(input), input.byte());
        let Some(client) = client else { return };
        let mut bytes = Vec::new();
        write(self, &mut bytes);
        self.clients[client].queue.extend_from_slice(&bytes);
        self.pump(client, if cut < 200 { usize::MAX } else { usize::from(cut - 200) });
    }

    fn fill_in(&self, text: &str) -> String {
        if text.contains("{at}") {
            text.replace("{at}", &self.position())
        } else {
            text.replace("{cookie}", &self.cookie())
        }
    }

    /// The last position that any client was told.
    fn position(&self) -> String {
        self.last_told(b"\"at\":\"", b'"').unwrap_or("1-1").to_owned()
    }

    /// The last session's cookie.
    fn cookie(&self) -> String {
        format!("tallycast_session={}", self.last_told(b"tallycast_session=", b';').unwrap_or("0.1.1."))
    }

    /// What stood last between `begin` and `end` on any line.
    fn last_told(&self, begin: &[u8], end: u8) -> Option<&str> {
        let mut told = self.wires.iter().flat_map(|wire| wire.lines.values()).filter_map(|line| {
            let at = memchr::memmem::rfind(&line.got, begin)? + begin.len();
            let len = memchr::memchr(end, &line.got[at..])?;
            std::str::from_utf8(&line.got[at..at + len]).ok()
        });
        told.next_back()
    }

    /// A client sends `len` bytes of what it has to say, if it may.
    fn pump(&mut self, client: usize, len: usize) -> bool {
        let Client { core, key, queue, sent, finished, .. } = &mut self.clients[client];
        let Some(line) = self.wires[*core].lines.get(key) else { return false };
        let len = len.min(queue.len());
        if line.paused || *finished || len == 0 {
            return false;
        }
        let mut bytes: Vec<u8> = queue.drain(..len).collect();
        sent.extend_from_slice(&bytes);
        self.shards[*core].woke(self.now);
        self.shards[*core].received(*key, &mut bytes);
        true
    }

    /// A client reads, so that a send that waited goes on.
    fn go_on(&mut self, client: usize, len: usize) -> bool {
        let Client { core, key, .. } = self.clients[client];
        let Some(len) = self.wires[core].go_on(key, len) else { return false };
        self.shards[core].sent(key, len);
        true
    }

    fn leave(&mut self, client: usize, in_order: bool) {
        let Client { core, key, ref mut finished, .. } = self.clients[client];
        if !self.wires[core].lines.contains_key(&key) {
            return;
        }
        if !in_order {
            self.wires[core].close_line(key);
            self.shards[core].ended(key, Ended::Reset);
        } else if !std::mem::replace(finished, true) {
            self.shards[core].finished(key);
        }
    }

    /// One turn of a loop. True if there is more to do at once.
    fn turn(&mut self, core: usize) -> bool {
        self.shards[core].advance(self.now);
        let more = self.shards[core].flush(&mut self.wires[core]);
        let World { shards, inboxes, batches, engine_is_full, .. } = self;
        let mut moved = false;
        shards[core].take_mail(|post| match post {
            Post::Engine(batch) if *engine_is_full => Err(Post::Engine(batch)),
            Post::Engine(batch) => {
                moved = true;
                batches.push_back(batch);
                Ok(())
            }
            Post::Core(core, mail) => {
                moved = true;
                inboxes[usize::from(core.0)].extend(mail);
                Ok(())
            }
        });
        let deadline = shards[core].deadline();
        more || moved || deadline.is_some_and(|deadline| deadline <= self.now)
    }

    fn engine_works(&mut self, count: usize) -> bool {
        let count = count.min(self.batches.len());
        for batch in self.batches.drain(..count) {
            self.engine.batch(batch, self.now, &mut self.outbox);
        }
        self.engine.advance(self.now, &mut self.outbox);
        let moved = count > 0 || !self.outbox.mail.is_empty();
        self.post();
        moved
    }

    /// The engine's mail goes into the inboxes; that of the outsider is dropped.
    fn post(&mut self) {
        for (core, mail) in self.outbox.mail.drain(..) {
            if let Some(inbox) = self.inboxes.get_mut(usize::from(core.0)) {
                inbox.push_back(Mail::Engine(mail));
            }
        }
    }

    fn deliver(&mut self, core: usize, count: usize) -> bool {
        let count = count.min(self.inboxes[core].len());
        for mail in self.inboxes[core].drain(..count) {
            self.shards[core].mail(mail);
        }
        count > 0
    }

    fn overflow(&mut self, core: usize) {
        self.inboxes[core].retain(|mail| match mail {
            Mail::Engine(mail) => matches!(mail, EngineMail::Outcome(_) | EngineMail::Failed { .. }),
            _ => true,
        });
        self.shards[core].inbox_overflowed();
    }

    /// Someone on another core votes or publishes.
    fn publish(&mut self, input: &mut Input<'_>) {
        let act = match input.byte() {
            byte if byte < 128 => Act::Cast { choice: CompactString::new(["1", "2", "3", "4"][usize::from(byte) % 4]) },
            byte => Act::Append {
                body: Body::Text("n".repeat(usize::from(byte) * 2 - 256).into()),
                from: None,
                echo: true,
                only_if_heard: false,
            },
        };
        let channel = if matches!(act, Act::Cast { .. }) { "poll/lunch" } else { "news" };
        self.outsider_does(channel, vec![act]);
        self.post();
    }

    fn outsider_does(&mut self, channel: &str, acts: Vec<Act>) -> bool {
        let Some(class) = self.setup.class_of(channel) else { return false };
        self.outsider += 1;
        let ticket = Ticket { asker: Asker::Mirror(MirrorKey::unpack(1)), number: 1 };
        let op = |act| Op { channel: channel.into(), class, ticket, act };
        let ops = acts.into_iter().map(op).collect();
        let batch = Batch { core: CoreId(self.shards.len() as u16), number: self.outsider, ops };
        self.engine.batch(batch, self.now, &mut self.outbox);
        true
    }

    /// How a channel stands, by the engine itself.
    fn present(&mut self, channel: &str) -> Option<Attached> {
        if !self.outsider_does(channel, vec![Act::Attach { since: None }, Act::Detach]) {
            return None;
        }
        let attached = self.outbox.mail.iter().find_map(|(_, mail)| match mail {
            EngineMail::Outcome(Outcome { result: Ok(Answer::Attached(attached)), .. }) => Some((**attached).clone()),
            _ => None,
        });
        self.post();
        attached
    }

    fn stop(&mut self) {
        self.stopped = true;
        for shard in &mut self.shards {
            shard.stop();
        }
    }

    /// Everything moves once. `eager`: all clients send and read all that they can. True if anything moved.
    fn move_on(&mut self, eager: bool) -> bool {
        let mut moved = false;
        for client in 0..self.clients.len() {
            if eager {
                moved |= self.pump(client, usize::MAX) | self.go_on(client, usize::MAX);
            }
        }
        for core in 0..self.shards.len() {
            moved |= self.deliver(core, usize::MAX);
        }
        for core in 0..self.shards.len() {
            moved |= self.turn(core);
        }
        moved | self.engine_works(usize::MAX)
    }

    /// Everything moves until nothing does. True if anything did.
    fn rest(&mut self) -> bool {
        self.engine_is_full = false;
        for wire in &mut self.wires {
            wire.plan = Plan::Whole;
        }
        let mut moves = 0;
        while self.move_on(true) {
            moves += 1;
            assert!(moves < MOVES_MAX, "it never rests");
        }
        for inbox in &self.inboxes {
            assert!(inbox.is_empty());
        }
        moves > 0
    }

    fn time_passes(&mut self, time: Duration) {
        self.now += time;
    }

    fn is_bounded(&self) {
        let limits = &self.setup.limits;
        for shard in &self.shards {
            let Census { connections, turned_away, sessions, parked_polls, private_bytes, mirrors, timers, .. } =
                shard.census();
            let all = connections + turned_away;
            assert!(connections <= limits.connections_max && sessions <= limits.sessions_max);
            assert!(mirrors <= limits.channels_max + self.setup.classes.len());
            // Two for each connection (its own and a heartbeat, which outlives it a little), one for all else that waits.
            assert!(timers <= 2 * CLIENTS_MAX + parked_polls + mirrors + 1, "{timers} timers");
            // What is over the bound is one answer, a snapshot at most, and what one turn read.
            assert!(private_bytes <= all * (limits.private_bytes_max + (48 << 10)), "{private_bytes} bytes");
        }
    }

    /// Everything rests: every client has what it should have.
    fn judge_all(&mut self) {
        for index in 0..self.clients.len() {
            let Client { core, key, ref sent, finished, ref mut judged, .. } = self.clients[index];
            if std::mem::replace(judged, true) {
                continue;
            }
            let sent = sent.clone();
            let (got, at_rest) = match self.wires[core].lines.get(&key) {
                Some(line) => {
                    assert!(matches!(line.sending, Sending::Free), "at rest nothing is being sent");
                    (line.got.clone(), !finished && !line.finished)
                }
                None => (self.wires[core].closed.remove(&key).unwrap_or_default(), false),
            };
            let mut reach = self.reach;
            let limits = HeadLimits::from(&self.setup.limits);
            let told = Told { sent: &sent, got: &got, at_rest, limits };
            judge(&told, &mut reach, &mut |channel| self.present(channel));
            self.reach = reach;
        }
    }

    /// All clients go, or the server stops; then nothing is left, here and in the engine.
    fn end(&mut self, how: u8) {
        if how & 1 == 0 {
            self.stop();
        } else {
            for client in 0..self.clients.len() {
                self.leave(client, how & 2 == 0);
            }
        }
        // Polls that came behind each other wait one after another, whoever is still there to read.
        for _ in 0..ENDING_STEPS_MAX {
            self.rest();
            self.now += self.setup.limits.keep_alive;
            if self.shards.iter().all(|shard| shard.census() == Census::default()) {
                break;
            }
        }
        self.rest();
        for shard in &self.shards {
            assert_eq!(shard.census(), Census::default());
            assert!(how & 1 == 1 || shard.is_stopped());
        }
        for wire in &self.wires {
            assert!(wire.lines.is_empty());
        }
        for channel in ["poll/lunch", "news", "room/lobby", "table/people"] {
            let present = self.present(channel).expect("it is there");
            assert_eq!((present.listeners, present.users, present.editing), (0, vec![], vec![]), "{channel}");
        }
    }
}

/// A client's frame out of a fuzzer's byte: any opcode that may be, final or not, masked.
fn frame(out: &mut Vec<u8>, bits: u8, payload: &[u8]) {
    let opcodes = [Opcode::Text, Opcode::Binary, Opcode::Continuation, Opcode::Ping, Opcode::Pong, Opcode::Close];
    let opcode = opcodes[usize::from(bits) % opcodes.len()];
    let (fin, len) = if opcode.is_control() { (true, payload.len().min(125)) } else { (bits < 192, payload.len()) };
    write_masked(out, opcode, fin, &payload[..len], MASK);
}
