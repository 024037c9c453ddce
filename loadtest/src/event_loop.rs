//! One thread's loop: connects, shakes hands, reads everything that is there, and tells the mode.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use mio::net::TcpStream;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use slab::Slab;
use socket2::{Domain, Protocol, Socket, Type};
use tallycast::wire::ws::head::Opcode;

use crate::clock::{Clock, MILLISECOND, Nanos, SECOND};
use crate::codec::{self, Reader, opcode};
use crate::fleet::{Behaviour, Ran, Setup, Shared};
use crate::io::{self as connection, Client, Counts, Dial, Ended, Io, Link, Speaks, Stage};
use crate::target;

/// The tokens that are no connection.
pub(crate) const WAKE: Token = Token(usize::MAX);
const TIMER: Token = Token(usize::MAX - 1);
/// One buffer for all connections of a thread, in bytes.
const BUFFER_BYTES: usize = 256 << 10;
const EVENTS_MAX: usize = 1024;
/// Connections begun in one turn, so that those that exist are served in between.
const BEGUN_PER_TURN_MAX: usize = 64;
/// A fragmented message or a response may be so long, in bytes.
const GATHERED_BYTES_MAX: usize = 64 << 20;

/// A loop that has not begun.
pub(crate) struct EventLoop {
    poll: Poll,
    io: Io,
    setup: Setup,
    /// Numbers connections, for their source addresses.
    begun: u64,
    /// When connections that take too long are looked for next.
    next_sweep: Nanos,
    /// Wakes the poll when the mode is due: to the microsecond, where the poll itself knows milliseconds.
    timer: OwnedFd,
    /// What the timer is set to.
    timer_due: Option<Nanos>,
}

