//! Small scenes without chance about groups, users, tables and names.

use std::time::Duration;

use serde_json::{Value, json};
use tallycast::base::limits::LISTENERS_PACE;

use super::clients::link::{Requests, WebSocket};
use super::clients::percent;
use super::scenarios::{Window, fetch, poll, world};
use super::setup::Knobs;
use super::wire::json as parse;
use super::world::World;

const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\n";
const JSON: &str = "Content-Type: application/json\r\n";

fn narrow(world: &mut World, pipe_max: usize) {
    world.scene.drivers.iter_mut().for_each(|driver| driver.narrow(pipe_max));
}

/// What it was told of one type.
fn of_type(window: &Window, kind: &str) -> Vec<Value> {
    let messages = window.texts.iter().map(|text| parse(text));
    messages.filter(|message| message["type"] == kind).collect()
}

/// Until who comes, goes and edits was told.
fn pace(world: &mut World, windows: &mut [&mut Window]) {
    world.pass(LISTENERS_PACE * 2);
    windows.iter_mut().for_each(|window| window.look(world));
}

fn leave(world: &mut World, mut window: Window) {
    window.socket.link.reset(&mut world.scene);
    world.rest();
}

#[test]
fn a_sender_that_reads_nothing_gets_all_but_its_own_messages_later() {
    for (cores, completions) in [(1, 0), (1, 100), (2, 0), (3, 100)] {
        let mut world = world(Knobs { completions, ..Knobs::calm(cores) });
        let mut sender = Window::open(&mut world, "/c/room/lobby");
        let mut plain = Window::open(&mut world, "/my_ws");
        let mut other = Window::open(&mut world, "/my_ws");
        narrow(&mut world, 300);
        for round in 0..12 {
            // Some in a row, some between those of the other.
            for part in 0..=round % 3 {
                let text = format!("{{\"text\":\"own {round}.{part}\",\"id\":{}}}", 3 * round + part);
                sender.say(&mut world, &text);
                plain.say(&mut world, &format!("plain {round}.{part}"));
                world.rest();
            }
            other.say(&mut world, &format!("other {round} {}", "x".repeat(90)));
            other.look(&mut world);
        }
        narrow(&mut world, 1 << 20);
        for window in [&mut sender, &mut plain, &mut other] {
            window.look(&mut world);
        }
        let (mut at, mut ids, mut texts) = (0, Vec::new(), Vec::new());
        for text in &sender.texts {
            let message = parse(text);
            let place = message["at"].as_str().and_then(|at| at.split_once('-')).map(|(_, revision)| revision);
            let place: u64 = place.map_or(0, |revision| revision.parse().expect("a revision"));
            match message["type"].as_str() {
                Some("message") => {
                    assert!(place > at, "in order: {message} behind {at}");
                    texts.push(message["text"].as_str().expect("a text").to_owned());
                    at = place;
                }
                Some("ok") => {
                    assert!(place > at, "behind all that came before, and before all that came later: {message}");
                    ids.push(message["id"].as_u64().expect("its number"));
                    at = place;
                }
                _ => {}
            }
        }
        let rounds = |name: &str| -> Vec<String> {
            let parts = (0..12).flat_map(|round| (0..=round % 3).map(move |part| (round, part)));
            parts.map(|(round, part)| format!("{name} {round}.{part}")).collect()
        };
        let numbers: Vec<u64> = (0..12).flat_map(|round| (0..=round % 3).map(move |part| 3 * round + part)).collect();
        assert_eq!(ids, numbers, "each is acknowledged once, in order");
        let is_by = |name: &'static str| move |text: &&String| text.starts_with(name);
        let by = |texts: &[String], name| texts.iter().filter(is_by(name)).cloned().collect::<Vec<_>>();
        assert_eq!(by(&texts, "plain"), rounds("plain"));
        assert_eq!((by(&texts, "other").len(), by(&texts, "own").len()), (12, 0));
        assert_eq!(by(&plain.texts, "own"), rounds("own"));
        assert_eq!((by(&plain.texts, "other").len(), by(&plain.texts, "plain").len()), (12, 0));
        assert_eq!((by(&other.texts, "own"), by(&other.texts, "plain")), (rounds("own"), rounds("plain")));
        assert_eq!(by(&other.texts, "other").len(), 0);
    }
}

