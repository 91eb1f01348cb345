//! Constraint: enough memory is left.

use reeve_common::units::Mebibytes;

use super::Standing;
use crate::reason::Reason;
use crate::request::Request;

pub(super) fn check(standing: &Standing<'_>, request: &Request) -> Result<(), Reason> {
    let amount = standing.memory;
    if amount.fits(request.memory.0) {
        return Ok(());
    }
    Err(Reason::Memory {
        asked: request.memory,
        free: Mebibytes(amount.free()),
        total: Mebibytes(amount.total),
    })
}
