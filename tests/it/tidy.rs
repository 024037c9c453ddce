//! Rules that no compiler checks: layers, sizes, calls that are kept to their places, links, leftovers.
//! A broken rule names file and line. Each rule is shown to catch what it is there for.

use std::fs;
use std::path::{Path, PathBuf};

/// Layers from the bottom; a file may name its own layer and those before it. `conn` and `engine` do not know each other,
/// nor do `net`, `journal` and `redis`.
const LAYERS: [&str; 14] = [
    "base", "wire", "conn", "engine", "kind", "route", "mirror", "shard", "net", "journal", "redis", "app", "fuzzing",
    "main",
];
const STRANGERS: [(&str, &str); 4] = [("conn", "engine"), ("net", "journal"), ("net", "redis"), ("journal", "redis")];
const LINES_MAX: usize = 650;
/// The files that may hold `unsafe`: bytes that a writer appends while others read, and what io_uring cannot do without:
/// buffers that the kernel fills by itself, requests that refer to memory, and descriptors that come as numbers.
const UNSAFE_FILES: [&str; 3] = ["src/base/segment.rs", "src/net/uring/buffers.rs", "src/net/uring/ring.rs"];

/// Calls, and the folders or files that may make them.
const KEPT_CALLS: [(&str, &[&str]); 11] = [
    ("Instant::now", &["src/net/clock.rs"]),
    ("SystemTime::now", &["src/net/clock.rs"]),
    (".elapsed()", &["src/net/clock.rs"]),
    ("thread::spawn", &["src/net/", "src/journal/", "src/app/"]),
    ("thread::Builder", &["src/net/", "src/journal/", "src/app/"]),
    ("thread::scope", &["src/net/", "src/journal/", "src/app/"]),
    ("thread::sleep", &[]),
    ("getrandom::", &["src/net/", "src/app/"]),
    ("println!", &["src/app/", "src/main.rs"]),
    ("eprintln!", &["src/app/", "src/main.rs"]),
    ("static mut", &[]),
];

/// What no file may hold. Written in two pieces, so that this file does not hold it.
const LEFTOVERS: [(&str, &str); 9] = [
    ("to", "do!("),
    ("FIX", "ME"),
    ("XX", "X:"),
    ("#[ig", "nore"),
    ("db", "g!("),
    ("unimple", "mented!("),
    ("/ho", "me/"),
    ("/ro", "ot/"),
    ("<<<<", "<<< "),
];

/// A broken rule: line (from 1) and what is wrong.
type Finding = (usize, String);

/// A rule: which files, and what it finds in one.
struct Rule {
    name: &'static str,
    files: fn(&str) -> bool,
    find: fn(&str, &str) -> Vec<Finding>,
    /// Files (name, text) in which it must find something, and files in which it must not.
    bad: &'static [(&'static str, &'static str)],
    good: &'static [(&'static str, &'static str)],
}

