//! The operations. Each prepares what is public, marks what is secret, and does what clients and nodes do with it.
#![allow(
    clippy::expect_used,
    reason = "an operation that fails is told as such: the run shows nothing then"
)]

use crate::mark;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng, TryCryptoRng, TryRng};
use std::convert::Infallible;
use std::hint::black_box;
use symbolon_crypto::context::ValueContext;
use symbolon_crypto::dealing::{
    CheckedFragment, Dealing, Dealt, Fragment, LagrangeTable, Sharing, Unchecked, Write, check_fragment, deal,
    open_fragment,
};
use symbolon_crypto::hedge::Hedge;
use symbolon_crypto::own::{open_own_fragment, seal_own_fragment};
use symbolon_crypto::provider::{Aead, AwsLc, Portable};
use symbolon_crypto::sealing::{SealingKeyPair, SealingPublicKey, SealingSession, SessionScope, fragment_key};
use symbolon_crypto::secret::Secret;

/// What must be found.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    None,
    Leak,
}

/// One operation.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) run: fn(),
    pub(crate) expected: Expected,
}

/// All operations; those that leak on purpose stand last.
pub(crate) const CASES: &[Case] = &[
    holds("deal-portable", || split(&Portable)),
    holds("deal-aws-lc", || split(&AwsLc)),
    holds("check-fragment", check),
    holds("unlock", combine),
    holds("key-commitment", other_key),
    holds("decapsulate", decapsulate),
    holds("fragment-key", derive),
    holds("open-portable", || open(&Portable)),
    holds("open-aws-lc", || open(&AwsLc)),
    holds("own-portable", || own(&Portable)),
    holds("own-aws-lc", || own(&AwsLc)),
    holds("secret-compare", compare),
    leaks("planted-compare", planted_compare),
    leaks("planted-table", planted_table),
];

const fn holds(name: &'static str, run: fn()) -> Case {
    Case {
        name,
        run,
        expected: Expected::None,
    }
}

const fn leaks(name: &'static str, run: fn()) -> Case {
    Case {
        name,
        run,
        expected: Expected::Leak,
    }
}

/// Randomness whose every byte is secret.
struct SecretRng(ChaCha20Rng);

impl TryRng for SecretRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill_bytes(bytes);
        mark::secret(bytes);
        Ok(())
    }
}

impl TryCryptoRng for SecretRng {}

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(1)
}

/// A secret of these bytes, which memcheck takes for unknown.
fn secret<const N: usize>(bytes: [u8; N]) -> Secret<N> {
    Secret::fill(|place: &mut [u8; N]| {
        *place = bytes;
        mark::secret(place);
    })
}

fn known<const N: usize>(byte: u8) -> Secret<N> {
    Secret::fill(|place: &mut [u8; N]| place.fill(byte))
}

fn sharing() -> Sharing {
    Sharing::new(6, [7; 32], 3, 2, vec![1, 2, 3]).expect("2 of 3")
}

fn pairs() -> Vec<SealingKeyPair> {
    (1..=3).map(|node| SealingKeyPair::from_seed(&known(node))).collect()
}

fn session() -> SealingSession {
    let keys: Vec<SealingPublicKey> = pairs().iter().map(SealingKeyPair::public_key).collect();
    let nodes: Vec<(u16, &SealingPublicKey)> = (1..).zip(&keys).collect();
    let scope = SessionScope {
        cluster: [1; 16],
        dealer: [5; 16],
        epoch: 6,
        roster_hash: [7; 32],
    };
    SealingSession::create(&mut rng(), &Hedge::new(known(1)), scope, &nodes).expect("a session")
}

const WRITE: Write<'_> = Write {
    cluster: &[1; 16],
    tenant: &[2; 16],
    secret: &[3; 16],
    version: 4,
    author: &[5; 16],
    content_type: "text/plain",
};

const VALUE: [u8; 100] = [0x5a; 100];

/// The writer's side: draw, encrypt, evaluate both polynomials, commit, seal. Secret: the client's secret, all
/// randomness, the value (not its length).
fn split(aead: &impl Aead) {
    let (sharing, session) = (sharing(), session());
    let hedge = Hedge::new(secret([1; 32]));
    let value = VALUE;
    mark::secret(&value);
    let dealt = deal(aead, &mut SecretRng(rng()), &hedge, &WRITE, &value, &sharing, &session);
    black_box(dealt.expect("a deal"));
}

/// A dealing, all of it public, for those that read it.
fn dealt(session: &SealingSession) -> Dealt {
    deal(
        &Portable,
        &mut rng(),
        &Hedge::new(known(1)),
        &WRITE,
        &VALUE,
        &sharing(),
        session,
    )
    .expect("a deal")
}

