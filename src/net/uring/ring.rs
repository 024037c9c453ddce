//! The ring itself: what is asked of the kernel, and what it completes. Whatever memory the kernel uses meanwhile is kept
//! here: the buffers that it reads into, and the slices that it sends, each until its completion has come.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use io_uring::types::{CancelBuilder, Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{SendFlags, SocketFlags};
use slab::Slab;

use super::buffers::{BUFFER_BYTES, Buffers, Filled, GROUP};
use super::setup::{self, TaskRun};
use crate::base::keys::ConnKey;
use crate::base::segment::Slice;

/// Slots of connections are below this: a tag has so much room for them.
pub(super) const SLOTS_MAX: usize = 1 << SLOT_BITS;
const SLOT_BITS: u32 = 28;
/// In a tag: not the operation, but the attempt to call it back.
const CANCEL: u64 = 1 << 31;

/// How often a full queue is handed over until that counts as a failure, and how often the end waits.
const TRIES: usize = 100;
const END_PATIENCE: Duration = Duration::from_millis(20);

/// What is under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Op {
    /// All connections of a listener, one completion each.
    Accept,
    /// What a connection receives, one completion for each piece.
    Receive,
    /// A connection's errors, while nothing is received from it. It tells the peer's FIN, too: the kernel insists.
    Watch,
    /// Until a connection can be sent to.
    Room,
    Send,
    /// The waker, every time.
    Wake,
}

const OPS: [Op; 6] = [Op::Accept, Op::Receive, Op::Watch, Op::Room, Op::Send, Op::Wake];

/// What the kernel tells. `last`: the operation is over, and nothing more comes of it.
#[derive(Debug)]
pub(super) enum Completion {
    Accepted {
        listener: usize,
        result: io::Result<OwnedFd>,
        last: bool,
    },
    Received {
        key: ConnKey,
        result: io::Result<usize>,
        filled: Option<Filled>,
        last: bool,
    },
    /// `asked`: the bytes that were to be sent.
    Sent {
        key: ConnKey,
        asked: usize,
        result: io::Result<usize>,
    },
    Room {
        key: ConnKey,
    },
    Watched {
        key: ConnKey,
        broken: bool,
        last: bool,
    },
    Woken {
        last: bool,
    },
    /// An operation could not be called back: it is just ending, or has ended.
    NotCancelled {
        op: Op,
        key: ConnKey,
    },
}

/// A ring with its memory. The thread that enters it first is the only one that may.
pub(super) struct Ring {
    uring: IoUring,
    buffers: Buffers,
    /// What is being sent, and to whom; the tag has the place here.
    sends: Slab<(ConnKey, Slice)>,
    /// Taken out of the kernel's queue, in order.
    completions: VecDeque<Completion>,
    /// Operations asked for whose last completion has not come.
    in_flight: usize,
    enabled: bool,
    /// The kernel did not take what was asked: the next `enter` says so.
    failed: Option<io::Error>,
}

impl Ring {
    /// A ring that does nothing yet.
    ///
    /// # Errors
    /// `Unsupported`, in words, if this kernel lacks what is needed.
    pub(super) fn new(task_run: &[TaskRun]) -> io::Result<Ring> {
        let uring = setup::build(task_run)?;
        let mut buffers = Buffers::new();
        buffers.register(&uring.submitter()).map_err(|error| setup::lacks("provided-buffer rings", Some(&error)))?;
        Ok(Ring {
            uring,
            buffers,
            sends: Slab::new(),
            completions: VecDeque::new(),
            in_flight: 0,
            enabled: false,
            failed: None,
        })
    }

    /// Accepts connections from the listener with this number.
    pub(super) fn accept(&mut self, listener: usize, socket: &impl AsRawFd) {
        let entry = opcode::AcceptMulti::new(Fd(socket.as_raw_fd())).flags(SocketFlags::CLOEXEC.bits() as i32);
        self.start(entry.build(), number_tag(Op::Accept, listener));
    }

    /// Receives all that comes; or with `once` a single piece, which takes no more than one buffer.
    pub(super) fn receive(&mut self, key: ConnKey, socket: &impl AsRawFd, once: bool) {
        let socket = Fd(socket.as_raw_fd());
        let entry = if once {
            let entry = opcode::Recv::new(socket, std::ptr::null_mut(), BUFFER_BYTES as u32).buf_group(GROUP);
            entry.build().flags(squeue::Flags::BUFFER_SELECT)
        } else {
            opcode::RecvMulti::new(socket, GROUP).build()
        };
        self.start(entry, tag(Op::Receive, key));
    }

