//! HTTP: the head against httparse's reading, chunks against httparse's, the connection against itself cut elsewhere.

use httparse::{EMPTY_HEADER, Status};

use super::input::{Input, cut};
use crate::base::limits::HEADER_LINES_MAX;
use crate::conn::http::{Http, Phase};
use crate::wire::http::{BodyFraming, Decoder, Head, HeadLimits, Hosts, Violation, parse};

const ROOMY: HeadLimits =
    HeadLimits { head_bytes_max: 1 << 20, target_bytes_max: 1 << 20, body_bytes_max: 1 << 20, hosts: Hosts::Same };
const SMALL: HeadLimits =
    HeadLimits { head_bytes_max: 512, target_bytes_max: 100, body_bytes_max: 60, hosts: Hosts::Same };

/// What we read, httparse reads as the same. What httparse refuses, we do, a later 1.x apart; what is complete to it is
/// complete to us, or refused. And a refusal stays one, whatever follows.
pub fn http_head(data: &[u8]) {
    let ours = parse(data, &ROOMY);
    let mut headers = [EMPTY_HEADER; HEADER_LINES_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let theirs = request.parse(data);
    match (&ours, theirs) {
        (Ok(Some((head, len))), theirs) => {
            match theirs {
                Ok(theirs) => {
                    assert_eq!(theirs, Status::Complete(*len));
                    assert_eq!(Some(head.minor_version), request.version);
                    same(head, &request);
                }
                Err(httparse::Error::Version) => assert_eq!(head.minor_version, 1),
                Err(error) => panic!("httparse refuses it: {error}"),
            }
            consistent(head, &data[..*len]);
        }
        (Ok(None), Ok(Status::Complete(len))) => panic!("httparse finds it complete with {len} bytes"),
        (Ok(None), Ok(Status::Partial) | Err(_)) => {}
        (Err(violation), _) => assert!((400..506).contains(&violation.status())),
    }
    // A head is judged as it comes: what is refused early is refused with more; what is complete early stays the same.
    let head_len = ours.as_ref().ok().and_then(|found| found.as_ref()).map(|(_, len)| *len);
    for cut in (0..data.len()).step_by(1 + data.len() / 64) {
        match parse(&data[..cut], &ROOMY) {
            Ok(Some((_, len))) => assert_eq!(head_len, Some(len)),
            Ok(None) => assert!(head_len.is_none_or(|len| len > cut)),
            Err(violation) => assert!(ours.is_err(), "at {cut} {violation:?}"),
        }
    }
    let limited = parse(data, &SMALL);
    match (limited, ours) {
        (Ok(Some((_, limited))), Ok(Some((_, len)))) => assert_eq!(limited, len),
        (Ok(None), ours) => assert!(!matches!(ours, Ok(Some(_)))),
        (Ok(Some(_)), ours) => panic!("only complete within limits: {ours:?}"),
        (Err(_), _) => {}
    }
}

fn same(head: &Head<'_>, request: &httparse::Request<'_, '_>) {
    assert_eq!((Some(head.method), Some(head.target)), (request.method, request.path));
    let ours: Vec<_> = head.headers().collect();
    let theirs: Vec<_> = request.headers.iter().map(|header| (header.name, header.value)).collect();
    assert_eq!(ours, theirs);
}

/// What a head means follows from its lines: the framing above all, for two who read it differently can be played off
/// against each other.
fn consistent(head: &Head<'_>, bytes: &[u8]) {
    assert!(bytes.ends_with(b"\r\n\r\n"));
    assert_eq!(memchr::memchr_iter(b'\n', bytes).count(), memchr::memmem::find_iter(bytes, b"\r\n").count());
    assert_eq!(memchr::memchr_iter(b'\r', bytes).count(), memchr::memmem::find_iter(bytes, b"\r\n").count());
    let values = |name: &str| -> Vec<&[u8]> {
        head.headers().filter(|line| line.0.eq_ignore_ascii_case(name)).map(|line| line.1).collect()
    };
    let (lengths, codings) = (values("content-length"), values("transfer-encoding"));
    match head.body {
        BodyFraming::Chunked => {
            assert!(lengths.is_empty() && head.minor_version == 1);
            assert!(
                codings.join(&b' ').trim_ascii().eq_ignore_ascii_case(b"chunked")
                    || codings.join(&b' ').contains(&b',')
            );
        }
        BodyFraming::Length(length) => {
            assert!(codings.is_empty() && lengths.len() == 1 && length > 0);
            assert_eq!(std::str::from_utf8(lengths[0]).ok().and_then(|text| text.parse().ok()), Some(length));
        }
        BodyFraming::None => {
            assert!(codings.is_empty() && lengths.len() < 2);
            assert!(lengths.iter().all(|length| length.iter().all(|&digit| digit == b'0') && !length.is_empty()));
        }
    }
    let hosts = values("host");
    assert!(hosts.len() == 1 || (hosts.is_empty() && head.minor_version == 0));
    assert!(hosts.iter().all(|host| host.eq_ignore_ascii_case(head.host.as_bytes())));
    assert!(head.target.contains(head.path) || head.path == "/");
    assert!(head.query.is_none_or(|query| head.target.contains(query)));
    assert!(!head.path.contains(['?', '#']) && !head.path.is_empty());
    assert!(!head.expect_continue || values("expect").iter().any(|value| value.eq_ignore_ascii_case(b"100-continue")));
}

/// The same body, end and verdict wherever the bytes are cut, and wherever both read it, httparse's body.
pub fn http_chunked(data: &[u8]) {
    let (whole, pieces) = cut(data);
    for limits in [SMALL, ROOMY] {
        let expected = decode(&[whole], &limits);
        assert_eq!(decode(&pieces, &limits), expected, "cut into {} pieces", pieces.len());
        assert_eq!(decode(&whole.chunks(1).collect::<Vec<_>>(), &limits), expected, "byte by byte");
        if let Ok(Some((body, consumed))) = expected {
            assert!(body.len() <= limits.body_bytes_max && whole[..consumed].ends_with(b"\r\n"));
            if let Some(theirs) = by_httparse(whole) {
                assert_eq!(body, theirs);
            }
        }
    }
}

/// The body and where it ended; `None`: it has not.
type DecodedBody = Option<(Vec<u8>, usize)>;

fn decode(pieces: &[&[u8]], limits: &HeadLimits) -> Result<DecodedBody, Violation> {
    let mut decoder = Decoder::default();
    let (mut body, mut consumed) = (Vec::new(), 0);
    for piece in pieces {
        let mut bytes = piece.to_vec();
        let decoded = decoder.decode(&mut bytes, limits)?;
        assert!(decoded.written <= decoded.consumed && decoded.consumed <= bytes.len());
        body.extend_from_slice(&bytes[..decoded.written]);
        consumed += decoded.consumed;
        if decoded.done {
            return Ok(Some((body, consumed)));
        }
        assert_eq!(decoded.consumed, bytes.len(), "all is taken until the end");
    }
    Ok(None)
}

/// `None` for what it refuses: more than 15 digits.
fn by_httparse(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let Ok(Status::Complete((len, size))) = httparse::parse_chunk_size(rest) else { return None };
        if size == 0 {
            return Some(body);
        }
        let size = size as usize;
        body.extend_from_slice(&rest[len..len + size]);
        rest = &rest[len + size + 2..];
    }
}

