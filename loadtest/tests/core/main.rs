//! The built load generator against real servers and against servers that do wrong.

mod fake;
mod program;

use std::sync::Arc;

use fake::{Fake, Fault};
use program::{Floor, run};
use serde_json::Value;
use tallycast::app::config::parse;
use tallycast::net::server::Server;

const CONFIG: &str = r#"
    listener = [{ name = "main", address = "127.0.0.1:0", origins = "any" }]
    channel = [{ name = "bench", kind = "group", echo_sender = true }, { name = "echo", kind = "echo" }]
    route = [
        { listener = "main", path = "/bench", serve = "websocket", channel = "bench", dialect = "plain" },
        { listener = "main", path = "/echo", serve = "websocket", channel = "echo", dialect = "plain" },
        { listener = "main", path = "/c/*", serve = "channels" },
    ]
"#;

/// A server in this process, and its address.
fn server() -> (Server, String) {
    let config = parse(CONFIG, "test").unwrap_or_else(|errors| panic!("{errors}"));
    let server = Server::start(Arc::new(config.setup), 1, tallycast::net::driver::DriverKind::Epoll).expect("a server");
    let address = server.addresses()[0].1.to_string();
    (server, address)
}

fn failures(report: &Value) -> String {
    report["failures"].to_string()
}

#[test]
fn fanout_has_the_right_totals() {
    let (server, address) = server();
    let url = format!("ws://{address}/bench");
    let http = format!("http://{address}/c/bench");
    let rows: &[&[&str]] = &[
        &["-n", "30", "--messages", "40"],
        &["-n", "30", "--messages", "40", "-w", "16", "--sample", "1"],
        &["-n", "30", "--messages", "40", "-w", "7", "--threads", "3", "--publishers", "5"],
        &["-n", "30", "--messages", "40", "--rate", "400"],
        &["-n", "30", "--messages", "40", "--size", "3000", "--source", "kernel"],
        &["-n", "30", "--messages", "40", "-w", "4", "--publish-url", &http, "--publishers", "2"],
        &["-n", "30", "--messages", "40", "-w", "4", "--publish-url", &url, "--prefix", "{\"x\":\"", "--suffix", "\"}"],
        &["-n", "1", "--messages", "40", "--warm-up", "1", "--header", "X-Test: yes"],
    ];
    for row in rows {
        let ran = run("fanout", &url, &[row, &["--settle", "0.1", "--pid", "auto"][..]].concat());
        let report = &ran.report;
        let subscribers: u64 = row[1].parse().unwrap();
        assert_eq!(ran.code, 0, "{row:?}: {}", ran.words);
        assert_eq!(report["expected"], subscribers * 40, "{row:?}: {report}");
        assert_eq!(report["received"], subscribers * 40, "{row:?}: {report}");
        assert_eq!((&report["lost"], &report["doubled"]), (&0.into(), &0.into()), "{row:?}: {report}");
        assert_eq!((&report["published"], &report["ok"]), (&40.into(), &true.into()));
        let sampled = report["sampled_every"].as_u64().unwrap();
        let samples = report["latency_us"]["count"].as_u64().unwrap();
        assert!(samples.abs_diff(subscribers * 40 / sampled) <= 3, "{row:?}: {report}");
        assert_eq!(report["server"]["pid"], std::process::id());
        assert!(!report["series"].as_array().unwrap().is_empty());
    }
    server.stop();
}

