//! One thread's polling clients, and what all threads know of what was published.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Deserialize;

use super::position::{News, Position, follow};
use super::poster::{POSTER, Pacer, Poster};
use crate::clock::Nanos;
use crate::fleet::Behaviour;
use crate::http::{Response, response};
use crate::io::{Client, Dial, Ended, Io};
use crate::latency::Latencies;
use crate::modes::stages::phase;

/// All changes are acknowledged: clients that know the last one are done.
pub(super) const FINISH: u32 = 10;
/// Changes that came before their own acknowledgement, of one thread.
const EARLY_MAX: usize = 1 << 20;

/// How clients poll.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Manner {
    /// For so many seconds at most.
    Long { wait: f64 },
    /// Each at this interval, or at once.
    Plain { every: Option<Nanos> },
}

/// What all threads know.
#[derive(Debug, Default)]
pub(super) struct Polled {
    /// The last revision that a publication was answered with.
    acknowledged: AtomicU64,
    is_final: AtomicBool,
    /// When the publication of a revision was due.
    due: Mutex<HashMap<u64, Nanos>>,
}

impl Polled {
    /// Is all that was published acknowledged?
    pub(super) fn is_final(&self) -> bool {
        self.is_final.load(Ordering::Acquire)
    }

    fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Acquire)
    }

    fn due(&self, revision: u64) -> Option<Nanos> {
        self.times().get(&revision).copied()
    }

    fn times(&self) -> MutexGuard<'_, HashMap<u64, Nanos>> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the threads found, added up.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// Of changes; in plain polling, of requests.
    pub(super) latencies: Option<Latencies>,
    /// In long-polling, of requests that had something to tell at once.
    pub(super) requests: Option<Latencies>,
    /// Changes that came, or were covered, and those that were to come.
    pub(super) expected: u64,
    pub(super) lost: u64,
    pub(super) snapshots: u64,
    pub(super) not_modified: u64,
    /// Clients that know a state.
    pub(super) answered: u64,
}

impl Findings {
    pub(super) fn add(&mut self, other: Findings) {
        self.expected += other.expected;
        self.lost += other.lost;
        self.snapshots += other.snapshots;
        self.not_modified += other.not_modified;
        self.answered += other.answered;
        for (mine, other) in [(&mut self.latencies, other.latencies), (&mut self.requests, other.requests)] {
            match (mine.as_mut(), other) {
                (Some(mine), Some(other)) => mine.add(other),
                (None, other) => *mine = other,
                (Some(_), None) => {}
            }
        }
    }
}

/// One client.
#[derive(Debug, Default)]
struct Poller {
    client: Option<Client>,
    /// An answer that is not all here.
    answer: Vec<u8>,
    known: Option<Position>,
    /// The revision that it knew first: all after that must come.
    first: u64,
    /// When its request was due, and what was acknowledged when it was sent.
    asked: Option<(Nanos, u64)>,
    /// When its next request is due, if not at once.
    next: Nanos,
    is_done: bool,
}

/// One thread's clients.
pub(super) struct Polls {
    polled: Arc<Polled>,
    manner: Manner,
    dial: Arc<Dial>,
    poster: Option<(Poster, Pacer, String)>,
    pollers: Vec<Poller>,
    phase: u32,
    measures_from: Nanos,
    changes: Latencies,
    requests: Latencies,
    /// Revisions that came before their publication was answered, and when.
    early: Vec<(u64, Nanos)>,
    snapshots: u64,
    not_modified: u64,
}

/// The state, as far as a plain poll looks at it.
#[derive(Deserialize)]
struct State<'a> {
    at: &'a str,
}

impl Polls {
    pub(super) fn new(
        polled: Arc<Polled>,
        manner: Manner,
        dial: Arc<Dial>,
        pollers: usize,
        poster: Option<(Poster, Pacer, String)>,
    ) -> Self {
        Self {
            polled,
            manner,
            dial,
            poster,
            pollers: (0..pollers).map(|_| Poller::default()).collect(),
            phase: phase::CONNECT,
            measures_from: Nanos::MAX,
            changes: Latencies::new(0),
            requests: Latencies::new(0),
            early: vec![],
            snapshots: 0,
            not_modified: 0,
        }
    }

