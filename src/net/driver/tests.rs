//! Each driver over real sockets, with a sink that writes down what it gets: one body, two drivers.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream as Client};
use std::time::Duration;

use socket2::SockRef;

use super::*;
use crate::base::io::{Ended, Sink};
use crate::base::keys::{ConnKey, OfConnection, Slots};
use crate::base::limits::{READ_BYTES_MAX, TURN_ACCEPTS_MAX, TURN_EVENTS_MAX, TURN_READ_BYTES_MAX};
use crate::base::segment::Slice;
use crate::base::time::Time;
use crate::net::epoll::ACCEPT_REST;
use crate::net::listen::bind_all;
use crate::route::{Listener, Origins};
use crate::wire::http::Hosts;

pub(in crate::net) mod bounds;

/// Whether a driver can be tested here. If not, that is said loudly, and with `CI=true` it is a failure.
#[expect(clippy::print_stderr, reason = "what a test did not do must be seen")]
pub(in crate::net) fn works_here(kind: DriverKind) -> bool {
    let Err(error) = kind.probe() else { return true };
    assert!(std::env::var("CI").as_deref() != Ok("true"), "the driver {kind} cannot start: {error}");
    eprintln!("*** SKIPPED: the driver {kind} cannot start: {error} ***");
    false
}

/// Each body becomes a test over each driver.
macro_rules! over_each_driver {
    ($($name:ident),* $(,)?) => {
        mod over_epoll {
            $(#[test] fn $name() { super::$name::<crate::net::epoll::Epoll>(); })*
        }
        mod over_uring {
            $(#[test] fn $name() {
                if crate::net::driver::works_here(crate::net::driver::DriverKind::Uring) {
                    super::$name::<crate::net::uring::Uring>();
                }
            })*
        }
    };
}
pub(in crate::net) use over_each_driver;

over_each_driver!(
    bytes_go_both_ways_and_both_sides_finish_once,
    the_end_is_seen_wherever_it_falls,
    a_reader_that_does_not_read_blocks_and_then_goes_on,
    a_paused_peer_is_held_back,
    resets_go_both_ways,
    a_send_that_fails_ends_in_the_next_turn,
    a_stale_key_does_nothing,
    a_connection_moves_to_another_driver,
    whom_the_sink_refuses_is_closed_at_once,
    accepting_stops_and_goes_on,
);

/// What a connection's sink was told.
#[derive(Debug, Default)]
pub(in crate::net) struct Seen {
    pub(in crate::net) received: Vec<u8>,
    pub(in crate::net) reads: usize,
    pub(in crate::net) sent: usize,
    pub(in crate::net) taken: usize,
    pub(in crate::net) finished: usize,
    pub(in crate::net) ended: Vec<Ended>,
}

#[derive(Debug, Default)]
pub(in crate::net) struct Recorder {
    pub(in crate::net) keys: Slots<OfConnection, ()>,
    pub(in crate::net) refuse: bool,
    /// In the order in which they came.
    pub(in crate::net) accepted: Vec<(ConnKey, ListenerId, SocketAddr)>,
    pub(in crate::net) seen: BTreeMap<ConnKey, Seen>,
    /// Reads since the test looked last, with their sizes.
    pub(in crate::net) reads: Vec<(ConnKey, usize)>,
}

impl Recorder {
    fn of(&mut self, key: ConnKey) -> &mut Seen {
        assert!(self.keys.get(key).is_some(), "{key:?} is stale");
        self.seen.get_mut(&key).unwrap()
    }
}

impl Sink for Recorder {
    fn woke(&mut self, _now: Time) {}

    fn accepted(&mut self, listener: ListenerId, peer: SocketAddr) -> Option<ConnKey> {
        if self.refuse {
            return None;
        }
        let key = self.keys.insert(());
        self.accepted.push((key, listener, peer));
        self.seen.insert(key, Seen::default());
        Some(key)
    }
    fn received(&mut self, key: ConnKey, bytes: &mut [u8]) {
        assert!(!bytes.is_empty());
        let seen = self.of(key);
        seen.received.extend_from_slice(bytes);
        seen.reads += 1;
        self.reads.push((key, bytes.len()));
        // A sink may do this: nothing of it may come back.
        bytes.fill(0xaa);
    }
    fn sent(&mut self, key: ConnKey, len: usize) {
        let seen = self.of(key);
        seen.sent += 1;
        seen.taken += len;
    }
    fn finished(&mut self, key: ConnKey) {
        self.of(key).finished += 1;
    }
    fn ended(&mut self, key: ConnKey, why: Ended) {
        self.of(key).ended.push(why);
        self.keys.remove(key);
    }
}

