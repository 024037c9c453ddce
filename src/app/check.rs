//! `tallycast check`: what a configuration will do, in aligned columns.

use super::config::{Config, dialect_name, slow_name, slow_of, write_duration, write_size, written};
use crate::engine::Data;
use crate::kind::{Kind, Manners};
use crate::route::{
    Aim, Class, Connected, Dialect, DialectId, Does, EngineIo, Listener, Namespace, Origins, PathPattern, Route, Serve,
    Setup, Speaks,
};
use crate::wire::http::Hosts;

/// The lines.
pub(super) fn describe(config: &Config, name: &str) -> Vec<String> {
    let setup = &config.setup;
    let loops = match config.cores {
        0 => "as many event loops as the process may use processors".to_owned(),
        1 => "1 event loop".to_owned(),
        cores => format!("{cores} event loops"),
    };
    let mut lines = vec![format!("{name} is valid: {loops}, {}", config.driver)];
    if let Err(error) = config.driver.kind().probe() {
        lines.push(format!("but not here: the driver {} cannot start: {error}", config.driver.kind()));
    }
    // Entries, and their rows: a route may have more than one.
    let tables: [(&str, usize, Vec<Row>); 3] = [
        ("listeners", setup.listeners.len(), setup.listeners.iter().map(|of| listener(setup, of)).collect()),
        ("channels", setup.classes.len(), setup.classes.iter().map(channel).collect()),
        ("routes", setup.routes.len(), setup.routes.iter().flat_map(|of| route(setup, of)).collect()),
    ];
    for (title, entries, rows) in tables {
        lines.push(String::new());
        lines.push(format!("{title} ({entries})"));
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
                Data::Table(table) => format!("{} columns, {} rows", table.columns.len(), table.rows.len()),
                #[cfg(feature = "faults")]
                Data::Fault => "panics when told to".to_owned(),
            };
            (data, format!("history {}", spec.history_publications_max))
        }
    };
    [written(&class.pattern), class.kind.name().to_owned(), data, history, manners(class)]
}

/// What is particular to those who talk and listen there.
fn manners(class: &Class) -> String {
    let Manners { echo_sender, keep_for_absent, notices, recent } = &class.manners;
    let mut words = Vec::new();
    if class.slow != slow_of(class.kind)[0] {
        words.push(format!("slow: {}", slow_name(class.slow)));
    }
    if let Some(rate) = class.max_rate {
        words.push(format!("at most {rate} a second"));
    }
    if *echo_sender {
        words.push("senders get their own".to_owned());
    }
    if *recent > 0 {
        words.push(format!("the last {recent} for late joiners"));
    }
    if class.kind == Kind::Direct {
        words.push(if *keep_for_absent { "kept for who is absent" } else { "refused for who is absent" }.to_owned());
    }
    if *notices {
        words.push("tells who comes and goes".to_owned());
    }
    if let Some(heartbeat) = &class.heartbeat {
        words.push(format!("every {} {:?}", write_duration(heartbeat.every), heartbeat.text));
    }
    words.join(", ")
}

