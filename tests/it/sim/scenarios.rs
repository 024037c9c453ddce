//! Small scenes without chance: what a person would try first. Nothing fails here unless the scene says so.

use std::time::Duration;

use super::clients::link::{Requests, Seen, State, WebSocket};
use super::random::Random;
use tallycast::base::limits::TURN_MESSAGES_MAX;

use super::setup::{HEARTBEAT, HEARTBEAT_EVERY, Knobs};
use super::wire::{Response, json};
use super::world::World;

pub(crate) fn world(knobs: Knobs) -> World {
    let mut world = World::new(knobs, Random::new(1));
    world.calm();
    world
}

/// A WebSocket and all that it was told.
pub(crate) struct Window {
    pub(crate) socket: WebSocket,
    pub(crate) texts: Vec<String>,
    pub(crate) closed: Option<u16>,
}

impl Window {
    pub(crate) fn open(world: &mut World, target: &str) -> Window {
        let mut window =
            Window { socket: WebSocket::open(&mut world.scene, target, target), texts: Vec::new(), closed: None };
        window.look(world);
        window
    }

    pub(crate) fn say(&mut self, world: &mut World, text: &str) {
        self.socket.send(&mut world.scene, 1, text.as_bytes());
        self.socket.link.pump(&mut world.scene, false);
    }

    /// Moves everything on until nothing moves, and reads.
    pub(crate) fn look(&mut self, world: &mut World) {
        loop {
            world.rest();
            let moved = world.scene.moved;
            self.socket.link.pump(&mut world.scene, true);
            while let Some(seen) = self.socket.next(&mut world.scene) {
                match seen {
                    Seen::Open => {}
                    Seen::Text(text) => self.texts.push(text),
                    Seen::Binary(bytes) => panic!("{bytes:?}"),
                    Seen::Close(code) => self.closed = Some(code),
                }
            }
            if world.scene.moved == moved {
                return;
            }
        }
    }

    fn types(&self) -> Vec<String> {
        let kind = |text: &String| json(text)["type"].as_str().unwrap_or_default().to_owned();
        self.texts.iter().map(kind).collect()
    }
}

/// Asks, and moves everything on until there is an answer or nothing moves.
pub(crate) fn fetch(
    world: &mut World,
    method: &'static str,
    target: &str,
    head: &str,
    body: &[u8],
) -> Option<Response> {
    let mut requests = Requests::open(&mut world.scene, target);
    requests.ask(method, target, head, body, ());
    let response = poll(world, &mut requests);
    requests.link.finish();
    requests.link.pump(&mut world.scene, true);
    world.rest();
    response
}

