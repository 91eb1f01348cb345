//! Owns realms as they are configured: what their keys are called, what they default to and what is allowed.
//!
//! Must not: know hosts or VMs. What an agent is told of its realm is a part of this, see [`Realm::settings`].

use std::collections::BTreeMap;
use std::time::Duration;

use reeve_common::ids::{NetworkFilterName, NetworkName, PoolName, RealmName};
use reeve_common::realm::RealmSettings;
use reeve_common::storage::DiskCache;
use reeve_common::units::Bytes;
use reeve_common::vm::VirtType;
use reeve_common::vm::limits::DRIVE_SIZE_MAX;

use reeve_scheduler::Quotas;

use crate::model::failover::{Brake, WhenHostLost};

use super::fence::{FenceRules, read_fence, read_self_fencing};
use super::finding::Severity;
use super::quotas::read_quotas;
use super::section::{Entry, Section};
use super::value::{choice, count, duration, flag, name, size, title};

/// What the example in the documentation says; enough for a large guest on a busy host.
const REGISTRATION_TIMEOUT_DEFAULT: Duration = Duration::from_secs(5 * 60);
/// No guest boots in less.
const REGISTRATION_TIMEOUT_MIN: Duration = Duration::from_secs(1);
/// Below this many real guests are terminated in the middle of their boot.
const REGISTRATION_TIMEOUT_ADVISED: Duration = Duration::from_secs(30);
/// libvirt's events tell the rest within a second; this finds what they missed.
const POLL_FREQUENCY_DEFAULT: Duration = Duration::from_secs(30);
/// More often than this a host would do little else.
const POLL_FREQUENCY_MIN: Duration = Duration::from_secs(1);
/// Agents tell what they see to have changed; this finds what got lost on the way, and costs a report of some KiB.
const COMPARISON_FREQUENCY_DEFAULT: Duration = Duration::from_secs(5 * 60);
/// More often than this the coordinator of a large fleet would do little else.
const COMPARISON_FREQUENCY_MIN: Duration = Duration::from_secs(5);
/// As long as systemd gives its services by default, twice: guests stop services of their own.
const SHUTDOWN_TIMEOUT_DEFAULT: Duration = Duration::from_secs(180);
/// The longest of any of these; what is longer is a mistyped unit.
const DURATION_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// More hosts than there can be in a realm: the brake never holds.
const BRAKE_HOSTS_MAX: u32 = 1_000_000;
/// A disk's sector, eight times: no file system is smaller.
const DRIVE_SIZE_MIN: Bytes = Bytes(4096);

/// An environment of hosts, images and drives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Realm {
    /// Its key in the configuration, by which everything else names it.
    pub key: RealmName,
    /// Nothing is started in it.
    pub disabled: bool,
    /// Its name for people.
    pub name: String,
    /// Where running VMs' disks live.
    pub volumes_pool: PoolName,
    /// Where users' drives live.
    pub drives_pool: PoolName,
    /// Where images live.
    pub bricks_pool: PoolName,
    /// Write each placement's explanation to the log.
    pub log_scheduling: bool,
    /// How long a VM has from its start until its guest must have registered.
    pub registration_timeout: Duration,
    /// How often an agent compares its VMs with libvirt, besides libvirt's events.
    pub poll_frequency: Duration,
    /// How often the coordinator compares its records with all that a host has, besides when it connects and reports.
    pub comparison_frequency: Duration,
    /// The libvirt network filter that guards every VM's interfaces.
    pub network_filter: Option<NetworkFilterName>,
    /// What drives may be.
    pub drives: DriveRules,
    /// The accelerator of VMs whose setup does not say.
    pub virt_type: VirtType,
    /// The libvirt network of VMs whose setup does not say.
    pub network: NetworkName,
    /// How long a guest has to shut down before it is destroyed.
    pub shutdown_timeout: Duration,
    /// What owners and teams may have at most.
    pub quotas: Quotas,
    /// How its hosts are switched off; none when it does not say.
    pub fence: Option<FenceRules>,
    /// How long its VMs may run without the coordinator's word; none: for ever.
    pub lease: Option<Duration>,
    /// What becomes of VMs whose host is lost, if their configuration does not say.
    pub when_host_lost: WhenHostLost,
    /// How much may be silent at once before nothing is done by itself.
    pub brake: Brake,
}

