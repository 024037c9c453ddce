//! The client's side of the WebSocket protocol (RFC 6455), as cheap as it gets: a frame's head is read, its payload is
//! shown where it lies. The server is trusted no further than its lengths.

use tallycast::wire::ws::handshake::accept_key;
use tallycast::wire::ws::head::{Opcode, write_masked};

/// A longer frame is taken for a broken server, in bytes.
const FRAME_BYTES_MAX: u64 = 64 << 20;
/// A longer head of a response is taken for a broken server, in bytes.
const RESPONSE_BYTES_MAX: usize = 64 << 10;
/// Characters of base64 of which four are a number of 24 bits.
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// A frame from the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) opcode: u8,
    pub(crate) fin: bool,
    /// The payload, or its beginning where it is longer than what is kept.
    pub(crate) payload: &'a [u8],
    /// Bytes of the whole payload.
    pub(crate) bytes: u64,
}

/// Frame numbers (RFC 6455 section 5.2).
pub(crate) mod opcode {
    pub(crate) const CONTINUATION: u8 = 0;
    pub(crate) const TEXT: u8 = 1;
    pub(crate) const BINARY: u8 = 2;
    pub(crate) const CLOSE: u8 = 8;
    pub(crate) const PING: u8 = 9;
    pub(crate) const PONG: u8 = 10;
}

/// What of one connection's stream is not a whole frame yet.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    /// The head, and as much of the payload as is kept, of the frame that is arriving.
    held: Vec<u8>,
    /// Bytes of that frame that are still to come and not kept.
    skip: u64,
}

impl Reader {
    /// Takes what arrived and shows each whole frame. Of a payload, at most `keep` bytes are kept and shown, if it does
    /// not arrive in one piece.
    ///
    /// # Errors
    /// What the server did that a server may not do.
    pub(crate) fn feed(
        &mut self,
        mut input: &[u8],
        keep: usize,
        mut frame: impl FnMut(Frame<'_>),
    ) -> Result<(), &'static str> {
        if !self.held.is_empty() {
            input = self.finish_held(input, keep, &mut frame)?;
        }
        while let Some(head) = head(input)? {
            let end = head.head_bytes + head.payload_bytes as usize;
            let Some(payload) = input.get(head.head_bytes..end) else { break };
            frame(Frame { opcode: head.opcode, fin: head.fin, payload, bytes: head.payload_bytes });
            input = &input[end..];
        }
        if !input.is_empty() {
            self.hold(input, keep)?;
        }
        Ok(())
    }

    /// Completes the frame in hand from `input`; what is behind it is returned.
    fn finish_held<'i>(
        &mut self,
        mut input: &'i [u8],
        keep: usize,
        frame: &mut impl FnMut(Frame<'_>),
    ) -> Result<&'i [u8], &'static str> {
        loop {
            let known = head(&self.held)?;
            let Some(known) = known else {
                // A head is short: byte by byte.
                let Some((&byte, rest)) = input.split_first() else { return Ok(input) };
                self.held.push(byte);
                input = rest;
                continue;
            };
            let kept_end = known.head_bytes + known.payload_bytes.min(keep as u64) as usize;
            if self.held.len() < kept_end {
                let taken = input.len().min(kept_end - self.held.len());
                self.held.extend_from_slice(&input[..taken]);
                input = &input[taken..];
                if self.held.len() < kept_end {
                    return Ok(input);
                }
                self.skip = known.payload_bytes - (kept_end - known.head_bytes) as u64;
            }
            let skipped = self.skip.min(input.len() as u64);
            self.skip -= skipped;
            input = &input[skipped as usize..];
            if self.skip > 0 {
                return Ok(input);
            }
            let payload = &self.held[known.head_bytes..];
            frame(Frame { opcode: known.opcode, fin: known.fin, payload, bytes: known.payload_bytes });
            // Gives the memory back, too: thousands of connections have nothing in hand.
            self.held = Vec::new();
            return Ok(input);
        }
    }

    /// Keeps the beginning of a frame that is not all here.
    fn hold(&mut self, input: &[u8], keep: usize) -> Result<(), &'static str> {
        let kept = match head(input)? {
            None => input.len(),
            Some(head) => input.len().min(head.head_bytes + head.payload_bytes.min(keep as u64) as usize),
        };
        self.held.extend_from_slice(&input[..kept]);
        self.skip = 0;
        if let Some(head) = head(input)?
            && kept == head.head_bytes + head.payload_bytes.min(keep as u64) as usize
        {
            self.skip = (head.head_bytes as u64 + head.payload_bytes) - input.len() as u64;
        }
        Ok(())
    }
}