    /// What was found in the end.
    pub(super) fn finish(mut self, polled: &Polled) -> Findings {
        for (revision, now) in std::mem::take(&mut self.early) {
            if let Some(due) = polled.due(revision).filter(|due| *due >= self.measures_from) {
                self.changes.record(now, due);
            }
        }
        let last = polled.acknowledged();
        let mut found = Findings { snapshots: self.snapshots, not_modified: self.not_modified, ..Findings::default() };
        for poller in &self.pollers {
            let knows = poller.known.as_ref().map_or(poller.first, |known| known.revision);
            found.answered += u64::from(poller.known.is_some());
            found.expected += last.saturating_sub(poller.first);
            found.lost += last.saturating_sub(knows);
        }
        match self.manner {
            Manner::Plain { .. } => found.latencies = Some(self.requests),
            Manner::Long { .. } => (found.latencies, found.requests) = (Some(self.changes), Some(self.requests)),
        }
        found
    }

    fn ask(&mut self, index: usize, due: Nanos, io: &mut Io) {
        let poller = &mut self.pollers[index];
        let Some(client) = poller.client else { return };
        let path = &self.dial.target.path;
        let request = match (self.manner, &poller.known) {
            (Manner::Plain { .. }, None) => self.dial.request("GET", path, "", b""),
            (Manner::Plain { .. }, Some(Position { epoch, revision })) => {
                self.dial.request("GET", path, &format!("If-None-Match: \"{epoch}-{revision}\"\r\n"), b"")
            }
            (Manner::Long { wait }, known) => {
                let mark = if path.contains('?') { '&' } else { '?' };
                let since = known.as_ref().map(|known| format!("&since={}-{}", known.epoch, known.revision));
                self.dial.request("GET", &format!("{path}{mark}wait={wait}{}", since.unwrap_or_default()), "", b"")
            }
        };
        poller.asked = Some((due, self.polled.acknowledged()));
        io.send_bytes(client, &request);
    }

    fn answered(&mut self, index: usize, answer: &Response, etag: Option<&str>, io: &mut Io) {
        let (asked, known) = (self.pollers[index].asked.take(), self.pollers[index].known.clone());
        let Some((due, acknowledged)) = asked else {
            io.fail("an answer that was not asked for");
            return;
        };
        io.counts.others += 1;
        let news = match (answer.status, self.manner) {
            (304, Manner::Plain { .. }) if known.is_some() => {
                self.not_modified += 1;
                Ok(None)
            }
            (200, Manner::Plain { .. }) => state(known.as_ref(), &answer.body, etag).map(Some),
            (200, Manner::Long { .. }) => follow(known.as_ref(), &answer.body).map(Some),
            (status, _) => {
                let body = String::from_utf8_lossy(&answer.body[..answer.body.len().min(100)]).into_owned();
                io.fail(&Ended::Refused(status, body).name(true));
                return;
            }
        };
        match news {
            Ok(Some(news)) => self.learn(index, news, due, acknowledged, io),
            Ok(None) => {}
            Err(wrong) => io.fail(wrong),
        }
        let poller = &self.pollers[index];
        let knows = poller.known.as_ref().map_or(0, |known| known.revision);
        if knows < acknowledged {
            io.fail("an answer older than what was acknowledged before it was asked for");
        }
        if let Manner::Plain { .. } = self.manner
            && due >= self.measures_from
        {
            self.requests.record(io.now, due);
        }
        self.go_on(index, due, io);
    }

