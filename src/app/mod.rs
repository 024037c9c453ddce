//! The command line, the configuration, and what starts the server.

mod check;
pub mod config;
mod print;
mod serve;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use self::config::{Config, ConfigErrors};

/// It went as asked.
const EXIT_OK: u8 = 0;
/// The server could not start, or could not go on.
const EXIT_RUNTIME: u8 = 1;
/// The configuration or the command line is wrong; clap uses the same.
const EXIT_CONFIG: u8 = 2;

/// A real-time push server: people vote, chat, edit or publish, and everyone who listens sees it at once.
#[derive(Parser, Debug)]
#[command(name = "tallycast", version, args_conflicts_with_subcommands = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Starts the server (what is done if no command is given)
    Serve(Serve),
    /// Validates a configuration and prints what it will do
    Check(Check),
}

#[derive(Args, Debug)]
struct Serve {
    /// The configuration; without it, the demo that is embedded in this program
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Args, Debug)]
struct Check {
    /// The configuration; without it, the demo that is embedded in this program
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Why the program ends before it was asked to.
#[derive(Debug)]
enum Failure {
    /// The configuration is wrong.
    Config(ConfigErrors),
    /// The server could not start, or could not go on.
    Runtime(String),
}

/// Does what the command line says. Exit codes: 0 it went as asked, 1 the server failed, 2 the configuration or the
/// command line is wrong.
pub fn run() -> ExitCode {
    let command_line = CommandLine::parse();
    let result = match command_line.command.unwrap_or(Command::Serve(command_line.serve)) {
        Command::Serve(serve) => read(serve.config.as_deref()).and_then(serve::serve),
        Command::Check(check) => read(check.file.as_deref()).map(|config| {
            let name = check.file.map_or(config::DEMO_NAME.to_owned(), |file| file.display().to_string());
            print::lines(&check::describe(&config, &name));
        }),
    };
    ExitCode::from(match result {
        Ok(()) => EXIT_OK,
        Err(Failure::Config(errors)) => {
            print::error(&errors);
            EXIT_CONFIG
        }
        Err(Failure::Runtime(wrong)) => {
            print::error(&format_args!("tallycast: {wrong}"));
            EXIT_RUNTIME
        }
    })
}

/// The configuration of the file, or the demo.
fn read(file: Option<&Path>) -> Result<Config, Failure> {
    match file {
        Some(file) => config::load(file),
        None => config::parse(config::DEMO, config::DEMO_NAME),
    }
    .map_err(Failure::Config)
}
