//! The configuration: whatever the text, an answer; and what is accepted holds together.

use std::collections::HashSet;
use std::sync::Arc;

use crate::app::config::{Config, parse};
use crate::base::hash::Seed;
use crate::base::keys::CoreId;
use crate::base::limits::{
    CHANNEL_NAME_BYTES_MAX, CORES_MAX, DIALECTS_MAX, EVENT_NAME_BYTES_MAX, Limits, NAMESPACES_MAX, TABLE_COLUMNS_MAX,
    TABLE_ID_BYTES_MAX, USER_NAME_BYTES_MAX,
};
use crate::base::time::Time;
use crate::engine::{CellValue, ClassId, Data, TableSpec};
use crate::kind::{Kind, Manners, user_name};
use crate::route::{
    Aim, Class, Connected, Dialect, Does, EngineIo, EventRule, Namespace, PageId, PathPattern, Pattern, Route, Serve,
    Setup, Slow, Speaks, Target,
};
use crate::shard::Shard;

/// Never a panic. A refusal names file, line and key, and is one line of text for each error; what is accepted refers to
/// nothing that is not there, and a shard can be made of it.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match parse(text, "fuzz.toml") {
        Err(errors) => {
            assert!(errors.iter().len() > 0);
            let mut last = 0;
            for error in errors.iter() {
                let line = error.line.expect("it is about a line");
                assert!(line >= last && line <= text.lines().count() + 1, "line {line} of {error}");
                last = line;
                assert!(!error.wrong.is_empty() && !error.allowed.is_empty(), "{error}");
                let told = error.to_string();
                assert!(told.starts_with(&format!("fuzz.toml:{line}: ")), "{told}");
                assert!(!told.chars().any(char::is_control), "one line of plain text: {told:?}");
            }
            assert!(errors.to_string().lines().count() <= 101);
        }
        Ok(Config { setup, cores, driver: _ }) => {
            assert!(usize::from(cores) <= CORES_MAX);
            holds_together(&setup);
            let shard = Shard::new(Arc::new(setup), CoreId(0), 1, Seed(1, 2), Time::ZERO, std::time::Duration::ZERO);
            assert_eq!(shard.census().connections, 0);
        }
    }
}

fn holds_together(setup: &Setup) {
    let Limits { target_bytes_max, head_bytes_max, body_bytes_max, log_bytes_max, .. } = setup.limits;
    assert!(target_bytes_max <= head_bytes_max && body_bytes_max <= log_bytes_max);
    assert_eq!(setup.dialects[0], Dialect::Tallycast);
    assert!(setup.dialects.len() <= DIALECTS_MAX);
    for (index, dialect) in setup.dialects.iter().enumerate() {
        assert!(!setup.dialects[..index].contains(dialect), "{dialect:?} has one number");
        if let Dialect::Event { of, .. } = dialect {
            assert!(!matches!(**of, Dialect::Event { .. }), "{dialect:?}");
        }
    }
    for class in &setup.classes {
        channel_holds(setup, class);
    }
    for route in &setup.routes {
        assert!(usize::from(route.listener.0) < setup.listeners.len());
        match &route.path {
            PathPattern::Exact(path) => assert!(path.starts_with('/') && !path.contains('*'), "{path}"),
            PathPattern::Prefix(path) => assert!(path.starts_with('/') && path.ends_with('/'), "{path}"),
        }
        route_holds(setup, route);
    }
}

fn channel_holds(setup: &Setup, class: &Class) {
    let Class { pattern, kind, spec, heartbeat, manners, slow, max_rate } = class;
    assert!(max_rate.is_none_or(|rate| rate > 0 && *kind != Kind::Echo));
    let shows_state = matches!(kind, Kind::Vote | Kind::Table);
    assert!(match slow {
        Slow::Close => true,
        Slow::Skip => !shows_state && *kind != Kind::Echo,
        Slow::Latest => shows_state,
    });
    assert!(heartbeat.is_none() || *kind == Kind::Echo);
    let Manners { echo_sender, keep_for_absent, notices, recent } = *manners;
    assert!(!echo_sender && recent == 0 || *kind == Kind::Group);
    assert!(!keep_for_absent || *kind == Kind::Direct);
    assert!(!notices || *kind != Kind::Echo);
    match pattern {
        Pattern::Name(name) => assert!(!name.is_empty() && !name.contains('*')),
        Pattern::Prefix(prefix) => assert!(!prefix.contains('*')),
    }
    if *kind == Kind::Direct {
        let Pattern::Prefix(prefix) = pattern else { panic!("one channel for all users: {class:?}") };
        assert!(prefix.len() + USER_NAME_BYTES_MAX <= CHANNEL_NAME_BYTES_MAX);
        assert_alone(setup, prefix);
    }
    let Some(spec) = spec else {
        assert_eq!(*kind, Kind::Echo);
        return;
    };
    assert!((1..=setup.limits.history_publications_max).contains(&spec.history_publications_max));
    assert!(recent <= spec.history_publications_max);
    assert_eq!(spec.idle.is_some(), matches!(pattern, Pattern::Prefix(_)));
    match (&spec.data, kind) {
        (Data::Log, Kind::Group | Kind::Direct | Kind::Feed) => {}
        (Data::Tally { options }, Kind::Vote) => assert!(!options.is_empty()),
        (Data::Table(table), Kind::Table) => table_holds(&setup.limits, table),
        #[cfg(feature = "faults")]
        (Data::Fault, Kind::Fault) => {}
        _ => panic!("{class:?}"),
    }
}

