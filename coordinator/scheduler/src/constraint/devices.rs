//! Constraint: enough devices of each class asked for are left.

use super::Standing;
use crate::reason::Reason;
use crate::request::Request;

pub(super) fn check(standing: &Standing<'_>, request: &Request) -> Result<(), Reason> {
    for (class, asked) in &crate::fleet::whole_devices(request).collect::<Vec<_>>() {
        let amount = (standing.devices)(class);
        if !amount.fits(u64::from(*asked)) {
            return Err(Reason::Devices {
                class: class.clone(),
                asked: *asked,
                free: amount.free(),
                total: u32::try_from(amount.total).unwrap_or(u32::MAX),
            });
        }
    }
    Ok(())
}
