//! Constraint: the host is not being emptied.

use super::Standing;
use crate::host::HostDescription;
use crate::reason::Reason;
use crate::request::Request;

pub(super) fn is_met(host: &HostDescription) -> bool {
    !host.draining
}

pub(super) fn check(standing: &Standing<'_>, _request: &Request) -> Result<(), Reason> {
    if is_met(standing.host) { Ok(()) } else { Err(Reason::Draining) }
}
