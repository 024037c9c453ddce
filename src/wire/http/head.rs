//! The head of a request: request line and header lines (RFC 9112 sections 2 to 5).
//!
//! The bytes of header lines are judged by `httparse`; on top of it, every line must end in CRLF, and what is ambiguous is
//! refused. A head is parsed into an [`Outline`] (numbers only), which makes a [`Head`] of the bytes wherever they lie then.

use httparse::{EMPTY_HEADER, Error};
use memchr::{memchr, memchr_iter};

use super::framing::{BodyFraming, Fields, elements, is_host};
use super::method;
use super::violation::Violation;
use crate::base::limits::{HEADER_LINES_MAX, Limits};

/// Empty lines before a request line that are overlooked: some clients send one behind a body (RFC 9112 section 2.2).
pub const EMPTY_LINES_MAX: usize = 4;
/// Bytes of a method; the longest registered one has 17.
pub const METHOD_BYTES_MAX: usize = 32;

/// Bounds of one request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeadLimits {
    /// Bytes from the first byte (overlooked empty lines included) to the empty line behind the header lines.
    pub head_bytes_max: usize,
    /// Bytes of the target.
    pub target_bytes_max: usize,
    /// Bytes of the body, without chunk sizes.
    pub body_bytes_max: usize,
    /// What a target in absolute form may say.
    pub hosts: Hosts,
}

/// What a target in absolute form (`GET http://host/path HTTP/1.1`) may say about the host.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Hosts {
    /// What Host says, and nothing else: who disagrees with himself is refused.
    #[default]
    Same,
    /// Anything, and user information before it: Host is ignored then (RFC 9112 section 3.2.2).
    Any,
}

impl From<&Limits> for HeadLimits {
    fn from(limits: &Limits) -> HeadLimits {
        HeadLimits {
            head_bytes_max: limits.head_bytes_max,
            target_bytes_max: limits.target_bytes_max,
            body_bytes_max: limits.body_bytes_max,
            hosts: Hosts::default(),
        }
    }
}

/// A request's head. It borrows all texts from the bytes that it was parsed from.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// As sent: methods are case-sensitive.
    pub method: &'a str,
    /// The target as sent.
    pub target: &'a str,
    /// The target's path, not decoded, without scheme, authority, query and fragment. `*` for `OPTIONS *`.
    pub path: &'a str,
    /// What follows the first `?`, not decoded, without a fragment.
    pub query: Option<&'a str>,
    /// 0 or 1; a later 1.x is served as 1.1 (RFC 9110 section 2.5).
    pub minor_version: u8,
    /// `host` or `host:port`; empty if a request of HTTP/1.0 has none.
    pub host: &'a str,
    /// How long the body is.
    pub body: BodyFraming,
    /// Whether the body is compressed besides (`Transfer-Encoding: gzip, chunked`): nobody here decodes that.
    pub coded: bool,
    /// Whether the connection stays open behind the answer (RFC 9112 section 9.3).
    pub keep_alive: bool,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub expect_continue: bool,
    lines: &'a [u8],
}

impl<'a> Head<'a> {
    /// The value of the first header with this name (in any case), without the space around it.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.named(name).next()
    }

    /// The same as text; `None` also if it is not UTF-8.
    pub fn header_str(&self, name: &str) -> Option<&'a str> {
        self.header(name).and_then(|value| str::from_utf8(value).ok())
    }

    /// All headers in their order, names as sent.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + Clone + use<'a> {
        // What was accepted is ASCII.
        Lines { rest: self.lines }.map(|(name, value)| (str::from_utf8(name).unwrap_or_default(), value))
    }

    /// Whether a header that is a list of tokens, over all its lines, has this one (in any case): `Connection: Upgrade`.
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        let mut values = self.named(name);
        values.any(|value| elements(value).any(|element| element.eq_ignore_ascii_case(token.as_bytes())))
    }

    /// The values of all headers with this name. Compared as bytes: most lines have another.
    fn named(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let of_it = move |(known, _): &(&[u8], &[u8])| known.eq_ignore_ascii_case(name.as_bytes());
        Lines { rest: self.lines }.filter(of_it).map(|(_, value)| value)
    }
}

/// Parses the head at the beginning of `input`, and says how many bytes it has (the body begins there).
/// `None`: it is not all here yet.
pub fn parse<'a>(input: &'a [u8], limits: &HeadLimits) -> Result<Option<(Head<'a>, usize)>, Violation> {
    Ok(outline(input, limits)?.map(|outline| (outline.head(input), outline.len())))
}

