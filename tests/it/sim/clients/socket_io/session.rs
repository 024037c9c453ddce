//! One session of Engine.IO at its client: what carries it, its heartbeat, and how it ends.

use std::collections::VecDeque;
use std::time::Duration;

use tallycast::base::keys::{ConnKey, CoreId};
use tallycast::base::time::Time;
use tallycast::engine::{Asker, Origin};

use super::past::Past;
use super::probe::{Probe, Stage};
use super::wire::{Packet, read_payload, write_payload};
use crate::sim::clients::link::{Requests, Seen, State, WebSocket};
use crate::sim::scene::Scene;
use crate::sim::setup::{CONNECT_WAIT, PAYLOAD_BYTES_MAX, PING_INTERVAL, PING_TIMEOUT};
use crate::sim::wire::{Response, json};

mod ends;

/// Packets that a GET is answered with.
const POLL_PACKETS_MAX: usize = 16;
/// A timer's lateness.
const TICK: Duration = Duration::from_millis(1);
/// Bytes of a POST, about.
const POST_BYTES: usize = PAYLOAD_BYTES_MAX - 600;

/// What is to carry it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Plan {
    Polling,
    WebSocket,
    Upgrade,
}

/// What was asked of the server.
#[derive(Debug)]
pub(super) enum Ask {
    Handshake,
    /// `late_at`: from then on there is no such session.
    Poll {
        sent: Time,
        late_at: Option<Time>,
    },
    Post {
        packets: Vec<Packet>,
        alive: Option<Time>,
        /// It ends with what ends the session.
        last: Option<Last>,
    },
    /// There is no such session.
    Unknown,
    /// A refusal with one of these codes.
    Wrong(&'static [u64]),
}

/// What ends a session by its client's doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Last {
    /// It breaks the protocol.
    Violation,
    /// It is larger than may be.
    TooLarge,
    /// A GET beside the one that waits.
    SecondGet,
    /// Attachments do not come.
    Attachments(Time),
    /// It says that it closes.
    Close,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Live,
    /// The server has ended it; answers may be under way.
    Ended,
    Over,
}

/// Requests over one connection after the other.
#[derive(Debug, Default)]
pub(super) struct Lane {
    requests: Option<Requests<Ask>>,
    pub(super) awaits: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Session {
    who: String,
    path: &'static str,
    pub(super) version: u8,
    pub(super) plan: Plan,
    base64: bool,
    pub(super) sid: Option<String>,
    pub(super) get: Lane,
    pub(super) post: Lane,
    second_get: Lane,
    pub(super) socket: Option<WebSocket>,
    pub(super) probe: Option<Probe>,
    pub(super) tried_upgrade: bool,
    pub(super) upgraded: bool,
    /// Something has come over the WebSocket that is the session's.
    pub(super) told_by_socket: bool,
    /// By then an upgrade is to be done.
    pub(super) upgrade_due: Time,
    pub(super) out: VecDeque<Packet>,
    begun: Time,
    /// When it said last that it is there; when it said so what was surely heard in time; and when that was known here.
    alive_sent: Time,
    alive_heard: Time,
    alive_known: Time,
    /// When a POST was answered last.
    posted_at: Time,
    /// Of version 3: when each ping was sent that is not answered.
    pings: VecDeque<Time>,
    /// There is no room even at rest.
    pub(super) crowded_out: bool,
    /// There was no room: it asks again later.
    again_at: Time,
    pinged: Time,
    next_ping: Time,
    /// It shows no more that it is there.
    pub(super) silent: bool,
    /// It has joined a namespace.
    pub(super) joined: bool,
    /// It has asked for the first.
    pub(super) begins: bool,
    /// It listens to what cannot say that there was a gap.
    pub(super) fragile: bool,
    pub(super) last: Option<Last>,
    last_sent: bool,
    phase: Phase,
    /// The server has ended it.
    ended: bool,
}

impl Session {
    pub(super) fn open(who: &str, path: &'static str, plan: Plan, scene: &mut Scene) -> Session {
        let version = scene.random.pick(&[3, 4, 4]);
        let mut session = Session {
            who: who.to_owned(),
            path,
            version,
            plan,
            base64: version == 3 && scene.random.chance(50),
            sid: None,
            get: Lane::default(),
            post: Lane::default(),
            second_get: Lane::default(),
            socket: None,
            probe: None,
            tried_upgrade: false,
            upgraded: false,
            told_by_socket: false,
            upgrade_due: scene.now,
            out: VecDeque::new(),
            begun: scene.now,
            alive_sent: scene.now,
            alive_heard: scene.now,
            alive_known: scene.now,
            posted_at: scene.now,
            pings: VecDeque::new(),
            crowded_out: false,
            again_at: scene.now,
            pinged: scene.now,
            next_ping: scene.now + PING_INTERVAL / 2,
            silent: false,
            joined: false,
            begins: false,
            fragile: false,
            last: None,
            last_sent: false,
            phase: Phase::Live,
            ended: false,
        };
        if plan == Plan::WebSocket {
            let target = session.target("websocket");
            session.socket = Some(WebSocket::open(scene, who, &target));
        } else {
            let target = session.target("polling");
            let requests = session.get.open(who, scene, &mut Past::default());
            requests.ask("GET", &target, "", b"", Ask::Handshake);
        }
        session
    }