pub(in crate::net) struct Bench<D> {
    pub(in crate::net) driver: D,
    pub(in crate::net) sink: Recorder,
    pub(in crate::net) address: SocketAddr,
    pub(in crate::net) clock: Clock,
}

impl<D: SocketDriver> Bench<D> {
    pub(in crate::net) fn new() -> Bench<D> {
        let clock = Clock::new();
        let mut driver = D::open(clock).unwrap();
        let listener = Listener {
            name: "test".into(),
            address: "127.0.0.1:0".parse().unwrap(),
            origins: Origins::Any,
            hosts: Hosts::Same,
            optional: false,
        };
        let mut bound = bind_all(&[listener], 1).unwrap().remove(0);
        driver.listen(ListenerId(7), bound.sockets.remove(0)).unwrap();
        Bench { driver, sink: Recorder::default(), address: bound.address, clock }
    }

    /// Turns until it is so, and fails instead of hanging.
    pub(in crate::net) fn until(&mut self, what: &str, mut so: impl FnMut(&Recorder) -> bool) {
        let end = self.clock.now() + Duration::from_secs(60);
        while !so(&self.sink) {
            assert!(self.clock.now() < end, "this does not come: {what}");
            self.driver.turn(Some(Duration::from_secs(1)), &mut self.sink).unwrap();
        }
    }

    /// Some turns that do not wait: for what must not come. Loopback is synchronous: what was sent has arrived.
    pub(in crate::net) fn rest(&mut self) {
        for _ in 0..10 {
            self.driver.turn(Some(Duration::ZERO), &mut self.sink).unwrap();
        }
    }

    pub(in crate::net) fn connect(&mut self) -> (Client, ConnKey) {
        let before = self.sink.accepted.len();
        let client = Client::connect(self.address).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        self.until("a connection", |sink| sink.accepted.len() > before);
        let (key, listener, peer) = self.sink.accepted[before];
        assert_eq!((listener, peer), (ListenerId(7), client.local_addr().unwrap()));
        (client, key)
    }

    pub(in crate::net) fn seen(&self, key: ConnKey) -> &Seen {
        &self.sink.seen[&key]
    }

    /// Sends once, and waits for the answer: how many bytes are taken.
    pub(in crate::net) fn send(&mut self, key: ConnKey, slice: &Slice) -> usize {
        let (told, taken) = (self.seen(key).sent, self.seen(key).taken);
        self.driver.send(key, slice).unwrap_or_else(|| {
            self.until("the answer to a send", |sink| sink.seen[&key].sent > told);
            self.seen(key).taken - taken
        })
    }

    pub(in crate::net) fn close(&mut self, key: ConnKey, reset: bool) {
        self.driver.close(key, reset);
        self.sink.keys.remove(key);
    }
}

pub(in crate::net) fn reset(client: Client) {
    SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
}

pub(in crate::net) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index % 251) as u8).collect()
}

pub(in crate::net) fn bytes_go_both_ways_and_both_sides_finish_once<D: SocketDriver>() {
    let mut bench = Bench::<D>::new();
    let (mut client, key) = bench.connect();
    client.write_all(b"hello").unwrap();
    bench.until("bytes", |sink| sink.seen[&key].received == b"hello");
    assert_eq!(bench.send(key, &Slice::copied(b"good day")), 8);
    assert_eq!(bench.driver.send(key, &Slice::copied(b"")), Some(0));
    let mut answer = [0; 8];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"good day");
    client.shutdown(Shutdown::Write).unwrap();
    bench.until("the peer's FIN", |sink| sink.seen[&key].finished > 0);
    // The other direction goes on.
    assert_eq!(bench.send(key, &Slice::copied(b"!")), 1);
    bench.driver.finish(key);
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"!");
    bench.rest();
    assert_eq!((bench.seen(key).finished, bench.seen(key).ended.len()), (1, 0));
    // A whole send is answered once, at once or later.
    assert_eq!(bench.seen(key).sent, if D::KIND == DriverKind::Epoll { 0 } else { 2 });
    bench.close(key, false);
    bench.rest();
    assert!(bench.seen(key).ended.is_empty());
}

