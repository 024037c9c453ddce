//! What the header lines of a request say about its body, its connection and its host (RFC 9112 sections 3.2 and 6, 9.3).

use httparse::Header;

use super::head::is_token;
use super::violation::Violation;

/// How long a request's body is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BodyFraming {
    /// There is none.
    None,
    /// So many bytes; at least one.
    Length(u64),
    /// Chunks ([`Decoder`](super::Decoder)).
    Chunked,
}

/// What is found in the header lines that decide where the request ends and what becomes of the connection. Each line is
/// judged as it is added, what is missing or does not go together at the end.
#[derive(Default)]
pub(super) struct Fields<'a> {
    pub(super) host: Option<&'a [u8]>,
    pub(super) expect_continue: bool,
    length: Option<BodyFraming>,
    coding: Coding,
    close: bool,
    keep_alive: bool,
}

impl<'a> Fields<'a> {
    /// Reads one line.
    pub(super) fn add(
        &mut self,
        header: &Header<'a>,
        minor_version: u8,
        body_bytes_max: usize,
    ) -> Result<(), Violation> {
        if header.name.eq_ignore_ascii_case("host") {
            if self.host.replace(header.value).is_some() {
                return Err(Violation::HostTwice);
            }
            if !is_host(header.value) {
                return Err(Violation::HostInvalid);
            }
        } else if header.name.eq_ignore_ascii_case("content-length") {
            if self.length.is_some() {
                return Err(Violation::LengthTwice);
            }
            self.length = Some(length(header.value, body_bytes_max)?);
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            self.coding.add(header.value);
        } else if header.name.eq_ignore_ascii_case("connection") {
            self.close |= elements(header.value).any(|option| option.eq_ignore_ascii_case(b"close"));
            self.keep_alive |= elements(header.value).any(|option| option.eq_ignore_ascii_case(b"keep-alive"));
        } else if header.name.eq_ignore_ascii_case("expect") && minor_version > 0 {
            // RFC 9110 section 10.1.1: the expectation of an HTTP/1.0 request is ignored.
            if !header.value.eq_ignore_ascii_case(b"100-continue") {
                return Err(Violation::ExpectationUnknown);
            }
            self.expect_continue = true;
        }
        Ok(())
    }

    /// All lines are read: how long the body is.
    pub(super) fn body(&self, minor_version: u8) -> Result<BodyFraming, Violation> {
        if self.host.is_none() && minor_version > 0 {
            return Err(Violation::HostMissing);
        }
        match (self.length, self.coding.lines) {
            (None, 0) => Ok(BodyFraming::None),
            (Some(length), 0) => Ok(length),
            (Some(_), _) => Err(Violation::LengthAndCoding),
            (None, _) => self.coding.framing(minor_version),
        }
    }

    /// All lines are read: whether the body has another coding besides its chunks.
    pub(super) fn coded(&self) -> bool {
        self.coding.coded
    }

    /// All lines are read: whether the connection stays open.
    pub(super) fn keep_alive(&self, minor_version: u8) -> bool {
        !self.close && (minor_version > 0 || self.keep_alive)
    }
}

/// The elements of a comma-separated list without quoted strings (RFC 9110 section 5.6.1); empty ones are left out.
pub(super) fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}

/// The transfer codings that may stand before `chunked` (RFC 9112 section 7.2 and its registry); `identity` was one in
/// RFC 2616, and changes nothing.
const REGISTERED: [&[u8]; 6] = [b"gzip", b"x-gzip", b"compress", b"x-compress", b"deflate", b"identity"];

/// The transfer codings, over all lines.
#[derive(Default)]
struct Coding {
    lines: usize,
    codings: usize,
    chunked: usize,
    chunked_last: bool,
    malformed: bool,
    unknown: bool,
    /// Some coding but `chunked` changes the bytes.
    coded: bool,
}

impl Coding {
    fn add(&mut self, value: &[u8]) {
        self.lines += 1;
        for element in elements(value) {
            self.codings += 1;
            self.chunked_last = element.eq_ignore_ascii_case(b"chunked");
            self.chunked += usize::from(self.chunked_last);
            // A coding may have parameters, `chunked` has none (RFC 9112 section 7.1).
            let name = element.split(|&byte| byte == b';').next().unwrap_or_default();
            let name = name.trim_ascii_end();
            self.malformed |= !is_token(name) || (name.len() < element.len() && name.eq_ignore_ascii_case(b"chunked"));
            let registered = REGISTERED.iter().any(|known| element.eq_ignore_ascii_case(known));
            self.unknown |= !registered && !self.chunked_last;
            self.coded |= registered && !element.eq_ignore_ascii_case(b"identity");
        }
    }

    /// Where the body ends is certain only if `chunked` is the last coding; those before it are left as they are.
    fn framing(&self, minor_version: u8) -> Result<BodyFraming, Violation> {
        if minor_version == 0 {
            return Err(Violation::CodingBeforeHttp11);
        }
        let misplaced = self.chunked > 1 || (self.chunked == 1 && !self.chunked_last);
        if self.malformed || self.codings == 0 || misplaced {
            return Err(Violation::CodingInvalid);
        }
        if self.unknown || self.chunked == 0 {
            return Err(Violation::CodingUnsupported);
        }
        Ok(BodyFraming::Chunked)
    }
}

fn length(value: &[u8], body_bytes_max: usize) -> Result<BodyFraming, Violation> {
    if value.is_empty() {
        return Err(Violation::LengthInvalid);
    }
    if value.contains(&b',') {
        return Err(Violation::LengthTwice);
    }
    let mut length: u64 = 0;
    for byte in value {
        if !byte.is_ascii_digit() {
            return Err(Violation::LengthInvalid);
        }
        // What does not fit is too long in any case.
        length = length.saturating_mul(10).saturating_add(u64::from(byte - b'0'));
    }
    match length {
        0 => Ok(BodyFraming::None),
        _ if length > body_bytes_max as u64 => Err(Violation::BodyTooLong),
        _ => Ok(BodyFraming::Length(length)),
    }
}

/// `uri-host [ ":" port ]` (RFC 9110 section 7.2, RFC 3986 section 3.2.2), not empty.
pub(super) fn is_host(value: &[u8]) -> bool {
    let (name, rest) = if value.first() == Some(&b'[') {
        let Some(end) = value.iter().position(|&byte| byte == b']') else {
            return false;
        };
        let address = &value[1..end];
        let fits = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
        if !address.contains(&b':') || !address.iter().all(fits) {
            return false;
        }
        value.split_at(end + 1)
    } else {
        let end = value.iter().position(|&byte| byte == b':').unwrap_or(value.len());
        let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%".contains(byte);
        if !value[..end].iter().all(fits) {
            return false;
        }
        value.split_at(end)
    };
    let port = match rest.split_first() {
        None => rest,
        Some((b':', port)) => port,
        Some(_) => return false,
    };
    !name.is_empty() && port.len() <= 5 && port.iter().all(u8::is_ascii_digit)
}
