//! What is shipped is right: the demo has what the clients that exist need, and the suites can do what they do.

use std::net::SocketAddr;
use std::time::Duration;

use tallycast::app::config::{Config, DEMO, load};
use tallycast::base::limits::Limits;
use tallycast::engine::Data;
use tallycast::kind::Kind;
use tallycast::route::{
    Aim, Connected, Dialect, DialectId, Does, EngineIo, EventRule, Namespace, Origins, PageId, PathPattern, Route,
    Serve, Setup, Speaks,
};
use tallycast::wire::http::Hosts;

use super::{errors, sound};

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

/// What is served to requests for this path at this address.
fn served<'c>(config: &'c Config, address: &str, path: &str) -> Vec<&'c Serve> {
    let address: SocketAddr = address.parse().unwrap();
    let here = |route: &&Route| {
        let listener = &config.setup.listeners[usize::from(route.listener.0)];
        let fits = match &route.path {
            PathPattern::Exact(exact) => exact == path,
            PathPattern::Prefix(prefix) => path.starts_with(prefix.as_str()),
        };
        listener.address == address && fits
    };
    config.setup.routes.iter().filter(here).map(|route| &route.serve).collect()
}

/// What is served, the channel, and what is particular to it.
fn words(setup: &Setup, serve: &Serve) -> String {
    match serve {
        Serve::Channels => "channels".to_owned(),
        Serve::WebSocket { aim, dialect } => {
            let (channel, class) = match aim {
                Aim::One(target) => (target.channel.to_string(), target.class),
                Aim::Rest { prefix, class } => (format!("{prefix}*"), *class),
            };
            let beat = match &setup.class(class).heartbeat {
                Some(beat) => format!(" every {:?} {:?}", beat.every, beat.text),
                None => String::new(),
            };
            format!("websocket {channel} {}{beat}", dialect_words(setup.dialect(*dialect)))
        }
        Serve::LongPoll { target, dialect, wait } => {
            format!("poll {} {} {wait:?}", target.channel, dialect_words(setup.dialect(*dialect)))
        }
        Serve::Form { target, field, accepted } => format!("form {} {field} {accepted}", target.channel),
        Serve::Json { target, dialect, accepted } => {
            format!("json {} {} {accepted}", target.channel, dialect_words(setup.dialect(*dialect)))
        }
        Serve::EngineIo(endpoint) => match &endpoint.speaks {
            Speaks::Echo => "engine.io".to_owned(),
            Speaks::SocketIo { namespaces, .. } => {
                let names: Vec<&str> = namespaces.iter().map(|namespace| namespace.name.as_str()).collect();
                format!("socket.io {}", names.join(" "))
            }
        },
        Serve::Page { target, page, session } => {
            let channel = target.as_ref().map_or("-", |target| &*target.channel);
            format!("page {} {channel}{}", page.name(), if *session { " session" } else { "" })
        }
        Serve::Text { text } => format!("text {text}"),
        Serve::EchoBody => "echo-body".to_owned(),
    }
}

fn dialect_words(dialect: &Dialect) -> String {
    match dialect {
        Dialect::Tallycast => "tallycast".to_owned(),
        Dialect::Steps { key } => format!("steps {key}"),
        Dialect::Tally => "tally".to_owned(),
        Dialect::Plain { gap: None } => "plain".to_owned(),
        Dialect::Plain { gap: Some(gap) } => format!("plain {gap}"),
        Dialect::Addressed { to } => format!("addressed {to}"),
        Dialect::Cells => "cells".to_owned(),
        Dialect::Event { namespace, event, of } => format!("{namespace} {event} {}", dialect_words(of)),
    }
}

