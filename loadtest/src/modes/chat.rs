//! Members of one group who all send and all listen.

pub(crate) mod crowd;

use clap::Args;

use self::crowd::{Crowd, Pick};
use crate::arguments::{Common, Stop, positive};
use crate::report::Report;
use crate::stamp::PUBLISHERS_MAX;

#[derive(Args, Debug)]
#[command(after_help = "\
Each member sends at a rate of its own, and each message must come to every member once and in order. What the others \
send is told apart from what the server says by itself (snapshots, listeners, ok), which is passed over.

Examples:
  tallycast-loadtest chat ws://127.0.0.1:9100/bench -n 100 --rate 1
  tallycast-loadtest chat ws://127.0.0.1:5000/c/room/lobby -n 50 --own --not-sender")]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) common: Common,

    /// Members
    #[arg(long, short = 'n', default_value_t = 100, value_parser = clap::value_parser!(u32).range(2..=PUBLISHERS_MAX as i64))]
    members: u32,

    /// Messages a second of each member
    #[arg(long, default_value_t = 1.0, value_parser = positive)]
    rate: f64,

    #[command(flatten)]
    talk: Talk,
}

/// What chat and rooms have in common.
#[derive(Args, Debug)]
pub(crate) struct Talk {
    /// The server gives a message to everyone but its sender
    #[arg(long)]
    pub(crate) not_sender: bool,

    /// Speak Tallycast's own dialect: a message is {"text":".."}
    #[arg(long, conflicts_with_all = ["prefix", "suffix"])]
    pub(crate) own: bool,

    /// Text before each message
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) prefix: String,

    /// Text behind each message
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) suffix: String,

    /// Bytes of a message, at least 28
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(28..))]
    pub(crate) size: u32,

    /// Measured seconds
    #[arg(long, default_value_t = 10.0, value_parser = positive)]
    pub(crate) seconds: f64,

    /// Seconds that the warm-up may take, which ends when each member has had 20 deliveries
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0, value_parser = positive)]
    pub(crate) warm_seconds: f64,

    /// Seconds without any delivery after which what is under way counts as lost
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0, value_parser = positive)]
    pub(crate) patience: f64,
}

impl Talk {
    /// What stands before and behind each message.
    pub(crate) fn around(&self) -> (String, String) {
        match self.own {
            true => ("{\"text\":\"".to_owned(), "\"}".to_owned()),
            false => (self.prefix.clone(), self.suffix.clone()),
        }
    }
}

impl Arguments {
    pub(crate) fn run(&self) -> Result<Report, Stop> {
        let crowd = Crowd {
            mode: "chat",
            rooms: 1,
            members: self.members,
            rate: self.rate * f64::from(self.members),
            pick: Pick::InTurn,
            not_sender: self.talk.not_sender,
            size: self.talk.size,
            around: self.talk.around(),
            seconds: self.talk.seconds,
            warm_seconds: self.talk.warm_seconds,
            patience: self.talk.patience,
        };
        crowd.run(&self.common, |_| self.common.dial())
    }
}
