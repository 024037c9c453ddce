//! Subscribers that never read, beside others that do: what the others notice, what the server keeps, and what those get
//! who wake up at last.

mod sleeper;
mod threads;

use std::collections::BTreeMap;
use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};

use self::threads::{Ground, LAST, MEASURE_ALONE, REST, STUCK, Subscribers, WAKE};
use super::poll::poster::Pace;
use crate::arguments::{Common, Stop, positive};
use crate::clock::{Clock, SECOND, seconds};
use crate::fleet::Fleet;
use crate::io::{Counts, Dial};
use crate::latency::Latencies;
use crate::modes::stages::{self, WARM_DELIVERIES, phase};
use crate::report::Report;
use crate::target::Target;
use crate::window::Window;

#[derive(Args, Debug)]
#[command(after_help = "\
First the subscribers that read are measured alone. Then as many others come as --stuck says, which read nothing behind their \
handshake, and the same is measured beside them: that is the report's own figure; `alone` has the first. The kernels' own \
buffers take some 100 KB of each before the server notices. At last the stuck ones read all that is there for them, and one more message is published: who was not closed must get it. \
With --gap, messages may be missing only behind such a notice: a silent gap is a failure.

Examples:
  tallycast-loadtest slow ws://127.0.0.1:9100/bench -n 500 --stuck 20 --pid auto
  tallycast-loadtest slow ws://127.0.0.1:9100/bench -n 500 --stuck 20 --rate 100 --gap '\"gap\"'")]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) common: Common,

    /// Subscribers that read
    #[arg(long, short = 'n', default_value_t = 480, value_parser = clap::value_parser!(u32).range(1..))]
    subscribers: u32,

    /// Subscribers that do not
    #[arg(long, short = 'k', default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    stuck: u32,

    /// Where the publisher connects, if not at the same URL
    #[arg(long, value_name = "URL")]
    publish_url: Option<Target>,

    /// Messages a second; without it, as fast as those who read take them
    #[arg(long, value_parser = positive)]
    rate: Option<f64>,

    /// Without a rate: messages under way at a time
    #[arg(long, short = 'w', default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..), conflicts_with = "rate")]
    outstanding: u32,

    /// Bytes of a message, at least 28
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(28..))]
    size: u32,

    /// Speak Tallycast's own dialect: a message is {"text":".."}
    #[arg(long, conflicts_with_all = ["prefix", "suffix"])]
    own: bool,

    /// Text before each message
    #[arg(long, value_name = "TEXT", default_value = "")]
    prefix: String,

    /// Text behind each message
    #[arg(long, value_name = "TEXT", default_value = "")]
    suffix: String,

    /// What a message contains that says: here something is missing
    #[arg(long, value_name = "TEXT")]
    gap: Option<String>,

    /// Measured seconds, alone and again beside the stuck ones
    #[arg(long, default_value_t = 5.0, value_parser = positive)]
    seconds: f64,

    /// Seconds without any delivery after which what is under way counts as lost
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0, value_parser = positive)]
    patience: f64,

    /// Seconds without anything after which those who woke have got all there is
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = positive)]
    quiet_wait: f64,
}

impl Arguments {
    pub(crate) fn run(&self) -> Result<Report, Stop> {
        let (common, normal, stuck) = (&self.common, u64::from(self.subscribers), u64::from(self.stuck));
        common.files(normal + stuck + 1)?;
        let watched = common.watched()?;
        let clock = Clock::new();
        let fleet = Fleet::start(clock, &common.setup(), self.threads()?).map_err(Stop::Usage)?;
        let mut report = Report::new("slow", &common.url);
        report.subscribers = normal;
        report.set("stuck", stuck);
        report.set("size", self.size);
        match self.rate {
            Some(rate) => report.set("rate", rate),
            None => report.set("outstanding", self.outstanding),
        }
        if !stages::connect_all(&fleet, common, normal + 1) {
            return stages::refused(fleet, report, normal + 1);
        }
        let patience = seconds(self.patience);
        let all = |counts: &Counts| counts.sent * normal;
        fleet.set_phase(phase::WARM);
        fleet.wait(clock.now() + 5 * SECOND, |counts, _| counts.received >= normal * WARM_DELIVERIES);
        fleet.set_phase(REST);
        stages::drain(&fleet, None, patience, all);
        let stretch = |report: &mut Report, measure: u32| {
            let before = fleet.shared.counts();
            let mut window = Window::open(clock, watched.as_ref(), common.threads.into(), before.received);
            fleet.set_phase(measure);
            stages::measure(&fleet, &mut window, seconds(self.seconds), common.quiet, |_| false);
            fleet.set_phase(REST);
            stages::drain(&fleet, Some(&mut window), patience, all);
            let after = fleet.shared.counts();
            window.close(after.received, report);
            report.expected = (after.sent - before.sent) * normal;
        };
        let mut alone = Report::new("slow", &common.url);
        stretch(&mut alone, MEASURE_ALONE);
        fleet.set_phase(STUCK);
        let all_in = |counts: &Counts| counts.opened + counts.refused > normal + stuck;
        if fleet.wait(clock.now() + common.connect_limit(stuck), |counts, _| all_in(counts)) {
            stretch(&mut report, phase::MEASURE);
            fleet.set_phase(WAKE);
            self.until_quiet(&fleet);
            fleet.set_phase(LAST);
            self.until_quiet(&fleet);
        } else if !crate::interrupt::is_interrupted() {
            return stages::refused(fleet, report, normal + stuck + 1);
        }
        if let Some(watched) = &watched {
            report.set("rss_bytes_after_waking", watched.rss_bytes());
        }
        let published = fleet.shared.counts().sent as u32;
        let (threads, failures) = fleet.stop().map_err(Stop::Usage)?;
        Ok(self.account(report, alone, published, threads, &failures))
    }

