//! A publisher over HTTP: one connection, requests pipelined, so that a slow answer does not hold the next one back.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::clock::Nanos;
use crate::io::{Client, Dial, Io};
use crate::schedule::Schedule;

/// The tag of its connection.
pub(crate) const POSTER: u32 = u32::MAX;
/// Requests that wait for their answers. More wait to be sent, and their latency counts from when they were due.
const IN_FLIGHT_MAX: usize = 64;

/// How often something is published.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Pace {
    /// So many a second.
    Rate(f64),
    /// So many that not everyone has yet.
    Outstanding(u64),
}

/// When the next publication is due.
#[derive(Debug)]
pub(crate) struct Pacer {
    pace: Pace,
    receivers: u64,
    schedule: Option<Schedule>,
    is_on: bool,
    /// What this thread had received at the end of its last turn, as the others see it.
    own_posted: u64,
}

impl Pacer {
    /// Each publication is for so many receivers, all of whose deliveries count as received.
    pub(crate) fn new(pace: Pace, receivers: u64) -> Self {
        Self { pace, receivers, schedule: None, is_on: false, own_posted: 0 }
    }

    /// Begins now.
    pub(crate) fn begin(&mut self, now: Nanos) {
        self.is_on = true;
        self.schedule = match self.pace {
            Pace::Rate(rate) => Some(Schedule::new(now, rate)),
            Pace::Outstanding(_) => None,
        };
    }

    /// Nothing is due any more.
    pub(crate) fn end(&mut self) {
        self.is_on = false;
        self.schedule = None;
    }

    /// When the next publication was due, if it was. `published` are those so far, of all of which the deliveries count.
    pub(crate) fn take(&mut self, published: u64, io: &Io) -> Option<Nanos> {
        match (self.is_on, self.pace) {
            (false, _) => None,
            (true, Pace::Rate(_)) => self.schedule.as_mut()?.take(io.now),
            (true, Pace::Outstanding(outstanding)) => {
                // What this thread has received is known better than what it has told the others.
                let received = io.shared.counts().received - self.own_posted + io.counts.received;
                let under_way = (published * self.receivers).saturating_sub(received);
                (under_way <= (outstanding - 1) * self.receivers).then_some(io.clock.now())
            }
        }
    }

    /// To be called at the end of a turn; says when the next is due, where time alone decides.
    pub(crate) fn turned(&mut self, io: &Io) -> Option<Nanos> {
        self.own_posted = io.counts.received;
        self.schedule.as_ref().map(Schedule::next)
    }
}

/// The publisher's connection.
#[derive(Debug)]
pub(crate) struct Poster {
    dial: Arc<Dial>,
    /// Header lines of each request, each with its `\r\n`.
    headers: String,
    client: Option<Client>,
    /// When those requests were due that have no answer yet.
    waiting: VecDeque<Nanos>,
}

impl Poster {
    /// Publishes bodies of this type.
    pub(crate) fn new(dial: Arc<Dial>, content_type: &str) -> Self {
        Self { dial, headers: format!("Content-Type: {content_type}\r\n"), client: None, waiting: VecDeque::new() }
    }

    /// Asks for its connection.
    pub(crate) fn connect(&self, io: &mut Io) {
        io.connect(&self.dial, POSTER);
    }

    /// It is open.
    pub(crate) fn opened(&mut self, client: Client) {
        self.client = Some(client);
    }

    /// It has ended; a server may do so where nothing is under way. Was it right?
    pub(crate) fn ended(&mut self, was_open: bool, io: &mut Io) -> bool {
        self.client = None;
        let is_right = was_open && self.waiting.is_empty();
        if is_right {
            self.connect(io);
        }
        self.waiting.clear();
        is_right
    }

    /// Can a request be sent?
    pub(crate) fn is_ready(&self) -> bool {
        self.client.is_some() && self.waiting.len() < IN_FLIGHT_MAX
    }

    /// Are all answers here?
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Sends what was due.
    pub(crate) fn post(&mut self, body: &[u8], due: Nanos, io: &mut Io) {
        let Some(client) = self.client else { return };
        self.waiting.push_back(due);
        let path = &self.dial.target.path;
        io.send_bytes(client, &self.dial.request("POST", path, &self.headers, body));
    }

    /// An answer has come: when its request was due. One that is no success is a failure.
    pub(crate) fn answered(&mut self, status: u16, body: &[u8], io: &mut Io) -> Option<Nanos> {
        let due = self.waiting.pop_front();
        if !(200..300).contains(&status) {
            let body = String::from_utf8_lossy(&body[..body.len().min(100)]);
            io.fail(&format!("a publication was refused: answered {status}: {body}"));
            return None;
        }
        due
    }
}
