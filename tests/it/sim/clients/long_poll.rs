//! Asks for what came since, again and again.

use std::time::Duration;

use tallycast::base::time::Time;

use super::link::Requests;
use super::stream::Stream;
use super::{Client, Hears, path};
use crate::sim::scene::Scene;

#[derive(Debug)]
struct Poll {
    sent: Time,
    wait: Duration,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Poller {
    who: String,
    stream: Stream,
    requests: Option<Requests<Poll>>,
    back_at: Time,
    leaving: bool,
}

impl Poller {
    pub(crate) fn new(who: &str, channel: &str) -> Poller {
        Poller {
            who: who.to_owned(),
            stream: Stream::new(who, channel),
            requests: None,
            back_at: Time::ZERO,
            leaving: false,
        }
    }

    fn poll(&mut self, requests: &mut Requests<Poll>, scene: &mut Scene) {
        let (text, millis) = scene.random.pick(&[("0", 0), ("0.5", 500), ("2", 2000), ("5", 5000)]);
        let since = self.stream.begin(scene).map(|since| format!("&since={since}"));
        let target = format!("/c/{}?wait={text}{}", path(&self.stream.channel), since.unwrap_or_default());
        let poll = Poll { sent: scene.now, wait: Duration::from_millis(millis) };
        requests.ask("GET", &target, "", b"", poll);
    }
}

impl Client for Poller {
    fn act(&mut self, scene: &mut Scene) {
        let Some(mut requests) = self.requests.take() else {
            if !scene.calm && scene.now >= self.back_at {
                self.requests = Some(Requests::open(scene, &self.who));
            }
            return;
        };
        requests.link.pump(scene, true);
        while let Some((poll, response)) = requests.next(scene) {
            if response.status == 503 {
                continue;
            }
            assert_eq!(response.status, 200, "{}: {response:?}", self.who);
            if self.stream.polled(&response.json(), scene) {
                let waited = scene.now - poll.sent;
                assert!(waited >= poll.wait || scene.stopping, "{}: in vain after {waited:?}: {poll:?}", self.who);
                scene.coverage.hit("poll: waited in vain");
            } else {
                scene.coverage.hit("poll: news");
            }
        }
        if requests.is_over() && requests.link.state != super::link::State::Open {
            self.back_at = scene.soon(2000);
            return;
        }
        if self.leaving {
            requests.link.finish();
        } else if !scene.calm && !requests.is_over() {
            if requests.outstanding() == 0 && scene.random.chance(60) {
                self.poll(&mut requests, scene);
            } else if scene.random.rarely(8) {
                requests.link.reset(scene);
            } else if scene.random.rarely(8) {
                requests.link.finish();
            }
        }
        self.requests = Some(requests);
    }

    fn leave(&mut self) {
        self.leaving = true;
    }

    fn is_poller(&self) -> bool {
        true
    }

    fn hears(&self) -> Option<Hears<'_>> {
        None
    }

    fn check_rest(&mut self, _: &mut Scene) {
        let waits = self.requests.as_ref().is_some_and(|requests| requests.outstanding() > 0);
        assert!(!waits, "{}: never answered: {:?}", self.who, self.requests);
    }
}
