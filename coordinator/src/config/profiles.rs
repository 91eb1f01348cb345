//! Owns the `hardware-profiles` section.
//!
//! Must not: know hosts. What a profile comes to is its own `capacity()`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use reeve_common::hardware_profile::{HardwareProfile, HugePageSize, Overcommit};
use reeve_common::ids::{CostFunctionName, DeviceClass, ProfileName};
use reeve_common::units::{Bytes, Mebibytes, Millicores};

use super::cost_functions::CostFunctions;
use super::finding::Severity;
use super::section::{Entry, Section, all_or_none, nearest};
use super::value::{count, flag, name, size, thousandths};

/// What a profile without a `cost-function` is judged by.
const COST_FUNCTION_DEFAULT: &str = "balanced";
/// Far above the largest machines sold, in thousandths of a core.
pub(super) const MILLICORES_MAX: u64 = 65_536_000;
/// 1 PiB: far above the largest machines sold.
pub(super) const MEMORY_MAX: Bytes = Bytes(1 << 50);
/// One MiB: the unit that memory is counted in.
const MEMORY_MIN: Bytes = Bytes(1 << 20);
/// Devices of one class in one host: more than there are PCI slots in the largest machines.
pub(super) const DEVICES_MAX: u32 = 4096;
/// Device classes of one host; each is a column of the scheduler's tables.
const DEVICE_CLASSES_MAX: usize = 64;
/// Eight sockets in eight clusters each: above this it is a mistyped number.
const NUMA_NODES_MAX: u32 = 64;
/// 1 PiB in pages of 2 MiB: the pages are held to the host's memory besides.
const HUGE_PAGES_MAX: u64 = 1 << 29;
/// Promised a hundred times: above this it is a mistyped number. In thousandths.
const OVERCOMMIT_MAX: u64 = 100_000;
/// To promise less than there is, is what `reserve` is for. In thousandths.
const OVERCOMMIT_MIN: u64 = 1000;

/// All hardware profiles.
pub(super) fn read_profiles(
    section: &Section<'_>,
    functions: &CostFunctions,
) -> BTreeMap<ProfileName, HardwareProfile> {
    let named = section.entries().into_iter().filter_map(|(key, entry)| match ProfileName::new(key) {
        Ok(name) => Some((name.clone(), read_profile(name, &entry, functions)?)),
        Err(error) => {
            entry.report_key(Severity::Error, error.to_string());
            None
        }
    });
    named.collect()
}

fn read_profile(
    profile: ProfileName,
    entry: &Entry<'_>,
    functions: &CostFunctions,
) -> Option<HardwareProfile> {
    let mut section = entry.section()?;
    let cores = section.required("cores", "64", |entry| thousandths(entry, 1, MILLICORES_MAX));
    let memory = section.required("memory", "500 GiB", |entry| size(entry, MEMORY_MIN, MEMORY_MAX));
    let devices = read_devices(&section.section("devices"));
    let reserve = read_reserve(section.section("reserve"), cores, memory);
    let reserved = reserve.map(|(_, memory)| memory);
    let huge_pages = read_huge_pages(&section.section("huge-pages"), memory.map(Bytes::mebibytes), reserved);
    let numa_nodes = section.entry("numa-nodes").map(|entry| count(&entry, 1, NUMA_NODES_MAX));
    let (cores_overcommit, memory_overcommit) = read_overcommit(section.section("overcommit"));
    let cost_function = match section.entry("cost-function") {
        Some(entry) => known_function(&entry, functions),
        None => CostFunctionName::new(COST_FUNCTION_DEFAULT).ok(),
    };
    section.refuse_unknown();
    let (reserved_cores, reserved_memory) = reserve?;
    let (devices, divisible_devices) = devices?;
    Some(HardwareProfile {
        name: profile,
        cores: Millicores(cores?),
        memory: memory?.mebibytes(),
        devices,
        divisible_devices,
        huge_pages: huge_pages?,
        numa_nodes: match numa_nodes {
            Some(count) => Some(count?),
            None => None,
        },
        reserved_cores,
        reserved_memory,
        cores_overcommit: cores_overcommit?,
        memory_overcommit: memory_overcommit?,
        cost_function: cost_function?,
    })
}

/// The devices by class, and the classes whose devices VMs may share. A number alone is a count.
fn read_devices(section: &Section<'_>) -> Option<(BTreeMap<DeviceClass, u32>, BTreeSet<DeviceClass>)> {
    let entries = section.entries();
    if entries.len() > DEVICE_CLASSES_MAX {
        let message =
            format!("{} classes are more than the {DEVICE_CLASSES_MAX} that a host may have", entries.len());
        section.report(Severity::Error, message);
        return None;
    }
    let named = entries.into_iter().map(|(key, entry)| match DeviceClass::new(key) {
        Ok(class) => Some((class, read_device_class(&entry)?)),
        Err(error) => {
            entry.report_key(Severity::Error, error.to_string());
            None
        }
    });
    let classes: BTreeMap<DeviceClass, (u32, bool)> = all_or_none(named)?;
    let divisible = classes.iter().filter(|(_, (_, divisible))| *divisible);
    let divisible = divisible.map(|(class, _)| class.clone()).collect();
    Some((classes.into_iter().map(|(class, (count, _))| (class, count)).collect(), divisible))
}

