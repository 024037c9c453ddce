//! HTTP/1.1 as a server speaks it (RFC 9110, RFC 9112): request heads and bodies to meaning, responses to bytes.
//!
//! What is ambiguous is refused, never repaired: two parties that read one request differently are how requests are smuggled.

pub mod body;
pub mod form;
pub mod framing;
pub mod head;
mod method;
pub mod negotiate;
pub mod path;
pub mod response;
pub mod violation;

#[cfg(test)]
mod head_rows;

pub use body::Decoder;
pub use form::{FormError, field, fields};
pub use framing::BodyFraming;
pub use head::{Head, HeadLimits, Hosts, Outline, outline, parse};
pub use negotiate::{cookie, language, prefers};
pub use path::decode_path;
pub use response::{Framing, Response, reason, write, write_stream_head};
pub use violation::Violation;