impl EventLoop {
    pub(crate) fn new(
        poll: Poll,
        thread: usize,
        clock: Clock,
        shared: Arc<Shared>,
        setup: &Setup,
    ) -> io::Result<EventLoop> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        poll.registry().register(&mut SourceFd(&timer.as_raw_fd()), TIMER, Interest::READABLE)?;
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).map_err(io::Error::other)?;
        let io = Io {
            clock,
            now: clock.now(),
            counts: Counts::default(),
            thread,
            shared,
            registry: poll.registry().try_clone()?,
            links: Slab::new(),
            queue: VecDeque::new(),
            connecting: 0,
            failures: BTreeMap::new(),
            random: u64::from_ne_bytes(seed),
            keep_bytes: setup.keep_bytes,
            broken: vec![],
        };
        Ok(EventLoop {
            poll,
            io,
            setup: setup.clone(),
            begun: thread as u64 * 100,
            next_sweep: 0,
            timer,
            timer_due: None,
        })
    }

    /// Runs until the stage ends it; gives the behaviour back, and what failed.
    ///
    /// # Errors
    /// The kernel's word, where the loop cannot go on.
    pub(crate) fn run<B: Behaviour>(mut self, mut behaviour: B) -> Ran<B> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut phase = 0;
        behaviour.phase(phase, &mut self.io);
        let mut due = Some(0);
        while !self.io.shared.is_ending() {
            let timeout = self.timeout(due).map_err(|error| format!("cannot set a timer: {error}"))?;
            match self.poll.poll(&mut events, Some(timeout)) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(format!("cannot poll: {error}")),
                Ok(()) | Err(_) => {}
            }
            self.io.now = self.io.clock.now();
            if self.io.shared.phase() != phase {
                phase = self.io.shared.phase();
                behaviour.phase(phase, &mut self.io);
            }
            if events.iter().any(|event| event.token() == TIMER) {
                self.timer_due = None;
            }
            for event in events.iter().filter(|event| event.token() < TIMER) {
                let key = event.token().0;
                if event.is_writable() {
                    self.writable(key, &mut behaviour);
                }
                let is_over = event.is_error() || event.is_read_closed();
                if event.is_readable() || is_over {
                    self.readable(key, is_over, &mut buffer, &mut behaviour);
                }
            }
            self.io.now = self.io.clock.now();
            self.io.shared.post(self.io.thread, &self.io.counts, phase);
            due = behaviour.turn(&mut self.io);
            self.begin(&mut behaviour);
            self.sweep(&mut behaviour);
            while let Some((key, ended)) = self.io.broken.pop() {
                self.end(key, &ended, &mut behaviour);
            }
            self.io.shared.post(self.io.thread, &self.io.counts, phase);
        }
        self.io.shared.post(self.io.thread, &self.io.counts, phase);
        Ok((behaviour, self.io.failures))
    }

    /// How long the poll may sleep; the timer ends it when something is due.
    fn timeout(&mut self, due: Option<Nanos>) -> io::Result<Duration> {
        if !self.io.queue.is_empty() && self.io.connecting < self.setup.concurrency {
            return Ok(Duration::ZERO);
        }
        if let Some(due) = due {
            let left = due.saturating_sub(self.io.clock.now());
            if left == 0 {
                return Ok(Duration::ZERO);
            }
            if self.timer_due != Some(due) {
                let it_value = Timespec { tv_sec: (left / SECOND) as i64, tv_nsec: (left % SECOND) as i64 };
                let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
                timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &Itimerspec { it_interval, it_value })?;
                self.timer_due = Some(due);
            }
        }
        Ok(Duration::from_nanos(if self.io.connecting > 0 { 50 * MILLISECOND } else { SECOND }))
    }

    /// Begins connections that are asked for, as many as may be under way.
    fn begin<B: Behaviour>(&mut self, behaviour: &mut B) {
        for _ in 0..BEGUN_PER_TURN_MAX {
            if self.io.connecting >= self.setup.concurrency {
                return;
            }
            let Some((dial, tag)) = self.io.queue.pop_front() else { return };
            self.begun += 1;
            let entry = self.io.links.vacant_entry();
            let key = entry.key();
            let began = connect(&dial, self.setup.spread, self.begun).and_then(|mut stream| {
                let interest = Interest::READABLE | Interest::WRITABLE;
                self.io.registry.register(&mut stream, Token(key), interest)?;
                Ok(stream)
            });
            match began {
                Ok(stream) => {
                    entry.insert(Link {
                        stream,
                        dial,
                        tag,
                        stage: Stage::Connecting,
                        reader: Reader::default(),
                        out: vec![],
                        response: vec![],
                        fragments: vec![],
                        key: codec::key(self.begun ^ self.io.now),
                        since: self.io.now,
                        is_paused: false,
                    });
                    self.io.connecting += 1;
                }
                Err(error) => self.told(Client { key, tag }, &Ended::Unreachable(error.to_string()), false, behaviour),
            }
        }
    }

    /// Ends what takes too long to open.
    fn sweep<B: Behaviour>(&mut self, behaviour: &mut B) {
        if self.io.connecting == 0 || self.io.now < self.next_sweep {
            return;
        }
        self.next_sweep = self.io.now + 100 * MILLISECOND;
        let (now, wait) = (self.io.now, self.setup.connect_wait);
        let links = self.io.links.iter();
        let late = links.filter(|(_, link)| link.stage != Stage::Open && now.saturating_sub(link.since) > wait);
        let late: Vec<usize> = late.map(|(key, _)| key).collect();
        late.into_iter().for_each(|key| self.end(key, &Ended::TimedOut, behaviour));
    }

    fn writable<B: Behaviour>(&mut self, key: usize, behaviour: &mut B) {
        let Some(link) = self.io.links.get_mut(key) else { return };
        let result = match link.stage {
            Stage::Connecting => match link.stream.take_error() {
                Ok(Some(error)) | Err(error) => Err(connect_error(&error)),
                Ok(None) if link.stream.peer_addr().is_err() => Ok(false),
                Ok(None) => Ok(true),
            },
            Stage::Handshake | Stage::Open if link.out.is_empty() => Ok(false),
            Stage::Handshake | Stage::Open => connection::flush(link).map(|()| false),
        };
        match result {
            Ok(false) => {}
            Ok(true) => self.connected(key, behaviour),
            Err(ended) => self.end(key, &ended, behaviour),
        }
    }

    /// The TCP connection stands: the handshake is sent, where there is one.
    fn connected<B: Behaviour>(&mut self, key: usize, behaviour: &mut B) {
        let link = &mut self.io.links[key];
        match link.dial.speaks {
            Speaks::WebSocket => {
                link.stage = Stage::Handshake;
                link.out.extend_from_slice(link.dial.head.as_bytes());
                link.out.extend_from_slice(b"Sec-WebSocket-Key: ");
                link.out.extend_from_slice(&link.key);
                link.out.extend_from_slice(b"\r\n\r\n");
                if let Err(ended) = connection::flush(link) {
                    self.end(key, &ended, behaviour);
                }
            }
            Speaks::Http | Speaks::Raw => self.open(key, behaviour),
        }
    }

    fn open<B: Behaviour>(&mut self, key: usize, behaviour: &mut B) {
        let link = &mut self.io.links[key];
        link.stage = Stage::Open;
        let client = Client { key, tag: link.tag };
        let dial = Arc::clone(&link.dial);
        self.io.connecting -= 1;
        self.io.counts.opened += 1;
        dial.hellos.iter().for_each(|hello| self.io.send_text(client, hello.as_bytes()));
        behaviour.opened(client, &mut self.io);
    }

    /// Reads until nothing is left: a short read is the last, as the kernel tells of what comes later; but it does not tell
    /// again that the stream `is_over`.
    fn readable<B: Behaviour>(&mut self, key: usize, is_over: bool, buffer: &mut [u8], behaviour: &mut B) {
        loop {
            let Some(link) = self.io.links.get_mut(key) else { return };
            if link.is_paused || link.stage == Stage::Connecting {
                return;
            }
            match connection::read(link, buffer) {
                Ok(None) => return,
                Ok(Some(count)) => {
                    self.io.now = self.io.clock.now();
                    if let Err(ended) = self.received(key, &buffer[..count], behaviour) {
                        self.end(key, &ended, behaviour);
                        return;
                    }
                    if count < buffer.len() && !is_over {
                        return;
                    }
                }
                Err(ended) => {
                    self.end(key, &ended, behaviour);
                    return;
                }
            }
        }
    }

    fn received<B: Behaviour>(&mut self, key: usize, bytes: &[u8], behaviour: &mut B) -> Result<(), Ended> {
        let link = &mut self.io.links[key];
        let client = Client { key, tag: link.tag };
        match (link.dial.speaks, link.stage) {
            (Speaks::WebSocket, Stage::Open) => self.frames(client, bytes, behaviour),
            (Speaks::WebSocket, Stage::Connecting | Stage::Handshake) => self.shake(client, bytes, behaviour),
            (Speaks::Http, _) => self.responses(client, bytes, behaviour),
            (Speaks::Raw, _) => {
                behaviour.bytes(client, bytes, &mut self.io);
                Ok(())
            }
        }
    }

    fn frames<B: Behaviour>(&mut self, client: Client, bytes: &[u8], behaviour: &mut B) -> Result<(), Ended> {
        let mut reader = std::mem::take(&mut self.io.links[client.key].reader);
        let mut ended = None;
        let io = &mut self.io;
        let fed = reader.feed(bytes, io.keep_bytes, |frame| match frame {
            // Behind a Close there is nothing.
            _ if ended.is_some() => {}
            codec::Frame { opcode: opcode::TEXT | opcode::BINARY, fin: true, payload, .. } => {
                behaviour.message(client, payload, io);
            }
            rare => ended = rare_frame(rare, client, behaviour, io),
        });
        if let Some(link) = self.io.links.get_mut(client.key) {
            link.reader = reader;
        }
        match (ended, fed) {
            (Some(ended), _) => Err(ended),
            (None, Err(what)) => Err(Ended::Broken(what)),
            (None, Ok(())) => Ok(()),
        }
    }

    /// The answer to a handshake.
    fn shake<B: Behaviour>(&mut self, client: Client, bytes: &[u8], behaviour: &mut B) -> Result<(), Ended> {
        let link = &mut self.io.links[client.key];
        link.response.extend_from_slice(bytes);
        let Some(head) = codec::response_head(&link.response).map_err(Ended::BadHandshake)? else { return Ok(()) };
        if head.status != 101 {
            // Most of a short body has come with the head; what has not is not worth waiting for.
            let body = connection::shown(&link.response[head.head_bytes..]);
            return Err(Ended::Refused(head.status, body));
        }
        if !head.answers(&link.key) {
            return Err(Ended::BadHandshake("Sec-WebSocket-Accept is not the answer to the key"));
        }
        let response = std::mem::take(&mut link.response);
        self.open(client.key, behaviour);
        if self.io.links.contains(client.key) && response.len() > head.head_bytes {
            return self.frames(client, &response[head.head_bytes..], behaviour);
        }
        Ok(())
    }

    /// Responses on a connection for requests, in turn.
    fn responses<B: Behaviour>(&mut self, client: Client, bytes: &[u8], behaviour: &mut B) -> Result<(), Ended> {
        self.io.links[client.key].response.extend_from_slice(bytes);
        loop {
            let Some(link) = self.io.links.get_mut(client.key) else { return Ok(()) };
            if link.response.len() > GATHERED_BYTES_MAX {
                return Err(Ended::Broken("an endless response"));
            }
            let Some(found) = crate::http::response(&link.response).map_err(Ended::Broken)? else { return Ok(()) };
            let rest = link.response.split_off(found.bytes);
            link.response = rest;
            behaviour.response(client, found.status, &found.body, &mut self.io);
        }
    }

    fn end<B: Behaviour>(&mut self, key: usize, ended: &Ended, behaviour: &mut B) {
        let Some(link) = self.io.links.try_remove(key) else { return };
        let was_open = link.stage == Stage::Open;
        if !was_open {
            self.io.connecting -= 1;
        }
        self.told(Client { key, tag: link.tag }, ended, was_open, behaviour);
    }

    fn told<B: Behaviour>(&mut self, client: Client, ended: &Ended, was_open: bool, behaviour: &mut B) {
        if behaviour.ended(client, ended, was_open, &mut self.io) {
            return;
        }
        if was_open {
            self.io.counts.ended += 1;
        } else {
            self.io.counts.refused += 1;
        }
        self.io.fail(&ended.name(was_open));
    }
}

