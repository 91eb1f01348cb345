//! Constraint: the host's processor can do what the VM's needs. A host that has not said what its own can do is given
//! no VM that needs something.

use std::collections::BTreeSet;

use super::{Demand, Standing};
use crate::host::CpuAbilities;
use crate::reason::Reason;
use crate::request::{CpuDemand, Request};

pub(super) const DEMAND: Demand = Demand { is_met, reason };

fn is_met(standing: &Standing<'_>, request: &Request) -> bool {
    let can = |abilities: &CpuAbilities| {
        has_model(abilities, &request.cpu) && request.cpu.features.is_subset(&abilities.features)
    };
    request.cpu.is_nothing() || standing.host.cpu.as_ref().is_some_and(can)
}

fn has_model(abilities: &CpuAbilities, asked: &CpuDemand) -> bool {
    asked.model.as_ref().is_none_or(|model| abilities.models.contains(model))
}

fn reason(standing: &Standing<'_>, request: &Request) -> Reason {
    let asked = &request.cpu;
    let Some(abilities) = &standing.host.cpu else {
        return Reason::CpuUnknown { asked: asked.clone() };
    };
    let missing: BTreeSet<String> = asked.features.difference(&abilities.features).cloned().collect();
    Reason::Cpu {
        model: asked.model.clone().filter(|_| !has_model(abilities, asked)),
        models: abilities.models.len(),
        missing,
        features: asked.features.len(),
    }
}
