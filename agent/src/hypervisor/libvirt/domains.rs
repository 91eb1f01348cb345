//! Owns what is done with domains: finding ours, defining, starting, stopping and removing them.
//!
//! Must not: touch a domain that carries no readable ledger entry of ours. Every function runs in a lane.

use std::collections::BTreeMap;

use reeve_common::ids::{VmId, VmName};
use reeve_common::units::{Bytes, Mebibytes};
use reeve_common::vm::{ForeignDomain, VmSpec};
use uuid::Uuid;
use virt::connect::Connect;
use virt::domain::Domain;
use virt::enumutil::Enum;
use virt::error::{Error, ErrorNumber};
use virt::sys;

use super::super::ledger_xml::{self, NAMESPACE, PREFIX, UnreadableLedger};
use super::super::{DomainState, Domains, InactiveCause, LedgerEntry, OwnDomain};
use super::domain_xml::{self, DomainPlan};
use super::failure::{self, Failure, failed, not_found, refused};
use super::ffi::StatisticsRecord;
use super::sizes::Sizes;
use super::{console, ffi, foreign, storage};
use super::{kvm_probe, lock_probe};

/// The kind of metadata that is an XML element of a namespace.
pub(super) const METADATA_ELEMENT: i32 = 2;
/// With the definition goes everything libvirt keeps for it: saved state, snapshots, checkpoints, firmware variables.
const UNDEFINE_FLAGS: sys::virDomainUndefineFlagsValues = sys::VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
    | sys::VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    | sys::VIR_DOMAIN_UNDEFINE_NVRAM
    | sys::VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA;

/// Whose a domain is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ownership {
    /// Ours.
    Own(Box<LedgerEntry>),
    /// Somebody else's.
    Foreign,
    /// It has an element of ours that cannot be read: left alone.
    Unreadable(UnreadableLedger),
    /// It is gone.
    Gone,
}

/// A domain that was looked at, before anyone is told.
pub(super) enum Seen {
    /// Ours.
    Own(OwnDomain),
    /// Not ours; and why not, if it says that it is.
    Foreign(ForeignDomain, Option<UnreadableLedger>),
}

/// The ledger is in the persistent definition: what a running domain has beside it may be older (see [`write_ledger`]).
pub(super) fn ownership(domain: &Domain) -> Result<Ownership, Failure> {
    let read = |flags| domain.metadata(METADATA_ELEMENT, Some(NAMESPACE), flags).map_err(Failure::from);
    let element = match read(sys::VIR_DOMAIN_AFFECT_CONFIG) {
        // Somebody removed the definition under a running domain.
        Err(error) if error.is(ErrorNumber::OperationInvalid) => read(sys::VIR_DOMAIN_AFFECT_CURRENT),
        result => result,
    };
    match element {
        Ok(text) => Ok(match ledger_xml::from_metadata(&text) {
            Ok(ledger) => Ownership::Own(Box::new(ledger)),
            Err(error) => Ownership::Unreadable(error),
        }),
        Err(error) if error.is(ErrorNumber::NoDomainMetadata) => Ok(Ownership::Foreign),
        Err(error) if error.is(ErrorNumber::NoDomain) => Ok(Ownership::Gone),
        Err(error) => Err(error),
    }
}

/// All domains. One that disappears while it is looked at is left out. What all can be asked for at once is; only the
/// ledger is asked of each.
pub(super) fn list(connect: &Connect) -> Result<Vec<Seen>, Failure> {
    let briefs = briefs(connect)?;
    let mut seen = Vec::new();
    for domain in connect.list_all_domains(0)? {
        let brief = briefs.get(&domain.uuid()?).copied();
        seen.extend(look_at(&domain, brief)?);
    }
    Ok(seen)
}

/// What one call tells of every domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Brief {
    /// libvirt's state and reason.
    state: (u32, u32),
    vcpus: u32,
    memory: Mebibytes,
}

