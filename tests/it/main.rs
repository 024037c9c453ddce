//! The integration tests, one binary.

mod browser;
mod clients;
mod config;
mod conformance;
mod engine;
mod live;
mod sim;
mod tidy;
