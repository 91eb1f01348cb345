//! Owns the doctor's question whether the coordinator can be reached: a QUIC dial that ends after the handshake, before the
//! agent would say who it is, so that a running agent is not disturbed.
//!
//! ```text
//!   name ─▶ address ─▶ a datagram: refused by the machine? ─▶ handshake ─▶ a moment: refused by the coordinator? ─▶ welcome
//!     └ unnamed            └ nothing listens                    ├ silence          └ refused
//!                                                               └ stranger
//! ```

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reeve_common::clock::Clock;
use reeve_common::text::chain;
use reeve_common::tls::{COORDINATOR_SERVER_NAME, Credentials, agent_client_config};
use reeve_common::wire::{CloseReason, RefusalCode};
use tokio::net::UdpSocket;
use tokio::time::timeout;

/// How long the machine has to say that nothing listens; it does at once, or never.
const REFUSAL_PATIENCE: Duration = Duration::from_millis(700);
/// How long the handshake may take: a coordinator that takes in a whole fleet may need some seconds.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(6);
/// How long the coordinator has to refuse a certificate: with TLS 1.3 that comes after the handshake is over for us.
const VERDICT_PATIENCE: Duration = Duration::from_millis(800);
/// How long the end waits until it has been said.
const FAREWELL: Duration = Duration::from_millis(300);

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It answers, and accepts this host's certificate.
    Welcome {
        /// After so long.
        milliseconds: u64,
    },
    /// Its name cannot be looked up.
    Unnamed(String),
    /// Its machine says that nothing listens there.
    NothingListens,
    /// Nothing came back.
    Silence {
        /// Within this time.
        seconds: u64,
    },
    /// It answers, and refuses this host.
    Refused(String),
    /// Something answers that is not the coordinator.
    Stranger(String),
    /// It was not dialled, and why.
    NotDialled(String),
}

/// Dials the coordinator at `address`, as `HOST:PORT`.
pub async fn dial(address: &str, credentials: Option<&Credentials>, clock: Arc<dyn Clock>) -> Answer {
    let found = tokio::net::lookup_host(address).await;
    let address = match found.map(|mut addresses| addresses.next()) {
        Ok(Some(address)) => address,
        Ok(None) => return Answer::Unnamed("it has no address".to_owned()),
        Err(error) => return Answer::Unnamed(error.to_string()),
    };
    if is_refused(address).await {
        return Answer::NothingListens;
    }
    let Some(credentials) = credentials else {
        return Answer::NotDialled("this host has no certificate that could be read".to_owned());
    };
    shake_hands(address, credentials, clock).await
}

const fn local(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(_) => SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
        SocketAddr::V6(_) => SocketAddr::new(std::net::IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0),
    }
}

/// Whether the machine there says that nothing listens. No answer says nothing: QUIC does not answer such a datagram.
async fn is_refused(address: SocketAddr) -> bool {
    let asked = async {
        let socket = UdpSocket::bind(local(address)).await?;
        socket.connect(address).await?;
        socket.send(&[0]).await?;
        socket.recv(&mut [0; 16]).await
    };
    match timeout(REFUSAL_PATIENCE, asked).await {
        Ok(Err(error)) => error.kind() == std::io::ErrorKind::ConnectionRefused,
        Ok(Ok(_)) | Err(_) => false,
    }
}

async fn shake_hands(address: SocketAddr, credentials: &Credentials, clock: Arc<dyn Clock>) -> Answer {
    let begun = clock.monotonic();
    let not_dialled = |why: &dyn std::error::Error| Answer::NotDialled(chain(why));
    let configuration = match agent_client_config(credentials, Arc::clone(&clock)) {
        Ok(configuration) => configuration,
        Err(error) => return not_dialled(&error),
    };
    let endpoint = match reeve_common::quic::client_endpoint(local(address)) {
        Ok(endpoint) => endpoint,
        Err(error) => return not_dialled(&error),
    };
    let connecting = match endpoint.connect_with(configuration, address, COORDINATOR_SERVER_NAME) {
        Ok(connecting) => connecting,
        Err(error) => return not_dialled(&error),
    };
    let connection = match timeout(HANDSHAKE_PATIENCE, connecting).await {
        Err(_) => return Answer::Silence { seconds: HANDSHAKE_PATIENCE.as_secs() },
        Ok(Err(error)) => return of_close(&CloseReason::at_host(&error)),
        Ok(Ok(connection)) => connection,
    };
    let took = clock.monotonic().saturating_duration_since(begun);
    let answer = match timeout(VERDICT_PATIENCE, connection.closed()).await {
        Ok(error) => of_close(&CloseReason::at_host(&error)),
        Err(_) => Answer::Welcome { milliseconds: u64::try_from(took.as_millis()).unwrap_or(u64::MAX) },
    };
    connection.close(RefusalCode::Finished.number(), b"only looking");
    let _ = timeout(FAREWELL, endpoint.wait_idle()).await;
    answer
}

fn of_close(reason: &CloseReason) -> Answer {
    match reason {
        CloseReason::Silent => Answer::Silence { seconds: HANDSHAKE_PATIENCE.as_secs() },
        CloseReason::RefusedHere { .. } => Answer::Stranger(reason.to_string()),
        reason => Answer::Refused(reason.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket as BlockingSocket;

    use reeve_common::clock::SystemClock;

    use super::*;

    #[tokio::test]
    async fn a_name_that_is_none_and_a_port_without_anybody_are_told_apart() {
        let dialled = dial("no-such-name.invalid:7443", None, Arc::new(SystemClock)).await;
        assert!(matches!(dialled, Answer::Unnamed(_)), "{dialled:?}");
        let closed = BlockingSocket::bind("127.0.0.1:0").unwrap();
        let address = closed.local_addr().unwrap().to_string();
        // Somebody has the port and says nothing: no refusal.
        assert!(matches!(dial(&address, None, Arc::new(SystemClock)).await, Answer::NotDialled(_)));
        drop(closed);
        assert_eq!(dial(&address, None, Arc::new(SystemClock)).await, Answer::NothingListens);
    }
}
