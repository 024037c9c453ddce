//! The integration tests, one binary.

mod allocations;
mod attacks;
mod browser;
mod browser_pages;
mod clients;
mod config;
mod conformance;
mod corpora;
mod counting;
#[path = "../../benches/bodies/crowd.rs"]
mod crowd;
mod engine;
#[cfg(feature = "fuzzing")]
mod fuzz;
#[path = "../../benches/bodies/house.rs"]
mod house;
mod limits;
mod live;
mod mistakes;
#[path = "../../benches/bodies/poll.rs"]
mod poll;
mod protocol;
mod reference;
mod scale;
mod sim;
mod tidy;
