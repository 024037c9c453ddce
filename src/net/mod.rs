//! Moves bytes and mail, nothing else: sockets, clocks, threads and signals are here, and what they mean is not.
//!
//! [`epoll`] or [`uring`] plays the [`Driver`](crate::base::io::Driver) ([`driver`] says which), [`listen`] opens the
//! listeners, [`mailbox`] carries mail between threads, [`server`] starts and ends the threads, [`signals`] asks them to end, [`clock`] tells the time,
//! [`files`] how many files may be open.

pub mod clock;
pub mod driver;
pub mod epoll;
mod event_loop;
pub mod files;
pub mod listen;
pub mod mailbox;
pub mod server;
pub mod signals;
mod threads;
pub mod uring;