pub(in crate::net) fn the_end_is_seen_wherever_it_falls<D: SocketDriver>() {
    #[derive(Clone, Copy, PartialEq, Debug)]
    enum Before {
        /// No turn between the first byte and the FIN: one edge tells of both.
        Nothing,
        /// All bytes are read before the FIN.
        Read,
        /// Reading is paused: bytes and FIN are told and left there.
        Paused,
        /// Bytes are read, then reading is paused, and the FIN is told and left there.
        ReadAndPaused,
    }
    use Before::{Nothing, Paused, Read, ReadAndPaused};
    for len in [0, 1, READ_BYTES_MAX - 1, READ_BYTES_MAX, READ_BYTES_MAX + 1, 3 * READ_BYTES_MAX] {
        for before in [Nothing, Read, Paused, ReadAndPaused] {
            let mut bench = Bench::<D>::new();
            let (mut client, key) = bench.connect();
            client.set_write_timeout(Some(Duration::from_secs(60))).unwrap();
            bench.rest();
            let bytes = pattern(len);
            if before == Paused {
                bench.driver.pause(key);
            }
            // The kernel takes this much though nobody reads.
            client.write_all(&bytes).unwrap();
            match before {
                Nothing => {}
                Read => bench.until("the bytes", |sink| sink.seen[&key].received.len() == len),
                Paused => bench.rest(),
                ReadAndPaused => {
                    bench.until("the bytes", |sink| sink.seen[&key].received.len() == len);
                    bench.driver.pause(key);
                }
            }
            client.shutdown(Shutdown::Write).unwrap();
            if matches!(before, Paused | ReadAndPaused) {
                bench.rest();
                let seen = bench.seen(key);
                let expected = if before == Paused { 0 } else { len };
                assert_eq!((seen.received.len(), seen.finished), (expected, 0), "{len} {before:?}");
                bench.driver.resume(key);
            }
            bench.until("the FIN", |sink| sink.seen[&key].finished > 0);
            bench.rest();
            let seen = bench.seen(key);
            assert!(seen.received == bytes, "{len} {before:?}");
            assert_eq!((seen.finished, seen.ended.len()), (1, 0), "{len} {before:?}");
        }
    }
}

pub(in crate::net) fn a_reader_that_does_not_read_blocks_and_then_goes_on<D: SocketDriver>() {
    let mut bench = Bench::<D>::new();
    let (mut client, key) = bench.connect();
    let all = pattern(8 << 20);
    let slice = Slice::copied(&all);
    let mut taken = bench.send(key, &slice);
    assert!(taken > 0 && taken < all.len(), "{taken}");
    bench.rest();
    // The kernel may have passed on a little more meanwhile and have told so; when it takes nothing, it is silent.
    loop {
        let told = bench.seen(key).sent;
        let more = bench.send(key, &slice.skip(taken));
        taken += more;
        bench.rest();
        if more == 0 && bench.seen(key).sent == told {
            break;
        }
    }
    assert!(taken < 6 << 20, "a stuck reader's bytes are not all taken: {taken}");
    let told = bench.seen(key).sent;
    let reader = std::thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let mut read = vec![0; 8 << 20];
            client.read_exact(&mut read).unwrap();
            read
        });
        let mut times = 0;
        while taken < all.len() {
            let told = bench.seen(key).sent;
            bench.until("room", |sink| sink.seen[&key].sent > told);
            times += 1;
            taken += bench.send(key, &slice.skip(taken));
        }
        assert!(times > 0);
        reader.join().unwrap()
    });
    assert!(bench.seen(key).sent > told);
    assert!(reader == all);
}

