//! A WebSocket client: tungstenite, so that it is not our own reading of RFC 6455 that judges us.

use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;
use tungstenite::client::IntoClientRequest;
use tungstenite::handshake::HandshakeError;
use tungstenite::http::header::{HeaderName, HeaderValue};
use tungstenite::{Error, Message, WebSocket};

use super::http::connect;
use super::server::PATIENCE;

/// An open WebSocket.
pub(crate) struct Socket {
    inner: WebSocket<TcpStream>,
}

/// How a WebSocket ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// With a Close frame: its code.
    Closed(u16),
    /// Without one.
    Cut,
}

impl Socket {
    /// Opens one; panics if the server does not.
    pub(crate) fn open(address: SocketAddr, target: &str) -> Socket {
        Socket::try_open(address, target, &[]).unwrap_or_else(|status| panic!("{target}: {status} instead of 101"))
    }

    /// Opens one, or says which status the server answered instead.
    pub(crate) fn try_open(address: SocketAddr, target: &str, headers: &[(&str, &str)]) -> Result<Socket, u16> {
        Socket::over(connect(address), target, headers)
    }

    /// Opens one over a connection.
    pub(crate) fn over(stream: TcpStream, target: &str, headers: &[(&str, &str)]) -> Result<Socket, u16> {
        let address = stream.peer_addr().expect("a connected socket");
        let mut request = format!("ws://{address}{target}").into_client_request().expect("a request");
        for (name, value) in headers {
            let name: HeaderName = name.parse().expect("a header's name");
            let value: HeaderValue = value.parse().expect("a header's value");
            request.headers_mut().insert(name, value);
        }
        match tungstenite::client(request, stream) {
            Ok((inner, _)) => Ok(Socket { inner }),
            Err(HandshakeError::Failure(Error::Http(answer))) => Err(answer.status().as_u16()),
            Err(other) => panic!("{target}: {other}"),
        }
    }

    pub(crate) fn send(&mut self, text: &str) {
        self.inner.send(Message::text(text)).expect("the server takes what we send");
    }

    pub(crate) fn send_binary(&mut self, bytes: &[u8]) {
        self.inner.send(Message::binary(bytes.to_vec())).expect("the server takes what we send");
    }

    /// Sends bytes that are no frame of tungstenite's; the server may have closed already.
    pub(crate) fn write_raw(&mut self, bytes: &[u8]) {
        let stream = self.inner.get_mut();
        let _ = stream.write_all(bytes).and_then(|()| stream.flush());
    }

    /// The next text or binary message.
    #[track_caller]
    pub(crate) fn message(&mut self) -> Message {
        loop {
            match self.inner.read().expect("a message in time") {
                message @ (Message::Text(_) | Message::Binary(_)) => return message,
                Message::Ping(_) | Message::Pong(_) => {}
                other @ (Message::Close(_) | Message::Frame(_)) => panic!("{other:?} instead of a message"),
            }
        }
    }

    /// The next message, which is a text.
    #[track_caller]
    pub(crate) fn text(&mut self) -> String {
        match self.message() {
            Message::Text(text) => text.to_string(),
            other => panic!("{other:?} instead of a text"),
        }
    }

    /// The next message, which is JSON.
    #[track_caller]
    pub(crate) fn json(&mut self) -> Value {
        let text = self.text();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text:?}"))
    }

    /// The next JSON message with this `type`; others are skipped.
    #[track_caller]
    pub(crate) fn json_of(&mut self, kind: &str) -> Value {
        loop {
            let json = self.json();
            if json["type"] == kind {
                return json;
            }
        }
    }

    /// The next JSON message that is not a count of listeners.
    #[track_caller]
    pub(crate) fn news(&mut self) -> Value {
        loop {
            let json = self.json();
            if json["type"] != "listeners" {
                return json;
            }
        }
    }

    /// Whether nothing arrives for a while.
    pub(crate) fn is_silent(&mut self, for_time: Duration) -> bool {
        self.inner.get_ref().set_read_timeout(Some(for_time)).expect("a read timeout");
        let silent = match self.inner.read() {
            Ok(message) => matches!(message, Message::Ping(_) | Message::Pong(_)),
            Err(Error::Io(error)) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => true,
            Err(other) => panic!("{other}"),
        };
        self.inner.get_ref().set_read_timeout(Some(PATIENCE)).expect("a read timeout");
        silent
    }

    /// Reads to the end: the messages that still came, and how it ended.
    pub(crate) fn rest(&mut self) -> (Vec<Message>, End) {
        let mut messages = Vec::new();
        loop {
            match self.inner.read() {
                Ok(Message::Close(frame)) => {
                    let code = frame.map_or(1005, |frame| frame.code.into());
                    let _ = self.inner.flush();
                    return (messages, End::Closed(code));
                }
                Ok(message @ (Message::Text(_) | Message::Binary(_))) => messages.push(message),
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {}
                Err(Error::Io(error)) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    panic!("the socket was to end and did not; {} messages came", messages.len())
                }
                Err(_) => return (messages, End::Cut),
            }
        }
    }

    /// Reads to the end.
    pub(crate) fn end(&mut self) -> End {
        self.rest().1
    }

    /// Closes and reads to the end.
    pub(crate) fn close(mut self) {
        self.inner.close(None).expect("a close is sent");
        while self.inner.read().is_ok() {}
    }
}
