//! Owns `reeve-coordinator recover`: opens the port, asks, brings together, writes, and tells.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reeve_common::clock::Clock;
use reeve_common::ids::{Epoch, HostName, ProfileName};
use reeve_common::wire::RefusalCode;
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::time::Instant;

use super::gathering::{HostAnswer, gather};
use super::merging::{Known, Merged, merge};
use super::telling;
use super::writing::{self, WritingError};
use crate::agents::{ListenError, listen};
use crate::config::CoordinatorConfig;
use crate::pki::{Authority, AuthorityError, IssueError};
use crate::store::{MemoryStore, OpenError, SqliteStore, Store};

/// How long agents are given to hear why their connection ends.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoverRequest {
    /// How long agents are waited for at most.
    pub wait: Duration,
    /// It ends as soon as so many hosts have answered, and those that the store knows; the whole time when none is given
    /// and the store knows none.
    pub hosts: Option<usize>,
    /// The hardware profile of hosts that are not known; none where the configuration has but one.
    pub profile: Option<ProfileName>,
    /// The same for single hosts.
    pub profiles: BTreeMap<HostName, ProfileName>,
    /// On a store that is in use, too: take in what hosts have that it does not know.
    pub again: bool,
    /// Only say what would become of it.
    pub dry_run: bool,
}

/// What was recovered.
#[derive(Debug)]
pub struct Recovered {
    /// What the hosts said.
    pub answers: Vec<HostAnswer>,
    /// What was made of it.
    pub merged: Merged,
    /// The next coordinator's epoch is above this one; none when nothing was written.
    pub epoch: Option<Epoch>,
    /// All of it for people, a line each.
    pub lines: Vec<String>,
}

/// Why nothing was recovered.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The authority is not there.
    #[error(
        "the certificate authority cannot be used, and without it no agent can be let in: put the pki directory of a backup in its place, or restore the backup"
    )]
    Authority(#[from] AuthorityError),
    /// The coordinator cannot certify itself.
    #[error("the coordinator's own certificate cannot be made")]
    Certificate(#[from] IssueError),
    /// The store cannot be opened.
    #[error("the store cannot be opened")]
    Store(#[from] OpenError),
    /// The store cannot be read or written.
    #[error("the store cannot be used")]
    Writing(#[from] WritingError),
    /// It has records already.
    #[error(
        "the store {} has records: there is nothing to recover; to take in what hosts have that it does not know, add --again",
        path.display()
    )]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The port cannot be opened.
    #[error("the port for agents cannot be served")]
    Listen(#[from] ListenError),
    /// It must be said which profile hosts have.
    #[error(
        "no agent knows its host's hardware profile: say it with --profile NAME; the configuration has {known}"
    )]
    ProfileNeeded {
        /// Those there are.
        known: String,
    },
    /// There is no such profile.
    #[error("there is no hardware profile {name} in the configuration, which has {known}")]
    UnknownProfile {
        /// The one that was said.
        name: ProfileName,
        /// Those there are.
        known: String,
    },
    /// Nobody answered.
    #[error(
        "no host has answered within {}: nothing was written; see that agents reach UDP {address} of this machine and that the authority is the one they joined",
        reeve_common::units::format_duration(*waited)
    )]
    NobodyAnswered {
        /// For how long.
        waited: Duration,
        /// Where.
        address: std::net::SocketAddr,
    },
    /// There is no randomness.
    #[error("this machine gives no random numbers")]
    Randomness,
}

