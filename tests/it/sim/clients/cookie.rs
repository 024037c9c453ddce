//! The old page over long-polling: a session known by its cookie, polled by one tab or several.

use std::collections::BTreeMap;

use tallycast::base::time::Time;

use super::link::{Requests, State};
use super::stream::{number, word};
use super::{Client, Hears};
use crate::sim::model::option;
use crate::sim::scene::Scene;
use crate::sim::setup::COOKIE_WAIT;
use crate::sim::wire::Response;

const CHANNEL: &str = "poll/lunch";

#[derive(Debug)]
enum Ask {
    /// The page, which begins a session.
    Page { floor: u64 },
    /// The next vote.
    Next { sent: Time, cookie: Option<String>, floor: u64 },
}

#[derive(Debug, Default)]
struct Tab {
    requests: Option<Requests<Ask>>,
    /// The last vote that it was shown in this session.
    last: u64,
    back_at: Time,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Browser {
    who: String,
    cookie: Option<String>,
    tabs: Vec<Tab>,
    /// Votes of this session that some tab was shown, each with the channel's end at that time.
    shown: BTreeMap<u64, u64>,
    /// It may have been forgotten; or history may have passed its cursor: then it is told each option's present count
    /// instead of what it missed. Where it stands is known again when its core had the channel, and no news for it.
    torn: bool,
    /// When the last poll that was answered was sent: at least until then the session was in use.
    used: Time,
    /// Polls that were cut: each may have taken a vote along.
    lost: usize,
    /// Its cursor began here or later; unknown while torn.
    floor: Option<u64>,
    leaving: bool,
}

impl Browser {
    pub(crate) fn new(who: &str, tabs: usize) -> Browser {
        Browser {
            who: who.to_owned(),
            cookie: None,
            tabs: std::iter::repeat_with(Tab::default).take(tabs).collect(),
            shown: BTreeMap::new(),
            torn: false,
            used: Time::ZERO,
            lost: 0,
            floor: None,
            leaving: false,
        }
    }

    fn ask(&self, requests: &mut Requests<Ask>, scene: &mut Scene) {
        let head = self.cookie.as_ref().map(|cookie| format!("Cookie: a=b; tallycast_session={cookie}\r\n"));
        let head = head.unwrap_or_default();
        let floor = scene.model.floor(CHANNEL).map_or(0, |(_, revision)| revision);
        if self.cookie.is_none() || scene.random.rarely(3) {
            return requests.ask("GET", "/index", &head, b"", Ask::Page { floor });
        }
        let cookie = self.cookie.clone();
        let sent = scene.now;
        requests.ask("GET", "/get_new_vote", &head, b"", Ask::Next { sent, cookie, floor });
    }

    /// A new cookie is a new session.
    fn session(&mut self, response: &Response, floor: Option<u64>, scene: &mut Scene) {
        let Some(line) = response.header("set-cookie") else {
            return;
        };
        let mut parts = line.split("; ");
        let pair = parts.next().expect("there is always a first");
        let (name, value) = pair.split_once('=').unwrap_or_else(|| panic!("no cookie: {line:?}"));
        assert_eq!(name, "tallycast_session", "{line:?}");
        let attributes: Vec<&str> = parts.collect();
        for attribute in ["HttpOnly", "SameSite=Lax", "Path=/"] {
            assert!(attributes.contains(&attribute), "{line:?} lacks {attribute}");
        }
        if self.cookie.as_deref() == Some(value) {
            return;
        }
        self.check_session(0, scene);
        scene.coverage.hit(if self.cookie.is_none() { "cookie: session" } else { "cookie: session renewed" });
        self.cookie = Some(value.to_owned());
        self.torn = floor.is_none();
        self.used = scene.now;
        self.lost = 0;
        self.begin(floor);
    }

    fn begin(&mut self, floor: Option<u64>) {
        self.shown.clear();
        self.floor = floor;
        self.tabs.iter_mut().for_each(|tab| tab.last = 0);
    }

    fn see(&mut self, tab: usize, ask: Ask, response: &Response, scene: &mut Scene) {
        if response.status == 503 {
            return;
        }
        match ask {
            Ask::Page { floor } => {
                assert_eq!(response.status, 200, "{response:?}");
                assert!(response.header("content-type").is_some_and(|kind| kind.starts_with("text/html")));
                self.session(response, Some(floor), scene);
            }
            Ask::Next { sent, cookie, floor } => {
                let current = self.cookie == cookie;
                // A session that was forgotten begins anew where its page did, under the same cookie.
                let limits = &scene.knobs.limits;
                let forgotten = limits.sessions_max < 100 || scene.now - self.used >= limits.session_idle;
                if current && forgotten && !self.torn {
                    self.begin(None);
                    self.torn = true;
                }
                self.used = self.used.max(sent);
                // The new session begins where the page of the old one did.
                self.session(response, None, scene);
                if response.status == 429 {
                    assert!(self.tabs.len() > scene.knobs.limits.session_polls_max, "{response:?}");
                    scene.coverage.hit("cookie: 429");
                    return;
                }
                assert_eq!(response.status, 200, "{response:?}");
                let message = response.json();
                if message["status"] == false {
                    assert!(message["data"].is_null(), "{message}");
                    let waited = scene.now - sent;
                    let may_be_evicted = scene.knobs.limits.sessions_max < 100;
                    // Who comes with a cookie that is no longer known may be told the new one at once.
                    let renewed = response.header("set-cookie").is_some();
                    let in_time = waited >= COOKIE_WAIT || scene.stopping || may_be_evicted || renewed;
                    assert!(in_time, "{}: in vain after {waited:?}", self.who);
                    scene.coverage.hit("cookie: waited in vain");
                    let told_all = waited >= COOKIE_WAIT && was_attached(cookie.as_deref(), sent + COOKIE_WAIT, scene);
                    if self.torn && current && !renewed && told_all && self.polls() == 0 {
                        scene.coverage.hit("cookie: known again");
                        self.torn = false;
                        self.begin(Some(floor));
                    }
                } else if current {
                    self.vote(tab, &message["data"], scene);
                }
            }
        }
    }

