//! Owns what of a host is taken by nobody's reservation: domains of others, domains of ours that no record knows, and what
//! somebody gave a VM of ours beyond what it was placed with. The scheduler counts it as used. Pure.

use reeve_common::ids::VmId;
use reeve_common::units::{Mebibytes, Millicores};
use reeve_common::vm::{DomainSize, ForeignDomain};
use reeve_scheduler::ForeignUse;

/// What domains take that no reservation covers. `held` says what is reserved on this host for a VM of this id; what is
/// reserved for it is counted there and only the rest here, whatever its domain looks like to the host. Of ours, `own` are
/// those that may be running.
#[must_use]
pub fn unaccounted_use<'a>(
    foreign: &[ForeignDomain],
    own: impl IntoIterator<Item = &'a DomainSize>,
    held: impl Fn(VmId) -> Option<ForeignUse>,
) -> ForeignUse {
    let active = foreign.iter().filter(|domain| domain.active);
    let active = active.map(|domain| (domain.id, domain.vcpus, domain.memory));
    let own = own.into_iter().map(|domain| (domain.vm, domain.vcpus, domain.memory));
    active.chain(own).fold(ForeignUse::default(), |sum, (id, vcpus, memory)| {
        let held = held(id).unwrap_or_default();
        let cores = Millicores::from_cores(vcpus).0.saturating_sub(held.cores.0);
        let memory = memory.0.saturating_sub(held.memory.0);
        ForeignUse {
            cores: Millicores(sum.cores.0.saturating_add(cores)),
            memory: Mebibytes(sum.memory.0.saturating_add(memory)),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use proptest::prelude::*;
    use reeve_common::hardware_profile::Capacity;
    use reeve_common::ids::{CostFunctionName, HostId, HostName, RealmName, VmName};
    use reeve_scheduler::{ChoiceRule, CostFunction, Fleet, HostDescription, Request};
    use uuid::Uuid;

    use super::*;

    const HOST: HostId = HostId(1);

    fn id(number: u8) -> VmId {
        VmId(Uuid::from_u128(number.into()))
    }

    fn used(cores: u32, memory: u64) -> ForeignUse {
        ForeignUse { cores: Millicores::from_cores(cores), memory: Mebibytes(memory) }
    }

    fn foreign(number: u8, active: bool, vcpus: u32, memory: u64) -> ForeignDomain {
        ForeignDomain {
            id: id(number),
            name: "legacy".to_owned(),
            active,
            vcpus,
            memory: Mebibytes(memory),
            paused: false,
            obstacle: None,
        }
    }

    fn own(number: u8, vcpus: u32, memory: u64) -> DomainSize {
        DomainSize { vm: id(number), name: VmName::new("ours").unwrap(), vcpus, memory: Mebibytes(memory) }
    }

    #[test]
    fn what_is_reserved_is_counted_once() {
        let held = |vm: VmId| (vm == id(1)).then(|| used(2, 1024));
        assert_eq!(unaccounted_use(&[], &[own(1, 2, 1024)], held), used(0, 0), "as placed");
        assert_eq!(unaccounted_use(&[], &[own(1, 4, 1536)], held), used(2, 512), "given more by hand");
        assert_eq!(
            unaccounted_use(&[], &[own(1, 1, 512)], held),
            used(0, 0),
            "given less: what is held stays held"
        );
        assert_eq!(unaccounted_use(&[], &[own(2, 4, 4096)], held), used(4, 4096), "no record");
        assert_eq!(
            unaccounted_use(&[foreign(1, true, 2, 1024)], &[], held),
            used(0, 0),
            "its ledger is gone"
        );
        assert_eq!(
            unaccounted_use(&[foreign(3, true, 1, 100), foreign(4, false, 9, 900)], &[], held),
            used(1, 100)
        );
        let huge = foreign(5, true, u32::MAX, u64::MAX);
        let all = unaccounted_use(&[huge.clone(), huge], &[], held);
        assert_eq!(all.memory, Mebibytes(u64::MAX), "absurd numbers only fill the host");
    }

    fn fleet() -> Fleet {
        let terms = [("cpu".to_owned(), "cores.load".to_owned())];
        let name = CostFunctionName::new("even").unwrap();
        let cost = Arc::new(CostFunction::compile(&name, &terms, ChoiceRule::Increase).unwrap());
        let capacity = Capacity {
            cores: Millicores::from_cores(16),
            memory: Mebibytes(16 << 10),
            ..Capacity::default()
        };
        let realm = RealmName::new("primary").unwrap();
        let mut fleet = Fleet::new();
        fleet.upsert_host(HostDescription::new(
            HOST,
            HostName::new("node-1").unwrap(),
            realm,
            capacity,
            cost,
        ));
        fleet
    }

    proptest! {
        /// Whatever domains come and go beside ours, a VM is only taken when all of it together fits.
        #[test]
        fn nothing_is_promised_that_somebody_else_has(
            domains in prop::collection::btree_map(0_u8..20, (any::<bool>(), 0_u32..8, 0_u64..8000), 0..6),
            wanted in prop::collection::vec((1_u32..8, 1_u64..8000), 1..12),
        ) {
            let mut fleet = fleet();
            let mut held: BTreeMap<VmId, ForeignUse> = BTreeMap::new();
            for (index, (cores, memory)) in wanted.into_iter().enumerate() {
                let vm = id(u8::try_from(index).unwrap());
                let domains: Vec<ForeignDomain> =
                    domains.iter().map(|(id, (active, v, m))| foreign(*id, *active, *v, *m)).collect();
                let beside = unaccounted_use(&domains, &[], |vm| held.get(&vm).copied());
                let description = HostDescription { foreign: beside, ..fleet.host(HOST).unwrap().clone() };
                fleet.upsert_host(description);
                let realm = RealmName::new("primary").unwrap();
                let request = Request::new(realm, Millicores::from_cores(cores), Mebibytes(memory));
                let sum = |amount: fn(&ForeignUse) -> u64| -> u64 {
                    held.values().map(amount).sum::<u64>() + amount(&beside)
                };
                let fits = sum(|used| used.cores.0) + u64::from(cores) * 1000 <= 16_000
                    && sum(|used| used.memory.0) + memory <= 16 << 10;
                prop_assert_eq!(fleet.reserve(vm, HOST, &request).is_ok(), fits);
                if fits {
                    held.insert(vm, used(cores, memory));
                }
            }
        }
    }
}
