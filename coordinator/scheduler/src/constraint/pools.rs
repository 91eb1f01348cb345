//! Constraint: the storage pools that the VM's disks are in can be used on the host.

use super::{Demand, Standing};
use crate::reason::Reason;
use crate::request::Request;

pub(super) const DEMAND: Demand = Demand { is_met, reason };

fn is_met(standing: &Standing<'_>, request: &Request) -> bool {
    let problems = &standing.host.pool_problems;
    problems.is_empty() || !request.pools.iter().any(|pool| problems.contains_key(pool))
}

fn reason(standing: &Standing<'_>, request: &Request) -> Reason {
    let problems = &standing.host.pool_problems;
    let asked = request.pools.iter().filter(|pool| problems.contains_key(pool));
    let names: Vec<String> =
        asked.clone().filter_map(|pool| Some(format!("pool {pool}: {}", problems.get(pool)?))).collect();
    Reason::Pools { asked: request.pools.len(), problems: names }
}
