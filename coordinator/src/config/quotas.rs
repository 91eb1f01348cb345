//! Owns the `quotas` section of a realm: what its owners and teams may have at most, all their VMs together.
//!
//! ```text
//! quotas {
//!   owners {
//!     default { cores = 64, memory = 256 GiB, vms = 20 }   # each owner who is not named
//!     ann     { cores = 500, devices = 8 }                 # ann has these limits and no others
//!     bob     { }                                          # no limit
//!   }
//!   teams { physics { vms = 100 } }
//! }
//! ```
//!
//! Must not: count what anybody has; the scheduler does.

use std::collections::BTreeMap;

use reeve_common::text::{TEXT_LENGTH_MAX, is_printable};
use reeve_common::units::{Bytes, Millicores};
use reeve_scheduler::{QuotaLimits, Quotas};

use super::finding::Severity;
use super::section::{Entry, Section, all_or_none};
use super::value::{count, size, thousandths};

/// Whose limits hold for whoever is not named. Nobody can be called so.
const ANYBODY: &str = "default";
/// A hundred thousand of the largest hosts: above this it is a mistyped number. In thousandths.
const MILLICORES_MAX: u64 = 100_000 * super::profiles::MILLICORES_MAX;
/// 1 EiB: likewise.
const MEMORY_MAX: Bytes = Bytes(1 << 60);
/// Likewise. In thousandths.
const DEVICES_MAX: u64 = 100_000_000_000;
/// Likewise.
const VMS_MAX: u64 = 100_000_000;

/// A realm's quotas; without the section nobody is limited.
pub(super) fn read_quotas(mut section: Section<'_>) -> Option<Quotas> {
    let owners = read_holders(&section.section("owners"));
    let teams = read_holders(&section.section("teams"));
    section.refuse_unknown();
    let ((owners, any_owner), (teams, any_team)) = (owners?, teams?);
    Some(Quotas { owners, teams, any_owner, any_team })
}

fn read_holders(section: &Section<'_>) -> Option<(BTreeMap<String, QuotaLimits>, QuotaLimits)> {
    let entries = section.entries();
    let named = entries.iter().map(|(name, entry)| Some((holder(name, entry)?, read_limits(entry)?)));
    let mut holders: BTreeMap<String, QuotaLimits> = all_or_none(named)?;
    let anybody = holders.remove(ANYBODY).unwrap_or_default();
    Some((holders, anybody))
}

/// Owners and teams are called by free text.
fn holder(name: &str, entry: &Entry<'_>) -> Option<String> {
    let problem = if name.trim().is_empty() {
        "the name of an owner or team is empty".to_owned()
    } else if name.len() > TEXT_LENGTH_MAX {
        format!("the name has {} bytes, allowed are {TEXT_LENGTH_MAX}", name.len())
    } else if let Some(bad) = name.chars().find(|character| !is_printable(*character)) {
        format!("the name has the invisible character {bad:?}; write it without")
    } else {
        return Some(name.to_owned());
    };
    entry.report_key(Severity::Error, problem);
    None
}

/// What is not said is not limited; nothing at all may be had of what is 0.
fn read_limits(entry: &Entry<'_>) -> Option<QuotaLimits> {
    let mut section = entry.section()?;
    let cores = limit(section.entry("cores"), |entry| thousandths(entry, 0, MILLICORES_MAX));
    let memory = limit(section.entry("memory"), |entry| size(entry, Bytes(0), MEMORY_MAX));
    let devices = limit(section.entry("devices"), |entry| thousandths(entry, 0, DEVICES_MAX));
    let vms = limit(section.entry("vms"), |entry| count(entry, 0, VMS_MAX));
    section.refuse_unknown();
    Some(QuotaLimits {
        cores: cores?.map(Millicores),
        memory: memory?.map(Bytes::mebibytes),
        devices_permille: devices?,
        vms: vms?,
    })
}

/// A limit that may be missing; nothing when it is bad.
#[allow(clippy::option_option)] // bad, missing, and there are three things
fn limit<T>(entry: Option<Entry<'_>>, read: impl Fn(&Entry<'_>) -> Option<T>) -> Option<Option<T>> {
    entry.map_or(Some(None), |entry| read(&entry).map(Some))
}
