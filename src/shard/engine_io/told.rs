//! What a client was told of who is there, where its stream was left off: going on elsewhere, it is told what has changed.

use std::collections::BTreeSet;

use crate::engine::{Editing, Presence, State, UserName};
use crate::mirror::Standing;
use crate::shard::connection::{Conn, Protocol};

/// See the module.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::shard) struct Told {
    users: BTreeSet<UserName>,
    editing: Vec<Editing>,
    listeners: u32,
    /// Of a table, so many were shown.
    pub(in crate::shard) rows: usize,
}

/// What has changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::shard) enum News {
    Listeners(u32),
    Presence(Presence),
}

/// What the client of a stream that goes on here was told elsewhere.
pub(in crate::shard) fn told_before(conn: &Conn) -> Option<&Told> {
    match &conn.protocol {
        Protocol::EngineIo(session) => session.taking.as_ref()?.told.as_ref(),
        Protocol::Probe(_) | Protocol::Http(_) | Protocol::WebSocket(_) | Protocol::EventStream(_) | Protocol::Away => {
            None
        }
    }
}

impl Told {
    pub(super) fn of(standing: &Standing) -> Told {
        let Standing { users, editing, listeners, state, .. } = standing;
        let rows = match state {
            State::Table(table) => table.rows().len(),
            State::Log | State::Tally { .. } => 0,
        };
        Told { users: users.clone(), editing: editing.clone(), listeners: *listeners, rows }
    }

    /// What is different now. `notices`: names are told.
    pub(in crate::shard) fn news(&self, now: &Standing, notices: bool) -> impl Iterator<Item = News> {
        let gone = self.users.iter().filter(|user| !now.users.contains(*user)).cloned().map(Presence::Left);
        let came = now.users.iter().filter(|user| !self.users.contains(*user)).cloned().map(Presence::Joined);
        let ended = self.editing.iter().filter(|known| !now.editing.iter().any(|other| other.who == known.who));
        let ended = ended.map(|known| Presence::Editing(Editing { cell: None, ..known.clone() }));
        let edited = now.editing.iter().filter(|mark| !self.editing.contains(mark)).cloned().map(Presence::Editing);
        let names = gone.chain(came).filter(move |_| notices);
        let count = (now.listeners != self.listeners).then_some(News::Listeners(now.listeners));
        names.chain(ended).chain(edited).map(News::Presence).chain(count)
    }
}
