//! Subscribers over Server-Sent Events.

mod chunks;
mod events;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use clap::Args;

use self::chunks::Chunks;
use self::events::Events;
use super::poll::position::Position;
use super::poll::poster::{POSTER, Pace, Pacer, Poster};
use crate::account::Account;
use crate::arguments::{Common, Stop, positive};
use crate::clock::{Clock, Nanos, seconds};
use crate::codec::response_head;
use crate::fleet::{Behaviour, Fleet};
use crate::io::{Client, Counts, Dial, Ended, Io};
use crate::latency::Latencies;
use crate::modes::stages::{self, WARM_DELIVERIES, phase};
use crate::report::Report;
use crate::stamp::{Stamp, Stamper};
use crate::target::Target;
use crate::window::Window;

/// Nothing is published between warm-up and measuring, until all of the warm-up has come.
const SETTLE: u32 = 10;

#[derive(Args, Debug)]
#[command(after_help = "\
Subscribers ask for text/event-stream at the URL; one publisher POSTs texts there, or at --publish-url. Each text must come \
to each subscriber once and in order. Each event must have an id, or none; ids that are Tallycast's positions must \
count on by one.

Examples:
  tallycast-loadtest sse http://127.0.0.1:5000/c/news -n 1000 --rate 50 --pid auto
  tallycast-loadtest sse http://127.0.0.1:8080/sub -n 1000 --publish-url http://127.0.0.1:8080/pub")]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) common: Common,

    /// Subscribers
    #[arg(long, short = 'n', default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    subscribers: u32,

    /// Where to publish, if not at the same URL
    #[arg(long, value_name = "URL")]
    publish_url: Option<Target>,

    /// Publications a second; without it, the next is sent when all but --outstanding have come
    #[arg(long, value_parser = positive)]
    rate: Option<f64>,

    /// Publications under way at a time
    #[arg(long, short = 'w', default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..), conflicts_with = "rate")]
    outstanding: u32,

    /// Bytes of a text, at least 28
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(28..))]
    size: u32,

    /// Measured seconds
    #[arg(long, default_value_t = 10.0, value_parser = positive)]
    seconds: f64,

    /// Seconds that the warm-up may take, which ends after 20 deliveries to each
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0, value_parser = positive)]
    warm_seconds: f64,

    /// Seconds without any delivery after which what is under way counts as lost
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0, value_parser = positive)]
    patience: f64,
}

impl Arguments {
    pub(crate) fn run(&self) -> Result<Report, Stop> {
        let (common, count) = (&self.common, u64::from(self.subscribers));
        common.files(count + 1)?;
        let watched = common.watched()?;
        let clock = Clock::new();
        let run = stages::run_number()?;
        let shares = common.shares(count).into_iter().enumerate();
        let threads = shares.map(|(thread, share)| self.streams(run, thread, share)).collect();
        let fleet = Fleet::start(clock, &common.setup(), threads).map_err(Stop::Usage)?;
        let mut report = Report::new("sse", &common.url);
        report.subscribers = count;
        report.set("size", self.size);
        match self.rate {
            Some(rate) => report.set("rate", rate),
            None => report.set("outstanding", self.outstanding),
        }
        let streaming = stages::connect_all(&fleet, common, count + 1)
            && fleet.wait(clock.now() + seconds(common.connect_wait), |counts, _| counts.done + counts.ended >= count)
            && fleet.shared.counts().done == count;
        if !streaming {
            return stages::refused(fleet, report, count + 1);
        }
        let all = |counts: &Counts| counts.sent * count;
        let patience = seconds(self.patience);
        fleet.set_phase(phase::WARM);
        fleet.wait(clock.now() + seconds(self.warm_seconds), |counts, _| counts.received >= count * WARM_DELIVERIES);
        fleet.set_phase(SETTLE);
        stages::drain(&fleet, None, patience, all);
        let before = fleet.shared.counts();
        if before.received < count * WARM_DELIVERIES {
            report.notes.push(format!("the warm-up had {} publications, not {WARM_DELIVERIES}", before.sent));
        }
        let mut window = Window::open(clock, watched.as_ref(), common.threads.into(), before.received);
        fleet.set_phase(phase::MEASURE);
        stages::measure(&fleet, &mut window, seconds(self.seconds), common.quiet, |_| false);
        fleet.set_phase(phase::DRAIN);
        stages::drain(&fleet, Some(&mut window), patience, all);
        let counts = fleet.shared.counts();
        window.close(counts.received, &mut report);
        report.expected = (counts.sent - before.sent) * count;
        report.set("publications", counts.sent - before.sent);
        let (threads, failures) = fleet.stop().map_err(Stop::Usage)?;
        Ok(account(report, counts.sent as u32, threads, &failures))
    }

