//! Owns a fleet of simulated hosts in one process: for each a whole agent with its own identity, state and connection, so
//! that a coordinator sees as many hosts as there are. For trying out and measuring; no VM in it is real.
//!
//! ```text
//!   <state directory>/hosts/1/   identity, epoch, … as any agent's, and simulated.json, where its domains run on
//!                     hosts/2/
//!                     …
//! ```
//!
//! What the hosts share is what would be no part of a real fleet's work: the threads, the clock that lets guests boot
//! (`guests.rs`), and up to [`SOCKETS_MAX`] UDP sockets. A fleet of no more hosts than that has a socket for each.
//!
//! Must not: do anything of an agent's work.

mod guests;
mod joining;
mod machine;

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reeve_common::clock::Clock;
use reeve_common::network_thread::NetworkThread;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use self::joining::{FleetJoinError, join};

use self::guests::Guests;
use self::machine::SimulatedMachine;
use crate::agent::{Agent, AgentError};
use crate::configuration::Configuration;
use crate::coordinator_link::Socket;
use crate::hypervisor::Hypervisor;
use crate::hypervisor::simulated::{SimulatedHypervisor, SimulationSettings, StateFileError};
use crate::identity::{HostIdentity, IdentityDirectory, IdentityError};
use crate::inventory::look_at_machine;
use crate::state_directory::{StateDirectory, StateError};

/// The most hosts in one process: each holds a file open for its lock, and a process may have some ten thousand.
pub const HOSTS_MAX: u32 = 50_000;

/// The most sockets. Each comes with 3 MiB of address space for what may arrive at once, of which little is ever used;
/// the coordinator cannot tell how many connections come from one address.
pub const SOCKETS_MAX: usize = 128;

/// The thread that reads the sockets: a fleet's agents do so many things at once that each would else wait for the others.
const NETWORK_THREAD: &str = "fleet-sockets";

/// Files open besides the hosts' locks: sockets, the log, what is being written.
const FILES_BESIDES: u64 = 1024;

