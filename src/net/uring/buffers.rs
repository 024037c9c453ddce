//! Memory that the kernel reads into: a ring of equal buffers, of which each received piece takes one (a provided-buffer
//! ring, `io_uring_register_buf_ring(3)`). So an idle connection owns no buffer, and all together own these.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::Submitter;
use io_uring::types::BufRingEntry;

/// How many; a power of two. Together with their size: what one loop has received and not seen at most.
pub(super) const BUFFERS: u16 = 512;
/// Bytes of each, a whole number of pages for most.
pub(super) const BUFFER_BYTES: usize = 4 << 10;
/// The group that the requests name; there is only one.
pub(super) const GROUP: u16 = 0;

/// The kernel wants the ring to begin with a page, and this is the largest that Linux has.
const ALIGNMENT: usize = 64 << 10;
const RING_BYTES: usize = BUFFERS as usize * size_of::<BufRingEntry>();
const ALL_BYTES: usize = RING_BYTES + BUFFERS as usize * BUFFER_BYTES;
const _: () = assert!(BUFFERS.is_power_of_two() && BUFFERS <= 1 << 15, "what the kernel allows");

/// The buffers of one ring, and the queue in which they are given to the kernel.
#[derive(Debug)]
pub(super) struct Buffers {
    /// The queue's entries, then the buffers. Untouched pages cost nothing.
    memory: NonNull<u8>,
    /// Buffers given to the kernel so far, modulo 2^16.
    tail: u16,
    /// The kernel may use the memory for ever: it is not given back.
    leaked: bool,
}

/// A buffer that is ours until it is given back, with so many bytes in it.
#[derive(Debug)]
pub(super) struct Filled {
    id: u16,
    len: usize,
}

// SAFETY: it owns its memory, and nothing of it is bound to a thread.
unsafe impl Send for Buffers {}

impl Buffers {
    pub(super) fn new() -> Buffers {
        // SAFETY: the layout's size is not zero.
        let memory = unsafe { alloc_zeroed(layout()) };
        let Some(memory) = NonNull::new(memory) else { handle_alloc_error(layout()) };
        Buffers { memory, tail: 0, leaked: false }
    }

    /// Gives them all to the kernel. Once.
    pub(super) fn register(&mut self, submitter: &Submitter<'_>) -> io::Result<()> {
        debug_assert_eq!(self.tail, 0);
        let address = self.memory.as_ptr().addr() as u64;
        // SAFETY: the memory begins with room for so many entries, and it stays where it is until the ring is closed and
        // nothing is in flight, or for ever (`leak`).
        unsafe { submitter.register_buf_ring_with_flags(address, BUFFERS, GROUP, 0)? };
        for id in 0..BUFFERS {
            self.give(id);
        }
        Ok(())
    }

    /// A buffer that comes back from the kernel with `len` bytes.
    ///
    /// # Safety
    /// A completion of this ring names it, which is used for this call alone: so the kernel has done with it.
    pub(super) unsafe fn filled(&self, id: u16, len: usize) -> Filled {
        assert!(id < BUFFERS && len <= BUFFER_BYTES, "the kernel knows its buffers");
        Filled { id, len }
    }

    /// What was received.
    pub(super) fn bytes(&mut self, filled: &Filled) -> &mut [u8] {
        // SAFETY: a `Filled` is made for a completion and used up by `give_back`, so the buffer is ours; two different
        // ones do not overlap, and `self` is borrowed as long as the bytes are. They were zero at first, so initialised.
        unsafe { std::slice::from_raw_parts_mut(self.start(filled.id).as_ptr(), filled.len) }
    }

    /// The kernel may fill it again.
    pub(super) fn give_back(&mut self, filled: Filled) {
        self.give(filled.id);
    }

    /// The memory is never freed: the kernel may still be at work on it.
    pub(super) fn leak(&mut self) {
        self.leaked = true;
    }

    fn give(&mut self, id: u16) {
        let address = self.start(id).as_ptr().addr() as u64;
        let ring = self.memory.cast::<BufRingEntry>();
        // SAFETY: the index is within the entries. There are as many entries as buffers, and this buffer is not among
        // them, so the kernel has used up the entry in this place. The first entry's spare field is the tail, which these
        // three writes leave alone, and which the kernel reads: so it is an atomic, stored behind the entry (release).
        unsafe {
            let entry = &mut *ring.add(usize::from(self.tail & (BUFFERS - 1))).as_ptr();
            entry.set_addr(address);
            entry.set_len(BUFFER_BYTES as u32);
            entry.set_bid(id);
            self.tail = self.tail.wrapping_add(1);
            AtomicU16::from_ptr(BufRingEntry::tail(ring.as_ptr()).cast_mut()).store(self.tail, Ordering::Release);
        }
    }

    fn start(&self, id: u16) -> NonNull<u8> {
        // SAFETY: ids are below `BUFFERS`, so this is within the memory.
        unsafe { self.memory.add(RING_BYTES + usize::from(id) * BUFFER_BYTES) }
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        if !self.leaked {
            // SAFETY: it was allocated with this layout, and nobody uses it: the ring has nothing in flight.
            unsafe { dealloc(self.memory.as_ptr(), layout()) };
        }
    }
}

fn layout() -> Layout {
    const { assert!(ALL_BYTES < isize::MAX as usize - ALIGNMENT && ALIGNMENT.is_power_of_two()) };
    Layout::from_size_align(ALL_BYTES, ALIGNMENT).expect("the size was looked at")
}