/// Asks the hosts what is there and writes it into the store.
///
/// # Errors
/// [`RecoverError`]; nothing has been written then, or `recover` has to be run again and no coordinator runs before that.
pub async fn recover(
    config: CoordinatorConfig,
    request: &RecoverRequest,
    clock: Arc<dyn Clock>,
) -> Result<Recovered, RecoverError> {
    let default_profile = check_profiles(&config, request)?;
    let authority = Authority::open(&config.pki_directory(), clock.now())?;
    let (store, known, pending) = open_store(&config, request).await?;

    let credentials = authority.server_credentials(clock.now())?;
    let address = config.agent_listen;
    let endpoint = listen(address, &credentials, &authority.lasting_keys(), Arc::clone(&clock))?;
    log::info!(
        "waiting for agents on UDP {address}, for {} at most",
        reeve_common::units::format_duration(request.wait)
    );
    let awaited = writing::awaited(&known.hosts);
    // Without a number and without known hosts nobody can say that all are here.
    let count = request.hosts.unwrap_or(if awaited.is_empty() { usize::MAX } else { 0 });
    let until = Instant::now() + request.wait;
    let config = Arc::new(config);
    let answers =
        gather(endpoint.clone(), Arc::clone(&config), Arc::clone(&clock), awaited, count, until).await;
    endpoint.close(RefusalCode::ShuttingDown.number(), b"the coordinator begins its work");
    // Those that do not hear it notice by themselves.
    let _ = tokio::time::timeout(FAREWELL_TIMEOUT, endpoint.wait_idle()).await;
    if answers.is_empty() {
        return Err(RecoverError::NobodyAnswered { waited: request.wait, address });
    }

    let profile_of = |name: &HostName| request.profiles.get(name).unwrap_or(&default_profile).clone();
    let now = clock.now();
    let mut merged = merge(&known, &answers, profile_of, now);
    let highest = answers.iter().map(|answer| answer.highest_epoch).max().unwrap_or_default();
    let epoch = if request.dry_run {
        None
    } else {
        let mut outdated = 0;
        if pending {
            outdated = writing::drop_outdated(store.as_ref()).await?;
        } else {
            writing::set_mark(store.as_ref(), now).await?;
        }
        if outdated > 0 {
            merged.findings.add(format!(
                "{outdated} workflows and fences of the saved records were dropped: begin anew those that are wanted"
            ));
        }
        Some(writing::write(store.as_ref(), &merged, highest, chance()?).await?)
    };
    let lines = telling::tell(&known, &answers, &merged, epoch);
    Ok(Recovered { answers, merged, epoch, lines })
}

/// The store, what it has, and whether it waits for its recovery: made where there is none.
async fn open_store(
    config: &CoordinatorConfig,
    request: &RecoverRequest,
) -> Result<(Box<dyn Store>, Known, bool), RecoverError> {
    let path = config.store_path();
    let store: Box<dyn Store> = match SqliteStore::open(&path) {
        Ok(store) => Box::new(store),
        Err(OpenError::Missing { .. }) if request.dry_run => Box::new(MemoryStore::new()),
        Err(OpenError::Missing { .. }) => Box::new(SqliteStore::create(&path)?),
        Err(error) => return Err(error.into()),
    };
    let known = writing::read_known(store.as_ref()).await?;
    let pending = writing::pending_recovery(store.as_ref()).await?.is_some();
    let empty = known.hosts.is_empty() && known.vms.is_empty() && known.configurations.is_empty();
    if !(pending || empty || request.again) {
        return Err(RecoverError::InUse { path });
    }
    Ok((store, known, pending))
}

/// The profile of hosts for which none is said.
fn check_profiles(config: &CoordinatorConfig, request: &RecoverRequest) -> Result<ProfileName, RecoverError> {
    let known = || {
        let names: Vec<&str> = config.hardware_profiles.keys().map(ProfileName::as_str).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    };
    let said = request.profile.iter().chain(request.profiles.values());
    if let Some(name) = said.into_iter().find(|name| !config.hardware_profiles.contains_key(*name)) {
        return Err(RecoverError::UnknownProfile { name: name.clone(), known: known() });
    }
    let mut all = config.hardware_profiles.keys();
    match (&request.profile, all.next(), all.next()) {
        (Some(profile), _, _) | (None, Some(profile), None) => Ok(profile.clone()),
        (None, _, _) => Err(RecoverError::ProfileNeeded { known: known() }),
    }
}

fn chance() -> Result<u64, RecoverError> {
    let mut bytes = [0; 8];
    SystemRandom::new().fill(&mut bytes).map_err(|_| RecoverError::Randomness)?;
    Ok(u64::from_le_bytes(bytes))
}
