//! Owns the boundary between the API's documents and the coordinator's own types, in both directions.
//!
//! Must not: decide anything but whether a document's amounts and words can be read. What contradicts the state of
//! things is refused by the service.

mod adoption;
mod audit;
mod catalogue;
mod comparison_of_host;
mod configuration_in_force;
mod explanation;
mod fence;
mod host;
mod journal;
mod placement;
mod realm;
mod simulation;
mod vm;
mod warning;
mod workflow;

use std::collections::BTreeMap;
use std::time::Duration;

use reeve_common::device::WHOLE_PERMILLE;
use reeve_common::hardware_profile::{Capacity, HugePageSize};
use reeve_common::units::{Bytes, InvalidAmount, parse_duration};

use reeve_scheduler::Promised;

use super::types::Amounts;
use crate::service::ServiceError;

pub(super) use self::adoption::{adoption, unmanaged_of};
pub(super) use self::audit::{audit_page_of, audit_verification_of};
pub(super) use self::catalogue::{
    configuration_of, configuration_to_make, drive_of, drive_to_make, image_of, image_to_make, setup_of,
    setup_to_make,
};
pub(super) use self::comparison_of_host::host_comparison_of;
pub(super) use self::configuration_in_force::configuration_in_force_of;
pub(super) use self::explanation::explanation_of;
pub(super) use self::fence::{fence_of, fence_trial_of};
pub(super) use self::host::{host_of, host_state, host_to_add, join_token_of};
pub(super) use self::journal::journal_of;
pub(super) use self::realm::{cost_function_of, profile_of, realm_of, volume_of};
pub(super) use self::simulation::{
    comparison_of, cost_evaluation_of, simulation_of, simulation_question, user,
};
pub(super) use self::vm::{status_of, vm_detail_of, vm_log_of, vm_of};
pub(super) use self::warning::warning_of;
pub(super) use self::workflow::workflow_of;

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn amounts_of(capacity: &Capacity) -> Amounts {
    let permille = |count: u32| u64::from(count).saturating_mul(u64::from(WHOLE_PERMILLE));
    Amounts {
        millicores: capacity.cores.0,
        memory_mib: capacity.memory.0,
        devices: capacity.devices.clone(),
        devices_permille: capacity
            .devices
            .iter()
            .map(|(class, count)| (class.clone(), permille(*count)))
            .collect(),
        divisible_devices: capacity.divisible_devices.clone(),
        huge_pages: pages_of(&capacity.huge_pages),
        numa_nodes: capacity.numa_nodes.len(),
    }
}

/// A device that is promised in part counts as one.
fn promised_of(promised: &Promised) -> Amounts {
    let devices = promised.devices_permille.iter();
    let whole =
        |permille: u64| u32::try_from(permille.div_ceil(u64::from(WHOLE_PERMILLE))).unwrap_or(u32::MAX);
    Amounts {
        millicores: promised.cores.0,
        memory_mib: promised.memory.0,
        devices: devices.map(|(class, permille)| (class.clone(), whole(*permille))).collect(),
        devices_permille: promised.devices_permille.clone(),
        huge_pages: pages_of(&promised.huge_pages),
        ..Amounts::default()
    }
}

fn pages_of(pages: &BTreeMap<HugePageSize, u64>) -> BTreeMap<u32, u64> {
    pages.iter().map(|(size, count)| (size.0, *count)).collect()
}

fn unreadable(key: &str, error: &InvalidAmount) -> ServiceError {
    ServiceError::invalid(format!("`{key}`: {error}"))
}

fn size(key: &str, text: &str) -> Result<Bytes, ServiceError> {
    text.parse().map_err(|error| unreadable(key, &error))
}

/// A duration as it stands in a question.
pub(super) fn duration(key: &str, text: &str) -> Result<Duration, ServiceError> {
    parse_duration(text).map_err(|error| unreadable(key, &error))
}
