//! Who uses the simulated server.

use tallycast::base::time::Time;
use tallycast::engine::Origin;

use super::random::Random;
use super::scene::Scene;
use super::setup::NAMES;

pub(crate) mod bad;
pub(crate) mod bare;
pub(crate) mod cells;
pub(crate) mod cookie;
pub(crate) mod echo;
pub(crate) mod grid;
pub(crate) mod link;
pub(crate) mod long_poll;
pub(crate) mod people;
pub(crate) mod socket_io;
pub(crate) mod sse;
pub(crate) mod steps;
pub(crate) mod stream;
pub(crate) mod table;
pub(crate) mod talk;
pub(crate) mod tally;
pub(crate) mod visitor;
pub(crate) mod web;
pub(crate) mod ws;

/// One client. It acts when chance has it act, judges all that it reads, and comes back when it was cut off.
pub(crate) trait Client {
    /// Reads, judges, and does one thing. When the scene is calm: only what it owes.
    fn act(&mut self, scene: &mut Scene);

    /// From now on it ends what is open and begins nothing.
    fn leave(&mut self);

    /// Whether it asks again and again instead of listening.
    fn is_poller(&self) -> bool;

    /// What it listens to just now.
    fn hears(&self) -> Option<Hears<'_>>;

    /// All that it listens to just now.
    fn all_heard(&self) -> Vec<Hears<'_>> {
        self.hears().into_iter().collect()
    }

    /// Whether it has a session of Engine.IO that requests carry: on which core, and whether one of them waits.
    fn polls(&self) -> Option<(usize, bool)> {
        None
    }

    /// When it wants to do something by itself.
    fn wake(&self) -> Option<Time> {
        None
    }

    /// At rest: what it waited for has come.
    fn check_rest(&mut self, scene: &mut Scene);
}

/// One who listens.
#[derive(Debug)]
pub(crate) struct Hears<'a> {
    pub(crate) channel: &'a str,
    /// How many listen, as it was told.
    pub(crate) told: Option<u64>,
    /// Under which name.
    pub(crate) name: Option<&'a str>,
    /// On which connection, if that matters.
    pub(crate) me: Option<Origin>,
}

/// A target's query: the name and the position to resume from.
pub(crate) fn query(name: Option<&str>, since: Option<String>) -> String {
    let name = name.map(|name| format!("name={}", percent(name)));
    let since = since.map(|since| format!("since={since}"));
    let fields: Vec<String> = name.into_iter().chain(since).collect();
    if fields.is_empty() { String::new() } else { format!("?{}", fields.join("&")) }
}

/// A channel's name in a path.
pub(crate) fn path(channel: &str) -> String {
    channel.split('/').map(percent).collect::<Vec<_>>().join("/")
}

/// Percent-encoded, all of it.
pub(crate) fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Some clients of all kinds, and a crowd.
pub(crate) fn population(random: &mut Random, crowd: usize) -> Vec<Box<dyn Client>> {
    let mut clients: Vec<Box<dyn Client>> = Vec::new();
    for number in 0..random.upto(10) + 8 {
        let channel = random.pick(&["poll/lunch", "poll/lunch", "poll/lunch", "news", "vote/tea", "vote/cake"]);
        let who = |what: &str| format!("{what}{number}");
        // Those that never read are stuck until the end.
        let stuck = random.chance(12);
        let name = Some(random.pick(&NAMES)).filter(|_| random.chance(70));
        let mail = format!("{}/{}", random.pick(&["dm", "dm", "keep"]), random.pick(&NAMES[..3]));
        let room = random.pick(&["room/lobby", "room/lobby", "room/tea"]);
        let anything = random.pick(&[channel, channel, room, &mail, "table/people"]);
        if random.chance(22) {
            clients.push(Box::new(socket_io::SocketIo::new(&who("sio"), name, stuck, random)));
            continue;
        }
        if random.chance(55) {
            clients.push(match random.below(12) {
                0 | 1 => Box::new(talk::Talker::new(&who("talk"), room, name, stuck)),
                2 => Box::new(talk::Talker::new(&who("direct"), &mail, None, stuck)),
                3 | 4 => Box::new(bare::Talker::new(&who("plain"), room, name, stuck)),
                5 | 6 => Box::new(bare::Talker::new(&who("addressed"), &mail, None, stuck)),
                7 | 8 => Box::new(table::Editor::new(&who("table"), name, stuck)),
                9 => Box::new(cells::Page::new(&who("cells"), name, stuck)),
                10 => Box::new(sse::Listener::new(&who("sse"), anything, name, stuck)),
                _ => Box::new(long_poll::Poller::new(&who("poll"), anything)),
            });
            continue;
        }
        clients.push(match random.below(12) {
            0 | 1 => Box::new(ws::Listener::new(&who("ws"), channel, stuck)),
            2 => Box::new(sse::Listener::new(&who("sse"), channel, None, stuck)),
            3 => Box::new(long_poll::Poller::new(&who("poll"), channel)),
            4 | 5 => Box::new(steps::Voter::new(&who("steps"), random.chance(50), stuck)),
            6 => Box::new(cookie::Browser::new(&who("cookie"), random.upto(3))),
            7 | 8 => Box::new(web::Web::new(&who("web"))),
            9 => Box::new(echo::Echo::new(&who("echo"))),
            10 => Box::new(tally::Voter::new(&who("tally"), stuck)),
            _ => Box::new(bad::Bad::new(&who("bad"))),
        });
    }
    for number in 0..crowd {
        let who = format!("crowd{number}");
        let uid = random.chance(50);
        clients.push(Box::new(steps::Voter::new(&who, uid, false)));
    }
    clients
}

/// Whether a client has come back as often as is sensible once nothing fails any more.
#[derive(Debug, Default)]
pub(crate) struct Patience(usize);

impl Patience {
    /// It does not come back.
    pub(crate) fn exhausted() -> Patience {
        Patience(usize::MAX / 2)
    }

    pub(crate) fn is_left(&mut self, scene: &Scene) -> bool {
        if scene.calm {
            self.0 += 1;
        }
        self.0 <= 5
    }

    /// At rest without a connection: only where there are too many.
    pub(crate) fn check(&self, who: &str, scene: &Scene) {
        let few = scene.knobs.limits.connections_max < 100 || scene.knobs.users_max < NAMES.len();
        assert!(few, "{who}: cannot connect, and nothing fails");
    }
}
