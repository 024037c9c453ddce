//! `/c/{channel}` over every transport: what is said on joining, what a change brings, and that an answer is the truth
//! on every connection.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::http::{Events, Http, get, get_json, post, post_form};
use super::server::Server;
use super::socket::Socket;
use super::with_one_loop_and_two;

with_one_loop_and_two!(
    all_transports_see_a_vote,
    a_post_is_a_form_or_json_or_text,
    a_feed_carries_messages,
    an_echo_answers_its_sender_alone,
    an_answer_is_true_on_every_connection,
    the_present_state_has_a_tag,
    a_parked_poll_gets_the_next_change,
    listeners_are_counted,
    channels_of_a_pattern_are_apart,
    refusals_leave_the_connection_open,
);

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// The position `steps` revisions behind another.
fn after(at: &str, steps: u64) -> String {
    let (epoch, revision) = at.split_once('-').expect("a position");
    format!("{epoch}-{}", revision.parse::<u64>().expect("a revision") + steps)
}

fn position(json: &Value) -> String {
    json["at"].as_str().unwrap_or_else(|| panic!("a position in {json}")).to_owned()
}

/// An options' count in a snapshot.
fn count(snapshot: &Value, option: &str) -> u64 {
    let options = snapshot["state"]["options"].as_array().expect("options");
    let found = options.iter().find(|known| known["id"] == option).expect("the option");
    found["count"].as_u64().expect("a count")
}

