//! Who uses the simulated server.

use super::random::Random;
use super::scene::Scene;

pub(crate) mod bad;
pub(crate) mod cookie;
pub(crate) mod echo;
pub(crate) mod link;
pub(crate) mod long_poll;
pub(crate) mod sse;
pub(crate) mod steps;
pub(crate) mod stream;
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

    /// The channel whose listener it is just now, and how many these are, as it was told.
    fn hears(&self) -> Option<(&str, Option<u64>)>;

    /// At rest: what it waited for has come.
    fn check_rest(&mut self, scene: &mut Scene);
}

/// Some clients of all kinds, and a crowd.
pub(crate) fn population(random: &mut Random, crowd: usize) -> Vec<Box<dyn Client>> {
    let mut clients: Vec<Box<dyn Client>> = Vec::new();
    for number in 0..random.upto(8) + 6 {
        let channel = random.pick(&["poll/lunch", "poll/lunch", "poll/lunch", "news", "vote/tea", "vote/cake"]);
        let who = |what: &str| format!("{what}{number}");
        // Those that never read are stuck until the end.
        let stuck = random.chance(12);
        clients.push(match random.below(11) {
            0 | 1 => Box::new(ws::Listener::new(&who("ws"), channel, stuck)),
            2 => Box::new(sse::Listener::new(&who("sse"), channel, stuck)),
            3 => Box::new(long_poll::Poller::new(&who("poll"), channel)),
            4 | 5 => Box::new(steps::Voter::new(&who("steps"), random.chance(50), stuck)),
            6 => Box::new(cookie::Browser::new(&who("cookie"), random.upto(3))),
            7 | 8 => Box::new(web::Web::new(&who("web"))),
            9 => Box::new(echo::Echo::new(&who("echo"))),
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
    pub(crate) fn is_left(&mut self, scene: &Scene) -> bool {
        if scene.calm {
            self.0 += 1;
        }
        self.0 <= 5
    }

    /// At rest without a connection: only where there are too many.
    pub(crate) fn check(&self, who: &str, scene: &Scene) {
        assert!(scene.knobs.limits.connections_max < 100, "{who}: cannot connect, and nothing fails");
    }
}
