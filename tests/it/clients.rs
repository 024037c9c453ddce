//! Real clients, each with its own library: Python's `websockets`, npm's `ws` and `eventsource`, Socket.IO's, and curl. They live
//! in tests/clients and print what they see; what it must be is said here. `scripts/test` installs what they need.

mod chat;
mod socket_io;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::Receiver;

use serde_json::{Value, json};

use crate::live::http::get_json;
use crate::live::server::{Config, MAIN, PATIENCE, Reaped, Server, Signal, free_port, lines_of, loud};

/// A program of tests/clients that runs, and what it prints.
pub(crate) struct Program {
    child: Reaped,
    lines: Receiver<String>,
    name: String,
}

/// Where an interpreter or its packages are; `None` if the clients are to be left out.
pub(crate) fn installed(variable: &str) -> Option<PathBuf> {
    if std::env::var_os("TALLYCAST_SKIP_CLIENTS").is_some_and(|value| value == "1") {
        loud("REAL CLIENTS SKIPPED: TALLYCAST_SKIP_CLIENTS=1");
        return None;
    }
    let path = std::env::var_os(variable).unwrap_or_else(|| {
        panic!("{variable} is not set: run scripts/test, which installs the clients (or set TALLYCAST_SKIP_CLIENTS=1)")
    });
    let path = PathBuf::from(path);
    assert!(path.exists(), "{variable}: {} does not exist: run scripts/test", path.display());
    Some(path)
}

impl Program {
    /// Starts `tests/clients/{name}` with an interpreter.
    pub(crate) fn start(interpreter: &Path, name: &str, arguments: &[&str]) -> Program {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name);
        let mut command = Command::new(interpreter);
        command.arg(program).args(arguments).env("PYTHONDONTWRITEBYTECODE", "1");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", interpreter.display()));
        let lines = lines_of(child.stdout.take().expect("stdout is piped"));
        Program { child: Reaped(child), lines, name: name.to_owned() }
    }

    /// What it reports next, which must be this step.
    #[track_caller]
    pub(crate) fn step(&mut self, step: &str) -> Value {
        // A browser's steps have bounds of their own, the longest of them 30 s.
        let line = self.lines.recv_timeout(PATIENCE * 2);
        let line = line.unwrap_or_else(|why| panic!("{}: no step {step:?} ({why}); its stderr says why", self.name));
        let seen: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{}: {error}: {line}", self.name));
        assert_eq!(seen["step"], step, "{}: {line}", self.name);
        seen
    }

    /// Lets it go on.
    pub(crate) fn go_on(&mut self) {
        use std::io::Write;
        let stdin = self.child.0.stdin.as_mut().expect("stdin is piped");
        stdin.write_all(b"\n").expect("the program reads");
    }

    /// Waits for its end, which must be a good one.
    pub(crate) fn end(mut self) {
        drop(self.child.0.stdin.take());
        assert!(self.lines.recv_timeout(PATIENCE).is_err(), "{}: it says more than was expected", self.name);
        let status = self.child.0.wait().expect("our own child");
        assert!(status.success(), "{}: {status}", self.name);
    }
}

#[test]
fn python_websockets() {
    let Some(python) = installed("TALLYCAST_PYTHON") else {
        return;
    };
    let server = Server::demo(2);
    let mut program = websocket_program(&server, &python, "python_websockets.py");
    assert_eq!(program.step("library")["name"], "websockets");
    bare_votes(&mut program, "cid");
    a_vote_and_a_return(program, true);
}

#[test]
fn node_ws() {
    let Some(_) = installed("TALLYCAST_NODE_MODULES") else {
        return;
    };
    let server = Server::demo(2);
    let mut program = websocket_program(&server, Path::new("node"), "node_ws.mjs");
    bare_votes(&mut program, "uid");
    a_vote_and_a_return(program, false);
}

