//! Constraint: the VM's owner and team stay within what they may have of the realm. It is about no host, and is asked
//! before any.

use super::Amount;
use crate::quota::{QuotaHolder, QuotaKind, QuotaLimits, QuotaUsage};
use crate::reason::Reason;

/// Whether `holder` may have `asked` besides what it has.
pub(crate) fn check(
    holder: &QuotaHolder,
    limits: &QuotaLimits,
    used: &QuotaUsage,
    asked: &QuotaUsage,
) -> Result<(), Reason> {
    for kind in QuotaKind::ALL {
        let Some(allowed) = limits.of(kind) else { continue };
        let amount = Amount { total: allowed, used: used.of(kind) };
        if !amount.fits(asked.of(kind)) {
            let holder = holder.clone();
            return Err(Reason::Quota { holder, kind, asked: asked.of(kind), used: amount.used, allowed });
        }
    }
    Ok(())
}