const RULES: [Rule; 6] = [
    Rule {
        name: "layers",
        files: |name| name.starts_with("src/") && name.ends_with(".rs") && name != "src/lib.rs",
        find: layers,
        bad: &[
            ("src/base/x.rs", "use crate::wire::ws;"),
            ("src/engine/x.rs", "use crate::{base::keys, conn::http};"),
            ("src/conn/mod.rs", "use crate::{\n    base::keys,\n    engine::{Op, Act},\n};"),
            ("src/kind/x.rs", "fn f() -> crate::shard::Shard {}"),
            ("src/route/x.rs", "pub(in crate::app) fn f() {}"),
            ("src/net/x.rs", "use crate::redis::Link;"),
            ("src/mirror/x.rs", "use super::super::net::clock;"),
            ("src/wire/ws/x.rs", "use super::super::super::net::clock;"),
            ("src/app/x.rs", "use crate::main;"),
        ],
        good: &[
            ("src/engine/x.rs", "use crate::base::keys;\nuse crate::engine::Op; // crate::net\nuse crate::wire::ws;"),
            ("src/app/x.rs", "use crate::{net, shard::{Shard, Mail}, base::*};"),
            (
                "src/wire/ws/x.rs",
                "use super::super::http;\npub(crate) fn f() {}\n/// [`x`](crate::net::clock)\nfn g() {}",
            ),
            ("src/kind/x.rs", "use super::Deed; use crate::engine::{self, Act};"),
        ],
    },
    Rule {
        name: "file size",
        files: |name| ["rs", "js", "mjs", "css", "html", "py"].contains(&ending(name)),
        find: size,
        bad: &[("src/x.rs", LONG)],
        good: &[("src/x.rs", "one line\n")],
    },
    Rule {
        name: "calls in their places",
        files: |name| name.starts_with("src/") && name.ends_with(".rs") && !name.ends_with("/tests.rs"),
        find: calls,
        bad: &[
            ("src/shard/mod.rs", "let now = Instant::now();"),
            ("src/net/loop.rs", "let now = std::time::SystemTime::now();"),
            ("src/engine/x.rs", "std::thread::spawn(|| {});"),
            ("src/net/clockwork.rs", "Instant::now()"),
            ("src/app/x.rs", "thread::sleep(time)"),
            ("src/net/x.rs", "eprintln!(\"x\")"),
            ("src/base/x.rs", "thread::scope(|s| {});\n#[cfg(test)]\nmod tests {\n    thread::scope(|s| {});\n}"),
        ],
        good: &[
            ("src/net/clock.rs", "Instant::now()"),
            ("src/net/x.rs", "thread::Builder::new() // Instant::now"),
            ("src/main.rs", "println!()"),
            ("src/shard/x.rs", "/// Not `Instant::now()`.\nfn f() {}"),
        ],
    },
    Rule {
        name: "unsafe",
        files: |name| name.ends_with(".rs") && (name.starts_with("src/") || name.starts_with("loadtest/")),
        find: unsafe_code,
        bad: &[("src/base/x.rs", "fn f() {\n    unsafe { g() }\n}"), ("src/x.rs", "unsafe impl Send for X {}")],
        good: &[("src/base/x.rs", "// unsafe is not used\nlet s = \"unsafe\"; let unsafely = 1;")],
    },
    Rule {
        name: "leftovers",
        files: |name| !["png", "lock", "svg", "ico"].contains(&ending(name)),
        find: leftovers,
        bad: &[("src/x.rs", concat!("to", "do!()")), ("scripts/x", concat!("cd /ho", "me/someone"))],
        good: &[("src/x.rs", "a homely rooted todo")],
    },
    Rule {
        name: "links",
        files: |name| name.ends_with(".md"),
        find: links,
        bad: &[
            ("README.md", "See [the page](docs/nowhere-to-be-found.md)."),
            ("docs/x.md", "![picture](no-such-picture.png)"),
            ("README.md", "[up](../outside.md)"),
        ],
        good: &[
            ("README.md", "[package](Cargo.toml), [web](https://example.org/x), [here](#part), `[x](y)`"),
            ("docs/x.md", "[the package](../Cargo.toml#part)\n```\n[x](y)\n```"),
        ],
    },
];

const LONG: &str =
    concat!(include_str!("tidy.rs"), include_str!("tidy.rs"), include_str!("tidy.rs"), include_str!("tidy.rs"));

#[test]
fn every_rule_holds_everywhere() {
    let files = files();
    let mut broken = Vec::new();
    for rule in &RULES {
        let mut looked_at = 0;
        for (name, text) in files.iter().filter(|(name, _)| (rule.files)(name)) {
            looked_at += 1;
            let findings = (rule.find)(name, text);
            broken.extend(findings.into_iter().map(|(line, what)| format!("{name}:{line}: {}: {what}", rule.name)));
        }
        // README.md and the like are few; code is not.
        let least = if rule.name == "links" { 1 } else { 20 };
        assert!(looked_at >= least, "{}: only {looked_at} files were looked at", rule.name);
    }
    assert!(broken.is_empty(), "{} rules are broken:\n{}", broken.len(), broken.join("\n"));
}

#[test]
fn every_rule_catches_what_it_is_there_for() {
    for rule in &RULES {
        assert!(!rule.bad.is_empty() && !rule.good.is_empty(), "{} has samples", rule.name);
        for (name, text) in rule.bad {
            assert!((rule.files)(name), "{}: looks at {name}", rule.name);
            let found = (rule.find)(name, text);
            assert_eq!(found.len(), 1, "{} in {name}: {text:.100}: {found:?}", rule.name);
        }
        for (name, text) in rule.good {
            assert!((rule.files)(name), "{}: looks at {name}", rule.name);
            let found = (rule.find)(name, text);
            assert!(found.is_empty(), "{} in {name}: {text:.100}: {found:?}", rule.name);
        }
    }
    // Lines are counted from 1, comments or not.
    assert_eq!(layers("src/base/x.rs", "// one\n\nuse crate::net;")[0].0, 3);
    assert_eq!(calls("src/base/x.rs", "/* a\n b */\nInstant::now()")[0].0, 3);
}

