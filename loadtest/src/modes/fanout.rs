//! Publishers send, every subscriber gets everything.

use std::ops::Range;
use std::sync::Arc;

use clap::Args;

use crate::account::Account;
use crate::arguments::{Common, Stop, positive};
use crate::clock::{Clock, Nanos, seconds};
use crate::fleet::{Behaviour, Fleet};
use crate::io::{Client, Dial, Ended, Io};
use crate::latency::Latencies;
use crate::modes::publishing::{Pace, Publishing};
use crate::modes::stages::{self, phase};
use crate::report::Report;
use crate::stamp::{PUBLISHERS_MAX, Stamper};
use crate::target::Target;
use crate::window::Window;

/// At more deliveries a second than this, not each one's latency is taken.
const SAMPLE_ALL_MAX: f64 = 100_000.0;
/// Then each 17th is: a number that has nothing in common with batches and subscribers.
const SAMPLED_EVERY: u32 = 17;
/// What is looked at of a message that comes in pieces, in bytes.
const KEPT_BYTES: usize = 4096;

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) common: Common,

    /// Subscribers
    #[arg(long, short = 'n', default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    subscribers: u32,

    /// Publishers: the first of the subscribers, unless there is a --publish-url
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=PUBLISHERS_MAX as i64))]
    publishers: u16,

    /// Messages a second, of all publishers together, sent when they are due whatever the server does (open loop);
    /// latency counts from when a message was due
    #[arg(long, value_name = "PER SECOND", value_parser = positive, conflicts_with = "outstanding")]
    rate: Option<f64>,

    /// Messages under way at a time: the next so many when everyone has the last (closed loop). Without --rate this is
    /// how it is done, with 1
    #[arg(long, short = 'w', value_name = "MESSAGES", value_parser = clap::value_parser!(u32).range(1..=65536))]
    outstanding: Option<u32>,

    /// Measured seconds
    #[arg(long, default_value_t = 10.0, value_parser = positive)]
    seconds: f64,

    /// Measured messages: ends when they are sent, or after --seconds
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    messages: Option<u64>,

    /// Bytes of a message, at least 28
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(28..=16 << 20))]
    size: u32,

    /// Deliveries to each subscriber before the measured ones
    #[arg(long, value_name = "MESSAGES", default_value_t = stages::WARM_DELIVERIES as u32)]
    warm_up: u32,

    /// Seconds between the last connection and the first message
    #[arg(long, value_name = "SECONDS", default_value_t = 0.3)]
    settle: f64,

    /// Seconds without any delivery after which what is under way counts as lost
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0, value_parser = positive)]
    patience: f64,

    /// Where publishers connect, on connections of their own: ws:// to send, http:// to POST
    #[arg(long, visible_alias = "publish", value_name = "URL", help_heading = "Protocol")]
    publish_url: Option<Target>,

    /// What a published text begins with, before the stamp: 42["message","
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true, help_heading = "Protocol")]
    prefix: String,

    /// What a published text ends with: "]
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true, help_heading = "Protocol")]
    suffix: String,

    /// Answer Engine.IO's pings (2) with pongs (3)
    #[arg(long, help_heading = "Protocol")]
    engine_io: bool,

    /// Take the latency of every K-th delivery; 0: of all up to 100,000 deliveries a second, else of every 17th
    #[arg(long, value_name = "K", default_value_t = 0, help_heading = "Report")]
    sample: u32,
}

/// One thread's subscribers; the first thread's has the publishers.
struct Fanout {
    dial: Arc<Dial>,
    /// The tags of this thread's subscribers.
    share: Range<u64>,
    stamper: Stamper,
    account: Account,
    latencies: Latencies,
    sample: u32,
    until_sample: u32,
    engine_io: bool,
    /// Of all threads.
    subscribers: u64,
    publishing: Option<Publishing>,
}

