//! The modes that vote, talk, poll and fall asleep: against a real server, and against one that lies.

mod liar;

use std::process::Command;
use std::sync::Arc;

use serde_json::Value;
use tallycast::app::config::parse;
use tallycast::net::server::Server;
use tempfile::TempDir;

use liar::{Lie, Unit, find};

const CONFIG: &str = r#"
    listener = [{ name = "main", address = "127.0.0.1:0", origins = "any" }]
    channel = [
        { name = "bench", kind = "group", echo_sender = true },
        { name = "news", kind = "feed" },
        { name = "poll", kind = "vote", options = [{ id = "1" }, { id = "2" }, { id = "3" }, { id = "4" }] },
        { pattern = "room/*", kind = "group" },
        { pattern = "echoes/*", kind = "group", echo_sender = true },
    ]
    route = [
        { listener = "main", path = "/c/*", serve = "channels" },
        { listener = "main", path = "/bench", serve = "websocket", channel = "bench", dialect = "plain" },
        { listener = "main", path = "/echoes/*", serve = "websocket", channel = "echoes/*", dialect = "plain" },
        { listener = "main", path = "/steps", serve = "websocket", channel = "poll", dialect = "steps", key = "cid" },
    ]
"#;

/// How a run ended.
struct Ran {
    code: Option<i32>,
    report: Value,
    words: String,
}

/// A server in this process, and its address.
fn server() -> (Server, String) {
    let config = parse(CONFIG, "test").unwrap_or_else(|errors| panic!("{errors}"));
    let server = Server::start(Arc::new(config.setup), 1, tallycast::net::driver::DriverKind::Epoll).expect("a server");
    let address = server.addresses()[0].1.to_string();
    (server, address)
}

/// Runs the built program; the first word is the mode, `$` in any is the address.
fn run(line: &str, address: &str) -> Ran {
    ended("", line, address)
}

/// The same, with this before the program.
fn ended(before: &str, line: &str, address: &str) -> Ran {
    let folder = TempDir::new().expect("a folder");
    let json = folder.path().join("report.json");
    let program = env!("CARGO_BIN_EXE_tallycast-loadtest");
    let line = format!("{before} {program} {line}").replace('$', address);
    let mut words = line.split_whitespace();
    let output = Command::new(words.next().expect("a program"))
        .args(words)
        .arg("--json")
        .arg(&json)
        .output()
        .expect("the program runs");
    let report = std::fs::read_to_string(&json).unwrap_or_default();
    let words = [&output.stdout[..], &output.stderr[..]].concat();
    Ran {
        code: output.status.code(),
        report: serde_json::from_str(&report).unwrap_or_default(),
        words: String::from_utf8_lossy(&words).into_owned(),
    }
}

/// Runs each line against one server: all must go well, and nothing be missing.
fn all_go_well(lines: &[&str]) -> Vec<Value> {
    let (server, address) = server();
    let mut reports = Vec::new();
    for line in lines {
        let ran = run(line, &address);
        assert_eq!(ran.code, Some(0), "{line}: {}", ran.words);
        assert_eq!(ran.report["ok"], true, "{line}");
        for key in ["lost", "doubled", "reordered"] {
            assert_eq!(ran.report[key], 0, "{line}: {key}");
        }
        assert!(ran.report["received"].as_u64().is_some_and(|received| received > 0), "{line}: {}", ran.report);
        assert_eq!(ran.report["received"], ran.report["expected"], "{line}: {}", ran.report);
        assert!(ran.report["latency_us"]["count"].as_u64().is_some_and(|count| count > 0), "{line}: {}", ran.report);
        reports.push(ran.report);
    }
    server.stop();
    reports
}