fn with_dealing<T>(dealt: &Dealt, key_commitment: &[u8; 32], then: impl FnOnce(&Dealing<'_>) -> T) -> T {
    let sharing = sharing();
    let value = ValueContext {
        cluster: WRITE.cluster,
        tenant: WRITE.tenant,
        secret: WRITE.secret,
        version: WRITE.version,
        author: WRITE.author,
        write_nonce: &dealt.write_nonce,
    };
    let unchecked = Unchecked {
        header: &dealt.header,
        ciphertext: &dealt.ciphertext,
        key_commitment,
        commitments: &dealt.commitments,
        z: &dealt.z,
    };
    then(&Dealing::parse(&value, WRITE.author, &sharing, &unchecked).expect("an honest dealing"))
}

/// The fragments of nodes 1 and 2, secret.
fn fragments(dealt: &Dealt, session: &SealingSession) -> Vec<Fragment> {
    let places = pairs()
        .into_iter()
        .zip(session.ciphertexts())
        .zip(&dealt.sealed)
        .zip(1_u16..);
    let opened = places.take(2).map(|(((pair, ciphertext), sealed), node)| {
        let key = fragment_key(&pair.decapsulate(ciphertext), session.id(), &dealt.dd, node);
        let fragment = open_fragment(&Portable, &key, &dealt.dd, sealed).expect("its own fragment");
        mark::secret(fragment.expose());
        fragment
    });
    opened.collect()
}

/// A node checks its own fragment against the dealing.
fn check() {
    let session = session();
    let dealt = dealt(&session);
    let own = fragments(&dealt, &session).into_iter().next().expect("two fragments");
    let checked: CheckedFragment = with_dealing(&dealt, &dealt.key_commitment, |dealing| {
        check_fragment(dealing, 1, own).expect("an honest fragment")
    });
    black_box(checked);
}

/// A reader combines t fragments and checks the key commitment.
fn combine() {
    let session = session();
    let dealt = dealt(&session);
    let fragments = fragments(&dealt, &session);
    with_dealing(&dealt, &dealt.key_commitment, |dealing| {
        let table = LagrangeTable::new(dealing.sharing());
        let pairs: Vec<(u16, &Fragment)> = (1..).zip(&fragments).collect();
        black_box(dealing.unlock(&table, &pairs).expect("the key").expose());
    });
}

/// The same where another key was committed to.
fn other_key() {
    let session = session();
    let dealt = dealt(&session);
    let fragments = fragments(&dealt, &session);
    with_dealing(&dealt, &[9; 32], |dealing| {
        let table = LagrangeTable::new(dealing.sharing());
        let pairs: Vec<(u16, &Fragment)> = (1..).zip(&fragments).collect();
        assert!(dealing.unlock(&table, &pairs).is_err(), "another key is committed to");
    });
}

/// A node opens a session: the seed of its key is secret; the ciphertext comes from whoever wrote.
fn decapsulate() {
    let session = session();
    let ciphertext = session.ciphertexts().first().copied().expect("three ciphertexts");
    let pair = SealingKeyPair::from_seed(&secret([1; 32]));
    black_box(pair.decapsulate(&ciphertext).expose());
}

/// A fragment's key from a session's secret.
fn derive() {
    black_box(fragment_key(&secret([1; 32]), &[2; 32], &[3; 32], 4).expose());
}

/// Seals and opens a secret under a secret key; then compares a tag that does not fit.
fn open(aead: &impl Aead) {
    let key = secret([4; 32]);
    let mut data = [0x5a; 64];
    mark::secret(&data);
    let tag = aead.seal_detached(&key, &[0; 12], b"aad", &mut data).expect("a seal");
    // What is sealed may be seen.
    mark::public(&data);
    mark::public(&tag);
    aead.open_detached(&key, &[0; 12], b"aad", &mut data, &tag)
        .expect("its own seal");
    let mut wrong = tag;
    wrong[15] ^= 1;
    mark::public(&data);
    assert!(
        aead.open_detached(&key, &[0; 12], b"aad", &mut data, &wrong).is_err(),
        "its tag fails"
    );
}

/// A node's own fragment, to its disk and back.
fn own(aead: &impl Aead) {
    let session = session();
    let dealt = dealt(&session);
    let own = fragments(&dealt, &session).into_iter().next().expect("two fragments");
    let key = secret([4; 32]);
    let sealed = seal_own_fragment(aead, &key, &dealt.sctx, &dealt.dd, &own).expect("a seal");
    mark::public(&sealed);
    let opened = open_own_fragment(aead, &key, &dealt.sctx, &dealt.dd, &sealed).expect("its own seal");
    black_box(opened.expose());
}

/// Two secrets.
fn compare() {
    black_box(secret([1; 32]).ct_eq(&secret([2; 32])));
}

/// What a careless comparison does: it stops at the first byte that differs.
fn planted_compare() {
    let (one, other) = (secret([1; 32]), black_box([1_u8; 32]));
    let mut same = true;
    for (one, other) in one.expose().iter().zip(&other) {
        if black_box(*one) != *other {
            same = false;
            break;
        }
    }
    black_box(same);
}

/// What a careless table does: where it reads tells the secret.
fn planted_table() {
    let table = black_box([7_u8; 256]);
    let mut sum = 0_u8;
    for byte in secret([1; 32]).expose() {
        sum = sum.wrapping_add(*black_box(table.get(usize::from(*byte)).expect("256 places")));
    }
    black_box(sum);
}