fn all_transports_see_a_vote(cores: u16) {
    let server = Server::demo(cores);
    let (at, poll) = (server.main(), server.poll());
    let name = poll.strip_prefix("/c/").expect("a channel");
    let present = get_json(at, &poll);
    assert_eq!((&present["type"], &present["kind"]), (&json!("snapshot"), &json!("vote")));
    assert_eq!(present["channel"], name);
    assert_eq!(present["state"]["total"], 0);
    let start = position(&present);
    assert!(start.ends_with("-0"), "{start}");

    let mut sockets: Vec<Socket> = (0..4).map(|_| Socket::open(at, &poll)).collect();
    let mut streams: Vec<Events> = (0..4).map(|_| Events::open(at, &poll, &[])).collect();
    for socket in &mut sockets {
        assert_eq!(socket.json(), present, "the snapshot comes first");
        assert_eq!(socket.json()["type"], "listeners", "then how many listen");
    }
    for stream in &mut streams {
        let first = stream.next().expect("the snapshot");
        assert_eq!(first.id.as_ref(), Some(&start));
        assert_eq!(serde_json::from_str::<Value>(&first.data).expect("JSON"), present);
    }
    let mut poller = Http::to(at);
    poller.send("GET", &format!("{poll}?wait=30&since={start}"), &[], b"");
    assert!(poller.is_silent(Duration::from_millis(50)));

    sockets[0].send(r#"{"choice":"2","id":7}"#);
    let tally = json!({"type": "tally", "at": after(&start, 1), "counts": {"1": 0, "2": 1, "3": 0}, "total": 1});
    // The voter has an answer too, before or behind the publication.
    let heard = [sockets[0].news(), sockets[0].news()];
    assert!(heard.contains(&tally), "{heard:?}");
    assert!(heard.contains(&json!({"type": "ok", "id": 7, "at": after(&start, 1)})), "{heard:?}");
    for socket in &mut sockets[1..] {
        assert_eq!(socket.news(), tally);
    }
    for stream in &mut streams {
        assert_eq!(stream.news(), (after(&start, 1), tally.clone()));
    }
    let answer = poller.answer_to("GET").ok();
    let expected = json!({"type": "publications", "channel": name, "at": after(&start, 1), "publications": [tally]});
    assert_eq!(answer.json(), expected);
    assert_eq!(count(&get_json(at, &poll), "2"), 1);
}

fn a_post_is_a_form_or_json_or_text(cores: u16) {
    let server = Server::demo(cores);
    let (at, poll) = (server.main(), server.poll());
    let start = position(&get_json(at, &poll));
    let good = [
        ("application/x-www-form-urlencoded", "choice=1"),
        (JSON, r#"{"choice":"1"}"#),
        (JSON, r#"{ "choice" : 1 }"#),
        ("application/json; charset=utf-8", r#"{"choice":"1"}"#),
        (TEXT, "1"),
        ("text/plain", "1"),
    ];
    for (steps, (content_type, body)) in (1..).zip(good) {
        let answer = post(at, &poll, content_type, body).ok();
        assert_eq!(answer.json(), json!({"type": "ok", "at": after(&start, steps)}), "{content_type} {body}");
        let content_type = answer.header("Content-Type").expect("a content type");
        assert!(content_type.starts_with(JSON), "{content_type}");
    }
    let bad = [
        (TEXT, "9", 422, "unknown_option"),
        ("application/x-www-form-urlencoded", "choice=9", 422, "unknown_option"),
        (JSON, r#"{"choice":"小明"}"#, 422, "unknown_option"),
        ("application/x-www-form-urlencoded", "other=1", 400, "malformed"),
        (JSON, r#"{"choice":"#, 400, "malformed"),
        (JSON, r#"{"other":"1"}"#, 400, "malformed"),
        (TEXT, "", 400, "malformed"),
    ];
    for (content_type, body, status, code) in bad {
        let refused = post(at, &poll, content_type, body).with_status(status).json();
        assert_eq!((&refused["type"], &refused["code"]), (&json!("refused"), &json!(code)), "{content_type} {body}");
        assert!(refused["expected"].as_str().is_some_and(|text| !text.is_empty()), "{refused}");
    }
    assert_eq!(count(&get_json(at, &poll), "1"), good.len() as u64);
}

fn a_feed_carries_messages(cores: u16) {
    let server = Server::demo(cores);
    let at = server.main();
    let mut socket = Socket::open(at, "/c/test/feed");
    let mut stream = Events::open(at, "/c/test/feed", &[]);
    let first = socket.news();
    assert_eq!(first["state"], json!({"messages": []}));
    let start = position(&first);
    assert_eq!(stream.news().1, first);
    let bodies = [
        (TEXT, "hi", json!({"text": "hi"})),
        (TEXT, "面条\n\"two\" lines\r\n", json!({"text": "面条\n\"two\" lines\r\n"})),
        (JSON, r#"{"any":[1,2]}"#, json!({"text": r#"{"any":[1,2]}"#})),
        ("application/x-www-form-urlencoded", "text=a+b%21", json!({"text": "a b!"})),
        ("application/octet-stream", "\u{0}\u{1}", json!({"binary": "AAE="})),
    ];
    let mut messages = Vec::new();
    for (steps, (content_type, body, mut expected)) in (1..).zip(bodies) {
        expected["type"] = json!("message");
        expected["at"] = json!(after(&start, steps));
        let answer = post(at, "/c/test/feed", content_type, body).ok();
        assert_eq!(answer.json(), json!({"type": "ok", "at": after(&start, steps)}));
        assert_eq!(socket.news(), expected);
        assert_eq!(stream.news(), (after(&start, steps), expected.clone()));
        messages.push(expected);
    }
    assert_eq!(get_json(at, "/c/test/feed")["state"], json!({"messages": messages}));
    socket.send("listeners do not publish");
    let refused = socket.news();
    assert_eq!((&refused["type"], &refused["code"]), (&json!("refused"), &json!("read_only")));
}

fn an_echo_answers_its_sender_alone(cores: u16) {
    let server = Server::demo(cores);
    let at = server.main();
    let mut sockets: Vec<Socket> = (0..2).map(|_| Socket::open(at, "/c/test/echo")).collect();
    sockets[0].send("nobody else");
    assert_eq!(sockets[0].text(), "nobody else");
    assert!(sockets[1].is_silent(Duration::from_millis(50)));
    assert_eq!(post(at, "/c/test/echo", TEXT, "回声").ok().text(), "回声");
}

/// Promise 2: who got an answer to a POST finds its effect in any later GET, on any loop.
fn an_answer_is_true_on_every_connection(cores: u16) {
    let server = Server::demo(cores);
    let (at, poll) = (server.main(), server.poll());
    let mut connections: Vec<Http> = (0..16).map(|_| Http::to(at)).collect();
    // Whoever listens makes mirrors on the loops, so that both kinds of answers are tried: from a mirror, and without.
    let mut streams = Vec::new();
    for round in 1..=600_usize {
        if round == 200 {
            streams.extend((0..8).map(|_| Events::open(at, &poll, &[])));
        }
        if round == 400 {
            streams.clear();
        }
        let headers = [("Content-Type", TEXT)];
        let voted = connections[round % 16].ask("POST", &poll, &headers, b"3").ok().json();
        let reader = &mut connections[(round * 7 + 3) % 16];
        let seen = reader.ask("GET", &poll, &[], b"").ok().json();
        assert_eq!(count(&seen, "3"), round as u64, "the vote that was answered is in the next read");
        assert_eq!(seen["at"], voted["at"]);
        if round % 10 == 0 {
            let first = Socket::open(at, &poll).news();
            assert_eq!(count(&first, "3"), round as u64, "and in what a new listener gets first");
        }
    }
}

fn the_present_state_has_a_tag(cores: u16) {
    let server = Server::demo(cores);
    let (at, poll) = (server.main(), server.poll());
    let first = get(at, &poll).ok();
    let tag = first.header("ETag").expect("a tag").to_owned();
    assert_eq!(tag, format!("\"{}\"", position(&first.json())));
    assert_eq!(first.header("Cache-Control"), Some("no-cache"));
    let mut http = Http::to(at);
    let same = http.ask("GET", &poll, &[("If-None-Match", &tag)], b"").with_status(304);
    assert_eq!(same.header("ETag"), Some(tag.as_str()));
    assert!(same.body.is_empty());
    post_form(at, &poll, "choice=1").ok();
    let changed = http.ask("GET", &poll, &[("If-None-Match", &tag)], b"").ok();
    assert_ne!(changed.header("ETag"), Some(tag.as_str()));
    assert_eq!(count(&changed.json(), "1"), 1);
    let list = format!("\"x\", {}", changed.header("ETag").expect("a tag"));
    http.ask("GET", &poll, &[("If-None-Match", &list)], b"").with_status(304);
}

fn a_parked_poll_gets_the_next_change(cores: u16) {
    let server = Server::demo(cores);
    let (at, poll) = (server.main(), server.poll());
    let mut since = position(&get_json(at, &format!("{poll}?wait=5")));
    for round in 0..20 {
        let mut polls: Vec<Http> = (0..4).map(|_| Http::to(at)).collect();
        for http in &mut polls {
            http.send("GET", &format!("{poll}?wait=30&since={since}"), &[], b"");
        }
        if round == 0 {
            assert!(polls.iter_mut().all(|http| http.is_silent(Duration::from_millis(50))), "parked");
        }
        let voted = position(&post_form(at, &poll, "choice=1").ok().json());
        for http in &mut polls {
            let news = http.answer_to("GET").ok().json();
            assert_eq!(news["at"], voted, "{news}");
            assert_eq!(news["publications"][0]["counts"]["1"], round + 1, "{news}");
        }
        since = voted;
    }
    let nothing = get_json(at, &format!("{poll}?wait=0.1&since={since}"));
    assert_eq!(nothing["publications"], json!([]));
    assert_eq!(nothing["at"], since);
}

fn listeners_are_counted(cores: u16) {
    let server = Server::demo(cores);
    let (at, poll) = (server.main(), server.poll());
    let mut sockets: Vec<Socket> = Vec::new();
    for expected in 1..=5 {
        sockets.push(Socket::open(at, &poll));
        for socket in &mut sockets {
            while socket.json_of("listeners")["count"] != expected {}
        }
    }
    let stream = Events::open(at, &poll, &[]);
    while sockets[0].json_of("listeners")["count"] != 6 {}
    drop(stream);
    while sockets[0].json_of("listeners")["count"] != 5 {}
    sockets.drain(2..).for_each(Socket::close);
    while sockets[0].json_of("listeners")["count"] != 2 {}
}

fn channels_of_a_pattern_are_apart(cores: u16) {
    let server = Server::demo(cores);
    let at = server.main();
    let names = ["a", "b", "a/b", "%E9%9D%A2%E6%9D%A1"];
    let mut positions = BTreeSet::new();
    for (votes, name) in (1..).zip(names) {
        for _ in 0..votes {
            post_form(at, &format!("/c/test/polls/{name}"), "choice=2").ok();
        }
    }
    for (votes, name) in (1..).zip(names) {
        let snapshot = get_json(at, &format!("/c/test/polls/{name}"));
        assert_eq!(count(&snapshot, "2"), votes, "{name}");
        positions.insert(position(&snapshot));
    }
    assert_eq!(positions.len(), names.len());
    assert_eq!(get_json(at, "/c/test/polls/%E9%9D%A2%E6%9D%A1")["channel"], "test/polls/面条");
    get(at, "/c/test/polls/").with_status(404);
}

fn refusals_leave_the_connection_open(cores: u16) {
    let server = Server::demo(cores);
    let (at, poll) = (server.main(), server.poll());
    let mut socket = Socket::open(at, &poll);
    assert_eq!(socket.news()["type"], "snapshot");
    let expected = json!({"type": "refused", "id": 1, "code": "unknown_option", "expected": "1, 2, 3"});
    socket.send(r#"{"choice":"9","id":1}"#);
    assert_eq!(socket.news(), expected);
    let long = format!(r#"{{"choice":"{}"}}"#, "x".repeat(10_000));
    for text in ["", "{", "null", "[]", r#"{"choice":{}}"#, r#"{"id":3}"#, long.as_str()] {
        socket.send(text);
        let refused = socket.news();
        assert_eq!(refused["type"], "refused", "{text:.40}");
        assert_eq!(refused["code"], "malformed", "{text:.40}");
        // A client that gave no id gets none, and one that gave one finds it.
        assert_eq!(refused.get("id").and_then(Value::as_u64), text.contains("id").then_some(3), "{text:.40}");
    }
    socket.send_binary(b"1");
    assert_eq!(socket.news()["type"], "refused");
    socket.send(r#"{"choice":1}"#);
    let heard = [socket.news(), socket.news()];
    assert!(heard.iter().any(|json| json["type"] == "ok" && json.get("id").is_none()), "{heard:?}");
}
