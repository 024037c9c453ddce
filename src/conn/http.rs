//! A connection that speaks HTTP/1.1: one request in hand at a time, so that pipelined answers keep their order.

use memchr::memchr2;

use crate::wire::http::{
    BodyFraming, Decoder, Framing, Head, HeadLimits, Outline, Response, Violation, outline, write,
};

/// A request, as it lies in the input or in the connection's tail.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Request line and headers.
    pub head: Head<'a>,
    /// The whole body, without chunk sizes.
    pub body: &'a [u8],
}

/// What the connection is waiting for: the caller's timers go by it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Phase {
    /// The first byte of a request.
    Idle,
    /// The rest of a head.
    Head,
    /// The rest of a body.
    Body,
    /// Nothing of the peer: a request waits for its answer, or no other one will be read.
    InHand,
}

/// One HTTP connection. It owns no buffer unless a request has arrived in part, or more has arrived behind the one in hand.
#[derive(Debug, Default)]
pub struct Http {
    /// What was received and is kept.
    tail: Vec<u8>,
    /// Where in the tail the present request begins, or would.
    start: usize,
    state: State,
}

const _: () = assert!(size_of::<Http>() <= 64, "100,000 idle connections");

#[derive(Debug)]
enum State {
    /// This much of the tail, from `start`, is no complete head.
    Head { seen: usize },
    /// The head is here and the body is not, not all of it.
    Body(Box<Body>),
    /// A request is with the caller; this much of the tail, from `start`, is its own.
    InHand { len: usize, keep_alive: bool },
    /// The peer broke the protocol, or the connection ends behind an answer: whatever comes is dropped.
    Over,
}

impl Default for State {
    fn default() -> State {
        State::Head { seen: 0 }
    }
}

#[derive(Debug)]
struct Body {
    outline: Outline,
    /// Only for a body in chunks.
    decoder: Decoder,
    /// Bytes of the body that follow the head in the tail, decoded.
    received: usize,
}

/// Where a request was found.
struct Found {
    outline: Outline,
    body_len: usize,
    in_tail: bool,
}

