//! What the Rust peers share: the listener.

use std::io;

use tokio::net::{TcpListener, TcpSocket};

/// How many messages a slow connection may lag behind before it misses some. The generator counts what is missed.
pub const LAG_MESSAGES_MAX: usize = 4096;

/// Listens on the port of loopback that the first argument names, with a long queue, and says so.
pub fn listen() -> io::Result<TcpListener> {
    let port = std::env::args().nth(1).and_then(|port| port.parse::<u16>().ok());
    let port = port.ok_or_else(|| io::Error::other("usage: SERVER PORT"))?;
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(([127, 0, 0, 1], port).into())?;
    let listener = socket.listen(16384)?;
    println!("listening {port}");
    Ok(listener)
}