    fn streams(&self, run: u16, thread: usize, share: Range<u64>) -> Streams {
        let common = &self.common;
        let publish = self.publish_url.as_ref().unwrap_or(&common.url).clone();
        let pace = self.rate.map_or(Pace::Outstanding(self.outstanding.into()), Pace::Rate);
        let poster = || Poster::new(Arc::new(Dial::http(publish, &common.header)), "text/plain; charset=utf-8");
        let subscribers = (share.end - share.start) as usize;
        Streams {
            dial: Arc::new(Dial::raw(common.url.clone(), &common.header)),
            poster: (thread == 0).then(poster),
            pacer: Pacer::new(pace, self.subscribers.into()),
            stamper: Stamper::new(run, self.size as usize, "", ""),
            streams: (0..subscribers).map(|_| Stream::default()).collect(),
            account: Account::new(subscribers, 1),
            latencies: Latencies::new(0),
            measures_from: Nanos::MAX,
            phase: phase::CONNECT,
            published: 0,
            with_id: 0,
            without_id: 0,
            is_waking: false,
        }
    }
}

/// One subscriber.
#[derive(Default)]
struct Stream {
    /// The head, until it is all here.
    head: Vec<u8>,
    is_open: bool,
    chunks: Option<Chunks>,
    events: Events,
    /// The last id.
    last: Option<Id>,
}

/// An event's id.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Id {
    Position(Position),
    /// Another server's.
    Other(String),
}

impl Id {
    fn new(text: &str) -> Self {
        text.parse().map_or_else(|_| Id::Other(text.to_owned()), Id::Position)
    }
}

/// What is wrong with the id of a publication behind this last one, if anything is.
fn wrong_id(last: Option<&Id>, id: &Id) -> Option<&'static str> {
    match (last, id) {
        (Some(Id::Position(last)), Id::Position(id)) if id.epoch != last.epoch => Some("an id of another epoch"),
        (Some(Id::Position(last)), Id::Position(id)) if id.revision <= last.revision => Some("an id that goes back"),
        (Some(Id::Position(last)), Id::Position(id)) if id.revision > last.revision + 1 => Some("an id that jumps"),
        (Some(last), id) if last == id => Some("an id that came before"),
        (Some(_) | None, _) => None,
    }
}

/// One thread's subscribers, and on the first the publisher.
struct Streams {
    dial: Arc<Dial>,
    poster: Option<Poster>,
    pacer: Pacer,
    stamper: Stamper,
    streams: Vec<Stream>,
    account: Account,
    latencies: Latencies,
    measures_from: Nanos,
    phase: u32,
    published: u32,
    /// Publications with an id, and without.
    with_id: u64,
    without_id: u64,
    /// Something came that the publisher may wait for.
    is_waking: bool,
}

impl Streams {
    fn event(&mut self, subscriber: usize, id: Option<&str>, data: &str, io: &mut Io) {
        let id = id.map(Id::new);
        let Some(found) = self.stamper.find(data.as_bytes()).filter(|_| !data.starts_with("{\"type\":\"snapshot\""))
        else {
            io.counts.others += 1;
            self.streams[subscriber].last = id.or(self.streams[subscriber].last.take());
            return;
        };
        match &id {
            Some(id) => {
                self.with_id += 1;
                if let Some(wrong) = wrong_id(self.streams[subscriber].last.as_ref(), id) {
                    io.fail(wrong);
                }
            }
            None => self.without_id += 1,
        }
        if id.is_some() {
            self.streams[subscriber].last = id;
        }
        if self.account.deliver(subscriber, found.publisher(), found.sequence()) {
            io.counts.received += 1;
            self.is_waking = true;
            if found.time() >= self.measures_from {
                self.latencies.record(io.now, found.time());
            }
        }
    }

    /// The head of an answer: is it a stream? What is behind it is returned.
    fn head(&mut self, client: Client, bytes: &[u8], io: &mut Io) -> Option<Vec<u8>> {
        let stream = &mut self.streams[client.tag as usize];
        stream.head.extend_from_slice(bytes);
        let head = match response_head(&stream.head) {
            Ok(head) => head?,
            Err(what) => {
                io.fail(what);
                io.counts.ended += 1;
                io.close(client);
                return None;
            }
        };
        let bytes = std::mem::take(&mut stream.head);
        let text = String::from_utf8_lossy(&bytes[..head.head_bytes]).to_ascii_lowercase();
        if head.status != 200 || !text.contains("text/event-stream") {
            io.fail(&Ended::Refused(head.status, String::new()).name(false));
            io.counts.ended += 1;
            io.close(client);
            return None;
        }
        stream.is_open = true;
        stream.chunks = head.is_chunked.then(Chunks::default);
        io.counts.done += 1;
        Some(bytes[head.head_bytes..].to_vec())
    }

