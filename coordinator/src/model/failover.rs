//! Owns the decision what becomes of VMs whose host is lost: who is started elsewhere, in which order, what a person must
//! decide, and when so much is silent at once that nothing is done by itself. Pure.
//!
//! ```text
//!   lost host ──▶ too much of the realm silent? ── yes ──▶ braked: nothing by itself, said loudly
//!                        │ no
//!                        ▼
//!   its VMs:  restart ──▶ in order of priority, once there is a proof that the host runs them no more
//!             ask     ──▶ shown as unknown, a decision is wanted
//!             leave   ──▶ shown as unknown
//! ```
//!
//! Without a proof nothing is ever started elsewhere, braked or not, asked by hand or not: that rule is
//! `host_life`'s and is asked again at the moment of the deed.

use std::cmp::Reverse;
use std::fmt;

use reeve_common::clock::Timestamp;
use reeve_common::ids::{HostId, VmId};
use serde::{Deserialize, Serialize};

/// The highest priority: a number that people can still rank by.
pub const PRIORITY_MAX: u32 = 1000;

/// What becomes of a VM when its host is lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhenHostLost {
    /// It is started elsewhere, as soon as it is proved that its host runs it no more.
    Restart,
    /// It is left as it is until its host returns.
    Leave,
    /// A person decides.
    #[default]
    Ask,
}

impl WhenHostLost {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Restart, Self::Leave, Self::Ask];

    /// The word for it in files, commands and answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Restart => "restart",
            Self::Leave => "leave",
            Self::Ask => "ask",
        }
    }
}

impl fmt::Display for WhenHostLost {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// What holds for one VM.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FailoverRules {
    /// What becomes of it when its host is lost.
    pub when_host_lost: WhenHostLost,
    /// The higher, the sooner it is placed when not all fit, and the later it is stopped when a host is emptied.
    pub priority: u32,
}

impl FailoverRules {
    /// Whether it is started elsewhere by itself.
    #[must_use]
    pub const fn restarts(self) -> bool {
        matches!(self.when_host_lost, WhenHostLost::Restart)
    }
}

/// How much of a realm may be silent at once before nothing is done by itself: beyond it, it is more likely that the
/// coordinator is cut off than that so many hosts have died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Brake {
    /// More than this part of the realm's hosts, in percent, …
    pub percent: u32,
    /// … and more hosts than this.
    pub hosts: u32,
}

impl Default for Brake {
    /// A quarter of the hosts is more than a rack or a power line; two hosts may well die together in a small realm.
    fn default() -> Self {
        Self { percent: 25, hosts: 2 }
    }
}

/// So much is silent at once that nothing is done by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Braked {
    /// How many hosts are silent.
    pub silent: usize,
    /// Of how many.
    pub of: usize,
}

impl fmt::Display for Braked {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} of {} hosts are silent at once, so no host is fenced and no VM restarted by itself",
            self.silent, self.of
        )
    }
}

impl Brake {
    /// Whether it holds when `silent` of `of` hosts are silent.
    #[must_use]
    pub fn judge(self, silent: usize, of: usize) -> Option<Braked> {
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let too_large_a_part =
            count(silent).saturating_mul(100) > count(of).saturating_mul(u64::from(self.percent));
        (too_large_a_part && count(silent) > u64::from(self.hosts)).then_some(Braked { silent, of })
    }
}

/// A host of the realm, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostFacts {
    /// Which.
    pub host: HostId,
    /// It has not been heard for a moment or longer, whatever was proved of it.
    pub is_silent: bool,
    /// It has not been heard for so long that what it has is unknown.
    pub is_lost: bool,
    /// It is left alone by an administrator's wish: it neither counts nor is anything done about it.
    pub is_left_alone: bool,
}

/// A VM that is to run and is on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VmFacts {
    /// Which.
    pub vm: VmId,
    /// Its host.
    pub host: HostId,
    /// What holds for it.
    pub rules: FailoverRules,
    /// When it was asked for.
    pub requested_at: Timestamp,
}