struct Head {
    opcode: u8,
    fin: bool,
    head_bytes: usize,
    payload_bytes: u64,
}

/// The head at the beginning of `bytes`; `None` if it is not all here.
#[inline]
fn head(bytes: &[u8]) -> Result<Option<Head>, &'static str> {
    let [first, second, rest @ ..] = bytes else { return Ok(None) };
    if first & 0x70 != 0 {
        return Err("a reserved bit is set");
    }
    let (head_bytes, payload_bytes) = match second {
        0..=125 => (2, u64::from(*second)),
        126 => match rest.first_chunk() {
            Some(&length) => (4, u64::from(u16::from_be_bytes(length))),
            None => return Ok(None),
        },
        127 => match rest.first_chunk() {
            Some(&length) => (10, u64::from_be_bytes(length)),
            None => return Ok(None),
        },
        128.. => return Err("a server's frame is masked"),
    };
    if payload_bytes > FRAME_BYTES_MAX {
        return Err("a frame of more than 64 MiB");
    }
    Ok(Some(Head { opcode: first & 0x0f, fin: first & 0x80 != 0, head_bytes, payload_bytes }))
}

/// Appends a text message.
pub(crate) fn write_text(out: &mut Vec<u8>, text: &[u8], mask: u32) {
    write_masked(out, Opcode::Text, true, text, mask.to_be_bytes());
}

/// Appends a Pong or a Close with this payload.
pub(crate) fn write_control(out: &mut Vec<u8>, kind: Opcode, payload: &[u8], mask: u32) {
    write_masked(out, kind, true, payload, mask.to_be_bytes());
}

/// A key for a handshake from a number that is new each time: 24 characters.
pub(crate) fn key(number: u64) -> [u8; 24] {
    let mut key = [b'A'; 24];
    let mut bits = number;
    for character in &mut key[..21] {
        *character = BASE64[(bits & 63) as usize];
        bits = bits.rotate_right(6).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    // 16 bytes: the 22nd character has two bits, and two more are padding.
    key[22] = b'=';
    key[23] = b'=';
    key
}

/// A response's head.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ResponseHead {
    pub(crate) status: u16,
    /// Bytes of the head itself.
    pub(crate) head_bytes: usize,
    /// `Content-Length`.
    pub(crate) body_bytes: Option<u64>,
    pub(crate) is_chunked: bool,
    /// The server will close the connection.
    pub(crate) is_last: bool,
    accept: Option<[u8; 28]>,
}

impl ResponseHead {
    /// Is this the answer to a handshake with this key? (section 4.1)
    pub(crate) fn answers(&self, key: &[u8; 24]) -> bool {
        let key = std::str::from_utf8(key).unwrap_or_default();
        self.status == 101 && self.accept == Some(accept_key(key))
    }
}