pub(crate) fn poll(world: &mut World, requests: &mut Requests<()>) -> Option<Response> {
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

#[test]
fn a_vote_in_one_window_moves_the_other() {
    for cores in 1..=3 {
        let mut world = world(Knobs::calm(cores));
        let mut first = Window::open(&mut world, "/c/poll/lunch");
        let mut second = Window::open(&mut world, "/c/poll/lunch");
        let mut old = Window::open(&mut world, "/message");
        first.say(&mut world, "{\"choice\":\"2\",\"id\":7}");
        first.look(&mut world);
        second.look(&mut world);
        old.look(&mut world);
        assert_eq!(first.types()[0], "snapshot");
        let tally = |window: &Window| window.texts.iter().find(|text| text.contains("\"tally\"")).cloned();
        let seen = tally(&second).expect("the other window sees it");
        assert_eq!(Some(&seen), tally(&first).as_ref());
        assert_eq!(json(&seen)["counts"], json("{\"1\":0,\"2\":1,\"3\":0}"));
        let ok = first.texts.iter().map(|text| json(text)).find(|message| message["type"] == "ok");
        assert_eq!(ok.map(|ok| ok["id"].clone()), Some(json("7")));
        assert_eq!(old.texts.iter().map(|text| json(text)).collect::<Vec<_>>(), [json("{\"cid\":\"2\",\"count\":1}")]);
        let page = fetch(&mut world, "GET", "/c/poll/lunch", "", b"").expect("an answer");
        assert_eq!(page.json()["state"]["total"], 1);
    }
}

#[test]
fn a_refusal_keeps_the_connection() {
    let mut world = world(Knobs::calm(2));
    let mut window = Window::open(&mut world, "/message");
    for text in ["9", "1"] {
        window.say(&mut world, text);
        window.look(&mut world);
    }
    let texts: Vec<_> = window.texts.iter().map(|text| json(text)).collect();
    let refusal = json("{\"error\":\"unknown_option\",\"expected\":\"1, 2, 3\"}");
    assert_eq!(texts, [refusal, json("{\"cid\":\"1\",\"count\":1}")]);
}

#[test]
fn who_stops_reading_is_told_to_come_back_and_resumes() {
    let mut knobs = Knobs::calm(1);
    knobs.limits.log_bytes_max = 512;
    let mut world = World::new(knobs, Random::new(1));
    world.calm();
    world.scene.drivers[0].narrow(300);
    let mut window = Window::open(&mut world, "/c/news");
    let text = "x".repeat(200);
    let kind = "Content-Type: text/plain\r\n";
    for _ in 0..60 {
        let response = fetch(&mut world, "POST", "/c/news", kind, text.as_bytes()).expect("an answer");
        assert_eq!(response.status, 200);
    }
    window.look(&mut world);
    assert_eq!(window.closed, Some(4008), "the tail had passed it: {:?}", window.types());
    let last = window.texts.iter().rev().find_map(|text| json(text)["at"].as_str().map(str::to_owned));
    let again = format!("/c/news?since={}", last.expect("it was shown something"));
    world.scene.drivers[0].narrow(1 << 20);
    let back = Window::open(&mut world, &again);
    // 60 messages were sent and 20 are kept.
    assert_eq!(back.types()[0], "snapshot");
    let kept = json(&back.texts[0]);
    assert_eq!(kept["state"]["messages"].as_array().map(Vec::len), Some(20));
}

#[test]
fn a_stop_answers_parked_polls_and_says_going_away() {
    for cores in [1, 2] {
        let mut world = world(Knobs::calm(cores));
        let mut window = Window::open(&mut world, "/c/poll/lunch");
        let at = json(&window.texts[0])["at"].as_str().expect("a position").to_owned();
        let mut parked = Requests::open(&mut world.scene, "parked");
        parked.ask("GET", &format!("/c/poll/lunch?wait=30&since={at}"), "", b"", ());
        assert!(poll(&mut world, &mut parked).is_none(), "parked");
        let page = fetch(&mut world, "GET", "/index", "", b"").expect("a page");
        let cookie = page.header("set-cookie").and_then(|line| line.split(';').next()).expect("a cookie");
        let cookie = format!("Cookie: {cookie}\r\n");
        let mut old = Requests::open(&mut world.scene, "old");
        old.ask("GET", "/get_new_vote", &cookie, b"", ());
        assert!(poll(&mut world, &mut old).is_none(), "parked");
        world.stop();
        window.look(&mut world);
        assert_eq!(window.closed, Some(1001));
        let answer = poll(&mut world, &mut parked).expect("answered");
        assert_eq!((answer.json()["type"].as_str(), answer.closes()), (Some("publications"), true));
        let answer = poll(&mut world, &mut old).expect("answered");
        assert_eq!((answer.json()["status"].as_bool(), answer.closes()), (Some(false), true));
        for link in [&mut parked.link, &mut old.link] {
            link.finish();
            link.pump(&mut world.scene, true);
        }
        window.look(&mut world);
        assert_eq!(window.socket.link.state, State::Ended);
        world.pass(Duration::from_secs(20));
        for core in &world.cores {
            let census = core.shard.census();
            assert!(core.shard.is_stopped(), "{census:?}");
            assert_eq!((census.connections, census.parked_polls, census.subscribers), (0, 0, 0), "{census:?}");
        }
    }
}

#[test]
fn two_tabs_share_a_cookie_and_see_the_same_vote() {
    for cores in [1, 3] {
        let mut world = world(Knobs::calm(cores));
        let page = fetch(&mut world, "GET", "/index", "", b"").expect("a page");
        let cookie = page.header("set-cookie").and_then(|line| line.split(';').next()).expect("a cookie");
        let cookie = format!("Cookie: {cookie}\r\n");
        let mut tabs: Vec<Requests<()>> = Vec::new();
        for who in ["left", "right"] {
            let mut tab = Requests::open(&mut world.scene, who);
            tab.ask("GET", "/get_new_vote", &cookie, b"", ());
            assert!(poll(&mut world, &mut tab).is_none(), "parked");
            tabs.push(tab);
        }
        let form = "Content-Type: application/x-www-form-urlencoded\r\n";
        for choice in ["1", "2"] {
            let body = format!("uid={choice}");
            let vote = fetch(&mut world, "POST", "/vote", form, body.as_bytes()).expect("an answer");
            assert_eq!((vote.status, vote.text()), (200, super::setup::ACCEPTED));
        }
        for tab in &mut tabs {
            let vote = poll(&mut world, tab).expect("the vote");
            assert_eq!(vote.json(), json("{\"status\":true,\"data\":{\"uid\":\"1\",\"count\":1}}"));
        }
        // What fell between two polls waits for the next.
        tabs[0].ask("GET", "/get_new_vote", &cookie, b"", ());
        let vote = poll(&mut world, &mut tabs[0]).expect("the vote");
        assert_eq!(vote.json(), json("{\"status\":true,\"data\":{\"uid\":\"2\",\"count\":1}}"));
    }
}

/// Whatever the moment at which it is set.
#[test]
fn a_timer_is_never_early_and_at_most_a_millisecond_late() {
    let mut world = world(Knobs::calm(1));
    for nanos in [0, 1, 999_999, 1_000_000, 1_000_001, 123_456_789, 987_654_321] {
        world.pass(Duration::from_nanos(nanos));
        let mut window = Window::open(&mut world, "/c/echo");
        world.pass(HEARTBEAT_EVERY - Duration::from_nanos(1));
        window.look(&mut world);
        assert_eq!(window.texts.len(), 0, "early, after {nanos} ns");
        world.pass(Duration::from_millis(1));
        window.look(&mut world);
        assert_eq!(window.texts, [HEARTBEAT], "late, after {nanos} ns");
    }
}

/// A flood of messages is read in slices: other connections have their turn in between. (The world checks each slice.)
#[test]
fn a_turn_reads_a_bounded_number_of_messages() {
    let mut world = world(Knobs::calm(1));
    let mut flood = Window::open(&mut world, "/message");
    for _ in 0..3 * TURN_MESSAGES_MAX {
        flood.socket.send(&mut world.scene, 1, b"1");
    }
    flood.look(&mut world);
    assert_eq!(flood.texts.len(), 3 * TURN_MESSAGES_MAX, "each vote is one message");
}