/// The route, and a line for each of its namespaces.
fn route(setup: &Setup, route: &Route) -> Vec<Row> {
    let path = match (&route.path, &route.serve) {
        (PathPattern::Exact(path), _) => path.clone(),
        // Written without a `*`, though all that is behind it belongs to it.
        (PathPattern::Prefix(prefix), Serve::EngineIo(_)) => prefix.clone(),
        (PathPattern::Prefix(prefix), _) => format!("{prefix}*"),
    };
    let (requests, channel, how) = match &route.serve {
        Serve::Channels => ("all", String::new(), "every channel, by every transport".to_owned()),
        Serve::WebSocket { aim, dialect } => ("WebSocket", written_aim(aim), written_dialect(setup, *dialect)),
        Serve::LongPoll { target, dialect, wait } => (
            "GET",
            target.channel.to_string(),
            format!("long-poll, {}, waits {}", written_dialect(setup, *dialect), write_duration(*wait)),
        ),
        Serve::Form { target, field, accepted } => {
            ("POST", target.channel.to_string(), format!("form, field {field:?}, answers {accepted:?}"))
        }
        Serve::Json { target, dialect, accepted } => (
            "POST",
            target.channel.to_string(),
            format!("JSON, {}, answers {accepted:?}", written_dialect(setup, *dialect)),
        ),
        Serve::EngineIo(endpoint) => ("GET, POST, WebSocket", String::new(), written_endpoint(endpoint)),
        Serve::Page { target, page, session } => {
            let session = if *session { ", sets a session cookie" } else { "" };
            let channel = target.as_ref().map_or(String::new(), |target| match setup.class(target.class).kind {
                Kind::Direct => format!("{}*", target.channel),
                _ => target.channel.to_string(),
            });
            ("GET", channel, format!("page {:?}{session}", page.name()))
        }
        Serve::Text { text } => ("GET", String::new(), format!("text {text:?}")),
        Serve::EchoBody => ("all", String::new(), "answers with the request's body".to_owned()),
    };
    let listener = &setup.listeners[usize::from(route.listener.0)].name;
    let mut rows = vec![[listener.clone(), path, requests.to_owned(), channel, how]];
    if let Serve::EngineIo(endpoint) = &route.serve
        && let Speaks::SocketIo { namespaces, .. } = &endpoint.speaks
    {
        rows.extend(namespaces.iter().map(|of| namespace(setup, of)));
    }
    rows
}

fn written_endpoint(endpoint: &EngineIo) -> String {
    let EngineIo { ping_interval, ping_timeout, payload_bytes_max, speaks } = endpoint;
    let (name, connect) = match speaks {
        Speaks::Echo => ("Engine.IO, echoes", String::new()),
        Speaks::SocketIo { connect_timeout, .. } => {
            ("Socket.IO", format!(", connect within {}", write_duration(*connect_timeout)))
        }
    };
    format!(
        "{name}, pings every {}, waits {}{connect}, payloads up to {}",
        write_duration(*ping_interval),
        write_duration(*ping_timeout),
        write_size(*payload_bytes_max)
    )
}

fn namespace(setup: &Setup, namespace: &Namespace) -> Row {
    let mut words = Vec::new();
    if namespace.target.is_some() {
        let event = match setup.dialect(namespace.dialect) {
            Dialect::Event { event, .. } => event,
            _ => "",
        };
        words.push(format!("{} as event {event:?}", written_dialect(setup, namespace.dialect)));
    }
    if let Some(Connected { event, data }) = &namespace.connected {
        words.push(format!("greets with {event:?} {}", data.as_deref().unwrap_or("and the connect's payload")));
    }
    words.extend(namespace.events.iter().map(|rule| match &rule.does {
        Does::Send => format!("{:?} sends", rule.event),
        Does::Nothing => format!("{:?} does nothing", rule.event),
        Does::Back(event) => format!("{:?} comes back as {event:?}", rule.event),
        Does::Acknowledge => format!("{:?} is acknowledged", rule.event),
    }));
    let channel = namespace.target.as_ref().map_or(String::new(), |target| target.channel.to_string());
    [String::new(), format!("  {}", namespace.name), "namespace".to_owned(), channel, words.join(", ")]
}

fn written_dialect(setup: &Setup, id: DialectId) -> String {
    let dialect = match setup.dialect(id) {
        Dialect::Event { of, .. } => of,
        dialect => dialect,
    };
    let name = dialect_name(dialect);
    match dialect {
        Dialect::Steps { key } => format!("{name}, key {key:?}"),
        Dialect::Addressed { to } => format!("{name}, to {to:?}"),
        Dialect::Plain { gap: Some(gap) } => format!("{name}, gap {gap:?}"),
        Dialect::Tallycast | Dialect::Tally | Dialect::Plain { gap: None } | Dialect::Cells | Dialect::Event { .. } => {
            name.to_owned()
        }
    }
}

fn written_aim(aim: &Aim) -> String {
    match aim {
        Aim::One(target) => target.channel.to_string(),
        Aim::Rest { prefix, .. } => format!("{prefix}*"),
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
