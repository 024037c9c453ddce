//! What waits to be sent to one connection alone, and how it is put together with its logs.
//!
//! A connection's stream is: the rests of what logs had in hand, then private pieces, then logs. A piece may stand behind
//! a place of a log: an acknowledgement never overtakes a publication of an earlier revision.

use std::collections::VecDeque;

use smallvec::SmallVec;

use super::connection::Subscription;
use crate::base::keys::{MirrorKey, OfMirror, Slots};
use crate::base::limits::SCRATCH_BYTES_MAX;
use crate::base::segment::{Slice, Writer};
use crate::mirror::Mirror;
use crate::mirror::sendlog::{Left, SendLog};

/// Private pieces, in order.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    /// What logs had in hand that have gone on without this reader, in order. A send that was in flight when several of
    /// them left has one for each of its parts.
    rests: VecDeque<Rest>,
    pieces: VecDeque<Piece>,
    /// Pieces that stand behind what is not written yet, or what its reader, whom the tail has passed, is not told yet.
    waiting: VecDeque<Piece>,
    /// So many of the pieces, from the front, are answers from before the connection became a stream.
    answers: usize,
    bytes: usize,
    /// What the driver has under way.
    flight: Parts,
}

/// What a log had in hand for a reader that has left it.
#[derive(Debug)]
struct Rest {
    slice: Slice,
    /// So many pieces come before it: they stood before it in the send that was in flight when the log left.
    before: usize,
}

/// A place in a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Behind {
    pub(super) mirror: MirrorKey,
    pub(super) log: u8,
    pub(super) offset: u64,
}

impl Behind {
    fn is_of(self, mirror: MirrorKey, log: u8) -> bool {
        (self.mirror, self.log) == (mirror, log)
    }

    /// An offset that no log has: of what is not written yet.
    pub(super) const NOT_YET: u64 = u64::MAX;
}

#[derive(Debug)]
struct Piece {
    bytes: Bytes,
    sent: usize,
    messages: usize,
    behind: Option<Behind>,
}

#[derive(Debug)]
enum Bytes {
    Owned(Vec<u8>),
    Shared(Slice),
}

/// Where the bytes of a send come from, in order.
pub(super) type Parts = SmallVec<[Part; 2]>;

/// One stretch of a send.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    source: Source,
    len: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Source {
    Rest,
    Piece,
    Log { mirror: MirrorKey, log: u8 },
}

impl Part {
    /// A stretch of a log.
    pub(super) fn log(mirror: MirrorKey, log: u8, len: usize) -> Part {
        Part { source: Source::Log { mirror, log }, len }
    }
}

impl Bytes {
    fn get(&self) -> &[u8] {
        match self {
            Bytes::Owned(bytes) => bytes,
            Bytes::Shared(slice) => slice,
        }
    }
}