    /// Waits until nothing has come for a while to those who woke, or all of them have got the last message or are gone.
    fn until_quiet(&self, fleet: &Fleet<Subscribers>) {
        let (mut last, mut since) = (0, fleet.clock.now());
        fleet.wait_through(since + 60 * SECOND, |counts, now| {
            // `done` counts what comes to those who woke.
            if counts.done != last || !fleet.shared.is_seen() {
                (last, since) = (counts.done, now);
            }
            now - since > seconds(self.quiet_wait)
        });
    }

    fn threads(&self) -> Result<Vec<Subscribers>, Stop> {
        let common = &self.common;
        let run = stages::run_number()?;
        let publish: Arc<Dial> = self.publish_url.as_ref().map_or_else(|| common.dial(), |url| common.dial_to(url));
        let around = match self.own {
            true => ("{\"text\":\"", "\"}"),
            false => (self.prefix.as_str(), self.suffix.as_str()),
        };
        let stuck = common.shares(self.stuck.into());
        let shares = common.shares(self.subscribers.into()).into_iter().zip(stuck).enumerate();
        let count = |share: &std::ops::Range<u64>| (share.end - share.start) as usize;
        let threads = shares.map(|(thread, (normal, stuck))| {
            let ground = Ground {
                run,
                size: self.size as usize,
                around,
                pace: self.rate.map_or(Pace::Outstanding(self.outstanding.into()), Pace::Rate),
                receivers: self.subscribers.into(),
                gap: self.gap.as_deref(),
            };
            let publisher = (thread == 0).then(|| Arc::clone(&publish));
            Subscribers::new(&ground, common.dial(), publisher, count(&normal), count(&stuck))
        });
        Ok(threads.collect())
    }

    fn account(
        &self,
        mut report: Report,
        mut alone: Report,
        published: u32,
        threads: Vec<Subscribers>,
        failures: &BTreeMap<String, u64>,
    ) -> Report {
        let (mut first, mut second): (Option<Latencies>, Option<Latencies>) = (None, None);
        let mut sleepers = Vec::new();
        for thread in threads {
            report.lost += thread.account.lost(&[published]);
            report.doubled += thread.account.doubled;
            report.reordered += thread.account.reordered;
            sleepers.extend(thread.sleepers);
            let [one, two] = thread.latencies;
            for (all, latencies) in [(&mut first, one), (&mut second, two)] {
                match all {
                    None => *all = Some(latencies),
                    Some(all) => all.add(latencies),
                }
            }
        }
        for (latencies, report) in [(first, &mut alone), (second, &mut report)] {
            if let Some(latencies) = latencies {
                report.latency_us = latencies.report();
                latencies.fill(&mut report.series);
            }
        }
        report.set(
            "alone",
            json!({
                "seconds": alone.seconds,
                "expected": alone.expected,
                "received": alone.received,
                "deliveries_per_second": alone.deliveries_per_second,
                "latency_us": alone.latency_us,
                "server": alone.server,
            }),
        );
        if let (Some(alone), Some(beside)) = (&alone.latency_us, &report.latency_us) {
            report.own.insert("p99_beside_to_alone".into(), Value::from(beside.p99 / alone.p99.max(0.001)));
        }
        if let Some(server) = &report.server {
            let grown = server.rss_bytes_peak.saturating_sub(server.rss_bytes_before) / u64::from(self.stuck);
            report.own.insert("rss_bytes_per_stuck".into(), grown.into());
        }
        let woken = sleeper::Woken::of(&sleepers, published);
        report.set("woken", json!(woken));
        if woken.doubled > 0 {
            report.fail("doubled at those who woke", woken.doubled);
        }
        if self.gap.is_some() && woken.silent_gaps > 0 {
            report.fail("silent gaps at those who woke", woken.silent_gaps);
        }
        if woken.deaf > 0 {
            report.fail("neither closed nor given the last message when they woke", woken.deaf);
        }
        if report.reordered > 0 {
            report.fail("out of order", report.reordered);
        }
        report.finish(failures)
    }
}