    /// Takes in what came.
    fn learn(&mut self, index: usize, news: News, due: Nanos, acknowledged: u64, io: &mut Io) {
        let poller = &mut self.pollers[index];
        let known = poller.known.as_ref().map(|known| known.revision);
        if known.is_none() {
            poller.first = news.position.revision;
        }
        self.snapshots += u64::from(news.is_snapshot && known.is_some());
        io.counts.received += known.map_or(0, |known| news.position.revision - known);
        if let Manner::Long { .. } = self.manner {
            // What was there to be told at once tells how long a request takes.
            if due >= self.measures_from && known.is_some_and(|known| known < acknowledged) {
                self.requests.record(io.now, due);
            }
            for revision in news.revisions.iter().filter(|_| known.is_some()) {
                match self.polled.due(*revision) {
                    Some(due) if due >= self.measures_from => self.changes.record(io.now, due),
                    None if self.early.len() < EARLY_MAX => self.early.push((*revision, io.now)),
                    Some(_) | None => {}
                }
            }
        }
        poller.known = Some(news.position);
    }

    /// The next request, or the end.
    fn go_on(&mut self, index: usize, due: Nanos, io: &mut Io) {
        if self.finished(index, io) {
            return;
        }
        match self.manner {
            Manner::Plain { every: Some(every) } => self.pollers[index].next = due + every,
            Manner::Plain { every: None } | Manner::Long { .. } => self.ask(index, io.clock.now(), io),
        }
    }

    /// In the end, is this client where it is to be?
    fn finished(&mut self, index: usize, io: &mut Io) -> bool {
        let last = self.polled.acknowledged();
        let poller = &mut self.pollers[index];
        let knows = poller.known.as_ref().is_some_and(|known| known.revision >= last);
        if self.phase == FINISH && knows && !poller.is_done {
            poller.is_done = true;
            io.counts.done += 1;
        }
        poller.is_done
    }

    fn post(&mut self, io: &mut Io) -> Option<Nanos> {
        let (poster, pacer, body) = self.poster.as_mut()?;
        while poster.is_ready()
            && let Some(due) = pacer.take(0, io)
        {
            io.counts.sent += 1;
            poster.post(body.as_bytes(), due, io);
        }
        if self.phase == phase::DRAIN && poster.is_idle() {
            self.polled.is_final.store(true, Ordering::Release);
        }
        pacer.turned(io).filter(|_| poster.is_ready())
    }
}

/// What a plain poll brings to whom knows `known`.
fn state(known: Option<&Position>, body: &[u8], etag: Option<&str>) -> Result<News, &'static str> {
    let state: State<'_> = serde_json::from_slice(body).map_err(|_| "an answer that is not understood")?;
    let position: Position = state.at.parse().map_err(|()| "an answer without a position")?;
    if etag.map(|etag| etag.trim_matches('"')) != Some(state.at) {
        return Err("an ETag that is not the position");
    }
    match known {
        Some(known) if *known == position => Err("200 for what had not changed"),
        Some(known) if known.epoch != position.epoch => Err("another epoch: the server has lost its history"),
        Some(known) if known.revision > position.revision => Err("a position that goes back"),
        Some(_) | None => Ok(News { revisions: vec![position.revision], position, is_snapshot: false }),
    }
}

/// The ETag of an answer, quotes and all.
fn etag(answer: &[u8]) -> Option<String> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Response::new(&mut headers);
    head.parse(answer).ok()?;
    let found = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case("etag"))?;
    std::str::from_utf8(found.value).ok().map(|value| value.trim().to_owned())
}

impl Behaviour for Polls {
    fn phase(&mut self, phase: u32, io: &mut Io) {
        self.phase = phase;
        match phase {
            phase::CONNECT => {
                (0..self.pollers.len()).for_each(|tag| io.connect(&self.dial, tag as u32));
                if let Some((poster, ..)) = &self.poster {
                    poster.connect(io);
                }
            }
            phase::WARM => {
                if let Some((_, pacer, _)) = &mut self.poster {
                    pacer.begin(io.now);
                }
                // With an interval, they begin one after the other.
                let every = if let Manner::Plain { every: Some(every) } = self.manner { every } else { 0 };
                let count = self.pollers.len().max(1) as u64;
                for index in 0..self.pollers.len() {
                    match every {
                        0 => self.ask(index, io.now, io),
                        every => self.pollers[index].next = io.now + every * index as u64 / count,
                    }
                }
            }
            phase::MEASURE => {
                (self.changes, self.requests) = (Latencies::new(io.now), Latencies::new(io.now));
                self.measures_from = io.now;
            }
            FINISH => (0..self.pollers.len()).for_each(|index| _ = self.finished(index, io)),
            _ => {
                if let Some((_, pacer, _)) = &mut self.poster {
                    pacer.end();
                }
            }
        }
    }

