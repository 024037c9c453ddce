//! The configuration: what is wrong is told with file, line, key, reason and what is allowed; what is shipped is right.

mod bounds;
mod program;
mod setup;
mod shipped;

use std::time::Duration;

use tallycast::app::config::{Config, ConfigError, parse};
use tallycast::base::limits::Limits;

/// Stands behind each row, so that what the row says is all that can be wrong.
const BASE: &str = r#"
[[listener]]
name = "main"
address = "127.0.0.1:5000"
[[listener]]
name = "side"
address = "127.0.0.1:5001"
[[channel]]
name = "poll"
kind = "vote"
options = [{ id = "1" }]
[[channel]]
pattern = "feed/*"
kind = "feed"
[[channel]]
name = "echo"
kind = "echo"
[[channel]]
pattern = "room/*"
kind = "group"
[[channel]]
pattern = "dm/*"
kind = "direct"
[[channel]]
name = "sheet"
kind = "table"
columns = [{ id = "name" }, { id = "age" }]
"#;

const ROWS: &str = include_str!("config_rows.txt");

/// Each is a key of which some row must say that it is wrong.
const KEYS: &str = "server server.cores server.driver limits limits.head_bytes_max limits.connections_max \
    limits.handshakes_max limits.polls_max limits.logs_bytes_max limits.pipelined_bytes_max limits.message_bytes_max \
    limits.fragments_max limits.head_wait limits.keep_alive limits.stop_wait listener[0].name listener[0].address \
    listener[0].origins listener[0].hosts listener[0].optional .name .pattern .kind .options .history .heartbeat .heartbeat.text \
    .heartbeat.every [0].id [0].label [0].label.en route[0].listener route[0].path route[0].serve route[0].channel \
    route[0].dialect route[0].key route[0].wait route[0].field route[0].accepted route[0].page route[0].session \
    route[0].text route[0].to route[0].ping_interval route[0].ping_timeout route[0].payload_max \
    route[0].connect_timeout route[0].namespaces namespaces[0] namespaces[1].name namespaces[0].name \
    namespaces[0].channel namespaces[0].dialect namespaces[0].key namespaces[0].event namespaces[0].connected \
    connected.event connected.data connected.auth namespaces[0].events events[0] events[0].name events[0].does \
    events[0].as limits.users_max limits.text_bytes_max limits.table_rows_max limits.cell_bytes_max \
    limits.table_bytes_max .recent .echo_sender .absent .notices .columns columns[0] columns[0].id columns[0].label \
    columns[0].label.e .rows rows[0] rows[0].id rows[0].cells cells[0] cells[1] cells.name .slow .max_rate route[0].gap \
    namespaces[1].gap";

/// What is no TOML, and where: line and key of each error.
const SYNTAX_ROWS: &[(&str, &[(usize, &str)])] = &[
    ("[server\ncores = 1", &[(1, "[server")]),
    ("\n\n[server]\ncores = 1\ncores = 2", &[(5, "cores")]),
    ("[server]\ncores = ", &[(2, "cores")]),
    ("[server]\na = x\nb = y", &[(2, "a"), (3, "b")]),
    ("[server]\n[server]", &[(2, "[server]")]),
    ("[listener]\n[[listener]]", &[(2, "[[listener]]")]),
    ("[limits]\nhead_wait = '1s'\nhead_wait = '1s'", &[(3, "head_wait")]),
    ("[limits]\nhead_wait = '1s'\n[limits]", &[(3, "[limits]")]),
    ("[[listener]]\nname = 'a'\nname = 'b'", &[(3, "name")]),
    ("[[channel]]\nname = 'a'\n'name' = 'b'", &[(3, "'name'")]),
    ("[[channel]]\noptions = [{ id = '1', id = '2' }]", &[(2, "options")]),
    ("[[route]]\npath = /x", &[(2, "path")]),
    ("[[route]]\npath = '/x", &[(2, "path")]),
    ("[[route]]\n= 1", &[(2, "")]),
    ("[limits]\nhead_wait", &[(2, "head_wait")]),
    ("[limits]\nhead_wait = 10s", &[(2, "head_wait")]),
    ("[limits]\nfragments_max = 1,000", &[(2, "fragments_max")]),
    ("[server]\ncores = 01", &[(2, "cores")]),
];

