//! Pure codecs: bytes to meaning and back, without sockets, time or state beyond one message.

pub mod engineio;
pub mod http;
pub mod socketio;
pub mod sse;
pub mod ws;
