//! UTF-8 checked as it arrives: wrong as soon as it cannot become right.

/// Not UTF-8, whatever may follow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotUtf8;

/// A validator that is fed pieces cut anywhere. It carries the at most 3 bytes of a character that a cut left unfinished.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Utf8 {
    carried: [u8; 3],
    carried_len: u8,
}

impl Utf8 {
    /// At the beginning of a text.
    pub const fn new() -> Utf8 {
        Utf8 { carried: [0; 3], carried_len: 0 }
    }

    /// Takes the next piece. After an error the text is lost, whatever follows.
    pub fn feed(&mut self, piece: &[u8]) -> Result<(), NotUtf8> {
        let piece = self.finish_character(piece)?;
        let Err(error) = simdutf8::compat::from_utf8(piece) else {
            return Ok(());
        };
        if error.error_len().is_some() {
            return Err(NotUtf8);
        }
        self.carry(&piece[error.valid_up_to()..]);
        Ok(())
    }

    /// The text ends here: no character may be unfinished.
    pub fn finish(&self) -> Result<(), NotUtf8> {
        if self.carried_len == 0 { Ok(()) } else { Err(NotUtf8) }
    }

    /// Gives the carried character its missing bytes, one at a time; returns what is left of the piece.
    fn finish_character<'a>(&mut self, mut piece: &'a [u8]) -> Result<&'a [u8], NotUtf8> {
        while self.carried_len > 0 {
            let Some((&byte, rest)) = piece.split_first() else {
                break;
            };
            piece = rest;
            let len = usize::from(self.carried_len);
            let mut character = [0; 4];
            character[..len].copy_from_slice(&self.carried[..len]);
            character[len] = byte;
            match std::str::from_utf8(&character[..=len]) {
                Ok(_) => self.carried_len = 0,
                Err(error) if error.error_len().is_some() => return Err(NotUtf8),
                Err(_) => self.carry(&character[..=len]),
            }
        }
        Ok(piece)
    }

    /// The beginning of a character: 1 to 3 bytes, as the check found them unfinished and not wrong.
    fn carry(&mut self, unfinished: &[u8]) {
        self.carried[..unfinished.len()].copy_from_slice(unfinished);
        self.carried_len = unfinished.len() as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many bytes of `text` must be seen until an error is certain, and whether it may end there, by std's judgement.
    fn judge(text: &[u8]) -> (Option<usize>, bool) {
        for end in 0..=text.len() {
            if std::str::from_utf8(&text[..end]).is_err_and(|e| e.error_len().is_some()) {
                return (Some(end), false);
            }
        }
        (None, std::str::from_utf8(text).is_ok())
    }

    fn run(pieces: &[&[u8]]) -> (Option<usize>, bool) {
        let mut utf8 = Utf8::new();
        let mut seen = 0;
        for piece in pieces {
            seen += piece.len();
            if utf8.feed(piece).is_err() {
                return (Some(seen), false);
            }
        }
        (None, utf8.finish().is_ok())
    }

    fn check(text: &[u8]) {
        let (certain, whole) = judge(text);
        for cut in 0..=text.len() {
            // A piece is refused as soon as it holds the byte that makes the error certain.
            let expected = certain.map(|at| if at <= cut { cut } else { text.len() });
            let (left, right) = text.split_at(cut);
            assert_eq!(run(&[left, right]), (expected, whole), "{text:x?} cut at {cut}");
        }
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(run(&bytes), (certain, whole), "{text:x?} byte by byte");
        let threes: Vec<&[u8]> = text.chunks(3).collect();
        let expected = certain.map(|at| at.next_multiple_of(3).min(text.len()));
        assert_eq!(run(&threes), (expected, whole), "{text:x?} by threes");
    }

    #[test]
    fn agrees_with_std_at_every_cut() {
        let rows: &[&[u8]] = &[
            b"",
            b"vote",
            "投票成功".as_bytes(),
            "κόσμε".as_bytes(),
            "a\u{80}\u{7ff}\u{800}\u{fffd}\u{ffff}\u{10000}\u{10ffff}z".as_bytes(),
            b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
            b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80edited",
            b"\x80",
            b"\xc0\x80",
            b"\xc1\xbf",
            b"\xe0\x80\x80",
            b"\xe0\xa0",
            b"\xed\x9f\xbf",
            b"\xed\xa0\x80",
            b"\xf0\x8f\xbf\xbf",
            b"\xf0\x90\x80\x80",
            b"\xf0\x90\x80",
            b"\xf0\x90\x80a",
            b"\xf4\x8f\xbf\xbf",
            b"\xf5",
            b"\xff\xfe",
            b"ok \xe6\x8a",
            b"ok \xe6\x8a\xe7",
        ];
        for row in rows {
            check(row);
        }
    }

    #[test]
    fn agrees_with_std_on_all_short_beginnings() {
        // Every first byte with every second; then third and fourth bytes at the borders of their ranges.
        let borders = [0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xff];
        for first in 0..=255u8 {
            for second in 0..=255u8 {
                check(&[first, second]);
            }
            for second in borders {
                for third in borders {
                    check(&[first, second, third, 0x80]);
                    check(&[first, second, third, b'a', 0xe6]);
                }
            }
        }
    }

    #[test]
    fn agrees_with_std_on_long_texts_with_one_byte_changed() {
        let text = "面条 1 票, rice 2 🍚. ".repeat(8).into_bytes();
        for at in 0..text.len() {
            for byte in [0xff, 0x80, 0xe6, b'x'] {
                let mut changed = text.clone();
                changed[at] = byte;
                check(&changed);
            }
        }
    }
}
