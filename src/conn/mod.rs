//! One connection's protocol as a state machine without I/O: bytes go in, events come out, and protocol duties (pong,
//! close, an error response) are appended to the caller's buffer.

pub mod http;
pub mod sse;
pub mod ws;