fn websocket_program(server: &Server, interpreter: &Path, name: &str) -> Program {
    let (main, echo) = (server.main().to_string(), server.at(7777).to_string());
    Program::start(interpreter, name, &[&main, server.poll_name(), &echo])
}

fn bare_votes(program: &mut Program, key: &str) {
    let vote = json!({key: "1", "count": 1});
    assert_eq!(program.step("bare")["heard"], json!([vote, vote]));
}

fn a_vote_and_a_return(mut program: Program, pings: bool) {
    let snapshot = program.step("snapshot")["heard"].take();
    assert_eq!((&snapshot["type"], &snapshot["state"]["total"]), (&json!("snapshot"), &json!(1)));
    let heard = program.step("vote")["heard"].take();
    let tally = of_type(&heard, "tally");
    assert_eq!((&tally["counts"], &tally["total"]), (&json!({"1": 1, "2": 1, "3": 0}), &json!(2)));
    let ok = of_type(&heard, "ok");
    assert_eq!((&ok["id"], &ok["at"]), (&json!(7), &tally["at"]));
    if pings {
        assert!(program.step("ping")["seconds"].is_number());
    }
    let heard = program.step("resume")["heard"].take();
    assert_eq!(heard[0]["type"], "resumed");
    assert_eq!(heard[0]["at"], snapshot["at"]);
    assert_eq!(of_type(&heard, "tally"), tally, "what was missed");
    assert_eq!(program.step("echo")["same"], json!([true, true, true]));
    assert_eq!(program.step("closed")["code"], 1000);
    program.end();
}

fn of_type<'a>(heard: &'a Value, kind: &str) -> &'a Value {
    let found = heard.as_array().expect("a list").iter().find(|message| message["type"] == kind);
    found.unwrap_or_else(|| panic!("no {kind} in {heard}"))
}

#[test]
fn node_eventsource() {
    let Some(_) = installed("TALLYCAST_NODE_MODULES") else {
        return;
    };
    let port = free_port();
    let mut server = Config::demo().cores(2).port(MAIN, port).start();
    let address = server.main().to_string();
    let mut program = Program::start(Path::new("node"), "node_eventsource.mjs", &[&address, server.poll_name()]);
    let snapshot = program.step("snapshot")["heard"].take();
    assert_eq!(snapshot["state"]["total"], 0);
    assert_eq!(snapshot["id"], snapshot["at"], "the id of an event is its position");
    let answer = program.step("answer");
    assert_eq!((&answer["status"], &answer["heard"]["type"]), (&json!(200), &json!("ok")));
    let tally = program.step("vote")["heard"].take();
    assert_eq!((&tally["at"], &tally["id"]), (&answer["heard"]["at"], &answer["heard"]["at"]));

    server.signal(Signal::Terminate);
    server.ended();
    let server = Config::demo().cores(2).port(MAIN, port).start();
    program.go_on();
    let back = program.step("return");
    let ids = back["ids"].as_array().expect("a list");
    assert_eq!(ids.first(), Some(&Value::Null));
    assert_eq!(ids.last(), Some(&tally["at"]), "it said what it had seen");
    // The memory of the first server is gone, and with it the epoch.
    assert_eq!(back["heard"]["type"], "snapshot");
    assert_ne!(back["heard"]["at"], snapshot["at"]);
    assert_eq!(program.step("again")["heard"]["total"], 1);
    assert_eq!(get_json(server.main(), &server.poll())["state"]["total"], 1);
    program.end();
}

