//! The integration tests, one binary.

mod attacks;
mod browser;
mod browser_pages;
mod clients;
mod config;
mod conformance;
mod corpora;
mod engine;
#[cfg(feature = "fuzzing")]
mod fuzz;
mod limits;
mod live;
mod mistakes;
mod protocol;
mod reference;
mod sim;
mod tidy;
