//! Sealing: how fragments reach their nodes (custody.md, "One write", `SealingSession`).
//!
//! A dealer encapsulates once to each node of the roster with X-Wing (X25519 + ML-KEM-768,
//! draft-connolly-cfrg-xwing-kem-06). From the shared secret of such a session both sides derive one key per fragment,
//! bound to the session, the dealing and the node; a fragment key encrypts one message.

use std::fmt;

use rand_core::CryptoRng;
use thiserror::Error;
use x_wing::{Decapsulate, DecapsulationKey, Decapsulator, EncapsulationKey, KeyExport};
use zeroize::Zeroize;

use crate::{
    Hash, Id,
    enc::{Hex, hash_enc, sha256},
    hedge::Hedge,
    kdf::Prk,
    secret::Secret,
};

const SESSION_LABEL: &[u8] = b"symbolon/v1/session";
const FRAGMENT_SESSION_LABEL: &[u8] = b"symbolon/v1/fragment-session";
const FRAGMENT_LABEL: &[u8] = b"symbolon/v1/fragment";

/// An X-Wing public key, in bytes.
pub const SEALING_PUBLIC_KEY_BYTES: usize = x_wing::ENCAPSULATION_KEY_SIZE;

/// An X-Wing ciphertext, in bytes.
pub const SEALING_CIPHERTEXT_BYTES: usize = x_wing::CIPHERTEXT_SIZE;

/// An X-Wing ciphertext: ML-KEM-768's 1,088 bytes and X25519's 32.
pub type SealingCiphertext = [u8; SEALING_CIPHERTEXT_BYTES];

const _: () = assert!(SEALING_PUBLIC_KEY_BYTES == 1216 && SEALING_CIPHERTEXT_BYTES == 1120);

/// The public key is not one of X-Wing: another length, or an ML-KEM part that is not reduced (FIPS 203, 7.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the sealing key is not an X-Wing public key of {SEALING_PUBLIC_KEY_BYTES} bytes")]
pub struct BadSealingKey;

/// A node's public sealing key.
#[derive(Clone, PartialEq, Eq)]
pub struct SealingPublicKey(Box<EncapsulationKey>);

impl SealingPublicKey {
    /// Parses the 1,216 bytes that a roster carries.
    ///
    /// # Errors
    /// [`BadSealingKey`].
    pub fn parse(bytes: &[u8]) -> Result<Self, BadSealingKey> {
        let key = EncapsulationKey::try_from(bytes).map_err(|_| BadSealingKey)?;
        Ok(Self(Box::new(key)))
    }

    /// The 1,216 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; SEALING_PUBLIC_KEY_BYTES] {
        self.0.to_bytes().into()
    }

    fn encapsulate(&self, randomness: &Secret<64>) -> (SealingCiphertext, Secret<32>) {
        let (ciphertext, mut shared) = self.0.encapsulate_deterministic(randomness.expose().into());
        let secret = Secret::fill(|bytes| bytes.copy_from_slice(&shared));
        shared.as_mut_slice().zeroize();
        (ciphertext.into(), secret)
    }
}

impl fmt::Debug for SealingPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SealingPublicKey")
            .field(&Hex(&sha256(&self.to_bytes())))
            .finish()
    }
}

/// A node's sealing key of one epoch. It lives as its seed of 32 bytes, wrapped by the token at rest.
pub struct SealingKeyPair {
    key: Box<DecapsulationKey>,
}

impl SealingKeyPair {
    /// The key pair of a seed.
    #[must_use]
    pub fn from_seed(seed: &Secret<32>) -> Self {
        Self {
            key: Box::new(DecapsulationKey::from(*seed.expose())),
        }
    }

    /// The public key.
    #[must_use]
    pub fn public_key(&self) -> SealingPublicKey {
        SealingPublicKey(Box::new(self.key.encapsulation_key().clone()))
    }

    /// The shared secret of a session with this node. It never fails: for a ciphertext made for another key it gives a
    /// secret that nobody shares (FIPS 203, 6.3), and the fragment's tag then fails.
    #[must_use]
    pub fn decapsulate(&self, ciphertext: &SealingCiphertext) -> Secret<32> {
        let mut shared = self.key.decapsulate(ciphertext.into());
        let secret = Secret::fill(|bytes| bytes.copy_from_slice(&shared));
        shared.as_mut_slice().zeroize();
        secret
    }
}

impl fmt::Debug for SealingKeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealingKeyPair(.., {:?})", self.public_key())
    }
}

