//! Reading masked frames: many small ones in one buffer (votes that came in one read), and one that comes in pieces.
//! Each iteration copies the bytes first, for they are unmasked in place. The peers read from a stream of their own kind,
//! as they want it: that is the smallest public call.

use std::io::{Cursor, Read, Write};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use criterion::{Criterion, Throughput};
use tallycast::wire::ws::head::write_masked;
use tallycast::wire::ws::{MessageLimits, Opcode, Piece, Reader};
use tungstenite::protocol::Role;

use super::house::{MASK, vote_frames};
use super::sized;

const LIMITS: MessageLimits = MessageLimits { message_bytes_max: 1 << 20, fragments_max: 1000 };

pub(crate) fn bench(criterion: &mut Criterion) {
    many(criterion);
    pieces(criterion);
}

fn many(criterion: &mut Criterion) {
    let count = sized(1000, 10);
    let bytes = vote_frames(count);
    let mut room = bytes.clone();
    let mut group = criterion.benchmark_group("parse/many");
    group.throughput(Throughput::Elements(count as u64));
    for (name, read) in
        [("ours", ours as fn(&[&[u8]], &mut Vec<u8>) -> usize), ("naive", naive), ("tungstenite", tungstenite)]
    {
        assert_eq!(read(&[&bytes], &mut room), count, "{name}");
        group.bench_function(name, |bencher| bencher.iter(|| read(&[std::hint::black_box(&bytes)], &mut room)));
    }
    assert_eq!(fastwebsockets(&bytes), count, "fastwebsockets");
    group.bench_function("fastwebsockets", |bencher| bencher.iter(|| fastwebsockets(std::hint::black_box(&bytes))));
}

/// fastwebsockets cannot be given pieces without an executor's traits.
fn pieces(criterion: &mut Criterion) {
    for (name, len, piece) in [("vote_by_3", 1, 3), ("1KiB_by_64", 1024, 64), ("64KiB_by_1448", 65_536, 1448)] {
        let mut bytes = Vec::new();
        write_masked(&mut bytes, Opcode::Text, true, "x".repeat(len).as_bytes(), MASK);
        let pieces: Vec<&[u8]> = bytes.chunks(piece).collect();
        let mut room = Vec::new();
        let mut group = criterion.benchmark_group(format!("parse/{name}"));
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        for (name, read) in
            [("ours", ours as fn(&[&[u8]], &mut Vec<u8>) -> usize), ("naive", naive), ("tungstenite", tungstenite)]
        {
            assert_eq!(read(&pieces, &mut room), 1, "{name}");
            group.bench_function(name, |bencher| bencher.iter(|| read(std::hint::black_box(&pieces), &mut room)));
        }
    }
}

fn ours(pieces: &[&[u8]], room: &mut Vec<u8>) -> usize {
    let mut reader = Reader::server();
    let mut found = 0;
    for piece in pieces {
        room.clear();
        room.extend_from_slice(piece);
        let mut taken = 0;
        while let (len, Some(piece)) = reader.next(&mut room[taken..], &LIMITS).expect("sound frames") {
            taken += len;
            found += usize::from(matches!(piece, Piece::Text(text) if !text.is_empty()));
        }
    }
    found
}

/// Gathers all bytes, and makes a String of each frame.
fn naive(pieces: &[&[u8]], room: &mut Vec<u8>) -> usize {
    room.clear();
    let mut found = 0;
    for piece in pieces {
        room.extend_from_slice(piece);
        while let Some((text, len)) = first_text(room) {
            found += usize::from(!text.is_empty());
            room.drain(..len);
        }
    }
    found
}

fn first_text(bytes: &[u8]) -> Option<(String, usize)> {
    let (head, len) = match bytes.get(1)? & 0x7f {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize),
        len => (2, usize::from(len)),
    };
    let mask = bytes.get(head..head + 4)?;
    let payload = bytes.get(head + 4..head + 4 + len)?;
    let plain = payload.iter().enumerate().map(|(index, byte)| byte ^ mask[index % 4]).collect();
    Some((String::from_utf8(plain).ok()?, head + 4 + len))
}

/// A stream that gives one piece a read, and swallows what is written.
struct Pieces<'a> {
    left: std::slice::Iter<'a, &'a [u8]>,
    piece: &'a [u8],
}

impl Read for Pieces<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        if self.piece.is_empty() {
            self.piece = self.left.next().ok_or(std::io::ErrorKind::WouldBlock)?;
        }
        self.piece.read(into)
    }
}

impl Write for Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Its buffer for reading is 128 KiB and made anew with each connection: so large is `room` too when it is ours.
fn tungstenite(pieces: &[&[u8]], _: &mut Vec<u8>) -> usize {
    let stream = Pieces { left: pieces.iter(), piece: &[] };
    let mut socket = tungstenite::WebSocket::from_raw_socket(stream, Role::Server, None);
    let mut found = 0;
    while let Ok(message) = socket.read() {
        found += usize::from(!message.is_empty());
    }
    found
}

/// All is there at once, so that a future is never pending and needs no executor.
fn fastwebsockets(bytes: &[u8]) -> usize {
    let mut socket =
        fastwebsockets::WebSocket::after_handshake(Cursor::new(bytes.to_vec()), fastwebsockets::Role::Server);
    let mut context = Context::from_waker(Waker::noop());
    let mut found = 0;
    loop {
        let Poll::Ready(frame) = pin!(socket.read_frame()).poll(&mut context) else { unreachable!("all is there") };
        let Ok(frame) = frame else { return found };
        found += usize::from(!frame.payload.is_empty());
    }
}