#[test]
fn echo_connect_and_idle() {
    let (server, address) = server();
    let url = format!("ws://{address}/echo");
    let ran = run("echo", &url, &["-n", "9", "-w", "3", "--seconds", "0.3", "--threads", "2"]);
    assert_eq!(ran.code, 0, "{}", ran.words);
    assert_eq!(ran.report["expected"], ran.report["received"]);
    assert!(ran.report["received"].as_u64().unwrap() > 9 * 3, "{}", ran.report);
    assert_eq!(ran.report["latency_us"]["count"], ran.report["received"]);

    for row in [&["--handshakes", "150"][..], &["--handshakes", "150", "--rate", "1000", "--threads", "2"]] {
        let ran = run("connect", &url, &[row, &["--pid", "auto"]].concat());
        assert_eq!(ran.code, 0, "{row:?}: {}", ran.words);
        assert_eq!((&ran.report["received"], &ran.report["expected"]), (&150.into(), &150.into()), "{row:?}");
        assert!(ran.report["cpu_us_per_handshake"].as_f64().unwrap() > 0.0);
    }

    let ran = run("idle", &url, &["-n", "50", "--seconds", "0.2", "--settle", "0.1", "--pid", "auto"]);
    assert_eq!(ran.code, 0, "{}", ran.words);
    assert_eq!((&ran.report["subscribers"], &ran.report["messages"]), (&50.into(), &0.into()));
    assert!(ran.report["rss_bytes_per_connection"].is_number(), "{}", ran.report);
    assert_eq!(run("idle", &url, &["-n", "5"]).code, 2, "idle needs a process to look at");
    server.stop();
}

#[test]
fn the_floor_sends_everything_to_everyone() {
    let floor = Floor::start();
    let rows: &[&[&str]] = &[
        &["-n", "40", "--messages", "30", "-w", "16"],
        &["-n", "40", "--messages", "30", "--rate", "300", "--publishers", "3"],
        &["-n", "10", "--messages", "4", "--size", "400000", "-w", "2", "--threads", "2"],
    ];
    for row in rows {
        let ran = run("fanout", &floor.url, &[row, &["--settle", "0", "--pid", "auto"][..]].concat());
        assert_eq!(ran.code, 0, "{row:?}: {}", ran.words);
        assert_eq!(ran.report["received"], ran.report["expected"], "{row:?}");
        assert_eq!(ran.report["server"]["pid"], floor.pid);
    }
}

#[test]
fn a_server_that_does_wrong_is_found_out() {
    let rows = [
        (Fault::None, 0, 0, 0, 0),
        (Fault::Lose { message: 30 }, 1, 1, 0, 0),
        (Fault::Lose { message: 39 }, 1, 1, 0, 0),
        (Fault::Double { message: 30 }, 1, 0, 1, 0),
        (Fault::Swap { message: 30 }, 0, 0, 0, 1),
    ];
    for (fault, code, lost, doubled, reordered) in rows {
        let fake = Fake::start(fault);
        let arguments = ["-n", "5", "--messages", "20", "--rate", "500", "--settle", "0", "--patience", "0.5"];
        let ran = run("fanout", &fake.url(), &arguments);
        assert_eq!(ran.code, code, "{fault:?}: {}", ran.words);
        let report = &ran.report;
        let found = ["lost", "doubled", "reordered"].map(|key| report[key].as_u64());
        assert_eq!(found, [Some(lost), Some(doubled), Some(reordered)], "{fault:?}: {report}");
        assert_eq!(report["ok"], code == 0, "{fault:?}");
        assert_eq!((&report["expected"], &report["received"]), (&100.into(), &(100 - lost).into()), "{fault:?}");
    }
}

/// As nginx does after a thousand requests.
#[test]
fn a_publisher_whose_connection_is_used_up_connects_again() {
    let fake = Fake::start(Fault::FewPosts(7));
    let publish = fake.url().replace("ws:", "http:");
    let arguments = ["-n", "5", "--messages", "40", "-w", "4", "--settle", "0", "--publish", &publish];
    let ran = run("fanout", &fake.url(), &arguments);
    assert_eq!(ran.code, 0, "{}", ran.words);
    assert_eq!((&ran.report["received"], &ran.report["doubled"]), (&200.into(), &0.into()), "{}", ran.report);
}

