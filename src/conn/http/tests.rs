//! The rows of a connection: whole, cut at every byte, and byte by byte.

use std::collections::HashSet;

use super::*;
use crate::wire::http::Hosts;

const LIMITS: HeadLimits =
    HeadLimits { head_bytes_max: 4096, target_bytes_max: 1000, body_bytes_max: 100_000, hosts: Hosts::Same };
const CONTINUE: &str = "HTTP/1.1 100 Continue\r\n\r\n";

/// What a caller sees of a connection.
#[derive(PartialEq, Debug, Default)]
struct Seen {
    /// Method, target and body.
    requests: Vec<(String, String, String)>,
    violation: Option<Violation>,
    phase: Option<Phase>,
    out: String,
}

/// Feeds the pieces. Each request is answered at once, or all only when everything has arrived.
fn drive<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, at_once: bool) -> Seen {
    let (mut http, mut seen, mut out) = (Http::default(), Seen::default(), Vec::new());
    let last: &[u8] = &[];
    for piece in pieces.into_iter().map(Some).chain([None]) {
        let mut bytes = piece.unwrap_or(last).to_vec();
        let mut at = 0;
        loop {
            if at_once || piece.is_none() {
                http.answered();
            }
            match http.next(&mut bytes[at..], &LIMITS, "D", &mut out) {
                Ok((consumed, Some(request))) => {
                    at += consumed;
                    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                    let (method, target) = (request.head.method.to_owned(), request.head.target.to_owned());
                    seen.requests.push((method, target, text(request.body)));
                    assert_eq!(http.phase(), Phase::InHand);
                }
                Ok((consumed, None)) => {
                    at += consumed;
                    assert_eq!(at, bytes.len(), "without a request, all is consumed");
                    break;
                }
                Err(violation) => {
                    assert_eq!(seen.violation.replace(violation), None);
                    at = bytes.len();
                }
            }
        }
    }
    let idle = matches!(http.phase(), Phase::Idle | Phase::InHand) && http.tail.is_empty();
    assert!(!idle || http.tail.capacity() == 0, "an idle connection owns no buffer");
    seen.phase = Some(http.phase());
    seen.out = String::from_utf8(out).unwrap();
    seen
}

const GET: &str = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
const LAST: &str = "GET /z HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
const LENGTH: &str = "POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
const CHUNKED: &str =
    "PUT /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x\r\nhello\r\n6\r\n world\r\n0\r\nX: y\r\n\r\n";

fn rows() -> Vec<(String, Vec<&'static str>, Result<Phase, Violation>)> {
    let two = |first: &str, second: &str| [first, second].concat();
    vec![
        (String::new(), vec![], Ok(Phase::Idle)),
        ("\r\n".into(), vec![], Ok(Phase::Idle)),
        ("GET /a HT".into(), vec![], Ok(Phase::Head)),
        (GET[..GET.len() - 1].into(), vec![], Ok(Phase::Head)),
        (LENGTH[..LENGTH.len() - 1].into(), vec![], Ok(Phase::Body)),
        (CHUNKED[..CHUNKED.len() - 1].into(), vec![], Ok(Phase::Body)),
        (GET.into(), vec!["GET /a "], Ok(Phase::Idle)),
        (LENGTH.into(), vec!["POST /b hello"], Ok(Phase::Idle)),
        (CHUNKED.into(), vec!["PUT /c hello world"], Ok(Phase::Idle)),
        (two(GET, GET), vec!["GET /a ", "GET /a "], Ok(Phase::Idle)),
        (two(GET, LENGTH), vec!["GET /a ", "POST /b hello"], Ok(Phase::Idle)),
        (two(LENGTH, CHUNKED), vec!["POST /b hello", "PUT /c hello world"], Ok(Phase::Idle)),
        (two(CHUNKED, GET), vec!["PUT /c hello world", "GET /a "], Ok(Phase::Idle)),
        (two(LENGTH, "\r\n"), vec!["POST /b hello"], Ok(Phase::Idle)),
        (two(LENGTH, &two("\r\n", GET)), vec!["POST /b hello", "GET /a "], Ok(Phase::Idle)),
        (two(LENGTH, "GET"), vec!["POST /b hello"], Ok(Phase::Head)),
        (two(CHUNKED, &LENGTH[..50]), vec!["PUT /c hello world"], Ok(Phase::Body)),
        (two(LAST, GET), vec!["GET /z "], Ok(Phase::InHand)),
        (two(LAST, "\0\n"), vec!["GET /z "], Ok(Phase::InHand)),
        (two(&GET.replace("1.1", "1.0"), GET), vec!["GET /a "], Ok(Phase::InHand)),
        (two(GET, "\0\r\n"), vec!["GET /a "], Err(Violation::MethodInvalid)),
        (two(&CHUNKED.replace("0\r\nX", "z\r\nX"), GET), vec![], Err(Violation::ChunkSizeInvalid)),
        (two(&CHUNKED.replace("hello\r", "hello\n"), GET), vec![], Err(Violation::ChunkEndMissing)),
        (LENGTH.replace(": 5", ": 100001"), vec![], Err(Violation::BodyTooLong)),
        (CHUNKED.replace("6\r", "186a0\r"), vec![], Err(Violation::BodyTooLong)),
        (GET.replace(": a", ": a\r\nX: \0"), vec![], Err(Violation::HeaderValueInvalid)),
        (GET.replace("/a", &"/a".repeat(501)), vec![], Err(Violation::TargetTooLong)),
        (format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(5000)), vec![], Err(Violation::HeadTooLong)),
    ]
}

