//! Constraint: a VM lives in its own realm.

use super::Standing;
use crate::reason::Reason;
use crate::request::Request;

pub(super) fn check(standing: &Standing<'_>, request: &Request) -> Result<(), Reason> {
    if standing.host.realm == request.realm {
        return Ok(());
    }
    Err(Reason::Realm { asked: request.realm.clone(), host: standing.host.realm.clone() })
}
