//! What clients act in: the network, the time, chance, the reference and the trace.

use std::time::Duration;

use tallycast::base::time::Time;

use super::model::Model;
use super::network::SimDriver;
use super::random::{Coverage, Random};
use super::setup::Knobs;

/// See the module.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) now: Time,
    pub(crate) random: Random,
    pub(crate) drivers: Vec<SimDriver>,
    pub(crate) model: Model,
    pub(crate) coverage: Coverage,
    pub(crate) knobs: Knobs,
    /// The end: nothing fails any more, and clients only do what they owe.
    pub(crate) calm: bool,
    /// Shards were told to stop.
    pub(crate) stopping: bool,
    /// By core: the end of its last turn in which a channel was not live there, or could not be asked for.
    pub(crate) unattached: Vec<Time>,
    /// Bytes and connections that clients moved: while it grows, there is no rest.
    pub(crate) moved: u64,
    /// A digest of all that clients read: the same seed gives the same.
    pub(crate) digest: u64,
    pub(crate) trace: Trace,
}

impl Scene {
    pub(crate) fn new(knobs: Knobs, mut random: Random) -> Scene {
        let cores = knobs.cores;
        let drivers = (0..cores).map(|core| SimDriver::new(core, random.fork(), &knobs)).collect();
        Scene {
            now: Time::from_millis(1000),
            random,
            drivers,
            model: Model::new(knobs.users_max),
            coverage: Coverage::default(),
            knobs,
            calm: false,
            stopping: false,
            unattached: vec![Time::ZERO; cores],
            moved: 0,
            digest: 0,
            trace: Trace::from_environment(),
        }
    }

    /// A point in time up to so many milliseconds from now.
    pub(crate) fn soon(&mut self, millis: usize) -> Time {
        self.now + Duration::from_millis(self.random.below(millis) as u64)
    }

    /// A mask for a frame.
    pub(crate) fn mask(&mut self) -> [u8; 4] {
        (self.random.next() as u32).to_le_bytes()
    }

    pub(crate) fn digest(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.digest = (self.digest ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// Prints a line, if there is a trace.
    pub(crate) fn note(&self, line: impl FnOnce() -> String) {
        self.trace.print(self.now, line);
    }
}

/// `TALLYCAST_TRACE=1` prints all lines, another value those that contain it.
#[derive(Clone, Debug)]
pub(crate) enum Trace {
    Off,
    All,
    Only(String),
}

impl Trace {
    pub(crate) fn from_environment() -> Trace {
        match std::env::var("TALLYCAST_TRACE") {
            Err(_) => Trace::Off,
            Ok(text) if text.is_empty() || text == "0" => Trace::Off,
            Ok(text) if text == "1" => Trace::All,
            Ok(text) => Trace::Only(text),
        }
    }

    #[expect(clippy::print_stderr, reason = "the trace of a failing seed is for the terminal")]
    pub(crate) fn print(&self, now: Time, line: impl FnOnce() -> String) {
        let line = match self {
            Trace::Off => return,
            Trace::All => line(),
            Trace::Only(part) => match line() {
                line if line.contains(part.as_str()) => line,
                _ => return,
            },
        };
        eprintln!("{:>12.3} ms  {line}", now.nanos() as f64 / 1e6);
    }
}

/// Bytes for a trace: text where it is text, at most so many.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let cut = &bytes[..bytes.len().min(400)];
    format!("{} B {:?}", bytes.len(), String::from_utf8_lossy(cut))
}