#[test]
fn the_demo_has_what_the_clients_that_exist_need() {
    let config = sound(DEMO);
    let setup = &config.setup;
    assert_eq!(setup.limits, Limits::default(), "the demo says that it shows the defaults");
    let listeners: Vec<(String, bool)> =
        (setup.listeners.iter()).map(|listener| (listener.address.to_string(), listener.optional)).collect();
    let side = |port: u16| (format!("127.0.0.1:{port}"), true);
    let ports = [("127.0.0.1:5000".into(), false), side(9527), side(8002), side(8003), side(7777), side(8000)];
    assert_eq!(listeners, ports);
    assert!(setup.listeners.iter().all(|listener| listener.origins == Origins::Local));

    let main = "127.0.0.1:5000";
    let chat = "127.0.0.1:9527";
    let beat = "websocket echo/heartbeat plain every 2s \"*heartbeat from serve\"";
    let push = "websocket echo/push plain every 2s \"Nobody asked, but all is well\"";
    let rows: [(&str, &str, &[&str]); 27] = [
        (main, "/c/poll/lunch", &["channels"]),
        (main, "/", &["page index -"]),
        (main, "/vote", &["page vote poll/lunch session", "form poll/lunch uid 投票成功"]),
        (main, "/index", &["page vote poll/lunch session"]),
        (main, "/chat", &["page chat dm/"]),
        (main, "/group", &["page group room/lobby"]),
        (main, "/table", &["page table table/people"]),
        (main, "/table-socket.io", &["page table-socket.io table/people"]),
        (main, "/ticket", &["form poll/lunch nid 投票成功"]),
        (main, "/message", &["websocket poll/lunch steps cid", "text 您使用的是Http协议"]),
        (main, "/get_new_vote", &["poll poll/lunch steps uid 10s", "websocket poll/lunch steps uid"]),
        (main, "/socket.io/", &["socket.io /test /table /room"]),
        (main, "/socket.io/socket.io.js", &["socket.io /test /table /room"]),
        (main, "/input-change", &["json table/people cells success!"]),
        (chat, "/my_ws", &["websocket room/lobby plain"]),
        (chat, "/my_ws/小明", &["websocket dm/* addressed to_user"]),
        (chat, "/my_app", &["page chat dm/"]),
        (chat, "/my_app/group", &["page group room/lobby"]),
        (chat, "/c/dm/bob", &["channels"]),
        ("127.0.0.1:8002", "/", &[push]),
        ("127.0.0.1:8003", "/chatsocket", &["websocket echo plain"]),
        ("127.0.0.1:7777", "/ws", &[beat]),
        ("127.0.0.1:8000", "/ws", &[beat]),
        (main, "/nothing", &[]),
        (main, "/socket.io", &[]),
        (main, "/my_ws", &[]),
        (chat, "/", &[]),
    ];
    for (address, path, expected) in rows {
        let found: Vec<String> = served(&config, address, path).into_iter().map(|serve| words(setup, serve)).collect();
        assert_eq!(found, expected, "{address}{path}");
    }
    // Socket.IO is asked for twice, every other route once.
    let asked: usize = rows.iter().map(|(_, _, served)| served.len()).sum();
    assert_eq!(asked, setup.routes.len() + 1, "a row for every route");
    let sessions = |route: &&Route| matches!(route.serve, Serve::Page { page: PageId::Vote, session: true, .. });
    assert_eq!(setup.routes.iter().filter(sessions).count(), 2);
}

#[test]
fn the_namespaces_of_the_demo_are_what_its_pages_ask_for() {
    let setup = &sound(DEMO).setup;
    let endpoints: Vec<&EngineIo> = (setup.routes.iter())
        .filter_map(|route| match &route.serve {
            Serve::EngineIo(endpoint) => Some(&**endpoint),
            _ => None,
        })
        .collect();
    let [EngineIo { ping_interval, ping_timeout, payload_bytes_max: 1_000_000, speaks }] = endpoints[..] else {
        panic!("{endpoints:?}");
    };
    assert_eq!((ping_interval.as_secs(), ping_timeout.as_secs()), (25, 20));
    let Speaks::SocketIo { connect_timeout, namespaces } = speaks else { panic!("{speaks:?}") };
    assert_eq!(connect_timeout.as_secs(), 45);
    let greeting = r#"my_response {"data":"Connected","count":0}"#;
    let rows = [
        ("/test", "table/people", "/test input-change cells", greeting, vec![("my_event", Does::Nothing)]),
        ("/table", "table/people", "/table change tallycast", "", vec![("change", Does::Send)]),
        ("/room", "room/lobby", "/room message tallycast", "", vec![("message", Does::Send)]),
    ];
    assert_eq!(namespaces.len(), rows.len());
    for (Namespace { name, target, dialect, connected, events }, row) in namespaces.iter().zip(rows) {
        let greeting = match connected {
            Some(Connected { event, data }) => format!("{event} {}", data.as_deref().unwrap_or("auth")),
            None => String::new(),
        };
        let events = events.iter().map(|EventRule { event, does }| (event.as_str(), does.clone())).collect();
        let dialect = dialect_words(setup.dialect(*dialect));
        let channel = &*target.as_ref().expect("a channel").channel;
        assert_eq!((name.as_str(), channel, dialect.as_str(), greeting.as_str(), events), row);
    }
}

