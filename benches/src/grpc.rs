//! As much gRPC as a put needs: one request and one answer on an HTTP/2 stream of a connection that is kept.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use http::Request;
use prost::Message;
use std::net::SocketAddr;
use tokio::net::TcpStream;

/// Longest answer that is taken, bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

#[derive(Debug, thiserror::Error)]
pub(crate) enum GrpcError {
    #[error("the connection: {0}")]
    Io(#[from] std::io::Error),
    #[error("HTTP/2: {0}")]
    Http2(#[from] h2::Error),
    #[error("the request: {0}")]
    Request(#[from] http::Error),
    #[error("the call was answered with grpc-status {0}")]
    Status(String),
    #[error("the answer is too long, cut short or does not decode")]
    Answer,
}

/// `etcdserverpb.PutRequest`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct PutRequest {
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) value: Bytes,
}

/// `etcdserverpb.PutResponse`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct PutResponse {
    #[prost(message, optional, tag = "1")]
    pub(crate) header: Option<Header>,
}

/// `etcdserverpb.ResponseHeader`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Header {
    #[prost(uint64, tag = "2")]
    pub(crate) member_id: u64,
    #[prost(int64, tag = "3")]
    pub(crate) revision: i64,
}

/// `etcdserverpb.StatusRequest`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct LeaderRequest {}

/// `etcdserverpb.StatusResponse`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct LeaderStatus {
    #[prost(message, optional, tag = "1")]
    pub(crate) header: Option<Header>,
    #[prost(uint64, tag = "4")]
    pub(crate) leader: u64,
}

/// One HTTP/2 connection; clones share it.
#[derive(Clone)]
pub(crate) struct Connection {
    send: SendRequest<Bytes>,
    authority: String,
}

impl Connection {
    pub(crate) async fn open(to: SocketAddr) -> Result<Self, GrpcError> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        let (send, connection) = h2::client::handshake(stream).await?;
        // Ends with the last handle; what goes wrong with it goes wrong with every call.
        tokio::spawn(async move { connection.await.ok() });
        Ok(Self {
            send,
            authority: to.to_string(),
        })
    }

    pub(crate) async fn call<A: Message + Default>(&self, path: &str, message: &impl Message) -> Result<A, GrpcError> {
        let request = Request::post(format!("http://{}{path}", self.authority))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())?;
        let mut send = self.send.clone().ready().await?;
        let (answer, mut body) = send.send_request(request, false)?;
        body.send_data(framed(message), true)?;
        let answer = answer.await?;
        refused(answer.headers())?;
        let mut stream = answer.into_body();
        let mut bytes = BytesMut::new();
        while let Some(chunk) = stream.data().await {
            let chunk = chunk?;
            stream.flow_control().release_capacity(chunk.len())?;
            if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(GrpcError::Answer);
            }
            bytes.extend_from_slice(&chunk);
        }
        if let Some(trailers) = stream.trailers().await? {
            refused(&trailers)?;
        }
        unframed(bytes.freeze())
    }
}

fn refused(headers: &http::HeaderMap) -> Result<(), GrpcError> {
    match headers.get("grpc-status").map(|status| status.as_bytes()) {
        None | Some(b"0") => Ok(()),
        Some(other) => Err(GrpcError::Status(String::from_utf8_lossy(other).into_owned())),
    }
}

/// Not compressed (0), length, message.
fn framed(message: &impl Message) -> Bytes {
    let encoded = message.encode_to_vec();
    let mut frame = BytesMut::with_capacity(5 + encoded.len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(encoded.len()).unwrap_or(u32::MAX));
    frame.extend_from_slice(&encoded);
    frame.freeze()
}

fn unframed<A: Message + Default>(mut frame: Bytes) -> Result<A, GrpcError> {
    let (Ok(0), Ok(length)) = (frame.try_get_u8(), frame.try_get_u32()) else {
        return Err(GrpcError::Answer);
    };
    if usize::try_from(length) != Ok(frame.remaining()) {
        return Err(GrpcError::Answer);
    }
    A::decode(frame).map_err(|_| GrpcError::Answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put() -> PutRequest {
        PutRequest {
            key: Bytes::from_static(b"k"),
            value: Bytes::from_static(b"v"),
        }
    }

    #[test]
    fn a_put_is_encoded_as_the_protocol_says() {
        assert_eq!(framed(&put()).as_ref(), b"\x00\x00\x00\x00\x06\x0a\x01k\x12\x01v");
    }

    #[test]
    fn an_answer_that_is_cut_short_is_refused() {
        let frame = framed(&put());
        assert_eq!(unframed::<PutRequest>(frame.clone()).unwrap(), put());
        for length in 0..frame.len() {
            assert!(unframed::<PutRequest>(frame.slice(..length)).is_err(), "{length}");
        }
    }

    #[test]
    fn a_refused_call_is_no_success() {
        let mut headers = http::HeaderMap::new();
        assert!(refused(&headers).is_ok());
        headers.insert("grpc-status", http::HeaderValue::from_static("14"));
        assert!(refused(&headers).is_err());
    }
}
