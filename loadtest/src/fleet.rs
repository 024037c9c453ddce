//! The threads, each an epoll loop of its own, and the stage that directs them.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering, fence};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

use mio::{Poll, Waker};

use crate::clock::{Clock, MILLISECOND, Nanos};
use crate::event_loop::{EventLoop, WAKE};
use crate::io::{Client, Counts, Ended, Io, PostedCounts, count_failure};

/// What a mode does with its connections. One value per thread; nothing is shared but what the mode shares itself.
pub(crate) trait Behaviour: Send + 'static {
    /// The stage has moved on (and, first of all, phase 0 when the thread starts: the place to ask for connections).
    fn phase(&mut self, phase: u32, io: &mut Io);

    /// A connection is open: the handshake is done and the hellos are sent.
    fn opened(&mut self, client: Client, io: &mut Io);

    /// A whole message, text or binary. `io.now` is when it was read.
    fn message(&mut self, client: Client, payload: &[u8], io: &mut Io) {
        let _ = (client, payload, io);
    }

    /// A whole response on an HTTP connection.
    fn response(&mut self, client: Client, status: u16, body: &[u8], io: &mut Io) {
        let _ = (client, status, body, io);
    }

    /// Bytes on a raw connection.
    fn bytes(&mut self, client: Client, bytes: &[u8], io: &mut Io) {
        let _ = (client, bytes, io);
    }

    /// The server, or a failure, ended a connection; it is counted and named already, unless this returns `true`: it was meant.
    fn ended(&mut self, client: Client, ended: &Ended, was_open: bool, io: &mut Io) -> bool {
        let _ = (client, ended, was_open, io);
        false
    }

    /// Called at the end of each turn, after its messages. Does what is due by `io.now`, and says when it is next to be
    /// called at the latest.
    fn turn(&mut self, io: &mut Io) -> Option<Nanos> {
        let _ = io;
        None
    }
}

/// What all threads and the stage see.
#[derive(Debug)]
pub(crate) struct Shared {
    phase: AtomicU32,
    is_ending: AtomicBool,
    counts: Vec<PostedCounts>,
    /// The phase that each thread has been told.
    seen: Vec<AtomicU32>,
    wakers: Vec<Waker>,
    stage: Thread,
    /// Threads whose loop has failed.
    failed: AtomicUsize,
}

impl Shared {
    /// Which phase the stage is in.
    pub(crate) fn phase(&self) -> u32 {
        self.phase.load(Ordering::Acquire)
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::Acquire)
    }

    /// The sum over all threads, as of the end of their last turns.
    pub(crate) fn counts(&self) -> Counts {
        let mut sum = Counts::default();
        self.counts.iter().for_each(|posted| sum += posted.read());
        sum
    }

    /// Have all threads been told the present phase, and posted what they counted before?
    pub(crate) fn is_seen(&self) -> bool {
        let phase = self.phase();
        self.seen.iter().all(|seen| seen.load(Ordering::Acquire) == phase)
    }

    /// At the end of a turn: what was counted, and the phase it was counted in.
    pub(crate) fn post(&self, thread: usize, counts: &Counts, phase: u32) {
        self.counts[thread].post(counts);
        self.seen[thread].store(phase, Ordering::Release);
        // Two threads that post and then look at the sum: one of them, at least, sees both.
        fence(Ordering::SeqCst);
    }

    /// Makes a thread take a turn soon.
    pub(crate) fn wake(&self, thread: usize) {
        // It fails only where the other end is gone.
        let _ = self.wakers[thread].wake();
    }

    /// Makes the stage look again, soon.
    pub(crate) fn wake_stage(&self) {
        self.stage.unpark();
    }
}

/// How the threads are set up.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// The cores that the threads are put on, in turn; none: the kernel chooses.
    pub(crate) pin: Vec<usize>,
    /// Handshakes under way at a time, per thread.
    pub(crate) concurrency: usize,
    /// Connecting and shaking hands may take so long.
    pub(crate) connect_wait: Nanos,
    /// Spread source addresses, if the target is on loopback.
    pub(crate) spread: bool,
    /// See [`Io::keep_bytes`].
    pub(crate) keep_bytes: usize,
}

/// How a thread ended: with its behaviour and its failures by name; or why it could not go on.
pub(crate) type Ran<B> = Result<(B, BTreeMap<String, u64>), String>;

