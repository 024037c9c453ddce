//! A listener and voter over Socket.IO, in our own dialect, who resumes: by polling, by WebSocket, or from one to the other.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tallycast::base::time::Time;

use super::link::{Requests, Seen, State, WebSocket};
use super::stream::{Reply, Stream};
use super::{Client, Hears, Patience};
use crate::sim::model::Entry;
use crate::sim::scene::Scene;
use crate::sim::setup::{OPTIONS, SOCKET_IO, namespace};
use crate::sim::wire::json;

/// How often a client of Engine.IO 3 pings.
const PING_EVERY: Duration = Duration::from_secs(4);

/// See the module.
#[derive(Debug)]
pub(crate) struct Listener {
    who: String,
    stream: Stream,
    version: u8,
    carrier: Option<Carrier>,
    /// Packets to be sent.
    out: VecDeque<String>,
    /// The namespace is joined.
    joined: bool,
    /// Votes that are not acknowledged, by number.
    pending: BTreeMap<u64, usize>,
    next_id: u64,
    pinged_at: Time,
    back_at: Time,
    asleep_until: Time,
    /// There was no room for a session that polls.
    no_polling: bool,
    leaving: bool,
    patience: Patience,
}

#[derive(Debug)]
enum Carrier {
    Polling(Box<Polling>),
    Socket(Box<WebSocket>),
}

#[derive(Debug)]
struct Polling {
    /// Without a sid before the handshake is answered.
    target: String,
    has_sid: bool,
    get: Option<Requests<()>>,
    post: Option<Requests<()>>,
    probe: Option<Probe>,
}

#[derive(Debug)]
struct Probe {
    socket: WebSocket,
    /// The probe was answered: nothing is polled any more.
    answered: bool,
}

/// The session is over.
#[derive(Debug)]
struct Lost;

impl Listener {
    pub(crate) fn new(who: &str, channel: &str) -> Listener {
        Listener {
            who: who.to_owned(),
            stream: Stream::new(who, channel),
            version: 4,
            carrier: None,
            out: VecDeque::new(),
            joined: false,
            pending: BTreeMap::new(),
            next_id: 0,
            pinged_at: Time::ZERO,
            back_at: Time::ZERO,
            asleep_until: Time::ZERO,
            no_polling: false,
            leaving: false,
            patience: Patience::default(),
        }
    }

    fn begin(&mut self, scene: &mut Scene) {
        if self.leaving || (!scene.calm && scene.now < self.back_at) || !self.patience.is_left(scene) {
            return;
        }
        self.version = scene.random.pick(&[3, 4, 4]);
        self.pinged_at = scene.now;
        let polls = !self.no_polling && scene.random.chance(70);
        let transport = if polls { "polling" } else { "websocket" };
        let base64 = if scene.random.chance(50) { "&b64=1" } else { "" };
        let target = format!("{SOCKET_IO}?EIO={}&transport={transport}{base64}", self.version);
        self.carrier = Some(if polls {
            let mut get = Requests::open(scene, &self.who);
            get.ask("GET", &target, "", b"", ());
            let (post, probe) = (None, None);
            Carrier::Polling(Box::new(Polling { target, has_sid: false, get: Some(get), post, probe }))
        } else {
            Carrier::Socket(Box::new(WebSocket::open(scene, &self.who, &target)))
        });
    }

    fn lose(&mut self, scene: &mut Scene) {
        scene.note(|| format!("{}: lost, {} unanswered", self.who, self.pending.len()));
        match self.carrier.take() {
            Some(Carrier::Polling(mut polling)) => polling.reset(scene),
            Some(Carrier::Socket(mut socket)) => socket.link.reset(scene),
            None => {}
        }
        self.out.clear();
        self.joined = false;
        self.pending.clear();
        self.back_at = scene.soon(3000);
    }

    /// A packet of Engine.IO.
    fn packet(&mut self, packet: &str, scene: &mut Scene) -> Result<(), Lost> {
        match packet.split_at(1) {
            ("0", open) => {
                let sid = json(open)["sid"].as_str().expect("a sid").to_owned();
                if let Some(Carrier::Polling(polling)) = &mut self.carrier {
                    polling.target = format!("{}&sid={sid}", polling.target);
                    polling.has_sid = true;
                }
                let space = namespace(&self.stream.channel);
                let since = self.stream.begin(scene);
                self.out.push_back(match (self.version, since) {
                    (3, Some(since)) => format!("40{space}?since={since},"),
                    (_, Some(since)) => format!("40{space},{{\"since\":\"{since}\"}}"),
                    (_, None) => format!("40{space},"),
                });
            }
            ("1", "") => return Err(Lost),
            ("2", "") if self.version == 4 => {
                self.out.push_back("3".into());
                scene.coverage.hit("socket.io: heartbeat");
            }
            ("3", "") if self.version == 3 => scene.coverage.hit("socket.io: heartbeat"),
            ("6", "") => {}
            ("4", message) => return self.message(message, scene),
            _ => panic!("{}: what packet is {packet:?}", self.who),
        }
        Ok(())
    }

