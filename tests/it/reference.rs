//! `configs/reference.toml` has every key that the parser knows, with its default and a meaning.

use std::collections::BTreeSet;

use tallycast::app::config::{Config, parse};
use tallycast::base::limits::Limits;
use toml::{Table, Value};

const REFERENCE: &str = include_str!("../../configs/reference.toml");
const DEMO: &str = include_str!("../../configs/demo.toml");

fn sound(text: &str) -> Config {
    parse(text, "test.toml").unwrap_or_else(|errors| panic!("{errors}"))
}

/// The keys that the parser knows in the table of this text, in which one key, `zzz`, is none.
fn known(text: &str) -> BTreeSet<String> {
    let errors = parse(text, "test.toml").expect_err("zzz is no key");
    let error = errors.iter().find(|error| error.key.ends_with("zzz")).expect("an error for zzz");
    error.allowed.split(", ").map(str::to_owned).collect()
}

/// The keys of all tables that stand here.
fn written<'t>(tables: impl IntoIterator<Item = &'t Value>) -> BTreeSet<String> {
    tables.into_iter().flat_map(|table| table.as_table().expect("a table").keys().cloned()).collect()
}

fn list<'t>(table: &'t Table, key: &str) -> &'t [Value] {
    table[key].as_array().expect("a list")
}

#[test]
fn it_has_every_key_that_the_parser_knows() {
    let reference: Table = REFERENCE.parse().expect("TOML");
    let channels = list(&reference, "channel");
    let options = channels.iter().filter_map(|channel| channel.get("options")?.as_array()).flatten();
    let heartbeats = channels.iter().filter_map(|channel| channel.get("heartbeat"));
    let columns = channels.iter().filter_map(|channel| channel.get("columns")?.as_array()).flatten();
    let first_rows = channels.iter().filter_map(|channel| channel.get("rows")?.as_array()).flatten();
    let namespaces: Vec<&Value> = namespaces(&reference);
    let connected = namespaces.iter().filter_map(|namespace| namespace.get("connected"));
    let events = namespaces.iter().filter_map(|namespace| namespace.get("events")?.as_array()).flatten();
    let rows: [(&str, BTreeSet<String>); 13] = [
        ("zzz = 1", written([&Value::Table(reference.clone())])),
        ("[server]\nzzz = 1", written([&reference["server"]])),
        ("[limits]\nzzz = 1", written([&reference["limits"]])),
        ("[[listener]]\nzzz = 1", written(list(&reference, "listener"))),
        ("[[channel]]\nzzz = 1", written(channels)),
        ("[[channel]]\nname = 'a'\nkind = 'vote'\noptions = [{ zzz = 1 }]", written(options)),
        ("[[channel]]\nname = 'a'\nkind = 'echo'\nheartbeat = { zzz = 1 }", written(heartbeats)),
        ("[[channel]]\nname = 'a'\nkind = 'table'\ncolumns = [{ zzz = 1 }]", written(columns)),
        ("[[channel]]\nname = 'a'\nkind = 'table'\nrows = [{ zzz = 1 }]", written(first_rows)),
        ("[[route]]\nzzz = 1", written(list(&reference, "route"))),
        ("[[route]]\nserve = 'socket.io'\nnamespaces = [{ zzz = 1 }]", written(namespaces.iter().copied())),
        ("[[route]]\nserve = 'socket.io'\nnamespaces = [{ connected = { zzz = 1 } }]", written(connected)),
        ("[[route]]\nserve = 'socket.io'\nnamespaces = [{ events = [{ zzz = 1 }] }]", written(events)),
    ];
    for (text, written) in rows {
        assert_eq!(written, known(text), "{text}");
    }
}

/// All namespaces of all routes.
fn namespaces(reference: &Table) -> Vec<&Value> {
    let routes = list(reference, "route").iter();
    routes.filter_map(|route| route.get("namespaces")?.as_array()).flatten().collect()
}

/// The words that the parser knows for a key, in a text where `zzz` stands for one.
fn known_words(text: &str, key: &str) -> BTreeSet<String> {
    let errors = parse(text, "test.toml").expect_err("zzz is no word");
    let error = errors.iter().find(|error| error.key.ends_with(key)).expect("an error for it");
    assert!(error.wrong.contains("\"zzz\" is unknown"), "{error}");
    error.allowed.split(", ").map(|word| word.trim_matches('"').to_owned()).collect()
}

