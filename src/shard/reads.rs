//! Reads: answered when their mirror is live and behind all mail that came before them, so that who got an answer to a
//! POST finds its effect.

use std::sync::Arc;

use super::connection::{Alarm, Answering, Begins, Joining, Pending, Read};
use super::engine_io::{self, News};
use super::responses::{JSON, refusal_json, status};
use super::{Shard, guarded};
use crate::base::keys::{ConnKey, MirrorKey};
use crate::base::limits::TURN_READ_BYTES_MAX;
use crate::base::time::Time;
use crate::engine::{Asker, Origin, Position, Presence, Publication, Refusal, State};
use crate::kind::Kind;
use crate::mirror::encoding::Encoding;
use crate::mirror::{Mirror, View};
use crate::route::dialect::own;
use crate::route::page::{self, Language, PageId};
use crate::wire::ws::close;

impl Shard {
    /// Answers the reads whose mirror is live.
    pub(super) fn answer_reads(&mut self) {
        let mut later = Vec::new();
        // What is written in one turn is bounded, so that others are served in between.
        let mut written = 0;
        for (conn, key) in std::mem::take(&mut self.reads) {
            if written >= TURN_READ_BYTES_MAX {
                later.push((conn, key));
                continue;
            }
            if self.must_read_later(conn, key) {
                later.push((conn, key));
                continue;
            }
            if let Some(mirror) = self.mirrors.get_mut(key) {
                mirror.reads -= 1;
                self.recount(key);
                self.answer_read(conn, key);
                written += self.conns.get(conn).map_or(0, |conn| conn.private_bytes());
            }
        }
        self.reads.append(&mut later);
    }

    /// Whether somebody waits for a read that cannot be answered yet: its mirror is not live, or the engine has not said
    /// that it knows the reader's name.
    pub(super) fn must_read_later(&self, conn: ConnKey, mirror: MirrorKey) -> bool {
        let Some(pending) = self.conns.get(conn).and_then(|conn| conn.pending.as_deref()) else { return false };
        let asked = matches!(pending, Pending::Read { read: Read::Join { joining: Joining::Asked(_), .. }, .. });
        // A stream goes on where another core left it, which may be ahead of this one.
        let ahead = |at: Position| {
            let begins = match pending {
                Pending::Read { read: Read::Join { begins: Begins::Continued(begins), .. }, .. } => *begins,
                _ => return false,
            };
            begins.epoch == at.epoch && begins.revision > at.revision
        };
        let not_yet = |mirror: &Mirror| mirror.live().is_none_or(|standing| ahead(standing.at()));
        asked || self.mirrors.get(mirror).is_some_and(not_yet)
    }

    fn answer_read(&mut self, key: ConnKey, mirror: MirrorKey) {
        let (how, read) = match self.pending(key) {
            Some(Pending::Read { how, read, .. }) => (how, read),
            other => {
                if let (Some(other), Some(conn)) = (other, self.conns.get_mut(key)) {
                    conn.pending = Some(Box::new(other));
                }
                return;
            }
        };
        // Writing is the channel's code, and may fail.
        let shard = &mut *self;
        let written = guarded(|| match read {
            Read::State { known } => shard.answer_state(key, mirror, &how, known.as_deref()),
            Read::Poll { since, until } => shard.answer_poll(key, mirror, how, since, until),
            Read::Page { page, language, session } => {
                shard.answer_with_page(key, mirror, &how, page, language, session)
            }
            Read::Join { encoding, begins, head, joining } => {
                shard.begin_stream(key, mirror, encoding, begins, &head, joining)
            }
            Read::Members => shard.answer_members(key, mirror, &how),
        });
        if written.is_none() {
            self.fail_mirror(mirror, &Refusal::Failed);
            self.cut(key);
        }
    }

    fn answer_state(&mut self, key: ConnKey, mirror_key: MirrorKey, how: &Answering, known: Option<&str>) {
        let Some(mirror) = self.mirrors.get_mut(mirror_key) else {
            return;
        };
        let Some(at) = mirror.live().map(|standing| standing.at()) else {
            return;
        };
        let etag = format!("\"{at}\"");
        let headers = [("ETag", etag.as_str()), ("Cache-Control", "no-cache"), ("Vary", "Accept")];
        if known.is_some_and(|known| is_known(known, &etag)) {
            self.answer(key, how, 304, &headers, b"");
            return;
        }
        let json = mirror.view(View::Json, |snapshot| {
            let mut json = Vec::new();
            own::snapshot(&mut json, snapshot);
            Some(json)
        });
        let mut headers = headers.to_vec();
        headers.push(("Content-Type", JSON));
        self.answer_shared(key, how, &headers, json);
    }