#[test]
fn a_vote_is_counted() {
    let reports = all_go_well(&[
        "vote ws://$/steps -n 3 -l 4 --rate 200 -p 1 --seconds 0.5 --warm-seconds 0.2 --pid auto",
        "vote ws://$/steps --listen-url ws://$/c/poll --totals-url http://$/c/poll -n 3 -l 4 -w 500 -p 8 --seconds 0.5 --warm-seconds 0.2 --threads 2",
        "vote ws://$/c/poll --own -n 3 -l 4 --rate 500 -p 2 --options 1,2,3,4 --seconds 0.5 --warm-seconds 0.2",
    ]);
    for report in &reports {
        assert_eq!(report["listeners_right"], 4, "{report}");
        assert!(report["last_total_ms"].is_number() && report["votes_per_second"].as_f64() > Some(0.0), "{report}");
    }
    assert!(reports[0]["cpu_us_per_vote"].is_number(), "{}", reports[0]);
    assert!(reports[0]["steps"].as_u64() > Some(100) && reports[0]["tallies"] == 0, "{}", reports[0]);
    assert_eq!(reports[1]["totals"], reports[1]["totals_expected"]);
    let known: Vec<&Value> = reports.iter().map(|report| &report["totals_before_known_by"]).collect();
    assert_eq!(known, ["the first steps", "asking", "joining"]);
}

#[test]
fn a_chat_and_rooms_are_heard_by_all() {
    let reports = all_go_well(&[
        "chat ws://$/bench -n 12 --rate 20 --seconds 0.5 --warm-seconds 0.3",
        "chat ws://$/c/room/x -n 12 --rate 20 --own --not-sender --seconds 0.5 --warm-seconds 0.3 --threads 3",
        "rooms ws://$/echoes/{room} -r 30 -m 3 --rate 300 --seconds 0.5 --warm-seconds 0.3 --threads 4",
        "rooms ws://$/c/room/{room} -r 30 -m 2 --rate 300 --own --not-sender --seconds 0.5 --warm-seconds 0.3",
    ]);
    assert_eq!(reports[0]["expected"], reports[0]["messages"].as_u64().unwrap() * 12);
    assert_eq!(reports[1]["expected"], reports[1]["messages"].as_u64().unwrap() * 11);
    assert_eq!(reports[2]["expected"], reports[2]["messages"].as_u64().unwrap() * 3);
    assert_eq!((&reports[3]["expected"], &reports[3]["subscribers"]), (&reports[3]["messages"], &60.into()));
}

#[test]
fn streams_and_polls_bring_everything() {
    let reports = all_go_well(&[
        "sse http://$/c/news -n 10 --rate 100 --seconds 0.5 --warm-seconds 0.3",
        "sse http://$/c/bench -n 10 -w 3 --seconds 0.5 --warm-seconds 0.3 --threads 2 --size 2000",
        "poll http://$/c/news -n 10 --rate 50 --seconds 0.5 --warm-seconds 0.3 --threads 2 --pid auto",
        "poll http://$/c/poll -n 10 --rate 200 --body 1 --seconds 0.5 --warm-seconds 0.3",
        "poll http://$/c/news -n 5 --rate 50 --plain --seconds 0.5 --warm-seconds 0.3",
        "poll http://$/c/poll -n 5 --rate 50 --plain --body 2 --every 0.02 --threads 2 --seconds 0.5 --warm-seconds 0.3",
    ]);
    assert!(reports[0]["events_with_id"].as_u64() >= reports[0]["expected"].as_u64(), "{}", reports[0]);
    assert!(reports[2]["cpu_us_per_request"].is_number(), "{}", reports[2]);
    assert!(reports[4]["not_modified"].as_u64() > Some(0), "{}", reports[4]);
    for report in &reports[2..] {
        assert!(report["requests_per_second"].as_f64() > Some(0.0), "{report}");
    }
}

