//! The benches: `cargo bench --bench speed -- unmask`; `scripts/bench` runs all of them and prints ratios.
//!
//! What is ours is called `ours`, what one would write first `naive`, and peers by their names, so that ratios within a
//! group can be read off: absolute figures drift with the machine, ratios within one run hold.

mod bodies;

use criterion::{criterion_group, criterion_main};

// As the server itself.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

criterion_group!(
    benches,
    bodies::unmask::bench,
    bodies::utf8::bench,
    bodies::encode::bench,
    bodies::parse::bench,
    bodies::fanout::bench,
    bodies::churn::bench,
    bodies::mailbox::bench,
    bodies::wheel::bench,
    bodies::vote::bench,
);
criterion_main!(benches);
