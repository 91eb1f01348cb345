//! Constraint: enough processor time is left.

use reeve_common::units::Millicores;

use super::Standing;
use crate::reason::Reason;
use crate::request::Request;

pub(super) fn check(standing: &Standing<'_>, request: &Request) -> Result<(), Reason> {
    let amount = standing.cores;
    if amount.fits(request.cores.0) {
        return Ok(());
    }
    Err(Reason::Cores {
        asked: request.cores,
        free: Millicores(amount.free()),
        total: Millicores(amount.total),
    })
}
