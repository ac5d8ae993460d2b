//! Asks a node's HTTP port: health, readiness, metrics. One request, one short answer on the loopback, so no HTTP library.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::limits::{HTTP_BYTES_MAX, HTTP_WITHIN};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The connection failed, which it does until the node listens.
    #[error("http://{address}{path}: {source}")]
    Io {
        /// Whom we asked.
        address: SocketAddr,
        /// What for.
        path: String,
        /// The system's reason.
        source: io::Error,
    },
    /// It took too long.
    #[error("http://{address}{path}: no answer within {} s", HTTP_WITHIN.as_secs())]
    Late {
        /// Whom we asked.
        address: SocketAddr,
        /// What for.
        path: String,
    },
    /// What came is not HTTP.
    #[error("http://{address}{path}: the answer is not HTTP")]
    NotHttp {
        /// Whom we asked.
        address: SocketAddr,
        /// What for.
        path: String,
    },
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// 200 and the like.
    pub status: u16,
    /// The body; anything past [`HTTP_BYTES_MAX`] is left out.
    pub body: String,
}

/// `GET path`.
///
/// # Errors
/// [`HttpError`].
pub async fn get(address: SocketAddr, path: &str) -> Result<Answer, HttpError> {
    let path = path.to_owned();
    let bytes = match timeout(HTTP_WITHIN, exchange(address, &path)).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(source)) => return Err(HttpError::Io { address, path, source }),
        Err(_) => return Err(HttpError::Late { address, path }),
    };
    parse(&String::from_utf8_lossy(&bytes)).ok_or(HttpError::NotHttp { address, path })
}

async fn exchange(address: SocketAddr, path: &str) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    // HTTP/1.0: the body ends with the connection, so there is nothing to decode.
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut bytes = Vec::new();
    stream.take(HTTP_BYTES_MAX).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

fn parse(answer: &str) -> Option<Answer> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head
        .lines()
        .next()?
        .strip_prefix("HTTP/1.")?
        .split(' ')
        .nth(1)?
        .parse()
        .ok()?;
    Some(Answer {
        status,
        body: body.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_body_are_taken_apart() {
        let answer = parse("HTTP/1.1 503 Service Unavailable\r\nx: y\r\n\r\n{\"state\":\"sealed\"}\r\n\r\n");
        assert_eq!(
            answer,
            Some(Answer {
                status: 503,
                body: "{\"state\":\"sealed\"}\r\n\r\n".into()
            })
        );
    }

    #[test]
    fn what_is_not_http_is_refused() {
        for bad in ["", "SSH-2.0-x\r\n\r\n", "HTTP/1.1 abc\r\n\r\n", "HTTP/1.1 200 OK\r\n"] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }

    #[tokio::test]
    async fn nobody_listening_is_an_error_that_names_the_address() {
        let free = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let error = get(free, "/ready").await.unwrap_err().to_string();
        assert!(error.contains(&free.to_string()) && error.contains("/ready"), "{error}");
    }
}
