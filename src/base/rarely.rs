//! A list that hardly ever has anything in it: 8 bytes while it is empty, and nothing behind them.

use std::ops::Deref;

/// See the module. What it holds lies in a box that goes with the last item.
#[derive(Debug)]
pub struct Rarely<T>(
    #[expect(clippy::box_collection, reason = "an empty Vec takes three times as much")] Option<Box<Vec<T>>>,
);

impl<T> Default for Rarely<T> {
    fn default() -> Rarely<T> {
        Rarely(None)
    }
}

impl<T> Rarely<T> {
    /// Adds an item.
    pub fn push(&mut self, item: T) {
        self.0.get_or_insert_with(|| Box::new(Vec::with_capacity(1))).push(item);
    }

    /// Leaves out what `keeps` does not keep.
    pub fn retain(&mut self, keeps: impl FnMut(&T) -> bool) {
        if let Some(items) = &mut self.0 {
            items.retain(keeps);
        }
        self.tidy();
    }

    /// Takes out the item at `index`; the last one comes into its place.
    ///
    /// # Panics
    /// If there is none.
    pub fn swap_remove(&mut self, index: usize) -> T {
        let Some(items) = &mut self.0 else { panic!("no item {index} of none") };
        let item = items.swap_remove(index);
        self.tidy();
        item
    }

    fn tidy(&mut self) {
        if self.is_empty() {
            self.0 = None;
        }
    }
}

impl<T> Deref for Rarely<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        self.0.as_deref().map_or(&[], Vec::as_slice)
    }
}

impl<T> std::ops::DerefMut for Rarely<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        self.0.as_deref_mut().map_or(&mut [], Vec::as_mut_slice)
    }
}

impl<T> IntoIterator for Rarely<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.map_or_else(Vec::new, |items| *items).into_iter()
    }
}

impl<'a, T> IntoIterator for &'a Rarely<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_list_and_weighs_nothing_when_empty() {
        let mut list = Rarely::default();
        assert_eq!((size_of_val(&list), list.len()), (8, 0));
        for item in 0..5 {
            list.push(item);
        }
        list[4] = 7;
        assert_eq!((list.swap_remove(1), &*list), (1, &[0, 7, 2, 3][..]));
        list.retain(|item| item % 2 == 1);
        assert_eq!((&list).into_iter().copied().collect::<Vec<_>>(), [7, 3]);
        assert_eq!((list.swap_remove(0), list.swap_remove(0)), (7, 3));
        assert!(list.0.is_none(), "its box is gone");
        list.push(9);
        list.retain(|_| false);
        assert!(list.0.is_none() && list.is_empty() && list.into_iter().next().is_none());
    }
}
