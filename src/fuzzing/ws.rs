//! WebSocket: the reader against itself cut elsewhere and against tungstenite's, the connection, the handshake, Close.

use std::io::{self, Read, Write};

use base64::Engine as _;
use tungstenite::error::ProtocolError;
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Error, Message};

use super::input::{Input, cut};
use crate::base::limits::CONTROL_BYTES_MAX;
use crate::conn::ws::{Event, WebSocket};
use crate::wire::ws::{MessageLimits, Piece, Reader, Violation, close, handshake};

const SMALL: MessageLimits = MessageLimits { message_bytes_max: 300, fragments_max: 5 };
const ROOMY: MessageLimits = MessageLimits { message_bytes_max: 1 << 24, fragments_max: usize::MAX };

/// A piece that was read.
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

/// How reading ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// All was read, and the reader remembers nothing.
    AtRest,
    /// All was read, and it wants more.
    Partial,
    Violation(Violation),
}

/// The same pieces and the same verdict wherever the bytes are cut; a bound that is kept; and what tungstenite reads too.
pub fn ws_reader(data: &[u8]) {
    let mut input = Input::new(data);
    let server = input.below(2) == 0;
    let (whole, pieces) = cut(input.rest());
    for limits in [SMALL, ROOMY] {
        let (seen, end) = read(server, &limits, &[whole]);
        assert_eq!(read(server, &limits, &pieces), (seen.clone(), end), "cut into {} pieces", pieces.len());
        let bytes: Vec<&[u8]> = whole.chunks(1).collect();
        assert_eq!(read(server, &limits, &bytes), (seen.clone(), end), "byte by byte");
        for piece in seen {
            match piece {
                Seen::Text(text) => assert!(text.len() <= limits.message_bytes_max),
                Seen::Binary(bytes) => assert!(bytes.len() <= limits.message_bytes_max),
                Seen::Ping(bytes) | Seen::Pong(bytes) => assert!(bytes.len() <= CONTROL_BYTES_MAX),
                Seen::Close(close) => assert!(close.is_none_or(|(code, _)| close::is_allowed(code))),
            }
        }
    }
    agrees_with_tungstenite(server, whole);
}

fn read(server: bool, limits: &MessageLimits, pieces: &[&[u8]]) -> (Vec<Seen>, End) {
    let mut reader = if server { Reader::server() } else { Reader::client() };
    let mut seen = Vec::new();
    let empty: &[u8] = &[];
    for piece in pieces.iter().copied().chain([empty]) {
        let mut bytes = piece.to_vec();
        let mut at = 0;
        loop {
            match reader.next(&mut bytes[at..], limits) {
                Ok((taken, Some(piece))) => {
                    at += taken;
                    seen.push(piece.into());
                }
                Ok((taken, None)) => {
                    assert_eq!(at + taken, bytes.len(), "None takes all");
                    break;
                }
                Err(violation) => return (seen, End::Violation(violation)),
            }
        }
    }
    (seen, if reader.is_at_rest() { End::AtRest } else { End::Partial })
}

/// Both read the same up to the first Close. What we refuse and tungstenite does not: lengths that are not minimal or have
/// their top bit set, close codes out of the registry, and everything that we refuse before the frame is all there.
fn agrees_with_tungstenite(server: bool, whole: &[u8]) {
    let (mut ours, end) = read(server, &ROOMY, &[whole]);
    if let Some(at) = ours.iter().position(|piece| matches!(piece, Seen::Close(_))) {
        ours.truncate(at + 1);
    }
    let closed = matches!(ours.last(), Some(Seen::Close(_)));
    // In IANA's registry, and not known to tungstenite.
    if let Some(Seen::Close(Some((code @ 1014, reason)))) = ours.last_mut() {
        (*code, *reason) = (close::PROTOCOL, "Protocol violation".into());
    }
    let (theirs, failed) = by_tungstenite(server, whole);
    let stricter = match end {
        _ if closed => false,
        End::AtRest | End::Partial => false,
        End::Violation(violation) => match violation {
            Violation::LengthNotMinimal | Violation::LengthTopBit | Violation::BadCloseCode => true,
            // Announced in the long form, be it ever so short.
            Violation::LongControl => true,
            Violation::Unmasked
            | Violation::Masked
            | Violation::ReservedBits
            | Violation::ReservedOpcode
            | Violation::FragmentedControl
            | Violation::OrphanContinuation
            | Violation::InterleavedMessage
            | Violation::BadUtf8
            | Violation::TooBig
            | Violation::TooManyFragments
            | Violation::BadClosePayload
            | Violation::BadCloseReason => false,
        },
    };
    if stricter {
        assert!(theirs.starts_with(&ours), "{ours:?} {end:?}, {theirs:?}");
        return;
    }
    assert_eq!(ours, theirs, "{end:?}, theirs failed: {failed}");
    assert!(closed || !failed || matches!(end, End::Violation(_)), "{end:?}, theirs failed");
}

