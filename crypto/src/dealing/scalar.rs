//! The scalar field F_q of P-256: canonical bytes, wide reduction, polynomials, and the challenge (RFC 9380, 5.2).

use hash2curve::ExpandMsgXmd;
use p256::{
    NistP256, Scalar,
    elliptic_curve::{array::Array, consts::U48, ff::PrimeField, ops::Reduce},
};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::{Hash, secret::Secret};

const CHALLENGE_LABEL: &[u8] = b"symbolon/v1/dealing/challenge";

/// A scalar of 32 bytes big-endian, if they are below q. Constant time but for the answer.
pub(crate) fn parse(bytes: &[u8; 32]) -> Option<Scalar> {
    Scalar::from_repr((*bytes).into()).into()
}

/// The 32 bytes of a scalar, big-endian.
pub(crate) fn to_bytes(scalar: &Scalar) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(scalar.to_bytes().into())
}

/// 48 uniform bytes, big-endian, mod q.
pub(crate) fn reduce_wide(bytes: &Secret<48>) -> Zeroizing<Scalar> {
    let wide: &Array<u8, U48> = bytes.expose().into();
    Zeroizing::new(Scalar::reduce(wide))
}

/// d, the challenge of a dealing; it depends on every commitment.
pub(crate) fn challenge(sctx: &Hash, commitments: &[Hash]) -> Scalar {
    #[expect(
        clippy::expect_used,
        reason = "expand_message fails only for an empty label or more than 255 blocks"
    )]
    hash2curve::hash_to_scalar::<NistP256, ExpandMsgXmd<Sha256>, U48>(
        &[sctx, commitments.as_flattened()],
        &[CHALLENGE_LABEL],
    )
    .expect("48 bytes under a fixed label")
}

/// The value at `x` of the polynomial with these coefficients, lowest first, by Horner's rule.
pub(crate) fn evaluate(coefficients: &[Scalar], x: u16) -> Zeroizing<Scalar> {
    let x = Scalar::from(u64::from(x));
    let mut value = Zeroizing::new(Scalar::ZERO);
    for coefficient in coefficients.iter().rev() {
        *value = *value * x + coefficient;
    }
    value
}

/// A polynomial whose coefficients are secret; wiped on drop.
pub(crate) struct Polynomial(Zeroizing<Vec<Scalar>>);

impl Polynomial {
    /// Takes coefficients, lowest first, into one allocation that never grows.
    pub(crate) fn collect(count: usize, coefficients: impl IntoIterator<Item = Zeroizing<Scalar>>) -> Self {
        let mut own = Zeroizing::new(Vec::with_capacity(count));
        own.extend(coefficients.into_iter().take(count).map(|coefficient| *coefficient));
        Self(own)
    }

    pub(crate) fn coefficients(&self) -> &[Scalar] {
        &self.0
    }

    pub(crate) fn at(&self, x: u16) -> Zeroizing<Scalar> {
        evaluate(&self.0, x)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use vsss_rs::{IdentifierPrimeField, PrimeFieldShare, Share};

    use super::*;

    const ORDER: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";

    #[test]
    fn a_scalar_at_or_above_the_order_is_not_canonical() {
        let mut order: [u8; 32] = hex::decode(ORDER).unwrap().try_into().unwrap();
        assert_eq!(parse(&order), None);
        assert_eq!(parse(&[0xff; 32]), None);
        order[31] -= 1;
        assert_eq!(parse(&order), Some(-Scalar::ONE));
        assert_eq!(parse(&[0; 32]), Some(Scalar::ZERO));
    }

    #[test]
    fn wide_reduction_is_modulo_the_order() {
        let mut bytes = [0; 48];
        bytes[16..].copy_from_slice(&hex::decode(ORDER).unwrap());
        let of = |bytes: [u8; 48]| *reduce_wide(&Secret::fill(|b| *b = bytes));
        assert_eq!(of(bytes), Scalar::ZERO);
        bytes[47] += 1;
        assert_eq!(of(bytes), Scalar::ONE);
        // 2^256 mod q by doubling, against the 17th byte from the right.
        let mut two_to_256 = Scalar::ONE;
        (0..256).for_each(|_| two_to_256 = two_to_256.double());
        let mut bytes = [0; 48];
        bytes[15] = 1;
        assert_eq!(of(bytes), two_to_256);
    }

    fn any_scalar() -> impl Strategy<Value = Scalar> {
        prop_oneof![
            1 => Just(Scalar::ZERO),
            1 => Just(-Scalar::ONE),
            8 => any::<[u8; 32]>().prop_filter_map("below the order", |bytes| parse(&bytes)),
        ]
    }

    proptest! {
        #[test]
        fn evaluation_agrees_with_vsss_rs(
            coefficients in proptest::collection::vec(any_scalar(), 1..6),
            x in 1u16..,
        ) {
            type VsssShare = PrimeFieldShare<Scalar>;
            // Their polynomials keep the constant term as the value of the first entry, the others as identifiers.
            let theirs: Vec<VsssShare> = coefficients
                .iter()
                .enumerate()
                .map(|(k, c)| match k {
                    0 => VsssShare::with_identifier_and_value(IdentifierPrimeField::ZERO, IdentifierPrimeField(*c)),
                    _ => VsssShare::with_identifier_and_value(IdentifierPrimeField(*c), IdentifierPrimeField::ZERO),
                })
                .collect();
            let x_theirs = IdentifierPrimeField(Scalar::from(u64::from(x)));
            let value = vsss_rs::Polynomial::<VsssShare>::evaluate(&theirs, &x_theirs, coefficients.len());
            prop_assert_eq!(*evaluate(&coefficients, x), value.0);
        }
    }
}
