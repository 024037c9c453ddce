//! Socket.IO clients: npm's newest (protocol 5, Engine.IO 4) and 2.x (protocol 4, Engine.IO 3), and Python's; by polling only,
//! by WebSocket only, and upgrading from the one to the other.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{Program, installed};
use crate::live::server::{Config, MAIN, Signal, free_port};

/// A client library, and the program that uses it.
#[derive(Clone, Copy, PartialEq)]
enum Library {
    Newest,
    Version2,
    Python,
}
use Library::{Newest, Python, Version2};

/// Each line becomes three tests: by polling, by WebSocket, by polling and then WebSocket.
macro_rules! in_each_mode {
    ($($name:ident: $program:ident($library:ident);)*) => {
        $(mod $name {
            #[test] fn polling() { super::$program(super::$library, "polling"); }
            #[test] fn websocket() { super::$program(super::$library, "websocket"); }
            #[test] fn upgrade() { super::$program(super::$library, "upgrade"); }
        })*
    };
}

in_each_mode! {
    newest_table: table(Newest);
    newest_messages: messages(Newest);
    newest_restart: restart(Newest);
    newest_stream: stream(Newest);
    newest_own: own(Newest);
    version_2_table: table(Version2);
    version_2_messages: messages(Version2);
    version_2_restart: restart(Version2);
    version_2_stream: stream(Version2);
    version_2_own: own(Version2);
    python_table: table(Python);
    python_messages: messages(Python);
    python_restart: restart(Python);
}

impl Library {
    /// Starts its program; `None` if the clients are to be left out.
    fn start(self, program: &str, mode: &str, address: &str) -> Option<Program> {
        let (variable, file) = match self {
            Newest => ("TALLYCAST_NODE_MODULES", "socketio.mjs"),
            Version2 => ("TALLYCAST_NODE_MODULES", "socketio2.mjs"),
            Python => ("TALLYCAST_PYTHON", "python_socketio.py"),
        };
        let path = installed(variable)?;
        let interpreter: PathBuf = if self == Python { path } else { Path::new("node").into() };
        Some(Program::start(&interpreter, file, &[program, mode, address]))
    }

    /// What was heard is this. Python's library has a thread for each event: their order is not kept.
    #[track_caller]
    fn assert_heard(self, heard: &Value, expected: &[Value]) {
        let sorted = |events: &[Value]| {
            let mut texts: Vec<String> = events.iter().map(Value::to_string).collect();
            texts.sort();
            texts
        };
        let heard = heard.as_array().expect("a list of events");
        if self == Python {
            assert_eq!(sorted(heard), sorted(expected));
        } else {
            assert_eq!(heard, expected);
        }
    }
}

/// The table as row 9 knows it.
struct People([[String; 5]; 3]);

const COLUMNS: [&str; 5] = ["name", "age", "hobby", "skill", "gender"];

impl People {
    fn shipped() -> People {
        let rows =
            [["小明", "18", "跑步", "跳马", "男"], ["小花", "17", "跑步", "跳绳", "女"], ["小小", "16", "", "", "女"]];
        People(rows.map(|row| row.map(str::to_owned)))
    }

    fn change(&mut self, change: &Value) {
        let row = change["index"].as_u64().expect("an index") as usize;
        let column = COLUMNS.iter().position(|column| change["forms"] == *column).expect("a column");
        self.0[row][column] = change["value"].as_str().expect("a text").to_owned();
    }

    /// What a client hears when it connects.
    fn greeting(&self) -> Vec<Value> {
        let mut events = vec![json!({"event": "my_response", "args": [{"data": "Connected", "count": 0}]})];
        for (index, row) in self.0.iter().enumerate() {
            for (value, forms) in row.iter().zip(COLUMNS) {
                events.push(changed(&json!({"index": index, "value": value, "forms": forms})));
            }
        }
        events
    }
}

fn changed(change: &Value) -> Value {
    json!({"event": "input-change", "args": [change]})
}

fn transport_of(mode: &str) -> &str {
    if mode == "upgrade" { "websocket" } else { mode }
}

