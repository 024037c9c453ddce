//! What the simulated server is told: routes like the demo's, and limits so small that they are reached.

use std::sync::Arc;
use std::time::Duration;

use tallycast::base::keys::ListenerId;
use tallycast::base::limits::{FLUSH_SENDS_MAX, Limits};
use tallycast::engine::{CellValue, ChannelSpec, ClassId, Column, Data, TableSpec, TallyOption};
use tallycast::kind::{Kind, Manners};
use tallycast::route::{
    Aim, Class, Connected, Dialect, DialectId, Does, EngineIo, EventRule, Heartbeat, Listener, Namespace, Origins,
    PageId, PathPattern, Pattern, Route, Serve, Setup, SharedSetup, Slow, Speaks, Target,
};

use super::random::Random;

/// The options of every vote.
pub(crate) const OPTIONS: [&str; 3] = ["1", "2", "3"];
/// The refusal of another one names them.
pub(crate) const OPTIONS_TEXT: &str = "1, 2, 3";
/// How long a cookie's poll is parked.
pub(crate) const COOKIE_WAIT: Duration = Duration::from_secs(10);
/// The text that echo's WebSockets get unasked, and how often.
pub(crate) const HEARTBEAT: &str = "*heartbeat from serve";
/// See [`HEARTBEAT`].
pub(crate) const HEARTBEAT_EVERY: Duration = Duration::from_secs(2);
/// Who listens beside the usual clients in a seed with a crowd: more than one flush serves.
const CROWD: usize = FLUSH_SENDS_MAX + 40;
/// What a dialect without a `type` says where messages are missing.
pub(crate) const GAP: &str = "messages are missing here";
/// A vote said yes.
pub(crate) const ACCEPTED: &str = "投票成功";
/// What GET without upgrade answers on a WebSocket's path.
pub(crate) const PLAIN: &str = "您使用的是Http协议";

/// What POST in the dialect of cells answers.
pub(crate) const CHANGED: &str = "success!";
/// The columns of the table.
pub(crate) const COLUMNS: [&str; 5] = ["name", "age", "hobby", "skill", "gender"];
/// The rows with which it begins: ids and values as JSON.
pub(crate) const ROWS: [(&str, [&str; 5]); 3] = [
    ("1", ["\"小明\"", "18", "\"跑步\"", "\"跳马\"", "\"男\""]),
    ("2", ["\"小花\"", "17", "\"跑步\"", "\"跳绳\"", "\"女\""]),
    ("3", ["\"小小\"", "16", "\"\"", "null", "true"]),
];
/// Rows of the table, bytes of a cell, and bytes of all.
pub(crate) const TABLE_ROWS_MAX: usize = 5;
/// See [`TABLE_ROWS_MAX`].
pub(crate) const CELL_BYTES_MAX: usize = 60;
/// See [`TABLE_ROWS_MAX`].
pub(crate) const TABLE_BYTES_MAX: usize = 300;
/// Bytes of a message to a group or to one user.
pub(crate) const TEXT_BYTES_MAX: usize = 600;
/// Of both endpoints of Engine.IO: how often there is a ping, and how long its answer may take.
pub(crate) const PING_INTERVAL: Duration = Duration::from_secs(3);
/// See [`PING_INTERVAL`].
pub(crate) const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a client of Socket.IO may take to join its first namespace.
pub(crate) const CONNECT_WAIT: Duration = Duration::from_secs(7);
/// Bytes of a POST, and of a message.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 3000;
/// Under which names people listen.
pub(crate) const NAMES: [&str; 4] = ["ann", "bob", "小明", "eve"];

/// What a column is called.
pub(crate) fn column_label(id: &str) -> serde_json::Value {
    serde_json::json!({"en": id, "zh": format!("列{id}")})
}

/// The rows with which the table begins.
pub(crate) fn rows_of_the_beginning() -> Vec<(String, Vec<String>)> {
    let row = |(id, values): &(&str, [&str; 5])| ((*id).to_owned(), values.iter().map(|v| (*v).to_owned()).collect());
    ROWS.iter().map(row).collect()
}

/// What sort of channel it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sort {
    Vote,
    Feed,
    Group,
    Direct,
    Table,
}

impl Sort {
    pub(crate) fn of(channel: &str) -> Sort {
        match channel.split('/').next().unwrap_or_default() {
            "news" => Sort::Feed,
            "room" => Sort::Group,
            "dm" | "keep" => Sort::Direct,
            "table" => Sort::Table,
            _ => Sort::Vote,
        }
    }

