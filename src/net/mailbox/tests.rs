//! Bounds in tables, wake-ups under stress.

use std::sync::mpsc::channel;

use super::*;
use crate::base::io::{Driver, Ended, Sink};
use crate::base::keys::{ConnKey, ListenerId};
use crate::base::time::Time;
use crate::engine::{Asker, Outcome, Refusal, Ticket};
use crate::net::clock::Clock;
use crate::net::driver::{SocketDriver, over_each_driver};
use crate::net::epoll::Epoll;
use crate::net::threads::Threads;

over_each_driver!(no_wake_up_and_no_mail_is_lost, ping_pong_between_two_sleepers);

struct Nobody;

impl Sink for Nobody {
    fn woke(&mut self, _now: Time) {}

    fn accepted(&mut self, _: ListenerId, _: std::net::SocketAddr) -> Option<ConnKey> {
        None
    }
    fn received(&mut self, _: ConnKey, _: &mut [u8]) {}
    fn sent(&mut self, _: ConnKey, _: usize) {}
    fn finished(&mut self, _: ConnKey) {}
    fn ended(&mut self, _: ConnKey, _: Ended) {}
}

fn reader<D: SocketDriver>() -> (D, Mailbox) {
    let driver = D::open(Clock::new()).unwrap();
    let mailbox = Mailbox::new(driver.waker());
    (driver, mailbox)
}

fn listeners(count: u32) -> Mail {
    Mail::Engine(EngineMail::Listeners { channel: "c".into(), count })
}

/// Outcome `number` for the asker `who`.
fn outcome(who: u64, number: u32) -> Mail {
    Mail::Engine(EngineMail::Outcome(Outcome {
        ticket: Ticket { asker: Asker::Connection(ConnKey::unpack(who)), number },
        channel: "c".into(),
        result: Err(Refusal::Busy),
    }))
}

/// What it is: an asker's outcome or (`None`) a count.
fn read(mail: &Mail) -> (Option<u64>, u32) {
    match mail {
        Mail::Engine(EngineMail::Listeners { count, .. }) => (None, *count),
        Mail::Engine(EngineMail::Outcome(outcome)) => match outcome.ticket.asker {
            Asker::Connection(key) => (Some(key.pack()), outcome.ticket.number),
            Asker::Session(_) | Asker::Mirror(_) => panic!("nobody posted this"),
        },
        other => panic!("nobody posted {other:?}"),
    }
}

#[test]
fn what_finds_no_room_is_dropped_and_told_once() {
    let (_driver, mailbox) = reader::<Epoll>();
    let max = INBOX_MAIL_MAX as u32;
    let mut mail = Vec::new();
    // How many counts are put in and kept, then one outcome, then one count more.
    for (put, kept, overflowed) in
        [(0, 1, false), (max - 2, max - 1, false), (max - 1, max - 1, true), (max + 5, max, true)]
    {
        mailbox.post((0..put).map(listeners).collect());
        mailbox.post(vec![outcome(1, 1), listeners(u32::MAX)]);
        assert_eq!(mailbox.drain(&mut mail), overflowed, "{put}");
        let counts: Vec<u32> = mail.iter().map(read).filter(|(who, _)| who.is_none()).map(|(_, count)| count).collect();
        assert_eq!(counts.len() as u32, kept, "{put}");
        let dropped_the_last = overflowed;
        assert_eq!(counts.last() == Some(&u32::MAX), !dropped_the_last, "{put}");
        assert_eq!(mail.iter().filter(|mail| read(mail).0.is_some()).count(), 1, "an outcome always fits");
        mail.clear();
        assert!(!mailbox.drain(&mut mail), "told once");
        assert!(mail.is_empty());
    }
}

#[test]
fn a_reader_is_woken_once_and_only_if_it_sleeps() {
    let mut inbox = Inbox::default();
    inbox.put(vec![listeners(1)]);
    assert!(!inbox.rouse(), "it is awake");

    let (_driver, mailbox) = reader::<Epoll>();
    let mut mail = Vec::new();
    assert!(mailbox.may_sleep());
    assert!(lock(&mailbox.inbox).asleep);
    mailbox.post(vec![listeners(1)]);
    assert!(!lock(&mailbox.inbox).asleep, "woken");
    mailbox.post(vec![listeners(2)]);
    assert!(!mailbox.may_sleep(), "there is mail");
    mailbox.drain(&mut mail);
    assert_eq!(mail.iter().map(read).collect::<Vec<_>>(), [(None, 1), (None, 2)]);
    mail.clear();

    mailbox.nudge();
    assert!(!mailbox.may_sleep(), "nudged while it was awake");
    assert!(mailbox.may_sleep(), "a nudge counts once");
    mailbox.nudge();
    mailbox.drain(&mut mail);
    assert!(!mailbox.may_sleep(), "draining does not use up a nudge");
}

