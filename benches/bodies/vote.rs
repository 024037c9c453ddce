//! Votes: bytes in to bytes out, through one shard and the engine, without sockets. 200 connections, many frames in each
//! read. Naive: each vote is JSON, parsed into a value, counted in a `HashMap` and written by `format!`.

use std::collections::HashMap;

use criterion::{BenchmarkId, Criterion, Throughput};
use serde_json::Value;

use super::poll::Poll;
use super::sized;

/// Frames of one read: all connections together stay below what a turn may read.
const FRAMES: usize = 10;

pub(crate) fn bench(criterion: &mut Criterion) {
    let voters = sized(200, 4);
    let mut group = criterion.benchmark_group("vote");
    group.throughput(Throughput::Elements((voters * FRAMES) as u64));
    group.sample_size(20);
    let rows = [
        ("ours", Poll::new(voters, 0, FRAMES)),
        ("ours_to_1000", Poll::new(voters, sized(1000, 10), FRAMES)),
        ("ours_paced", Poll::paced(voters, 0, FRAMES)),
        ("ours_own_dialect", Poll::own_dialect(voters, 0, FRAMES)),
    ];
    for (name, mut poll) in rows {
        let (counted, sent) = poll.totals();
        assert_eq!(counted, sent, "{name}: every vote counts");
        group.bench_function(BenchmarkId::new(name, voters), |bencher| bencher.iter(|| poll.turn()));
    }
    let mut naive = Naive { counts: HashMap::new(), queues: vec![Vec::new(); voters], frames: naive_frames() };
    group.bench_function(BenchmarkId::new("naive", voters), |bencher| bencher.iter(|| naive.turn()));
}

/// What one writes first: every vote is told to everyone, in a buffer for each.
struct Naive {
    counts: HashMap<String, u64>,
    queues: Vec<Vec<u8>>,
    frames: Vec<String>,
}

fn naive_frames() -> Vec<String> {
    (0..FRAMES).map(|number| format!(r#"{{"cid": "{}"}}"#, number % 4 + 1)).collect()
}

impl Naive {
    fn turn(&mut self) {
        for _ in 0..self.queues.len() {
            for frame in &self.frames {
                let vote: Value = serde_json::from_str(frame).expect("JSON");
                let option = vote["cid"].as_str().unwrap_or_default().to_owned();
                let count = self.counts.entry(option.clone()).or_insert(0);
                *count += 1;
                let text = format!(r#"{{"cid": "{option}", "count": {count}}}"#);
                for queue in &mut self.queues {
                    queue.push(0x81);
                    queue.push(text.len() as u8);
                    queue.extend(text.as_bytes());
                }
            }
        }
        for queue in &mut self.queues {
            std::hint::black_box(&queue);
            queue.clear();
        }
    }
}
