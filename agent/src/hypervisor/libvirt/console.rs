//! Owns the record of a guest's serial console: a file that libvirt's log daemon writes beside the VM's disk, known to
//! libvirt as a volume so that an agent that may not open files can read its end.
//!
//! The volume is made before the domain is defined and goes with the definition. The log daemon starts a new file when
//! one has grown to its limit (2 MiB by default) and keeps a few old ones as `….0`, `….1`, `….2`.

use reeve_common::ids::{PoolName, VmId, VolumeName};
use virt::connect::Connect;
use virt::storage_pool::StoragePool;
use virt::storage_vol::StorageVol;

use super::domain_xml::DiskPlace;
use super::failure::{Failure, failed, not_found};
use super::{domains, storage, volume_xml};

/// What is added to the name of the VM's disk.
const SUFFIX: &str = ".console";
/// What the name of a VM's first disk ends in; of later ones it ends in their generation, which tells them apart.
const DISK_SUFFIX: &str = ".qcow2";
/// As many old files as the log daemon keeps unless it is told otherwise.
const OLD_FILES: u32 = 3;
/// The most that is read at once, whatever is asked for: what fits a reply with room to spare.
const READ_LENGTH_MAX: u32 = 1 << 20;

/// Called like the VM's disk and not like the VM: one that was taken from a lost host has another disk at its new place, and
/// what is left of it on the old one must not be in its way in a pool that both share.
fn volume_name(disk: &VolumeName) -> String {
    let disk = disk.as_str();
    format!("{}{SUFFIX}", disk.strip_suffix(DISK_SUFFIX).unwrap_or(disk))
}

/// Makes the file and returns its path.
pub(super) fn prepare(connect: &Connect, pool: &PoolName, disk: &VolumeName) -> Result<String, Failure> {
    const DOING: &str = "making the console's file";
    let name = volume_name(disk);
    let pool = storage::lookup_pool(connect, pool)?.ok_or_else(|| not_found(format!("the pool {pool}")))?;
    let volume = match storage::lookup_volume(&pool, &name)? {
        Some(volume) => volume,
        None => StorageVol::create_xml(&pool, &volume_xml::empty_file(&name), 0)?,
    };
    match storage::describe(&volume)?.place {
        Some(DiskPlace::File(path)) => Ok(path),
        _ => Err(failed(DOING, "the pool of the VM's disk has no files; turn the console's record off")),
    }
}

/// The end of the console's output; empty when none is kept.
pub(super) fn read_end(connect: &Connect, vm: VmId, length_max: u32) -> Result<Vec<u8>, Failure> {
    let (_, ledger) = domains::ours(connect, vm, "reading the console")?
        .ok_or_else(|| not_found(format!("the domain {vm}")))?;
    let Some((pool, disk)) = ledger.system_disk else { return Ok(Vec::new()) };
    let Some(pool) = storage::lookup_pool(connect, &pool)? else { return Ok(Vec::new()) };
    let name = volume_name(&disk);
    let wanted = usize::try_from(length_max.min(READ_LENGTH_MAX)).unwrap_or(0);
    let mut end = read_volume_end(connect, &pool, &name, wanted)?;
    if end.len() < wanted {
        let mut older = read_volume_end(connect, &pool, &format!("{name}.0"), wanted - end.len())?;
        older.append(&mut end);
        end = older;
    }
    Ok(end)
}

fn read_volume_end(
    connect: &Connect,
    pool: &StoragePool,
    name: &str,
    wanted: usize,
) -> Result<Vec<u8>, Failure> {
    let Some(volume) = storage::lookup_volume(pool, name)? else { return Ok(Vec::new()) };
    let length = storage::describe(&volume)?.capacity.0;
    let offset = length.saturating_sub(u64::try_from(wanted).unwrap_or(u64::MAX));
    if length == 0 || wanted == 0 {
        return Ok(Vec::new());
    }
    storage::read(connect, &volume, offset, wanted)
}

/// Removes the file and its predecessors. A file that stays is a nuisance, not a reason to keep a dead VM's definition.
pub(super) fn remove(connect: &Connect, pool: &PoolName, disk: &VolumeName) {
    if let Err(error) = try_remove(connect, pool, disk) {
        log::warn!("the console file beside {disk} stays in the pool {pool}: {error}");
    }
}

fn try_remove(connect: &Connect, pool: &PoolName, disk: &VolumeName) -> Result<(), Failure> {
    let name = volume_name(disk);
    let Some(pool) = storage::lookup_pool(connect, pool)? else { return Ok(()) };
    let Some(current) = storage::lookup_volume(&pool, &name)? else { return Ok(()) };
    // Only libvirt's look at the pool shows it the files that the log daemon made. It does not look while another volume is
    // being made there; the file that it knows goes all the same.
    if let Err(error) = pool.refresh(0) {
        log::debug!("old console files beside {disk} may stay, the pool cannot be looked at: {error}");
    }
    for number in 0..OLD_FILES {
        storage::delete_from(&pool, &format!("{name}.{number}"))?;
    }
    drop(current);
    storage::delete_from(&pool, &name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_console_is_called_like_its_disk() {
        let name = |disk: &str| volume_name(&VolumeName::new(disk).unwrap());
        assert_eq!(name("web-0a1b2c3d.qcow2"), "web-0a1b2c3d.console");
        assert_eq!(name("web-0a1b2c3d.g2"), "web-0a1b2c3d.g2.console", "the same VM at another place");
    }
}
