//! Voters that vote in every turn, many frames in each read.

#![allow(dead_code, reason = "benches, tests and examples each use their part of it")]

use std::time::Duration;

use tallycast::base::keys::ConnKey;

use super::house::{House, text_frame};

/// Votes on their way in, and who listens.
#[derive(Debug)]
pub(crate) struct Poll {
    /// The server.
    pub(crate) house: House,
    /// Who votes.
    pub(crate) voters: Vec<ConnKey>,
    frames: usize,
    bytes: Vec<u8>,
    votes: usize,
}

impl Poll {
    /// `voters` that vote, so many `frames` in each read, and `listeners` that do not; all of them get every step.
    pub(crate) fn new(voters: usize, listeners: usize, frames: usize) -> Poll {
        Poll::on("/steps", voters, listeners, frames, |option| option.into())
    }

    /// Paced: each vote is answered by the next tally alone, of which there are 20 a second.
    pub(crate) fn paced(voters: usize, listeners: usize, frames: usize) -> Poll {
        Poll::on("/vote", voters, listeners, frames, |option| option.into())
    }

    /// In our own dialect: JSON in, one tally for each batch out, and a yes for each vote.
    pub(crate) fn own_dialect(voters: usize, listeners: usize, frames: usize) -> Poll {
        Poll::on("/c/steps", voters, listeners, frames, |option| format!(r#"{{"choice":"{option}"}}"#))
    }

    fn on(path: &str, voters: usize, listeners: usize, frames: usize, write: impl Fn(&str) -> String) -> Poll {
        let mut house = House::new();
        let mut conns = house.connect(voters + listeners, |_| path.to_owned());
        house.settle();
        conns.truncate(voters);
        let bytes = (0..frames).flat_map(|number| text_frame(&write(["1", "2", "3", "4"][number % 4]))).collect();
        Poll { house, voters: conns, frames, bytes, votes: 0 }
    }

    /// Every voter's read of this turn, a millisecond after the last. Returns the votes.
    pub(crate) fn turn(&mut self) -> usize {
        self.house.now += Duration::from_millis(1);
        self.house.begin_turn();
        for &voter in &self.voters {
            self.house.receive(voter, &self.bytes);
        }
        self.house.end_turn();
        // What the engine said is spread and sent.
        self.house.rest();
        let votes = self.voters.len() * self.frames;
        self.votes += votes;
        votes
    }

    /// The sum of all counts in the last tally or the four last steps that `seen` holds, beside the votes sent.
    pub(crate) fn totals(&mut self) -> (u64, u64) {
        self.house.driver.watched = Some(self.voters[0]);
        for _ in 0..2 {
            self.turn();
        }
        self.house.pass(Duration::from_secs(1));
        let seen = String::from_utf8_lossy(&self.house.driver.seen);
        let total = match seen.rfind(r#""total":"#) {
            Some(at) => number(&seen[at + 8..]),
            None => {
                let last = |option: u8| {
                    seen.rfind(&format!(r#"{{"cid": "{option}", "count": "#)).map(|at| number(&seen[at + 22..]))
                };
                (1..=4).filter_map(last).sum()
            }
        };
        (self.house.driver.watched, self.house.driver.seen) = (None, Vec::new());
        (total, self.votes as u64)
    }
}

fn number(text: &str) -> u64 {
    let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().unwrap_or(0)
}