    fn answer_poll(
        &mut self,
        key: ConnKey,
        mirror_key: MirrorKey,
        how: Answering,
        since: Option<Position>,
        until: Time,
    ) {
        let Some(mirror) = self.mirrors.get_mut(mirror_key) else {
            return;
        };
        let Some(standing) = mirror.live() else { return };
        let waits = since == Some(standing.at()) && until > self.now && !self.stopping;
        if waits && self.parked_polls >= self.setup.limits.polls_max {
            let refusal = Refusal::Full { bound: "fewer polls at a time" };
            let body = refusal_json(refusal.code(), refusal.expected());
            return self.answer(key, &how, status(&refusal), &[("Content-Type", JSON)], &body);
        }
        if let (Some(since), true) = (since, waits) {
            mirror.parked.push(key);
            self.parked_polls += 1;
            self.recount(mirror_key);
            if let Some(conn) = self.conns.get_mut(key) {
                conn.pending = Some(Box::new(Pending::Parked { mirror: mirror_key, how, since }));
            }
            self.set_alarm(key, Some((until, Alarm::PollOver)));
            return;
        }
        self.answer_news(key, mirror_key, &how, since);
    }

    /// Answers a parked poll: there is news, or the wait is over. It is out of the mirror's list already.
    pub(super) fn answer_parked(&mut self, key: ConnKey, over: bool) {
        match self.pending(key) {
            Some(Pending::Parked { mirror, how, since }) => {
                let shard = &mut *self;
                if guarded(|| shard.answer_news(key, mirror, &how, Some(since))).is_none() {
                    self.cut(key);
                }
            }
            other => {
                debug_assert!(over || other.is_none(), "a parked poll waits for nothing else");
                if let (Some(other), Some(conn)) = (other, self.conns.get_mut(key)) {
                    conn.pending = Some(Box::new(other));
                }
            }
        }
    }

    fn answer_news(&mut self, key: ConnKey, mirror: MirrorKey, how: &Answering, since: Option<Position>) {
        let Some(mirror) = self.mirrors.get(mirror) else { return };
        let Some(standing) = &mirror.standing else { return };
        let mut json = Vec::new();
        match since.and_then(|since| standing.history.follow(since)) {
            Some(news) => own::publications(&mut json, &mirror.channel, standing.at(), &standing.state, news),
            None => {
                if let Some(snapshot) = mirror.snapshot() {
                    own::snapshot(&mut json, &snapshot);
                }
            }
        }
        self.answer(key, how, 200, &[("Content-Type", JSON), ("Cache-Control", "no-store")], &json);
    }

    /// A poll's connection is gone, or its wait is over.
    pub(super) fn unpark(&mut self, key: ConnKey, mirror_key: MirrorKey) {
        if let Some(mirror) = self.mirrors.get_mut(mirror_key) {
            let before = mirror.parked.len();
            mirror.parked.retain(|parked| *parked != key);
            self.parked_polls -= before - mirror.parked.len();
            self.recount(mirror_key);
        }
    }

    fn answer_with_page(
        &mut self,
        key: ConnKey,
        mirror_key: MirrorKey,
        how: &Answering,
        page: PageId,
        language: Language,
        session: Option<super::connection::PageSession>,
    ) {
        let Some(mirror) = self.mirrors.get_mut(mirror_key) else {
            return;
        };
        let Some(at) = mirror.live().map(|standing| standing.at()) else {
            return;
        };
        let Some(listener) = self.conns.get(key).map(|conn| conn.listener) else { return };
        let setup = &self.setup;
        let target = mirror.target();
        let html = mirror.view(View::Page(page, language, listener), |snapshot| {
            let State::Tally { options, counts } = snapshot.state else {
                return None;
            };
            let links = &setup.links(listener);
            let view = page::View { channel: snapshot.channel, at: snapshot.history.at(), options, counts, links };
            Some(page::render(page, language, &view).into_bytes())
        });
        let session = session.filter(|_| !how.head_only);
        let cookie = session.and_then(|session| self.page_session(session, target, at));
        self.answer_page(key, how, html, cookie.as_deref());
    }

    fn answer_members(&mut self, key: ConnKey, mirror: MirrorKey, how: &Answering) {
        let Some(mirror) = self.mirrors.get(mirror) else { return };
        let Some(standing) = mirror.live() else { return };
        let mut json = Vec::new();
        own::members(&mut json, Some((&mirror.channel, standing.listeners)), standing.present.users.iter());
        self.answer(key, how, 200, &[("Content-Type", JSON), ("Cache-Control", "no-store")], &json);
    }

