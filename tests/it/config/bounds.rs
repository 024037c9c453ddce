//! Bounds that are too far away for a row: as much as is allowed is right, and one more is told.

use super::{BASE, errors, sound};

/// A text with so many of something, how many there may be, and what is told of one more: key and words.
type Row = (fn(usize) -> String, usize, &'static str, &'static str);

/// So many entries, made from their numbers.
fn list(count: usize, entry: impl Fn(usize) -> String) -> String {
    format!("[{}]", (0..count).map(entry).collect::<Vec<_>>().join(", "))
}

fn channel(kind: &str, keys: &str) -> String {
    format!("[[channel]]\nname = 'x'\nkind = '{kind}'\n{keys}\n")
}

fn socket_io(namespaces: &str) -> String {
    format!("[[route]]\nlistener = 'main'\npath = '/x/'\nserve = 'socket.io'\nnamespaces = {namespaces}\n")
}

fn options(count: usize) -> String {
    channel("vote", &format!("options = {}", list(count, |n| format!("{{ id = '{n}' }}"))))
}

fn columns(count: usize) -> String {
    channel("table", &format!("columns = {}", list(count, |n| format!("{{ id = '{n}' }}"))))
}

fn rows(count: usize) -> String {
    channel("table", &format!("columns = [{{ id = 'a' }}]\nrows = {}", list(count, |n| format!("{{ cells = [{n}] }}"))))
}

/// A cell of so many bytes as JSON.
fn cell(bytes: usize) -> String {
    let text = "x".repeat(bytes - 2);
    channel("table", &format!("columns = [{{ id = 'a' }}]\nrows = [{{ cells = ['{text}'] }}]"))
}

/// 512 rows of 4096 bytes, ids and values together; what is beyond that stands in the last id.
fn table_bytes(bytes: usize) -> String {
    let beyond = bytes - (2 << 20);
    let row = |n: usize| {
        let id = format!("{n:04}{}", "i".repeat(if n == 511 { beyond } else { 0 }));
        format!("{{ id = '{id}', cells = ['{}'] }}", "x".repeat(4090))
    };
    channel("table", &format!("columns = [{{ id = 'a' }}]\nrows = {}", list(512, row)))
}

fn namespaces(count: usize) -> String {
    socket_io(&list(count, |n| format!("{{ name = '/{n}' }}")))
}

fn events(count: usize) -> String {
    let events = list(count, |n| format!("{{ name = '{n}', does = 'nothing' }}"));
    socket_io(&format!("[{{ name = '/', events = {events} }}]"))
}

/// A greeting of so many bytes as JSON.
fn greeting(bytes: usize) -> String {
    let data = "x".repeat(bytes - 2);
    socket_io(&format!("[{{ name = '/', connected = {{ event = 'a', data = '\"{data}\"' }} }}]"))
}

/// One is our own, one is of a namespace, and the rest are keys of `steps`.
fn dialects(count: usize) -> String {
    let mut text = socket_io("[{ name = '/', channel = 'poll' }]");
    for n in 2..count {
        text += &format!(
            "[[route]]\nlistener = 'main'\npath = '/{n}'\nserve = 'websocket'\nchannel = 'poll'\ndialect = 'steps'\nkey = '{n}'\n"
        );
    }
    text
}

/// As [`dialects`], but the last is an event of a namespace.
fn dialects_and_an_event(count: usize) -> String {
    let event = "[[route]]\nlistener = 'side'\npath = '/x/'\nserve = 'socket.io'\n\
                 namespaces = [{ name = '/', channel = 'poll', event = 'e' }]\n";
    dialects(count - 1) + event
}

#[test]
fn as_much_as_is_allowed_is_right_and_one_more_is_told() {
    let rows: [Row; 11] = [
        (options, 1000, "channel \"x\".options", "1001 options are not allowed"),
        (columns, 100, "channel \"x\".columns", "101 columns are not allowed"),
        (rows, 1000, "channel \"x\".rows", "1001 rows are not allowed"),
        (cell, 4 << 10, "channel \"x\".rows[0].cells[0]", "4097 bytes as JSON are too many"),
        (table_bytes, 2 << 20, "channel \"x\".rows", "the rows have 2097153 bytes"),
        (namespaces, 64, "route[0].namespaces", "65 namespaces are not allowed"),
        (events, 100, "route[0].namespaces[0].events", "101 events are not allowed"),
        (greeting, 256 << 10, "route[0].namespaces[0].connected.data", "262145 bytes are not allowed"),
        (dialects, 256, "route[255].key", "too many different dialects"),
        (dialects_and_an_event, 256, "route[255].namespaces[0].dialect", "too many different dialects"),
        (|count| channel("feed", &format!("history = {count}")), 1000, "channel \"x\".history", "1001 is out of range"),
    ];
    for (text, most, key, words) in rows {
        sound(&format!("{}{BASE}", text(most)));
        let found = errors(&format!("{}{BASE}", text(most + 1)));
        assert_eq!(found.len(), 1, "{key}: {found:?}");
        assert_eq!(found[0].key, key);
        assert!(found[0].wrong.contains(words), "{}", found[0]);
    }
}

/// Each of many is told; none makes the next slower.
#[test]
fn far_too_many_dialects_are_told_one_by_one() {
    let found = errors(&format!("{}{BASE}", dialects(2000)));
    assert_eq!(found.len(), 2000 - 256);
}
