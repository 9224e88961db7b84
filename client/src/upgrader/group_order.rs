//! The order in which the kernel has the sockets of a group, and in which the surplus ones leave it. No I/O.
//!
//! When a socket leaves, the last one takes its place. New connections must come to no surplus socket in between.

/// A socket in each place: a surplus one by our number, or `None` for one that stays.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct GroupOrder(Vec<Option<usize>>);

impl GroupOrder {
    /// The order of so many sockets, of which `surplus` ones are not needed. The places of some of these are known. The
    /// others are taken for the last ones.
    pub(crate) fn of(
        sockets: usize,
        surplus: usize,
        known: impl IntoIterator<Item = (usize, usize)>,
    ) -> Self {
        let mut places = vec![None; sockets];
        for (socket, place) in known {
            if let Some(place @ None) = places.get_mut(place) {
                *place = Some(socket);
            }
        }
        for socket in 0..surplus {
            let is_placed = places.contains(&Some(socket));
            if let Some(place) = places.iter_mut().rev().find(|place| place.is_none() && !is_placed)
            {
                *place = Some(socket);
            }
        }
        Self(places)
    }

    /// Where the sockets are that stay.
    pub(crate) fn kept(&self) -> Vec<usize> {
        (0..).zip(&self.0).filter(|(_, socket)| socket.is_none()).map(|(place, _)| place).collect()
    }

    /// Removes a surplus socket, and returns it with the places that new connections may come to while it leaves: sockets
    /// that stay, and do not move.
    pub(crate) fn remove_one(&mut self) -> Option<(Vec<usize>, usize)> {
        let kept = self.kept();
        let last_place = self.0.len().checked_sub(1)?;
        // These never move: the last one has a higher place until the end.
        let low: Vec<_> = kept.iter().copied().filter(|place| *place < kept.len()).collect();
        let high: Vec<_> = kept.iter().copied().filter(|place| *place != last_place).collect();
        let highest = self.0.iter().rposition(Option::is_some)?;
        let (to, place) = match (low.is_empty(), highest == last_place) {
            (false, _) => (low, highest),
            (true, true) => (kept, highest),
            // The last one, which stays, takes the lowest place.
            (true, false) => (
                if high.is_empty() { kept } else { high },
                self.0.iter().position(Option::is_some)?,
            ),
        };
        self.0.swap_remove(place).map(|socket| (to, socket))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    #[test]
    fn what_is_not_known_is_taken_for_the_last_places() {
        let order = GroupOrder::of(5, 3, [(1, 0)]);
        assert_eq!(order, GroupOrder(vec![Some(1), None, None, Some(2), Some(0)]));
        assert_eq!(order.kept(), [1, 2]);
        // Nonsense is as good as not known.
        assert_eq!(GroupOrder::of(3, 2, [(0, 9), (1, 2), (0, 2)]).kept(), [0]);
    }

    proptest! {
        #[test]
        fn new_connections_come_to_no_surplus_socket_while_others_leave(
            places in prop::collection::vec(any::<bool>(), 1..12), stays in any::<prop::sample::Index>(),
        ) {
            let mut places = places;
            let stays = stays.index(places.len());
            places[stays] = false;
            let surplus: Vec<_> = (0..places.len()).filter(|place| places[*place]).collect();
            let known = surplus.iter().copied().enumerate();
            let mut order = GroupOrder::of(places.len(), surplus.len(), known);
            let one_stays = places.len() - surplus.len() == 1;
            let mut removed = Vec::new();
            loop {
                let before = order.clone();
                let Some((to, socket)) = order.remove_one() else { break };
                prop_assert!(!to.is_empty());
                for place in to {
                    prop_assert_eq!(before.0[place], None);
                    let moved = order.0.get(place) != Some(&None);
                    prop_assert!(!moved || one_stays, "{before:?}, then {order:?}");
                }
                removed.push(socket);
            }
            removed.sort_unstable();
            prop_assert_eq!(removed, (0..surplus.len()).collect::<Vec<_>>());
        }
    }
}
