//! Owns how realms, profiles, cost functions and volumes become documents.

use reeve_scheduler::QuotaHolder;

use super::explanation::rule_word;
use super::workflow::when_host_lost_of;
use super::{amounts_of, milliseconds};
use crate::api::types::{
    Amounts, CostFunction, CostTerm, Profile, Quota, QuotaLimits, QuotaUsage, Realm, RealmDrives,
    RealmQuotas, VirtType, Volume,
};
use crate::service::{ProfileView, RealmView};

/// The one way there is to reach a realm's hosts.
const DRIVER: &str = "libvirt";

pub(in crate::api) fn realm_of(view: &RealmView) -> Realm {
    let realm = &view.realm;
    Realm {
        name: realm.key.clone(),
        title: realm.name.clone(),
        disabled: realm.disabled,
        driver: DRIVER.to_owned(),
        volumes_pool: realm.volumes_pool.clone(),
        drives_pool: realm.drives_pool.clone(),
        bricks_pool: realm.bricks_pool.clone(),
        registration_timeout_ms: milliseconds(realm.registration_timeout),
        poll_frequency_ms: milliseconds(realm.poll_frequency),
        network_filter: realm.network_filter.clone(),
        virt_type: VirtType::from(realm.virt_type),
        network: Option::from(realm.network.clone()),
        shutdown_timeout_ms: milliseconds(realm.shutdown_timeout),
        when_host_lost: when_host_lost_of(realm.when_host_lost),
        failover_brake_percent: realm.brake.percent,
        failover_brake_hosts: realm.brake.hosts,
        log_scheduling: realm.log_scheduling,
        drives: RealmDrives {
            lazy_allocation: realm.drives.lazy_allocation,
            cache: realm.drives.cache.as_str().to_owned(),
            min_size_bytes: realm.drives.min_size.map(|size| size.0),
            max_size_bytes: realm.drives.max_size.map(|size| size.0),
        },
        hosts: view.hosts,
        connected_hosts: view.connected_hosts,
        vms: view.vms,
        quotas: quotas_of(view),
    }
}

fn quotas_of(view: &RealmView) -> RealmQuotas {
    let mut quotas = RealmQuotas {
        any_owner: limits_of(&view.any_owner()),
        any_team: limits_of(&view.any_team()),
        ..RealmQuotas::default()
    };
    for standing in &view.quotas {
        let (list, name) = match &standing.holder {
            QuotaHolder::Owner(name) => (&mut quotas.owners, name),
            QuotaHolder::Team(name) => (&mut quotas.teams, name),
        };
        let usage = &standing.usage;
        list.push(Quota {
            name: name.clone(),
            limits: limits_of(&standing.limits),
            used: QuotaUsage {
                millicores: usage.cores.0,
                memory_mib: usage.memory.0,
                devices_permille: usage.devices_permille,
                vms: usage.vms,
            },
        });
    }
    quotas
}

fn limits_of(limits: &reeve_scheduler::QuotaLimits) -> QuotaLimits {
    QuotaLimits {
        millicores: limits.cores.map(|cores| cores.0),
        memory_mib: limits.memory.map(|memory| memory.0),
        devices_permille: limits.devices_permille,
        vms: limits.vms,
    }
}

pub(in crate::api) fn profile_of(view: &ProfileView) -> Profile {
    let profile = &view.profile;
    Profile {
        name: profile.name.clone(),
        whole: Amounts {
            millicores: profile.cores.0,
            memory_mib: profile.memory.0,
            ..amounts_of(&view.capacity)
        },
        reserved_millicores: profile.reserved_cores.0,
        reserved_memory_mib: profile.reserved_memory.0,
        cores_overcommit_permille: profile.cores_overcommit.0,
        memory_overcommit_permille: profile.memory_overcommit.0,
        capacity: amounts_of(&view.capacity),
        cost_function: profile.cost_function.clone(),
        hosts: view.hosts.clone(),
    }
}

pub(in crate::api) fn cost_function_of(function: &reeve_scheduler::CostFunction) -> CostFunction {
    CostFunction {
        name: function.name().clone(),
        by: rule_word(function.rule()).to_owned(),
        terms: function
            .terms()
            .map(|(name, expression)| CostTerm { name: name.to_owned(), expression: expression.to_owned() })
            .collect(),
    }
}

pub(in crate::api) fn volume_of(volume: &reeve_common::storage::Volume) -> Volume {
    Volume {
        name: volume.name.clone(),
        capacity_bytes: volume.capacity.0,
        allocation_bytes: volume.allocation.0,
        format: volume.format.clone(),
    }
}