    fn vote(&mut self, tab: usize, data: &serde_json::Value, scene: &mut Scene) {
        let (choice, count) = (option(word(data, "uid")), number(data, "count"));
        let life = scene.model.present(CHANNEL).expect("there was a vote");
        let top = self.shown.last_key_value().map(|(revision, _)| *revision).or(self.floor);
        let kept = scene.knobs.limits.history_publications_max as u64;
        if !self.torn && top.is_some_and(|top| life.end() - top > kept) {
            // This one may be the vote that is missing: the other tab's answer overtook it.
            self.check_session(1, scene);
            self.begin(None);
            self.torn = true;
        }
        if self.torn {
            let present = life.counts(life.end())[choice];
            assert!(count <= present, "{}: {data}, while there are {present}", self.who);
            return scene.coverage.hit("cookie: vote or present count");
        }
        let revision = life.revision_of(choice, count);
        let revision = revision.unwrap_or_else(|| panic!("{}: there was no such vote: {data}", self.who));
        let last = self.tabs[tab].last.max(self.floor.unwrap_or(0));
        assert!(revision > last, "{}: tab {tab} is shown {revision} behind {last}", self.who);
        self.tabs[tab].last = revision;
        let again = self.shown.insert(revision, life.end()).is_some();
        scene.coverage.hit(if again { "cookie: vote in two tabs" } else { "cookie: vote" });
    }

    /// How many are under way.
    fn polls(&self) -> usize {
        let requests = self.tabs.iter().flat_map(|tab| &tab.requests);
        requests.map(Requests::outstanding).sum()
    }

    /// When no poll is under way: the votes shown are all of a stretch.
    fn check_session(&self, in_hand: usize, scene: &Scene) {
        let kept = scene.knobs.limits.history_publications_max as u64;
        let mut missing = 0;
        for ((before, _), (after, end)) in self.shown.iter().zip(self.shown.iter().skip(1)) {
            // What history had passed by then is passed over.
            if end - before <= kept {
                missing += after - before - 1;
            }
        }
        let excuse = (self.lost + self.polls() + in_hand) as u64;
        assert!(missing <= excuse, "{}: {missing} votes missed, {excuse} polls cut: {:?}", self.who, self.shown);
    }

    fn act_in(&mut self, tab: usize, scene: &mut Scene) {
        let Some(mut requests) = self.tabs[tab].requests.take() else {
            if !scene.calm && scene.now >= self.tabs[tab].back_at {
                let who = format!("{}.{tab}", self.who);
                self.tabs[tab].requests = Some(Requests::open(scene, &who));
            }
            return;
        };
        requests.link.pump(scene, true);
        while let Some((ask, response)) = requests.next(scene) {
            self.see(tab, ask, &response, scene);
        }
        if requests.link.state != State::Open {
            self.lost += requests.unanswered().len();
            self.tabs[tab].back_at = scene.soon(2000);
            return;
        }
        if self.leaving {
            requests.link.finish();
        } else if !scene.calm && !requests.is_over() {
            if requests.outstanding() == 0 && scene.random.chance(70) {
                self.ask(&mut requests, scene);
            } else if scene.random.rarely(5) {
                requests.link.reset(scene);
            }
        }
        self.tabs[tab].requests = Some(requests);
    }
}

/// Whether the core where this session lives has had all channels since then. A poll whose time is up while its channel
/// is still being attached is answered in vain too, whatever there is to be told: its core does not know.
fn was_attached(cookie: Option<&str>, since: Time, scene: &Scene) -> bool {
    let core = cookie.and_then(|cookie| cookie.split('.').next()?.parse::<usize>().ok());
    core.is_some_and(|core| scene.unattached[core] < since)
}

impl Client for Browser {
    fn act(&mut self, scene: &mut Scene) {
        for tab in 0..self.tabs.len() {
            self.act_in(tab, scene);
        }
        if self.leaving {
            self.check_session(0, scene);
        }
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

    fn check_rest(&mut self, scene: &mut Scene) {
        for tab in &self.tabs {
            let waits = tab.requests.as_ref().is_some_and(|requests| requests.outstanding() > 0);
            assert!(!waits, "{}: never answered: {tab:?}", self.who);
        }
        self.check_session(0, scene);
    }
}
