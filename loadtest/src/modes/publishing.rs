//! Who publishes, and when: the first thread's part of a fan-out.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::clock::Nanos;
use crate::codec;
use crate::io::{Client, Dial, Ended, Io, Speaks};
use crate::modes::stages::phase;
use crate::schedule::Schedule;
use crate::stamp::{Stamp, Stamper};

/// An HTTP publisher whose server closes after so many requests (as nginx does) connects again, so often.
const RECONNECTS_MAX: u32 = 100_000;

/// How fast.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Messages a second, of all publishers together (open loop).
    pub(crate) rate: Option<f64>,
    /// Without a rate: the next so many when everyone has the last (closed loop).
    pub(crate) outstanding: u64,
}

/// The publishers of a run.
#[derive(Debug)]
pub(crate) struct Publishing {
    /// How to connect; `None`: the first subscribers publish.
    dial: Option<Arc<Dial>>,
    subscribers: u64,
    publishers: Vec<Publisher>,
    /// Who publishes next.
    next: usize,
    pace: Pace,
    warm_up: u64,
    /// Measured ones, at most.
    messages: u64,
    phase: u32,
    /// Published in this phase.
    published: u64,
    schedule: Schedule,
    text: Vec<u8>,
    reconnects: u32,
}

#[derive(Debug, Default)]
struct Publisher {
    client: Option<Client>,
    published: u32,
    /// What goes in the next write.
    batch: Vec<u8>,
    /// Requests that were not answered (HTTP).
    unanswered: VecDeque<Vec<u8>>,
}

impl Publishing {
    pub(crate) fn new(
        dial: Option<Arc<Dial>>,
        subscribers: u64,
        publishers: usize,
        pace: Pace,
        warm_up: u64,
        messages: u64,
    ) -> Publishing {
        Publishing {
            dial,
            subscribers,
            publishers: (0..publishers).map(|_| Publisher::default()).collect(),
            next: 0,
            pace,
            warm_up,
            messages,
            phase: phase::CONNECT,
            published: 0,
            schedule: Schedule::new(0, 1.0),
            text: vec![],
            reconnects: 0,
        }
    }

    /// Messages of each publisher, over the whole run.
    pub(crate) fn published(&self) -> Vec<u32> {
        self.publishers.iter().map(|publisher| publisher.published).collect()
    }

    pub(crate) fn phase(&mut self, phase: u32, io: &mut Io) {
        (self.phase, self.published) = (phase, 0);
        self.schedule = Schedule::new(io.now, self.pace.rate.unwrap_or(1.0));
        if phase == phase::CONNECT
            && let Some(dial) = &self.dial
        {
            (0..self.publishers.len()).for_each(|number| io.connect(dial, (self.subscribers as usize + number) as u32));
        }
    }

    pub(crate) fn opened(&mut self, client: Client, io: &mut Io) {
        let Some(number) = self.number(client) else { return };
        let publisher = &mut self.publishers[number];
        publisher.client = Some(client);
        publisher.unanswered.iter().for_each(|request| io.send_bytes(client, request));
    }

    /// An answer to a POST.
    pub(crate) fn response(&mut self, client: Client, status: u16, io: &mut Io) {
        let Some(number) = self.number(client) else { return };
        self.publishers[number].unanswered.pop_front();
        if !(200..300).contains(&status) {
            io.fail(&format!("publishing was answered with {status}"));
        }
    }

    /// Was this meant? A server may close a connection for requests when it likes.
    pub(crate) fn ended(&mut self, client: Client, ended: &Ended, io: &mut Io) -> bool {
        let Some(number) = self.number(client) else { return false };
        let was_open = self.publishers[number].client.take().is_some();
        match (&self.dial, ended) {
            (Some(dial), Ended::Eof | Ended::Reset)
                if was_open && dial.speaks == Speaks::Http && self.reconnects < RECONNECTS_MAX =>
            {
                self.reconnects += 1;
                io.connect(dial, client.tag);
                true
            }
            _ => false,
        }
    }

    /// Publishes what is due; when something is next.
    pub(crate) fn turn(&mut self, stamper: &Stamper, io: &mut Io) -> Option<Nanos> {
        match (self.phase, self.pace.rate) {
            // One at a time: so many segments are so many acknowledgements.
            (phase::WARM, _) => self.publish_batch(1, self.warm_up, stamper, io),
            (phase::MEASURE, None) => self.publish_batch(self.pace.outstanding, self.messages, stamper, io),
            (phase::MEASURE, Some(_)) => {
                while self.published < self.messages
                    && let Some(due) = self.schedule.take(io.now)
                {
                    self.write(due, stamper, io);
                }
            }
            (phase::DRAIN, _) if io.shared.counts().received >= io.counts.sent * self.subscribers => {
                io.shared.wake_stage()
            }
            _ => {}
        }
        self.send(io);
        if self.phase == phase::MEASURE && self.published >= self.messages {
            if io.counts.done == 0 {
                io.counts.done = 1;
                io.shared.wake_stage();
            }
            return None;
        }
        let is_scheduled = self.phase == phase::MEASURE && self.pace.rate.is_some();
        is_scheduled.then(|| self.schedule.next())
    }

    /// The next `size` messages, if everyone has all that were sent before.
    fn publish_batch(&mut self, size: u64, most: u64, stamper: &Stamper, io: &mut Io) {
        if self.published >= most || io.shared.counts().received < io.counts.sent * self.subscribers {
            return;
        }
        let now = io.clock.now();
        for _ in 0..size.min(most - self.published) {
            self.write(now, stamper, io);
        }
    }

    /// Puts a message into its publisher's batch.
    fn write(&mut self, due: Nanos, stamper: &Stamper, io: &mut Io) {
        let number = self.next;
        self.next = (self.next + 1) % self.publishers.len();
        let publisher = &mut self.publishers[number];
        self.text.clear();
        stamper.write(&mut self.text, Stamp { publisher: number as u16, sequence: publisher.published, time: due });
        publisher.published += 1;
        self.published += 1;
        io.counts.sent += 1;
        match &self.dial {
            Some(dial) if dial.speaks == Speaks::Http => {
                let more = "Content-Type: text/plain\r\n";
                let request = dial.request("POST", &dial.target.path, more, &self.text);
                publisher.batch.extend_from_slice(&request);
                publisher.unanswered.push_back(request);
            }
            Some(_) | None => codec::write_text(&mut publisher.batch, &self.text, io.random() as u32),
        }
    }

    /// One write for each publisher that has something.
    fn send(&mut self, io: &mut Io) {
        for publisher in self.publishers.iter_mut().filter(|publisher| !publisher.batch.is_empty()) {
            // While there is no connection, requests wait among the unanswered.
            if let Some(client) = publisher.client {
                io.send_bytes(client, &publisher.batch);
            }
            publisher.batch.clear();
        }
    }

    /// Which publisher this connection is.
    fn number(&self, client: Client) -> Option<usize> {
        let first = if self.dial.is_some() { self.subscribers as usize } else { 0 };
        (client.tag as usize).checked_sub(first).filter(|number| *number < self.publishers.len())
    }
}
