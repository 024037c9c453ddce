//! A WebSocket connection, the server's end, after the handshake (RFC 6455).
//!
//! Protocol duties are appended to the caller's buffer: a Pong for every Ping, the Close that answers a Close or a violation.
//! Nothing is appended after our Close.

use crate::wire::ws::close::{write_close, write_close_without_code};
use crate::wire::ws::head::{Opcode, write_frame};
use crate::wire::ws::reader::Kind;
use crate::wire::ws::{MessageLimits, Piece, Reader, Violation};

/// One WebSocket. 32 bytes at rest, and nothing behind them.
#[derive(Debug)]
pub struct WebSocket {
    reader: Reader,
    state: State,
}

/// What a client brings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
    /// The answer to a ping, or a sign of life.
    Pong,
    /// The peer's Close arrived, and ours is in `out` or was sent before.
    Closed,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Open,
    /// Our Close is sent, the peer's is awaited. What comes before it is read, judged and dropped.
    Closing,
    /// Both Closes have passed, or a violation came: input is dropped unread.
    Done,
}

impl Default for WebSocket {
    fn default() -> WebSocket {
        WebSocket::new()
    }
}

impl WebSocket {
    /// Open: the 101 has been written.
    pub const fn new() -> WebSocket {
        WebSocket { reader: Reader::server(), state: State::Open }
    }

    /// Reads on: how many bytes of `input` were taken, and the next event. `None`: all of the input was taken. Call until
    /// `None`, with an empty input too: the memory of a message that came in several reads is given back by the call after
    /// it. To `out` goes less than was taken, apart from one Close.
    ///
    /// A violation is final and answered in `out` already; from then on all input is taken and dropped.
    pub fn next<'a>(
        &'a mut self,
        input: &'a mut [u8],
        limits: &MessageLimits,
        out: &mut Vec<u8>,
    ) -> Result<(usize, Option<Event<'a>>), Violation> {
        if self.state == State::Done {
            return Ok((input.len(), None));
        }
        let mut taken = 0;
        let (start, found) = loop {
            let start = taken;
            let (bytes, found) = match self.reader.advance(&mut input[start..], limits) {
                Ok(found) => found,
                Err(violation) => return Err(self.violated(violation, out)),
            };
            taken += bytes;
            let Some(found) = found else {
                return Ok((taken, None));
            };
            match (found.kind(), self.state) {
                (Kind::Text | Kind::Binary | Kind::Pong, State::Open) => break (start, found),
                (Kind::Ping, State::Open) => {
                    write_frame(out, Opcode::Pong, self.reader.payload(found, &input[start..]));
                }
                (Kind::Text | Kind::Binary | Kind::Ping | Kind::Pong | Kind::Close, _) => {
                    match self.reader.piece(found, &input[start..]) {
                        Ok(Piece::Close(close)) => {
                            let code = close.map(|(code, _)| code);
                            self.answer_close(code, out);
                            return Ok((taken, Some(Event::Closed)));
                        }
                        Ok(Piece::Text(_) | Piece::Binary(_) | Piece::Ping(_) | Piece::Pong(_)) => {}
                        Err(violation) => return Err(self.violated(violation, out)),
                    }
                }
            }
        };
        match self.reader.piece(found, &input[start..]) {
            Ok(Piece::Text(text)) => Ok((taken, Some(Event::Text(text)))),
            Ok(Piece::Binary(bytes)) => Ok((taken, Some(Event::Binary(bytes)))),
            Ok(Piece::Pong(_)) => Ok((taken, Some(Event::Pong))),
            Ok(Piece::Ping(_) | Piece::Close(_)) => unreachable!("answered above"),
            Err(violation) => Err(violated(&mut self.state, violation, out)),
        }
    }

    /// Begins to close: appends our Close, once; does nothing if a Close was sent before.
    pub fn close(&mut self, code: u16, reason: &str, out: &mut Vec<u8>) {
        if self.state == State::Open {
            write_close(out, code, reason);
            self.state = State::Closing;
        }
    }

    /// Appends an empty Ping, while open.
    pub fn ping(&mut self, out: &mut Vec<u8>) {
        if self.state == State::Open {
            write_frame(out, Opcode::Ping, &[]);
        }
    }

    /// No Close was sent or received: messages may be sent.
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Both Closes have passed, or a violation was answered: our FIN is due.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Echoes the code (section 5.5.1), unless our Close went first.
    fn answer_close(&mut self, code: Option<u16>, out: &mut Vec<u8>) {
        if self.state == State::Open {
            match code {
                Some(code) => write_close(out, code, ""),
                None => write_close_without_code(out),
            }
        }
        self.state = State::Done;
        self.reader = Reader::server();
    }

    /// Answers a violation, and gives back what was read so far.
    fn violated(&mut self, violation: Violation, out: &mut Vec<u8>) -> Violation {
        self.reader = Reader::server();
        violated(&mut self.state, violation, out)
    }
}

