//! The configuration: what is wrong is told with file, line, key, reason and what is allowed; what is shipped is right.

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use tallycast::app::config::{Config, ConfigError, DEMO, load, parse};
use tallycast::base::limits::{CHANNEL_IDLE, CONFIG_BYTES_MAX, Limits};
use tallycast::engine::{ChannelSpec, Data};
use tallycast::kind::Kind;
use tallycast::route::{Aim, Dialect, Origins, PathPattern, Pattern, Route, Serve};
use tallycast::wire::http::Hosts;

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
"#;

const ROWS: &str = include_str!("config_rows.txt");

/// Each is a key of which some row must say that it is wrong.
const KEYS: &str = "server server.cores server.driver limits limits.head_bytes_max limits.connections_max \
    limits.handshakes_max limits.polls_max limits.logs_bytes_max limits.pipelined_bytes_max limits.message_bytes_max \
    limits.fragments_max limits.head_wait limits.keep_alive limits.stop_wait listener[0].name listener[0].address \
    listener[0].origins listener[0].hosts listener[0].optional .name .pattern .kind .options .history .heartbeat .heartbeat.text \
    .heartbeat.every [0].id [0].label [0].label.en route[0].listener route[0].path route[0].serve route[0].channel \
    route[0].dialect route[0].key route[0].wait route[0].field route[0].accepted route[0].page route[0].session \
    route[0].text";

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
    for row in ROWS.split("---\n").skip(1) {
        let expected: Vec<(usize, &str, &str)> = (1..)
            .zip(row.lines())
            .flat_map(|(number, line)| line.split("#> ").skip(1).map(move |marked| (number, marked)))
            .map(|(number, marked)| (number, marked.split_once(": ").expect("a key, a colon, words")))
            .map(|(number, (key, words))| (number, key, words.trim_end()))
            .collect();
        assert!(!expected.is_empty(), "{row}");
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

#[test]
fn what_is_left_out_has_its_default() {
    let config =
        sound(&format!("{BASE}[[route]]\nlistener = 'main'\npath = '/'\nserve = 'websocket'\nchannel = 'feed/a'\n"));
    assert_eq!(config.cores, 0);
    assert_eq!(config.setup.limits, Limits::default());
    assert_eq!(config.setup.dialects, [Dialect::Tallycast]);
    let main = &config.setup.listeners[0];
    assert_eq!((&main.origins, main.hosts, main.optional), (&Origins::Local, Hosts::Same, false));
    let Some(ChannelSpec { data: Data::Tally { options }, idle: None, .. }) = &config.setup.classes[0].spec else {
        panic!("{:?}", config.setup.classes[0]);
    };
    assert_eq!(options[0].labels, [("und".into(), "1".to_owned())]);
    let feed = ChannelSpec {
        data: Data::Log,
        history_publications_max: 1000,
        history_bytes_max: 4 << 20,
        durable: false,
        users_max: 1000,
        idle: Some(CHANNEL_IDLE),
    };
    assert_eq!(config.setup.classes[1].spec, Some(feed));
    assert_eq!(config.setup.classes[1].pattern, Pattern::Prefix("feed/".into()));
    assert_eq!(config.setup.classes[2].spec, None);
}

#[test]
fn a_damaged_demo_is_read_or_refused_with_a_line_that_it_has() {
    let check = |text: &str| {
        for error in errors(text) {
            let line = error.line.expect("a line");
            assert!((1..=text.lines().count() + 1).contains(&line), "{error}");
        }
    };
    // Without comments it is short enough to be cut everywhere.
    let bare: String = DEMO
        .lines()
        .map(|line| line.split(" #").next().unwrap())
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| format!("{}\n", line.trim_end()))
        .collect();
    sound(&bare);
    for (end, _) in bare.char_indices() {
        check(&bare[..end]);
    }
    let lines: Vec<&str> = bare.lines().collect();
    for gone in 0..lines.len() {
        check(&[&lines[..gone], &lines[gone + 1..]].concat().join("\n"));
        check(&[&lines[..=gone], &lines[gone..]].concat().join("\n"));
    }
}

/// What is served to a request for this path at this address.
fn served<'c>(config: &'c Config, address: &str, path: &str) -> Vec<&'c Serve> {
    let address: SocketAddr = address.parse().unwrap();
    let here = |route: &&Route| {
        let listener = &config.setup.listeners[usize::from(route.listener.0)];
        let fits = match &route.path {
            PathPattern::Exact(exact) => exact == path,
            PathPattern::Prefix(prefix) => route.serve == Serve::EchoBody && path.starts_with(prefix.as_str()),
        };
        listener.address == address && fits
    };
    config.setup.routes.iter().filter(here).map(|route| &route.serve).collect()
}

