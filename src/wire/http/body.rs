//! The chunked transfer coding (RFC 9112 section 7.1), decoded in place as it arrives.

use memchr::memchr;

use super::head::{HeadLimits, check_line, is_token};
use super::violation::Violation;
use crate::base::limits::CHUNK_LINE_BYTES_MAX;

/// Digits of a chunk's size: more than any length needs, so leading zeros are bounded too.
const SIZE_DIGITS_MAX: usize = 16;

/// Decodes one body.
#[derive(Clone, Debug)]
pub struct Decoder {
    state: State,
    /// The part of a line that has arrived.
    line: Vec<u8>,
    /// Bytes of the body so far, those of the chunk in hand included.
    body_bytes: usize,
    extension_bytes: usize,
    trailer_bytes: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    SizeLine,
    /// So many bytes of data are to come.
    Data(usize),
    /// CRLF is to come.
    DataEnd,
    /// Only its LF is.
    DataEndLf,
    TrailerLine,
    Done,
}

/// What one call of [`Decoder::decode`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decoded {
    /// Bytes that were read; all of them, unless the body ended before.
    pub consumed: usize,
    /// Bytes of the body; they lie at the beginning now.
    pub written: usize,
    /// Whether the body is complete, trailers included.
    pub done: bool,
}

impl Default for Decoder {
    fn default() -> Decoder {
        Decoder { state: State::SizeLine, line: Vec::new(), body_bytes: 0, extension_bytes: 0, trailer_bytes: 0 }
    }
}

impl Decoder {
    /// Reads what has arrived and moves the data in it to its beginning. Trailers are checked and dropped.
    pub fn decode(&mut self, bytes: &mut [u8], limits: &HeadLimits) -> Result<Decoded, Violation> {
        let (mut read, mut written) = (0, 0);
        while self.state != State::Done && read < bytes.len() {
            match self.state {
                State::SizeLine => {
                    let (taken, complete) =
                        self.take_line(&bytes[read..], CHUNK_LINE_BYTES_MAX, Violation::ChunkLineTooLong)?;
                    read += taken;
                    if complete {
                        self.state = self.size_line(limits)?;
                    }
                }
                State::Data(left) => {
                    let taken = left.min(bytes.len() - read);
                    bytes.copy_within(read..read + taken, written);
                    read += taken;
                    written += taken;
                    self.state = if taken == left { State::DataEnd } else { State::Data(left - taken) };
                }
                State::DataEnd => {
                    self.state = expect(bytes[read], b'\r', State::DataEndLf)?;
                    read += 1;
                }
                State::DataEndLf => {
                    self.state = expect(bytes[read], b'\n', State::SizeLine)?;
                    read += 1;
                }
                State::TrailerLine => {
                    let left = limits.head_bytes_max.saturating_sub(self.trailer_bytes);
                    let (taken, complete) = self.take_line(&bytes[read..], left, Violation::TrailersTooLong)?;
                    read += taken;
                    if complete {
                        self.state = self.trailer_line()?;
                    }
                }
                State::Done => {}
            }
        }
        Ok(Decoded { consumed: read, written, done: self.state == State::Done })
    }

    /// Takes the rest of a line, or what is there of it; the line is complete without its CRLF.
    fn take_line(&mut self, bytes: &[u8], bytes_max: usize, too_long: Violation) -> Result<(usize, bool), Violation> {
        let end = memchr(b'\n', bytes);
        let taken = end.map_or(bytes.len(), |end| end + 1);
        if self.line.len() + taken > bytes_max {
            return Err(too_long);
        }
        self.line.extend_from_slice(&bytes[..taken]);
        if end.is_none() {
            return Ok((taken, false));
        }
        self.line.pop();
        if self.line.pop() != Some(b'\r') {
            return Err(Violation::BareLineFeed);
        }
        Ok((taken, true))
    }

