//! Constraint: the host's agent is connected, so that something can be started there.

use super::Standing;
use crate::host::HostDescription;
use crate::reason::Reason;
use crate::request::Request;

pub(super) fn is_met(host: &HostDescription) -> bool {
    host.connected
}

pub(super) fn check(standing: &Standing<'_>, _request: &Request) -> Result<(), Reason> {
    if is_met(standing.host) { Ok(()) } else { Err(Reason::Disconnected) }
}
