//! Voters, and listeners who must end on the true totals.

mod ballot;
mod tally;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value, json};

use self::ballot::{Booth, Poll, Role};
use self::tally::{Told, told};
use crate::arguments::{Common, Stop, positive};
use crate::clock::{Clock, MILLISECOND, SECOND, seconds};
use crate::fleet::Fleet;
use crate::io::Dial;
use crate::latency::Latencies;
use crate::modes::stages::{self, phase};
use crate::report::Report;
use crate::target::Target;
use crate::window::Window;

/// Listeners are told the counts that there were within this time of joining, in nanoseconds, if at all.
const SETTLE_NANOS: u64 = 300 * MILLISECOND;
/// A request for the totals may take so long.
const TOTALS_WAIT: Duration = Duration::from_secs(10);

#[derive(Args, Debug)]
#[command(after_help = "\
Voters send options' ids, listeners are told tallies or each single vote; at the end each of them must know the true \
totals: those from before and all votes sent. Understood are {\"1\":3,\"2\":0}, the same under the key `counts`, a snapshot's \
`state.options`, and steps {\"cid\":\"1\",\"count\":3}. The totals from before are asked for at --totals-url, or else what the \
listeners are told on joining, or else what the first steps say, or else zero.

Without --rate the voters are as fast as they may: with --outstanding votes that no listener has seen counted yet. \
The latency is that of the newest vote in a tally; where voters come in many threads, within the time of one turn.

Examples:
  tallycast-loadtest vote ws://127.0.0.1:9100/vote --voters 200 --pid auto
  tallycast-loadtest vote ws://127.0.0.1:9100/steps --voters 10 --listeners 1000 --rate 100
  tallycast-loadtest vote ws://127.0.0.1:5000/c/poll/lunch --options 1,2,3 --own --totals-url http://127.0.0.1:5000/c/poll/lunch")]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) common: Common,

    /// Connections that vote
    #[arg(long, short = 'n', default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    voters: u32,

    /// Connections that listen
    #[arg(long, short = 'l', default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    listeners: u32,

    /// Where they listen, if not at the voters' URL
    #[arg(long, value_name = "URL")]
    listen_url: Option<Target>,

    /// What can be voted for
    #[arg(long, value_name = "ID", value_delimiter = ',', default_value = "1,2,3,4")]
    options: Vec<String>,

    /// Votes a second, all together; without it, as fast as they are counted
    #[arg(long, value_parser = positive)]
    rate: Option<f64>,

    /// Without a rate: votes that are not known to be counted yet
    #[arg(long, short = 'w', value_name = "VOTES", default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "rate")]
    outstanding: u64,

    /// Votes of one write
    #[arg(long, short = 'p', value_name = "VOTES", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pipeline: u32,

    /// Speak Tallycast's own dialect: a vote is {"choice":"1"}, and each is answered
    #[arg(long)]
    own: bool,

    /// Where a GET tells the totals, before and after
    #[arg(long, value_name = "URL")]
    totals_url: Option<Target>,

    /// Measured seconds
    #[arg(long, default_value_t = 10.0, value_parser = positive)]
    seconds: f64,

    /// Seconds of voting before that
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0, value_parser = positive)]
    warm_seconds: f64,

    /// Seconds that the last totals may take
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0, value_parser = positive)]
    patience: f64,
}

impl Arguments {
    pub(crate) fn run(&self) -> Result<Report, Stop> {
        if self.options.iter().any(String::is_empty) {
            return Err(Stop::Usage("--options are ids, separated by commas".into()));
        }
        let common = &self.common;
        let (voters, listeners) = (u64::from(self.voters), u64::from(self.listeners));
        let count = voters + listeners;
        common.files(count)?;
        let watched = common.watched()?;
        let asked = self.totals()?;
        let poll = Arc::new(Poll::new(self.options.clone(), asked.clone()));
        let clock = Clock::new();
        let fleet = Fleet::start(clock, &common.setup(), self.booths(&poll)).map_err(Stop::Usage)?;
        let mut report = Report::new("vote", &common.url);
        report.subscribers = listeners;
        report.set("voters", voters);
        report.set("pipeline", self.pipeline);
        if !stages::connect_all(&fleet, common, count) {
            return stages::refused(fleet, report, count);
        }
        fleet.wait(clock.now() + SETTLE_NANOS, |_, _| false);
        let threads = common.threads.into();
        fleet.set_phase(phase::WARM);
        fleet.wait(clock.now() + seconds(self.warm_seconds), |_, _| false);
        let before = poll.progress();
        let mut window = Window::open(clock, watched.as_ref(), threads, before.counted);
        fleet.set_phase(phase::MEASURE);
        let begin = clock.now();
        fleet.wait(begin + seconds(self.seconds), |_, now| {
            window.look(poll.progress().counted, now);
            false
        });
        // The window is over before the last votes are counted: it has as many as were counted in it.
        let after = poll.progress();
        window.close(after.counted, &mut report);
        fleet.set_phase(phase::DRAIN);
        let seen = fleet.wait_through(clock.now() + 10 * SECOND, |_, _| fleet.shared.is_seen());
        poll.close(seen);
        fleet.set_phase(ballot::JUDGE);
        fleet.wait_through(clock.now() + seconds(self.patience), |counts, _| counts.done >= listeners);
        // Whoever counts too much may do so now.
        fleet.wait_through(clock.now() + SETTLE_NANOS, |_, _| false);
        let (booths, failures) = fleet.stop().map_err(Stop::Usage)?;
        let truth = self.totals()?;
        Ok(self.judge(report, &poll, booths, truth, &failures))
    }

