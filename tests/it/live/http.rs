//! A small blocking HTTP client that shows everything: what it does not know, it does not hide.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use super::server::PATIENCE;

/// One connection.
pub(crate) struct Http {
    stream: BufReader<TcpStream>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// An event of an event stream.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Event {
    pub(crate) id: Option<String>,
    pub(crate) data: String,
}

/// An event stream that was opened.
pub(crate) struct Events {
    stream: BufReader<TcpStream>,
}

/// A connection with bounds on every wait.
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).unwrap_or_else(|error| panic!("{address}: {error}"));
    stream.set_read_timeout(Some(PATIENCE)).expect("a read timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("a write timeout");
    stream.set_nodelay(true).expect("no delay");
    stream
}

/// GET on a connection of its own.
pub(crate) fn get(address: SocketAddr, target: &str) -> Answer {
    Http::to(address).ask("GET", target, &[], b"")
}

/// GET of JSON on a connection of its own.
pub(crate) fn get_json(address: SocketAddr, target: &str) -> Value {
    get(address, target).ok().json()
}

/// POST on a connection of its own.
pub(crate) fn post(address: SocketAddr, target: &str, content_type: &str, body: &str) -> Answer {
    Http::to(address).ask("POST", target, &[("Content-Type", content_type)], body.as_bytes())
}

/// POST of a form on a connection of its own.
pub(crate) fn post_form(address: SocketAddr, target: &str, form: &str) -> Answer {
    post(address, target, "application/x-www-form-urlencoded", form)
}

impl Http {
    pub(crate) fn to(address: SocketAddr) -> Http {
        Http::over(connect(address))
    }

    pub(crate) fn over(stream: TcpStream) -> Http {
        Http { stream: BufReader::new(stream) }
    }

    /// Sends a request and reads its answer.
    pub(crate) fn ask(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.send(method, target, headers, body);
        self.answer_to(method)
    }

    /// Sends a request.
    pub(crate) fn send(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) {
        let bytes = request(method, target, headers, body);
        self.write(&bytes);
    }

    /// Sends any bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).expect("the server takes what we send");
    }

    /// Reads the answer to a request with this method.
    pub(crate) fn answer_to(&mut self, method: &str) -> Answer {
        read_answer(&mut self.stream, method)
    }

    /// Reads the head of an answer, and leaves what is behind it.
    pub(crate) fn head(&mut self) -> Answer {
        read_head(&mut self.stream)
    }

    /// Whether nothing arrives for a while.
    pub(crate) fn is_silent(&mut self, for_time: std::time::Duration) -> bool {
        let stream = self.stream.get_ref();
        stream.set_read_timeout(Some(for_time)).expect("a read timeout");
        let silent = match self.stream.fill_buf() {
            Ok(bytes) => {
                assert!(!bytes.is_empty(), "the connection was closed");
                false
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => true,
            Err(error) => panic!("{error}"),
        };
        self.stream.get_ref().set_read_timeout(Some(PATIENCE)).expect("a read timeout");
        silent
    }

    /// Whether the server closes: reads to the end.
    pub(crate) fn ends(&mut self) -> bool {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => true,
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("UTF-8")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.text()))
    }

    /// Itself, if it is a 200.
    pub(crate) fn ok(self) -> Answer {
        self.with_status(200)
    }

    /// Itself, if it has this status.
    #[track_caller]
    pub(crate) fn with_status(self, status: u16) -> Answer {
        assert_eq!(self.status, status, "{self:?}: {}", String::from_utf8_lossy(&self.body));
        self
    }

    /// The cookie that it sets, `name=value`.
    pub(crate) fn cookie(&self) -> String {
        let line = self.header("Set-Cookie").expect("a cookie");
        let mut parts = line.split(';').map(str::trim);
        let pair = parts.next().expect("a cookie's pair").to_owned();
        let attributes: Vec<String> = parts.map(str::to_ascii_lowercase).collect();
        for attribute in ["httponly", "samesite=lax", "path=/"] {
            assert!(attributes.iter().any(|known| known == attribute), "{attribute} is not in {line}");
        }
        assert!(pair.starts_with("tallycast_session="), "{line}");
        pair
    }
}

