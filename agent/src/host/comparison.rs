//! Owns the comparison of everything with the hypervisor, when it is due, and the full report that follows from it.
//!
//! Must not: change a VM. What differs makes its supervisor look for itself.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use reeve_common::logging::messages;
use reeve_common::protocol::HostReport;
use reeve_common::storage::PoolReport;
use reeve_common::text::chain;
use reeve_common::vm::{DomainSize, ForeignDomain, ObservedVm, VmObservation};
use reeve_common::wire::limits::{FOREIGN_DOMAINS_MAX, VMS_MAX};

use super::{Host, Seen, pool_names};
use crate::hypervisor::HypervisorError;
use crate::reconciler::{Reconciliation, reconcile};
use crate::vm::driver::CallKind;

/// How often all VMs are compared with the hypervisor before a coordinator has said how often.
const POLL_INTERVAL_UNTOLD: Duration = Duration::from_secs(30);

/// The shortest poll interval obeyed; each poll lists every domain.
const POLL_INTERVAL_MIN: Duration = Duration::from_secs(1);

/// How long events that call for a comparison are gathered, so that a hundred of somebody else's domains starting at
/// once are one comparison.
const GATHERING: Duration = Duration::from_millis(100);

/// How soon the hypervisor is tried again when listing failed and no event says that it is back.
const UNREACHABLE_RETRY: Duration = Duration::from_secs(5);

impl Host {
    /// Compares everything with the hypervisor now and whenever something calls for it, for ever.
    pub async fn keep_watch(&self) {
        let mut settings = self.inner.settings.subscribe();
        loop {
            let reachable = self.compare().await;
            let told = settings.borrow_and_update().as_ref().map(|settings| settings.poll_frequency);
            let interval = told.unwrap_or(POLL_INTERVAL_UNTOLD).max(POLL_INTERVAL_MIN);
            let interval = if reachable { interval } else { interval.min(UNREACHABLE_RETRY) };
            tokio::select! {
                biased;
                () = self.inner.surroundings.attention.notified() => tokio::time::sleep(GATHERING).await,
                () = tokio::time::sleep(interval) => {}
            }
        }
    }

    /// Compares everything with the hypervisor once: takes in VMs that nobody keeps, makes supervisors look again, and
    /// tells what else has changed. Returns whether the hypervisor answered.
    pub async fn compare(&self) -> bool {
        let _one_at_a_time = self.inner.comparing.lock().await;
        let driver = &self.inner.surroundings.driver;
        let listed = driver.call(CallKind::Ordinary, |hypervisor| {
            hypervisor.domains().map(|domains| (domains, hypervisor.lock_manager()))
        });
        let now_seen = match listed.await {
            Err(error) => {
                self.warn_unreachable(&error);
                Seen::default()
            }
            Ok((domains, lock_manager)) => {
                let result = reconcile(
                    domains,
                    &self.inner.surroundings.roster.last_seen(),
                    &self.inner.state.tombstones(),
                    &self.inner.state.preparations(),
                    self.inner.surroundings.clock.now(),
                );
                let (foreign, sizes) = self.act_on(result).await;
                Seen { reachable: true, foreign, pools: self.pools().await, sizes, lock_manager }
            }
        };
        let reachable = now_seen.reachable;
        if reachable && self.inner.warned.swap(false, Ordering::AcqRel) {
            log::info!(MESSAGE_ID:% = messages::LIBVIRT_BACK; "the domains can be listed again");
        }
        let before = std::mem::replace(&mut *self.seen(), now_seen.clone());
        let first = reachable && !self.inner.listed.swap(true, Ordering::AcqRel);
        if first || (before != now_seen && reachable) {
            // A report says that the hypervisor is back, too.
            self.outbox().report_due();
        } else if before.reachable && !reachable {
            self.outbox().hypervisor_changed(false);
        }
        reachable
    }

    /// Said once, and again after it was reachable in between.
    fn warn_unreachable(&self, error: &HypervisorError) {
        if !self.inner.warned.swap(true, Ordering::AcqRel) {
            log::warn!(
                MESSAGE_ID:% = messages::LIBVIRT_UNREACHABLE;
                "the domains cannot be listed: {}. VMs run on; the agent goes on trying. Check that libvirtd runs and that \
                 the agent's user may use it (group libvirt)",
                chain(error)
            );
        }
    }

    async fn act_on(&self, result: Reconciliation) -> (Vec<ForeignDomain>, Vec<DomainSize>) {
        let roster = &self.inner.surroundings.roster;
        let highest = result.adopt.iter().map(|known| known.epoch).max();
        if let Some(epoch) = highest
            && let Err(error) =
                self.inner.surroundings.driver.remember(move |state| state.raise_epoch(epoch)).await
        {
            log::error!(MESSAGE_ID:% = messages::STATE_NOT_WRITTEN; "{}", chain(&error));
        }
        for known in result.adopt {
            self.keep(known);
        }
        for vm in result.look_again {
            if let Some(mailbox) = roster.mailbox(vm) {
                mailbox.look();
            }
        }
        self.inner.state.settle_preparations(&result.settled);
        (result.foreign, result.sizes)
    }

    async fn pools(&self) -> Vec<PoolReport> {
        let names = self.inner.settings.borrow().as_ref().map(pool_names);
        let Some(names) = names else { return Vec::new() };
        let driver = &self.inner.surroundings.driver;
        match driver.call(CallKind::Ordinary, move |hypervisor| hypervisor.pools(&names)).await {
            Ok(pools) => pools,
            Err(error) => {
                log::warn!("the realm's pools cannot be looked at: {}", chain(&error));
                self.seen().pools.clone()
            }
        }
    }

    /// The report that is due now, with the commands that it answers.
    pub(crate) fn due_report(&self) -> HostReport {
        // First the commands: what is reported is then not older than they are.
        let answers = self.outbox().take_answers();
        HostReport { answers, ..self.report() }
    }

    /// Everything this host has, as last seen.
    #[must_use]
    pub fn report(&self) -> HostReport {
        let seen = self.seen().clone();
        let mut vms = self.inner.surroundings.roster.observations();
        // Before the domains were listed once, the last of a VM that has a tombstone may be there still. Then nothing is said
        // of it: from what a report without libvirt leaves out, nothing follows.
        let listed = seen.reachable || self.inner.listed.load(Ordering::Acquire);
        let tombstones = if listed { self.inner.state.tombstones() } else { BTreeMap::new() };
        for tombstone in tombstones.into_values() {
            if !vms.iter().any(|observation| observation.vm == tombstone.vm) {
                vms.push(tombstone.observation());
            }
        }
        if !seen.reachable {
            vms.iter_mut().for_each(unknown_unless_gone);
        }
        let Seen { reachable, mut foreign, pools, mut sizes, lock_manager } = seen;
        // As many as fit a message.
        foreign.truncate(FOREIGN_DOMAINS_MAX);
        sizes.truncate(VMS_MAX);
        let answers = Vec::new();
        HostReport { hypervisor_reachable: reachable, vms, foreign, pools, sizes, answers, lock_manager }
    }
}

fn unknown_unless_gone(observation: &mut VmObservation) {
    if !matches!(observation.observed, ObservedVm::Gone(_)) {
        observation.observed = ObservedVm::Unknown;
    }
}