/// What is to be done about one lost host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPlan {
    /// Which.
    pub host: HostId,
    /// Who is started elsewhere once there is a proof, in this order.
    pub restart: Vec<VmId>,
    /// About whom a person must decide.
    pub ask: Vec<VmId>,
}

/// What is to be done about the lost hosts of one realm.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RealmPlan {
    /// Nothing, for so much is silent at once.
    pub braked: Option<Braked>,
    /// Otherwise this, by host. Those that nothing is to be done about are left out.
    pub hosts: Vec<HostPlan>,
}

/// What is to be done about the lost hosts of one realm.
#[must_use]
pub fn plan(brake: Brake, hosts: &[HostFacts], vms: &[VmFacts]) -> RealmPlan {
    let counted = || hosts.iter().filter(|host| !host.is_left_alone);
    let braked = brake.judge(counted().filter(|host| host.is_silent).count(), counted().count());
    let mut lost: Vec<HostId> = counted().filter(|host| host.is_lost).map(|host| host.host).collect();
    lost.sort_unstable();
    let plan_of = |host: HostId| {
        let mut on_it: Vec<&VmFacts> = vms.iter().filter(|vm| vm.host == host).collect();
        on_it.sort_by_key(|vm| urgency(vm.rules.priority, vm.requested_at, vm.vm));
        let those = |wanted: WhenHostLost| {
            on_it.iter().filter(|vm| vm.rules.when_host_lost == wanted).map(|vm| vm.vm).collect()
        };
        let restart = if braked.is_some() { Vec::new() } else { those(WhenHostLost::Restart) };
        HostPlan { host, restart, ask: those(WhenHostLost::Ask) }
    };
    let hosts = lost.into_iter().map(plan_of);
    let hosts = hosts.filter(|plan| !plan.restart.is_empty() || !plan.ask.is_empty()).collect();
    RealmPlan { braked, hosts }
}

