//! The integration tests, one binary.

mod browser;
mod clients;
mod config;
mod conformance;
mod corpora;
mod engine;
mod limits;
mod live;
mod mistakes;
mod protocol;
mod reference;
mod sim;
mod tidy;