impl Http {
    /// Reads on. Returns how many bytes were consumed and at most one request, which is in hand then until
    /// [`answered`](Http::answered); while one is in hand, input is only kept, so the caller stops reading.
    ///
    /// A request that lies whole in the input is not copied, and what follows it is not consumed: the caller comes back with
    /// it, at the latest when it has answered. Otherwise everything is consumed. When a request is answered, the caller
    /// goes on with whatever input it has left, empty if none: more may have been kept.
    ///
    /// `out` gets `100 Continue` where a client waits for it. A violation is answered there before it is returned (with
    /// `date` as its Date); the connection is to be closed behind it, and all further input is dropped.
    pub fn next<'a>(
        &'a mut self,
        input: &'a mut [u8],
        limits: &HeadLimits,
        date: &str,
        out: &mut Vec<u8>,
    ) -> Result<(usize, Option<Request<'a>>), Violation> {
        let (consumed, found) = match self.advance(input, limits, out) {
            Ok(step) => step,
            Err(violation) => {
                *self = Http { state: State::Over, ..Http::default() };
                write_violation(out, violation, date);
                return Err(violation);
            }
        };
        let request = found.map(|found| {
            let bytes = if found.in_tail { &self.tail[self.start..] } else { &input[..] };
            let body = &bytes[found.outline.len()..][..found.body_len];
            Request { head: found.outline.head(bytes), body }
        });
        Ok((consumed, request))
    }

    /// The request in hand is answered: the next one may be read, unless the connection ends here. Does nothing otherwise.
    pub fn answered(&mut self) {
        let State::InHand { len, keep_alive } = self.state else {
            return;
        };
        if !keep_alive {
            *self = Http { state: State::Over, ..Http::default() };
            return;
        }
        self.start += len;
        self.state = State::default();
        self.give_back();
    }

    /// What the connection is waiting for.
    pub fn phase(&self) -> Phase {
        match &self.state {
            // Empty lines between two requests begin none.
            State::Head { .. } if self.tail[self.start..].iter().all(|byte| matches!(byte, b'\r' | b'\n')) => {
                Phase::Idle
            }
            State::Head { .. } => Phase::Head,
            State::Body(_) => Phase::Body,
            State::InHand { .. } | State::Over => Phase::InHand,
        }
    }

    /// What was received behind the request in hand and is not read yet: where it upgrades, the new protocol begins there.
    pub fn into_rest(mut self) -> Vec<u8> {
        match self.state {
            State::InHand { len, .. } => self.tail.split_off(self.start + len),
            State::Head { .. } => self.tail.split_off(self.start),
            State::Body(_) | State::Over => Vec::new(),
        }
    }

    fn advance(
        &mut self,
        input: &mut [u8],
        limits: &HeadLimits,
        out: &mut Vec<u8>,
    ) -> Result<(usize, Option<Found>), Violation> {
        // A request may be here already, behind the one that was answered. Then nothing more is kept: the tail would grow
        // with each request of a peer that sends faster than it is answered.
        if matches!(self.state, State::Head { seen: 0 })
            && !self.tail.is_empty()
            && let Some(found) = self.head_in_tail(0, limits, out)?
        {
            return Ok((0, Some(found)));
        }
        match self.state {
            State::Over => Ok((input.len(), None)),
            State::InHand { .. } => {
                self.keep(input);
                Ok((input.len(), None))
            }
            State::Body(_) => {
                self.keep(input);
                Ok((input.len(), self.body_in_tail(limits)?))
            }
            State::Head { .. } if self.tail.is_empty() => self.request_in_input(input, limits, out),
            State::Head { seen } => {
                self.keep(input);
                Ok((input.len(), self.head_in_tail(seen, limits, out)?))
            }
        }
    }

    /// Nothing is kept: a whole request can stay where it lies.
    fn request_in_input(
        &mut self,
        input: &mut [u8],
        limits: &HeadLimits,
        out: &mut Vec<u8>,
    ) -> Result<(usize, Option<Found>), Violation> {
        let Some(outline) = outline(input, limits)? else {
            self.keep(input);
            self.state = State::Head { seen: input.len() };
            return Ok((input.len(), None));
        };
        let arrived = input.len() - outline.len();
        let mut decoder = Decoder::default();
        let (body_len, len, complete) = match outline.body() {
            BodyFraming::None => (0, 0, true),
            BodyFraming::Length(length) if length > arrived as u64 => (arrived, arrived, false),
            BodyFraming::Length(length) => (length as usize, length as usize, true),
            BodyFraming::Chunked => {
                let decoded = decoder.decode(&mut input[outline.len()..], limits)?;
                (decoded.written, decoded.consumed, decoded.done)
            }
        };
        if complete {
            // Nothing of this request is in the tail.
            self.state = State::InHand { len: 0, keep_alive: outline.keep_alive() };
            return Ok((outline.len() + len, Some(Found { outline, body_len, in_tail: false })));
        }
        continue_if_due(&outline, arrived, out);
        self.keep(&input[..outline.len() + body_len]);
        self.state = State::Body(Box::new(Body { outline, decoder, received: body_len }));
        Ok((input.len(), None))
    }

    /// The tail holds the beginning of a request, of which `seen` bytes are no complete head.
    fn head_in_tail(
        &mut self,
        seen: usize,
        limits: &HeadLimits,
        out: &mut Vec<u8>,
    ) -> Result<Option<Found>, Violation> {
        let bytes = &self.tail[self.start..];
        // A head is looked at again only where a line ends or begins: a few times for each of its lines, which are bounded,
        // however small the reads.
        let outline = if memchr2(b'\r', b'\n', &bytes[seen.saturating_sub(1)..]).is_some()
            || bytes.len() >= limits.head_bytes_max
        {
            outline(bytes, limits)?
        } else {
            None
        };
        let Some(outline) = outline else {
            self.state = State::Head { seen: bytes.len() };
            return Ok(None);
        };
        if outline.body() == BodyFraming::None {
            self.state = State::InHand { len: outline.len(), keep_alive: outline.keep_alive() };
            return Ok(Some(Found { outline, body_len: 0, in_tail: true }));
        }
        let arrived = bytes.len() - outline.len();
        continue_if_due(&outline, arrived, out);
        self.state = State::Body(Box::new(Body { outline, decoder: Decoder::default(), received: 0 }));
        self.body_in_tail(limits)
    }

    /// The tail holds a head, `received` bytes of its body, and what has just arrived.
    fn body_in_tail(&mut self, limits: &HeadLimits) -> Result<Option<Found>, Violation> {
        let State::Body(body) = &mut self.state else {
            return Ok(None);
        };
        let outline = body.outline;
        let body_start = self.start + outline.len();
        let (body_len, len) = match outline.body() {
            BodyFraming::None => (0, 0),
            BodyFraming::Length(length) => {
                body.received = self.tail.len() - body_start;
                if length > body.received as u64 {
                    return Ok(None);
                }
                (length as usize, length as usize)
            }
            BodyFraming::Chunked => {
                let data_end = body_start + body.received;
                let decoded = body.decoder.decode(&mut self.tail[data_end..], limits)?;
                let len = body.received + decoded.consumed;
                body.received += decoded.written;
                if !decoded.done {
                    self.tail.truncate(data_end + decoded.written);
                    return Ok(None);
                }
                (body.received, len)
            }
        };
        self.state = State::InHand { len: outline.len() + len, keep_alive: outline.keep_alive() };
        Ok(Some(Found { outline, body_len, in_tail: true }))
    }

    /// Appends to the tail. What lies before `start` is dropped first, when it is more than what would have to be moved.
    fn keep(&mut self, input: &[u8]) {
        if !input.is_empty() && self.start > self.tail.len() - self.start {
            self.tail.drain(..self.start);
            self.start = 0;
        }
        self.tail.extend_from_slice(input);
    }

    /// An empty tail owns no memory.
    fn give_back(&mut self) {
        if self.start == self.tail.len() {
            self.tail = Vec::new();
            self.start = 0;
        }
    }
}

fn continue_if_due(outline: &Outline, arrived: usize, out: &mut Vec<u8>) {
    if outline.expect_continue() && arrived == 0 {
        out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
    }
}

fn write_violation(out: &mut Vec<u8>, violation: Violation, date: &str) {
    let body = format!("{}\n", violation.reason());
    let headers = &[("Content-Type", "text/plain; charset=utf-8")];
    let response = Response { status: violation.status(), headers, body: body.as_bytes() };
    write(out, &response, Framing { head_only: false, keep_alive: false, minor_version: 1 }, date);
}

#[cfg(test)]
mod tests;
