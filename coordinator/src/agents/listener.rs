//! Owns the port that agents dial: takes in handshakes, a bounded number at a time, and gives each connection a task.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use reeve_common::admission::Admission;
use reeve_common::clock::Clock;
use reeve_common::lasting_keys::LastingKeys;
use reeve_common::quic::{HandshakeGate, lasting_server_endpoint};
use reeve_common::tls::{Credentials, TlsError, lasting_coordinator_config};
use reeve_common::wire::coordinator_end::{AcceptError, accept_wanted};

use super::session;
use crate::audit::Who;
use crate::service::Service;

/// Why the port cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Our certificate cannot be used.
    #[error("the coordinator's certificate cannot be used")]
    Tls(#[from] TlsError),
    /// The port cannot be opened.
    #[error(
        "UDP {address} cannot be opened: choose another address in the configuration, or end what uses it"
    )]
    Bind {
        /// Which.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

static CONNECTIONS: AtomicU64 = AtomicU64::new(1);

/// Opens the port; the endpoint is given to [`serve`]. `keys` are the same after each restart.
///
/// # Errors
/// [`ListenError`] when it cannot be opened.
pub fn listen(
    address: SocketAddr,
    credentials: &Credentials,
    keys: &LastingKeys,
    clock: Arc<dyn Clock>,
) -> Result<quinn::Endpoint, ListenError> {
    let config = lasting_coordinator_config(credentials, keys, clock)?;
    lasting_server_endpoint(address, config, keys).map_err(|source| ListenError::Bind { address, source })
}

/// Serves agents until the endpoint is closed.
pub async fn serve(service: Service, endpoint: quinn::Endpoint) {
    let waiting = Arc::clone(service.metrics().agents_waiting());
    let mut admission = Admission::new(endpoint, HandshakeGate::default()).telling(waiting);
    while let Some((incoming, permit)) = admission.next().await {
        let service = service.clone();
        let remote = incoming.remote_address();
        let connection = CONNECTIONS.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(async move {
            // In boxes, since this task lives as long as the connection.
            let wanted = |host| service.know_host(host);
            let accepted = Box::pin(accept_wanted(incoming, service.clock(), wanted)).await;
            drop(permit);
            match accepted {
                Ok(pending) => session::serve(service, pending, connection).await,
                // Whoever was not let in has been told, and it has been logged.
                Err(error) => Box::pin(record_refusal(&service, remote, &error)).await,
            }
        });
    }
}

/// Records that somebody was refused; whoever went away, or did not like us, was not.
async fn record_refusal(service: &Service, remote: SocketAddr, error: &AcceptError) {
    match error {
        AcceptError::NotWanted { host, why, .. } => {
            service.agent_refused(*host, why);
            session::record_refusal(service, *host, remote.to_string(), why).await;
        }
        AcceptError::CertificateRefused { .. }
        | AcceptError::Certificate { .. }
        | AcceptError::WrongHost { .. }
        | AcceptError::WrongRealm { .. }
        | AcceptError::Greeting { .. } => {
            let who = Who::Stranger { address: remote.to_string() };
            let reason = crate::chain(error);
            service.record_stranger(who, "connect", "the port for agents", "denied", &reason).await;
        }
        AcceptError::CoordinatorRefused { .. } | AcceptError::TooSlow { .. } | AcceptError::Broken { .. } => {
        }
    }
}