impl Outgoing {
    /// Bytes that wait.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.rests.iter().map(|rest| rest.slice.len()).sum::<usize>()
    }

    /// Messages that wait.
    pub(super) fn messages(&self) -> usize {
        self.pieces.iter().chain(&self.waiting).map(|piece| piece.messages).sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rests.is_empty() && self.pieces.is_empty() && self.waiting.is_empty() && self.flight.is_empty()
    }

    /// Adds one message.
    pub(super) fn push(&mut self, bytes: &[u8], behind: Option<Behind>) {
        if bytes.is_empty() {
            return;
        }
        self.bytes += bytes.len();
        // What is in flight ends where it ended when it took off: behind it a log may be in the middle of a message.
        // So does what stands before a rest, and an answer stays what it is.
        let before = self.rests.back().map_or(0, |rest| rest.before);
        if self.flight.is_empty()
            && self.pieces.len() > self.answers.max(before)
            && let Some(Piece { bytes: Bytes::Owned(last), messages, behind: last_behind, .. }) = self.pieces.back_mut()
            && *last_behind == behind
            && last.len() + bytes.len() <= SCRATCH_BYTES_MAX
        {
            last.extend_from_slice(bytes);
            *messages += 1;
            return;
        }
        self.pieces.push_back(Piece { bytes: Bytes::Owned(bytes.to_vec()), sent: 0, messages: 1, behind });
    }

    /// Adds one message that others get too.
    pub(super) fn push_shared(&mut self, slice: Slice) {
        if !slice.is_empty() {
            self.bytes += slice.len();
            self.pieces.push_back(Piece { bytes: Bytes::Shared(slice), sent: 0, messages: 1, behind: None });
        }
    }

    /// What waits so far are answers to requests, the last of which begins a stream.
    pub(super) fn stream_begins(&mut self) {
        self.answers = self.pieces.len();
    }

    /// Drops what is not begun, except the message in hand, answers to requests and what a rest counts on being before it:
    /// nothing more is said but what is pushed from now on.
    pub(super) fn forget_pieces(&mut self) {
        let flying = self.flight.iter().filter(|part| part.source == Source::Piece).count();
        let begun = usize::from(self.pieces.front().is_some_and(|piece| piece.sent > 0));
        let before = self.rests.back().map_or(0, |rest| rest.before);
        let keep = flying.max(begun).max(self.answers).max(before);
        for piece in self.pieces.drain(keep.min(self.pieces.len())..) {
            self.bytes -= piece.bytes.get().len() - piece.sent;
        }
        for piece in self.waiting.drain(..) {
            self.bytes -= piece.bytes.get().len();
        }
    }

    /// Its log has gone on without it: what was in hand is kept here. Pieces that stand behind what it will not get are
    /// dropped, or wait if it `stays`.
    pub(super) fn left(&mut self, mirror: MirrorKey, log: u8, left: Left, stays: bool) {
        let mut beyond = VecDeque::new();
        let before: SmallVec<[usize; 2]> = self.rests.iter().map(|rest| rest.before).collect();
        self.pieces = std::mem::take(&mut self.pieces)
            .into_iter()
            .enumerate()
            .filter_map(|(index, mut piece)| {
                let behind = piece.behind.filter(|behind| piece.sent == 0 && behind.is_of(mirror, log));
                let Some(behind) = behind else { return Some(piece) };
                // Behind one that waits the others do, too: their order stays.
                if behind.offset <= left.reached && beyond.is_empty() {
                    piece.behind = None;
                    return Some(piece);
                }
                beyond.push_back(piece);
                for (rest, before) in self.rests.iter_mut().zip(&before) {
                    rest.before -= usize::from(index < *before);
                }
                None
            })
            .collect();
        if stays {
            beyond.append(&mut self.waiting);
            self.waiting = beyond;
        } else {
            let of_log = |piece: &Piece| piece.behind.is_some_and(|behind| behind.is_of(mirror, log));
            let (gone, kept): (VecDeque<Piece>, VecDeque<Piece>) = self.waiting.drain(..).partition(of_log);
            self.waiting = kept;
            self.bytes -= beyond.iter().chain(&gone).map(|piece| piece.bytes.get().len()).sum::<usize>();
        }
        let Some(mut slice) = left.rest else { return };
        // The parts of a flight that were rests already are the first of the rests, in order.
        let (mut rest, mut before) = (0, 0);
        for part in &mut self.flight {
            match part.source {
                Source::Piece => before += 1,
                Source::Rest => rest += 1,
                Source::Log { mirror: of, log: index } if (of, index) == (mirror, log) => {
                    self.rests.insert(rest, Rest { slice: slice.first(part.len), before });
                    slice = slice.skip(part.len);
                    part.source = Source::Rest;
                    rest += 1;
                }
                Source::Log { .. } => {}
            }
        }
        if !slice.is_empty() {
            self.rests.insert(rest, Rest { slice, before });
        }
    }

    /// Adds one message that stands behind what is not there yet.
    pub(super) fn wait(&mut self, bytes: &[u8], behind: Behind) {
        self.bytes += bytes.len();
        if let Some(Piece { bytes: Bytes::Owned(last), messages, behind: Some(last_behind), .. }) =
            self.waiting.back_mut()
            && *last_behind == behind
            && last.len() + bytes.len() <= SCRATCH_BYTES_MAX
        {
            last.extend_from_slice(bytes);
            *messages += 1;
            return;
        }
        let bytes = Bytes::Owned(bytes.to_vec());
        self.waiting.push_back(Piece { bytes, sent: 0, messages: 1, behind: Some(behind) });
    }

    /// Whether something waits that stands behind a place in this log; behind exactly this place, if it says so.
    pub(super) fn waits(&self, mirror: MirrorKey, log: u8, offset: Option<u64>) -> bool {
        let mut waiting = self.waiting.iter().filter_map(|piece| piece.behind);
        waiting.any(|behind| behind.is_of(mirror, log) && offset.is_none_or(|offset| behind.offset == offset))
    }

    /// Whether something waits for what is not written yet.
    pub(super) fn waits_for_news(&self) -> bool {
        self.waiting.iter().any(|piece| piece.behind.is_some_and(|behind| behind.offset == Behind::NOT_YET))
    }

    /// What was to be written into a log stands there up to `offset` now.
    pub(super) fn written(&mut self, mirror: MirrorKey, log: u8, offset: u64) {
        let not_yet = Some(Behind { mirror, log, offset: Behind::NOT_YET });
        for piece in self.waiting.iter_mut().filter(|piece| piece.behind == not_yet) {
            piece.behind = Some(Behind { mirror, log, offset });
        }
    }

    /// Its reader gets what stands in a log: pieces that wait behind that wait no longer. Their order stays.
    pub(super) fn wait_no_more(&mut self, mirror: MirrorKey, log: u8) {
        let mut holds = false;
        for piece in std::mem::take(&mut self.waiting) {
            let behind = piece.behind.filter(|behind| behind.is_of(mirror, log));
            holds |= behind.is_some_and(|behind| behind.offset == Behind::NOT_YET);
            let list = if behind.is_some() && !holds { &mut self.pieces } else { &mut self.waiting };
            list.push_back(piece);
        }
    }

    /// Bytes of a log that are under way.
    pub(super) fn in_flight(&self, mirror: MirrorKey, log: u8) -> usize {
        let of_log = |part: &&Part| part.source == Source::Log { mirror, log };
        self.flight.iter().filter(of_log).map(|part| part.len).sum()
    }

    /// The driver has a send under way.
    pub(super) fn fly(&mut self, parts: Parts) {
        self.flight = parts;
    }

    /// The send under way has ended.
    pub(super) fn landed(&mut self) -> Parts {
        std::mem::take(&mut self.flight)
    }

    fn taken_rest(&mut self, len: usize) {
        if let Some(front) = self.rests.front_mut() {
            front.slice = front.slice.skip(len);
            if front.slice.is_empty() {
                self.rests.pop_front();
            }
        }
    }

    fn taken_piece(&mut self, len: usize) {
        self.bytes -= len;
        if let Some(front) = self.pieces.front_mut() {
            front.sent += len;
            if front.sent == front.bytes.get().len() {
                self.pieces.pop_front();
                self.rests.iter_mut().for_each(|rest| rest.before = rest.before.saturating_sub(1));
                self.answers = self.answers.saturating_sub(1);
            }
        }
    }
}

