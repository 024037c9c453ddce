//! The rows of [`parse`]: whole, and cut at every byte.

use proptest::prelude::*;

use super::Violation::*;
use super::head::{EMPTY_LINES_MAX, METHOD_BYTES_MAX, check_line};
use super::{BodyFraming, Head, HeadLimits, Hosts, Violation, parse};
use crate::base::limits::HEADER_LINES_MAX;

const LIMITS: HeadLimits =
    HeadLimits { head_bytes_max: 1200, target_bytes_max: 60, body_bytes_max: 5000, hosts: Hosts::Same };

/// Every prefix of what becomes a head is incomplete, and of what is refused is incomplete or refused for the same reason.
fn parse_cut<'a>(input: &'a [u8], name: &str) -> Result<Option<(Head<'a>, usize)>, Violation> {
    let whole = parse(input, &LIMITS);
    let end = whole.as_ref().ok().and_then(|found| found.as_ref()).map_or(input.len(), |(_, len)| *len);
    for cut in 0..end {
        match (parse(&input[..cut], &LIMITS), &whole) {
            (Ok(None), _) => {}
            (Err(part), Err(violation)) => assert_eq!(part, *violation, "{name} cut at {cut}"),
            (part, _) => panic!("{name} cut at {cut}: {part:?}"),
        }
    }
    whole
}

