//! Who is let in. Connections are bounded: one too many is told so (503) and ends. Those that have not asked for anything
//! yet are bounded too: of these the oldest makes way, so that who connects and says nothing keeps nobody out.

use std::collections::VecDeque;

use super::Shard;
use super::connection::{Alarm, Answering, Conn, Protocol};
use crate::base::keys::{ConnKey, ListenerId};
use crate::base::limits::{CONNECTIONS_UNKNOWN_MAX, Limits, TURNED_AWAY_MAX};
use crate::conn::http::Phase;

/// So many more than half of the queue may be over.
const QUEUED_OVER: usize = 64;

/// Where a connection stands with that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    /// Its first request is not complete.
    Handshake,
    /// It has asked for something, or is ending.
    Admitted,
    /// It is one too many, and is being told.
    TurnedAway,
}

/// How many there are of each, and may be.
#[derive(Debug)]
pub(super) struct Admission {
    connections_max: usize,
    handshakes_max: usize,
    pub(super) handshakes: usize,
    pub(super) turned_away: usize,
    /// Handshakes in the order of their arrival; those that are over among them find nobody.
    oldest_first: VecDeque<ConnKey>,
}

impl Admission {
    /// The share of one core.
    pub(super) fn new(limits: &Limits, cores: u16) -> Admission {
        let connections_max = match limits.connections_max {
            0 => CONNECTIONS_UNKNOWN_MAX,
            connections_max => connections_max,
        };
        Admission {
            connections_max: connections_max.div_ceil(usize::from(cores)),
            handshakes_max: limits.handshakes_max.div_ceil(usize::from(cores)),
            handshakes: 0,
            turned_away: 0,
            oldest_first: VecDeque::new(),
        }
    }
}

impl Shard {
    /// A connection has arrived. `None`: it is closed at once.
    pub(super) fn admit(&mut self, listener: ListenerId) -> Option<ConnKey> {
        if self.stopping {
            return None;
        }
        if self.served_conns() >= self.admission.connections_max {
            return self.turn_away(listener);
        }
        let key = self.conns.insert(Conn::new(listener, self.now));
        self.set_alarm(key, Some((self.now + self.limits().head_wait, Alarm::Head)));
        self.admission.handshakes += 1;
        self.admission.oldest_first.push_back(key);
        while self.admission.handshakes > self.admission.handshakes_max {
            self.end_oldest_handshake();
        }
        self.forget_old_handshakes();
        Some(key)
    }

    /// Connections but those that are being turned away.
    pub(super) fn served_conns(&self) -> usize {
        self.conns.len() - self.admission.turned_away - self.relay.carried()
    }

    /// The first request is complete, or will not be.
    pub(super) fn handshake_over(&mut self, key: ConnKey) {
        if let Some(conn) = self.conns.get_mut(key)
            && conn.standing == Standing::Handshake
        {
            conn.standing = Standing::Admitted;
            self.admission.handshakes -= 1;
        }
    }

    /// The driver knows a connection no more.
    pub(super) fn forget_conn(&mut self, key: ConnKey) {
        self.handshake_over(key);
        let Some(conn) = self.conns.remove(key) else { return };
        if conn.carried {
            self.relay.forget();
        }
        if conn.standing == Standing::TurnedAway {
            self.admission.turned_away -= 1;
        }
    }

    fn turn_away(&mut self, listener: ListenerId) -> Option<ConnKey> {
        if self.admission.turned_away >= TURNED_AWAY_MAX {
            return None;
        }
        let mut conn = Conn::new(listener, self.now);
        conn.standing = Standing::TurnedAway;
        let key = self.conns.insert(conn);
        self.admission.turned_away += 1;
        let how = Answering::closing();
        // Without a body, because the request that it will be taken for an answer to may be a HEAD.
        let mut out = Vec::new();
        self.write_response(&mut out, &how, 503, &[], b"");
        self.push(key, &out, None);
        self.end(key);
        Some(key)
    }

