//! Writing: a frame's head, and a whole publication for each transport and dialect, from what the engine says to the bytes
//! that go out. Naive: `format!` or `serde_json` makes the text, and another buffer the frame.

use std::sync::Arc;

use criterion::{BenchmarkId, Criterion};
use fastwebsockets::{Frame, Payload};
use serde_json::json;
use tallycast::engine::{Body, Change, Epoch, Position, Publication, State, Step, TallyOption};
use tallycast::mirror::encoding::{Encoder, Transport};
use tallycast::route::Dialect;
use tallycast::wire::engineio::Version;
use tallycast::wire::ws::Opcode;
use tallycast::wire::ws::head::{write_frame, write_head};

use super::house::CONFIG;
use tungstenite::protocol::frame::coding;

const EPOCH: Epoch = Epoch(0x1234_5678_9abc_def0);
const TEXT: &str = "a message of thirty-two bytes...";

pub(crate) fn bench(criterion: &mut Criterion) {
    heads(criterion);
    frames(criterion);
    publications(criterion);
}

fn heads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode/head");
    for len in [32, 1000, 100_000] {
        let mut out = Vec::with_capacity(16);
        let mut peer = [0; 16];
        let payload = vec![b'x'; len];
        write_head(&mut out, Opcode::Text, len);
        let mut frame = Frame::text(Payload::Borrowed(&payload));
        let peer_len = frame.fmt_head(&mut peer);
        assert_eq!(out, peer[..peer_len], "both write the same head");
        group.bench_function(BenchmarkId::new("ours", len), |bencher| {
            bencher.iter(|| {
                out.clear();
                write_head(&mut out, Opcode::Text, std::hint::black_box(len));
            });
        });
        group.bench_function(BenchmarkId::new("fastwebsockets", len), |bencher| {
            let mut frame = Frame::text(Payload::Borrowed(std::hint::black_box(&payload)));
            bencher.iter(|| frame.fmt_head(&mut peer));
        });
        let header = coding_header();
        group.bench_function(BenchmarkId::new("tungstenite", len), |bencher| {
            bencher.iter(|| {
                out.clear();
                header.format(std::hint::black_box(len as u64), &mut out).expect("a Vec takes everything");
            });
        });
    }
}

fn coding_header() -> tungstenite::protocol::frame::FrameHeader {
    tungstenite::protocol::frame::FrameHeader { opcode: coding::OpCode::Data(coding::Data::Text), ..Default::default() }
}

fn frames(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode/frame");
    for len in [32, 1000, 65_536] {
        let payload = "x".repeat(len);
        let mut out = Vec::with_capacity(len + 16);
        group.bench_function(BenchmarkId::new("ours", len), |bencher| {
            bencher.iter(|| {
                out.clear();
                write_frame(&mut out, Opcode::Text, std::hint::black_box(payload.as_bytes()));
            });
        });
        // Its own buffer is used again, too.
        group.bench_function(BenchmarkId::new("fastwebsockets", len), |bencher| {
            let mut out = Vec::with_capacity(len + 16);
            bencher.iter(|| {
                let text = Payload::Borrowed(std::hint::black_box(payload.as_bytes()));
                Frame::text(text).write(&mut out).len()
            });
        });
        let shared = tungstenite::Bytes::from(payload.clone());
        group.bench_function(BenchmarkId::new("tungstenite", len), |bencher| {
            bencher.iter(|| {
                out.clear();
                let text = coding::OpCode::Data(coding::Data::Text);
                let frame = tungstenite::protocol::frame::Frame::message(shared.clone(), text, true);
                frame.format(&mut out).expect("a Vec takes everything");
            });
        });
    }
}

/// A publication and the text that a dialect makes of it, written naively.
struct Case {
    name: &'static str,
    dialect: Dialect,
    state: State,
    publication: Publication,
    naive: fn(&Publication) -> String,
}

