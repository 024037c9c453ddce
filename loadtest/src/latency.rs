//! Latencies of one thread, or of several put together.

use hdrhistogram::Histogram;

use crate::clock::{MILLISECOND, Nanos};
use crate::report::{LatencyReport, Slice};

/// A slice at first, in nanoseconds; doubled when there are too many.
const SLICE_NANOS: Nanos = 100 * MILLISECOND;
/// Slices that are kept.
const SLICES_MAX: usize = 600;
/// Longer latencies count as this long, in nanoseconds.
const LONGEST: u64 = 3600 * 1_000_000_000;

/// Latencies in nanoseconds, with three digits, and per slice of time with two.
#[derive(Clone, Debug)]
pub(crate) struct Latencies {
    all: Histogram<u64>,
    slices: Vec<Histogram<u32>>,
    slice_nanos: Nanos,
    begin: Nanos,
}

impl Latencies {
    /// None yet; slices are counted from `begin`.
    pub(crate) fn new(begin: Nanos) -> Latencies {
        Latencies { all: histogram(3), slices: vec![], slice_nanos: SLICE_NANOS, begin }
    }

    /// At `now` something arrived that was due to be sent at `sent`.
    pub(crate) fn record(&mut self, now: Nanos, sent: Nanos) {
        let latency = now.saturating_sub(sent).min(LONGEST);
        record(&mut self.all, latency);
        let mut slice = (now.saturating_sub(self.begin) / self.slice_nanos) as usize;
        while slice >= SLICES_MAX {
            self.coarsen();
            slice /= 2;
        }
        while self.slices.len() <= slice {
            self.slices.push(histogram(2));
        }
        record(&mut self.slices[slice], latency);
    }

    /// Adds what another thread found in the same window.
    pub(crate) fn add(&mut self, mut other: Latencies) {
        while self.slice_nanos < other.slice_nanos {
            self.coarsen();
        }
        while other.slice_nanos < self.slice_nanos {
            other.coarsen();
        }
        add(&mut self.all, &other.all);
        for (index, slice) in other.slices.into_iter().enumerate() {
            match self.slices.get_mut(index) {
                Some(mine) => add(mine, &slice),
                None => self.slices.push(slice),
            }
        }
    }

    /// `None` if nothing was recorded.
    pub(crate) fn report(&self) -> Option<LatencyReport> {
        let all = &self.all;
        let at = |quantile| micros(all.value_at_quantile(quantile));
        (!all.is_empty()).then(|| LatencyReport {
            count: all.len(),
            mean: all.mean() / 1000.0,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: micros(all.max()),
        })
    }

    /// Puts the latencies into the slices of time that a window found.
    pub(crate) fn fill(&self, series: &mut [Slice]) {
        for slice in series {
            // A slice is known by its end; its middle is surely within.
            let middle = (slice.at * 1e9) as Nanos;
            let index = (middle.saturating_sub(SLICE_NANOS / 2) / self.slice_nanos) as usize;
            if let Some(found) = self.slices.get(index).filter(|found| !found.is_empty()) {
                slice.p50 = micros(found.value_at_quantile(0.5));
                slice.p99 = micros(found.value_at_quantile(0.99));
                slice.max = micros(found.max());
            }
        }
    }

    fn coarsen(&mut self) {
        let mut merged: Vec<Histogram<u32>> = Vec::with_capacity(SLICES_MAX);
        for (index, slice) in self.slices.drain(..).enumerate() {
            match merged.get_mut(index / 2) {
                Some(mine) => add(mine, &slice),
                None => merged.push(slice),
            }
        }
        self.slices = merged;
        self.slice_nanos *= 2;
    }
}

fn histogram<T: hdrhistogram::Counter>(digits: u8) -> Histogram<T> {
    Histogram::new(digits).expect("1 to 5 digits are possible")
}

fn add<T: hdrhistogram::Counter>(to: &mut Histogram<T>, from: &Histogram<T>) {
    to.add(from).expect("a histogram that grows takes any value");
}

fn record<T: hdrhistogram::Counter>(to: &mut Histogram<T>, nanos: u64) {
    to.record(nanos).expect("a histogram that grows takes any value");
}

fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SECOND;

    #[test]
    fn what_is_recorded_is_reported_together() {
        let mut one = Latencies::new(5 * SECOND);
        let mut two = one.clone();
        assert_eq!(one.report(), None);
        for step in 0..1000 {
            let now = 5 * SECOND + step * MILLISECOND;
            one.record(now, now - (step + 1) * 1000);
            two.record(now, now - (step + 1) * 1000);
        }
        one.add(two);
        let report = one.report().unwrap();
        assert_eq!(report.count, 2000);
        assert!((report.p50 - 500.0).abs() < 2.0 && (report.p99 - 990.0).abs() < 2.0, "{report:?}");
        assert!((report.max - 1000.0).abs() < 2.0 && (report.mean - 500.5).abs() < 2.0, "{report:?}");
        let mut series = [Slice { at: 0.1, ..Slice::default() }, Slice { at: 1.0, ..Slice::default() }];
        one.fill(&mut series);
        assert!((series[0].p50 - 50.0).abs() < 2.0, "{series:?}");
        assert!((series[1].p50 - 950.0).abs() < 10.0, "{series:?}");
    }

    #[test]
    fn long_runs_have_longer_slices() {
        let mut latencies = Latencies::new(0);
        for second in 0..1000 {
            latencies.record(second * SECOND, second * SECOND);
        }
        assert!(latencies.slices.len() <= SLICES_MAX);
        // 10,000 slices of 100 ms are five times too many by halves.
        assert_eq!(latencies.slice_nanos, 32 * SLICE_NANOS);
        assert_eq!(latencies.slices.iter().map(Histogram::len).sum::<u64>(), 1000);
    }
}
