//! RFC 9380: `expand_message_xmd` with SHA-256 (appendix K.1) and hashing to P-256 (J.1.1), and RFC 9497's hashing into the
//! scalar field (A.3), which is how a dealing's challenge is made.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::num::NonZero;

use hash2curve::{ExpandMsg, ExpandMsgXmd, Expander};
use p256::{
    NistP256, Scalar,
    elliptic_curve::{
        consts::{U16, U48},
        sec1::ToSec1Point,
    },
};
use sha2::Sha256;

fn q128() -> Vec<u8> {
    [b"q128_".as_slice(), &[b'q'; 128]].concat()
}

fn a512() -> Vec<u8> {
    [b"a512_".as_slice(), &[b'a'; 512]].concat()
}

#[test]
fn expand_message_xmd_reproduces_appendix_k_1() {
    let cases: [(&[u8], &str); 10] = [
        (b"", "68a985b87eb6b46952128911f2a4412bbc302a9d759667f87f7a21d803f07235"),
        (
            b"abc",
            "d8ccab23b5985ccea865c6c97b6e5b8350e794e603b4b97902f53a8a0d605615",
        ),
        (
            b"abcdef0123456789",
            "eff31487c770a893cfb36f912fbfcbff40d5661771ca4b2cb4eafe524333f5c1",
        ),
        (
            &q128(),
            "b23a1d2b4d97b2ef7785562a7e8bac7eed54ed6e97e29aa51bfe3f12ddad1ff9",
        ),
        (
            &a512(),
            "4623227bcc01293b8c130bf771da8c298dede7383243dc0993d2d94823958c4c",
        ),
        (
            b"",
            "af84c27ccfd45d41914fdff5df25293e221afc53d8ad2ac06d5e3e29485dadbee0d121587713a3e0dd4d5e69e93eb7cd4f5df4cd103e188cf60cb02edc3edf18eda8576c412b18ffb658e3dd6ec849469b979d444cf7b26911a08e63cf31f9dcc541708d3491184472c2c29bb749d4286b004ceb5ee6b9a7fa5b646c993f0ced",
        ),
        (
            b"abc",
            "abba86a6129e366fc877aab32fc4ffc70120d8996c88aee2fe4b32d6c7b6437a647e6c3163d40b76a73cf6a5674ef1d890f95b664ee0afa5359a5c4e07985635bbecbac65d747d3d2da7ec2b8221b17b0ca9dc8a1ac1c07ea6a1e60583e2cb00058e77b7b72a298425cd1b941ad4ec65e8afc50303a22c0f99b0509b4c895f40",
        ),
        (
            b"abcdef0123456789",
            "ef904a29bffc4cf9ee82832451c946ac3c8f8058ae97d8d629831a74c6572bd9ebd0df635cd1f208e2038e760c4994984ce73f0d55ea9f22af83ba4734569d4bc95e18350f740c07eef653cbb9f87910d833751825f0ebefa1abe5420bb52be14cf489b37fe1a72f7de2d10be453b2c9d9eb20c7e3f6edc5a60629178d9478df",
        ),
        (
            &q128(),
            "80be107d0884f0d881bb460322f0443d38bd222db8bd0b0a5312a6fedb49c1bbd88fd75d8b9a09486c60123dfa1d73c1cc3169761b17476d3c6b7cbbd727acd0e2c942f4dd96ae3da5de368d26b32286e32de7e5a8cb2949f866a0b80c58116b29fa7fabb3ea7d520ee603e0c25bcaf0b9a5e92ec6a1fe4e0391d1cdbce8c68a",
        ),
        (
            &a512(),
            "546aff5444b5b79aa6148bd81728704c32decb73a3ba76e9e75885cad9def1d06d6792f8a7d12794e90efed817d96920d728896a4510864370c207f99bd4a608ea121700ef01ed879745ee3e4ceef777eda6d9e5e38b90c86ea6fb0b36504ba4a45d22e86f6db5dd43d98a294bebb9125d5b794e9d2a81181066eb954966a487",
        ),
    ];
    for (message, expected) in cases {
        let length = NonZero::new(u16::try_from(expected.len() / 2).unwrap()).unwrap();
        let dst = [b"QUUX-V01-CS02-with-expander-SHA256-128".as_slice()];
        let message = [message];
        let mut expander = <ExpandMsgXmd<Sha256> as ExpandMsg<U16>>::expand_message(&message, &dst, length).unwrap();
        let mut bytes = vec![0; expected.len() / 2];
        expander.fill_bytes(&mut bytes).unwrap();
        assert_eq!(hex::encode(bytes), expected);
    }
}