/// Puts the next send together: one slice, and where its bytes come from. `None` if there is nothing to send: then who was
/// passed may be told so.
pub(super) fn gather(
    outgoing: Option<&Outgoing>,
    subscriptions: &[Subscription],
    mirrors: &Slots<OfMirror, Mirror>,
) -> Option<(Parts, Slice)> {
    let mut load = Load { parts: Parts::new(), stretches: SmallVec::new(), len: 0, full: false };
    let mut reading: SmallVec<[Reading<'_>; 1]> = subscriptions
        .iter()
        .filter_map(|subscription| {
            let log = &mirrors.get(subscription.mirror)?.logs[usize::from(subscription.log)].log;
            Some(Reading { subscription, log, cursor: log.cursor(subscription.place) })
        })
        .collect();
    // Only what comes first can be begun: a log's message, a piece, or the rest of a message.
    for reading in &mut reading {
        let boundary = reading.log.boundary(reading.cursor);
        reading.load(boundary, &mut load);
    }
    let mut pieces = outgoing.iter().flat_map(|outgoing| &outgoing.pieces);
    let begun = usize::from(pieces.clone().next().is_some_and(|piece| piece.sent > 0));
    let mut first = 0;
    for rest in outgoing.iter().flat_map(|outgoing| &outgoing.rests) {
        for piece in pieces.by_ref().take(rest.before.max(begun).saturating_sub(first)) {
            load.add_piece(piece, &mut reading);
            first += 1;
        }
        load.add(Source::Rest, Stretch::Shared(rest.slice.clone()));
    }
    for piece in pieces {
        load.add_piece(piece, &mut reading);
    }
    for reading in &mut reading {
        let end = reading.log.end();
        reading.load(end, &mut load);
    }
    load.into_send()
}

/// Counts what was taken of a send. Who comes to what is not for it goes on behind that.
pub(super) fn settle(
    mut outgoing: Option<&mut Outgoing>,
    subscriptions: &mut [Subscription],
    mirrors: &mut Slots<OfMirror, Mirror>,
    parts: &Parts,
    mut taken: usize,
) {
    for part in parts {
        let len = part.len.min(taken);
        taken -= len;
        match (part.source, outgoing.as_deref_mut()) {
            (Source::Rest, Some(outgoing)) => outgoing.taken_rest(len),
            (Source::Piece, Some(outgoing)) => outgoing.taken_piece(len),
            (Source::Rest | Source::Piece, None) => {}
            (Source::Log { mirror, log }, _) => {
                let subscription = subscriptions.iter_mut().find(|known| known.mirror == mirror && known.log == log);
                if let (Some(subscription), Some(mirror)) = (subscription, mirrors.get_mut(mirror)) {
                    let log = &mut mirror.logs[usize::from(log)].log;
                    log.advance(subscription.place, len);
                    subscription.skip(log);
                }
            }
        }
        if taken == 0 {
            break;
        }
    }
}

impl Subscription {
    /// Leaves out what is not for it, if that is next.
    fn skip(&mut self, log: &mut SendLog) {
        let Some(skips) = &mut self.skips else { return };
        while let Some(skip) = skips.front().filter(|skip| skip.start == log.cursor(self.place)) {
            log.jump(self.place, skip.end);
            skips.pop_front();
        }
        if skips.is_empty() {
            self.skips = None;
        }
    }
}

struct Reading<'a> {
    subscription: &'a Subscription,
    log: &'a SendLog,
    cursor: u64,
}

