//! Owns what libvirt says of its host, and the verdict on KVM.
//!
//! The verdict is reached once per process in a thread of its own (see `kvm_probe.rs`), as soon as libvirt and a pool
//! of files are there. Until then nobody claims that KVM works.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::Duration;

use reeve_common::ids::MediatedType;
use reeve_common::inventory::{PciId, Processor};
use reeve_common::logging::messages;
use reeve_common::units::Bytes;
use reeve_common::vm::VirtType;
use virt::connect::Connect;
use virt::sys;

use super::super::{HypervisorFacts, HypervisorResult};
use super::connection::Connection;
use super::domain_xml::ARCHITECTURE;
use super::failure::{self, Failure};
use super::host_xml::{self, HostDevice, HostModel};
use super::kvm_probe::{self, Beginning, Probe};
use super::lanes::{CallKind, Lane};

/// Whether `Auto` may mean KVM.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum KvmTrust {
    /// When a small guest has been seen to make progress under it.
    #[default]
    Probe,
    /// When libvirt offers it.
    Offered,
    /// Never.
    Never,
}

impl std::str::FromStr for KvmTrust {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "probe" => Ok(Self::Probe),
            "offered" => Ok(Self::Offered),
            "never" => Ok(Self::Never),
            other => Err(format!(
                "{:?} is no way to trust KVM; allowed are probe, offered and never",
                reeve_common::text::printable(other, 80)
            )),
        }
    }
}

/// Devices that are asked about, one short call each: virtual functions of network cards make hundreds.
const DEVICES_LOOKED_AT_MAX: usize = 4096;
/// How long one call of the probe may take.
const PROBE_CALL: CallKind =
    CallKind { doing: "probing KVM", lane: Lane::Quick, limit: Duration::from_secs(30) };
/// The pause before a probe that could not be made is tried again: until a pool is started, or libvirt is there.
const PROBE_RETRY_PAUSE: Duration = Duration::from_secs(5);
/// A guest that vanished without its mark may have been destroyed by somebody; three of them were not.
const PROBE_ATTEMPTS: u32 = 3;

/// Whether guests make progress under KVM here, once it is known.
#[derive(Debug, Default)]
pub(super) struct KvmVerdict {
    verdict: Mutex<Option<bool>>,
    reached: Condvar,
}

impl KvmVerdict {
    fn reach(&self, usable: bool) {
        *self.verdict.lock().unwrap_or_else(PoisonError::into_inner) = Some(usable);
        self.reached.notify_all();
    }

    /// Whether KVM is known to work, after waiting for the verdict for at most `limit`.
    pub(super) fn is_usable_within(&self, limit: Duration) -> bool {
        let verdict = self.verdict.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.reached.wait_timeout_while(verdict, limit, |verdict| verdict.is_none());
        waited.map_or_else(|poisoned| *poisoned.into_inner().0, |(verdict, _)| *verdict) == Some(true)
    }

    /// Starts to find out.
    pub(super) fn pursue(
        self: &Arc<Self>,
        trust: KvmTrust,
        connection: &Arc<Connection>,
    ) -> std::io::Result<()> {
        if trust == KvmTrust::Never {
            self.reach(false);
            return Ok(());
        }
        let (verdict, connection) = (Arc::clone(self), Arc::downgrade(connection));
        std::thread::Builder::new()
            .name("kvm-probe".to_owned())
            .spawn(move || verdict.find_out(trust, &connection))?;
        Ok(())
    }

    fn find_out(&self, trust: KvmTrust, connection: &Weak<Connection>) {
        let mut vanished = 0;
        // The strong reference is held for an attempt only, so that the connection can end.
        while let Some(connection) = connection.upgrade() {
            match attempt(&connection, trust) {
                Ok(Attempt::Usable) => {
                    log::info!("guests make progress under KVM on this host");
                    return self.reach(true);
                }
                Ok(Attempt::Unusable(why)) => {
                    log::warn!(MESSAGE_ID:% = messages::KVM_UNUSABLE;
                        "KVM is not used for virt-type auto: {why}");
                    return self.reach(false);
                }
                Ok(Attempt::Vanished) => vanished += 1,
                Err(error) => log::debug!("KVM could not be probed yet: {error}"),
            }
            if vanished >= PROBE_ATTEMPTS {
                log::warn!(MESSAGE_ID:% = messages::KVM_UNUSABLE;
                    "KVM is not used for virt-type auto: the probe's guests ended without a result");
                return self.reach(false);
            }
            drop(connection);
            std::thread::sleep(PROBE_RETRY_PAUSE);
        }
    }
}

enum Attempt {
    Usable,
    Unusable(String),
    Vanished,
}

fn attempt(connection: &Connection, trust: KvmTrust) -> HypervisorResult<Attempt> {
    if trust == KvmTrust::Offered {
        let offer = connection.call(PROBE_CALL, |connect| Ok(kvm_probe::offer(connect, "kvm").err()))?;
        return Ok(offer.map_or(Attempt::Usable, Attempt::Unusable));
    }
    match run_probe(connection, "kvm")? {
        ProbeEnd::Marked => Ok(Attempt::Usable),
        ProbeEnd::NotOffered(why) => Ok(Attempt::Unusable(why)),
        ProbeEnd::TooSlow => {
            let why = "a small guest made no progress under it; is this nested virtualisation?";
            Ok(Attempt::Unusable(why.to_owned()))
        }
        ProbeEnd::Vanished => Ok(Attempt::Vanished),
    }
}

