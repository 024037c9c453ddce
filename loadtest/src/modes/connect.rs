//! A storm of handshakes: connect, upgrade, close.

use std::sync::Arc;

use clap::Args;

use crate::arguments::{Common, Stop, positive};
use crate::clock::{Clock, Nanos, SECOND, seconds};
use crate::fleet::{Behaviour, Fleet};
use crate::io::{Client, Dial, Ended, Io};
use crate::latency::Latencies;
use crate::modes::stages::{self, phase};
use crate::report::Report;
use crate::schedule::Schedule;
use crate::window::Window;

/// Handshakes before the measured ones, per thread.
const WARM_HANDSHAKES: u64 = 200;
/// Handshakes that may be due and not done, per thread; their times are kept by tag.
const DUE_MAX: usize = 1 << 16;

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) common: Common,

    /// Handshakes a second (open loop; latency counts from when one was due). Without it: as fast as --concurrency allows
    #[arg(long, value_name = "PER SECOND", value_parser = positive)]
    rate: Option<f64>,

    /// Measured seconds
    #[arg(long, default_value_t = 5.0, value_parser = positive)]
    seconds: f64,

    /// Measured handshakes: ends when they are begun, or after --seconds
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    handshakes: Option<u64>,
}

struct Storm {
    dial: Arc<Dial>,
    /// This thread's part.
    rate: Option<f64>,
    concurrency: u64,
    most: u64,
    schedule: Schedule,
    phase: u32,
    /// Begun in this phase.
    begun: u64,
    under_way: u64,
    /// When each was due, by tag.
    due: Vec<Nanos>,
    next_tag: usize,
    latencies: Latencies,
}

impl Arguments {
    pub(crate) fn run(&self) -> Result<Report, Stop> {
        let (common, threads) = (&self.common, u64::from(self.common.threads));
        common.files(threads * u64::from(common.concurrency))?;
        let watched = common.watched()?;
        let clock = Clock::new();
        let shares = common.shares(self.handshakes.unwrap_or(u64::MAX / 128));
        let behaviours = shares.into_iter().map(|share| self.behaviour(share.end - share.start)).collect();
        let fleet = Fleet::start(clock, &common.setup(), behaviours).map_err(Stop::Usage)?;
        let mut report = Report::new("connect", &common.url);
        report.subscribers = threads * u64::from(common.concurrency);
        match self.rate {
            Some(rate) => report.set("rate", rate),
            None => report.set("concurrency", common.concurrency),
        }
        fleet.set_phase(phase::WARM);
        let limit = clock.now() + common.connect_limit(threads * WARM_HANDSHAKES);
        let is_over = |counts: &crate::io::Counts| counts.done == threads || counts.refused > 0;
        fleet.wait(limit, |counts, _| fleet.shared.is_seen() && is_over(counts));
        let warm = fleet.shared.counts();
        if warm.refused > 0 || warm.received == 0 {
            return stages::refused(fleet, report, threads * WARM_HANDSHAKES);
        }
        let mut window = Window::open(clock, watched.as_ref(), common.threads.into(), warm.received);
        fleet.set_phase(phase::MEASURE);
        let shared = Arc::clone(&fleet.shared);
        stages::measure(&fleet, &mut window, seconds(self.seconds), common.quiet, |_| {
            shared.counts().done >= 2 * threads
        });
        fleet.set_phase(phase::DRAIN);
        let patience = seconds(common.connect_wait) + SECOND;
        stages::drain(&fleet, Some(&mut window), patience, |counts| counts.sent - counts.refused);
        let counts = fleet.shared.counts();
        window.close(counts.received, &mut report);
        report.expected = counts.sent - warm.sent;
        report.lost = report.expected.saturating_sub(report.received);
        report.is_refused = counts.refused > 0;
        report.set("handshakes_per_second", report.deliveries_per_second);
        if let Some(server) = &report.server {
            report.set("cpu_us_per_handshake", server.cpu_us_per_delivery);
        }
        let (behaviours, failures) = fleet.stop().map_err(Stop::Usage)?;
        let all = behaviours.into_iter().map(|storm| storm.latencies).reduce(|mut all, more| {
            all.add(more);
            all
        });
        if let Some(latencies) = all {
            report.latency_us = latencies.report();
            latencies.fill(&mut report.series);
        }
        Ok(report.finish(&failures))
    }

    fn behaviour(&self, most: u64) -> Storm {
        Storm {
            dial: self.common.dial(),
            rate: self.rate.map(|rate| rate / f64::from(self.common.threads)),
            concurrency: self.common.concurrency.into(),
            most,
            schedule: Schedule::new(0, 1.0),
            phase: phase::CONNECT,
            begun: 0,
            under_way: 0,
            due: vec![0; DUE_MAX],
            next_tag: 0,
            latencies: Latencies::new(0),
        }
    }
}

impl Storm {
    fn begin(&mut self, due: Nanos, io: &mut Io) {
        self.due[self.next_tag] = due;
        io.connect(&self.dial, self.next_tag as u32);
        self.next_tag = (self.next_tag + 1) % DUE_MAX;
        self.begun += 1;
        self.under_way += 1;
        io.counts.sent += 1;
    }

    fn most(&self) -> u64 {
        if self.phase == phase::WARM { WARM_HANDSHAKES } else { self.most }
    }
}

impl Behaviour for Storm {
    fn phase(&mut self, phase: u32, io: &mut Io) {
        (self.phase, self.begun) = (phase, 0);
        self.schedule = Schedule::new(io.now, self.rate.unwrap_or(1.0));
        if phase == phase::MEASURE {
            self.latencies = Latencies::new(io.now);
        }
    }

    fn opened(&mut self, client: Client, io: &mut Io) {
        self.latencies.record(io.now, self.due[client.tag as usize]);
        self.under_way -= 1;
        io.counts.received += 1;
        io.close(client);
    }

    fn ended(&mut self, _: Client, _: &Ended, _: bool, _: &mut Io) -> bool {
        self.under_way -= 1;
        false
    }

    fn turn(&mut self, io: &mut Io) -> Option<Nanos> {
        let is_open_loop = self.phase == phase::MEASURE && self.rate.is_some();
        if !matches!(self.phase, phase::WARM | phase::MEASURE) {
            return None;
        }
        while self.begun < self.most() && self.under_way < DUE_MAX as u64 {
            let due = match is_open_loop {
                true => self.schedule.take(io.now),
                false => (self.under_way < self.concurrency).then_some(io.now),
            };
            let Some(due) = due else { break };
            self.begin(due, io);
        }
        if self.begun >= self.most() && self.under_way == 0 {
            // 1: warm; 2: all that were asked for.
            io.counts.done = u64::from(self.phase);
            io.shared.wake_stage();
            return None;
        }
        is_open_loop.then(|| self.schedule.next())
    }
}