/// How many devices, and whether one may be shared.
fn read_device_class(entry: &Entry<'_>) -> Option<(u32, bool)> {
    if !entry.is_section() {
        return Some((count(entry, 1, DEVICES_MAX)?, false));
    }
    let mut section = entry.section()?;
    let number = section.required("count", "4", |entry| count(entry, 1, DEVICES_MAX));
    let divisible = section.entry("divisible").map_or(Some(false), |entry| flag(&entry));
    section.refuse_unknown();
    Some((number?, divisible?))
}

/// How many huge pages of each size are set aside: what they take, and the reserve, must fit into the memory.
fn read_huge_pages(
    section: &Section<'_>,
    memory: Option<Mebibytes>,
    reserved: Option<Mebibytes>,
) -> Option<BTreeMap<HugePageSize, u64>> {
    let entries = section.entries();
    let named = entries.iter().map(|(key, entry)| match key.parse::<HugePageSize>() {
        Ok(size) => Some((size, count(entry, 1, HUGE_PAGES_MAX)?)),
        Err(error) => {
            entry.report_key(Severity::Error, error.to_string());
            None
        }
    });
    let pages: BTreeMap<HugePageSize, u64> = all_or_none(named)?;
    if pages.len() < entries.len() {
        section.report(Severity::Error, "two keys mean pages of one size; write it once".to_owned());
        return None;
    }
    let taken = pages.iter().map(|(size, number)| number.saturating_mul(u64::from(size.0)));
    let taken = Mebibytes(taken.fold(0, u64::saturating_add));
    let (memory, reserved) = (memory?, reserved?);
    if taken.0.saturating_add(reserved.0) > memory.0 {
        section.report(
            Severity::Error,
            format!(
                "huge pages of {taken} and a reserve of {reserved} do not fit into {memory}; write fewer"
            ),
        );
        return None;
    }
    Some(pages)
}

/// What the host keeps for itself: less than all it has.
fn read_reserve(
    mut section: Section<'_>,
    cores: Option<u64>,
    memory: Option<Bytes>,
) -> Option<(Millicores, Mebibytes)> {
    let cores = reserved(section.entry("cores"), cores.map(Millicores), |entry| {
        thousandths(entry, 0, MILLICORES_MAX).map(Millicores)
    });
    let memory = reserved(section.entry("memory"), memory, |entry| size(entry, Bytes(0), MEMORY_MAX));
    section.refuse_unknown();
    Some((cores?, memory?.mebibytes()))
}

fn reserved<'a, T: Copy + Default + PartialOrd + Display>(
    entry: Option<Entry<'a>>,
    all: Option<T>,
    read: impl Fn(&Entry<'a>) -> Option<T>,
) -> Option<T> {
    let Some(entry) = entry else { return Some(T::default()) };
    let kept = read(&entry)?;
    match all {
        Some(all) if kept >= all => {
            entry.refuse(format!("{kept} of {all} are reserved, which leaves nothing for VMs; reserve less"));
            None
        }
        _ => Some(kept),
    }
}

fn read_overcommit(mut section: Section<'_>) -> (Option<Overcommit>, Option<Overcommit>) {
    let cores = overcommit(section.entry("cores"));
    let memory = overcommit(section.entry("memory"));
    section.refuse_unknown();
    (cores, memory)
}

fn overcommit(entry: Option<Entry<'_>>) -> Option<Overcommit> {
    let Some(entry) = entry else { return Some(Overcommit::NONE) };
    let factor = thousandths(&entry, OVERCOMMIT_MIN, OVERCOMMIT_MAX)?;
    u32::try_from(factor).ok().map(Overcommit)
}

fn known_function(entry: &Entry<'_>, functions: &CostFunctions) -> Option<CostFunctionName> {
    let function: CostFunctionName = name(entry)?;
    if functions.compiled.contains_key(&function) || functions.failed.contains(&function) {
        return Some(function);
    }
    let known: Vec<&str> =
        functions.compiled.keys().chain(&functions.failed).map(CostFunctionName::as_str).collect();
    let hint = match nearest(function.as_str(), known.iter().copied()) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("declared or built in are {}", known.join(", ")),
    };
    entry.refuse(format!("there is no cost function {function:?}; {hint}", function = function.as_str()));
    None
}
