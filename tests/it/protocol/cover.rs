//! What the page's tables name, and what its examples show.

use std::collections::BTreeSet;

use super::document::{Act, Block, Table};

/// What examples show, in the words of [`named`].
pub(super) type Shown = BTreeSet<String>;

/// What the tables name: a sort of thing and the thing (`close code 1001`, `refusal malformed 400`), and the line.
///
/// # Errors
/// A cell that names nothing.
pub(super) fn named(tables: &[Table]) -> Result<Vec<(String, usize)>, String> {
    let mut named = Vec::new();
    for table in tables {
        let sort = table.head[0].as_str();
        for (line, cells) in &table.rows {
            let things: Vec<String> = match sort {
                "request" => {
                    in_backticks(&cells[0]).filter(|name| name.contains(' ') || name.contains("://")).collect()
                }
                "type" | "request header" | "response header" => in_backticks(&cells[0]).collect(),
                "status" => numbers(&cells[0]).collect(),
                "close code" => numbers(&cells[0]).take(1).collect(),
                "code" => {
                    let code: String = in_backticks(&cells[0]).collect();
                    let statuses: Vec<String> = numbers(&cells[1]).collect();
                    if statuses.is_empty() {
                        vec![code]
                    } else {
                        statuses.iter().map(|status| format!("{code} {status}")).collect()
                    }
                }
                _ => continue,
            };
            // A request such as one with an Accept is named by its first word; headers in it are no requests.
            let things: Vec<String> =
                things.into_iter().filter(|thing| sort != "request" || is_request(thing)).collect();
            if things.is_empty() {
                return Err(format!("line {line}: this row names no {sort}"));
            }
            let sort = if sort == "code" { "refusal" } else { sort };
            named.extend(things.into_iter().map(|thing| (format!("{sort} {thing}"), *line)));
        }
    }
    Ok(named)
}

/// What a block shows.
pub(super) fn shown(block: &Block, shown: &mut Shown) {
    for step in &block.steps {
        match &step.act {
            Act::Open(url) => {
                shown.insert(format!("request {url}"));
            }
            Act::Send(lines) => {
                let head = lines.iter().take_while(|line| !line.is_empty());
                for (number, line) in head.enumerate() {
                    match (number, line.rsplit_once(" HTTP/"), line.split_once(": ")) {
                        (0, Some((request, _)), _) => shown.insert(format!("request {request}")),
                        (1.., _, Some((name, _))) => shown.insert(format!("request header {name}")),
                        _ => continue,
                    };
                }
            }
            Act::Receive(lines) => received(lines, shown),
            Act::ReceiveSpecial(lines) => {
                let codes = lines.iter().filter_map(|line| line.strip_prefix("close "));
                shown.extend(codes.map(|line| format!("close code {}", line.split(' ').next().unwrap_or_default())));
            }
            Act::Command(command, output) => {
                if let Some((_, target)) = command.trim_end_matches('"').split_once("http://127.0.0.1:5000") {
                    let method = if command.contains(" -d ") { "POST" } else { "GET" };
                    shown.insert(format!("request {method} {target}"));
                }
                output.iter().for_each(|line| message(line, None, shown));
            }
            Act::SendSpecial(_) => {}
        }
    }
}

fn received(lines: &[String], shown: &mut Shown) {
    let status = lines[0].strip_prefix("HTTP/1.1 ").and_then(|rest| rest.split(' ').next());
    let mut in_head = status.is_some();
    if let Some(status) = status {
        shown.insert(format!("status {status}"));
    }
    for line in lines {
        match line.split_once(": ") {
            Some((name, _)) if in_head => drop(shown.insert(format!("response header {name}"))),
            _ if in_head => in_head = !line.is_empty(),
            _ => message(line.strip_prefix("data: ").unwrap_or(line), status, shown),
        }
    }
}

/// A message of the server, or the text of a form's refusal.
fn message(line: &str, status: Option<&str>, shown: &mut Shown) {
    for (at, _) in line.match_indices(r#""type":""#) {
        let kind = &line[at + 8..];
        shown.insert(format!("type {}", &kind[..kind.find('"').unwrap_or(0)]));
    }
    let json = [r#""code":""#, r#"{"error":""#].iter().find_map(|key| line.split_once(key)?.1.split_once('"'));
    // As it is, or in a connect error.
    let text = line.split_once(": expected ").map(|(code, rest)| (code.rsplit('"').next().unwrap_or(code), rest));
    if let Some((code, _)) = json.or(text) {
        shown.insert(format!("refusal {code}"));
        shown.extend(status.map(|status| format!("refusal {code} {status}")));
    }
}

/// Whether the examples show what a table names.
pub(super) fn is_shown(name: &str, shown: &Shown) -> bool {
    match name.strip_prefix("request ").filter(|thing| is_request(thing)) {
        None => shown.contains(name),
        Some(request) => shown.iter().filter_map(|shown| shown.strip_prefix("request ")).any(|one| fits(request, one)),
    }
}

fn is_request(thing: &str) -> bool {
    thing.starts_with("ws://")
        || thing.split_once(" /").is_some_and(|(method, _)| method.bytes().all(|byte| byte.is_ascii_uppercase()))
}

/// Whether a request is one of `METHOD /path/{any}?key=ANY&..`.
fn fits(named: &str, shown: &str) -> bool {
    let (named_path, named_query) = named.split_once('?').unwrap_or((named, ""));
    let (path, query) = shown.split_once('?').unwrap_or((shown, ""));
    let key = |pair: &str| pair.split('=').next().unwrap_or_default().to_owned();
    let keys = |query: &str| query.split('&').filter(|pair| !pair.is_empty()).map(key).collect::<BTreeSet<_>>();
    let path_fits = match named_path.split_once('{') {
        Some((before, rest)) if rest.ends_with('}') => path.strip_prefix(before).is_some_and(|any| !any.is_empty()),
        _ => path == named_path,
    };
    path_fits && keys(named_query).is_subset(&keys(query))
}

/// Every second piece between backticks.
fn in_backticks(cell: &str) -> impl Iterator<Item = String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned)
}

fn numbers(cell: &str) -> impl Iterator<Item = String> {
    cell.split(|letter: char| !letter.is_ascii_digit()).filter(|digits| !digits.is_empty()).map(str::to_owned)
}