#[test]
fn rows_whole_and_cut() {
    for (input, requests, end) in rows() {
        let bytes = input.as_bytes();
        for at_once in [true, false] {
            let whole = drive([bytes], at_once);
            let found: Vec<String> =
                whole.requests.iter().map(|(method, target, body)| format!("{method} {target} {body}")).collect();
            assert_eq!(found, requests, "{input:?}");
            assert_eq!((whole.violation, whole.phase), (end.err(), Some(end.unwrap_or(Phase::InHand))), "{input:?}");
            let answer = whole.violation.map_or(String::new(), violation_text);
            assert_eq!(whole.out, answer, "{input:?}");
            assert_eq!(drive(bytes.chunks(1), at_once), whole, "{input:?} byte by byte");
            for cut in 0..=bytes.len() {
                let pieces = [&bytes[..cut], &bytes[cut..]];
                assert_eq!(drive(pieces, at_once), whole, "{input:?} cut at {cut}");
            }
        }
    }
}

fn violation_text(violation: Violation) -> String {
    let (status, body) = (violation.status(), violation.reason());
    let reason = crate::wire::http::reason(status);
    let len = body.len() + 1;
    format!(
        "HTTP/1.1 {status} {reason}\r\nDate: D\r\nContent-Length: {len}\r\nConnection: close\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\r\n{body}\n"
    )
}

#[test]
fn continues_only_who_waits() {
    let expect = "Expect: 100-continue\r\n\r\n";
    for request in [LENGTH, CHUNKED] {
        let request = request.replacen("\r\n\r\n", &format!("\r\n{expect}"), 1);
        let head = request.find(expect).unwrap() + expect.len();
        let bytes = request.as_bytes();
        for (pieces, expected) in [
            (vec![bytes], ""),
            (vec![&bytes[..head], &bytes[head..]], CONTINUE),
            (vec![&bytes[..20], &bytes[20..head], &bytes[head..]], CONTINUE),
            (vec![&bytes[..head + 1], &bytes[head + 1..]], ""),
            (bytes.chunks(1).collect(), CONTINUE),
        ] {
            let seen = drive(pieces, true);
            assert_eq!((seen.out.as_str(), seen.requests.len()), (expected, 1), "{request:?}");
        }
    }
    let bodiless = GET.replacen("\r\n\r\n", &format!("\r\n{expect}"), 1);
    assert_eq!(drive([bodiless.as_bytes()], true).out, "");
}

#[test]
fn a_whole_request_stays_where_it_lies() {
    let (mut http, mut out) = (Http::default(), Vec::new());
    let mut input = [LENGTH, CHUNKED, GET, "GE"].concat().into_bytes();
    let range = input.as_ptr_range();
    let mut at = 0;
    for expected in [LENGTH, CHUNKED, GET] {
        let (consumed, request) = http.next(&mut input[at..], &LIMITS, "", &mut out).unwrap();
        let request = request.unwrap();
        assert_eq!(consumed, expected.len(), "what follows is not consumed");
        assert!(range.contains(&request.head.target.as_ptr()) && range.contains(&request.body.as_ptr()));
        at += consumed;
        assert_eq!(http.tail.capacity(), 0, "nothing is copied");
        http.answered();
    }
    assert_eq!(http.next(&mut input[at..], &LIMITS, "", &mut out).unwrap().0, 2);
    assert_eq!(http.phase(), Phase::Head);
}

#[test]
fn an_upgrade_takes_the_rest() {
    let mut input = [GET, "\x01\x02\x03"].concat().into_bytes();
    for cut in 1..=input.len() {
        let (mut http, mut out) = (Http::default(), Vec::new());
        let (first, second) = input.split_at_mut(cut);
        let mut requests = 0;
        for piece in [first, second] {
            let mut at = 0;
            while at < piece.len() {
                let (consumed, request) = http.next(&mut piece[at..], &LIMITS, "", &mut out).unwrap();
                requests += usize::from(request.is_some());
                at += consumed;
            }
        }
        assert_eq!((requests, http.into_rest()), (1, vec![1, 2, 3]), "cut at {cut}");
    }
}