/// The head of an HTTP response; `None` if it is not all here.
///
/// # Errors
/// It is none.
pub(crate) fn response_head(bytes: &[u8]) -> Result<Option<ResponseHead>, &'static str> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let head_bytes = match response.parse(bytes) {
        Ok(httparse::Status::Complete(head_bytes)) => head_bytes,
        Ok(httparse::Status::Partial) if bytes.len() > RESPONSE_BYTES_MAX => return Err("an endless response head"),
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err("not an HTTP response"),
    };
    let value = |name: &str| {
        let found = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.map(|header| header.value.trim_ascii())
    };
    let text = |name: &str| value(name).and_then(|value| std::str::from_utf8(value).ok());
    Ok(Some(ResponseHead {
        status: response.code.unwrap_or_default(),
        head_bytes,
        body_bytes: text("content-length").and_then(|length| length.parse().ok()),
        is_chunked: text("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")),
        is_last: text("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")),
        accept: value("sec-websocket-accept").and_then(|accept| accept.try_into().ok()),
    }))
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};
    use tallycast::wire::ws::head::write_frame;
    use tallycast::wire::ws::mask::unmask;

    use super::*;

    type Seen = (u8, bool, Vec<u8>, u64);

    fn read_in_pieces(wire: &[u8], keep: usize, mut piece: impl FnMut() -> usize) -> (Vec<Seen>, Reader) {
        let (mut reader, mut seen, mut rest) = (Reader::default(), vec![], wire);
        while !rest.is_empty() {
            let (now, later) = rest.split_at(piece().clamp(1, rest.len()));
            let take = |frame: Frame<'_>| seen.push((frame.opcode, frame.fin, frame.payload.to_vec(), frame.bytes));
            reader.feed(now, keep, take).expect("frames");
            rest = later;
        }
        (seen, reader)
    }

    #[test]
    fn frames_are_read_however_they_are_cut() {
        let sizes = [0, 1, 28, 125, 126, 127, 300, 65_535, 65_536, 70_000];
        let mut wire = Vec::new();
        let mut right: Vec<Seen> = Vec::new();
        for (index, size) in sizes.into_iter().enumerate() {
            let payload: Vec<u8> = (0..size).map(|byte| (byte + index) as u8).collect();
            write_frame(&mut wire, Opcode::Text, &payload);
            right.push((opcode::TEXT, true, payload, size as u64));
        }
        write_frame(&mut wire, Opcode::Ping, b"?");
        right.push((opcode::PING, true, b"?".to_vec(), 1));
        for keep in [usize::MAX, 40, 1] {
            for seed in 0..40 {
                let mut random = StdRng::seed_from_u64(seed);
                let most = [1, 3, 50, 5000, 1 << 20][seed as usize % 5];
                let (seen, reader) = read_in_pieces(&wire, keep, || random.random_range(1..=most));
                assert!(reader.held.is_empty() && reader.skip == 0, "nothing is left");
                assert_eq!(seen.len(), right.len(), "seed {seed}, keep {keep}");
                for (seen, right) in seen.iter().zip(&right) {
                    // Kept are `keep` bytes, or more where it came in one piece.
                    let shown = seen.2.len();
                    assert!(shown >= right.2.len().min(keep) && seen.2 == right.2[..shown], "seed {seed}, keep {keep}");
                    assert_eq!((seen.0, seen.1, seen.3), (right.0, right.1, right.3));
                }
            }
        }
    }

    #[test]
    fn an_unfinished_frame_keeps_what_it_may_and_no_more() {
        let mut wire = Vec::new();
        write_frame(&mut wire, Opcode::Text, &[b'x'; 60_000]);
        let (seen, reader) = read_in_pieces(&wire[..50_000], 100, || 1000);
        assert!(seen.is_empty());
        assert_eq!((reader.held.len(), reader.skip), (104, 60_004 - 50_000));
    }

    #[test]
    fn what_a_server_may_not_do() {
        let rows: [&[u8]; 3] = [&[0x81, 0x81, 0, 0, 0, 0], &[0xc1, 0], &[0x82, 127, 1, 0, 0, 0, 0, 0, 0, 0]];
        for wire in rows {
            assert!(Reader::default().feed(wire, usize::MAX, |_| panic!("no frame")).is_err(), "{wire:?}");
        }
    }

    #[test]
    fn texts_are_masked() {
        let mut out = Vec::new();
        write_text(&mut out, b"hello", 0x0102_0304);
        assert_eq!(out[..6], [0x81, 0x85, 1, 2, 3, 4]);
        unmask(&mut out[6..], [1, 2, 3, 4], 0);
        assert_eq!(&out[6..], b"hello");
    }

    #[test]
    fn keys_are_sixteen_bytes_in_base64_and_new_each_time() {
        let keys: std::collections::BTreeSet<[u8; 24]> = (0..1000).map(key).collect();
        assert_eq!(keys.len(), 1000);
        for key in keys {
            assert!(key[..22].iter().all(|byte| BASE64.contains(byte)) && key[22..] == *b"==");
        }
    }

    #[test]
    fn the_answer_to_a_handshake() {
        let key = key(1);
        let accept = accept_key(std::str::from_utf8(&key).unwrap());
        let accept = std::str::from_utf8(&accept).unwrap();
        let rows = [
            (format!("HTTP/1.1 101 X\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"), true),
            (format!("HTTP/1.1 101 X\r\nsec-websocket-accept:{accept} \r\n\r\n"), true),
            (format!("HTTP/1.1 200 X\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"), false),
            ("HTTP/1.1 101 X\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n".into(), false),
            ("HTTP/1.1 101 X\r\n\r\n".into(), false),
        ];
        for (wire, is_right) in rows {
            let head = response_head(wire.as_bytes()).unwrap().expect("a head");
            assert_eq!(head.answers(&key), is_right, "{wire}");
            assert_eq!(head.head_bytes, wire.len());
            assert_eq!(response_head(&wire.as_bytes()[..wire.len() - 1]), Ok(None));
        }
        assert!(response_head(b"\x15\x03\x01").is_err());
    }
}