fn table_holds(limits: &Limits, table: &TableSpec) {
    let TableSpec { columns, rows, rows_max, cell_bytes_max, bytes_max } = table;
    let Limits { table_rows_max, cell_bytes_max: cell_limit, table_bytes_max, .. } = *limits;
    assert_eq!((*rows_max, *cell_bytes_max, *bytes_max), (table_rows_max, cell_limit, table_bytes_max));
    assert!((1..=TABLE_COLUMNS_MAX).contains(&columns.len()) && rows.len() <= *rows_max);
    let ids: HashSet<&str> = columns.iter().map(|column| &*column.id).collect();
    assert_eq!(ids.len(), columns.len());
    let ids: HashSet<&str> = rows.iter().map(|(id, _)| &**id).collect();
    assert_eq!(ids.len(), rows.len());
    let mut bytes = 0;
    for (id, cells) in rows {
        assert!((1..=TABLE_ID_BYTES_MAX).contains(&id.len()));
        assert_eq!(cells.len(), columns.len());
        bytes += id.len();
        for CellValue(json) in cells {
            let value: serde_json::Value = serde_json::from_str(json).expect("JSON");
            assert!(!value.is_object() && !value.is_array() && json.len() <= *cell_bytes_max, "{json}");
            bytes += json.len();
        }
    }
    assert!(bytes <= *bytes_max);
}

/// No other channel is meant by a name that begins so.
fn assert_alone(setup: &Setup, prefix: &str) {
    for class in &setup.classes {
        let (written, shortest) = match &class.pattern {
            Pattern::Name(name) => (&**name, prefix.len() + 1),
            Pattern::Prefix(other) if other == prefix => continue,
            Pattern::Prefix(other) => (other.as_str(), prefix.len()),
        };
        assert!(!(written.len() >= shortest && written.starts_with(prefix)), "{written} begins with {prefix}");
    }
}

/// The kind of a target's channel.
fn kind_of(setup: &Setup, target: &Target) -> Kind {
    let Target { channel, class } = target;
    assert_eq!(setup.class_of(channel), Some(*class), "a target is of the class of its name");
    assert!(channel.len() <= CHANNEL_NAME_BYTES_MAX);
    let class = setup.class(*class);
    if let (Kind::Direct, Pattern::Prefix(prefix)) = (class.kind, &class.pattern) {
        assert!(user_name(&channel[prefix.len()..]).is_ok(), "{channel} is a user's");
    }
    class.kind
}

/// The class of a pattern.
fn kind_behind(setup: &Setup, prefix: &str, class: ClassId) -> Kind {
    let class = setup.class(class);
    assert_eq!(class.pattern, Pattern::Prefix(prefix.to_owned()));
    assert_alone(setup, prefix);
    class.kind
}

/// The dialect can carry the kind.
fn assert_carries(dialect: &Dialect, kind: Kind) {
    #[cfg(feature = "faults")]
    if kind == Kind::Fault {
        assert!(matches!(dialect, Dialect::Tallycast | Dialect::Plain { .. }));
        return;
    }
    match dialect {
        Dialect::Tallycast => {}
        Dialect::Steps { key } => assert!(kind == Kind::Vote && !key.is_empty() && key != "count"),
        Dialect::Tally => assert_eq!(kind, Kind::Vote),
        Dialect::Plain { .. } => assert!(matches!(kind, Kind::Group | Kind::Feed | Kind::Echo)),
        Dialect::Addressed { to } => assert!(kind == Kind::Direct && !to.is_empty()),
        Dialect::Cells => assert_eq!(kind, Kind::Table),
        Dialect::Event { .. } => panic!("{dialect:?} is for namespaces"),
    }
}

