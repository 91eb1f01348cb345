//! Owns how what was recovered gets into the store: begun by a mark that keeps a coordinator from running on half of it,
//! ended by the mark's removal together with the new epoch.
//!
//! ```text
//!   pending mark ──▶ records, batch by batch ──▶ counters beyond all that was ever given out ──▶ mark removed
//! ```
//!
//! A crash anywhere in between leaves the mark: `recover` begins anew with what is there, and comes to the same end.

use std::collections::{BTreeMap, BTreeSet};

use reeve_common::clock::Timestamp;
use reeve_common::ids::{Epoch, HostId};
use serde::{Deserialize, Serialize};

use super::merging::{Known, Merged};
use crate::model::configuration::Configuration;
use crate::model::host::Host;
use crate::model::vm::Vm;
use crate::records::{
    CONFIGURATIONS, HOST_COUNTER, HOSTS, PAST_VMS, Record, VMS, WORKFLOWS, host_key, vm_key,
};
use crate::store::{
    Batch, Collection, CounterError, InvalidKey, Key, Precondition, RecordError, Store, StoreError,
    advance_beyond, advance_epoch_beyond, last_epoch,
};

/// Epochs that are left out when the last ones cannot be known: as many as a coordinator has that is restarted every
/// second for twelve days after the backup.
pub(crate) const EPOCHS_SKIPPED: u64 = 1 << 20;
/// Host numbers that are left out for the same reason: more hosts than anybody adds between two backups.
pub(crate) const HOST_NUMBERS_SKIPPED: u64 = 10_000;
/// Records in one batch, each a put and perhaps a delete: within the store's limits of operations and bytes.
const RECORDS_AT_ONCE: usize = 16;

const RECOVERY: Collection = Collection::new("recovery");

/// The mark of a store on which no coordinator may run until the hosts have been asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PendingRecovery {
    /// When the backup was made that the store comes from; none when it began empty.
    pub backup_made_at: Option<Timestamp>,
    /// When the mark was set.
    pub since: Timestamp,
}

impl Record for PendingRecovery {
    const KIND: &'static str = "pending-recovery";
}

/// Where the mark lies.
pub(crate) fn pending_key() -> Result<Key, InvalidKey> {
    Key::new(format!("{}/pending", RECOVERY.prefix()))
}

/// Why records could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum WritingError {
    /// The store failed.
    #[error("the store cannot be used")]
    Store(#[from] StoreError),
    /// A record cannot be understood.
    #[error("the store holds something that cannot be used")]
    Record(#[from] RecordError),
    /// A counter cannot be moved.
    #[error("a counter cannot be moved")]
    Counter(#[from] CounterError),
    /// A key cannot be made.
    #[error("a record has no key")]
    Key(#[from] InvalidKey),
}

/// The mark, if the store has it.
///
/// # Errors
/// [`WritingError`] when the store cannot be read.
pub async fn pending_recovery(store: &dyn Store) -> Result<Option<PendingRecovery>, WritingError> {
    let stored = store.get(&pending_key()?).await?;
    Ok(stored.map(|stored| PendingRecovery::decode(&stored)).transpose()?)
}

/// Sets the mark.
pub(super) async fn set_mark(store: &dyn Store, now: Timestamp) -> Result<(), WritingError> {
    let mark = PendingRecovery { backup_made_at: None, since: now };
    store.apply(Batch::new().put(pending_key()?, Precondition::Any, mark.encode()?)).await?;
    Ok(())
}

/// What the store has of what hosts tell.
pub(super) async fn read_known(store: &dyn Store) -> Result<Known, WritingError> {
    let mut known = Known::default();
    for stored in store.list(HOSTS.prefix()).await? {
        let host = Host::decode(&stored)?;
        known.hosts.insert(host.id, host);
    }
    for stored in store.list(VMS.prefix()).await? {
        let mut vm = Vm::decode(&stored)?;
        vm.complete();
        known.vms.insert(vm.id, vm);
    }
    for stored in store.list(PAST_VMS.prefix()).await? {
        known.past.insert(Vm::decode(&stored)?.id);
    }
    for stored in store.list(CONFIGURATIONS.prefix()).await? {
        known.configurations.insert(Configuration::decode(&stored)?.name);
    }
    Ok(known)
}

/// Writes what was recovered, and takes the mark away last. Answers the epoch below which no coordinator will be: the
/// next one to start is above it.
pub(super) async fn write(
    store: &dyn Store,
    merged: &Merged,
    highest_obeyed: Epoch,
    chance: u64,
) -> Result<Epoch, WritingError> {
    let mut puts: Vec<Batch> = Vec::new();
    for host in &merged.hosts {
        puts.push(Batch::new().put(host_key(host.id), Precondition::Any, host.encode()?));
    }
    for configuration in &merged.configurations {
        let key = CONFIGURATIONS.key(&configuration.name);
        puts.push(Batch::new().put(key, Precondition::Any, configuration.encode()?));
    }
    for vm in &merged.vms {
        puts.push(Batch::new().put(vm_key(vm)?, Precondition::Any, vm.encode()?));
    }
    for vm in &merged.ended {
        let over = Batch::new().put(vm_key(vm)?, Precondition::Any, vm.encode()?);
        puts.push(over.delete(VMS.key(&vm.id), Precondition::Any));
    }
    for some in puts.chunks(RECORDS_AT_ONCE) {
        store.apply(Batch::joined(some)).await?;
    }
    let highest_host = merged.hosts.iter().map(|host| u64::from(host.id.0)).max().unwrap_or(0);
    advance_beyond(store, HOST_COUNTER, highest_host.saturating_add(HOST_NUMBERS_SKIPPED)).await?;
    // Chance, so that of two coordinators that were recovered by mistake one is obeyed and not both.
    let highest = highest_obeyed.max(last_epoch(store).await?);
    let floor = Epoch(highest.0.saturating_add(EPOCHS_SKIPPED).saturating_add(chance % EPOCHS_SKIPPED));
    advance_epoch_beyond(store, floor).await?;
    store.apply(Batch::new().delete(pending_key()?, Precondition::Any)).await?;
    Ok(floor)
}

/// Removes the workflows of a restored store: resumed, they would stop and start VMs on the word of an old record. Answers
/// how many there were.
pub(super) async fn drop_workflows(store: &dyn Store) -> Result<usize, WritingError> {
    let stored = store.list(WORKFLOWS.prefix()).await?;
    let removals: Vec<Batch> = stored
        .iter()
        .map(|stored| Batch::new().delete(stored.key.clone(), Precondition::At(stored.version)))
        .collect();
    for some in removals.chunks(RECORDS_AT_ONCE) {
        store.apply(Batch::joined(some)).await?;
    }
    Ok(stored.len())
}

/// The hosts that are waited for: those that have joined once.
pub(super) fn awaited(hosts: &BTreeMap<HostId, Host>) -> BTreeSet<HostId> {
    hosts.values().filter(|host| host.joined_at.is_some()).map(|host| host.id).collect()
}
