//! Tallycast: a real-time push server. ARCHITECTURE.md says how it is built.

pub mod app;
pub mod base;
pub mod conn;
pub mod engine;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod kind;
pub mod mirror;
pub mod net;
pub mod route;
pub mod shard;
pub mod wire;
