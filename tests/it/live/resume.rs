//! Coming back with a position: everything that was missed, or the present state and the word that it is a snapshot.

use serde_json::{Value, json};

use super::http::{Events, Http, get, get_json, post, post_form};
use super::server::Server;
use super::socket::Socket;
use super::with_one_loop_and_two;

with_one_loop_and_two!(
    what_was_missed_is_replayed,
    what_cannot_be_followed_is_a_snapshot,
    history_is_bounded,
    a_tally_is_followed_over_breaks,
);

const FEED: &str = "/c/test/feed";

/// Publishes `count` messages; the position behind each.
fn publish(server: &Server, count: usize) -> Vec<String> {
    let mut http = Http::to(server.main());
    let mut one = |number: usize| {
        let headers = [("Content-Type", "text/plain")];
        let answer = http.ask("POST", FEED, &headers, format!("m{number}").as_bytes()).ok().json();
        answer["at"].as_str().expect("a position").to_owned()
    };
    (1..=count).map(&mut one).collect()
}

fn message(positions: &[String], number: usize) -> Value {
    json!({"type": "message", "at": positions[number - 1], "text": format!("m{number}")})
}

fn what_was_missed_is_replayed(cores: u16) {
    let server = Server::demo(cores);
    let at = server.main();
    let start = get_json(at, FEED)["at"].as_str().expect("a position").to_owned();
    let positions = publish(&server, 5);
    // From the beginning, from the middle, from the present: over every transport, on several connections.
    for from in [0, 2, 5] {
        let since = if from == 0 { &start } else { &positions[from - 1] };
        let resumed = json!({"type": "resumed", "channel": "test/feed", "kind": "feed", "at": since});
        let missed: Vec<Value> = (from + 1..=5).map(|number| message(&positions, number)).collect();
        for _ in 0..4 {
            let mut socket = Socket::open(at, &format!("{FEED}?since={since}"));
            assert_eq!(socket.json(), resumed);
            assert_eq!(socket.json()["type"], "listeners");
            for expected in &missed {
                assert_eq!(socket.news(), *expected);
            }
            let by_header = Events::open(at, FEED, &[("Last-Event-ID", since)]);
            let by_query = Events::open(at, &format!("{FEED}?since={since}"), &[]);
            for mut stream in [by_header, by_query] {
                assert_eq!(stream.news(), (since.clone(), resumed.clone()));
                for (number, expected) in (from + 1..).zip(&missed) {
                    assert_eq!(stream.news(), (positions[number - 1].clone(), expected.clone()));
                }
            }
            if from < 5 {
                let news = get_json(at, &format!("{FEED}?wait=30&since={since}"));
                assert_eq!((&news["type"], &news["at"]), (&json!("publications"), &json!(positions[4])));
                assert_eq!(news["publications"], json!(missed));
            }
        }
    }
    // A browser that comes back sends both: what it saw last counts, not where its page began.
    let mut both = Events::open(at, &format!("{FEED}?since={start}"), &[("Last-Event-ID", &positions[3])]);
    assert_eq!(both.news().0, positions[3]);
    assert_eq!(both.news().1, message(&positions, 5));
    // And the stream goes on live.
    post(at, FEED, "text/plain", "live").ok();
    assert_eq!(both.news().1["text"], "live");
}

fn what_cannot_be_followed_is_a_snapshot(cores: u16) {
    let server = Server::demo(cores);
    let at = server.main();
    let positions = publish(&server, 3);
    let (epoch, _) = positions[0].split_once('-').expect("a position");
    let other = if epoch == "1" { "2" } else { "1" };
    let present = get_json(at, FEED);
    for since in [format!("{other}-2"), format!("{epoch}-4"), format!("{epoch}-18446744073709551615")] {
        assert_eq!(Socket::open(at, &format!("{FEED}?since={since}")).news(), present, "{since}");
        assert_eq!(Events::open(at, FEED, &[("Last-Event-ID", &since)]).news().1, present, "{since}");
        assert_eq!(get_json(at, &format!("{FEED}?wait=30&since={since}")), present, "at once, {since}");
    }
    assert_eq!(get_json(at, &format!("{FEED}?wait=30")), present, "no since: at once");
    for bad in ["x", "12", "-", "1-x", "g-1"] {
        let refused = get(at, &format!("{FEED}?wait=1&since={bad}")).with_status(400).json();
        assert_eq!(refused["type"], "refused", "{bad}");
    }
}

fn history_is_bounded(cores: u16) {
    let server = Server::demo(cores);
    let at = server.main();
    // More than any shipped configuration keeps.
    let positions = publish(&server, 3000);
    let mut late = Socket::open(at, &format!("{FEED}?since={}", positions[0]));
    let first = late.news();
    assert_eq!(first["type"], "snapshot", "what is gone is not passed over in silence");
    assert_eq!(first["at"], positions[2999]);
    let kept = first["state"]["messages"].as_array().expect("messages");
    assert!(kept.len() < 3000 && !kept.is_empty(), "{} are kept", kept.len());
    let newest: Vec<Value> = (3001 - kept.len()..=3000).map(|number| message(&positions, number)).collect();
    assert_eq!(*kept, newest, "the newest ones, in order");
    let mut near = Socket::open(at, &format!("{FEED}?since={}", positions[2997]));
    assert_eq!(near.news()["type"], "resumed");
    assert_eq!(near.news(), message(&positions, 2999));
    assert_eq!(near.news(), message(&positions, 3000));
}

/// Someone who loses the connection again and again sees revisions without a gap or doubling, whatever is voted meanwhile.
fn a_tally_is_followed_over_breaks(cores: u16) {
    let server = Server::demo(cores);
    let (at, poll) = (server.main(), server.poll());
    let mut position = get_json(at, &poll)["at"].as_str().expect("a position").to_owned();
    let revision = |at: &str| at.split_once('-').expect("a position").1.parse::<u64>().expect("a revision");
    let mut voted = 0;
    for round in 0..30 {
        let mut socket = Socket::open(at, &format!("{poll}?since={position}"));
        let resumed = socket.json();
        assert_eq!((&resumed["type"], &resumed["at"]), (&json!("resumed"), &json!(position)));
        for vote in 0..3 {
            voted += 1;
            post_form(at, &poll, &format!("choice={}", (round + vote) % 3 + 1)).ok();
        }
        // Reads up to the second of the three and breaks off: the third is missed, with what is voted before the return.
        while revision(&position) < voted - 1 {
            let news = socket.news();
            assert_eq!(news["type"], "tally");
            let next = news["at"].as_str().expect("a position").to_owned();
            assert!(revision(&next) > revision(&position), "{position} and then {next}");
            assert_eq!(news["total"], revision(&next), "each revision is one vote");
            position = next;
        }
    }
}
