//! Mail from one thread to another, in batches as a turn posts them: so many messages from the start of a thread to the
//! last message's arrival. Beside it std's channel, one message at a time as it is made for, and a `Vec` in a mutex.

use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use criterion::{BenchmarkId, Criterion, Throughput};
use mio::{Events, Poll, Token, Waker};
use tallycast::base::keys::ConnKey;
use tallycast::engine::{Answer, Asker, ChannelName, EngineMail, Epoch, Outcome, Position, Ticket};
use tallycast::net::mailbox::Mailbox;
use tallycast::shard::Mail;

use super::sized;

pub(crate) fn bench(criterion: &mut Criterion) {
    let messages = sized(100_000, 100);
    for batch in [1, 64] {
        let mut group = criterion.benchmark_group(format!("mailbox/batches_of_{batch}"));
        group.throughput(Throughput::Elements(messages as u64));
        group.sample_size(20);
        for (name, pass) in [("ours", ours as fn(usize, usize)), ("naive", mutexed), ("std_mpsc", std_mpsc)] {
            group.bench_function(BenchmarkId::new(name, messages), |bencher| bencher.iter(|| pass(messages, batch)));
        }
    }
}

/// Outcomes, which are never dropped.
fn batches(messages: usize, batch: usize) -> impl Iterator<Item = Vec<Mail>> {
    let channel: ChannelName = "bench".into();
    let outcome = move |number| {
        let ticket = Ticket { asker: Asker::Connection(ConnKey::unpack(1)), number: number as u32 };
        let at = Position { epoch: Epoch(1), revision: 1 };
        Mail::Engine(EngineMail::Outcome(Outcome {
            ticket,
            channel: channel.clone(),
            result: Ok(Answer::Accepted(at)),
        }))
    };
    (0..messages).step_by(batch).map(move |first| (first..messages.min(first + batch)).map(&outcome).collect())
}

/// The reader sleeps in epoll when there is nothing, as a loop does.
fn ours(messages: usize, batch: usize) {
    let mut poll = Poll::new().expect("epoll");
    let waker = Arc::new(Waker::new(poll.registry(), Token(0)).expect("an eventfd"));
    let mailbox = Mailbox::new(waker);
    thread::scope(|scope| {
        scope.spawn(|| batches(messages, batch).for_each(|mail| mailbox.post(mail)));
        let (mut events, mut mail) = (Events::with_capacity(4), Vec::new());
        let mut got = 0;
        while got < messages {
            if mailbox.may_sleep() {
                poll.poll(&mut events, None).expect("epoll");
            }
            mailbox.drain(&mut mail);
            got += mail.drain(..).count();
        }
    });
}

fn std_mpsc(messages: usize, batch: usize) {
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(move || {
            let each = batches(messages, batch).flatten();
            each.for_each(|mail| sender.send(mail).expect("the reader is there"));
        });
        assert_eq!(receiver.into_iter().count(), messages);
    });
}

/// The reader spins: it has no way to sleep.
fn mutexed(messages: usize, batch: usize) {
    let shared = Mutex::new(Vec::new());
    thread::scope(|scope| {
        scope.spawn(|| {
            for mail in batches(messages, batch) {
                shared.lock().expect("nobody panics").extend(mail);
            }
        });
        let mut got = 0;
        while got < messages {
            got += std::mem::take(&mut *shared.lock().expect("nobody panics")).len();
            thread::yield_now();
        }
    });
}
