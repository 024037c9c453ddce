//! Small scenes of Engine.IO and Socket.IO, on one core and several: connections land on any of them. Nothing fails here
//! unless the scene says so, and time passes only where it says so: what must end at once has no time to.

use std::time::Duration;

use serde_json::Value;
use tallycast::app::config::parse;

use super::clients::link::{Requests, Seen, WebSocket};
use super::random::Random;
use super::setup::Knobs;
use super::wire::{Response, json};
use super::world::World;

mod channels;
mod endings;
mod handshakes;
mod upgrades;

const CONFIG: &str = include_str!("scenes.toml");

/// Of the scenes' endpoints.
const PING_INTERVAL: Duration = Duration::from_millis(300);
const PING_TIMEOUT: Duration = Duration::from_millis(200);
const CONNECT_TIMEOUT: Duration = Duration::from_millis(1000);
const ONE: Duration = Duration::from_nanos(1);

fn world(cores: usize) -> World {
    world_with(Knobs::calm(cores), CONFIG)
}

fn world_with(knobs: Knobs, config: &str) -> World {
    let mut setup = parse(config, "scenes.toml").expect("a configuration").setup;
    setup.limits = knobs.limits.clone();
    let mut world = World::of(&std::sync::Arc::new(setup), knobs, Random::new(1));
    world.calm();
    world
}

/// Asks, and moves everything on until there is an answer or nothing moves.
fn fetch(world: &mut World, method: &'static str, target: &str, head: &str, body: &[u8]) -> Option<Response> {
    let mut requests = Requests::open(&mut world.scene, target);
    requests.ask(method, target, head, body, ());
    let response = answer(world, &mut requests);
    requests.link.finish();
    requests.link.pump(&mut world.scene, true);
    world.rest();
    response
}

fn answer(world: &mut World, requests: &mut Requests<()>) -> Option<Response> {
    loop {
        world.rest();
        let moved = world.scene.moved;
        requests.link.pump(&mut world.scene, true);
        if let Some(((), response)) = requests.next(&world.scene) {
            return Some(response);
        }
        if world.scene.moved == moved {
            return None;
        }
    }
}

/// A client that polls, each request over a connection of its own.
struct Poller {
    target: String,
    version: u8,
    parked: Option<Requests<()>>,
}

impl Poller {
    fn open(world: &mut World, path: &str, version: u8) -> Poller {
        let target = format!("{path}?EIO={version}&transport=polling&b64=1");
        let response = fetch(world, "GET", &target, "", b"").expect("a handshake");
        assert_eq!(response.status, 200, "{response:?}");
        let packets = packets(version, response.text());
        let [open] = &packets[..] else { panic!("more than a handshake: {packets:?}") };
        let open = json(open.strip_prefix('0').expect("an open packet"));
        assert_eq!(open["upgrades"], json("[\"websocket\"]"));
        let quiet = path == "/quiet/";
        assert_eq!(open["pingInterval"], if quiet { 10_000 } else { 300 });
        assert_eq!(open["pingTimeout"], if quiet { 10_000 } else { 200 });
        let target = format!("{target}&sid={}", open["sid"].as_str().expect("a sid"));
        Poller { target, version, parked: None }
    }

    /// The target of its WebSocket.
    fn websocket(&self) -> String {
        self.target.replace("transport=polling", "transport=websocket")
    }

    fn post_raw(&self, world: &mut World, body: &str) -> Option<Response> {
        fetch(world, "POST", &self.target, "Content-Type: text/plain;charset=UTF-8\r\n", body.as_bytes())
    }

    /// Sends packets; the status.
    fn post(&self, world: &mut World, packets: &[&str]) -> u16 {
        let response = self.post_raw(world, &payload(self.version, packets)).expect("an answer to a POST");
        assert!(response.status != 200 || response.text() == "ok", "{response:?}");
        response.status
    }

    /// A GET that is still unanswered.
    fn park(&mut self, world: &mut World) {
        let mut requests = Requests::open(&mut world.scene, "poll");
        requests.ask("GET", &self.target, "", b"", ());
        assert!(answer(world, &mut requests).is_none(), "there is something already");
        self.parked = Some(requests);
    }

    /// What the parked GET has got.
    fn told(&mut self, world: &mut World) -> Option<Vec<String>> {
        let response = answer(world, self.parked.as_mut().expect("a parked GET"))?;
        if let Some(mut parked) = self.parked.take() {
            parked.link.finish();
            parked.link.pump(&mut world.scene, true);
        }
        assert_eq!(response.status, 200, "{response:?}");
        Some(packets(self.version, response.text()))
    }