#[test]
fn a_long_pipeline_is_not_moved_for_each_request() {
    let (mut http, mut out) = (Http::default(), Vec::new());
    let mut input = [GET].repeat(2000).concat().into_bytes();
    let (first, rest) = input.split_at_mut(5);
    http.next(first, &LIMITS, "", &mut out).unwrap();
    assert!(http.next(rest, &LIMITS, "", &mut out).unwrap().1.is_some());
    let kept = http.tail.as_ptr();
    for _ in 1..2000 {
        assert_eq!(http.tail.as_ptr(), kept);
        http.answered();
        let (_, request) = http.next(&mut [], &LIMITS, "", &mut out).unwrap();
        assert_eq!(request.unwrap().head.path, "/a");
    }
    http.answered();
    assert_eq!((http.phase(), http.tail.capacity()), (Phase::Idle, 0));
}

/// Rows that a parser may accept and this server does not unless it is told that any host will do: a target in absolute
/// form must name the host that Host does.
const STRICTER: &[(&str, Violation)] = &[
    ("llhttp/uri/Host terminated by a query string", Violation::HostDiffers),
    ("llhttp/uri/`host:port` terminated by a query string", Violation::HostDiffers),
    ("llhttp/uri/`host:port` terminated by a space", Violation::HostDiffers),
    ("llhttp/uri/`host:port` and basic auth", Violation::TargetInvalid),
];

/// Requests that other parsers are tested with, from the folder that `CORPORA_DIR` names: JSON files of
/// `{id, req, want}`, one character per byte. Each is judged by what happens first.
#[test]
#[expect(clippy::print_stdout, reason = "a skipped test says so")]
fn corpora() {
    let Some(folder) = std::env::var_os("CORPORA_DIR") else {
        println!("skipped: CORPORA_DIR is not set");
        return;
    };
    let (mut rows, mut ids, mut disagreements) = (0, HashSet::new(), Vec::new());
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let cases: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
        for case in cases {
            let [id, request, want] = ["id", "req", "want"].map(|key| case[key].as_str().unwrap());
            let bytes: Vec<u8> = request.chars().map(|byte| u8::try_from(u32::from(byte)).unwrap()).collect();
            let whole = first(bytes.chunks(bytes.len().max(1)), Hosts::Any);
            let strict = first(bytes.chunks(bytes.len().max(1)), Hosts::Same);
            match STRICTER.iter().find(|(stricter, _)| *stricter == id) {
                Some((_, violation)) => assert_eq!(strict, First::Violation(*violation), "{id}"),
                None => assert_eq!(strict, whole, "{id}"),
            }
            match first(bytes.chunks(1), Hosts::Any) {
                // A line that has not ended may be judged when it has.
                First::Nothing if !bytes.ends_with(b"\n") => {}
                // Of several culprits the first to be complete is named.
                First::Violation(_) => assert!(matches!(whole, First::Violation(_)), "{id} byte by byte"),
                bitten => assert_eq!(bitten, whole, "{id} byte by byte"),
            }
            rows += 1;
            ids.insert(id.to_owned());
            let agrees = match (want, &whole) {
                ("accept", First::Request) | ("wait", First::Nothing) | ("any", _) => true,
                ("reject" | "reject-or-close", First::Violation(_)) => true,
                ("accept" | "wait" | "reject" | "reject-or-close", _) => false,
                (unknown, _) => panic!("{id}: {unknown}"),
            };
            if !agrees {
                disagreements.push(format!("{id}: wanted {want}, found {whole:?}"));
            }
        }
    }
    for (id, _) in STRICTER {
        assert!(ids.contains(*id), "{id} is no row any more");
    }
    assert!(rows > 300, "{rows} rows");
    assert_eq!(disagreements, [""; 0], "{} of {rows}", disagreements.len());
}

#[derive(PartialEq, Debug)]
enum First {
    Nothing,
    Request,
    Violation(Violation),
}

fn first<'a>(pieces: impl Iterator<Item = &'a [u8]>, hosts: Hosts) -> First {
    let (mut http, mut out) = (Http::default(), Vec::new());
    for piece in pieces {
        match http.next(&mut piece.to_vec(), &HeadLimits { hosts, ..LIMITS }, "", &mut out) {
            Ok((_, Some(_))) => return First::Request,
            Ok((_, None)) => {}
            Err(violation) => return First::Violation(violation),
        }
    }
    First::Nothing
}
