//! Owns drives' making and deleting. A drive is recorded first, then its volume is made by a connected agent of its
//! realm, then it is recorded as ready: a crash in between leaves a drive that says so, never a volume without owner.

use std::sync::Arc;
use std::time::Duration;

use reeve_common::ids::{DriveName, HostName, PoolName, RealmName, VolumeName};
use reeve_common::protocol::{CommandBody, ReplyBody};
use reeve_common::storage::{DiskFormat, NewVolume, Volume};
use reeve_common::units::Bytes;
use reeve_common::vm::limits;

use super::catalogue::{check_text, in_use, taken};
use super::core::Kept;
use super::{Actor, Service, ServiceError};
use crate::agents::AgentHandle;
use crate::config::Realm;
use crate::model::drive::Drive;
use crate::model::host::may_be_told;
use crate::records::{DRIVES, Record};
use crate::store::{Batch, Precondition};

/// How long a volume may take to be made or removed: a full allocation of a large drive writes all of it.
const VOLUME_PATIENCE: Duration = Duration::from_secs(600);
/// How long a listing may take; libvirt looks at every volume of the pool.
const LISTING_PATIENCE: Duration = Duration::from_secs(30);

/// What is said when a drive is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDrive {
    /// Its name.
    pub name: DriveName,
    /// Its realm.
    pub realm: RealmName,
    /// Whose it is.
    pub owner: String,
    /// The owner's team.
    pub team: String,
    /// Its size.
    pub size: Bytes,
    /// Its format.
    pub format: DiskFormat,
}

impl Service {
    /// All drives.
    #[must_use]
    pub fn drives(&self) -> Vec<Arc<Drive>> {
        self.core().drives.values().map(|kept| Arc::clone(&kept.value)).collect()
    }

    /// One drive.
    ///
    /// # Errors
    /// [`ServiceError`] when there is none of this name.
    pub fn drive(&self, name: &DriveName) -> Result<Arc<Drive>, ServiceError> {
        let core = self.core();
        let kept = core
            .drives
            .get(name)
            .ok_or_else(|| ServiceError::not_found("drive", name, "reeve drive list"))?;
        Ok(Arc::clone(&kept.value))
    }

    /// Makes a drive and its volume.
    ///
    /// # Errors
    /// [`ServiceError`] when the realm forbids its size, no host of the realm is connected, or its volume cannot be
    /// made; in the last case the drive is not kept.
    pub async fn create_drive(&self, new: NewDrive, actor: &Actor) -> Result<Arc<Drive>, ServiceError> {
        check_text("owner", &new.owner)?;
        check_text("team", &new.team)?;
        let realm = self.known_realm(&new.realm)?;
        check_size(&realm, new.size)?;
        let (host, agent) = self.some_agent(&new.realm)?;
        let _writer = self.inner.catalogue_writer.lock().await;
        if self.core().drives.contains_key(&new.name) {
            return Err(taken("drive", &new.name));
        }
        let volume =
            VolumeName::new(new.name.as_str()).map_err(|error| ServiceError::invalid(error.to_string()))?;
        let drive = Drive {
            name: new.name.clone(),
            realm: new.realm,
            owner: new.owner,
            team: new.team,
            size: new.size,
            format: new.format,
            volume: volume.clone(),
            created_at: self.now(),
            ready: false,
        };
        let kept = self.insert(DRIVES.key(&drive.name), drive, "drive", actor).await?;
        self.core().drives.insert(new.name.clone(), kept.clone());
        let body = CommandBody::CreateVolume(NewVolume {
            pool: realm.drives_pool.clone(),
            name: volume,
            capacity: new.size,
            format: new.format,
            lazy: realm.drives.lazy_allocation,
        });
        if let Err(error) = agent.ask(self, body, VOLUME_PATIENCE).await {
            // The record goes only if the agent said no; if it did not answer, the volume may be there.
            if !error.is_retryable() {
                self.remove(DRIVES.key(&new.name), kept.version, "drive", actor).await?;
                self.core().drives.remove(&new.name);
            }
            return Err(ServiceError {
                message: format!("drive {} on host {host}: {}", new.name, error.message),
                ..error
            });
        }
        let ready = Drive { ready: true, ..Drive::clone(&kept.value) };
        let text = ready.encode().map_err(|error| ServiceError::internal(error.to_string()))?;
        let batch = Batch::new().put(DRIVES.key(&new.name), Precondition::At(kept.version), text);
        let version = self.write(batch).await?;
        let value = Arc::new(ready);
        self.core().drives.insert(new.name, Kept { version, value: Arc::clone(&value) });
        Ok(value)
    }