pub(in crate::net) fn a_paused_peer_is_held_back<D: SocketDriver>() {
    let mut bench = Bench::<D>::new();
    let (mut client, key) = bench.connect();
    client.write_all(b"one").unwrap();
    bench.until("bytes", |sink| sink.seen[&key].received == b"one");
    bench.driver.pause(key);
    client.write_all(b"two").unwrap();
    bench.rest();
    assert_eq!(bench.seen(key).received, b"one");
    // Sending goes on.
    assert_eq!(bench.send(key, &Slice::copied(b"x")), 1);
    client.write_all(b"three").unwrap();
    bench.driver.resume(key);
    bench.until("the rest", |sink| sink.seen[&key].received == b"onetwothree");
    // Paused between being told and being read.
    client.write_all(b"four").unwrap();
    bench.driver.pause(key);
    bench.rest();
    bench.driver.resume(key);
    bench.driver.pause(key);
    bench.rest();
    assert_eq!(bench.seen(key).received, b"onetwothree");
    bench.driver.resume(key);
    bench.until("the last", |sink| sink.seen[&key].received == b"onetwothreefour");
    // A reset is told all the same: who is paused may have to wait long for nothing.
    bench.driver.pause(key);
    client.write_all(b"five").unwrap();
    // Our `x` is unread, so this is a reset.
    drop(client);
    bench.until("the reset", |sink| !sink.seen[&key].ended.is_empty());
    assert_eq!(bench.seen(key).ended, [Ended::Reset]);
    assert_eq!(bench.seen(key).received, b"onetwothreefour", "it was paused");
}

pub(in crate::net) fn resets_go_both_ways<D: SocketDriver>() {
    for after_fin in [false, true] {
        let mut bench = Bench::<D>::new();
        let (client, key) = bench.connect();
        if after_fin {
            client.shutdown(Shutdown::Write).unwrap();
            bench.until("the FIN", |sink| sink.seen[&key].finished > 0);
            // Such a connection is reset when bytes come for it.
            drop(client);
            assert_eq!(bench.send(key, &Slice::copied(b"late")), 4);
        } else {
            reset(client);
        }
        bench.until("the reset", |sink| !sink.seen[&key].ended.is_empty());
        bench.rest();
        assert_eq!(bench.seen(key).ended, [Ended::Reset]);
        assert_eq!(bench.seen(key).finished, usize::from(after_fin));
    }
    for by_reset in [false, true] {
        let mut bench = Bench::<D>::new();
        let (mut client, key) = bench.connect();
        bench.close(key, by_reset);
        bench.rest();
        let result = client.read(&mut [0; 1]).map_err(|error| error.kind());
        let expected = if by_reset { Err(io::ErrorKind::ConnectionReset) } else { Ok(0) };
        assert_eq!(result, expected);
        bench.rest();
        assert!(bench.seen(key).ended.is_empty());
    }
}

pub(in crate::net) fn a_send_that_fails_ends_in_the_next_turn<D: SocketDriver>() {
    let mut bench = Bench::<D>::new();
    let (client, key) = bench.connect();
    bench.rest();
    reset(client);
    let slice = Slice::copied(b"into the void");
    // It is over, or under way.
    let answer = if D::KIND == DriverKind::Epoll { Some(0) } else { None };
    assert_eq!(bench.driver.send(key, &slice), answer);
    assert_eq!(bench.driver.send(key, &slice), Some(0));
    assert!(bench.driver.release(key).is_none());
    assert!(bench.seen(key).ended.is_empty());
    bench.driver.turn(None, &mut bench.sink).unwrap();
    assert_eq!(bench.seen(key).ended, [Ended::Reset]);
    bench.rest();
    assert_eq!(bench.seen(key).ended.len(), 1);
    // Closed before that turn, nobody is told.
    let (client, key) = bench.connect();
    reset(client);
    assert_eq!(bench.driver.send(key, &slice), answer);
    bench.close(key, true);
    bench.rest();
    assert!(bench.seen(key).ended.is_empty());
}

