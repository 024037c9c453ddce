//! The real binary over real sockets, with one event loop and with two. `TALLYCAST_DRIVER` names the driver (epoll, uring).

mod bad;
mod channels;
pub(crate) mod http;
mod people;
mod process;
mod resume;
mod rows;
pub(crate) mod server;
mod slow;
pub(crate) mod socket;
mod socket_io;

/// Each function becomes a test with one event loop and a test with two.
macro_rules! with_one_loop_and_two {
    ($($name:ident),* $(,)?) => {
        mod one_loop {
            $(#[test] fn $name() { super::$name(1); })*
        }
        mod two_loops {
            $(#[test] fn $name() { super::$name(2); })*
        }
    };
}
use with_one_loop_and_two;
