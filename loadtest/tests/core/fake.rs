//! A small server for fan-out that does one thing wrong.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use tallycast::wire::ws::close::write_close;
use tallycast::wire::ws::handshake::{accept_key, write_response};
use tallycast::wire::ws::head::{Opcode, write_frame};
use tallycast::wire::ws::mask::unmask;

/// What it does. Messages are counted from 0, those of the warm-up included; what is done to one is done to the last
/// connection alone.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    None,
    Lose {
        message: usize,
    },
    Double {
        message: usize,
    },
    /// Sends it after the next.
    Swap {
        message: usize,
    },
    CloseAt {
        message: usize,
        code: u16,
    },
    /// Answers handshakes with this status.
    Answer(u16),
    Garbage,
    WrongAccept,
    /// Accepts and resets.
    Reset,
    /// Accepts and says nothing.
    Silent,
    CloseAtOnce(u16),
    /// Takes so many POSTs on a connection, then closes it, whatever is behind them.
    FewPosts(usize),
}

/// Its threads end with their connections, or with the process.
pub(crate) struct Fake(SocketAddr);

#[derive(Default)]
struct Crowd {
    streams: Vec<TcpStream>,
    messages: usize,
    swapped: Vec<u8>,
}

impl Fake {
    pub(crate) fn start(fault: Fault) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let crowd = Arc::new(Mutex::new(Crowd::default()));
        let accept = move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let crowd = Arc::clone(&crowd);
                // The other end may go when it likes.
                start(move || drop(serve(stream, fault, &crowd)));
            }
        };
        start(accept);
        Fake(address)
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}/", self.0)
    }
}

#[expect(clippy::disallowed_methods, reason = "a server of a test, apart from the program that is tested")]
fn start(run: impl FnOnce() + Send + 'static) {
    drop(thread::spawn(run));
}

fn serve(mut stream: TcpStream, fault: Fault, crowd: &Mutex<Crowd>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    if matches!(fault, Fault::Reset) {
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
        return Ok(());
    }
    let mut head = read_head(&mut reader)?;
    if let Fault::FewPosts(count) = fault
        && head.starts_with("POST ")
    {
        for _ in 0..count {
            let mut body = vec![0; value(&head, "Content-Length").parse().expect("a length")];
            reader.read_exact(&mut body)?;
            broadcast(&body, fault, &mut crowd.lock().expect("the crowd"));
            stream.write_all(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")?;
            head = read_head(&mut reader)?;
        }
        return Ok(());
    }
    let key = value(&head, "Sec-WebSocket-Key");
    let mut out = Vec::new();
    match fault {
        Fault::Answer(status) => write!(out, "HTTP/1.1 {status} No\r\nContent-Length: 9\r\n\r\ntoo many\n")?,
        Fault::Garbage => out.extend_from_slice(b"220 mail.example.org\r\n"),
        Fault::WrongAccept => write_response(&mut out, b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", &[]),
        _ => write_response(&mut out, &accept_key(key), &[]),
    }
    if let Fault::CloseAtOnce(code) = fault {
        write_close(&mut out, code, "");
    }
    if !matches!(fault, Fault::Silent) {
        // The crowd has it before its client can know.
        let mut crowd = crowd.lock().expect("the crowd");
        stream.write_all(&out)?;
        crowd.streams.push(stream);
    }
    while let Some(text) = read_text(&mut reader)? {
        broadcast(&text, fault, &mut crowd.lock().expect("the crowd"));
    }
    Ok(())
}

/// To the empty line, or the end.
fn read_head(reader: &mut impl BufRead) -> io::Result<String> {
    let mut head = String::new();
    while reader.read_line(&mut head)? > 2 {}
    Ok(head)
}

fn value<'h>(head: &'h str, name: &str) -> &'h str {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap_or_default()
}

fn broadcast(text: &[u8], fault: Fault, crowd: &mut Crowd) {
    let number = crowd.messages;
    crowd.messages += 1;
    let mut frame = Vec::new();
    write_frame(&mut frame, Opcode::Text, text);
    let last = crowd.streams.len() - 1;
    for (index, stream) in crowd.streams.iter_mut().enumerate() {
        let mut out = frame.clone();
        if index == last {
            match fault {
                Fault::Lose { message } if message == number => out.clear(),
                Fault::Double { message } if message == number => out.extend_from_slice(&frame),
                Fault::Swap { message } if message == number => crowd.swapped = std::mem::take(&mut out),
                Fault::CloseAt { message, code } if message == number => write_close(&mut out, code, "go away"),
                _ => out.append(&mut crowd.swapped),
            }
        }
        // Who has gone gets nothing.
        let _ = stream.write_all(&out);
    }
}

/// A short masked frame's payload; `None` at the end.
fn read_text(reader: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut head = [0; 6];
    if let Err(error) = reader.read_exact(&mut head) {
        return if error.kind() == io::ErrorKind::UnexpectedEof { Ok(None) } else { Err(error) };
    }
    let mut payload = vec![0; usize::from(head[1] & 0x7f)];
    reader.read_exact(&mut payload)?;
    unmask(&mut payload, [head[2], head[3], head[4], head[5]], 0);
    Ok((head[0] & 0x0f == 1).then_some(payload))
}
