//! Sessions: listeners that outlive their connections. A long-poller is known by its cookie; the cookie names the core
//! where its session lives, and a poll that arrives on another core is forwarded there and answered from there.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use rand::RngExt;

use super::connection::{Answering, PageSession, Pending, SessionPoll};
use super::responses::{JSON, refusal_json, status};
use super::timers::Timer;
use super::{Mail, Shard};
use crate::base::keys::{ConnKey, CoreId, MirrorKey, OfSession, SessionKey, Slots};
use crate::base::time::Time;
use crate::base::wheel::TimerKey;
use crate::engine::{Change, Position, Refusal, State};
use crate::mirror::Standing;
use crate::route::dialect::{Dialect, bare};
use crate::route::{DialectId, Target};

/// The name of the cookie.
pub(super) const COOKIE: &str = "tallycast_session";
/// Who was polled no longer ago than this is listening: a new page leaves the cursor where it is.
const POLLED_LATELY: Duration = Duration::from_secs(30);

/// A session's name, as the cookie has it: where it lives, which it is, and a secret.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionName {
    pub(super) core: CoreId,
    key: SessionKey,
    secret: u64,
}

impl fmt::Display for SessionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:x}.{:x}", self.core.0, self.key.pack(), self.secret)
    }
}

/// The text is no session's name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoName;

impl FromStr for SessionName {
    type Err = NoName;

    fn from_str(text: &str) -> Result<SessionName, NoName> {
        // What Rust reads as a number may begin with a plus; none is written.
        if text.contains('+') {
            return Err(NoName);
        }
        let mut parts = text.splitn(3, '.');
        let mut part = || parts.next().ok_or(NoName);
        let hex = |text: &str| u64::from_str_radix(text, 16).map_err(|_| NoName);
        Ok(SessionName {
            core: CoreId(part()?.parse().map_err(|_| NoName)?),
            key: SessionKey::unpack(hex(part()?)?),
            secret: hex(part()?)?,
        })
    }
}

/// A poll that arrived on another core.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ForwardedPoll {
    name: SessionName,
    from: Requester,
    poll: SessionPoll,
}

/// What came of a forwarded poll.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PollAnswer {
    /// No such session.
    Unknown,
    /// A change, or that there was none.
    Body(Vec<u8>),
    /// The session has as many parked polls as it may.
    TooMany,
    /// The channel cannot be listened to.
    Refused(Refusal),
}

/// Which request waits, on which core.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Requester {
    core: CoreId,
    conn: ConnKey,
    number: u32,
}

#[derive(Debug)]
struct Session {
    secret: u64,
    target: Target,
    dialect: DialectId,
    cursor: Cursor,
    /// The present counts that are still to be told, one at a time.
    present: VecDeque<(u16, u64)>,
    parked: Vec<Parked>,
    used: Time,
    polled: Option<Time>,
    /// Where it is listed while it has parked polls.
    mirror: Option<MirrorKey>,
}

/// How far a session's client has been told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cursor {
    /// Nothing yet: it begins with the next change.
    Next,
    /// Up to here.
    At(Position),
    /// Something, but how far is not known any more: it begins with the present counts.
    Lost,
}

#[derive(Clone, Copy, Debug)]
struct Parked {
    who: Requester,
    until: Time,
    timer: TimerKey,
}

/// The sessions of one core.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    slots: Slots<OfSession, Session>,
    /// The longest unused first.
    by_use: BTreeSet<(Time, SessionKey)>,
}

impl Sessions {
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn parked(&self) -> usize {
        self.slots.iter().map(|(_, session)| session.parked.len()).sum()
    }

    pub(super) fn next_expiry(&self, idle: Duration) -> Option<Time> {
        self.by_use.first().map(|(used, _)| *used + idle)
    }

    fn get_mut(&mut self, name: SessionName) -> Option<&mut Session> {
        self.slots.get_mut(name.key).filter(|session| session.secret == name.secret)
    }

    fn touch(&mut self, key: SessionKey, now: Time) {
        if let Some(session) = self.slots.get_mut(key) {
            self.by_use.remove(&(session.used, key));
            session.used = now;
            self.by_use.insert((now, key));
        }
    }

    fn remove(&mut self, key: SessionKey) -> Option<Session> {
        let session = self.slots.remove(key)?;
        self.by_use.remove(&(session.used, key));
        Some(session)
    }
}

