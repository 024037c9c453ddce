//! Turns are bounded, fair, and do not spin.

use std::fs::File;
use std::process::Command;

use super::*;

over_each_driver!(
    many_connections_are_served_in_bounded_turns,
    who_sends_much_does_not_starve_the_others,
    a_turn_waits_as_long_as_it_was_told_or_is_woken,
    without_descriptors_accepting_rests_and_does_not_spin,
);

pub(in crate::net) fn many_connections_are_served_in_bounded_turns<D: SocketDriver>() {
    const CLIENTS: usize = 3 * TURN_EVENTS_MAX / 2;
    let mut bench = Bench::<D>::new();
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| Client::connect(bench.address).unwrap()).collect();
    let mut turns = 0;
    while bench.sink.accepted.len() < CLIENTS {
        let before = bench.sink.accepted.len();
        turns += 1;
        bench.driver.turn(Some(Duration::from_secs(60)), &mut bench.sink).unwrap();
        let now = bench.sink.accepted.len();
        assert!(now - before <= TURN_ACCEPTS_MAX);
        assert!(turns < 10 * CLIENTS, "no progress");
    }
    let keys: BTreeMap<SocketAddr, ConnKey> = bench.sink.accepted.iter().map(|(key, _, peer)| (*peer, *key)).collect();
    assert_eq!(keys.len(), CLIENTS);
    bench.rest();
    for (number, client) in clients.iter_mut().enumerate() {
        client.write_all(format!("number {number}").as_bytes()).unwrap();
    }
    while bench.sink.reads.len() < CLIENTS {
        let before = bench.sink.reads.len();
        bench.driver.turn(Some(Duration::from_secs(60)), &mut bench.sink).unwrap();
        let now = bench.sink.reads.len();
        assert!(now - before <= TURN_EVENTS_MAX);
    }
    for (number, client) in clients.iter_mut().enumerate() {
        let key = keys[&client.local_addr().unwrap()];
        let received = bench.seen(key).received.clone();
        assert_eq!(received, format!("number {number}").as_bytes());
        assert_eq!(bench.send(key, &Slice::copied(&received)), received.len());
        let mut answer = vec![0; received.len()];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(answer, received);
    }
    drop(clients);
    bench.until("all FINs", |sink| sink.seen.values().all(|seen| seen.finished == 1));
    bench.rest();
    assert!(bench.sink.seen.values().all(|seen| seen.finished == 1));
}

pub(in crate::net) fn who_sends_much_does_not_starve_the_others<D: SocketDriver>() {
    const FLOODS: usize = 24;
    const FLOOD_BYTES: usize = 1 << 20;
    let mut bench = Bench::<D>::new();
    let floods: Vec<(Client, ConnKey)> = (0..FLOODS).map(|_| bench.connect()).collect();
    let (mut quiet, quiet_key) = bench.connect();
    bench.rest();
    let bytes = pattern(FLOOD_BYTES);
    std::thread::scope(|scope| {
        for (client, _) in &floods {
            let (mut client, bytes) = (client, &bytes);
            scope.spawn(move || client.write_all(bytes).unwrap());
        }
        bench.until("the flood", |sink| sink.reads.len() > 2 * FLOODS);
        quiet.write_all(b"me").unwrap();
        let mut turns = 0;
        while bench.seen(quiet_key).received.is_empty() {
            turns += 1;
            assert!(turns <= 4, "every turn serves a mebibyte's worth, and the next goes on behind it");
            bench.driver.turn(Some(Duration::from_secs(60)), &mut bench.sink).unwrap();
        }
        let all = FLOODS * FLOOD_BYTES + 2;
        let mut total: usize = bench.sink.reads.iter().map(|(_, len)| len).sum();
        while total < all {
            bench.sink.reads.clear();
            bench.driver.turn(Some(Duration::from_secs(60)), &mut bench.sink).unwrap();
            let turn: usize = bench.sink.reads.iter().map(|(_, len)| len).sum();
            assert!(turn < TURN_READ_BYTES_MAX + READ_BYTES_MAX);
            let mut shares: BTreeMap<ConnKey, usize> = BTreeMap::new();
            for (key, len) in &bench.sink.reads {
                *shares.entry(*key).or_default() += len;
            }
            assert!(shares.values().all(|share| *share <= READ_BYTES_MAX), "one read's worth each in a turn");
            total += turn;
        }
    });
    for (_, key) in &floods {
        assert!(bench.seen(*key).received == bytes);
    }
}

pub(in crate::net) fn a_turn_waits_as_long_as_it_was_told_or_is_woken<D: SocketDriver>() {
    let mut bench = Bench::<D>::new();
    bench.rest();
    for timeout in [Duration::from_micros(1), Duration::from_micros(1500), Duration::from_millis(20)] {
        let before = bench.clock.now();
        bench.driver.turn(Some(timeout), &mut bench.sink).unwrap();
        assert!(bench.clock.now() - before >= timeout, "nothing happened, so the deadline must have passed");
    }
    let waker = bench.driver.waker();
    std::thread::scope(|scope| {
        scope.spawn(move || waker.wake().unwrap());
        bench.driver.turn(None, &mut bench.sink).unwrap();
    });
}

const SHORTAGE: &str = "TALLYCAST_TEST_SHORTAGE";
const NAME: &str = "without_descriptors_accepting_rests_and_does_not_spin";

/// The limit of descriptors is the whole process's: this runs in a process of its own.
pub(in crate::net) fn without_descriptors_accepting_rests_and_does_not_spin<D: SocketDriver>() {
    if std::env::var_os(SHORTAGE).is_some() {
        return short_of_descriptors::<D>();
    }
    let output = Command::new("sh")
        .args(["-c", "ulimit -n 64 && exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &format!("net::driver::tests::bounds::over_{}::{NAME}", D::KIND)])
        .env(SHORTAGE, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

fn short_of_descriptors<D: SocketDriver>() {
    let mut bench = Bench::<D>::new();
    let clients: Vec<Client> = (0..12).map(|_| Client::connect(bench.address).unwrap()).collect();
    let mut fillers = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        fillers.push(file);
    }
    assert!(fillers.len() > 3, "the limit leaves too little room");
    fillers.truncate(fillers.len() - 3);
    bench.until("three", |sink| sink.accepted.len() == 3);

    // `None`: only the driver itself can end these turns.
    let end = bench.clock.now() + 4 * ACCEPT_REST;
    let mut turns = 0;
    while bench.clock.now() < end {
        bench.driver.turn(None, &mut bench.sink).unwrap();
        turns += 1;
    }
    assert!(turns <= 16, "it spins: {turns} turns");
    assert_eq!(bench.sink.accepted.len(), 3);

    // A connection that closes makes room, and this is noticed without waiting.
    let first = bench.sink.accepted[0].0;
    bench.close(first, false);
    for _ in 0..3 {
        bench.driver.turn(Some(Duration::ZERO), &mut bench.sink).unwrap();
    }
    assert_eq!(bench.sink.accepted.len(), 4);

    // Room that comes from elsewhere is noticed after a while.
    fillers.truncate(fillers.len() - 2);
    while bench.sink.accepted.len() < 6 {
        bench.driver.turn(None, &mut bench.sink).unwrap();
    }
    drop(fillers);
    while bench.sink.accepted.len() < clients.len() {
        bench.driver.turn(None, &mut bench.sink).unwrap();
    }
}
