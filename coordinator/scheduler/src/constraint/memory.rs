//! Constraint: enough memory is left, huge pages apart.

use reeve_common::units::Mebibytes;

use super::Standing;
use crate::reason::Reason;
use crate::request::Request;

pub(super) fn check(standing: &Standing<'_>, request: &Request) -> Result<(), Reason> {
    let amount = standing.memory;
    let asked = request.ordinary_memory();
    if amount.fits(asked.0) {
        return Ok(());
    }
    Err(Reason::Memory { asked, free: Mebibytes(amount.free()), total: Mebibytes(amount.total) })
}
