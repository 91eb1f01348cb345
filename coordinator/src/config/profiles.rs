//! Owns the `hardware-profiles` section.
//!
//! Must not: know hosts. What a profile comes to is its own `capacity()`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use reeve_common::hardware_profile::{HardwareProfile, Overcommit};
use reeve_common::ids::{CostFunctionName, DeviceClass, ProfileName};
use reeve_common::units::{Bytes, Mebibytes, Millicores};

use super::cost_functions::CostFunctions;
use super::finding::Severity;
use super::section::{Entry, Section, nearest};
use super::value::{count, name, size, thousandths};

/// What a profile without a `cost-function` is judged by.
const COST_FUNCTION_DEFAULT: &str = "balanced";
/// Far above the largest machines sold, in thousandths of a core.
const MILLICORES_MAX: u64 = 65_536_000;
/// 1 PiB: far above the largest machines sold.
const MEMORY_MAX: Bytes = Bytes(1 << 50);
/// One MiB: the unit that memory is counted in.
const MEMORY_MIN: Bytes = Bytes(1 << 20);
/// Devices of one class in one host, with room for finely divided GPUs.
const DEVICES_MAX: u32 = 4096;
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
    let (cores_overcommit, memory_overcommit) = read_overcommit(section.section("overcommit"));
    let cost_function = match section.entry("cost-function") {
        Some(entry) => known_function(&entry, functions),
        None => CostFunctionName::new(COST_FUNCTION_DEFAULT).ok(),
    };
    section.refuse_unknown();
    let (reserved_cores, reserved_memory) = reserve?;
    Some(HardwareProfile {
        name: profile,
        cores: Millicores(cores?),
        memory: memory?.mebibytes(),
        devices: devices?,
        divisible_devices: BTreeSet::new(),
        huge_pages: BTreeMap::new(),
        numa_nodes: None,
        reserved_cores,
        reserved_memory,
        cores_overcommit: cores_overcommit?,
        memory_overcommit: memory_overcommit?,
        cost_function: cost_function?,
    })
}

fn read_devices(section: &Section<'_>) -> Option<BTreeMap<DeviceClass, u32>> {
    let named = section.entries().into_iter().map(|(key, entry)| match DeviceClass::new(key) {
        Ok(class) => Some((class, count(&entry, DEVICES_MAX)?)),
        Err(error) => {
            entry.report_key(Severity::Error, error.to_string());
            None
        }
    });
    named.collect()
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
