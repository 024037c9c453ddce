//! One thread's subscribers, those that read and those that do not, and on the first thread the publisher.

use std::sync::Arc;

use super::sleeper::Sleeper;
use crate::account::Account;
use crate::clock::Nanos;
use crate::fleet::Behaviour;
use crate::io::{Client, Dial, Ended, Io};
use crate::latency::Latencies;
use crate::modes::poll::poster::{POSTER, Pace, Pacer};
use crate::modes::stages::phase;
use crate::stamp::{Stamp, Stamper};

/// Nothing is published, and what is under way arrives.
pub(super) const REST: u32 = 10;
/// Those who read are measured alone.
pub(super) const MEASURE_ALONE: u32 = 11;
/// Those who do not read come.
pub(super) const STUCK: u32 = 12;
/// They read.
pub(super) const WAKE: u32 = 13;
/// One more message is published.
pub(super) const LAST: u32 = 14;

/// How a snapshot of Tallycast's own dialect begins.
const SNAPSHOT: &[u8] = b"{\"type\":\"snapshot\"";

/// Tags from here on are those of the stuck ones.
const STUCK_TAGS: u32 = 1 << 31;

/// What all threads begin with.
pub(super) struct Ground<'a> {
    pub(super) run: u16,
    pub(super) size: usize,
    pub(super) around: (&'a str, &'a str),
    pub(super) pace: Pace,
    /// Those who read, on all threads.
    pub(super) receivers: u64,
    pub(super) gap: Option<&'a str>,
}

/// One thread's subscribers.
pub(super) struct Subscribers {
    dial: Arc<Dial>,
    publish: Option<Arc<Dial>>,
    publisher: Option<Client>,
    pacer: Pacer,
    stamper: Stamper,
    text: Vec<u8>,
    published: u32,
    normal: usize,
    gap: Option<Vec<u8>>,
    pub(super) account: Account,
    /// Alone, and beside the stuck ones.
    pub(super) latencies: [Latencies; 2],
    measures_from: Nanos,
    phase: u32,
    /// The stuck ones have been asked for.
    is_beside: bool,
    stuck: Vec<Option<Client>>,
    pub(super) sleepers: Vec<Sleeper>,
    is_waking: bool,
}

impl Subscribers {
    pub(super) fn new(
        ground: &Ground<'_>,
        dial: Arc<Dial>,
        publish: Option<Arc<Dial>>,
        normal: usize,
        stuck: usize,
    ) -> Self {
        Self {
            dial,
            publish,
            publisher: None,
            pacer: Pacer::new(ground.pace, ground.receivers),
            stamper: Stamper::new(ground.run, ground.size, ground.around.0, ground.around.1),
            text: vec![],
            published: 0,
            normal,
            gap: ground.gap.map(|gap| gap.as_bytes().to_vec()),
            account: Account::new(normal, 1),
            latencies: [Latencies::new(0), Latencies::new(0)],
            measures_from: Nanos::MAX,
            phase: phase::CONNECT,
            is_beside: false,
            stuck: vec![None; stuck],
            sleepers: vec![Sleeper::default(); stuck],
            is_waking: false,
        }
    }

    fn publish(&mut self, due: Nanos, io: &mut Io) {
        let Some(publisher) = self.publisher else { return };
        self.text.clear();
        self.stamper.write(&mut self.text, Stamp { publisher: 0, sequence: self.published, time: due });
        self.published += 1;
        io.counts.sent += 1;
        io.send_text(publisher, &self.text);
    }

    /// A message to one who was asleep.
    fn woken(&mut self, index: usize, payload: &[u8], io: &mut Io) {
        let sleeper = &mut self.sleepers[index];
        if payload.starts_with(SNAPSHOT) {
            sleeper.snapshot();
        } else if self.gap.as_ref().is_some_and(|gap| payload.windows(gap.len().max(1)).any(|window| window == gap)) {
            sleeper.warned();
        } else if let Some(found) = self.stamper.find(payload) {
            sleeper.received(found.sequence());
        } else {
            io.counts.others += 1;
        }
        io.counts.done += 1;
    }
}

impl Behaviour for Subscribers {
    fn phase(&mut self, phase: u32, io: &mut Io) {
        self.phase = phase;
        match phase {
            phase::CONNECT => {
                (0..self.normal).for_each(|tag| io.connect(&self.dial, tag as u32));
                if let Some(publish) = &self.publish {
                    io.connect(publish, POSTER);
                }
            }
            phase::WARM => self.pacer.begin(io.now),
            MEASURE_ALONE | phase::MEASURE => {
                self.pacer.begin(io.now);
                self.latencies[usize::from(self.is_beside)] = Latencies::new(io.now);
                self.measures_from = io.now;
            }
            STUCK => {
                self.is_beside = true;
                (0..self.stuck.len()).for_each(|index| io.connect(&self.dial, STUCK_TAGS + index as u32));
            }
            WAKE => self.stuck.iter().flatten().for_each(|client| io.resume_reading(*client)),
            LAST => {
                self.measures_from = Nanos::MAX;
                self.publish(io.now, io);
            }
            _ => self.pacer.end(),
        }
    }

    fn opened(&mut self, client: Client, io: &mut Io) {
        match client.tag {
            POSTER => self.publisher = Some(client),
            tag if tag >= STUCK_TAGS => {
                let index = (tag - STUCK_TAGS) as usize;
                self.stuck[index] = Some(client);
                // Nothing is published while they come.
                self.sleepers[index].joined(io.shared.counts().sent as u32);
                io.pause_reading(client);
            }
            _ => {}
        }
    }

    fn message(&mut self, client: Client, payload: &[u8], io: &mut Io) {
        match client.tag {
            POSTER => {}
            tag if tag >= STUCK_TAGS => self.woken((tag - STUCK_TAGS) as usize, payload, io),
            tag => match self.stamper.find(payload) {
                None => io.counts.others += 1,
                Some(found) => {
                    if self.account.deliver(tag as usize, found.publisher(), found.sequence()) {
                        io.counts.received += 1;
                        self.is_waking = true;
                        if found.time() >= self.measures_from {
                            self.latencies[usize::from(self.is_beside)].record(io.now, found.time());
                        }
                    }
                }
            },
        }
    }

    fn ended(&mut self, client: Client, ended: &Ended, was_open: bool, io: &mut Io) -> bool {
        match client.tag {
            POSTER => self.publisher = None,
            tag if tag >= STUCK_TAGS && was_open => {
                let index = (tag - STUCK_TAGS) as usize;
                self.stuck[index] = None;
                self.sleepers[index].ended = Some(ended.name(true).trim().to_owned());
                io.counts.done += 1;
                return true;
            }
            _ => {}
        }
        false
    }

    fn turn(&mut self, io: &mut Io) -> Option<Nanos> {
        if self.publish.is_none() {
            if std::mem::take(&mut self.is_waking) {
                // The publisher waits for what has come.
                io.shared.post(io.thread, &io.counts, self.phase);
                io.shared.wake(0);
            }
            return None;
        }
        while let Some(due) = self.pacer.take(self.published.into(), io) {
            self.publish(due, io);
        }
        self.pacer.turned(io)
    }
}