    pub(super) fn watch(&mut self, key: ConnKey, socket: &impl AsRawFd) {
        let entry = opcode::PollAdd::new(Fd(socket.as_raw_fd()), 0).multi(true);
        self.start(entry.build(), tag(Op::Watch, key));
    }

    pub(super) fn wait_for_room(&mut self, key: ConnKey, socket: &impl AsRawFd) {
        let entry = opcode::PollAdd::new(Fd(socket.as_raw_fd()), PollFlags::OUT.bits().into());
        self.start(entry.build(), tag(Op::Room, key));
    }

    /// Tells of every write to `event`.
    pub(super) fn wake(&mut self, event: &impl AsRawFd) {
        let entry = opcode::PollAdd::new(Fd(event.as_raw_fd()), PollFlags::IN.bits().into()).multi(true);
        self.start(entry.build(), number_tag(Op::Wake, 0));
    }

    /// Sends what the socket takes at once. The slice is kept until the completion.
    pub(super) fn send(&mut self, key: ConnKey, socket: &impl AsRawFd, slice: Slice) {
        // No send is told in more than 32 bits.
        let len = u32::try_from(slice.len()).unwrap_or(u32::MAX);
        let flags = (SendFlags::DONTWAIT | SendFlags::NOSIGNAL).bits() as i32;
        let entry = opcode::Send::new(Fd(socket.as_raw_fd()), slice.as_ptr(), len).flags(flags).build();
        let place = self.sends.insert((key, slice));
        self.start(entry, number_tag(Op::Send, place));
    }

    /// Calls an operation of a connection back; its last completion comes all the same.
    pub(super) fn cancel(&mut self, op: Op, key: ConnKey) {
        self.call_back(tag(op, key));
    }

    /// Accepts no more from a listener, once the last completion has come.
    pub(super) fn cancel_accept(&mut self, listener: usize) {
        self.call_back(number_tag(Op::Accept, listener));
    }

    /// Hands over what was asked for, and waits up to `timeout` (`None`: without end) for a completion.
    ///
    /// # Errors
    /// The kernel does not go on with this ring.
    pub(super) fn enter(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.enable()?;
        let submitter = self.uring.submitter();
        let result = match timeout {
            Some(Duration::ZERO) => submitter.submit(),
            Some(timeout) => {
                let timeout = Timespec::from(timeout);
                submitter.submit_with_args(1, &SubmitArgs::new().timespec(&timeout))
            }
            None => submitter.submit_and_wait(1),
        };
        self.fetch();
        match result {
            Err(error) if !goes_on(&error) => Err(error),
            Ok(_) | Err(_) => self.failed.take().map_or(Ok(()), Err),
        }
    }

    /// What the kernel has told, in order.
    pub(super) fn next(&mut self) -> Option<Completion> {
        self.completions.pop_front()
    }

    /// Takes out what it told of one connection, in order.
    pub(super) fn take_of(&mut self, key: ConnKey) -> Vec<Completion> {
        let (of, others) = self.completions.drain(..).partition(|completion| completion.key() == Some(key));
        let others: Vec<Completion> = others;
        self.completions.extend(others);
        of
    }

    pub(super) fn has_completions(&self) -> bool {
        !self.completions.is_empty()
    }

    pub(super) fn bytes(&mut self, filled: &Filled) -> &mut [u8] {
        self.buffers.bytes(filled)
    }

    pub(super) fn give_back(&mut self, filled: Option<Filled>) {
        if let Some(filled) = filled {
            self.buffers.give_back(filled);
        }
    }

    /// Slices that are kept for the kernel.
    #[cfg(test)]
    pub(super) fn slices_kept(&self) -> usize {
        self.sends.len()
    }

    /// Whoever enters first is the only one who may from now on: so this is done on the loop's own thread.
    fn enable(&mut self) -> io::Result<()> {
        if !self.enabled {
            self.uring.submitter().register_enable_rings()?;
            self.enabled = true;
        }
        Ok(())
    }

    fn start(&mut self, entry: squeue::Entry, tag: u64) {
        self.in_flight += usize::from(self.push(&entry.user_data(tag)));
    }

    /// Only a failure is told: what was called back tells itself.
    fn call_back(&mut self, tag: u64) {
        let entry = opcode::AsyncCancel::new(tag).build();
        self.push(&entry.flags(squeue::Flags::SKIP_SUCCESS).user_data(tag | CANCEL));
    }