    fn opened(&mut self, client: Client, _: &mut Io) {
        match (client.tag, &mut self.poster) {
            (POSTER, Some((poster, ..))) => poster.opened(client),
            _ => self.pollers[client.tag as usize].client = Some(client),
        }
    }

    fn response(&mut self, _: Client, status: u16, body: &[u8], io: &mut Io) {
        let Some((poster, ..)) = &mut self.poster else { return };
        let Some(due) = poster.answered(status, body, io) else { return };
        let position =
            serde_json::from_slice::<State<'_>>(body).ok().and_then(|answer| answer.at.parse::<Position>().ok());
        match position {
            Some(position) => {
                // Votes of one batch have their revisions side by side, and each is due when its own was.
                self.polled.times().insert(position.revision, due);
                self.polled.acknowledged.fetch_max(position.revision, Ordering::AcqRel);
            }
            None => io.fail("a publication was answered without a position"),
        }
    }

    fn bytes(&mut self, client: Client, bytes: &[u8], io: &mut Io) {
        let index = client.tag as usize;
        self.pollers[index].answer.extend_from_slice(bytes);
        loop {
            let pending = std::mem::take(&mut self.pollers[index].answer);
            match response(&pending) {
                Ok(Some(answer)) => {
                    let etag = etag(&pending[..answer.bytes]);
                    self.pollers[index].answer = pending[answer.bytes..].to_vec();
                    self.answered(index, &answer, etag.as_deref(), io);
                }
                Ok(None) => {
                    self.pollers[index].answer = pending;
                    return;
                }
                Err(what) => {
                    io.fail(what);
                    return;
                }
            }
        }
    }

    fn ended(&mut self, client: Client, _: &Ended, was_open: bool, io: &mut Io) -> bool {
        match (client.tag, &mut self.poster) {
            (POSTER, Some((poster, ..))) => poster.ended(was_open, io),
            _ => {
                self.pollers[client.tag as usize].client = None;
                false
            }
        }
    }

    fn turn(&mut self, io: &mut Io) -> Option<Nanos> {
        let posts = self.post(io);
        let Manner::Plain { every: Some(_) } = self.manner else { return posts };
        if self.phase == phase::CONNECT {
            return posts;
        }
        let mut next = posts;
        for index in 0..self.pollers.len() {
            let poller = &self.pollers[index];
            if poller.asked.is_none() && !poller.is_done {
                if poller.next <= io.now {
                    self.ask(index, self.pollers[index].next, io);
                } else {
                    next = Some(next.map_or(poller.next, |next| next.min(poller.next)));
                }
            }
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_answer_is_looked_at() {
        let body = br#"{"type":"snapshot","at":"e-4","state":{}}"#;
        for (known, etag, wanted) in [
            (None, Some("\"e-4\""), Ok(4)),
            (Some("e-3"), Some("\"e-4\""), Ok(4)),
            (Some("e-4"), Some("\"e-4\""), Err("200 for what had not changed")),
            (Some("e-5"), Some("\"e-4\""), Err("a position that goes back")),
            (Some("d-3"), Some("\"e-4\""), Err("another epoch: the server has lost its history")),
            (Some("e-3"), Some("\"e-3\""), Err("an ETag that is not the position")),
            (Some("e-3"), None, Err("an ETag that is not the position")),
        ] {
            let known = known.map(|known| known.parse::<Position>().unwrap());
            assert_eq!(
                state(known.as_ref(), body, etag).map(|news| news.position.revision),
                wanted,
                "{known:?} {etag:?}"
            );
        }
        assert_eq!(etag(b"HTTP/1.1 200 OK\r\nEtag:  \"e-4\" \r\n\r\n").as_deref(), Some("\"e-4\""));
    }
}
