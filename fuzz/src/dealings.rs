//! Dealings, sealed fragments and sealing sessions.

use arbitrary::{Arbitrary, Unstructured};
use symbolon_crypto::context::ValueContext;
use symbolon_crypto::dealing::{
    Dealing, Fragment, SealedFragment, Unchecked, check_fragment, judge_complaint, open_fragment, parse_sealed,
};
use symbolon_crypto::own::open_own_fragment;
use symbolon_crypto::provider::Portable;
use symbolon_crypto::sealing::{
    SEALING_CIPHERTEXT_BYTES, SealingKeyPair, SealingPublicKey, SessionScope, fragment_key, session_id,
};
use symbolon_crypto::secret::Secret;
use symbolon_wire::{Message, v1};

use crate::stage::base;

/// The public half of a dealing, as a put brings it.
pub(crate) fn dealing(data: &[u8]) {
    let Ok(put) = v1::PutSecret::decode(data) else { return };
    let base = base();
    let value = ValueContext {
        cluster: base.roster.cluster.bytes(),
        tenant: base.roster.first_tenant.bytes(),
        secret: &[7; 16],
        version: put.version,
        author: &[8; 16],
        write_nonce: &[9; 32],
    };
    let unchecked = Unchecked {
        header: &put.header,
        ciphertext: &put.ciphertext,
        key_commitment: &put.key_commitment,
        commitments: &put.commitments,
        z: &put.z,
    };
    let sealed = parse_sealed(&base.sharing, &put.sealed);
    let Ok(dealing) = Dealing::parse(&value, &[8; 16], &base.sharing, &unchecked) else {
        return;
    };
    assert_eq!(dealing.header(), put.header.as_ref());
    let key = Secret::fill(|bytes: &mut [u8; 32]| bytes.copy_from_slice(&put.key_commitment));
    for (index, sealed) in (1..).zip(sealed.unwrap_or_default()) {
        if let Ok(fragment) = open_fragment(&Portable, &key, dealing.dd(), &sealed) {
            let _ = check_fragment(&dealing, index, fragment);
        }
        let _ = judge_complaint(&Portable, &dealing, index, &sealed, &key);
    }
}

#[derive(Arbitrary, Debug)]
struct Pieces<'a> {
    key: [u8; 32],
    dd: [u8; 32],
    index: u16,
    sealed: [u8; 80],
    fragment: [u8; 64],
    epoch: u64,
    rest: &'a [u8],
}

/// Fragments, their seals, and a sealing session's ciphertexts.
pub(crate) fn fragment(data: &[u8]) {
    let Ok(pieces) = Pieces::arbitrary_take_rest(Unstructured::new(data)) else {
        return;
    };
    let key = Secret::fill(|bytes: &mut [u8; 32]| *bytes = pieces.key);
    let sealed: SealedFragment = pieces.sealed;
    let _ = open_fragment(&Portable, &key, &pieces.dd, &sealed);
    let _ = open_own_fragment(&Portable, &key, &pieces.dd, &pieces.key, &sealed);
    if let Ok(found) = Fragment::from_slice(&pieces.fragment) {
        assert_eq!(found.expose(), &pieces.fragment, "a fragment has one encoding");
    }
    let _ = Fragment::from_slice(pieces.rest);
    if let Ok(public) = SealingPublicKey::parse(pieces.rest) {
        assert_eq!(
            public.to_bytes().as_slice(),
            pieces.rest,
            "a sealing key has one encoding"
        );
    }
    let Some(ciphertext) = pieces.rest.first_chunk::<SEALING_CIPHERTEXT_BYTES>() else {
        return;
    };
    let scope = SessionScope {
        cluster: [1; 16],
        dealer: [2; 16],
        epoch: pieces.epoch,
        roster_hash: pieces.dd,
    };
    let session = session_id(&scope, std::slice::from_ref(ciphertext));
    let pair = SealingKeyPair::from_seed(&key);
    let shared = pair.decapsulate(ciphertext);
    let once = fragment_key(&shared, &session, &pieces.dd, pieces.index);
    let twice = fragment_key(&pair.decapsulate(ciphertext), &session, &pieces.dd, pieces.index);
    assert_eq!(once.expose(), twice.expose(), "a ciphertext gives one key");
    assert!(
        open_fragment(&Portable, &once, &pieces.dd, &sealed).is_err(),
        "nobody made this tag"
    );
}