impl Reading<'_> {
    /// A send goes up to what its reader does not get; behind that another goes on.
    fn load(&mut self, to: u64, load: &mut Load<'_>) {
        let skip = self.subscription.skips.as_ref().and_then(|skips| skips.front()).filter(|skip| skip.start < to);
        let to = skip.map_or(to, |skip| skip.start);
        while self.cursor < to && !load.full {
            let slice = self.log.slice(self.cursor, to);
            let len = slice.len() as u64;
            let &Subscription { mirror, log, .. } = self.subscription;
            if load.add(Source::Log { mirror, log }, Stretch::Shared(slice)) {
                self.cursor += len;
            }
        }
        load.full |= skip.is_some();
    }
}

enum Stretch<'a> {
    Borrowed(&'a [u8]),
    Shared(Slice),
}

impl Stretch<'_> {
    fn get(&self) -> &[u8] {
        match self {
            Stretch::Borrowed(bytes) => bytes,
            Stretch::Shared(slice) => slice,
        }
    }
}

struct Load<'a> {
    parts: Parts,
    stretches: SmallVec<[Stretch<'a>; 2]>,
    len: usize,
    full: bool,
}

impl<'a> Load<'a> {
    /// Adds a stretch, if it finds room; the first always does. After one that does not, nothing does.
    fn add(&mut self, source: Source, stretch: Stretch<'a>) -> bool {
        let len = stretch.get().len();
        self.full |= self.len > 0 && self.len + len > SCRATCH_BYTES_MAX;
        if !self.full {
            self.parts.push(Part { source, len });
            self.stretches.push(stretch);
            self.len += len;
        }
        !self.full
    }

