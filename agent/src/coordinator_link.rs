//! Owns the seam between a session and the network: what a session needs of a connection to the coordinator, and
//! that connection over QUIC. Tests and the simulation put their own behind the same traits.
//!
//! Must not: decide when to dial, or what a command means.

use std::future::Future;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use reeve_common::clock::SystemClock;
use reeve_common::protocol::{Command, Event, Hello, Reply, Welcome};
use reeve_common::tls::{Credentials, agent_client_config};
use reeve_common::utilization::HostSample;
use reeve_common::wire::agent_end::{AgentEnd, CommandReceiver, ConnectError, Sender};
use reeve_common::wire::{CloseReason, LinkError, RefusalCode};

/// The receiving half of a connection on which both sides have greeted each other.
pub trait CoordinatorLink: Send + 'static {
    /// The sending half.
    type Voice: CoordinatorVoice;

    /// The next command. Cancelling loses nothing.
    fn next_command(&mut self) -> impl Future<Output = Result<Command, LinkError>> + Send;

    /// A sending half.
    fn voice(&self) -> Self::Voice;
}

/// The sending half of a connection. Clones send on the same one.
pub trait CoordinatorVoice: Clone + Send + Sync + 'static {
    /// Answers a command.
    fn reply(&self, reply: Reply) -> impl Future<Output = Result<(), LinkError>> + Send;

    /// Tells an event. Waits as long as the coordinator is slow.
    fn tell(&self, event: Event) -> impl Future<Output = Result<(), LinkError>> + Send;

    /// Offers a sample; the latest wins.
    fn offer(&self, sample: HostSample) -> impl Future<Output = Result<(), LinkError>> + Send;

    /// Waits for the end of the connection.
    fn closed(&self) -> impl Future<Output = CloseReason> + Send;

    /// Ends the connection, saying why.
    fn close(&self, code: RefusalCode, text: &str);
}

/// A way to reach the coordinator.
pub trait CoordinatorDial: Send + Sync + 'static {
    /// What comes of it.
    type Link: CoordinatorLink;

    /// Dials once. Cancelling ends the attempt.
    fn dial(&self, hello: Hello) -> impl Future<Output = Result<(Self::Link, Welcome), ConnectError>> + Send;

    /// Where, for messages.
    fn address(&self) -> String;
}

/// A link over QUIC.
#[derive(Debug)]
pub struct QuicLink {
    commands: CommandReceiver,
    sender: Sender,
}

impl CoordinatorLink for QuicLink {
    type Voice = Sender;

    async fn next_command(&mut self) -> Result<Command, LinkError> {
        self.commands.next_command().await
    }

    fn voice(&self) -> Sender {
        self.sender.clone()
    }
}

impl CoordinatorVoice for Sender {
    async fn reply(&self, reply: Reply) -> Result<(), LinkError> {
        Self::reply(self, reply).await
    }

    async fn tell(&self, event: Event) -> Result<(), LinkError> {
        self.send_event(event).await
    }

    async fn offer(&self, sample: HostSample) -> Result<(), LinkError> {
        self.send_sample(sample).await
    }

    async fn closed(&self) -> CloseReason {
        Self::closed(self).await
    }

    fn close(&self, code: RefusalCode, text: &str) {
        Self::close(self, code, text);
    }
}

/// What this host proves itself with just now: exchanged when the certificate is renewed, and used by the next dial.
pub type CurrentCredentials = Arc<Mutex<Arc<Credentials>>>;

/// Where a dial goes out from.
#[derive(Debug, Clone)]
pub enum Socket {
    /// A new socket for each attempt: the last one's local address may have gone with the network it belonged to.
    ForEachAttempt,
    /// One that others dial from as well.
    Shared(quinn::Endpoint),
}

/// Dials over QUIC.
#[derive(Debug)]
pub struct QuicDial {
    /// `HOST:PORT`; the host part is looked up at each attempt, since the coordinator may move.
    address: String,
    credentials: CurrentCredentials,
    socket: Socket,
    /// The socket of the last attempt.
    endpoint: Mutex<Option<quinn::Endpoint>>,
    /// How a connection is made with these credentials. Making it anew for each dial means to read and check the key and the
    /// authority's certificate each time.
    configuration: Mutex<Option<(Arc<Credentials>, quinn::ClientConfig)>>,
}

