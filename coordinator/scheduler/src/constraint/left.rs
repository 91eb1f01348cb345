//! Constraint: the VM has not been on the host before. A host starts a VM once; one that was started elsewhere since may
//! have left something there.

use super::{Demand, Standing};
use crate::reason::Reason;
use crate::request::Request;

pub(super) const DEMAND: Demand = Demand { is_met, reason };

fn is_met(standing: &Standing<'_>, request: &Request) -> bool {
    !request.left.contains(&standing.host.id)
}

fn reason(_standing: &Standing<'_>, _request: &Request) -> Reason {
    Reason::Left
}
