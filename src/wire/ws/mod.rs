//! WebSocket (RFC 6455), the server's side of it and as much of the client's as tests and the load generator need.
//!
//! * [`handshake`]: is this request an opening handshake, and the 101 that answers it
//! * [`head`]: frame heads, read and written
//! * [`mask`] and [`utf8`]: what is done to payloads as they arrive
//! * [`reader`]: frames in, messages and control frames out
//! * [`close`]: close codes and the Close frame

pub mod close;
pub mod handshake;
pub mod head;
pub mod mask;
pub mod reader;
pub mod utf8;
mod violation;

#[cfg(test)]
pub(crate) mod rows;

pub use head::Opcode;
pub use reader::{MessageLimits, Piece, Reader};
pub use violation::Violation;
