//! A chunked body that goes on and on (RFC 9112, section 7.1).

/// The longest line between chunks, in bytes.
const LINE_BYTES_MAX: usize = 256;

/// Reads it in pieces of any size. Trailers are passed over.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    place: Place,
    line: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// In the line that says how long the next chunk is.
    #[default]
    Size,
    /// In a chunk with so many bytes to come.
    Data(usize),
    /// In the line end behind a chunk.
    After,
    /// Behind the last chunk.
    Ended,
}

impl Chunks {
    /// Hands on what `input` has of the body.
    ///
    /// # Errors
    /// It is no chunked body.
    pub(super) fn feed(&mut self, mut input: &[u8], mut body: impl FnMut(&[u8])) -> Result<(), &'static str> {
        while let Some((first, rest)) = input.split_first() {
            match self.place {
                Place::Ended => return Ok(()),
                Place::Data(left) => {
                    let (here, behind) = input.split_at(left.min(input.len()));
                    body(here);
                    input = behind;
                    self.place = if here.len() == left { Place::After } else { Place::Data(left - here.len()) };
                }
                Place::Size | Place::After => {
                    input = rest;
                    match first {
                        b'\n' => self.line_ends()?,
                        byte if self.line.len() < LINE_BYTES_MAX => self.line.push(*byte),
                        _ => return Err("a chunk's size has no end"),
                    }
                }
            }
        }
        Ok(())
    }

    fn line_ends(&mut self) -> Result<(), &'static str> {
        let line = self.line.trim_ascii_end();
        if self.place == Place::After {
            self.place = if line.is_empty() { Place::Size } else { return Err("a chunk is longer than it says") };
        } else {
            let size = line.split(|byte| *byte == b';').next().and_then(|size| std::str::from_utf8(size).ok());
            self.place = match size.and_then(|size| usize::from_str_radix(size.trim(), 16).ok()) {
                Some(0) => Place::Ended,
                Some(size) => Place::Data(size),
                None => return Err("a chunk without a size"),
            };
        }
        self.line.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_come_in_pieces_of_any_size() {
        let text = b"5\r\nhello\r\n1;x=y\r\n \r\n5\r\nworld\r\n0\r\n\r\nrest";
        for size in 1..=text.len() {
            let (mut chunks, mut body) = (Chunks::default(), Vec::new());
            for piece in text.chunks(size) {
                chunks.feed(piece, |bytes| body.extend_from_slice(bytes)).unwrap();
            }
            assert_eq!(body, b"hello world", "by {size}");
        }
        for text in ["zz\r\n", "\r\n", "1\r\nab\r\n", &"1".repeat(300)] {
            assert!(Chunks::default().feed(text.as_bytes(), |_| {}).is_err(), "{text}");
        }
    }
}
