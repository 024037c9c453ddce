//! The yardstick: a server that does nothing but `send`. What its publishers write goes to everyone, in accept order, all
//! frames of a turn in one contiguous `send` each. There is no cheaper way to hand every subscriber its bytes one by one.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

use clap::Args;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustix::net::{SendFlags, send};
use tallycast::wire::ws::handshake::{accept_key, write_response};
use tallycast::wire::ws::head::{Opcode, write_frame};
use tallycast::wire::ws::mask::unmask;

use crate::arguments::{Stop, positive};
use crate::clock::{Clock, seconds};
use crate::process;

/// The listener's token; a connection's is its descriptor, so never 0.
const LISTENER: Token = Token(0);
const BUFFER_BYTES: usize = 256 << 10;
/// A connection that does not take its bytes is let go at this many.
const WAITING_BYTES_MAX: usize = 64 << 20;
/// A request's head, or an unfinished frame, may be so long.
const HELD_BYTES_MAX: usize = 16 << 20;

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Where to listen; with port 0, on any free port
    #[arg(default_value = "127.0.0.1:0")]
    address: SocketAddr,

    /// Core to run on
    #[arg(long)]
    pin: Option<usize>,

    /// Ends by itself after this long
    #[arg(long, default_value_t = 3600.0, value_parser = positive)]
    seconds: f64,
}

struct Floor {
    poll: Poll,
    listener: TcpListener,
    /// In accept order, or rather in the order of their handshakes.
    open: Vec<TcpStream>,
    /// Not shaken hands yet, by descriptor, with what they sent.
    shaking: BTreeMap<usize, (TcpStream, Vec<u8>)>,
    /// Unfinished frames of those that are open, by descriptor.
    held: BTreeMap<usize, Vec<u8>>,
    /// What those did not take that are slow, by descriptor.
    waiting: BTreeMap<usize, Vec<u8>>,
    /// The frames of this turn.
    round: Vec<u8>,
    buffer: Vec<u8>,
}

impl Arguments {
    /// Listens until a signal comes, or the time is over.
    pub(crate) fn run(&self) -> Result<(), Stop> {
        if let Some(core) = self.pin {
            process::pin(core).map_err(Stop::Usage)?;
        }
        process::raise_open_files(64).map_err(Stop::Usage)?;
        let words = |error: io::Error| Stop::Usage(format!("{}: {error}", self.address));
        let mut floor = Floor::listen(self.address).map_err(words)?;
        let address = floor.listener.local_addr().map_err(words)?;
        let mut out = io::stdout();
        let line = format!("floor pid {} port {} url ws://{address}/\n", std::process::id(), address.port());
        out.write_all(line.as_bytes()).and_then(|()| out.flush()).map_err(words)?;
        let clock = Clock::new();
        let end = seconds(self.seconds);
        while !crate::interrupt::is_interrupted() && clock.now() < end {
            floor.turn().map_err(words)?;
        }
        Ok(())
    }
}

