//! Frames in, messages and control frames out.
//!
//! What lies whole in the input is unmasked in place and returned from there. Only what was cut is kept: the beginning of a
//! head inside the reader, payloads and open messages in a box that is there while they are.

use super::head::{HEAD_BYTES_MAX, Head, Opcode, Sender, read_head};
use super::utf8::Utf8;
use super::{Violation, close, mask};
use crate::base::limits::{CONTROL_BYTES_MAX, Limits};

/// The least that is reserved for a message that does not lie whole in the input.
const ASSEMBLY_BYTES_MIN: usize = 512;

/// What a message may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MessageLimits {
    /// Bytes of a message, over all of its fragments.
    pub message_bytes_max: usize,
    /// Frames of a message.
    pub fragments_max: usize,
}

impl From<&Limits> for MessageLimits {
    fn from(limits: &Limits) -> MessageLimits {
        MessageLimits { message_bytes_max: limits.message_bytes_max, fragments_max: limits.fragments_max }
    }
}

/// A whole message or a whole control frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Piece<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
    /// To be answered by a Pong with the same payload.
    Ping(&'a [u8]),
    /// An answer, or a sign of life.
    Pong(&'a [u8]),
    /// The peer's last frame: its code and reason, if it gave one.
    Close(Option<(u16, &'a str)>),
}

/// Reads one side's frames. 24 bytes at rest, and nothing behind them.
#[derive(Debug)]
pub struct Reader {
    partial: Option<Box<Partial>>,
    head: [u8; HEAD_BYTES_MAX],
    head_len: u8,
    sender: Sender,
}

/// A piece that [`Reader::advance`] found: of which kind, and where its payload lies.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    kind: Kind,
    place: Place,
}

impl Found {
    /// What kind of piece it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }
}

/// The kinds of [`Piece`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "named and documented in Piece")]
pub enum Kind {
    Text,
    Binary,
    Ping,
    Pong,
    Close,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    /// In the input that `advance` was given.
    Input { start: usize, end: usize },
    /// In the box: the message put together.
    Message,
    /// In the box: the control frame put together.
    Control,
}

/// What was cut: a message between its first byte and its last, a frame between its head and its last byte.
#[derive(Debug)]
struct Partial {
    /// The frame whose payload is arriving.
    frame: Option<Frame>,
    /// The message that a continuation would go on with.
    open: Option<Kind>,
    message: Vec<u8>,
    fragments: usize,
    utf8: Utf8,
    control: [u8; CONTROL_BYTES_MAX],
    control_len: u8,
}

#[derive(Debug)]
struct Frame {
    /// For a continuation: its message's.
    kind: Kind,
    fin: bool,
    mask: Option<[u8; 4]>,
    len: usize,
    left: usize,
}

impl Reader {
    /// A server's reader: of a client's frames, which must be masked.
    pub const fn server() -> Reader {
        Reader::of(Sender::Client)
    }

    /// A client's reader: of a server's frames, which must not be masked.
    pub const fn client() -> Reader {
        Reader::of(Sender::Server)
    }

    const fn of(sender: Sender) -> Reader {
        Reader { partial: None, head: [0; HEAD_BYTES_MAX], head_len: 0, sender }
    }

    /// Reads on: how many bytes of `input` were taken, and the next piece. `None` means that all of the input was taken
    /// and the piece is not complete; so call until `None`, with an empty input too, for the memory of a piece that had
    /// to be put together is given back by the call after it. The input may be changed in place.
    ///
    /// A violation is final: do not call again. Bad UTF-8 comes with the byte that makes it certain; a message too big
    /// comes with its head.
    pub fn next<'a>(
        &'a mut self,
        input: &'a mut [u8],
        limits: &MessageLimits,
    ) -> Result<(usize, Option<Piece<'a>>), Violation> {
        let (taken, found) = self.advance(input, limits)?;
        match found {
            Some(found) => Ok((taken, Some(self.piece(found, input)?))),
            None => Ok((taken, None)),
        }
    }

    /// The first half of [`Reader::next`], without a borrow in its result: for callers that loop.
    pub fn advance(&mut self, input: &mut [u8], limits: &MessageLimits) -> Result<(usize, Option<Found>), Violation> {
        if self.partial.as_ref().is_some_and(|partial| partial.is_over()) {
            self.partial = None;
        }
        let mut taken = 0;
        loop {
            if let Some(partial) = &mut self.partial
                && let Some(frame) = partial.frame.take()
            {
                let (bytes, found) = partial.fill(frame, &mut input[taken..])?;
                taken += bytes;
                if found.is_some() || partial.frame.is_some() {
                    return Ok((taken, found));
                }
            }
            let (bytes, head) = self.take_head(&input[taken..])?;
            taken += bytes;
            let Some(head) = head else {
                return Ok((taken, None));
            };
            if let Some((end, kind)) = self.begin(&head, &mut input[taken..], limits)? {
                let place = Place::Input { start: taken, end: taken + end };
                return Ok((taken + end, Some(Found { kind, place })));
            }
        }
    }

    /// The second half: the piece, from the input that `advance` was given when it found it.
    pub fn piece<'a>(&'a self, found: Found, input: &'a [u8]) -> Result<Piece<'a>, Violation> {
        let payload = self.payload(found, input);
        Ok(match found.kind {
            // What was put together is known to be UTF-8: looking again (46 ns per KiB) is the price of no unsafe code.
            Kind::Text => Piece::Text(simdutf8::basic::from_utf8(payload).map_err(|_| Violation::BadUtf8)?),
            Kind::Binary => Piece::Binary(payload),
            Kind::Ping => Piece::Ping(payload),
            Kind::Pong => Piece::Pong(payload),
            Kind::Close => Piece::Close(close::parse(payload)?),
        })
    }

    /// The payload of what `advance` found in `input`, unmasked.
    pub fn payload<'a>(&'a self, found: Found, input: &'a [u8]) -> &'a [u8] {
        match (found.place, &self.partial) {
            (Place::Input { start, end }, _) => &input[start..end],
            (Place::Message, Some(partial)) => &partial.message,
            (Place::Control, Some(partial)) => &partial.control[..usize::from(partial.control_len)],
            (Place::Message | Place::Control, None) => &[],
        }
    }

    /// Between two messages, with nothing remembered.
    pub fn is_at_rest(&self) -> bool {
        self.head_len == 0 && self.partial.is_none()
    }

    /// Reads a head, of which a part may be remembered; without one, all of the input was taken.
    fn take_head(&mut self, input: &[u8]) -> Result<(usize, Option<Head>), Violation> {
        let known = usize::from(self.head_len);
        if known == 0
            && let Some(head) = read_head(input, self.sender)?
        {
            return Ok((head.head_bytes, Some(head)));
        }
        let bytes = input.len().min(HEAD_BYTES_MAX - known);
        self.head[known..known + bytes].copy_from_slice(&input[..bytes]);
        match read_head(&self.head[..known + bytes], self.sender)? {
            Some(head) => {
                self.head_len = 0;
                Ok((head.head_bytes - known, Some(head)))
            }
            None => {
                self.head_len = (known + bytes) as u8;
                Ok((bytes, None))
            }
        }
    }

    /// Judges a frame by its head. If its payload is all of a piece and lies whole in `rest`: where it ends, unmasked.
    /// Otherwise it is left to [`Partial::fill`].
    fn begin(
        &mut self,
        head: &Head,
        rest: &mut [u8],
        limits: &MessageLimits,
    ) -> Result<Option<(usize, Kind)>, Violation> {
        let open = self.partial.as_ref().and_then(|partial| partial.open);
        let kind = match (head.opcode, open) {
            (Opcode::Continuation, None) => return Err(Violation::OrphanContinuation),
            (Opcode::Text | Opcode::Binary, Some(_)) => return Err(Violation::InterleavedMessage),
            (Opcode::Continuation, Some(kind)) => kind,
            (Opcode::Text, None) => Kind::Text,
            (Opcode::Binary, None) => Kind::Binary,
            (Opcode::Ping, _) => Kind::Ping,
            (Opcode::Pong, _) => Kind::Pong,
            (Opcode::Close, _) => Kind::Close,
        };
        if !head.opcode.is_control() {
            let (held, fragments) = match &self.partial {
                Some(partial) => (partial.message.len(), partial.fragments),
                None => (0, 0),
            };
            if head.payload_bytes > limits.message_bytes_max.saturating_sub(held) as u64 {
                return Err(Violation::TooBig);
            }
            if fragments >= limits.fragments_max {
                return Err(Violation::TooManyFragments);
            }
        }
        // Fits: at most `message_bytes_max`, or 125.
        let len = head.payload_bytes as usize;
        let all_of_a_piece = head.opcode.is_control() || (head.fin && open.is_none());
        if all_of_a_piece && len <= rest.len() {
            if let Some(mask) = head.mask {
                mask::unmask(&mut rest[..len], mask, 0);
            }
            return Ok(Some((len, kind)));
        }
        self.partial.get_or_insert_default().frame =
            Some(Frame { kind, fin: head.fin, mask: head.mask, len, left: len });
        Ok(None)
    }
}

impl Default for Partial {
    fn default() -> Partial {
        Partial {
            frame: None,
            open: None,
            message: Vec::new(),
            fragments: 0,
            utf8: Utf8::new(),
            control: [0; CONTROL_BYTES_MAX],
            control_len: 0,
        }
    }
}

impl Partial {
    /// Is there nothing to remember but a piece that was already returned?
    fn is_over(&self) -> bool {
        self.frame.is_none() && self.open.is_none()
    }

    /// Takes as much of the frame's payload as is here. The frame is put back if that is not all of it.
    fn fill(&mut self, mut frame: Frame, input: &mut [u8]) -> Result<(usize, Option<Found>), Violation> {
        let bytes = frame.left.min(input.len());
        let arrived = &mut input[..bytes];
        if let Some(mask) = frame.mask {
            mask::unmask(arrived, mask, frame.len - frame.left);
        }
        frame.left -= bytes;
        let found = match frame.kind {
            Kind::Text | Kind::Binary => self.fill_message(&frame, arrived)?,
            Kind::Ping | Kind::Pong | Kind::Close => self.fill_control(&frame, arrived),
        };
        if frame.left > 0 {
            self.frame = Some(frame);
        }
        Ok((bytes, found))
    }

    fn fill_message(&mut self, frame: &Frame, arrived: &[u8]) -> Result<Option<Found>, Violation> {
        if frame.kind == Kind::Text {
            self.utf8.feed(arrived).map_err(|_| Violation::BadUtf8)?;
        }
        self.reserve(frame, arrived.len());
        self.message.extend_from_slice(arrived);
        if frame.left > 0 {
            return Ok(None);
        }
        self.fragments += 1;
        if !frame.fin {
            self.open = Some(frame.kind);
            return Ok(None);
        }
        self.open = None;
        self.utf8.finish().map_err(|_| Violation::BadUtf8)?;
        Ok(Some(Found { kind: frame.kind, place: Place::Message }))
    }

    /// Room for what arrived: doubling, but not beyond the message's end if it is known. So at most about twice what was
    /// really sent is held, whatever was announced.
    fn reserve(&mut self, frame: &Frame, arrived: usize) {
        let held = self.message.len();
        if self.message.capacity() - held < arrived {
            let end = held + arrived + frame.left;
            let doubled = ((held + arrived) * 2).max(ASSEMBLY_BYTES_MIN);
            let capacity = if frame.fin { doubled.min(end) } else { doubled };
            self.message.reserve_exact(capacity - held);
        }
    }

    fn fill_control(&mut self, frame: &Frame, arrived: &[u8]) -> Option<Found> {
        let start = frame.len - frame.left - arrived.len();
        self.control[start..start + arrived.len()].copy_from_slice(arrived);
        self.control_len = frame.len as u8;
        (frame.left == 0).then_some(Found { kind: frame.kind, place: Place::Control })
    }
}

#[cfg(test)]
mod tests;
