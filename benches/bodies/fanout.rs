//! A round of a send log over many subscribers, with a driver that takes everything: what delivering costs beside the
//! system call. Naive: a queue of `Arc<[u8]>` for each subscriber, filled at the publication and emptied in the round.

use std::collections::VecDeque;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput};

use super::crowd::{MESSAGE, Taker, log_of, round};
use super::sized;

pub(crate) fn bench(criterion: &mut Criterion) {
    for messages in [1, 16] {
        let mut group = criterion.benchmark_group(format!("fanout/{messages}_a_round"));
        for subscribers in [1000, 100_000, 1_000_000].map(|size| sized(size, size / 1000)) {
            group.throughput(Throughput::Elements(subscribers as u64));
            group.sample_size(if subscribers > 1000 { 10 } else { 100 });
            let (mut log, mut taker) = (log_of(subscribers), Taker::default());
            round(&mut log, messages, &mut taker);
            assert_eq!(
                (taker.sends, taker.bytes),
                (subscribers as u64, (subscribers * messages * MESSAGE.len()) as u64)
            );
            group.bench_function(BenchmarkId::new("ours", subscribers), |bencher| {
                bencher.iter(|| round(&mut log, messages, &mut taker));
            });
            drop(log);
            let mut queues = vec![VecDeque::new(); subscribers];
            let mut sent = 0;
            naive(&mut queues, messages, &mut sent);
            assert_eq!(sent, (subscribers * messages * MESSAGE.len()) as u64);
            group.bench_function(BenchmarkId::new("naive", subscribers), |bencher| {
                bencher.iter(|| naive(&mut queues, messages, &mut sent));
            });
        }
    }
}

fn naive(queues: &mut [VecDeque<Arc<[u8]>>], messages: usize, sent: &mut u64) {
    for _ in 0..messages {
        let message: Arc<[u8]> = Arc::from(&MESSAGE[..]);
        for queue in queues.iter_mut() {
            queue.push_back(message.clone());
        }
    }
    for queue in queues {
        while let Some(message) = queue.pop_front() {
            *sent += message.len() as u64;
        }
    }
}
