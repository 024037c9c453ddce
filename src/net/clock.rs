//! The only place that reads a clock.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::base::time::Time;

/// The monotonic clock of this process, with the wall clock's word for its origin.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
    unix: Duration,
}

impl Clock {
    /// A clock whose [`Time::ZERO`] is now.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads clocks")]
    #[expect(clippy::new_without_default, reason = "reading a clock is no default")]
    pub fn new() -> Clock {
        Clock {
            origin: Instant::now(),
            // A wall clock before 1970 is set wrongly, and says nothing.
            unix: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
        }
    }

    /// The time, never earlier than it was.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads clocks")]
    pub fn now(&self) -> Time {
        Time::ZERO + self.origin.elapsed()
    }

    /// What the wall clock said at [`Time::ZERO`], since 1970. It is read once: a wall clock that is set later moves nothing.
    pub fn unix(&self) -> Duration {
        self.unix
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_does_not_go_back() {
        let clock = Clock::new();
        let copy = clock;
        let first = clock.now();
        assert!(copy.now() >= first);
        assert!(clock.unix() > Duration::from_secs(1_500_000_000), "the wall clock is set");
    }
}
