//! What the driver keeps of a connection: 12 bytes.

use std::os::fd::OwnedFd;

use crate::base::keys::ConnKey;

/// One connection, found by its slot.
#[derive(Debug)]
pub(super) struct Connection {
    /// The upper half of the packed key; the slot is where it lies.
    generation: u32,
    pub(super) socket: OwnedFd,
    pub(super) marks: Marks,
    /// Bytes that the sink has got of it in this turn.
    pub(super) turn_bytes: u16,
}

const _: () = assert!(size_of::<Option<Connection>>() == 12, "there may be a hundred thousand, most of them idle");

impl Connection {
    pub(super) fn new(key: ConnKey, socket: OwnedFd) -> Connection {
        Connection { generation: generation(key), socket, marks: Marks::default(), turn_bytes: 0 }
    }
}

/// The connection, if the key is not stale.
pub(super) fn find(connections: &mut [Option<Connection>], key: ConnKey) -> Option<&mut Connection> {
    connections.get_mut(key.slot())?.as_mut().filter(|connection| connection.generation == generation(key))
}

fn generation(key: ConnKey) -> u32 {
    (key.pack() >> 32) as u32
}

/// A closed connection whose operations are not over yet. Its socket stays open until they are, and its slot may have
/// another owner by then.
#[derive(Debug)]
pub(super) struct Leaving {
    #[expect(dead_code, reason = "it is kept open, and closes when this is dropped")]
    pub(super) socket: OwnedFd,
    pub(super) marks: Marks,
}

/// Yes or no, sixteen times.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Marks(u16);

impl Marks {
    /// In flight: a receive, which goes on until it is over or called back.
    pub(super) const RECEIVES: u16 = 1;
    /// In flight: a watch for errors.
    pub(super) const WATCHED: u16 = 1 << 1;
    /// In flight: a wait for room to send.
    pub(super) const WAITS_FOR_ROOM: u16 = 1 << 2;
    /// In flight: a send.
    pub(super) const SENDS: u16 = 1 << 3;
    /// All that may be in flight.
    pub(super) const IN_FLIGHT: u16 = Marks::RECEIVES | Marks::WATCHED | Marks::WAITS_FOR_ROOM | Marks::SENDS;
    /// The receive was called back, and has not ended yet.
    pub(super) const CALLED_BACK: u16 = 1 << 4;
    /// The last send was cut short, and no room was told since.
    pub(super) const BLOCKED: u16 = 1 << 5;
    /// The sink does not want to read.
    pub(super) const PAUSED: u16 = 1 << 6;
    /// The peer's FIN has come.
    pub(super) const FINISHED: u16 = 1 << 7;
    /// And was told to the sink.
    pub(super) const FIN_TOLD: u16 = 1 << 8;
    /// Bytes are held back for the sink.
    pub(super) const HOLDS: u16 = 1 << 9;
    /// The watch told of an error that receiving would find, but nothing is received.
    pub(super) const BROKEN: u16 = 1 << 10;
    /// Our FIN follows the send in flight.
    pub(super) const FIN_DUE: u16 = 1 << 11;
    /// Stands in the queue of those whose operations are to be started or called back.
    pub(super) const DUE: u16 = 1 << 12;
    /// Stands in the queue of those who have something for the sink.
    pub(super) const READY: u16 = 1 << 13;
    /// Stands in the list of those who have been read from in this turn.
    pub(super) const READ: u16 = 1 << 14;
    /// Has pieces among those that are left for later.
    pub(super) const LATER: u16 = 1 << 15;

    pub(super) fn has(self, any: u16) -> bool {
        self.0 & any != 0
    }

    pub(super) fn set(&mut self, marks: u16) {
        self.0 |= marks;
    }

    pub(super) fn clear(&mut self, marks: u16) {
        self.0 &= !marks;
    }
}