/// Row 9.
fn table(library: Library, mode: &str) {
    let server = Config::demo().cores(2).start();
    let address = server.main().to_string();
    let Some(mut program) = library.start("table", mode, &address) else {
        return;
    };
    let mut people = People::shipped();
    library.assert_heard(&program.step("greeting")["heard"], &people.greeting());
    assert_eq!(program.step("transport")["name"], transport_of(mode));
    assert_eq!(program.step("acknowledged")["args"], json!([]));
    library.assert_heard(&program.step("second")["heard"], &people.greeting());
    let mut origins = Vec::new();
    if library != Python {
        let preflight = program.step("preflight");
        assert_eq!((&preflight["ok"], &preflight["origin"]), (&json!(true), &json!("http://localhost:8080")));
        assert!(preflight["methods"].as_str().is_some_and(|methods| methods.contains("POST")), "{preflight}");
        let headers = preflight["headers"].as_str().unwrap_or_default().to_lowercase();
        assert!(headers.contains("content-type"), "{preflight}");
        let polled = program.step("polled");
        assert_eq!((&polled["status"], &polled["origin"]), (&json!(200), &json!("http://localhost:8080")));
        assert_eq!(polled["credentials"], "true", "{polled}");
        origins = vec!["http://localhost:8080".to_owned(), "null".to_owned(), format!("http://{address}")];
    }
    for number in 0..if library == Python { 2 } else { 3 } {
        let posted = program.step("posted");
        assert_eq!((&posted["status"], &posted["text"]), (&json!(200), &json!("success!")));
        let event = json!([changed(&posted["change"])]);
        assert_eq!(posted["heard"], json!([event, event]));
        if let Some(origin) = origins.get(number) {
            assert_eq!(posted["origin"], **origin, "{posted}");
        }
        people.change(&posted["change"]);
    }
    library.assert_heard(&program.step("late")["heard"], &people.greeting());
    if library != Python {
        refused(&mut program);
    }
    let reason = if library == Python { "client disconnect" } else { "io client disconnect" };
    assert_eq!(program.step("left")["reason"], reason);
    let event = json!([changed(&json!({"index": 0, "value": "still there", "forms": "name"}))]);
    assert_eq!(program.step("still there")["heard"], json!([event, event]));
    program.end();
}

/// Changes that are none are refused, and nobody hears of them.
fn refused(program: &mut Program) {
    let refused = program.step("refused");
    // Not JSON, not an object, members that are missing or of another type; no such row; no such column; too long; from elsewhere.
    let statuses = json!([400, 400, 400, 400, 400, 400, 422, 400, 400, 422, 422, 400, 413, 403]);
    assert_eq!(refused["statuses"], statuses, "{refused}");
    let event = json!([changed(&json!({"index": 0, "value": "after", "forms": "name"}))]);
    assert_eq!(program.step("after")["heard"], json!([event, event, event]));
}

/// Against the conformance configuration, whose heartbeat is short.
fn messages(library: Library, mode: &str) {
    let server = Config::conformance().cores(2).start();
    let Some(mut program) = library.start("messages", mode, &server.at(3000).to_string()) else {
        return;
    };
    let greeting = |payload: Value| json!([{"event": "auth", "args": [payload]}]);
    let all = |number: usize| Value::from(vec![true; number]);
    if library == Python {
        assert_eq!(program.step("greeting")["heard"], greeting(json!({"token": "123"})));
        assert_eq!(program.step("transport")["name"], transport_of(mode));
        assert_eq!(program.step("all there")["same"], true);
        assert_eq!(program.step("same")["same"], all(16));
        assert_eq!(program.step("custom")["heard"], greeting(json!({"token": "abc"})));
        assert_eq!(program.step("unknown")["said"], json!([{"message": "Invalid namespace"}]));
        let alive = program.step("alive");
        assert_eq!((&alive["connected"], &alive["args"]), (&all(2), &json!(["alive"])));
        return program.end();
    }
    assert_eq!(program.step("greeting")["heard"], greeting(json!({})));
    assert_eq!(program.step("in order")["same"], true);
    assert_eq!(program.step("transport")["name"], transport_of(mode));
    assert_eq!(program.step("same")["same"], all(16));
    assert_eq!(program.step("each its own")["same"], true);
    assert_eq!(program.step("custom")["heard"], greeting(json!({})));
    assert_eq!(program.step("unknown")["said"], "Invalid namespace");
    let besides = program.step("besides");
    assert_eq!((&besides["heard"], &besides["left"]), (&json!({"token": "abc"}), &json!("io client disconnect")));
    assert_eq!(program.step("goes on")["args"], json!(["here"]));
    let alive = program.step("alive");
    assert_eq!((&alive["connected"], &alive["args"]), (&all(3), &json!(["alive"])));
    let much = program.step("too much");
    assert!(["transport error", "transport close"].iter().any(|reason| much["reason"] == *reason), "{much}");
    assert_eq!(json!([much["again"]]), greeting(json!({})));
    program.end();
}

