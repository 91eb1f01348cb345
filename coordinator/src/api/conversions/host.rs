//! Owns how hosts become documents, and documents hosts.

use std::collections::BTreeMap;

use reeve_common::ids::DeviceClass;
use reeve_common::inventory::{HostInventory, NumaNodeInventory};
use reeve_common::storage::{PoolReport, PoolState as ReportedPool};
use reeve_common::units::Mebibytes;
use reeve_common::utilization::HostSample;

use super::fence::fence_of;
use super::{amounts_of, pages_of, promised_of};
use crate::api::types::{
    Amounts, ConnectionState, ForeignDomain, Host, HostState, Inventory, JoinToken, Moment, NewHost,
    NumaNode, Pool, PoolState, Sample,
};
use crate::model::host::{self, Connection};
use crate::service::{HostView, JoinToken as MadeToken};

pub(in crate::api) const fn host_state(state: HostState) -> reeve_scheduler::HostState {
    match state {
        HostState::Enabled => reeve_scheduler::HostState::Enabled,
        HostState::NoScheduler => reeve_scheduler::HostState::NoScheduler,
        HostState::Disabled => reeve_scheduler::HostState::Disabled,
    }
}

const fn state_of(state: reeve_scheduler::HostState) -> HostState {
    match state {
        reeve_scheduler::HostState::Enabled => HostState::Enabled,
        reeve_scheduler::HostState::NoScheduler => HostState::NoScheduler,
        reeve_scheduler::HostState::Disabled => HostState::Disabled,
    }
}

pub(super) fn connection_of(connection: Connection) -> (ConnectionState, Option<Moment>) {
    match connection {
        Connection::NeverJoined => (ConnectionState::NeverJoined, None),
        Connection::Connected { since } => (ConnectionState::Connected, Some(since.into())),
        Connection::Suspected { since } => (ConnectionState::Suspected, Some(since.into())),
        Connection::Fenced { at } => (ConnectionState::Fenced, Some(at.into())),
        Connection::SelfFenced { at } => (ConnectionState::SelfFenced, Some(at.into())),
        Connection::Lost { since } => (ConnectionState::Lost, since.map(Moment)),
    }
}

pub(in crate::api) fn host_to_add(new: NewHost) -> host::NewHost {
    host::NewHost {
        name: new.name,
        realm: new.realm,
        uri: new.uri,
        profile: new.profile,
        state: host_state(new.state),
        labels: new.labels,
    }
}

pub(in crate::api) fn host_of(view: &HostView) -> Host {
    let host = &view.host;
    let (connection, connection_since) = connection_of(view.connection);
    Host {
        id: host.id,
        name: host.name.clone(),
        realm: host.realm.clone(),
        uri: host.uri.clone(),
        profile: host.profile.clone(),
        state: state_of(host.state),
        draining: host.draining,
        labels: host.labels.clone(),
        added_at: host.added_at.into(),
        joined_at: host.joined_at.map(Moment),
        connection,
        connection_since,
        capacity: view.usage.as_ref().map(|usage| amounts_of(&usage.capacity)),
        used: view.usage.as_ref().map(|usage| promised_of(&usage.used)),
        used_by_foreign: view.usage.as_ref().map(|usage| Amounts {
            millicores: usage.foreign.cores.0,
            memory_mib: usage.foreign.memory.0,
            ..Amounts::default()
        }),
        inventory: view.inventory.as_ref().map(|inventory| inventory_of(inventory, &view.devices_found)),
        sample: view.sample.as_ref().map(sample_of),
        vms: view.vms.clone(),
        foreign_domains: view.foreign.iter().map(foreign_of).collect(),
        pools: view.pools.iter().map(pool_of).collect(),
        hypervisor_reachable: view.hypervisor_reachable,
        fences: view.fences.iter().map(fence_of).collect(),
        can_be_fenced: view.can_be_fenced,
        stops_by_itself_at: view.stops_by_itself_at.map(Moment),
        standing_warnings: view.standing_warnings,
        warnings: view.warnings.clone(),
    }
}

fn inventory_of(inventory: &HostInventory, devices: &BTreeMap<DeviceClass, u32>) -> Inventory {
    Inventory {
        hostname: inventory.hostname.clone(),
        architecture: inventory.architecture.clone(),
        cpu_model: inventory.cpu_model.clone(),
        logical_cpus: inventory.logical_cpus,
        memory_mib: inventory.memory.0,
        kernel: inventory.kernel.clone(),
        hypervisor: inventory.hypervisor.clone(),
        kvm_usable: inventory.kvm_usable,
        agent_version: inventory.agent_version.clone(),
        processor_models: inventory.processor.models.clone(),
        processor_features: inventory.processor.features.clone(),
        numa_nodes: inventory.numa_nodes.iter().map(numa_node_of).collect(),
        huge_pages: pages_of(&inventory.huge_pages),
        pci_devices: inventory.pci_devices.clone(),
        mediated_devices: inventory.mediated_devices.clone(),
        devices: devices.clone(),
    }
}

fn numa_node_of(node: &NumaNodeInventory) -> NumaNode {
    NumaNode {
        node: node.node,
        logical_cpus: node.logical_cpus,
        memory_mib: node.memory.0,
        huge_pages: pages_of(&node.huge_pages),
    }
}

fn sample_of(sample: &HostSample) -> Sample {
    Sample {
        at: sample.at.into(),
        cpu_permille: sample.cpu_permille,
        memory_used_mib: sample.memory_used.0,
        load_permille: sample.load_permille,
        cpu_pressure_permille: sample.cpu_pressure_permille,
        memory_pressure_permille: sample.memory_pressure_permille,
        io_pressure_permille: sample.io_pressure_permille,
    }
}

pub(super) fn foreign_of(domain: &reeve_common::vm::ForeignDomain) -> ForeignDomain {
    let Mebibytes(memory_mib) = domain.memory;
    ForeignDomain {
        id: domain.id,
        name: domain.name.clone(),
        active: domain.active,
        vcpus: domain.vcpus,
        memory_mib,
    }
}

fn pool_of(pool: &PoolReport) -> Pool {
    let (state, capacity_bytes, available_bytes) = match pool.state {
        ReportedPool::Active { capacity, available } => {
            (PoolState::Active, Some(capacity.0), Some(available.0))
        }
        ReportedPool::Inactive => (PoolState::Inactive, None, None),
        ReportedPool::Missing => (PoolState::Missing, None, None),
    };
    Pool { name: pool.name.clone(), state, capacity_bytes, available_bytes }
}

pub(in crate::api) fn join_token_of(token: MadeToken) -> JoinToken {
    JoinToken { line: token.line, host: token.host, expires_at: token.expires_at.into() }
}