/// By what VMs that want a place are sorted: the higher priority first, then who has waited longest.
#[must_use]
pub const fn urgency(priority: u32, requested_at: Timestamp, vm: VmId) -> (Reverse<u32>, Timestamp, VmId) {
    (Reverse(priority), requested_at, vm)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn host(number: u32, is_silent: bool, is_lost: bool) -> HostFacts {
        HostFacts { host: HostId(number), is_silent, is_lost, is_left_alone: false }
    }

    fn vm(
        number: u128,
        host: u32,
        when_host_lost: WhenHostLost,
        priority: u32,
        requested_at: u64,
    ) -> VmFacts {
        VmFacts {
            vm: VmId(Uuid::from_u128(number)),
            host: HostId(host),
            rules: FailoverRules { when_host_lost, priority },
            requested_at: Timestamp(requested_at),
        }
    }

    fn ids(numbers: &[u128]) -> Vec<VmId> {
        numbers.iter().map(|number| VmId(Uuid::from_u128(*number))).collect()
    }

    #[test]
    fn the_brake_holds_beyond_both_its_limits() {
        let brake = Brake::default();
        for (silent, of, held) in [
            (0, 0, false),
            (1, 1, false),
            (2, 3, false),
            (3, 3, true),
            (3, 12, false),
            (3, 11, true),
            (25, 100, false),
            (26, 100, true),
        ] {
            assert_eq!(brake.judge(silent, of).is_some(), held, "{silent} of {of}");
        }
        let braked = brake.judge(26, 100).unwrap().to_string();
        assert_eq!(
            braked,
            "26 of 100 hosts are silent at once, so no host is fenced and no VM restarted by itself"
        );
    }

    #[test]
    fn who_matters_most_comes_first_and_each_as_its_configuration_says() {
        let hosts = [host(1, false, false), host(2, true, true), host(3, true, false)];
        let vms = [
            vm(1, 2, WhenHostLost::Restart, 0, 5),
            vm(2, 2, WhenHostLost::Restart, 9, 9),
            vm(3, 2, WhenHostLost::Restart, 9, 7),
            vm(4, 2, WhenHostLost::Ask, 10, 1),
            vm(5, 2, WhenHostLost::Leave, 10, 1),
            vm(6, 3, WhenHostLost::Restart, 10, 1),
            vm(7, 1, WhenHostLost::Restart, 10, 1),
        ];
        let planned = plan(Brake::default(), &hosts, &vms);
        assert_eq!(planned.braked, None);
        let expected = HostPlan { host: HostId(2), restart: ids(&[3, 2, 1]), ask: ids(&[4]) };
        assert_eq!(planned.hosts, [expected], "a host that is only suspected loses nothing");
    }

    #[test]
    fn a_mass_of_silent_hosts_restarts_nobody_and_a_host_left_alone_does_not_count() {
        let mut hosts: Vec<HostFacts> =
            (1..=10).map(|number| host(number, number <= 3, number <= 3)).collect();
        let vms = [vm(1, 1, WhenHostLost::Restart, 0, 5), vm(2, 1, WhenHostLost::Ask, 0, 5)];
        let planned = plan(Brake::default(), &hosts, &vms);
        assert_eq!(planned.braked, Some(Braked { silent: 3, of: 10 }));
        assert_eq!(planned.hosts, [HostPlan { host: HostId(1), restart: Vec::new(), ask: ids(&[2]) }]);
        hosts[2].is_left_alone = true;
        assert_eq!(plan(Brake::default(), &hosts, &vms).hosts[0].restart, ids(&[1]));
        hosts[0].is_left_alone = true;
        assert!(plan(Brake::default(), &hosts, &vms).hosts.is_empty(), "nothing is done about it");
    }

    fn any_host() -> impl Strategy<Value = HostFacts> {
        (1..8_u32, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(number, silent, lost, alone)| {
            HostFacts { is_left_alone: alone, ..host(number, silent || lost, lost) }
        })
    }

    fn any_vm() -> impl Strategy<Value = VmFacts> {
        (1..99_u128, 1..8_u32, 0..3_usize, 0..4_u32, 0..9_u64).prop_map(
            |(number, host, rule, priority, at)| vm(number, host, WhenHostLost::ALL[rule], priority, at),
        )
    }

    proptest! {
        /// Only VMs of lost hosts that their configuration wants restarted, never while braked, and in one order,
        /// however the facts are arranged.
        #[test]
        fn a_plan_restarts_only_whom_it_may(
            hosts in proptest::collection::vec(any_host(), 0..9),
            vms in proptest::collection::vec(any_vm(), 0..30),
        ) {
            let mut hosts = hosts;
            hosts.sort_by_key(|host| host.host);
            hosts.dedup_by_key(|host| host.host);
            let mut vms = vms;
            vms.sort_by_key(|vm| vm.vm);
            vms.dedup_by_key(|vm| vm.vm);
            let planned = plan(Brake::default(), &hosts, &vms);
            for plan in &planned.hosts {
                let facts = hosts.iter().find(|host| host.host == plan.host).unwrap();
                prop_assert!(facts.is_lost && !facts.is_left_alone);
                prop_assert!(planned.braked.is_none() || plan.restart.is_empty());
                let found = |id: &VmId| *vms.iter().find(|vm| vm.vm == *id).unwrap();
                let restarted: Vec<VmFacts> = plan.restart.iter().map(found).collect();
                prop_assert!(restarted.iter().all(|vm| vm.rules.restarts() && vm.host == plan.host));
                prop_assert!(restarted.windows(2).all(|pair| pair[0].rules.priority >= pair[1].rules.priority));
            }
            let mut turned = (hosts.clone(), vms.clone());
            turned.0.reverse();
            turned.1.reverse();
            prop_assert_eq!(plan(Brake::default(), &turned.0, &turned.1), planned);
        }
    }
}