    pub(super) fn target(&self, transport: &str) -> String {
        let sid = self.sid.as_ref().map(|sid| format!("&sid={sid}")).unwrap_or_default();
        let base64 = if self.base64 { "&b64=1" } else { "" };
        format!("{}?EIO={}&transport={transport}{base64}{sid}", self.path, self.version)
    }

    pub(super) fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// The name of a session that the server has said to be over.
    pub(super) fn ended_sid(&self) -> Option<&String> {
        self.sid.as_ref().filter(|_| self.ended && !self.upgraded)
    }

    /// Whether it may say something.
    pub(super) fn is_live(&self) -> bool {
        let speaks = self.socket.as_ref().is_none_or(WebSocket::is_live);
        self.sid.is_some() && self.phase == Phase::Live && self.last.is_none() && speaks
    }

    pub(super) fn polls(&self) -> bool {
        self.socket.is_none()
    }

    /// Where it lives: of one that polls, its name says so.
    pub(super) fn home(&self) -> Option<(usize, ConnKey)> {
        let mut parts = self.sid.as_ref()?.split('.');
        let mut part = || parts.next().expect("three parts");
        let core = part().parse().expect("a core");
        Some((core, ConnKey::unpack(u64::from_str_radix(part(), 16).expect("a key"))))
    }

    /// Who it is to the engine.
    pub(super) fn me(&self, scene: &Scene) -> Option<Origin> {
        match &self.socket {
            Some(socket) => socket.link.origin(scene),
            None => self.home().map(|(core, key)| Origin { core: CoreId(core as u16), asker: Asker::Connection(key) }),
        }
    }

    /// Whether it shows that it is there.
    fn beats(&self) -> bool {
        let speaks = self.socket.as_ref().is_none_or(WebSocket::is_live);
        let goes_on = self.last.is_none_or(|last| matches!(last, Last::Attachments(_)));
        self.sid.is_some() && self.phase == Phase::Live && speaks && goes_on && !self.silent
    }

    /// When it wants to do something by itself.
    pub(super) fn wake(&self) -> Option<Time> {
        (self.version == 3 && self.beats()).then_some(self.next_ping)
    }
}

// What it sends.
impl Session {
    /// Sends what there is to send.
    pub(super) fn owe(&mut self, asks: bool, scene: &mut Scene, past: &mut Past) {
        if self.sid.is_none() || self.phase != Phase::Live {
            return;
        }
        if self.version == 3 && self.beats() && scene.now >= self.next_ping {
            let text = scene.random.pick(&["2", "2", "2there?"]);
            self.out.push_back(Packet::text(text));
            self.next_ping = scene.now + PING_INTERVAL / 2;
        }
        if self.socket.is_some() {
            return self.write_frames(scene);
        }
        let paused = self.probe.as_ref().is_some_and(|probe| probe.stage == Stage::Answered);
        if self.again_at > scene.now {
            return;
        }
        if !paused && !self.post.awaits && !self.out.is_empty() {
            self.write_post(scene, past);
        }
        let one_more = self.probe.as_mut().is_some_and(|probe| probe.take_poll());
        let asks = asks && self.last != Some(Last::SecondGet);
        if asks && !self.get.awaits && (!paused || one_more) {
            let late_at = (self.silent && !self.post.awaits).then_some(self.late_at());
            let ask = Ask::Poll { sent: scene.now, late_at };
            let target = self.target("polling");
            self.get.open(&self.who, scene, past).ask("GET", &target, "", b"", ask);
        }
    }

    /// From when on there is no such session, if it is silent.
    fn late_at(&self) -> Time {
        // While a POST waits to be read, its client may have said that it is there.
        let due = (self.alive_known + PING_INTERVAL + PING_TIMEOUT).max(self.posted_at + PING_TIMEOUT);
        due + TICK
    }

    fn is_alive(&self, packet: &Packet) -> bool {
        matches!((packet, self.version), (Packet::Text(text), 3) if text.starts_with('2'))
            || matches!((packet, self.version), (Packet::Text(text), 4) if text == "3")
    }