/// By the domains' UUIDs; one of which something is missing is left out, and is asked by itself.
fn briefs(connect: &Connect) -> Result<BTreeMap<Uuid, Brief>, Failure> {
    const GROUPS: u32 =
        sys::VIR_DOMAIN_STATS_STATE | sys::VIR_DOMAIN_STATS_VCPU | sys::VIR_DOMAIN_STATS_BALLOON;
    let wanted =
        |name: &str| matches!(name, "state.state" | "state.reason" | "vcpu.current" | "balloon.maximum");
    match ffi::statistics(connect, GROUPS, sys::VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT, wanted) {
        Ok(records) => {
            Ok(records.iter().filter_map(|record| Some((record.domain, brief(record)?))).collect())
        }
        Err(error) => match Failure::from(error) {
            // Drivers without statistics have few domains.
            error if error.is(ErrorNumber::NoSupport) => Ok(BTreeMap::new()),
            error => Err(error),
        },
    }
}

fn brief(record: &StatisticsRecord) -> Option<Brief> {
    let value = |name: &str| record.values.iter().find(|(known, _)| known == name).map(|(_, value)| *value);
    let small = |name: &str| u32::try_from(value(name)?).ok();
    Some(Brief {
        state: (small("state.state")?, small("state.reason")?),
        vcpus: small("vcpu.current")?,
        memory: Bytes(value("balloon.maximum")?.saturating_mul(1024)).mebibytes(),
    })
}

/// The domain of this id.
pub(super) fn find(connect: &Connect, vm: VmId) -> Result<Option<Seen>, Failure> {
    match lookup(connect, vm)? {
        None => Ok(None),
        Some(domain) => look_at(&domain, None),
    }
}

fn look_at(domain: &Domain, brief: Option<Brief>) -> Result<Option<Seen>, Failure> {
    match look_closely(domain, brief) {
        Err(error) if error.is(ErrorNumber::NoDomain) => Ok(None),
        result => result,
    }
}

fn look_closely(domain: &Domain, brief: Option<Brief>) -> Result<Option<Seen>, Failure> {
    let (vm, name) = (VmId(domain.uuid()?), domain.name()?);
    let unreadable = match (ownership(domain)?, VmName::new(name.clone())) {
        (Ownership::Gone, _) => return Ok(None),
        (Ownership::Own(ledger), Ok(name)) => {
            let (vcpus, memory) = size(domain, brief)?;
            let state = state(domain, brief)?;
            return Ok(Some(Seen::Own(OwnDomain { vm, name, state, vcpus, memory, ledger: *ledger })));
        }
        (Ownership::Unreadable(error), _) => Some(error),
        // Ours by its ledger, but renamed by somebody to what we could not have called it.
        (Ownership::Own(_), Err(_)) => Some(UnreadableLedger::Unknown),
        (Ownership::Foreign, _) if is_a_probe(&name) => return Ok(None),
        (Ownership::Foreign, _) => None,
    };
    let foreign = foreign::look(domain, vm, &name, unreadable.is_some(), brief)?;
    Ok(Some(Seen::Foreign(foreign, unreadable)))
}

/// Whether a domain is one that we run to find something out.
fn is_a_probe(name: &str) -> bool {
    [kvm_probe::NAME, lock_probe::NAME].iter().any(|start| name.starts_with(start))
}