    fn message(&mut self, message: &str, scene: &mut Scene) -> Result<(), Lost> {
        // Who speaks version 3 is in `/` as well.
        if self.version == 3 && message == "0" {
            return Ok(());
        }
        let (kind, rest) = message.split_at(1);
        let space = format!("{},", namespace(&self.stream.channel));
        let rest = rest.strip_prefix(&space).unwrap_or_else(|| panic!("{}: {message:?}", self.who));
        match kind {
            "0" => {
                assert!(!self.joined, "{}: joined twice", self.who);
                self.joined = true;
            }
            "4" => {
                scene.coverage.hit("socket.io: connect refused");
                return Err(Lost);
            }
            "2" => {
                assert!(self.joined, "{}: {message:?} before the connect reply", self.who);
                let said = rest.strip_prefix("[\"said\",").and_then(|rest| rest.strip_suffix(']'));
                let said = said.unwrap_or_else(|| panic!("{}: no such event: {message:?}", self.who));
                assert!(self.stream.take(said, scene).is_none(), "{}: an answer as an event: {said}", self.who);
            }
            "3" => {
                let (id, args) = rest.split_at(rest.find('[').expect("arguments"));
                let answer = args.strip_prefix('[').and_then(|args| args.strip_suffix(']')).expect("an argument");
                let option = self.pending.remove(&id.parse().expect("a number"));
                let option = option.unwrap_or_else(|| panic!("{}: an answer to nothing: {message:?}", self.who));
                self.answered(option, answer, scene);
            }
            _ => panic!("{}: what message is {message:?}", self.who),
        }
        Ok(())
    }

    fn answered(&mut self, option: usize, answer: &str, scene: &mut Scene) {
        let channel = &self.stream.channel.clone();
        match self.stream.take(answer, scene).expect("an answer") {
            Reply::Accepted { at, .. } => {
                let entry = scene.model.life(channel, at).entry(at.revision).clone();
                assert_eq!(entry, Entry::Vote(option), "{}", self.who);
                scene.model.claim(channel, at, entry);
                scene.coverage.hit("socket.io: vote accepted");
            }
            Reply::Refused { code, .. } => {
                assert!(matches!(code.as_str(), "busy" | "full" | "unknown"), "{}: {code}", self.who);
                if code != "unknown" {
                    scene.model.refused(channel, Entry::Vote(option));
                }
            }
        }
    }

    fn vote(&mut self, scene: &mut Scene) {
        self.next_id += 1;
        let option = scene.random.below(OPTIONS.len());
        scene.model.asked(&self.stream.channel, Entry::Vote(option));
        self.pending.insert(self.next_id, option);
        let space = namespace(&self.stream.channel);
        let choice = OPTIONS[option];
        self.out.push_back(format!("42{space},{}[\"vote\",{{\"choice\":\"{choice}\"}}]", self.next_id));
    }

    fn do_something(&mut self, scene: &mut Scene) {
        if scene.calm || !self.joined {
            return;
        }
        match scene.random.below(1000) {
            0..250 if self.stream.channel == "poll/lunch" => {
                for _ in 0..scene.random.upto(3) {
                    self.vote(scene);
                }
            }
            250..255 => self.out.push_back("1".into()),
            255..260 => self.lose(scene),
            260..265 => self.asleep_until = scene.soon(20_000),
            265..350 => self.try_upgrade(scene),
            _ => {}
        }
    }

    fn try_upgrade(&mut self, scene: &mut Scene) {
        if let Some(Carrier::Polling(polling)) = &mut self.carrier
            && polling.has_sid
            && polling.probe.is_none()
        {
            let target = polling.target.replace("transport=polling", "transport=websocket");
            let mut socket = WebSocket::open(scene, &format!("{}+", self.who), &target);
            socket.may_be_refused = true;
            polling.probe = Some(Probe { socket, answered: false });
        }
    }

