//! One request and its answer, on a QUIC stream of their own: what clients and nodes do alike.
#![forbid(unsafe_code)]

use bytes::Bytes;
use quinn::{Connection, ConnectionError, ReadError, ReadToEndError, SendStream, WriteError};
use std::pin::pin;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// Nothing was sent.
    #[error(transparent)]
    NotSent(ConnectionError),
    /// Whether the request arrived is not known.
    #[error(transparent)]
    Sending(WriteError),
    /// The request was sent.
    #[error(transparent)]
    Waiting(ReadError),
    /// It has more than so many bytes.
    #[error("an answer of more than {0} bytes")]
    TooLong(usize),
}

/// Sends `request` and gives the answer, also one that comes before the other end has taken all of the request: it says
/// why it takes no more. Dropped before all is sent, it leaves nothing that the other end takes for a whole request.
///
/// # Errors
/// [`NoAnswer`], for an answer of more than `bytes_max` as well.
pub async fn exchange(connection: &Connection, request: Bytes, bytes_max: usize) -> Result<Vec<u8>, NoAnswer> {
    let (stream, mut receive) = connection.open_bi().await.map_err(NoAnswer::NotSent)?;
    let mut sending = Sending { stream, whole: false };
    let mut answer = pin!(receive.read_to_end(bytes_max));
    let answered = tokio::select! {
        biased;
        sent = sending.all(request) => {
            sent.map_err(NoAnswer::Sending)?;
            answer.await
        }
        // While a stream waits for room on the connection, quinn does not say that the other end has stopped reading it.
        early = &mut answer => early,
    };
    answered.map_err(|error| match error {
        ReadToEndError::TooLong => NoAnswer::TooLong(bytes_max),
        ReadToEndError::Read(error) => NoAnswer::Waiting(error),
    })
}

/// A request under way. quinn ends a stream that is dropped as if all had been said.
struct Sending {
    stream: SendStream,
    whole: bool,
}

impl Sending {
    async fn all(&mut self, request: Bytes) -> Result<(), WriteError> {
        match self.stream.write_chunk(request).await {
            Ok(()) => {
                self.whole = true;
                // Fails only for a stream that was ended before.
                let _ = self.stream.finish();
                Ok(())
            }
            Err(WriteError::Stopped(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        if !self.whole {
            // Fails only for a stream that was ended before.
            let _ = self.stream.reset(0_u32.into());
        }
    }
}