    /// Adds a piece, and before it what it stands behind.
    fn add_piece(&mut self, piece: &'a Piece, reading: &mut [Reading<'_>]) {
        let behind = piece.behind.filter(|_| piece.sent == 0);
        let before = |reading: &&mut Reading<'_>| {
            behind.is_some_and(|behind| behind.is_of(reading.subscription.mirror, reading.subscription.log))
        };
        if let (Some(behind), Some(reading)) = (behind, reading.iter_mut().find(before)) {
            reading.load(behind.offset, self);
        }
        let stretch = match &piece.bytes {
            Bytes::Owned(bytes) => Stretch::Borrowed(&bytes[piece.sent..]),
            Bytes::Shared(slice) => Stretch::Shared(slice.skip(piece.sent)),
        };
        self.add(Source::Piece, stretch);
    }

    fn into_send(mut self) -> Option<(Parts, Slice)> {
        if self.len == 0 {
            return None;
        }
        if self.stretches.len() == 1 && matches!(self.stretches[0], Stretch::Shared(_)) {
            let Some(Stretch::Shared(slice)) = self.stretches.pop() else {
                return None;
            };
            return Some((self.parts, slice));
        }
        let mut writer = Writer::with_capacity(self.len);
        for stretch in &self.stretches {
            writer.append(stretch.get());
        }
        Some((self.parts, writer.slice(0..self.len)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::ClassId;
    use crate::kind::Kind;
    use crate::mirror::encoding::{Encoding, Transport};
    use crate::mirror::sendlog::Place;
    use crate::route::DialectId;

    /// A log that is read on.
    fn live(mirrors: &mut Slots<OfMirror, Mirror>) -> (MirrorKey, Place) {
        let mut mirror = Mirror::new("live".into(), ClassId(0), Kind::Group, 0);
        mirror.log(Encoding { dialect: DialectId(0), transport: Transport::WebSocket });
        let log = &mut mirror.logs[0].log;
        let place = log.join(crate::base::keys::ConnKey::unpack(1));
        log.append(b"[live]");
        log.append(b"[behind]");
        (mirrors.insert(mirror), place)
    }

    /// Nor is it miscounted when a piece that stood before it goes with its log.
    #[test]
    fn a_rest_knows_what_stands_before_it_when_a_piece_goes() {
        let mut outgoing = Outgoing::default();
        let [one, other] = [7, 8].map(MirrorKey::unpack);
        let piece = Part { source: Source::Piece, len: 3 };
        outgoing.fly(Parts::from_slice(&[piece, Part::log(one, 0, 3), piece, Part::log(other, 0, 3)]));
        outgoing.push(b"one", None);
        outgoing.push(b"two", Some(Behind { mirror: one, log: 0, offset: 3 }));
        outgoing.left(other, 0, Left { rest: Some(Slice::copied(b"log")), reached: 3 }, false);
        let (mut subscriptions, mut mirrors) = ([], Slots::default());
        let parts = outgoing.landed();
        settle(Some(&mut outgoing), &mut subscriptions, &mut mirrors, &parts, 1);
        outgoing.left(one, 0, Left { rest: None, reached: 0 }, false);
        outgoing.push(b"close", None);
        let (_, slice) = gather(Some(&outgoing), &subscriptions, &mirrors).expect("what is not sent");
        assert_eq!(*slice, *b"nelogclose", "{}", String::from_utf8_lossy(&slice));
    }

    /// A rest counts the pieces before it: none of these is dropped, or what is said last would come before the rest.
    #[test]
    fn what_stands_before_a_rest_is_not_forgotten() {
        let mut outgoing = Outgoing::default();
        let (mirror, piece) = (MirrorKey::unpack(7), Part { source: Source::Piece, len: 3 });
        outgoing.fly(Parts::from_slice(&[piece, piece, Part::log(mirror, 0, 3)]));
        outgoing.push(b"one", None);
        outgoing.push(b"two", None);
        outgoing.left(mirror, 0, Left { rest: Some(Slice::copied(b"log")), reached: 3 }, false);
        let (mut subscriptions, mut mirrors) = ([], Slots::default());
        let parts = outgoing.landed();
        settle(Some(&mut outgoing), &mut subscriptions, &mut mirrors, &parts, 1);
        outgoing.push(b"unsaid", None);
        outgoing.forget_pieces();
        outgoing.push(b"close", None);
        let (_, slice) = gather(Some(&outgoing), &subscriptions, &mirrors).expect("what is not sent");
        assert_eq!(*slice, *b"netwologclose", "{}", String::from_utf8_lossy(&slice));
    }

    /// Whatever part of a flight is taken, the rest follows in its order, although two of its logs have been left.
    #[test]
    fn what_was_in_flight_ends_as_it_took_off() {
        for taken in 0..=31 {
            let mut mirrors = Slots::default();
            let (mirror, place) = live(&mut mirrors);
            let mut subscriptions = [Subscription { mirror, log: 0, place, skips: None }];
            let mut outgoing = Outgoing::default();
            outgoing.push(b"PIECE", Some(Behind { mirror, log: 0, offset: 14 }));
            let (one, other) = (MirrorKey::unpack(7), MirrorKey::unpack(8));
            let piece = Part { source: Source::Piece, len: 5 };
            outgoing.fly(Parts::from_slice(&[
                Part::log(mirror, 0, 14),
                Part::log(one, 0, 3),
                piece,
                Part::log(other, 0, 4),
                Part::log(one, 0, 2),
                Part::log(other, 0, 3),
            ]));
            outgoing.left(one, 0, Left { rest: Some(Slice::copied(b"aaabb")), reached: 5 }, false);
            outgoing.left(other, 0, Left { rest: Some(Slice::copied(b"ccccddd")), reached: 7 }, false);
            let parts = outgoing.landed();
            settle(Some(&mut outgoing), &mut subscriptions, &mut mirrors, &parts, taken);
            outgoing.push(b"!", None);
            let (_, slice) = gather(Some(&outgoing), &subscriptions, &mirrors).expect("the last piece at least");
            // What is in hand comes first, and a piece does not overtake what it stands behind.
            let expected: &[u8] = match taken {
                0 => b"aaa[live][behind]PIECEccccbbddd!",
                1..=6 => &b"[live]aaa[behind]PIECEccccbbddd!"[taken..],
                7..14 => &[&b"[behind]"[taken - 6..], b"aaaPIECEccccbbddd!"].concat(),
                _ => &b"aaaPIECEccccbbddd!"[taken - 14..],
            };
            assert_eq!(*slice, *expected, "{taken}: {}", String::from_utf8_lossy(&slice));
        }
    }
}
