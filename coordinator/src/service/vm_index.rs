//! Owns two ways to find VMs without looking at all of them: those that wait for a place, and those of which something may
//! be left on a host that they were taken from. Both are asked for at every report of every host.
//!
//! Pure: it follows the records that it is shown. Must not: hold anything that is not in them.

use std::collections::{BTreeMap, BTreeSet};

use reeve_common::ids::{HostId, VmId};

use crate::model::vm::{Vm, Wish};

/// The VMs that are not over, by what is asked most.
#[derive(Debug, Default)]
pub(crate) struct VmIndex {
    waiting: BTreeSet<VmId>,
    /// Only hosts of which something is expected: nearly always none.
    left_on: BTreeMap<HostId, BTreeSet<VmId>>,
}

impl VmIndex {
    /// A record takes the place of another, or of none.
    pub(crate) fn replace(&mut self, before: Option<&Vm>, after: Option<&Vm>) {
        if let Some(before) = before {
            self.remove(before);
        }
        if let Some(after) = after.filter(|after| !after.state.is_final()) {
            self.add(after);
        }
    }

    fn add(&mut self, vm: &Vm) {
        if vm.host.is_none() && vm.wish == Wish::Run {
            self.waiting.insert(vm.id);
        }
        for displaced in &vm.displaced_from {
            self.left_on.entry(displaced.host).or_default().insert(vm.id);
        }
    }

    fn remove(&mut self, vm: &Vm) {
        self.waiting.remove(&vm.id);
        for displaced in &vm.displaced_from {
            if let Some(vms) = self.left_on.get_mut(&displaced.host) {
                vms.remove(&vm.id);
                if vms.is_empty() {
                    self.left_on.remove(&displaced.host);
                }
            }
        }
    }

    /// Those that are to run and have no host.
    pub(crate) const fn waiting(&self) -> &BTreeSet<VmId> {
        &self.waiting
    }

    /// Those that were taken from `host`, which has not said yet that nothing of them is left there.
    pub(crate) fn left_on(&self, host: HostId) -> impl Iterator<Item = VmId> + '_ {
        self.left_on.get(&host).into_iter().flatten().copied()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use reeve_common::clock::Timestamp;
    use reeve_common::ids::Generation;
    use uuid::Uuid;

    use super::*;
    use crate::model::displacement::{Displaced, leftover_wish};
    use crate::model::fixture;
    use crate::model::vm_state::VmState;

    /// A record of the VM `number` in one of the states that matter here.
    fn record(number: u128, host: Option<u32>, wish: Wish, state: VmState, left: &[u32]) -> Vm {
        let mut vm = fixture::vm();
        vm.id = VmId(Uuid::from_u128(number));
        vm.host = host.map(HostId);
        vm.wish = wish;
        vm.enter(state, None, Timestamp(1));
        let displaced =
            |host: &u32| Displaced { host: HostId(*host), generation: Generation(1), at: Timestamp(1) };
        vm.displaced_from = left.iter().map(displaced).collect();
        vm
    }

    fn some_record() -> impl Strategy<Value = Vm> {
        (
            0..6_u128,
            proptest::option::of(1..4_u32),
            any::<bool>(),
            proptest::sample::select(vec![VmState::Unplaceable, VmState::Running, VmState::Stopped]),
            proptest::collection::btree_set(1..4_u32, 0..3),
        )
            .prop_map(|(number, host, runs, state, left)| {
                let wish = if runs { Wish::Run } else { Wish::Stop { grace: std::time::Duration::ZERO } };
                record(number, host, wish, state, &left.into_iter().collect::<Vec<_>>())
            })
    }

    proptest! {
        #[test]
        fn it_says_what_a_look_at_all_records_says(changes in proptest::collection::vec((some_record(), any::<bool>()), 0..60)) {
            let mut index = VmIndex::default();
            let mut records: BTreeMap<VmId, Vm> = BTreeMap::new();
            for (vm, is_dropped) in changes {
                let before = records.remove(&vm.id);
                if is_dropped {
                    index.replace(before.as_ref(), None);
                } else {
                    index.replace(before.as_ref(), Some(&vm));
                    if !vm.state.is_final() {
                        records.insert(vm.id, vm);
                    }
                }
                let waiting = records.values().filter(|vm| vm.host.is_none() && vm.wish == Wish::Run);
                prop_assert_eq!(index.waiting(), &waiting.map(|vm| vm.id).collect::<BTreeSet<_>>());
                for host in (1..4).map(HostId) {
                    let left = records.values().filter(|vm| leftover_wish(vm, host).is_some()).map(|vm| vm.id);
                    prop_assert_eq!(index.left_on(host).collect::<Vec<_>>(), left.collect::<Vec<_>>());
                }
            }
            for vm in records.values() {
                index.replace(Some(vm), None);
            }
            prop_assert!(index.waiting.is_empty() && index.left_on.is_empty(), "something stays: {:?}", index);
        }
    }
}
