//! Many channels of few members each.

use std::sync::Arc;

use clap::Args;

use super::chat::Talk;
use super::chat::crowd::{Crowd, Pick};
use crate::arguments::{Common, Stop, positive};
use crate::report::Report;
use crate::stamp::PUBLISHERS_MAX;
use crate::target::Target;

/// What stands in the URL for the room's number.
const PLACEHOLDER: &str = "{room}";

#[derive(Args, Debug)]
#[command(after_help = "\
The URL has {room} where the room's number goes, from 0. Messages are sent at the rate by anyone in any room; each must \
come to every member of its room once and in order, and to nobody else.

Examples:
  tallycast-loadtest rooms 'ws://127.0.0.1:5000/c/room/{room}' --rooms 5000 --members 2 --own --not-sender")]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) common: Common,

    /// Rooms
    #[arg(long, short = 'r', default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    rooms: u32,

    /// Members of each room
    #[arg(long, short = 'm', default_value_t = 2, value_parser = clap::value_parser!(u32).range(2..=PUBLISHERS_MAX as i64))]
    members: u32,

    /// Messages a second, of all rooms together
    #[arg(long, default_value_t = 1000.0, value_parser = positive)]
    rate: f64,

    #[command(flatten)]
    talk: Talk,
}

impl Arguments {
    pub(crate) fn run(&self) -> Result<Report, Stop> {
        if !self.common.url.path.contains(PLACEHOLDER) {
            return Err(Stop::Usage(format!("the URL needs {PLACEHOLDER} where the room's number goes")));
        }
        let crowd = Crowd {
            mode: "rooms",
            rooms: self.rooms,
            members: self.members,
            rate: self.rate,
            pick: Pick::Random,
            not_sender: self.talk.not_sender,
            size: self.talk.size,
            around: self.talk.around(),
            seconds: self.talk.seconds,
            warm_seconds: self.talk.warm_seconds,
            patience: self.talk.patience,
        };
        let mut report = crowd.run(&self.common, |room| self.dial(room))?;
        report.set("rooms", self.rooms);
        report.set("members", self.members);
        Ok(report)
    }

    fn dial(&self, room: u32) -> Arc<crate::io::Dial> {
        let path = self.common.url.path.replace(PLACEHOLDER, &room.to_string());
        self.common.dial_to(&Target { path, ..self.common.url.clone() })
    }
}
