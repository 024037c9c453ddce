//! A channel's pace: so many flushes a second at most, and none before the last round has had its time.
//!
//! Of a channel with a state, publications are taken into the state at once and told in sum: the logs get one message
//! for all of them when a flush is due. Of other channels every message stands in its log at once, and the rounds wait.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::base::keys::ConnKey;
use crate::base::limits::{PACE_ROUND_FACTOR, PACE_WAIT_MAX};
use crate::base::time::Time;
use crate::base::wheel::TimerKey;
use crate::engine::table::{CellEdit, Edit, RowId};
use crate::engine::{Change, ChannelName, Position, Publication, State, TableChange};

use super::Standing;

/// See the module. What is told at once, step by step, is no concern of it.
#[derive(Debug)]
pub struct Pace {
    interval: Duration,
    /// Whether publications are told in sum.
    pub sums: bool,
    /// If there is more than was told: up to where that was.
    pub told: Option<Position>,
    /// Those who have begun since the last flush, and were shown more than was told. Of one who is there twice the later
    /// counts.
    pub ahead: Vec<Ahead>,
    /// Those with answers that stand behind the next flush.
    pub held: Vec<ConnKey>,
    /// The timer for the next flush, if there is something to tell.
    pub armed: Option<(TimerKey, Time)>,
    flushed: Option<Time>,
    /// The round of that flush is under way.
    in_round: bool,
    last_round: Duration,
}

/// A reader who was shown more than its log tells.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Ahead {
    /// Who.
    pub conn: ConnKey,
    /// In which log.
    pub log: u8,
    /// Up to this revision.
    pub revision: u64,
}

impl Pace {
    /// So many flushes a second at most. `sums`: the channel has a state.
    pub fn new(max_rate: u16, sums: bool) -> Pace {
        Pace {
            interval: Duration::from_secs(1) / u32::from(max_rate.max(1)),
            sums,
            told: None,
            ahead: Vec::new(),
            held: Vec::new(),
            armed: None,
            flushed: None,
            in_round: false,
            last_round: Duration::ZERO,
        }
    }

    /// When the next flush may be.
    pub fn due(&self) -> Time {
        let rounds = if self.in_round { PACE_WAIT_MAX } else { self.last_round * PACE_ROUND_FACTOR };
        self.flushed.map_or(Time::ZERO, |flushed| flushed + self.interval.max(rounds).min(PACE_WAIT_MAX))
    }

    /// A flush begins.
    pub fn flush_begins(&mut self, now: Time) {
        (self.flushed, self.in_round) = (Some(now), true);
    }

    /// Everyone has been visited, if a round was under way.
    pub fn round_ends(&mut self, now: Time) {
        if let (Some(flushed), true) = (self.flushed, std::mem::take(&mut self.in_round)) {
            self.last_round = now - flushed;
        }
    }
}

/// What stands for all that came behind a position.
#[derive(Debug)]
pub enum Sum {
    /// These, in order. Of cells that were written several times only the last is there.
    Publications(Vec<Arc<Publication>>),
    /// These, in order: rows came, moved or went. Who names rows by where they stand cannot be told them any more.
    Rows(Vec<Arc<Publication>>),
    /// The present state, for that is not kept.
    State,
}

/// The sum of what came behind `told` in this channel.
pub fn sum(channel: &ChannelName, standing: &Standing, told: Position) -> Sum {
    let at = standing.at();
    if let State::Tally { counts, .. } = &standing.state {
        let change = Change::Tally { steps: Box::default(), counts: counts.as_slice().into() };
        let first = told.revision + 1;
        let sum = Publication { channel: channel.clone(), epoch: at.epoch, first, last: at.revision, change };
        return Sum::Publications(vec![Arc::new(sum)]);
    }
    let Some(news) = standing.history.follow(told) else { return Sum::State };
    let news: Vec<Arc<Publication>> = news.cloned().collect();
    let only_cells =
        |news: &Arc<Publication>| matches!(&news.change, Change::Table(TableChange { edit: Edit::Cells(_), .. }));
    if news.iter().all(only_cells) { Sum::Publications(latest_cells(&news)) } else { Sum::Rows(news) }
}

/// The same without what a later one writes again.
fn latest_cells(news: &[Arc<Publication>]) -> Vec<Arc<Publication>> {
    let mut written: BTreeSet<(&RowId, u16)> = BTreeSet::new();
    let mut latest = Vec::new();
    for publication in news.iter().rev() {
        let Change::Table(TableChange { edit: Edit::Cells(cells), by }) = &publication.change else { continue };
        let is_last = |cell: &&CellEdit| !written.contains(&(&cell.row, cell.column));
        let kept: Vec<CellEdit> = cells.iter().filter(is_last).cloned().collect();
        if kept.len() == cells.len() {
            latest.push(publication.clone());
        } else if !kept.is_empty() {
            let change = Change::Table(TableChange { edit: Edit::Cells(kept.into()), by: by.clone() });
            latest.push(Arc::new(Publication { change, channel: publication.channel.clone(), ..**publication }));
        }
        written.extend(cells.iter().map(|cell| (&cell.row, cell.column)));
    }
    latest.reverse();
    latest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When the next flush may be, behind one at 10 s.
    #[test]
    fn the_next_flush_waits_for_the_pace_and_twice_the_round() {
        let millis = |millis| Time::from_millis(10_000 + millis);
        let rows: [(u16, Option<u64>, u64); 9] = [
            (20, Some(0), 50),
            (20, Some(24), 50),
            (20, Some(25), 50),
            (20, Some(98), 196),
            (20, Some(499), 998),
            (20, Some(800), 1000),
            (20, None, 1000),
            (1000, Some(0), 1),
            (1, Some(3), 1000),
        ];
        for (rate, round, expected) in rows {
            let mut pace = Pace::new(rate, true);
            assert_eq!(pace.due(), Time::ZERO, "the first at once");
            pace.flush_begins(millis(0));
            if let Some(round) = round {
                pace.round_ends(millis(round));
                pace.round_ends(millis(5000));
            }
            assert_eq!(pace.due(), millis(expected), "{rate} a second, a round of {round:?} ms");
        }
    }
}
