//! Hedged randomness (custody.md, "One write"): what a dealer draws hangs on the random number generator, on a secret of
//! its own, on what it writes and on a counter. A broken generator alone therefore repeats nothing, and a cloned machine
//! repeats only identical bytes.
//!
//! ```text
//! seed = HKDF-Extract("symbolon/v1/hedge", enc(32 RNG bytes, client secret, SHA-256(value), tenant, secret, version, counter))
//! seed = HKDF-Extract("symbolon/v1/hedge", enc(32 RNG bytes, client secret, cluster, dealer, epoch, roster hash, counter))
//! ```
//!
//! Each use expands the seed under its own label. Beyond what custody.md asks for, the uses after the write nonce also
//! name what they are for. Otherwise a clone that writes the same value under another epoch, roster or content type would
//! mask the *same* polynomial f with the *same* b under another challenge d, and z − z′ = (d − d′)·f gives f away; or it
//! would encrypt once more under one data key with other associated data.

use std::sync::atomic::{AtomicU64, Ordering};

use p256::Scalar;
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::{Hash, Id, dealing::scalar, enc::sha256, kdf::Prk, sealing::SessionScope, secret::Secret};

const SEED_LABEL: &[u8] = b"symbolon/v1/hedge";
const WRITE_NONCE_LABEL: &[u8] = b"symbolon/v1/hedge/write-nonce";
const SECRET_LABEL: &[u8] = b"symbolon/v1/hedge/secret";
const COEFFICIENT_LABEL: &[u8] = b"symbolon/v1/hedge/coefficient";
const MASK_LABEL: &[u8] = b"symbolon/v1/hedge/mask";
const GAMMA_LABEL: &[u8] = b"symbolon/v1/hedge/gamma";
const ENCAPSULATION_LABEL: &[u8] = b"symbolon/v1/hedge/encapsulation";

/// A dealer's hedge: its client secret, made with its identity and kept beside it, and the count of seeds drawn in this
/// process.
#[derive(Debug)]
pub struct Hedge {
    client_secret: Secret<32>,
    counter: AtomicU64,
}

impl Hedge {
    /// A hedge whose counter starts at zero. There is one per identity and process.
    #[must_use]
    pub fn new(client_secret: Secret<32>) -> Self {
        Self {
            client_secret,
            counter: AtomicU64::new(0),
        }
    }

    fn count(&self) -> [u8; 8] {
        self.counter.fetch_add(1, Ordering::Relaxed).to_be_bytes()
    }

    /// The seed of one write.
    pub(crate) fn value_seed(
        &self,
        rng: &mut (impl CryptoRng + ?Sized),
        value: &[u8],
        tenant: &Id,
        secret: &Id,
        version: u64,
    ) -> Seed {
        let (random, counter) = (Secret::<32>::random(rng), self.count());
        let value_hash = Zeroizing::new(sha256(value));
        Seed(Prk::extract_enc(
            SEED_LABEL,
            &[
                random.expose(),
                self.client_secret.expose(),
                value_hash.as_slice(),
                tenant,
                secret,
                &version.to_be_bytes(),
                &counter,
            ],
        ))
    }

    /// The seed of one sealing session.
    pub(crate) fn session_seed(&self, rng: &mut (impl CryptoRng + ?Sized), scope: &SessionScope) -> Seed {
        let (random, counter) = (Secret::<32>::random(rng), self.count());
        Seed(Prk::extract_enc(
            SEED_LABEL,
            &[
                random.expose(),
                self.client_secret.expose(),
                &scope.cluster,
                &scope.dealer,
                &scope.epoch.to_be_bytes(),
                &scope.roster_hash,
                &counter,
            ],
        ))
    }
}

/// The seed of one write or one sealing session.
pub(crate) struct Seed(Prk);

impl Seed {
    pub(crate) fn write_nonce(&self) -> [u8; 32] {
        *self.0.expand::<32>(&[WRITE_NONCE_LABEL]).expose()
    }

    /// f(0), the scalar from which the data key comes: the same for every sharing of one value.
    pub(crate) fn secret(&self, vctx: &Hash, header_hash: &Hash) -> Zeroizing<Scalar> {
        self.scalar(&[SECRET_LABEL, vctx, header_hash])
    }

    /// The k-th coefficient of f, k ≥ 1.
    pub(crate) fn coefficient(&self, sctx: &Hash, header_hash: &Hash, k: u16) -> Zeroizing<Scalar> {
        self.scalar(&[COEFFICIENT_LABEL, sctx, header_hash, &k.to_be_bytes()])
    }

    /// The k-th coefficient of the masking polynomial b, k ≥ 0.
    pub(crate) fn mask(&self, sctx: &Hash, header_hash: &Hash, k: u16) -> Zeroizing<Scalar> {
        self.scalar(&[MASK_LABEL, sctx, header_hash, &k.to_be_bytes()])
    }

    /// γ of the node with this index.
    pub(crate) fn gamma(&self, sctx: &Hash, header_hash: &Hash, index: u16) -> Secret<32> {
        self.0
            .expand_enc(&[GAMMA_LABEL, sctx, header_hash, &index.to_be_bytes()])
    }