#[test]
fn every_layer_is_in_its_place() {
    let present: Vec<String> = files().into_iter().map(|(name, _)| name).collect();
    for layer in ["base", "wire", "conn", "engine", "kind", "route", "mirror", "shard", "net", "app"] {
        assert!(present.iter().any(|name| name.starts_with(&format!("src/{layer}/"))), "src/{layer}/");
    }
    for name in present.iter().filter(|name| name.starts_with("src/")) {
        assert!(layer_of(name).is_some() || name == "src/lib.rs", "{name} is in no layer");
    }
}

fn layer_of(name: &str) -> Option<usize> {
    let first = name.strip_prefix("src/")?.split('/').next()?;
    let first = first.strip_suffix(".rs").unwrap_or(first);
    LAYERS.iter().position(|layer| *layer == first)
}

fn layers(name: &str, text: &str) -> Vec<Finding> {
    let Some(own) = layer_of(name) else { return Vec::new() };
    let code = code_of(text);
    let mut findings = Vec::new();
    for (at, named) in named_modules(name, &code) {
        let Some(other) = LAYERS.iter().position(|layer| *layer == named) else {
            continue;
        };
        let stranger = |pair: &(&str, &str)| *pair == (LAYERS[own], named) || *pair == (named, LAYERS[own]);
        if other > own || STRANGERS.iter().any(stranger) {
            findings.push((line_of(&code, at), format!("{} may not know {named}", LAYERS[own])));
        }
    }
    findings
}

/// The modules right below the crate's root that are named in `code`: by `crate::x`, `crate::{x, y::{z}}`, or as many
/// `super::` as lead to the root. Byte offset and name.
fn named_modules<'a>(name: &str, code: &'a str) -> Vec<(usize, &'a str)> {
    let depth = name.split('/').count() - 1 - usize::from(name.ends_with("/mod.rs"));
    let to_the_root = "super::".repeat(depth);
    let mut found = Vec::new();
    for prefix in ["crate::", to_the_root.as_str()] {
        for (at, _) in code.match_indices(prefix) {
            let part_of_a_word = code[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_');
            if part_of_a_word || code[..at].ends_with("::") {
                continue;
            }
            let behind = at + prefix.len();
            if let Some(list) = code[behind..].strip_prefix('{') {
                found.extend(first_names(list).into_iter().map(|(offset, word)| (behind + 1 + offset, word)));
            } else {
                found.push((behind, word_at(&code[behind..])));
            }
        }
    }
    found
}

/// The first word of each entry of a list in braces that begins with `list`.
fn first_names(list: &str) -> Vec<(usize, &str)> {
    let mut names = Vec::new();
    let mut depth = 0;
    let mut fresh = true;
    for (at, letter) in list.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => fresh = true,
            letter if fresh && !letter.is_whitespace() => {
                names.push((at, word_at(&list[at..])));
                fresh = false;
            }
            _ => {}
        }
    }
    names
}

fn word_at(text: &str) -> &str {
    let end = text.find(|letter: char| !(letter.is_alphanumeric() || letter == '_'));
    &text[..end.unwrap_or(text.len())]
}

fn size(_: &str, text: &str) -> Vec<Finding> {
    let lines = text.lines().count();
    let long = (lines > LINES_MAX).then(|| (lines, format!("{lines} lines; {LINES_MAX} are the most")));
    long.into_iter().collect()
}

