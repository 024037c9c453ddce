//! The command line: what all modes share.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Parser, ValueEnum};

use crate::clock::{Nanos, seconds};
use crate::fleet::Setup;
use crate::io::Dial;
use crate::modes::Mode;
use crate::process::{self, Watched};
use crate::target::Target;

/// Loads a WebSocket server from many simulated clients in few threads, counts every delivery, and says what it cost.
#[derive(Parser, Debug)]
#[command(name = "tallycast-loadtest", version, arg_required_else_help = true, after_help = AFTER_HELP)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) mode: Mode,
}

const AFTER_HELP: &str = "\
Examples:
  tallycast-loadtest fanout ws://127.0.0.1:9100/bench -n 1000 --rate 100 --pid auto
  tallycast-loadtest fanout ws://127.0.0.1:9100/bench -n 5000 --outstanding 16 --messages 2000 --json result.json
  tallycast-loadtest echo ws://127.0.0.1:9100/echo -n 200 --pid auto
  tallycast-loadtest connect ws://127.0.0.1:9100/echo --rate 2000 --pid auto
  tallycast-loadtest idle ws://127.0.0.1:9100/bench -n 15000 --pid auto
  tallycast-loadtest floor 127.0.0.1:0 --pin 0

Exit codes:
  0  good
  1  something was lost, doubled or wrong
  2  the command line is wrong, or this machine does not allow it
  3  the target refused, or nobody is there";

/// What all modes that connect have.
#[derive(Args, Clone, Debug)]
pub(crate) struct Common {
    /// The server: ws://HOST:PORT/PATH
    pub(crate) url: Target,

    /// Threads of clients, each with its share of the connections
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64), help_heading = "Clients")]
    pub(crate) threads: u16,

    /// Core that the threads are put on; several (1,2): in turn
    #[arg(long, value_name = "CORE", value_delimiter = ',', help_heading = "Clients")]
    pub(crate) pin: Vec<usize>,

    /// Where connections to loopback come from: spread over 127.0.0.0/8, so that 28,000 ports are not the end of it, or
    /// the kernel's choice
    #[arg(long, value_enum, default_value_t = Source::Spread, help_heading = "Clients")]
    pub(crate) source: Source,

    /// Handshakes under way at a time, per thread
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..), help_heading = "Clients")]
    pub(crate) concurrency: u32,

    /// Seconds that one connection may take to open
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0, value_parser = positive, help_heading = "Clients")]
    pub(crate) connect_wait: f64,

    /// Subprotocol to offer (may be repeated)
    #[arg(long, value_name = "NAME", help_heading = "Protocol")]
    pub(crate) subprotocol: Vec<String>,

    /// Header line for handshakes and requests (may be repeated)
    #[arg(long, value_name = "NAME: VALUE", value_parser = header, help_heading = "Protocol")]
    pub(crate) header: Vec<String>,

    /// Text to send as soon as a connection is open (may be repeated)
    #[arg(long, value_name = "TEXT", help_heading = "Protocol")]
    pub(crate) hello: Vec<String>,

    /// The server's process, for its CPU and memory: a number, or `auto` for whoever listens on the port
    #[arg(long, help_heading = "Server")]
    pub(crate) pid: Option<String>,

    /// The descendants of that process count as well
    #[arg(long, requires = "pid", help_heading = "Server")]
    pub(crate) children: bool,

    /// Write the report as JSON (-: to stdout, and the table to stderr)
    #[arg(long, value_name = "FILE", help_heading = "Report")]
    pub(crate) json: Option<PathBuf>,

    /// Draw latency and throughput
    #[arg(long, value_name = "FILE.svg", help_heading = "Report")]
    pub(crate) plot: Option<PathBuf>,

    /// No table and no progress
    #[arg(long, short, help_heading = "Report")]
    pub(crate) quiet: bool,
}

/// Where connections come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Source {
    Spread,
    Kernel,
}

/// Why there is no report.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Stop {
    /// The command line, or this machine, does not allow it: exit code 2.
    Usage(String),
    /// Nobody is there: exit code 3.
    Unreachable(String),
}

/// Descriptors that are none of a connection's.
const OWN_FILES: u64 = 32;

impl Common {
    /// How the threads are set up.
    pub(crate) fn setup(&self) -> Setup {
        Setup {
            pin: self.pin.clone(),
            concurrency: self.concurrency as usize,
            connect_wait: seconds(self.connect_wait),
            spread: self.source == Source::Spread,
            keep_bytes: usize::MAX,
        }
    }

    /// The handshake with the URL.
    pub(crate) fn dial(&self) -> Arc<Dial> {
        self.dial_to(&self.url)
    }

    /// The same handshake with another URL of the same server.
    pub(crate) fn dial_to(&self, target: &Target) -> Arc<Dial> {
        Arc::new(Dial::websocket(target.clone(), &self.subprotocol, &self.header, &self.hello))
    }

    /// The process to watch, if any.
    pub(crate) fn watched(&self) -> Result<Option<Watched>, Stop> {
        let Some(pid) = &self.pid else { return Ok(None) };
        let found = match pid.parse() {
            Ok(pid) => Watched::new(pid, self.children),
            Err(_) if pid == "auto" => Watched::listening(self.url.address, self.children),
            Err(_) => Err(format!("--pid is a number or auto, not {pid}")),
        };
        found.map(Some).map_err(Stop::Usage)
    }

    /// Makes sure that so many connections can be had.
    pub(crate) fn files(&self, connections: u64) -> Result<(), Stop> {
        process::raise_open_files(connections + OWN_FILES + 4 * u64::from(self.threads)).map_err(Stop::Usage)
    }

    /// The longest that opening so many connections may take, all together.
    pub(crate) fn connect_limit(&self, connections: u64) -> Nanos {
        seconds(self.connect_wait + 5.0 + connections as f64 / 200.0)
    }

    /// Shares out numbers from 0 to `count`: thread by thread, each next to the other's.
    pub(crate) fn shares(&self, count: u64) -> Vec<std::ops::Range<u64>> {
        let threads = u64::from(self.threads);
        (0..threads).map(|thread| thread * count / threads..(thread + 1) * count / threads).collect()
    }
}

/// A number above zero.
pub(crate) fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number.is_finite() => Ok(number),
        Ok(_) | Err(_) => Err("a number above 0".into()),
    }
}

fn header(text: &str) -> Result<String, String> {
    match text.split_once(':') {
        Some((name, value)) if !name.is_empty() && !text.contains(['\r', '\n']) => {
            Ok(format!("{name}: {}", value.trim()))
        }
        Some(_) | None => Err("a header is NAME: VALUE".into()),
    }
}