    /// A stream's first bytes: a replay if it can be followed, the present state otherwise; then it reads its log.
    fn begin_stream(
        &mut self,
        key: ConnKey,
        mirror_key: MirrorKey,
        encoding: Encoding,
        begins: Begins,
        head: &[u8],
        joining: Joining,
    ) {
        self.push(key, head, None);
        if let Some(outgoing) = self.conns.get_mut(key).and_then(|conn| conn.outgoing.as_deref_mut()) {
            outgoing.stream_begins();
        }
        let Encoding { transport, dialect } = encoding;
        let setup = self.setup.clone();
        let dialect = setup.dialect(dialect);
        let Some(mirror) = self.mirrors.get_mut(mirror_key) else {
            return;
        };
        let Some(standing) = mirror.live() else { return };
        let manners = &setup.class(mirror.class).manners;
        let follow = |at| standing.history.follow(at).map(|news| news.cloned().collect::<Vec<Arc<Publication>>>());
        let replay = match begins {
            Begins::Since(at) if dialect.knows_positions() => follow(at),
            // Where rows are named by where they stand, changes of before cannot be told any more.
            Begins::Continued(at) => {
                let can_tell = dialect.knows_positions() || !dialect.has_snapshots();
                follow(at).filter(|news| news.is_empty() || can_tell)
            }
            Begins::Since(_) | Begins::Now => None,
        };
        if matches!(begins, Begins::Continued(_)) && replay.is_none() && !dialect.has_snapshots() {
            // Its name is known already, and no stream whose end would say that it is gone.
            self.depart(mirror_key, Asker::Connection(key), encoding.dialect);
            return self.close_websocket(key, close::TOO_SLOW, "history was lost: come back");
        }
        // Who cannot be shown the present state gets what was kept for it.
        let kept = match (&replay, joining) {
            (Some(_), _) => Vec::new(),
            (None, _) if dialect.has_snapshots() => Vec::new(),
            // One to one: from when the name was there, nobody was told that it was not.
            (None, Joining::Joined { heard }) if mirror.kind == Kind::Direct => {
                standing.history.recent().filter(|kept| kept.last > heard).cloned().collect()
            }
            (None, _) => {
                let recent = standing.history.recent();
                let skipped = recent.len().saturating_sub(manners.recent);
                recent.skip(skipped).cloned().collect()
            }
        };
        let encoder = &mut self.encoder;
        let mut first: Vec<Vec<u8>> = Vec::new();
        if replay.is_none() {
            let view = mirror.view(View::Framed(encoding), |snapshot| {
                encoder.snapshot(transport, dialect, snapshot).map(<[u8]>::to_vec)
            });
            if let Some(view) = view {
                self.push_shared(key, view);
            }
        }
        let Some(mirror) = self.mirrors.get(mirror_key) else { return };
        let (Some(standing), Some(snapshot)) = (mirror.live(), mirror.snapshot()) else { return };
        let encoder = &mut self.encoder;
        if let (Some(_), Begins::Since(at)) = (&replay, begins) {
            first.push(encoder.resumed(transport, dialect, &snapshot, at).to_vec());
        }
        let myself = Origin { core: self.core, asker: Asker::Connection(key) };
        let told = self.conns.get(key).and_then(engine_io::told_before);
        if let (None, Some(told)) = (&replay, told) {
            first.push(encoder.emptied(transport, dialect, &standing.state, told.rows).to_vec());
        }
        // Behind a snapshot a stream begins anew.
        if !matches!(begins, Begins::Continued(_)) || replay.is_none() {
            encoder.present(transport, dialect, standing, manners.notices, Some(myself), |_, message| {
                first.push(message.to_vec());
            });
        } else if let Some(told) = told {
            let is_own = |news: &News| matches!(news, News::Presence(Presence::Editing(mark)) if mark.who == myself);
            let news = told.news(standing, manners.notices).filter(|news| !is_own(news));
            first.extend(news.map(|news| match news {
                News::Listeners(count) => encoder.listeners(transport, dialect, count).to_vec(),
                News::Presence(news) => encoder.presence(transport, dialect, &news).to_vec(),
            }));
        }
        for publication in replay.iter().flatten().chain(&kept) {
            encoder
                .publication(transport, dialect, &standing.state, publication, |message| first.push(message.to_vec()));
        }
        for message in first {
            self.push(key, &message, None);
        }
        self.subscribe(key, mirror_key, encoding);
    }
}

/// Whether `If-None-Match` names the entity (RFC 9110 section 13.1.2: a weak comparison).
fn is_known(if_none_match: &str, etag: &str) -> bool {
    let tags = if_none_match.split(',').map(str::trim);
    tags.map(|tag| tag.strip_prefix("W/").unwrap_or(tag)).any(|tag| tag == "*" || tag == etag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entity_tags_are_compared_weakly() {
        for (header, expected) in
            [("\"e-1\"", true), ("W/\"e-1\"", true), ("\"x\", \"e-1\"", true), ("*", true), ("e-1", false), ("", false)]
        {
            assert_eq!(is_known(header, "\"e-1\""), expected, "{header}");
        }
    }
}
