//! A small cluster for tests: nodes with sealing keys, a dealer with a session, and one write.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part")]

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use symbolon_crypto::{
    Hash, Id,
    context::ValueContext,
    dealing::{
        CheckedFragment, Dealing, Dealt, Fragment, OpenFragmentError, Sharing, Unchecked, Write, check_fragment, deal,
        open_fragment,
    },
    hedge::Hedge,
    provider::Portable,
    sealing::{SealingKeyPair, SealingPublicKey, SealingSession, SessionScope, fragment_key, session_id},
    secret::Secret,
};

/// What a write is bound to, as one flat record that tests change field by field.
#[derive(Debug, Clone, PartialEq)]
pub struct Bound {
    pub cluster: Id,
    pub tenant: Id,
    pub secret: Id,
    pub version: u64,
    pub author: Id,
    pub write_nonce: [u8; 32],
    pub epoch: u64,
    pub roster_hash: Hash,
    pub indices: Vec<u16>,
    pub dealer: Id,
}

/// One write, with everything that nodes and readers have of it.
pub struct World {
    pub bound: Bound,
    pub pairs: Vec<SealingKeyPair>,
    pub session: SealingSession,
    pub dealt: Dealt,
}

pub fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

pub fn hedge() -> Hedge {
    Hedge::new(Secret::fill(|b| b.fill(1)))
}

pub fn bound(indices: &[u16]) -> Bound {
    Bound {
        cluster: [1; 16],
        tenant: [2; 16],
        secret: [3; 16],
        version: 4,
        author: [5; 16],
        write_nonce: [0; 32],
        epoch: 6,
        roster_hash: [7; 32],
        indices: indices.to_vec(),
        dealer: [5; 16],
    }
}

pub fn sharing(bound: &Bound) -> Sharing {
    let n = u16::try_from(bound.indices.len()).unwrap();
    Sharing::new(bound.epoch, bound.roster_hash, n, n / 2 + 1, bound.indices.clone()).unwrap()
}

pub fn pairs(count: usize) -> Vec<SealingKeyPair> {
    (1..=count)
        .map(|i| SealingKeyPair::from_seed(&Secret::fill(|b| b.fill(u8::try_from(i).unwrap()))))
        .collect()
}

pub fn scope(bound: &Bound) -> SessionScope {
    SessionScope {
        cluster: bound.cluster,
        dealer: bound.dealer,
        epoch: bound.epoch,
        roster_hash: bound.roster_hash,
    }
}

pub fn session(bound: &Bound, pairs: &[SealingKeyPair], seed: u64) -> SealingSession {
    let keys: Vec<SealingPublicKey> = pairs.iter().map(SealingKeyPair::public_key).collect();
    let nodes: Vec<_> = bound.indices.iter().copied().zip(&keys).collect();
    SealingSession::create(&mut rng(seed), &hedge(), scope(bound), &nodes).unwrap()
}

pub fn write<'a>(bound: &'a Bound, content_type: &'a str) -> Write<'a> {
    Write {
        cluster: &bound.cluster,
        tenant: &bound.tenant,
        secret: &bound.secret,
        version: bound.version,
        author: &bound.author,
        content_type,
    }
}

impl World {
    pub fn new(indices: &[u16], value: &[u8]) -> Self {
        let mut bound = bound(indices);
        let pairs = pairs(indices.len());
        let session = session(&bound, &pairs, 1);
        let write = write(&bound, "text/plain");
        let dealt = deal(
            &Portable,
            &mut rng(2),
            &hedge(),
            &write,
            value,
            &sharing(&bound),
            &session,
        )
        .unwrap();
        bound.write_nonce = dealt.write_nonce;
        Self {
            bound,
            pairs,
            session,
            dealt,
        }
    }

    /// Node `place` opens its fragment, believing the write to be bound to `bound` and the session to be `scope`'s.
    pub fn open_as(&self, place: usize, bound: &Bound, scope: &SessionScope) -> Result<Fragment, OpenFragmentError> {
        let shared = self.pairs[place].decapsulate(&self.session.ciphertexts()[place]);
        let session = session_id(scope, self.session.ciphertexts());
        let sharing = sharing(bound);
        let dealing = dealing(bound, &sharing, &self.dealt);
        let key = fragment_key(&shared, &session, dealing.dd(), bound.indices[place]);
        open_fragment(&Portable, &key, dealing.dd(), &self.dealt.sealed[place])
    }

    pub fn fragment(&self, place: usize) -> Fragment {
        self.open_as(place, &self.bound, &scope(&self.bound)).unwrap()
    }

    pub fn checked(&self) -> Vec<CheckedFragment> {
        let sharing = sharing(&self.bound);
        let dealing = dealing(&self.bound, &sharing, &self.dealt);
        let check = |(place, &index)| check_fragment(&dealing, index, self.fragment(place)).unwrap();
        self.bound.indices.iter().enumerate().map(check).collect()
    }
}

/// The public half of `dealt`, believed to be bound to `bound`.
pub fn dealing<'a>(bound: &Bound, sharing: &'a Sharing, dealt: &'a Dealt) -> Dealing<'a> {
    let value = ValueContext {
        cluster: &bound.cluster,
        tenant: &bound.tenant,
        secret: &bound.secret,
        version: bound.version,
        author: &bound.author,
        write_nonce: &bound.write_nonce,
    };
    Dealing::parse(&value, &bound.dealer, sharing, &unchecked(dealt)).unwrap()
}

pub fn unchecked(dealt: &Dealt) -> Unchecked<'_, [u8; 32]> {
    Unchecked {
        header: &dealt.header,
        ciphertext: &dealt.ciphertext,
        key_commitment: &dealt.key_commitment,
        commitments: &dealt.commitments,
        z: &dealt.z,
    }
}

pub fn copy(fragment: &Fragment) -> Fragment {
    Fragment::from_slice(fragment.expose()).unwrap()
}