    /// The randomness of one X-Wing encapsulation: 32 bytes for ML-KEM, 32 for X25519.
    pub(crate) fn encapsulation(&self, index: u16, public_key: &[u8]) -> Secret<64> {
        self.0
            .expand_enc(&[ENCAPSULATION_LABEL, &index.to_be_bytes(), &sha256(public_key)])
    }

    /// 48 bytes reduced mod q: within 2^-128 of uniform, zero included.
    fn scalar(&self, info: &[&[u8]]) -> Zeroizing<Scalar> {
        scalar::reduce_wide(&self.0.expand_enc(info))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    use super::*;

    fn hedge() -> Hedge {
        Hedge::new(Secret::fill(|b| b.fill(1)))
    }

    fn rng() -> ChaCha20Rng {
        ChaCha20Rng::seed_from_u64(1)
    }

    #[test]
    fn a_clone_of_the_whole_machine_repeats_the_same_bytes_for_the_same_write() {
        let nonce = || {
            hedge()
                .value_seed(&mut rng(), b"value", &[1; 16], &[2; 16], 3)
                .write_nonce()
        };
        assert_eq!(nonce(), nonce());
    }

    #[test]
    fn every_input_of_the_seed_changes_it_though_the_generator_repeats() {
        let other_secret = Hedge::new(Secret::fill(|b| b.fill(2)));
        let counted = hedge();
        counted.count();
        let seeds = [
            hedge().value_seed(&mut rng(), b"value", &[1; 16], &[2; 16], 3),
            other_secret.value_seed(&mut rng(), b"value", &[1; 16], &[2; 16], 3),
            counted.value_seed(&mut rng(), b"value", &[1; 16], &[2; 16], 3),
            hedge().value_seed(&mut rng(), b"other", &[1; 16], &[2; 16], 3),
            hedge().value_seed(&mut rng(), b"value", &[9; 16], &[2; 16], 3),
            hedge().value_seed(&mut rng(), b"value", &[1; 16], &[9; 16], 3),
            hedge().value_seed(&mut rng(), b"value", &[1; 16], &[2; 16], 4),
            hedge().value_seed(&mut ChaCha20Rng::seed_from_u64(2), b"value", &[1; 16], &[2; 16], 3),
        ];
        let nonces: HashSet<_> = seeds.iter().map(Seed::write_nonce).collect();
        assert_eq!(nonces.len(), seeds.len());
    }

    #[test]
    fn every_use_place_and_context_gives_other_coefficients() {
        let seed = hedge().value_seed(&mut rng(), b"value", &[1; 16], &[2; 16], 3);
        let (a, b) = ([1; 32], [2; 32]);
        let scalars = [
            seed.secret(&a, &a),
            seed.secret(&b, &a),
            seed.secret(&a, &b),
            seed.coefficient(&a, &a, 1),
            seed.coefficient(&a, &a, 2),
            seed.coefficient(&b, &a, 1),
            seed.coefficient(&a, &b, 1),
            seed.mask(&a, &a, 1),
            seed.mask(&a, &a, 2),
            seed.mask(&b, &a, 1),
            seed.mask(&a, &b, 1),
        ];
        let distinct: HashSet<_> = scalars.iter().map(|s| s.to_bytes().to_vec()).collect();
        assert_eq!(distinct.len(), scalars.len());
        let gammas = [
            seed.gamma(&a, &a, 1),
            seed.gamma(&a, &a, 2),
            seed.gamma(&b, &a, 1),
            seed.gamma(&a, &b, 1),
        ];
        let distinct: HashSet<_> = gammas.iter().map(|g| *g.expose()).collect();
        assert_eq!(distinct.len(), gammas.len());
    }

    #[test]
    fn a_session_never_shares_its_seed_with_a_value_or_with_another_session() {
        let scope = SessionScope {
            cluster: [1; 16],
            dealer: [2; 16],
            epoch: 0,
            roster_hash: [3; 32],
        };
        let seeds = [
            hedge().session_seed(&mut rng(), &scope),
            hedge().session_seed(
                &mut rng(),
                &SessionScope {
                    cluster: [9; 16],
                    ..scope
                },
            ),
            hedge().session_seed(
                &mut rng(),
                &SessionScope {
                    dealer: [9; 16],
                    ..scope
                },
            ),
            hedge().session_seed(&mut rng(), &SessionScope { epoch: 1, ..scope }),
            hedge().session_seed(
                &mut rng(),
                &SessionScope {
                    roster_hash: [9; 32],
                    ..scope
                },
            ),
            hedge().value_seed(&mut rng(), b"value", &[1; 16], &[2; 16], 0),
        ];
        let mut distinct: HashSet<_> = seeds.iter().map(|s| *s.encapsulation(1, b"key").expose()).collect();
        assert_eq!(distinct.len(), seeds.len());
        distinct.insert(*seeds[0].encapsulation(2, b"key").expose());
        distinct.insert(*seeds[0].encapsulation(1, b"other key").expose());
        assert_eq!(distinct.len(), seeds.len() + 2);
    }
}
