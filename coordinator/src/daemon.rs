//! Owns the running coordinator: opens what it needs in order, serves until it is told to stop, and stops in order.
//! A reload takes all of a changed configuration or nothing of it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reeve_common::clock::{Clock, SystemClock, monotonic_count};
use reeve_common::ids::Epoch;
use reeve_common::logging::messages;
use reeve_common::network_thread::NetworkThread;
use reeve_common::quic::server_endpoint;
use reeve_common::service_manager::ServiceManager;
use reeve_common::tls::{Credentials, join_server_config};
use reeve_common::wire::RefusalCode;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::agents::{self, ListenError};
use crate::api::{ApiSocket, ServeError};
use crate::config::{self, CoordinatorConfig};
use crate::enrolment::Enrolment;
use crate::metrics;
use crate::pki::{Authority, AuthorityError, IssueError, ServedPort, ServerCertificate};
use crate::service::{OpenError, Service, Status, StoredTokens, agent_address};
use crate::store::{CounterError, SqliteStore, StoreError, leave_out_epochs};

/// How long the API may take to end.
const API_FAREWELL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the coordinator waits for its peers to hear that it goes down.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);

/// The thread that reads the agents' port, as `ps -L` and `top -H` show it.
const NETWORK_THREAD: &str = "agents-port";

/// How often the line that `systemctl status` shows is made anew.
const STATUS_INTERVAL: Duration = Duration::from_secs(10);