    /// As a snapshot names it.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Sort::Vote => "vote",
            Sort::Feed => "feed",
            Sort::Group => "group",
            Sort::Direct => "direct",
            Sort::Table => "table",
        }
    }
}

/// Whether listeners are told who comes and goes.
pub(crate) fn has_notices(channel: &str) -> bool {
    channel == "room/lobby" || channel.starts_with("table/") || channel.starts_with("dm/")
}

/// What a seed decides once.
#[derive(Clone, Debug)]
pub(crate) struct Knobs {
    pub(crate) cores: usize,
    /// Clients that only listen.
    pub(crate) crowd: usize,
    /// Pieces of mail.
    pub(crate) inbox_max: usize,
    /// Batches of each core.
    pub(crate) batches_max: usize,
    /// In so many of a hundred sends the driver completes later.
    pub(crate) completions: usize,
    /// Bytes of each direction of a connection.
    pub(crate) pipe_max: usize,
    pub(crate) limits: Limits,
    pub(crate) steps: usize,
    /// Connections that the network cuts, per thousand steps.
    pub(crate) cuts: usize,
    /// Whether everyone leaves at the end, or the server stops.
    pub(crate) stops: bool,
    /// So many of the lobby's last messages are for who comes late.
    pub(crate) recent: usize,
    /// Different names of a channel's listeners.
    pub(crate) users_max: usize,
    /// What becomes of slow readers of votes and the table, and of all others.
    pub(crate) slow: [Slow; 2],
    /// The paces of votes and the table, and of all others.
    pub(crate) rates: [Option<u16>; 2],
}

impl Knobs {
    pub(crate) fn draw(random: &mut Random) -> Knobs {
        let crowd = if random.chance(2) { CROWD } else { 0 };
        let few = if crowd > 0 { 1000 } else { 8 };
        let limits = Limits {
            connections_max: random.pick(&[few, 1000, 1000]),
            head_bytes_max: 2048,
            target_bytes_max: 512,
            body_bytes_max: 4096,
            message_bytes_max: 2048,
            fragments_max: 8,
            private_bytes_max: random.pick(&[4096, 64 << 10]),
            private_messages_max: random.pick(&[4, 100]),
            log_bytes_max: random.pick(&[512, 2048, 1 << 20]),
            // So few that who stays away for a while finds a gap.
            history_publications_max: random.pick(&[3, 20]),
            sessions_max: random.pick(&[2, 1000]),
            session_polls_max: 2,
            session_idle: Duration::from_secs(20),
            body_wait: Duration::from_secs(10),
            text_bytes_max: TEXT_BYTES_MAX,
            cell_bytes_max: CELL_BYTES_MAX,
            ..Limits::default()
        };
        Knobs {
            cores: if crowd > 0 { 1 } else { random.upto(4) },
            crowd,
            inbox_max: random.pick(&[3, 12, 1000]),
            batches_max: random.pick(&[1, 2, 64]),
            completions: random.pick(&[0, 0, 50, 100]),
            pipe_max: random.pick(&[300, 1500, 60_000]),
            limits,
            steps: 2000 + random.below(2000) + crowd * 20,
            cuts: random.pick(&[0, 2, 10]),
            stops: random.chance(30),
            recent: random.pick(&[0, 2]),
            users_max: random.pick(&[2, 1000, 1000]),
            slow: [random.pick(&[Slow::Close, Slow::Latest]), random.pick(&[Slow::Close, Slow::Skip])],
            rates: [(); 2].map(|()| random.pick(&[None, None, Some(1), Some(20), Some(1000)])),
        }
    }

    /// Nothing is small and nothing fails.
    pub(crate) fn calm(cores: usize) -> Knobs {
        Knobs {
            cores,
            crowd: 0,
            inbox_max: 1000,
            batches_max: 64,
            completions: 0,
            pipe_max: 60_000,
            limits: Limits {
                history_publications_max: 20,
                text_bytes_max: TEXT_BYTES_MAX,
                cell_bytes_max: CELL_BYTES_MAX,
                ..Limits::default()
            },
            steps: 0,
            cuts: 0,
            stops: false,
            recent: 0,
            users_max: 1000,
            slow: [Slow::Close; 2],
            rates: [None; 2],
        }
    }
}

