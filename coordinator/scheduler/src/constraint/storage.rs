//! Constraint: the realm's pools can serve a VM on the host.

use super::Standing;
use crate::host::HostDescription;
use crate::reason::Reason;
use crate::request::Request;

pub(super) fn is_met(host: &HostDescription) -> bool {
    host.storage_problem.is_none()
}

pub(super) fn check(standing: &Standing<'_>, _request: &Request) -> Result<(), Reason> {
    match &standing.host.storage_problem {
        None => Ok(()),
        Some(problem) => Err(Reason::Storage { problem: problem.clone() }),
    }
}
