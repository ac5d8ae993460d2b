//! The worked examples of `docs/specs/fragment.md` and `docs/specs/sealing.md` are what this crate makes.
//!
//! Randomness hangs on private code (`hedge`), so it is derived here once more, from the documents alone.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "common/example.rs"]
mod example;

use std::convert::Infallible;

use example::Example;
use hash2curve::ExpandMsgXmd;
use hkdf::Hkdf;
use p256::{
    NistP256, Scalar,
    elliptic_curve::{array::Array, consts::U48, ops::Reduce},
};
use rand_core::{TryCryptoRng, TryRng};
use sha2::Sha256;
use symbolon_crypto::{
    context::{SharingContext, ValueContext, header},
    dealing::{
        Dealing, Dealt, Fragment, LagrangeTable, Sharing, Unchecked, Write, check_fragment, deal, open_fragment,
    },
    enc::{enc, sha256},
    hedge::Hedge,
    own,
    padme::pad,
    provider::Portable,
    sealing::{SealingKeyPair, SealingSession, SessionScope, fragment_key, session_id},
    secret::Secret,
};

const FRAGMENT: &str = include_str!("../../docs/specs/fragment.md");
const SEALING: &str = include_str!("../../docs/specs/sealing.md");

/// Gives out fixed bytes, once.
struct Fixed(Vec<u8>);

impl TryRng for Fixed {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unreachable!("a seed draws bytes")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        unreachable!("a seed draws bytes")
    }

    fn try_fill_bytes(&mut self, to: &mut [u8]) -> Result<(), Infallible> {
        let rest = self.0.split_off(to.len());
        to.copy_from_slice(&std::mem::replace(&mut self.0, rest));
        Ok(())
    }
}

impl TryCryptoRng for Fixed {}

fn secret<const N: usize>(bytes: [u8; N]) -> Secret<N> {
    Secret::fill(|to| *to = bytes)
}

/// HKDF-Extract("symbolon/v1/hedge", enc(fields)).
fn seed(fields: &[&[u8]]) -> Hkdf<Sha256> {
    Hkdf::new(Some(b"symbolon/v1/hedge"), &enc(fields))
}

fn expand<const N: usize>(prk: &Hkdf<Sha256>, info: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    prk.expand(info, &mut out).unwrap();
    out
}

/// 48 bytes reduced mod q.
fn scalar(prk: &Hkdf<Sha256>, info: &[&[u8]]) -> Scalar {
    let wide: Array<u8, U48> = expand::<48>(prk, &enc(info)).into();
    Scalar::reduce(&wide)
}

fn bytes(scalar: &Scalar) -> [u8; 32] {
    scalar.to_bytes().into()
}

/// The polynomial with these coefficients, lowest first, at x.
fn at(coefficients: &[Scalar], x: u16) -> Scalar {
    let (mut power, x) = (Scalar::ONE, Scalar::from(u64::from(x)));
    let mut sum = Scalar::ZERO;
    for coefficient in coefficients {
        sum += *coefficient * power;
        power *= x;
    }
    sum
}

/// Both documents tell of one write under one session.
struct Story {
    scope: SessionScope,
    indices: Vec<u16>,
    pairs: Vec<SealingKeyPair>,
    session: SealingSession,
    tenant: [u8; 16],
    secret: [u8; 16],
    version: u64,
    sharing: Sharing,
    dealt: Dealt,
}

impl Story {
    fn tell(fragment: &Example, sealing: &Example) -> Self {
        let scope = SessionScope {
            cluster: sealing.array("cluster"),
            dealer: sealing.array("dealer"),
            epoch: sealing.number("epoch"),
            roster_hash: sealing.array("roster hash"),
        };
        let n: u16 = fragment.number("n");
        let indices: Vec<u16> = (1..=n).collect();
        let pair = |index: &u16| SealingKeyPair::from_seed(&secret(sealing.array(&format!("sealing seed {index}"))));
        let pairs: Vec<SealingKeyPair> = indices.iter().map(pair).collect();
        let keys: Vec<_> = pairs.iter().map(SealingKeyPair::public_key).collect();
        let nodes: Vec<_> = indices.iter().copied().zip(&keys).collect();
        // One process draws the session's seed first (counter 0), then the value's (counter 1).
        let hedge = Hedge::new(secret(sealing.array("client secret")));
        let mut rng = Fixed(sealing.array::<32>("RNG bytes").to_vec());
        let session = SealingSession::create(&mut rng, &hedge, scope, &nodes).unwrap();
        let t = fragment.number("t");
        let sharing = Sharing::new(scope.epoch, scope.roster_hash, n, t, indices.clone()).unwrap();
        let (tenant, id) = (fragment.array("tenant"), fragment.array("secret"));
        let version = fragment.number("version");
        let write = Write {
            cluster: &scope.cluster,
            tenant: &tenant,
            secret: &id,
            version,
            author: &scope.dealer,
            content_type: fragment.text("content type"),
        };
        let mut rng = Fixed(fragment.array::<32>("RNG bytes").to_vec());
        let value = fragment.text("value").as_bytes();
        let dealt = deal(&Portable, &mut rng, &hedge, &write, value, &sharing, &session).unwrap();
        Self {
            scope,
            indices,
            pairs,
            session,
            tenant,
            secret: id,
            version,
            sharing,
            dealt,
        }
    }

