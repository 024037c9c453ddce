//! Pure codecs: bytes to meaning and back, without sockets, time or state beyond one message.

pub mod http;
pub mod sse;
pub mod ws;