pub(in crate::net) fn a_stale_key_does_nothing<D: SocketDriver>() {
    let mut bench = Bench::<D>::new();
    let (_old_client, old) = bench.connect();
    bench.close(old, false);
    let (mut client, new) = bench.connect();
    assert_eq!(old.slot(), new.slot(), "the test is about a slot that is used again");
    let slice = Slice::copied(b"not for you");
    assert_eq!(bench.driver.send(old, &slice), Some(0));
    bench.driver.pause(old);
    bench.driver.finish(old);
    bench.driver.close(old, true);
    assert!(bench.driver.release(old).is_none());
    client.write_all(b"alive").unwrap();
    bench.until("bytes", |sink| sink.seen[&new].received == b"alive");
    bench.driver.pause(new);
    client.write_all(b"!").unwrap();
    bench.driver.resume(old);
    bench.rest();
    assert_eq!(bench.seen(new).received, b"alive");
    assert_eq!(bench.send(new, &Slice::copied(b"for you")), 7);
    let mut answer = [0; 7];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"for you");
    // Never seen at all.
    assert_eq!(bench.driver.send(ConnKey::unpack(1 << 20), &slice), Some(0));
}

pub(in crate::net) fn a_connection_moves_to_another_driver<D: SocketDriver>() {
    let (mut from, mut to) = (Bench::<D>::new(), Bench::<D>::new());
    to.rest();
    let (mut client, old) = from.connect();
    client.write_all(b"before").unwrap();
    from.until("bytes", |sink| sink.seen[&old].received == b"before");
    from.driver.pause(old);
    client.write_all(b"between").unwrap();
    from.rest();
    let fd = from.driver.release(old).unwrap();
    from.sink.keys.remove(old);
    assert!(from.driver.release(old).is_none());
    let peer = client.local_addr().unwrap();
    let new = to.driver.adopt(fd, ListenerId(3), peer, &mut to.sink).unwrap();
    assert_eq!(to.sink.accepted, [(new, ListenerId(3), peer)]);
    client.write_all(b" and after").unwrap();
    to.until("bytes", |sink| sink.seen[&new].received == b"between and after");
    assert_eq!(to.send(new, &Slice::copied(b"here")), 4);
    client.shutdown(Shutdown::Write).unwrap();
    to.until("the FIN", |sink| sink.seen[&new].finished == 1);
    from.rest();
    assert_eq!((from.seen(old).received.as_slice(), from.seen(old).finished), (&b"before"[..], 0));
    to.close(new, false);
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"here");
    // Whom the sink refuses is closed.
    let (mut client, old) = from.connect();
    let fd = from.driver.release(old).unwrap();
    to.sink.refuse = true;
    assert!(to.driver.adopt(fd, ListenerId(3), peer, &mut to.sink).is_none());
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
}

pub(in crate::net) fn whom_the_sink_refuses_is_closed_at_once<D: SocketDriver>() {
    let mut bench = Bench::<D>::new();
    bench.sink.refuse = true;
    let mut client = Client::connect(bench.address).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    bench.driver.turn(Some(Duration::from_secs(60)), &mut bench.sink).unwrap();
    bench.rest();
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
    bench.sink.refuse = false;
    bench.connect();
}

pub(in crate::net) fn accepting_stops_and_goes_on<D: SocketDriver>() {
    for begun in [false, true] {
        let mut bench = Bench::<D>::new();
        if begun {
            bench.rest();
        }
        bench.driver.accept(false);
        if begun {
            // Two turns until the kernel, if it accepts, does so no more.
            bench.rest();
        }
        let _clients: Vec<Client> = (0..3).map(|_| Client::connect(bench.address).unwrap()).collect();
        bench.rest();
        assert!(bench.sink.accepted.is_empty());
        bench.driver.accept(true);
        // Nothing that has happened since tells of them: this must not wait for it.
        bench.until("all three", |sink| sink.accepted.len() == 3);
        // Those that came before it stopped are not told before it goes on.
        bench.driver.accept(false);
        let _client = Client::connect(bench.address).unwrap();
        bench.rest();
        assert_eq!(bench.sink.accepted.len(), 3);
        bench.driver.accept(true);
        bench.until("the fourth", |sink| sink.accepted.len() == 4);
    }
}