/// What a sealing session is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionScope {
    /// The cluster.
    pub cluster: Id,
    /// The principal who deals.
    pub dealer: Id,
    /// The epoch whose nodes receive fragments.
    pub epoch: u64,
    /// The hash of that epoch's roster.
    pub roster_hash: Hash,
}

/// The id of a session, which every node computes itself from the ciphertexts in ascending order of node index.
#[must_use]
pub fn session_id(scope: &SessionScope, ciphertexts: &[SealingCiphertext]) -> Hash {
    let epoch = scope.epoch.to_be_bytes();
    let mut fields: Vec<&[u8]> = Vec::with_capacity(5 + ciphertexts.len());
    fields.extend([SESSION_LABEL, &scope.cluster, &scope.dealer, &epoch, &scope.roster_hash]);
    fields.extend(ciphertexts.iter().map(SealingCiphertext::as_slice));
    hash_enc(&fields)
}

/// K_i: the key of one fragment of one dealing, from the shared secret of a session.
#[must_use]
pub fn fragment_key(shared: &Secret<32>, session: &Hash, dd: &Hash, index: u16) -> Secret<32> {
    Prk::extract(FRAGMENT_SESSION_LABEL, &[shared.expose()]).expand_enc(&[
        FRAGMENT_LABEL,
        session,
        dd,
        &index.to_be_bytes(),
    ])
}

/// A session cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SessionError {
    /// The nodes' indices must ascend and begin at 1 or above.
    #[error("node index {index} is zero, repeated or out of order")]
    IndexOrder {
        /// The index at fault.
        index: u16,
    },
}

/// The dealer's side of a session. Shared secrets live here, in memory, and nowhere else.
#[derive(Debug)]
pub struct SealingSession {
    scope: SessionScope,
    id: Hash,
    indices: Vec<u16>,
    ciphertexts: Vec<SealingCiphertext>,
    shared: Vec<Secret<32>>,
}

impl SealingSession {
    /// Encapsulates to each of `nodes`, which are (index, sealing key) in ascending index.
    ///
    /// # Errors
    /// [`SessionError`].
    pub fn create(
        rng: &mut (impl CryptoRng + ?Sized),
        hedge: &Hedge,
        scope: SessionScope,
        nodes: &[(u16, &SealingPublicKey)],
    ) -> Result<Self, SessionError> {
        let mut last = 0;
        for &(index, _) in nodes {
            if index <= last {
                return Err(SessionError::IndexOrder { index });
            }
            last = index;
        }
        let seed = hedge.session_seed(rng, &scope);
        let (ciphertexts, shared): (Vec<_>, Vec<_>) = nodes
            .iter()
            .map(|(index, key)| key.encapsulate(&seed.encapsulation(*index, &key.to_bytes())))
            .unzip();
        Ok(Self {
            id: session_id(&scope, &ciphertexts),
            indices: nodes.iter().map(|(index, _)| *index).collect(),
            scope,
            ciphertexts,
            shared,
        })
    }

