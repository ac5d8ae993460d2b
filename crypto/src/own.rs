//! A node's own keys and fragments at rest (custody.md, "Root of trust and unseal").
//!
//! ```text
//! KEK        = HKDF(salt "symbolon/v1/kek", ikm K_token ‖ Y, info enc(cluster, node, generation), 32)
//! state key  32 random bytes, RFC 3394 under KEK
//! check of E_e = HKDF-Expand(E_e, enc("symbolon/v1/epoch-key-check"), 32)
//! own fragment at rest = AES-256-GCM(HKDF-Expand(E_e, enc("symbolon/v1/own-fragment", sctx, dd), 32), nonce 0, AAD = dd, s_i ‖ γ_i)
//! ```

use aes_kw::{KeyInit, KwAes256};
use thiserror::Error;

use crate::{
    Hash, Id,
    dealing::{Fragment, OpenFragmentError, SealedFragment, open_fragment, seal_fragment},
    kdf::Prk,
    provider::{Aead, SealError},
    secret::Secret,
};

const OWN_FRAGMENT_LABEL: &[u8] = b"symbolon/v1/own-fragment";
const KEK_LABEL: &[u8] = b"symbolon/v1/kek";
const STATE_LABEL: &[u8] = b"symbolon/v1/state-key";

/// A key of 32 bytes wrapped by another (RFC 3394).
pub type WrappedKey = [u8; 40];

/// The key of one own fragment, from the epoch storage key E_e. It encrypts that fragment only: dd fixes what is sealed.
fn own_fragment_key(epoch_storage_key: &Secret<32>, sctx: &Hash, dd: &Hash) -> Secret<32> {
    #[cfg(feature = "sabotage")]
    let sctx = if symbolon_sabotage::Bug::OwnFragmentWithoutContext.on() {
        &[0; 32]
    } else {
        sctx
    };
    Prk::from_key(epoch_storage_key).expand_enc(&[OWN_FRAGMENT_LABEL, sctx, dd])
}

/// Seals a node's own fragment for its disk.
///
/// # Errors
/// [`SealError`] if the library fails.
pub fn seal_own_fragment(
    aead: &(impl Aead + ?Sized),
    epoch_storage_key: &Secret<32>,
    sctx: &Hash,
    dd: &Hash,
    fragment: &Fragment,
) -> Result<SealedFragment, SealError> {
    seal_fragment(aead, &own_fragment_key(epoch_storage_key, sctx, dd), dd, fragment)
}

/// Opens a node's own fragment from its disk.
///
/// # Errors
/// [`OpenFragmentError`]: the record is of another epoch or dealing, or damaged.
pub fn open_own_fragment(
    aead: &(impl Aead + ?Sized),
    epoch_storage_key: &Secret<32>,
    sctx: &Hash,
    dd: &Hash,
    sealed: &SealedFragment,
) -> Result<Fragment, OpenFragmentError> {
    open_fragment(aead, &own_fragment_key(epoch_storage_key, sctx, dd), dd, sealed)
}

/// KEK, from the token's part and the operators' part. `y` is `None` in mode `token`, whose generation is 0.
#[must_use]
pub fn kek(k_token: &Secret<32>, y: Option<&Secret<32>>, cluster: &Id, node: u16, generation: u64) -> Secret<32> {
    let y: &[u8] = y.map_or(&[], |y| y.expose());
    Prk::extract(KEK_LABEL, &[k_token.expose(), y]).expand_enc(&[
        cluster,
        &node.to_be_bytes(),
        &generation.to_be_bytes(),
    ])
}

/// A key derived from the state key, one per label and fields (the barrier's segment keys, K_name).
#[must_use]
pub fn sub_key(state_key: &Secret<32>, label: &str, fields: &[&[u8]]) -> Secret<32> {
    let info: Vec<&[u8]> = std::iter::once(label.as_bytes())
        .chain(fields.iter().copied())
        .collect();
    Prk::extract(STATE_LABEL, &[state_key.expose()]).expand_enc(&info)
}

/// The wrapped key does not unwrap: another key wrapped it, or it is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the wrapped key does not unwrap under this key")]
pub struct UnwrapError;

/// Wraps a key (RFC 3394).
///
/// # Errors
/// [`SealError`] if the library fails, which it does for other sizes only.
pub fn wrap(kek: &Secret<32>, key: &Secret<32>) -> Result<WrappedKey, SealError> {
    let mut wrapped = [0; 40];
    KwAes256::new(kek.expose().into())
        .wrap_key(key.expose(), &mut wrapped)
        .map_err(|_| SealError)?;
    Ok(wrapped)
}

