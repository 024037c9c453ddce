//! The integration tests, one binary.

mod config;
mod engine;
