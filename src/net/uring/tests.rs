//! What is particular to this driver: what is in flight, what is kept meanwhile, and what comes too late.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream as Client};

use super::buffers::{BUFFER_BYTES, BUFFERS};
use super::setup::TaskRun;
use super::*;
use crate::net::driver::tests::{self as shared, Bench, pattern, reset};
use crate::net::driver::{DriverKind, SocketDriver, works_here};

/// As on a kernel that does not know the other way to run what had to wait.
#[derive(Debug)]
struct Cooperative(Uring);

impl SocketDriver for Cooperative {
    const KIND: DriverKind = DriverKind::Uring;

    fn open(clock: Clock) -> io::Result<Cooperative> {
        Uring::with(Ring::new(&[TaskRun::Cooperative])?, clock).map(Cooperative)
    }
    fn listen(&mut self, id: ListenerId, socket: TcpListener) -> io::Result<()> {
        self.0.listen(id, socket)
    }
    fn waker(&self) -> Arc<dyn Wake> {
        self.0.waker()
    }
}

impl Driver for Cooperative {
    fn turn(&mut self, timeout: Option<Duration>, sink: &mut impl Sink) -> io::Result<()> {
        self.0.turn(timeout, sink)
    }
    fn send(&mut self, key: ConnKey, slice: &Slice) -> Option<usize> {
        self.0.send(key, slice)
    }
    fn pause(&mut self, key: ConnKey) {
        self.0.pause(key);
    }
    fn resume(&mut self, key: ConnKey) {
        self.0.resume(key);
    }
    fn finish(&mut self, key: ConnKey) {
        self.0.finish(key);
    }
    fn close(&mut self, key: ConnKey, reset: bool) {
        self.0.close(key, reset);
    }
    fn adopt(&mut self, fd: OwnedFd, listener: ListenerId, peer: SocketAddr, sink: &mut impl Sink) -> Option<ConnKey> {
        self.0.adopt(fd, listener, peer, sink)
    }
    fn release(&mut self, key: ConnKey) -> Option<OwnedFd> {
        self.0.release(key)
    }
    fn accept(&mut self, on: bool) {
        self.0.accept(on);
    }
}

/// The driver itself, however the ring is set up.
trait Inside: SocketDriver {
    fn inside(&mut self) -> &mut Uring;
}

impl Inside for Uring {
    fn inside(&mut self) -> &mut Uring {
        self
    }
}

impl Inside for Cooperative {
    fn inside(&mut self) -> &mut Uring {
        &mut self.0
    }
}

/// The bodies that every driver has in common.
macro_rules! cooperatively {
    ($($name:ident in $module:path),* $(,)?) => {
        mod over_cooperative {
            $(#[test] fn $name() {
                if super::works_here(super::DriverKind::Uring) {
                    use $module as of;
                    of::$name::<super::Cooperative>();
                }
            })*
        }
    };
}

cooperatively!(
    bytes_go_both_ways_and_both_sides_finish_once in super::shared,
    the_end_is_seen_wherever_it_falls in super::shared,
    a_reader_that_does_not_read_blocks_and_then_goes_on in super::shared,
    a_paused_peer_is_held_back in super::shared,
    resets_go_both_ways in super::shared,
    a_send_that_fails_ends_in_the_next_turn in super::shared,
    a_stale_key_does_nothing in super::shared,
    whom_the_sink_refuses_is_closed_at_once in super::shared,
    accepting_stops_and_goes_on in super::shared,
    many_connections_are_served_in_bounded_turns in super::shared::bounds,
    who_sends_much_does_not_starve_the_others in super::shared::bounds,
    a_turn_waits_as_long_as_it_was_told_or_is_woken in super::shared::bounds,
);

macro_rules! both_ways {
    ($($name:ident),* $(,)?) => {
        mod deferred {
            $(#[test] fn $name() {
                if super::works_here(super::DriverKind::Uring) {
                    super::$name::<super::Uring>();
                }
            })*
        }
        mod cooperative {
            $(#[test] fn $name() {
                if super::works_here(super::DriverKind::Uring) {
                    super::$name::<super::Cooperative>();
                }
            })*
        }
    };
}

