//! Numbers that no test machine has descriptors for: connections that are values, with a driver that takes everything.
//! Memory is what was asked of the allocator and not given back, to the byte; nothing here is timed.

use std::time::Duration;

use tallycast::base::keys::ConnKey;
use tallycast::base::time::Time;

use crate::counting::{LARGE_BYTES, allocations, counts, traced};
use crate::crowd::{MESSAGE, Taker, log_of, round};
use crate::house::{CONFIG, House, short_handshake, text_frame};

const CHANNELS: usize = 100_000;

/// Bytes that a house holds at rest with two connections for each of so many channels, which are in so many rooms: the
/// core's, and the engine's.
fn weigh(channels: usize, rooms: usize, path: &str) -> [i64; 2] {
    let before = counts().live_bytes;
    let mut house = House::new();
    house.connect(2 * channels, |number| format!("{path}/{}", number % rooms));
    house.pass(Duration::from_secs(30));
    house.let_go();
    let census = house.shard.census();
    assert_eq!((census.subscribers, census.mirrors, census.send_log_bytes), (2 * channels, rooms, 0));
    let all = counts().live_bytes - before;
    let engine = house.engine.take();
    let before = counts().live_bytes;
    drop(engine);
    let engine = before - counts().live_bytes;
    [all - engine, engine]
}

/// What a channel takes of a core: its mirror and its log, the list of its two subscribers, its entries in the tables, room
/// in these for more included. That is what there is more of when the same connections are in rooms of two than when all
/// are in one.
#[test]
fn a_channel_at_rest_weighs_little() {
    let together = weigh(CHANNELS, 1, "/room");
    let by_twos = weigh(CHANNELS, CHANNELS, "/room");
    let [core, engine] = [0, 1].map(|part| (by_twos[part] - together[part]) / CHANNELS as i64);
    assert!(core <= 600 && engine <= 600, "{core} bytes of its core, {engine} of the engine");
}

/// Of a turn in which one room of two hears a message: sends, allocations, and the next deadlines of core and engine.
fn busy_turn(idle: usize) -> (u64, u64, Option<Time>) {
    let mut house = House::new();
    house.connect(2 * idle, |number| format!("/room/{}", number % idle));
    let busy = house.connect(2, |_| "/room/busy".into());
    house.pass(Duration::from_secs(30));
    let frame = text_frame("hello");
    (0..20).for_each(|_| house.say(busy[0], &frame));
    let before = house.driver.sends;
    let allocations = allocations(|| house.say(busy[0], &frame));
    (house.driver.sends - before, allocations, house.shard.deadline())
}

#[test]
fn idle_channels_cost_a_turn_nothing() {
    let few = busy_turn(10);
    let many = busy_turn(20_000);
    assert_eq!(few.0, 2, "each of the two gets it once");
    assert_eq!(many, few);
}

/// A client of Socket.IO in ten namespaces, each with a channel of its own.
fn in_ten_channels() -> (House, Vec<ConnKey>) {
    let mut config = CONFIG.to_owned();
    config += "\n[[route]]\nlistener = \"main\"\npath = \"/socket.io/\"\nserve = \"socket.io\"\n";
    for number in 0..10 {
        config += &format!("[[route.namespaces]]\nname = \"/n{number}\"\nchannel = \"room/{number}\"\n");
    }
    let mut house = House::with_config(&config);
    let talkers = house.connect(10, |number| format!("/room/{number}"));
    let [listener] = house.connect(1, |_| "/socket.io/?EIO=4&transport=websocket".into())[..] else { unreachable!() };
    for number in 0..10 {
        house.say(listener, &text_frame(&format!("40/n{number},")));
    }
    house.driver.watched = Some(listener);
    (house, talkers)
}

#[test]
fn who_is_in_ten_busy_channels_costs_one_send_a_round() {
    let (mut house, talkers) = in_ten_channels();
    house.pass(Duration::from_secs(1));
    for _ in 0..3 {
        let before = house.driver.watched_sends;
        house.driver.seen.clear();
        house.begin_turn();
        for talker in &talkers {
            house.receive(*talker, &text_frame("hello"));
        }
        house.end_turn();
        house.rest();
        let heard = house.driver.seen.windows(5).filter(|bytes| *bytes == b"hello").count();
        assert_eq!(heard, 10, "{}", String::from_utf8_lossy(&house.driver.seen));
        let sends = house.driver.watched_sends - before;
        assert_eq!(sends, 1);
    }
}

/// [`CONFIG`] with a table of a megabyte.
fn with_large_table() -> String {
    let cell = "x".repeat(3600);
    let rows: String = (0..300).map(|row| format!("{{ id = \"{row}\", cells = [\"{cell}\"] }},\n")).collect();
    let columns = "[{ id = \"text\", label = \"Text\" }]";
    format!("{CONFIG}\n[[channel]]\nname = \"table\"\nkind = \"table\"\ncolumns = {columns}\nrows = [\n{rows}]\n")
}

#[test]
fn five_thousand_joins_write_the_snapshot_once() {
    const JOINS: usize = 5000;
    let mut house = House::with_config(&with_large_table());
    let snapshot_bytes = 300 * 3600;
    let before = counts();
    // All in one turn: nobody's snapshot is out before another asks.
    let mut request = Vec::new();
    short_handshake(&mut request, "/c/table");
    house.begin_turn();
    for _ in 0..JOINS {
        house.knock(&request);
    }
    house.end_turn();
    house.rest();
    let after = counts();
    assert_eq!(house.shard.census().subscribers, JOINS);
    assert!(house.driver.bytes >= (JOINS * snapshot_bytes) as u64, "everybody gets it: {} bytes", house.driver.bytes);
    // One encoding: two buffers that grow by doubling, and two copies. A second one would not need the buffers.
    let large = after.large - before.large;
    assert!(snapshot_bytes > LARGE_BYTES && (1..=8).contains(&large), "{large} blocks of its size");
    let grown = after.live_bytes - before.live_bytes;
    assert!(grown < 16 << 20, "{grown} bytes more");
}

#[test]
fn a_round_over_a_million_allocates_like_a_round_over_one() {
    const SUBSCRIBERS: usize = 1_000_000;
    let (mut one, mut taker) = (log_of(1), Taker::default());
    let few = (0..3).map(|_| allocations(|| round(&mut one, 16, &mut taker))).max();

    let before = counts().live_bytes;
    let mut log = log_of(SUBSCRIBERS);
    let bytes = (counts().live_bytes - before) / SUBSCRIBERS as i64;
    assert!(bytes <= 32, "{bytes} bytes for each");
    let mut taker = Taker::default();
    let many = Some(allocations(|| round(&mut log, 16, &mut taker)));
    assert_eq!((taker.sends, taker.bytes), (SUBSCRIBERS as u64, (SUBSCRIBERS * 16 * MESSAGE.len()) as u64));
    assert!(many <= few, "{many:?} instead of {few:?}:{}", traced(|| round(&mut log, 16, &mut taker)));
    assert_eq!(log.bytes(), 0, "all have all");
}
