//! Owns what becomes of a wish for a VM: judged by the request policy, one at a time, and handed to the VM's
//! supervisor; and of the word that a VM may be forgotten.

use std::sync::atomic::Ordering;

use reeve_common::ids::{Epoch, Generation, VmId};
use reeve_common::mutation::Mutation;
use reeve_common::protocol::{Refusal, ReplyBody};
use reeve_common::vm::{DesiredVm, ObservedVm};

use super::{Host, not_recorded};
use crate::vm::known::{Disk, Known, Tombstone};
use crate::vm::request_policy::{ForgetVerdict, Standing, Verdict, judge, judge_forget};

impl Host {
    pub(super) async fn ensure(
        &self,
        vm: VmId,
        epoch: Epoch,
        generation: Generation,
        desired: DesiredVm,
    ) -> Result<ReplyBody, Refusal> {
        let _one_at_a_time = self.inner.judging.lock().await;
        let roster = &self.inner.surroundings.roster;
        let standing = self.standing(vm);
        if matches!(standing, Standing::Unknown | Standing::Gone { .. }) {
            self.check_listed()?;
        }
        let vms_known = roster.len() + self.inner.state.tombstone_count();
        let owner = |disk: &Disk| self.owner_of_disk(disk);
        if let (Standing::Unknown, DesiredVm::Running(_)) = (&standing, &desired) {
            // Said at once rather than by a start that fails.
            self.start_gate().check().map_err(Refusal::Failed)?;
        }
        match judge(generation, &desired, &standing, &self.inner.realm, vms_known, owner) {
            Verdict::Refuse(refusal) => Err(refusal),
            Verdict::Superseded { .. } if Mutation::ObeyOlderGeneration.is_active() => {
                roster.hand_on(vm, generation, epoch, desired);
                Ok(ReplyBody::Accepted)
            }
            Verdict::Superseded { current } => Ok(ReplyBody::Superseded { current }),
            Verdict::AlreadyGone => self.repeat_end(vm, epoch, generation).await,
            Verdict::Accept | Verdict::AlreadySo => {
                if let DesiredVm::Adopted(adopted) = &desired
                    && !self.is_kept(vm)
                {
                    return self.adopt(vm, epoch, generation, adopted).await;
                }
                let now = self.inner.surroundings.clock.now();
                let fresh = standing == Standing::Unknown
                    && self.keep(Known::wished(vm, generation, epoch, desired.clone(), now));
                if !fresh {
                    roster.hand_on(vm, generation, epoch, desired);
                }
                Ok(ReplyBody::Accepted)
            }
        }
    }

    pub(super) fn standing(&self, vm: VmId) -> Standing {
        if let Some(tombstone) = self.inner.state.tombstone(vm) {
            return Standing::Gone { generation: tombstone.generation };
        }
        if let Some(standing) = self.inner.surroundings.roster.standing(vm) {
            return standing;
        }
        match self.inner.state.forgotten(vm) {
            Some(generation) => Standing::Forgotten { generation },
            None => Standing::Unknown,
        }
    }

    /// A wish for a VM that is gone: says so again, at the wish's generation.
    async fn repeat_end(&self, vm: VmId, epoch: Epoch, generation: Generation) -> Result<ReplyBody, Refusal> {
        let Some(found) = self.inner.state.tombstone(vm) else { return Ok(ReplyBody::Accepted) };
        let raised = Tombstone {
            generation: found.generation.max(generation),
            epoch: found.epoch.max(epoch),
            ..found.clone()
        };
        if raised != found {
            let tombstone = raised.clone();
            let recorded = self.driver().remember(move |state| state.bury(tombstone)).await;
            recorded.map_err(|error| not_recorded(&error))?;
        }
        // While the last of it is being removed, its supervisor tells the rest.
        let being_removed = self.inner.surroundings.roster.observation(vm);
        self.outbox().vm_changed(being_removed.unwrap_or_else(|| raised.observation()));
        Ok(ReplyBody::Accepted)
    }

    pub(super) async fn forget(&self, vm: VmId, generation: Generation) -> Result<ReplyBody, Refusal> {
        let _one_at_a_time = self.inner.judging.lock().await;
        self.check_listed()?;
        match judge_forget(generation, &self.standing(vm)) {
            ForgetVerdict::NothingKnown => Ok(ReplyBody::Accepted),
            ForgetVerdict::Refuse(refusal) => Err(refusal),
            ForgetVerdict::Forget if self.is_being_removed(vm) => {
                Err(Refusal::Failed("the last of the VM is still being removed".to_owned()))
            }
            ForgetVerdict::Forget => {
                let recorded = self.driver().remember(move |state| state.forget(vm)).await;
                recorded.map_err(|error| not_recorded(&error))?;
                Ok(ReplyBody::Accepted)
            }
        }
    }

    /// Of a VM that is not known something may be there, and of one that has a tombstone too: the agent before this one may
    /// have died between the tombstone and the last of its domain.
    fn check_listed(&self) -> Result<(), Refusal> {
        if self.inner.listed.load(Ordering::Acquire) {
            return Ok(());
        }
        let why =
            "this host's libvirt could not be asked yet which VMs it has; repeat the command when it can";
        Err(Refusal::Failed(why.to_owned()))
    }

    /// Whether more than a tombstone is left of a VM that has one.
    fn is_being_removed(&self, vm: VmId) -> bool {
        let told = self.inner.surroundings.roster.observation(vm);
        told.is_some_and(|observation| !matches!(observation.observed, ObservedVm::Gone(_)))
    }
}
