//! The whole server in one thread, from one seed: several cores, the engine, clients over every transport, a network
//! that cuts, delays, chops, stalls and resets, and a clock that is moved by hand.
//!
//! `TALLYCAST_SEEDS=5000 cargo test --test it sim::many_seeds` runs more seeds, from `TALLYCAST_SEED_FIRST`. A seed that
//! fails prints how to run it again; with `TALLYCAST_TRACE=1` it tells all that happens, with `TALLYCAST_TRACE=steps3`
//! only the lines that contain this.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use random::{Coverage, Random};
use setup::Knobs;
use world::World;

mod clients;
mod ending;
mod engine_io;
mod model;
mod network;
mod random;
mod scenarios;
mod scene;
mod setup;
mod slow;
mod talks;
mod wire;
mod world;

const SEEDS: u64 = 1000;
const SEED_FIRST: u64 = 1;

/// What must have happened in the seeds of a run of the usual size: otherwise they prove nothing.
const MUST_HAPPEN: [&str; 144] = [
    "bad: closed for it",
    "bare: absent",
    "bare: gap",
    "bare: kept message",
    "bare: message for all",
    "bare: message for one",
    "bare: message from when it joined",
    "bare: own message passed over",
    "bare: recent message",
    "bare: refused",
    "cells: cell",
    "cells: refused",
    "client: ping",
    "client: reset",
    "cookie: 429",
    "cookie: known again",
    "cookie: session",
    "cookie: session renewed",
    "cookie: vote",
    "cookie: vote in two tabs",
    "cookie: waited in vain",
    "core: flush left something",
    "core: inbox overflowed",
    "core: mail given back",
    "core: mail to another core",
    "echo: heartbeat",
    "echo: message",
    "engine: batch twice",
    "network: completion",
    "network: completion, partial",
    "network: reset",
    "network: short write",
    "network: stalled down",
    "network: stalled up",
    "people: edits",
    "people: edits no more",
    "people: joined",
    "people: left",
    "people: members",
    "poll: news",
    "poll: waited in vain",
    "rest: listeners counted right",
    "rest: marks known",
    "rest: members asked for",
    "rest: names known",
    "rest: page shows the table",
    "rest: two connections of one user",
    "server: 503 for a handshake",
    "server: close 1001",
    "server: close 4008",
    "server: closed by reset",
    "server: paused",
    "server: ping",
    "sio bad: attachments that do not come",
    "sio bad: ended for a second GET",
    "sio bad: ended for a violation",
    "sio bad: ended for attachments",
    "sio bad: ended for too much",
    "sio bad: event before connect",
    "sio bad: malformed packet",
    "sio bad: second GET",
    "sio bad: second connect",
    "sio bad: too much",
    "sio bad: unknown sid",
    "sio: accepted",
    "sio: acknowledged",
    "sio: acknowledged with bytes",
    "sio: attachments",
    "sio: binary event",
    "sio: cell",
    "sio: closed by its client",
    "sio: connects with since",
    "sio: echo",
    "sio: event of our own dialect",
    "sio: gap",
    "sio: greeted",
    "sio: handshake v3, WebSocket",
    "sio: handshake v3, polling",
    "sio: handshake v4, WebSocket",
    "sio: handshake v4, polling",
    "sio: joined, v3",
    "sio: joined, v5",
    "sio: message as it is",
    "sio: message back",
    "sio: message of bytes",
    "sio: namespace at rest",
    "sio: namespace left",
    "sio: noop for an upgrade",
    "sio: own message passed over",
    "sio: poll parked",
    "sio: poll waited",
    "sio: posted",
    "sio: refused by an acknowledgement",
    "sio: refused by an event",
    "sio: refused, as is right",
    "sio: resumed with since",
    "sio: silent, and ended for it",
    "sio: told that the server stops",
    "sio: upgrade abandoned before its probe",
    "sio: upgrade abandoned behind its probe",
    "sio: upgrade abandoned behind the answer",
    "sio: upgraded on another core",
    "sio: upgraded on its core",
    "sio: upgraded with answers under way",
    "sio: upgraded with messages under way",
    "sio: vote seen",
    "sse: comment",
    "sse: event",
    "steps: refused",
    "steps: vote seen",
    "stream: change of a table",
    "stream: gap",
    "stream: latest state",
    "stream: listeners",
    "stream: own message passed over",
    "stream: publication",
    "stream: resumed at the end",
    "stream: resumed behind",
    "stream: snapshot",
    "stream: snapshot behind a gap",
    "stream: snapshot for a bogus position",
    "stream: snapshot instead of a replay",
    "stream: sum",
    "stream: sum of a table",
    "table: accepted",
    "table: refused",
    "table: stale",
    "talk: absent",
    "talk: accepted for all",
    "talk: accepted for one",
    "talk: refused",
    "tally: latest state",
    "tally: refused",
    "tally: tally",
    "web: 304",
    "web: absent",
    "web: change accepted",
    "web: change refused",
    "web: members",
    "web: refused, as is right",
    "web: said",
    "web: table changed",
    "ws: vote accepted",
    "ws: vote refused",
];

/// Runs one seed to its end: what happened, and a digest of all that clients read.
fn seed(seed: u64) -> (Coverage, u64) {
    let mut random = Random::new(seed);
    let knobs = Knobs::draw(&mut random);
    let (steps, crowd) = (knobs.steps, knobs.crowd);
    let mut world = World::new(knobs, random.fork());
    world.scene.note(|| format!("seed {seed}"));
    world.clients = clients::population(&mut random, crowd);
    for _ in 0..steps {
        world.step();
    }
    world.end();
    let mut coverage = std::mem::take(&mut world.scene.coverage);
    world.scene.drivers.iter().for_each(|driver| coverage.add(&driver.coverage));
    (coverage, world.scene.digest)
}

/// As [`seed`]; a failure says how to have it again.
#[expect(clippy::print_stderr, reason = "the way to replay a failure is for the terminal")]
fn replayable(number: u64) -> (Coverage, u64) {
    catch_unwind(AssertUnwindSafe(|| seed(number))).unwrap_or_else(|panic| {
        eprintln!("replay: TALLYCAST_SEED={number} cargo test --test it sim::one_seed -- --nocapture");
        resume_unwind(panic)
    })
}

fn from_environment(name: &str, usual: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text:?}")),
        Err(_) => usual,
    }
}

#[test]
fn many_seeds() {
    let first = from_environment("TALLYCAST_SEED_FIRST", SEED_FIRST);
    let seeds = from_environment("TALLYCAST_SEEDS", SEEDS);
    let mut coverage = Coverage::default();
    for number in first..first + seeds {
        coverage.add(&replayable(number).0);
    }
    if seeds >= SEEDS {
        let missing: Vec<&str> = MUST_HAPPEN.into_iter().filter(|what| coverage.count(what) == 0).collect();
        assert!(missing.is_empty(), "never happened: {missing:#?}\nwhat did:\n{}", coverage.table());
    }
}

#[test]
fn one_seed() {
    let (coverage, _) = replayable(from_environment("TALLYCAST_SEED", 1));
    scene::Trace::from_environment().print(tallycast::base::time::Time::ZERO, || coverage.table());
}

#[test]
fn a_seed_replays_alike() {
    for number in [7, 8] {
        assert_eq!(replayable(number), replayable(number), "seed {number}");
    }
}
