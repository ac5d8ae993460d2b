//! The barrier: nothing reaches the disk but through it (`custody.md`, "Barrier").
//!
//! ```text
//! PRK          = HKDF-Extract(salt "symbolon/v1/barrier", ikm state key)
//! segment key  = HKDF-Expand(PRK, enc("segment", segment u32), 32)
//! header key   = HKDF-Expand(PRK, "header", 32)           K_name = HKDF-Expand(PRK, "names", 32)
//! sealed value = segment u32 ‖ nonce[12] ‖ AES-256-GCM(segment key, nonce, AAD = space u8 ‖ database key ‖ segment, value)
//! parent       = HMAC-SHA-256(K_name, enc("parent", kind u8, parent))
//! name         = HMAC-SHA-256(K_name, enc("name", kind u8, parent, name))
//! ```
//!
//! Nonces are random, so a segment takes fewer than 2^32 seals. Every opening of the store reserves fresh segments,
//! durably and before it seals anything, and so never has to know how many seals an earlier one made. A name is hashed
//! together with its parent: equal names under two parents look unlike.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use rand_core::CryptoRng;
use sha2::Sha256;
use symbolon_consensus::StoreFault;
use symbolon_crypto::enc::enc;
use symbolon_crypto::provider::{Aead, Nonce};
use symbolon_crypto::secret::Secret;
use zeroize::Zeroize;

use crate::engine::Space;
use crate::limits::{SEALS_PER_SEGMENT, SEGMENT_KEYS_KEPT, SEGMENTS_PER_OPENING};
use crate::options::Options;
use crate::sync::{lock, read, write};

/// Salt of the extraction.
const SALT: &[u8] = b"symbolon/v1/barrier";
const INFO_SEGMENT: &[u8] = b"segment";
const INFO_HEADER: &[u8] = b"header";
const INFO_NAMES: &[u8] = b"names";

/// Version of the header.
const HEADER_VERSION: u8 = 1;

/// Bytes that sealing adds: segment, nonce, tag.
pub const OVERHEAD_BYTES: usize = SEGMENT_BYTES + NONCE_BYTES + 16;

const SEGMENT_BYTES: usize = 4;
const NONCE_BYTES: usize = 12;

/// Seals values and hashes names, under keys of one state key.
pub struct Barrier {
    prk: Hkdf<Sha256>,
    names: Secret<32>,
    aead: Arc<dyn Aead + Send + Sync>,
    rng: Mutex<Box<dyn CryptoRng + Send>>,
    keys: RwLock<HashMap<u32, Arc<Secret<32>>>>,
    first_segment: u32,
    seals: AtomicU64,
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier")
            .field("first_segment", &self.first_segment)
            .finish_non_exhaustive()
    }
}

impl Barrier {
    /// Raises the barrier over a store whose header is `header` (`None` for an empty store). The second value is the
    /// new header; nothing may be sealed before it is durable.
    ///
    /// # Errors
    /// [`StoreFault::WrongStateKey`] if the header does not open, [`StoreFault::Corrupt`] if it is of a later version.
    pub(crate) fn raise(options: Options, header: Option<&[u8]>) -> Result<(Self, Vec<u8>), StoreFault> {
        let Options {
            state_key, aead, rng, ..
        } = options;
        let (mut extracted, prk) = Hkdf::<Sha256>::extract(Some(SALT), state_key.expose());
        extracted.as_mut_slice().zeroize();
        let names = expand(&prk, INFO_NAMES)?;
        let header_key = expand(&prk, INFO_HEADER)?;
        let mut barrier = Self {
            prk,
            names,
            aead,
            rng: Mutex::new(rng),
            keys: RwLock::new(HashMap::new()),
            first_segment: 0,
            seals: AtomicU64::new(0),
        };
        if let Some(header) = header {
            barrier.first_segment = barrier.open_header(&header_key, header)?;
        }
        let reserved = barrier
            .first_segment
            .checked_add(SEGMENTS_PER_OPENING)
            .ok_or(StoreFault::Corrupt {
                what: "header",
                kind: 0,
            })?;
        let header = barrier.seal_header(&header_key, reserved)?;
        Ok((barrier, header))
    }

    fn open_header(&self, key: &Secret<32>, header: &[u8]) -> Result<u32, StoreFault> {
        let corrupt = StoreFault::Corrupt {
            what: "header",
            kind: 0,
        };
        let (version, rest) = header.split_first().ok_or(corrupt.clone())?;
        if *version != HEADER_VERSION {
            return Err(corrupt);
        }
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(corrupt.clone())?;
        let mut buffer = sealed.to_vec();
        let opened = self.aead.open_in_place(key, nonce, &[HEADER_VERSION], &mut buffer);
        opened.map_err(|_| StoreFault::WrongStateKey)?;
        let segment = buffer.as_array::<SEGMENT_BYTES>().ok_or(corrupt)?;
        Ok(u32::from_be_bytes(*segment))
    }