/// The library comes back by itself when the server does, whether the server was asked to end or was killed.
fn restart(library: Library, mode: &str) {
    let port = free_port();
    let start = || Config::demo().cores(2).port(MAIN, port).start();
    let mut server = start();
    let Some(mut program) = library.start("restart", mode, &server.main().to_string()) else {
        return;
    };
    for asked in [true, false] {
        assert_eq!(program.step("connected")["transport"], transport_of(mode));
        if asked {
            server.signal(Signal::Terminate);
            server.ended();
        }
        drop(server);
        let gone = program.step("gone");
        // "io server disconnect" would be for good.
        assert!(["transport error", "transport close"].iter().any(|reason| gone["reason"] == *reason), "{gone}");
        server = start();
        program.go_on();
        let back = program.step("back");
        library.assert_heard(&back["heard"], &People::shipped().greeting());
        assert_eq!(back["args"], json!([]));
    }
    let news = json!({"index": 0, "value": "news", "forms": "name"});
    assert_eq!(program.step("news")["heard"], json!([changed(&news)]));
    program.end();
}

/// 200 changes while clients connect and upgrade: from the present value on, each hears every one, once, in order.
fn stream(library: Library, mode: &str) {
    let server = Config::demo().cores(2).start();
    let Some(mut program) = library.start("stream", mode, &server.main().to_string()) else {
        return;
    };
    let clients = program.step("stream")["clients"].take();
    let clients = clients.as_array().expect("a list");
    assert_eq!(clients.len(), 7);
    for client in clients {
        assert_eq!(client["transport"], transport_of(mode));
        let values: Vec<&str> =
            client["values"].as_array().expect("a list").iter().map(|value| value.as_str().expect("a text")).collect();
        // The first is the present value: the shipped one, or one of those that were set.
        let first = values[0].strip_prefix('v').map_or(0, |number| number.parse().expect("a number"));
        let expected: Vec<String> = (first + 1..=200).map(|number| format!("v{number}")).collect();
        assert_eq!(values[1..], expected, "{client}");
    }
    program.end();
}

/// The same table in our own dialect.
fn own(library: Library, mode: &str) {
    let server = Config::demo().cores(2).start();
    let Some(mut program) = library.start("own", mode, &server.main().to_string()) else {
        return;
    };
    let begin = program.step("begin");
    assert_eq!(begin["types"], json!(["snapshot", "listeners", "members"]));
    assert_eq!(begin["users"], json!(["小明"]));
    let snapshot = &begin["snapshot"];
    assert_eq!((&snapshot["channel"], &snapshot["kind"]), (&json!("table/people"), &json!("table")));
    let first = &snapshot["state"]["rows"][0];
    assert_eq!((&first["id"], &first["cells"][1]), (&json!("1"), &json!({"value": "18", "rev": 0})));

    let answers = program.step("answers")["answers"].take();
    let ok = &answers[0];
    assert_eq!((&ok[0]["type"], ok.as_array().map(Vec::len)), (&json!("ok"), Some(1)));
    let codes = ["stale", "unknown_column", "unknown_row", "malformed", "malformed", "unknown_event"];
    for (code, answer) in codes.iter().zip(&answers.as_array().expect("a list")[1..]) {
        assert_eq!((&answer[0]["type"], &answer[0]["code"]), (&json!("refused"), &json!(code)), "{answer}");
        assert_eq!(answer.as_array().map(Vec::len), Some(1), "{answer}");
    }
    assert_eq!(answers.as_array().map(Vec::len), Some(codes.len() + 1));
    let stale = &answers[1][0];
    let present = [&stale["row"], &stale["column"], &stale["rev"], &stale["value"], &stale["by"]];
    assert_eq!(present, [&json!("1"), &json!("age"), &json!(1), &json!("19"), &json!("小明")]);

    let cells = program.step("cells")["message"].take();
    let expected = json!([{"row": "1", "column": "age", "value": "19"}]);
    assert_eq!((&cells["cells"], &cells["by"], &cells["at"]), (&expected, &json!("小明"), &ok[0]["at"]));
    let unasked = program.step("unasked");
    assert_eq!((&unasked["event"], &unasked["message"]["code"]), (&json!("refused"), &json!("stale")));
    assert_eq!(program.step("resumed")["message"]["at"], snapshot["at"]);
    assert_eq!(program.step("missed")["message"], cells);
    program.end();
}
