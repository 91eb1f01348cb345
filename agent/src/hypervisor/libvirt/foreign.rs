//! Owns what is done with domains that somebody else made: looking at one, taking it in as it is, and giving it back.
//!
//! ```text
//!   somebody else's ──adopt: our ledger is written into it──▶ ours, running on
//!         ▲                                                     │
//!         └──────────── release: our ledger is taken out ◀──────┘
//! ```
//!
//! Must not: change anything of the domain but its ledger.

use reeve_common::ids::{PoolName, VmId, VmName, VolumeName};
use reeve_common::text::{TEXT_LENGTH_MAX, printable};
use reeve_common::vm::limits::ADOPTED_DISKS_MAX;
use reeve_common::vm::{AdoptionObstacle, DomainDisk, ForeignDomain};
use virt::connect::Connect;
use virt::domain::Domain;
use virt::error::ErrorNumber;
use virt::sys;

use super::super::ledger_xml::{self, NAMESPACE, PREFIX};
use super::super::{DomainState, LedgerEntry};
use super::domains::{self, Brief, METADATA_ELEMENT, Ownership};
use super::failure::{Failure, failed, not_found, refused};
use super::foreign_xml::{self, DiskSource, ForeignDisk};

/// What is reported of a domain that is not ours; `spoilt`: it has a ledger of ours that cannot be read.
pub(super) fn look(
    domain: &Domain,
    id: VmId,
    name: &str,
    spoilt: bool,
    brief: Option<Brief>,
) -> Result<ForeignDomain, Failure> {
    let (vcpus, memory) = domains::size(domain, brief)?;
    let state = domains::state(domain, brief)?;
    let active = !matches!(state, DomainState::Inactive(_));
    let obstacle = if spoilt {
        Some(AdoptionObstacle::SpoiltLedger)
    } else if !active {
        Some(AdoptionObstacle::Off)
    } else if !domain.is_persistent()? {
        Some(AdoptionObstacle::Transient)
    } else if VmName::new(name).is_err() {
        Some(AdoptionObstacle::Name)
    } else {
        let definition = definition(domain)?;
        // What cannot be read is not taken for nobody's.
        match foreign_xml::managed_by(&definition) {
            Ok(managed) => managed.map(AdoptionObstacle::Managed),
            Err(error) => Some(AdoptionObstacle::Managed(error.to_string())),
        }
    };
    let name = printable(name, TEXT_LENGTH_MAX);
    let paused = state == DomainState::Paused;
    Ok(ForeignDomain { id, name, active, vcpus, memory, paused, obstacle })
}

/// One domain that is not ours, with its disks.
pub(super) fn describe(
    connect: &Connect,
    id: VmId,
) -> Result<Option<(ForeignDomain, Vec<DomainDisk>)>, Failure> {
    const DOING: &str = "looking at the domain";
    let Some(domains::Seen::Foreign(foreign, _)) = domains::find(connect, id)? else { return Ok(None) };
    let Some(domain) = domains::lookup(connect, id)? else { return Ok(None) };
    let disks =
        foreign_xml::disks(&definition(&domain)?).map_err(|error| failed(DOING, error.to_string()))?;
    if disks.len() > ADOPTED_DISKS_MAX {
        let why = format!("{} disks are more than the {ADOPTED_DISKS_MAX} a VM can have", disks.len());
        return Err(refused(DOING, why));
    }
    Ok(Some((foreign, disks.into_iter().map(|disk| place(connect, disk)).collect())))
}

/// The definition that counts when it runs: what its QEMU has.
fn definition(domain: &Domain) -> Result<String, Failure> {
    Ok(domain.xml_desc(0)?)
}

/// A disk with the volume that it is, where libvirt knows it as one.
fn place(connect: &Connect, disk: ForeignDisk) -> DomainDisk {
    let ForeignDisk { source, read_only } = disk;
    let named = |pool: &str, volume: &str| {
        Some((PoolName::new(pool.to_owned()).ok()?, VolumeName::new(volume.to_owned()).ok()?))
    };
    let (source, volume) = match source {
        DiskSource::Path(path) => {
            let found = connect.lookup_storage_vol_by_path(&path).ok();
            let volume = found.and_then(|volume| {
                let pool = volume.lookup_storage_pool().ok()?;
                named(&pool.name().ok()?, &volume.name().ok()?)
            });
            (path, volume)
        }
        DiskSource::Volume { pool, volume } => {
            let known = named(&pool, &volume);
            (format!("{pool}/{volume}"), known)
        }
        DiskSource::Other(words) => (words, None),
        DiskSource::Nothing => (String::new(), None),
    };
    DomainDisk { source: printable(&source, TEXT_LENGTH_MAX), volume, read_only }
}

pub(super) fn adopt(connect: &Connect, vm: VmId, ledger: &LedgerEntry) -> Result<(), Failure> {
    const DOING: &str = "adopting the domain";
    match domains::find(connect, vm)? {
        None => return Err(not_found(format!("the domain {vm}"))),
        Some(domains::Seen::Own(_)) => return domains::write_ledger(connect, vm, ledger),
        Some(domains::Seen::Foreign(foreign, _)) => {
            if let Some(obstacle) = foreign.obstacle {
                return Err(refused(DOING, obstacle.to_string()));
            }
        }
    }
    let Some(domain) = domains::lookup(connect, vm)? else {
        return Err(not_found(format!("the domain {vm}")));
    };
    // Both at once, or neither: a domain that stopped meanwhile is not adopted.
    let flags = sys::VIR_DOMAIN_AFFECT_LIVE | sys::VIR_DOMAIN_AFFECT_CONFIG;
    let element = ledger_xml::to_metadata(ledger);
    match domain.set_metadata(METADATA_ELEMENT, Some(&element), Some(PREFIX), Some(NAMESPACE), flags) {
        Ok(()) => Ok(()),
        Err(error) => {
            let error = Failure::from(error);
            if error.is(ErrorNumber::OperationInvalid) {
                return Err(refused(DOING, AdoptionObstacle::Off.to_string()));
            }
            Err(error)
        }
    }
}

pub(super) fn release(connect: &Connect, vm: VmId) -> Result<(), Failure> {
    let Some(domain) = domains::lookup(connect, vm)? else { return Ok(()) };
    match domains::ownership(&domain)? {
        Ownership::Own(_) => {}
        Ownership::Foreign | Ownership::Unreadable(_) | Ownership::Gone => return Ok(()),
    }
    let live = if domain.is_active()? { sys::VIR_DOMAIN_AFFECT_LIVE } else { 0 };
    let config = if domain.is_persistent()? { sys::VIR_DOMAIN_AFFECT_CONFIG } else { 0 };
    domain.set_metadata(METADATA_ELEMENT, None, Some(PREFIX), Some(NAMESPACE), live | config)?;
    Ok(())
}