    fn write_frames(&mut self, scene: &mut Scene) {
        let Some(mut socket) = self.socket.take() else { return };
        while socket.is_live()
            && let Some(packet) = self.out.pop_front()
        {
            scene.moved += 1;
            if self.is_alive(&packet) {
                self.alive_sent = scene.now;
                self.pings.push_back(scene.now);
            }
            match &packet {
                Packet::Text(text) => socket.send(scene, 1, text.as_bytes()),
                Packet::Bytes(bytes) if self.version == 3 => socket.send(scene, 2, &[&[4][..], bytes].concat()),
                Packet::Bytes(bytes) => socket.send(scene, 2, bytes),
            }
        }
        self.last_sent |= self.last.is_some();
        self.socket = Some(socket);
    }

    fn write_post(&mut self, scene: &mut Scene, past: &mut Past) {
        let (mut packets, mut len) = (Vec::new(), 0);
        while let Some(packet) = self.out.front()
            && (packets.is_empty() || len + packet.len() <= POST_BYTES)
        {
            len += packet.len();
            packets.extend(self.out.pop_front());
        }
        let alive = packets.iter().any(|packet| self.is_alive(packet)).then_some(scene.now);
        self.alive_sent = alive.unwrap_or(self.alive_sent);
        let pings = packets.iter().filter(|packet| self.is_alive(packet)).count();
        self.pings.extend(std::iter::repeat_n(scene.now, pings));
        let said = self.last.filter(|last| *last != Last::SecondGet);
        let last = said.filter(|_| self.out.is_empty() && !self.last_sent);
        self.last_sent |= last.is_some();
        let octets = scene.random.chance(50);
        let (kind, body) = write_payload(self.version, octets, &packets);
        let head = format!("Content-Type: {kind}\r\n");
        let target = self.target("polling");
        let ask = Ask::Post { packets, alive, last };
        self.post.open(&self.who, scene, past).ask("POST", &target, &head, &body, ask);
    }

    /// A GET beside the one that waits.
    pub(super) fn ask_twice(&mut self, scene: &mut Scene, past: &mut Past) {
        self.last = Some(Last::SecondGet);
        let target = self.target("polling");
        let ask = Ask::Poll { sent: scene.now, late_at: None };
        self.second_get.open(&self.who, scene, past).ask("GET", &target, "", b"", ask);
    }

    /// No more is asked.
    pub(super) fn close_lanes(&mut self, past: &mut Past) {
        for lane in [&mut self.get, &mut self.post, &mut self.second_get] {
            if let Some(mut requests) = lane.requests.take() {
                requests.link.finish();
                past.requests.push(requests);
            }
        }
    }

    /// Its client lets go of it.
    pub(super) fn give_up(&mut self, scene: &mut Scene, past: &mut Past) {
        let reset = scene.random.chance(50);
        for lane in [&mut self.get, &mut self.post, &mut self.second_get] {
            if let Some(mut requests) = lane.requests.take() {
                if reset {
                    requests.link.reset(scene)
                } else {
                    requests.link.finish()
                }
                past.requests.push(requests);
            }
            lane.awaits = false;
        }
        let probe = self.probe.take().map(|probe| probe.socket);
        for mut socket in self.socket.take().into_iter().chain(probe) {
            if reset {
                socket.link.reset(scene)
            } else {
                socket.link.finish()
            }
            past.sockets.push(socket);
        }
        self.phase = Phase::Over;
    }
}

// What it reads.
impl Session {
    /// It shows no more that it is there.
    pub(super) fn fall_silent(&mut self) {
        // What is said already would show it.
        self.silent |= self.out.is_empty() && !self.post.awaits && self.probe.is_none();
    }

    /// Reads what has come: messages.
    pub(super) fn pump(&mut self, reading: bool, scene: &mut Scene, past: &mut Past) -> Vec<Packet> {
        let mut told = Vec::new();
        for lane in 0..3 {
            self.pump_lane(lane, reading, scene, past, &mut told);
        }
        self.pump_probe(scene, past);
        self.pump_socket(reading, scene, past, &mut told);
        let in_vain = self.last == Some(Last::SecondGet) && self.phase == Phase::Live;
        if in_vain && !self.get.awaits && !self.second_get.awaits {
            scene.coverage.hit("sio bad: a second GET that came too late");
            self.give_up(scene, past);
        }
        self.ended |= self.phase == Phase::Ended;
        if self.phase == Phase::Ended && !self.get.awaits && !self.second_get.awaits {
            if self.polls() && self.sid.is_some() && scene.random.chance(50) {
                let target = self.target("polling");
                past.ask(&self.who, "GET", &target, Ask::Unknown, scene);
            }
            self.give_up(scene, past);
        }
        told
    }