    fn value_context(&self) -> ValueContext<'_> {
        ValueContext {
            cluster: &self.scope.cluster,
            tenant: &self.tenant,
            secret: &self.secret,
            version: self.version,
            author: &self.scope.dealer,
            write_nonce: &self.dealt.write_nonce,
        }
    }

    fn dealing(&self) -> Dealing<'_> {
        let unchecked = Unchecked {
            header: &self.dealt.header,
            ciphertext: &self.dealt.ciphertext,
            key_commitment: &self.dealt.key_commitment,
            commitments: &self.dealt.commitments,
            z: &self.dealt.z,
        };
        Dealing::parse(&self.value_context(), &self.scope.dealer, &self.sharing, &unchecked).unwrap()
    }

    /// As each node does: decapsulate, derive its key, open, check.
    fn fragments(&self) -> Vec<(u16, Fragment, Secret<32>)> {
        let (dealing, session) = (self.dealing(), session_id(&self.scope, self.session.ciphertexts()));
        let open = |(place, &index): (usize, &u16)| {
            let shared = self.pairs[place].decapsulate(&self.session.ciphertexts()[place]);
            let key = fragment_key(&shared, &session, dealing.dd(), index);
            let fragment = open_fragment(&Portable, &key, dealing.dd(), &self.dealt.sealed[place]).unwrap();
            let checked = check_fragment(&dealing, index, fragment).unwrap();
            (index, checked.into_fragment(), key)
        };
        self.indices.iter().enumerate().map(open).collect()
    }
}

#[test]
fn the_example_of_the_fragment_specification_is_true() {
    let (example, sealing) = (Example::of(FRAGMENT), Example::of(SEALING));
    let story = Story::tell(&example, &sealing);
    for shared in ["cluster", "epoch", "roster hash", "client secret"] {
        example.agrees(&sealing, shared);
    }
    example.shows("author", story.scope.dealer);
    let dealt = &story.dealt;

    let value = example.text("value").as_bytes();
    let prk = seed(&[
        &example.array::<32>("RNG bytes"),
        &example.array::<32>("client secret"),
        &sha256(value),
        &story.tenant,
        &story.secret,
        &story.version.to_be_bytes(),
        &example.number::<u64>("counter").to_be_bytes(),
    ]);
    let write_nonce = expand::<32>(&prk, b"symbolon/v1/hedge/write-nonce");
    assert_eq!(write_nonce, dealt.write_nonce);
    example.shows("write nonce", write_nonce);
    let vctx = story.value_context().hash();
    example.shows("vctx", vctx);
    let sctx = SharingContext {
        vctx: &vctx,
        epoch: story.scope.epoch,
        roster_hash: &story.scope.roster_hash,
        n: story.sharing.n(),
        t: story.sharing.t(),
        dealer: &story.scope.dealer,
    }
    .hash();
    example.shows("sctx", sctx);
    let header = header(example.text("content type"));
    example.shows("header", &header);

    let header_hash = sha256(&header);
    let number = |k: u16| k.to_be_bytes();
    let mut f = vec![scalar(&prk, &[b"symbolon/v1/hedge/secret", &vctx, &header_hash])];
    f.extend((1..story.sharing.t()).map(|k| {
        let label = b"symbolon/v1/hedge/coefficient";
        scalar(&prk, &[label, &sctx, &header_hash, &number(k)])
    }));
    let mask = |k| scalar(&prk, &[b"symbolon/v1/hedge/mask", &sctx, &header_hash, &number(k)]);
    let b: Vec<Scalar> = (0..story.sharing.t()).map(mask).collect();
    for (k, (f, b)) in f.iter().zip(&b).enumerate() {
        example.shows(&format!("f_{k}"), bytes(f));
        example.shows(&format!("b_{k}"), bytes(b));
    }
    for (index, fragment, _) in story.fragments() {
        let info = enc(&[b"symbolon/v1/hedge/gamma", &sctx, &header_hash, &number(index)]);
        let gamma = expand::<32>(&prk, &info);
        let s_i = bytes(&at(&f, index));
        assert_eq!(fragment.expose().as_slice(), [s_i, gamma].concat());
        example.shows(&format!("s_{index}"), s_i);
        example.shows(&format!("gamma_{index}"), gamma);
        example.shows(&format!("C_{index}"), dealt.commitments[usize::from(index) - 1]);
    }
    let message = [&[sctx][..], &dealt.commitments].concat().concat();
    let label: &[u8] = b"symbolon/v1/dealing/challenge";
    let d = hash2curve::hash_to_scalar::<NistP256, ExpandMsgXmd<Sha256>, U48>(&[&message], &[label]).unwrap();
    example.shows("d", bytes(&d));
    for (k, z) in dealt.z.iter().enumerate() {
        assert_eq!(bytes(&(b[k] + d * f[k])), *z);
        example.shows(&format!("z_{k}"), z);
    }

    let dealing = story.dealing();
    let fragments = story.fragments();
    let two: Vec<_> = fragments[1..]
        .iter()
        .map(|(index, fragment, _)| (*index, fragment))
        .collect();
    let table = LagrangeTable::new(&story.sharing);
    let key = dealing.unlock(&table, &two).unwrap();
    assert_eq!(key.open(&Portable).unwrap().expose(), value);
    example.shows("DEK", key.expose().expose());
    example.shows("KC", dealt.key_commitment);
    let padded = pad(value, value.len()).unwrap();
    example.shows_text("padded bytes", &padded.len().to_string());
    example.shows("padded begins", &padded.expose()[..32]);
    example.shows("ciphertext begins", &dealt.ciphertext[..32]);
    example.shows("tag", &dealt.ciphertext[dealt.ciphertext.len() - 16..]);
    example.shows("SHA-256(ciphertext)", sha256(&dealt.ciphertext));
    example.shows("dd", dealing.dd());
    example.shows("record hash", dealing.record_hash());
    example.finish();
}