/// The same requests and the same end wherever the bytes are cut, whether requests are answered at once or late.
pub fn http_connection(data: &[u8]) {
    let mut input = Input::new(data);
    let answer_late = input.below(2) == 1;
    let (whole, pieces) = cut(input.rest());
    // A connection looks at a head again only where a line ends.
    let end: &[u8] = b"\r\n";
    let expected = converse(&[whole, end].concat().chunks(usize::MAX).collect::<Vec<_>>(), false);
    let pieces: Vec<&[u8]> = pieces.into_iter().chain([end]).collect();
    assert_eq!(converse(&pieces, answer_late), expected, "cut into {} pieces", pieces.len());
    let bytes: Vec<&[u8]> = whole.chunks(1).chain([end]).collect();
    assert_eq!(converse(&bytes, answer_late), expected, "byte by byte");
}

#[derive(PartialEq, Eq, Default, Debug)]
struct Conversation {
    /// Method, target, headers and body of each request.
    requests: Vec<(String, String, Vec<u8>, Vec<u8>)>,
    refused: bool,
    phase: Option<Phase>,
}

fn converse(pieces: &[&[u8]], answer_late: bool) -> Conversation {
    let (mut http, mut seen) = (Http::default(), Conversation::default());
    let mut out = Vec::new();
    let empty: &[u8] = &[];
    for (index, piece) in pieces.iter().copied().chain([empty]).enumerate() {
        let mut bytes = piece.to_vec();
        let mut at = 0;
        loop {
            if !answer_late || index >= pieces.len() {
                http.answered();
            }
            let before = out.len();
            match http.next(&mut bytes[at..], &SMALL, "D", &mut out) {
                Ok((consumed, Some(request))) => {
                    at += consumed;
                    let headers: Vec<Vec<u8>> =
                        request.head.headers().map(|(name, value)| [name.as_bytes(), value].join(&b':')).collect();
                    let body = request.body.to_vec();
                    assert!(body.len() <= SMALL.body_bytes_max && request.head.target.len() <= SMALL.target_bytes_max);
                    let Head { method, target, .. } = request.head;
                    seen.requests.push((method.into(), target.into(), headers.join(&b'\n'), body));
                    assert!(!seen.refused && http.phase() == Phase::InHand);
                }
                Ok((consumed, None)) => {
                    assert_eq!(at + consumed, bytes.len(), "without a request all is consumed");
                    let interim = &out[before..];
                    assert!(interim.is_empty() || interim == b"HTTP/1.1 100 Continue\r\n\r\n");
                    break;
                }
                Err(violation) => {
                    assert!(!seen.refused, "a violation is final");
                    seen.refused = true;
                    answered(&out[before..], violation.status());
                    assert_eq!(http.phase(), Phase::InHand);
                    break;
                }
            }
        }
    }
    seen.phase = Some(http.phase());
    seen
}

/// The answer to a violation is a whole response that ends the connection.
fn answered(out: &[u8], status: u16) {
    let mut lines = [EMPTY_HEADER; 8];
    let mut response = httparse::Response::new(&mut lines);
    let Ok(Status::Complete(len)) = response.parse(out) else { panic!("{}", out.escape_ascii()) };
    assert_eq!(response.code, Some(status));
    let value =
        |name: &str| response.headers.iter().find(|line| line.name.eq_ignore_ascii_case(name)).map(|line| line.value);
    assert_eq!(value("connection"), Some(&b"close"[..]));
    assert_eq!(value("content-length"), Some((out.len() - len).to_string().as_bytes()));
}
