//! What people may say, how many names there may be, and how large a table may grow.

use serde_json::json;

use super::*;

const PEOPLE: &str = r#"
    [server]
    cores = 1
    [[listener]]
    name = "main"
    address = "127.0.0.1:5000"
    [[channel]]
    pattern = "room/*"
    kind = "group"
    [[channel]]
    pattern = "dm/*"
    kind = "direct"
    [[channel]]
    name = "table"
    kind = "table"
    columns = [{ id = "a" }, { id = "b" }]
    rows = [{ cells = ["", ""] }]
    [[route]]
    listener = "main"
    path = "/c/*"
    serve = "channels"
"#;

fn people() -> Config {
    Config::of(PEOPLE)
}

fn refused(socket: &mut Socket, text: &str) -> (String, String) {
    socket.send(text);
    let refused = socket.json_of("refused");
    let word = |key: &str| refused[key].as_str().expect("a text").to_owned();
    (word("code"), word("expected"))
}

fn accepted(socket: &mut Socket, text: &str) {
    socket.send(text);
    socket.json_of("ok");
}

#[test]
fn texts() {
    let server = people().limit("text_bytes_max", 6).start();
    let at = server.main();
    let mut socket = Socket::open(at, "/c/room/a");
    accepted(&mut socket, r#"{"text":"你好"}"#);
    let (code, expected) = refused(&mut socket, r#"{"text":"你好!"}"#);
    assert_eq!((code.as_str(), expected.as_str()), ("too_long", "at most limits.text_bytes_max bytes"));
    let mut direct = Socket::open(at, "/c/dm/a");
    accepted(&mut direct, r#"{"to":"a","text":"你好"}"#);
    assert_eq!(refused(&mut direct, r#"{"to":"a","text":"你好!"}"#).0, "too_long");
    post_form(at, "/c/room/a", "text=123456").ok();
    post_form(at, "/c/room/a", "text=1234567").with_status(413);
}

#[test]
fn names() {
    let server = people().limit("users_max", 2).start();
    let at = server.main();
    let first = Socket::open(at, "/c/room/a?name=1");
    let _again = Socket::open(at, "/c/room/a?name=1");
    let _second = Socket::open(at, "/c/room/a?name=2");
    assert_eq!(Socket::try_open(at, "/c/room/a?name=3", &[]).err(), Some(503));
    let _elsewhere = Socket::open(at, "/c/room/b?name=3");
    let _nameless = Socket::open(at, "/c/room/a");
    first.close();
    assert_eq!(Socket::try_open(at, "/c/room/a?name=3", &[]).err(), Some(503), "1 is still there");
    drop(_again);
    eventually("there is room", || Socket::try_open(at, "/c/room/a?name=3", &[]).is_ok());
}

#[test]
fn who_edits() {
    let server = people().limit("users_max", 2).start();
    let mut sockets: Vec<Socket> = (0..3).map(|_| Socket::open(server.main(), "/c/table")).collect();
    let editing = r#"{"editing":{"row":"1","column":"a"},"id":1}"#;
    accepted(&mut sockets[0], editing);
    accepted(&mut sockets[1], editing);
    assert_eq!(refused(&mut sockets[2], editing).0, "full");
    accepted(&mut sockets[0], r#"{"editing":null,"id":1}"#);
    accepted(&mut sockets[2], editing);
}

#[test]
fn rows() {
    let server = people().limit("table_rows_max", 3).start();
    let mut socket = Socket::open(server.main(), "/c/table");
    accepted(&mut socket, r#"{"insert":{}}"#);
    accepted(&mut socket, r#"{"insert":{}}"#);
    assert_eq!(refused(&mut socket, r#"{"insert":{}}"#).0, "full");
    accepted(&mut socket, r#"{"delete":{"row":"1"}}"#);
    accepted(&mut socket, r#"{"insert":{}}"#);
}

#[test]
fn cells() {
    let server = people().limit("cell_bytes_max", 8).start();
    let mut socket = Socket::open(server.main(), "/c/table");
    let set = |value: &str| json!({"set": [{"row": "1", "column": "a", "value": value}]}).to_string();
    accepted(&mut socket, &set("小明"));
    assert_eq!(refused(&mut socket, &set("小明!")).0, "too_long");
    let insert = json!({"insert": {"cells": {"a": "1234567"}}}).to_string();
    assert_eq!(refused(&mut socket, &insert).0, "too_long");
    let cells = |count: usize| {
        let cell = json!({"row": "1", "column": "a", "value": 1});
        json!({"set": vec![cell; count]}).to_string()
    };
    accepted(&mut socket, &cells(1000));
    assert_eq!(refused(&mut socket, &cells(1001)).0, "malformed");
}

#[test]
fn tables() {
    let server = people().limit("table_bytes_max", 1024).start();
    let mut socket = Socket::open(server.main(), "/c/table");
    let text = |bytes: usize| json!({"set": [{"row": "1", "column": "a", "value": "x".repeat(bytes)}]}).to_string();
    accepted(&mut socket, &text(900));
    assert_eq!(refused(&mut socket, &text(1024)).0, "full");
    let insert = json!({"insert": {"cells": {"a": "x".repeat(200)}}}).to_string();
    assert_eq!(refused(&mut socket, &insert).0, "full");
    accepted(&mut socket, &text(500));
    accepted(&mut socket, &insert);
}