/// The sizes of all domains. One that disappears while it is looked at is left out.
pub(super) fn sizes(connect: &Connect) -> Result<Sizes, Failure> {
    let mut sizes = Sizes::new();
    for domain in connect.list_all_domains(0)? {
        match size(&domain, None) {
            Ok(size) => drop(sizes.insert(VmId(domain.uuid()?), size)),
            Err(error) if error.is(ErrorNumber::NoDomain) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(sizes)
}

/// The sizes of the domains of these names. One that is not there is left out.
pub(super) fn sizes_of(connect: &Connect, names: &[String]) -> Result<Sizes, Failure> {
    let mut sizes = Sizes::new();
    for name in names {
        let sized = connect
            .lookup_domain_by_name(name)
            .map_err(Failure::from)
            .and_then(|domain| Ok((VmId(domain.uuid()?), size(&domain, None)?)));
        match sized {
            Ok((vm, size)) => drop(sizes.insert(vm, size)),
            Err(error) if error.is(ErrorNumber::NoDomain) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(sizes)
}

/// Its virtual processors, and the most memory that it may take.
pub(super) fn size(domain: &Domain, brief: Option<Brief>) -> Result<(u32, Mebibytes), Failure> {
    if let Some(Brief { vcpus, memory, .. }) = brief {
        return Ok((vcpus, memory));
    }
    let info = domain.info()?;
    Ok((info.nr_virt_cpu, Bytes(info.max_mem.saturating_mul(1024)).mebibytes()))
}

/// Sorts what was seen.
pub(super) fn sort(seen: Vec<Seen>, mut unreadable: impl FnMut(VmId, &UnreadableLedger)) -> Domains {
    let mut domains = Domains::default();
    for each in seen {
        match each {
            Seen::Own(own) => domains.own.push(own),
            Seen::Foreign(foreign, why) => {
                if let Some(why) = why {
                    unreadable(foreign.id, &why);
                }
                domains.foreign.push(foreign);
            }
        }
    }
    domains
}

pub(super) fn lookup(connect: &Connect, vm: VmId) -> Result<Option<Domain>, Failure> {
    match connect.lookup_domain_by_uuid(vm.0).map_err(Failure::from) {
        Ok(domain) => Ok(Some(domain)),
        Err(error) if error.is(ErrorNumber::NoDomain) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Our domain with its ledger; `None` when there is none.
pub(super) fn ours(
    connect: &Connect,
    vm: VmId,
    doing: &'static str,
) -> Result<Option<(Domain, LedgerEntry)>, Failure> {
    let Some(domain) = lookup(connect, vm)? else { return Ok(None) };
    match ownership(&domain)? {
        Ownership::Own(ledger) => Ok(Some((domain, *ledger))),
        Ownership::Gone => Ok(None),
        Ownership::Foreign | Ownership::Unreadable(_) => Err(refused(
            doing,
            format!(
                "the domain {vm} carries no ledger entry of ours that can be read; rename or remove it with virsh if it must go"
            ),
        )),
    }
}

pub(super) fn existing(connect: &Connect, vm: VmId, doing: &'static str) -> Result<Domain, Failure> {
    ours(connect, vm, doing)?.map(|(domain, _)| domain).ok_or_else(|| not_found(format!("the domain {vm}")))
}

/// Whether it runs, in the trait's words.
pub(super) fn state(domain: &Domain, brief: Option<Brief>) -> Result<DomainState, Error> {
    let (state, reason) = match brief {
        Some(brief) => brief.state,
        None => {
            let (state, reason) = ffi::domain_state(domain)?;
            (u32::try_from(state).unwrap_or(0), u32::try_from(reason).unwrap_or(0))
        }
    };
    let known = state_of(state, reason);
    match known {
        // A crashed guest whose QEMU was kept still owns its disk.
        DomainState::Inactive(InactiveCause::Crashed)
            if state == sys::VIR_DOMAIN_CRASHED && domain.is_active()? =>
        {
            Ok(DomainState::Paused)
        }
        known => Ok(known),
    }
}

/// libvirt's state and reason in the trait's words. What is not known is active: never take for off what may run.
fn state_of(state: u32, reason: u32) -> DomainState {
    match (state, reason) {
        // Between QEMU's start and the guest's first instruction; nobody suspended it.
        (sys::VIR_DOMAIN_PAUSED, sys::VIR_DOMAIN_PAUSED_STARTING_UP) => DomainState::Active,
        (sys::VIR_DOMAIN_PAUSED, sys::VIR_DOMAIN_PAUSED_SHUTTING_DOWN) | (sys::VIR_DOMAIN_SHUTDOWN, _) => {
            DomainState::ShuttingDown
        }
        (sys::VIR_DOMAIN_PAUSED | sys::VIR_DOMAIN_PMSUSPENDED, _) => DomainState::Paused,
        (sys::VIR_DOMAIN_CRASHED, _) => DomainState::Inactive(InactiveCause::Crashed),
        (sys::VIR_DOMAIN_SHUTOFF, reason) => DomainState::Inactive(match reason {
            sys::VIR_DOMAIN_SHUTOFF_SHUTDOWN => InactiveCause::ShutDown,
            sys::VIR_DOMAIN_SHUTOFF_DESTROYED => InactiveCause::Destroyed,
            sys::VIR_DOMAIN_SHUTOFF_CRASHED => InactiveCause::Crashed,
            sys::VIR_DOMAIN_SHUTOFF_FAILED => InactiveCause::Failed,
            _ => InactiveCause::Unknown,
        }),
        _ => DomainState::Active,
    }
}

pub(super) fn define(
    connect: &Connect,
    vm: VmId,
    spec: &VmSpec,
    ledger: &LedgerEntry,
    kvm: bool,
) -> Result<(), Failure> {
    const DOING: &str = "defining the domain";
    ours(connect, vm, DOING)?;
    let plan = DomainPlan {
        vm,
        spec,
        ledger,
        kvm,
        system_disk: storage::place(connect, &spec.system_disk.pool, &spec.system_disk.volume)?,
        image: storage::place(connect, &spec.system_disk.image_pool, &spec.system_disk.image_volume)?,
        drives: spec
            .drives
            .iter()
            .map(|drive| storage::place(connect, &drive.pool, &drive.volume))
            .collect::<Result<_, _>>()?,
        console: if spec.console {
            Some(console::prepare(connect, &spec.system_disk.pool, &spec.system_disk.volume)?)
        } else {
            None
        },
    };
    let document = domain_xml::domain_document(&plan).map_err(|error| refused(DOING, error.to_string()))?;
    match connect.define_domain_xml_flags(&document, 0) {
        Ok(_) => Ok(()),
        // libvirt's word for a name that another domain has.
        Err(error) if error.code() == Enum::Known(ErrorNumber::OperationFailed) => {
            Err(refused(DOING, failure::words(&error)))
        }
        Err(error) => Err(error.into()),
    }
}

pub(super) fn write_ledger(connect: &Connect, vm: VmId, ledger: &LedgerEntry) -> Result<(), Failure> {
    const DOING: &str = "writing the ledger";
    let domain = existing(connect, vm, DOING)?;
    let (active, persistent) = (domain.is_active()?, domain.is_persistent()?);
    let live = if active { sys::VIR_DOMAIN_AFFECT_LIVE } else { 0 };
    let config = if persistent { sys::VIR_DOMAIN_AFFECT_CONFIG } else { 0 };
    let element = ledger_xml::to_metadata(ledger);
    let written =
        domain.set_metadata(METADATA_ELEMENT, Some(&element), Some(PREFIX), Some(NAMESPACE), live | config);
    match written.map_err(Failure::from) {
        // Another call holds the domain, perhaps for ever, as with a QEMU that is stuck. The definition can be
        // replaced all the same, and must: nothing is done to a VM before its ledger says so.
        Err(error) if error.is(ErrorNumber::OperationTimeout) && persistent => {
            let definition = domain.xml_desc(sys::VIR_DOMAIN_XML_INACTIVE | sys::VIR_DOMAIN_XML_SECURE)?;
            let replaced = ledger_xml::replace_in(&definition, ledger)
                .ok_or_else(|| failed(DOING, "the domain's definition has no ledger entry any more"))?;
            connect.define_domain_xml_flags(&replaced, 0)?;
            Ok(())
        }
        result => result,
    }
}

pub(super) fn start(connect: &Connect, vm: VmId) -> Result<(), Failure> {
    let domain = existing(connect, vm, "starting the domain")?;
    match domain.create() {
        Ok(()) => Ok(()),
        Err(_) if domain.is_active()? => Ok(()),
        Err(error) => Err(error.into()),
    }
}

pub(super) fn destroy(connect: &Connect, vm: VmId) -> Result<(), Failure> {
    let Some((domain, _)) = ours(connect, vm, "destroying the domain")? else { return Ok(()) };
    if !domain.is_active()? {
        return Ok(());
    }
    match domain.destroy().map_err(Failure::from) {
        Ok(()) => Ok(()),
        Err(error) if error.is(ErrorNumber::NoDomain) => Ok(()),
        Err(_) if !domain.is_active()? => Ok(()),
        Err(error) => Err(error),
    }
}

pub(super) fn undefine(connect: &Connect, vm: VmId) -> Result<(), Failure> {
    const DOING: &str = "removing the domain's definition";
    let Some((domain, ledger)) = ours(connect, vm, DOING)? else { return Ok(()) };
    // libvirt would agree, and leave a running domain that it forgets when it stops.
    if domain.is_active()? {
        return Err(refused(DOING, "the domain is running"));
    }
    if let Some((pool, disk)) = &ledger.system_disk {
        console::remove(connect, pool, disk);
    }
    match domain.undefine_flags(UNDEFINE_FLAGS).map_err(Failure::from) {
        Err(error) if error.is(ErrorNumber::NoDomain) => Ok(()),
        Err(error) if error.is(ErrorNumber::OperationInvalid) => {
            Err(failed(DOING, "the domain changed its state meanwhile"))
        }
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_of_which_something_is_missing_is_asked_by_itself() {
        let all = [("state.state", 5), ("state.reason", 2), ("vcpu.current", 3), ("balloon.maximum", 2048)];
        let record = |values: &[(&str, u64)]| StatisticsRecord {
            domain: Uuid::nil(),
            values: values.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect(),
        };
        let told = Brief { state: (5, 2), vcpus: 3, memory: Mebibytes(2) };
        assert_eq!(brief(&record(&all)), Some(told));
        for missing in 0..all.len() {
            let mut rest = all.to_vec();
            rest.remove(missing);
            assert_eq!(brief(&record(&rest)), None);
        }
    }

    #[test]
    fn states_are_never_guessed_to_be_off() {
        assert_eq!(state_of(sys::VIR_DOMAIN_RUNNING, 1), DomainState::Active);
        assert_eq!(state_of(sys::VIR_DOMAIN_NOSTATE, 0), DomainState::Active);
        assert_eq!(state_of(4_294_967, 0), DomainState::Active);
        assert_eq!(state_of(sys::VIR_DOMAIN_PAUSED, sys::VIR_DOMAIN_PAUSED_USER), DomainState::Paused);
        assert_eq!(state_of(sys::VIR_DOMAIN_PAUSED, sys::VIR_DOMAIN_PAUSED_STARTING_UP), DomainState::Active);
        assert_eq!(state_of(sys::VIR_DOMAIN_SHUTDOWN, 0), DomainState::ShuttingDown);
        let off = |reason| state_of(sys::VIR_DOMAIN_SHUTOFF, reason);
        assert_eq!(off(sys::VIR_DOMAIN_SHUTOFF_SHUTDOWN), DomainState::Inactive(InactiveCause::ShutDown));
        assert_eq!(off(sys::VIR_DOMAIN_SHUTOFF_CRASHED), DomainState::Inactive(InactiveCause::Crashed));
        assert_eq!(off(sys::VIR_DOMAIN_SHUTOFF_DESTROYED), DomainState::Inactive(InactiveCause::Destroyed));
        assert_eq!(off(sys::VIR_DOMAIN_SHUTOFF_FAILED), DomainState::Inactive(InactiveCause::Failed));
        assert_eq!(off(sys::VIR_DOMAIN_SHUTOFF_UNKNOWN), DomainState::Inactive(InactiveCause::Unknown));
    }
}