    fn act_by_socket(&mut self, mut socket: Box<WebSocket>, scene: &mut Scene) -> Result<(), Lost> {
        socket.link.pump(scene, scene.calm || self.asleep_until <= scene.now);
        let mut told = Vec::new();
        while let Some(seen) = socket.next(scene) {
            match seen {
                Seen::Open => {}
                Seen::Text(text) => told.push(text),
                Seen::Binary(bytes) => panic!("{}: a binary message: {bytes:?}", self.who),
                Seen::Close(code) => {
                    assert!(!matches!(code, 1002 | 1003 | 1007 | 1009 | 1011), "{}: closed by {code}", self.who);
                }
            }
        }
        let over = socket.is_over();
        if socket.is_live() {
            for packet in self.out.drain(..) {
                socket.send(scene, 1, packet.as_bytes());
            }
        }
        if self.leaving {
            socket.close(scene, 1000);
            if !socket.open {
                socket.link.finish();
            }
        }
        self.carrier = Some(Carrier::Socket(socket));
        for packet in told {
            self.packet(&packet, scene)?;
        }
        if over { Err(Lost) } else { Ok(()) }
    }

    fn act_by_polling(&mut self, mut polling: Box<Polling>, scene: &mut Scene) -> Result<(), Lost> {
        if self.leaving {
            polling.reset(scene);
            self.carrier = Some(Carrier::Polling(polling));
            return Err(Lost);
        }
        let awake = scene.calm || self.asleep_until <= scene.now;
        let mut told = Vec::new();
        let lost = polling.read(&self.who, awake, &mut told, scene).is_err();
        self.no_polling |= polling.refused();
        if !lost && polling.has_sid {
            polling.write(&self.who, self.version, &mut self.out, awake, scene);
        }
        let upgraded = polling.go_on_with_probe(scene) && !lost && self.out.is_empty();
        self.carrier = match polling.probe.take_if(|_| upgraded) {
            Some(Probe { mut socket, .. }) => {
                polling.reset(scene);
                socket.send(scene, 1, b"5");
                scene.coverage.hit("socket.io: upgraded");
                Some(Carrier::Socket(Box::new(socket)))
            }
            None => Some(Carrier::Polling(polling)),
        };
        for payload in told {
            scene.coverage.hit("socket.io: polled");
            let packets = packets(self.version, &payload);
            assert!(packets.len() <= 16, "{}: more than clients in Python take", self.who);
            for packet in packets {
                self.packet(&packet, scene)?;
            }
        }
        if lost { Err(Lost) } else { Ok(()) }
    }
}

impl Polling {
    fn reset(&mut self, scene: &mut Scene) {
        let requests = self.get.iter_mut().chain(&mut self.post).map(|requests| &mut requests.link);
        for link in requests.chain(self.probe.iter_mut().map(|probe| &mut probe.socket.link)) {
            link.reset(scene);
        }
    }

    /// There was no room for it.
    fn refused(&self) -> bool {
        !self.has_sid && self.get.is_none()
    }

    /// What the GET and the POST have got.
    fn read(&mut self, who: &str, awake: bool, told: &mut Vec<String>, scene: &mut Scene) -> Result<(), Lost> {
        if let Some(get) = &mut self.get {
            get.link.pump(scene, awake);
            let waited = get.outstanding() > 0;
            if let Some(((), response)) = get.next(scene) {
                match response.status {
                    200 => told.push(response.text().to_owned()),
                    // No such session, no room, or nobody to be told.
                    400 | 503 => {
                        if let Some(mut get) = self.get.take() {
                            get.link.reset(scene);
                        }
                        return Err(Lost);
                    }
                    _ => panic!("{who}: {response:?}"),
                }
            } else if waited && get.outstanding() == 0 {
                // It took too long to write.
                return Err(Lost);
            }
        }
        if let Some(post) = &mut self.post {
            post.link.pump(scene, awake);
            let waited = post.outstanding() > 0;
            if let Some(((), response)) = post.next(scene) {
                assert!(matches!(response.status, 200 | 400 | 503), "{who}: {response:?}");
                if response.status != 200 {
                    return Err(Lost);
                }
                assert_eq!(response.text(), "ok", "{who}");
            } else if waited && post.outstanding() == 0 {
                return Err(Lost);
            }
        }
        // What was under way may be lost with its connection.
        let cut = |requests: &Requests<()>| requests.is_over() && requests.outstanding() > 0;
        if self.get.iter().chain(&self.post).any(cut) { Err(Lost) } else { Ok(()) }
    }

