//! A map that forgets what nobody needs any more: for what is kept by user, of whom there can be any
//! number.
//!
//! Everything in it is looked at only when it has doubled since the last time. So what one more entry
//! costs does not grow with the number of them.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::collections::hash_map::{Entry, Iter, Values};
use std::hash::Hash;

/// How many entries there are before the first are forgotten.
pub(crate) const MANY: usize = 1024;

/// What is kept by `K`.
pub(crate) struct Forgetful<K, V> {
    kept: HashMap<K, V>,
    /// How many entries there are when all are looked at next.
    full: usize,
}

impl<K, V> Default for Forgetful<K, V> {
    fn default() -> Self {
        Self { kept: HashMap::new(), full: MANY }
    }
}

impl<K: Eq + Hash, V> Forgetful<K, V> {
    /// Returns the place of `key`. Beforehand it may forget all that is not `needed`.
    pub(crate) fn entry(&mut self, key: K, needed: impl FnMut(&mut V) -> bool) -> Entry<'_, K, V> {
        if self.kept.len() >= self.full {
            self.forget(needed);
        }
        self.kept.entry(key)
    }

    /// Forgets all that is not `needed`.
    pub(crate) fn forget(&mut self, mut needed: impl FnMut(&mut V) -> bool) {
        self.kept.retain(|_, value| needed(value));
        self.full = self.kept.len().saturating_mul(2).max(MANY);
    }

    /// Returns what is kept for `key`.
    pub(crate) fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.kept.get(key)
    }

    /// Returns all that is kept, each with its key.
    pub(crate) fn iter(&self) -> Iter<'_, K, V> {
        self.kept.iter()
    }

    /// Returns all that is kept.
    pub(crate) fn values(&self) -> Values<'_, K, V> {
        self.kept.values()
    }
}

#[cfg(test)]
mod tests {
    use super::{Forgetful, MANY};

    /// Puts in so many that are all needed; returns how many were looked at.
    fn looks(number: usize) -> usize {
        let (mut map, mut looks) = (Forgetful::default(), 0);
        for key in 0..number {
            let _ = map
                .entry(key, |()| {
                    looks += 1;
                    true
                })
                .or_insert(());
        }
        looks
    }

    #[test]
    fn many_that_are_needed_are_seldom_looked_at() {
        for number in [MANY, 10 * MANY, 100 * MANY] {
            assert!(looks(number) <= 2 * number, "{number}");
        }
    }

    #[test]
    fn what_is_not_needed_does_not_stay() {
        let mut map = Forgetful::default();
        for key in 0..10 * MANY {
            let _ = map.entry(key, |needed| *needed).or_insert(key == 0);
        }
        assert!(map.values().count() <= MANY);
        assert!(map.get(&0).is_some_and(|needed| *needed));
    }
}