fn publications(criterion: &mut Criterion) {
    let transports = [
        ("websocket", Transport::WebSocket),
        ("sse", Transport::EventStream),
        ("engine.io", Transport::EngineIo(Version::V4)),
    ];
    for case in cases() {
        for (transport_name, transport) in transports {
            if transport == Transport::EventStream && case.name == "plain" {
                continue;
            }
            let mut group = criterion.benchmark_group(format!("encode/{}/{transport_name}", case.name));
            let (mut encoder, mut out) = (Encoder::default(), Vec::with_capacity(1024));
            let mut ours = |out: &mut Vec<u8>, publication: &Publication| {
                out.clear();
                let emit = |message: &[u8]| out.extend_from_slice(message);
                encoder.publication(transport, &case.dialect, &case.state, publication, emit);
            };
            ours(&mut out, &case.publication);
            let written = naive(transport, &case, &case.publication);
            assert_eq!(meaning(transport, &out), meaning(transport, &written), "{} {transport_name}", case.name);
            group.bench_function("ours", |bencher| {
                bencher.iter(|| ours(&mut out, std::hint::black_box(&case.publication)));
            });
            group.bench_function("naive", |bencher| {
                bencher.iter(|| naive(transport, &case, std::hint::black_box(&case.publication)));
            });
        }
    }
}

fn cases() -> Vec<Case> {
    let options: Arc<[TallyOption]> =
        ["1", "2", "3", "4"].iter().map(|id| TallyOption { id: (*id).into(), labels: Vec::new() }).collect();
    let counts = [1_234_567, 345, 67_890, 7];
    let dialects = tallycast::app::config::parse(CONFIG, "house.toml").expect("a sound configuration").setup.dialects;
    let [own, plain, steps, ..] = &dialects[..] else { unreachable!("one of each sort") };
    let tally = State::Tally { options, counts: counts.to_vec() };
    let of = |change| Publication { channel: "bench".into(), epoch: EPOCH, first: 1_302_809, last: 1_302_809, change };
    let votes = || of(Change::Tally { steps: Box::new([Step { option: 0, count: counts[0] }]), counts: counts.into() });
    let message = || of(Change::Message(Body::Text(TEXT.into()).into()));
    vec![
        Case {
            name: "tally",
            dialect: own.clone(),
            state: tally.clone(),
            publication: votes(),
            naive: |publication| {
                let Change::Tally { counts, .. } = &publication.change else { unreachable!() };
                let total: u64 = counts.iter().sum();
                let at = publication.at().to_string();
                json!({"type": "tally", "at": at, "total": total, "counts":
                    {"1": counts[0], "2": counts[1], "3": counts[2], "4": counts[3]}})
                .to_string()
            },
        },
        Case {
            name: "step",
            dialect: steps.clone(),
            state: tally,
            publication: votes(),
            naive: |publication| {
                let Change::Tally { steps, .. } = &publication.change else { unreachable!() };
                format!(r#"{{"cid": "{}", "count": {}}}"#, steps[0].option + 1, steps[0].count)
            },
        },
        Case {
            name: "message",
            dialect: own.clone(),
            state: State::Log,
            publication: message(),
            naive: |publication| {
                json!({"type": "message", "at": publication.at().to_string(), "text": text(publication)}).to_string()
            },
        },
        Case {
            name: "plain",
            dialect: plain.clone(),
            state: State::Log,
            publication: message(),
            naive: |publication| text(publication).to_owned(),
        },
    ]
}

fn text(publication: &Publication) -> &str {
    match &publication.change {
        Change::Message(entry) => std::str::from_utf8(entry.body.bytes()).unwrap_or_default(),
        _ => "",
    }
}

/// A text, and then another buffer around it.
fn naive(transport: Transport, case: &Case, publication: &Publication) -> Vec<u8> {
    let text = (case.naive)(publication);
    match transport {
        Transport::WebSocket => frame(&text),
        Transport::EngineIo(_) => frame(&format!("4{text}")),
        Transport::EventStream => {
            let at: Position = publication.at();
            match case.dialect {
                Dialect::Tallycast => format!("id: {at}\ndata: {text}\n\n").into_bytes(),
                _ => format!("data: {text}\n\n").into_bytes(),
            }
        }
    }
}

fn frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81];
    match text.len() {
        len @ 0..126 => frame.push(len as u8),
        len => {
            frame.push(126);
            frame.extend((len as u16).to_be_bytes());
        }
    }
    frame.extend(text.as_bytes());
    frame
}

/// What a client would read: the order of an object's keys means nothing.
fn meaning(transport: Transport, bytes: &[u8]) -> (usize, String) {
    let head = if transport == Transport::EventStream { 0 } else { 2 + 2 * usize::from(bytes[1] == 126) };
    let text = String::from_utf8_lossy(&bytes[head..]);
    let Some(start) = text.find('{') else { return (bytes.len(), text.into_owned()) };
    let json: serde_json::Value = serde_json::from_str(text[start..].trim_end()).unwrap_or_default();
    (bytes.len(), format!("{}{json}", &text[..start]))
}
