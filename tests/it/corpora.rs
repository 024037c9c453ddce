//! Requests that other parsers are tested with, against the real server: what they accept is answered, what they refuse
//! is refused and ends the connection, what is incomplete is waited for, and nobody else notices any of it.
//!
//! The folder that `CORPORA_DIR` names has JSON files of `{id, req, want}`, one character per byte. `scripts/test` sets it
//! where there is one. Without it only the rows below are sent.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use crate::live::http::{Http, connect};
use crate::live::server::{Config, loud};

const HTTP: u16 = 9002;
/// An incomplete request is not answered within this.
const WAIT: Duration = Duration::from_millis(200);

const TEXT: &[u8] = b"\r\nContent-Type: text/plain";

/// A few of our own, so that the judge is known to work where there is no folder.
const ROWS: [(&str, &str); 9] = [
    ("accept", "GET /any/path HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("accept", "GET http://b/x HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("accept", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    ("reject", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n"),
    ("reject", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0\r\n\r\n"),
    ("reject", "GET / HTTP/9.1\r\nHost: a\r\n\r\n"),
    ("reject-or-close", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    ("wait", "GET / HTTP/1.1\r\nHost: a\r\n"),
    ("any", "CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n"),
];

struct Case {
    id: String,
    request: Vec<u8>,
    want: String,
}

/// What came back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Seen {
    /// The first status, if there is one.
    status: Option<u16>,
    /// It is a refusal of the parser: plain text, and the connection ends. What is refused behind it (no such path, a path
    /// that is no text) is JSON, and the connection goes on.
    by_parser: bool,
    /// The server ended the connection by itself.
    closed: bool,
}

#[test]
fn what_is_accepted_refused_and_waited_for() {
    let server = Config::conformance().start();
    let own = ROWS.iter().map(|(want, request)| Case {
        id: format!("own/{request:?}"),
        request: request.as_bytes().to_vec(),
        want: (*want).to_owned(),
    });
    let mut cases: Vec<Case> = own.collect();
    match std::env::var_os("CORPORA_DIR") {
        Some(folder) => {
            cases.extend(read(Path::new(&folder)));
            assert!(cases.len() > 300, "{} requests", cases.len());
        }
        None => loud("the corpora of other parsers are skipped: CORPORA_DIR is not set"),
    }
    let at = server.at(HTTP);
    let mut wrong = Vec::new();
    for Case { id, request, want } in &cases {
        let seen = send(at, request);
        let agrees = match want.as_str() {
            "accept" => seen.status.is_some() && !seen.by_parser,
            "reject" => seen.by_parser && seen.closed,
            "reject-or-close" => seen.status.is_none_or(|status| status >= 400) && seen.closed,
            "wait" => seen == Seen { status: None, by_parser: false, closed: false },
            "any" => true,
            other => panic!("{id}: {other}"),
        };
        if !agrees {
            wrong.push(format!("{id}: wanted {want}, saw {seen:?}"));
        }
        let after = Http::to(at).ask("POST", "/", &[], b"still here").ok();
        assert_eq!(after.text(), "still here", "after {id}");
    }
    assert_eq!(wrong, [""; 0], "{} of {}", wrong.len(), cases.len());
}

fn read(folder: &Path) -> Vec<Case> {
    let mut files: Vec<_> =
        std::fs::read_dir(folder).expect("CORPORA_DIR").map(|entry| entry.expect("one").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    let mut cases = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a file of cases");
        let rows: Vec<serde_json::Value> = serde_json::from_str(&text).expect("JSON");
        cases.extend(rows.iter().map(|row| {
            let text = |key: &str| row[key].as_str().expect("a text").to_owned();
            let bytes = text("req").chars().map(|byte| u8::try_from(u32::from(byte)).expect("a byte")).collect();
            Case { id: text("id"), request: bytes, want: text("want") }
        }));
    }
    cases
}

/// Sends a request and reads what comes until the connection ends, or nothing comes for a while.
fn send(at: SocketAddr, request: &[u8]) -> Seen {
    let mut stream = connect(at);
    stream.set_read_timeout(Some(WAIT)).expect("a read timeout");
    // The server may refuse and close before all is written.
    let _ = stream.write_all(request);
    let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
    let closed = loop {
        match stream.read(&mut piece) {
            Ok(0) => break true,
            Ok(len) => bytes.extend_from_slice(&piece[..len]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break true,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break false,
            Err(error) => panic!("{error}"),
        }
        // What was accepted is known by its first line; only of a refusal is the end waited for.
        if !refused(&bytes) && bytes.contains(&b'\n') {
            break false;
        }
    };
    let _ = stream.shutdown(Shutdown::Both);
    let status = status(&bytes);
    let text = bytes.windows(TEXT.len()).any(|part| part == TEXT);
    Seen { status, by_parser: status.is_some_and(|status| status >= 400) && text, closed }
}

fn refused(bytes: &[u8]) -> bool {
    status(bytes).is_none_or(|status| status >= 400)
}

fn status(bytes: &[u8]) -> Option<u16> {
    let rest = bytes.strip_prefix(b"HTTP/1.1 ")?;
    std::str::from_utf8(rest.get(..3)?).ok()?.parse().ok()
}
