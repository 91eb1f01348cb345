//! Constraint: the host's labels say what the VM wants, and nothing that it does not want.

use super::{Demand, Standing};
use crate::reason::Reason;
use crate::request::{HostLabelRule, Request};

pub(super) const DEMAND: Demand = Demand { is_met, reason };

fn is_met(standing: &Standing<'_>, request: &Request) -> bool {
    request.host_labels.iter().all(|rule| is_followed(standing, rule))
}

fn is_followed(standing: &Standing<'_>, rule: &HostLabelRule) -> bool {
    let value = standing.host.labels.get(&rule.key);
    value.is_some_and(|value| rule.values.contains(value)) == rule.wanted
}

fn reason(standing: &Standing<'_>, request: &Request) -> Reason {
    let broken = request.host_labels.iter().find(|rule| !is_followed(standing, rule));
    let rule = broken.or(request.host_labels.first()).cloned().unwrap_or_default();
    Reason::HostLabel { found: standing.host.labels.get(&rule.key).cloned(), rule }
}
