//! Unmasking in place. fastwebsockets exports its own; tungstenite's is inside the reading and writing of frames, so it is
//! compared where a frame is written masked: head, copy and mask, ours the same.

use criterion::{BenchmarkId, Criterion, Throughput};
use tallycast::wire::ws::Opcode;
use tallycast::wire::ws::head::write_masked;
use tallycast::wire::ws::mask::unmask;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode};

use super::house::MASK;

const SIZES: [usize; 8] = [6, 16, 64, 125, 256, 1024, 4096, 65_536];
type Unmask = fn(&mut [u8], [u8; 4]);

pub(crate) fn bench(criterion: &mut Criterion) {
    in_place(criterion);
    frames(criterion);
}

fn in_place(criterion: &mut Criterion) {
    let candidates: [(&str, Unmask); 3] = [
        ("ours", |bytes, mask| unmask(bytes, mask, 0)),
        ("naive", naive),
        ("fastwebsockets", |bytes, mask| fastwebsockets::unmask(bytes, mask)),
    ];
    // A payload lies behind its head, so hardly ever where a word begins.
    for (aligned, offset) in [("aligned", 0), ("unaligned", 1)] {
        let mut group = criterion.benchmark_group(format!("unmask/{aligned}"));
        for size in SIZES {
            group.throughput(Throughput::Bytes(size as u64));
            let mut room = vec![0x5a; size + 64];
            let start = room.as_ptr().align_offset(32) + offset;
            let bytes = &mut room[start..start + size];
            let mut judge = bytes.to_vec();
            naive(&mut judge, MASK);
            for (name, unmask) in candidates {
                bytes.fill(0x5a);
                unmask(bytes, MASK);
                assert_eq!(*bytes, judge, "{name} unmasks {size} bytes");
                group.bench_function(BenchmarkId::new(name, size), |bencher| {
                    bencher.iter(|| unmask(std::hint::black_box(&mut *bytes), std::hint::black_box(MASK)));
                });
            }
        }
    }
}

fn frames(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("unmask/written");
    for size in SIZES {
        group.throughput(Throughput::Bytes(size as u64));
        let payload = tungstenite::Bytes::from(vec![0x5a; size]);
        let mut out = Vec::with_capacity(size + 14);
        write_masked(&mut out, Opcode::Binary, true, &payload, MASK);
        let ours = out.clone();
        out.clear();
        peer(&mut out, &payload);
        assert_eq!(out, ours, "both write the same frame");
        group.bench_function(BenchmarkId::new("ours", size), |bencher| {
            bencher.iter(|| {
                out.clear();
                write_masked(&mut out, Opcode::Binary, true, std::hint::black_box(&payload), MASK);
            });
        });
        group.bench_function(BenchmarkId::new("tungstenite", size), |bencher| {
            bencher.iter(|| {
                out.clear();
                peer(&mut out, std::hint::black_box(&payload));
            });
        });
    }
}

/// The payload is shared, not copied, until it is written: as when a server writes the same to many.
fn peer(out: &mut Vec<u8>, payload: &tungstenite::Bytes) {
    let mut frame = Frame::message(payload.clone(), OpCode::Data(Data::Binary), true);
    frame.header_mut().mask = Some(MASK);
    frame.format(out).expect("a Vec takes everything");
}

fn naive(bytes: &mut [u8], mask: [u8; 4]) {
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte ^= mask[index % 4];
    }
}