/// Why a fleet cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// Several agents on one real hypervisor would fight over its VMs.
    #[error(
        "--hosts puts simulated hosts into one process, and the hypervisor is not simulated: add `--hypervisor simulated`"
    )]
    NotSimulated,
    /// A host has no identity.
    #[error(
        "host {number} of {hosts} has not joined ({path} has no identity): print a line for each with `reeve host join-token NAME` at the coordinator, and give them to `reeve-agent join --fleet -` with the same state directory"
    )]
    NotJoined {
        /// Which, counted from 1.
        number: u32,
        /// Out of how many.
        hosts: u32,
        /// Its directory.
        path: PathBuf,
    },
    /// A host's identity cannot be used.
    #[error("host {number} of the fleet does not know who it is")]
    Identity {
        /// Which, counted from 1.
        number: u32,
        /// Why.
        #[source]
        source: IdentityError,
    },
    /// A host's memory cannot be used.
    #[error("host {number} of the fleet cannot use its memory")]
    State {
        /// Which, counted from 1.
        number: u32,
        /// Why.
        #[source]
        source: StateError,
    },
    /// A host's simulation cannot be used.
    #[error("host {number} of the fleet cannot use its simulated domains")]
    Simulation {
        /// Which, counted from 1.
        number: u32,
        /// Why.
        #[source]
        source: StateFileError,
    },
    /// No socket.
    #[error("a UDP socket cannot be opened, or there is no thread to read it")]
    Socket(#[source] io::Error),
    /// An agent could not begin.
    #[error("an agent of the fleet cannot begin")]
    Agent(#[from] AgentError),
}

/// The directory of one host, counted from 1.
#[must_use]
pub fn host_directory(state_directory: &Path, number: u32) -> PathBuf {
    state_directory.join("hosts").join(number.to_string())
}

/// The first number that no host of the fleet has.
#[must_use]
pub fn next_number(state_directory: &Path) -> u32 {
    let joined =
        |number: &u32| IdentityDirectory::within(&host_directory(state_directory, *number)).path().exists();
    (1..=HOSTS_MAX).find(|number| !joined(number)).unwrap_or(HOSTS_MAX)
}

/// One host of the fleet, ready to begin.
struct Member {
    configuration: Configuration,
    identity: HostIdentity,
    state: Arc<StateDirectory>,
    hypervisor: Arc<SimulatedHypervisor>,
}

/// Simulated hosts that have joined, ready to begin.
pub struct Fleet {
    members: Vec<Member>,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Fleet {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Fleet").field("hosts", &self.members.len()).finish_non_exhaustive()
    }
}

impl Fleet {
    /// The first `hosts` of the fleet in the configured state directory. Blocks for about 0.2 ms for each.
    ///
    /// # Errors
    /// [`FleetError`] says what is missing and what to do.
    pub fn open(
        configuration: &Configuration,
        hosts: u32,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, FleetError> {
        allow_open_files(hosts);
        let open = |number| open_member(configuration, number, hosts, &clock);
        let members = (1..=hosts).map(open).collect::<Result<_, _>>()?;
        Ok(Self { members, clock })
    }

    /// Lets all of them work until `stop` comes true. Simulated VMs "run on" then, as real ones would.
    ///
    /// # Errors
    /// [`FleetError`] when they cannot begin.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), FleetError> {
        let network = NetworkThread::start(NETWORK_THREAD).map_err(FleetError::Socket)?;
        let sockets = network.open(|| open_sockets(&self.members))?;
        let guests = Arc::new(Guests::default());
        let machine = look_at_machine();
        let (stopping, stopped) = watch::channel(false);
        let mut agents = JoinSet::new();
        agents.spawn(Arc::clone(&guests).keep());
        log::warn!("{} simulated hosts in this process: no VM here is real", self.members.len());
        for (member, socket) in self.members.into_iter().zip(sockets.into_iter().cycle()) {
            let Member { configuration, identity, state, hypervisor } = member;
            let (seed, _) = uuid::Uuid::new_v4().as_u64_pair();
            let machine = SimulatedMachine {
                name: identity.name.clone(),
                real: machine.clone(),
                hypervisor: Arc::clone(&hypervisor),
                guests: Arc::clone(&guests),
                socket: Socket::Shared(socket),
                seed,
            };
            let agent = Agent {
                configuration,
                identity,
                state,
                hypervisor: hypervisor as Arc<dyn Hypervisor>,
                machine: Box::new(machine),
                clock: Arc::clone(&self.clock),
                seed,
            };
            let mut stopped = stopped.clone();
            agents.spawn(async move {
                // When nobody can say "stop" any more, it is over as well.
                let stop = async { drop(stopped.wait_for(|stopped| *stopped).await) };
                Ok(agent.run(stop).await?)
            });
        }
        let ended = tokio::select! {
            () = stop => Ok(()),
            Some(Ok(ended)) = agents.join_next() => ended,
        };
        stopping.send_replace(true);
        while agents.len() > 1 && agents.join_next().await.is_some() {}
        ended
    }
}

fn open_member(
    configuration: &Configuration,
    number: u32,
    hosts: u32,
    clock: &Arc<dyn Clock>,
) -> Result<Member, FleetError> {
    let path = host_directory(&configuration.state_directory, number);
    let identity = IdentityDirectory::within(&path).load().map_err(|source| match source {
        IdentityError::NotJoined { path } => FleetError::NotJoined { number, hosts, path },
        source => FleetError::Identity { number, source },
    })?;
    let state = StateDirectory::open(&path).map_err(|source| FleetError::State { number, source })?;
    let settings =
        SimulationSettings { state_file: Some(path.join("simulated.json")), ..SimulationSettings::default() };
    let hypervisor = SimulatedHypervisor::new(settings, Arc::clone(clock))
        .map_err(|source| FleetError::Simulation { number, source })?;
    // A machine's watchdog is no simulated host's: it would restart the whole machine.
    let configuration =
        Configuration { state_directory: path, watchdog_device: None, ..configuration.clone() };
    Ok(Member { configuration, identity, state: Arc::new(state), hypervisor: Arc::new(hypervisor) })
}

/// Asks for as many open files as the hosts need. Where that is refused, opening says so itself.
fn allow_open_files(hosts: u32) {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let wanted = u64::from(hosts) + FILES_BESIDES;
    if let Ok((now, most)) = getrlimit(Resource::RLIMIT_NOFILE)
        && now < wanted
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, wanted.min(most), most)
    {
        log::warn!("this process may not have {wanted} files open: {error}");
    }
}

fn open_sockets(members: &[Member]) -> Result<Vec<quinn::Endpoint>, FleetError> {
    // Sockets of the kind that the coordinator's address calls for; a name is taken for one of IPv4, or the other.
    let is_ipv6 = |member: &Member| {
        let address = member.configuration.coordinator.as_ref().unwrap_or(&member.identity.coordinator);
        address.starts_with('[')
    };
    let local = if members.iter().any(is_ipv6) {
        SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))
    } else {
        SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))
    };
    (0..members.len().min(SOCKETS_MAX))
        .map(|_| reeve_common::quic::shared_client_endpoint(local).map_err(FleetError::Socket))
        .collect()
}
