//! Connections that do nothing: what each costs the server in memory, and all of them in CPU and wake-ups.

use std::ops::Range;
use std::sync::Arc;

use clap::Args;

use crate::arguments::{Common, Stop, positive};
use crate::clock::{Clock, seconds};
use crate::fleet::{Behaviour, Fleet};
use crate::io::{Client, Dial, Io};
use crate::modes::stages::{self, phase};
use crate::report::Report;
use crate::window::Window;

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) common: Common,

    /// Connections
    #[arg(long, short = 'n', default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,

    /// Connections that open and stay before memory is read the first time: the server's one-off costs are theirs
    #[arg(long, default_value_t = 20)]
    first: u32,

    /// Idle seconds that are measured
    #[arg(long, default_value_t = 10.0, value_parser = positive)]
    seconds: f64,

    /// Seconds between the last connection and the measured ones
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    settle: f64,
}

struct Idle {
    dial: Arc<Dial>,
    /// Of those that come first, and of the others.
    first: Range<u64>,
    share: Range<u64>,
}

impl Arguments {
    pub(crate) fn run(&self) -> Result<Report, Stop> {
        let (common, count, first) = (&self.common, u64::from(self.connections), u64::from(self.first));
        common.files(first + count)?;
        let Some(watched) = common.watched()? else {
            return Err(Stop::Usage("idle looks at the server's process: name it by --pid, or --pid auto".into()));
        };
        let clock = Clock::new();
        let shares = common.shares(first).into_iter().zip(common.shares(count));
        let behaviours = shares.map(|(first, share)| Idle { dial: common.dial(), first, share }).collect();
        let fleet = Fleet::start(clock, &common.setup(), behaviours).map_err(Stop::Usage)?;
        let mut report = Report::new("idle", &common.url);
        report.subscribers = count;
        let settle = || fleet.wait(clock.now() + seconds(self.settle), |_, _| false);
        if !stages::connect_all(&fleet, common, first) {
            return stages::refused(fleet, report, first);
        }
        settle();
        let empty = watched.usage();
        fleet.set_phase(phase::WARM);
        if !stages::connect_all(&fleet, common, first + count) {
            return stages::refused(fleet, report, first + count);
        }
        settle();
        let full = watched.usage();
        let before = fleet.shared.counts();
        let mut window = Window::open(clock, Some(&watched), common.threads.into(), before.received);
        stages::measure(&fleet, &mut window, seconds(self.seconds), common.quiet, |_| false);
        window.close(fleet.shared.counts().received, &mut report);
        let growth = full.rss_bytes.saturating_sub(empty.rss_bytes);
        report.set("rss_bytes_growth", growth);
        report.set("rss_bytes_per_connection", growth as f64 / count as f64);
        report.set("connect_cpu_us", (full.cpu_nanos - empty.cpu_nanos) as f64 / 1000.0 / count as f64);
        if let Some(server) = &report.server {
            let (sleeps, cpu) = (server.sleeps, server.cpu_seconds);
            report.set("wake_ups", sleeps);
            report.set("wake_ups_per_second", sleeps as f64 / report.seconds);
            report.set("idle_cpu_ms_per_second", cpu * 1000.0 / report.seconds);
        }
        // Whatever the server said by itself (pings are not messages).
        report.set("messages", report.received);
        let (_, failures) = fleet.stop().map_err(Stop::Usage)?;
        Ok(report.finish(&failures))
    }
}

impl Behaviour for Idle {
    fn phase(&mut self, phase: u32, io: &mut Io) {
        match phase {
            phase::CONNECT => self.first.clone().for_each(|tag| io.connect(&self.dial, tag as u32)),
            phase::WARM => self.share.clone().for_each(|tag| io.connect(&self.dial, tag as u32)),
            _ => {}
        }
    }

    fn opened(&mut self, _: Client, _: &mut Io) {}

    fn message(&mut self, _: Client, _: &[u8], io: &mut Io) {
        io.counts.received += 1;
    }
}
