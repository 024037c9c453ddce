//! `tallycast check`: what a configuration will do, in aligned columns.

use super::config::{Config, dialect_name, write_duration, written};
use crate::engine::Data;
use crate::kind::Kind;
use crate::route::{Aim, Class, Dialect, DialectId, Listener, Origins, PathPattern, Route, Serve, Setup};
use crate::wire::http::Hosts;

/// The lines.
pub(super) fn describe(config: &Config, name: &str) -> Vec<String> {
    let setup = &config.setup;
    let loops = match config.cores {
        0 => "as many event loops as the process may use processors".to_owned(),
        1 => "1 event loop".to_owned(),
        cores => format!("{cores} event loops"),
    };
    let mut lines = vec![format!("{name} is valid: {loops}, driver epoll")];
    let tables: [(&str, Vec<Row>); 3] = [
        ("listeners", setup.listeners.iter().map(|of| listener(setup, of)).collect()),
        ("channels", setup.classes.iter().map(channel).collect()),
        ("routes", setup.routes.iter().map(|of| route(setup, of)).collect()),
    ];
    for (title, rows) in tables {
        lines.push(String::new());
        lines.push(format!("{title} ({})", rows.len()));
        lines.extend(align(&rows));
    }
    lines
}

type Row = [String; 5];

fn listener(setup: &Setup, listener: &Listener) -> Row {
    let origins = match &listener.origins {
        Origins::Any => "any origin".to_owned(),
        Origins::Local => "local origins".to_owned(),
        Origins::List(list) => list.join(" "),
    };
    let named = |route: &&Route| setup.listeners[usize::from(route.listener.0)].name == listener.name;
    let routes = setup.routes.iter().filter(named).count();
    let optional = if listener.optional { "optional" } else { "" };
    let hosts = match listener.hosts {
        Hosts::Same => "",
        Hosts::Any => ", any host",
    };
    [
        listener.name.clone(),
        listener.address.to_string(),
        if routes == 1 { "1 route".to_owned() } else { format!("{routes} routes") },
        optional.to_owned(),
        origins + hosts,
    ]
}

fn channel(class: &Class) -> Row {
    let (data, history) = match &class.spec {
        None => ("keeps nothing".to_owned(), String::new()),
        Some(spec) => {
            let data = match &spec.data {
                Data::Log => "messages".to_owned(),
                Data::Tally { options } => format!("{} options", options.len()),
                Data::Table(table) => format!("{} columns", table.columns.len()),
                #[cfg(feature = "faults")]
                Data::Fault => "panics when told to".to_owned(),
            };
            (data, format!("history {}", spec.history_publications_max))
        }
    };
    let heartbeat = class
        .heartbeat
        .as_ref()
        .map_or(String::new(), |heartbeat| format!("every {} {:?}", write_duration(heartbeat.every), heartbeat.text));
    [written(&class.pattern), kind(class.kind), data, history, heartbeat]
}

fn kind(kind: Kind) -> String {
    kind.name().to_owned()
}

fn route(setup: &Setup, route: &Route) -> Row {
    let path = match &route.path {
        PathPattern::Exact(path) => path.clone(),
        PathPattern::Prefix(prefix) => format!("{prefix}*"),
    };
    let (requests, channel, how) = match &route.serve {
        Serve::Channels => ("all", "", "every channel, by every transport".to_owned()),
        Serve::WebSocket { aim, dialect } => ("WebSocket", written_aim(aim), written_dialect(setup, *dialect)),
        Serve::LongPoll { target, dialect, wait } => (
            "GET",
            &*target.channel,
            format!("long-poll, {}, waits {}", written_dialect(setup, *dialect), write_duration(*wait)),
        ),
        Serve::Form { target, field, accepted } => {
            ("POST", &*target.channel, format!("form, field {field:?}, answers {accepted:?}"))
        }
        Serve::Json { target, dialect, accepted } => {
            ("POST", &*target.channel, format!("JSON, {}, answers {accepted:?}", written_dialect(setup, *dialect)))
        }
        Serve::EngineIo(_) => ("GET, POST", "", "Engine.IO".to_owned()),
        Serve::Page { target, page, session } => {
            let session = if *session { ", sets a session cookie" } else { "" };
            let channel = target.as_ref().map_or("", |target| &*target.channel);
            ("GET", channel, format!("page {:?}{session}", page.name()))
        }
        Serve::Text { text } => ("GET", "", format!("text {text:?}")),
        Serve::EchoBody => ("all", "", "answers with the request's body".to_owned()),
    };
    let listener = &setup.listeners[usize::from(route.listener.0)].name;
    [listener.clone(), path, requests.to_owned(), channel.to_owned(), how]
}

fn written_dialect(setup: &Setup, id: DialectId) -> String {
    match setup.dialect(id) {
        Dialect::Steps { key } => format!("steps, key {key:?}"),
        dialect => dialect_name(dialect).to_owned(),
    }
}

fn written_aim(aim: &Aim) -> &str {
    match aim {
        Aim::One(target) => &target.channel,
        Aim::Rest { prefix, .. } => prefix,
    }
}

/// The rows with every column as wide as its widest cell; a column that is empty throughout is left out.
fn align(rows: &[Row]) -> Vec<String> {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 5] = std::array::from_fn(width);
    rows.iter()
        .map(|row| {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(widths).filter(|(_, width)| *width > 0) {
                line.push_str(&format!("  {cell:width$}"));
            }
            line.truncate(line.trim_end().len());
            line
        })
        .collect()
}
