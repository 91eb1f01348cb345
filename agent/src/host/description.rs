//! Owns the answer to a coordinator that asks what the ledgers here say: one that has lost its records, or has had older
//! ones restored, learns from it what really is on this host.
//!
//! Must not: change anything, or look into what a coordinator has given along.

use reeve_common::clock::Timestamp;
use reeve_common::ids::VmId;
use reeve_common::protocol::{Refusal, ReplyBody};
use reeve_common::text::chain;
use reeve_common::vm::{ObservedVm, VmDescription, VmObservation};
use reeve_common::wire::limits::DESCRIPTIONS_MAX;

use super::Host;
use crate::hypervisor::{Domains, LedgerWish, OwnDomain};
use crate::vm::driver::CallKind;

impl Host {
    /// Describes our VMs above `after`, some at a time.
    pub(super) async fn describe_vms(&self, after: Option<VmId>) -> Result<ReplyBody, Refusal> {
        let listed = self.driver().call(CallKind::Ordinary, |hypervisor| hypervisor.domains()).await;
        // Without libvirt's own word nothing is said: an empty answer would mean that there is nothing.
        let domains = listed.map_err(|error| Refusal::Failed(chain(&error)))?;
        let now = self.inner.surroundings.clock.now();
        let told = |vm| self.inner.surroundings.roster.observation(vm);
        let (vms, more) = page(domains, after, DESCRIPTIONS_MAX, now, told);
        Ok(ReplyBody::Descriptions { vms, more })
    }
}

/// The first `most` of our VMs above `after`, and whether there are more.
fn page(
    domains: Domains,
    after: Option<VmId>,
    most: usize,
    now: Timestamp,
    told: impl Fn(VmId) -> Option<VmObservation>,
) -> (Vec<VmDescription>, bool) {
    let mut own: Vec<OwnDomain> =
        domains.own.into_iter().filter(|domain| after.is_none_or(|after| domain.vm > after)).collect();
    own.sort_unstable_by_key(|domain| domain.vm);
    let more = own.len() > most;
    own.truncate(most);
    (own.into_iter().map(|domain| describe(domain, now, &told)).collect(), more)
}

fn describe(
    domain: OwnDomain,
    now: Timestamp,
    told: &impl Fn(VmId) -> Option<VmObservation>,
) -> VmDescription {
    let OwnDomain { vm, ledger, .. } = domain;
    // Not taken in yet by a supervisor: there it is, and how it does is not known.
    let observation = told(vm).unwrap_or(VmObservation {
        vm,
        generation: ledger.generation,
        epoch: ledger.epoch,
        observed: ObservedVm::Unknown,
    });
    let stopping_within = match ledger.wish {
        LedgerWish::Running => None,
        LedgerWish::Stopped { destroy_at, .. } => Some(destroy_at.since(now)),
    };
    VmDescription { observation, stopping_within, origin: ledger.origin }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use reeve_common::ids::{Epoch, Generation};
    use uuid::Uuid;

    use super::*;
    use crate::hypervisor::{DomainState, LedgerEntry};

    const NOW: Timestamp = Timestamp(1_000);

    fn domain(number: u128, wish: LedgerWish) -> OwnDomain {
        let ledger = LedgerEntry {
            generation: Generation(3),
            epoch: Epoch(2),
            wish,
            registration_deadline: None,
            started_at: None,
            registered_at: None,
            system_disk: None,
            registration_timeout: Duration::from_secs(9),
            origin: format!("origin {number}"),
        };
        let vm = VmId(Uuid::from_u128(number));
        OwnDomain {
            vm,
            name: "web".parse().unwrap(),
            state: DomainState::Active,
            vcpus: 1,
            memory: reeve_common::units::Mebibytes(64),
            ledger,
        }
    }

    #[test]
    fn all_are_described_a_page_at_a_time_in_the_order_of_their_ids() {
        let all = || Domains {
            own: [5, 1, 4, 2, 3].map(|number| domain(number, LedgerWish::Running)).to_vec(),
            foreign: Vec::new(),
        };
        let mut seen = Vec::new();
        let mut after = None;
        loop {
            let (vms, more) = page(all(), after, 2, NOW, |_| None);
            after = vms.last().map(|described| described.observation.vm);
            seen.extend(vms.into_iter().map(|described| described.origin));
            if !more {
                break;
            }
        }
        assert_eq!(seen, ["origin 1", "origin 2", "origin 3", "origin 4", "origin 5"]);
    }

    #[test]
    fn what_was_told_last_and_the_wish_are_described() {
        let stopping = LedgerWish::Stopped { destroy_at: Timestamp(5_000), reason: None };
        let domains = Domains { own: vec![domain(1, stopping)], foreign: Vec::new() };
        let told = |vm| {
            let observed = ObservedVm::Stopping;
            Some(VmObservation { vm, generation: Generation(4), epoch: Epoch(2), observed })
        };
        let (vms, more) = page(domains, None, 2, NOW, told);
        assert!(!more && vms[0].observation.generation == Generation(4));
        assert_eq!(vms[0].stopping_within, Some(Duration::from_secs(4)));
    }
}