    /// False: it could not be asked, and the next `enter` fails.
    fn push(&mut self, entry: &squeue::Entry) -> bool {
        for _ in 0..TRIES {
            // SAFETY: an entry that refers to memory is one that sends: its slice lies in `sends` until the completion,
            // and a slice's bytes never move or change. Received bytes go into `buffers`. Both outlive what is in flight,
            // or are leaked (`drop`).
            if unsafe { self.uring.submission().push(entry) }.is_ok() {
                return true;
            }
            if let Err(error) = self.hand_over() {
                self.failed.get_or_insert(error);
                return false;
            }
        }
        self.failed.get_or_insert_with(|| io::Error::other("the kernel does not take what is asked of it"));
        false
    }

    /// Makes room in the queue.
    fn hand_over(&mut self) -> io::Result<()> {
        self.enable()?;
        let result = self.uring.submit();
        self.fetch();
        match result {
            Err(error) if !goes_on(&error) => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    fn fetch(&mut self) {
        for entry in self.uring.completion() {
            let (tag, flags) = (entry.user_data(), entry.flags());
            let (op, key) = (OPS[(tag >> SLOT_BITS & 7) as usize], ConnKey::unpack(tag & !(0xf << SLOT_BITS)));
            if tag & CANCEL != 0 {
                self.completions.push_back(Completion::NotCancelled { op, key });
                continue;
            }
            let number = (tag >> 32) as usize;
            let last = !cqueue::more(flags);
            self.in_flight -= usize::from(last);
            let result = usize::try_from(entry.result()).map_err(|_| io::Error::from_raw_os_error(-entry.result()));
            self.completions.push_back(match op {
                Op::Accept => {
                    // SAFETY: a completion of this kind hands over a new descriptor that nobody else knows.
                    let result = result.map(|fd| unsafe { OwnedFd::from_raw_fd(fd as i32) });
                    Completion::Accepted { listener: number, result, last }
                }
                Op::Receive => {
                    let len = result.as_ref().map_or(0, |len| *len).min(BUFFER_BYTES);
                    // SAFETY: this is the completion that names it, and it is looked at once.
                    let filled = cqueue::buffer_select(flags).map(|id| unsafe { self.buffers.filled(id, len) });
                    Completion::Received { key, result, filled, last }
                }
                Op::Send => {
                    let (key, slice) = self.sends.remove(number);
                    Completion::Sent { key, asked: slice.len(), result }
                }
                Op::Room => Completion::Room { key },
                Op::Watch => {
                    let errors = usize::from((PollFlags::ERR | PollFlags::NVAL).bits());
                    let broken = result.is_ok_and(|events| events & errors != 0);
                    Completion::Watched { key, broken, last }
                }
                Op::Wake => Completion::Woken { last },
            });
        }
    }
}

impl Drop for Ring {
    /// Ends all that is in flight, so that listeners are free again and memory is not written to any more.
    fn drop(&mut self) {
        let mut tries = if self.enabled { TRIES } else { 0 };
        while self.in_flight > 0 && tries > 0 {
            tries -= 1;
            let entry = opcode::AsyncCancel2::new(CancelBuilder::any()).build();
            self.push(&entry.flags(squeue::Flags::SKIP_SUCCESS).user_data(CANCEL));
            if self.enter(Some(END_PATIENCE)).is_err() {
                break;
            }
            self.completions.clear();
        }
        // What was never handed over to the kernel is in nobody's hands.
        if self.enabled && self.in_flight > 0 {
            tracing::warn!("io_uring does not let go of {} operations; their memory is given up", self.in_flight);
            self.buffers.leak();
            std::mem::forget(std::mem::take(&mut self.sends));
        }
    }
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ring({} in flight)", self.in_flight)
    }
}

impl Completion {
    fn key(&self) -> Option<ConnKey> {
        match self {
            Completion::Received { key, .. }
            | Completion::Sent { key, .. }
            | Completion::Room { key }
            | Completion::Watched { key, .. }
            | Completion::NotCancelled { key, .. } => Some(*key),
            Completion::Accepted { .. } | Completion::Woken { .. } => None,
        }
    }
}

/// Operation and connection: generation, 4 bits, slot.
fn tag(op: Op, key: ConnKey) -> u64 {
    debug_assert!(key.slot() < SLOTS_MAX);
    key.pack() | (op as u64) << SLOT_BITS
}

/// Operation and a small number of our own.
fn number_tag(op: Op, number: usize) -> u64 {
    (number as u64) << 32 | (op as u64) << SLOT_BITS
}

/// Time is over, a signal came, or the kernel wants its completions looked at first.
fn goes_on(error: &io::Error) -> bool {
    let goes_on = [Errno::TIME, Errno::INTR, Errno::BUSY, Errno::AGAIN];
    goes_on.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}