    fn lane(&mut self, lane: usize) -> &mut Lane {
        match lane {
            0 => &mut self.get,
            1 => &mut self.post,
            _ => &mut self.second_get,
        }
    }

    fn pump_lane(&mut self, lane: usize, reading: bool, scene: &mut Scene, past: &mut Past, told: &mut Vec<Packet>) {
        let Some(mut requests) = self.lane(lane).requests.take() else { return };
        requests.link.pump(scene, reading);
        while let Some((ask, response)) = requests.next(scene) {
            self.lane(lane).awaits = false;
            self.answered(ask, &response, scene, told);
        }
        let over = requests.link.state != State::Open || (requests.is_over() && requests.outstanding() == 0);
        if !over {
            self.lane(lane).requests = Some(requests);
            return;
        }
        if requests.link.state == State::Open {
            past.requests.push(requests);
        }
        if std::mem::take(&mut self.lane(lane).awaits) {
            // An answer is lost, and what was in it.
            scene.coverage.hit("sio: lost an answer");
            self.give_up(scene, past);
        }
    }

    fn answered(&mut self, ask: Ask, response: &Response, scene: &mut Scene, told: &mut Vec<Packet>) {
        match ask {
            Ask::Handshake if response.status == 503 => {
                scene.coverage.hit("sio: handshake refused");
                self.phase = Phase::Ended;
            }
            Ask::Handshake => {
                assert_eq!(response.status, 200, "{}: {response:?}", self.who);
                let packets = read_payload(self.version, self.base64, response);
                let [Packet::Text(open)] = &packets[..] else { panic!("{}: {packets:?}", self.who) };
                self.opened(open, scene);
            }
            Ask::Poll { sent, late_at } => self.polled(sent, late_at, response, scene, told),
            Ask::Post { packets, alive, last } => self.posted(packets, alive, last, response, scene),
            Ask::Unknown | Ask::Wrong(_) => panic!("{}: {ask:?} in a session", self.who),
        }
    }

    fn opened(&mut self, open: &str, scene: &mut Scene) {
        assert!(self.sid.is_none(), "{}: opened twice", self.who);
        let open = json(open.strip_prefix('0').unwrap_or_else(|| panic!("{}: {open}", self.who)));
        let upgrades = if self.polls() { serde_json::json!(["websocket"]) } else { serde_json::json!([]) };
        let sid = open["sid"].as_str().expect("a name");
        let expected = serde_json::json!({
            "sid": sid, "upgrades": upgrades, "pingInterval": PING_INTERVAL.as_millis() as u64,
            "pingTimeout": PING_TIMEOUT.as_millis() as u64, "maxPayload": PAYLOAD_BYTES_MAX,
        });
        assert_eq!(open, expected, "{}", self.who);
        self.sid = Some(sid.to_owned());
        (self.alive_known, self.pinged) = (scene.now, scene.now);
        scene.coverage.hit(match (self.version, self.polls()) {
            (3, true) => "sio: handshake v3, polling",
            (3, false) => "sio: handshake v3, WebSocket",
            (_, true) => "sio: handshake v4, polling",
            (_, false) => "sio: handshake v4, WebSocket",
        });
    }

    fn polled(
        &mut self,
        sent: Time,
        late_at: Option<Time>,
        response: &Response,
        scene: &mut Scene,
        told: &mut Vec<Packet>,
    ) {
        match response.status {
            200 => {
                let packets = read_payload(self.version, self.base64, response);
                assert!(packets.len() <= POLL_PACKETS_MAX, "{}: {} packets", self.who, packets.len());
                assert!(late_at.is_none_or(|late| sent < late), "{}: it lives: {packets:?}", self.who);
                if scene.now > sent {
                    scene.coverage.hit("sio: poll waited");
                }
                let alone = packets.len() == 1;
                for packet in packets {
                    assert!(alone || packet != Packet::text("1"), "{}: more than a close", self.who);
                    self.packet(packet, scene, told);
                }
            }
            400 => self.unknown(response, scene),
            503 => _ = self.stopped(response, scene),
            _ => panic!("{}: {response:?}", self.who),
        }
    }