/// Two routes: how the first is served, how the second, and whether the second takes requests from the first.
const CLASH_ROWS: &[(&str, &str, bool)] = &[
    ("'/', 'text', text = 'a'", "'/', 'text', text = 'b'", true),
    ("'/', 'text', text = 'a'", "'/', 'page', channel = 'poll', page = 'vote'", true),
    ("'/', 'text', text = 'a'", "'/', 'long-poll', channel = 'poll', key = 'a'", true),
    ("'/', 'text', text = 'a'", "'/x', 'text', text = 'b'", false),
    ("'/', 'text', text = 'a'", "'/', 'websocket', channel = 'poll'", false),
    ("'/', 'text', text = 'a'", "'/', 'form', channel = 'poll', field = 'a', accepted = 'b'", false),
    ("'/', 'text', text = 'a'", "'/', 'echo-body'", true),
    ("'/', 'websocket', channel = 'poll'", "'/', 'websocket', channel = 'echo'", true),
    ("'/', 'echo-body'", "'/', 'websocket', channel = 'echo'", true),
    ("'/c/*', 'channels'", "'/c/*', 'channels'", true),
    ("'/c/*', 'channels'", "'/c/d/*', 'channels'", true),
    ("'/c/d/*', 'channels'", "'/c/*', 'channels'", false),
    ("'/c/*', 'channels'", "'/c/x', 'text', text = 'a'", true),
    ("'/c/x', 'text', text = 'a'", "'/c/*', 'channels'", false),
    ("'/c/*', 'channels'", "'/c/w/*', 'websocket', channel = 'dm/*'", true),
    ("'/w/*', 'websocket', channel = 'dm/*'", "'/w/x', 'websocket', channel = 'echo'", true),
    ("'/w/*', 'websocket', channel = 'dm/*'", "'/w/x', 'text', text = 'a'", false),
    ("'/w/*', 'websocket', channel = 'dm/*'", "'/w', 'websocket', channel = 'room/a'", false),
    ("'/w/x', 'websocket', channel = 'echo'", "'/w/*', 'websocket', channel = 'dm/*'", false),
    (
        "'/', 'form', channel = 'poll', field = 'a', accepted = 'b'",
        "'/', 'json', channel = 'sheet', accepted = 'b'",
        true,
    ),
    ("'/', 'json', channel = 'sheet', accepted = 'b'", "'/', 'page', page = 'index'", false),
    ("'/e/', 'engine.io'", "'/e/', 'engine.io'", true),
    ("'/e/', 'engine.io'", "'/e/', 'socket.io', namespaces = [{ name = '/' }]", true),
    ("'/e/', 'engine.io'", "'/e/x', 'text', text = 'a'", true),
    ("'/e/', 'engine.io'", "'/e/x', 'json', channel = 'sheet', accepted = 'b'", true),
    ("'/e/', 'engine.io'", "'/e/x', 'websocket', channel = 'echo'", true),
    ("'/e/', 'engine.io'", "'/e', 'text', text = 'a'", false),
    ("'/e/x', 'text', text = 'a'", "'/e/', 'engine.io'", false),
];

fn errors(text: &str) -> Vec<ConfigError> {
    match parse(text, "test.toml") {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().cloned().collect(),
    }
}

