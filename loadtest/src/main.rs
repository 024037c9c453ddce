//! The load generator of Tallycast.

use clap::Parser;

/// Loads a WebSocket server from many simulated clients. It has no modes yet.
#[derive(Parser)]
#[command(name = "tallycast-loadtest", version, arg_required_else_help = true)]
struct Arguments {}

fn main() {
    Arguments::parse();
}