#[test]
fn the_demo_has_what_the_clients_that_exist_need() {
    let config = sound(DEMO);
    let setup = &config.setup;
    assert_eq!(setup.limits, Limits::default(), "the demo says that it shows the defaults");
    let listeners: Vec<(String, bool)> =
        (setup.listeners.iter()).map(|listener| (listener.address.to_string(), listener.optional)).collect();
    let side = |port: u16| (format!("127.0.0.1:{port}"), true);
    assert_eq!(listeners, [("127.0.0.1:5000".into(), false), side(8002), side(8003), side(7777), side(8000)]);
    assert!(setup.listeners.iter().all(|listener| listener.origins == Origins::Local));

    // In words: what is served, the channel, and what is particular to it.
    let words = |serve: &Serve| match serve {
        Serve::WebSocket { aim: Aim::One(target), dialect } => {
            let heartbeat = setup.class(target.class).heartbeat.as_ref();
            let beat = heartbeat.map(|heartbeat| (heartbeat.every, heartbeat.text.as_str()));
            match (setup.dialect(*dialect), beat) {
                (Dialect::Steps { key }, None) => format!("websocket {} steps {key}", target.channel),
                (Dialect::Plain, beat) => {
                    assert_eq!(setup.class(target.class).kind, Kind::Echo);
                    format!("websocket plain {beat:?}")
                }
                other => panic!("{other:?}"),
            }
        }
        Serve::LongPoll { target, dialect, wait } => {
            assert_eq!(setup.dialect(*dialect), &Dialect::Steps { key: "uid".into() });
            format!("poll {} {wait:?}", target.channel)
        }
        Serve::Form { target, field, accepted } => format!("form {} {field} {accepted}", target.channel),
        Serve::Page { target: Some(target), session, .. } => format!("page {} session {session}", target.channel),
        Serve::Text { text } => format!("text {text}"),
        other => format!("{other:?}"),
    };
    let main = "127.0.0.1:5000";
    let beat = "websocket plain Some((2s, \"*heartbeat from serve\"))";
    let push = "websocket plain Some((2s, \"Nobody asked, but all is well\"))";
    let rows: [(&str, &str, &[&str]); 11] = [
        (main, "/", &["page poll/lunch session true"]),
        (main, "/index", &["page poll/lunch session true"]),
        (main, "/ticket", &["form poll/lunch nid 投票成功"]),
        (main, "/vote", &["form poll/lunch uid 投票成功"]),
        (main, "/message", &["websocket poll/lunch steps cid", "text 您使用的是Http协议"]),
        (main, "/get_new_vote", &["poll poll/lunch 10s", "websocket poll/lunch steps uid"]),
        ("127.0.0.1:8002", "/", &[push]),
        ("127.0.0.1:8003", "/chatsocket", &["websocket plain None"]),
        ("127.0.0.1:7777", "/ws", &[beat]),
        ("127.0.0.1:8000", "/ws", &[beat]),
        (main, "/nothing", &[]),
    ];
    for (address, path, expected) in rows {
        let found: Vec<String> = served(&config, address, path).into_iter().map(words).collect();
        assert_eq!(found, expected, "{address}{path}");
    }
    let channels = |route: &Route| route.serve == Serve::Channels && route.path == PathPattern::Prefix("/c/".into());
    assert!(setup.routes.iter().any(channels));

    let kind = |name: &str| setup.class_of(name).map(|class| setup.class(class).kind);
    for (name, expected) in [
        ("poll/lunch", Some(Kind::Vote)),
        ("news", Some(Kind::Feed)),
        ("feed/x", Some(Kind::Feed)),
        ("vote/x", Some(Kind::Vote)),
        ("echo", Some(Kind::Echo)),
        ("poll/dinner", None),
    ] {
        assert_eq!(kind(name), expected, "{name}");
    }
    let lunch = setup.class(setup.class_of("poll/lunch").unwrap());
    let Some(Data::Tally { options }) = lunch.spec.as_ref().map(|spec| &spec.data) else {
        panic!("{lunch:?}");
    };
    assert_eq!(options.iter().map(|option| option.id.as_str()).collect::<Vec<_>>(), ["1", "2", "3"]);
    for option in &**options {
        let languages: Vec<&str> = option.labels.iter().map(|(language, _)| language.as_str()).collect();
        assert_eq!(languages, ["en", "zh"]);
    }
}