#[test]
fn a_connection_that_the_server_ends_is_a_failure() {
    let fake = Fake::start(Fault::CloseAt { message: 30, code: 4001 });
    // All at once: much is behind the Close, and does not count.
    let arguments = ["-n", "5", "--messages", "20", "-w", "20", "--settle", "0", "--patience", "0.5"];
    let ran = run("fanout", &fake.url(), &arguments);
    assert_eq!(ran.code, 1, "{}", ran.words);
    assert!(failures(&ran.report).contains("4001 (the server's own code) go away"), "{}", ran.report);
    assert!(ran.report["lost"].as_u64().unwrap() > 0, "{}", ran.report);
}

#[test]
fn a_refusal_is_recognised_and_said() {
    let rows = [
        (Fault::Answer(503), "503 Service Unavailable (a limit of the server): too many"),
        (Fault::Answer(429), "429 Too Many Requests (a limit of the server)"),
        (Fault::Answer(404), "answered 404"),
        (Fault::Garbage, "not an HTTP response"),
        (Fault::WrongAccept, "Sec-WebSocket-Accept is not the answer"),
        (Fault::Reset, "before the handshake was answered: perhaps a limit"),
        (Fault::Silent, "took too long"),
        (Fault::CloseAtOnce(1013), "1013 try again later"),
        (Fault::CloseAtOnce(1008), "1008 policy"),
    ];
    for (fault, part) in rows {
        let fake = Fake::start(fault);
        let arguments = ["-n", "3", "--connect-wait", "0.3", "--messages", "5", "--settle", "0.3", "--patience", "0.3"];
        let ran = run("fanout", &fake.url(), &arguments);
        assert_eq!(ran.code, 3, "{fault:?}: {}", ran.words);
        assert!(failures(&ran.report).contains(part), "{fault:?}: {}", ran.report);
        assert!(ran.words.contains("REFUSED") && ran.words.contains(part), "{fault:?}: {}", ran.words);
    }
    let nobody = run("fanout", "ws://127.0.0.1:1/", &["-n", "3"]);
    assert_eq!(nobody.code, 3, "{}", nobody.words);
    assert!(failures(&nobody.report).contains("Connection refused"), "{}", nobody.report);
}

#[test]
fn wrong_command_lines() {
    let rows: &[(&str, &str, &[&str])] = &[
        ("fanout", "wss://127.0.0.1/", &[]),
        ("fanout", "ws://127.0.0.1:1/", &["-n", "0"]),
        ("fanout", "ws://127.0.0.1:1/", &["--rate", "1", "-w", "1"]),
        ("fanout", "ws://127.0.0.1:1/", &["--rate", "-1"]),
        ("fanout", "ws://127.0.0.1:1/", &["--size", "5"]),
        ("fanout", "ws://127.0.0.1:1/", &["-n", "2", "--publishers", "3"]),
        ("fanout", "ws://127.0.0.1:1/", &["-n", "2", "--pin", "100000"]),
        ("fanout", "ws://127.0.0.1:1/", &["-n", "2", "--pid", "x"]),
        ("fanout", "ws://127.0.0.1:1/", &["-n", "2", "--header", "x"]),
        ("nothing", "ws://127.0.0.1:1/", &[]),
    ];
    for (mode, url, arguments) in rows {
        assert_eq!(run(mode, url, arguments).code, 2, "{mode} {url} {arguments:?}");
    }
    let ran = run("fanout", "ws://127.0.0.1:1/", &["-n", "4000000000"]);
    assert_eq!(ran.code, 2);
    assert!(ran.words.contains("open files are needed") && ran.words.contains("ulimit -n"), "{}", ran.words);
}

#[test]
fn an_interrupt_reports_what_was_measured() {
    let (server, address) = server();
    let ran = program::interrupted("fanout", &format!("ws://{address}/bench"), &["-n", "5", "--seconds", "60"]);
    assert_eq!(ran.code, 0, "{}", ran.words);
    assert!(ran.report["seconds"].as_f64().unwrap() < 30.0, "{}", ran.report);
    assert!(ran.report["received"].as_u64().unwrap() > 0);
    assert!(ran.report["notes"].to_string().contains("interrupted"), "{}", ran.report);
    server.stop();
}
