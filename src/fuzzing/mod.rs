//! The bodies of the fuzz targets: each takes bytes of nobody's choice and asserts what must hold for all. `fuzz/` calls
//! them with the bytes that a fuzzer finds, the tests with the committed corpora and mutations of these.
//!
//! Only with the feature `fuzzing`; nothing here is part of the server.

mod config;
mod engineio;
mod http;
mod input;
mod shard;
mod socketio;
mod sse;
mod tables;
mod text;
mod ws;

pub use config::config;
pub use engineio::engineio;
pub use http::{http_chunked, http_connection, http_head};
pub use shard::{Reach, shard, shard_reach};
pub use socketio::socketio;
pub use sse::sse_writer;
pub use tables::tables;
pub use text::{ballots, forms, negotiation, paths, positions, session_names, utf8};
pub use ws::{ws_close, ws_connection, ws_handshake, ws_reader};

/// What a target does with bytes; it panics if something does not hold.
pub type Body = fn(&[u8]);

/// All targets: the name (of `fuzz/fuzz_targets/NAME.rs` and of the corpus `fuzz/seeds/NAME`) and the body.
pub const TARGETS: &[(&str, Body)] = &[
    ("ballots", ballots),
    ("config", config),
    ("engineio", engineio),
    ("forms", forms),
    ("http_chunked", http_chunked),
    ("http_connection", http_connection),
    ("http_head", http_head),
    ("negotiation", negotiation),
    ("paths", paths),
    ("positions", positions),
    ("session_names", session_names),
    ("shard", shard),
    ("socketio", socketio),
    ("sse_writer", sse_writer),
    ("tables", tables),
    ("utf8", utf8),
    ("ws_close", ws_close),
    ("ws_connection", ws_connection),
    ("ws_handshake", ws_handshake),
    ("ws_reader", ws_reader),
];
