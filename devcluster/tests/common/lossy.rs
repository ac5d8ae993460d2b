//! A socket that leaves out of what it is given to send whatever a rule says: for connections that stop half-way and
//! streams with gaps, which no QUIC library sends by itself.

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, Endpoint, EndpointConfig, Runtime, TokioRuntime, UdpPoller};
use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// An endpoint whose datagrams are lost where `lost` says so.
pub fn endpoint(address: &str, lost: impl Fn(&[u8]) -> bool + Send + Sync + 'static) -> Endpoint {
    let socket = std::net::UdpSocket::bind(address).unwrap();
    socket.set_nonblocking(true).unwrap();
    let socket = Lossy {
        socket: TokioRuntime.wrap_udp_socket(socket).unwrap(),
        lost: Box::new(lost),
    };
    Endpoint::new_with_abstract_socket(
        EndpointConfig::default(),
        None,
        Arc::new(socket),
        Arc::new(TokioRuntime),
    )
    .unwrap()
}

/// Whether a datagram is lost.
type Rule = Box<dyn Fn(&[u8]) -> bool + Send + Sync>;

struct Lossy {
    socket: Arc<dyn AsyncUdpSocket>,
    lost: Rule,
}

impl fmt::Debug for Lossy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.socket.fmt(f)
    }
}

impl AsyncUdpSocket for Lossy {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.socket).create_io_poller()
    }

    // One datagram each: `max_transmit_segments` stays 1.
    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        if (self.lost)(transmit.contents) {
            return Ok(());
        }
        self.socket.try_send(transmit)
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.socket.poll_recv(context, buffers, meta)
    }

    fn max_receive_segments(&self) -> usize {
        self.socket.max_receive_segments()
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}