/// Where the parts of a head lie, and what it means.
#[derive(Clone, Copy, Debug)]
pub struct Outline {
    method: Span,
    target: Span,
    /// `None`: an absolute form without a path, which means `/`.
    path: Option<Span>,
    query: Option<Span>,
    host: Span,
    lines: Span,
    len: usize,
    minor_version: u8,
    keep_alive: bool,
    expect_continue: bool,
    body: BodyFraming,
    coded: bool,
}

impl Outline {
    /// Bytes of the head.
    #[expect(clippy::len_without_is_empty, reason = "a head is never empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// How long the body is.
    pub fn body(&self) -> BodyFraming {
        self.body
    }

    /// Whether the client waits for `100 Continue`.
    pub fn expect_continue(&self) -> bool {
        self.expect_continue
    }

    /// Whether the connection stays open behind the answer.
    pub fn keep_alive(&self) -> bool {
        self.keep_alive
    }

    /// The head, out of the same bytes that the outline was made from.
    pub fn head<'a>(&self, bytes: &'a [u8]) -> Head<'a> {
        Head {
            method: self.method.text(bytes),
            target: self.target.text(bytes),
            path: self.path.map_or("/", |path| path.text(bytes)),
            query: self.query.map(|query| query.text(bytes)),
            minor_version: self.minor_version,
            host: self.host.text(bytes),
            body: self.body,
            coded: self.coded,
            keep_alive: self.keep_alive,
            expect_continue: self.expect_continue,
            lines: self.lines.bytes(bytes),
        }
    }
}

/// Parses as [`parse`] does.
pub fn outline(input: &[u8], limits: &HeadLimits) -> Result<Option<Outline>, Violation> {
    let whole = input.len();
    let input = &input[..whole.min(limits.head_bytes_max)];
    match outline_within(input, limits)? {
        None if whole >= limits.head_bytes_max => Err(Violation::HeadTooLong),
        found => Ok(found),
    }
}

fn outline_within(input: &[u8], limits: &HeadLimits) -> Result<Option<Outline>, Violation> {
    let Some(start) = skip_empty_lines(input)? else {
        return Ok(None);
    };
    let Some(line_end) = memchr(b'\n', &input[start..]).map(|at| start + at) else {
        check_partial_line(&input[start..], limits)?;
        return Ok(None);
    };
    let line = RequestLine::read(input, start, line_end, limits)?;
    let lines_start = line_end + 1;
    let (lines_len, complete) = complete_lines(&input[lines_start..])?;
    let lines = Span::new(lines_start, lines_start + lines_len);
    let mut headers = [EMPTY_HEADER; HEADER_LINES_MAX];
    if let Err(error) = httparse::parse_headers(lines.bytes(input), &mut headers) {
        return Err(culprit(error, lines.bytes(input)));
    }
    // Of an incomplete head `httparse` fills in those lines that are complete.
    let mut fields = Fields::default();
    for header in headers.iter().take_while(|header| !header.name.is_empty()) {
        fields.add(header, line.minor_version, limits.body_bytes_max)?;
    }
    if !complete {
        check_partial_header(&input[lines_start + lines_len..])?;
        return Ok(None);
    }
    let body = fields.body(line.minor_version)?;
    let host = host(input, line.authority, fields.host, limits.hosts)?;
    Ok(Some(Outline {
        method: line.method,
        target: line.target,
        path: line.path,
        query: line.query,
        host,
        lines,
        len: lines.end as usize,
        minor_version: line.minor_version,
        keep_alive: fields.keep_alive(line.minor_version),
        expect_continue: fields.expect_continue,
        body,
        coded: fields.coded(),
    }))
}

/// The host that a request is for, of its target's authority and its Host, each of which may be missing.
fn host(input: &[u8], authority: Option<Span>, host: Option<&[u8]>, hosts: Hosts) -> Result<Span, Violation> {
    let Some(authority) = authority else {
        return Ok(host.map(|host| Span::of(host, input)).unwrap_or_default());
    };
    let mut named = authority.bytes(input);
    // A second `@` is not for us to say whose it is: `is_host` refuses it.
    if hosts == Hosts::Any
        && let Some(at) = memchr(b'@', named)
    {
        named = &named[at + 1..];
    }
    if !is_host(named) {
        return Err(Violation::TargetInvalid);
    }
    match host {
        Some(host) if hosts == Hosts::Same && !named.eq_ignore_ascii_case(host) => Err(Violation::HostDiffers),
        Some(host) if hosts == Hosts::Same => Ok(Span::of(host, input)),
        Some(_) | None => Ok(Span::of(named, input)),
    }
}

/// Whether these bytes are a token (RFC 9110 section 5.6.2).
pub(super) fn is_token(bytes: &[u8]) -> bool {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !bytes.is_empty() && bytes.iter().all(fits)
}

