//! What a fuzzer's bytes are made into: choices, and pieces cut where the bytes say.

/// Bytes that are used up from the front. Where they are used up, every choice is the first.
pub(super) struct Input<'d>(&'d [u8]);

impl<'d> Input<'d> {
    pub(super) fn new(data: &'d [u8]) -> Input<'d> {
        Input(data)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn byte(&mut self) -> u8 {
        let Some((&byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        byte
    }

    /// A number below `end`, which is at most 256.
    pub(super) fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end
    }

    pub(super) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// The next `len` bytes, or what is left.
    pub(super) fn take(&mut self, len: usize) -> &'d [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// The next bytes, as many as their first says.
    pub(super) fn some(&mut self) -> &'d [u8] {
        let len = usize::from(self.byte());
        self.take(len)
    }

    pub(super) fn rest(self) -> &'d [u8] {
        self.0
    }
}

/// The first byte says how many of the following are lengths of pieces; the rest is cut into them, again and again from
/// the first. A length of 0 is an empty piece, but not twice in a row.
pub(super) fn cut(data: &[u8]) -> (&[u8], Vec<&[u8]>) {
    let mut input = Input::new(data);
    let count = input.below(8);
    let lens = input.take(count);
    let whole = input.rest();
    let mut pieces = Vec::new();
    let mut rest = whole;
    for &len in lens.iter().cycle() {
        if rest.is_empty() || (pieces.is_empty() && lens.iter().all(|&len| len == 0)) {
            break;
        }
        let (piece, after) = rest.split_at(usize::from(len).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(rest);
    }
    (whole, pieces)
}
