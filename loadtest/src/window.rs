//! The measured window: what the server and we used in it, and its slices.

use crate::clock::{Clock, MILLISECOND, Nanos, SECOND};
use crate::process::{Usage, Watched, own_cpu_nanos};
use crate::report::{ClientReport, Report, ServerReport, Slice};

const SLICE_NANOS: Nanos = 100 * MILLISECOND;
/// More slices are put together by twos.
const SLICES_MAX: usize = 600;

/// A window that is open.
#[derive(Debug)]
pub(crate) struct Window {
    clock: Clock,
    watched: Option<Watched>,
    threads: usize,
    begin: Nanos,
    before: Usage,
    own_before: Nanos,
    peak: u64,
    /// What was received before it.
    received: u64,
    /// Ends of slices and what was received by then.
    slices: Vec<(Nanos, u64)>,
    slice_nanos: Nanos,
}

impl Window {
    /// Opens it now. `received` is the count so far, of what `look` and `close` are told.
    pub(crate) fn open(clock: Clock, watched: Option<&Watched>, threads: usize, received: u64) -> Window {
        let before = watched.map(Watched::usage).unwrap_or_default();
        let own_before = own_cpu_nanos();
        let slices = vec![];
        let watched = watched.cloned();
        let (peak, begin, slice_nanos) = (before.rss_bytes, clock.now(), SLICE_NANOS);
        Window { clock, watched, threads, begin, before, own_before, peak, received, slices, slice_nanos }
    }

    /// To be called often: ends slices, and sees the peak of memory.
    pub(crate) fn look(&mut self, received: u64, now: Nanos) {
        let last = self.slices.last().map_or(self.begin, |(end, _)| *end);
        if now < last + self.slice_nanos {
            return;
        }
        self.slices.push((now, received));
        self.peak = self.peak.max(self.watched.as_ref().map_or(0, Watched::rss_bytes));
        if self.slices.len() > SLICES_MAX {
            let mut index = 0;
            self.slices.retain(|_| {
                index += 1;
                index % 2 == 0
            });
            self.slice_nanos *= 2;
        }
    }

    /// Closes it now, and writes into the report: seconds, received, deliveries per second, server, client, series.
    pub(crate) fn close(mut self, received: u64, report: &mut Report) {
        let end = self.clock.now();
        let after = self.watched.as_ref().map(Watched::usage).unwrap_or_default();
        let own = own_cpu_nanos().saturating_sub(self.own_before);
        self.slices.push((end, received));
        let seconds = (end - self.begin).max(1) as f64 / SECOND as f64;
        report.seconds = seconds;
        report.received = received - self.received;
        report.deliveries_per_second = report.received as f64 / seconds;
        report.client = ClientReport {
            cpu_seconds: own as f64 / SECOND as f64,
            cpu_share: own as f64 / SECOND as f64 / seconds / self.threads.max(1) as f64,
        };
        report.series = self.series();
        report.server = self.watched.as_ref().map(|watched| {
            let cpu = after.cpu_nanos.saturating_sub(self.before.cpu_nanos);
            ServerReport {
                pid: watched.pid,
                cpu_seconds: cpu as f64 / SECOND as f64,
                cpu_us_per_delivery: cpu as f64 / 1000.0 / report.received.max(1) as f64,
                rss_bytes_before: self.before.rss_bytes,
                rss_bytes_after: after.rss_bytes,
                rss_bytes_peak: self.peak.max(after.rss_bytes),
                sleeps: after.sleeps.saturating_sub(self.before.sleeps),
            }
        });
    }

    fn series(&self) -> Vec<Slice> {
        let mut series = Vec::new();
        let (mut last, mut before) = (self.begin, self.received);
        for (end, received) in &self.slices {
            let seconds = (end - last).max(1) as f64 / SECOND as f64;
            let at = (end - self.begin) as f64 / SECOND as f64;
            let deliveries_per_second = (received - before) as f64 / seconds;
            series.push(Slice { at, deliveries_per_second, ..Slice::default() });
            (last, before) = (*end, *received);
        }
        series
    }
}