/// The setup for these knobs.
pub(crate) fn setup(knobs: &Knobs) -> SharedSetup {
    let limits = &knobs.limits;
    let soon = Some(Duration::from_secs(15));
    let name = |name: &str| Pattern::Name(name.into());
    let prefix = |prefix: &str| Pattern::Prefix(prefix.into());
    let options = OPTIONS.iter().map(|id| TallyOption {
        id: (*id).into(),
        labels: vec![("en".into(), format!("Option {id}")), ("zh".into(), format!("选项{id}"))],
    });
    let tally = Data::Tally { options: options.collect() };
    let plain = Manners::default();
    let lobby = Manners { notices: true, recent: knobs.recent, ..Manners::default() };
    let echoing = Manners { echo_sender: true, ..Manners::default() };
    let told = Manners { notices: true, ..Manners::default() };
    let keeping = Manners { keep_for_absent: true, ..Manners::default() };
    let class = |pattern, kind, data, idle, manners| {
        let sort = usize::from(!matches!(kind, Kind::Vote | Kind::Table));
        let (slow, max_rate) = (knobs.slow[sort], knobs.rates[sort]);
        Class { pattern, kind, spec: Some(spec(data, idle, knobs)), heartbeat: None, manners, slow, max_rate }
    };
    let classes = vec![
        class(name("poll/lunch"), Kind::Vote, tally.clone(), None, plain.clone()),
        class(prefix("vote/"), Kind::Vote, tally, soon, plain.clone()),
        class(name("news"), Kind::Feed, Data::Log, None, plain.clone()),
        Class {
            spec: None,
            heartbeat: Some(Heartbeat { text: HEARTBEAT.into(), every: HEARTBEAT_EVERY }),
            ..class(name("echo"), Kind::Echo, Data::Log, None, plain)
        },
        class(name("room/lobby"), Kind::Group, Data::Log, None, lobby),
        class(prefix("room/"), Kind::Group, Data::Log, soon, echoing),
        class(prefix("dm/"), Kind::Direct, Data::Log, soon, told.clone()),
        class(prefix("keep/"), Kind::Direct, Data::Log, Some(Duration::from_secs(60)), keeping),
        class(name("table/people"), Kind::Table, Data::Table(Arc::new(table())), None, told),
    ];
    let steps = |key: &str| Dialect::Steps { key: key.into() };
    let addressed = Dialect::Addressed { to: "to_user".into() };
    Arc::new(Setup {
        limits: limits.clone(),
        listeners: vec![Listener {
            name: "main".into(),
            address: "127.0.0.1:5000".parse().expect("an address"),
            origins: Origins::Local,
            hosts: tallycast::wire::http::Hosts::Same,
            optional: false,
        }],
        classes,
        dialects: [Dialect::Tallycast, steps("uid"), steps("cid"), plain_dialect(knobs), addressed, Dialect::Cells]
            .into_iter()
            .chain(events(knobs))
            .chain([Dialect::Tally])
            .collect(),
        routes: routes(),
    })
}

fn table() -> TableSpec {
    let label = |id: &str| vec![("en".into(), id.to_owned()), ("zh".into(), format!("列{id}"))];
    let column = |id: &&str| Column { id: (*id).into(), labels: label(id) };
    let value = |value: String| CellValue(value.into());
    let rows = rows_of_the_beginning().into_iter();
    TableSpec {
        columns: COLUMNS.iter().map(column).collect(),
        rows: rows.map(|(id, values)| (id.into(), values.into_iter().map(value).collect())).collect(),
        rows_max: TABLE_ROWS_MAX,
        cell_bytes_max: CELL_BYTES_MAX,
        bytes_max: TABLE_BYTES_MAX,
    }
}

/// The namespaces of Socket.IO with a channel: name, event, dialect, channel and its class.
const NAMESPACES: [(&str, &str, Dialect, &str, u16); 7] = [
    ("/room", "message", Dialect::Tallycast, "room/lobby", 4),
    ("/table", "change", Dialect::Tallycast, "table/people", 8),
    ("/test", "input-change", Dialect::Cells, "table/people", 8),
    ("/poll", "vote", Dialect::Tallycast, "poll/lunch", 0),
    ("/plain", "message", Dialect::Plain { gap: None }, "room/lobby", 4),
    ("/news", "news", Dialect::Tallycast, "news", 2),
    ("/lunch", "vote", Dialect::Tallycast, "poll/lunch", 0),
];

/// Votes in sum: behind the dialects of these namespaces.
const TALLY: u8 = EVENTS + NAMESPACES.len() as u8;

fn plain_dialect(knobs: &Knobs) -> Dialect {
    Dialect::Plain { gap: (knobs.slow[1] == Slow::Skip).then(|| GAP.to_owned()) }
}

/// The first of the dialects of these namespaces.
const EVENTS: u8 = 6;