    /// Who has said nothing is closed; who is in the middle of a request gets 408.
    fn end_oldest_handshake(&mut self) {
        while let Some(key) = self.admission.oldest_first.pop_front() {
            let Some(conn) = self.conns.get(key) else { continue };
            if conn.standing != Standing::Handshake {
                continue;
            }
            match &conn.protocol {
                Protocol::Http(http) if http.phase() == Phase::Idle => self.close(key, false),
                _ => self.request_too_slow(key),
            }
            self.handshake_over(key);
            return;
        }
        debug_assert!(false, "every handshake stands in the queue");
        self.admission.handshakes = 0;
    }

    /// Keeps the queue from growing by those that are over.
    fn forget_old_handshakes(&mut self) {
        let conns = &self.conns;
        let goes_on = |key: &ConnKey| conns.get(*key).is_some_and(|conn| conn.standing == Standing::Handshake);
        let queue = &mut self.admission.oldest_first;
        while queue.front().is_some_and(|key| !goes_on(key)) {
            queue.pop_front();
        }
        if queue.len() > 2 * self.admission.handshakes + QUEUED_OVER {
            queue.retain(goes_on);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::net::SocketAddr;
    use std::os::fd::OwnedFd;
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::base::hash::Seed;
    use crate::base::io::{Driver, Ended, Sink};
    use crate::base::keys::CoreId;
    use crate::base::segment::Slice;
    use crate::base::time::Time;
    use crate::route::{Dialect, Listener, Origins, PathPattern, Route, Serve, Setup};
    use crate::shard::Census;
    use crate::wire::http::Hosts;

    /// Takes everything and remembers who was closed.
    #[derive(Default)]
    struct Taking {
        sent: Vec<(ConnKey, String)>,
        finished: Vec<ConnKey>,
        closed: Vec<ConnKey>,
    }

    impl Driver for Taking {
        fn turn(&mut self, _: Option<Duration>, _: &mut impl Sink) -> io::Result<()> {
            Ok(())
        }

        fn send(&mut self, key: ConnKey, slice: &Slice) -> Option<usize> {
            self.sent.push((key, String::from_utf8_lossy(slice).into_owned()));
            Some(slice.len())
        }

        fn pause(&mut self, _: ConnKey) {}

        fn resume(&mut self, _: ConnKey) {}

        fn finish(&mut self, key: ConnKey) {
            self.finished.push(key);
        }

        fn close(&mut self, key: ConnKey, _: bool) {
            self.closed.push(key);
        }

        fn adopt(&mut self, _: OwnedFd, _: ListenerId, _: SocketAddr, _: &mut impl Sink) -> Option<ConnKey> {
            None
        }

        fn release(&mut self, _: ConnKey) -> Option<OwnedFd> {
            None
        }

        fn accept(&mut self, _: bool) {}
    }

    fn shard(limits: Limits) -> Shard {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener =
            Listener { name: "main".into(), address, origins: Origins::Any, hosts: Hosts::Same, optional: false };
        let text = Serve::Text { text: "a".into() };
        let setup = Setup {
            limits,
            listeners: vec![listener],
            classes: Vec::new(),
            dialects: vec![Dialect::Tallycast],
            routes: vec![Route { listener: ListenerId(0), path: PathPattern::Exact("/".into()), serve: text }],
        };
        Shard::new(Arc::new(setup), CoreId(0), 1, Seed(1, 2), Time::ZERO, Duration::ZERO)
    }

    fn arrive(shard: &mut Shard) -> Option<ConnKey> {
        shard.accepted(ListenerId(0), SocketAddr::from(([127, 0, 0, 1], 1)))
    }

    fn ask(shard: &mut Shard, key: ConnKey) {
        shard.received(key, &mut b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec());
    }

    #[test]
    fn one_too_many_is_told_so_in_bounded_number_and_time() {
        let mut shard = shard(Limits { connections_max: 3, ..Limits::default() });
        let mut driver = Taking::default();
        let inside: Vec<ConnKey> = (0..3).map(|_| arrive(&mut shard).unwrap()).collect();
        let outside: Vec<ConnKey> = (0..TURNED_AWAY_MAX).map(|_| arrive(&mut shard).unwrap()).collect();
        assert_eq!(arrive(&mut shard), None, "more are just closed");
        let expected = Census { connections: 3, handshakes: 3, turned_away: TURNED_AWAY_MAX, ..shard.census() };
        assert_eq!(shard.census(), expected);
        // They are told without having asked, and what they ask is not heard.
        ask(&mut shard, outside[0]);
        while shard.flush(&mut driver) {}
        assert_eq!(driver.finished, outside);
        for (key, sent) in &driver.sent {
            assert!(
                outside.contains(key) && sent.starts_with("HTTP/1.1 503 ") && sent.contains("\r\nRetry-After: 1\r\n")
            );
        }
        assert_eq!(driver.sent.len(), TURNED_AWAY_MAX);
        // Each leaves when its peer does, at the latest when the time for a close is over; those who are in stay.
        shard.finished(outside[0]);
        shard.flush(&mut driver);
        assert_eq!(driver.closed, [outside[0]]);
        assert!(arrive(&mut shard).is_some());
        ask(&mut shard, inside[0]);
        shard.advance(Time::ZERO + Limits::default().close_wait);
        while shard.flush(&mut driver) {}
        assert_eq!((shard.census().connections, shard.census().turned_away), (3, 0));
        // A place that is free is taken.
        shard.ended(inside[1], Ended::Reset);
        let next = arrive(&mut shard).unwrap();
        ask(&mut shard, next);
        while shard.flush(&mut driver) {}
        assert!(driver.sent.last().is_some_and(|(key, sent)| *key == next && sent.starts_with("HTTP/1.1 200 ")));
    }

    #[test]
    fn the_oldest_handshake_makes_way() {
        let mut shard = shard(Limits { handshakes_max: 2, ..Limits::default() });
        let mut driver = Taking::default();
        let keys: Vec<ConnKey> = (0..100)
            .map(|number| {
                let key = arrive(&mut shard).unwrap();
                if number % 3 == 0 {
                    ask(&mut shard, key);
                }
                key
            })
            .collect();
        while shard.flush(&mut driver) {}
        // The last to arrive had one make way, and asked.
        assert_eq!(shard.census().handshakes, 1);
        let closed: Vec<ConnKey> =
            keys.iter().enumerate().filter(|(number, _)| number % 3 != 0).map(|(_, key)| *key).collect();
        assert_eq!(driver.closed, closed[..closed.len() - 1]);
        assert_eq!(shard.census().connections, 100 - driver.closed.len());
        // Those that are over are forgotten, whoever stands before them.
        let stays = closed[closed.len() - 1];
        for _ in 0..1000 {
            let key = arrive(&mut shard).unwrap();
            ask(&mut shard, key);
        }
        assert!(shard.admission.oldest_first.len() <= 2 * 2 + QUEUED_OVER + 1);
        // Who is in the middle of a request is told.
        shard.received(stays, &mut b"GET / HT".to_vec());
        let last = [arrive(&mut shard).unwrap(), arrive(&mut shard).unwrap()];
        while shard.flush(&mut driver) {}
        assert!(driver.sent.iter().any(|(key, sent)| *key == stays && sent.starts_with("HTTP/1.1 408 ")));
        for key in last {
            shard.ended(key, Ended::Reset);
        }
        assert_eq!(shard.census().handshakes, 0);
    }

    #[test]
    fn who_is_read_though_he_must_wait_is_cut() {
        let bytes_max = 1000;
        let mut shard = shard(Limits { pipelined_bytes_max: bytes_max, private_messages_max: 1, ..Limits::default() });
        let mut driver = Taking::default();
        let key = arrive(&mut shard).unwrap();
        // The first answer is not sent yet: what follows waits.
        ask(&mut shard, key);
        let mut held = 0;
        while held + 100 <= bytes_max {
            shard.received(key, &mut [b'G'; 100]);
            held += 100;
        }
        shard.flush(&mut driver);
        assert_eq!(driver.closed, []);
        shard.received(key, &mut [b'G'; 100]);
        shard.flush(&mut driver);
        assert_eq!(driver.closed, [key]);
    }
}