    fn posted(
        &mut self,
        packets: Vec<Packet>,
        alive: Option<Time>,
        last: Option<Last>,
        response: &Response,
        scene: &mut Scene,
    ) {
        self.posted_at = scene.now;
        match (response.status, last) {
            (200, None | Some(Last::Attachments(_))) => {
                assert_eq!(response.text(), "ok");
                if let Some(sent) = alive {
                    (self.alive_heard, self.alive_known) = (self.alive_heard.max(sent), scene.now);
                }
                scene.coverage.hit("sio: posted");
            }
            (200, Some(Last::Close)) => {
                scene.coverage.hit("sio: closed by its client");
                self.phase = Phase::Ended;
            }
            (413, Some(Last::TooLarge)) => self.ended_for_it(scene),
            (400, _) => self.unknown(response, scene),
            (503, _) => {
                if !self.stopped(response, scene) {
                    self.last_sent &= last.is_none();
                    let again = packets.iter().filter(|packet| self.is_alive(packet)).count();
                    self.pings.truncate(self.pings.len().saturating_sub(again));
                    packets.into_iter().rev().for_each(|packet| self.out.push_front(packet));
                }
            }
            _ => panic!("{}: {last:?}: {response:?}", self.who),
        }
    }

    /// A packet of Engine.IO.
    fn packet(&mut self, packet: Packet, scene: &mut Scene, told: &mut Vec<Packet>) {
        // In which order the answers of two GETs were written does not show.
        let hears = self.last != Some(Last::SecondGet);
        let Packet::Text(text) = &packet else { return told.extend(Some(packet).filter(|_| hears)) };
        match (text.chars().next(), self.version) {
            (Some('0'), _) if self.sid.is_none() => self.opened(text, scene),
            (Some('1'), _) => {
                assert_eq!(text, "1", "{}", self.who);
                assert!(self.polls() && !scene.stopping, "{}: a close packet", self.who);
                if self.phase == Phase::Live {
                    self.check_end(scene);
                }
                self.phase = Phase::Ended;
            }
            (Some('2'), 4) => {
                assert_eq!(text, "2", "{}", self.who);
                // The answer to the one before was heard.
                (self.pinged, self.alive_heard) = (scene.now, self.alive_heard.max(self.alive_sent));
                if self.beats() {
                    self.out.push_back(Packet::text("3"));
                }
            }
            (Some('3'), 3) => {
                assert!(matches!(text.as_str(), "3" | "3there?"), "{}: {text}", self.who);
                self.pinged = scene.now;
                let sent = self.pings.pop_front();
                self.alive_heard = self.alive_heard.max(sent.unwrap_or(self.alive_heard));
            }
            (Some('4'), _) => told.extend(hears.then(|| Packet::text(&text[1..]))),
            (Some('6'), _) => {
                let closing = self.last == Some(Last::Close);
                assert!(text == "6" && (self.tried_upgrade || closing), "{}: {text}", self.who);
                scene.coverage.hit(if closing { "sio: noop for who closes" } else { "sio: noop for an upgrade" });
            }
            _ => panic!("{}: {text:?}", self.who),
        }
    }

    fn pump_socket(&mut self, reading: bool, scene: &mut Scene, past: &mut Past, told: &mut Vec<Packet>) {
        let Some(mut socket) = self.socket.take() else { return };
        socket.link.pump(scene, reading);
        let mut closed = None;
        while let Some(seen) = socket.next(scene) {
            // It is put back at once, because what a packet means depends on what carries it.
            let packet = match seen {
                Seen::Open => continue,
                Seen::Text(text) => Packet::Text(text),
                Seen::Binary(bytes) if self.version == 3 => {
                    Packet::Bytes(bytes.strip_prefix(&[4]).expect("a message").to_vec())
                }
                Seen::Binary(bytes) => Packet::Bytes(bytes),
                Seen::Close(code) => {
                    closed = Some(code);
                    continue;
                }
            };
            self.socket = Some(socket);
            self.told_by_socket = true;
            self.packet(packet, scene, told);
            socket = self.socket.take().expect("it was put there");
        }
        let over = socket.is_over();
        if !over {
            self.socket = Some(socket);
        }
        if let Some(code) = closed
            && self.phase == Phase::Live
        {
            self.check_close(code, scene);
        }
        if over {
            self.phase = Phase::Over;
            self.give_up(scene, past);
        }
    }
}

impl Lane {
    /// A connection for the next request: this one, or another, so on any core.
    fn open(&mut self, who: &str, scene: &mut Scene, past: &mut Past) -> &mut Requests<Ask> {
        self.awaits = true;
        scene.moved += 1;
        let renews = !scene.calm && scene.random.chance(40);
        if let Some(mut before) = self.requests.take_if(|requests| renews || requests.is_over()) {
            before.link.finish();
            past.requests.push(before);
        }
        self.requests.get_or_insert_with(|| Requests::open(scene, who))
    }
}