both_ways!(
    a_slice_is_kept_until_its_send_is_over,
    more_sends_than_the_queue_holds,
    closing_waits_for_what_is_in_flight,
    who_comes_after_hears_nothing_of_who_was_there,
    a_paused_sink_gets_nothing_and_loses_nothing,
    who_finds_no_buffer_is_served_later,
    a_reset_in_the_middle_of_a_send,
    nothing_is_left_when_it_is_dropped,
    what_is_not_in_the_socket_is_not_given_away,
);

fn stuck<D: Inside>(bench: &mut Bench<D>, key: ConnKey, slice: &Slice) -> usize {
    let mut taken = 0;
    loop {
        let told = bench.seen(key).sent;
        let more = bench.send(key, &slice.skip(taken));
        taken += more;
        bench.rest();
        if more == 0 && bench.seen(key).sent == told {
            return taken;
        }
    }
}

fn a_slice_is_kept_until_its_send_is_over<D: Inside>() {
    let mut bench = Bench::<D>::new();
    let (mut client, key) = bench.connect();
    assert_eq!(bench.driver.send(key, &Slice::copied(b"hello")), None);
    assert_eq!(bench.driver.inside().ring.slices_kept(), 1);
    bench.until("the answer", |sink| sink.seen[&key].sent > 0);
    assert_eq!((bench.seen(key).taken, bench.driver.inside().ring.slices_kept()), (5, 0));
    client.read_exact(&mut [0; 5]).unwrap();
    // A stuck reader holds none, and nobody tries in vain.
    let slice = Slice::copied(&pattern(8 << 20));
    let taken = stuck(&mut bench, key, &slice);
    for _ in 0..3 {
        assert_eq!(bench.driver.send(key, &slice.skip(taken)), Some(0));
        bench.rest();
        assert_eq!(bench.driver.inside().ring.slices_kept(), 0);
    }
    let told = bench.seen(key).sent;
    let taken_before = bench.seen(key).taken;
    client.read_exact(&mut vec![0; taken]).unwrap();
    bench.until("room", |sink| sink.seen[&key].sent > told);
    assert_eq!(bench.seen(key).taken, taken_before, "room is no answer to a send");
}

fn more_sends_than_the_queue_holds<D: Inside>() {
    const CLIENTS: usize = 700;
    let mut bench = Bench::<D>::new();
    let mut clients: Vec<(Client, ConnKey)> = (0..CLIENTS).map(|_| bench.connect()).collect();
    for (number, (_, key)) in clients.iter().enumerate() {
        assert_eq!(bench.driver.send(*key, &Slice::copied(&(number as u32).to_be_bytes())), None);
    }
    // The queue was handed over on the way, and what is over is kept no longer, though nobody is told before the turn.
    let kept = bench.driver.inside().ring.slices_kept();
    assert!(kept > 0 && kept < CLIENTS, "{kept}");
    assert_eq!(bench.sink.seen.values().map(|seen| seen.sent).sum::<usize>(), 0);
    bench.until("all answers", |sink| sink.seen.values().all(|seen| (seen.sent, seen.taken) == (1, 4)));
    assert_eq!(bench.driver.inside().ring.slices_kept(), 0);
    for (number, (client, _)) in clients.iter_mut().enumerate() {
        let mut answer = [0; 4];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(answer, (number as u32).to_be_bytes());
    }
}