fn events(knobs: &Knobs) -> impl Iterator<Item = Dialect> {
    let plain = plain_dialect(knobs);
    NAMESPACES.into_iter().map(move |(namespace, event, of, _, _)| {
        // What a constant cannot have: a text that is on the heap.
        let of = match namespace {
            "/poll" => Dialect::Steps { key: "uid".into() },
            "/plain" => plain.clone(),
            _ => of,
        };
        Dialect::Event { namespace: namespace.into(), event: event.into(), of: Box::new(of) }
    })
}

fn socket_io() -> Speaks {
    let rule = |event: &str, does| EventRule { event: event.into(), does };
    let greeting = |event: &str, data: Option<&str>| Connected { event: event.into(), data: data.map(str::to_owned) };
    let root = Namespace {
        name: "/".into(),
        target: None,
        dialect: DialectId(0),
        connected: Some(greeting("auth", None)),
        events: vec![
            rule("message", Does::Back("message-back".into())),
            rule("message-with-ack", Does::Acknowledge),
            rule("nothing", Does::Nothing),
        ],
    };
    let mut namespaces = vec![root];
    for (place, (name, event, _, channel, class)) in NAMESPACES.into_iter().enumerate() {
        let data = "{\"data\":\"Connected\",\"count\":0}";
        namespaces.push(Namespace {
            name: name.into(),
            target: Some(Target { channel: channel.into(), class: ClassId(class) }),
            dialect: DialectId(EVENTS + place as u8),
            connected: (name == "/test").then(|| greeting("my_response", Some(data))),
            events: vec![rule(event, Does::Send), rule("nothing", Does::Nothing)],
        });
    }
    Speaks::SocketIo { connect_timeout: CONNECT_WAIT, namespaces }
}

fn endpoint(speaks: Speaks) -> Serve {
    Serve::EngineIo(Arc::new(EngineIo {
        ping_interval: PING_INTERVAL,
        ping_timeout: PING_TIMEOUT,
        payload_bytes_max: PAYLOAD_BYTES_MAX,
        speaks,
    }))
}

fn routes() -> Vec<Route> {
    let of = |channel: &str, class| Target { channel: channel.into(), class: ClassId(class) };
    let target = || of("poll/lunch", 0);
    let form = |field: &str| Serve::Form { target: target(), field: field.into(), accepted: ACCEPTED.into() };
    let socket = |target, dialect| Serve::WebSocket { aim: Aim::One(target), dialect: DialectId(dialect) };
    let sockets = |prefix: &str, class, dialect| Serve::WebSocket {
        aim: Aim::Rest { prefix: prefix.into(), class: ClassId(class) },
        dialect: DialectId(dialect),
    };
    let page = Serve::Page { target: Some(target()), page: PageId::Vote, session: true };
    let poll = Serve::LongPoll { target: target(), dialect: DialectId(1), wait: COOKIE_WAIT };
    let people = || of("table/people", 8);
    let cells = Serve::Json { target: people(), dialect: DialectId(5), accepted: CHANGED.into() };
    let exact = |path: &str| PathPattern::Exact(path.into());
    let below = |path: &str| PathPattern::Prefix(path.into());
    [
        (below("/c/"), Serve::Channels),
        (exact("/index"), page),
        (exact("/get_new_vote"), socket(target(), 1)),
        (exact("/get_new_vote"), poll),
        (exact("/message"), socket(target(), 2)),
        (exact("/tally"), socket(target(), TALLY)),
        (exact("/message"), Serve::Text { text: PLAIN.into() }),
        (exact("/ticket"), form("nid")),
        (exact("/vote"), form("uid")),
        (exact("/my_ws"), socket(of("room/lobby", 4), 3)),
        (below("/my_room/"), sockets("room/", 5, 3)),
        (below("/my_ws/"), sockets("dm/", 6, 4)),
        (below("/my_keep/"), sockets("keep/", 7, 4)),
        (exact("/cells"), socket(people(), 5)),
        (exact("/input-change"), cells),
        (below("/engine.io/"), endpoint(Speaks::Echo)),
        (below("/socket.io/"), endpoint(socket_io())),
    ]
    .into_iter()
    .map(|(path, serve)| Route { listener: ListenerId(0), path, serve })
    .collect()
}

fn spec(data: Data, idle: Option<Duration>, knobs: &Knobs) -> ChannelSpec {
    ChannelSpec {
        data,
        history_publications_max: knobs.limits.history_publications_max,
        history_bytes_max: knobs.limits.history_bytes_max,
        durable: false,
        users_max: knobs.users_max,
        idle,
        unheard: None,
    }
}