    /// What the session is for.
    #[must_use]
    pub fn scope(&self) -> &SessionScope {
        &self.scope
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &Hash {
        &self.id
    }

    /// The nodes it reaches, ascending.
    #[must_use]
    pub fn indices(&self) -> &[u16] {
        &self.indices
    }

    /// One ciphertext per node, in the order of [`SealingSession::indices`].
    #[must_use]
    pub fn ciphertexts(&self) -> &[SealingCiphertext] {
        &self.ciphertexts
    }

    pub(crate) fn shared(&self) -> &[Secret<32>] {
        &self.shared
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Vector {
        eseed: String,
        ss: String,
        sk: String,
        pk: String,
        ct: String,
    }

    #[test]
    fn reproduces_the_vectors_of_the_x_wing_draft() {
        let vectors: Vec<Vector> = serde_json::from_str(include_str!("../tests/vectors/x-wing-draft-06.json")).unwrap();
        assert_eq!(vectors.len(), 3);
        for vector in vectors {
            let pair = SealingKeyPair::from_seed(&Secret::copy_from(&hex::decode(vector.sk).unwrap()).unwrap());
            assert_eq!(hex::encode(pair.public_key().to_bytes()), vector.pk);
            let public = SealingPublicKey::parse(&hex::decode(vector.pk).unwrap()).unwrap();
            let randomness = Secret::copy_from(&hex::decode(vector.eseed).unwrap()).unwrap();
            let (ciphertext, shared) = public.encapsulate(&randomness);
            assert_eq!(hex::encode(ciphertext), vector.ct);
            assert_eq!(hex::encode(shared.expose()), vector.ss);
            assert!(pair.decapsulate(&ciphertext).ct_eq(&shared));
        }
    }

    fn pair(byte: u8) -> SealingKeyPair {
        SealingKeyPair::from_seed(&Secret::fill(|b| b.fill(byte)))
    }

    fn scope() -> SessionScope {
        SessionScope {
            cluster: [1; 16],
            dealer: [2; 16],
            epoch: 0,
            roster_hash: [3; 32],
        }
    }

    fn session(scope: SessionScope) -> SealingSession {
        let (one, two, three) = (pair(1).public_key(), pair(2).public_key(), pair(3).public_key());
        let hedge = Hedge::new(Secret::fill(|b| b.fill(1)));
        SealingSession::create(
            &mut ChaCha20Rng::seed_from_u64(1),
            &hedge,
            scope,
            &[(1, &one), (2, &two), (7, &three)],
        )
        .unwrap()
    }

    #[test]
    fn every_node_shares_its_own_secret_with_the_dealer() {
        let session = session(scope());
        for (place, byte) in [(0, 1), (1, 2), (2, 3)] {
            assert!(
                pair(byte)
                    .decapsulate(&session.ciphertexts()[place])
                    .ct_eq(&session.shared()[place])
            );
        }
        assert!(!session.shared()[0].ct_eq(&session.shared()[1]));
        assert!(
            !pair(2)
                .decapsulate(&session.ciphertexts()[0])
                .ct_eq(&session.shared()[0])
        );
    }

    #[test]
    fn every_field_of_the_session_changes_its_id() {
        let session = session(scope());
        let ciphertexts = session.ciphertexts();
        assert_eq!(session.id(), &session_id(&scope(), ciphertexts));
        let mut swapped = ciphertexts.to_vec();
        swapped.swap(0, 1);
        let others = [
            session_id(
                &SessionScope {
                    cluster: [9; 16],
                    ..scope()
                },
                ciphertexts,
            ),
            session_id(
                &SessionScope {
                    dealer: [9; 16],
                    ..scope()
                },
                ciphertexts,
            ),
            session_id(&SessionScope { epoch: 1, ..scope() }, ciphertexts),
            session_id(
                &SessionScope {
                    roster_hash: [9; 32],
                    ..scope()
                },
                ciphertexts,
            ),
            session_id(&scope(), &swapped),
            session_id(&scope(), &ciphertexts[..2]),
        ];
        assert!(!others.contains(session.id()));
    }

    #[test]
    fn indices_that_are_zero_repeated_or_out_of_order_are_refused() {
        let key = pair(1).public_key();
        let hedge = Hedge::new(Secret::fill(|b| b.fill(1)));
        for (indices, culprit) in [([0, 1], 0), ([1, 1], 1), ([2, 1], 1)] {
            let made = SealingSession::create(
                &mut ChaCha20Rng::seed_from_u64(1),
                &hedge,
                scope(),
                &indices.map(|index| (index, &key)),
            );
            assert_eq!(made.unwrap_err(), SessionError::IndexOrder { index: culprit });
        }
    }

    #[test]
    fn a_public_key_cut_extended_or_not_reduced_is_refused() {
        let bytes = pair(1).public_key().to_bytes();
        assert_eq!(SealingPublicKey::parse(&bytes[..1215]), Err(BadSealingKey));
        assert_eq!(
            SealingPublicKey::parse(&[&bytes[..], &[0]].concat()),
            Err(BadSealingKey)
        );
        let mut not_reduced = bytes;
        not_reduced[..3].fill(0xff);
        assert_eq!(SealingPublicKey::parse(&not_reduced), Err(BadSealingKey));
        assert_eq!(SealingPublicKey::parse(&bytes), Ok(pair(1).public_key()));
    }

    #[test]
    fn a_fragment_key_hangs_on_secret_session_dealing_and_node() {
        let (one, two) = (Secret::fill(|b| b.fill(1)), Secret::fill(|b| b.fill(2)));
        let key = fragment_key(&one, &[1; 32], &[2; 32], 1);
        assert!(!key.ct_eq(&fragment_key(&two, &[1; 32], &[2; 32], 1)));
        assert!(!key.ct_eq(&fragment_key(&one, &[9; 32], &[2; 32], 1)));
        assert!(!key.ct_eq(&fragment_key(&one, &[1; 32], &[9; 32], 1)));
        assert!(!key.ct_eq(&fragment_key(&one, &[1; 32], &[2; 32], 2)));
    }
}