/// Control frames and fragments.
#[cold]
fn rare_frame<B: Behaviour>(frame: codec::Frame<'_>, client: Client, behaviour: &mut B, io: &mut Io) -> Option<Ended> {
    let payload = frame.payload;
    match frame.opcode {
        opcode::PING => {
            let mask = io.random() as u32;
            io.send_with(client, |out| {
                codec::write_control(out, Opcode::Pong, &payload[..payload.len().min(125)], mask)
            });
            None
        }
        opcode::PONG => None,
        opcode::CLOSE => {
            let code = payload.first_chunk().map_or(1005, |&code| u16::from_be_bytes(code));
            let reason = payload.get(2..).map_or(String::new(), connection::shown);
            let mask = io.random() as u32;
            io.send_with(client, |out| {
                codec::write_control(out, Opcode::Close, &payload[..payload.len().min(2)], mask)
            });
            Some(Ended::Closed(code, reason))
        }
        opcode::TEXT | opcode::BINARY | opcode::CONTINUATION => {
            let link = io.links.get_mut(client.key)?;
            if link.fragments.len() + payload.len() > GATHERED_BYTES_MAX {
                return Some(Ended::Broken("an endless message"));
            }
            link.fragments.extend_from_slice(payload);
            if frame.fin {
                let message = std::mem::take(&mut link.fragments);
                behaviour.message(client, &message, io);
            }
            None
        }
        _ => Some(Ended::Broken("an unknown frame")),
    }
}

/// Begins a connection.
fn connect(dial: &Dial, spread: bool, number: u64) -> io::Result<TcpStream> {
    let address = dial.target.address;
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    if let Some(source) = target::source(address, number).filter(|_| spread) {
        socket.bind(&source.into())?;
    }
    match socket.connect(&address.into()) {
        Ok(()) => {}
        // EINPROGRESS has no name in the library: it is neither of those that mean failure.
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {}
        Err(error) => return Err(error),
    }
    Ok(TcpStream::from_std(socket.into()))
}

fn connect_error(error: &io::Error) -> Ended {
    match error.kind() {
        ErrorKind::ConnectionReset => Ended::Reset,
        ErrorKind::TimedOut => Ended::TimedOut,
        _ => Ended::Unreachable(error.to_string()),
    }
}
