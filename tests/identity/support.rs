//! A certificate authority in a temporary directory, hosts of its making, and ports on the loopback.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use reeve_common::clock::{Clock, SystemClock, Timestamp};
use reeve_common::ids::{Epoch, HostId, HostName, OperationId, PoolName, RealmName};
use reeve_common::inventory::HostInventory;
use reeve_common::protocol::{Hello, Welcome};
use reeve_common::quic::{client_endpoint, server_endpoint};
use reeve_common::realm::RealmSettings;
use reeve_common::text::chain;
use reeve_common::tls::{Credentials, Identity, coordinator_server_config};
use reeve_common::vm::VirtType;
use reeve_common::wire::agent_end::{AgentEnd, ConnectError};
use reeve_common::wire::coordinator_end::{AcceptError, CoordinatorEnd, PendingAgent, accept};
use reeve_coordinator::pki::{Authority, JoiningHost};
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};

/// Nothing on the loopback takes this long; what does has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

pub(crate) fn now() -> Timestamp {
    SystemClock.now()
}

pub(crate) fn before(duration: Duration) -> Timestamp {
    Timestamp(now().0 - u64::try_from(duration.as_millis()).unwrap())
}

pub(crate) fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

/// A clock that is set by hand.
#[derive(Debug)]
pub(crate) struct HandSetClock(AtomicU64);

impl HandSetClock {
    pub(crate) fn at(now: Timestamp) -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(now.0)))
    }

    pub(crate) fn advance(&self, duration: Duration) {
        self.0.fetch_add(u64::try_from(duration.as_millis()).unwrap(), Ordering::Relaxed);
    }
}

impl Clock for HandSetClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }

    fn monotonic(&self) -> Instant {
        SystemClock.monotonic()
    }
}

pub(crate) fn realm(name: &str) -> RealmName {
    RealmName::new(name).unwrap()
}

pub(crate) fn host(number: u32) -> Identity {
    Identity::Host { realm: realm("lab"), host: HostId(number) }
}

pub(crate) fn joining_host(number: u32) -> JoiningHost {
    JoiningHost {
        realm: realm("lab"),
        host: HostId(number),
        name: HostName::new(format!("host-{number}")).unwrap(),
    }
}

/// An authority of its own, and everything it vouches for.
pub(crate) struct Fleet {
    pub(crate) authority: Arc<Authority>,
    pub(crate) directory: TempDir,
}

impl Fleet {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::create(&directory.path().join("pki"), now()).unwrap();
        Self { authority: Arc::new(authority), directory }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Credentials of a host, as if issued at `issued`.
    pub(crate) fn host_credentials(&self, identity: &Identity, issued: Timestamp) -> Credentials {
        self.host_credentials_trusting(identity, issued, self.authority.certificate_pem())
    }

    /// The same, for a host that trusts another authority than its own.
    pub(crate) fn host_credentials_trusting(
        &self,
        identity: &Identity,
        issued: Timestamp,
        trusted: &str,
    ) -> Credentials {
        let (key, request) = signing_request(CertificateParams::default());
        let certificate = self.authority.issue_host(&request, identity, issued).unwrap();
        Credentials::from_pem(&certificate.pem, &key.serialize_pem(), trusted).unwrap()
    }

    /// A port for agents that says what became of each peer.
    pub(crate) fn agent_port(&self) -> AgentPort {
        AgentPort::open(&self.authority.server_credentials(now()).unwrap())
    }
}

/// A key and a signing request as `params` say, without a subject.
pub(crate) fn signing_request(mut params: CertificateParams) -> (KeyPair, String) {
    let key = KeyPair::generate().unwrap();
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(&key).unwrap().pem().unwrap();
    (key, request)
}

pub(crate) fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// A port for agents and what came of each connection on it.
pub(crate) struct AgentPort {
    pub(crate) address: SocketAddr,
    pub(crate) endpoint: quinn::Endpoint,
    outcomes: mpsc::UnboundedReceiver<Result<PendingAgent, AcceptError>>,
}

impl AgentPort {
    pub(crate) fn open(credentials: &Credentials) -> Self {
        Self::open_at(credentials, clock())
    }

    pub(crate) fn open_at(credentials: &Credentials, clock: Arc<dyn Clock>) -> Self {
        let config = coordinator_server_config(credentials, clock).unwrap();
        let endpoint = server_endpoint(loopback(), config).unwrap();
        let (sender, outcomes) = mpsc::unbounded_channel();
        let accepting = endpoint.clone();
        tokio::spawn(async move {
            while let Some(incoming) = accepting.accept().await {
                let sender = sender.clone();
                tokio::spawn(async move { drop(sender.send(accept(incoming).await)) });
            }
        });
        Self { address: endpoint.local_addr().unwrap(), endpoint, outcomes }
    }

