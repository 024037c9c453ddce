//! Checking UTF-8 as it arrives: our validator, which carries unfinished characters and lets simdutf8 do the rest, beside
//! that of std.

use criterion::{BenchmarkId, Criterion, Throughput};
use tallycast::wire::ws::utf8::Utf8;

const SIZES: [usize; 5] = [6, 64, 256, 1024, 65_536];

pub(crate) fn bench(criterion: &mut Criterion) {
    for (language, sample) in [("ascii", "rice and noodles, "), ("chinese", "面条和米饭都可以投票")] {
        let mut group = criterion.benchmark_group(format!("utf8/{language}"));
        for size in SIZES {
            let text: String = sample
                .chars()
                .cycle()
                .scan(0, |len, letter| {
                    *len += letter.len_utf8();
                    (*len <= size).then_some(letter)
                })
                .collect();
            group.throughput(Throughput::Bytes(text.len() as u64));
            assert!(ours(text.as_bytes()) && !ours(b"\xff"), "it can tell");
            group.bench_function(BenchmarkId::new("ours", size), |bencher| {
                bencher.iter(|| ours(std::hint::black_box(text.as_bytes())));
            });
            group.bench_function(BenchmarkId::new("naive", size), |bencher| {
                bencher.iter(|| std::str::from_utf8(std::hint::black_box(text.as_bytes())).is_ok());
            });
        }
    }
}

fn ours(bytes: &[u8]) -> bool {
    let mut utf8 = Utf8::new();
    utf8.feed(bytes).is_ok() && utf8.finish().is_ok()
}
