//! Owns what is done with pools and volumes.
//!
//! Must not: open a file itself: the agent may not, and libvirt knows where the bytes are. Every function runs in a
//! lane.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use reeve_common::ids::{PoolName, VolumeName};
use reeve_common::storage::{DiskFormat, NewVolume, PoolReport, PoolState, Volume};
use reeve_common::units::Bytes;
use reeve_common::vm::VmSpec;
use virt::connect::Connect;
use virt::error::ErrorNumber;
use virt::storage_pool::StoragePool;
use virt::storage_vol::StorageVol;
use virt::stream::Stream;
use virt::sys;

use super::domain_xml::DiskPlace;
use super::failure::{Failure, failed, not_found, refused};
use super::image_header::{self, HEADER_LENGTH};
use super::volume_xml::{self, VolumeFacts};

/// The most volumes of one pool that are listed: what is beyond belongs into a database, not into a reply.
const VOLUMES_MAX: usize = 10_000;
/// As many images as one host sees; the judgement of any other is repeated.
const JUDGED_IMAGES_MAX: usize = 256;
/// The piece in which a volume's bytes are read; libvirt's own messages carry 256 KiB.
const READ_LENGTH: usize = 64 * 1024;

/// Images that were found fit, with all that would change if they did. An image is read once, not at every start.
#[derive(Debug, Default)]
pub(super) struct JudgedImages(Mutex<BTreeMap<String, (VolumeFacts, Bytes)>>);

pub(super) fn lookup_pool(connect: &Connect, name: &PoolName) -> Result<Option<StoragePool>, Failure> {
    match connect.lookup_storage_pool_by_name(name.as_str()).map_err(Failure::from) {
        Ok(pool) => Ok(Some(pool)),
        Err(error) if error.is(ErrorNumber::NoStoragePool) => Ok(None),
        Err(error) => Err(error),
    }
}

fn active_pool(connect: &Connect, name: &PoolName, doing: &'static str) -> Result<StoragePool, Failure> {
    let pool = lookup_pool(connect, name)?.ok_or_else(|| not_found(format!("the pool {name}")))?;
    if pool.is_active()? {
        return Ok(pool);
    }
    Err(failed(doing, format!("the pool {name} is not started; start it with `virsh pool-start {name}`")))
}

/// What each pool is, after `refresh` where that is asked for.
pub(super) fn reports(
    connect: &Connect,
    names: &[PoolName],
    refresh: bool,
) -> Result<Vec<PoolReport>, Failure> {
    let state = |name: &PoolName| -> Result<PoolState, Failure> {
        let Some(pool) = lookup_pool(connect, name)? else { return Ok(PoolState::Missing) };
        if refresh {
            try_refresh(&pool, name)?;
        }
        if !pool.is_active()? {
            return Ok(PoolState::Inactive);
        }
        let info = pool.info()?;
        Ok(PoolState::Active { capacity: Bytes(info.capacity), available: Bytes(info.available) })
    };
    names.iter().map(|name| Ok(PoolReport { name: name.clone(), state: state(name)? })).collect()
}

/// Lets libvirt look at the pool again. While a volume of it is being filled libvirt cannot; then what it knows stands.
fn try_refresh(pool: &StoragePool, name: &PoolName) -> Result<(), Failure> {
    match pool.refresh(0).map_err(Failure::from) {
        Ok(()) => Ok(()),
        Err(Failure::Libvirt(error))
            if pool.connect().and_then(|connect| connect.is_alive()).unwrap_or(false) =>
        {
            log::debug!("the pool {name} was not refreshed: {}", error.message());
            Ok(())
        }
        Err(error) => Err(error),
    }
}

pub(super) fn list(connect: &Connect, name: &PoolName) -> Result<Vec<Volume>, Failure> {
    const DOING: &str = "listing the pool";
    let pool = active_pool(connect, name, DOING)?;
    try_refresh(&pool, name)?;
    let volumes = pool.list_all_volumes(0)?;
    if volumes.len() > VOLUMES_MAX {
        let why =
            format!("the pool {name} has {} volumes, and at most {VOLUMES_MAX} are listed", volumes.len());
        return Err(refused(DOING, why));
    }
    let mut listed = Vec::with_capacity(volumes.len());
    for volume in volumes {
        match describe(&volume) {
            Ok(facts) => listed.extend(facts.report()),
            Err(error) if error.is(ErrorNumber::NoStorageVolume) => {} // removed meanwhile
            Err(error) => return Err(error),
        }
    }
    listed.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(listed)
}