/// Fails instead of hanging: a reader whose wake-up was lost would wait for ever.
fn in_bounded_time(body: impl FnOnce() + Send + 'static) {
    let (send, receive) = channel();
    let mut threads = Threads::new();
    threads
        .start("judged".into(), move || {
            body();
            let _ = send.send(());
            Ok(())
        })
        .unwrap();
    receive.recv_timeout(Duration::from_secs(120)).expect("a wake-up was lost, or the body panicked");
}

fn no_wake_up_and_no_mail_is_lost<D: SocketDriver>() {
    in_bounded_time(|| {
        const POSTERS: u64 = 3;
        const BATCHES: u32 = 20_000;
        let (mut driver, mailbox) = reader::<D>();
        std::thread::scope(|scope| {
            for who in 0..POSTERS {
                let mailbox = &mailbox;
                scope.spawn(move || {
                    for number in 0..BATCHES {
                        // Sometimes alone, sometimes two, so that the reader is met asleep and awake.
                        let mut mail = vec![outcome(who, 2 * number)];
                        mail.push(outcome(who, 2 * number + 1));
                        mailbox.post(mail);
                        if number % 7 == 0 {
                            std::thread::yield_now();
                        }
                    }
                });
            }
            let mut next = [0; POSTERS as usize];
            let (mut mail, mut sleeps) = (Vec::new(), 0);
            while next.iter().any(|next| *next < 2 * BATCHES) {
                let sleep = mailbox.may_sleep();
                sleeps += u32::from(sleep);
                let timeout = if sleep { None } else { Some(Duration::ZERO) };
                driver.turn(timeout, &mut Nobody).unwrap();
                assert!(!mailbox.drain(&mut mail));
                for piece in mail.drain(..) {
                    let (who, number) = read(&piece);
                    let next = &mut next[who.unwrap() as usize];
                    assert_eq!(number, *next, "in order");
                    *next += 1;
                }
            }
            assert!(sleeps > 0, "the test is about a reader that sleeps");
        });
    });
}

fn ping_pong_between_two_sleepers<D: SocketDriver>() {
    in_bounded_time(|| {
        const ROUNDS: u32 = 20_000;
        let (left, right) = (reader::<D>(), reader::<D>());
        let (mut left_driver, left) = left;
        let (mut right_driver, right) = right;
        let play = |driver: &mut D, own: &Mailbox, other: &Mailbox, serve: bool| {
            if serve {
                other.post(vec![listeners(0)]);
            }
            let (mut mail, mut got) = (Vec::new(), 0);
            while got < ROUNDS {
                let timeout = if own.may_sleep() { None } else { Some(Duration::ZERO) };
                driver.turn(timeout, &mut Nobody).unwrap();
                own.drain(&mut mail);
                for _ in mail.drain(..) {
                    got += 1;
                    other.post(vec![listeners(got)]);
                }
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| play(&mut left_driver, &left, &right, true));
            play(&mut right_driver, &right, &left, false);
        });
    });
}

