//! Owns how the agent's parts are put together, in which order they begin and how they end.
//!
//! Must not: contain any of their work.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reeve_common::clock::{Clock, SystemBootClock};
use reeve_common::ids::OperationId;
use reeve_common::logging::messages;
use reeve_common::service_manager::ServiceManager;

use crate::certificate_renewal::IdentityRenewal;
use crate::configuration::Configuration;
use crate::coordinator_link::QuicDial;
use crate::host::Host;
use crate::hypervisor::Hypervisor;
use crate::identity::{HostIdentity, IdentityDirectory};
use crate::machine::Machine;
use crate::self_fencing::{LeaseKeeper, WatchdogChoice};
use crate::session::{AgentIdentity, Session};
use crate::state_directory::StateDirectory;
use crate::steady_clock::SteadyClock;

/// How long the first look at the hypervisor may take before the coordinator is dialled all the same.
const FIRST_LOOK: Duration = Duration::from_secs(10);

/// How often the line that `systemctl status` shows is made anew.
const STATUS_INTERVAL: Duration = Duration::from_secs(10);

/// How long the end waits until the coordinator has been told.
const HANG_UP: Duration = Duration::from_secs(1);

/// What an agent is made of.
pub struct Agent {
    /// Its settings.
    pub configuration: Configuration,
    /// Who its host is.
    pub identity: HostIdentity,
    /// Its memory.
    pub state: Arc<StateDirectory>,
    /// Its hypervisor.
    pub hypervisor: Arc<dyn Hypervisor>,
    /// What it runs on.
    pub machine: Box<dyn Machine>,
    /// Its clock.
    pub clock: Arc<dyn Clock>,
    /// Chance, for pauses.
    pub seed: u64,
}

/// Why an agent could not begin.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// No thread.
    #[error("the thread that listens to the hypervisor cannot be started")]
    Thread(#[source] std::io::Error),
}

impl Agent {
    /// Keeps this host's VMs and talks to the coordinator until `stop` comes true. VMs run on then.
    ///
    /// # Errors
    /// [`AgentError`] when it cannot begin.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), AgentError> {
        self.run_under(&ServiceManager::default(), stop).await
    }

    /// The same for a service manager, which is told when the host is kept, and that the agent lives.
    ///
    /// Ready means that everything on this host was looked at once and is kept from now on. A hypervisor that does not
    /// answer delays it for a while only, and the status says so: its VMs run on, and the agent goes on trying.
    /// The coordinator is not waited for: a host must come up without it.
    ///
    /// # Errors
    /// [`AgentError`] when it cannot begin.
    pub async fn run_under(
        self,
        manager: &ServiceManager,
        stop: impl Future<Output = ()>,
    ) -> Result<(), AgentError> {
        let Self { configuration, identity, state, hypervisor, machine, clock, seed } = self;
        let steady = Arc::new(go_on_with_clock(&clock, &state).await);
        let host = Host::new(identity.realm.clone(), Arc::clone(&hypervisor), state, steady);
        machine.listen(&host, hypervisor.as_ref()).map_err(AgentError::Thread)?;
        let watchdog = WatchdogChoice {
            device: configuration.watchdog_device.clone(),
            timeout: configuration.watchdog_timeout,
        };
        let lease =
            LeaseKeeper::open(&configuration.state_directory, Arc::new(SystemBootClock), watchdog, seed);
        lease.bind(&host);
        let address = configuration.coordinator.unwrap_or_else(|| identity.coordinator.clone());
        let credentials = Arc::new(Mutex::new(Arc::new(identity.credentials.clone())));
        let dial = Arc::new(QuicDial::new(address, Arc::clone(&credentials), machine.socket()));
        let session = Session {
            dial: Arc::clone(&dial),
            identity: AgentIdentity {
                host: identity.host,
                realm: identity.realm.clone(),
                name: identity.name.clone(),
                instance: OperationId::random(),
            },
            host: host.clone(),
            inventory: machine.inventory(&host),
            samples: machine.samples(Arc::clone(&clock)),
            certificates: Arc::new(IdentityRenewal {
                directory: IdentityDirectory::within(&configuration.state_directory),
                credentials,
                clock: Arc::clone(&clock),
            }),
            clock,
            seed,
        };
        log::info!(
            MESSAGE_ID:% = messages::AGENT_STARTED, REEVE_HOST:% = identity.name, REEVE_REALM:% = identity.realm;
            "reeve-agent {} for host {} ({}) of realm {}",
            env!("CARGO_PKG_VERSION"), identity.name, identity.host, identity.realm
        );
        let work = async {
            // The first report should be whole; a hypervisor that does not answer must not keep the host silent.
            let _ = tokio::time::timeout(FIRST_LOOK, host.compare()).await;
            manager.ready(&status(&host));
            tokio::join!(host.keep_watch(), session.run(), keep_alive(&host, manager));
        };
        let stop = async {
            stop.await;
            log::info!(MESSAGE_ID:% = messages::AGENT_STOPPING, REEVE_HOST:% = identity.name, REEVE_REALM:% = identity.realm;
                "stopping; the VMs of this host run on");
            manager.stopping("stopping; the VMs of this host run on");
            // While the coordinator can still be asked to count on this host no more.
            lease.give_up().await;
        };
        tokio::select! {
            () = work => {}
            () = lease.keep() => {}
            () = stop => {}
        }
        host.let_go();
        let _ = tokio::time::timeout(HANG_UP, dial.hang_up()).await;
        Ok(())
    }
}

/// The clock of this boot, taken up where nobody waits for the disk.
async fn go_on_with_clock(clock: &Arc<dyn Clock>, state: &Arc<StateDirectory>) -> SteadyClock {
    let (wall, state) = (Arc::clone(clock), Arc::clone(state));
    let taken_up = move || SteadyClock::of_this_boot(wall, &SystemBootClock, &state);
    tokio::task::spawn_blocking(taken_up).await.unwrap_or_else(|_| SteadyClock::new(Arc::clone(clock)))
}

/// Gives signs of life, as often as they are waited for, through what every wish goes through; and says how the host is.
async fn keep_alive(host: &Host, manager: &ServiceManager) {
    if !manager.is_there() {
        return std::future::pending().await;
    }
    loop {
        tokio::time::sleep(manager.sign_interval().unwrap_or(STATUS_INTERVAL).min(STATUS_INTERVAL)).await;
        host.pulse().await;
        manager.alive();
        manager.status(&status(host));
    }
}

fn status(host: &Host) -> String {
    let kept = host.kept_count();
    match (host.is_hypervisor_reachable(), host.is_told_by_coordinator()) {
        (false, _) => format!("the hypervisor does not answer, trying again; {kept} VMs kept"),
        (true, false) => format!("{kept} VMs kept; no coordinator was reached yet, trying again"),
        (true, true) => format!("{kept} VMs kept"),
    }
}