/// What users' drives in a realm may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriveRules {
    /// Take space only when it is written.
    pub lazy_allocation: bool,
    /// How hosts cache their reads and writes.
    pub cache: DiskCache,
    /// The smallest.
    pub min_size: Option<Bytes>,
    /// The largest.
    pub max_size: Option<Bytes>,
}

impl Realm {
    /// What a host of this realm is told.
    #[must_use]
    pub fn settings(&self, sample_interval: Duration) -> RealmSettings {
        RealmSettings {
            volumes_pool: self.volumes_pool.clone(),
            drives_pool: self.drives_pool.clone(),
            bricks_pool: self.bricks_pool.clone(),
            poll_frequency: self.poll_frequency,
            sample_interval,
            virt_type: self.virt_type,
            lease: self.lease,
        }
    }
}

impl DriveRules {
    /// Whether a drive may have this size; the message says what is allowed.
    ///
    /// # Errors
    /// What is allowed.
    pub fn check_size(&self, size: Bytes) -> Result<(), String> {
        if let Some(least) = self.min_size.filter(|least| size < *least) {
            return Err(format!(
                "{size} is less than {least}, the least that drives.min-size of the realm allows"
            ));
        }
        if let Some(most) = self.max_size.filter(|most| size > *most) {
            return Err(format!(
                "{size} is more than {most}, the most that drives.max-size of the realm allows"
            ));
        }
        Ok(())
    }
}

/// All realms.
pub(super) fn read_realms(section: &Section<'_>) -> BTreeMap<RealmName, Realm> {
    let entries = section.entries();
    if entries.is_empty() {
        section.report(
            Severity::Warning,
            "no realm is declared, so no host can be added; write realms { NAME { include \"realms/NAME.conf\" } }"
                .to_owned(),
        );
    }
    if entries.iter().any(|(key, _)| key == "driver" || key == "disabled") {
        section.report(
            Severity::Error,
            "a realm's keys stand in a section with the realm's name: realms { NAME { include \"realms/NAME.conf\" } }"
                .to_owned(),
        );
        return BTreeMap::new();
    }
    entries.iter().filter_map(|(key, entry)| read_named(key, entry)).collect()
}

fn read_named(key: &str, entry: &Entry<'_>) -> Option<(RealmName, Realm)> {
    let key = match RealmName::new(key) {
        Ok(key) => key,
        Err(error) => {
            entry.report_key(Severity::Error, error.to_string());
            return None;
        }
    };
    let realm = read_realm(key.clone(), entry.section()?)?;
    Some((key, realm))
}

fn read_realm(key: RealmName, mut section: Section<'_>) -> Option<Realm> {
    let disabled = section.required("disabled", "false", flag);
    let driver = section.required("driver", "libvirt", |entry| choice(entry, &[("libvirt", ())]));
    let name = section.required("name", "\"Primary realm\"", title);
    let volumes_pool = pool(&mut section, "volumes-pool", "ticrypt-vm");
    let drives_pool = pool(&mut section, "drives-pool", "ticrypt-vm-drives");
    let bricks_pool = pool(&mut section, "bricks-pool", "ticrypt-bricks");
    let log_scheduling = section.optional("log-scheduling", flag).unwrap_or(false);
    let registration_timeout = section
        .optional("registration-timeout", registration_timeout)
        .unwrap_or(REGISTRATION_TIMEOUT_DEFAULT);
    let poll_frequency = section
        .optional("poll-frequency", |entry| duration(entry, POLL_FREQUENCY_MIN, DURATION_MAX))
        .unwrap_or(POLL_FREQUENCY_DEFAULT);
    let comparison_frequency = section
        .optional("comparison-frequency", |entry| duration(entry, COMPARISON_FREQUENCY_MIN, DURATION_MAX))
        .unwrap_or(COMPARISON_FREQUENCY_DEFAULT);
    let network_filter = section.optional("network-filter", name_of);
    let drives = read_drives(section.section("drives"));
    for reserved in ["uploads", "scaling"] {
        if let Some(entry) = section.entry(reserved)
            && entry.section().is_some()
        {
            entry.report_key(
                Severity::Warning,
                "this section is reserved for the future; nothing in it is used".to_owned(),
            );
        }
    }
    let virt_type = section.optional("virt-type", virt_type).unwrap_or_default();
    let network = section.optional("network", name_of).or_else(|| NetworkName::new("default").ok());
    let shutdown_timeout = section
        .optional("shutdown-timeout", |entry| duration(entry, Duration::from_secs(1), DURATION_MAX))
        .unwrap_or(SHUTDOWN_TIMEOUT_DEFAULT);
    let quotas = read_quotas(section.section("quotas"));
    let fence = read_fence(section.entry("fence"));
    let lease = read_self_fencing(section.entry("self-fencing"));
    let when_host_lost = section.optional("when-host-lost", when_host_lost).unwrap_or_default();
    let brake = read_brake(section.section("failover-brake"));
    section.refuse_unknown();
    driver?;
    Some(Realm {
        key,
        disabled: disabled?,
        name: name?,
        volumes_pool: volumes_pool?,
        drives_pool: drives_pool?,
        bricks_pool: bricks_pool?,
        log_scheduling,
        registration_timeout,
        poll_frequency,
        comparison_frequency,
        network_filter,
        drives: drives?,
        virt_type,
        network: network?,
        shutdown_timeout,
        quotas: quotas?,
        fence: fence?,
        lease: lease?,
        when_host_lost,
        brake: brake?,
    })
}

