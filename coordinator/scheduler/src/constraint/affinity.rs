//! Constraint: the VM is with the VMs it must be with, and away from those it must not be with.
//!
//! ```text
//!   together   met where at least one is here; and everywhere while none is in the realm, unless one VM is meant
//!   apart      met where none is here
//! ```

use super::{Demand, Standing};
use crate::reason::Reason;
use crate::request::{Affinity, AffinityRule, Companions, Request};

pub(super) const DEMAND: Demand = Demand { is_met, reason };

fn is_met(standing: &Standing<'_>, request: &Request) -> bool {
    request.affinity.iter().all(|rule| is_followed(standing, rule))
}

fn is_followed(standing: &Standing<'_>, rule: &AffinityRule) -> bool {
    let here = (standing.company_here)(&rule.companions);
    match rule.kind {
        Affinity::Together => here > 0 || !is_binding(rule, || (standing.company_in_realm)(&rule.companions)),
        Affinity::Apart => here == 0,
    }
}

/// Whether a rule bars any host while so many of those it is about are in the realm.
pub(crate) fn is_binding(rule: &AffinityRule, in_realm: impl FnOnce() -> u64) -> bool {
    rule.kind == Affinity::Apart || matches!(rule.companions, Companions::Vm(_)) || in_realm() > 0
}

fn reason(standing: &Standing<'_>, request: &Request) -> Reason {
    let broken = request.affinity.iter().find(|rule| !is_followed(standing, rule));
    let Some(rule) = broken.or(request.affinity.first()) else {
        return Reason::Apart { who: String::new(), here: 0 };
    };
    let who = match &rule.companions {
        Companions::Owner => format!("VMs of owner {}", request.owner),
        Companions::Team => format!("VMs of team {}", request.team),
        Companions::Label { key, value } => format!("VMs with label {key}={value}"),
        Companions::Vm(vm) => format!("VM {vm}"),
    };
    match rule.kind {
        Affinity::Together => {
            Reason::Together { who, elsewhere: (standing.company_in_realm)(&rule.companions) }
        }
        Affinity::Apart => Reason::Apart { who, here: (standing.company_here)(&rule.companions) },
    }
}