#[test]
fn hashing_to_p256_reproduces_appendix_j_1_1() {
    let cases: [(&[u8], &str, &str); 5] = [
        (
            b"",
            "2c15230b26dbc6fc9a37051158c95b79656e17a1a920b11394ca91c44247d3e4",
            "8a7a74985cc5c776cdfe4b1f19884970453912e9d31528c060be9ab5c43e8415",
        ),
        (
            b"abc",
            "0bb8b87485551aa43ed54f009230450b492fead5f1cc91658775dac4a3388a0f",
            "5c41b3d0731a27a7b14bc0bf0ccded2d8751f83493404c84a88e71ffd424212e",
        ),
        (
            b"abcdef0123456789",
            "65038ac8f2b1def042a5df0b33b1f4eca6bff7cb0f9c6c1526811864e544ed80",
            "cad44d40a656e7aff4002a8de287abc8ae0482b5ae825822bb870d6df9b56ca3",
        ),
        (
            &q128(),
            "4be61ee205094282ba8a2042bcb48d88dfbb609301c49aa8b078533dc65a0b5d",
            "98f8df449a072c4721d241a3b1236d3caccba603f916ca680f4539d2bfb3c29e",
        ),
        (
            &a512(),
            "457ae2981f70ca85d8e24c308b14db22f3e3862c5ea0f652ca38b5e49cd64bc5",
            "ecb9f0eadc9aeed232dabc53235368c1394c78de05dd96893eefa62b0f4757dc",
        ),
    ];
    let dst = [b"QUUX-V01-CS02-with-P256_XMD:SHA-256_SSWU_RO_".as_slice()];
    for (message, x, y) in cases {
        let point = hash2curve::hash_from_bytes::<NistP256, ExpandMsgXmd<Sha256>>(&[message], &dst).unwrap();
        assert_eq!(
            hex::encode(point.to_affine().to_sec1_point(false).as_bytes()),
            format!("04{x}{y}")
        );
    }
}

/// DeriveKeyPair of RFC 9497 (3.2.1) is `hash_to_field` into the scalars of P-256, 48 bytes reduced, as our challenge is.
#[test]
fn hashing_into_the_scalars_reproduces_rfc_9497_a_3() {
    let cases = [
        (0u8, "159749d750713afe245d2d39ccfaae8381c53ce92d098a9375ee70739c7ac0bf"),
        (1, "ca5d94c8807817669a51b196c34c1b7f8442fde4334a7121ae4736364312fca6"),
        (2, "6ad2173efa689ef2c27772566ad7ff6e2d59b3b196f00219451fb2c89ee4dae2"),
    ];
    for (mode, expected) in cases {
        let dst = [b"DeriveKeyPairOPRFV1-", [mode].as_slice(), b"-P256-SHA256"].concat();
        let input = [&[0xa3; 32], 8u16.to_be_bytes().as_slice(), b"test key", &[0]].concat();
        let scalar: Scalar =
            hash2curve::hash_to_scalar::<NistP256, ExpandMsgXmd<Sha256>, U48>(&[&input], &[&dst]).unwrap();
        assert_eq!(hex::encode(scalar.to_bytes()), expected);
    }
}
