//! What unwrapping and opening leave in this process's memory: nothing.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

use std::{
    fs::{self, File},
    hint::black_box,
    os::unix::fs::FileExt,
};

use cryptoki::{
    context::Pkcs11,
    mechanism::Mechanism,
    object::{Attribute, AttributeType, KeyType, ObjectClass},
};
use symbolon_crypto::secret::Secret;
use symbolon_hsm::{KeyLabel, Pin, Pkcs11Root, RootOfTrust, TokenSelector, init_token};
use symbolon_softhsm_tests::{SoftHsm, in_own_process};

/// The secret is only ever written masked, so that this code holds no copy of it.
const MASK: u8 = 0x5c;

/// How often the second half of the secret stands in the writable memory of this process. The second, because the
/// allocator writes over the first bytes of what is freed.
fn copies(masked: &[u8; 32]) -> usize {
    let sought = &masked[16..];
    let memory = File::open("/proc/self/mem").unwrap();
    let mut count = 0;
    for line in fs::read_to_string("/proc/self/maps").unwrap().lines() {
        let mut words = line.split_whitespace();
        let (range, rights) = (words.next().unwrap(), words.next().unwrap());
        if !rights.starts_with("rw") {
            continue;
        }
        let (from, to) = range.split_once('-').unwrap();
        let [from, to] = [from, to].map(|address| u64::from_str_radix(address, 16).unwrap());
        let mut bytes = vec![0; usize::try_from(to - from).unwrap()];
        if memory.read_exact_at(&mut bytes, from).is_ok() {
            bytes.iter_mut().for_each(|byte| *byte ^= MASK);
            count += bytes.windows(sought.len()).filter(|window| *window == sought).count();
        }
        // What was read is in memory too: left there, it would be found in the next region.
        black_box(&mut bytes).fill(0);
    }
    count
}

#[test]
fn an_unwrapped_secret_is_wiped_wherever_it_was() {
    in_own_process("an_unwrapped_secret_is_wiped_wherever_it_was", |softhsm| {
        let root = softhsm.root("node");
        let label = KeyLabel::new("wrapping").unwrap();
        root.generate_wrapping_key(&label).unwrap();
        let mut masked = [0; 32];
        File::open("/dev/urandom")
            .unwrap()
            .read_exact_at(&mut masked, 0)
            .unwrap();
        let secret = Secret::fill(|bytes| bytes.iter_mut().zip(masked).for_each(|(to, byte)| *to = byte ^ MASK));
        assert!(copies(&masked) >= 1, "a secret that is held is found");
        let wrapped = root.wrap(&label, &secret).unwrap();
        drop(secret);
        assert_eq!(copies(&masked), 0, "wrapping left copies");

        let secret = root.unwrap(&label, &wrapped).unwrap();
        assert!(copies(&masked) >= 1, "a secret that is held is found");
        drop(secret);
        assert_eq!(copies(&masked), 0, "unwrapping left copies");

        // The shorter way, for comparison: this is why it is not taken.
        read_in_the_clear(softhsm, &wrapped);
        assert!(
            copies(&masked) >= 1,
            "reading CKA_VALUE now leaves no copy: unwrapping could be simpler"
        );
    });
}

#[test]
fn a_pin_is_wiped_when_the_token_is_open() {
    in_own_process("a_pin_is_wiped_when_the_token_is_open", |softhsm| {
        let masked = random(|byte| (b'a' + byte % 26) ^ MASK);
        let pin = || Pin::new(masked.iter().map(|byte| char::from(byte ^ MASK)).collect());
        let held = pin();
        assert!(copies(&masked) >= 1, "a PIN that is held is found");
        drop(held);
        init_token(softhsm.module(), "node", &pin(), &pin()).unwrap();
        assert_eq!(copies(&masked), 0, "initialising left copies");
        let root = Pkcs11Root::open(softhsm.module(), &TokenSelector::Label("node".to_owned()), pin()).unwrap();
        assert_eq!(copies(&masked), 0, "opening left copies");
        drop(root);
    });
}

fn random(shape: impl Fn(u8) -> u8) -> [u8; 32] {
    let mut bytes = [0; 32];
    File::open("/dev/urandom")
        .unwrap()
        .read_exact_at(&mut bytes, 0)
        .unwrap();
    bytes.map(shape)
}

/// Unwraps into an object that is not sensitive, reads its value, wipes the answer, destroys the object.
fn read_in_the_clear(softhsm: &SoftHsm, wrapped: &[u8]) {
    let raw = Pkcs11::new(softhsm.module()).unwrap();
    let session = raw.open_rw_session(raw.get_slots_with_token().unwrap()[0]).unwrap();
    let key = session
        .find_objects(&[Attribute::Class(ObjectClass::SECRET_KEY)])
        .unwrap()[0];
    let template = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::GENERIC_SECRET),
        Attribute::Token(false),
        Attribute::Sensitive(false),
        Attribute::Extractable(true),
    ];
    let object = session
        .unwrap_key(&Mechanism::AesKeyWrap, key, wrapped, &template)
        .unwrap();
    for mut attribute in session.get_attributes(object, &[AttributeType::Value]).unwrap() {
        let Attribute::Value(value) = &mut attribute else {
            continue;
        };
        black_box(value).fill(0);
    }
    session.destroy_object(object).unwrap();
}