    /// Deletes a drive with its volume and everything on it.
    ///
    /// # Errors
    /// [`ServiceError`] when there is none, a configuration uses it, or its volume cannot be removed.
    pub async fn delete_drive(&self, name: &DriveName, actor: &Actor) -> Result<(), ServiceError> {
        let _writer = self.inner.catalogue_writer.lock().await;
        let kept = {
            let core = self.core();
            let kept = core
                .drives
                .get(name)
                .ok_or_else(|| ServiceError::not_found("drive", name, "reeve drive list"))?;
            let user = core
                .configurations
                .values()
                .find(|user| user.value.drives.iter().any(|wanted| wanted.drive == *name));
            if let Some(user) = user {
                return Err(in_use("drive", name, "configuration", &user.value.name, "reeve config delete"));
            }
            kept.clone()
        };
        let realm = self.known_realm(&kept.value.realm)?;
        let (host, agent) = self.some_agent(&kept.value.realm)?;
        let body = CommandBody::DeleteVolume { pool: realm.drives_pool, volume: kept.value.volume.clone() };
        agent.ask(self, body, VOLUME_PATIENCE).await.map_err(|error| ServiceError {
            message: format!("drive {name} on host {host}: {}", error.message),
            ..error
        })?;
        self.remove(DRIVES.key(name), kept.version, "drive", actor).await?;
        self.core().drives.remove(name);
        Ok(())
    }

    /// What is in a pool of a realm, as some connected host sees it.
    ///
    /// # Errors
    /// [`ServiceError`] when no host of the realm is connected, or it cannot list the pool.
    pub async fn volumes(
        &self,
        realm: &RealmName,
        pool: &PoolName,
    ) -> Result<(HostName, Vec<Volume>), ServiceError> {
        self.known_realm(realm)?;
        let (host, agent) = self.some_agent(realm)?;
        match agent.ask(self, CommandBody::ListVolumes { pool: pool.clone() }, LISTING_PATIENCE).await? {
            ReplyBody::Volumes(volumes) => Ok((host, volumes)),
            other => Err(ServiceError::internal(format!("host {host} answered something else: {other:?}"))),
        }
    }

    /// A connected agent of a realm, to do what any of them could: the realm's pools are shared by its hosts.
    fn some_agent(&self, realm: &RealmName) -> Result<(HostName, AgentHandle), ServiceError> {
        let core = self.core();
        core.hosts
            .values()
            .filter(|entry| entry.kept.value.realm == *realm && may_be_told(entry.kept.value.state))
            .find_map(|entry| Some((entry.kept.value.name.clone(), entry.agent.clone()?)))
            .ok_or_else(|| {
                ServiceError::unavailable(format!("no host of realm {realm} is connected"))
                    .advise("`reeve host list` shows the hosts and why they are not")
            })
    }
}

/// The realm's limits, and below them what any drive must be.
fn check_size(realm: &Realm, size: Bytes) -> Result<(), ServiceError> {
    if size == Bytes(0) || size > limits::DRIVE_SIZE_MAX {
        return Err(ServiceError::invalid(format!(
            "a drive of {size} cannot be made: drives have from 1 byte to {}",
            limits::DRIVE_SIZE_MAX
        )));
    }
    realm
        .drives
        .check_size(size)
        .map_err(|problem| ServiceError::invalid(format!("realm {}: {problem}", realm.key)))
}
