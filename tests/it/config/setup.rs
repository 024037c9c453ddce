//! What a configuration that is right becomes.

use std::time::Duration;

use tallycast::base::limits::{CHANNEL_IDLE, Limits, UNHEARD_IDLE};
use tallycast::engine::{CellValue, ChannelSpec, Data};
use tallycast::kind::Manners;
use tallycast::route::{
    Aim, Connected, Dialect, Does, EngineIo, EventRule, Namespace, Origins, PathPattern, Pattern, Serve, Setup, Speaks,
    Target,
};
use tallycast::wire::http::Hosts;

use super::{BASE, sound};

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
        unheard: None,
        users_max: 1000,
        idle: Some(CHANNEL_IDLE),
    };
    assert_eq!(config.setup.classes[1].spec, Some(feed));
    assert_eq!(config.setup.classes[1].pattern, Pattern::Prefix("feed/".into()));
    assert_eq!(config.setup.classes[2].spec, None);
    assert!(config.setup.classes.iter().all(|class| class.manners == Manners::default() && class.heartbeat.is_none()));
    let Some(ChannelSpec { data: Data::Table(table), .. }) = &config.setup.classes[5].spec else {
        panic!("{:?}", config.setup.classes[5]);
    };
    assert_eq!((table.columns.len(), table.rows.len()), (2, 0));
    assert_eq!((table.rows_max, table.cell_bytes_max, table.bytes_max), (1000, 4 << 10, 2 << 20));
}

/// The routes behind [`BASE`], all on its first listener.
fn served(routes: &str) -> (Setup, Vec<(PathPattern, Serve)>) {
    let setup = sound(&format!("{BASE}{}", routes.replace("[[route]]", "[[route]]\nlistener = 'main'"))).setup;
    let served = setup.routes.iter().map(|route| (route.path.clone(), route.serve.clone())).collect();
    (setup, served)
}

/// The channel of [`BASE`] with this name.
fn target(setup: &Setup, channel: &str) -> Target {
    Target { channel: channel.into(), class: setup.class_of(channel).expect("a channel of the test") }
}

#[test]
fn what_a_socket_io_route_leaves_out_has_the_defaults_of_the_reference_servers() {
    let (setup, routes) = served(
        "[[route]]\npath = '/engine.io/'\nserve = 'engine.io'\n\
         [[route]]\npath = '/socket.io/'\nserve = 'socket.io'\nnamespaces = [{ name = '/', channel = 'feed/a' }, { name = '/b' }]",
    );
    let endpoint = |speaks| EngineIo {
        ping_interval: Duration::from_secs(25),
        ping_timeout: Duration::from_secs(20),
        payload_bytes_max: 1_000_000,
        speaks,
    };
    let [(PathPattern::Prefix(first), Serve::EngineIo(echo)), (PathPattern::Prefix(second), Serve::EngineIo(events))] =
        &routes[..]
    else {
        panic!("{routes:?}");
    };
    assert_eq!((first.as_str(), second.as_str()), ("/engine.io/", "/socket.io/"));
    assert_eq!(**echo, endpoint(Speaks::Echo));
    let Speaks::SocketIo { connect_timeout, namespaces } = &events.speaks else { panic!("{events:?}") };
    assert_eq!(*connect_timeout, Duration::from_secs(45));
    assert_eq!(**events, endpoint(events.speaks.clone()));
    let [joined, bare] = &namespaces[..] else { panic!("{namespaces:?}") };
    assert_eq!((joined.name.as_str(), bare.name.as_str()), ("/", "/b"));
    assert_eq!((&joined.target, &bare.target), (&Some(target(&setup, "feed/a")), &None));
    let event = Dialect::Event { namespace: "/".into(), event: "message".into(), of: Box::new(Dialect::Tallycast) };
    assert_eq!(setup.dialects, [Dialect::Tallycast, event]);
    assert_eq!(setup.dialect(joined.dialect), &setup.dialects[1]);
    for namespace in namespaces {
        assert_eq!((&namespace.connected, &namespace.events[..]), (&None, &[][..]));
    }
    // A payload is never more than what may carry it.
    for limit in ["body_bytes_max", "message_bytes_max"] {
        let text = format!(
            "[limits]\n{limit} = 999_999\n{BASE}[[route]]\nlistener = 'main'\npath = '/x/'\nserve = 'engine.io'"
        );
        let setup = sound(&text).setup;
        let Serve::EngineIo(endpoint) = &setup.routes[0].serve else { panic!("{:?}", setup.routes) };
        assert_eq!(endpoint.payload_bytes_max, 999_999, "{limit}");
    }
}