#[test]
fn it_has_every_word_that_the_parser_knows() {
    let reference: Table = REFERENCE.parse().expect("TOML");
    let used = |entries: Vec<&Value>, key: &str| -> BTreeSet<String> {
        entries.into_iter().filter_map(|entry| entry.get(key)?.as_str()).map(str::to_owned).collect()
    };
    let channels: Vec<&Value> = list(&reference, "channel").iter().collect();
    let routes: Vec<&Value> = list(&reference, "route").iter().collect();
    let websockets: Vec<&Value> = routes
        .iter()
        .copied()
        .filter(|route| route.get("serve").and_then(Value::as_str) == Some("websocket"))
        .collect();
    let of_namespaces = namespaces(&reference);
    let events: Vec<&Value> =
        of_namespaces.iter().filter_map(|namespace| namespace.get("events")?.as_array()).flatten().collect();
    let mut kinds = known_words("[[channel]]\nkind = 'zzz'", "kind");
    kinds.remove("fault");
    let rows = [
        ("a channel of every kind", used(channels, "kind"), kinds),
        ("a route of every sort", used(routes.clone(), "serve"), known_words("[[route]]\nserve = 'zzz'", "serve")),
        ("every page", used(routes, "page"), known_words("[[route]]\nserve = 'page'\npage = 'zzz'", "page")),
        (
            "whatever an event does",
            used(events, "does"),
            known_words("[[route]]\nserve = 'socket.io'\nnamespaces = [{ events = [{ does = 'zzz' }] }]", "does"),
        ),
    ];
    for (what, used, known) in rows {
        assert_eq!(used, known, "{what}");
    }
    // Our own dialect is the default: it need not stand there.
    let mut dialects = known_words("[[route]]\nserve = 'websocket'\ndialect = 'zzz'", "dialect");
    assert!(dialects.remove("tallycast"));
    assert_eq!(used(websockets, "dialect"), dialects);
    for dialect in
        known_words("[[route]]\nserve = 'socket.io'\nnamespaces = [{ channel = 'a', dialect = 'zzz' }]", "dialect")
    {
        assert!(REFERENCE.contains(&format!("{dialect:?}")), "{dialect}");
    }
}

#[test]
fn its_values_are_the_defaults() {
    let config = sound(REFERENCE);
    let least = sound("[[listener]]\nname = 'main'\naddress = '127.0.0.1:5000'");
    assert_eq!((config.cores, config.driver), (least.cores, least.driver));
    assert_eq!(config.setup.limits, Limits::default());
    assert_eq!(config.setup.listeners, least.setup.listeners);
    // What it says of a channel and of a route it says of one that lacks the key, too: wherever it says so.
    let without = |gone: &dyn Fn(&str) -> bool| {
        let kept: Vec<&str> = REFERENCE.lines().filter(|line| !gone(line)).collect();
        assert!(kept.len() < REFERENCE.lines().count(), "no such line");
        kept.join("\n")
    };
    let beginnings = [
        "history = ",
        "notices = ",
        "slow = \"latest\"",
        "slow = \"close\"",
        "echo_sender = ",
        "recent = ",
        "absent = \"refuse\"",
        "kept = ",
        "wait = ",
        "session = ",
        "optional = ",
        "hosts = ",
        "origins = ",
        "cores = ",
        "driver = ",
        "to = ",
        "ping_interval = ",
        "ping_timeout = ",
        "payload_max = ",
        "connect_timeout = ",
        "dialect = \"tallycast\"",
        "event = \"message\"",
    ];
    let mut rows: Vec<(&str, String)> =
        beginnings.iter().map(|begin| (*begin, without(&|line| line.starts_with(begin)))).collect();
    rows.push(("where it says so", without(&|line| line.contains("# the default"))));
    rows.push(("auth", REFERENCE.replace("auth = false, ", "")));
    for (what, text) in rows {
        assert_ne!(text, REFERENCE, "{what}");
        let shorter = sound(&text);
        assert_eq!(shorter.setup.classes, config.setup.classes, "{what}");
        assert_eq!(shorter.setup.routes, config.setup.routes, "{what}");
        assert_eq!(shorter.setup.dialects, config.setup.dialects, "{what}");
        assert_eq!(shorter.setup.listeners, config.setup.listeners, "{what}");
        assert_eq!((shorter.cores, shorter.driver), (config.cores, config.driver), "{what}");
    }
    // A table may begin empty.
    let rows = REFERENCE.find("\nrows = [").expect("rows");
    let end = REFERENCE[rows..].find("\n]\n").expect("their end");
    sound(&format!("{}{}", &REFERENCE[..rows], &REFERENCE[rows + end + 2..]));
}

/// Each key stands on a line of its own, and what it means behind it, in the reference and where the demo has it.
#[test]
fn every_key_is_explained() {
    let mut explained = 0;
    for (name, text) in [("reference.toml", REFERENCE), ("demo.toml", DEMO)] {
        let tables = ["[server]", "[limits]", "[[listener]]", "[[channel]]"];
        let mut table = "";
        for line in text.lines() {
            if line.starts_with('[') {
                table = line;
            }
            let is_key = line.split_once(" = ").is_some_and(|(key, _)| key.bytes().all(|byte| byte.is_ascii_graphic()));
            let wanted = match name {
                "reference.toml" => tables.contains(&table),
                _ => table == "[limits]" || table == "[server]",
            };
            let said_above = ["kind = \"", "name = \"echo", "options = [", "columns = [", "rows = ["]
                .iter()
                .any(|begin| line.starts_with(begin));
            if is_key && wanted && !line.starts_with('#') && !said_above {
                assert!(line.contains(" # "), "{name}: {line}");
                explained += 1;
            }
        }
    }
    let keys = known("[limits]\nzzz = 1").len();
    assert!(explained > 2 * keys, "{explained}");
    for key in known("[limits]\nzzz = 1") {
        assert!(DEMO.contains(&format!("\n{key} = ")), "the demo says that it shows all limits: {key}");
    }
}
