//! Owns the record of a guest's serial console: a file that libvirt's log daemon writes beside the VM's disk, known to
//! libvirt as a volume so that an agent that may not open files can read its end.
//!
//! The volume is made before the domain is defined and goes with the definition. The log daemon starts a new file when
//! one has grown to its limit (2 MiB by default) and keeps a few old ones as `….0`, `….1`, `….2`.

use reeve_common::ids::{PoolName, VmId, VmName};
use virt::connect::Connect;
use virt::storage_pool::StoragePool;
use virt::storage_vol::StorageVol;

use super::domain_xml::DiskPlace;
use super::failure::{Failure, failed, not_found};
use super::{domains, storage, volume_xml};

/// What is added to the VM's name.
const SUFFIX: &str = ".console";
/// As many old files as the log daemon keeps unless it is told otherwise.
const OLD_FILES: u32 = 3;
/// The most that is read at once, whatever is asked for: what fits a reply with room to spare.
const READ_LENGTH_MAX: u32 = 1 << 20;

fn volume_name(vm: &str) -> String {
    format!("{vm}{SUFFIX}")
}

/// Makes the file and returns its path.
pub(super) fn prepare(connect: &Connect, pool: &PoolName, vm: &VmName) -> Result<String, Failure> {
    const DOING: &str = "making the console's file";
    let name = volume_name(vm.as_str());
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
    let (domain, ledger) = domains::ours(connect, vm, "reading the console")?
        .ok_or_else(|| not_found(format!("the domain {vm}")))?;
    let Some((pool, _)) = ledger.system_disk else { return Ok(Vec::new()) };
    let Some(pool) = storage::lookup_pool(connect, &pool)? else { return Ok(Vec::new()) };
    let name = volume_name(&domain.name()?);
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
pub(super) fn remove(connect: &Connect, pool: &PoolName, vm: &str) {
    if let Err(error) = try_remove(connect, pool, vm) {
        log::warn!("the console file of {vm} stays in the pool {pool}: {error}");
    }
}

fn try_remove(connect: &Connect, pool: &PoolName, vm: &str) -> Result<(), Failure> {
    let name = volume_name(vm);
    let Some(pool) = storage::lookup_pool(connect, pool)? else { return Ok(()) };
    let Some(current) = storage::lookup_volume(&pool, &name)? else { return Ok(()) };
    // Only libvirt's look at the pool shows it the files that the log daemon made. It does not look while another volume is
    // being made there; the file that it knows goes all the same.
    if let Err(error) = pool.refresh(0) {
        log::debug!("old console files of {vm} may stay, the pool cannot be looked at: {error}");
    }
    for number in 0..OLD_FILES {
        storage::delete_from(&pool, &format!("{name}.{number}"))?;
    }
    drop(current);
    storage::delete_from(&pool, &name)
}