#[test]
fn who_sleeps_is_told_or_closed() {
    let reports = all_go_well(&[
        "slow ws://$/bench -n 10 -k 3 --seconds 1 --size 4000 --quiet-wait 0.3 --pid auto",
        "slow ws://$/c/room/slow --own -n 10 -k 3 --rate 50 --size 28 --seconds 0.5 --quiet-wait 0.3 --threads 2",
    ]);
    for report in &reports {
        let woken = &report["woken"];
        let ended: u64 = woken["ended"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
        assert_eq!(woken["caught_up"].as_u64().unwrap() + ended, 3, "{report}");
        assert!(report["alone"]["latency_us"]["p99"].is_number() && report["p99_beside_to_alone"].is_number());
    }
    // The bare dialect cannot speak of a gap: too slow is closed. Few small messages fit into the buffers.
    assert!(reports[0]["woken"]["ended"].to_string().contains("4008"), "{}", reports[0]);
    assert!(reports[0]["server"]["rss_bytes_peak"].as_u64() > Some(0), "{}", reports[0]);
    assert_eq!(reports[1]["woken"]["caught_up"], 3, "{}", reports[1]);
}

/// Lies about the units with this in them, on one connection: the first sees them as they are.
fn about(
    what: &'static [u8],
    connection: usize,
    mut lie: impl FnMut(u32, Vec<u8>) -> Vec<u8> + Send + 'static,
) -> impl FnOnce(usize) -> Lie {
    move |number| {
        let mut seen = 0;
        Box::new(move |unit| {
            if number != connection || find(&unit, what).is_none() {
                return unit;
            }
            seen += 1;
            lie(seen, unit)
        })
    }
}

fn drop_third(seen: u32, unit: Vec<u8>) -> Vec<u8> {
    if seen == 3 { vec![] } else { unit }
}

fn double_third(seen: u32, unit: Vec<u8>) -> Vec<u8> {
    if seen == 3 { unit.repeat(2) } else { unit }
}

/// The third comes behind the eighth: four members who speak in turn have each spoken again by then.
fn swap() -> impl FnMut(u32, Vec<u8>) -> Vec<u8> + Send {
    let mut kept = Vec::new();
    move |seen, unit| match seen {
        3 => {
            kept = unit;
            vec![]
        }
        8 => [unit, std::mem::take(&mut kept)].concat(),
        _ => unit,
    }
}

/// The third has the digit before the (last) mark raised by one.
fn raise(mark: &'static [u8]) -> impl FnMut(u32, Vec<u8>) -> Vec<u8> + Send {
    move |seen, mut unit| {
        if seen == 3 {
            let at = unit.windows(mark.len()).rposition(|window| window == mark).expect("a mark") - 1;
            unit[at] = if unit[at] == b'9' { b'0' } else { unit[at] + 1 };
        }
        unit
    }
}

#[test]
fn lies_are_found_out() {
    let (server, address) = server();
    let chat = "chat ws://$/bench -n 4 --rate 20 --seconds 0.5 --warm-seconds 0.2 --patience 0.3";
    let rooms = "rooms ws://$/echoes/{room} -r 2 -m 2 --rate 100 --seconds 0.5 --warm-seconds 0.2 --patience 0.3 --concurrency 1";
    let steps = "vote ws://$/steps -n 1 -l 2 --rate 100 -p 1 --seconds 0.4 --warm-seconds 0.1 --patience 0.5";
    let tally = "vote ws://$/c/poll --own -n 1 -l 2 --rate 100 -p 1 --seconds 0.4 --warm-seconds 0.1 --patience 0.5";
    let sse = "sse http://$/c/news -n 3 --rate 50 --seconds 0.4 --warm-seconds 0.2 --patience 0.3";
    let poll = "poll http://$/c/news -n 3 --rate 50 --seconds 0.4 --warm-seconds 0.2 --patience 0.5";
    let plain =
        "poll http://$/c/news -n 3 --rate 50 --plain --every 0.02 --seconds 0.4 --warm-seconds 0.2 --patience 0.5";
    let slow = "slow ws://$/c/room/lie --own -n 1 -k 2 --rate 50 --seconds 0.3 --patience 0.3 --quiet-wait 0.3 --gap gone --concurrency 1";
    let to_304 = |seen, unit| if seen == 3 { b"HTTP/1.1 304 Not Modified\r\n\r\n".to_vec() } else { unit };
    let silent = |_, _| vec![];
    type Row<'a> = (&'a str, Unit, Box<dyn Fn(usize) -> Lie + Send>, &'a str);
    let rows: Vec<Row<'_>> = vec![
        (chat, Unit::Frame, Box::new(|n| about(b"~", 1, drop_third)(n)), "lost 1 doubled 0"),
        (chat, Unit::Frame, Box::new(|n| about(b"~", 1, double_third)(n)), "lost 0 doubled 1"),
        (chat, Unit::Frame, Box::new(|n| about(b"~", 1, swap())(n)), "out of order"),
        (rooms, Unit::Frame, Box::new(|n| about(b"~", 0, drop_third)(n)), "lost 1 doubled 0"),
        (steps, Unit::Frame, Box::new(|n| about(b"cid", 1, drop_third)(n)), "lost 1 doubled 0"),
        (steps, Unit::Frame, Box::new(|n| about(b"cid", 1, double_third)(n)), "lost 0 doubled 1"),
        (steps, Unit::Frame, Box::new(move |n| about(b"cid", 1, silent)(n)), "do not have the true totals"),
        (tally, Unit::Frame, Box::new(move |n| about(b"\"tally\"", 2, silent)(n)), "do not have the true totals"),
        (sse, Unit::Event, Box::new(|n| about(b"~", 1, drop_third)(n)), "an id that jumps"),
        (sse, Unit::Event, Box::new(|n| about(b"~", 1, double_third)(n)), "lost 0 doubled 1"),
        (sse, Unit::Event, Box::new(|n| about(b"~", 1, swap())(n)), "out of order"),
        (sse, Unit::Event, Box::new(|n| about(b"~", 1, raise(b"\ndata"))(n)), "an id that "),
        (poll, Unit::Answer, Box::new(|n| about(b"\"message\"", 1, raise(b"\",\"text\""))(n)), "does not follow"),
        (plain, Unit::Answer, Box::new(move |n| about(b"200 OK", 1, to_304)(n)), "older than what was acknowledged"),
        (slow, Unit::Frame, Box::new(|n| about(b"~", 3, drop_third)(n)), "silent gaps"),
    ];
    for (index, (line, unit, lie, wanted)) in rows.into_iter().enumerate() {
        let liar = liar::start(&address, unit, lie);
        let ran = run(line, &liar.to_string());
        let report = &ran.report;
        let found = format!("lost {} doubled {} {}", report["lost"], report["doubled"], report["failures"]);
        assert_eq!(ran.code, Some(1), "row {index}, {line}: {}", ran.words);
        assert!(found.contains(wanted), "row {index}: {wanted:?} is not in {found}");
    }
    server.stop();
}