    fn write(&mut self, who: &str, version: u8, out: &mut VecDeque<String>, awake: bool, scene: &mut Scene) {
        let paused = self.probe.as_ref().is_some_and(|probe| probe.answered);
        if awake && !paused && self.get.as_ref().is_none_or(|get| get.outstanding() == 0) {
            let get = usable(&mut self.get, who, scene);
            get.ask("GET", &self.target, "", b"", ());
            get.link.pump(scene, false);
        }
        if !out.is_empty() && self.post.as_ref().is_none_or(|post| post.outstanding() == 0) {
            let some = scene.random.upto(out.len());
            let body: Vec<String> = out
                .drain(..if scene.calm { out.len() } else { some })
                .map(|packet| if version == 3 { format!("{}:{packet}", packet.len()) } else { packet })
                .collect();
            let body = body.join(if version == 3 { "" } else { "\u{1e}" });
            let post = usable(&mut self.post, who, scene);
            post.ask("POST", &self.target, "Content-Type: text/plain;charset=UTF-8\r\n", body.as_bytes(), ());
            post.link.pump(scene, false);
        }
    }

    /// True when the WebSocket can take over.
    fn go_on_with_probe(&mut self, scene: &mut Scene) -> bool {
        let Some(Probe { socket, answered }) = &mut self.probe else { return false };
        let was_open = socket.open;
        socket.link.pump(scene, true);
        while let Some(seen) = socket.next(scene) {
            if let Seen::Text(text) = seen {
                assert_eq!(text, "3probe");
                *answered = true;
            }
        }
        if socket.open && !was_open && socket.is_live() {
            socket.send(scene, 1, b"2probe");
        }
        if !socket.is_live() && (socket.open || socket.is_over()) {
            scene.coverage.hit("socket.io: upgrade failed");
            socket.link.reset(scene);
            self.probe = None;
            return false;
        }
        let idle = |requests: &Option<Requests<()>>| requests.as_ref().is_none_or(|one| one.outstanding() == 0);
        *answered && idle(&self.get) && idle(&self.post) && socket.is_live()
    }
}

/// The connection, or another if it is over.
fn usable<'r>(requests: &'r mut Option<Requests<()>>, who: &str, scene: &mut Scene) -> &'r mut Requests<()> {
    if requests.as_ref().is_some_and(Requests::is_over)
        && let Some(mut over) = requests.take()
    {
        over.link.reset(scene);
    }
    requests.get_or_insert_with(|| Requests::open(scene, who))
}

fn packets(version: u8, mut payload: &str) -> Vec<String> {
    if version == 4 {
        return payload.split('\u{1e}').map(str::to_owned).collect();
    }
    let mut packets = Vec::new();
    while let Some((len, rest)) = payload.split_once(':') {
        let len: usize = rest.chars().take(len.parse().expect("a length")).map(char::len_utf8).sum();
        packets.push(rest[..len].to_owned());
        payload = &rest[len..];
    }
    packets
}

impl Client for Listener {
    fn act(&mut self, scene: &mut Scene) {
        if self.version == 3 && self.joined && scene.now - self.pinged_at >= PING_EVERY {
            self.pinged_at = scene.now;
            self.out.push_back("2".into());
        }
        let acted = match self.carrier.take() {
            None => return self.begin(scene),
            Some(Carrier::Polling(polling)) => self.act_by_polling(polling, scene),
            Some(Carrier::Socket(socket)) => self.act_by_socket(socket, scene),
        };
        match acted {
            Ok(()) if self.leaving => {}
            Ok(()) => self.do_something(scene),
            Err(Lost) => self.lose(scene),
        }
    }

    fn leave(&mut self) {
        self.leaving = true;
    }

    fn is_poller(&self) -> bool {
        !matches!(self.carrier, Some(Carrier::Socket(_)))
    }

    fn hears(&self) -> Option<Hears<'_>> {
        let Some(Carrier::Socket(socket)) = &self.carrier else { return None };
        let live = self.joined && socket.open && socket.link.state == State::Open;
        live.then_some(Hears { channel: &self.stream.channel, told: self.stream.listeners, name: None, me: None })
    }

    fn check_rest(&mut self, scene: &mut Scene) {
        let live = match &self.carrier {
            Some(Carrier::Socket(socket)) => socket.is_live(),
            Some(Carrier::Polling(polling)) => polling.has_sid,
            None => false,
        };
        if !live {
            return self.patience.check(&self.who, scene);
        }
        assert!(self.joined, "{}: not joined at rest", self.who);
        self.stream.check_rest(scene);
        assert!(self.pending.is_empty(), "{}: unanswered: {:?}", self.who, self.pending);
        assert!(self.out.is_empty(), "{}: not sent: {:?}", self.who, self.out);
        scene.coverage.hit(if self.is_poller() { "rest: socket.io polling" } else { "rest: socket.io websocket" });
    }
}
