//! What everything stands on: ids and keys that go stale, time, the timer wheel, segments, the I/O wall, and every limit.

pub mod hash;
pub mod io;
pub mod keys;
pub mod limits;
pub mod rarely;
pub mod segment;
pub mod slots;
pub mod time;
pub mod wheel;