#[test]
fn an_interrupt_reports_what_there_is() {
    let (server, address) = server();
    for line in [
        "vote ws://$/steps -n 2 -l 3 -w 100 -p 4 --seconds 60 --warm-seconds 0.1",
        "chat ws://$/bench -n 5 --rate 20 --seconds 60 --warm-seconds 0.1",
        "sse http://$/c/news -n 5 -w 2 --seconds 60 --warm-seconds 0.1",
        "poll http://$/c/news -n 5 --seconds 60 --warm-seconds 0.1",
        "slow ws://$/bench -n 5 -k 2 --seconds 60",
    ] {
        let ran = ended("timeout --foreground --signal=INT 2", line, &address);
        // `timeout` says that it was needed.
        assert_eq!(ran.code, Some(124), "{line}: {}", ran.words);
        assert_eq!(ran.report["lost"], 0, "{line}: {}", ran.report);
        assert_eq!(ran.report["failures"], serde_json::json!([]), "{line}");
        assert!(ran.words.contains("interrupted"), "{line}: {}", ran.words);
    }
    server.stop();
}

#[test]
fn what_cannot_be_is_said() {
    let (server, address) = server();
    for (line, code, words) in [
        ("chat ws://$/nothing -n 3", 3, "404"),
        ("sse http://$/nothing -n 3", 3, "404"),
        ("vote ws://$/steps --totals-url http://$/c/news", 2, "does not tell the counts"),
        ("vote ws://$/steps --totals-url http://$/nothing", 3, "answered 404"),
        ("poll http://$/nothing -n 3 --seconds 0.2 --warm-seconds 0.1 --patience 0.2", 3, "404"),
        ("rooms ws://$/c/room/1", 2, "{room}"),
        (
            "vote ws://$/steps --options 7 -n 1 -l 1 --seconds 0.2 --warm-seconds 0.1 --patience 0.2 --rate 50 -p 1",
            1,
            "unknown_option",
        ),
        (
            "rooms ws://$/bench?{room} -r 3 -m 2 --rate 50 --seconds 0.2 --warm-seconds 0.1 --patience 0.2",
            1,
            "another room",
        ),
        (
            "chat ws://$/bench -n 3 --rate 20 --not-sender --seconds 0.2 --warm-seconds 0.1 --patience 0.2",
            1,
            "back to its sender",
        ),
        ("poll http://$/c/news --plain --wait 3", 2, "cannot be used with"),
    ] {
        let ran = run(line, &address);
        assert_eq!(ran.code, Some(code), "{line}: {}", ran.words);
        assert!(ran.words.contains(words), "{line}: {words:?} is not in {}", ran.words);
    }
    server.stop();
}
