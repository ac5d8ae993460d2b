//! Who is here at once. There is room for so many, and for so many of one; whoever comes last finds room, and the one that
//! has been here longest of those that have most of it leaves. So a flood displaces itself: what an honest sender begins is
//! done before as many others have come as there are places.

use crate::member::lock;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex};
use symbolon_crypto::Hash;

/// Whose a place is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Who {
    /// Of somebody at this address.
    Source(IpAddr),
    /// Of a registered key.
    Key(Hash),
    /// Of another node.
    Node(u16),
}

impl Who {
    /// Whom an address counts as: whoever has one IPv6 address has the 2^64 of its network.
    pub(crate) fn at(address: IpAddr) -> Self {
        Self::Source(match address.to_canonical() {
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
            v4 => v4,
        })
    }
}

/// Places; `T` is what ends a guest.
#[derive(Debug)]
pub(crate) struct Crowd<T>(Arc<Shared<T>>);

#[derive(Debug)]
struct Shared<T> {
    all_max: usize,
    each_max: usize,
    inside: Mutex<Inside<T>>,
}

#[derive(Debug)]
struct Inside<T> {
    next: u64,
    all: usize,
    /// By whom, the oldest first.
    of: BTreeMap<Who, BTreeMap<u64, T>>,
}

/// One place, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place<T> {
    crowd: Arc<Shared<T>>,
    who: Who,
    number: u64,
}

impl<T> Crowd<T> {
    /// Room for `all_max`, and for `each_max` of one; both at least 1.
    pub(crate) fn new(all_max: usize, each_max: usize) -> Self {
        let inside = Mutex::new(Inside {
            next: 0,
            all: 0,
            of: BTreeMap::new(),
        });
        Self(Arc::new(Shared {
            all_max,
            each_max,
            inside,
        }))
    }

    /// How many are here.
    pub(crate) fn len(&self) -> usize {
        lock(&self.0.inside).all
    }

    /// Lets one more in, and gives back the one that has to leave for it, which is to be ended.
    #[must_use]
    pub(crate) fn enter(&self, who: Who, guest: T) -> (Place<T>, Option<T>) {
        let mut inside = lock(&self.0.inside);
        let displaced = if inside.of.get(&who).map_or(0, BTreeMap::len) >= self.0.each_max {
            inside.dismiss(who)
        } else if inside.all >= self.0.all_max {
            inside.most().and_then(|most| inside.dismiss(most))
        } else {
            None
        };
        let number = inside.next;
        inside.next += 1;
        inside.all += 1;
        inside.of.entry(who).or_default().insert(number, guest);
        let crowd = Arc::clone(&self.0);
        (Place { crowd, who, number }, displaced)
    }
}

impl<T> Inside<T> {
    /// Who has most places; of several that do, the one that has its oldest for longest.
    fn most(&self) -> Option<Who> {
        let rank = |places: &BTreeMap<u64, T>| (places.len(), Reverse(places.keys().next().copied()));
        self.of
            .iter()
            .max_by_key(|(_, places)| rank(places))
            .map(|(who, _)| *who)
    }

    fn dismiss(&mut self, who: Who) -> Option<T> {
        let oldest = *self.of.get(&who)?.keys().next()?;
        self.leave(who, oldest)
    }

    fn leave(&mut self, who: Who, number: u64) -> Option<T> {
        let places = self.of.get_mut(&who)?;
        let guest = places.remove(&number)?;
        if places.is_empty() {
            self.of.remove(&who);
        }
        self.all -= 1;
        Some(guest)
    }
}

impl<T> Drop for Place<T> {
    fn drop(&mut self) {
        // The guest is dropped after the lock.
        let _guest = lock(&self.crowd.inside).leave(self.who, self.number);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn at(last: u8) -> Who {
        Who::at(IpAddr::from([10, 0, 0, last]))
    }

    #[test]
    fn when_all_places_are_taken_the_oldest_of_those_who_have_most_leaves() {
        let crowd = Crowd::new(3, 3);
        let mut places = Vec::new();
        let mut enter = |who, name: &'static str| {
            let (place, displaced) = crowd.enter(who, name);
            places.push(place);
            assert!(crowd.len() <= 3);
            displaced
        };
        assert_eq!(enter(at(1), "honest"), None);
        assert_eq!(enter(at(2), "first"), None);
        assert_eq!(enter(at(2), "second"), None);
        assert_eq!(enter(at(2), "third"), Some("first"), "one of few was displaced by many");
        assert_eq!(enter(at(3), "late"), Some("second"));
    }

    #[test]
    fn of_those_who_have_equally_many_places_whoever_came_first_leaves() {
        // Not, as an accident of their order, whoever has the greatest address.
        for order in [[1, 2, 3, 4], [4, 3, 2, 1], [2, 4, 1, 3]] {
            let crowd = Crowd::new(3, 3);
            let mut places = Vec::new();
            let left: Vec<Option<u8>> = order
                .iter()
                .map(|last| {
                    let (place, displaced) = crowd.enter(at(*last), *last);
                    places.push(place);
                    displaced
                })
                .collect();
            assert_eq!(left, [None, None, None, Some(order[0])]);
        }
    }

    #[test]
    fn one_that_has_all_it_may_displaces_its_own() {
        let crowd = Crowd::new(10, 2);
        let entered = [(1, 'a'), (1, 'b'), (2, 'c'), (1, 'd')].map(|(who, name)| crowd.enter(at(who), name));
        assert_eq!(entered.map(|(_, displaced)| displaced), [None, None, None, Some('a')]);
    }

    #[test]
    fn whoever_leaves_gives_the_place_back_once() {
        let crowd = Crowd::new(2, 1);
        let (first, _) = crowd.enter(at(1), ());
        let (second, displaced) = crowd.enter(at(1), ());
        assert_eq!(displaced, Some(()));
        drop(first);
        assert_eq!(crowd.len(), 1, "the first had lost its place to the second");
        drop(second);
        assert_eq!(crowd.len(), 0);
        assert!(lock(&crowd.0.inside).of.is_empty(), "who is gone is forgotten");
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_as_one_source() {
        let of = |text: &str| Who::at(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
    }
}
