//! Bytes that stay where they are: appended by one writer, read by any number of slices, on any thread.
//!
//! The kernel may still be reading a slice (io_uring) while the writer appends behind it, so a segment never moves,
//! never grows and never changes a byte that was written.

use std::cell::UnsafeCell;
use std::fmt;
use std::mem::MaybeUninit;
use std::ops::{Deref, Range};
use std::sync::Arc;

struct Segment {
    bytes: Box<[UnsafeCell<MaybeUninit<u8>>]>,
}

// SAFETY: a byte is written once, by the one `Writer` (it is not Clone, and appending takes `&mut`), before any `Slice`
// that covers it exists; from then on it is only read. A slice reaches another thread by a synchronising hand-over.
unsafe impl Sync for Segment {}
// SAFETY: as above; the segment owns plain bytes.
unsafe impl Send for Segment {}

/// The one writer of a segment of fixed capacity.
pub struct Writer {
    segment: Arc<Segment>,
    len: usize,
}

impl Writer {
    /// An empty segment that will hold `capacity` bytes and no more.
    pub fn with_capacity(capacity: usize) -> Writer {
        let bytes = std::iter::repeat_with(|| UnsafeCell::new(MaybeUninit::uninit())).take(capacity).collect();
        Writer { segment: Arc::new(Segment { bytes }), len: 0 }
    }

    /// Bytes written so far.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes it can hold.
    pub fn capacity(&self) -> usize {
        self.segment.bytes.len()
    }

    /// Appends `bytes`.
    ///
    /// # Panics
    /// If they do not fit: the caller knows the capacity.
    pub fn append(&mut self, bytes: &[u8]) {
        let room = &self.segment.bytes[self.len..self.len + bytes.len()];
        // SAFETY: `room` lies beyond `len`, so no slice covers it and nobody else writes; the two cannot overlap,
        // because `bytes` is borrowed and initialised, and no reference to `room`'s contents was ever handed out.
        unsafe {
            let target = UnsafeCell::raw_get(room.as_ptr()).cast::<u8>();
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), target, bytes.len());
        }
        self.len += bytes.len();
    }

    /// A slice of what was written.
    ///
    /// # Panics
    /// If the range reaches beyond it.
    pub fn slice(&self, range: Range<usize>) -> Slice {
        assert!(range.start <= range.end && range.end <= self.len);
        Slice { segment: self.segment.clone(), start: range.start, end: range.end }
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Writer({} of {} bytes)", self.len, self.capacity())
    }
}

/// Some bytes of a segment, with a reference to it. Cloning costs one reference count.
#[derive(Clone)]
pub struct Slice {
    segment: Arc<Segment>,
    start: usize,
    end: usize,
}

impl Slice {
    /// A segment of its own that holds `bytes`.
    pub fn copied(bytes: &[u8]) -> Slice {
        let mut writer = Writer::with_capacity(bytes.len());
        writer.append(bytes);
        writer.slice(0..bytes.len())
    }

    /// How many bytes. Not by way of the bytes themselves: this is asked for every delivery.
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// What remains behind its first `len` bytes.
    ///
    /// # Panics
    /// If it has fewer.
    pub fn skip(&self, len: usize) -> Slice {
        assert!(len <= self.len());
        Slice { segment: self.segment.clone(), start: self.start + len, end: self.end }
    }

    /// Its first `len` bytes.
    ///
    /// # Panics
    /// If it has fewer.
    pub fn first(&self, len: usize) -> Slice {
        assert!(len <= self.len());
        Slice { segment: self.segment.clone(), start: self.start, end: self.start + len }
    }
}

impl Deref for Slice {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let cells = &self.segment.bytes[self.start..self.end];
        // SAFETY: bytes below the writer's length are initialised and never written again.
        unsafe { std::slice::from_raw_parts(UnsafeCell::raw_get(cells.as_ptr()).cast::<u8>(), cells.len()) }
    }
}

impl fmt::Debug for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slice({} bytes)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_keep_their_bytes_while_the_writer_goes_on() {
        let mut writer = Writer::with_capacity(8);
        writer.append(b"abc");
        let abc = writer.slice(0..3);
        writer.append(b"");
        writer.append(b"defgh");
        let tail = abc.skip(1);
        let all = writer.slice(0..8);
        drop(writer);
        assert_eq!((&*abc, &*tail, &*all), (&b"abc"[..], &b"bc"[..], &b"abcdefgh"[..]));
        assert_eq!((&*all.skip(2).first(3), &*all.first(0)), (&b"cde"[..], &b""[..]));
        assert!(Slice::copied(b"").is_empty());
        std::thread::scope(|scope| {
            scope.spawn(move || assert_eq!(&*all, b"abcdefgh"));
        });
    }

    #[test]
    #[should_panic(expected = "out of range")]
    fn a_full_segment_takes_no_more() {
        let mut writer = Writer::with_capacity(2);
        writer.append(b"abc");
    }
}
