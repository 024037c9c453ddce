//! Rows: bytes in, pieces and violations out.

use super::super::head::{write_frame, write_masked};
use super::super::rows::{self, MASK, frame, join};
use super::*;

const LIMITS: MessageLimits = MessageLimits { message_bytes_max: 70_000, fragments_max: 5 };

/// What was read, owned.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

impl From<Piece<'_>> for Seen {
    fn from(piece: Piece<'_>) -> Seen {
        match piece {
            Piece::Text(text) => Seen::Text(text.into()),
            Piece::Binary(bytes) => Seen::Binary(bytes.into()),
            Piece::Ping(bytes) => Seen::Ping(bytes.into()),
            Piece::Pong(bytes) => Seen::Pong(bytes.into()),
            Piece::Close(close) => Seen::Close(close.map(|(code, reason)| (code, reason.into()))),
        }
    }
}

/// Name, frames, what is seen.
type GoodRow = (&'static str, Vec<Vec<u8>>, Vec<Seen>);

/// Name, bytes, what is seen before, the violation, and how many bytes make it certain.
type BadRow = (&'static str, Vec<u8>, Vec<Seen>, Violation, usize);

fn text(text: &str) -> Seen {
    Seen::Text(text.into())
}

/// Feeds the pieces; what was seen, and the violation with the number of bytes that had arrived by then.
fn read(mut reader: Reader, pieces: &[&[u8]]) -> (Vec<Seen>, Option<(Violation, usize)>) {
    let mut seen = vec![];
    let mut arrived = 0;
    for piece in pieces {
        arrived += piece.len();
        let mut bytes = piece.to_vec();
        let mut taken = 0;
        loop {
            match reader.next(&mut bytes[taken..], &LIMITS) {
                Ok((n, Some(piece))) => {
                    seen.push(piece.into());
                    taken += n;
                }
                Ok((n, None)) => {
                    assert_eq!(taken + n, bytes.len(), "None takes all");
                    break;
                }
                Err(violation) => return (seen, Some((violation, arrived))),
            }
        }
    }
    if arrived > 0 && seen.last().is_some_and(|last| matches!(last, Seen::Pong(_))) {
        assert!(reader.partial.is_none(), "nothing is kept behind the last piece");
    }
    (seen, None)
}

#[test]
fn at_rest_it_is_small() {
    assert!(size_of::<Reader>() <= 32, "{}", size_of::<Reader>());
}

/// The end mark: shows that the reader was at a frame's border, and with it nothing may be kept.
fn pong() -> Vec<u8> {
    frame(0x8a, b"end")
}

#[test]
fn good_frames() {
    let medium = "票".repeat(100);
    let large = vec![0xa5; 65_536];
    let rows: Vec<GoodRow> = vec![
        ("empty text", vec![frame(0x81, b"")], vec![text("")]),
        ("empty binary", vec![frame(0x82, b"")], vec![Seen::Binary(vec![])]),
        ("a vote", vec![frame(0x81, b"1")], vec![text("1")]),
        ("Chinese", vec![frame(0x81, "投票成功".as_bytes())], vec![text("投票成功")]),
        ("16-bit length", vec![frame(0x81, medium.as_bytes())], vec![text(&medium)]),
        ("125 bytes", vec![frame(0x82, &[7; 125])], vec![Seen::Binary(vec![7; 125])]),
        ("126 bytes", vec![frame(0x82, &[7; 126])], vec![Seen::Binary(vec![7; 126])]),
        ("65535 bytes", vec![frame(0x82, &large[1..])], vec![Seen::Binary(large[1..].into())]),
        ("65536 bytes", vec![frame(0x82, &large)], vec![Seen::Binary(large.clone())]),
        ("as large as allowed", vec![frame(0x82, &[1; 70_000])], vec![Seen::Binary(vec![1; 70_000])]),
        (
            "as large as allowed, in fragments",
            vec![frame(0x02, &[1; 69_999]), frame(0x00, b""), frame(0x80, &[1])],
            vec![Seen::Binary(vec![1; 70_000])],
        ),
        (
            "many at once",
            vec![frame(0x81, b"1"), frame(0x82, &[2]), frame(0x81, b"3")],
            vec![text("1"), Seen::Binary(vec![2]), text("3")],
        ),
        (
            "fragments, some empty",
            vec![frame(0x01, b""), frame(0x00, b"vo"), frame(0x00, b""), frame(0x80, b"te")],
            vec![text("vote")],
        ),
        ("only empty fragments", vec![frame(0x01, b""), frame(0x00, b""), frame(0x80, b"")], vec![text("")]),
        (
            "as many fragments as allowed, twice",
            [
                vec![frame(0x02, b"1")],
                vec![frame(0x00, b"2"); 3],
                vec![frame(0x80, b"5"), frame(0x02, b"6")],
                vec![frame(0x00, b"7"); 3],
                vec![frame(0x80, b"")],
            ]
            .concat(),
            vec![Seen::Binary(b"12225".into()), Seen::Binary(b"6777".into())],
        ),
        (
            "a character over fragments",
            vec![frame(0x01, b"\xf0"), frame(0x00, b"\x9f\x8d"), frame(0x80, b"\x9a")],
            vec![text("🍚")],
        ),
        (
            "control frames between fragments",
            vec![
                frame(0x01, b"vo"),
                frame(0x89, b"ping"),
                frame(0x8a, &[9; 125]),
                frame(0x00, b""),
                frame(0x89, b""),
                frame(0x80, b"te"),
            ],
            vec![Seen::Ping(b"ping".into()), Seen::Pong(vec![9; 125]), Seen::Ping(vec![]), text("vote")],
        ),
        ("ping of 125 bytes", vec![frame(0x89, &[0xfe; 125])], vec![Seen::Ping(vec![0xfe; 125])]),
        ("bare close", vec![frame(0x88, b"")], vec![Seen::Close(None)]),
        ("close with a code", vec![frame(0x88, &[0x03, 0xe8])], vec![Seen::Close(Some((1000, String::new())))]),
        (
            "close with a reason",
            vec![frame(0x88, &[&[0x0f, 0xa0], "再见".as_bytes()].concat())],
            vec![Seen::Close(Some((4000, "再见".into())))],
        ),
        (
            "close within a message",
            vec![frame(0x01, b"vo"), frame(0x88, &[0x03, 0xe9]), frame(0x80, b"te")],
            vec![Seen::Close(Some((1001, String::new()))), text("vote")],
        ),
    ];
    for (name, frames, mut expected) in rows {
        let mut wire = frames.concat();
        wire.extend(pong());
        expected.push(Seen::Pong(b"end".into()));
        rows::at_every_cut(&wire, |pieces| {
            let (seen, violation) = read(Reader::server(), pieces);
            assert_eq!(violation, None, "{name}: {}", join(pieces));
            assert!(seen == expected, "{name}: {}", join(pieces));
        });
    }
}

#[test]
fn bad_frames() {
    use Violation::*;
    let mut too_big = frame(0x82, b"");
    too_big.splice(1..2, [0xff, 0, 0, 0, 0, 0, 1, 0x11, 0x71]);
    let mut huge = too_big.clone();
    huge[2] = 0x7f;
    let half = [&frame(0x01, b"\xe7\xa5")[..], &frame(0x89, b"")].concat();
    let rows: Vec<BadRow> = vec![
        ("not masked", b"\x81\x01a".into(), vec![], Unmasked, 2),
        ("not masked, empty", b"\x81\x00".into(), vec![], Unmasked, 2),
        ("RSV1", frame(0xc1, b"a"), vec![], ReservedBits, 1),
        ("RSV2", frame(0xa1, b"a"), vec![], ReservedBits, 1),
        ("RSV3", frame(0x91, b"a"), vec![], ReservedBits, 1),
        ("RSV1 on a ping", frame(0xc9, b""), vec![], ReservedBits, 1),
        ("opcode 3", frame(0x83, b"a"), vec![], ReservedOpcode, 1),
        ("opcode 7", frame(0x87, b""), vec![], ReservedOpcode, 1),
        ("opcode 11", frame(0x8b, b""), vec![], ReservedOpcode, 1),
        ("opcode 15", frame(0x8f, b"a"), vec![], ReservedOpcode, 1),
        ("ping in fragments", frame(0x09, b"a"), vec![], FragmentedControl, 1),
        ("close in fragments", frame(0x08, b""), vec![], FragmentedControl, 1),
        ("ping of 126 bytes", frame(0x89, &[0; 126]), vec![], LongControl, 2),
        ("close of 65536 bytes", frame(0x88, &[0; 65_536]), vec![], LongControl, 2),
        ("16-bit 125", b"\x82\xfe\x00\x7d".into(), vec![], LengthNotMinimal, 4),
        ("64-bit 65535", b"\x82\xff\0\0\0\0\0\0\xff\xff".into(), vec![], LengthNotMinimal, 10),
        ("top bit", b"\x82\xff\x80\0\0\0\0\0\0\0".into(), vec![], LengthTopBit, 3),
        ("orphan", frame(0x80, b"a"), vec![], OrphanContinuation, 6),
        (
            "orphan after a message",
            [frame(0x81, b"1"), frame(0x00, b"")].concat(),
            vec![text("1")],
            OrphanContinuation,
            13,
        ),
        (
            "orphan after a message in fragments",
            [frame(0x01, b"1"), frame(0x80, b"2"), frame(0x80, b"3")].concat(),
            vec![text("12")],
            OrphanContinuation,
            20,
        ),
        ("text in a message", [frame(0x01, b"1"), frame(0x81, b"2")].concat(), vec![], InterleavedMessage, 13),
        (
            "binary in a message",
            [frame(0x01, b""), frame(0x89, b""), frame(0x02, b"")].concat(),
            vec![Seen::Ping(vec![])],
            InterleavedMessage,
            18,
        ),
        ("one over the limit, announced", too_big, vec![], TooBig, 14),
        ("2^63 - 1 announced", huge, vec![], TooBig, 14),
        (
            "grown over the limit",
            [frame(0x02, &[1; 69_999]), frame(0x89, b""), frame(0x80, &[1, 1])].concat(),
            vec![Seen::Ping(vec![])],
            TooBig,
            14 + 69_999 + 6 + 6,
        ),
        (
            "too many fragments",
            [vec![frame(0x01, b"1")], vec![frame(0x00, b""); 4], vec![frame(0x80, b"")]].concat().concat(),
            vec![],
            TooManyFragments,
            7 + 5 * 6,
        ),
        ("half a code", frame(0x88, &[3]), vec![], BadClosePayload, 7),
        ("code 1005", frame(0x88, &[0x03, 0xed]), vec![], BadCloseCode, 8),
        ("code 0", frame(0x88, &[0, 0]), vec![], BadCloseCode, 8),
        ("bad reason", frame(0x88, b"\x03\xe8\xff"), vec![], BadCloseReason, 9),
        ("surrogate", frame(0x81, b"ab\xed\xa0\x80cd"), vec![], BadUtf8, 6 + 4),
        ("beyond Unicode", frame(0x81, b"\xf4\x90\x80\x80"), vec![], BadUtf8, 6 + 2),
        ("unfinished at the end", frame(0x81, b"a\xe7\xa5"), vec![], BadUtf8, 9),
        (
            "unfinished at the end of fragments",
            [half.clone(), frame(0x80, b"")].concat(),
            vec![Seen::Ping(vec![])],
            BadUtf8,
            8 + 6 + 6,
        ),
        (
            "bad in the second fragment",
            [half, frame(0x00, b"\xa8ok\x80..")].concat(),
            vec![Seen::Ping(vec![])],
            BadUtf8,
            8 + 6 + 6 + 4,
        ),
        (
            "good ones before",
            [frame(0x81, b"1"), frame(0x82, b"\xff"), frame(0x81, b"\xff")].concat(),
            vec![text("1"), Seen::Binary(vec![0xff])],
            BadUtf8,
            21,
        ),
    ];
    for (name, mut wire, expected, violation, certain) in rows {
        wire.extend(pong());
        rows::at_every_cut(&wire, |pieces| {
            // It shows with the piece that holds the byte that makes it certain.
            let ends = pieces.iter().scan(0, |end, piece| {
                *end += piece.len();
                Some(*end)
            });
            let shows = ends.into_iter().find(|&end| end >= certain).unwrap();
            let (seen, found) = read(Reader::server(), pieces);
            assert_eq!(found, Some((violation, shows)), "{name}: {}", join(pieces));
            assert_eq!(seen, expected, "{name}: {}", join(pieces));
        });
    }
}

#[test]
fn a_client_reads_what_a_server_writes() {
    let mut wire = vec![];
    write_frame(&mut wire, Opcode::Text, "1 票".as_bytes());
    write_frame(&mut wire, Opcode::Binary, &[3; 300]);
    wire.extend(b"\x01\x03Hel\x80\x02lo");
    close::write_close(&mut wire, 4008, "too slow");
    rows::at_every_cut(&wire, |pieces| {
        let (seen, violation) = read(Reader::client(), pieces);
        assert_eq!(violation, None);
        let close = Seen::Close(Some((4008, "too slow".into())));
        assert_eq!(seen, [text("1 票"), Seen::Binary(vec![3; 300]), text("Hello"), close]);
    });
    let (_, violation) = read(Reader::client(), &[&frame(0x81, b"1")]);
    assert_eq!(violation, Some((Violation::Masked, 7)));
}

#[test]
fn whole_frames_are_returned_from_the_input() {
    let mut input = frame(0x81, b"1 vote");
    let range = input.as_ptr_range();
    let mut reader = Reader::server();
    let Ok((12, Some(Piece::Text(text)))) = reader.next(&mut input, &LIMITS) else {
        panic!("one whole frame");
    };
    assert!(range.contains(&text.as_ptr()));
    assert!(reader.partial.is_none());
}

#[test]
fn memory_follows_what_arrived_not_what_was_announced_and_is_given_back() {
    let limits = MessageLimits { message_bytes_max: 32 << 20, fragments_max: 65_536 };
    let mut reader = Reader::server();
    let mut wire = vec![];
    write_masked(&mut wire, Opcode::Text, true, &vec![b'x'; 32 << 20], MASK);
    let mut arrived = 0;
    for chunk in wire.chunks_mut(10_000) {
        arrived += chunk.len();
        if let (_, Some(piece)) = reader.next(chunk, &limits).unwrap() {
            assert!(matches!(piece, Piece::Text(text) if text.len() == 32 << 20));
            assert_eq!(arrived, (32 << 20) + 14);
        }
        let capacity = reader.partial.as_ref().unwrap().message.capacity();
        assert!(capacity <= 2 * arrived && capacity <= 32 << 20, "{capacity} after {arrived}");
    }
    assert!(matches!(reader.next(&mut [], &limits), Ok((0, None))));
    assert!(reader.partial.is_none());

    // 65536 fragments of one byte are a message; one more is not.
    let mut wire = frame(0x01, b"x");
    for _ in 1..65_535 {
        wire.extend(frame(0x00, b"x"));
    }
    let mut last = frame(0x80, b"x");
    assert!(matches!(reader.next(&mut wire.clone(), &limits), Ok((_, None))));
    assert!(matches!(reader.next(&mut last, &limits), Ok((_, Some(Piece::Text(text)))) if text.len() == 65_536));
    wire.extend(frame(0x00, b"x"));
    wire.extend(frame(0x80, b"x"));
    assert_eq!(reader.next(&mut wire, &limits).err(), Some(Violation::TooManyFragments));
}

#[test]
fn agrees_with_tungstenite_on_random_frames() {
    rows::against_tungstenite(|wire| {
        let whole = read_to_close(&[wire]);
        assert_eq!(read_to_close(&wire.chunks(1).collect::<Vec<_>>()), whole, "{wire:x?} byte by byte");
        assert_eq!(read_to_close(&wire.chunks(5).collect::<Vec<_>>()), whole, "{wire:x?} by fives");
        whole
    });
}

/// What was seen up to a Close, and whether a violation came before it.
fn read_to_close(pieces: &[&[u8]]) -> (Vec<String>, bool) {
    let mut reader = Reader::server();
    let mut seen = vec![];
    for piece in pieces {
        let mut input = piece.to_vec();
        let mut taken = 0;
        loop {
            match reader.next(&mut input[taken..], &rows::ROOMY) {
                Ok((n, Some(piece))) => {
                    taken += n;
                    seen.push(format!("{:?}", Seen::from(piece)));
                    if matches!(piece, Piece::Close(_)) {
                        return (seen, false);
                    }
                }
                Ok((_, None)) => break,
                Err(_) => return (seen, true),
            }
        }
    }
    (seen, false)
}
