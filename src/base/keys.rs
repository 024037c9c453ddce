//! Ids, and keys that go stale: a key whose owner is gone finds nobody.

use std::fmt;
use std::marker::PhantomData;

use super::slots::Slab;

/// One event loop of this process, counted from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CoreId(pub u16);

/// A listening socket of the configuration, counted from 0 in the order of the file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ListenerId(pub u16);

/// Slot and generation. The generation is never used twice for one slot within 2^32 insertions.
pub struct Key<Owner> {
    slot: u32,
    generation: u32,
    owner: PhantomData<fn() -> Owner>,
}

impl<Owner> Key<Owner> {
    /// The key packed into 64 bits (mio's Token, io_uring's user_data): generation above, slot below.
    pub fn pack(self) -> u64 {
        (u64::from(self.generation) << 32) | u64::from(self.slot)
    }

    /// The key that [`pack`](Key::pack) packed.
    pub fn unpack(packed: u64) -> Self {
        Key { slot: packed as u32, generation: (packed >> 32) as u32, owner: PhantomData }
    }

    /// Where it lies in a table of all keys alive: small numbers, used again.
    pub fn slot(self) -> usize {
        self.slot as usize
    }
}

impl<Owner> Clone for Key<Owner> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<Owner> Copy for Key<Owner> {}
impl<Owner> PartialEq for Key<Owner> {
    fn eq(&self, other: &Self) -> bool {
        self.pack() == other.pack()
    }
}
impl<Owner> Eq for Key<Owner> {}
impl<Owner> PartialOrd for Key<Owner> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<Owner> Ord for Key<Owner> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.pack().cmp(&other.pack())
    }
}
impl<Owner> std::hash::Hash for Key<Owner> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.pack().hash(state);
    }
}
impl<Owner> fmt::Debug for Key<Owner> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slot, self.generation)
    }
}

/// Whose key: a connection's.
#[derive(Debug)]
pub enum OfConnection {}
/// Whose key: a session's.
#[derive(Debug)]
pub enum OfSession {}
/// Whose key: a mirror's.
#[derive(Debug)]
pub enum OfMirror {}

/// A connection of one core.
pub type ConnKey = Key<OfConnection>;
/// A session of one core.
pub type SessionKey = Key<OfSession>;
/// A mirror of one core.
pub type MirrorKey = Key<OfMirror>;

/// Values in slots that are used again, found by keys that go stale.
#[derive(Debug)]
pub struct Slots<Owner, T> {
    slab: Slab<(u32, T)>,
    generation: u32,
    owner: PhantomData<fn() -> Owner>,
}

impl<Owner, T> Default for Slots<Owner, T> {
    fn default() -> Self {
        Slots { slab: Slab::default(), generation: 0, owner: PhantomData }
    }
}

impl<Owner, T> Slots<Owner, T> {
    /// Puts `value` into a free slot.
    pub fn insert(&mut self, value: T) -> Key<Owner> {
        self.generation = self.generation.wrapping_add(1);
        let slot = self.slab.insert((self.generation, value));
        Key { slot, generation: self.generation, owner: PhantomData }
    }

    /// The value, if the key is not stale.
    pub fn get(&self, key: Key<Owner>) -> Option<&T> {
        self.slab.get(key.slot).filter(|(generation, _)| *generation == key.generation).map(|(_, value)| value)
    }

    /// The value, if the key is not stale.
    pub fn get_mut(&mut self, key: Key<Owner>) -> Option<&mut T> {
        self.slab.get_mut(key.slot).filter(|(generation, _)| *generation == key.generation).map(|(_, value)| value)
    }

    /// Takes the value out; the key is stale from now on.
    pub fn remove(&mut self, key: Key<Owner>) -> Option<T> {
        self.get(key)?;
        self.slab.remove(key.slot).map(|(_, value)| value)
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.slab.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    /// All values with their keys, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = (Key<Owner>, &T)> {
        self.slab
            .iter()
            .map(|(slot, (generation, value))| (Key { slot, generation: *generation, owner: PhantomData }, value))
    }

    /// All values with their keys, in no order that means anything.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Key<Owner>, &mut T)> {
        self.slab
            .iter_mut()
            .map(|(slot, (generation, value))| (Key { slot, generation: *generation, owner: PhantomData }, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_key_finds_nobody() {
        let mut slots: Slots<OfConnection, &str> = Slots::default();
        let first = slots.insert("first");
        assert_eq!(slots.remove(first), Some("first"));
        let second = slots.insert("second");
        assert_eq!(first.slot(), second.slot());
        assert_eq!(slots.get(first), None);
        assert_eq!(slots.get_mut(first), None);
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.get(second), Some(&"second"));
        assert_eq!(ConnKey::unpack(second.pack()), second);
        assert_eq!(slots.iter().map(|(key, _)| key).collect::<Vec<_>>(), [second]);
    }
}