#[test]
fn a_socket_io_route_holds_all_that_the_file_says() {
    let (setup, routes) = served(
        r#"
[[route]]
path = "/socket.io/"
serve = "socket.io"
ping_interval = "300ms"
ping_timeout = "200ms"
payload_max = "64 KiB"
connect_timeout = "1s"

[[route.namespaces]]
name = "/"
connected = { event = "auth", auth = true }
events = [
    { name = "message", does = "back", as = "message-back" },
    { name = "message-with-ack", does = "acknowledge" },
]

[[route.namespaces]]
name = "/test"
channel = "sheet"
dialect = "cells"
event = "input-change"
connected = { event = "my_response", data = { data = "Connected", count = 0 } }
events = [{ name = "my_event", does = "nothing" }, { name = "change", does = "send" }]

[[route.namespaces]]
name = "/poll"
channel = "poll"
dialect = "steps"
key = "uid"
connected = { event = "hello", data = " [\"小明\",\n 1] " }

[[route.namespaces]]
name = "/other"
channel = "sheet"
dialect = "cells"
event = "input-change"
"#,
    );
    let [(PathPattern::Prefix(path), Serve::EngineIo(endpoint))] = &routes[..] else { panic!("{routes:?}") };
    assert_eq!(path, "/socket.io/");
    let namespaces_of = |endpoint: &EngineIo| match &endpoint.speaks {
        Speaks::SocketIo { namespaces, .. } => namespaces.clone(),
        Speaks::Echo => panic!("{endpoint:?}"),
    };
    let ids: Vec<_> = namespaces_of(endpoint).iter().map(|namespace| namespace.dialect).collect();
    let event = |namespace: &str, event: &str, of| Dialect::Event {
        namespace: namespace.into(),
        event: event.into(),
        of: Box::new(of),
    };
    assert_eq!(setup.dialect(ids[1]), &event("/test", "input-change", Dialect::Cells));
    assert_eq!(setup.dialect(ids[2]), &event("/poll", "message", Dialect::Steps { key: "uid".into() }));
    // Clients of two namespaces are told of the same in two ways: the namespace is written with each event.
    assert_eq!(setup.dialect(ids[3]), &event("/other", "input-change", Dialect::Cells));
    let rule = |event: &str, does| EventRule { event: event.into(), does };
    let greeting =
        |event: &str, data: Option<&str>| Some(Connected { event: event.into(), data: data.map(str::to_owned) });
    let expected = EngineIo {
        ping_interval: Duration::from_millis(300),
        ping_timeout: Duration::from_millis(200),
        payload_bytes_max: 64 << 10,
        speaks: Speaks::SocketIo {
            connect_timeout: Duration::from_secs(1),
            namespaces: vec![
                Namespace {
                    name: "/".into(),
                    target: None,
                    dialect: ids[0],
                    connected: greeting("auth", None),
                    events: vec![
                        rule("message", Does::Back("message-back".into())),
                        rule("message-with-ack", Does::Acknowledge),
                    ],
                },
                Namespace {
                    name: "/test".into(),
                    target: Some(target(&setup, "sheet")),
                    dialect: ids[1],
                    connected: greeting("my_response", Some(r#"{"data":"Connected","count":0}"#)),
                    events: vec![rule("my_event", Does::Nothing), rule("change", Does::Send)],
                },
                Namespace {
                    name: "/poll".into(),
                    target: Some(target(&setup, "poll")),
                    dialect: ids[2],
                    connected: greeting("hello", Some(r#"["小明",  1]"#)),
                    events: vec![],
                },
                Namespace {
                    name: "/other".into(),
                    target: Some(target(&setup, "sheet")),
                    dialect: ids[3],
                    connected: None,
                    events: vec![],
                },
            ],
        },
    };
    assert_eq!(**endpoint, expected);
}

#[test]
fn websockets_aim_at_one_channel_or_at_all_of_a_pattern() {
    let (setup, routes) = served(
        "[[route]]\npath = '/one'\nserve = 'websocket'\nchannel = 'dm/bob'\ndialect = 'addressed'\n\
         [[route]]\npath = '/all/*'\nserve = 'websocket'\nchannel = 'dm/*'\ndialect = 'addressed'\nto = 'whom'\n\
         [[route]]\npath = '/sheet'\nserve = 'json'\nchannel = 'sheet'\naccepted = 'thanks'",
    );
    let addressed = |to: &str| Dialect::Addressed { to: to.into() };
    assert_eq!(setup.dialects, [Dialect::Tallycast, addressed("to_user"), addressed("whom"), Dialect::Cells]);
    let [one, all, json] = &routes[..] else { panic!("{routes:?}") };
    let (PathPattern::Exact(path), Serve::WebSocket { aim, dialect }) = one else { panic!("{one:?}") };
    assert_eq!((path.as_str(), aim), ("/one", &Aim::One(target(&setup, "dm/bob"))));
    assert_eq!(setup.dialect(*dialect), &addressed("to_user"));
    let (PathPattern::Prefix(path), Serve::WebSocket { aim, dialect }) = all else { panic!("{all:?}") };
    let rest = Aim::Rest { prefix: "dm/".into(), class: target(&setup, "dm/bob").class };
    assert_eq!((path.as_str(), aim), ("/all/", &rest));
    assert_eq!(setup.dialect(*dialect), &addressed("whom"));
    let (PathPattern::Exact(path), Serve::Json { target: of, dialect, accepted }) = json else { panic!("{json:?}") };
    assert_eq!((path.as_str(), of, accepted.as_str()), ("/sheet", &target(&setup, "sheet"), "thanks"));
    assert_eq!(setup.dialect(*dialect), &Dialect::Cells);
}

#[test]
fn channels_hold_all_that_the_file_says() {
    let setup = sound(
        r#"
[[listener]]
name = "main"
address = "127.0.0.1:5000"
[[channel]]
pattern = "room/*"
kind = "group"
history = 20
recent = 10
echo_sender = true
notices = true
[[channel]]
pattern = "dm/*"
kind = "direct"
absent = "keep"
[[channel]]
pattern = "sheet/*"
kind = "table"
columns = [{ id = "name", label = { en = "Name", zh = "姓名" } }, { id = "age", label = "Age" }, { id = "ok" }]
rows = [
    { id = "x", cells = ["小明 \"", 18, true] },
    { cells = { ok = false, name = "小花" } },
    { cells = [1.5, -1, ""] },
]
"#,
    )
    .setup;
    let [group, direct, table] = &setup.classes[..] else { panic!("{:?}", setup.classes) };
    let spec = |data, history_publications_max| ChannelSpec {
        data,
        history_publications_max,
        history_bytes_max: 4 << 20,
        durable: false,
        unheard: None,
        users_max: 1000,
        idle: Some(CHANNEL_IDLE),
    };
    assert_eq!(group.spec, Some(spec(Data::Log, 20)));
    assert_eq!(group.manners, Manners { echo_sender: true, keep_for_absent: false, notices: true, recent: 10 });
    let direct_spec = ChannelSpec { unheard: Some(UNHEARD_IDLE), ..spec(Data::Log, 1000) };
    assert_eq!(direct.spec, Some(direct_spec));
    assert_eq!(direct.manners, Manners { keep_for_absent: true, ..Manners::default() });
    let Some(ChannelSpec { data: Data::Table(sheet), .. }) = &table.spec else { panic!("{table:?}") };
    let columns: Vec<(&str, Vec<(&str, &str)>)> = (sheet.columns.iter())
        .map(|column| (&*column.id, column.labels.iter().map(|(tag, label)| (&**tag, label.as_str())).collect()))
        .collect();
    let labels =
        [("name", vec![("en", "Name"), ("zh", "姓名")]), ("age", vec![("und", "Age")]), ("ok", vec![("und", "ok")])];
    assert_eq!(columns, labels);
    let rows: Vec<(&str, Vec<&str>)> =
        sheet.rows.iter().map(|(id, cells)| (&**id, cells.iter().map(|CellValue(json)| &**json).collect())).collect();
    let expected = [
        ("x", vec![r#""小明 \"""#, "18", "true"]),
        ("2", vec![r#""小花""#, r#""""#, "false"]),
        ("3", vec!["1.5", "-1", r#""""#]),
    ];
    assert_eq!(rows, expected);
}