fn by_tungstenite(server: bool, whole: &[u8]) -> (Vec<Seen>, bool) {
    let mut config = WebSocketConfig::default();
    config.max_message_size = Some(ROOMY.message_bytes_max);
    config.max_frame_size = Some(ROOMY.message_bytes_max);
    let role = if server { Role::Server } else { Role::Client };
    let mut socket = tungstenite::WebSocket::from_raw_socket(OneWay(whole), role, Some(config));
    let mut seen = Vec::new();
    loop {
        match socket.read() {
            Ok(Message::Text(text)) => seen.push(Seen::Text(text.as_str().into())),
            Ok(Message::Binary(bytes)) => seen.push(Seen::Binary(bytes.to_vec())),
            Ok(Message::Ping(bytes)) => seen.push(Seen::Ping(bytes.to_vec())),
            Ok(Message::Pong(bytes)) => seen.push(Seen::Pong(bytes.to_vec())),
            Ok(Message::Close(close)) => {
                seen.push(Seen::Close(close.map(|close| (close.code.into(), close.reason.to_string()))));
                return (seen, false);
            }
            Ok(Message::Frame(_)) => unreachable!("never read"),
            Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => return (seen, false),
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

/// The same events and answers wherever the bytes are cut. The answers are frames of a server: a pong for every ping that
/// came while open, one Close at most, and nothing behind it; and they are less than what came, the Close apart.
pub fn ws_connection(data: &[u8]) {
    let mut input = Input::new(data);
    let close_first = input.below(3) == 0;
    let (whole, pieces) = cut(input.rest());
    let expected = converse(close_first, &[whole]);
    assert_eq!(converse(close_first, &pieces), expected, "cut into {} pieces", pieces.len());
    assert_eq!(converse(close_first, &whole.chunks(1).collect::<Vec<_>>()), expected, "byte by byte");

    let (answers, end) = read(false, &ROOMY, &[&expected.out]);
    assert_eq!(end, End::AtRest, "{answers:?}");
    let (seen, _) = read(true, &SMALL, &[whole]);
    let until = seen.iter().position(|piece| matches!(piece, Seen::Close(_))).unwrap_or(seen.len());
    let (before, answering) = (&seen[..until], !close_first);
    let pongs = before.iter().filter(|_| answering).filter_map(|piece| match piece {
        Seen::Ping(bytes) => Some(Seen::Pong(bytes.clone())),
        Seen::Text(_) | Seen::Binary(_) | Seen::Pong(_) | Seen::Close(_) => None,
    });
    let closes = close_first || expected.done;
    assert_eq!(answers.len(), pongs.clone().count() + usize::from(closes), "{answers:?}");
    assert!(answers.iter().zip(pongs).all(|(answer, pong)| *answer == pong));
    assert_eq!(closes, matches!(answers.last(), Some(Seen::Close(_))));
    assert!(expected.out.len() <= whole.len() + CONTROL_BYTES_MAX + 2);
}

#[derive(PartialEq, Eq, Default, Debug)]
struct Conversation {
    events: Vec<Seen>,
    violation: Option<Violation>,
    closed: bool,
    done: bool,
    out: Vec<u8>,
}

fn converse(close_first: bool, pieces: &[&[u8]]) -> Conversation {
    let mut socket = WebSocket::new();
    let mut seen = Conversation::default();
    if close_first {
        socket.close(close::GOING_AWAY, "the server stops", &mut seen.out);
    }
    let empty: &[u8] = &[];
    for piece in pieces.iter().copied().chain([empty]) {
        let mut bytes = piece.to_vec();
        let mut at = 0;
        loop {
            assert_eq!(socket.is_done(), seen.closed || seen.violation.is_some());
            assert_eq!(socket.is_open(), !socket.is_done() && !close_first);
            match socket.next(&mut bytes[at..], &SMALL, &mut seen.out) {
                Ok((taken, None)) => {
                    assert_eq!(at + taken, bytes.len(), "None takes all");
                    break;
                }
                Ok((taken, Some(event))) => {
                    assert!(!seen.closed && seen.violation.is_none(), "nothing comes behind the end");
                    at += taken;
                    match event {
                        Event::Text(text) => seen.events.push(Seen::Text(text.into())),
                        Event::Binary(bytes) => seen.events.push(Seen::Binary(bytes.into())),
                        Event::Pong => {}
                        Event::Closed => seen.closed = true,
                    }
                }
                Err(violation) => {
                    assert_eq!(seen.violation.replace(violation), None, "a violation is final");
                    at = bytes.len();
                }
            }
        }
    }
    assert!(!close_first || seen.events.is_empty(), "what comes behind our Close is dropped");
    seen.done = socket.is_done();
    seen
}

/// A handshake is accepted exactly if a naive reader finds all that the RFC asks for, with the answer that tungstenite
/// would give.
pub fn ws_handshake(data: &[u8]) {
    const NAMES: [&str; 7] = [
        "Upgrade",
        "connection",
        "Sec-WebSocket-Key",
        "SEC-WEBSOCKET-VERSION",
        "Sec-WebSocket-Protocol",
        "Sec-WebSocket-Extensions",
        "X",
    ];
    let mut input = Input::new(data);
    let bits = input.byte();
    let method = if bits & 3 == 3 { "POST" } else { "GET" };
    let (minor_version, has_body) = (u8::from(bits & 12 != 12), bits & 48 == 48);
    let mut headers: Vec<(&str, &[u8])> = Vec::new();
    if bits & 64 != 0 {
        headers.extend([("Upgrade", &b"websocket"[..]), ("Connection", b"Upgrade"), ("Sec-WebSocket-Version", b"13")]);
    }
    while !input.is_empty() {
        headers.push((input.pick(&NAMES), input.some().trim_ascii()));
    }
    let lines = || headers.iter().copied();
    let values = |name: &str| -> Vec<&[u8]> {
        lines().filter(|line| line.0.eq_ignore_ascii_case(name)).map(|line| line.1).collect()
    };
    let has = |name: &str, token: &str| {
        values(name).join(&b','.to_owned()).split(|&byte| byte == b',').any(|element| {
            String::from_utf8_lossy(element.trim_ascii()).eq_ignore_ascii_case(token) && element.is_ascii()
        })
    };
    assert_eq!(handshake::wants_websocket(lines()), has("upgrade", "websocket"));
    let keys = values("sec-websocket-key");
    let is_key = |key: &[u8]| {
        let config = base64::engine::GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true);
        let engine = base64::engine::GeneralPurpose::new(&base64::alphabet::STANDARD, config);
        engine.decode(key).is_ok_and(|bytes| bytes.len() == 16)
    };
    let good = method == "GET"
        && minor_version == 1
        && !has_body
        && has("upgrade", "websocket")
        && has("connection", "upgrade")
        && values("sec-websocket-version") == [&b"13"[..]]
        && keys.len() == 1
        && is_key(keys[0]);
    match handshake::check(method, minor_version, has_body, lines()) {
        Ok(accepted) => {
            assert!(good);
            assert_eq!(std::str::from_utf8(&accepted.accept), Ok(derive_accept_key(keys[0]).as_str()));
            let offered = values("sec-websocket-protocol").join(&b',');
            let offered: Vec<&[u8]> = offered.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).collect();
            for protocol in &accepted.protocols {
                assert!(!protocol.is_empty() && offered.contains(&protocol.as_bytes()), "{protocol}");
            }
            let mut out = Vec::new();
            handshake::write_response(&mut out, &accepted.accept, &[]);
            let mut lines = [httparse::EMPTY_HEADER; 8];
            let mut response = httparse::Response::new(&mut lines);
            assert_eq!(response.parse(&out), Ok(httparse::Status::Complete(out.len())));
            assert_eq!(response.code, Some(101));
        }
        Err(refused) => {
            assert!(!good, "{refused:?}");
            assert!(matches!(refused.status, 400 | 426) && !refused.reason.is_empty());
        }
    }
}

/// A Close's payload by a naive reader; and what is written is read back, its reason cut between two characters.
pub fn ws_close(data: &[u8]) {
    let naive = match data.len() {
        0 => Ok(None),
        1 => Err(Violation::BadClosePayload),
        _ => {
            let code = u16::from(data[0]) * 256 + u16::from(data[1]);
            let registered = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014];
            if !(registered.contains(&code) || (3000..5000).contains(&code)) {
                Err(Violation::BadCloseCode)
            } else {
                match std::str::from_utf8(&data[2..]) {
                    Ok(reason) => Ok(Some((code, reason))),
                    Err(_) => Err(Violation::BadCloseReason),
                }
            }
        }
    };
    assert_eq!(close::parse(data), naive);
    if let Ok(Some((code, reason))) = naive {
        let mut out = Vec::new();
        close::write_close(&mut out, code, reason);
        let (seen, end) = read(false, &SMALL, &[&out]);
        let [Seen::Close(Some((written, cut)))] = &seen[..] else { panic!("{seen:?}") };
        assert_eq!((*written, end), (code, End::AtRest));
        assert!(reason.starts_with(cut.as_str()) && (reason.len() <= 123 || cut.len() > 119), "{cut:?}");
        assert!(reason.len() > 123 || cut == reason);
    }
}
