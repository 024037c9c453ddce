//! Slow readers and paced channels, scene by scene: what exactly comes, and when.

use std::time::Duration;

use serde_json::{Value, json};
use tallycast::base::time::Time;
use tallycast::route::Slow;

use super::random::Random;
use super::scenarios::{Window, fetch, world};
use super::setup::{GAP, Knobs, OPTIONS};
use super::wire::json as parse;
use super::world::World;

const POLL: &str = "/c/poll/lunch";
const TEXT: &str = "Content-Type: text/plain\r\n";

fn texts(window: &mut Window, world: &mut World) -> Vec<Value> {
    window.look(world);
    std::mem::take(&mut window.texts).iter().map(|text| parse(text)).collect()
}

/// All that has a position.
fn news(window: &mut Window, world: &mut World) -> Vec<Value> {
    let ephemeral = |text: &Value| matches!(text["type"].as_str(), Some("listeners" | "members" | "joined" | "left"));
    texts(window, world).into_iter().filter(|text| !ephemeral(text)).collect()
}

fn revision(text: &Value) -> u64 {
    let at = text["at"].as_str().expect("a position");
    at.split_once('-').expect("a position").1.parse().expect("a number")
}

fn narrow(slow: [Slow; 2]) -> World {
    let mut knobs = Knobs { slow, ..Knobs::calm(1) };
    knobs.limits.log_bytes_max = 512;
    let mut world = World::new(knobs, Random::new(1));
    world.calm();
    world.scene.drivers[0].narrow(300);
    world
}

fn post(world: &mut World, channel: &str, text: &str) {
    let response = fetch(world, "POST", channel, TEXT, text.as_bytes()).expect("an answer");
    assert_eq!(response.status, 200, "{response:?}");
}

#[test]
fn who_is_skipped_is_told_so_where_something_is_missing() {
    let mut world = narrow([Slow::Close, Slow::Skip]);
    let mut window = Window::open(&mut world, "/c/news");
    assert_eq!(news(&mut window, &mut world)[0]["type"], "snapshot");
    for round in 1..=3_u64 {
        for number in 1..=60 {
            post(&mut world, "/c/news", &format!("{round} {number} {}", "x".repeat(150)));
        }
        let seen = news(&mut window, &mut world);
        assert_eq!(window.closed, None);
        let gaps: Vec<usize> = (0..seen.len()).filter(|index| seen[*index]["type"] == "gap").collect();
        assert_eq!(gaps.len(), 1, "passed again and again before it wakes is one gap: {seen:?}");
        let gap = gaps[0];
        let begin = (round - 1) * 60 + 1;
        assert!(gap > 0 && gap < 30, "some came before it: {seen:?}");
        assert!((begin..).zip(&seen[..gap]).all(|(number, text)| revision(text) == number), "{seen:?}");
        // It was passed for the last time by the last of them, or by one of the last.
        let goes_on = revision(&seen[gap]);
        assert!((goes_on + 1..=round * 60).eq(seen[gap + 1..].iter().map(revision)), "{seen:?}");
        assert_eq!((&seen[gap]["channel"], &seen[gap]["kind"]), (&json!("news"), &json!("feed")));
    }
    post(&mut world, "/c/news", "and on");
    assert_eq!(news(&mut window, &mut world).iter().map(revision).collect::<Vec<_>>(), [181]);
}

#[test]
fn a_plain_reader_is_told_by_the_text_of_its_route() {
    let mut world = narrow([Slow::Close, Slow::Skip]);
    let mut window = Window::open(&mut world, "/my_ws");
    for number in 1..=60 {
        post(&mut world, "/c/room/lobby", &format!("{number:0100}"));
    }
    window.look(&mut world);
    let gaps = window.texts.iter().filter(|text| *text == GAP).count();
    assert_eq!((gaps, window.closed), (1, None), "{:?}", window.texts);
    let numbers: Vec<u64> = window.texts.iter().filter_map(|text| text.parse().ok()).collect();
    assert!(numbers.is_sorted_by(|one, other| one < other) && numbers.len() < 60);
    post(&mut world, "/c/room/lobby", "and on");
    window.look(&mut world);
    assert_eq!(window.texts.last().map(String::as_str), Some("and on"));
}

