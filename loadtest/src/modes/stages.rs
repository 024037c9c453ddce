//! The stages that most modes go through: connect, warm up, measure, drain.

use crate::arguments::{Common, Stop};
use crate::clock::{MILLISECOND, Nanos, SECOND};
use crate::fleet::{Behaviour, Fleet};
use crate::io::Counts;
use crate::progress::Progress;
use crate::report::Report;
use crate::window::Window;

/// Phases, as `Behaviour::phase` is told them.
pub(crate) mod phase {
    /// Connections are asked for and open.
    pub(crate) const CONNECT: u32 = 0;
    /// Deliveries that are not measured.
    pub(crate) const WARM: u32 = 1;
    /// What counts.
    pub(crate) const MEASURE: u32 = 2;
    /// Nothing is sent any more; what is under way arrives.
    pub(crate) const DRAIN: u32 = 3;
}

/// Deliveries that each connection has before anything is measured: until then each is acknowledged at once, which costs
/// a loopback server half as much again.
pub(crate) const WARM_DELIVERIES: u64 = 20;

/// Waits until `count` connections are open. `false`: some are not, and none is on its way (or it took too long).
pub(crate) fn connect_all<B: Behaviour>(fleet: &Fleet<B>, common: &Common, count: u64) -> bool {
    let progress = Progress::new("connecting", count, common.quiet);
    let deadline = fleet.clock.now() + common.connect_limit(count);
    fleet.wait(deadline, |counts, _| {
        progress.set(counts.opened);
        counts.opened + counts.refused >= count
    });
    let counts = fleet.shared.counts();
    counts.opened >= count && counts.ended == 0
}

/// Ends a run that did not get in: all that is left to say is why.
pub(crate) fn refused<B: Behaviour>(fleet: Fleet<B>, mut report: Report, count: u64) -> Result<Report, Stop> {
    let counts = fleet.shared.counts();
    let (_, failures) = fleet.stop().map_err(Stop::Usage)?;
    report.is_refused = !crate::interrupt::is_interrupted();
    let missing = count.saturating_sub(counts.opened);
    report.set("connected", counts.opened);
    if missing > 0 {
        report.fail(format!("of {count} connections not opened"), missing);
    }
    Ok(report.finish(&failures))
}

/// Waits for `nanos`, with the window looked at, or until `is_done` says so. `false`: interrupted.
pub(crate) fn measure<B: Behaviour>(
    fleet: &Fleet<B>,
    window: &mut Window,
    nanos: Nanos,
    is_quiet: bool,
    mut is_done: impl FnMut(u64) -> bool,
) {
    let progress = Progress::new("measuring", nanos / MILLISECOND, is_quiet);
    let begin = fleet.clock.now();
    fleet.wait(begin.saturating_add(nanos), |counts, now| {
        window.look(counts.received, now);
        progress.set((now - begin) / MILLISECOND);
        is_done(counts.received)
    });
}

/// Waits until all threads have seen the present phase and `expected` are received in all (of all that is counted, not of
/// the window), but no longer than `patience` after the last that came. Did all come? Within a window an interrupt does not
/// end it: what is under way counts.
pub(crate) fn drain<B: Behaviour>(
    fleet: &Fleet<B>,
    mut window: Option<&mut Window>,
    patience: Nanos,
    mut expected: impl FnMut(&Counts) -> u64,
) -> bool {
    let (mut last, mut since) = (0, fleet.clock.now());
    let longest = since + patience.saturating_mul(10).max(30 * SECOND);
    let mut is_complete = false;
    let may_interrupt = window.is_none();
    fleet.wait_through(longest, |counts, now| {
        if let Some(window) = &mut window {
            window.look(counts.received, now);
        }
        if counts.received != last {
            (last, since) = (counts.received, now);
        }
        is_complete = fleet.shared.is_seen() && counts.received >= expected(counts);
        is_complete || now.saturating_sub(since) > patience || may_interrupt && crate::interrupt::is_interrupted()
    });
    is_complete
}

/// A number that tells this run's messages from another's.
pub(crate) fn run_number() -> Result<u16, Stop> {
    let mut number = [0; 2];
    getrandom::fill(&mut number).map_err(|error| Stop::Usage(format!("no random number: {error}")))?;
    Ok(u16::from_ne_bytes(number))
}