    fn booths(&self, poll: &Arc<Poll>) -> Vec<Booth> {
        let (voters, all) = (u64::from(self.voters), u64::from(self.voters) + u64::from(self.listeners));
        let vote: Arc<Dial> = self.common.dial();
        let listen = self.listen_url.as_ref().map_or_else(|| Arc::clone(&vote), |url| self.common.dial_to(url));
        let threads = u64::from(self.common.threads);
        let roles = (0..threads).map(|thread| {
            // Every thread has its part of both.
            let numbers = (thread..all).step_by(threads as usize);
            numbers.map(|number| if number < voters { Role::Voter } else { Role::Listener }).collect::<Vec<_>>()
        });
        let messages: Vec<String> = match self.own {
            true => self.options.iter().map(|option| json!({ "choice": option }).to_string()).collect(),
            false => self.options.clone(),
        };
        roles
            .map(|roles| {
                let share = roles.iter().filter(|role| **role == Role::Voter).count() as f64 / voters as f64;
                let rate = self.rate.map(|rate| rate * share);
                let pace = ballot::Pace { rate, outstanding: self.outstanding, pipeline: self.pipeline as usize };
                Booth::new(Arc::clone(poll), pace, roles, Arc::clone(&vote), Arc::clone(&listen), messages.clone())
            })
            .collect()
    }

    /// Judges every listener by the votes that were sent.
    fn judge(
        &self,
        mut report: Report,
        poll: &Poll,
        booths: Vec<Booth>,
        truth: Option<Vec<u64>>,
        failures: &BTreeMap<String, u64>,
    ) -> Report {
        let sent = poll.sent();
        let mut latencies: Option<Latencies> = None;
        let (mut right, mut last_total, mut tallies, mut steps) = (0, 0, 0, 0);
        let (last_vote, mut backward) = (poll.last_vote(), 0);
        report.expected = sent.iter().sum();
        report.received = report.expected;
        for booth in booths {
            for listener in &booth.listeners {
                let standing = &listener.standing;
                let is_right = poll.is_right(standing);
                right += u64::from(is_right);
                last_total = last_total.max(if is_right { listener.changed } else { 0 });
                backward += standing.backward;
                report.received = report.received.min(poll.votes_known(standing));
                // Of steps alone, there must be one for each vote.
                let alone = standing.steps > 0 && !standing.has_tally;
                report.lost += if alone { report.expected.saturating_sub(standing.steps) } else { standing.lost };
                report.doubled += standing.doubled;
            }
            (tallies, steps) = (tallies + booth.tallies, steps + booth.steps);
            match &mut latencies {
                None => latencies = Some(booth.latencies),
                Some(all) => all.add(booth.latencies),
            }
        }
        if let Some(latencies) = latencies {
            report.latency_us = latencies.report();
            latencies.fill(&mut report.series);
        }
        let wrong = u64::from(self.listeners) - right;
        if wrong > 0 {
            report.fail("listeners that do not have the true totals at the end", wrong);
        }
        if backward > 0 {
            report.fail("counts that went back", backward);
        }
        let named = |counts: &[u64]| -> Value {
            let pairs = self.options.iter().cloned().zip(counts.iter().map(|count| Value::from(*count)));
            pairs.collect::<Map<_, _>>().into()
        };
        let expected = poll.expected();
        report.set("votes_sent", named(&sent));
        report.set("votes_per_second", report.deliveries_per_second);
        if let Some(server) = &report.server {
            report.own.insert("cpu_us_per_vote".into(), server.cpu_us_per_delivery.into());
        }
        report.set("listeners_right", right);
        report.set("tallies", tallies);
        report.set("steps", steps);
        if right > 0 {
            report.set("last_total_ms", last_total.saturating_sub(last_vote) as f64 / 1e6);
        }
        if let Some(truth) = truth {
            report.set("totals", named(&truth));
            if expected.as_ref().is_some_and(|expected| *expected != truth) {
                let off = expected.iter().flatten().zip(&truth).map(|(one, other)| one.abs_diff(*other)).sum();
                report.fail("votes by which the server's totals are wrong", off);
            }
        }
        if let Some(expected) = expected {
            report.set("totals_expected", named(&expected));
        }
        report.set("totals_before_known_by", poll.before_known_by());
        report.finish(failures)
    }

    /// What the server says the totals are, if it can be asked.
    fn totals(&self) -> Result<Option<Vec<u64>>, Stop> {
        let Some(url) = &self.totals_url else { return Ok(None) };
        let body = get(url, &self.common.header).map_err(|why| Stop::Unreachable(format!("{url}: {why}")))?;
        match told(&body, &self.options) {
            Told::Counts(counts) => Ok(Some(counts)),
            Told::Step(..) | Told::Accepted | Told::Refused(_) | Told::Other => {
                Err(Stop::Usage(format!("{url} does not tell the counts of {}", self.options.join(", "))))
            }
        }
    }
}

/// The body of one answer, waited for.
fn get(url: &Target, headers: &[String]) -> Result<Vec<u8>, String> {
    let words = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect_timeout(&url.address, TOTALS_WAIT).map_err(words)?;
    stream.set_read_timeout(Some(TOTALS_WAIT)).map_err(words)?;
    let request = Dial::http(url.clone(), headers).request("GET", &url.path, "", b"");
    stream.write_all(&request).map_err(words)?;
    let (mut bytes, mut buffer) = (Vec::new(), [0; 16 << 10]);
    loop {
        if let Some(answer) = crate::http::response(&bytes)? {
            return if answer.status == 200 { Ok(answer.body) } else { Err(format!("answered {}", answer.status)) };
        }
        match stream.read(&mut buffer).map_err(words)? {
            0 => return Err("no whole answer".into()),
            count => bytes.extend_from_slice(&buffer[..count]),
        }
    }
}
