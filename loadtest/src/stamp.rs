//! What a message carries so that each subscriber knows it: run, publisher, number and time, as 28 characters of ASCII.
//! `~RRRRPPPSSSSSSSSTTTTTTTTTTTT`, all but the first in hex; behind it dots, to the size wanted.

use crate::clock::Nanos;

/// Characters of a stamp.
pub(crate) const STAMP_BYTES: usize = 28;
/// The most publishers of a run.
pub(crate) const PUBLISHERS_MAX: usize = 0x1000;

const MARK_BYTES: usize = 5;
const TIME_MAX: Nanos = (1 << 48) - 1;

/// Who sent a message, and which of theirs it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stamp {
    pub(crate) publisher: u16,
    /// From 0.
    pub(crate) sequence: u32,
    /// When it was due to be sent.
    pub(crate) time: Nanos,
}

/// Writes and finds the stamps of one run.
#[derive(Clone, Debug)]
pub(crate) struct Stamper {
    mark: [u8; MARK_BYTES],
    /// Bytes of a message with its padding.
    size: usize,
    prefix: Vec<u8>,
    suffix: Vec<u8>,
    /// Where the last stamp was: most likely where the next will be.
    at: usize,
}

impl Stamper {
    /// `run` tells this run's messages from others'. A message has `size` bytes, at least a stamp's, between prefix and suffix.
    pub(crate) fn new(run: u16, size: usize, prefix: &str, suffix: &str) -> Stamper {
        let mut mark = [b'~'; MARK_BYTES];
        put_hex(&mut mark[1..], run.into());
        let (prefix, suffix) = (prefix.as_bytes().to_vec(), suffix.as_bytes().to_vec());
        Stamper { mark, size: size.max(STAMP_BYTES), at: prefix.len(), prefix, suffix }
    }

    /// Appends a message.
    pub(crate) fn write(&self, out: &mut Vec<u8>, stamp: Stamp) {
        let mut text = [0; STAMP_BYTES];
        text[..5].copy_from_slice(&self.mark);
        put_hex(&mut text[5..8], stamp.publisher.into());
        put_hex(&mut text[8..16], stamp.sequence.into());
        put_hex(&mut text[16..], stamp.time.min(TIME_MAX));
        out.extend_from_slice(&self.prefix);
        out.extend_from_slice(&text);
        out.resize(out.len() + self.size - STAMP_BYTES, b'.');
        out.extend_from_slice(&self.suffix);
    }

    /// The stamp in a message of this run: wherever it is, whatever is around it.
    #[inline]
    pub(crate) fn find<'p>(&mut self, payload: &'p [u8]) -> Option<Found<'p>> {
        match payload.get(self.at..).and_then(<[u8]>::first_chunk) {
            Some(text) if text[..MARK_BYTES] == self.mark => Some(Found(text)),
            Some(_) | None => self.search(payload),
        }
    }

    #[cold]
    fn search<'p>(&mut self, payload: &'p [u8]) -> Option<Found<'p>> {
        let mut stamps = payload.windows(STAMP_BYTES).enumerate();
        let (at, _) = stamps.find(|(_, window)| window[..MARK_BYTES] == self.mark)?;
        self.at = at;
        payload[at..].first_chunk().map(Found)
    }
}

/// A stamp as it lies in a message; its parts are read when they are wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Found<'p>(&'p [u8; STAMP_BYTES]);

impl Found<'_> {
    /// The publisher's number.
    #[inline]
    pub(crate) fn publisher(self) -> usize {
        hex(&[0, 0, 0, 0, 0, self.0[5], self.0[6], self.0[7]]) as usize
    }

    /// The number among its publisher's messages.
    #[inline]
    pub(crate) fn sequence(self) -> u32 {
        hex(&self.eight(8))
    }

    /// When it was due to be sent.
    #[inline]
    pub(crate) fn time(self) -> Nanos {
        let mut high = [b'0'; 8];
        high[4..].copy_from_slice(&self.0[16..20]);
        (Nanos::from(hex(&high)) << 32) | Nanos::from(hex(&self.eight(20)))
    }

    fn eight(&self, at: usize) -> [u8; 8] {
        std::array::from_fn(|index| self.0[at + index])
    }
}

/// Lower-case digits, as many as there is room for.
fn put_hex(out: &mut [u8], mut number: u64) {
    for digit in out.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(number & 15) as usize];
        number >>= 4;
    }
}

/// Eight digits at once; a zero byte is a zero. What is no digit gives some number.
#[inline]
fn hex(digits: &[u8; 8]) -> u32 {
    let text = u64::from_be_bytes(*digits);
    let nibbles = (text & 0x0f0f_0f0f_0f0f_0f0f) + 9 * ((text >> 6) & 0x0101_0101_0101_0101);
    let bytes = (nibbles | (nibbles >> 4)) & 0x00ff_00ff_00ff_00ff;
    let pairs = (bytes | (bytes >> 8)) & 0x0000_ffff_0000_ffff;
    (pairs | (pairs >> 16)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_found_whatever_is_around_it() {
        let rows = [
            Stamp { publisher: 0, sequence: 0, time: 0 },
            Stamp { publisher: 0xabc, sequence: 0x0123_4567, time: 0x89ab_cdef_0123 },
            Stamp { publisher: 0xfff, sequence: u32::MAX, time: TIME_MAX },
        ];
        for (prefix, suffix) in [("", ""), ("42[\"message\",\"", "\"]"), ("~", "~")] {
            for size in [0, 28, 32, 1000] {
                let mut stamper = Stamper::new(0xbeef, size, prefix, suffix);
                for stamp in rows {
                    let mut out = vec![];
                    stamper.write(&mut out, stamp);
                    assert_eq!(out.len(), prefix.len() + size.max(STAMP_BYTES) + suffix.len());
                    assert!(out.is_ascii());
                    for around in ["", "{\"x\":\"", "~beef", "~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~"] {
                        let text = [around.as_bytes(), &out, around.as_bytes()].concat();
                        // What looks like a stamp and is none is found first, as it would be by anyone.
                        if around == "~beef" {
                            assert!(stamper.find(&text).is_some());
                            continue;
                        }
                        let found = stamper.find(&text).expect("a stamp");
                        let read = (found.publisher() as u16, found.sequence(), found.time());
                        assert_eq!(read, (stamp.publisher, stamp.sequence, stamp.time), "{prefix} {around}");
                    }
                }
                let other = Stamper::new(0xbeee, size, prefix, suffix);
                let mut out = vec![];
                other.write(&mut out, rows[1]);
                assert_eq!(stamper.find(&out), None, "another run's");
                assert_eq!(stamper.find(&out[..20]), None);
                assert_eq!(stamper.find(b""), None);
            }
        }
    }

    #[test]
    fn hex_is_what_the_library_says() {
        for number in [0, 1, 9, 10, 15, 16, 0xdead_beef, u32::MAX, 0x9a9a_a9a9] {
            let text = format!("{number:08x}");
            let digits: [u8; 8] = text.as_bytes().try_into().unwrap();
            assert_eq!(hex(&digits), u32::from_str_radix(&text, 16).unwrap());
        }
    }
}