/// Why the coordinator does not run.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The configuration is wrong.
    #[error("the configuration cannot be used:\n{0}")]
    Config(String),
    /// It was never initialised, or its authority cannot be read.
    #[error("the certificate authority cannot be used")]
    Authority(#[from] AuthorityError),
    /// The store cannot be opened.
    #[error("the store cannot be opened")]
    Store(#[from] crate::store::OpenError),
    /// The store failed while it was in use.
    #[error("the store cannot be gone on with, and what was under way was not acknowledged")]
    StoreFailed(#[source] StoreError),
    /// No term can begin.
    #[error("no epoch can be taken from the store")]
    Epoch(#[from] CounterError),
    /// What is in the store cannot be used.
    #[error("the coordinator cannot take up its work")]
    Open(#[from] OpenError),
    /// There is no thread for the agents' port.
    #[error(
        "the system gives no thread to read the agents' port: see the limits of processes and open files"
    )]
    NetworkThread(#[source] std::io::Error),
    /// A port cannot be served.
    #[error("a port cannot be served")]
    Listen(#[from] ListenError),
    /// The coordinator cannot certify itself.
    #[error("the coordinator's own certificate cannot be made")]
    Certificate(#[from] IssueError),
    /// The API cannot be served.
    #[error("the API cannot be served")]
    Api(#[from] ServeError),
    /// Another coordinator has begun its term on the same store.
    #[error(
        "another coordinator has taken over the store, and the epoch of this one, {0}, is over: see that one coordinator runs, and start no second one"
    )]
    Deposed(Epoch),
    /// Signals cannot be received.
    #[error("signals cannot be received")]
    Signals(#[source] std::io::Error),
}

/// A number that no copy of this coordinator would have too.
fn chance() -> u16 {
    let [.., high, low] = uuid::Uuid::new_v4().into_bytes();
    u16::from_be_bytes([high, low])
}

/// Runs the coordinator until SIGTERM or SIGINT.
///
/// # Errors
/// [`DaemonError`] says what is missing or wrong, and what to do.
pub async fn run(path: &Path) -> Result<(), DaemonError> {
    let manager = ServiceManager::from_environment();
    manager.status("opening the store");
    let config = read(path)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store = Arc::new(SqliteStore::open_at_once(&config.store_path())?);
    let authority = Arc::new(Authority::open(&config.pki_directory(), clock.now())?);
    let credentials = authority.server_credentials(clock.now())?;
    let (agent_listen, join_listen) = (config.agent_listen, config.join_listen);
    let api_socket = config.api_socket.clone();
    let agent_address = agent_address(&config).unwrap_or_else(|problem| {
        log::warn!(MESSAGE_ID:% = messages::NO_HOST_CAN_JOIN; "no host can join: {problem}");
        String::new()
    });
    leave_out_epochs(store.as_ref(), chance()).await?;
    let service = Service::open(config, store, Arc::clone(&clock), Arc::clone(&authority)).await?;

    let network = NetworkThread::start(NETWORK_THREAD).map_err(DaemonError::NetworkThread)?;
    let keys = authority.lasting_keys();
    let agents_endpoint =
        network.open(|| agents::listen(agent_listen, &credentials, &keys, Arc::clone(&clock)))?;
    let join_endpoint = open_join_port(join_listen, &credentials, &clock)?;
    let api = ApiSocket::open(&api_socket)?;
    let (stop, stopping) = watch::channel(false);
    let ports =
        vec![ServedPort::Agents(agents_endpoint.clone(), keys), ServedPort::Joining(join_endpoint.clone())];
    let book = Arc::new(StoredTokens(service.clone()));
    let enrolment = Arc::new(Enrolment::new(Arc::clone(&authority), book, Arc::clone(&clock), agent_address));
    let mut tasks = JoinSet::new();
    tasks.spawn(agents::serve(service.clone(), agents_endpoint.clone()));
    tasks.spawn(service.clone().keep_placing());
    tasks.spawn(service.clone().keep_checkpoints());
    tasks.spawn(service.clone().keep_forgetting());
    tasks.spawn(service.clone().keep_working());
    tasks.spawn(service.clone().keep_failing_over());
    tasks.spawn(service.clone().keep_watching_hosts());
    tasks.spawn(service.clone().keep_warnings());
    tasks.spawn(enrolment.serve(join_endpoint.clone()));
    let certificate = ServerCertificate::new(authority, ports, credentials, clock)
        .telling(Arc::clone(service.metrics().server_certificate_ends()));
    tasks.spawn(certificate.keep_fresh());
    if let Some(interval) = manager.sign_interval() {
        tasks.spawn(service.clone().keep_alive(manager.clone(), interval));
    }
    if let Some(address) = service.config().metrics_listen {
        match metrics::bind(address).await {
            Ok(listener) => {
                tasks.spawn(metrics::serve(service.clone(), listener));
            }
            // The fleet is looked after all the same.
            Err(error) => log::warn!("{}", crate::chain(&error)),
        }
    }
    let mut api_task = tokio::spawn(api.serve(service.clone(), stopping));
    log::info!(
        MESSAGE_ID:% = messages::COORDINATOR_READY;
        "reeve-coordinator {} is ready: epoch {}, agents on UDP {agent_listen}, joining on UDP {join_listen}, API at {}",
        env!("CARGO_PKG_VERSION"),
        service.epoch(),
        api_socket.display()
    );
    manager.ready(&status(&service));

    let ended = wait_for_end(path, &service, &manager, &mut api_task).await;
    log::info!(MESSAGE_ID:% = messages::COORDINATOR_STOPPING; "going down; VMs and agents are not touched");
    manager.stopping("going down; VMs and agents are not touched");
    stop.send_replace(true);
    for endpoint in [&agents_endpoint, &join_endpoint] {
        endpoint.close(RefusalCode::ShuttingDown.number(), b"the coordinator is going down");
    }
    tasks.shutdown().await;
    if !api_task.is_finished() {
        // Answers under way have their own time limit, which is shorter than this.
        let _ = tokio::time::timeout(API_FAREWELL_TIMEOUT, api_task).await;
    }
    // Peers are told; whoever does not acknowledge it in time will notice by itself.
    let _ = tokio::time::timeout(FAREWELL_TIMEOUT, agents_endpoint.wait_idle()).await;
    ended
}

fn open_join_port(
    address: SocketAddr,
    credentials: &Credentials,
    clock: &Arc<dyn Clock>,
) -> Result<quinn::Endpoint, ListenError> {
    let config = join_server_config(credentials, Arc::clone(clock))?;
    server_endpoint(address, config).map_err(|source| ListenError::Bind { address, source })
}

/// Serves reloads until it is time to stop, or the API has failed.
async fn wait_for_end(
    path: &Path,
    service: &Service,
    manager: &ServiceManager,
    api_task: &mut tokio::task::JoinHandle<()>,
) -> Result<(), DaemonError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(DaemonError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(DaemonError::Signals)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(DaemonError::Signals)?;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = hangup.recv() => {
                manager.reloading(monotonic_count());
                let problem = reload(path, service).err();
                manager.ready(&problem.unwrap_or_else(|| status(service)));
            }
            failure = service.store_failed() => return Err(DaemonError::StoreFailed(failure)),
            () = service.deposed() => {
                log::error!(MESSAGE_ID:% = messages::COORDINATOR_DEPOSED;
                    "another coordinator has taken over: stop this one");
                return Err(DaemonError::Deposed(service.epoch()));
            }
            _ = &mut *api_task => return Ok(()),
            () = tokio::time::sleep(STATUS_INTERVAL), if manager.is_there() => manager.status(&status(service)),
        }
    }
}

/// One line on how the coordinator is.
fn status(service: &Service) -> String {
    let Status { epoch, hosts, vms, .. } = service.status();
    let vms: usize = vms.iter().map(|(_, count)| count).sum();
    format!("epoch {epoch}: {} of {} hosts connected, {vms} VMs", hosts.connected, hosts.total)
}

/// Reads the configuration anew: all of it or nothing, which is told in one line.
fn reload(path: &Path, service: &Service) -> Result<(), String> {
    match read(path) {
        Ok(config) => {
            let before = service.config();
            if fixed(&before) != fixed(&config) {
                log::warn!(
                    "addresses, the state directory and the API's socket change only when the coordinator is restarted"
                );
            }
            service.reconfigure(config);
            log::info!(MESSAGE_ID:% = messages::CONFIGURATION_READ;
                "the configuration was read anew from {}", path.display());
            Ok(())
        }
        Err(error) => {
            log::error!(MESSAGE_ID:% = messages::CONFIGURATION_REFUSED;
                "the configuration stays as it was: {error}");
            Err(format!("the configuration stays as it was, for {} is wrong: see the log", path.display()))
        }
    }
}

/// What a running coordinator cannot change.
fn fixed(config: &CoordinatorConfig) -> ([Option<SocketAddr>; 3], [PathBuf; 2]) {
    let addresses = [Some(config.agent_listen), Some(config.join_listen), config.metrics_listen];
    (addresses, [config.state_directory.clone(), config.api_socket.clone()])
}

fn read(path: &Path) -> Result<CoordinatorConfig, DaemonError> {
    let (config, warnings) = config::check(path).map_err(|errors| DaemonError::Config(errors.to_string()))?;
    for warning in warnings {
        log::warn!("{warning}");
    }
    Ok(config)
}