#[test]
fn the_example_of_the_sealing_specification_is_true() {
    let (example, fragment) = (Example::of(SEALING), Example::of(FRAGMENT));
    let story = Story::tell(&fragment, &example);
    let scope = &story.scope;
    let prk = seed(&[
        &example.array::<32>("RNG bytes"),
        &example.array::<32>("client secret"),
        &scope.cluster,
        &scope.dealer,
        &scope.epoch.to_be_bytes(),
        &scope.roster_hash,
        &example.number::<u64>("counter").to_be_bytes(),
    ]);
    for (pair, (&index, ciphertext)) in story
        .pairs
        .iter()
        .zip(story.indices.iter().zip(story.session.ciphertexts()))
    {
        let public = pair.public_key().to_bytes();
        example.shows(&format!("SHA-256(public {index})"), sha256(&public));
        let info = enc(&[
            b"symbolon/v1/hedge/encapsulation",
            &index.to_be_bytes(),
            &sha256(&public),
        ]);
        let eseed = expand::<64>(&prk, &info);
        example.shows(&format!("eseed {index}"), eseed);
        // What the draft calls EncapsulateDerand: the code did the same.
        let key = x_wing::EncapsulationKey::try_from(public.as_slice()).unwrap();
        let (expected, shared) = key.encapsulate_deterministic((&eseed).into());
        assert_eq!(expected.as_slice(), ciphertext.as_slice());
        example.shows(&format!("SHA-256(ct {index})"), sha256(ciphertext));
        example.shows(&format!("ss {index}"), pair.decapsulate(ciphertext).expose());
        assert_eq!(shared.as_slice(), pair.decapsulate(ciphertext).expose());
    }
    example.shows("session", story.session.id());

    example.agrees(&fragment, "sctx");
    example.agrees(&fragment, "dd");
    for (place, (index, _, key)) in story.fragments().iter().enumerate() {
        example.shows(&format!("K_{index}"), key.expose());
        example.shows(&format!("sealed_{index}"), story.dealt.sealed[place]);
    }

    let node: u16 = example.number("node");
    let (k_token, state_key) = (secret(example.array("K_token")), secret(example.array("state key")));
    let kek = own::kek(&k_token, None, &scope.cluster, node, example.number("generation"));
    example.shows("KEK", kek.expose());
    example.shows("wrapped state key", own::wrap(&kek, &state_key).unwrap());
    let e_0 = secret(example.array("E_0"));
    let dealing = story.dealing();
    let at_rest = own::seal_own_fragment(
        &Portable,
        &e_0,
        dealing.sctx(),
        dealing.dd(),
        &story.fragments()[usize::from(node) - 1].1,
    );
    example.shows("at rest", at_rest.unwrap());
    example.finish();
}