impl Arguments {
    pub(crate) fn run(&self) -> Result<Report, Stop> {
        let (common, subscribers) = (&self.common, u64::from(self.subscribers));
        let own = if self.publish_url.is_some() { u64::from(self.publishers) } else { 0 };
        let shares = common.shares(subscribers);
        if own == 0 && shares[0].end < u64::from(self.publishers) {
            return Err(Stop::Usage("more publishers than the first thread has subscribers".into()));
        }
        common.files(subscribers + own)?;
        let watched = common.watched()?;
        let clock = Clock::new();
        let run = stages::run_number()?;
        let behaviours = shares.into_iter().map(|share| self.behaviour(run, share)).collect();
        let mut setup = common.setup();
        setup.keep_bytes = KEPT_BYTES + self.prefix.len();
        let fleet = Fleet::start(clock, &setup, behaviours).map_err(Stop::Usage)?;
        let mut report = self.report();
        if !stages::connect_all(&fleet, common, subscribers + own) {
            return stages::refused(fleet, report, subscribers + own);
        }
        let before_settling = fleet.clock.now();
        fleet.wait(before_settling + seconds(self.settle), |counts, _| counts.ended > 0);
        if fleet.shared.counts().ended > 0 {
            // Let in and sent away before anything was asked for.
            return stages::refused(fleet, report, subscribers + own);
        }
        let patience = seconds(self.patience);
        fleet.set_phase(phase::WARM);
        let warm = u64::from(self.warm_up) * subscribers;
        if stages::drain(&fleet, None, patience, |_| warm) {
            let before = fleet.shared.counts();
            let mut window = Window::open(clock, watched.as_ref(), common.threads.into(), before.received);
            fleet.set_phase(phase::MEASURE);
            self.measure(&fleet, &mut window, patience);
            fleet.set_phase(phase::DRAIN);
            stages::drain(&fleet, Some(&mut window), patience, |counts| counts.sent * subscribers);
            let counts = fleet.shared.counts();
            window.close(counts.received, &mut report);
            report.expected = (counts.sent - before.sent) * subscribers;
            report.set("published", counts.sent - before.sent);
            report.set("others", counts.others);
        } else if !crate::interrupt::is_interrupted() {
            report.fail("the warm-up did not arrive everywhere", 1);
        }
        let (behaviours, failures) = fleet.stop().map_err(Stop::Usage)?;
        Ok(finish(report, behaviours).finish(&failures))
    }

    fn report(&self) -> Report {
        let mut report = Report::new("fanout", &self.common.url);
        report.subscribers = self.subscribers.into();
        report.set("publishers", self.publishers);
        match self.rate {
            Some(rate) => report.set("rate", rate),
            None => report.set("outstanding", self.outstanding()),
        }
        report.set("size", self.size);
        report.set("sampled_every", self.sample());
        report
    }

    fn outstanding(&self) -> u32 {
        self.outstanding.unwrap_or(1)
    }

    fn sample(&self) -> u32 {
        let is_few = self.rate.is_some_and(|rate| rate * f64::from(self.subscribers) <= SAMPLE_ALL_MAX);
        match self.sample {
            0 if is_few => 1,
            0 => SAMPLED_EVERY,
            sample => sample,
        }
    }

    /// Until the time is over, all messages are sent, or nothing comes any more that should.
    fn measure(&self, fleet: &Fleet<Fanout>, window: &mut Window, patience: Nanos) {
        let (mut last, mut since) = (0, fleet.clock.now());
        let (shared, clock) = (Arc::clone(&fleet.shared), fleet.clock);
        stages::measure(fleet, window, seconds(self.seconds), self.common.quiet, |received| {
            let (counts, now) = (shared.counts(), clock.now());
            let is_waiting = counts.sent * u64::from(self.subscribers) > received;
            if received != last || !is_waiting {
                (last, since) = (received, now);
            }
            counts.done > 0 || now.saturating_sub(since) > patience
        });
    }

