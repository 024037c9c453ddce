//! A hierarchical timer wheel: deadlines in ticks of one millisecond, filed by how far off they are.
//!
//! A timer lies at the level of the highest digit (base 64) in which its tick differs from the present one, in the slot
//! of its own digit there. So all timers of a level are due before all timers of the next, a level is searched by one
//! look at its bits, and where a timer lies follows from its tick: it need not be remembered.

use std::num::NonZeroU32;

use super::slots::Slab;
use super::time::Time;

const TICK_NANOS: u64 = 1_000_000;
const DIGIT_BITS: u32 = 6;
const SLOTS: usize = 1 << DIGIT_BITS;
/// Eight digits of six bits hold every tick that a [`Time`] has (45 bits).
const LEVELS: usize = 8;
const NOBODY: u32 = u32::MAX;

const _: () = assert!(u64::MAX / TICK_NANOS < 1 << (DIGIT_BITS * LEVELS as u32 - 1));

/// Which timer: goes stale when it has fired or was cancelled. An option of it takes 8 bytes too.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TimerKey {
    slot: u32,
    generation: NonZeroU32,
}

#[derive(Debug)]
struct Timer<T> {
    generation: NonZeroU32,
    before: u32,
    behind: u32,
    tick: u64,
    item: T,
}

/// The timers of one slot, in the order of their coming.
#[derive(Clone, Copy, Debug)]
struct List {
    first: u32,
    last: u32,
}

const EMPTY: List = List { first: NOBODY, last: NOBODY };

/// Timers that carry an item each.
///
/// A timer never fires early, and the wheel adds at most a tick of lateness. Inserting and cancelling cost the same
/// however many timers there are. A timer is moved to a lower level at most seven times in its life; a whole slot is
/// moved at once, so that one call may pay for all timers that lie close together. Memory grows with the most timers
/// that there ever were at a time, and is used again.
#[derive(Debug)]
pub struct Wheel<T> {
    timers: Slab<Timer<T>>,
    generation: NonZeroU32,
    /// No timer lies before it.
    tick: u64,
    /// A bit for each slot that is not empty.
    occupied: [u64; LEVELS],
    lists: Box<[[List; SLOTS]; LEVELS]>,
}

impl<T> Wheel<T> {
    /// A wheel without timers.
    pub fn new(now: Time) -> Wheel<T> {
        Wheel {
            timers: Slab::default(),
            generation: NonZeroU32::MIN,
            tick: now.nanos() / TICK_NANOS,
            occupied: [0; LEVELS],
            lists: Box::new([[EMPTY; SLOTS]; LEVELS]),
        }
    }

    /// Sets a timer. If `at` has passed already, it fires at the next call of [`expire`](Wheel::expire).
    ///
    /// # Panics
    /// With more than 2^32 - 2 timers.
    pub fn insert(&mut self, at: Time, item: T) -> TimerKey {
        self.generation = self.generation.checked_add(1).unwrap_or(NonZeroU32::MIN);
        let timer = Timer { generation: self.generation, before: NOBODY, behind: NOBODY, tick: self.tick_of(at), item };
        let slot = self.timers.insert(timer);
        self.file(slot);
        TimerKey { slot, generation: self.generation }
    }

    /// Takes a timer back, and its item, if it has not fired.
    pub fn cancel(&mut self, key: TimerKey) -> Option<T> {
        let timer = self.timers.get(key.slot)?;
        (timer.generation == key.generation).then(|| self.take(key.slot))
    }

    /// Whether a timer is set, and fires no later than one that were set for `at` now.
    pub fn fires_by(&self, key: TimerKey, at: Time) -> bool {
        let timer = self.timers.get(key.slot).filter(|timer| timer.generation == key.generation);
        timer.is_some_and(|timer| timer.tick <= self.tick_of(at))
    }

    /// When to call [`expire`](Wheel::expire) next: never later than the first deadline (rounded up to a tick), but it
    /// may be earlier, for timers that are far off must come nearer. `None`: no timer is set.
    pub fn next(&self) -> Option<Time> {
        let (level, digit) = self.first()?;
        Some(Time::from_nanos(self.start(level, digit).saturating_mul(TICK_NANOS)))
    }

    /// Takes out one timer that is due, the oldest tick first, and within a tick the one that was set first. Call it
    /// until there is none.
    pub fn expire(&mut self, now: Time) -> Option<T> {
        let until = now.nanos() / TICK_NANOS;
        while let Some((level, digit)) = self.first() {
            let start = self.start(level, digit);
            if start > until {
                break;
            }
            self.tick = start;
            if level == 0 {
                return Some(self.take(self.lists[level][digit].first));
            }
            self.bring_nearer(level, digit);
        }
        self.tick = self.tick.max(until);
        None
    }