    pub(crate) async fn next(&mut self) -> Result<PendingAgent, AcceptError> {
        tokio::time::timeout(PATIENCE, self.outcomes.recv()).await.expect("nobody connected").unwrap()
    }

    /// What the coordinator says of the peer it did not let in.
    pub(crate) async fn refusal(&mut self) -> String {
        match self.next().await {
            Ok(agent) => panic!("{:?} was let in", agent.identity),
            Err(error) => chain(&error),
        }
    }
}

pub(crate) fn hello(identity: &Identity) -> Hello {
    let Identity::Host { realm, host } = identity else { panic!("only hosts say hello") };
    Hello {
        host: *host,
        realm: realm.clone(),
        name: format!("host-{host}").parse().unwrap(),
        instance: OperationId::random(),
        highest_epoch: Epoch(0),
        inventory: HostInventory::default(),
    }
}

pub(crate) fn welcome() -> Welcome {
    let pool = |name: &str| PoolName::new(name).unwrap();
    Welcome {
        epoch: Epoch(3),
        realm: RealmSettings {
            volumes_pool: pool("volumes"),
            drives_pool: pool("drives"),
            bricks_pool: pool("bricks"),
            poll_frequency: Duration::from_secs(30),
            sample_interval: Duration::from_secs(5),
            virt_type: VirtType::Qemu,
            lease: None,
        },
    }
}

/// Dials as an agent with these credentials, saying this hello.
pub(crate) async fn dial(
    address: SocketAddr,
    credentials: &Credentials,
    hello: Hello,
) -> Result<(AgentEnd, Welcome), ConnectError> {
    let endpoint = client_endpoint(loopback()).unwrap();
    AgentEnd::connect(&endpoint, address, credentials, hello).await
}

/// What an agent says that was not let in.
pub(crate) async fn dial_refused(address: SocketAddr, credentials: &Credentials, hello: Hello) -> String {
    refused(dial(address, credentials, hello).await)
}

pub(crate) fn refused(result: Result<(AgentEnd, Welcome), ConnectError>) -> String {
    match result {
        Ok(_) => panic!("the agent was let in"),
        Err(error) => chain(&error),
    }
}

/// Both ends of a connection that is up.
pub(crate) async fn connected(
    fleet: &Fleet,
    port: &mut AgentPort,
    number: u32,
) -> (AgentEnd, CoordinatorEnd) {
    let identity = host(number);
    let credentials = fleet.host_credentials(&identity, now());
    let address = port.address;
    let dialling = tokio::spawn(async move { dial(address, &credentials, hello(&identity)).await });
    let pending = port.next().await.unwrap();
    let coordinator_end = pending.welcome(welcome(), now()).await.unwrap();
    let (agent_end, welcomed) = dialling.await.unwrap().unwrap();
    assert_eq!(welcomed, welcome());
    (agent_end, coordinator_end)
}

/// A connection made with good credentials, on which nothing of the protocol has been said yet.
pub(crate) async fn raw_connection(fleet: &Fleet, address: SocketAddr, number: u32) -> quinn::Connection {
    let credentials = fleet.host_credentials(&host(number), now());
    let configuration = reeve_common::tls::agent_client_config(&credentials, clock()).unwrap();
    let endpoint = client_endpoint(loopback()).unwrap();
    let connecting =
        endpoint.connect_with(configuration, address, reeve_common::tls::COORDINATOR_SERVER_NAME).unwrap();
    connecting.await.unwrap()
}

/// Asserts that a text says all of these things.
#[track_caller]
pub(crate) fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{text:?} does not say {part:?}");
    }
}

/// All that was logged by this process, whichever test made it say so.
static LOG: LazyLock<watch::Sender<Vec<String>>> = LazyLock::new(|| watch::channel(Vec::new()).0);

struct Listener;

impl log::Log for Listener {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.target().starts_with("reeve")
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            LOG.send_modify(|lines| lines.push(record.args().to_string()));
        }
    }

    fn flush(&self) {}
}

/// Keeps what is logged from now on.
pub(crate) fn listen_to_log() {
    let _ = log::set_logger(&Listener);
    log::set_max_level(log::LevelFilter::Info);
}

/// Waits until a line has been logged that says all of these things.
pub(crate) async fn logged(parts: &[&str]) {
    let says_all =
        |lines: &Vec<String>| lines.iter().any(|line| parts.iter().all(|part| line.contains(part)));
    let mut lines = LOG.subscribe();
    let found = tokio::time::timeout(PATIENCE, lines.wait_for(says_all)).await.is_ok();
    assert!(found, "no line says {parts:?}: {:#?}", LOG.borrow());
}