impl Shard {
    /// The session of a poll that has arrived: the client's own, wherever it lives, or a new one.
    ///
    /// # Errors
    /// A refusal, if there is no room for a new one.
    pub(super) fn session_poll(
        &mut self,
        name: Option<SessionName>,
        how: Answering,
        poll: SessionPoll,
    ) -> Result<Pending, Refusal> {
        let number = self.next_number();
        let name = name.filter(|name| name.core.0 < self.cores);
        let known = name.filter(|name| name.core != self.core || self.has_session(*name, &poll.target));
        let (name, cookie) = match known {
            Some(name) => (name, false),
            None => {
                let cursor = if name.is_some() { Cursor::Lost } else { Cursor::Next };
                (self.new_session(poll.target.clone(), poll.dialect, cursor)?, true)
            }
        };
        Ok(Pending::Session { name, number, how, poll, cookie })
    }

    /// Brings the poll that a connection waits with to its session.
    pub(super) fn poll_session(&mut self, conn: ConnKey) {
        let Some(Pending::Session { name, number, poll, .. }) =
            self.conns.get(conn).and_then(|conn| conn.pending.as_deref())
        else {
            return;
        };
        let forwarded = ForwardedPoll {
            name: *name,
            from: Requester { core: self.core, conn, number: *number },
            poll: poll.clone(),
        };
        if forwarded.name.core == self.core {
            self.poll_forwarded(forwarded);
        } else {
            self.letters[usize::from(forwarded.name.core.0)].push(Mail::Poll(forwarded));
        }
    }

    /// Parks a poll in its session; it is answered behind the inbox, if there is something.
    pub(super) fn poll_forwarded(&mut self, ForwardedPoll { name, from, poll }: ForwardedPoll) {
        if !self.has_session(name, &poll.target) {
            self.deliver(from, PollAnswer::Unknown);
            return;
        }
        let mirror = match self.mirror_of(&poll.target) {
            Ok(mirror) => mirror,
            Err(refusal) => return self.deliver(from, PollAnswer::Refused(refusal)),
        };
        let polls_max = self.limits().session_polls_max;
        let Some(session) = self.sessions.get_mut(name) else {
            return;
        };
        if session.parked.len() >= polls_max {
            return self.deliver(from, PollAnswer::TooMany);
        }
        let timer = self.timers.insert(poll.until, Timer::Session(name.key));
        session.parked.push(Parked { who: from, until: poll.until, timer });
        session.polled = Some(self.now);
        if session.mirror.replace(mirror) != Some(mirror)
            && let Some(listed) = self.mirrors.get_mut(mirror)
        {
            listed.sessions.push(name.key);
            self.recount(mirror);
        }
        self.sessions.touch(name.key, self.now);
        self.due_sessions.push(name.key);
    }

    /// Answers the polls of sessions that have something to tell.
    pub(super) fn answer_sessions(&mut self) {
        self.tell_due_sessions();
        for (conn, number, answer) in std::mem::take(&mut self.poll_answers) {
            self.poll_answered(conn, number, answer);
        }
    }

    fn tell_due_sessions(&mut self) {
        for key in std::mem::take(&mut self.due_sessions) {
            self.tell_session(key);
        }
    }

    /// Answers a session's parked polls, if there is something that it has not told.
    fn tell_session(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.slots.get_mut(key) else { return };
        if session.parked.is_empty() {
            return;
        }
        let Some(mirror) = session.mirror.and_then(|mirror| self.mirrors.get(mirror)) else { return };
        let Some(standing) = mirror.live() else { return };
        let Some((option, count)) = session.next(standing) else { return };
        let State::Tally { options, .. } = &standing.state else { return };
        let Dialect::Steps { key: name } = self.setup.dialect(session.dialect) else { return };
        let mut body = Vec::new();
        bare::poll(&mut body, name, Some((&options[usize::from(option)], count)));
        self.answer_all(key, |_| true, &PollAnswer::Body(body));
    }

    /// Some polls of a session have waited long enough.
    pub(super) fn session_polls_over(&mut self, key: SessionKey) {
        self.tell_session(key);
        let Some(session) = self.sessions.slots.get(key) else {
            return;
        };
        let answer = PollAnswer::Body(self.nothing_new(session.dialect));
        let now = self.now;
        self.answer_all(key, |parked| parked.until <= now, &answer);
    }

    pub(super) fn refuse_session(&mut self, key: SessionKey, refusal: &Refusal) {
        self.answer_all(key, |_| true, &PollAnswer::Refused(refusal.clone()));
    }

