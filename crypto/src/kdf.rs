//! HKDF-SHA-256 (RFC 5869) over secrets: what comes out is a [`Secret`], what lies between is wiped.

use hkdf::{Hkdf, HkdfExtract};
use sha2::Sha256;
use zeroize::Zeroize;

use crate::{enc, secret::Secret};

/// A pseudorandom key, ready to expand. Its state is wiped on drop (feature `zeroize` of `hmac` and `sha2`).
pub(crate) struct Prk(Hkdf<Sha256>);

impl Prk {
    /// HKDF-Extract of `salt` and the concatenation of `ikm`.
    pub(crate) fn extract(salt: &[u8], ikm: &[&[u8]]) -> Self {
        let mut extract = HkdfExtract::<Sha256>::new(Some(salt));
        for part in ikm {
            extract.input_ikm(part);
        }
        Self::finish(extract)
    }

    /// HKDF-Extract of `salt` and `enc(ikm)`, which is never gathered in a buffer.
    pub(crate) fn extract_enc(salt: &[u8], ikm: &[&[u8]]) -> Self {
        let mut extract = HkdfExtract::<Sha256>::new(Some(salt));
        enc::each_part(ikm, |part| extract.input_ikm(part));
        Self::finish(extract)
    }

    fn finish(extract: HkdfExtract<Sha256>) -> Self {
        let (mut bytes, prk) = extract.finalize();
        bytes.as_mut_slice().zeroize();
        Self(prk)
    }

    /// A key that is uniform already and so needs no extraction.
    pub(crate) fn from_key(key: &Secret<32>) -> Self {
        #[expect(
            clippy::expect_used,
            reason = "32 bytes are the output length of SHA-256, all that is asked for"
        )]
        Self(Hkdf::from_prk(key.expose()).expect("a key of 32 bytes"))
    }

    /// HKDF-Expand with the concatenation of `info`.
    pub(crate) fn expand<const N: usize>(&self, info: &[&[u8]]) -> Secret<N> {
        const { assert!(N <= 255 * 32, "HKDF-SHA-256 gives at most 255 blocks") };
        #[expect(
            clippy::expect_used,
            reason = "the only failing case is ruled out when compiling, just above"
        )]
        Secret::fill(|out| self.0.expand_multi_info(info, out).expect("a short output"))
    }

    /// HKDF-Expand with `enc(info)`.
    pub(crate) fn expand_enc<const N: usize>(&self, info: &[&[u8]]) -> Secret<N> {
        self.expand(&[&enc::enc(info)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        hex::decode(hex).unwrap()
    }

    #[test]
    fn reproduces_rfc_5869_a1() {
        let prk = Prk::extract(&bytes("000102030405060708090a0b0c"), &[&[0x0b; 22]]);
        let okm = prk.expand::<42>(&[&bytes("f0f1f2f3f4f5f6f7f8f9")]);
        let expected = "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865";
        assert_eq!(hex::encode(okm.expose()), expected);
    }

    #[test]
    fn reproduces_rfc_5869_a2_with_salt_ikm_and_info_in_parts() {
        let (ikm, salt, info): (Vec<u8>, Vec<u8>, Vec<u8>) = (
            (0x00..=0x4f).collect(),
            (0x60..=0xaf).collect(),
            (0xb0..=0xff).collect(),
        );
        let prk = Prk::extract(&salt, &[&ikm[..7], &ikm[7..]]);
        let okm = prk.expand::<82>(&[&info[..1], &info[1..]]);
        let expected = "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09\
                        da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87";
        assert_eq!(hex::encode(okm.expose()), expected);
    }

    #[test]
    fn reproduces_rfc_5869_a3_with_empty_salt_and_info() {
        let okm = Prk::extract(b"", &[&[0x0b; 22]]).expand::<42>(&[]);
        let expected = "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8";
        assert_eq!(hex::encode(okm.expose()), expected);
    }

    #[test]
    fn expanding_a_key_is_expanding_it_as_the_pseudorandom_key() {
        let prk = Secret::<32>::fill(|b| {
            b.copy_from_slice(&bytes(
                "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5",
            ));
        });
        let okm = Prk::from_key(&prk).expand::<42>(&[&bytes("f0f1f2f3f4f5f6f7f8f9")]);
        assert!(hex::encode(okm.expose()).starts_with("3cb25f25faacd57a90434f64d0362f2a"));
    }

    #[test]
    fn encoded_input_is_that_of_enc() {
        let whole = Prk::extract(b"salt", &[&enc::enc(&[b"a", b"bc"])]).expand::<32>(&[&enc::enc(&[b"d"])]);
        let parts = Prk::extract_enc(b"salt", &[b"a", b"bc"]).expand_enc::<32>(&[b"d"]);
        assert!(whole.ct_eq(&parts));
    }
}