impl Events {
    /// Opens an event stream; panics if the server does not.
    pub(crate) fn open(address: SocketAddr, target: &str, headers: &[(&str, &str)]) -> Events {
        let mut all = vec![("Accept", "text/event-stream")];
        all.extend_from_slice(headers);
        let mut http = Http::to(address);
        http.send("GET", target, &all, b"");
        let head = read_head(&mut http.stream).with_status(200);
        let content_type = head.header("Content-Type").expect("a content type");
        assert!(content_type.starts_with("text/event-stream"), "{content_type}");
        assert_eq!(head.header("Cache-Control"), Some("no-store"));
        assert_eq!(head.header("Content-Length"), None);
        assert_eq!(head.header("Transfer-Encoding"), None, "close-delimited");
        Events { stream: http.stream }
    }

    /// The next event, or `None` when the stream has ended.
    pub(crate) fn next(&mut self) -> Option<Event> {
        let mut id = None;
        let mut data: Vec<String> = Vec::new();
        loop {
            let mut line = String::new();
            let read = self.stream.read_line(&mut line).expect("an event in time");
            if read == 0 {
                return None;
            }
            let line = line.trim_end_matches(['\r', '\n']);
            match line.split_once(':') {
                None if line.is_empty() => {
                    if !data.is_empty() {
                        return Some(Event { id, data: data.join("\n") });
                    }
                }
                Some(("id", value)) => id = Some(value.trim_start().to_owned()),
                Some(("data", value)) => data.push(value.strip_prefix(' ').unwrap_or(value).to_owned()),
                Some(("" | "retry", _)) => {}
                other => panic!("a field that nobody expects: {other:?}"),
            }
        }
    }

    /// The next event that is not a count of listeners, as its id and its JSON.
    pub(crate) fn news(&mut self) -> (String, Value) {
        loop {
            let event = self.next().expect("the stream goes on");
            let json: Value = serde_json::from_str(&event.data).expect("JSON");
            if json["type"] != "listeners" {
                return (event.id.expect("a position"), json);
            }
            assert_eq!(event.id, None, "a count of listeners has no position");
        }
    }
}

/// A request as bytes.
pub(crate) fn request(method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut text = format!("{method} {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() || matches!(method, "POST" | "PUT") {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// Reads a status line and header lines; the body is left where it is.
pub(crate) fn read_head(stream: &mut impl BufRead) -> Answer {
    let mut line = || {
        let mut line = String::new();
        stream.read_line(&mut line).expect("a line of the head in time");
        assert!(line.ends_with("\r\n"), "a line of the head ends in CRLF: {line:?}");
        line.truncate(line.len() - 2);
        line
    };
    let first = line();
    let rest = first.strip_prefix("HTTP/1.1 ").unwrap_or_else(|| panic!("a status line: {first:?}"));
    let status = rest[..3].parse().expect("a status");
    let mut headers = Vec::new();
    loop {
        let line = line();
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').expect("a header line");
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    Answer { status, headers, body: Vec::new() }
}

fn read_answer(stream: &mut impl BufRead, method: &str) -> Answer {
    let mut answer = read_head(stream);
    if method == "HEAD" || matches!(answer.status, 100..200 | 204 | 304) {
        return answer;
    }
    let length = answer.header("Content-Length").map(|text| text.parse::<usize>().expect("a length"));
    if let Some(length) = length {
        answer.body.resize(length, 0);
        stream.read_exact(&mut answer.body).expect("the body in time");
    } else {
        assert_eq!(answer.header("Connection"), Some("close"), "a body without a length ends with the connection");
        stream.read_to_end(&mut answer.body).expect("the body in time");
    }
    answer
}
