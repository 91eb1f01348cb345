//! Owns the start of several VMs at once: planned together, so that they cost less than one after the other, and each then
//! a VM like any other: held by the same rule, recorded in an act and a transaction of its own, told to its host.
//!
//! Must not: make one VM's start depend on another's. What is wrong with one is said of that one.

use reeve_common::ids::{ConfigurationName, VmId};
use reeve_scheduler::Request;

use super::acting::acting_on;
use super::placing::{BATCH_MAX, Planned, plan_together};
use super::starting::admitted;
use super::views::VmDetail;
use super::{Actor, Service, ServiceError};
use crate::audit::{Outcome, Who};
use crate::model::explanation::PlacementDecision;
use crate::model::vm::Vm;

/// How many VMs may be started by one request: an answer holds the whole decision of each, some KiB.
const STARTED_TOGETHER_MAX: usize = 1000;

/// A VM that is held and not yet durable, with the decision that placed it; or why there is none.
type Held = Result<(Vm, PlacementDecision), ServiceError>;

impl Service {
    /// Starts a VM of each configuration, planned together. Returns, in the order asked, as soon as each is durably placed,
    /// durably waiting, or refused.
    ///
    /// # Errors
    /// [`ServiceError`] when more are asked for than may be at once; what is wrong with one VM is its own result.
    pub async fn start_vms(
        &self,
        names: &[ConfigurationName],
        actor: &Actor,
    ) -> Result<Vec<Result<VmDetail, ServiceError>>, ServiceError> {
        if names.is_empty() || names.len() > STARTED_TOGETHER_MAX {
            return Err(ServiceError::invalid(format!(
                "{} VMs cannot be started at once: at least 1 and at most {STARTED_TOGETHER_MAX}",
                names.len()
            )));
        }
        acting_on(|| format!("{} VMs together", names.len()));
        let mut results = Vec::with_capacity(names.len());
        for some in names.chunks(BATCH_MAX) {
            let held = self.hold_together(some);
            // All are on their way to the store at once, which writes them in one go.
            let mut starts = Vec::with_capacity(held.len());
            for (held, name) in held.into_iter().zip(some) {
                let (service, name, actor) = (self.clone(), name.clone(), actor.clone());
                starts.push(tokio::spawn(async move { service.start_held(held, &name, &actor).await }));
            }
            for start in starts {
                let broke_off = |error| ServiceError::internal(format!("the start broke off: {error}"));
                results.push(start.await.map_err(broke_off).flatten());
            }
        }
        Ok(results)
    }

    /// One step under the lock: all admitted, planned together and held one by one, the ones with a place in the plan first.
    fn hold_together(&self, names: &[ConfigurationName]) -> Vec<Held> {
        let config = self.config();
        let now = self.now();
        let mut core = self.core_for_decisions();
        let mut vms: Vec<Result<Vm, ServiceError>> =
            names.iter().map(|name| admitted(&core, &config, VmId::random(), name, now)).collect();
        let (places, wanted): (Vec<usize>, Vec<(VmId, Request)>) = vms
            .iter()
            .enumerate()
            .filter_map(|(place, vm)| Some((place, vm.as_ref().ok()?)))
            .map(|(place, vm)| (place, (vm.id, vm.request.clone())))
            .unzip();
        let mut planned: Vec<Option<Planned>> = vec![None; names.len()];
        let mut order = Vec::with_capacity(names.len());
        for (index, plan) in plan_together(&mut core, &wanted) {
            let Some(place) = places.get(index).copied() else { continue };
            planned[place] = Some(plan);
            order.push(place);
        }
        order.extend((0..names.len()).filter(|place| planned[*place].is_none()));
        let mut held: Vec<Option<Held>> = names.iter().map(|_| None).collect();
        for place in order {
            let not_asked = Err(ServiceError::internal("a VM was held twice"));
            let vm = std::mem::replace(&mut vms[place], not_asked);
            held[place] = Some(vm.and_then(|vm| self.hold(&mut core, vm, planned[place], now)));
        }
        held.into_iter().flatten().collect()
    }

    /// Makes one of them durable, as an act of its own.
    async fn start_held(
        &self,
        held: Held,
        name: &ConfigurationName,
        actor: &Actor,
    ) -> Result<VmDetail, ServiceError> {
        let who = Who::Operator { uid: actor.uid, name: actor.name.clone() };
        let object = match &held {
            Ok((vm, _)) => format!("vm {}", vm.name),
            Err(_) => format!("configuration {name}"),
        };
        let act = self.begin_act(who, "start-vm", object);
        let started = act.clone().scope(Box::pin(async {
            let (vm, decision) = held?;
            self.log_decision(&vm, &decision);
            let id = vm.id;
            self.record_start(id, vm, decision, actor).await?;
            // Read again: the decision stands beside the record.
            self.vm(&id.to_string()).await
        }));
        let started = started.await;
        act.end(started.as_ref().err().map_or(Outcome::Done, Outcome::from)).await;
        started
    }
}

#[cfg(test)]
#[path = "starting_together_tests.rs"]
mod tests;
