//! Owns what becomes of VMs whose host is lost, as far as the service has a part in it.

use super::core::Core;
use crate::config::CoordinatorConfig;
use crate::model::failover::FailoverRules;
use crate::model::vm::Vm;

/// What holds for a VM: what its configuration says, and where that is silent, its realm.
pub(super) fn failover_rules(core: &Core, config: &CoordinatorConfig, vm: &Vm) -> FailoverRules {
    let configuration = core.configurations.get(&vm.configuration);
    let own = configuration.and_then(|kept| kept.value.when_host_lost);
    let of_realm = || config.realms.get(&vm.realm).map(|realm| realm.when_host_lost).unwrap_or_default();
    FailoverRules {
        when_host_lost: own.unwrap_or_else(of_realm),
        priority: configuration.map_or(0, |kept| kept.value.priority),
    }
}