    fn seal_header(&self, key: &Secret<32>, reserved: u32) -> Result<Vec<u8>, StoreFault> {
        let nonce = self.nonce();
        let mut buffer = reserved.to_be_bytes().to_vec();
        self.aead
            .seal_in_place(key, &nonce, &[HEADER_VERSION], &mut buffer)
            .map_err(|_| seal_failed())?;
        let mut header = vec![HEADER_VERSION];
        header.extend_from_slice(&nonce);
        header.extend_from_slice(&buffer);
        Ok(header)
    }

    fn nonce(&self) -> Nonce {
        let mut nonce = [0; NONCE_BYTES];
        lock(&self.rng).fill_bytes(&mut nonce);
        nonce
    }

    fn key(&self, segment: u32) -> Result<Arc<Secret<32>>, StoreFault> {
        if let Some(key) = read(&self.keys).get(&segment) {
            return Ok(Arc::clone(key));
        }
        let key = Arc::new(expand(&self.prk, &enc(&[INFO_SEGMENT, &segment.to_be_bytes()]))?);
        let mut keys = write(&self.keys);
        if keys.len() >= SEGMENT_KEYS_KEPT {
            keys.clear();
        }
        keys.insert(segment, Arc::clone(&key));
        Ok(key)
    }

    /// The segment for the next seal.
    fn segment(&self) -> Result<u32, StoreFault> {
        let seals = self.seals.fetch_add(1, Ordering::Relaxed);
        let nth = u32::try_from(seals / SEALS_PER_SEGMENT)
            .ok()
            .filter(|nth| *nth < SEGMENTS_PER_OPENING);
        nth.and_then(|nth| self.first_segment.checked_add(nth))
            .ok_or(StoreFault::Io {
                operation: "sealing",
                detail: "all segments of this opening are used up".into(),
            })
    }

    /// Seals `plain` for its place.
    pub(crate) fn seal(&self, space: Space, key: &[u8], plain: &[u8]) -> Result<Vec<u8>, StoreFault> {
        let segment = self.segment()?;
        let nonce = self.nonce();
        let mut out = Vec::with_capacity(plain.len().saturating_add(OVERHEAD_BYTES));
        out.extend_from_slice(&segment.to_be_bytes());
        out.extend_from_slice(&nonce);
        out.extend_from_slice(plain);
        let (_, data) = out.split_at_mut(SEGMENT_BYTES + NONCE_BYTES);
        let segment_key = self.key(segment)?;
        let tag = self
            .aead
            .seal_detached(&segment_key, &nonce, &aad(space, key, segment), data);
        out.extend_from_slice(&tag.map_err(|_| seal_failed())?);
        Ok(out)
    }

    /// Opens what [`Barrier::seal`] made for the same place.
    pub(crate) fn open(&self, space: Space, key: &[u8], sealed: &[u8]) -> Result<Vec<u8>, StoreFault> {
        let corrupt = || StoreFault::Corrupt {
            what: space.name(),
            kind: key.first().copied().unwrap_or(0),
        };
        let (segment, rest) = sealed.split_first_chunk::<SEGMENT_BYTES>().ok_or_else(corrupt)?;
        let (nonce, rest) = rest.split_first_chunk::<NONCE_BYTES>().ok_or_else(corrupt)?;
        let segment = u32::from_be_bytes(*segment);
        let mut buffer = rest.to_vec();
        let segment_key = self.key(segment)?;
        let opened = self
            .aead
            .open_in_place(&segment_key, nonce, &aad(space, key, segment), &mut buffer);
        opened.map_err(|_| corrupt())?;
        Ok(buffer)
    }

    /// What stands for a parent in the name index.
    pub(crate) fn parent(&self, kind: u8, parent: &[u8]) -> Result<[u8; 32], StoreFault> {
        self.mac(&[b"parent", &[kind], parent])
    }

    /// What stands for a name in the name index.
    pub(crate) fn name(&self, kind: u8, parent: &[u8], name: &[u8]) -> Result<[u8; 32], StoreFault> {
        self.mac(&[b"name", &[kind], parent, name])
    }

    fn mac(&self, fields: &[&[u8]]) -> Result<[u8; 32], StoreFault> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.names.expose()).map_err(|_| seal_failed())?;
        mac.update(&enc(fields));
        Ok(mac.finalize().into_bytes().into())
    }
}