/// The running threads.
pub(crate) struct Fleet<B> {
    threads: Vec<JoinHandle<Ran<B>>>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) clock: Clock,
}

impl<B: Behaviour> Fleet<B> {
    /// Starts a thread for each behaviour.
    ///
    /// # Errors
    /// A thread, or its poll, cannot be made; in words.
    pub(crate) fn start(clock: Clock, setup: &Setup, behaviours: Vec<B>) -> Result<Fleet<B>, String> {
        let words = |error: io::Error| format!("cannot start a thread: {error}");
        let polls: Vec<Poll> = behaviours.iter().map(|_| Poll::new()).collect::<io::Result<_>>().map_err(words)?;
        let wakers = polls.iter().map(|poll| Waker::new(poll.registry(), WAKE)).collect::<io::Result<_>>();
        let shared = Arc::new(Shared {
            phase: AtomicU32::new(0),
            is_ending: AtomicBool::new(false),
            counts: behaviours.iter().map(|_| PostedCounts::default()).collect(),
            seen: behaviours.iter().map(|_| AtomicU32::new(0)).collect(),
            wakers: wakers.map_err(words)?,
            stage: thread::current(),
            failed: AtomicUsize::new(0),
        });
        let mut threads = Vec::new();
        for (number, (behaviour, poll)) in behaviours.into_iter().zip(polls).enumerate() {
            let event_loop = EventLoop::new(poll, number, clock, Arc::clone(&shared), setup).map_err(words)?;
            let (shared, pin) = (Arc::clone(&shared), setup.pin.iter().copied().cycle().nth(number));
            let run = move || {
                let result = pin.map_or(Ok(()), crate::process::pin).and_then(|()| event_loop.run(behaviour));
                if result.is_err() {
                    shared.failed.fetch_add(1, Ordering::Release);
                }
                shared.wake_stage();
                result
            };
            let builder = thread::Builder::new().name(format!("clients-{number}"));
            #[expect(clippy::disallowed_methods, reason = "this is where the load generator starts its threads")]
            threads.push(builder.spawn(run).map_err(words)?);
        }
        Ok(Fleet { threads, shared, clock })
    }

    /// Moves all threads on to this phase; each is told (`Behaviour::phase`) in a turn of its own.
    pub(crate) fn set_phase(&self, phase: u32) {
        self.shared.phase.store(phase, Ordering::Release);
        self.wake_all();
    }

    /// Waits until `done` says so, but not longer than to `deadline` or an interrupt; calls it at least every 10 ms.
    /// Did it say so?
    pub(crate) fn wait(&self, deadline: Nanos, mut done: impl FnMut(&Counts, Nanos) -> bool) -> bool {
        self.wait_through(deadline, |counts, now| crate::interrupt::is_interrupted() || done(counts, now))
            && !crate::interrupt::is_interrupted()
    }

    /// The same, and an interrupt does not end it: for what has to be finished.
    pub(crate) fn wait_through(&self, deadline: Nanos, mut done: impl FnMut(&Counts, Nanos) -> bool) -> bool {
        loop {
            let now = self.clock.now();
            if done(&self.shared.counts(), now) {
                return true;
            }
            if now >= deadline || self.shared.failed.load(Ordering::Acquire) > 0 {
                return false;
            }
            thread::park_timeout(Duration::from_nanos((deadline - now).min(10 * MILLISECOND)));
        }
    }

    /// Ends the threads and gives the behaviours back, in order, with all failures by name.
    ///
    /// # Errors
    /// What a thread failed of, in words.
    pub(crate) fn stop(self) -> Result<(Vec<B>, BTreeMap<String, u64>), String> {
        self.shared.is_ending.store(true, Ordering::Release);
        self.wake_all();
        let mut behaviours = Vec::new();
        let mut failures = BTreeMap::new();
        for thread in self.threads {
            let (behaviour, failed) = thread.join().map_err(|_| "a thread panicked".to_owned())??;
            behaviours.push(behaviour);
            failed.iter().for_each(|(what, count)| count_failure(&mut failures, what, *count));
        }
        Ok((behaviours, failures))
    }

    fn wake_all(&self) {
        (0..self.threads.len()).for_each(|thread| self.shared.wake(thread));
    }
}
