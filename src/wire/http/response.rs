//! Responses to bytes (RFC 9110 sections 6 and 15, RFC 9112 sections 4 and 9.3).

use memchr::memchr3;

/// A response with its whole body. Date, Content-Length and Connection are written by [`write()`] and do not belong in `headers`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Response<'a> {
    /// The status code.
    pub status: u16,
    /// Names and values, in this order.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body.
    pub body: &'a [u8],
}

/// What the request makes of its response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Framing {
    /// The answer to HEAD: the length of the body, without the body.
    pub head_only: bool,
    /// Whether the connection stays open.
    pub keep_alive: bool,
    /// The minor version of the request: HTTP/1.0 has to be told that the connection stays open.
    pub minor_version: u8,
}

/// Appends a response. `date`: as in the Date header; left out if empty.
pub fn write(out: &mut Vec<u8>, response: &Response<'_>, framing: Framing, date: &str) {
    let connection = match (framing.keep_alive, framing.minor_version) {
        (false, _) => Some("close"),
        (true, 0) => Some("keep-alive"),
        (true, _) => None,
    };
    let interim = response.status < 200;
    let bodiless = interim || matches!(response.status, 204 | 304);
    debug_assert!(!bodiless || response.body.is_empty(), "{} has no body", response.status);
    write_status_line(out, response.status, date);
    if !bodiless {
        write_header(out, "Content-Length", itoa::Buffer::new().format(response.body.len()));
    }
    // A response of 1xx says nothing about the end of the connection; 101 has a Connection of its own.
    if let Some(connection) = connection.filter(|_| !interim) {
        write_header(out, "Connection", connection);
    }
    write_headers(out, response.headers);
    if !bodiless && !framing.head_only {
        out.extend_from_slice(response.body);
    }
}

/// Appends the head of a response whose body goes on until the connection is closed.
pub fn write_stream_head(out: &mut Vec<u8>, status: u16, headers: &[(&str, &str)], date: &str) {
    write_status_line(out, status, date);
    write_header(out, "Connection", "close");
    write_headers(out, headers);
}

/// The words that go with a status code; empty for one that is not used here.
pub fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

fn write_status_line(out: &mut Vec<u8>, status: u16, date: &str) {
    debug_assert!((100..600).contains(&status), "{status} is no status");
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(itoa::Buffer::new().format(status).as_bytes());
    out.push(b' ');
    out.extend_from_slice(reason(status).as_bytes());
    out.extend_from_slice(b"\r\n");
    if !date.is_empty() {
        write_header(out, "Date", date);
    }
}

fn write_headers(out: &mut Vec<u8>, headers: &[(&str, &str)]) {
    for (name, value) in headers {
        debug_assert!(!name.eq_ignore_ascii_case("content-length"), "the length is written by `write`");
        write_header(out, name, value);
    }
    out.extend_from_slice(b"\r\n");
}

/// A value may have come from a client (an Origin): what would end the line becomes a space.
fn write_header(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    let start = out.len();
    out.extend_from_slice(value.as_bytes());
    while let Some(at) = memchr3(b'\r', b'\n', 0, &out[start..]) {
        out[start + at] = b' ';
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn framing(head_only: bool, keep_alive: bool, minor_version: u8) -> Framing {
        Framing { head_only, keep_alive, minor_version }
    }

    #[test]
    fn rows() {
        let json = &[("Content-Type", "application/json")][..];
        type Row<'a> = (u16, &'a [(&'a str, &'a str)], &'a str, Framing, &'a str);
        let rows: &[Row<'_>] = &[
            (200, &[], "hi", framing(false, true, 1), "HTTP/1.1 200 OK\r\nDate: D\r\nContent-Length: 2\r\n\r\nhi"),
            (
                200,
                json,
                "{}",
                framing(true, true, 1),
                "HTTP/1.1 200 OK\r\nDate: D\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n",
            ),
            (
                404,
                &[],
                "",
                framing(false, false, 1),
                "HTTP/1.1 404 Not Found\r\nDate: D\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            ),
            (
                200,
                &[],
                "x",
                framing(false, true, 0),
                "HTTP/1.1 200 OK\r\nDate: D\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\nx",
            ),
            (
                200,
                &[],
                "x",
                framing(false, false, 0),
                "HTTP/1.1 200 OK\r\nDate: D\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx",
            ),
            (
                204,
                &[("Allow", "GET")],
                "",
                framing(false, true, 1),
                "HTTP/1.1 204 No Content\r\nDate: D\r\nAllow: GET\r\n\r\n",
            ),
            (
                304,
                &[("ETag", "\"a-1\"")],
                "",
                framing(false, true, 1),
                "HTTP/1.1 304 Not Modified\r\nDate: D\r\nETag: \"a-1\"\r\n\r\n",
            ),
            (
                101,
                &[("Connection", "Upgrade")],
                "",
                framing(false, false, 1),
                "HTTP/1.1 101 Switching Protocols\r\nDate: D\r\nConnection: Upgrade\r\n\r\n",
            ),
            (
                200,
                &[("Vary", "a\r\nSet-Cookie: b\0c\nd\r")],
                "",
                framing(false, true, 1),
                "HTTP/1.1 200 OK\r\nDate: D\r\nContent-Length: 0\r\nVary: a  Set-Cookie: b c d \r\n\r\n",
            ),
        ];
        for (status, headers, body, framing, expected) in rows {
            let mut out = Vec::new();
            write(&mut out, &Response { status: *status, headers, body: body.as_bytes() }, *framing, "D");
            assert_eq!(str::from_utf8(&out), Ok(*expected));
        }
        let mut out = Vec::new();
        write_stream_head(&mut out, 200, &[("Content-Type", "text/event-stream")], "D");
        let expected = "HTTP/1.1 200 OK\r\nDate: D\r\nConnection: close\r\nContent-Type: text/event-stream\r\n\r\n";
        assert_eq!(str::from_utf8(&out), Ok(expected));
    }

    /// Reader and writer together: an independent parser reads back what was written.
    #[test]
    fn reads_back() {
        for status in (200..600).filter(|&status| !reason(status).is_empty()) {
            let body: &[u8] = if matches!(status, 204 | 304) { b"" } else { b"body" };
            let headers = [("X-One", "1"), ("X-Two", "小")];
            let mut out = Vec::new();
            write(&mut out, &Response { status, headers: &headers, body }, framing(false, true, 1), DATE);
            let mut lines = [httparse::EMPTY_HEADER; 8];
            let mut read = httparse::Response::new(&mut lines);
            let len = read.parse(&out).unwrap().unwrap();
            assert_eq!((read.code, read.reason), (Some(status), Some(reason(status))));
            assert_eq!(&out[len..], body);
            let value = |name: &str| read.headers.iter().find(|header| header.name == name).map(|header| header.value);
            assert_eq!(value("Date"), Some(DATE.as_bytes()));
            assert_eq!(value("X-Two"), Some("小".as_bytes()));
            assert_eq!(value("Content-Length"), (!body.is_empty()).then_some(&b"4"[..]));
        }
    }
}