#[test]
fn violations() {
    let host = "Host: a\r\n";
    let get = |lines: &str| format!("GET / HTTP/1.1\r\n{host}{lines}\r\n");
    let line = |line: &str| format!("{line}\r\n{host}\r\n");
    let hosted = |value: &str| format!("GET / HTTP/1.1\r\nHost: {value}\r\n\r\n");
    let rows = [
        (get("X: a\n"), BareLineFeed),
        (format!("GET / HTTP/1.1\n{host}\r\n"), BareLineFeed),
        (format!("GET / HTTP/1.1\r\n{host}\n"), BareLineFeed),
        ("\nGET / HTTP/1.1\r\n".into(), BareLineFeed),
        (get("X: a\rb\r\n"), BareCarriageReturn),
        (get("X\r: a\r\n"), BareCarriageReturn),
        (get("X: a\r\r\n"), BareCarriageReturn),
        (line("GET /\ra HTTP/1.1"), BareCarriageReturn),
        ("\rGET / HTTP/1.1\r\n\r\n".into(), BareCarriageReturn),
        ("\r\n".repeat(EMPTY_LINES_MAX + 1), EmptyLines),
        (line("GET"), RequestLineShape),
        (line("GET "), RequestLineShape),
        (line("GET  / HTTP/1.1"), RequestLineShape),
        (line("GET /  HTTP/1.1"), RequestLineShape),
        (line("GET /a b HTTP/1.1"), RequestLineShape),
        (line("GET / HTTP/1.1 "), RequestLineShape),
        (line(" / HTTP/1.1"), MethodInvalid),
        (line("G\tT / HTTP/1.1"), MethodInvalid),
        (line("G\0T / HTTP/1.1"), MethodInvalid),
        ("\x16\x03\x01\x02".into(), MethodInvalid),
        ("A".repeat(METHOD_BYTES_MAX + 1), MethodInvalid),
        (line("MKCOLA / HTTP/1.1"), MethodUnknown),
        (line("get / HTTP/1.1"), MethodUnknown),
        ("GET / HTTP/1.1\r\n X".into(), LineFolded),
        ("GET / HTTP/1.1\r\nHost: a\r\n\rX".into(), BareCarriageReturn),
        ("GET / HTTP/5.6".into(), VersionUnsupported),
        ("GET / HTTP/1.1\r\nContent-Length: a\r\n".into(), LengthInvalid),
        (line("GET /"), VersionMissing),
        (line("GET / HTTP/0.9"), VersionInvalid),
        (line("GET / HTTP/1"), VersionInvalid),
        (line("GET / http/1.1"), VersionInvalid),
        (line("GET / HTTP/1.10"), VersionInvalid),
        (line("GET / "), VersionInvalid),
        (line("GET / HTTP/2.0"), VersionUnsupported),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), VersionUnsupported),
        (line("CONNECT a:80 HTTP/1.1"), Connect),
        (line("GET * HTTP/1.1"), TargetInvalid),
        (line("GET a HTTP/1.1"), TargetInvalid),
        (line("GET /\x7f HTTP/1.1"), TargetInvalid),
        (line("GET /小 HTTP/1.1"), TargetInvalid),
        (line("GET ftp://a/ HTTP/1.1"), TargetInvalid),
        (line("GET http:///a HTTP/1.1"), TargetInvalid),
        (line("GET http://u@a/ HTTP/1.1"), TargetInvalid),
        (line("GET http://b/ HTTP/1.1"), HostDiffers),
        (line("GET http://a:80/ HTTP/1.1"), HostDiffers),
        ("GET http://u@a/ HTTP/1.0\r\n\r\n".into(), TargetInvalid),
        (line(&format!("GET /{} HTTP/1.1", "a".repeat(60))), TargetTooLong),
        (format!("GET /{}", "a".repeat(60)), TargetTooLong),
        (get(&format!("X: {}\r\n", "a".repeat(1200))), HeadTooLong),
        (format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(1200)), HeadTooLong),
        (get(&"X:\r\n".repeat(HEADER_LINES_MAX)), HeadersTooMany),
        (get(" folded\r\n"), LineFolded),
        (get("\tfolded\r\n"), LineFolded),
        (format!("GET / HTTP/1.1\r\n {host}\r\n"), LineFolded),
        (get("X\r\n"), ColonMissing),
        (get("X : a\r\n"), SpaceBeforeColon),
        (get("Transfer-Encoding\t: chunked\r\n"), SpaceBeforeColon),
        (get(": a\r\n"), HeaderNameInvalid),
        (get("X Y: a\r\n"), HeaderNameInvalid),
        (get("\x01X: a\r\n"), HeaderNameInvalid),
        (get("Ⅹ: a\r\n"), HeaderNameInvalid),
        (get("X: \0\r\n"), HeaderValueInvalid),
        (get("X: a\x7f\r\n"), HeaderValueInvalid),
        ("GET / HTTP/1.1\r\n\r\n".into(), HostMissing),
        (get(host), HostTwice),
        (hosted(""), HostInvalid),
        (hosted("a b"), HostInvalid),
        (hosted("u@a"), HostInvalid),
        (hosted("a/b"), HostInvalid),
        (hosted("a?b"), HostInvalid),
        (hosted("小"), HostInvalid),
        (hosted(":80"), HostInvalid),
        (hosted("a:80:80"), HostInvalid),
        (hosted("a:x"), HostInvalid),
        (hosted("a:123456"), HostInvalid),
        (hosted("[::1"), HostInvalid),
        (hosted("[::1]a"), HostInvalid),
        (hosted("[a]"), HostInvalid),
        (get("Content-Length: 1\r\nContent-Length: 1\r\n"), LengthTwice),
        (get("Content-Length: 1, 1\r\n"), LengthTwice),
        (get("Content-Length:\r\n"), LengthInvalid),
        (get("Content-Length: -1\r\n"), LengthInvalid),
        (get("Content-Length: +1\r\n"), LengthInvalid),
        (get("Content-Length: 1 1\r\n"), LengthInvalid),
        (get("Content-Length: 0x1\r\n"), LengthInvalid),
        (get("Content-Length: 5001\r\n"), BodyTooLong),
        (get("Content-Length: 99999999999999999999999\r\n"), BodyTooLong),
        (get("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n"), LengthAndCoding),
        (get("Transfer-Encoding:\r\nContent-Length: 1\r\n"), LengthAndCoding),
        (get("Transfer-Encoding:\r\n"), CodingInvalid),
        (get("Transfer-Encoding: ,\r\n"), CodingInvalid),
        (get("Transfer-Encoding: chunked, chunked\r\n"), CodingInvalid),
        (get("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), CodingInvalid),
        (get("Transfer-Encoding: chunked, gzip\r\n"), CodingInvalid),
        (get("Transfer-Encoding: chunked;a=b\r\n"), CodingInvalid),
        (get("Transfer-Encoding: \"chunked\"\r\n"), CodingInvalid),
        (get("Transfer-Encoding: gzip\r\n"), CodingUnsupported),
        (get("Transfer-Encoding: identity\r\n"), CodingUnsupported),
        (get("Transfer-Encoding: gzip;a=b, chunked\r\n"), CodingUnsupported),
        (get("Transfer-Encoding: xchunked\r\n"), CodingUnsupported),
        (get("Transfer-Encoding: xgzip, chunked\r\n"), CodingUnsupported),
        (get("Transfer-Encoding: gzip, deflate\r\n"), CodingUnsupported),
        (get("Transfer-Encoding: gzip, chunked, deflate\r\n"), CodingInvalid),
        (get("Transfer-Encoding: gzip, chunked, chunked\r\n"), CodingInvalid),
        (get("Transfer-Encoding: gzip, chunked;q=1\r\n"), CodingInvalid),
        ("POST / HTTP/1.0\r\nTransfer-Encoding: gzip, chunked\r\n\r\n".into(), CodingBeforeHttp11),
        ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".into(), CodingBeforeHttp11),
        (get("Expect: 200-ok\r\n"), ExpectationUnknown),
        (get("Expect:\r\n"), ExpectationUnknown),
    ];
    for (input, expected) in &rows {
        let found = parse_cut(input.as_bytes(), input).map(|found| found.is_some());
        assert_eq!(found, Err(*expected), "{input:?}");
        assert!((400..=505).contains(&expected.status()) && !expected.reason().is_empty());
        assert_ne!(super::reason(expected.status()), "", "{expected:?}");
    }
}