fn route_holds(setup: &Setup, route: &Route) {
    let by_prefix = matches!(route.path, PathPattern::Prefix(_));
    match &route.serve {
        Serve::Channels => assert!(by_prefix),
        Serve::WebSocket { aim, dialect } => {
            let kind = match aim {
                Aim::One(target) => kind_of(setup, target),
                Aim::Rest { prefix, class } => kind_behind(setup, prefix, *class),
            };
            assert_eq!(by_prefix, matches!(aim, Aim::Rest { .. }));
            let (Aim::One(Target { class, .. }) | Aim::Rest { class, .. }) = aim;
            let slow = setup.class(*class).slow;
            assert!(slow != Slow::Skip || setup.dialect(*dialect).has_gaps(), "nothing is left out in silence");
            assert_carries(setup.dialect(*dialect), kind);
        }
        Serve::LongPoll { target, dialect, wait } => {
            assert!(!by_prefix && kind_of(setup, target) == Kind::Vote && *wait <= setup.limits.poll_wait_max);
            assert!(matches!(setup.dialect(*dialect), Dialect::Steps { .. }));
        }
        Serve::Form { target, field, .. } => {
            assert!(matches!(kind_of(setup, target), Kind::Vote | Kind::Group | Kind::Feed) && !field.is_empty());
            assert!(!by_prefix);
        }
        Serve::Json { target, dialect, .. } => {
            assert!(!by_prefix && kind_of(setup, target) == Kind::Table);
            assert_eq!(setup.dialect(*dialect), &Dialect::Cells);
        }
        Serve::Page { target, page, session } => {
            assert!(!by_prefix && (!session || *page == PageId::Vote));
            page_holds(setup, route, target.as_ref(), *page);
        }
        Serve::EngineIo(endpoint) => {
            assert!(by_prefix);
            endpoint_holds(setup, endpoint);
        }
        Serve::Text { .. } => assert!(!by_prefix),
        Serve::EchoBody => {}
    }
}

fn page_holds(setup: &Setup, route: &Route, target: Option<&Target>, page: PageId) {
    let kind = |target: Option<&Target>| kind_of(setup, target.expect("a channel"));
    match page {
        PageId::Index => assert!(target.is_none()),
        PageId::Vote => assert_eq!(kind(target), Kind::Vote),
        PageId::Group => assert_eq!(kind(target), Kind::Group),
        PageId::Table => assert_eq!(kind(target), Kind::Table),
        PageId::Chat => {
            let Target { channel, class } = target.expect("a pattern");
            assert_eq!(kind_behind(setup, channel, *class), Kind::Direct);
        }
        PageId::TableSocketIo => {
            assert_eq!(kind(target), Kind::Table);
            let change = |other: &&Route| {
                let Serve::EngineIo(endpoint) = &other.serve else { return false };
                let Speaks::SocketIo { namespaces, .. } = &endpoint.speaks else { return false };
                let table = namespaces.iter().find(|namespace| namespace.name == "/table");
                let sends = |rule: &EventRule| rule.event == "change" && rule.does == Does::Send;
                other.listener == route.listener
                    && other.path == PathPattern::Prefix("/socket.io/".to_owned())
                    && table.is_some_and(|table| table.target.as_ref() == target && table.events.iter().any(sends))
            };
            assert!(setup.routes.iter().any(|other| change(&other)), "its script finds what it asks for");
        }
    }
}

fn endpoint_holds(setup: &Setup, endpoint: &EngineIo) {
    let EngineIo { ping_interval, ping_timeout, payload_bytes_max, speaks } = endpoint;
    assert!(!ping_interval.is_zero() && !ping_timeout.is_zero());
    assert!((64..=setup.limits.body_bytes_max.min(setup.limits.message_bytes_max)).contains(payload_bytes_max));
    let Speaks::SocketIo { connect_timeout, namespaces } = speaks else { return };
    assert!(!connect_timeout.is_zero() && (1..=NAMESPACES_MAX).contains(&namespaces.len()));
    let names: HashSet<&str> = namespaces.iter().map(|namespace| namespace.name.as_str()).collect();
    assert_eq!(names.len(), namespaces.len());
    for namespace in namespaces {
        namespace_holds(setup, namespace);
    }
}

fn namespace_holds(setup: &Setup, namespace: &Namespace) {
    let Namespace { name, target, dialect, connected, events } = namespace;
    assert!(name.starts_with('/') && name.len() <= EVENT_NAME_BYTES_MAX && !name.contains([',', '?']), "{name}");
    match (target, setup.dialect(*dialect)) {
        (Some(target), Dialect::Event { namespace, event, of }) => {
            assert_eq!(namespace, name);
            event_holds(event);
            let kind = kind_of(setup, target);
            assert_ne!(kind, Kind::Echo);
            assert_carries(of, kind);
        }
        (None, Dialect::Tallycast) => {}
        other => panic!("{other:?}"),
    }
    if let Some(Connected { event, data }) = connected {
        event_holds(event);
        if let Some(data) = data {
            assert!(data.len() <= setup.limits.private_bytes_max && !data.contains('\n'));
            serde_json::from_str::<serde_json::Value>(data).expect("JSON");
        }
    }
    let known: HashSet<&str> = events.iter().map(|rule| rule.event.as_str()).collect();
    assert!(known.len() == events.len() && events.len() <= 100);
    for EventRule { event, does } in events {
        event_holds(event);
        match does {
            Does::Send => assert!(target.is_some()),
            Does::Back(event) => event_holds(event),
            Does::Nothing | Does::Acknowledge => {}
        }
    }
}

fn event_holds(name: &str) {
    assert!((1..=EVENT_NAME_BYTES_MAX).contains(&name.len()) && !name.contains(char::is_control));
    assert!(!["connect", "connect_error", "disconnect", "disconnecting"].contains(&name), "{name}");
}
