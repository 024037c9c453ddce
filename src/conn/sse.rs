//! An event stream's connection: the server speaks, and what the client says means nothing.

use crate::wire::sse;

/// The connection of a client that listens by Server-Sent Events.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct EventStream;

impl EventStream {
    /// Takes what arrived, and drops it. Returns how many bytes were consumed: all.
    pub fn next(&mut self, input: &[u8]) -> usize {
        input.len()
    }

    /// Appends a sign of life.
    pub fn heartbeat(&self, out: &mut Vec<u8>) {
        sse::write_comment(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_and_hears() {
        let mut out = Vec::new();
        let mut stream = EventStream;
        assert_eq!(stream.next(b"GET / HTTP/1.1\r\n\r\n"), 18);
        stream.heartbeat(&mut out);
        assert_eq!(out, b":\n\n");
    }
}
