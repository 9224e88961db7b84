//! What deposits are charged: a slot, the bytes of their payload, and a descriptor.

use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use super::charge::DepositCharge;
use super::exceeded::Exceeded;
use super::quotas::Quotas;
use crate::payer::Payer;

impl Quotas {
    /// Charges a deposit of `bytes` of payload to `payer`, in the place of one of its own whose
    /// charge is `replaced`.
    ///
    /// # Errors
    /// The limit that would be passed.
    pub(crate) fn deposit(
        &self,
        payer: Payer,
        bytes: usize,
        descriptor: bool,
        replaced: Option<&DepositCharge>,
    ) -> Result<DepositCharge, Exceeded> {
        let charge = self.restored_deposit(payer, bytes, descriptor);
        let replaced = replaced.filter(|replaced| Arc::ptr_eq(&replaced.account, &charge.account));
        let slots = charge.account.slots.load(Ordering::Relaxed) - u32::from(replaced.is_some());
        let held = charge.account.bytes.load(Ordering::Relaxed);
        let limits = self.limits.get();
        if slots > limits.slots {
            return Err(Exceeded::Slots(limits.slots));
        }
        if held - replaced.map_or(0, |replaced| replaced.bytes) > limits.bytes {
            return Err(Exceeded::Bytes(limits.bytes));
        }
        let freed = replaced.map_or(0, |replaced| replaced.descriptors);
        if charge.account.descriptors.load(Ordering::Relaxed) - freed > limits.descriptors {
            return Err(Exceeded::Descriptors);
        }
        if descriptor && self.table.deposits.load(Ordering::Relaxed) > limits.all_descriptors {
            return Err(Exceeded::AllDescriptors);
        }
        Ok(charge)
    }

    /// Charges a deposit that was acknowledged already, whatever the limits are now.
    pub(crate) fn restored_deposit(
        &self,
        payer: Payer,
        bytes: usize,
        descriptor: bool,
    ) -> DepositCharge {
        let account = self.account(payer);
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        account.slots.fetch_add(1, Ordering::Relaxed);
        account.bytes.fetch_add(bytes, Ordering::Relaxed);
        let descriptors = u32::from(descriptor);
        account.descriptors.fetch_add(descriptors, Ordering::Relaxed);
        account.all_descriptors.fetch_add(descriptors, Ordering::Relaxed);
        DepositCharge {
            account,
            bytes,
            descriptors,
            awaited: OnceLock::new(),
            late: OnceLock::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::quotas::tests::quotas;
    use super::Exceeded;
    use crate::payer::Payer;

    #[test]
    fn one_user_at_its_limit_leaves_the_others_theirs() {
        let quotas = quotas();
        let _first = quotas.deposit(Payer::named(1), 4, false, None).unwrap();
        let _second = quotas.deposit(Payer::named(1), 4, false, None).unwrap();
        assert_eq!(quotas.deposit(Payer::named(1), 0, false, None).err(), Some(Exceeded::Slots(2)));
        assert!(quotas.deposit(Payer::named(2), 10, false, None).is_ok());
    }

    #[test]
    fn what_was_refused_is_not_charged() {
        let quotas = quotas();
        assert_eq!(
            quotas.deposit(Payer::named(1), 11, false, None).err(),
            Some(Exceeded::Bytes(10))
        );
        assert!(quotas.deposit(Payer::named(1), 10, false, None).is_ok());
    }

    #[test]
    fn a_full_account_can_still_replace() {
        let quotas = quotas();
        let _first = quotas.deposit(Payer::named(1), 5, false, None).unwrap();
        let second = quotas.deposit(Payer::named(1), 5, false, None).unwrap();
        assert!(quotas.deposit(Payer::named(1), 5, false, Some(&second)).is_ok());
        assert_eq!(
            quotas.deposit(Payer::named(1), 6, false, Some(&second)).err(),
            Some(Exceeded::Bytes(10))
        );
    }

    #[test]
    fn all_users_together_leave_the_broker_some_descriptors() {
        let quotas = quotas();
        let charge = |uid| quotas.deposit(Payer::named(uid), 0, true, None);
        let held: Vec<_> = (1..).map_while(|uid| charge(uid).ok()).collect();
        assert_eq!(held.len(), 625);
        assert_eq!(charge(1000).err(), Some(Exceeded::AllDescriptors));
        assert!(quotas.deposit(Payer::named(1000), 0, false, None).is_ok());
    }
}
