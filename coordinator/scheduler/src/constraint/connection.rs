//! Constraint: the host's agent is heard, so that something can be started there.

use super::Standing;
use crate::host::{Contact, HostDescription};
use crate::reason::Reason;
use crate::request::Request;

pub(super) const fn is_met(host: &HostDescription) -> bool {
    matches!(host.contact, Contact::Connected)
}

pub(super) const fn check(standing: &Standing<'_>, _request: &Request) -> Result<(), Reason> {
    match standing.host.contact {
        Contact::Connected => Ok(()),
        Contact::Suspected => Err(Reason::Suspected),
        Contact::Lost => Err(Reason::Disconnected),
    }
}
