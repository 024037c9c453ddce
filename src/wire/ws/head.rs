//! Frame heads (RFC 6455 section 5.2), read and written.

use super::{Violation, mask};
use crate::base::limits::CONTROL_BYTES_MAX;

/// Bytes of the longest head: a masked one. A server's own, unmasked, take at most 10.
pub const HEAD_BYTES_MAX: usize = 14;

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;
/// Marks in the second byte: the length follows in 2 or in 8 bytes.
const LENGTH_16: u8 = 126;
const LENGTH_64: u8 = 127;

/// What a frame is, with its number on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Opcode {
    /// More of the message that is open.
    Continuation = 0,
    /// A text message, or its first part.
    Text = 1,
    /// A binary message, or its first part.
    Binary = 2,
    /// The last frame of its sender.
    Close = 8,
    /// To be answered by a Pong with the same payload.
    Ping = 9,
    /// The answer to a Ping, or a sign of life.
    Pong = 10,
}

impl Opcode {
    /// The opcode with this number, if RFC 6455 knows it.
    pub const fn from_number(number: u8) -> Option<Opcode> {
        match number {
            0 => Some(Opcode::Continuation),
            1 => Some(Opcode::Text),
            2 => Some(Opcode::Binary),
            8 => Some(Opcode::Close),
            9 => Some(Opcode::Ping),
            10 => Some(Opcode::Pong),
            _ => None,
        }
    }

    /// Close, Ping or Pong: at most 125 bytes, never fragmented, allowed between fragments.
    pub const fn is_control(self) -> bool {
        match self {
            Opcode::Continuation | Opcode::Text | Opcode::Binary => false,
            Opcode::Close | Opcode::Ping | Opcode::Pong => true,
        }
    }
}

/// Appends a server's head: FIN, no mask; `len` bytes of payload follow.
pub fn write_head(out: &mut Vec<u8>, opcode: Opcode, len: usize) {
    put_head(out, opcode, true, len, None);
}

/// Appends a server's frame: one whole message, or a control frame.
pub fn write_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    write_head(out, opcode, payload.len());
    out.extend_from_slice(payload);
}

/// Appends a client's frame: masked; without `fin` more fragments follow.
pub fn write_masked(out: &mut Vec<u8>, opcode: Opcode, fin: bool, payload: &[u8], mask: [u8; 4]) {
    put_head(out, opcode, fin, payload.len(), Some(mask));
    let start = out.len();
    out.extend_from_slice(payload);
    mask::unmask(&mut out[start..], mask, 0);
}

fn put_head(out: &mut Vec<u8>, opcode: Opcode, fin: bool, len: usize, mask: Option<[u8; 4]>) {
    debug_assert!(!opcode.is_control() || (fin && len <= CONTROL_BYTES_MAX), "{opcode:?} of {len} bytes");
    let first = opcode as u8 | if fin { FIN } else { 0 };
    let masked = if mask.is_some() { MASKED } else { 0 };
    if len <= CONTROL_BYTES_MAX {
        out.extend_from_slice(&[first, masked | len as u8]);
    } else if let Ok(len) = u16::try_from(len) {
        out.extend_from_slice(&[first, masked | LENGTH_16]);
        out.extend_from_slice(&len.to_be_bytes());
    } else {
        out.extend_from_slice(&[first, masked | LENGTH_64]);
        out.extend_from_slice(&(len as u64).to_be_bytes());
    }
    if let Some(mask) = mask {
        out.extend_from_slice(&mask);
    }
}

/// Whose frames are read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sender {
    Client,
    Server,
}

/// A head that was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Head {
    pub(super) fin: bool,
    pub(super) opcode: Opcode,
    /// Bytes of payload announced; its top bit is clear.
    pub(super) payload_bytes: u64,
    pub(super) mask: Option<[u8; 4]>,
    /// Bytes of the head itself.
    pub(super) head_bytes: usize,
}

/// Reads the head at the beginning of `bytes`; `None` if it is not all here. The bytes are judged in their order, each as
/// soon as it is here, so the verdict does not depend on how they were cut. [`HEAD_BYTES_MAX`] bytes are always enough.
pub(super) fn read_head(bytes: &[u8], sender: Sender) -> Result<Option<Head>, Violation> {
    let Some((&first, rest)) = bytes.split_first() else {
        return Ok(None);
    };
    if first & RESERVED != 0 {
        return Err(Violation::ReservedBits);
    }
    let opcode = Opcode::from_number(first & 0x0f).ok_or(Violation::ReservedOpcode)?;
    let fin = first & FIN != 0;
    if opcode.is_control() && !fin {
        return Err(Violation::FragmentedControl);
    }
    let Some((&second, rest)) = rest.split_first() else {
        return Ok(None);
    };
    match (sender, second & MASKED != 0) {
        (Sender::Client, true) | (Sender::Server, false) => {}
        (Sender::Client, false) => return Err(Violation::Unmasked),
        (Sender::Server, true) => return Err(Violation::Masked),
    }
    if opcode.is_control() && usize::from(second & !MASKED) > CONTROL_BYTES_MAX {
        return Err(Violation::LongControl);
    }
    let Some((payload_bytes, rest)) = read_length(second & !MASKED, rest)? else {
        return Ok(None);
    };
    let (mask, rest) = match sender {
        Sender::Server => (None, rest),
        Sender::Client => match rest.split_first_chunk() {
            Some((&mask, rest)) => (Some(mask), rest),
            None => return Ok(None),
        },
    };
    let head_bytes = bytes.len() - rest.len();
    Ok(Some(Head { fin, opcode, payload_bytes, mask, head_bytes }))
}

