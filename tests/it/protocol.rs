//! docs/protocol.md and what belongs to it, played: every example in them runs against the real binary, each on a server of
//! its own, and what comes is what the page shows. And they are whole: what their tables name occurs in an example, or in a
//! test.

mod cover;
mod document;
mod pattern;
mod play;

use std::path::Path;

use cover::{Shown, is_shown};
use document::{Act, Document};

/// Each with its text and how many examples it has: none is passed over.
const PAGES: [(&str, &str, usize); 2] = [
    ("docs/protocol.md", include_str!("../../docs/protocol.md"), 55),
    ("docs/protocol-socket.io.md", include_str!("../../docs/protocol-socket.io.md"), 17),
];

/// What no example can provoke in a moment, and the test that does, or why nothing does.
const ELSEWHERE: [(&str, Elsewhere); 10] = [
    ("close code 1011", Elsewhere::Test("tests/it/live/process.rs", "costs_one_channel")),
    (
        "close code 1013",
        Elsewhere::Never("a bound that a channel meets when it must be found again while it is listened to"),
    ),
    ("close code 4008", Elsewhere::Test("tests/it/live/bad.rs", "who_does_not_read_is_let_go")),
    ("type gap", Elsewhere::Test("tests/it/sim/slow.rs", "who_is_skipped_is_told_so")),
    ("refusal busy 503", Elsewhere::Test("tests/it/engine/suite.rs", "too_much_that_waits_is_busy")),
    ("refusal failed 500", Elsewhere::Test("tests/it/live/process.rs", "costs_one_channel")),
    ("status 500", Elsewhere::Test("tests/it/live/process.rs", "costs_one_channel")),
    ("refusal wrong_type 422", Elsewhere::Test("tests/it/engine/suite.rs", "refusals")),
    ("refusal unknown 503", Elsewhere::Never("for engines that can lose an answer: the one of today cannot")),
    ("response header Date", Elsewhere::Test("tests/it/protocol/play.rs", "receive_response")),
];