    fn stream(&mut self, client: Client, bytes: &[u8], io: &mut Io) {
        let subscriber = client.tag as usize;
        // The reader is taken out for as long as its events are looked at.
        let mut events = std::mem::take(&mut self.streams[subscriber].events);
        let wrong = events.wrong();
        let mut chunks = self.streams[subscriber].chunks.take();
        let mut each = |bytes: &[u8]| events.feed(bytes, |id, data| self.event(subscriber, id, data, io));
        let fed = match &mut chunks {
            Some(chunks) => chunks.feed(bytes, each),
            None => {
                each(bytes);
                Ok(())
            }
        };
        if let Err(what) = fed {
            io.fail(what);
        }
        if events.wrong() > wrong {
            io.fail("a line that is not UTF-8");
        }
        self.streams[subscriber].events = events;
        self.streams[subscriber].chunks = chunks;
    }
}

impl Behaviour for Streams {
    fn phase(&mut self, phase: u32, io: &mut Io) {
        self.phase = phase;
        match phase {
            phase::CONNECT => {
                (0..self.streams.len()).for_each(|tag| io.connect(&self.dial, tag as u32));
                if let Some(poster) = &self.poster {
                    poster.connect(io);
                }
            }
            phase::WARM | phase::MEASURE => {
                self.pacer.begin(io.now);
                if phase == phase::MEASURE {
                    self.latencies = Latencies::new(io.now);
                    self.measures_from = io.now;
                }
            }
            _ => self.pacer.end(),
        }
    }

    fn opened(&mut self, client: Client, io: &mut Io) {
        match (client.tag, &mut self.poster) {
            (POSTER, Some(poster)) => poster.opened(client),
            _ => {
                let request = self.dial.request("GET", &self.dial.target.path, "Accept: text/event-stream\r\n", b"");
                io.send_bytes(client, &request);
            }
        }
    }

    fn response(&mut self, _: Client, status: u16, body: &[u8], io: &mut Io) {
        if let Some(poster) = &mut self.poster {
            poster.answered(status, body, io);
        }
    }

    fn bytes(&mut self, client: Client, bytes: &[u8], io: &mut Io) {
        if self.streams[client.tag as usize].is_open {
            self.stream(client, bytes, io);
        } else if let Some(rest) = self.head(client, bytes, io) {
            self.stream(client, &rest, io);
        }
    }

    fn ended(&mut self, client: Client, _: &Ended, was_open: bool, io: &mut Io) -> bool {
        match (client.tag, &mut self.poster) {
            (POSTER, Some(poster)) => poster.ended(was_open, io),
            _ => false,
        }
    }

    fn turn(&mut self, io: &mut Io) -> Option<Nanos> {
        let Some(poster) = &mut self.poster else {
            if std::mem::take(&mut self.is_waking) {
                io.shared.post(io.thread, &io.counts, self.phase);
                io.shared.wake(0);
            }
            return None;
        };
        while poster.is_ready()
            && let Some(due) = self.pacer.take(self.published.into(), io)
        {
            let mut text = Vec::new();
            self.stamper.write(&mut text, Stamp { publisher: 0, sequence: self.published, time: due });
            self.published += 1;
            io.counts.sent += 1;
            poster.post(&text, due, io);
        }
        let next = self.pacer.turned(io);
        // A publisher that waits for answers is woken by them.
        next.filter(|_| poster.is_ready())
    }
}

/// Adds up what the threads found.
fn account(mut report: Report, published: u32, threads: Vec<Streams>, failures: &BTreeMap<String, u64>) -> Report {
    let mut latencies: Option<Latencies> = None;
    let (mut with_id, mut without_id) = (0, 0);
    for thread in threads {
        report.lost += thread.account.lost(&[published]);
        report.doubled += thread.account.doubled;
        report.reordered += thread.account.reordered;
        with_id += thread.with_id;
        without_id += thread.without_id;
        match &mut latencies {
            None => latencies = Some(thread.latencies),
            Some(all) => all.add(thread.latencies),
        }
    }
    if let Some(latencies) = latencies {
        report.latency_us = latencies.report();
        latencies.fill(&mut report.series);
    }
    if with_id > 0 && without_id > 0 {
        report.fail("events without an id among those with one", without_id);
    }
    if report.reordered > 0 {
        report.fail("out of order", report.reordered);
    }
    report.set("events_with_id", with_id);
    report.finish(failures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_count_on() {
        for (last, id, wrong) in [
            (None, "e1-5", None),
            (Some("e1-5"), "e1-6", None),
            (Some("e1-5"), "e1-5", Some("an id that goes back")),
            (Some("e1-5"), "e1-7", Some("an id that jumps")),
            (Some("e1-5"), "e2-6", Some("an id of another epoch")),
            (Some("abc"), "abd", None),
            (Some("abc"), "abc", Some("an id that came before")),
        ] {
            assert_eq!(wrong_id(last.map(Id::new).as_ref(), &Id::new(id)), wrong, "{last:?} {id}");
        }
    }
}
