//! What is kept for each user: made when it is first asked for, and forgotten when nobody holds it.

use std::cell::RefCell;
use std::rc::Rc;

use super::forgetful::Forgetful;
use crate::payer::Payer;

/// Something for each user.
pub(crate) struct Users<T>(RefCell<Forgetful<Payer, Rc<T>>>);

impl<T> Default for Users<T> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<T> Users<T> {
    /// Returns what is kept for `payer`, or what `new` makes for it.
    pub(crate) fn of(&self, payer: Payer, new: impl FnOnce() -> T) -> Rc<T> {
        self.of_kept(payer, new, |_| false)
    }

    /// The same, where `keeps` says of what nobody holds whether it is remembered all the same.
    pub(crate) fn of_kept(
        &self,
        payer: Payer,
        new: impl FnOnce() -> T,
        keeps: impl Fn(&T) -> bool,
    ) -> Rc<T> {
        let needed = |kept: &mut Rc<T>| Rc::strong_count(kept) > 1 || keeps(kept);
        let mut users = self.0.borrow_mut();
        Rc::clone(users.entry(payer, needed).or_insert_with(|| Rc::new(new())))
    }

    /// Returns all that is kept.
    pub(crate) fn all(&self) -> Vec<Rc<T>> {
        self.0.borrow().values().map(Rc::clone).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::forgetful::MANY;
    use super::{Payer, Users};

    #[test]
    fn what_is_held_or_kept_is_remembered_and_the_rest_is_not() {
        let users = Users::default();
        let held = users.of(Payer::named(0), || 7);
        let keeps = |number: &u32| *number == 8;
        drop(users.of_kept(Payer::named(1), || 8, keeps));
        for uid in 2..u32::try_from(3 * MANY).unwrap() {
            drop(users.of_kept(Payer::named(uid), || uid + 100, keeps));
        }
        assert!(users.all().len() <= MANY);
        assert_eq!(
            (*held, *users.of(Payer::named(0), || 9), *users.of(Payer::named(1), || 9)),
            (7, 7, 8)
        );
    }
}