#[test]
fn heads() {
    // Method, target, path, query, minor version, host, body, keep_alive, expect_continue.
    type Row<'a> = (&'a str, &'a str, &'a str, Option<&'a str>, u8, &'a str, BodyFraming, bool, bool);
    use BodyFraming::{Chunked, Length, None as No};
    let rows: [(&str, Row<'_>); 23] = [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", ("GET", "/", "/", None, 1, "a", No, true, false)),
        ("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", ("GET", "/", "/", None, 1, "a", No, true, false)),
        (
            "PURGE /a?b=c?d HTTP/1.1\r\nhOST:a:80\r\n\r\n",
            ("PURGE", "/a?b=c?d", "/a", Some("b=c?d"), 1, "a:80", No, true, false),
        ),
        ("GET /? HTTP/1.1\r\nHost: \t a \t\r\n\r\n", ("GET", "/?", "/", Some(""), 1, "a", No, true, false)),
        (
            "GET /a#b?c HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
            ("GET", "/a#b?c", "/a", None, 1, "[::1]:80", No, true, false),
        ),
        ("GET /a?b#c HTTP/1.1\r\nHost: a.b\r\n\r\n", ("GET", "/a?b#c", "/a", Some("b"), 1, "a.b", No, true, false)),
        (
            "GET //a/http://b HTTP/1.1\r\nHost: a\r\n\r\n",
            ("GET", "//a/http://b", "//a/http://b", None, 1, "a", No, true, false),
        ),
        (
            "GET HTTP://A:1/b?c HTTP/1.1\r\nHost: a:1\r\n\r\n",
            ("GET", "HTTP://A:1/b?c", "/b", Some("c"), 1, "a:1", No, true, false),
        ),
        ("GET http://a?c HTTP/1.1\r\nHost: a\r\n\r\n", ("GET", "http://a?c", "/", Some("c"), 1, "a", No, true, false)),
        ("GET https://a HTTP/1.1\r\nHost: a\r\n\r\n", ("GET", "https://a", "/", None, 1, "a", No, true, false)),
        ("GET http://a/b HTTP/1.0\r\n\r\n", ("GET", "http://a/b", "/b", None, 0, "a", No, false, false)),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", ("OPTIONS", "*", "*", None, 1, "a", No, true, false)),
        ("GET / HTTP/1.0\r\n\r\n", ("GET", "/", "/", None, 0, "", No, false, false)),
        (
            "GET / HTTP/1.0\r\nHost: a\r\nConnection: Keep-Alive\r\n\r\n",
            ("GET", "/", "/", None, 0, "a", No, true, false),
        ),
        ("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", ("GET", "/", "/", None, 0, "", No, false, false)),
        ("GET / HTTP/1.9\r\nHost: a\r\n\r\n", ("GET", "/", "/", None, 1, "a", No, true, false)),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: x , CLOSE\r\n\r\n",
            ("GET", "/", "/", None, 1, "a", No, false, false),
        ),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", ("POST", "/", "/", None, 1, "a", No, true, false)),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 005 \r\n\r\n",
            ("POST", "/", "/", None, 1, "a", Length(5), true, false),
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n",
            ("POST", "/", "/", None, 1, "a", Length(5000), true, false),
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n",
            ("POST", "/", "/", None, 1, "a", Chunked, true, false),
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-Continue\r\n\r\n",
            ("POST", "/", "/", None, 1, "a", Length(1), true, true),
        ),
        (
            "POST / HTTP/1.0\r\nContent-Length: 1\r\nExpect: 200-ok\r\n\r\n",
            ("POST", "/", "/", None, 0, "", Length(1), false, false),
        ),
    ];
    for (input, expected) in rows {
        let followed = [input.as_bytes(), b"\0\nwhatever\r\n\r\n"].concat();
        let (head, len) = parse_cut(&followed, input).unwrap().unwrap();
        assert_eq!(len, input.len(), "{input:?}");
        let found: Row<'_> = (
            head.method,
            head.target,
            head.path,
            head.query,
            head.minor_version,
            head.host,
            head.body,
            head.keep_alive,
            head.expect_continue,
        );
        assert_eq!(found, expected, "{input:?}");
    }
}