/// Unwraps a key (RFC 3394).
///
/// # Errors
/// [`UnwrapError`].
pub fn unwrap(kek: &Secret<32>, wrapped: &WrappedKey) -> Result<Secret<32>, UnwrapError> {
    Secret::try_fill(|key: &mut [u8; 32]| {
        KwAes256::new(kek.expose().into())
            .unwrap_key(wrapped, key)
            .map(|_| ())
            .map_err(|_| UnwrapError)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Portable;

    fn key(byte: u8) -> Secret<32> {
        Secret::fill(|b| b.fill(byte))
    }

    fn fragment() -> Fragment {
        Fragment::from_slice(&[7; 64]).unwrap()
    }

    #[test]
    fn an_own_fragment_comes_back_under_its_epoch_key_and_dealing_only() {
        let sealed = seal_own_fragment(&Portable, &key(1), &[2; 32], &[3; 32], &fragment()).unwrap();
        let open = |epoch_key: &Secret<32>, sctx: &Hash, dd: &Hash| {
            open_own_fragment(&Portable, epoch_key, sctx, dd, &sealed).map(|fragment| *fragment.expose())
        };
        assert_eq!(open(&key(1), &[2; 32], &[3; 32]).unwrap(), [7; 64]);
        assert!(
            matches!(open(&key(9), &[2; 32], &[3; 32]), Err(OpenFragmentError::Tag(_))),
            "other epoch key"
        );
        assert!(
            matches!(open(&key(1), &[9; 32], &[3; 32]), Err(OpenFragmentError::Tag(_))),
            "other sharing"
        );
        assert!(
            matches!(open(&key(1), &[2; 32], &[9; 32]), Err(OpenFragmentError::Tag(_))),
            "other dealing"
        );
    }

    #[test]
    fn the_kek_needs_both_parts_and_is_bound_to_node_and_generation() {
        let base = kek(&key(1), Some(&key(2)), &[3; 16], 4, 5);
        let others = [
            kek(&key(9), Some(&key(2)), &[3; 16], 4, 5),
            kek(&key(1), Some(&key(9)), &[3; 16], 4, 5),
            kek(&key(1), None, &[3; 16], 4, 5),
            kek(&key(1), Some(&key(2)), &[9; 16], 4, 5),
            kek(&key(1), Some(&key(2)), &[3; 16], 9, 5),
            kek(&key(1), Some(&key(2)), &[3; 16], 4, 9),
        ];
        assert!(others.iter().all(|other| !other.ct_eq(&base)));
    }

    #[test]
    fn sub_keys_differ_by_label_and_by_fields() {
        let base = sub_key(&key(1), "symbolon/v1/segment", &[b"1"]);
        assert!(base.ct_eq(&sub_key(&key(1), "symbolon/v1/segment", &[b"1"])));
        assert!(!base.ct_eq(&sub_key(&key(1), "symbolon/v1/name", &[b"1"])));
        assert!(!base.ct_eq(&sub_key(&key(1), "symbolon/v1/segment", &[b"2"])));
        assert!(!base.ct_eq(&sub_key(&key(2), "symbolon/v1/segment", &[b"1"])));
    }

    #[test]
    fn wrapping_reproduces_rfc_3394_4_6() {
        let kek = Secret::fill(|b| b.iter_mut().zip(0..).for_each(|(b, i)| *b = i));
        let data = hex::decode("00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f").unwrap();
        let wrapped = wrap(&kek, &Secret::copy_from(&data).unwrap()).unwrap();
        let expected = "28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21";
        assert_eq!(hex::encode(wrapped), expected);
        assert_eq!(unwrap(&kek, &wrapped).unwrap().expose().as_slice(), data);
    }

    #[test]
    fn a_wrapped_key_with_any_changed_byte_or_under_another_key_is_refused() {
        let wrapped = wrap(&key(1), &key(2)).unwrap();
        for place in 0..wrapped.len() {
            let mut changed = wrapped;
            changed[place] ^= 1;
            assert_eq!(unwrap(&key(1), &changed).unwrap_err(), UnwrapError, "byte {place}");
        }
        assert_eq!(unwrap(&key(3), &wrapped).unwrap_err(), UnwrapError);
    }

    #[test]
    fn each_seeded_bug_is_found_by_its_test_here() {
        symbolon_sabotage::caught_in(file!());
    }
}