fn pool(section: &mut Section<'_>, key: &'static str, default: &str) -> Option<PoolName> {
    section.entry(key).map_or_else(|| PoolName::new(default).ok(), |entry| name(&entry))
}

fn name_of<T: std::str::FromStr<Err: std::fmt::Display>>(entry: &Entry<'_>) -> Option<T> {
    name(entry)
}

fn registration_timeout(entry: &Entry<'_>) -> Option<Duration> {
    let timeout = duration(entry, REGISTRATION_TIMEOUT_MIN, DURATION_MAX)?;
    if timeout < REGISTRATION_TIMEOUT_ADVISED {
        entry.warn(
            "VMs whose guests do not boot and register within this time are terminated; most need longer"
                .to_owned(),
        );
    }
    Some(timeout)
}

fn virt_type(entry: &Entry<'_>) -> Option<VirtType> {
    choice(entry, &[("auto", VirtType::Auto), ("kvm", VirtType::Kvm), ("qemu", VirtType::Qemu)])
}

fn when_host_lost(entry: &Entry<'_>) -> Option<WhenHostLost> {
    choice(entry, &WhenHostLost::ALL.map(|rule| (rule.as_str(), rule)))
}

fn read_brake(mut section: Section<'_>) -> Option<Brake> {
    let Brake { percent, hosts } = Brake::default();
    let percent = section.optional("percent", |entry| count(entry, 0, 100)).unwrap_or(percent);
    let hosts = section.optional("hosts", |entry| count(entry, 0, BRAKE_HOSTS_MAX)).unwrap_or(hosts);
    section.refuse_unknown();
    Some(Brake { percent, hosts })
}

fn cache(entry: &Entry<'_>) -> Option<DiskCache> {
    let all = [DiskCache::Default, DiskCache::Writethrough, DiskCache::Writeback, DiskCache::None];
    choice(entry, &all.map(|cache| (cache.as_str(), cache)))
}

fn read_drives(mut section: Section<'_>) -> Option<DriveRules> {
    let lazy_allocation = section.required("lazy-allocation", "on", flag);
    let cache = section.optional("cache", cache).unwrap_or_default();
    let min_size = section.optional("min-size", drive_size);
    let max_entry = section.entry("max-size");
    let max_size = max_entry.as_ref().and_then(drive_size);
    section.refuse_unknown();
    if let (Some(least), Some(most), Some(entry)) = (min_size, max_size, max_entry)
        && least > most
    {
        entry.refuse(format!("max-size ({most}) is below min-size ({least}), so no drive could be made"));
    }
    Some(DriveRules { lazy_allocation: lazy_allocation?, cache, min_size, max_size })
}

fn drive_size(entry: &Entry<'_>) -> Option<Bytes> {
    size(entry, DRIVE_SIZE_MIN, DRIVE_SIZE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drives_size_is_held_to_the_realms_bounds() {
        let rules = DriveRules {
            lazy_allocation: true,
            cache: DiskCache::Default,
            min_size: Some(Bytes(1 << 30)),
            max_size: Some(Bytes(500 << 30)),
        };
        assert!(rules.check_size(Bytes(1 << 30)).is_ok() && rules.check_size(Bytes(500 << 30)).is_ok());
        assert!(rules.check_size(Bytes((1 << 30) - 1)).unwrap_err().contains("min-size"));
        assert!(rules.check_size(Bytes((500 << 30) + 1)).unwrap_err().contains("500 GiB"));
    }
}
