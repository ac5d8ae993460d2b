//! Lagrange interpolation at 0. The coefficients of a set of indices cost an inversion each, dearer than all the rest of
//! a combination, and are public: they are computed once per epoch for every t-subset, of which there are at most 35.

use p256::{Scalar, elliptic_curve::Field};
use zeroize::Zeroizing;

use super::Sharing;

/// The coefficients λ_i of one set of indices: f(0) = Σ λ_i·f(i) for every f of degree below their number.
#[derive(Debug, Clone)]
pub struct Lagrange {
    indices: Vec<u16>,
    at_zero: Vec<Scalar>,
}

impl Lagrange {
    /// `indices` are distinct and not zero, as in every [`Sharing`].
    fn new(indices: Vec<u16>) -> Self {
        let scalar = |index: u16| Scalar::from(u64::from(index));
        let at_zero = indices.iter().map(|&i| {
            let (mut numerator, mut denominator) = (Scalar::ONE, Scalar::ONE);
            for &j in indices.iter().filter(|&&j| j != i) {
                numerator *= scalar(j);
                denominator *= scalar(j) - scalar(i);
            }
            #[expect(
                clippy::expect_used,
                reason = "a product of differences of distinct numbers far below q"
            )]
            let inverse = Option::<Scalar>::from(Field::invert(&denominator)).expect("an inverse");
            numerator * inverse
        });
        Self {
            at_zero: at_zero.collect(),
            indices,
        }
    }

    /// The indices, ascending.
    #[must_use]
    pub fn indices(&self) -> &[u16] {
        &self.indices
    }

    /// f(0) from f(i) in the order of the indices.
    pub(crate) fn combine(&self, values: &[Zeroizing<Scalar>]) -> Zeroizing<Scalar> {
        let mut sum = Zeroizing::new(Scalar::ZERO);
        for (lambda, value) in self.at_zero.iter().zip(values) {
            *sum += *lambda * **value;
        }
        sum
    }
}

/// The coefficients of every t-subset of one sharing's nodes.
#[derive(Debug, Clone)]
pub struct LagrangeTable {
    subsets: Vec<Lagrange>,
}

impl LagrangeTable {
    /// Computes them, once per epoch (under a millisecond for 4 of 7).
    #[must_use]
    pub fn new(sharing: &Sharing) -> Self {
        let subsets = subsets(sharing.indices(), usize::from(sharing.t()));
        Self {
            subsets: subsets.into_iter().map(Lagrange::new).collect(),
        }
    }

    /// Those of the subset with these indices, given in ascending order.
    #[must_use]
    pub fn get(&self, indices: &[u16]) -> Option<&Lagrange> {
        self.subsets.iter().find(|subset| subset.indices == indices)
    }

    /// Every t-subset: what a reader tries, one by one, when fragments disagree and nobody can be named.
    pub fn subsets(&self) -> impl Iterator<Item = &[u16]> {
        self.subsets.iter().map(Lagrange::indices)
    }
}

/// Every subset of `count` of `indices`, each ascending, in lexicographic order.
fn subsets(indices: &[u16], count: usize) -> Vec<Vec<u16>> {
    if count == 0 {
        return vec![vec![]];
    }
    let mut all = Vec::new();
    let mut rest = indices;
    while let Some((first, tail)) = rest.split_first() {
        all.extend(
            subsets(tail, count - 1)
                .into_iter()
                .map(|tail| [&[*first], tail.as_slice()].concat()),
        );
        rest = tail;
    }
    all
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use vsss_rs::{IdentifierPrimeField, PrimeFieldShare, ReadableShareSet, Share};

    use super::*;
    use crate::dealing::scalar::{evaluate, parse};

    fn sharing(indices: Vec<u16>) -> Sharing {
        let n = u16::try_from(indices.len()).unwrap();
        Sharing::new(0, [0; 32], n, n / 2 + 1, indices).unwrap()
    }

    #[test]
    fn there_is_an_entry_for_every_t_subset_and_for_nothing_else() {
        for (n, count) in [(3u16, 3), (5, 10), (7, 35)] {
            let table = LagrangeTable::new(&sharing((1..=n).collect()));
            assert_eq!(table.subsets().count(), count);
        }
        let table = LagrangeTable::new(&sharing(vec![1, 2, 3]));
        assert!(table.get(&[1, 3]).is_some());
        for none in [&[3, 1][..], &[1, 1], &[0, 1], &[1], &[1, 2, 3], &[1, 4]] {
            assert!(table.get(none).is_none(), "{none:?}");
        }
    }

    proptest! {
        #[test]
        fn every_subset_finds_the_constant_term_and_vsss_rs_agrees(
            coefficients in proptest::collection::vec(
                any::<[u8; 32]>().prop_filter_map("below the order", |bytes| parse(&bytes)), 4),
            indices in proptest::collection::btree_set(1u16.., 7),
        ) {
            let table = LagrangeTable::new(&sharing(indices.into_iter().collect()));
            for subset in table.subsets() {
                let values: Vec<_> = subset.iter().map(|&i| evaluate(&coefficients, i)).collect();
                let combined = table.get(subset).unwrap().combine(&values);
                prop_assert_eq!(*combined, coefficients[0]);
                let theirs: Vec<PrimeFieldShare<Scalar>> = subset
                    .iter()
                    .zip(&values)
                    .map(|(&i, value)| {
                        let index = IdentifierPrimeField(Scalar::from(u64::from(i)));
                        PrimeFieldShare::with_identifier_and_value(index, IdentifierPrimeField(**value))
                    })
                    .collect();
                prop_assert_eq!(theirs.combine().unwrap().0, *combined);
            }
        }
    }
}