#[test]
fn the_channels_of_the_demo_are_what_its_pages_show() {
    let setup = &sound(DEMO).setup;
    let manners = |name: &str| setup.class_of(name).map(|class| &setup.class(class).manners);
    let kind = |name: &str| setup.class_of(name).map(|class| setup.class(class).kind);
    for (name, expected, notices) in [
        ("poll/lunch", Some(Kind::Vote), false),
        ("news", Some(Kind::Feed), false),
        ("feed/x", Some(Kind::Feed), false),
        ("vote/x", Some(Kind::Vote), false),
        ("room/lobby", Some(Kind::Group), true),
        ("room/x", Some(Kind::Group), true),
        ("dm/小明", Some(Kind::Direct), false),
        ("table/people", Some(Kind::Table), true),
        ("echo", Some(Kind::Echo), false),
        ("poll/dinner", None, false),
        ("table/x", None, false),
        ("dm/", None, false),
    ] {
        assert_eq!(kind(name), expected, "{name}");
        assert_eq!(manners(name).is_some_and(|manners| manners.notices), notices, "{name}");
    }
    assert!(setup.classes.iter().all(|class| !class.manners.echo_sender && !class.manners.keep_for_absent));
    let data = |name: &str| {
        let class = setup.class(setup.class_of(name).unwrap());
        class.spec.as_ref().map(|spec| spec.data.clone())
    };
    let Some(Data::Tally { options }) = data("poll/lunch") else { panic!("{:?}", data("poll/lunch")) };
    assert_eq!(options.iter().map(|option| option.id.as_str()).collect::<Vec<_>>(), ["1", "2", "3"]);
    let Some(Data::Table(table)) = data("table/people") else { panic!("{:?}", data("table/people")) };
    let columns: Vec<&str> = table.columns.iter().map(|column| column.id.as_str()).collect();
    assert_eq!(columns, ["name", "age", "hobby", "skill", "gender"]);
    let labels = options.iter().map(|option| &option.labels).chain(table.columns.iter().map(|column| &column.labels));
    for labels in labels {
        let languages: Vec<&str> = labels.iter().map(|(language, _)| language.as_str()).collect();
        assert_eq!(languages, ["en", "zh"]);
    }
    let rows: Vec<(&str, String)> = (table.rows.iter())
        .map(|(id, cells)| (&**id, cells.iter().map(|value| &*value.0).collect::<Vec<_>>().join(" ")))
        .collect();
    let expected = [
        ("1", r#""小明" "18" "跑步" "跳马" "男""#.to_owned()),
        ("2", r#""小花" "17" "跑步" "跳绳" "女""#.to_owned()),
        ("3", r#""小小" "16" "" "" "女""#.to_owned()),
    ];
    assert_eq!(rows, expected);
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
    let listeners = &config.setup.listeners;
    let ports: Vec<u16> = listeners.iter().map(|listener| listener.address.port()).collect();
    assert_eq!(ports, [9001, 9002, 3000]);
    assert!(listeners.iter().all(|of| of.origins == Origins::Any && of.hosts == Hosts::Any && !of.optional));
    let rows: [(u16, &str, &[&str]); 8] = [
        (9001, "/", &["websocket echo plain"]),
        (9001, "/x", &[]),
        (9002, "/", &["echo-body"]),
        (9002, "/any/path", &["echo-body"]),
        (3000, "/", &[]),
        (3000, "/engine.io/", &["engine.io"]),
        (3000, "/socket.io/", &["socket.io / /custom"]),
        (3000, "/socket.io/socket.io.js", &["socket.io / /custom"]),
    ];
    for (port, path, expected) in rows {
        let found = served(&config, &format!("127.0.0.1:{port}"), path);
        assert_eq!(
            found.into_iter().map(|serve| words(&config.setup, serve)).collect::<Vec<_>>(),
            expected,
            "{port}{path}"
        );
    }
    let endpoint = |speaks| EngineIo {
        ping_interval: Duration::from_millis(300),
        ping_timeout: Duration::from_millis(200),
        payload_bytes_max: 1_000_000,
        speaks,
    };
    let namespace = |name: &str, events: &[(&str, Does)]| Namespace {
        name: name.into(),
        target: None,
        dialect: DialectId::TALLYCAST,
        connected: Some(Connected { event: "auth".into(), data: None }),
        events: events.iter().map(|(event, does)| EventRule { event: (*event).into(), does: does.clone() }).collect(),
    };
    let events = [("message", Does::Back("message-back".into())), ("message-with-ack", Does::Acknowledge)];
    let namespaces = vec![namespace("/", &events), namespace("/custom", &[])];
    let socket_io = Speaks::SocketIo { connect_timeout: Duration::from_secs(1), namespaces };
    for (path, expected) in [("/engine.io/", endpoint(Speaks::Echo)), ("/socket.io/", endpoint(socket_io))] {
        let found = served(&config, "127.0.0.1:3000", path);
        assert!(matches!(found[..], [Serve::EngineIo(found)] if **found == expected), "{path}: {found:?}");
    }
}
