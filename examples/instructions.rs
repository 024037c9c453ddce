//! What `scripts/instructions` counts: `instructions WHAT COUNT` does a thing so many times inside [`measured`], which is
//! all that callgrind looks at, and prints how many of it there were: two runs with different counts give instructions for
//! each, free of what happens once.

#[path = "../benches/bodies/crowd.rs"]
mod crowd;
#[path = "../benches/bodies/house.rs"]
mod house;
#[path = "../benches/bodies/poll.rs"]
mod poll;

use std::hint::black_box;
use std::process::ExitCode;

use crowd::{MESSAGE, Taker, log_of, round};
use house::{House, handshake, text_frame};
use poll::Poll;
use tallycast::base::limits::Limits;
use tallycast::conn::http::Http;
use tallycast::wire::http::{BodyFraming, HeadLimits};
use tallycast::wire::ws::Opcode;
use tallycast::wire::ws::handshake::{check, write_response};
use tallycast::wire::ws::head::write_frame;

// As the server itself.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const TEXT: &str = "a message of thirty-two bytes...";
const SUBSCRIBERS: usize = 1000;
/// Done once before what is counted: tables and buffers have their sizes then.
const WARM_UP: usize = 20;

/// A name, what it counts, and how it is made: a closure that does it once and returns how many that were.
type Row = (&'static str, &'static str, fn() -> Box<Act>);
type Act = dyn FnMut() -> usize;

const ROWS: [Row; 11] = [
    ("round", "delivery: the send log alone, one message a round to 1000", || rounds(1)),
    ("round16", "delivery: the send log alone, 16 messages a round to 1000 (16 deliveries in one send)", || rounds(16)),
    ("delivery", "delivery: a text in, to 1000 out", deliveries),
    ("publication", "publication in a room of two", || publications(10)),
    ("publication_idle", "the same beside 20,000 idle rooms of two", || publications(20_000)),
    ("vote", "vote: bare, ten a read of 200 voters, each told to all in one send a turn", || {
        votes(Poll::new(200, 0, 10))
    }),
    ("vote_paced", "vote: bare, ten a read of 200 voters, 20 tallies a second", || votes(Poll::paced(200, 0, 10))),
    ("vote_own", "vote: our own dialect (JSON), each acknowledged, one tally a turn", || {
        votes(Poll::own_dialect(200, 0, 10))
    }),
    ("echo", "echo of 32 B", echoes),
    ("handshake", "handshake: from its bytes to an open WebSocket and its 101, and its end", handshakes),
    ("handshake_parse", "handshake: its head parsed and checked, its 101 written", handshake_parses),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let found = match &arguments[..] {
        [what, count] => ROWS.iter().find(|row| row.0 == what).zip(count.parse().ok()),
        _ => None,
    };
    let Some(((_, unit, make), count)) = found else {
        for (name, unit, _) in ROWS {
            say(&format!("{name}\t{unit}"));
        }
        return ExitCode::from(2);
    };
    let mut act = make();
    for _ in 0..WARM_UP {
        black_box(act());
    }
    let done = measured(&mut act, count);
    say(&format!("{done}\t{unit}"));
    ExitCode::SUCCESS
}

/// What callgrind counts.
#[inline(never)]
fn measured(act: &mut Act, count: usize) -> usize {
    let mut done = 0;
    for _ in 0..count {
        done += act();
    }
    black_box(done)
}

#[expect(clippy::print_stdout, reason = "a program that prints what it counted")]
fn say(line: &str) {
    println!("{line}");
}

fn rounds(messages: usize) -> Box<Act> {
    let (mut log, mut taker) = (log_of(SUBSCRIBERS), Taker::default());
    Box::new(move || {
        round(&mut log, messages, &mut taker);
        SUBSCRIBERS * messages
    })
}

fn deliveries() -> Box<Act> {
    let (mut house, frame) = (House::new(), text_frame(TEXT));
    let conns = house.connect(SUBSCRIBERS, |_| "/bench".into());
    house.settle();
    Box::new(move || {
        house.say(conns[0], &frame);
        SUBSCRIBERS
    })
}

fn publications(idle: usize) -> Box<Act> {
    let (mut house, frame) = (House::new(), text_frame(TEXT));
    house.connect(2 * idle, |number| format!("/room/{}", number % idle));
    let busy = house.connect(2, |_| "/room/busy".into());
    house.settle();
    Box::new(move || {
        house.say(busy[0], &frame);
        1
    })
}

fn votes(mut poll: Poll) -> Box<Act> {
    let (counted, sent) = poll.totals();
    assert_eq!(counted, sent, "every vote counts");
    Box::new(move || poll.turn())
}

fn echoes() -> Box<Act> {
    let (mut house, frame) = (House::new(), text_frame(TEXT));
    let conns = house.connect(200, |_| "/echo".into());
    house.settle();
    house.driver.watched = Some(conns[0]);
    house.say(conns[0], &frame);
    let mut expected = Vec::new();
    write_frame(&mut expected, Opcode::Text, TEXT.as_bytes());
    assert_eq!((house.driver.seen.as_slice(), expected.len()), (expected.as_slice(), MESSAGE.len()));
    house.driver.watched = None;
    Box::new(move || {
        house.begin_turn();
        for &conn in &conns {
            house.receive(conn, &frame);
        }
        house.end_turn();
        house.rest();
        conns.len()
    })
}

/// As many in a turn as a driver accepts. They end in the next, by the peer's reset.
fn handshakes() -> Box<Act> {
    use tallycast::base::io::{Ended, Sink};
    let (mut house, mut request) = (House::new(), Vec::new());
    handshake(&mut request, "/echo");
    house.settle();
    let mut conns = Vec::new();
    Box::new(move || {
        house.begin_turn();
        conns.extend((0..64).map(|_| house.knock(&request)));
        house.end_turn();
        house.rest();
        for conn in conns.drain(..) {
            house.shard.ended(conn, Ended::Reset);
        }
        64
    })
}

fn handshake_parses() -> Box<Act> {
    let (mut request, mut out, mut room) = (Vec::new(), Vec::new(), Vec::new());
    handshake(&mut request, "/echo");
    let limits = HeadLimits::from(&Limits::default());
    Box::new(move || {
        out.clear();
        room.clear();
        room.extend_from_slice(&request);
        let mut http = Http::default();
        let (_, request) = http.next(&mut room, &limits, "", &mut out).expect("a sound request");
        let head = request.expect("a whole request").head;
        let has_body = head.body != BodyFraming::None;
        let accepted =
            check(head.method, head.minor_version, has_body, head.headers()).unwrap_or_else(|_| panic!("refused"));
        write_response(&mut out, &accepted.accept, &[]);
        usize::from(black_box(&out).starts_with(b"HTTP/1.1 101"))
    })
}
