//! Owns the running coordinator: opens what it needs in order, serves until it is told to stop, and stops in order.
//! A reload takes all of a changed configuration or nothing of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use reeve_common::clock::{Clock, SystemClock};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::agents::{self, ListenError};
use crate::api::{self, ServeError};
use crate::config::{self, CoordinatorConfig};
use crate::enrolment;
use crate::pki::{Authority, AuthorityError};
use crate::service::{OpenError, Service};
use crate::store::SqliteStore;

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
    /// What is in the store cannot be used.
    #[error("the coordinator cannot take up its work")]
    Open(#[from] OpenError),
    /// A port cannot be served.
    #[error("agents cannot be served")]
    Listen(#[from] ListenError),
    /// The port for joining cannot be served.
    #[error("joining cannot be served")]
    Join(#[from] enrolment::JoinServeError),
    /// The API cannot be served.
    #[error("the API cannot be served")]
    Api(#[from] ServeError),
    /// Signals cannot be received.
    #[error("signals cannot be received")]
    Signals(#[source] std::io::Error),
}

/// Runs the coordinator until SIGTERM or SIGINT.
///
/// # Errors
/// [`DaemonError`] says what is missing or wrong, and what to do.
pub async fn run(path: &Path) -> Result<(), DaemonError> {
    let config = read(path)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store = Arc::new(SqliteStore::open(&config.store_path())?);
    let authority = Arc::new(Authority::open(&config.pki_directory())?);
    let credentials = authority.server_credentials(clock.now())?;
    let (agent_listen, join_listen, api_socket) = (config.agent_listen, config.join_listen, config.api_socket.clone());
    let service = Service::open(config, store, clock, Arc::clone(&authority)).await?;

    let agents_endpoint = agents::listen(agent_listen, &credentials)?;
    let joining = enrolment::listen(join_listen, &credentials)?;
    let (stop, stopping) = watch::channel(false);
    let agents_task = tokio::spawn(agents::serve(service.clone(), agents_endpoint.clone()));
    let placing_task = tokio::spawn(service.clone().keep_placing());
    let join_task = tokio::spawn(enrolment::serve(joining, authority, service.token_book(), service.agent_port()));
    let mut api_task = tokio::spawn(api::serve(service.clone(), api_socket.clone(), stopping));
    log::info!(
        "reeve-coordinator {} is ready: epoch {}, agents on UDP {agent_listen}, joining on UDP {join_listen}, API at {}",
        env!("CARGO_PKG_VERSION"), service.epoch(), api_socket.display()
    );

    let ended = wait_for_end(path, &service, &mut api_task).await;
    log::info!("going down; VMs and agents are not touched");
    stop.send_replace(true);
    agents_endpoint.close(0_u32.into(), b"the coordinator is going down");
    for task in [agents_task, placing_task, join_task] {
        task.abort();
    }
    agents_endpoint.wait_idle().await;
    ended
}

/// Serves reloads until it is time to stop, or the API has failed.
async fn wait_for_end(
    path: &Path,
    service: &Service,
    api_task: &mut tokio::task::JoinHandle<Result<(), ServeError>>,
) -> Result<(), DaemonError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(DaemonError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(DaemonError::Signals)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(DaemonError::Signals)?;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = hangup.recv() => reload(path, service),
            ended = &mut *api_task => return match ended {
                Ok(result) => result.map_err(DaemonError::from),
                Err(_) => Ok(()),
            },
        }
    }
}

/// Reads the configuration anew: all of it or nothing.
fn reload(path: &Path, service: &Service) {
    match read(path) {
        Ok(config) => {
            let before = service.config();
            if fixed(&before) != fixed(&config) {
                log::warn!("addresses, the state directory and the API's socket change only when the coordinator is restarted");
            }
            service.reconfigure(config);
            log::info!("the configuration was read anew from {}", path.display());
        }
        Err(error) => log::error!("the configuration stays as it was: {error}"),
    }
}

/// What a running coordinator cannot change.
fn fixed(config: &CoordinatorConfig) -> (std::net::SocketAddr, std::net::SocketAddr, PathBuf, PathBuf) {
    (config.agent_listen, config.join_listen, config.state_directory.clone(), config.api_socket.clone())
}

fn read(path: &Path) -> Result<CoordinatorConfig, DaemonError> {
    let (config, warnings) = config::check(path).map_err(|errors| DaemonError::Config(errors.to_string()))?;
    for warning in warnings {
        log::warn!("{warning}");
    }
    Ok(config)
}
