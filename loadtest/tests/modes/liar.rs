//! Stands between the clients and a server, and lies.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

/// What is looked at as one, behind the head of the answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unit {
    /// A frame.
    Frame,
    /// Up to an empty line.
    Event,
    /// An answer with its Content-Length, head and all.
    Answer,
}

/// What is sent on in place of a unit. Each connection has its own.
pub(crate) type Lie = Box<dyn FnMut(Vec<u8>) -> Vec<u8> + Send>;

/// Listens, and connects to `server` for each client. `lie` is told which connection it is for, in the order in which they
/// come. Its threads end with the process of the test.
pub(crate) fn start(server: &str, unit: Unit, lie: impl Fn(usize) -> Lie + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let (address, server) = (listener.local_addr().expect("its address"), server.to_owned());
    spawn(move || {
        for (number, client) in listener.incoming().enumerate() {
            let (Ok(client), Ok(server)) = (client, TcpStream::connect(&server)) else { return };
            let (mut up_from, mut up_to) = (client.try_clone().expect("a clone"), server.try_clone().expect("a clone"));
            spawn(move || {
                // It ends when either side does.
                let _ = std::io::copy(&mut up_from, &mut up_to);
                let _ = up_to.shutdown(Shutdown::Both);
            });
            let lie = lie(number);
            spawn(move || down(server, client, unit, lie));
        }
    });
    address
}

#[expect(clippy::disallowed_methods, reason = "a fake server is no part of the server")]
fn spawn(run: impl FnOnce() + Send + 'static) {
    thread::spawn(run);
}

/// From the server to the client.
fn down(mut server: TcpStream, mut client: TcpStream, unit: Unit, mut lie: Lie) {
    let (mut bytes, mut buffer, mut is_begun) = (Vec::new(), [0; 4096], unit == Unit::Answer);
    loop {
        match server.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
        }
        if !is_begun {
            let Some(end) = find(&bytes, b"\r\n\r\n") else { continue };
            is_begun = true;
            let head: Vec<u8> = bytes.drain(..end).collect();
            if client.write_all(&head).is_err() {
                break;
            }
        }
        while let Some(length) = length(&bytes, unit) {
            let lied = lie(bytes.drain(..length).collect());
            if client.write_all(&lied).is_err() {
                return;
            }
        }
    }
    let _ = client.shutdown(Shutdown::Both);
}

/// The bytes of the first unit, if it is all here.
fn length(bytes: &[u8], unit: Unit) -> Option<usize> {
    let length = match unit {
        Unit::Event => find(bytes, b"\n\n")?,
        Unit::Frame => match bytes.get(1)? {
            126 => 4 + usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?])),
            127 => panic!("no test sends as much"),
            short => 2 + usize::from(*short),
        },
        Unit::Answer => {
            let head = find(bytes, b"\r\n\r\n")?;
            let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
            let length = text.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
            head + length.map_or(0, |length| length.parse::<usize>().expect("a length"))
        }
    };
    (bytes.len() >= length).then_some(length)
}

/// Where the first `wanted` ends.
pub(crate) fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted).map(|at| at + wanted.len())
}
