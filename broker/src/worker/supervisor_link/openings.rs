//! The supervisor's copies of what it has opened for users and has still to close.
//!
//! Each stays on its user's account until the supervisor says that it is closed, also where an earlier
//! worker asked for it. Otherwise descriptors that are slow to close would fill the supervisor's table.

use std::cell::RefCell;
use std::collections::BTreeMap;

use fdbroker_policy::Uid;
use fdbroker_wire::Tally;

use crate::payer::Payers;
use crate::worker::limits::quota::{BroughtCharge, Quotas};

/// All of them, by user.
#[derive(Default)]
pub(crate) struct Openings(RefCell<BTreeMap<Uid, Vec<BroughtCharge>>>);

impl Openings {
    /// Something has been opened for a user, of which the supervisor keeps as many entries of its table until it
    /// closes them.
    pub(super) fn opened(&self, uid: Uid, charges: Vec<BroughtCharge>) {
        self.0.borrow_mut().entry(uid).or_default().extend(charges);
    }

    /// Charges what was opened for an earlier worker, and the supervisor has still to close.
    pub(crate) fn wait_for(&self, tally: Tally, quotas: &Quotas, payers: &Payers) {
        let uid = Uid(tally.uid);
        let reader = quotas.reader(payers.of(uid));
        self.opened(uid, (0..tally.openings).map(|_| reader.charge()).collect());
    }

    /// The supervisor has closed so many of them.
    pub(crate) fn closed(&self, tally: Tally) {
        let (mut all, uid) = (self.0.borrow_mut(), Uid(tally.uid));
        let Some(charges) = all.get_mut(&uid) else { return };
        let number = usize::try_from(tally.openings).unwrap_or(usize::MAX);
        charges.truncate(charges.len().saturating_sub(number));
        if charges.is_empty() {
            all.remove(&uid);
        }
    }
}

#[cfg(test)]
mod tests {
    use fdbroker_policy::Settings;

    use super::*;
    use crate::opening_cost::OpeningCost;
    use crate::payer::Payer;

    const USER: Payer = Payer::named(7);

    #[test]
    fn a_user_whose_resources_are_not_closed_at_the_supervisor_opens_no_more() {
        // So small that four are the share of one user.
        let (openings, quotas) = (Openings::default(), Quotas::new(&Settings::default(), 64));
        let tally = |openings| Tally { uid: USER.uid().0, openings, ..Tally::default() };
        let may_open = |payer| quotas.may_open(payer, OpeningCost::LEAST).is_ok();
        openings.wait_for(tally(4), &quotas, &Payers::default());
        assert!(!may_open(USER));
        assert!(may_open(Payer::named(8)));
        openings.closed(tally(4));
        assert!(may_open(USER));
    }
}
