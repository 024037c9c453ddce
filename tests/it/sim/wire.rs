//! Naive readers and writers of what goes over the wire: they share nothing with the server's codecs.

use serde_json::Value;

/// A response, read whole.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// The one value of a header; panics if there are two.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(other, _)| other == name);
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} twice in {:?}", self.headers);
        value
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a text body is UTF-8")
    }

    pub(crate) fn json(&self) -> Value {
        let kind = self.header("content-type").unwrap_or_default();
        assert!(kind.starts_with("application/json"), "JSON with Content-Type {kind:?}");
        json(self.text())
    }

    /// Whether the server ends the connection behind it.
    pub(crate) fn closes(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

/// Reads JSON, or panics with it.
pub(crate) fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("no JSON ({error}): {text:?}"))
}

/// A response's head: the response without its body, and its length. `None`: not all here yet.
pub(crate) fn read_head(input: &[u8]) -> Option<(Response, usize)> {
    let len = input.windows(4).position(|bytes| bytes == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&input[..len - 4]).expect("a head is text");
    let mut lines = head.split("\r\n");
    let status = lines.next().expect("there is always a first line");
    let status = status.strip_prefix("HTTP/1.1 ").unwrap_or_else(|| panic!("no status line: {status:?}"));
    let (status, _reason) = status.split_once(' ').expect("a space behind the status");
    let headers = lines.map(|line| {
        let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("no header: {line:?}"));
        assert!(!name.is_empty() && !name.contains(' ') && !value.contains(['\r', '\n']), "{line:?}");
        (name.to_ascii_lowercase(), value.to_owned())
    });
    let response = Response {
        status: status.parse().expect("a status of three digits"),
        headers: headers.collect(),
        body: Vec::new(),
    };
    Some((response, len))
}

/// A response to a request of this method, and its length. `None`: not all here yet.
pub(crate) fn read_response(input: &[u8], method: &str) -> Option<(Response, usize)> {
    let (mut response, head) = read_head(input)?;
    let bodiless = method == "HEAD" || matches!(response.status, 100..200 | 204 | 304);
    if bodiless {
        return Some((response, head));
    }
    let length = response.header("content-length").map(str::to_owned);
    assert!(response.header("transfer-encoding").is_none(), "a length and nothing else: {response:?}");
    let length = length.unwrap_or_else(|| panic!("no Content-Length: {response:?}"));
    let length: usize = length.parse().expect("a length is decimal");
    response.body = input.get(head..head + length)?.to_vec();
    Some((response, head + length))
}

/// One frame as the server sends it: fin, opcode, payload.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) fin: bool,
    pub(crate) opcode: u8,
    pub(crate) payload: Vec<u8>,
}

/// A server's frame, and its length. `None`: not all here yet.
pub(crate) fn read_frame(input: &[u8]) -> Option<(Frame, usize)> {
    let (first, second) = (*input.first()?, *input.get(1)?);
    assert_eq!(first & 0x70, 0, "reserved bits: {first:#x}");
    assert_eq!(second & 0x80, 0, "a server does not mask");
    let opcode = first & 0x0f;
    assert!(matches!(opcode, 0 | 1 | 2 | 8 | 9 | 10), "opcode {opcode}");
    let (length, start) = match second {
        126 => {
            let length = u16::from_be_bytes(input.get(2..4)?.try_into().ok()?);
            assert!(length > 125, "not the shortest length");
            (usize::from(length), 4)
        }
        127 => {
            let length = u64::from_be_bytes(input.get(2..10)?.try_into().ok()?);
            assert!(length > 0xffff && length < 1 << 32, "length {length}");
            (length as usize, 10)
        }
        short => (usize::from(short), 2),
    };
    let fin = first & 0x80 != 0;
    assert!(opcode < 8 || (fin && length <= 125), "a control frame is whole and short");
    let payload = input.get(start..start + length)?.to_vec();
    Some((Frame { fin, opcode, payload }, start + length))
}

/// A client's frame.
pub(crate) fn write_frame(fin: bool, opcode: u8, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let mut out = vec![(u8::from(fin) << 7) | opcode];
    match payload.len() {
        short @ ..126 => out.push(0x80 | short as u8),
        middle @ 126..0x1_0000 => {
            out.push(0x80 | 126);
            out.extend((middle as u16).to_be_bytes());
        }
        long => {
            out.push(0x80 | 127);
            out.extend((long as u64).to_be_bytes());
        }
    }
    out.extend(mask);
    out.extend(payload.iter().enumerate().map(|(i, byte)| byte ^ mask[i % 4]));
    out
}

/// An event of an event stream.
#[derive(Debug, Default)]
pub(crate) struct Event {
    pub(crate) id: Option<String>,
    pub(crate) data: Vec<String>,
    pub(crate) retry: Option<String>,
    pub(crate) comments: usize,
}

/// An event (or a lone comment or retry), and its length. `None`: not all here yet.
pub(crate) fn read_event(input: &[u8]) -> Option<(Event, usize)> {
    let len = input.windows(2).position(|bytes| bytes == b"\n\n")? + 2;
    let text = std::str::from_utf8(&input[..len - 2]).expect("an event is UTF-8");
    let mut event = Event::default();
    for line in text.split('\n') {
        assert!(!line.contains('\r'), "lines end by LF: {line:?}");
        match line.split_once(':') {
            Some(("", _)) => event.comments += 1,
            Some(("id", value)) => event.id = Some(value.trim_start().to_owned()),
            Some(("data", value)) => event.data.push(value.strip_prefix(' ').unwrap_or(value).to_owned()),
            Some(("retry", value)) => event.retry = Some(value.trim_start().to_owned()),
            Some(_) | None => panic!("not a line of ours: {line:?}"),
        }
    }
    Some((event, len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_naive_readers_read() {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nETag: \"a-1\"\r\n\r\nhiHTTP";
        let (response, len) = read_response(head, "GET").expect("whole");
        assert_eq!((response.status, response.text(), len), (200, "hi", head.len() - 4));
        assert_eq!(response.header("etag"), Some("\"a-1\""));
        assert!((0..len).all(|cut| read_response(&head[..cut], "GET").is_none()));
        let frame = [0x81, 126, 0, 126].iter().chain(&[b'x'; 126]).copied().collect::<Vec<u8>>();
        let (read, len) = read_frame(&frame).expect("whole");
        assert_eq!((read.fin, read.opcode, read.payload.len(), len), (true, 1, 126, 130));
        assert!((0..len).all(|cut| read_frame(&frame[..cut]).is_none()));
        // RFC 6455 section 5.7: a masked "Hello".
        let hello = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        assert_eq!(write_frame(true, 1, b"Hello", [0x37, 0xfa, 0x21, 0x3d]), hello);
        let (event, len) = read_event(b"id: a-1\ndata: {}\n\n:").expect("whole");
        assert_eq!((event.id.as_deref(), event.data, len), (Some("a-1"), vec!["{}".to_owned()], 18));
        assert_eq!(read_event(b":\n\n").expect("whole").0.comments, 1);
    }
}
