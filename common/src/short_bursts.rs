//! Owns how many datagrams leave a port in one call where many connections share it.
//!
//! The library lets a connection hand over ten at once, and makes room for that many when it first sends; the room stays for as
//! long as the connection does. On a port of ten thousand connections, each of which says little, that is a fifth of what they
//! allocate.
//!
//! Must not: change anything else about a socket.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};

/// As many as the longest flight of a handshake has. What is more leaves in several calls.
const BURST_MAX: usize = 2;

/// A socket that takes at most [`BURST_MAX`] datagrams in one call.
#[derive(Debug)]
pub(crate) struct ShortBursts(Arc<dyn AsyncUdpSocket>);

impl ShortBursts {
    /// The same socket otherwise.
    pub(crate) fn of(socket: Arc<dyn AsyncUdpSocket>) -> Arc<dyn AsyncUdpSocket> {
        Arc::new(Self(socket))
    }
}

impl AsyncUdpSocket for ShortBursts {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.0).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.0.try_send(transmit)
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_recv(context, buffers, meta)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.0.max_transmit_segments().min(BURST_MAX)
    }

    fn max_receive_segments(&self) -> usize {
        self.0.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.0.may_fragment()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, UdpSocket};

    use quinn::{Runtime as _, TokioRuntime};

    use super::*;

    #[tokio::test]
    async fn only_the_length_of_a_burst_is_different() {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let plain = TokioRuntime.wrap_udp_socket(socket).unwrap();
        let short = ShortBursts::of(Arc::clone(&plain));
        // A kernel that takes only one at a time gets no more.
        assert_eq!(short.max_transmit_segments(), plain.max_transmit_segments().min(BURST_MAX));
        assert_eq!(short.max_receive_segments(), plain.max_receive_segments());
        assert_eq!(short.may_fragment(), plain.may_fragment());
        assert_eq!(short.local_addr().unwrap(), plain.local_addr().unwrap());
    }
}
