//! Padmé padding of values (Nikitin et al., PETS 2019): the size shown has only ⌊log2 log2 size⌋+1 free bits at its top,
//! at least 256 bytes. Padding is u32be(length) ‖ value ‖ zeros; anything else is refused on opening.

use thiserror::Error;

use crate::{
    limits::{PADDED_BYTES_MIN, VALUE_BYTES_MAX},
    secret::SecretBytes,
};

/// The length in front of the value, in bytes.
pub const LENGTH_BYTES: usize = 4;

/// The value is too long to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the value has {value_bytes} bytes, more than the {value_bytes_max} allowed; store a reference to it instead")]
pub struct ValueTooLong {
    /// Bytes of the value.
    pub value_bytes: usize,
    /// Bytes allowed.
    pub value_bytes_max: usize,
}

/// The padding is not the one that padding makes. Only the author can have made it so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BadPadding {
    /// Not the padded size of the length inside.
    #[error("the padded value has another size than its length asks for")]
    Size,
    /// Bytes other than zero after the value.
    #[error("the padding holds bytes other than zero")]
    NotZero,
}

/// The padded size of a body of `len` bytes (the value and [`LENGTH_BYTES`]).
#[must_use]
pub const fn padded_len(len: usize) -> usize {
    let size = if len < PADDED_BYTES_MIN { PADDED_BYTES_MIN } else { len };
    let exponent = size.ilog2();
    let free_bits = exponent.ilog2() + 1;
    let mask = (1usize << (exponent - free_bits)) - 1;
    (size + mask) & !mask
}

/// Whether `len` is a size that padding gives.
#[must_use]
pub const fn is_padme_size(len: usize) -> bool {
    len >= PADDED_BYTES_MIN && padded_len(len) == len
}

/// Pads `value`, which may have up to `max` bytes (at most [`VALUE_BYTES_MAX`]). The result has room for a tag, so that
/// it can be encrypted in place.
///
/// # Errors
/// [`ValueTooLong`].
pub fn pad(value: &[u8], max: usize) -> Result<SecretBytes, ValueTooLong> {
    let value_bytes_max = max.min(VALUE_BYTES_MAX);
    let too_long = ValueTooLong {
        value_bytes: value.len(),
        value_bytes_max,
    };
    if value.len() > value_bytes_max {
        return Err(too_long);
    }
    let length = u32::try_from(value.len()).map_err(|_| too_long)?;
    let size = padded_len(LENGTH_BYTES + value.len());
    let mut body = Vec::with_capacity(size + crate::limits::TAG_BYTES);
    body.extend_from_slice(&length.to_be_bytes());
    body.extend_from_slice(value);
    body.resize(size, 0);
    Ok(SecretBytes::from_vec(body))
}

/// Takes the value out of its padding.
///
/// # Errors
/// [`BadPadding`], if padding the value would not give these very bytes.
pub fn unpad(padded: &[u8]) -> Result<SecretBytes, BadPadding> {
    let (length, rest) = padded.split_first_chunk::<LENGTH_BYTES>().ok_or(BadPadding::Size)?;
    let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| BadPadding::Size)?;
    let (value, zeros) = rest.split_at_checked(length).ok_or(BadPadding::Size)?;
    if padded_len(LENGTH_BYTES + length) != padded.len() {
        return Err(BadPadding::Size);
    }
    if zeros.iter().fold(0, |all, byte| all | byte) != 0 {
        return Err(BadPadding::NotZero);
    }
    Ok(SecretBytes::copy_from(value))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::limits::PADDED_BYTES_MAX;

    #[test]
    fn sizes_are_those_of_padme_with_a_floor() {
        for (len, size) in [
            (0, 256),
            (256, 256),
            (257, 272),
            (1000, 1024),
            (1025, 1088),
            (5004, 5120),
            (65_540, 67_584),
        ] {
            assert_eq!(padded_len(len), size, "{len}");
        }
        assert_eq!(PADDED_BYTES_MAX, 1_081_344);
    }

    #[test]
    fn a_size_below_the_floor_or_between_two_steps_is_none() {
        assert!(!is_padme_size(0) && !is_padme_size(128) && !is_padme_size(255) && !is_padme_size(257));
        assert!(is_padme_size(256) && is_padme_size(272));
    }

    #[test]
    fn a_value_past_the_limit_is_refused() {
        assert!(pad(&[0; 9], 8).is_err());
        assert!(pad(&vec![0; VALUE_BYTES_MAX], usize::MAX).is_ok());
        assert!(pad(&vec![0; VALUE_BYTES_MAX + 1], usize::MAX).is_err());
    }

    #[test]
    fn a_length_beyond_the_body_is_refused() {
        let mut body = pad(b"abc", 8).unwrap().into_vec();
        body[0] = 0xff;
        assert_eq!(unpad(&body).unwrap_err(), BadPadding::Size);
        assert_eq!(unpad(b"abc").unwrap_err(), BadPadding::Size);
    }

    #[test]
    fn another_size_than_the_length_asks_for_is_refused() {
        let mut body = pad(b"abc", 8).unwrap().into_vec();
        body.resize(272, 0);
        assert_eq!(unpad(&body).unwrap_err(), BadPadding::Size);
    }

    #[test]
    fn a_byte_other_than_zero_after_the_value_is_refused() {
        let body = pad(b"abc", 8).unwrap().into_vec();
        for place in 7..body.len() {
            let mut changed = body.clone();
            changed[place] = 1;
            assert_eq!(unpad(&changed).unwrap_err(), BadPadding::NotZero, "at {place}");
        }
    }

    proptest! {
        #[test]
        fn what_is_padded_comes_back(value in proptest::collection::vec(any::<u8>(), 0..3000)) {
            let padded = pad(&value, VALUE_BYTES_MAX).unwrap();
            prop_assert!(is_padme_size(padded.len()));
            let unpadded = unpad(padded.expose()).unwrap();
            prop_assert_eq!(unpadded.expose(), value.as_slice());
        }

        #[test]
        fn padding_is_idempotent_on_sizes_and_wastes_at_most_an_eighth(len in 256usize..10_000_000) {
            let size = padded_len(len);
            prop_assert!(size >= len && is_padme_size(size));
            prop_assert!((size - len) * 8 <= len);
        }
    }
}