#[test]
fn nobody_sees_an_outcome_before_all_have_the_publication() {
    in_bounded_time(|| {
        const ROUNDS: u32 = 20_000;
        const CORES: usize = 3;
        let drivers: Vec<(Epoll, Mailbox)> = (0..CORES).map(|_| reader()).collect();
        let (_drivers, mailboxes): (Vec<Epoll>, Vec<Mailbox>) = drivers.into_iter().unzip();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 1..=ROUNDS {
                    // Publication `round` (a count here) to all, its outcome to one of them.
                    let asker = round as usize % CORES;
                    let mut mail: Vec<Vec<Mail>> = (0..CORES).map(|_| vec![listeners(round)]).collect();
                    mail[asker].push(outcome(0, round));
                    // The reader drains all: the inboxes stay far from their bound.
                    post_all(&mailboxes, &mut mail);
                    assert!(mail.iter().all(Vec::is_empty));
                    if round % 64 == 0 {
                        std::thread::yield_now();
                    }
                }
            });
            let mut latest = [0; CORES];
            let mut mail = Vec::new();
            let mut answered = 0;
            while answered < ROUNDS {
                for asked in 0..CORES {
                    mailboxes[asked].drain(&mut mail);
                    let mut outcomes = Vec::new();
                    for (who, number) in mail.drain(..).map(|piece| read(&piece)) {
                        match who {
                            None => latest[asked] = number,
                            Some(_) => outcomes.push(number),
                        }
                    }
                    // Now the client reads from every other core.
                    for (core, mailbox) in mailboxes.iter().enumerate() {
                        let Some(last) = outcomes.last() else { break };
                        if core != asked {
                            let inbox = lock(&mailbox.inbox);
                            let waiting = inbox.mail.iter().map(read).filter(|(who, _)| who.is_none());
                            let newest = waiting.map(|(_, number)| number).next_back().unwrap_or(latest[core]);
                            assert!(newest >= *last, "core {core} has {newest}, core {asked} answered {last}");
                        }
                    }
                    answered = outcomes.last().copied().unwrap_or(answered).max(answered);
                }
            }
        });
    });
}

fn batch(core: u16, number: u64) -> Batch {
    Batch { core: CoreId(core), number, ops: Vec::new() }
}

#[test]
fn a_full_queue_gives_the_batch_back_and_tells_when_there_is_room() {
    let queue = EngineQueue::new(2);
    let max = ENGINE_BATCHES_MAX as u64;
    for number in 0..max {
        queue.post(batch(0, number)).unwrap();
    }
    assert_eq!(queue.post(batch(0, max)), Err(batch(0, max)));
    // The bound is each core's own.
    queue.post(batch(1, 0)).unwrap();
    let (mut batches, mut room) = (Vec::new(), Vec::new());
    assert!(queue.take(None, &mut batches, &mut room));
    assert_eq!(room, [CoreId(0)]);
    let expected: Vec<Batch> = (0..max).map(|number| batch(0, number)).chain([batch(1, 0)]).collect();
    assert_eq!(batches, expected);
    room.clear();
    batches.clear();
    queue.post(batch(0, max)).unwrap();
    assert!(queue.take(None, &mut batches, &mut room));
    assert_eq!((batches.len(), room.len()), (1, 0));
    batches.clear();
    assert!(queue.take(Some(Duration::from_millis(1)), &mut batches, &mut room), "nothing came, but may");
    // Batches of cores that have left are still served.
    queue.leave();
    queue.post(batch(1, 1)).unwrap();
    queue.leave();
    assert!(queue.take(None, &mut batches, &mut room));
    assert_eq!(batches, [batch(1, 1)]);
    assert!(!queue.take(None, &mut batches, &mut room));
}

#[test]
fn no_batch_and_no_word_of_room_is_lost() {
    in_bounded_time(|| {
        const CORES: u16 = 3;
        const BATCHES: u64 = 20_000;
        let queue = EngineQueue::new(CORES);
        let (drivers, mailboxes): (Vec<Epoll>, Vec<Mailbox>) = (0..CORES).map(|_| reader()).unzip();
        std::thread::scope(|scope| {
            for (core, mut driver) in drivers.into_iter().enumerate() {
                let (queue, mailbox) = (&queue, &mailboxes[core]);
                scope.spawn(move || {
                    let mut number = 0;
                    while number < BATCHES {
                        match queue.post(batch(core as u16, number)) {
                            Ok(()) => number += 1,
                            // Kept; it is posted again in the turn after the nudge.
                            Err(_) => {
                                let timeout = if mailbox.may_sleep() { None } else { Some(Duration::ZERO) };
                                driver.turn(timeout, &mut Nobody).unwrap();
                                mailbox.drain(&mut Vec::new());
                            }
                        }
                    }
                    queue.leave();
                });
            }
            let mut next = [0; CORES as usize];
            let (mut batches, mut room) = (Vec::new(), Vec::new());
            while queue.take(None, &mut batches, &mut room) {
                for core in room.drain(..) {
                    mailboxes[usize::from(core.0)].nudge();
                }
                for batch in batches.drain(..) {
                    let next = &mut next[usize::from(batch.core.0)];
                    assert_eq!(batch.number, *next);
                    *next += 1;
                }
            }
            assert_eq!(next, [BATCHES; CORES as usize]);
        });
    });
}
