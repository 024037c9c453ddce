//! Timers: set and cancelled, and set and fired, among 100k others. Naive: a `BTreeMap` by deadline and number.

use std::collections::BTreeMap;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use tallycast::base::time::Time;
use tallycast::base::wheel::Wheel;

use super::sized;

/// Deadlines of the others: spread over half a minute, as pings are.
fn far(number: usize) -> Time {
    Time::from_millis(60_000 + (number as u64 * 7919) % 30_000)
}

pub(crate) fn bench(criterion: &mut Criterion) {
    let others = sized(100_000, 100);
    let mut group = criterion.benchmark_group("wheel/set_and_cancel");
    let mut wheel = Wheel::new(Time::ZERO);
    for number in 0..others {
        wheel.insert(far(number), number);
    }
    let mut number = 0;
    group.bench_function("ours", |bencher| {
        bencher.iter(|| {
            number += 1;
            let key = wheel.insert(far(number), number);
            assert_eq!(wheel.cancel(key), Some(number));
        });
    });
    let mut map: BTreeMap<(Time, usize), usize> = (0..others).map(|number| ((far(number), number), number)).collect();
    let mut number = others;
    group.bench_function("naive", |bencher| {
        bencher.iter(|| {
            number += 1;
            map.insert((far(number), number), number);
            assert_eq!(map.remove(&(far(number), number)), Some(number));
        });
    });
    group.finish();
    fire(criterion, others);
}

/// Each timer is set again when it has fired, as a ping's is: so many fire in the 30 s that an iteration lets pass.
fn fire(criterion: &mut Criterion, timers: usize) {
    let mut group = criterion.benchmark_group("wheel/fire");
    group.throughput(Throughput::Elements(timers as u64));
    group.sample_size(10);
    let (step, round) = (Duration::from_millis(10), Duration::from_secs(30));
    let mut wheel = Wheel::new(Time::ZERO);
    for number in 0..timers {
        wheel.insert(far(number), number);
    }
    let mut now = Time::from_millis(59_999);
    while wheel.expire(now).is_some() {}
    group.bench_function("ours", |bencher| {
        bencher.iter(|| {
            let (until, mut fired) = (now + round, 0);
            while now < until {
                now += step;
                while let Some(number) = wheel.expire(now) {
                    wheel.insert(now + round, number);
                    fired += 1;
                }
            }
            assert!(fired >= timers - 1 && wheel.len() == timers, "{fired} fired");
        });
    });
    let mut map: BTreeMap<(Time, usize), ()> = (0..timers).map(|number| ((far(number), number), ())).collect();
    let mut now = Time::from_millis(59_999);
    group.bench_function("naive", |bencher| {
        bencher.iter(|| {
            let (until, mut fired) = (now + round, 0);
            while now < until {
                now += step;
                while let Some(entry) = map.first_entry().filter(|entry| entry.key().0 <= now) {
                    let ((_, number), ()) = entry.remove_entry();
                    map.insert((now + round, number), ());
                    fired += 1;
                }
            }
            assert!(fired >= timers - 1 && map.len() == timers, "{fired} fired");
        });
    });
}
