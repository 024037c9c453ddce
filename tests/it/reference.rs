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
    let rows: [(&str, BTreeSet<String>); 8] = [
        ("zzz = 1", written([&Value::Table(reference.clone())])),
        ("[server]\nzzz = 1", written([&reference["server"]])),
        ("[limits]\nzzz = 1", written([&reference["limits"]])),
        ("[[listener]]\nzzz = 1", written(list(&reference, "listener"))),
        ("[[channel]]\nzzz = 1", written(channels)),
        ("[[channel]]\nname = 'a'\nkind = 'vote'\noptions = [{ zzz = 1 }]", written(options)),
        ("[[channel]]\nname = 'a'\nkind = 'echo'\nheartbeat = { zzz = 1 }", written(heartbeats)),
        ("[[route]]\nzzz = 1", written(list(&reference, "route"))),
    ];
    for (text, written) in rows {
        assert_eq!(written, known(text), "{text}");
    }
    let words = |text: &str, key: &str| -> BTreeSet<String> {
        let errors = parse(text, "test.toml").expect_err("zzz is no word");
        let error = errors.iter().find(|error| error.key.ends_with(key)).expect("an error for it");
        error.allowed.split(", ").map(|word| word.trim_matches('"').to_owned()).collect()
    };
    let used = |table: &str, key: &str| -> BTreeSet<String> {
        let entries = list(&reference, table).iter().filter_map(|entry| entry.get(key)?.as_str());
        entries.map(str::to_owned).collect()
    };
    let mut kinds = words("[[channel]]\nkind = 'zzz'", "kind");
    kinds.remove("fault");
    assert_eq!(used("channel", "kind"), kinds, "a channel of every kind");
    assert_eq!(used("route", "serve"), words("[[route]]\nserve = 'zzz'", "serve"), "a route of every sort");
}

#[test]
fn its_values_are_the_defaults() {
    let config = sound(REFERENCE);
    let least = sound("[[listener]]\nname = 'main'\naddress = '127.0.0.1:5000'");
    assert_eq!(config.cores, least.cores);
    assert_eq!(config.setup.limits, Limits::default());
    assert_eq!(config.setup.listeners, least.setup.listeners);
    // What it says of a channel and of a route it says of one that lacks the key, too.
    let without = |line: &str| {
        let start = REFERENCE.find(line).unwrap_or_else(|| panic!("no {line}"));
        let rest = &REFERENCE[start..];
        format!("{}{}", &REFERENCE[..start], &rest[rest.find('\n').expect("a next line")..])
    };
    for line in
        ["history = ", "wait = ", "session = ", "optional = ", "hosts = ", "origins = ", "cores = ", "driver = "]
    {
        let shorter = sound(&without(&format!("\n{line}")));
        assert_eq!(shorter.setup.classes, config.setup.classes, "{line}");
        assert_eq!(shorter.setup.routes, config.setup.routes, "{line}");
        assert_eq!(shorter.setup.listeners, config.setup.listeners, "{line}");
        assert_eq!(shorter.cores, config.cores, "{line}");
    }
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
            let said_above = ["kind = \"", "name = \"echo", "options = ["].iter().any(|begin| line.starts_with(begin));
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