    /// What waits.
    fn get(&self, world: &mut World) -> Vec<String> {
        let response = fetch(world, "GET", &self.target, "", b"").expect("an answer to a GET");
        assert_eq!(response.status, 200, "{response:?}");
        packets(self.version, response.text())
    }

    /// The status of a GET that is answered at once.
    fn status(&self, world: &mut World) -> u16 {
        fetch(world, "GET", &self.target, "", b"").expect("an answer at once").status
    }

    fn assert_gone(&self, world: &mut World, why: &str) {
        let response = fetch(world, "GET", &self.target, "", b"").unwrap_or_else(|| panic!("{why}: it lives"));
        assert_eq!((response.status, response.json()["code"].clone()), (400, json("1")), "{why}");
        let response = self.post_raw(world, "3").unwrap_or_else(|| panic!("{why}: it lives"));
        assert_eq!(response.status, 400, "{why}");
    }
}

/// Packets in a payload, `b..` for bytes.
fn payload(version: u8, packets: &[&str]) -> String {
    match version {
        3 => packets.iter().map(|packet| format!("{}:{packet}", packet.chars().count())).collect(),
        _ => packets.join("\u{1e}"),
    }
}

fn packets(version: u8, mut payload: &str) -> Vec<String> {
    if version == 4 {
        return payload.split('\u{1e}').map(str::to_owned).collect();
    }
    let mut packets = Vec::new();
    while !payload.is_empty() {
        let (len, rest) = payload.split_once(':').expect("a length");
        let len: usize = rest.chars().take(len.parse().expect("a number")).map(char::len_utf8).sum();
        packets.push(rest[..len].to_owned());
        payload = &rest[len..];
    }
    packets
}

/// A client with a WebSocket.
struct Socket {
    socket: WebSocket,
    /// Texts, and bytes as `b..` in hexadecimal, that were not taken yet.
    told: Vec<String>,
    closed: Option<u16>,
}

impl Socket {
    fn upgrade(world: &mut World, target: &str) -> Socket {
        let mut socket =
            Socket { socket: WebSocket::open(&mut world.scene, target, target), told: Vec::new(), closed: None };
        socket.look(world);
        socket
    }

    /// With its handshake behind it.
    fn open(world: &mut World, path: &str, version: u8) -> Socket {
        let mut socket = Socket::upgrade(world, &format!("{path}?EIO={version}&transport=websocket"));
        let open = json(socket.told.remove(0).strip_prefix('0').expect("an open packet"));
        assert_eq!(open["upgrades"], json("[]"));
        socket
    }

    fn say(&mut self, world: &mut World, text: &str) {
        self.socket.send(&mut world.scene, 1, text.as_bytes());
        self.look(world);
    }

    fn say_bytes(&mut self, world: &mut World, bytes: &[u8]) {
        self.socket.send(&mut world.scene, 2, bytes);
        self.look(world);
    }

    /// Moves everything on until nothing moves, and reads.
    fn look(&mut self, world: &mut World) {
        loop {
            world.rest();
            let moved = world.scene.moved;
            self.socket.link.pump(&mut world.scene, true);
            while let Some(seen) = self.socket.next(&mut world.scene) {
                match seen {
                    Seen::Open => {}
                    Seen::Text(text) => self.told.push(text),
                    Seen::Binary(bytes) => {
                        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                        self.told.push(format!("b{hex}"));
                    }
                    Seen::Close(code) => self.closed = Some(code),
                }
            }
            if world.scene.moved == moved {
                return;
            }
        }
    }

    fn take(&mut self, world: &mut World) -> Vec<String> {
        self.look(world);
        std::mem::take(&mut self.told)
    }

    fn assert_closed(&mut self, world: &mut World, why: &str) {
        self.look(world);
        assert!(self.closed.is_some(), "{why}: it lives, and was told {:?}", self.told);
    }
}

/// The one argument of an event.
fn argument(packet: &str, event: &str) -> Value {
    let start = packet.find('[').unwrap_or_else(|| panic!("no event: {packet}"));
    let array = json(&packet[start..]);
    assert_eq!(array[0].as_str(), Some(event), "{packet}");
    assert_eq!(array.as_array().map(Vec::len), Some(2), "{packet}");
    array[1].clone()
}

/// Nothing is left of anybody.
fn assert_empty(world: &mut World) {
    world.pass(Duration::from_secs(120));
    for core in &world.cores {
        let census = core.shard.census();
        let left = (census.connections, census.sessions, census.parked_polls, census.subscribers, census.private_bytes);
        assert_eq!(left, (0, 0, 0, 0, 0), "{census:?}");
    }
}