/// Where a body ends is certain if it comes in chunks, whatever else was done to it.
#[test]
fn codings_before_chunked() {
    for (value, coded) in [
        ("chunked", false),
        ("identity, chunked", false),
        ("gzip, chunked", true),
        ("X-GZIP,Chunked", true),
        ("compress, deflate, chunked", true),
        ("x-compress\r\nTransfer-Encoding: chunked", true),
        (", gzip,, chunked ,", true),
    ] {
        let input = format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {value}\r\n\r\n");
        let (head, _) = parse_cut(input.as_bytes(), value).unwrap().unwrap();
        assert_eq!((head.body, head.coded), (BodyFraming::Chunked, coded), "{value}");
    }
}

/// RFC 9112 section 3.2.2, where a listener says so.
#[test]
fn any_host() {
    let limits = HeadLimits { hosts: Hosts::Any, ..LIMITS };
    let rows = [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Ok("a")),
        ("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", Ok("b")),
        ("GET http://b:80/ HTTP/1.1\r\nHost: b\r\n\r\n", Ok("b:80")),
        ("GET http://u:p@b:80?c HTTP/1.1\r\nHost: a\r\n\r\n", Ok("b:80")),
        ("GET http://u@v@b HTTP/1.1\r\nHost: a\r\n\r\n", Err(TargetInvalid)),
        ("GET http://u@/ HTTP/1.1\r\nHost: a\r\n\r\n", Err(TargetInvalid)),
        ("GET http://b:x/ HTTP/1.1\r\nHost: a\r\n\r\n", Err(TargetInvalid)),
        ("GET http://b/ HTTP/1.1\r\nHost: u@a\r\n\r\n", Err(HostInvalid)),
        ("GET http://b/ HTTP/1.1\r\n\r\n", Err(HostMissing)),
    ];
    for (input, expected) in rows {
        let found = parse(input.as_bytes(), &limits).map(|found| found.unwrap().0.host);
        assert_eq!(found, expected, "{input:?}");
    }
}

#[test]
fn headers() {
    let input =
        b"GET / HTTP/1.1\r\nHost: a\r\nEmpty:\r\nOne: \t1 2\t \r\none: 3\r\nList: a,, B\r\nlist:c\r\nOdd: \xff\r\n\r\n";
    let (head, _) = parse_cut(input, "headers").unwrap().unwrap();
    let all: Vec<(&str, &[u8])> = head.headers().collect();
    let expected: [(&str, &[u8]); 7] = [
        ("Host", b"a"),
        ("Empty", b""),
        ("One", b"1 2"),
        ("one", b"3"),
        ("List", b"a,, B"),
        ("list", b"c"),
        ("Odd", b"\xff"),
    ];
    assert_eq!(all, expected);
    assert_eq!(head.header("ONE"), Some(&b"1 2"[..]));
    assert_eq!(head.header_str("empty"), Some(""));
    assert_eq!(head.header("odd"), Some(&b"\xff"[..]));
    assert_eq!(head.header_str("odd"), None);
    assert_eq!(head.header("absent"), None);
    for (token, expected) in [("b", true), ("C", true), ("", false), ("a,", false), ("d", false)] {
        assert_eq!(head.has_token("LIST", token), expected, "{token}");
    }
}

