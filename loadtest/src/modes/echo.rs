//! Each client sends messages and waits for them to come back.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use clap::Args;

use crate::account::Account;
use crate::arguments::{Common, Stop, positive};
use crate::clock::{Clock, seconds};
use crate::fleet::{Behaviour, Fleet};
use crate::io::{Client, Dial, Ended, Io};
use crate::latency::Latencies;
use crate::modes::stages::{self, WARM_DELIVERIES, phase};
use crate::report::Report;
use crate::stamp::{PUBLISHERS_MAX, Stamp, Stamper};
use crate::window::Window;

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) common: Common,

    /// Clients
    #[arg(long, short = 'n', default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    clients: u32,

    /// Messages of each client that are under way at a time
    #[arg(long, short = 'w', value_name = "MESSAGES", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    outstanding: u32,

    /// Measured seconds
    #[arg(long, default_value_t = 10.0, value_parser = positive)]
    seconds: f64,

    /// Bytes of a message, at least 28
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(28..))]
    size: u32,

    /// Seconds without any answer after which what is under way counts as lost
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0, value_parser = positive)]
    patience: f64,
}

/// One thread's clients.
struct Echo {
    dial: Arc<Dial>,
    /// The tags of this thread's clients.
    share: Range<u64>,
    outstanding: u32,
    stamper: Stamper,
    phase: u32,
    /// By number within the share.
    clients: Vec<Option<Client>>,
    sent: Vec<u32>,
    account: Account,
    latencies: Latencies,
    text: Vec<u8>,
}

impl Arguments {
    pub(crate) fn run(&self) -> Result<Report, Stop> {
        let (common, count) = (&self.common, u64::from(self.clients));
        common.files(count)?;
        let watched = common.watched()?;
        let clock = Clock::new();
        let run = stages::run_number()?;
        let behaviours = common.shares(count).into_iter().map(|share| self.behaviour(run, share)).collect();
        let fleet = Fleet::start(clock, &common.setup(), behaviours).map_err(Stop::Usage)?;
        let mut report = Report::new("echo", &common.url);
        report.subscribers = count;
        report.set("outstanding", self.outstanding);
        report.set("size", self.size);
        if !stages::connect_all(&fleet, common, count) {
            return stages::refused(fleet, report, count);
        }
        let patience = seconds(self.patience);
        fleet.set_phase(phase::WARM);
        let warm = count * WARM_DELIVERIES.next_multiple_of(self.outstanding.into());
        if stages::drain(&fleet, None, patience, |_| warm) {
            let before = fleet.shared.counts();
            let mut window = Window::open(clock, watched.as_ref(), common.threads.into(), before.received);
            fleet.set_phase(phase::MEASURE);
            stages::measure(&fleet, &mut window, seconds(self.seconds), common.quiet, |_| false);
            fleet.set_phase(phase::DRAIN);
            stages::drain(&fleet, Some(&mut window), patience, |counts| counts.sent);
            let counts = fleet.shared.counts();
            window.close(counts.received, &mut report);
            report.expected = counts.sent - before.sent;
        }
        let (behaviours, failures) = fleet.stop().map_err(Stop::Usage)?;
        finish(report, behaviours, &failures)
    }

    fn behaviour(&self, run: u16, share: Range<u64>) -> Echo {
        let clients = (share.end - share.start) as usize;
        Echo {
            dial: self.common.dial(),
            share,
            outstanding: self.outstanding,
            stamper: Stamper::new(run, self.size as usize, "", ""),
            phase: phase::CONNECT,
            clients: vec![None; clients],
            sent: vec![0; clients],
            account: Account::new(clients, 1),
            latencies: Latencies::new(0),
            text: vec![],
        }
    }
}

impl Echo {
    fn index(&self, client: Client) -> usize {
        (u64::from(client.tag) - self.share.start) as usize
    }

    fn send(&mut self, index: usize, io: &mut Io) {
        let Some(client) = self.clients[index] else { return };
        self.text.clear();
        let publisher = (client.tag as usize % PUBLISHERS_MAX) as u16;
        let stamp = Stamp { publisher, sequence: self.sent[index], time: io.clock.now() };
        self.stamper.write(&mut self.text, stamp);
        self.sent[index] += 1;
        io.counts.sent += 1;
        io.send_text(client, &self.text);
    }

    /// In the warm-up, each client has its share and stops; then it goes on until it is told.
    fn may_send(&self, index: usize) -> bool {
        match self.phase {
            phase::WARM => u64::from(self.sent[index]) < WARM_DELIVERIES.next_multiple_of(self.outstanding.into()),
            phase::MEASURE => true,
            _ => false,
        }
    }
}

impl Behaviour for Echo {
    fn phase(&mut self, phase: u32, io: &mut Io) {
        self.phase = phase;
        match phase {
            phase::CONNECT => self.share.clone().for_each(|tag| io.connect(&self.dial, tag as u32)),
            phase::WARM | phase::MEASURE => {
                self.latencies = Latencies::new(io.now);
                for index in 0..self.clients.len() {
                    (0..self.outstanding).for_each(|_| self.send(index, io));
                }
            }
            _ => {}
        }
    }

    fn opened(&mut self, client: Client, _: &mut Io) {
        let index = self.index(client);
        self.clients[index] = Some(client);
    }

    fn message(&mut self, client: Client, payload: &[u8], io: &mut Io) {
        let index = self.index(client);
        let found = self.stamper.find(payload);
        let Some(found) = found.filter(|found| found.publisher() == client.tag as usize % PUBLISHERS_MAX) else {
            io.counts.others += 1;
            return;
        };
        if self.account.deliver(index, 0, found.sequence()) {
            io.counts.received += 1;
            self.latencies.record(io.now, found.time());
            if self.may_send(index) {
                self.send(index, io);
            }
        }
    }

    fn ended(&mut self, client: Client, _: &Ended, _: bool, _: &mut Io) -> bool {
        let index = self.index(client);
        self.clients[index] = None;
        false
    }
}

fn finish(mut report: Report, behaviours: Vec<Echo>, failures: &BTreeMap<String, u64>) -> Result<Report, Stop> {
    let mut latencies: Option<Latencies> = None;
    for echo in behaviours {
        // One account per thread, in which each client is the only one of its messages' listeners.
        let sent: u64 = echo.sent.iter().map(|sent| u64::from(*sent)).sum();
        report.lost += sent - echo.account.received;
        report.doubled += echo.account.doubled;
        report.reordered += echo.account.reordered;
        match &mut latencies {
            None => latencies = Some(echo.latencies),
            Some(all) => all.add(echo.latencies),
        }
    }
    if let Some(latencies) = latencies {
        report.latency_us = latencies.report();
        latencies.fill(&mut report.series);
    }
    Ok(report.finish(failures))
}