    /// The server stops: a parked poll is told that there is nothing.
    pub(super) fn answer_session_over(&mut self, conn: ConnKey) {
        let Some(Pending::Session { name, number, poll, .. }) =
            self.conns.get(conn).and_then(|conn| conn.pending.as_deref())
        else {
            return;
        };
        let (name, number, dialect) = (*name, *number, poll.dialect);
        if name.core == self.core {
            self.withdraw(name, self.core, conn, number);
        } else {
            self.letters[usize::from(name.core.0)].push(Mail::Withdraw { name, from: self.core, conn, number });
        }
        let answer = PollAnswer::Body(self.nothing_new(dialect));
        self.poll_answered(conn, number, answer);
    }

    /// Who polled is gone, and takes nothing with it.
    pub(super) fn withdraw(&mut self, name: SessionName, from: CoreId, conn: ConnKey, number: u32) {
        let who = Requester { core: from, conn, number };
        if let Some(session) = self.sessions.get_mut(name) {
            for parked in session.parked.extract_if(.., |parked| parked.who == who) {
                self.timers.cancel(parked.timer);
            }
            self.unlist(name.key);
        }
    }

    /// A poll of this core's has its answer.
    pub(super) fn poll_answered(&mut self, conn: ConnKey, number: u32, answer: PollAnswer) {
        let (name, how, poll, cookie) = match self.pending(conn) {
            Some(Pending::Session { name, number: waited, how, poll, cookie }) if waited == number => {
                (name, how, poll, cookie)
            }
            other => {
                if let (Some(other), Some(conn)) = (other, self.conns.get_mut(conn)) {
                    conn.pending = Some(Box::new(other));
                }
                return;
            }
        };
        let set_cookie = cookie.then(|| cookie_header(name));
        let mut headers = vec![("Content-Type", JSON), ("Cache-Control", "no-store")];
        headers.extend(set_cookie.as_deref().map(|cookie| ("Set-Cookie", cookie)));
        match answer {
            PollAnswer::Body(body) => self.answer(conn, &how, 200, &headers, &body),
            PollAnswer::TooMany => {
                let body = refusal_json("too_many_polls", "fewer polls at a time in one session");
                self.answer(conn, &how, 429, &headers, &body);
            }
            PollAnswer::Refused(refusal) => {
                let body = refusal_json(refusal.code(), refusal.expected());
                self.answer(conn, &how, status(&refusal), &headers, &body);
            }
            PollAnswer::Unknown => match self.new_session(poll.target.clone(), poll.dialect, Cursor::Lost) {
                Ok(name) => {
                    let number = self.next_number();
                    if let Some(conn) = self.conns.get_mut(conn) {
                        conn.pending = Some(Box::new(Pending::Session { name, number, how, poll, cookie: true }));
                    }
                    self.poll_session(conn);
                }
                Err(refusal) => {
                    let body = refusal_json(refusal.code(), refusal.expected());
                    self.answer(conn, &how, status(&refusal), &headers, &body);
                }
            },
        }
    }

    /// The session that goes with a page that shows `at`: the client's own goes on from there if nobody polls it;
    /// who has none gets one. Returns the cookie to be set.
    pub(super) fn page_session(&mut self, session: PageSession, target: Target, at: Position) -> Option<String> {
        match session.name.filter(|name| name.core.0 < self.cores) {
            Some(name) if name.core != self.core => {
                self.letters[usize::from(name.core.0)].push(Mail::Renew { name, at });
                None
            }
            Some(name) if self.has_session(name, &target) => {
                self.renew_session(name, at);
                None
            }
            _ => self.new_session(target, session.dialect, Cursor::At(at)).ok().map(cookie_header),
        }
    }

    /// The client has seen the state at `at`.
    pub(super) fn renew_session(&mut self, name: SessionName, at: Position) {
        let now = self.now;
        if let Some(session) = self.sessions.get_mut(name) {
            let polled_lately = session.polled.is_some_and(|polled| polled + POLLED_LATELY > now);
            if session.parked.is_empty() && !polled_lately {
                session.cursor = Cursor::At(at);
                session.present.clear();
            }
            self.sessions.touch(name.key, now);
        }
    }

    pub(super) fn expire_sessions(&mut self) {
        let idle = self.limits().session_idle;
        while let Some((used, key)) = self.sessions.by_use.first().copied().filter(|(used, _)| *used + idle <= self.now)
        {
            debug_assert!(used <= self.now);
            if self.sessions.slots.get(key).is_some_and(|session| !session.parked.is_empty()) {
                self.sessions.touch(key, self.now);
            } else {
                self.sessions.remove(key);
            }
        }
    }

    fn has_session(&mut self, name: SessionName, target: &Target) -> bool {
        self.sessions.get_mut(name).is_some_and(|session| session.target == *target)
    }

