//! The one message with key material: a read reply and the fragment that follows it.

use crate::frame::{DEPTH, FrameError, check_fields};
use crate::limits::{RESPONSE_BYTES_MAX, RESPONSE_FIELDS_MAX};
use crate::v1;
use bytes::Bytes;
use prost::Message;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A released fragment, s_i ‖ γ_i: redacted, wiped when dropped.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct ReleasedFragment(Box<[u8; 64]>);

impl ReleasedFragment {
    /// Takes the bytes over.
    pub fn new(bytes: Box<[u8; 64]>) -> Self {
        Self(bytes)
    }

    /// The bytes: only for the stream that carries them, and for the reader that combines them.
    pub fn expose(&self) -> &[u8; 64] {
        &self.0
    }
}

impl std::fmt::Debug for ReleasedFragment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ReleasedFragment(..)")
    }
}

/// A buffer that is wiped when dropped: an encoded response may hold a fragment.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct ResponseFrame(Vec<u8>);

impl AsRef<[u8]> for ResponseFrame {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Encodes `u32be(length) ‖ message ‖ fragment`. One exact allocation, so that no copy stays behind.
pub fn encode_response(message: &v1::Response, fragment: Option<&ReleasedFragment>) -> ResponseFrame {
    let length = message.encoded_len();
    let mut frame = Vec::with_capacity(4 + length + 64);
    frame.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    message.encode_raw(&mut frame);
    if let Some(fragment) = fragment {
        frame.extend_from_slice(fragment.expose());
    }
    ResponseFrame(frame)
}

/// Decodes what [`encode_response`] made. The caller's buffer is wiped: it may have held a fragment. Only a read reply
/// can carry one.
pub fn decode_response(mut frame: Vec<u8>) -> Result<(v1::Response, Option<ReleasedFragment>), FrameError> {
    let decoded = split_response(&frame);
    frame.zeroize();
    decoded
}

fn split_response(frame: &[u8]) -> Result<(v1::Response, Option<ReleasedFragment>), FrameError> {
    if frame.len() > RESPONSE_BYTES_MAX {
        return Err(FrameError::TooLarge {
            bytes: frame.len(),
            limit: RESPONSE_BYTES_MAX,
        });
    }
    let (length, rest) = frame.split_first_chunk::<4>().ok_or(FrameError::NotProtobuf)?;
    let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| FrameError::NotProtobuf)?;
    let (message, fragment) = rest.split_at_checked(length).ok_or(FrameError::NotProtobuf)?;
    check_fields(message, DEPTH, RESPONSE_FIELDS_MAX)?;
    let message = v1::Response::decode(Bytes::copy_from_slice(message)).map_err(|_| FrameError::NotProtobuf)?;
    let is_read = matches!(message.result, Some(v1::response::Result::Read(_)));
    let fragment = match fragment.len() {
        0 => None,
        64 if is_read => {
            let mut bytes = Box::new([0; 64]);
            bytes.copy_from_slice(fragment);
            Some(ReleasedFragment::new(bytes))
        }
        _ => return Err(FrameError::NotProtobuf),
    };
    Ok((message, fragment))
}
