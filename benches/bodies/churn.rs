//! Subscribing to a log of many, and leaving it again. Naive: a `HashSet` of keys.

use std::collections::HashSet;

use criterion::{BenchmarkId, Criterion};
use tallycast::base::keys::{ConnKey, OfConnection, Slots};
use tallycast::mirror::sendlog::{Place, Readers, SendLog};

use super::sized;

/// Where each reader lies, by its slot, as the shard keeps it with its connections.
#[derive(Debug)]
struct Places(Vec<Place>);

impl Readers for Places {
    fn moved(&mut self, conn: ConnKey, place: Place) {
        self.0[conn.slot()] = place;
    }

    fn in_flight(&self, _: ConnKey) -> usize {
        0
    }
}

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("churn");
    for subscribers in [1000, 100_000].map(|size| sized(size, size / 100)) {
        let mut slots: Slots<OfConnection, ()> = Slots::default();
        let keys: Vec<ConnKey> = (0..subscribers).map(|_| slots.insert(())).collect();
        let mut log = SendLog::default();
        let mut places = Places(keys.iter().map(|key| log.join(*key)).collect());
        // Who leaves is anybody: the steps are coprime to the number of subscribers.
        let mut next = 0;
        let mut leave_and_join = || {
            next = (next + 7919) % subscribers;
            log.leave(places.0[next], &mut places);
            places.0[next] = log.join(keys[next]);
        };
        (0..subscribers).for_each(|_| leave_and_join());
        group.bench_function(BenchmarkId::new("ours", subscribers), |bencher| bencher.iter(&mut leave_and_join));
        assert_eq!(log.readers(), subscribers);

        let mut set: HashSet<ConnKey> = keys.iter().copied().collect();
        group.bench_function(BenchmarkId::new("naive", subscribers), |bencher| {
            bencher.iter(|| {
                next = (next + 7919) % subscribers;
                set.remove(&keys[next]);
                set.insert(keys[next])
            });
        });
    }
}
