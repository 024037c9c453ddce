//! When messages are due (open loop): at a fixed rate, whatever the server does. A message that is sent late was due when
//! it was due, and its latency counts from then; so a stall is seen by all the messages that fell into it.

use crate::clock::{Nanos, SECOND};

/// A fixed rate from a beginning.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    begin: Nanos,
    per_second: f64,
    taken: u64,
}

impl Schedule {
    /// The first message is due at `begin`.
    pub(crate) fn new(begin: Nanos, per_second: f64) -> Schedule {
        Schedule { begin, per_second, taken: 0 }
    }

    /// When the next message is due.
    pub(crate) fn next(&self) -> Nanos {
        self.begin + (self.taken as f64 * SECOND as f64 / self.per_second) as Nanos
    }

    /// The next message, if it is due: when it was.
    pub(crate) fn take(&mut self, now: Nanos) -> Option<Nanos> {
        let due = self.next();
        (due <= now).then(|| {
            self.taken += 1;
            due
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::MILLISECOND;
    use crate::latency::Latencies;

    /// A loop that stands still for a second in the middle of three: of 300 messages 100 fall into it, and they
    /// have waited from 1000 ms down to 10.
    #[test]
    fn a_stall_is_seen_by_all_that_fell_into_it() {
        let mut schedule = Schedule::new(0, 100.0);
        let mut latencies = Latencies::new(0);
        let mut naive: Vec<Nanos> = (0..300).map(|message| message * 10 * MILLISECOND).collect();
        let stall = SECOND + 1..2 * SECOND + 1;
        let mut now = 0;
        let mut sent = 0;
        while sent < 300 {
            while sent < 300
                && let Some(due) = schedule.take(now)
            {
                latencies.record(now, due);
                sent += 1;
            }
            now = if stall.contains(&(now + 1)) { stall.end } else { now + MILLISECOND };
        }
        for latency in &mut naive {
            *latency = if stall.contains(latency) { stall.end - *latency } else { 0 };
        }
        naive.sort_unstable();
        let report = latencies.report().unwrap();
        for (found, quantile) in [(report.p50, 0.5), (report.p90, 0.9), (report.p99, 0.99), (report.max, 1.0)] {
            let right = naive[((300.0 * quantile) as usize).min(300) - 1] as f64 / 1000.0;
            // A turn of the loop is 1 ms.
            assert!((found - right).abs() <= 1500.0 + right * 0.01, "{quantile}: {found} is not {right}");
        }
        assert!(report.p90 > 600_000.0, "{report:?}");
    }

    #[test]
    fn rates_do_not_drift() {
        for rate in [0.5, 3.0, 100.0, 333.3, 50_000.0] {
            let mut schedule = Schedule::new(7, rate);
            let count = (rate * 1000.0) as u64;
            for _ in 0..count {
                assert!(schedule.take(Nanos::MAX).is_some());
            }
            assert!(schedule.next().abs_diff(7 + 1000 * SECOND) < SECOND / 1000, "{rate}");
            assert_eq!(schedule.take(schedule.next() - 1), None);
        }
    }
}