fn closing_waits_for_what_is_in_flight<D: Inside>() {
    for finish in [false, true] {
        let mut bench = Bench::<D>::new();
        let (mut client, key) = bench.connect();
        bench.rest();
        assert_eq!(bench.driver.send(key, &Slice::copied(b"the last words")), None);
        if finish {
            bench.driver.finish(key);
        }
        bench.close(key, false);
        let driver = bench.driver.inside();
        assert_eq!((driver.leaving.len(), driver.ring.slices_kept()), (1, 1));
        bench.rest();
        let driver = bench.driver.inside();
        assert_eq!((driver.leaving.len(), driver.ring.slices_kept()), (0, 0));
        let mut words = Vec::new();
        client.read_to_end(&mut words).unwrap();
        assert_eq!(words, b"the last words");
        assert_eq!(bench.seen(key).sent, 0, "nobody is told who has closed");
    }
    // Our FIN alone follows the bytes, too.
    let mut bench = Bench::<D>::new();
    let (mut client, key) = bench.connect();
    assert_eq!(bench.driver.send(key, &Slice::copied(b"words")), None);
    bench.driver.finish(key);
    bench.rest();
    let mut words = Vec::new();
    client.read_to_end(&mut words).unwrap();
    assert_eq!(words, b"words");
    client.write_all(b"and an answer").unwrap();
    bench.until("bytes", |sink| sink.seen[&key].received == b"and an answer");
    // Nothing is in flight of who has finished: closed at once.
    client.shutdown(Shutdown::Write).unwrap();
    bench.until("the FIN", |sink| sink.seen[&key].finished == 1);
    bench.close(key, false);
    assert!(bench.driver.inside().leaving.is_empty());
}

fn who_comes_after_hears_nothing_of_who_was_there<D: Inside>() {
    let mut bench = Bench::<D>::new();
    let slice = Slice::copied(&pattern(100_000));
    let mut slots = std::collections::BTreeSet::new();
    for round in 0..200 {
        let (mut client, key) = bench.connect();
        slots.insert(key.slot());
        match round % 5 {
            0 => client.write_all(b"not seen before the close").unwrap(),
            1 => assert_eq!(bench.driver.send(key, &slice), None),
            2 => client.shutdown(Shutdown::Write).unwrap(),
            3 => reset(client),
            // The peer is stuck, or paused and gone.
            _ => {
                bench.driver.pause(key);
                stuck(&mut bench, key, &Slice::copied(&pattern(4 << 20)));
            }
        }
        // The sink asserts that it is told of nobody who is closed.
        if bench.sink.keys.get(key).is_some() {
            bench.close(key, round % 2 == 0);
        }
        if round % 3 == 0 {
            bench.rest();
        }
    }
    assert!(slots.len() < 4, "the test is about slots that are used again: {slots:?}");
    bench.rest();
    let driver = bench.driver.inside();
    assert_eq!((driver.leaving.len(), driver.held.len(), driver.ring.slices_kept()), (0, 0, 0));
}

fn a_paused_sink_gets_nothing_and_loses_nothing<D: Inside>() {
    const ALL: usize = 6 << 20;
    let mut bench = Bench::<D>::new();
    let (client, key) = bench.connect();
    let bytes = pattern(ALL);
    std::thread::scope(|scope| {
        let (mut client, bytes) = (&client, &bytes);
        scope.spawn(move || {
            client.write_all(bytes).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
        });
        let (mut pauses, mut held) = (0, 0);
        while bench.seen(key).finished == 0 {
            let before = bench.seen(key).received.len();
            bench.until("more", |sink| sink.seen[&key].received.len() > before || sink.seen[&key].finished > 0);
            let before = (bench.seen(key).received.len(), bench.seen(key).finished);
            bench.driver.pause(key);
            bench.rest();
            assert_eq!((bench.seen(key).received.len(), bench.seen(key).finished), before, "it is paused");
            let kept: usize = bench.driver.inside().held.values().map(Vec::len).sum();
            assert!(kept <= usize::from(BUFFERS) * BUFFER_BYTES, "{kept}");
            held += usize::from(kept > 0);
            pauses += 1;
            bench.driver.resume(key);
        }
        assert!(pauses > 10 && held > 0, "the test is about bytes that are held back: {pauses} {held}");
    });
    assert!(bench.seen(key).received == bytes);
    bench.rest();
    assert!(bench.driver.inside().held.is_empty());
    assert_eq!((bench.seen(key).finished, bench.seen(key).ended.len()), (1, 0));
}