#[test]
fn who_wants_the_latest_wakes_up_to_it() {
    for target in [POLL, "/tally"] {
        let mut world = narrow([Slow::Latest, Slow::Close]);
        let mut window = Window::open(&mut world, target);
        let mut steps = Window::open(&mut world, "/message");
        news(&mut window, &mut world);
        for _ in 0..100 {
            post(&mut world, POLL, "1");
        }
        let seen = news(&mut window, &mut world);
        assert_eq!(window.closed, None);
        assert!(seen.is_sorted_by(|one, other| revision(one) < revision(other)), "{seen:?}");
        let last = seen.last().expect("the latest");
        assert_eq!(revision(last), 100, "{seen:?}");
        assert!(seen.len() < 60, "not each step: {seen:?}");
        post(&mut world, POLL, "2");
        let next = news(&mut window, &mut world);
        assert_eq!((next.len(), &next[0]["counts"]), (1, &json!({"1": 100, "2": 1, "3": 0})));
        // Who wants every step gets every step, or comes back.
        steps.look(&mut world);
        assert_eq!(steps.closed, Some(4008));
    }
}

/// Votes so many milliseconds apart; what each window was told, and when.
fn paced(world: &mut World, windows: &mut [Window], votes: u64, apart: u64) -> Vec<Vec<(Time, Value)>> {
    let mut told = vec![Vec::new(); windows.len()];
    for vote in 0..votes {
        post(world, POLL, OPTIONS[(vote % 3) as usize]);
        for (window, told) in windows.iter_mut().zip(&mut told) {
            let now = world.scene.now;
            told.extend(news(window, world).into_iter().map(|text| (now, text)));
        }
        world.pass(Duration::from_millis(apart));
    }
    world.pass(Duration::from_secs(2));
    for (window, told) in windows.iter_mut().zip(&mut told) {
        let now = world.scene.now;
        told.extend(news(window, world).into_iter().map(|text| (now, text)));
    }
    told
}

#[test]
fn many_votes_become_a_few_tallies() {
    let mut world = world(Knobs { rates: [Some(20), None], ..Knobs::calm(1) });
    let mut windows = [POLL, "/tally", "/message"].map(|target| Window::open(&mut world, target));
    world.pass(Duration::from_secs(1));
    windows.iter_mut().for_each(|window| drop(news(window, &mut world)));
    let begun = world.scene.now;
    let told = paced(&mut world, &mut windows, 500, 2);
    for told in &told[..2] {
        assert_eq!(told[0].0, begun, "the first behind a rest leaves at once: {told:?}");
        assert_eq!(revision(&told[0].1), 1);
        for pair in told.windows(2) {
            assert!(revision(&pair[0].1) < revision(&pair[1].1), "{pair:?}");
            assert!(
                pair[1].0 - pair[0].0 >= Duration::from_millis(48),
                "seen when it is looked at, each 2 ms: {pair:?}"
            );
        }
        // A second of votes, one tally in each 50 ms; a timer may be a millisecond late.
        assert!((19..=22).contains(&told.len()), "{}", told.len());
        assert_eq!(revision(&told.last().expect("some").1), 500);
        assert_eq!(told.last().expect("some").1["counts"], json!({"1": 167, "2": 167, "3": 166}));
    }
    assert_eq!(told[2].len(), 500, "each step, each at once");
    let page = fetch(&mut world, "GET", POLL, "", b"").expect("an answer").json();
    assert_eq!(page["state"]["total"], 500);
}

#[test]
fn reads_do_not_wait_for_the_pace_and_answers_do() {
    let mut world = world(Knobs { rates: [Some(1), None], ..Knobs::calm(1) });
    let mut voter = Window::open(&mut world, POLL);
    let mut other = Window::open(&mut world, POLL);
    post(&mut world, POLL, "1");
    voter.say(&mut world, "{\"choice\":\"2\",\"id\":7}");
    world.rest();
    // Whoever reads now sees it, whoever is told does not.
    let page = fetch(&mut world, "GET", POLL, "", b"").expect("an answer").json();
    assert_eq!(page["state"]["total"], 2);
    let types = |window: &mut Window, world: &mut World| -> Vec<(String, u64)> {
        let told = news(window, world);
        told.iter().map(|text| (text["type"].as_str().expect("a type").to_owned(), revision(text))).collect()
    };
    let tally = |revision| ("tally".to_owned(), revision);
    assert_eq!(types(&mut voter, &mut world), [("snapshot".to_owned(), 0), tally(1)]);
    // Who comes now has what is not told yet, and is not told it again.
    let mut late = Window::open(&mut world, POLL);
    let mut later = Window::open(&mut world, POLL);
    assert_eq!(types(&mut late, &mut world), [("snapshot".to_owned(), 2)]);
    assert_eq!(types(&mut later, &mut world), [("snapshot".to_owned(), 2)]);
    world.pass(Duration::from_secs(1));
    assert_eq!(types(&mut voter, &mut world), [tally(2), ("ok".to_owned(), 2)]);
    assert_eq!(types(&mut other, &mut world), [("snapshot".to_owned(), 0), tally(1), tally(2)]);
    assert_eq!(types(&mut late, &mut world), []);
    world.pass(Duration::from_secs(1));
    post(&mut world, POLL, "1");
    for window in [&mut late, &mut later, &mut voter, &mut other] {
        assert_eq!(types(window, &mut world), [tally(3)]);
    }
}