fn violated(state: &mut State, violation: Violation, out: &mut Vec<u8>) -> Violation {
    if *state == State::Open {
        write_close(out, violation.close_code(), violation.reason());
    }
    *state = State::Done;
    violation
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ws::rows::{self, MASK, frame, join};

    const LIMITS: MessageLimits = MessageLimits { message_bytes_max: 1000, fragments_max: 10 };

    #[derive(Clone, PartialEq, Eq, Debug)]
    enum Seen {
        Text(String),
        Binary(Vec<u8>),
        Pong,
        Closed,
        Violation(Violation),
    }

    /// Name, bytes, events, what is answered, done.
    type OpenRow = (&'static str, Vec<u8>, Vec<Seen>, Vec<u8>, bool);

    fn text(text: &str) -> Seen {
        Seen::Text(text.into())
    }

    /// Feeds the pieces to the end, whatever happens.
    fn feed(socket: &mut WebSocket, pieces: &[&[u8]]) -> (Vec<Seen>, Vec<u8>) {
        let (mut seen, mut out) = (vec![], vec![]);
        for piece in pieces {
            let mut bytes = piece.to_vec();
            let mut taken = 0;
            loop {
                let before = out.len();
                match socket.next(&mut bytes[taken..], &LIMITS, &mut out) {
                    Ok((n, None)) => {
                        assert_eq!(taken + n, bytes.len(), "None takes all");
                        break;
                    }
                    Ok((n, Some(event))) => {
                        taken += n;
                        seen.push(match event {
                            Event::Text(text) => Seen::Text(text.into()),
                            Event::Binary(bytes) => Seen::Binary(bytes.into()),
                            Event::Pong => Seen::Pong,
                            Event::Closed => Seen::Closed,
                        });
                        assert_eq!(matches!(event, Event::Closed), socket.is_done());
                    }
                    Err(violation) => {
                        assert!(socket.is_done() && !socket.is_open());
                        assert!(out.len() - before <= 127 + bytes.len());
                        seen.push(Seen::Violation(violation));
                    }
                }
            }
        }
        (seen, out)
    }

    fn closing(code: u16, reason: &str) -> Vec<u8> {
        let mut wire = vec![0x88, 2 + reason.len() as u8];
        wire.extend(code.to_be_bytes());
        wire.extend(reason.as_bytes());
        wire
    }

    #[test]
    fn at_rest_it_is_small() {
        assert!(size_of::<WebSocket>() <= 40, "{}", size_of::<WebSocket>());
    }

    #[test]
    fn rows_from_an_open_connection() {
        use Violation::*;
        let close_1000 = frame(0x88, &[0x03, 0xe8]);
        let close_1000_answer = closing(1000, "");
        let pings: Vec<Vec<u8>> = (0..10).map(|i| frame(0x89, format!("payload-{i}").as_bytes())).collect();
        let pongs: Vec<Vec<u8>> = (0..10).map(|i| [&[0x8a, 9], format!("payload-{i}").as_bytes()].concat()).collect();
        let after_close = [close_1000.clone(), frame(0x89, b"late"), frame(0x81, b"1"), vec![0xff; 40]];
        let rows: Vec<OpenRow> = vec![
            ("nothing", vec![], vec![], vec![], false),
            ("a vote", frame(0x81, b"1"), vec![text("1")], vec![], false),
            (
                "messages",
                [frame(0x82, &[1]), frame(0x01, b"vo"), frame(0x80, b"te"), frame(0x81, b"")].concat(),
                vec![Seen::Binary(vec![1]), text("vote"), text("")],
                vec![],
                false,
            ),
            ("ping", frame(0x89, b""), vec![], vec![0x8a, 0], false),
            ("ten pings", pings.concat(), vec![], pongs.concat(), false),
            ("ping of 125 bytes", frame(0x89, &[0xfe; 125]), vec![], [&[0x8a, 125][..], &[0xfe; 125]].concat(), false),
            (
                "ping within a message",
                [frame(0x01, b"vo"), frame(0x89, b"?"), frame(0x80, b"te")].concat(),
                vec![text("vote")],
                b"\x8a\x01?".into(),
                false,
            ),
            ("pong", frame(0x8a, b"unasked"), vec![Seen::Pong], vec![], false),
            ("close", close_1000.clone(), vec![Seen::Closed], close_1000_answer.clone(), true),
            ("close without a code", frame(0x88, b""), vec![Seen::Closed], vec![0x88, 0], true),
            (
                "close with a reason",
                frame(0x88, &[&[0x0f, 0xa0], "再见".as_bytes()].concat()),
                vec![Seen::Closed],
                closing(4000, ""),
                true,
            ),
            (
                "close within a message",
                [frame(0x01, b"vo"), close_1000.clone(), frame(0x80, b"te")].concat(),
                vec![Seen::Closed],
                close_1000_answer.clone(),
                true,
            ),
            ("data after close is ignored", after_close.concat(), vec![Seen::Closed], close_1000_answer, true),
            (
                "half a code",
                frame(0x88, &[3]),
                vec![Seen::Violation(BadClosePayload)],
                closing(1002, "close with half a code"),
                true,
            ),
            (
                "code 1006",
                frame(0x88, &[0x03, 0xee]),
                vec![Seen::Violation(BadCloseCode)],
                closing(1002, "close code not allowed"),
                true,
            ),
            (
                "data after a violation is ignored",
                [frame(0x89, b"a"), frame(0x81, b"1"), frame(0xc1, b"2"), frame(0x89, b"b"), close_1000].concat(),
                vec![text("1"), Seen::Violation(ReservedBits)],
                [b"\x8a\x01a", &closing(1002, "reserved bits set")[..]].concat(),
                true,
            ),
            (
                "not UTF-8",
                [frame(0x81, b"ab\xffcd"), frame(0x81, b"1")].concat(),
                vec![Seen::Violation(BadUtf8)],
                closing(1007, "text is not UTF-8"),
                true,
            ),
            (
                "too big",
                [frame(0x82, &[0; 1001]), frame(0x81, b"1")].concat(),
                vec![Seen::Violation(TooBig)],
                closing(1009, "message too big"),
                true,
            ),
            (
                "too many fragments",
                [frame(0x01, b""), vec![frame(0x00, b""); 10].concat()].concat(),
                vec![Seen::Violation(TooManyFragments)],
                closing(1009, "too many fragments"),
                true,
            ),
        ];
        for (name, wire, events, answer, done) in rows {
            rows::at_every_cut(&wire, |pieces| {
                let mut socket = WebSocket::new();
                let (seen, out) = feed(&mut socket, pieces);
                assert_eq!(seen, events, "{name}: {}", join(pieces));
                assert_eq!(out, answer, "{name}: {}", join(pieces));
                assert_eq!((socket.is_done(), socket.is_open()), (done, !done), "{name}: {}", join(pieces));
                // After a Close there is nothing more to say.
                let mut out = vec![];
                socket.ping(&mut out);
                socket.close(1001, "stopping", &mut out);
                socket.close(1000, "", &mut out);
                socket.ping(&mut out);
                let last = [&[0x89, 0][..], &closing(1001, "stopping")].concat();
                assert_eq!(out, if done { vec![] } else { last }, "{name}");
            });
        }
    }

    #[test]
    fn rows_from_a_connection_that_we_close() {
        let close = frame(0x88, &[0x03, 0xe9]);
        // Name, bytes, events, done. Nothing is ever answered.
        let rows: Vec<(&str, Vec<u8>, Vec<Seen>, bool)> = vec![
            ("its close", close.clone(), vec![Seen::Closed], true),
            (
                "what was on its way",
                [frame(0x81, b"1"), frame(0x89, b"?"), frame(0x8a, b""), frame(0x02, &[1])].concat(),
                vec![],
                false,
            ),
            (
                "what was on its way, its close, and more",
                [frame(0x81, b"1"), frame(0x89, b"?"), frame(0x01, b"2"), close.clone(), close].concat(),
                vec![Seen::Closed],
                true,
            ),
            (
                "a violation in what was on its way",
                [frame(0x81, b"\xff"), frame(0x81, b"1")].concat(),
                vec![Seen::Violation(Violation::BadUtf8)],
                true,
            ),
            ("a close that is wrong", frame(0x88, &[0, 0]), vec![Seen::Violation(Violation::BadCloseCode)], true),
        ];
        for (name, wire, events, done) in rows {
            rows::at_every_cut(&wire, |pieces| {
                let mut socket = WebSocket::new();
                let mut out = vec![];
                socket.close(4008, "too slow", &mut out);
                assert_eq!(out, closing(4008, "too slow"));
                assert!(!socket.is_open() && !socket.is_done());
                let (seen, out) = feed(&mut socket, pieces);
                assert_eq!(seen, events, "{name}: {}", join(pieces));
                assert_eq!(out, b"", "{name}: {}", join(pieces));
                assert_eq!(socket.is_done(), done, "{name}: {}", join(pieces));
            });
        }
    }

    #[test]
    fn a_flood_of_pings_answers_with_less_than_it_sent() {
        let mut wire = vec![];
        for i in 0..5000 {
            crate::wire::ws::head::write_masked(&mut wire, Opcode::Ping, true, &vec![b'p'; i % 126], MASK);
        }
        let (seen, out) = feed(&mut WebSocket::new(), &[&wire]);
        assert_eq!(seen, []);
        assert_eq!(out.len(), wire.len() - 5000 * MASK.len());
    }

    #[test]
    fn a_close_in_any_state_leaves_no_memory_behind() {
        for end in [frame(0x88, b""), frame(0xff, b"")] {
            let mut socket = WebSocket::new();
            let wire = [frame(0x01, &[b'x'; 900]), end].concat();
            let (seen, _) = feed(&mut socket, &[&wire]);
            assert_eq!(seen.len(), 1);
            assert!(socket.is_done());
            assert!(socket.reader.is_at_rest());
        }
    }
}
