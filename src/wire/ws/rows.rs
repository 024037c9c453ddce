//! What the tests of the WebSocket codec and connection share: frames by hand, rows cut at every byte, another reader as judge.

use std::io::{self, Read, Write};

use tungstenite::protocol::{Role, WebSocket};
use tungstenite::{Error, Message};

use super::MessageLimits;
use super::head::{Opcode, write_masked};

/// RFC 6455 section 5.7 uses it.
pub(crate) const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// Limits that random frames do not reach.
pub(crate) const ROOMY: MessageLimits = MessageLimits { message_bytes_max: 1 << 20, fragments_max: 1 << 20 };

/// A client's frame: its first byte as it is, a minimal length, masked. Written without the writer under test.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut wire = vec![first];
    match payload.len() {
        len @ 0..=125 => wire.push(0x80 | len as u8),
        len @ 126..=0xffff => wire.extend([0xfe, (len >> 8) as u8, len as u8]),
        len => {
            wire.push(0xff);
            wire.extend((len as u64).to_be_bytes());
        }
    }
    wire.extend(MASK);
    wire.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    wire
}

/// Whole, byte by byte, and in two and three pieces cut at every byte; long rows at the bytes near both ends and some between.
pub(crate) fn at_every_cut(wire: &[u8], mut run: impl FnMut(&[&[u8]])) {
    run(&[wire]);
    run(&wire.chunks(1).collect::<Vec<_>>());
    run(&wire.chunks(7).collect::<Vec<_>>());
    let len = wire.len();
    for cut in (0..=len).filter(|&cut| len <= 800 || cut < 40 || cut + 40 > len || cut % 4099 == 0) {
        let (left, right) = wire.split_at(cut);
        run(&[left, right]);
        let (first, second) = left.split_at(cut / 2);
        run(&[first, second, right]);
    }
}

/// For a failing row: where it was cut.
pub(crate) fn join(pieces: &[&[u8]]) -> String {
    let lens: Vec<String> = pieces.iter().take(8).map(|piece| piece.len().to_string()).collect();
    format!("{} pieces of {} .. bytes", pieces.len(), lens.join(" + "))
}

/// Random numbers from a seed (xorshift).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

/// Random frames, right and wrong, read by us and by tungstenite: the same pieces, and the same verdict. `ours` returns
/// the pieces, as `Debug` shows an enum of Text, Binary, Ping, Pong and Close, up to a Close; and whether a violation came.
pub(crate) fn against_tungstenite(ours: impl Fn(&[u8]) -> (Vec<String>, bool)) {
    let (mut pieces, mut violations) = (0, 0);
    for seed in 1..=3000 {
        let wire = random_frames(&mut Random(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed)));
        let expected = by_tungstenite(&wire);
        assert_eq!(ours(&wire), expected, "seed {seed}: {wire:x?}");
        pieces += expected.0.len();
        violations += usize::from(expected.1);
    }
    assert!(pieces > 3000 && violations > 300 && violations < 2700, "{pieces} pieces, {violations} violations");
}

/// Up to 12 whole frames, mostly right: the last is final, so that no unfinished message is judged early.
fn random_frames(random: &mut Random) -> Vec<u8> {
    let texts: [&[u8]; 8] = [b"", b"1", "票".as_bytes(), b"\xe7\xa5", b"\xa8", b"vote for me", b"\xf0\x9f", b"\xff"];
    let mut wire = vec![];
    let mut open = false;
    for _ in 0..=random.below(12) {
        let opcode = match random.below(20) {
            0 => random.pick(&[Opcode::Continuation, Opcode::Text, Opcode::Binary]),
            1..=3 => random.pick(&[Opcode::Ping, Opcode::Pong]),
            4 if random.below(4) == 0 => Opcode::Close,
            _ if open => Opcode::Continuation,
            _ => random.pick(&[Opcode::Text, Opcode::Text, Opcode::Binary]),
        };
        let fin = opcode.is_control() || random.below(2) == 0;
        let mut payload = match random.below(6) {
            0..=2 => random.pick(&texts[..3]).to_vec(),
            3..=4 if !matches!(opcode, Opcode::Text) || random.below(8) == 0 => random.pick(&texts).to_vec(),
            _ => vec![b'a'; random.below(126)],
        };
        if opcode == Opcode::Close {
            payload = random.pick::<&[u8]>(&[b"", b"\x03\xe8", b"\x0f\xa8bye"]).to_vec();
        }
        if !opcode.is_control() && random.below(10) == 0 {
            payload = vec![b'b'; random.below(70_000)];
        }
        if !opcode.is_control() {
            open = !fin;
        }
        let start = wire.len();
        write_masked(&mut wire, opcode, fin, &payload, [1, 2, 3, random.below(256) as u8]);
        match random.below(120) {
            0 => wire[start] |= random.pick(&[0x40, 0x20, 0x10]),
            1 => wire[start] = wire[start] & 0xf0 | random.pick(&[3, 7, 11, 15]),
            2 => wire[start + 1] &= 0x7f,
            _ => {}
        }
    }
    wire
}

fn by_tungstenite(wire: &[u8]) -> (Vec<String>, bool) {
    let mut socket = WebSocket::from_raw_socket(OneWay(wire), Role::Server, None);
    let mut seen = vec![];
    loop {
        match socket.read() {
            Ok(Message::Text(text)) => seen.push(format!("Text({:?})", text.as_str())),
            Ok(Message::Binary(bytes)) => seen.push(format!("Binary({:?})", bytes.to_vec())),
            Ok(Message::Ping(bytes)) => seen.push(format!("Ping({:?})", bytes.to_vec())),
            Ok(Message::Pong(bytes)) => seen.push(format!("Pong({:?})", bytes.to_vec())),
            Ok(Message::Close(close)) => {
                let close = close.map(|close| (u16::from(close.code), close.reason.to_string()));
                seen.push(format!("Close({close:?})"));
                return (seen, false);
            }
            Ok(Message::Frame(_)) => unreachable!("never read"),
            Err(Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake)) => {
                return (seen, false);
            }
            Err(Error::Protocol(_) | Error::Utf8(_) | Error::Capacity(_)) => return (seen, true),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Reads what is there; what is written goes nowhere.
struct OneWay<'a>(&'a [u8]);

impl Read for OneWay<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl Write for OneWay<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
