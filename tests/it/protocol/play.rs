//! Plays an example against the real binary: sends what it sends, and compares what comes with what it shows.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tungstenite::client::IntoClientRequest;
use tungstenite::protocol::CloseFrame;
use tungstenite::{Error, Message, WebSocket};

use super::document::{Act, Block, Step, read_bytes};
use super::pattern::Meanings;
use crate::live::http::connect;
use crate::live::server::{Config, MAIN, Server, Signal, pause};

/// Names of listeners, each with a port.
type Names = &'static [(&'static str, u16)];

/// What the pages call the listeners, and the ports that they are shipped with.
const NAMES: Names = &[
    ("127.0.0.1:5000", MAIN),
    ("127.0.0.1:9527", 9527),
    ("127.0.0.1:8002", 8002),
    ("127.0.0.1:8003", 8003),
    ("127.0.0.1:7777", 7777),
    ("localhost:8000", 8000),
];
const CONFORMANCE_NAMES: Names = &[("127.0.0.1:3000", 3000)];
/// How a page shows what stands between the packets of a payload.
const SEPARATOR: (&str, &str) = ("\u{241e}", "\u{1e}");
/// The demo's greeting, and what becomes of it when a test writes the configuration anew: keys in their order.
const GREETING: (&str, &str) = (r#"{"data":"Connected","count":0}"#, r#"{"count":0,"data":"Connected"}"#);
const STOP: &str = "kill -TERM $TALLYCAST";
/// Counts of listeners come when they like: those that an example does not show are passed over.
const LISTENERS: &str = r#"{"type":"listeners","#;

/// An example that is being played.
struct Play {
    server: Server,
    names: Names,
    meanings: Meanings,
    connections: BTreeMap<char, Connection>,
}

enum Connection {
    Http(Http),
    Socket(Box<WebSocket<TcpStream>>),
}

struct Http {
    stream: BufReader<TcpStream>,
    /// The methods of the requests that have no answer yet.
    asked: VecDeque<String>,
    /// The response goes on until the connection ends.
    streams: bool,
    /// A WebSocket from here on, of which the example shows no more.
    switched: bool,
}

/// Plays a block.
///
/// # Errors
/// The line, and what came instead of what it shows.
pub(super) fn play(block: &Block) -> Result<(), String> {
    let (config, names) = config(block)?;
    let mut play = Play { server: config.start(), names, meanings: Meanings::default(), connections: BTreeMap::new() };
    for step in &block.steps {
        play.step(step).map_err(|why| format!("line {}: {why}", step.line))?;
    }
    for (name, connection) in play.connections {
        if let Connection::Http(Http { stream, asked, switched: false, .. }) = connection {
            let rest = String::from_utf8_lossy(stream.buffer()).into_owned();
            let all = asked.is_empty() && only_counts(&rest);
            all.then_some(()).ok_or_else(|| format!("line {}: {name:?}: {asked:?} {rest:?}", block.line))?;
        }
    }
    Ok(())
}

/// The configuration of an example, and what its listeners are called.
fn config(block: &Block) -> Result<(Config, Names), String> {
    let Some(file) = &block.config else {
        let limits = block.limits.iter().cloned();
        return Ok((limits.fold(Config::demo().cores(1), |config, (key, value)| config.limit(&key, value)), NAMES));
    };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let text = std::fs::read_to_string(path).map_err(|error| format!("line {}: {file}: {error}", block.line))?;
    let of_key = |line: &&str, key: &str| line.strip_prefix(key).is_some_and(|rest| rest.starts_with(" = "));
    let changed = |line| match block.limits.iter().find(|(key, _)| of_key(&line, key)) {
        Some((key, value)) => format!("{key} = {value}\n"),
        None => format!("{line}\n"),
    };
    Ok((Config::of(&text.lines().map(changed).collect::<String>()), CONFORMANCE_NAMES))
}

impl Play {
    fn step(&mut self, step: &Step) -> Result<(), String> {
        let elsewhere = self.connections.iter().filter(|(name, _)| **name != step.on);
        let waits = |connection: &Connection| matches!(connection, Connection::Http(http) if !http.asked.is_empty());
        if matches!(step.act, Act::Send(_) | Act::Command(..)) && elsewhere.into_iter().any(|(_, other)| waits(other)) {
            // What was sent over another connection is to be read before this.
            pause(Duration::from_millis(50));
        }
        match &step.act {
            Act::Open(url) => {
                let socket = self.open(url)?;
                self.connections.insert(step.on, Connection::Socket(Box::new(socket)));
                Ok(())
            }
            Act::Send(lines) => self.send(step.on, lines),
            Act::Receive(lines) => self.receive(step.on, lines),
            Act::SendSpecial(lines) => lines.iter().try_for_each(|line| self.send_special(step.on, line)),
            Act::ReceiveSpecial(lines) => lines.iter().try_for_each(|line| self.receive_special(step.on, line)),
            Act::Command(command, output) => self.run(command, output),
        }
    }

    fn address(&self, name: &str) -> Option<SocketAddr> {
        let found = self.names.iter().find(|(known, _)| *known == name);
        found.map(|(_, port)| self.server.at(*port))
    }

    /// A text of the page as it is to be sent.
    fn outgoing(&self, text: &str) -> Result<String, String> {
        let mut text = self.meanings.fill(text)?.replace(SEPARATOR.0, SEPARATOR.1);
        for (name, port) in self.names {
            text = text.replace(name, &self.server.at(*port).to_string());
        }
        Ok(text)
    }

    /// A text that came, with the names that the page has for the listeners.
    fn incoming(&self, text: &str) -> String {
        let text = text.replace(SEPARATOR.1, SEPARATOR.0).replace(GREETING.1, GREETING.0);
        self.names.iter().fold(text, |text, (name, port)| text.replace(&self.server.at(*port).to_string(), name))
    }

    fn compare(&mut self, expected: &[String], actual: &str) -> Result<(), String> {
        let (mut actual, mut expected) = (self.incoming(actual), expected.join("\n"));
        if actual.contains(SEPARATOR.0) {
            (actual, expected) = (without_counts(&actual), without_counts(&expected));
        }
        // "..." as the last line: and so on.
        let fits = match expected.strip_suffix("\n...") {
            Some(beginning) => {
                let lines = beginning.matches('\n').count() + 1;
                let cut: Vec<&str> = actual.splitn(lines + 1, '\n').collect();
                cut.len() > lines && self.meanings.fits(beginning, &cut[..lines].join("\n"))
            }
            None => self.meanings.fits(&expected, &actual),
        };
        fits.then_some(()).ok_or_else(|| format!("instead of\n{expected}\ncame\n{actual:.3000}\n"))
    }

    fn open(&self, url: &str) -> Result<WebSocket<TcpStream>, String> {
        let rest = url.strip_prefix("ws://").ok_or("no ws://")?;
        let address = self.address(&rest[..rest.find('/').ok_or("no path")?]).ok_or("no listener has this address")?;
        let request = self.outgoing(url)?.into_client_request().map_err(|error| error.to_string())?;
        let opened = tungstenite::client(request, connect(address)).map_err(|error| error.to_string())?;
        Ok(opened.0)
    }

    fn http(&mut self, on: char, text: &str) -> Result<&mut Http, String> {
        let host = text.lines().find_map(|line| line.strip_prefix("Host: ")).and_then(|host| self.address(host));
        let address = host.unwrap_or_else(|| self.server.main());
        let connection = self.connections.entry(on).or_insert_with(|| {
            let stream = BufReader::new(connect(address));
            Connection::Http(Http { stream, asked: VecDeque::new(), streams: false, switched: false })
        });
        match connection {
            Connection::Http(http) => Ok(http),
            Connection::Socket(_) => Err("this connection is a WebSocket".to_owned()),
        }
    }

    fn send(&mut self, on: char, lines: &[String]) -> Result<(), String> {
        if let Some(Connection::Socket(_)) = self.connections.get(&on) {
            for line in lines {
                let text = self.outgoing(line)?;
                self.socket(on)?.send(Message::text(text)).map_err(|error| error.to_string())?;
            }
            return Ok(());
        }
        let end = lines.iter().position(String::is_empty).ok_or("a head ends with an empty line")?;
        let head = self.outgoing(&format!("{}\r\n\r\n", lines[..end].join("\r\n")))?;
        let body = self.outgoing(&lines[end + 1..].join("\n"))?;
        let method = lines[0].split(' ').next().unwrap_or_default().to_owned();
        let http = self.http(on, &lines[..end].join("\n"))?;
        http.asked.push_back(method);
        http.stream.get_mut().write_all([head.as_bytes(), body.as_bytes()].concat().as_slice()).map_err(shown)
    }

    fn send_special(&mut self, on: char, line: &str) -> Result<(), String> {
        if line.starts_with('"') {
            let bytes = read_bytes(line)?;
            if let Some(Connection::Socket(socket)) = self.connections.get_mut(&on) {
                return socket.get_mut().write_all(&bytes).map_err(shown);
            }
            let http = self.http(on, &String::from_utf8_lossy(&bytes))?;
            if http.asked.is_empty() {
                http.asked.push_back("GET".to_owned());
            }
            return match http.stream.get_mut().write_all(&bytes) {
                // The server may answer and close before all is written.
                Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => Ok(()),
                result => result.map_err(shown),
            };
        }
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let message = match word {
            "ping" => Message::Ping(rest.to_owned().into()),
            "pong" => Message::Pong(rest.to_owned().into()),
            "binary" => Message::binary(read_bytes(rest)?),
            "close" if rest.is_empty() => Message::Close(None),
            "close" => {
                let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
                let code: u16 = code.parse().map_err(|_| "no close code")?;
                Message::Close(Some(CloseFrame { code: code.into(), reason: reason.to_owned().into() }))
            }
            other => return Err(format!("what is {other:?}?")),
        };
        self.socket(on)?.send(message).map_err(|error| error.to_string())
    }

    fn socket(&mut self, on: char) -> Result<&mut WebSocket<TcpStream>, String> {
        match self.connections.get_mut(&on) {
            Some(Connection::Socket(socket)) => Ok(socket),
            Some(Connection::Http(_)) | None => Err("this is no WebSocket".to_owned()),
        }
    }

    fn receive(&mut self, on: char, lines: &[String]) -> Result<(), String> {
        match self.connections.get_mut(&on) {
            Some(Connection::Socket(_)) => lines.iter().try_for_each(|line| self.receive_text(on, line)),
            Some(Connection::Http(http)) if http.streams => self.receive_stream(on, lines),
            Some(Connection::Http(_)) => self.receive_response(on, lines),
            None => Err("nothing was sent over this connection".to_owned()),
        }
    }

    fn receive_text(&mut self, on: char, expected: &str) -> Result<(), String> {
        loop {
            let text = match self.socket(on)?.read() {
                Ok(Message::Text(text)) => text.to_string(),
                other => return Err(format!("instead of\n{expected}\ncame\n{other:?}")),
            };
            let result = self.compare(&[expected.to_owned()], &text);
            if result.is_ok() || !is_count(&text) {
                return result;
            }
        }
    }

    fn receive_special(&mut self, on: char, expected: &str) -> Result<(), String> {
        if let Some(Connection::Http(http)) = self.connections.get_mut(&on) {
            if expected != "end" {
                return Err("HTTP has no frames".to_owned());
            }
            http.asked.clear();
            let mut rest = String::new();
            return match http.stream.read_to_string(&mut rest) {
                Ok(_) if only_counts(&rest) => Ok(()),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(()),
                other => Err(format!("instead of the end came {rest:?}, {other:?}")),
            };
        }
        let actual = loop {
            match self.socket(on)?.read() {
                Ok(Message::Text(text)) if is_count(&text) => {}
                Ok(Message::Ping(bytes)) => break format!("ping {}", bytes.escape_ascii()),
                Ok(Message::Pong(bytes)) => break format!("pong {}", bytes.escape_ascii()),
                Ok(Message::Binary(bytes)) => break format!("binary \"{}\"", bytes.escape_ascii()),
                Ok(Message::Close(None)) => break "close".to_owned(),
                Ok(Message::Close(Some(frame))) => break format!("close {} {}", u16::from(frame.code), frame.reason),
                Ok(other) => break format!("{other:?}"),
                Err(Error::ConnectionClosed) => break "end".to_owned(),
                Err(Error::Io(error)) if error.kind() == ErrorKind::ConnectionReset => break "end".to_owned(),
                Err(Error::Protocol(_)) => break "end".to_owned(),
                Err(other) => return Err(format!("instead of\n{expected}\ncame\n{other:?}")),
            }
        };
        (actual.trim_end() == expected).then_some(()).ok_or_else(|| format!("instead of\n{expected}\ncame\n{actual}"))
    }

    fn receive_response(&mut self, on: char, expected: &[String]) -> Result<(), String> {
        let Some(Connection::Http(http)) = self.connections.get_mut(&on) else { return Err("no HTTP".to_owned()) };
        let method = http.asked.front().cloned().ok_or("there is no request")?;
        let mut head = http.head()?;
        let status: u16 = head[0].split(' ').nth(1).and_then(|word| word.parse().ok()).ok_or("no status")?;
        if status != 100 {
            http.asked.pop_front();
        }
        let dates: Vec<String> = head.extract_if(.., |line| line.starts_with("Date: ")).collect();
        let date = dates.first().and_then(|line| httpdate::parse_http_date(&line["Date: ".len()..]).ok());
        if dates.len() > 1 || date.is_some() != (status >= 200) {
            return Err(format!("{status} with the dates {dates:?}"));
        }
        let header = |name: &str| head.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let length = header("Content-Length").map(str::parse::<usize>).transpose().map_err(|_| "no length")?;
        let bodiless = method == "HEAD" || matches!(status, 100..200 | 204 | 304);
        let shown_head = expected.iter().position(String::is_empty).ok_or("a head ends with an empty line")?;
        let body = match length.filter(|_| !bodiless) {
            Some(length) => {
                let mut body = vec![0; length];
                http.stream.read_exact(&mut body).map_err(shown)?;
                String::from_utf8(body).map_err(|_| "no UTF-8")?
            }
            None => {
                http.streams = !bodiless;
                http.switched = status == 101;
                String::new()
            }
        };
        let streams = http.streams;
        if !streams {
            let shown_body = &expected[shown_head + 1..];
            head.extend(["".to_owned(), body]);
            let expected = [&expected[..=shown_head], &[shown_body.join("\n")]].concat();
            return self.compare(&expected, &head.join("\n"));
        }
        self.compare(&expected[..shown_head], &head.join("\n"))?;
        self.receive_stream(on, &expected[shown_head + 1..])
    }

    /// Lines of a response that goes on.
    fn receive_stream(&mut self, on: char, expected: &[String]) -> Result<(), String> {
        let mut passing = false;
        let mut expected = expected.iter();
        let mut next = expected.next();
        while let Some(line) = next {
            let Some(Connection::Http(http)) = self.connections.get_mut(&on) else { return Err("no HTTP".to_owned()) };
            let mut actual = String::new();
            http.stream.read_line(&mut actual).map_err(shown)?;
            let actual = actual.strip_suffix('\n').ok_or_else(|| format!("instead of\n{line}\ncame the end"))?;
            // A count that is not shown, and the empty line behind it.
            if std::mem::take(&mut passing) && actual.is_empty() {
                continue;
            }
            let counts = actual.strip_prefix("data: ").is_some_and(|data| data.starts_with(LISTENERS));
            match self.compare(std::slice::from_ref(line), actual) {
                Ok(()) => next = expected.next(),
                Err(_) if counts => passing = true,
                Err(why) => return Err(why),
            }
        }
        Ok(())
    }

    fn run(&mut self, command: &str, output: &[String]) -> Result<(), String> {
        if command == STOP && output.is_empty() {
            self.server.signal(Signal::Terminate);
            return Ok(());
        }
        let arguments = command.strip_prefix("curl ").ok_or("no command that is known here")?;
        let script = self.outgoing(&format!("curl --silent --show-error --max-time 30 {arguments}"))?;
        let done = Command::new("sh").args(["-c", &script]).output().map_err(shown)?;
        let said = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
        self.compare(output, said.trim_end_matches('\n'))
    }
}

impl Http {
    /// The lines of a response's head.
    fn head(&mut self) -> Result<Vec<String>, String> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).map_err(shown)?;
            match line.strip_suffix("\r\n") {
                Some("") if !lines.is_empty() => return Ok(lines),
                Some(line) => lines.push(line.to_owned()),
                None => return Err(format!("a response's head ends with {line:?}, behind {lines:?}")),
            }
        }
    }
}

/// Whether a text message is a count of listeners, be it in an event.
fn is_count(text: &str) -> bool {
    text.starts_with(LISTENERS) || text.starts_with("42") && text.contains(LISTENERS)
}

/// A payload without packets that are counts of listeners.
fn without_counts(payload: &str) -> String {
    let packets: Vec<&str> = payload.split(SEPARATOR.0).filter(|packet| !is_count(packet)).collect();
    packets.join(SEPARATOR.0)
}

/// Whether nothing is left but counts of listeners.
fn only_counts(rest: &str) -> bool {
    let mut events = rest.split("\n\n").filter(|event| !event.is_empty());
    events.all(|event| event.strip_prefix("data: ").is_some_and(|data| data.starts_with(LISTENERS)))
}

fn shown(error: std::io::Error) -> String {
    error.to_string()
}