#[test]
fn a_user_with_two_connections_comes_once_goes_once_and_gets_everything_twice() {
    for cores in 1..=3 {
        let mut world = world(Knobs::calm(cores));
        let mut watcher = Window::open(&mut world, "/c/dm/bob");
        // Who listens to a user's channel is that user; the group's listeners have the names that they give.
        let mut room = Window::open(&mut world, "/c/room/lobby?name=eve");
        let targets = ["/c/room/lobby?name=bob".to_owned(), format!("/my_ws?name={}", percent("bob"))];
        let bobs: Vec<Window> = targets.iter().map(|target| Window::open(&mut world, target)).collect();
        let mut old = Window::open(&mut world, "/my_ws/bob");
        let mut sender = Window::open(&mut world, "/c/dm/ann");
        sender.say(&mut world, "{\"to\":\"bob\",\"text\":\"你好\",\"id\":1}");
        sender.say(&mut world, "{\"to\":\"nobody\",\"text\":\"你好\",\"id\":2}");
        pace(&mut world, &mut [&mut watcher, &mut room, &mut old, &mut sender]);
        assert_eq!(of_type(&watcher, "message")[0]["text"], "你好");
        assert_eq!(of_type(&watcher, "message")[0]["from"], "ann");
        assert_eq!(old.texts, ["你好"]);
        assert_eq!(of_type(&sender, "ok").len(), 1);
        assert_eq!(of_type(&sender, "refused")[0]["code"], "absent");
        let joined = of_type(&room, "joined");
        assert_eq!(joined.iter().filter(|joined| joined["user"] == "bob").count(), 1, "{joined:?}");
        let mut bobs = bobs.into_iter();
        leave(&mut world, bobs.next().expect("the first"));
        pace(&mut world, &mut [&mut room]);
        assert_eq!(of_type(&room, "left").len(), 0, "one is still there");
        let members = fetch(&mut world, "GET", "/c/room/lobby?members", "", b"").expect("an answer");
        let expected = json!({"type": "members", "channel": "room/lobby", "listeners": 2, "users": ["bob", "eve"]});
        assert_eq!(members.json(), expected);
        leave(&mut world, bobs.next().expect("the second"));
        pace(&mut world, &mut [&mut room]);
        assert_eq!(of_type(&room, "left"), [json!({"type": "left", "user": "bob"})]);
    }
}

#[test]
fn what_was_kept_is_given_once() {
    for cores in 1..=3 {
        let mut world = world(Knobs::calm(cores));
        for text in ["one", "two"] {
            let body = format!("text={text}");
            let kept = fetch(&mut world, "POST", "/c/keep/bob", FORM, body.as_bytes()).expect("an answer");
            assert_eq!(kept.status, 200);
        }
        let first = Window::open(&mut world, "/my_keep/bob");
        let second = Window::open(&mut world, "/my_keep/bob");
        assert_eq!((first.texts.len(), &first.texts[..1], second.texts.len()), (2, &["one".to_owned()][..], 0));
        leave(&mut world, first);
        leave(&mut world, second);
        fetch(&mut world, "POST", "/c/keep/bob", FORM, b"text=three").expect("an answer");
        // Who can be shown all that is there is shown it, and has it.
        let own = Window::open(&mut world, "/c/keep/bob");
        assert_eq!(parse(&own.texts[0])["state"]["messages"].as_array().map(Vec::len), Some(3));
        let late = Window::open(&mut world, "/my_keep/bob");
        assert!(late.texts.is_empty(), "{:?}", late.texts);
    }
}

/// Between the moment at which a name is known and that at which its stream begins.
#[test]
fn what_is_sent_to_who_is_just_coming_is_not_lost() {
    let mut world = world(Knobs::calm(1));
    let mut coming = WebSocket::open(&mut world.scene, "bob", "/my_ws/bob");
    coming.link.pump(&mut world.scene, false);
    world.turn(0);
    world.run_engine();
    let mut sender = Requests::open(&mut world.scene, "sender");
    sender.ask("POST", "/c/dm/bob", FORM, b"text=hello", ());
    sender.link.pump(&mut world.scene, false);
    world.turn(0);
    world.run_engine();
    world.deliver(usize::MAX);
    let answer = poll(&mut world, &mut sender).expect("an answer");
    assert_eq!(answer.status, 200, "bob is there: {}", answer.text());
    let mut bob = Window { socket: coming, texts: Vec::new(), closed: None };
    bob.look(&mut world);
    assert_eq!(bob.texts, ["hello"]);
}

#[test]
fn a_name_that_is_one_too_many_harms_nobody_else() {
    let mut world = world(Knobs { users_max: 1, ..Knobs::calm(1) });
    let mut ann = Window::open(&mut world, "/c/room/lobby?name=ann");
    let mut bob = WebSocket::open(&mut world.scene, "bob", "/c/room/lobby?name=bob");
    bob.link.pump(&mut world.scene, false);
    world.turn(0);
    // Names are told again while the answer to the new one is under way.
    world.cores[0].shard.inbox_overflowed();
    let mut bob = Window { socket: bob, texts: Vec::new(), closed: None };
    bob.look(&mut world);
    assert!(!bob.socket.open && world.scene.coverage.count("server: 503 for a handshake") == 1);
    ann.say(&mut world, "{\"text\":\"still here\",\"id\":1}");
    pace(&mut world, &mut [&mut ann]);
    assert_eq!((ann.closed, of_type(&ann, "ok").len()), (None, 1), "{:?}", ann.texts);
    let members = fetch(&mut world, "GET", "/c/room/lobby?members", "", b"").expect("an answer");
    assert_eq!((members.json()["users"].clone(), members.json()["listeners"].clone()), (json!(["ann"]), json!(1)));
}

