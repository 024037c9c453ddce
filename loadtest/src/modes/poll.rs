//! Clients that poll: by long-polls that wait for the next change, or plainly, with an ETag.

mod client;
pub(crate) mod position;
pub(crate) mod poster;

use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};

use self::client::{FINISH, Findings, Manner, Polled, Polls};
use self::poster::{Pace, Pacer, Poster};
use crate::arguments::{Common, Stop, positive};
use crate::clock::{Clock, seconds};
use crate::fleet::Fleet;
use crate::io::Dial;
use crate::modes::stages::{self, WARM_DELIVERIES, phase};
use crate::report::Report;
use crate::target::Target;
use crate::window::Window;

#[derive(Args, Debug)]
#[command(after_help = "\
Each client asks for `?wait=..&since=..` again and again, while one publisher POSTs. Each change must come to each client, or \
be covered by a later position; an answer must have all that was acknowledged before it was asked for. \
With --plain they ask for the state, with If-None-Match once they know it: 304 if and only if it is the same.

Examples:
  tallycast-loadtest poll http://127.0.0.1:5000/c/news -n 1000 --rate 10 --pid auto
  tallycast-loadtest poll http://127.0.0.1:5000/c/poll/lunch -n 100 --plain --every 1 --body 1")]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) common: Common,

    /// Clients
    #[arg(long, short = 'n', default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    clients: u32,

    /// Changes a second
    #[arg(long, default_value_t = 10.0, value_parser = positive)]
    rate: f64,

    /// What is POSTed: a text for a group or a feed, an option's id for a vote
    #[arg(long, value_name = "TEXT", default_value = "a change of 32 bytes, as it stands")]
    body: String,

    /// Where to publish, if not at the same URL
    #[arg(long, value_name = "URL")]
    publish_url: Option<Target>,

    /// Seconds that a long-poll waits at most
    #[arg(long, value_name = "SECONDS", default_value_t = 20.0, value_parser = positive)]
    wait: f64,

    /// Poll plainly, with an ETag
    #[arg(long, conflicts_with = "wait")]
    plain: bool,

    /// With --plain: seconds from one request of a client to its next; without it, at once
    #[arg(long, value_name = "SECONDS", requires = "plain", value_parser = positive)]
    every: Option<f64>,

    /// Measured seconds
    #[arg(long, default_value_t = 10.0, value_parser = positive)]
    seconds: f64,

    /// Seconds that the warm-up may take, which ends after 20 answers to each
    #[arg(long, value_name = "SECONDS", default_value_t = 3.0, value_parser = positive)]
    warm_seconds: f64,

    /// Seconds that the last change may take to be known to all
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0, value_parser = positive)]
    patience: f64,
}

impl Arguments {
    pub(crate) fn run(&self) -> Result<Report, Stop> {
        let (common, count) = (&self.common, u64::from(self.clients));
        common.files(count + 1)?;
        let watched = common.watched()?;
        let clock = Clock::new();
        let polled = Arc::new(Polled::default());
        let fleet = Fleet::start(clock, &common.setup(), self.polls(&polled)).map_err(Stop::Usage)?;
        let mut report = Report::new("poll", &common.url);
        report.subscribers = count;
        report.set("rate", self.rate);
        report.set("plain", self.plain);
        if !stages::connect_all(&fleet, common, count + 1) {
            return stages::refused(fleet, report, count + 1);
        }
        fleet.set_phase(phase::WARM);
        // `others` are the answers; received are the changes that they bring.
        fleet.wait(clock.now() + seconds(self.warm_seconds), |counts, _| counts.others >= count * WARM_DELIVERIES);
        let before = fleet.shared.counts();
        let mut window = Window::open(clock, watched.as_ref(), common.threads.into(), before.received);
        fleet.set_phase(phase::MEASURE);
        stages::measure(&fleet, &mut window, seconds(self.seconds), common.quiet, |_| false);
        let after = fleet.shared.counts();
        window.close(after.received, &mut report);
        fleet.set_phase(phase::DRAIN);
        let answered = fleet
            .wait_through(clock.now() + seconds(self.patience), |_, _| fleet.shared.is_seen() && polled.is_final());
        fleet.set_phase(FINISH);
        fleet
            .wait_through(clock.now() + seconds(self.patience), |counts, _| counts.done >= count || counts.others == 0);
        let requests = after.others - before.others;
        report.set("requests", requests);
        report.set("requests_per_second", requests as f64 / report.seconds);
        report.set("changes", after.sent - before.sent);
        if let Some(server) = &report.server {
            let each = server.cpu_seconds * 1e6 / requests.max(1) as f64;
            report.own.insert("cpu_us_per_request".into(), each.into());
        }
        if !answered {
            report.fail("publications that were never answered", 1);
        }
        let (polls, failures) = fleet.stop().map_err(Stop::Usage)?;
        let mut found = Findings::default();
        polls.into_iter().for_each(|polls| found.add(polls.finish(&polled)));
        self.fill(&mut report, found);
        Ok(report.finish(&failures))
    }

    fn fill(&self, report: &mut Report, found: Findings) {
        report.expected = found.expected;
        report.received = found.expected - found.lost;
        report.lost = found.lost;
        if let Some(latencies) = found.latencies {
            report.latency_us = latencies.report();
            latencies.fill(&mut report.series);
        }
        report.set("snapshots", found.snapshots);
        report.is_refused = found.answered == 0 && !crate::interrupt::is_interrupted();
        if self.plain {
            report.set("not_modified", found.not_modified);
            report.notes.push("the latency is that of requests, each from when it was due".into());
        } else if let Some(latencies) = found.requests {
            report.set("request_us", latencies.report().map_or(Value::Null, |latency| json!(latency)));
        }
    }

    fn polls(&self, polled: &Arc<Polled>) -> Vec<Polls> {
        let common = &self.common;
        let publish = self.publish_url.as_ref().unwrap_or(&common.url).clone();
        let shares = common.shares(self.clients.into()).into_iter().enumerate();
        let manner = match self.plain {
            true => Manner::Plain { every: self.every.map(seconds) },
            false => Manner::Long { wait: self.wait },
        };
        let polls = shares.map(|(thread, share)| {
            let poster =
                || Poster::new(Arc::new(Dial::http(publish.clone(), &common.header)), "text/plain; charset=utf-8");
            // The rate alone decides: nothing is received by count.
            let pacer = Pacer::new(Pace::Rate(self.rate), 1);
            let dial = Arc::new(Dial::raw(common.url.clone(), &common.header));
            let poster = (thread == 0).then(poster).map(|poster| (poster, pacer, self.body.clone()));
            Polls::new(Arc::clone(polled), manner, dial, (share.end - share.start) as usize, poster)
        });
        polls.collect()
    }
}