    /// How many timers are set.
    pub fn len(&self) -> usize {
        self.timers.len()
    }

    /// Whether no timer is set.
    pub fn is_empty(&self) -> bool {
        self.timers.is_empty()
    }

    fn tick_of(&self, at: Time) -> u64 {
        at.nanos().div_ceil(TICK_NANOS).max(self.tick)
    }

    fn timer(&mut self, slot: u32) -> &mut Timer<T> {
        let Some(timer) = self.timers.get_mut(slot) else { unreachable!("who stands in a list is there") };
        timer
    }

    /// The first slot that is not empty.
    fn first(&self) -> Option<(usize, usize)> {
        let level = self.occupied.iter().position(|&slots| slots != 0)?;
        Some((level, self.occupied[level].trailing_zeros() as usize))
    }

    /// The first tick of a slot: the digits above are those of the present tick, the digits below are zero.
    fn start(&self, level: usize, digit: usize) -> u64 {
        let shift = DIGIT_BITS * level as u32;
        ((self.tick >> shift) & !(SLOTS as u64 - 1) | digit as u64) << shift
    }

    /// Where a timer lies. While it lies there, the answer stays the same: time stops at a slot's start to empty it.
    fn place(&self, tick: u64) -> (usize, usize) {
        let level = (tick ^ self.tick).checked_ilog2().unwrap_or(0) / DIGIT_BITS;
        let digit = (tick >> (DIGIT_BITS * level)) as usize % SLOTS;
        (level as usize, digit)
    }

    fn file(&mut self, slot: u32) {
        let tick = self.timer(slot).tick;
        let (level, digit) = self.place(tick);
        let list = &mut self.lists[level][digit];
        let before = std::mem::replace(&mut list.last, slot);
        if before == NOBODY {
            list.first = slot;
            self.occupied[level] |= 1 << digit;
        } else {
            self.timer(before).behind = slot;
        }
        let timer = self.timer(slot);
        (timer.before, timer.behind) = (before, NOBODY);
    }

    fn take(&mut self, slot: u32) -> T {
        let Some(timer) = self.timers.remove(slot) else { unreachable!("who stands in a list is there") };
        let (level, digit) = self.place(timer.tick);
        match timer.before {
            NOBODY => self.lists[level][digit].first = timer.behind,
            before => self.timer(before).behind = timer.behind,
        }
        match timer.behind {
            NOBODY => self.lists[level][digit].last = timer.before,
            behind => self.timer(behind).before = timer.before,
        }
        if self.lists[level][digit].first == NOBODY {
            self.occupied[level] &= !(1 << digit);
        }
        timer.item
    }