#[test]
fn a_stale_write_is_refused_with_what_stands_there() {
    for cores in 1..=3 {
        let mut world = world(Knobs::calm(cores));
        let mut bob = Window::open(&mut world, "/c/table/people?name=bob");
        let mut eve = Window::open(&mut world, "/c/table/people?name=eve");
        let mut page = Window::open(&mut world, "/cells");
        assert_eq!(page.texts.len(), 15);
        let set = |value: &str, id: u64| {
            let cell = json!({"row": "1", "column": "age", "value": value, "if_rev": 0});
            json!({"set": [{"index": 2, "column": "name", "value": value}, cell], "id": id}).to_string()
        };
        bob.say(&mut world, &set("19", 1));
        bob.look(&mut world);
        eve.say(&mut world, &set("20", 2));
        for window in [&mut bob, &mut eve, &mut page] {
            window.look(&mut world);
        }
        assert_eq!(of_type(&bob, "ok").len(), 1);
        let refused = &of_type(&eve, "refused")[0];
        let expected = json!({
            "type": "refused", "id": 2, "code": "stale", "expected": "the cell's present revision as if_rev",
            "row": "1", "column": "age", "rev": 1, "value": "19", "by": "bob",
        });
        assert_eq!(*refused, expected);
        // All or nothing: of the refused write, nothing.
        assert_eq!(of_type(&eve, "cells").len(), 1);
        let cells: Vec<Value> = page.texts[15..].iter().map(|text| parse(text)).collect();
        let cell = |index: u64, column: &str| json!({"index": index, "value": "19", "forms": column});
        assert_eq!(cells, [cell(2, "name"), cell(0, "age")]);
    }
}

#[test]
fn a_mark_goes_with_its_connection_and_with_its_row() {
    for cores in 1..=3 {
        let mut world = world(Knobs::calm(cores));
        let mut bob = Window::open(&mut world, "/c/table/people?name=bob");
        let mut eve = Window::open(&mut world, "/c/table/people?name=eve");
        let mut page = Window::open(&mut world, "/c/table/people");
        bob.say(&mut world, "{\"editing\":{\"row\":\"1\",\"column\":\"age\"}}");
        eve.say(&mut world, "{\"editing\":{\"row\":\"2\",\"column\":\"name\"}}");
        pace(&mut world, &mut [&mut bob, &mut eve, &mut page]);
        let seen = of_type(&page, "editing");
        let mut users: Vec<&Value> = seen.iter().map(|mark| &mark["user"]).collect();
        users.sort_by_key(|user| user.to_string());
        assert_eq!(users, ["bob", "eve"]);
        assert_eq!(of_type(&bob, "editing").len(), 1, "it is not told of its own");
        // Who comes later is told at once.
        let late = Window::open(&mut world, "/c/table/people");
        assert_eq!(of_type(&late, "editing").len(), 2);
        leave(&mut world, eve);
        bob.say(&mut world, "{\"delete\":{\"row\":\"1\"},\"id\":1}");
        pace(&mut world, &mut [&mut bob, &mut page]);
        let gone = &of_type(&page, "editing")[2..];
        assert_eq!(gone.len(), 2, "{gone:?}");
        assert!(gone.iter().all(|mark| mark.get("row").is_none()), "{gone:?}");
        let later = Window::open(&mut world, "/c/table/people");
        assert_eq!(of_type(&later, "editing").len(), 0);
    }
}

/// What cannot be told change by change is told cell by cell; rows that are gone are emptied.
#[test]
fn a_gap_leaves_no_ghosts_on_an_old_page() {
    let mut knobs = Knobs::calm(1);
    knobs.limits.history_publications_max = 0;
    knobs.inbox_max = 0;
    let mut world = world(knobs);
    let mut page = Window::open(&mut world, "/cells");
    // From now on no publication finds room.
    world.scene.calm = false;
    for row in ["1", "3"] {
        let body = json!({"delete": {"row": row}}).to_string();
        let answer = fetch(&mut world, "POST", "/c/table/people", JSON, body.as_bytes()).expect("an answer");
        assert_eq!(answer.status, 200);
    }
    world.pass(Duration::from_secs(1));
    page.look(&mut world);
    let mut shown = std::collections::BTreeMap::new();
    for text in &page.texts {
        let cell = parse(text);
        shown.insert((cell["index"].to_string(), cell["forms"].to_string()), cell["value"].clone());
    }
    let below = shown.iter().filter(|((index, _), _)| index != "0");
    assert!(below.clone().count() == 10 && below.clone().all(|(_, value)| value == ""), "{shown:?}");
    assert_eq!(shown[&("0".to_owned(), "\"name\"".to_owned())], "小花");
}