fn expand(prk: &Hkdf<Sha256>, info: &[u8]) -> Result<Secret<32>, StoreFault> {
    Secret::try_fill(|out| prk.expand(info, out).map_err(|_| seal_failed()))
}

fn aad(space: Space, key: &[u8], segment: u32) -> Vec<u8> {
    #[cfg(feature = "sabotage")]
    if symbolon_sabotage::Bug::SealedForAnyPlace.on() {
        return Vec::new();
    }
    let mut aad = Vec::with_capacity(key.len().saturating_add(1 + SEGMENT_BYTES));
    aad.push(space as u8);
    aad.extend_from_slice(key);
    aad.extend_from_slice(&segment.to_be_bytes());
    aad
}

/// None of these can fail for the sizes used here; if the library says otherwise, nothing may be written.
fn seal_failed() -> StoreFault {
    StoreFault::Io {
        operation: "sealing",
        detail: "the cryptographic library refused".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::rand_core::SeedableRng;
    use symbolon_crypto::provider::Portable;

    fn options(key: u8) -> Options {
        let rng = rand_chacha::ChaCha20Rng::seed_from_u64(u64::from(key));
        Options::new(Secret::fill(|bytes| bytes.fill(key)), Arc::new(Portable), Box::new(rng))
    }

    #[test]
    fn what_is_sealed_opens_at_its_place_only() {
        let (barrier, _) = Barrier::raise(options(1), None).unwrap();
        let sealed = barrier.seal(Space::State, b"key", b"value").unwrap();
        assert_eq!(sealed.len(), 5 + OVERHEAD_BYTES);
        assert_eq!(barrier.open(Space::State, b"key", &sealed).unwrap(), b"value");
        let corrupt = StoreFault::Corrupt {
            what: "state",
            kind: b'k',
        };
        assert_eq!(barrier.open(Space::State, b"kez", &sealed), Err(corrupt));
        assert!(barrier.open(Space::Local, b"key", &sealed).is_err());
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let (barrier, _) = Barrier::raise(options(1), None).unwrap();
        let sealed = barrier.seal(Space::Log, b"k", b"v").unwrap();
        for at in 0..sealed.len() {
            let mut bad = sealed.clone();
            bad[at] ^= 1;
            assert!(barrier.open(Space::Log, b"k", &bad).is_err(), "byte {at}");
            assert!(barrier.open(Space::Log, b"k", &sealed[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn another_state_key_is_refused_by_name() {
        let (_, header) = Barrier::raise(options(1), None).unwrap();
        assert_eq!(
            Barrier::raise(options(2), Some(&header)).unwrap_err(),
            StoreFault::WrongStateKey
        );
    }

    #[test]
    fn every_opening_seals_under_segments_of_its_own() {
        let (first, header) = Barrier::raise(options(1), None).unwrap();
        let sealed = first.seal(Space::Log, b"k", b"v").unwrap();
        let (second, header_2) = Barrier::raise(options(1), Some(&header)).unwrap();
        assert_eq!(second.first_segment, first.first_segment + SEGMENTS_PER_OPENING);
        assert_eq!(
            second.open(Space::Log, b"k", &sealed).unwrap(),
            b"v",
            "old values still open"
        );
        assert_ne!(header, header_2);
    }

    #[test]
    fn a_full_segment_gives_way_to_the_next_and_the_last_to_an_error() {
        let (barrier, _) = Barrier::raise(options(1), None).unwrap();
        barrier.seals.store(SEALS_PER_SEGMENT - 1, Ordering::Relaxed);
        assert_eq!(barrier.segment().unwrap(), 0);
        assert_eq!(barrier.segment().unwrap(), 1);
        barrier
            .seals
            .store(SEALS_PER_SEGMENT * u64::from(SEGMENTS_PER_OPENING), Ordering::Relaxed);
        assert!(barrier.segment().is_err());
    }

    #[test]
    fn equal_names_under_two_parents_look_unlike() {
        let (barrier, _) = Barrier::raise(options(1), None).unwrap();
        assert_ne!(
            barrier.name(1, b"p", b"n").unwrap(),
            barrier.name(1, b"q", b"n").unwrap()
        );
        assert_ne!(
            barrier.name(1, b"pn", b"").unwrap(),
            barrier.name(1, b"p", b"n").unwrap()
        );
    }

    #[test]
    fn each_seeded_bug_is_found_by_its_test_here() {
        symbolon_sabotage::caught_in(file!());
    }
}
