//! A listener over an event stream, who resumes by Last-Event-ID or by `since`.

use tallycast::base::time::Time;

use super::link::{Link, State};
use super::stream::Stream;
use super::{Client, Hears, Patience, path, query};
use crate::sim::scene::{Scene, shown};
use crate::sim::setup::Sort;
use crate::sim::wire::{json, read_event, read_head};

/// See the module.
#[derive(Debug)]
pub(crate) struct Listener {
    who: String,
    stream: Stream,
    name: Option<&'static str>,
    link: Option<Link>,
    open: bool,
    /// Events were seen on this connection.
    begun: bool,
    back_at: Time,
    asleep_until: Time,
    stuck: bool,
    leaving: bool,
    patience: Patience,
}

impl Listener {
    pub(crate) fn new(who: &str, channel: &str, name: Option<&'static str>, stuck: bool) -> Listener {
        Listener {
            who: who.to_owned(),
            stream: Stream::new(who, channel),
            name,
            link: None,
            open: false,
            begun: false,
            back_at: Time::ZERO,
            asleep_until: Time::ZERO,
            stuck,
            leaving: false,
            patience: Patience::default(),
        }
    }

    fn join(&mut self, scene: &mut Scene) {
        if self.leaving || (!scene.calm && scene.now < self.back_at) || !self.patience.is_left(scene) {
            return;
        }
        let mut link = Link::open(scene, &self.who);
        let (since, header) = match self.stream.begin(scene) {
            Some(since) if scene.random.chance(50) => (None, format!("Last-Event-ID: {since}\r\n")),
            since => (since, String::new()),
        };
        let query = query(self.name, since);
        let channel = path(&self.stream.channel);
        link.send(
            format!(
                "GET /c/{channel}{query} HTTP/1.1\r\nHost: localhost:5000\r\n{header}Accept: text/event-stream\r\n\r\n"
            )
            .as_bytes(),
        );
        (self.open, self.begun) = (false, false);
        self.link = Some(link);
    }

    /// Who listens to a user's channel has that user's name.
    fn name(&self) -> Option<&str> {
        match Sort::of(&self.stream.channel) {
            Sort::Direct => self.stream.channel.split_once('/').map(|(_, user)| user),
            _ => self.name,
        }
    }

    /// True when the stream is open.
    fn read_head(link: &mut Link, scene: &Scene) -> bool {
        let Some((head, len)) = read_head(&link.input) else {
            return false;
        };
        if head.status != 200 {
            link.check_uninvited(&head, scene);
            link.finish();
            return false;
        }
        let kind = head.header("content-type").unwrap_or_default();
        assert!(kind.starts_with("text/event-stream"), "{head:?}");
        assert_eq!(head.header("cache-control"), Some("no-store"), "{head:?}");
        assert!(head.header("content-length").is_none() && head.header("transfer-encoding").is_none());
        link.input.drain(..len);
        true
    }

    fn read_events(&mut self, link: &mut Link, scene: &mut Scene) {
        while let Some((event, len)) = read_event(&link.input) {
            link.input.drain(..len);
            if let Some(retry) = event.retry {
                assert!(!self.begun, "{}: retry in the middle", self.who);
                assert_eq!(retry, "1000");
            }
            let [data] = &event.data[..] else {
                assert!(event.data.is_empty(), "{}: one line of data: {:?}", self.who, event.data);
                self.begun = true;
                if event.comments > 0 {
                    scene.coverage.hit("sse: comment");
                }
                continue;
            };
            assert!(self.begun, "{}: retry comes first", self.who);
            let reply = self.stream.take(data, scene);
            assert!(reply.is_none(), "{}: nobody asked: {data}", self.who);
            let message = json(data);
            let at = if message["type"] == "listeners" { None } else { message["at"].as_str() };
            assert_eq!(event.id.as_deref(), at, "{}: the id is the position: {data}", self.who);
            scene.coverage.hit("sse: event");
        }
        let cut_short = link.state == State::Ended && !link.input.is_empty() && !link.is_finishing();
        assert!(!cut_short, "{}: ends within an event: {}", self.who, shown(&link.input));
    }
}

impl Client for Listener {
    fn act(&mut self, scene: &mut Scene) {
        let Some(mut link) = self.link.take() else {
            return self.join(scene);
        };
        let stuck = self.stuck && self.open;
        link.pump(scene, scene.calm || (!stuck && self.asleep_until <= scene.now));
        self.open = self.open || Self::read_head(&mut link, scene);
        if self.open {
            self.read_events(&mut link, scene);
        }
        if link.state != State::Open {
            self.back_at = scene.soon(3000);
            return;
        }
        if self.leaving {
            link.finish();
        } else if !scene.calm {
            match scene.random.below(1000) {
                0..3 => link.finish(),
                3..7 => link.reset(scene),
                7..13 => self.asleep_until = scene.soon(20_000),
                _ => {}
            }
        }
        self.link = Some(link);
    }

    fn leave(&mut self) {
        self.leaving = true;
    }

    fn is_poller(&self) -> bool {
        false
    }

    fn hears(&self) -> Option<Hears<'_>> {
        let live = self.open && self.link.as_ref().is_some_and(|link| !link.is_finishing());
        live.then_some(Hears {
            channel: &self.stream.channel,
            told: self.stream.listeners,
            name: self.name(),
            me: None,
        })
    }

    fn check_rest(&mut self, scene: &mut Scene) {
        match &self.link {
            Some(link) if self.open && !link.is_finishing() => self.stream.check_rest(scene),
            Some(link) => panic!("{}: half open at rest: {link:?}", self.who),
            None => self.patience.check(&self.who, scene),
        }
    }
}
