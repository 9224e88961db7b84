//! How many descriptors the store has room for, as far as that is known.

/// What was told of it, and what was found.
pub(super) struct Capacity {
    most: usize,
    /// How many there were when one more found no room. An operator can make more: now and then, one is tried.
    found: Option<usize>,
    tries_one: bool,
}

impl Capacity {
    /// Room for so many, or fewer.
    pub(super) fn new(most: usize) -> Self {
        Self { most, found: None, tries_one: false }
    }

    /// Whether there is room for one more beside so many, of which the same user has `owned`: no user has more than are
    /// left for others.
    pub(super) fn has_room(&self, count: usize, owned: usize) -> bool {
        let tried = usize::from(self.tries_one);
        let fits = self.found.is_none_or(|found| count < found + tried);
        fits && owned < self.most.saturating_sub(count)
    }

    /// Whether the store has turned out to have room for no more than so many.
    pub(super) fn is_full(&self, count: usize) -> bool {
        self.found.is_some_and(|found| count >= found)
    }

    /// Whether something has found no room. What is sent then is sent one by one: of several, it is not known which
    /// ones were stored.
    pub(super) fn is_found(&self) -> bool {
        self.found.is_some()
    }

    /// Of so many, the last ones were not all stored.
    pub(super) fn refuse(&mut self, count: usize) {
        self.found = Some(count.saturating_sub(1));
        self.tries_one = false;
    }

    /// So many are stored. Returns whether that is more than there was room for before.
    pub(super) fn accept(&mut self, count: usize) -> bool {
        let has_more = self.found.is_some_and(|found| count > found);
        if has_more {
            self.found = None;
            self.tries_one = false;
        }
        has_more
    }

    /// One more may be stored, to see whether there is room for it by now.
    pub(super) fn try_one(&mut self) {
        self.tries_one = self.is_found();
    }
}

#[cfg(test)]
mod tests {
    use super::Capacity;

    #[test]
    fn a_full_store_is_used_up_to_its_room_and_tried_again() {
        let mut capacity = Capacity::new(1000);
        // Five were there, and not all of the last ones were stored.
        capacity.refuse(5);
        assert!(capacity.is_full(4) && !capacity.is_full(3));
        assert!(capacity.has_room(3, 3) && !capacity.has_room(4, 4));
        capacity.try_one();
        assert!(capacity.has_room(4, 4) && !capacity.has_room(5, 5), "one at a time");
        capacity.refuse(5);
        assert!(!capacity.has_room(4, 4));
        capacity.try_one();
        assert!(!capacity.accept(4) && capacity.accept(5));
        assert!(!capacity.is_found() && capacity.has_room(5, 5));
    }

    #[test]
    fn no_user_has_more_than_are_left_for_others() {
        let capacity = Capacity::new(10);
        assert!(capacity.has_room(4, 4) && !capacity.has_room(5, 5) && capacity.has_room(9, 0));
        assert!(!capacity.has_room(10, 0));
    }
}
