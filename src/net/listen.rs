//! Listening sockets: one per event loop and listener (SO_REUSEPORT: the kernel deals connections to them evenly).

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use crate::base::keys::ListenerId;
use crate::route::Listener;

/// Connections that wait to be accepted, for each socket; the kernel cuts it at `net.core.somaxconn`.
const BACKLOG_CONNECTIONS_MAX: i32 = 4096;
/// Bytes that the kernel takes of what cannot be sent yet (TCP_NOTSENT_LOWAT): with this a stuck reader holds under
/// 100 KB of kernel memory instead of megabytes, and what it reads at last is not megabytes old.
const NOTSENT_BYTES_MAX: u32 = 16 << 10;

/// A listener that is open.
#[derive(Debug)]
pub struct Bound {
    /// Which.
    pub id: ListenerId,
    /// From the configuration.
    pub name: String,
    /// Where it really listens: the port that was taken for port 0.
    pub address: SocketAddr,
    /// One for each loop.
    pub sockets: Vec<TcpListener>,
}

/// A listener cannot be opened.
#[derive(Debug)]
pub struct BindError {
    /// Its name in the configuration.
    pub listener: String,
    /// Where it was to listen.
    pub address: SocketAddr,
    /// What the operating system says.
    pub source: io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BindError { listener, address, source } = self;
        write!(f, "listener \"{listener}\" cannot listen on {address}: {source}")
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Opens all listeners, each with `cores` sockets. One that is optional and whose address is taken, or is no address
/// of this machine, is left out with a warning.
///
/// # Errors
/// The first listener that cannot be opened; those before it are closed again.
pub fn bind_all(listeners: &[Listener], cores: u16) -> Result<Vec<Bound>, BindError> {
    let mut bound = Vec::with_capacity(listeners.len());
    for (index, listener) in listeners.iter().enumerate() {
        match bind_each(listener.address, cores) {
            Ok((address, sockets)) => {
                bound.push(Bound { id: ListenerId(index as u16), name: listener.name.clone(), address, sockets })
            }
            Err(source) => {
                let error = BindError { listener: listener.name.clone(), address: listener.address, source };
                if !(listener.optional && is_taken(&error.source)) {
                    return Err(error);
                }
                tracing::warn!("{error}; going on without it");
            }
        }
    }
    Ok(bound)
}

fn is_taken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable)
}

/// The sockets of one listener. The first is opened alone, so that a port is found taken even if another process of the
/// same user shares it (two servers would else share the clients between them); then it lets the others join.
fn bind_each(address: SocketAddr, cores: u16) -> io::Result<(SocketAddr, Vec<TcpListener>)> {
    let first = open(address, false)?;
    first.set_reuse_port(true)?;
    let first = TcpListener::from(first);
    let address = first.local_addr()?;
    let mut sockets = vec![first];
    for _ in 1..cores {
        sockets.push(open(address, true)?.into());
    }
    Ok((address, sockets))
}

/// Accepted sockets inherit the options, so that accepting costs no further system call.
fn open(address: SocketAddr, share: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    // Connections of an earlier process that are still in TIME_WAIT do not keep us out.
    socket.set_reuse_address(true)?;
    if share {
        socket.set_reuse_port(true)?;
    }
    socket.set_tcp_nodelay(true)?;
    socket.set_keepalive(true)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_notsent_lowat(NOTSENT_BYTES_MAX)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG_CONNECTIONS_MAX)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use socket2::SockRef;

    use super::*;
    use crate::route::Origins;
    use crate::wire::http::Hosts;

    fn listener(name: &str, address: SocketAddr, optional: bool) -> Listener {
        Listener { name: name.into(), address, origins: Origins::Any, hosts: Hosts::Same, optional }
    }

    fn any_port() -> SocketAddr {
        "127.0.0.1:0".parse().unwrap()
    }

    #[test]
    fn every_socket_of_a_listener_gets_connections_with_its_options() {
        let bound = bind_all(&[listener("main", any_port(), false)], 2).unwrap();
        let address = bound[0].address;
        assert_ne!(address.port(), 0);
        assert_eq!(bound[0].sockets.len(), 2);
        let clients: Vec<TcpStream> = (0..64).map(|_| TcpStream::connect(address).unwrap()).collect();
        let mut accepted = [0; 2];
        for (index, socket) in bound[0].sockets.iter().enumerate() {
            while let Ok((stream, _)) = socket.accept() {
                let stream = SockRef::from(&stream);
                assert!(stream.tcp_nodelay().unwrap());
                assert!(stream.keepalive().unwrap());
                #[cfg(any(target_os = "linux", target_os = "android"))]
                assert_eq!(stream.tcp_notsent_lowat().unwrap(), NOTSENT_BYTES_MAX);
                accepted[index] += 1;
            }
        }
        assert_eq!(accepted[0] + accepted[1], clients.len());
        assert!(accepted[0] > 0 && accepted[1] > 0, "{accepted:?}");
    }

    #[test]
    fn a_taken_port_is_an_error_or_a_warning() {
        // The one who has it would share it, as another server of the same user does.
        let owner = bind_all(&[listener("owner", any_port(), false)], 2).unwrap();
        let address = owner[0].address;
        let error = bind_all(&[listener("second", address, false)], 2).unwrap_err();
        assert_eq!(error.source.kind(), io::ErrorKind::AddrInUse);
        let text = error.to_string();
        assert!(text.contains("\"second\"") && text.contains(&address.to_string()), "{text}");

        let side = [listener("side", address, true), listener("main", any_port(), false)];
        let bound = bind_all(&side, 2).unwrap();
        assert_eq!(bound.len(), 1);
        assert_eq!((bound[0].name.as_str(), bound[0].id), ("main", ListenerId(1)));

        // What is optional about a listener is its address being taken, not its address being wrong in another way.
        let foreign: SocketAddr = "192.0.2.1:0".parse().unwrap();
        assert!(bind_all(&[listener("foreign", foreign, false)], 1).is_err());
        assert!(bind_all(&[listener("foreign", foreign, true)], 1).unwrap().is_empty());
    }
}
