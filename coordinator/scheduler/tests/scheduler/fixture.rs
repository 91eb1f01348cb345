//! Hosts, requests and cost functions for tests, with as few words as possible.

use std::collections::BTreeMap;
use std::sync::Arc;

use reeve_common::device::{DeviceAmount, DeviceSelector};
use reeve_common::hardware_profile::Capacity;
use reeve_common::ids::{CostFunctionName, DeviceClass, HostId, HostName, RealmName, VmId};
use reeve_common::units::{Mebibytes, Millicores};
use reeve_scheduler::{ChoiceRule, CostError, CostFunction, HostDescription, Request};
use uuid::Uuid;

/// Compiles terms.
pub(crate) fn compile(terms: &[(&str, &str)], by: ChoiceRule) -> Result<CostFunction, Vec<CostError>> {
    let terms: Vec<_> = terms.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    CostFunction::compile(&CostFunctionName::new("tested").unwrap(), &terms, by)
}

/// Compiles terms that are right.
pub(crate) fn function(terms: &[(&str, &str)]) -> Arc<CostFunction> {
    Arc::new(compile(terms, ChoiceRule::Increase).unwrap_or_else(|errors| panic!("{errors:?}")))
}

/// A preset.
pub(crate) fn preset(name: &str) -> Arc<CostFunction> {
    let presets = reeve_scheduler::presets();
    let (name, terms) = presets.iter().find(|(known, _)| known.as_str() == name).unwrap();
    Arc::new(CostFunction::compile(name, terms, ChoiceRule::Increase).unwrap())
}

/// An enabled host of realm `r` with so many cores and GiB.
pub(crate) fn host(id: u32, cores: u32, memory_gib: u64, function: &Arc<CostFunction>) -> HostDescription {
    let capacity = Capacity {
        cores: Millicores::from_cores(cores),
        memory: Mebibytes(memory_gib << 10),
        ..Capacity::default()
    };
    let name = HostName::new(format!("host-{id}")).unwrap();
    HostDescription::new(HostId(id), name, RealmName::new("r").unwrap(), capacity, Arc::clone(function))
}

/// A request of realm `r`.
pub(crate) fn request(cores: u32, memory_gib: u64) -> Request {
    let memory = Mebibytes(memory_gib << 10);
    Request::new(RealmName::new("r").unwrap(), Millicores::from_cores(cores), memory)
}

/// Devices of one class.
pub(crate) fn devices(class: &str, count: u32) -> BTreeMap<DeviceClass, u32> {
    BTreeMap::from([(DeviceClass::new(class).unwrap(), count)])
}

/// So many whole devices, as they are asked for.
pub(crate) fn whole(selector: &str, count: u32) -> BTreeMap<DeviceSelector, DeviceAmount> {
    BTreeMap::from([(selector.parse().unwrap(), DeviceAmount::Whole(count))])
}

/// A VM by number.
pub(crate) fn vm(number: u128) -> VmId {
    VmId(Uuid::from_u128(number))
}