fn calls(name: &str, text: &str) -> Vec<Finding> {
    let code = code_of(text);
    // Tests come last in a file, and may start threads of their own; clippy.toml keeps the clock from them.
    let code = code.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let mut findings = Vec::new();
    for (call, places) in KEPT_CALLS {
        if places.iter().any(|place| name.starts_with(place)) {
            continue;
        }
        for (at, _) in code.match_indices(call) {
            let part_of_a_word = code[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_');
            if !part_of_a_word || call.starts_with('.') {
                findings.push((line_of(code, at), format!("{call} has its place in {places:?}")));
            }
        }
    }
    findings
}

fn unsafe_code(name: &str, text: &str) -> Vec<Finding> {
    if UNSAFE_FILES.contains(&name) {
        return Vec::new();
    }
    let code = code_of(text);
    let words = code.match_indices("unsafe").filter(|(at, word)| {
        let letter = |letter: char| letter.is_alphanumeric() || letter == '_';
        !code[..*at].ends_with(letter) && !code[at + word.len()..].starts_with(letter)
    });
    words.map(|(at, _)| (line_of(&code, at), "this file is not among those that may".to_owned())).collect()
}

fn leftovers(name: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (first, second) in LEFTOVERS {
        let word = format!("{first}{second}");
        // A path below the root is fine in a URL.
        let lines = (1..).zip(text.lines()).filter(|(_, line)| {
            line.match_indices(&word).any(|(at, _)| !word.starts_with('/') || !line[..at].ends_with(is_name_letter))
        });
        findings.extend(lines.map(|(line, _)| (line, format!("{word} in {name}"))));
    }
    findings
}

fn is_name_letter(letter: char) -> bool {
    letter.is_alphanumeric() || matches!(letter, '.' | '_' | '-' | '}')
}

fn links(name: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut in_code = false;
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        // Every second piece between backticks is code.
        for piece in line.split('`').step_by(2) {
            for (at, _) in piece.match_indices("](") {
                let target = &piece[at + 2..];
                let target = &target[..target.find([')', ' ']).unwrap_or(target.len())];
                let path = target.split('#').next().unwrap_or_default();
                if path.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                    continue;
                }
                let folder = Path::new(name).parent().expect("a file is in a folder");
                let inside = within_the_root(&folder.join(path));
                if !inside.is_some_and(|path| root().join(path).exists()) {
                    findings.push((number, format!("{target} leads nowhere")));
                }
            }
        }
    }
    findings
}

/// The path without `..`, if it does not leave the root.
fn within_the_root(path: &Path) -> Option<PathBuf> {
    let mut inside = PathBuf::new();
    for part in path.iter() {
        if part == ".." {
            inside.pop().then_some(())?;
        } else if part != "." {
            inside.push(part);
        }
    }
    Some(inside)
}

/// Rust without comments and the insides of string literals; every byte that is left out is a space, every line stays.
fn code_of(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < bytes.len() {
        let rest = &text[at..];
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(length) = raw_string(rest) {
            length
        } else if rest.starts_with('"') {
            string_literal(rest)
        } else if rest.starts_with("'\"'") || rest.starts_with("b'\"'") {
            3 + usize::from(rest.starts_with('b'))
        } else {
            let letter = rest.chars().next().expect("there is more");
            code.push(letter);
            at += letter.len_utf8();
            continue;
        };
        code.extend(rest[..skipped].bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }));
        at += skipped;
    }
    code
}

fn raw_string(rest: &str) -> Option<usize> {
    let behind = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let hashes = behind.len() - behind.trim_start_matches('#').len();
    behind[hashes..].strip_prefix('"')?;
    let start = rest.len() - behind.len() + hashes + 1;
    let end = format!("\"{}", "#".repeat(hashes));
    Some(rest[start..].find(&end).map_or(rest.len(), |length| start + length + end.len()))
}

fn string_literal(rest: &str) -> usize {
    let mut escaped = false;
    for (at, letter) in rest.char_indices().skip(1) {
        match letter {
            '"' if !escaped => return at + 1,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    rest.len()
}

fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

fn ending(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(_, ending)| ending)
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every text file of the repository that is ours: name (from the root, with `/`) and text.
fn files() -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(root().join(&folder)).expect("a folder can be read");
        for entry in entries {
            let entry = entry.expect("an entry can be read");
            let file_name = entry.file_name().into_string().expect("names are UTF-8");
            let path = folder.join(&file_name);
            let kind = entry.file_type().expect("an entry has a type");
            if kind.is_dir() {
                if !matches!(file_name.as_str(), "target" | ".git" | "node_modules" | ".venv" | "__pycache__") {
                    folders.push(path);
                }
            } else if let Ok(text) = fs::read_to_string(root().join(&path)) {
                files.push((path.to_str().expect("names are UTF-8").replace('\\', "/"), text));
            }
        }
    }
    files.sort();
    files
}