/// Judges one header or trailer line, without its CRLF, as `httparse` does, and names what is wrong.
pub(super) fn check_line(line: &[u8]) -> Result<(), Violation> {
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Err(Violation::LineFolded);
    }
    if line.contains(&b'\r') {
        return Err(Violation::BareCarriageReturn);
    }
    let colon = memchr(b':', line).ok_or(Violation::ColonMissing)?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    if matches!(name.last(), Some(b' ' | b'\t')) {
        return Err(Violation::SpaceBeforeColon);
    }
    if !is_token(name) {
        return Err(Violation::HeaderNameInvalid);
    }
    if value.iter().any(|&byte| byte != b'\t' && byte.is_ascii_control()) {
        return Err(Violation::HeaderValueInvalid);
    }
    Ok(())
}

/// A range of the input. Heads are bounded far below 4 GiB.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    fn new(start: usize, end: usize) -> Span {
        Span { start: start as u32, end: end as u32 }
    }

    /// Where `part` lies, which is a part of `whole`.
    fn of(part: &[u8], whole: &[u8]) -> Span {
        let start = part.as_ptr().addr() - whole.as_ptr().addr();
        Span::new(start, start + part.len())
    }

    fn bytes(self, input: &[u8]) -> &[u8] {
        &input[self.start as usize..self.end as usize]
    }

    /// All that is read by this was found to be ASCII.
    fn text(self, input: &[u8]) -> &str {
        str::from_utf8(self.bytes(input)).unwrap_or_default()
    }
}

/// Iterates over header lines that were found to be well-formed.
#[derive(Clone)]
struct Lines<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Lines<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        let end = memchr(b'\n', self.rest)?;
        let line = &self.rest[..end];
        self.rest = &self.rest[end + 1..];
        let colon = memchr(b':', line)?;
        Some((&line[..colon], trim(&line[colon + 1..])))
    }
}

/// Without spaces, tabs and the CR around it.
fn trim(value: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r');
    let start = value.iter().position(|byte| !blank(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !blank(byte)).map_or(start, |at| at + 1);
    &value[start..end]
}

/// Where the request line begins; `None` if that is not known yet.
fn skip_empty_lines(input: &[u8]) -> Result<Option<usize>, Violation> {
    let mut at = 0;
    loop {
        match input.get(at..).unwrap_or_default() {
            [] | [b'\r'] => return Ok(None),
            [b'\r', b'\n', ..] if at == 2 * EMPTY_LINES_MAX => return Err(Violation::EmptyLines),
            [b'\r', b'\n', ..] => at += 2,
            [b'\r', ..] => return Err(Violation::BareCarriageReturn),
            [b'\n', ..] => return Err(Violation::BareLineFeed),
            [_, ..] => return Ok(Some(at)),
        }
    }
}

/// Refuses early what cannot become a request line, such as a TLS handshake.
fn check_partial_line(line: &[u8], limits: &HeadLimits) -> Result<(), Violation> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.contains(&b'\r') {
        return Err(Violation::BareCarriageReturn);
    }
    let method_len = memchr(b' ', line).unwrap_or(line.len());
    if method_len > METHOD_BYTES_MAX || !(line.is_empty() || is_token(&line[..method_len])) {
        return Err(Violation::MethodInvalid);
    }
    let rest = line.get(method_len + 1..).unwrap_or_default();
    let target_len = memchr(b' ', rest).unwrap_or(rest.len());
    if target_len > limits.target_bytes_max {
        return Err(Violation::TargetTooLong);
    }
    let version = rest.get(target_len + 1..).unwrap_or_default();
    if version.len() >= b"HTTP/1.1".len() {
        minor_version(version)?;
    }
    Ok(())
}

/// Refuses early what cannot become a header line.
fn check_partial_header(line: &[u8]) -> Result<(), Violation> {
    match memchr(b'\r', line) {
        _ if matches!(line.first(), Some(b' ' | b'\t')) => Err(Violation::LineFolded),
        Some(at) if at + 1 < line.len() => Err(Violation::BareCarriageReturn),
        Some(_) | None => Ok(()),
    }
}

/// How many of these bytes are complete lines, and whether the empty line that ends a head is the last of them.
fn complete_lines(input: &[u8]) -> Result<(usize, bool), Violation> {
    let mut start = 0;
    for (line, end) in memchr_iter(b'\n', input).enumerate() {
        if end == start || input[end - 1] != b'\r' {
            return Err(Violation::BareLineFeed);
        }
        let empty = end == start + 1;
        start = end + 1;
        if empty {
            return Ok((start, true));
        }
        if line == HEADER_LINES_MAX {
            return Err(Violation::HeadersTooMany);
        }
    }
    Ok((start, false))
}