fn read_length(mark: u8, rest: &[u8]) -> Result<Option<(u64, &[u8])>, Violation> {
    match mark {
        LENGTH_16 => match rest.split_first_chunk() {
            Some((&bytes, rest)) => match u16::from_be_bytes(bytes) {
                0..=125 => Err(Violation::LengthNotMinimal),
                len => Ok(Some((len.into(), rest))),
            },
            None => Ok(None),
        },
        LENGTH_64 if rest.first().is_some_and(|byte| byte & 0x80 != 0) => Err(Violation::LengthTopBit),
        LENGTH_64 => match rest.split_first_chunk() {
            Some((&bytes, rest)) => match u64::from_be_bytes(bytes) {
                0..=0xffff => Err(Violation::LengthNotMinimal),
                len => Ok(Some((len, rest))),
            },
            None => Ok(None),
        },
        len => Ok(Some((len.into(), rest))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

    #[test]
    fn heads_are_written_as_they_are_read_and_are_incomplete_at_every_cut() {
        let rows: &[(usize, &[u8])] = &[
            (0, &[0x82, 0]),
            (1, &[0x82, 1]),
            (125, &[0x82, 125]),
            (126, &[0x82, 126, 0, 126]),
            (256, &[0x82, 126, 1, 0]),
            (65_535, &[0x82, 126, 0xff, 0xff]),
            (65_536, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
            (32 << 20, &[0x82, 127, 0, 0, 0, 0, 2, 0, 0, 0]),
            (i64::MAX as usize, &[0x82, 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        ];
        for &(len, wire) in rows {
            let mut out = vec![];
            write_head(&mut out, Opcode::Binary, len);
            assert_eq!(out, wire, "{len}");
            read_at_every_cut(&out, Sender::Server, len, None);

            out.clear();
            put_head(&mut out, Opcode::Binary, true, len, Some(MASK));
            let mut masked = [wire, &MASK].concat();
            masked[1] |= 0x80;
            assert_eq!(out, masked, "{len}");
            assert!(out.len() <= HEAD_BYTES_MAX);
            read_at_every_cut(&out, Sender::Client, len, Some(MASK));
        }
    }

    fn read_at_every_cut(wire: &[u8], sender: Sender, len: usize, mask: Option<[u8; 4]>) {
        for cut in 0..wire.len() {
            assert_eq!(read_head(&wire[..cut], sender), Ok(None), "{wire:x?} cut at {cut}");
        }
        let expected =
            Head { fin: true, opcode: Opcode::Binary, payload_bytes: len as u64, mask, head_bytes: wire.len() };
        assert_eq!(read_head(wire, sender), Ok(Some(expected)));
        assert_eq!(read_head(&[wire, &[0xff; 20]].concat(), sender), Ok(Some(expected)), "payload is left alone");
    }

    #[test]
    fn frames_of_rfc_6455_section_5_7() {
        let mut out = vec![];
        write_frame(&mut out, Opcode::Text, b"Hello");
        assert_eq!(out, b"\x81\x05Hello");
        out.clear();
        write_frame(&mut out, Opcode::Ping, b"Hello");
        assert_eq!(out, b"\x89\x05Hello");
        out.clear();
        write_masked(&mut out, Opcode::Text, true, b"Hello", MASK);
        assert_eq!(out, [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
        out.clear();
        write_masked(&mut out, Opcode::Text, false, b"Hel", [0; 4]);
        write_masked(&mut out, Opcode::Continuation, true, b"lo", [0; 4]);
        assert_eq!(out, b"\x01\x83\0\0\0\0Hel\x80\x82\0\0\0\0lo");
    }

    #[test]
    fn every_first_and_second_byte_gets_its_verdict() {
        for first in 0..=255u8 {
            let opcode = first & 15;
            let by_first = if first & 0x70 != 0 {
                Some(Violation::ReservedBits)
            } else if ![0, 1, 2, 8, 9, 10].contains(&opcode) {
                Some(Violation::ReservedOpcode)
            } else if opcode >= 8 && first < 0x80 {
                Some(Violation::FragmentedControl)
            } else {
                None
            };
            assert_eq!(read_head(&[first], Sender::Client).err(), by_first, "{first:#x}");
            for second in 0..=255u8 {
                let by_second = by_first.or(match second {
                    0..=127 => Some(Violation::Unmasked),
                    254.. if opcode >= 8 => Some(Violation::LongControl),
                    128.. => None,
                });
                assert_eq!(read_head(&[first, second], Sender::Client).err(), by_second, "{first:#x} {second:#x}");
            }
        }
        assert_eq!(read_head(&[0x81, 0x80], Sender::Server), Err(Violation::Masked));
    }

    #[test]
    fn lengths_that_may_not_be() {
        for len in 0..=125u16 {
            let [high, low] = len.to_be_bytes();
            assert_eq!(read_head(&[0x82, 0xfe, high, low], Sender::Client), Err(Violation::LengthNotMinimal));
        }
        for len in [0u64, 125, 126, 65_535] {
            let wire = [&[0x82, 0xff], &len.to_be_bytes()[..]].concat();
            assert_eq!(read_head(&wire, Sender::Client), Err(Violation::LengthNotMinimal), "{len}");
        }
        assert_eq!(read_head(&[0x82, 0xff, 0x80], Sender::Client), Err(Violation::LengthTopBit));
    }
}