    /// A new session; at the bound, instead of the one that was unused for longest.
    fn new_session(&mut self, target: Target, dialect: DialectId, cursor: Cursor) -> Result<SessionName, Refusal> {
        if self.sessions.len() + self.relay.carried() >= self.limits().sessions_max {
            let idle = |(_, key): &&(Time, SessionKey)| {
                self.sessions.slots.get(*key).is_some_and(|session| session.parked.is_empty())
            };
            let oldest = self.sessions.by_use.iter().find(idle).map(|(_, key)| *key);
            let Some(oldest) = oldest else {
                return Err(Refusal::Full { bound: "fewer sessions at a time" });
            };
            self.sessions.remove(oldest);
        }
        let secret = self.random.random();
        let key = self.sessions.slots.insert(Session {
            secret,
            target,
            dialect,
            cursor,
            present: VecDeque::new(),
            parked: Vec::new(),
            used: self.now,
            polled: None,
            mirror: None,
        });
        self.sessions.by_use.insert((self.now, key));
        Ok(SessionName { core: self.core, key, secret })
    }

    /// What a poll is told whose wait is over.
    pub(super) fn nothing_new(&self, dialect: DialectId) -> Vec<u8> {
        let mut body = Vec::new();
        if let Dialect::Steps { key } = self.setup.dialect(dialect) {
            bare::poll(&mut body, key, None);
        }
        body
    }

    fn answer_all(&mut self, key: SessionKey, which: impl Fn(&Parked) -> bool, answer: &PollAnswer) {
        let Some(session) = self.sessions.slots.get_mut(key) else {
            return;
        };
        let answered: Vec<Parked> = session.parked.extract_if(.., |parked| which(parked)).collect();
        self.unlist(key);
        self.sessions.touch(key, self.now);
        for Parked { who, timer, .. } in answered {
            self.timers.cancel(timer);
            self.deliver(who, answer.clone());
        }
    }

    /// A session without parked polls listens to nothing.
    fn unlist(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.slots.get_mut(key) else {
            return;
        };
        if !session.parked.is_empty() {
            return;
        }
        if let Some(mirror_key) = session.mirror.take()
            && let Some(mirror) = self.mirrors.get_mut(mirror_key)
        {
            mirror.sessions.retain(|listed| *listed != key);
            self.recount(mirror_key);
        }
    }

    fn deliver(&mut self, who: Requester, answer: PollAnswer) {
        if who.core == self.core {
            // Not now: the connection may be in the middle of reading.
            self.poll_answers.push((who.conn, who.number, answer));
        } else {
            let letter = Mail::Answer { conn: who.conn, number: who.number, answer };
            self.letters[usize::from(who.core.0)].push(letter);
        }
    }
}

impl Session {
    /// The next vote that it has not told; where that is not known or kept any more, each option's present count.
    fn next(&mut self, standing: &Standing) -> Option<(u16, u64)> {
        if let Some(present) = self.present.pop_front() {
            return Some(present);
        }
        if self.cursor == Cursor::Next {
            self.cursor = Cursor::At(standing.at());
        }
        let known = if let Cursor::At(at) = self.cursor { Some(at) } else { None };
        let Some((cursor, mut news)) = known.and_then(|at| Some((at, standing.history.follow(at)?))) else {
            let State::Tally { counts, .. } = &standing.state else { return None };
            self.present = counts.iter().enumerate().map(|(option, count)| (option as u16, *count)).collect();
            self.cursor = Cursor::At(standing.at());
            return self.present.pop_front();
        };
        let publication = news.next()?;
        let Change::Tally { steps, .. } = &publication.change else {
            return None;
        };
        let revision = cursor.revision + 1;
        let step = steps.get((revision - publication.first) as usize)?;
        self.cursor = Cursor::At(Position { epoch: cursor.epoch, revision });
        Some((step.option, step.count))
    }
}

fn cookie_header(name: SessionName) -> String {
    format!("{COOKIE}={name}; Path=/; HttpOnly; SameSite=Lax")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        let name = SessionName { core: CoreId(3), key: SessionKey::unpack(0x1_0000_0002), secret: 0xabc };
        assert_eq!(name.to_string().parse(), Ok(name));
        for bad in ["", "1", "1.2", "x.1.1", "1.x.1", "1.1.x", "1.1.1.", "70000.1.1", "+1.1.1", "1.+1.1"] {
            assert_eq!(bad.parse::<SessionName>(), Err(NoName), "{bad}");
        }
    }
}
