//! Rows 5 and 6 by Python's `websockets`, and one room by every transport at once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Value, json};

use super::{Program, installed};
use crate::live::server::{Config, Server};

/// The port of the demo that has the chats of older pages.
const CHAT: u16 = 9527;

#[test]
fn direct() {
    let Some((_server, mut program)) = row("direct") else {
        return;
    };
    page(&mut program);
    let forwarded = [
        ("bob 0", &["小明 1", "小明 2"][..]),
        ("bob 0", &["小明 1", "小明 2"]),
        ("小明 1", &["Zoë /?#% 3"]),
        ("alice 4", &["alice 4"]),
        ("小明 2", &["bob 0"]),
        ("bob 0", &["alice 4"]),
        ("bob 0", &["alice 4"]),
    ];
    for (by, to) in forwarded {
        assert_eq!(program.step("forwarded"), json!({"step": "forwarded", "by": by, "to": to, "same": true}));
    }
    let codes = [
        "malformed",
        "malformed",
        "malformed",
        "malformed",
        "malformed",
        "malformed",
        "absent",
        "malformed",
        "malformed",
        "malformed",
        "malformed",
        "malformed",
        "too_long",
        "malformed",
        "malformed",
    ];
    for code in codes {
        let refused = program.step("refused");
        let heard = refused["heard"].as_object().expect("who heard what");
        assert_eq!(heard.keys().collect::<Vec<_>>(), ["bob 0"], "{refused}");
        assert_eq!(refused["heard"]["bob 0"].as_array().expect("a list").len(), 1, "{refused}");
        assert_eq!(refused["heard"]["bob 0"][0]["error"], code, "{refused}");
        assert!(refused["heard"]["bob 0"][0]["expected"].is_string(), "{refused}");
    }
    assert_eq!(program.step("statuses")["statuses"], json!([101, 404, 400, 400, 400]));
    let left = program.step("one is left");
    assert_eq!((&left["to"], &left["same"]), (&json!(["小明 2"]), &json!(true)));
    assert_eq!(program.step("none is left")["heard"]["bob 0"][0]["error"], "absent");
    assert_eq!(program.step("back")["same"], true);
    assert_eq!(program.step("reached")["same"], true);
    program.end();
}

#[test]
fn group() {
    let Some((_server, mut program)) = row("group") else {
        return;
    };
    page(&mut program);
    for _ in 0..12 {
        assert_eq!(program.step("sent")["same"], json!([true, true, true]));
    }
    let heard = program.step("at once")["heard"].take();
    let ears: Vec<Vec<String>> = serde_json::from_value(heard).expect("texts");
    let own = |name: usize| move |text: &str| text.starts_with(&format!("{name} "));
    for (name, ear) in ears.iter().enumerate() {
        assert!(!ear.iter().any(|text| own(name)(text)), "{name} hears itself");
        for other in (0..4).filter(|other| *other != name) {
            let expected: Vec<String> = (0..50).map(|count| format!("{other} {count}")).collect();
            let said: Vec<&String> = ear.iter().filter(|text| own(other)(text)).collect();
            assert_eq!(said, expected.iter().collect::<Vec<_>>(), "{name} hears {other}");
            // What both hear of the others, they hear in the same order.
            let both = |text: &&String| !own(name)(text) && !own(other)(text);
            let (mine, theirs) = (ear.iter().filter(both), ears[other].iter().filter(both));
            assert!(mine.eq(theirs), "{name} and {other} hear another order");
        }
    }
    let long = program.step("too long");
    assert_eq!(long["heard"], json!(["after", "after", "after", "to the one who was refused"]));
    assert_eq!(long["refusals"].as_array().map(Vec::len), Some(1), "{long}");
    assert_eq!(long["refusals"][0]["error"], "too_long");
    assert_eq!(program.step("the last")["heard"], "to the last");
    program.end();
}

fn row(row: &str) -> Option<(Server, Program)> {
    let python = installed("TALLYCAST_PYTHON")?;
    let server = Config::demo().cores(2).start();
    let program = Program::start(&python, "rows_5_6.py", &[row, &server.at(CHAT).to_string()]);
    Some((server, program))
}

fn page(program: &mut Program) {
    let page = program.step("page");
    assert_eq!((&page["status"], &page["html"]), (&json!(200), &json!(true)), "{page}");
    assert_eq!(page["type"], "text/html; charset=utf-8");
}

/// A raw WebSocket, one in our own dialect, an EventSource, a long-poller, Socket.IO clients and curl: a message by any of
/// them reaches all others once, in the same order.
#[test]
fn cross_transport() {
    let Some(_) = installed("TALLYCAST_NODE_MODULES") else {
        return;
    };
    let server = Config::demo().cores(2).start();
    let (main, chat) = (server.main().to_string(), server.at(CHAT).to_string());
    let mut program = Program::start(Path::new("node"), "cross_transport.mjs", &[&main, &chat, "room/lobby"]);
    let ready = program.step("ready");
    let texts = |value: &Value| serde_json::from_value::<Vec<String>>(value.clone()).expect("texts");
    let (who, listeners) = (texts(&ready["who"]), texts(&ready["listeners"]));
    let each = ready["each"].as_u64().expect("a number");
    assert_eq!((who.len(), listeners.len(), each), (9, 8, 20));
    let mut ears = BTreeMap::new();
    for listener in &listeners {
        let heard = program.step("heard");
        assert_eq!(heard["who"], **listener);
        ears.insert(listener.clone(), (texts(&heard["heard"]), heard["own"] == true));
    }
    program.end();

    // Who sends by HTTP hears itself: it is nobody's listener. One of them has heard everything, in the order of the room.
    let (all, _) = &ears["eventSource"];
    let mut expected: BTreeSet<String> =
        who.iter().flat_map(|who| (1..=each).map(move |number| format!("{who} {number} 你好"))).collect();
    expected.insert("最后".to_owned());
    assert_eq!(all.iter().cloned().collect::<BTreeSet<_>>(), expected);
    assert_eq!(all.len(), expected.len(), "some came twice");
    for sender in &who {
        let own = |text: &&String| text.starts_with(&format!("{sender} "));
        let sent: Vec<String> = (1..=each).map(|number| format!("{sender} {number} 你好")).collect();
        assert!(all.iter().filter(own).eq(sent.iter()), "what {sender} sent is out of order");
    }
    for (listener, (heard, hears_itself)) in &ears {
        let own = |text: &&String| text.starts_with(&format!("{listener} "));
        let expected: Vec<&String> = all.iter().filter(|text| *hears_itself || !own(text)).collect();
        assert_eq!(heard.iter().collect::<Vec<_>>(), expected, "{listener}");
    }
}
