//! The bodies of the benches, one file for each group. In test mode every body runs once, with sizes that take no time;
//! each group first checks that what it compares does the same.

pub(crate) mod churn;
pub(crate) mod crowd;
pub(crate) mod encode;
pub(crate) mod fanout;
pub(crate) mod house;
pub(crate) mod mailbox;
pub(crate) mod parse;
pub(crate) mod poll;
pub(crate) mod unmask;
pub(crate) mod utf8;
pub(crate) mod vote;
pub(crate) mod wheel;

/// Whether this run is a test and measures nothing.
pub(crate) fn is_test() -> bool {
    let mut arguments = std::env::args();
    !arguments.any(|argument| argument == "--bench") || std::env::args().any(|argument| argument == "--test")
}

/// `size`, or in a test `tiny`.
pub(crate) fn sized(size: usize, tiny: usize) -> usize {
    if is_test() { tiny } else { size }
}