fn who_finds_no_buffer_is_served_later<D: Inside>() {
    let mut bench = Bench::<D>::new();
    let mut clients: Vec<(Client, ConnKey)> = (0..usize::from(BUFFERS) + 88).map(|_| bench.connect()).collect();
    bench.rest();
    for (_, key) in &clients {
        bench.driver.pause(*key);
    }
    bench.rest();
    for (client, _) in &mut clients {
        client.write_all(b"at once").unwrap();
    }
    bench.rest();
    assert_eq!(bench.sink.reads.len(), 0);
    for (_, key) in &clients {
        bench.driver.resume(*key);
    }
    let all = clients.len();
    bench.until("all", |sink| sink.seen.values().filter(|seen| seen.received == b"at once").count() == all);
    // And they go on being read from.
    for (client, _) in &mut clients {
        client.write_all(b", and again").unwrap();
    }
    let so = |seen: &&shared::Seen| seen.received == b"at once, and again";
    bench.until("all again", |sink| sink.seen.values().filter(so).count() == all);
}

fn a_reset_in_the_middle_of_a_send<D: Inside>() {
    for turn_between in [false, true] {
        let mut bench = Bench::<D>::new();
        let (client, key) = bench.connect();
        let slice = Slice::copied(&pattern(8 << 20));
        let taken = stuck(&mut bench, key, &slice);
        assert!(taken > 0);
        reset(client);
        if turn_between {
            bench.driver.turn(None, &mut bench.sink).unwrap();
        } else {
            assert_eq!(bench.driver.send(key, &slice), Some(0));
        }
        bench.until("the reset", |sink| !sink.seen[&key].ended.is_empty());
        bench.rest();
        assert_eq!(bench.seen(key).ended, [Ended::Reset]);
        let driver = bench.driver.inside();
        assert_eq!((driver.leaving.len(), driver.ring.slices_kept()), (0, 0));
    }
}

fn nothing_is_left_when_it_is_dropped<D: Inside>() {
    let mut bench = Bench::<D>::new();
    let (mut armed, _) = bench.connect();
    let (mut stuck_one, key) = bench.connect();
    stuck(&mut bench, key, &Slice::copied(&pattern(8 << 20)));
    let (mut told, key) = bench.connect();
    bench.rest();
    assert_eq!(bench.driver.send(key, &Slice::copied(b"not handed over yet")), None);
    let address = bench.address;
    drop(bench);
    assert!(Client::connect(address).is_err(), "nobody listens any more");
    assert_eq!(armed.read(&mut [0; 1]).unwrap(), 0);
    let mut words = Vec::new();
    told.read_to_end(&mut words).unwrap();
    assert_eq!(words, b"not handed over yet");
    assert!(stuck_one.read_to_end(&mut Vec::new()).unwrap() > 0);
}

fn what_is_not_in_the_socket_is_not_given_away<D: Inside>() {
    let (mut from, mut to) = (Bench::<D>::new(), Bench::<crate::net::epoll::Epoll>::new());
    let (client, key) = from.connect();
    let bytes = pattern(2 << 20);
    let peer = client.local_addr().unwrap();
    std::thread::scope(|scope| {
        let (mut client, bytes) = (&client, &bytes);
        scope.spawn(move || client.write_all(bytes).unwrap());
        from.until("much", |sink| sink.seen[&key].received.len() > 256 << 10);
        // Refused until the sink has got all that this driver had received.
        let mut refused = 0;
        let fd = loop {
            if let Some(fd) = from.driver.release(key) {
                break fd;
            }
            refused += 1;
            assert!(refused < 10_000);
            from.driver.turn(Some(Duration::ZERO), &mut from.sink).unwrap();
        };
        assert!(from.driver.release(key).is_none(), "stale");
        from.sink.keys.remove(key);
        let before = from.seen(key).received.clone();
        let new = to.driver.adopt(fd, ListenerId(7), peer, &mut to.sink).unwrap();
        let all = bytes.len();
        to.until("the rest", |sink| before.len() + sink.seen[&new].received.len() == all);
        assert!([before, to.seen(new).received.clone()].concat() == *bytes);
    });
    from.rest();
}

#[test]
fn it_belongs_to_the_thread_of_its_first_turn() {
    if !works_here(DriverKind::Uring) {
        return;
    }
    let mut bench = Bench::<Uring>::new();
    // Where it came into being does not matter.
    std::thread::scope(|scope| {
        let bench = &mut bench;
        scope.spawn(move || bench.rest());
    });
    assert!(bench.driver.turn(Some(Duration::from_millis(1)), &mut bench.sink).is_err());
    // Its memory is given up rather than used twice.
    drop(bench);
}