impl QuicDial {
    /// A way to the coordinator at `address`, as `HOST:PORT`.
    #[must_use]
    pub const fn new(address: String, credentials: CurrentCredentials, socket: Socket) -> Self {
        Self { address, credentials, socket, endpoint: Mutex::new(None), configuration: Mutex::new(None) }
    }

    /// Waits until the end of the last connection has been said to the coordinator.
    pub async fn hang_up(&self) {
        let endpoint = self.endpoint.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(endpoint) = endpoint {
            endpoint.wait_idle().await;
        }
    }

    fn open(&self, address: SocketAddr) -> Result<quinn::Endpoint, ConnectError> {
        let local: SocketAddr = match (&self.socket, address) {
            (Socket::Shared(endpoint), _) => return Ok(endpoint.clone()),
            (Socket::ForEachAttempt, SocketAddr::V4(_)) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            (Socket::ForEachAttempt, SocketAddr::V6(_)) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        reeve_common::quic::client_endpoint(local)
            .map_err(|error| ConnectError::Dial { address, why: format!("no socket: {error}") })
    }

    fn configuration(&self) -> Result<quinn::ClientConfig, ConnectError> {
        let credentials = Arc::clone(&self.credentials.lock().unwrap_or_else(PoisonError::into_inner));
        let mut kept = self.configuration.lock().unwrap_or_else(PoisonError::into_inner);
        match kept.as_ref() {
            Some((of, configuration)) if Arc::ptr_eq(of, &credentials) => Ok(configuration.clone()),
            _ => {
                let configuration = agent_client_config(&credentials, Arc::new(SystemClock))
                    .map_err(ConnectError::Identity)?;
                *kept = Some((credentials, configuration.clone()));
                Ok(configuration)
            }
        }
    }

    async fn look_up(&self) -> Result<SocketAddr, ConnectError> {
        let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let failed = |why: String| ConnectError::Dial { address: nowhere, why };
        let found = tokio::net::lookup_host(&self.address).await;
        let mut addresses =
            found.map_err(|error| failed(format!("looking up {:?}: {error}", self.address)))?;
        addresses.next().ok_or_else(|| failed(format!("{:?} has no address", self.address)))
    }
}

impl CoordinatorDial for Arc<QuicDial> {
    type Link = QuicLink;

    async fn dial(&self, hello: Hello) -> Result<(QuicLink, Welcome), ConnectError> {
        let address = self.look_up().await?;
        let endpoint = self.open(address)?;
        *self.endpoint.lock().unwrap_or_else(PoisonError::into_inner) = Some(endpoint.clone());
        let (end, welcome) = AgentEnd::connect_with(&endpoint, address, self.configuration()?, hello).await?;
        let (commands, sender) = end.split();
        Ok((QuicLink { commands, sender }, welcome))
    }

    fn address(&self) -> String {
        self.address.clone()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    /// What some host proves itself with; it vouches for itself.
    fn credentials() -> Arc<Credentials> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI("reeve://lab/host/1".try_into().unwrap())];
        let certificate = params.self_signed(&key).unwrap().pem();
        Arc::new(Credentials::from_pem(&certificate, &key.serialize_pem(), &certificate).unwrap())
    }

    #[tokio::test]
    async fn what_is_dialled_with_is_made_once_for_a_certificate_and_anew_for_the_next() {
        let current: CurrentCredentials = Arc::new(Mutex::new(credentials()));
        let dial = QuicDial::new("localhost:1".to_owned(), Arc::clone(&current), Socket::ForEachAttempt);
        let made_of = || {
            dial.configuration().unwrap();
            Arc::clone(&dial.configuration.lock().unwrap().as_ref().unwrap().0)
        };
        let first = made_of();
        assert!(Arc::ptr_eq(&first, &made_of()) && Arc::ptr_eq(&first, &current.lock().unwrap()));
        let renewed = credentials();
        *current.lock().unwrap() = Arc::clone(&renewed);
        assert!(Arc::ptr_eq(&made_of(), &renewed), "a certificate that was replaced is dialled with");
    }
}