/// What `httparse` did not like in these lines.
fn culprit(error: Error, lines: &[u8]) -> Violation {
    let first = lines
        .split_inclusive(|&byte| byte == b'\n')
        .map(|line| line.strip_suffix(b"\r\n").unwrap_or(line))
        .take_while(|line| !line.is_empty())
        .find_map(|line| check_line(line).err());
    first.unwrap_or(match error {
        Error::TooManyHeaders => Violation::HeadersTooMany,
        Error::HeaderName | Error::Token => Violation::HeaderNameInvalid,
        Error::HeaderValue | Error::NewLine | Error::Status | Error::Version => Violation::HeaderValueInvalid,
    })
}

struct RequestLine {
    method: Span,
    target: Span,
    authority: Option<Span>,
    path: Option<Span>,
    query: Option<Span>,
    minor_version: u8,
}

impl RequestLine {
    /// Reads the line `input[start..line_end]`, CR included, LF not.
    fn read(input: &[u8], start: usize, line_end: usize, limits: &HeadLimits) -> Result<RequestLine, Violation> {
        let Some(line) = input[start..line_end].strip_suffix(b"\r") else {
            return Err(Violation::BareLineFeed);
        };
        if line.contains(&b'\r') {
            return Err(Violation::BareCarriageReturn);
        }
        let method_len = memchr(b' ', line).unwrap_or(line.len());
        if method_len > METHOD_BYTES_MAX || !is_token(&line[..method_len]) {
            return Err(Violation::MethodInvalid);
        }
        let rest = line.get(method_len + 1..).ok_or(Violation::RequestLineShape)?;
        let target_len = memchr(b' ', rest).unwrap_or(rest.len());
        if target_len > limits.target_bytes_max {
            return Err(Violation::TargetTooLong);
        }
        if target_len == 0 {
            return Err(Violation::RequestLineShape);
        }
        let version = rest.get(target_len + 1..).ok_or(Violation::VersionMissing)?;
        let minor_version = minor_version(version)?;
        if !method::is_known(&line[..method_len]) {
            return Err(Violation::MethodUnknown);
        }
        let target_start = start + method_len + 1;
        let target = Span::new(target_start, target_start + target_len);
        let mut line = RequestLine {
            method: Span::new(start, start + method_len),
            target,
            authority: None,
            path: None,
            query: None,
            minor_version,
        };
        line.read_target(input)?;
        Ok(line)
    }

    /// The forms of a target (RFC 9112 section 3.2).
    fn read_target(&mut self, input: &[u8]) -> Result<(), Violation> {
        let method = self.method.bytes(input);
        let target = self.target.bytes(input);
        if method == b"CONNECT" {
            return Err(Violation::Connect);
        }
        if !target.iter().all(u8::is_ascii_graphic) {
            return Err(Violation::TargetInvalid);
        }
        if target == b"*" {
            // Only OPTIONS has a meaning for it; methods that are not HTTP's own may, and find no route.
            let own: [&[u8]; 6] = [b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"TRACE"];
            self.path = Some(self.target);
            return if own.contains(&method) { Err(Violation::TargetInvalid) } else { Ok(()) };
        }
        let start = self.target.start as usize;
        let mut path_start = 0;
        if target[0] != b'/' {
            let scheme = [&b"http://"[..], b"https://"]
                .into_iter()
                .find(|scheme| target.get(..scheme.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(scheme)))
                .ok_or(Violation::TargetInvalid)?;
            let authority = &target[scheme.len()..];
            let len = authority.iter().position(|byte| b"/?#".contains(byte)).unwrap_or(authority.len());
            path_start = scheme.len() + len;
            self.authority = Some(Span::new(start + scheme.len(), start + path_start));
            if len == 0 {
                return Err(Violation::TargetInvalid);
            }
        }
        let fragment = memchr(b'#', target).unwrap_or(target.len());
        let question = memchr(b'?', &target[..fragment]);
        let path_end = question.unwrap_or(fragment);
        self.path = (path_start < path_end).then(|| Span::new(start + path_start, start + path_end));
        self.query = question.map(|question| Span::new(start + question + 1, start + fragment));
        Ok(())
    }
}

fn minor_version(version: &[u8]) -> Result<u8, Violation> {
    match version {
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit() => {
            match (major, minor) {
                (b'1', b'0') => Ok(0),
                (b'1', _) => Ok(1),
                (b'0', _) => Err(Violation::VersionInvalid),
                (_, _) => Err(Violation::VersionUnsupported),
            }
        }
        _ if version.contains(&b' ') => Err(Violation::RequestLineShape),
        _ => Err(Violation::VersionInvalid),
    }
}
