//! What can be asked of a server. A mode is a module with its `Arguments`, whose `run` gives a report.

pub(crate) mod chat;
pub(crate) mod connect;
pub(crate) mod echo;
pub(crate) mod fanout;
pub(crate) mod floor;
pub(crate) mod idle;
pub(crate) mod poll;
mod publishing;
pub(crate) mod rooms;
pub(crate) mod slow;
pub(crate) mod sse;
pub(crate) mod stages;
pub(crate) mod vote;

use clap::Subcommand;

use crate::arguments::{Common, Stop};
use crate::plot;
use crate::report::Report;

/// A new mode is a line here, one in `common` and one in `run`.
#[derive(Subcommand, Debug)]
pub(crate) enum Mode {
    /// Publishers send, every subscriber gets everything
    Fanout(fanout::Arguments),
    /// Each client sends messages and waits for them to come back
    Echo(echo::Arguments),
    /// A storm of handshakes: connect, upgrade, close
    Connect(connect::Arguments),
    /// Connections that do nothing: the server's memory for each, and its wake-ups
    Idle(idle::Arguments),
    /// A server that does nothing but `send`: the yardstick for fanout
    Floor(floor::Arguments),
    /// Voters, and listeners who must end on the true totals
    Vote(vote::Arguments),
    /// Members of one group who all send and all listen
    Chat(chat::Arguments),
    /// Many channels of few members each
    Rooms(rooms::Arguments),
    /// Subscribers that never read, beside others that do
    Slow(slow::Arguments),
    /// Subscribers over Server-Sent Events
    Sse(sse::Arguments),
    /// Clients that poll while somebody publishes
    Poll(poll::Arguments),
    /// Draws reports, or bars, as SVG
    Plot(plot::Arguments),
}

impl Mode {
    /// What all modes share; `None` for one that connects to nobody.
    pub(crate) fn common(&self) -> Option<&Common> {
        match self {
            Mode::Fanout(mode) => Some(&mode.common),
            Mode::Echo(mode) => Some(&mode.common),
            Mode::Connect(mode) => Some(&mode.common),
            Mode::Idle(mode) => Some(&mode.common),
            Mode::Vote(mode) => Some(&mode.common),
            Mode::Chat(mode) => Some(&mode.common),
            Mode::Rooms(mode) => Some(&mode.common),
            Mode::Slow(mode) => Some(&mode.common),
            Mode::Sse(mode) => Some(&mode.common),
            Mode::Poll(mode) => Some(&mode.common),
            Mode::Floor(_) | Mode::Plot(_) => None,
        }
    }

    /// Runs it. `None`: there is nothing to report.
    pub(crate) fn run(&self) -> Result<Option<Report>, Stop> {
        match self {
            Mode::Fanout(mode) => mode.run().map(Some),
            Mode::Echo(mode) => mode.run().map(Some),
            Mode::Connect(mode) => mode.run().map(Some),
            Mode::Idle(mode) => mode.run().map(Some),
            Mode::Floor(mode) => mode.run().map(|()| None),
            Mode::Vote(mode) => mode.run().map(Some),
            Mode::Chat(mode) => mode.run().map(Some),
            Mode::Rooms(mode) => mode.run().map(Some),
            Mode::Slow(mode) => mode.run().map(Some),
            Mode::Sse(mode) => mode.run().map(Some),
            Mode::Poll(mode) => mode.run().map(Some),
            Mode::Plot(mode) => mode.run().map(|()| None),
        }
    }
}