    fn size_line(&mut self, limits: &HeadLimits) -> Result<State, Violation> {
        let digits = self.line.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(self.line.len());
        if digits == 0 || digits > SIZE_DIGITS_MAX {
            return Err(Violation::ChunkSizeInvalid);
        }
        let extensions = &self.line[digits..];
        if extensions.contains(&b'\r') {
            return Err(Violation::BareCarriageReturn);
        }
        // A size and something else than an extension: the size is what is wrong.
        if extensions.first().is_some_and(|&byte| !matches!(byte, b';' | b' ' | b'\t')) {
            return Err(Violation::ChunkSizeInvalid);
        }
        check_extensions(extensions)?;
        self.extension_bytes += extensions.len();
        if self.extension_bytes > limits.head_bytes_max {
            return Err(Violation::ChunkExtensionsTooLong);
        }
        let size = self.line[..digits].iter().fold(0, |size, &digit| size << 4 | hex_value(digit));
        self.line.clear();
        if size > (limits.body_bytes_max.saturating_sub(self.body_bytes)) as u64 {
            return Err(Violation::BodyTooLong);
        }
        self.body_bytes += size as usize;
        Ok(if size == 0 { State::TrailerLine } else { State::Data(size as usize) })
    }

    fn trailer_line(&mut self) -> Result<State, Violation> {
        if self.line.is_empty() {
            return Ok(State::Done);
        }
        check_line(&self.line)?;
        self.trailer_bytes += self.line.len() + 2;
        self.line.clear();
        Ok(State::TrailerLine)
    }
}

fn expect(byte: u8, expected: u8, then: State) -> Result<State, Violation> {
    if byte == expected { Ok(then) } else { Err(Violation::ChunkEndMissing) }
}

fn hex_value(digit: u8) -> u64 {
    u64::from(match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    })
}

/// `*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )` (RFC 9112 section 7.1.1).
fn check_extensions(mut rest: &[u8]) -> Result<(), Violation> {
    while !rest.is_empty() {
        rest = skip_blanks(rest).strip_prefix(b";").ok_or(Violation::ChunkExtensionInvalid)?;
        rest = skip_token(skip_blanks(rest))?;
        let Some(value) = skip_blanks(rest).strip_prefix(b"=") else {
            continue;
        };
        let value = skip_blanks(value);
        rest = match value.strip_prefix(b"\"") {
            Some(quoted) => skip_quoted(quoted)?,
            None => skip_token(value)?,
        };
    }
    Ok(())
}

fn skip_blanks(bytes: &[u8]) -> &[u8] {
    let blanks = bytes.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    &bytes[blanks..]
}

fn skip_token(bytes: &[u8]) -> Result<&[u8], Violation> {
    let len = bytes.iter().take_while(|&&byte| is_token(&[byte])).count();
    if len == 0 { Err(Violation::ChunkExtensionInvalid) } else { Ok(&bytes[len..]) }
}

/// Behind the closing quote.
fn skip_quoted(bytes: &[u8]) -> Result<&[u8], Violation> {
    let mut escaped = false;
    for (at, &byte) in bytes.iter().enumerate() {
        match byte {
            _ if byte != b'\t' && byte.is_ascii_control() => break,
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Ok(&bytes[at + 1..]),
            _ => {}
        }
    }
    Err(Violation::ChunkExtensionInvalid)
}

#[cfg(test)]
mod tests {
    use super::super::head::Hosts;
    use super::*;

    const LIMITS: HeadLimits =
        HeadLimits { head_bytes_max: 600, target_bytes_max: 100, body_bytes_max: 20, hosts: Hosts::Same };

    /// The body and how much was read, or what is wrong; `None`: not all here yet.
    type Outcome = Result<Option<(Vec<u8>, usize)>, Violation>;

    /// The input, and the body and how much is left behind it.
    type Row = (String, Result<Option<(String, usize)>, Violation>);

    fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
        let mut decoder = Decoder::default();
        let (mut body, mut read) = (Vec::new(), 0);
        for piece in pieces {
            let mut piece = piece.to_vec();
            let decoded = decoder.decode(&mut piece, &LIMITS)?;
            assert!(decoded.done || decoded.consumed == piece.len());
            body.extend_from_slice(&piece[..decoded.written]);
            read += decoded.consumed;
            if decoded.done {
                return Ok(Some((body, read)));
            }
        }
        Ok(None)
    }

    #[test]
    fn rows_whole_and_cut() {
        use Violation::*;
        let done = |body: &str, rest: usize| Ok(Some((body.to_owned(), rest)));
        let rows: Vec<Row> = [
            ("0\r\n\r\n", done("", 0)),
            ("000\r\n\r\n", done("", 0)),
            ("5\r\nhello\r\n0\r\n\r\n", done("hello", 0)),
            ("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\nGET", done("hello world", 3)),
            ("A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", done("01234567890123456789", 0)),
            ("2\r\n\r\n\r\n0\r\n\r\n", done("\r\n", 0)),
            ("1;a;b=c ; d = \"e;\\\"\"\r\nx\r\n0;last\r\n\r\n", done("x", 0)),
            ("0\r\nVary: *\r\nX:\r\n\r\n", done("", 0)),
            ("5\r\nhello\r\n0\r\n", Ok(None)),
            ("5\r\nhel", Ok(None)),
            ("", Ok(None)),
            ("\r\n", Err(ChunkSizeInvalid)),
            ("z\r\n", Err(ChunkSizeInvalid)),
            ("0x1\r\n", Err(ChunkSizeInvalid)),
            ("-1\r\n", Err(ChunkSizeInvalid)),
            (" 1\r\n", Err(ChunkSizeInvalid)),
            ("1 \r\n", Err(ChunkExtensionInvalid)),
            ("1;\r\n", Err(ChunkExtensionInvalid)),
            ("1;a=\r\n", Err(ChunkExtensionInvalid)),
            ("1;a=\"b\r\n", Err(ChunkExtensionInvalid)),
            ("1;a=\"\x01\"\r\n", Err(ChunkExtensionInvalid)),
            ("1;a b\r\n", Err(ChunkExtensionInvalid)),
            ("1;a\0\r\n", Err(ChunkExtensionInvalid)),
            ("1\n", Err(BareLineFeed)),
            ("1;a\rb\r\n", Err(BareCarriageReturn)),
            ("1\r\nxx", Err(ChunkEndMissing)),
            ("1\r\nx\n", Err(ChunkEndMissing)),
            ("1\r\nx\rx", Err(ChunkEndMissing)),
            ("1\r\nx\r\n\r\n", Err(ChunkSizeInvalid)),
            ("15\r\n", Err(BodyTooLong)),
            ("a\r\n0123456789\r\nb\r\n", Err(BodyTooLong)),
            ("ffffffffffffffff\r\n", Err(BodyTooLong)),
            ("fffffffffffffffff\r\n", Err(ChunkSizeInvalid)),
            ("00000000000000000\r\n", Err(ChunkSizeInvalid)),
            ("0\r\n a: b\r\n", Err(LineFolded)),
            ("0\r\na : b\r\n", Err(SpaceBeforeColon)),
            ("0\r\nab\r\n", Err(ColonMissing)),
            ("0\r\na: \0\r\n", Err(HeaderValueInvalid)),
            ("0\r\na: b\n", Err(BareLineFeed)),
        ]
        .into_iter()
        .map(|(input, expected)| (input.to_owned(), expected))
        .chain([
            (format!("1;{}\r\n", "a".repeat(CHUNK_LINE_BYTES_MAX - 4)), Ok(None)),
            (format!("1;{}\r\n", "a".repeat(CHUNK_LINE_BYTES_MAX - 3)), Err(ChunkLineTooLong)),
            (format!("1;{}\r\nx\r\n", "a".repeat(199)).repeat(3), Ok(None)),
            (format!("1;{}\r\nx\r\n", "a".repeat(200)).repeat(3), Err(ChunkExtensionsTooLong)),
            (format!("0\r\n{}\r\n", "a: b\r\n".repeat(99)), done("", 0)),
            (format!("0\r\n{}\r\n", "a: b\r\n".repeat(100)), Err(TrailersTooLong)),
        ])
        .collect();
        for (input, expected) in &rows {
            let bytes = input.as_bytes();
            let expected =
                expected.clone().map(|done| done.map(|(body, rest)| (body.into_bytes(), bytes.len() - rest)));
            assert_eq!(decode([bytes]), expected, "{input:?}");
            assert_eq!(decode(bytes.chunks(1)), expected, "{input:?} byte by byte");
            for cut in 0..=bytes.len() {
                assert_eq!(decode([&bytes[..cut], &bytes[cut..]]), expected, "{input:?} cut at {cut}");
            }
        }
    }
}
