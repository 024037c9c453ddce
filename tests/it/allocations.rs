//! No allocation per delivery and none per vote, in steady state. A turn may allocate a bounded number of times, whatever
//! is read and sent in it: segments that were given back are taken again, a batch and a publication are made.

use crate::counting::{allocations, traced};
use crate::house::{House, text_frame};
use crate::poll::Poll;

/// So many times may a turn with one publication allocate, however many get it.
const OF_A_ROUND: u64 = 30;
/// So many times may a turn with a batch of votes allocate, however many votes are in it: beside what a round takes, lists
/// grow by doubling.
const OF_A_BATCH: u64 = 60;

/// So many times may the answers to one connection's read allocate, however many they are.
const OF_ANSWERS: u64 = 12;

/// A publication to so many: allocations of its turns, all together, and sends.
fn delivered(subscribers: usize) -> (u64, u64, String) {
    let mut house = House::new();
    let conns = house.connect(subscribers, |_| "/bench".into());
    house.settle();
    let frame = text_frame("a message of thirty-two bytes...");
    (0..50).for_each(|_| house.say(conns[0], &frame));
    let before = house.driver.sends;
    let most = (0..20).map(|_| allocations(|| house.say(conns[0], &frame))).max().unwrap_or(0);
    (most, (house.driver.sends - before) / 20, traced(|| house.say(conns[0], &frame)))
}

#[test]
fn a_delivery_does_not_allocate() {
    let (few, few_sends, _) = delivered(10);
    let (many, many_sends, found) = delivered(2000);
    assert_eq!((few_sends, many_sends), (10, 2000), "each gets each, and with it nothing else");
    assert!(many <= OF_A_ROUND, "{many} allocations for one publication:{found}");
    assert!(many <= few, "{few} allocations to 10, but {many} to 2000:{found}");
}

/// Allocations of a turn, at most, and where they are.
fn voted(mut poll: Poll) -> (u64, String) {
    for _ in 0..50 {
        poll.turn();
    }
    let mut turn = || assert!(poll.turn() > 0);
    let most = (0..20).map(|_| allocations(&mut turn)).max().unwrap_or(0);
    (most, traced(turn))
}

#[test]
fn a_vote_does_not_allocate() {
    for listeners in [0, 500] {
        let (few, _) = voted(Poll::new(20, listeners, 10));
        let (many, found) = voted(Poll::new(200, listeners, 10));
        assert!(many <= OF_A_BATCH, "{few} allocations for 200 votes, {many} for 2000:{found}");
    }
}

#[test]
fn a_paced_vote_does_not_allocate() {
    for listeners in [0, 500] {
        let (few, _) = voted(Poll::paced(20, listeners, 10));
        let (many, found) = voted(Poll::paced(200, listeners, 10));
        assert!(many <= OF_A_BATCH, "{few} allocations for 200 votes, {many} for 2000:{found}");
    }
}

/// In our own dialect each vote is answered: what waits for one connection alone has its room, which goes when all is sent.
#[test]
fn an_answered_vote_allocates_little() {
    const VOTERS: u64 = 50;
    const FRAMES: u64 = 40;
    let (many, found) = voted(Poll::own_dialect(VOTERS as usize, 0, FRAMES as usize));
    let bound = OF_A_BATCH + VOTERS * OF_ANSWERS;
    assert!(many <= bound, "{many} allocations:{found}");
}
