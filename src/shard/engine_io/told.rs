//! What a client was told of who is there, where its stream was left off: going on elsewhere, it is told what has changed.

use crate::engine::Presence;
use crate::mirror::{Present, Standing};
use crate::shard::connection::{Conn, Protocol};

/// See the module.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::shard) struct Told {
    present: Present,
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
        Told { present: standing.present.clone(), listeners: standing.listeners, rows: standing.rows_most }
    }

    /// What is different now. `notices`: names are told.
    pub(in crate::shard) fn news(&self, now: &Standing, notices: bool) -> impl Iterator<Item = News> {
        let news = self.present.news(&now.present).into_iter().filter(move |news| news.is_told(notices));
        let count = (now.listeners != self.listeners).then_some(News::Listeners(now.listeners));
        news.map(News::Presence).chain(count)
    }
}