fn sound(text: &str) -> Config {
    parse(text, "test.toml").unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn every_wrong_key_is_told_with_its_line_and_what_is_allowed() {
    sound(BASE);
    let mut seen: Vec<String> = Vec::new();
    let mut rights = 0;
    for row in ROWS.split("---\n").skip(1) {
        let expected: Vec<(usize, &str, &str)> = (1..)
            .zip(row.lines())
            .flat_map(|(number, line)| line.split("#> ").skip(1).map(move |marked| (number, marked)))
            .map(|(number, marked)| (number, marked.split_once(": ").expect("a key, a colon, words")))
            .map(|(number, (key, words))| (number, key, words.trim_end()))
            .collect();
        let right = row.lines().any(|line| line == "# right");
        assert_eq!(expected.is_empty(), right, "either errors or right: {row}");
        rights += usize::from(right);
        let mut found = errors(&format!("{row}{BASE}"));
        for (line, key, words) in expected {
            let here = |error: &ConfigError| (error.line, error.key.as_str()) == (Some(line), key);
            let index = found.iter().position(here);
            let error = found.remove(index.unwrap_or_else(|| panic!("{row}lacks an error for {key}: {found:#?}")));
            let message = error.to_string();
            assert!(message.starts_with(&format!("test.toml:{line}: {key}: ")), "{message}");
            assert!(!error.allowed.is_empty() && message.contains("; allowed: "), "{message}");
            for word in words.split(" && ") {
                assert!(message.contains(word), "{row}{message}\nlacks {word}");
            }
            seen.push(error.key);
        }
        assert_eq!(found, [], "{row}has more errors than it should");
    }
    assert!(rights > 50, "{rights}");
    for key in KEYS.split_whitespace() {
        assert!(seen.iter().any(|seen| seen.ends_with(key)), "no row for {key}");
    }
}

#[test]
fn what_is_no_toml_is_told_with_its_lines() {
    for (text, expected) in SYNTAX_ROWS {
        let found = errors(text);
        let places: Vec<(usize, &str)> =
            (found.iter()).map(|error| (error.line.expect("a line"), error.key.as_str())).collect();
        assert_eq!(places, *expected, "{text}");
        assert!(found.iter().all(|error| error.wrong.contains("not TOML")), "{found:?}");
    }
    let nothing = errors("");
    assert_eq!(nothing.len(), 1);
    let told = "test.toml:1: listener: the key `listener` is missing; allowed: at least one [[listener]]";
    assert_eq!(nothing[0].to_string(), told);
}

#[test]
fn a_route_that_is_never_asked_is_told_with_the_line_of_the_other() {
    let route = |(line, listener): (&str, &str)| {
        let (path, rest) = line.split_once(", ").unwrap();
        let (serve, keys) = rest.split_once(", ").unwrap_or((rest, ""));
        format!("[[route]]\nlistener = {listener}\npath = {path}\nserve = {serve}\n{}\n", keys.replace(", ", "\n"))
    };
    for (first, second, clash) in CLASH_ROWS {
        let first_route = route((first, "'main'"));
        let line = first_route.lines().count() + 1;
        let apart = format!("{first_route}{}{BASE}", route((second, "'side'")));
        assert_eq!(errors(&apart), [], "{first} / {second} on another listener");
        let both = errors(&format!("{first_route}{}{BASE}", route((second, "['side', 'main']"))));
        assert_eq!(both.len(), usize::from(*clash), "{first} / {second}: {both:?}");
        for error in both {
            assert_eq!(error.line, Some(line + 2), "the path of the second");
            assert!(error.wrong.contains(&format!("lines 1 and {line} ")), "{error}");
            assert!(error.wrong.contains("listener \"main\""), "{error}");
        }
    }
}

#[test]
fn every_limit_is_read_and_bounded() {
    let unknown = errors(&format!("[limits]\nx = 1\n{BASE}")).remove(0);
    let keys: Vec<&str> = unknown.allowed.split(", ").collect();
    assert_eq!(keys.len(), format!("{:?}", Limits::default()).matches(": ").count());
    for key in keys {
        let with = |value: &str| format!("[limits]\n{key} = {value}\n{BASE}");
        for wrong in [
            "true",
            "[]",
            "{}",
            "1.5",
            "-1",
            "''",
            "'x'",
            "'1 parsec'",
            "99999999999999999999",
            "'99999999999999999999h'",
        ] {
            let found = errors(&with(wrong));
            assert_eq!(found.len(), 1, "{key} = {wrong}: {found:?}");
            assert_eq!((found[0].line, found[0].key.as_str()), (Some(2), &*format!("limits.{key}")));
        }
        let (value, changed) = if key == "logs_bytes_max" {
            ("'1025 KiB'", format!("{key}: 1049600"))
        } else if key.ends_with("_bytes_max") {
            ("'1048575 B'", format!("{key}: 1048575"))
        } else if key.ends_with("_max") && key != "poll_wait_max" {
            ("999", format!("{key}: 999"))
        } else {
            ("'59999ms'", format!("{key}: 59.999s"))
        };
        // Some are at odds with the default of another, or have a smaller bound; their default must do.
        let odd = ["head_bytes_max", "target_bytes_max", "log_bytes_max", "history_bytes_max", "session_idle"];
        if odd.contains(&key) {
            continue;
        }
        let limits = format!("{:?}", sound(&with(value)).setup.limits);
        assert!(limits.contains(&changed), "{limits} lacks {changed}");
    }
    assert_eq!(sound(&format!("[limits]\nconnections_max = 'auto'\n{BASE}")).setup.limits, Limits::default());
    let all = "[limits]\nhead_bytes_max = 8192\ntarget_bytes_max = '5 KiB'\nlog_bytes_max = '2 MiB'\n\
               history_bytes_max = '3 MiB'\nsession_idle = '90s'\nping_interval = '0'\nstop_wait = '0s'\n";
    let expected = Limits {
        head_bytes_max: 8192,
        target_bytes_max: 5 << 10,
        log_bytes_max: 2 << 20,
        history_bytes_max: 3 << 20,
        session_idle: Duration::from_secs(90),
        ping_interval: Duration::ZERO,
        stop_wait: Duration::ZERO,
        ..Limits::default()
    };
    assert_eq!(sound(&format!("{all}{BASE}")).setup.limits, expected);
}
