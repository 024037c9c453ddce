//! What a run found: one value for the table, the JSON and the plots.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The result of a run. Its fields are the keys of the JSON.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) mode: String,
    pub(crate) url: String,
    /// Connections that listen; in other modes, the connections.
    pub(crate) subscribers: u64,
    /// The measured window, from before its first message to after its last delivery.
    pub(crate) seconds: f64,
    /// Deliveries that the window's messages had to make.
    pub(crate) expected: u64,
    /// Deliveries in the window, each once.
    pub(crate) received: u64,
    /// Deliveries that never came, over the whole run.
    pub(crate) lost: u64,
    /// Deliveries that came again, over the whole run.
    pub(crate) doubled: u64,
    /// Deliveries that came after a later one, over the whole run. Not counted as a failure.
    pub(crate) reordered: u64,
    pub(crate) deliveries_per_second: f64,
    pub(crate) latency_us: Option<LatencyReport>,
    pub(crate) server: Option<ServerReport>,
    pub(crate) client: ClientReport,
    /// What failed, by name.
    pub(crate) failures: Vec<Failure>,
    /// Nothing lost, doubled or failed.
    pub(crate) ok: bool,
    /// What a reader of the figures has to know.
    pub(crate) notes: Vec<String>,
    /// The window in slices of 100 ms (of a long run, longer ones).
    pub(crate) series: Vec<Slice>,
    /// What a mode has of its own; keys next to the others.
    #[serde(flatten)]
    pub(crate) own: Map<String, Value>,
    /// The target did not let us in: exit code 3.
    #[serde(skip)]
    pub(crate) is_refused: bool,
}

/// Latencies in microseconds.
#[derive(Clone, Copy, PartialEq, Default, Debug, Serialize, Deserialize)]
pub(crate) struct LatencyReport {
    pub(crate) count: u64,
    pub(crate) mean: f64,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

/// What the window cost the server's process.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
pub(crate) struct ServerReport {
    pub(crate) pid: u32,
    pub(crate) cpu_seconds: f64,
    /// Per delivery; in other modes, per what is counted as received.
    pub(crate) cpu_us_per_delivery: f64,
    pub(crate) rss_bytes_before: u64,
    pub(crate) rss_bytes_after: u64,
    pub(crate) rss_bytes_peak: u64,
    /// Times that a thread of the server went to sleep by itself.
    pub(crate) sleeps: u64,
}

/// What the window cost ourselves.
#[derive(Clone, Copy, PartialEq, Default, Debug, Serialize, Deserialize)]
pub(crate) struct ClientReport {
    pub(crate) cpu_seconds: f64,
    /// Of the time that our threads could have had: near 1, the client is the limit.
    pub(crate) cpu_share: f64,
}

/// A failure and how often it came.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) what: String,
    pub(crate) count: u64,
}

/// A piece of the window.
#[derive(Clone, Copy, PartialEq, Default, Debug, Serialize, Deserialize)]
pub(crate) struct Slice {
    /// Its end, in seconds from the window's beginning.
    pub(crate) at: f64,
    pub(crate) deliveries_per_second: f64,
    /// Microseconds; 0 where nothing was sampled.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

impl Report {
    /// A report of this mode that has nothing yet.
    pub(crate) fn new(mode: &str, url: impl ToString) -> Report {
        Report { mode: mode.to_owned(), url: url.to_string(), ..Report::default() }
    }

    /// Adds a value of the mode's own.
    pub(crate) fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.own.insert(key.to_owned(), value.into());
    }

    /// Adds a failure.
    pub(crate) fn fail(&mut self, what: impl Into<String>, count: u64) {
        self.failures.push(Failure { what: what.into(), count });
    }

    /// Adds failures by name, and says whether everything went well. To be called last.
    pub(crate) fn finish(mut self, failures: &BTreeMap<String, u64>) -> Report {
        failures.iter().for_each(|(what, count)| self.fail(what.as_str(), *count));
        if self.client.cpu_share > 0.85 {
            self.notes.push(format!(
                "the client used {:.0}% of its threads' time: it may be the limit, not the server (--threads)",
                self.client.cpu_share * 100.0
            ));
        }
        if crate::interrupt::is_interrupted() {
            self.notes.push("interrupted: this is what was measured until then".into());
        }
        self.ok = self.failures.is_empty() && self.lost == 0 && self.doubled == 0 && !self.is_refused;
        self
    }

    /// The process's exit code.
    pub(crate) fn exit_code(&self) -> u8 {
        match (self.is_refused, self.ok) {
            (true, _) => 3,
            (false, true) => 0,
            (false, false) => 1,
        }
    }
}