pub(super) fn describe(volume: &StorageVol) -> Result<VolumeFacts, Failure> {
    let document = volume.xml_desc(0)?;
    VolumeFacts::read(&document).ok_or_else(|| {
        failed("reading the volume's description", "libvirt gave a description that cannot be read")
    })
}

/// A volume of a pool, by what libvirt knows without looking again.
pub(super) fn lookup_volume(pool: &StoragePool, name: &str) -> Result<Option<StorageVol>, Failure> {
    match pool.lookup_storage_vol_by_name(name).map_err(Failure::from) {
        Ok(volume) => Ok(Some(volume)),
        Err(error) if error.is(ErrorNumber::NoStorageVolume) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A volume that has to be there. Where libvirt does not know it, it may have been put there by hand since the pool was
/// last looked at.
fn existing_volume(
    connect: &Connect,
    pool_name: &PoolName,
    name: &VolumeName,
) -> Result<(StorageVol, VolumeFacts), Failure> {
    let pool = active_pool(connect, pool_name, "looking up the volume")?;
    let volume = match lookup_volume(&pool, name.as_str())? {
        Some(volume) => Some(volume),
        None => {
            try_refresh(&pool, pool_name)?;
            lookup_volume(&pool, name.as_str())?
        }
    };
    let volume = volume.ok_or_else(|| not_found(format!("the volume {name} in the pool {pool_name}")))?;
    let facts = describe(&volume)?;
    Ok((volume, facts))
}

/// Where a volume's bytes are on this host.
pub(super) fn place(connect: &Connect, pool: &PoolName, name: &VolumeName) -> Result<DiskPlace, Failure> {
    let (_, facts) = existing_volume(connect, pool, name)?;
    place_of(facts, pool, name)
}

fn place_of(facts: VolumeFacts, pool: &PoolName, name: &VolumeName) -> Result<DiskPlace, Failure> {
    facts.place.ok_or_else(|| {
        let why =
            format!("the volume {name} in the pool {pool} is neither a file nor a block device of this host");
        refused("using the volume", why)
    })
}

pub(super) fn create(connect: &Connect, new: &NewVolume) -> Result<(), Failure> {
    const DOING: &str = "creating the volume";
    let pool = active_pool(connect, &new.pool, DOING)?;
    let same = |facts: &VolumeFacts| {
        facts.capacity == new.capacity && facts.format == new.format.as_str() && facts.backing.is_none()
    };
    if let Some(volume) = lookup_volume(&pool, new.name.as_str())? {
        return accept_if(same(&describe(&volume)?), DOING, &new.pool, &new.name);
    }
    let available = Bytes(pool.info()?.available);
    if !new.lazy && available < new.capacity {
        let why = format!(
            "the pool {} has {available} left, and {} are to be taken now; free some, or create it lazily",
            new.pool, new.capacity
        );
        return Err(failed(DOING, why));
    }
    // Without the flag a qcow2 volume takes no space until it is written, whatever its allocation says.
    let preallocate = !new.lazy && new.format == DiskFormat::Qcow2;
    let flags = if preallocate { sys::VIR_STORAGE_VOL_CREATE_PREALLOC_METADATA } else { 0 };
    match StorageVol::create_xml(&pool, &volume_xml::empty_volume(new), flags).map_err(Failure::from) {
        Ok(_) => Ok(()),
        Err(error) if error.is(ErrorNumber::StorageVolExist) => {
            let (_, facts) = existing_volume(connect, &new.pool, &new.name)?;
            accept_if(same(&facts), DOING, &new.pool, &new.name)
        }
        Err(error) => Err(error),
    }
}

fn accept_if(same: bool, doing: &'static str, pool: &PoolName, name: &VolumeName) -> Result<(), Failure> {
    if same {
        return Ok(());
    }
    let why = format!(
        "the pool {pool} has a volume {name} already that is not the one asked for; choose another name"
    );
    Err(refused(doing, why))
}

pub(super) fn create_system_disk(
    connect: &Connect,
    spec: &VmSpec,
    judged: &JudgedImages,
) -> Result<(), Failure> {
    const DOING: &str = "creating the system disk";
    let disk = &spec.system_disk;
    let (image, facts) = existing_volume(connect, &disk.image_pool, &disk.image_volume)?;
    let capacity =
        judge_image(connect, &image, &facts, disk.image_format, judged).map_err(|error| match error {
            Judgement::Unfit(why) => refused(
                DOING,
                format!(
                    "the image {} in the pool {} cannot be used: {why}",
                    disk.image_volume, disk.image_pool
                ),
            ),
            Judgement::Failure(error) => error,
        })?;
    let image_path = match place_of(facts, &disk.image_pool, &disk.image_volume)? {
        DiskPlace::File(path) | DiskPlace::Block(path) => path,
    };
    let same = |facts: &VolumeFacts| {
        facts.format == DiskFormat::Qcow2.as_str() && facts.backing.as_ref() == Some(&image_path)
    };
    let pool = active_pool(connect, &disk.pool, DOING)?;
    if let Some(volume) = lookup_volume(&pool, disk.volume.as_str())? {
        return accept_if(same(&describe(&volume)?), DOING, &disk.pool, &disk.volume);
    }
    let document = volume_xml::child_volume(&disk.volume, capacity, &image_path, disk.image_format);
    match StorageVol::create_xml(&pool, &document, 0).map_err(Failure::from) {
        Ok(_) => Ok(()),
        Err(error) if error.is(ErrorNumber::StorageVolExist) => {
            let (_, facts) = existing_volume(connect, &disk.pool, &disk.volume)?;
            accept_if(same(&facts), DOING, &disk.pool, &disk.volume)
        }
        Err(error) => Err(error),
    }
}

enum Judgement {
    Unfit(image_header::UnfitImage),
    Failure(Failure),
}

/// The size a VM will see of the image, if it is fit. A qcow2 file's size is the one in its own header: libvirt may
/// have looked at it before it was complete.
fn judge_image(
    connect: &Connect,
    image: &StorageVol,
    facts: &VolumeFacts,
    format: DiskFormat,
    judged: &JudgedImages,
) -> Result<Bytes, Judgement> {
    let key = format!("{:?} {}", facts.place, format.as_str());
    let known = judged.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
    if let Some((then, capacity)) = known
        && then == *facts
    {
        return Ok(capacity);
    }
    let header = read(connect, image, 0, HEADER_LENGTH).map_err(Judgement::Failure)?;
    let capacity = image_header::judge(&header, format, facts.capacity).map_err(Judgement::Unfit)?;
    let mut judged = judged.0.lock().unwrap_or_else(PoisonError::into_inner);
    if judged.len() >= JUDGED_IMAGES_MAX {
        judged.clear();
    }
    judged.insert(key, (facts.clone(), capacity));
    Ok(capacity)
}

pub(super) fn delete(connect: &Connect, pool: &PoolName, name: &VolumeName) -> Result<(), Failure> {
    let pool = active_pool(connect, pool, "deleting the volume")?;
    delete_from(&pool, name.as_str())
}

pub(super) fn delete_from(pool: &StoragePool, name: &str) -> Result<(), Failure> {
    let Some(volume) = lookup_volume(pool, name)? else { return Ok(()) };
    match volume.delete(0).map_err(Failure::from) {
        Err(error) if error.is(ErrorNumber::NoStorageVolume) => Ok(()),
        result => result,
    }
}

/// At most `length` bytes of a volume from `offset` on; fewer where it ends.
pub(super) fn read(
    connect: &Connect,
    volume: &StorageVol,
    offset: u64,
    length: usize,
) -> Result<Vec<u8>, Failure> {
    let stream = Stream::new(connect, 0)?;
    let length_wire = u64::try_from(length).unwrap_or(u64::MAX);
    volume.download(&stream, offset, length_wire, 0)?;
    let mut bytes = Vec::with_capacity(length.min(READ_LENGTH));
    let mut piece = vec![0; READ_LENGTH];
    while bytes.len() < length {
        let count = usize::try_from(stream.recv(&mut piece)?).unwrap_or(0);
        match piece.get(..count) {
            None | Some([]) => break,
            Some(more) => bytes.extend_from_slice(more),
        }
    }
    bytes.truncate(length);
    // Everything asked for is here; a stream that ends badly now, as a growing file's may, changes nothing.
    if let Err(error) = stream.finish() {
        log::debug!("a volume's stream ended with: {}", error.message());
    }
    Ok(bytes)
}

/// Writes `bytes` to the start of a volume.
pub(super) fn write(connect: &Connect, volume: &StorageVol, bytes: &[u8]) -> Result<(), Failure> {
    let stream = Stream::new(connect, 0)?;
    volume.upload(&stream, 0, u64::try_from(bytes.len()).unwrap_or(u64::MAX), 0)?;
    let mut left = bytes;
    while !left.is_empty() {
        let count = usize::try_from(stream.send(left)?).unwrap_or(0);
        left = left.get(count.max(1)..).unwrap_or_default();
    }
    stream.finish()?;
    Ok(())
}
