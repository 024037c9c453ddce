//! The tests' allocator: the system's, and it counts, for each thread apart. The server itself runs on jemalloc; how often
//! it allocates, and how many bytes it asks for, is the same.

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};

/// What is this large is counted apart.
pub(crate) const LARGE_BYTES: usize = 512 << 10;

/// What this thread has done so far.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Counts {
    /// Blocks asked for; one that is made larger or smaller counts again.
    pub(crate) allocations: u64,
    /// Of these, the ones of [`LARGE_BYTES`] and more.
    pub(crate) large: u64,
    /// Bytes asked for and not given back. What another thread gives back counts there.
    pub(crate) live_bytes: i64,
}

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

thread_local! {
    static COUNTS: Cell<Counts> = const { Cell::new(Counts { allocations: 0, large: 0, live_bytes: 0 }) };
    static TRACING: Cell<bool> = const { Cell::new(false) };
    static TRACES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

// SAFETY: every call goes to the system's allocator as it came; what is counted beside it does not allocate, except while
// tracing, and then tracing is off.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller's promises are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        uncount(layout.size());
        // SAFETY: the caller's promises are the same, and the block came from there.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size, layout.size());
        // SAFETY: the caller's promises are the same, and the block came from there.
        unsafe { System.realloc(block, layout, size) }
    }
}

fn count(bytes: usize, bytes_before: usize) {
    let _ = COUNTS.try_with(|cell| {
        let mut counts = cell.get();
        counts.allocations += 1;
        counts.large += u64::from(bytes >= LARGE_BYTES);
        counts.live_bytes += bytes as i64 - bytes_before as i64;
        cell.set(counts);
    });
    if TRACING.try_with(|tracing| tracing.replace(false)) == Ok(true) {
        let trace = trace();
        TRACES.with_borrow_mut(|traces| traces.push(trace));
        TRACING.set(true);
    }
}

fn uncount(bytes: usize) {
    let _ = COUNTS.try_with(|cell| {
        let mut counts = cell.get();
        counts.live_bytes -= bytes as i64;
        cell.set(counts);
    });
}

/// The places in our own code that lead here, the innermost first.
fn trace() -> String {
    let trace = Backtrace::force_capture().to_string();
    let place = |line: &'_ str| {
        let (before, place) = line.trim().strip_prefix("at ")?.split_once("/src/")?;
        // Neither std's nor another crate's.
        (!before.contains("/library/") && !before.contains("/registry/")).then(|| place.to_owned())
    };
    trace.lines().filter_map(place).take(4).collect::<Vec<_>>().join(" < ")
}

/// What this thread has done so far.
pub(crate) fn counts() -> Counts {
    COUNTS.get()
}

/// How many blocks `act` asks for.
pub(crate) fn allocations(act: impl FnOnce()) -> u64 {
    let before = counts().allocations;
    act();
    counts().allocations - before
}

/// Where `act` asks for blocks: how often, and the places in our own code, the most frequent first.
pub(crate) fn traced(act: impl FnOnce()) -> String {
    TRACES.take();
    TRACING.set(true);
    act();
    TRACING.set(false);
    let mut traces = TRACES.take();
    traces.sort_unstable();
    let mut found: Vec<(usize, &String)> = Vec::new();
    for trace in &traces {
        match found.last_mut().filter(|(_, last)| *last == trace) {
            Some((times, _)) => *times += 1,
            None => found.push((1, trace)),
        }
    }
    found.sort_by_key(|(times, _)| std::cmp::Reverse(*times));
    found.iter().map(|(times, trace)| format!("\n{times:6} x {trace}")).collect()
}

#[test]
fn blocks_are_counted_and_found() {
    let before = counts();
    let mut block: Vec<u8> = Vec::with_capacity(LARGE_BYTES);
    block.reserve_exact(2 * LARGE_BYTES);
    let after = counts();
    assert_eq!((after.allocations - before.allocations, after.large - before.large), (2, 2));
    assert_eq!(after.live_bytes - before.live_bytes, 2 * LARGE_BYTES as i64);
    drop(block);
    assert_eq!(counts().live_bytes, before.live_bytes);
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1)))), 1);
    let found = traced(|| drop(tallycast::base::segment::Slice::copied(b"x")));
    assert!(found.contains("base/segment.rs"), "{found}");
}
