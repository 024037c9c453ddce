//! Keyed hashing: what users choose cannot be made to collide by who does not know the seed.

use std::collections::HashMap;
use std::hash::BuildHasher;

use siphasher::sip::SipHasher13;

/// Where randomness comes from: drawn once from the system at the start, or given by a simulation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seed(pub u64, pub u64);

impl BuildHasher for Seed {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0, self.1)
    }
}

/// A map whose keys users choose.
pub type Map<K, V> = HashMap<K, V, Seed>;