    fn behaviour(&self, run: u16, share: Range<u64>) -> Fanout {
        let stamper = Stamper::new(run, self.size as usize, &self.prefix, &self.suffix);
        Fanout {
            dial: self.common.dial(),
            stamper,
            account: Account::new((share.end - share.start) as usize, self.publishers.into()),
            latencies: Latencies::new(0),
            sample: self.sample(),
            until_sample: self.sample(),
            engine_io: self.engine_io,
            subscribers: self.subscribers.into(),
            publishing: (share.start == 0).then(|| self.publishing()),
            share,
        }
    }

    fn publishing(&self) -> Publishing {
        let dial = self.publish_url.as_ref().map(|url| match url.scheme {
            "http" => Arc::new(Dial::http(url.clone(), &self.common.header)),
            _ => self.common.dial_to(url),
        });
        Publishing::new(
            dial,
            self.subscribers.into(),
            self.publishers.into(),
            Pace { rate: self.rate, outstanding: self.outstanding().into() },
            self.warm_up.into(),
            self.messages.unwrap_or(u64::MAX),
        )
    }
}

impl Behaviour for Fanout {
    fn phase(&mut self, phase: u32, io: &mut Io) {
        match phase {
            phase::CONNECT => self.share.clone().for_each(|tag| io.connect(&self.dial, tag as u32)),
            phase::MEASURE => self.latencies = Latencies::new(io.now),
            _ => {}
        }
        if let Some(publishing) = &mut self.publishing {
            publishing.phase(phase, io);
        }
    }

    fn opened(&mut self, client: Client, io: &mut Io) {
        if let Some(publishing) = &mut self.publishing {
            publishing.opened(client, io);
        }
    }

    fn message(&mut self, client: Client, payload: &[u8], io: &mut Io) {
        let subscriber = u64::from(client.tag).wrapping_sub(self.share.start);
        let Some(found) = self.stamper.find(payload) else {
            if self.engine_io && payload == b"2" {
                io.send_text(client, b"3");
            }
            io.counts.others += 1;
            return;
        };
        // What a publisher with a connection of its own hears is nobody's delivery.
        if u64::from(client.tag) >= self.share.end {
            return;
        }
        if self.account.deliver(subscriber as usize, found.publisher(), found.sequence()) {
            io.counts.received += 1;
            self.until_sample -= 1;
            if self.until_sample == 0 {
                self.until_sample = self.sample;
                self.latencies.record(io.now, found.time());
            }
        }
    }

    fn response(&mut self, client: Client, status: u16, _: &[u8], io: &mut Io) {
        if let Some(publishing) = &mut self.publishing {
            publishing.response(client, status, io);
        }
    }

    fn ended(&mut self, client: Client, ended: &Ended, _: bool, io: &mut Io) -> bool {
        self.publishing.as_mut().is_some_and(|publishing| publishing.ended(client, ended, io))
    }

    fn turn(&mut self, io: &mut Io) -> Option<Nanos> {
        match &mut self.publishing {
            Some(publishing) => publishing.turn(&self.stamper, io),
            None => {
                let counts = io.shared.counts();
                if counts.received >= counts.sent * self.subscribers {
                    // The publishers, or the end, may be waiting for this.
                    io.shared.wake(0);
                    io.shared.wake_stage();
                }
                None
            }
        }
    }
}

/// Adds up what the threads found.
fn finish(mut report: Report, behaviours: Vec<Fanout>) -> Report {
    let published: Vec<u32> =
        behaviours.iter().find_map(|fanout| fanout.publishing.as_ref()).map(Publishing::published).unwrap_or_default();
    let mut latencies: Option<Latencies> = None;
    for fanout in behaviours {
        report.lost += fanout.account.lost(&published);
        report.doubled += fanout.account.doubled;
        report.reordered += fanout.account.reordered;
        match &mut latencies {
            None => latencies = Some(fanout.latencies),
            Some(all) => all.add(fanout.latencies),
        }
    }
    if let Some(latencies) = latencies {
        report.latency_us = latencies.report();
        latencies.fill(&mut report.series);
    }
    report
}
