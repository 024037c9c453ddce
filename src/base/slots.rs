//! A slab in chunks: values in numbered places that are used again.
//!
//! In one piece it would be copied whenever it grows, and on average a quarter of it would lie idle: for a table of
//! connections that is a fifth of what each of them costs.

/// So many places a chunk has.
const CHUNK: usize = 256;
const NONE: u32 = u32::MAX;

/// See the module. Memory grows with the most values that there ever were at a time.
#[derive(Debug)]
pub struct Slab<T> {
    /// All but the last are full of places. The first grows as a `Vec` does, so that a small slab is small.
    chunks: Vec<Vec<Entry<T>>>,
    /// The place that was freed last; each names the one before.
    free: u32,
    len: usize,
}

#[derive(Debug)]
enum Entry<T> {
    Vacant { next: u32 },
    Occupied(T),
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Slab { chunks: Vec::new(), free: NONE, len: 0 }
    }
}

impl<T> Slab<T> {
    /// Puts `value` into a free place.
    ///
    /// # Panics
    /// With more than 2^32 - 2 values.
    pub fn insert(&mut self, value: T) -> u32 {
        self.len += 1;
        if self.free != NONE {
            let place = self.free;
            let entry = &mut self.chunks[place as usize / CHUNK][place as usize % CHUNK];
            if let Entry::Vacant { next } = *entry {
                self.free = next;
            }
            *entry = Entry::Occupied(value);
            return place;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            let capacity = if self.chunks.is_empty() { 0 } else { CHUNK };
            self.chunks.push(Vec::with_capacity(capacity));
        }
        let before = (self.chunks.len() - 1) * CHUNK;
        let Some(chunk) = self.chunks.last_mut() else { unreachable!("one was just made") };
        let place = u32::try_from(before + chunk.len()).unwrap_or(NONE);
        assert_ne!(place, NONE, "too many values");
        chunk.push(Entry::Occupied(value));
        place
    }

    /// The value in a place, if there is one.
    #[inline]
    pub fn get(&self, place: u32) -> Option<&T> {
        match self.chunks.get(place as usize / CHUNK)?.get(place as usize % CHUNK)? {
            Entry::Occupied(value) => Some(value),
            Entry::Vacant { .. } => None,
        }
    }

    /// The value in a place, if there is one.
    #[inline]
    pub fn get_mut(&mut self, place: u32) -> Option<&mut T> {
        match self.chunks.get_mut(place as usize / CHUNK)?.get_mut(place as usize % CHUNK)? {
            Entry::Occupied(value) => Some(value),
            Entry::Vacant { .. } => None,
        }
    }

    /// Takes a value out, if there is one; its place is free.
    pub fn remove(&mut self, place: u32) -> Option<T> {
        let entry = self.chunks.get_mut(place as usize / CHUNK)?.get_mut(place as usize % CHUNK)?;
        if matches!(entry, Entry::Vacant { .. }) {
            return None;
        }
        let taken = std::mem::replace(entry, Entry::Vacant { next: self.free });
        self.free = place;
        self.len -= 1;
        match taken {
            Entry::Occupied(value) => Some(value),
            Entry::Vacant { .. } => None,
        }
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All values with their places.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.chunks.iter().flatten().zip(0..).filter_map(|(entry, place)| match entry {
            Entry::Occupied(value) => Some((place, value)),
            Entry::Vacant { .. } => None,
        })
    }

    /// All values with their places.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut T)> {
        self.chunks.iter_mut().flatten().zip(0..).filter_map(|(entry, place)| match entry {
            Entry::Occupied(value) => Some((place, value)),
            Entry::Vacant { .. } => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Judged by a map: `Some` inserts, `None` takes the n-th value out.
        #[test]
        fn it_is_a_map_that_chooses_its_keys(steps in prop::collection::vec((any::<bool>(), any::<u16>()), 0..2000)) {
            let mut slab = Slab::default();
            let mut model = BTreeMap::new();
            let mut most = 0;
            for (insert, number) in steps {
                if insert || model.is_empty() {
                    let place = slab.insert(number);
                    prop_assert_eq!(model.insert(place, number), None, "the place was taken");
                    most = most.max(model.len());
                    prop_assert!((place as usize) < most, "places are used again");
                } else {
                    let place = *model.keys().nth(usize::from(number) % model.len()).unwrap();
                    prop_assert_eq!(slab.remove(place), model.remove(&place));
                    prop_assert_eq!(slab.remove(place), None);
                    prop_assert_eq!(slab.get(place), None);
                }
                prop_assert_eq!(slab.len(), model.len());
            }
            prop_assert!(slab.iter().map(|(place, value)| (place, *value)).eq(model.clone()));
            prop_assert!(slab.iter_mut().map(|(place, value)| (place, *value)).eq(model.clone()));
            for (place, number) in &mut model {
                prop_assert_eq!(slab.get(*place), Some(&*number));
                prop_assert_eq!(slab.get_mut(*place), Some(number));
            }
            prop_assert_eq!(slab.get(most as u32), None);
            prop_assert_eq!(slab.is_empty(), model.is_empty());
        }
    }
}
