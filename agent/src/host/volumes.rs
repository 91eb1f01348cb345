//! Owns the answers to the commands that read a console or work on volumes. Only the realm's own pools can be named,
//! and a disk that belongs to a VM kept here is not removed on command: it goes with its VM.

use reeve_common::ids::{PoolName, VmId, VolumeName};
use reeve_common::protocol::{Refusal, ReplyBody};
use reeve_common::storage::NewVolume;
use reeve_common::text::chain;
use reeve_common::units::Bytes;
use reeve_common::vm::limits::DRIVE_SIZE_MAX;
use reeve_common::wire::limits::VOLUMES_MAX;

use super::{Host, not_recorded, pool_names};
use crate::hypervisor::HypervisorError;
use crate::state_directory::CONSOLE_LENGTH_MAX;
use crate::vm::driver::CallKind;

impl Host {
    pub(super) async fn read_console(&self, vm: VmId, length_max: u32) -> Result<ReplyBody, Refusal> {
        let length_max = length_max.min(CONSOLE_LENGTH_MAX);
        if self.is_kept(vm) {
            let read =
                self.driver().call(CallKind::Ordinary, move |hypervisor| hypervisor.console(vm, length_max));
            match read.await {
                Ok(output) => return Ok(ReplyBody::Console(output)),
                // Between the last look and now it may have gone; what was kept of it says the rest.
                Err(HypervisorError::NotFound { .. }) => {}
                Err(error) => return Err(failed(&error)),
            }
        }
        let kept = self.driver().remember(move |state| state.console(vm, length_max)).await;
        let kept = kept.map_err(|error| not_recorded(&error))?;
        Ok(ReplyBody::Console(kept.unwrap_or_default()))
    }

    pub(super) async fn list_volumes(&self, pool: PoolName) -> Result<ReplyBody, Refusal> {
        self.check_pool(&pool)?;
        let listed =
            self.driver().call(CallKind::Ordinary, move |hypervisor| hypervisor.volumes(&pool)).await;
        let mut volumes = listed.map_err(|error| failed(&error))?;
        // As many as fit a message.
        volumes.truncate(VOLUMES_MAX);
        Ok(ReplyBody::Volumes(volumes))
    }

    pub(super) async fn create_volume(&self, volume: NewVolume) -> Result<ReplyBody, Refusal> {
        self.check_pool(&volume.pool)?;
        if volume.capacity == Bytes(0) || volume.capacity > DRIVE_SIZE_MAX {
            return Err(Refusal::Invalid(format!(
                "a volume of {} is outside of the limits of 1 B to {DRIVE_SIZE_MAX}",
                volume.capacity
            )));
        }
        let made = self.driver().call(CallKind::Storage, move |hypervisor| hypervisor.create_volume(&volume));
        made.await.map_err(|error| failed(&error))?;
        Ok(ReplyBody::Accepted)
    }

    pub(super) async fn delete_volume(
        &self,
        pool: PoolName,
        volume: VolumeName,
    ) -> Result<ReplyBody, Refusal> {
        self.check_pool(&pool)?;
        let disk = (pool, volume);
        if let Some(owner) = self.owner_of_disk(&disk) {
            return Err(Refusal::Invalid(format!(
                "volume {} of pool {} is the system disk of VM {owner} and goes with it",
                disk.1, disk.0
            )));
        }
        let (pool, volume) = disk;
        let removed =
            self.driver().call(CallKind::Storage, move |hypervisor| hypervisor.delete_volume(&pool, &volume));
        removed.await.map_err(|error| failed(&error))?;
        Ok(ReplyBody::Accepted)
    }

    fn check_pool(&self, pool: &PoolName) -> Result<(), Refusal> {
        let Some(names) = self.settings().borrow().as_ref().map(pool_names) else {
            return Err(Refusal::Failed("this host has not been told its realm's pools yet".to_owned()));
        };
        if names.contains(pool) {
            return Ok(());
        }
        let [volumes, drives, bricks] = names.as_slice() else {
            return Err(Refusal::Invalid(format!("pool {pool} is not one of this host's realm")));
        };
        Err(Refusal::Invalid(format!(
            "pool {pool} is not one of this host's realm, which are {volumes}, {drives} and {bricks}"
        )))
    }
}

fn failed(error: &HypervisorError) -> Refusal {
    let why = chain(error);
    if error.is_retryable() { Refusal::Failed(why) } else { Refusal::Invalid(why) }
}