/// docs/openapi.yaml is valid, and schemathesis finds nothing that differs from it, whatever the kind of channel.
#[test]
fn openapi() {
    let Some(python) = installed("TALLYCAST_PYTHON") else {
        return;
    };
    // A poll that waits costs a case its time.
    let server = Config::demo().cores(2).limit("poll_wait_max", "50ms").start();
    let mut program = Program::start(&python, "openapi.py", &[&server.main().to_string()]);
    let valid = program.step("valid");
    let pages = ["/", "/chat", "/group", "/table", "/table-socket.io", "/index"];
    let bare = ["/ticket", "/vote", "/get_new_vote", "/input-change", "/message"];
    let paths = [&["/c/{channel}"][..], &pages, &bare].concat();
    assert_eq!((&valid["version"], &valid["paths"]), (&json!("3.1.0"), &json!(paths)));
    let channels = [("group", 4, 200), ("direct", 4, 200), ("table", 4, 200), ("feed", 4, 200), ("echo", 2, 80)];
    let all = [&[("vote", 16, 500)][..], &channels, &[("members", 1, 20), ("any", 4, 150)]].concat();
    for (kind, operations, cases) in all {
        let played = program.step("played");
        let results = &played["results"];
        let found = json!([results["failures"], results["errors"]]);
        assert_eq!((&played["kind"], &played["status"], &found), (&json!(kind), &json!(0), &json!([[], []])));
        assert_eq!(results["operations"]["tested"], operations, "{kind}: operations that were played");
        for phase in ["examples", "coverage", "fuzzing"] {
            assert_eq!(results["phases"][phase]["status"], "success", "{kind}: {phase}");
        }
        let played = results["test_cases"]["generated"].as_u64().expect("a number of cases");
        assert!(played >= cases, "{kind}: only {played} cases");
    }
    program.end();
}

#[test]
fn curl() {
    let server = Server::demo(2);
    let url = |path: &str| format!("http://{}{path}", server.main());
    let poll = url(&server.poll());
    assert_eq!(run_curl(&["--data", "nid=1", &url("/ticket")]), "投票成功");
    let ok: Value = serde_json::from_str(&run_curl(&["--data", "choice=1", &poll])).expect("JSON");
    assert_eq!(ok["type"], "ok");
    let json = ["--header", "Content-Type: application/json", "--data", r#"{"choice":"1"}"#, &poll];
    run_curl(&json);
    let present: Value = serde_json::from_str(&run_curl(&["--compressed", &poll])).expect("JSON");
    assert_eq!(present["state"]["total"], 3);
    let since = format!("{poll}?wait=30&since={}", ok["at"].as_str().expect("a position"));
    let news: Value = serde_json::from_str(&run_curl(&[&since])).expect("JSON");
    assert_eq!(news["publications"][0]["total"], 3);
    // A second request on the same connection, HEAD, and a tag.
    let twice = run_curl(&["--head", &poll, &poll]);
    assert_eq!(twice.matches("HTTP/1.1 200").count(), 2, "{twice}");
    let tag = format!("If-None-Match: \"{}\"", present["at"].as_str().expect("a position"));
    let status = run_curl(&["--header", &tag, "--output", "/dev/null", "--write-out", "%{http_code}", &poll]);
    assert_eq!(status, "304");
    // A large body, for which curl asks first (Expect: 100-continue), chunked.
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "x".repeat(900_000)).expect("written");
    let body = format!("@{}", file.path().display());
    let chunked =
        ["--header", "Transfer-Encoding: chunked", "--header", "Content-Type: text/plain", "--data-binary", &body];
    let echoed = run_curl(&[&chunked[..], &[&url("/c/test/echo")]].concat());
    assert_eq!(echoed.len(), 900_000);
    // An event stream until the time is over: curl ends with 28, and what came is there.
    let output = run_curl_for_a_second(&poll);
    assert!(output.starts_with("retry: 1000\n\n"), "{output}");
    assert!(output.contains("\"total\":3"), "{output}");
}

fn run_curl_for_a_second(url: &str) -> String {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--no-buffer", "--max-time", "1", "--header", "Accept: text/event-stream", url]);
    let output = curl.output().expect("curl is installed");
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn run_curl(arguments: &[&str]) -> String {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--max-time", "30"]).args(arguments);
    let output = curl.output().expect("curl is installed");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}
