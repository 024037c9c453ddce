//! What the simulated server is told: routes like the demo's, and limits so small that they are reached.

use std::sync::Arc;
use std::time::Duration;

use tallycast::base::keys::ListenerId;
use tallycast::base::limits::{FLUSH_SENDS_MAX, Limits};
use tallycast::engine::{ChannelSpec, ClassId, Data, TallyOption};
use tallycast::kind::{Kind, Manners};
use tallycast::route::{
    Aim, Class, Dialect, DialectId, Heartbeat, Listener, Origins, PageId, PathPattern, Pattern, Route, Serve, Setup,
    SharedSetup, Target,
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
/// A vote said yes.
pub(crate) const ACCEPTED: &str = "投票成功";
/// What GET without upgrade answers on a WebSocket's path.
pub(crate) const PLAIN: &str = "您使用的是Http协议";

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
            limits: Limits { history_publications_max: 20, ..Limits::default() },
            steps: 0,
            cuts: 0,
            stops: false,
        }
    }
}

/// The setup for these limits.
pub(crate) fn setup(limits: Limits) -> SharedSetup {
    let classes = vec![
        vote(Pattern::Name("poll/lunch".into()), None, &limits),
        vote(Pattern::Prefix("vote/".into()), Some(Duration::from_secs(15)), &limits),
        Class {
            pattern: Pattern::Name("news".into()),
            kind: Kind::Feed,
            spec: Some(spec(Data::Log, None, &limits)),
            heartbeat: None,
            manners: Manners::default(),
        },
        Class {
            pattern: Pattern::Name("echo".into()),
            kind: Kind::Echo,
            spec: None,
            heartbeat: Some(Heartbeat { text: HEARTBEAT.into(), every: HEARTBEAT_EVERY }),
            manners: Manners::default(),
        },
    ];
    let steps = |key: &str| Dialect::Steps { key: key.into() };
    Arc::new(Setup {
        limits,
        listeners: vec![Listener {
            name: "main".into(),
            address: "127.0.0.1:5000".parse().expect("an address"),
            origins: Origins::Local,
            hosts: tallycast::wire::http::Hosts::Same,
            optional: false,
        }],
        classes,
        dialects: vec![Dialect::Tallycast, steps("uid"), steps("cid"), Dialect::Plain],
        routes: routes(),
    })
}

fn routes() -> Vec<Route> {
    let target = || Target { channel: "poll/lunch".into(), class: ClassId(0) };
    let form = |field: &str| Serve::Form { target: target(), field: field.into(), accepted: ACCEPTED.into() };
    let socket = |dialect| Serve::WebSocket { aim: Aim::One(target()), dialect: DialectId(dialect) };
    let page = Serve::Page { target: Some(target()), page: PageId::Vote, session: true };
    let poll = Serve::LongPoll { target: target(), dialect: DialectId(1), wait: COOKIE_WAIT };
    let exact = |path: &str| PathPattern::Exact(path.into());
    [
        (PathPattern::Prefix("/c/".into()), Serve::Channels),
        (exact("/index"), page),
        (exact("/get_new_vote"), socket(1)),
        (exact("/get_new_vote"), poll),
        (exact("/message"), socket(2)),
        (exact("/message"), Serve::Text { text: PLAIN.into() }),
        (exact("/ticket"), form("nid")),
        (exact("/vote"), form("uid")),
    ]
    .into_iter()
    .map(|(path, serve)| Route { listener: ListenerId(0), path, serve })
    .collect()
}

fn vote(pattern: Pattern, idle: Option<Duration>, limits: &Limits) -> Class {
    let options = OPTIONS.iter().map(|id| TallyOption {
        id: (*id).into(),
        labels: vec![("en".into(), format!("Option {id}")), ("zh".into(), format!("选项{id}"))],
    });
    Class {
        pattern,
        kind: Kind::Vote,
        spec: Some(spec(Data::Tally { options: options.collect() }, idle, limits)),
        heartbeat: None,
        manners: Manners::default(),
    }
}

fn spec(data: Data, idle: Option<Duration>, limits: &Limits) -> ChannelSpec {
    ChannelSpec {
        data,
        history_publications_max: limits.history_publications_max,
        history_bytes_max: limits.history_bytes_max,
        durable: false,
        users_max: 1000,
        idle,
    }
}