    /// Files the timers of a slot that begins now anew, each at some lower level.
    fn bring_nearer(&mut self, level: usize, digit: usize) {
        self.occupied[level] &= !(1 << digit);
        let mut slot = std::mem::replace(&mut self.lists[level][digit], EMPTY).first;
        while slot != NOBODY {
            let behind = self.timer(slot).behind;
            self.file(slot);
            slot = behind;
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    /// The judge: all timers in a list, with the tick and the turn of each.
    struct Naive {
        tick: u64,
        turn: u64,
        timers: Vec<(u64, u64, Time, TimerKey)>,
    }

    impl Naive {
        fn insert(&mut self, at: Time, key: TimerKey) {
            let tick = at.nanos().div_ceil(TICK_NANOS).max(self.tick);
            self.timers.push((tick, self.turn, at, key));
            self.turn += 1;
        }

        fn expire(&mut self, now: Time) -> Option<(Time, u64)> {
            let until = now.nanos() / TICK_NANOS;
            let first = (0..self.timers.len()).min_by_key(|&i| (self.timers[i].0, self.timers[i].1));
            let Some(due) = first.filter(|&i| self.timers[i].0 <= until) else {
                self.tick = self.tick.max(until);
                return None;
            };
            let (tick, turn, at, _) = self.timers.remove(due);
            self.tick = tick;
            Some((at, turn))
        }
    }

    /// As likely short as long.
    fn any_nanos(random: &mut StdRng) -> u64 {
        let bits = random.random_range(0..64);
        random.random::<u64>() >> bits
    }

    /// Near and far, on a tick and beside it, passed, and the end of time.
    fn some_time(random: &mut StdRng, now: Time) -> Time {
        let nanos = match random.random_range(0..8) {
            0 => random.random_range(0..3_000_000),
            1 => random.random_range(0..200) * TICK_NANOS,
            2 => random.random_range(0..10_000) * TICK_NANOS,
            3 => any_nanos(random) >> 1,
            4 => return Time::from_nanos(now.nanos().saturating_sub(random.random_range(0..5_000_000))),
            5 => return Time::from_nanos(u64::MAX - random.random_range(0..3)),
            6 => (64 << (6 * random.random_range(0..5u32))) * TICK_NANOS - now.nanos() % TICK_NANOS,
            _ => 0,
        };
        Time::from_nanos(now.nanos().saturating_add(nanos))
    }

    fn check(seed: u64) {
        let random = &mut StdRng::seed_from_u64(seed);
        let mut now = Time::from_nanos(any_nanos(random) >> 14);
        let mut wheel = Wheel::new(now);
        let mut naive = Naive { tick: now.nanos() / TICK_NANOS, turn: 0, timers: Vec::new() };
        let (mut fired, mut stale) = (0, Vec::new());
        for _ in 0..400 {
            match random.random_range(0..10) {
                0..5 => {
                    let at = some_time(random, now);
                    naive.insert(at, wheel.insert(at, (at, naive.turn)));
                }
                5 if !naive.timers.is_empty() => {
                    let (_, turn, at, key) = naive.timers.swap_remove(random.random_range(0..naive.timers.len()));
                    assert_eq!(wheel.cancel(key), Some((at, turn)));
                    stale.push(key);
                }
                6 if !stale.is_empty() => {
                    let key = stale[random.random_range(0..stale.len())];
                    assert!(!wheel.fires_by(key, Time::from_nanos(u64::MAX)));
                    assert_eq!(wheel.cancel(key), None);
                    if let Some((tick, _, _, key)) = naive.timers.first() {
                        let at = some_time(random, now);
                        let expected = *tick <= at.nanos().div_ceil(TICK_NANOS).max(naive.tick);
                        assert_eq!(wheel.fires_by(*key, at), expected);
                    }
                }
                7 => now = wheel.next().unwrap_or(now).max(now),
                8 => now = some_time(random, now).max(now).min(Time::from_nanos(1 << 60)),
                _ => {
                    // Not always to the end: a caller may stop half-way, and set timers meanwhile.
                    for _ in 0..random.random_range(1..100) {
                        let item = wheel.expire(now);
                        assert_eq!(item, naive.expire(now));
                        let Some((at, _)) = item else {
                            let next = wheel.next();
                            assert!(next.is_none_or(|next| next > now), "calling again at once brings nothing");
                            break;
                        };
                        assert!(at <= now, "never early");
                        fired += 1;
                    }
                }
            }
            assert_eq!(wheel.len(), naive.timers.len());
            let first = naive.timers.iter().map(|timer| timer.0.saturating_mul(TICK_NANOS)).min();
            assert_eq!(wheel.next().is_none(), first.is_none());
            assert!(wheel.next().is_none_or(|next| Some(next.nanos()) <= first), "never later");
        }
        assert!(fired > 0, "nothing was tested");
    }

    #[test]
    fn a_list_of_timers_judges_the_wheel() {
        for seed in 0..500 {
            if let Err(panic) = std::panic::catch_unwind(|| check(seed)) {
                panic!("seed {seed}: {:?}", panic.downcast_ref::<String>());
            }
        }
    }

    #[test]
    fn following_next_fires_within_a_tick_and_in_few_steps() {
        for millis in [0, 1, 63, 64, 65, 4095, 4096, 25_000, 600_000, 86_400_000] {
            for nanos in [0, 1, 999_999] {
                let mut wheel = Wheel::new(Time::from_nanos(12_345_678));
                let at = Time::from_nanos(12_345_678 + millis * TICK_NANOS + nanos);
                wheel.insert(at, ());
                let mut steps = 0;
                let fired = loop {
                    let now = wheel.next().expect("a timer is set");
                    steps += 1;
                    if wheel.expire(now).is_some() {
                        break now;
                    }
                };
                assert!(fired >= at && (fired - at).as_nanos() < 1_000_000, "{millis} ms");
                assert!(steps <= LEVELS, "{millis} ms: {steps} steps");
            }
        }
    }

    #[test]
    fn memory_is_used_again() {
        let mut wheel = Wheel::new(Time::ZERO);
        for round in 0..1000 {
            let keys: Vec<_> = (0..16).map(|i| wheel.insert(Time::from_millis(round + i * 37), i)).collect();
            for key in &keys[..8] {
                assert!(wheel.cancel(*key).is_some());
            }
            while wheel.expire(Time::from_millis(round + 600)).is_some() {}
            assert!(keys.iter().all(|key| wheel.cancel(*key).is_none()));
        }
        assert!(wheel.is_empty());
        assert!(wheel.insert(Time::ZERO, 0).slot < 16);
        assert_eq!(size_of::<Option<TimerKey>>(), 8);
    }
}
