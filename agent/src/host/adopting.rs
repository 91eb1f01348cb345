//! Owns the adoption of a domain that somebody else made: what is told of it before it is decided, and the taking in.
//!
//! Our ledger is written into the domain as it runs; from then on it is found by it like any other VM of ours, in this
//! life of the agent and in the next. So a crash in the middle leaves it either untouched, and the wish is repeated, or
//! adopted. Nothing else of the domain is changed, now or later.

use reeve_common::ids::{Epoch, Generation, VmId};
use reeve_common::protocol::{Refusal, ReplyBody};
use reeve_common::text::chain;
use reeve_common::vm::{AdoptedVm, DomainDescription};

use super::Host;
use crate::hypervisor::{HypervisorError, LedgerEntry, LedgerWish, OwnDomain};
use crate::vm::driver::CallKind;
use crate::vm::known::Known;
use crate::vm::request_policy::Standing;

impl Host {
    /// What of a domain that is not ours decides whether it can be adopted.
    pub(super) async fn describe_domain(&self, domain: VmId) -> Result<ReplyBody, Refusal> {
        let looked =
            self.driver().call(CallKind::Ordinary, move |hypervisor| hypervisor.describe_foreign(domain));
        let last_generation = match self.standing(domain) {
            Standing::Unknown => Generation(0),
            Standing::Kept { generation, .. }
            | Standing::Gone { generation }
            | Standing::Forgotten { generation } => generation,
        };
        let found = looked.await.map_err(|error| refusal(&error))?;
        Ok(ReplyBody::Domain(
            found.map(|(domain, disks)| Box::new(DomainDescription { domain, disks, last_generation })),
        ))
    }

    /// Takes in a domain that nobody keeps. Repeating it is harmless.
    pub(super) async fn adopt(
        &self,
        vm: VmId,
        epoch: Epoch,
        generation: Generation,
        adopted: &AdoptedVm,
    ) -> Result<ReplyBody, Refusal> {
        let own = match self.own(vm).await? {
            // An earlier try has come so far, and its answer was lost.
            Some(own) => own,
            None => {
                self.check_unchanged(vm, adopted).await?;
                let now = self.inner.surroundings.clock.now();
                let ledger = LedgerEntry {
                    generation,
                    epoch,
                    wish: LedgerWish::Running,
                    registration_deadline: None,
                    // It runs, and nobody has to wait for its guest: both count from the adoption.
                    started_at: Some(now),
                    registered_at: Some(now),
                    system_disk: None,
                    registration_timeout: std::time::Duration::ZERO,
                    origin: adopted.origin.clone(),
                };
                let written =
                    self.driver().call(CallKind::Ordinary, move |hypervisor| hypervisor.adopt(vm, &ledger));
                written.await.map_err(|error| refusal(&error))?;
                let missing =
                    || Refusal::Failed("the domain cannot be looked at after its adoption".to_owned());
                self.own(vm).await?.ok_or_else(missing)?
            }
        };
        let now = self.inner.surroundings.clock.now();
        log::info!(REEVE_VM:% = vm; "the domain {} was adopted as VM {vm}; it runs on as it is", own.name);
        self.keep(Known::found(own, now));
        // It is nobody's no longer: what is told of the host as a whole has changed.
        self.inner.surroundings.attention.notify_one();
        Ok(ReplyBody::Accepted)
    }

    async fn own(&self, vm: VmId) -> Result<Option<OwnDomain>, Refusal> {
        let looked = self.driver().call(CallKind::Ordinary, move |hypervisor| hypervisor.domain(vm));
        looked.await.map_err(|error| refusal(&error))
    }

    /// Whether the domain can be adopted and is still what it was when that was decided.
    async fn check_unchanged(&self, vm: VmId, adopted: &AdoptedVm) -> Result<(), Refusal> {
        let looked =
            self.driver().call(CallKind::Ordinary, move |hypervisor| hypervisor.describe_foreign(vm));
        let invalid = |why: String| Err(Refusal::Invalid(format!("domain {}: {why}", adopted.name)));
        let Some((domain, disks)) = looked.await.map_err(|error| refusal(&error))? else {
            return invalid("there is no such domain any more".to_owned());
        };
        if let Some(obstacle) = domain.obstacle {
            return invalid(obstacle.to_string());
        }
        if domain.name != adopted.name.as_str() || disks != adopted.disks {
            return invalid(
                "its name or its disks have changed since it was looked at: ask again".to_owned(),
            );
        }
        let ours = disks.iter().filter_map(|disk| disk.volume.as_ref());
        let taken = ours.filter_map(|disk| self.owner_of_disk(disk).map(|owner| (disk, owner)));
        match taken.map(|((pool, volume), owner)| (pool.clone(), volume.clone(), owner)).next() {
            None => Ok(()),
            Some((pool, volume, owner)) => {
                invalid(format!("volume {volume} of pool {pool} is the system disk of VM {owner}"))
            }
        }
    }
}

fn refusal(error: &HypervisorError) -> Refusal {
    let why = chain(error);
    if error.is_retryable() { Refusal::Failed(why) } else { Refusal::Invalid(why) }
}
