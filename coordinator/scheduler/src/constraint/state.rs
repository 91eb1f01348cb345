//! Constraint: an administrator lets the host be chosen.

use super::Standing;
use crate::host::{HostDescription, HostState};
use crate::reason::Reason;
use crate::request::Request;

pub(super) fn is_met(host: &HostDescription) -> bool {
    host.state == HostState::Enabled
}

pub(super) fn check(standing: &Standing<'_>, _request: &Request) -> Result<(), Reason> {
    if is_met(standing.host) { Ok(()) } else { Err(Reason::State { state: standing.host.state }) }
}