#[test]
fn a_paced_log_keeps_every_message() {
    let mut world = world(Knobs { rates: [None, Some(20)], ..Knobs::calm(1) });
    let mut window = Window::open(&mut world, "/c/news");
    world.pass(Duration::from_secs(1));
    news(&mut window, &mut world);
    let mut told: Vec<(Time, usize)> = Vec::new();
    let mut revisions = Vec::new();
    for _ in 0..100 {
        post(&mut world, "/c/news", "text");
        let seen = news(&mut window, &mut world);
        revisions.extend(seen.iter().map(revision));
        if !seen.is_empty() {
            told.push((world.scene.now, seen.len()));
        }
        world.pass(Duration::from_millis(5));
    }
    world.pass(Duration::from_secs(1));
    revisions.extend(news(&mut window, &mut world).iter().map(revision));
    assert!(revisions.iter().copied().eq(1..=100), "{revisions:?}");
    assert_eq!(told[0].1, 1, "the first at once");
    assert!(told.len() <= 11, "{told:?}");
    assert!(told.windows(2).all(|pair| pair[1].0 - pair[0].0 >= Duration::from_millis(45)), "{told:?}");
}

/// The latest of each cell, with its own position and author; rows that come and go are told one by one.
#[test]
fn a_paced_table_tells_the_latest_of_each_cell() {
    const TABLE: &str = "/c/table/people";
    let mut world = world(Knobs { rates: [Some(1), None], ..Knobs::calm(1) });
    let mut window = Window::open(&mut world, TABLE);
    let mut page = Window::open(&mut world, "/cells");
    news(&mut window, &mut world);
    page.look(&mut world);
    page.texts.clear();
    let change = |world: &mut World, change: Value| {
        let kind = "Content-Type: application/json\r\n";
        let response = fetch(world, "POST", TABLE, kind, change.to_string().as_bytes()).expect("an answer");
        assert_eq!(response.status, 200, "{response:?}");
    };
    let cell = |row: &str, column: &str, value: u64| json!({"row": row, "column": column, "value": value});
    change(&mut world, json!({"set": [cell("1", "age", 1)]}));
    for value in 2..=9 {
        change(&mut world, json!({"set": [cell("1", "age", value), cell("2", "age", 10 * value)], "from": "ann"}));
    }
    change(&mut world, json!({"set": [cell("1", "age", 10), cell("3", "age", 3)]}));
    world.pass(Duration::from_secs(1));
    let told: Vec<(u64, Value, Value)> = news(&mut window, &mut world)
        .iter()
        .map(|text| (revision(text), text["by"].clone(), text["cells"].clone()))
        .collect();
    let expected = [
        (1, Value::Null, json!([cell("1", "age", 1)])),
        (9, json!("ann"), json!([cell("2", "age", 90)])),
        (10, Value::Null, json!([cell("1", "age", 10), cell("3", "age", 3)])),
    ];
    assert_eq!(told, expected);
    page.look(&mut world);
    assert_eq!(page.texts.len(), 4, "{:?}", page.texts);
    page.texts.clear();
    world.pass(Duration::from_secs(1));
    change(&mut world, json!({"set": [cell("1", "age", 11)]}));
    change(&mut world, json!({"set": [cell("1", "age", 12)]}));
    change(&mut world, json!({"delete": {"row": "1"}}));
    change(&mut world, json!({"set": [cell("2", "age", 13)]}));
    world.pass(Duration::from_secs(1));
    let types: Vec<(u64, String)> = (news(&mut window, &mut world).iter())
        .map(|text| (revision(text), text["type"].as_str().expect("a type").to_owned()))
        .collect();
    let of = |revision, name: &str| (revision, name.to_owned());
    assert_eq!(types, [of(11, "cells"), of(12, "cells"), of(13, "row_deleted"), of(14, "cells")]);
    page.look(&mut world);
    // One cell at once; then all of two rows, and the third is empty.
    assert_eq!(page.texts.len(), 1 + 15, "{:?}", page.texts);
    let last = parse(page.texts.last().expect("cells"));
    assert_eq!((&last["index"], &last["value"]), (&json!(2), &json!("")));
}
