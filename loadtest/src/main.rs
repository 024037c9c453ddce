//! The load generator of Tallycast: many simulated clients in few threads, against any WebSocket server.

mod account;
mod arguments;
mod clock;
mod codec;
mod event_loop;
mod fleet;
mod http;
mod interrupt;
mod io;
mod latency;
mod modes;
mod plot;
mod process;
mod progress;
mod report;
mod schedule;
mod stamp;
mod table;
mod target;
mod window;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use crate::arguments::{Arguments, Common, Stop};
use crate::report::Report;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    interrupt::listen();
    let common = arguments.mode.common().cloned();
    let result = arguments.mode.run().and_then(|report| match (report, common) {
        (Some(report), Some(common)) => show(&report, &common).map(|()| report.exit_code()).map_err(Stop::Usage),
        (Some(_) | None, _) => Ok(0),
    });
    let (code, why) = match result {
        Ok(code) => return ExitCode::from(code),
        Err(Stop::Usage(why)) => (2, why),
        Err(Stop::Unreachable(why)) => (3, why),
    };
    // Nobody is left to be told if this fails.
    let _ = writeln!(std::io::stderr(), "tallycast-loadtest: {why}");
    ExitCode::from(code)
}

/// The table, the JSON and the plots.
fn show(report: &Report, common: &Common) -> Result<(), String> {
    let json_on_stdout = common.json.as_ref().is_some_and(|path| path.as_os_str() == "-");
    if !common.quiet {
        let text = table::text(report);
        let written = match json_on_stdout {
            true => std::io::stderr().write_all(text.as_bytes()),
            false => std::io::stdout().write_all(text.as_bytes()),
        };
        written.map_err(|error| format!("cannot write the table: {error}"))?;
    }
    if let Some(path) = &common.json {
        let mut json = serde_json::to_string_pretty(report).map_err(|error| error.to_string())?;
        json.push('\n');
        let written =
            if json_on_stdout { std::io::stdout().write_all(json.as_bytes()) } else { std::fs::write(path, json) };
        written.map_err(|error| format!("{}: {error}", path.display()))?;
    }
    match &common.plot {
        Some(path) => plot::write(report, path).map_err(|error| format!("{}: {error}", path.display())),
        None => Ok(()),
    }
}