impl Floor {
    fn listen(address: SocketAddr) -> io::Result<Floor> {
        let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        // Accepted sockets inherit it.
        socket.set_tcp_nodelay(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(4096)?;
        let listener: TcpListener = socket.into();
        let poll = Poll::new()?;
        poll.registry().register(&mut SourceFd(&listener.as_raw_fd()), LISTENER, Interest::READABLE)?;
        Ok(Floor {
            poll,
            listener,
            open: vec![],
            shaking: BTreeMap::new(),
            held: BTreeMap::new(),
            waiting: BTreeMap::new(),
            round: vec![],
            buffer: vec![0; BUFFER_BYTES],
        })
    }

    fn turn(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        match self.poll.poll(&mut events, Some(Duration::from_millis(200))) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            Ok(()) | Err(_) => {}
        }
        for event in &events {
            if event.token() == LISTENER {
                self.accept()?;
                continue;
            }
            let fd = event.token().0;
            if event.is_writable() && !self.waiting.is_empty() {
                self.send_waiting(fd);
            }
            let is_over = event.is_error() || event.is_read_closed();
            if event.is_readable() || is_over {
                self.read(fd, is_over);
            }
        }
        self.send_round();
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(true)?;
                    let fd = stream.as_raw_fd();
                    let interest = Interest::READABLE | Interest::WRITABLE;
                    self.poll.registry().register(&mut SourceFd(&fd), Token(fd as usize), interest)?;
                    self.shaking.insert(fd as usize, (stream, vec![]));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Everything: the round.
    fn send_round(&mut self) {
        if self.round.is_empty() {
            return;
        }
        let mut gone = Vec::new();
        for stream in &self.open {
            // Nobody is behind, nearly always, and then nothing is looked up.
            if !self.waiting.is_empty()
                && let Some(waiting) = self.waiting.get_mut(&(stream.as_raw_fd() as usize))
            {
                waiting.extend_from_slice(&self.round);
                continue;
            }
            match send(stream, &self.round, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(sent) if sent == self.round.len() => {}
                Ok(sent) => drop(self.waiting.insert(stream.as_raw_fd() as usize, self.round[sent..].to_vec())),
                Err(rustix::io::Errno::AGAIN) => {
                    self.waiting.insert(stream.as_raw_fd() as usize, self.round.clone());
                }
                Err(_) => gone.push(stream.as_raw_fd() as usize),
            }
        }
        self.round.clear();
        let full = self.waiting.iter().filter(|(_, bytes)| bytes.len() > WAITING_BYTES_MAX);
        gone.extend(full.map(|(fd, _)| *fd));
        gone.into_iter().for_each(|fd| self.close(fd));
    }

    fn send_waiting(&mut self, fd: usize) {
        let stream = self.open.iter().find(|stream| stream.as_raw_fd() as usize == fd);
        let (Some(stream), Some(waiting)) = (stream, self.waiting.get_mut(&fd)) else { return };
        match send(stream, waiting, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
            Ok(sent) => drop(waiting.drain(..sent)),
            Err(rustix::io::Errno::AGAIN) => return,
            Err(_) => return self.close(fd),
        }
        if waiting.is_empty() {
            self.waiting.remove(&fd);
        }
    }

    fn read(&mut self, fd: usize, is_over: bool) {
        if self.shaking.contains_key(&fd) {
            return self.shake(fd);
        }
        let Some(at) = self.open.iter().position(|stream| stream.as_raw_fd() as usize == fd) else { return };
        loop {
            let mut buffer = std::mem::take(&mut self.buffer);
            let read = (&self.open[at]).read(&mut buffer);
            let goes_on = match read {
                Ok(0) => false,
                Ok(count) => self.frames(fd, &mut buffer[..count]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                    self.buffer = buffer;
                    return;
                }
                Err(_) => false,
            };
            self.buffer = buffer;
            match read {
                // The kernel tells of what comes later, but not again of the end.
                Ok(count) if goes_on && count < BUFFER_BYTES && !is_over => return,
                Ok(_) if goes_on => {}
                Ok(_) | Err(_) => return self.close(fd),
            }
        }
    }

    /// Puts a publisher's frames into the round. `false`: the connection has ended.
    fn frames(&mut self, fd: usize, bytes: &mut [u8]) -> bool {
        let mut joined = self.held.remove(&fd);
        let mut rest = match &mut joined {
            Some(held) => {
                held.extend_from_slice(bytes);
                held.as_mut_slice()
            }
            None => bytes,
        };
        while let Some((opcode, mask, begin, end)) = client_frame(rest) {
            if end > HELD_BYTES_MAX {
                return false;
            }
            if end > rest.len() {
                break;
            }
            let (frame, behind) = rest.split_at_mut(end);
            rest = behind;
            match opcode {
                1 | 2 => {
                    unmask(&mut frame[begin..], mask, 0);
                    let kind = if opcode == 1 { Opcode::Text } else { Opcode::Binary };
                    write_frame(&mut self.round, kind, &frame[begin..]);
                }
                8 => return false,
                // No fragments, no pings: the load generator sends none.
                _ => {}
            }
        }
        if !rest.is_empty() {
            self.held.insert(fd, rest.to_vec());
        }
        true
    }

    fn shake(&mut self, fd: usize) {
        let Some((mut stream, mut held)) = self.shaking.remove(&fd) else { return };
        loop {
            match stream.read(&mut self.buffer) {
                Ok(0) => return,
                Ok(count) => held.extend_from_slice(&self.buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut request = httparse::Request::new(&mut headers);
        let head_bytes = match request.parse(&held) {
            Ok(httparse::Status::Complete(head_bytes)) => head_bytes,
            Ok(httparse::Status::Partial) if held.len() < HELD_BYTES_MAX => {
                self.shaking.insert(fd, (stream, held));
                return;
            }
            Ok(httparse::Status::Partial) | Err(_) => return,
        };
        let key = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case("sec-websocket-key"));
        let Some(key) = key.and_then(|key| std::str::from_utf8(key.value).ok()) else { return };
        let mut response = Vec::new();
        write_response(&mut response, &accept_key(key), &[]);
        if stream.write_all(&response).is_ok() {
            self.open.push(stream);
            let mut behind = held.split_off(head_bytes);
            if !self.frames(fd, &mut behind) {
                self.close(fd);
            }
        }
    }

    fn close(&mut self, fd: usize) {
        self.open.retain(|stream| stream.as_raw_fd() as usize != fd);
        self.held.remove(&fd);
        self.waiting.remove(&fd);
    }
}

/// A masked frame's opcode, mask, and where its payload begins and ends; `None` if its head is not all here.
fn client_frame(bytes: &[u8]) -> Option<(u8, [u8; 4], usize, usize)> {
    let [first, second, rest @ ..] = bytes else { return None };
    let (length, mask_at) = match second & 0x7f {
        126 => (u64::from(u16::from_be_bytes(*rest.first_chunk()?)), 4),
        127 => (u64::from_be_bytes(*rest.first_chunk()?), 10),
        length => (u64::from(length), 2),
    };
    let mask = *bytes.get(mask_at..)?.first_chunk()?;
    let begin = mask_at + 4;
    // A length that is no length is longer than what is held.
    let end = begin.saturating_add(usize::try_from(length).unwrap_or(usize::MAX));
    Some((first & 0x0f, mask, begin, end))
}