#[test]
fn the_conformance_configuration_lets_the_suites_do_what_they_do() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/configs/conformance.toml");
    let config = load(path.as_ref()).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.cores, 1);
    let limits = &config.setup.limits;
    assert_eq!(limits.message_bytes_max, 32 << 20);
    assert!(limits.private_bytes_max > limits.message_bytes_max && limits.fragments_max >= 1 << 30);
    assert_eq!(limits.ping_interval, Duration::ZERO);
    assert!(config.setup.listeners.iter().all(|listener| listener.origins == Origins::Any));
    assert!(config.setup.listeners.iter().all(|listener| listener.hosts == Hosts::Any));
    let [Serve::WebSocket { aim: Aim::One(target), dialect }] = served(&config, "127.0.0.1:9001", "/")[..] else {
        panic!("{:?}", config.setup.routes);
    };
    let class = config.setup.class(target.class);
    assert_eq!((class.kind, &class.heartbeat), (Kind::Echo, &None));
    assert_eq!(config.setup.dialect(*dialect), &Dialect::Plain);
    for path in ["/", "/any/path"] {
        assert_eq!(served(&config, "127.0.0.1:9002", path), [&Serve::EchoBody]);
    }
}

fn tallycast(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tallycast"));
    command.args(arguments).current_dir("/").stdin(Stdio::null());
    command
}

fn output(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = tallycast(arguments).output().expect("the binary runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn check_prints_what_a_configuration_will_do() {
    let (code, stdout, stderr) = output(&["check"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    for line in [
        "demo.toml (embedded) is valid: as many event loops as the process may use processors, driver epoll",
        "  main        127.0.0.1:5000  9 routes            local origins",
        "  raw         127.0.0.1:8002  1 route   optional  local origins",
        "  poll/lunch      vote  3 options      history 1000",
        "  echo/heartbeat  echo  keeps nothing                every 2s \"*heartbeat from serve\"",
        "  main        /get_new_vote  GET        poll/lunch      long-poll, steps, key \"uid\", waits 10s",
    ] {
        assert!(stdout.lines().any(|printed| printed == line), "{stdout}\nlacks {line}");
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/configs/conformance.toml");
    let (code, stdout, _) = output(&["check", path]);
    assert_eq!(code, Some(0));
    assert!(stdout.contains("\nroutes (2)\n"), "{stdout}");
}

#[test]
fn the_command_line_ends_with_the_codes_that_it_promises() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(b"[server]\ncors = 1\n").expect("written");
    let path = file.path().to_str().expect("UTF-8");
    for arguments in [&["check", path][..], &["--config", path], &["serve", "--config", path]] {
        let (code, stdout, stderr) = output(arguments);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{arguments:?}");
        let told =
            format!("{path}:2: server.cors: unknown key, the nearest known key is `cores`; allowed: cores, driver\n");
        assert!(stderr.contains(&told), "{stderr}");
    }
    for arguments in
        [&["--bogus"][..], &["bogus"], &["check", "/no/such/file"], &["--config", "/no/such/file"], &["--config"]]
    {
        let (code, _, stderr) = output(arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {stderr}");
        assert!(!stderr.is_empty());
    }
    let (code, stdout, _) = output(&["--version"]);
    assert_eq!((code, stdout), (Some(0), format!("tallycast {}\n", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn a_listener_that_cannot_be_had_ends_the_start_with_code_1() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("its address");
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    writeln!(file, "[[listener]]\nname = \"main\"\naddress = \"{address}\"").expect("written");
    let (code, stdout, stderr) = output(&["--config", file.path().to_str().expect("UTF-8")]);
    assert_eq!((code, stdout.as_str()), (Some(1), ""), "{stderr}");
    assert!(stderr.contains("tallycast: "), "{stderr}");
}

#[test]
fn files_that_cannot_be_configurations_are_refused_whole() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(b"name = \"\xff\"").expect("written");
    let told = load(file.path()).expect_err("not UTF-8").to_string();
    assert!(told.contains("cannot read it") && told.contains("UTF-8"), "{told}");
    file.as_file().set_len(CONFIG_BYTES_MAX as u64 + 1).expect("grown");
    let told = load(file.path()).expect_err("too large").to_string();
    assert!(told.contains("; allowed: a TOML file in UTF-8 of at most 4 MiB"), "{told}");
}

#[test]
fn nobody_reading_the_output_is_no_failure() {
    let mut child = tallycast(&["check"]).stdout(Stdio::piped()).spawn().expect("the binary runs");
    drop(child.stdout.take());
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}