/// How a probe ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeEnd {
    /// The guest came to its end and left its mark.
    Marked,
    /// libvirt does not offer this accelerator.
    NotOffered(String),
    /// The guest was not at its end in time.
    TooSlow,
    /// The guest is gone and has left no mark.
    Vanished,
}

/// Runs the probe's guest under the given domain type.
pub(super) fn run_probe(connection: &Connection, domain_type: &'static str) -> HypervisorResult<ProbeEnd> {
    let beginning = connection.call(PROBE_CALL, move |connect| kvm_probe::begin(connect, domain_type))?;
    let probe = match beginning {
        Beginning::NotOffered(why) => return Ok(ProbeEnd::NotOffered(why)),
        Beginning::Begun(probe) => Arc::new(probe),
    };
    let ended = wait_for_end(connection, &probe);
    let marked = connection.call(PROBE_CALL, move |connect| kvm_probe::finish(connect, &probe))?;
    Ok(match (ended?, marked) {
        (_, true) => ProbeEnd::Marked,
        (true, false) => ProbeEnd::Vanished,
        (false, false) => ProbeEnd::TooSlow,
    })
}

fn wait_for_end(connection: &Connection, probe: &Arc<Probe>) -> HypervisorResult<bool> {
    let looks = kvm_probe::GUEST_LIMIT.as_millis() / kvm_probe::LOOK_INTERVAL.as_millis().max(1);
    for _ in 0..looks {
        let probe = Arc::clone(probe);
        if connection.call(PROBE_CALL, move |connect| kvm_probe::has_ended(connect, &probe))? {
            return Ok(true);
        }
        std::thread::sleep(kvm_probe::LOOK_INTERVAL);
    }
    Ok(false)
}

/// What libvirt says of its host, whose guests run under this accelerator unless their setup says otherwise.
pub(super) fn facts(connect: &Connect, automatic_virt_type: VirtType) -> Result<HypervisorFacts, Failure> {
    let node = connect.node_info()?;
    let (pci_devices, mediated_devices) = devices(connect);
    Ok(HypervisorFacts {
        version: format!(
            "libvirt {}, QEMU {}",
            version(connect.lib_version()?),
            version(connect.hyp_version()?)
        ),
        logical_cpus: node.cpus,
        memory: Bytes(node.memory.saturating_mul(1024)).mebibytes(),
        automatic_virt_type,
        processor: processor(connect, automatic_virt_type)?,
        numa_nodes: host_xml::numa_nodes(&connect.capabilities()?),
        pci_devices,
        mediated_devices,
    })
}

/// What guests can have of the processor. libvirt names the nearest model, and is asked what that one has.
fn processor(connect: &Connect, virt_type: VirtType) -> Result<Processor, Failure> {
    let domain_type = if virt_type == VirtType::Kvm { "kvm" } else { "qemu" };
    let capabilities =
        connect.domain_capabilities(None, Some(ARCHITECTURE), Some("q35"), Some(domain_type), 0)?;
    let features = match HostModel::read(&capabilities) {
        None => BTreeSet::new(),
        Some(model) => {
            let question = model.question(ARCHITECTURE);
            let answer = connect.baseline_cpu(&[&question], sys::VIR_CONNECT_BASELINE_CPU_EXPAND_FEATURES)?;
            model.features(&answer)
        }
    };
    Ok(Processor { models: host_xml::usable_models(&capabilities), features })
}

/// Nothing where libvirt has no driver for node devices; a device that goes away meanwhile is left out.
fn devices(connect: &Connect) -> (BTreeMap<PciId, u32>, BTreeMap<MediatedType, u32>) {
    let kinds = sys::VIR_CONNECT_LIST_NODE_DEVICES_CAP_PCI_DEV | sys::VIR_CONNECT_LIST_NODE_DEVICES_CAP_MDEV;
    let listed = connect.list_all_node_devices(kinds).unwrap_or_else(|error| {
        log::debug!("libvirt lists no devices of this host: {}", failure::words(&error));
        Vec::new()
    });
    if listed.len() > DEVICES_LOOKED_AT_MAX {
        log::warn!("of {} devices of this host only {DEVICES_LOOKED_AT_MAX} are looked at", listed.len());
    }
    let documents = listed.iter().take(DEVICES_LOOKED_AT_MAX).filter_map(|device| device.xml_desc(0).ok());
    host_xml::count_devices(documents.filter_map(|document| HostDevice::read(&document)))
}

/// libvirt packs versions as `major * 1,000,000 + minor * 1,000 + release`.
pub(super) fn version(packed: u32) -> String {
    format!("{}.{}.{}", packed / 1_000_000, packed / 1000 % 1000, packed % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_unpacked() {
        assert_eq!(version(9_000_000), "9.0.0");
        assert_eq!(version(7_002_022), "7.2.22");
    }

    #[test]
    fn without_a_verdict_kvm_is_not_claimed() {
        let verdict = KvmVerdict::default();
        assert!(!verdict.is_usable_within(Duration::ZERO));
        verdict.reach(true);
        assert!(verdict.is_usable_within(Duration::ZERO));
    }
}