#[test]
fn bounds_are_exact() {
    let filled = |len: usize| {
        let bare = "GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n";
        bare.replace("X: ", &format!("X: {}", "a".repeat(len - bare.len())))
    };
    let len = LIMITS.head_bytes_max;
    assert_eq!(parse_cut(filled(len).as_bytes(), "exact").unwrap().map(|(_, len)| len), Some(len));
    assert_eq!(parse_cut(filled(len + 1).as_bytes(), "over").unwrap_err(), HeadTooLong);
    let lines = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X:\r\n".repeat(HEADER_LINES_MAX - 1));
    let (head, _) = parse_cut(lines.as_bytes(), "lines").unwrap().unwrap();
    assert_eq!(head.headers().count(), HEADER_LINES_MAX);
    let target = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(LIMITS.target_bytes_max - 1));
    assert!(parse_cut(target.as_bytes(), "target").unwrap().is_some());
    let empty = format!("{}GET / HTTP/1.0\r\n\r\n", "\r\n".repeat(EMPTY_LINES_MAX));
    assert!(parse_cut(empty.as_bytes(), "empty lines").unwrap().is_some());
}

proptest! {
    /// Two judges of a header line: the one that names the culprit, and `httparse`.
    #[test]
    fn two_judges_agree(line in prop::collection::vec(prop::sample::select(&b"aZ9-: \t,\r\0\x7f\x80{"[..]), 1..10)) {
        let followed = [&line[..], b"\r\n\r\n"].concat();
        let mut headers = [httparse::EMPTY_HEADER; 2];
        let parsed = httparse::parse_headers(&followed, &mut headers);
        let accepted = matches!(parsed, Ok(httparse::Status::Complete((_, [_]))));
        prop_assert_eq!(check_line(&line).is_ok(), accepted, "{}", line.escape_ascii());
    }

    /// The headers that are walked are those that `httparse` sees.
    #[test]
    fn two_readers_agree(lines in "(Host: a\r\n|[a-z]{1,3}:[ \t]{0,2}[a-z ,:\t]{0,6}\r\n){0,5}") {
        let input = format!("GET / HTTP/1.0\r\n{lines}\r\n");
        let mut headers = [httparse::EMPTY_HEADER; 8];
        let mut request = httparse::Request::new(&mut headers);
        prop_assert!(request.parse(input.as_bytes()).unwrap().is_complete());
        if let Ok(found) = parse(input.as_bytes(), &LIMITS) {
            let (head, len) = found.unwrap();
            let expected: Vec<_> = request.headers.iter().map(|header| (header.name, header.value)).collect();
            prop_assert_eq!(head.headers().collect::<Vec<_>>(), expected);
            prop_assert_eq!(len, input.len());
        }
    }

    /// A head with some bytes changed: nothing panics, what is found is found when its last byte is there and not before,
    /// and of what is refused no part is taken.
    #[test]
    fn changed_bytes(changes in prop::collection::vec((0..73_usize, prop::sample::select(&b"A /*?#:@1.,\t\r\n\0\xff"[..])), 0..4)) {
        let mut input = b"POST http://a/b?c HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nAccept: */*\r\n\r\nok".to_vec();
        for (at, byte) in changes {
            input[at] = byte;
        }
        let whole = parse(&input, &LIMITS);
        let found_at = whole.as_ref().ok().and_then(|found| found.as_ref()).map_or(usize::MAX, |(_, len)| *len);
        for cut in 0..=input.len() {
            match parse(&input[..cut], &LIMITS) {
                Ok(found) => prop_assert_eq!(found.is_some(), cut >= found_at),
                Err(_) => prop_assert!(whole.is_err()),
            }
        }
    }
}