enum Elsewhere {
    /// File and function.
    Test(&'static str, &'static str),
    /// Why.
    Never(&'static str),
}

fn pages() -> impl Iterator<Item = (&'static str, Document, usize)> {
    PAGES.into_iter().map(|(name, text, blocks)| {
        let page = Document::read(text).unwrap_or_else(|why| panic!("{name}: {why}"));
        (name, page, blocks)
    })
}

#[test]
fn every_example_is_true() {
    let mut wrong = Vec::new();
    for (name, page, blocks) in pages() {
        wrong.extend(page.blocks.iter().filter_map(|block| Some(format!("{name}: {}", play::play(block).err()?))));
        assert_eq!(page.blocks.len(), blocks, "examples of {name}");
    }
    assert!(wrong.is_empty(), "{} examples:\n{}", wrong.len(), wrong.join("\n"));
}

/// The other way round: a page that says something else is caught.
#[test]
fn every_lie_is_found() {
    let get = "> GET /message HTTP/1.1\n> Host: 127.0.0.1:5000\n>\n";
    let head = "< HTTP/1.1 200 OK\n< Content-Length: 25\n< Content-Type: text/plain; charset=utf-8\n<\n";
    let body = "< 您使用的是Http协议";
    let open = "open ws://127.0.0.1:5000/c/echo\n";
    let stream = "> GET /c/news HTTP/1.1\n> Host: 127.0.0.1:5000\n> Accept: text/event-stream\n>\n";
    let answer = format!("{head}{body}");
    let with = |head: &str, old: &str, new: &str| format!("{get}{}", head.replace(old, new));
    let rows = [
        (format!("{get}{answer}"), true),
        (with(&answer, "200 OK", "201 Created"), false),
        (with(&answer, "< Content-Length: 25\n", ""), false),
        (with(&answer, "charset=utf-8\n", "charset=utf-8\n< ETag: \"1\"\n"), false),
        (with(&answer, "25", "26"), false),
        (with(&answer, "Http", "HTTP"), false),
        (with(&answer, body, ""), false),
        (format!("{get}{answer}\n<"), false),
        (format!("{get}{answer}\n\n{get}{answer}"), true),
        (format!("{get}\n{get}{answer}"), false),
        (format!("{get}{answer}\n\n$ curl http://127.0.0.1:5000/message\n您使用的是Http协议"), true),
        (format!("{get}{answer}\n\n$ curl http://127.0.0.1:5000/message\nother"), false),
        (format!("{open}> 1\n< 1\n>> close 1000\n<< close 1000\n<< end"), true),
        (format!("{open}> 1\n< 2"), false),
        (format!("{open}> 1\n<< binary \"1\""), false),
        (format!("{open}>> \"\\x81\\x01x\"\n<< close 1007 frame without a mask"), false),
        (format!("{open}>> close 1000\n<< end"), false),
        (format!("{stream}< HTTP/1.1 200 OK"), false),
        ("> GET /message HTTP/1.1\n> Host: <epoch>\n>\n< x".to_owned(), false),
        ("# with fragments_max = 2\nopen ws://127.0.0.1:5000/c/echo\n> 1\n< 1".to_owned(), true),
    ];
    for (inside, is_true) in rows {
        let text = format!("```http\n{inside}\n```\n");
        let page = Document::read(&text).unwrap_or_else(|why| panic!("{why}:\n{inside}"));
        let played = play::play(&page.blocks[0]);
        assert_eq!(played.is_ok(), is_true, "{inside}\n{played:?}");
    }
}

#[test]
fn every_name_in_a_table_is_shown() {
    let mut shown = Shown::new();
    let mut named = Vec::new();
    for (name, page, _) in pages() {
        page.blocks.iter().for_each(|block| cover::shown(block, &mut shown));
        let of_page = cover::named(&page.tables).unwrap_or_else(|why| panic!("{name}: {why}"));
        named.extend(of_page.into_iter().map(|(thing, line)| (thing, format!("{name}:{line}"))));
    }
    for (sort, least) in
        [("request ", 27), ("type", 16), ("refusal", 23), ("status", 24), ("close code", 9), ("request header", 14)]
    {
        let count = named.iter().filter(|(name, _)| name.starts_with(sort)).count();
        assert!(count >= least, "the tables name only {count} of {sort}");
    }
    let mut wrong = Vec::new();
    for (name, line) in &named {
        let elsewhere = ELSEWHERE.iter().any(|(known, _)| known == name);
        if is_shown(name, &shown) == elsewhere {
            let what = if elsewhere { "is said to be shown elsewhere, and is shown" } else { "is never shown" };
            wrong.push(format!("{line}: {name} {what}"));
        }
    }
    // And the other way round: what comes from the server is named. (4321 is a client's own code, which comes back.)
    for name in shown.iter().filter(|name| !name.starts_with("request") && *name != "close code 4321") {
        let with_status = |known: &str| known.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with(' '));
        if !named.iter().any(|(known, _)| known == name || with_status(known)) {
            wrong.push(format!("{name} is shown, and in no table"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_shown_elsewhere_is_there() {
    for (name, elsewhere) in &ELSEWHERE {
        match elsewhere {
            Elsewhere::Test(file, function) => {
                let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
                let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
                assert!(text.contains(&format!("fn {function}")), "{name}: {file} has no {function}");
            }
            Elsewhere::Never(why) => assert!(!why.is_empty(), "{name}"),
        }
    }
}

#[test]
fn a_block_shows_what_its_language_says() {
    for (name, block) in pages().flat_map(|(name, page, _)| page.blocks.into_iter().map(move |block| (name, block))) {
        let acts = || block.steps.iter().map(|step| &step.act);
        let opens = acts().any(|act| matches!(act, Act::Open(_)));
        let sends = |lines: &Vec<String>| lines.iter().any(|line| line == "Accept: text/event-stream");
        let streams = acts().any(|act| matches!(act, Act::Send(lines) if sends(lines)));
        let right = match block.language.as_str() {
            "ws" => opens,
            "sse" => streams && !opens,
            _ => !opens,
        };
        assert!(right, "{name}:{}: this is no {}", block.line, block.language);
    }
}
