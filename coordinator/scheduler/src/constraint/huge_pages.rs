//! Constraint: enough huge pages of the size asked for are left on the host.

use super::{Demand, Standing};
use crate::numa::NodeDemand;
use crate::reason::Reason;
use crate::request::Request;

pub(super) const DEMAND: Demand = Demand { is_met, reason };

fn is_met(standing: &Standing<'_>, request: &Request) -> bool {
    let Some((size, demand)) = request.huge_pages.zip(NodeDemand::of(request)) else { return true };
    standing.nodes.pages(size).fits(demand.pages_in_all)
}

fn reason(standing: &Standing<'_>, request: &Request) -> Reason {
    let size = request.huge_pages.unwrap_or_default();
    let amount = standing.nodes.pages(size);
    let asked = NodeDemand::of(request).map_or(0, |demand| demand.pages_in_all);
    Reason::HugePages { size, asked, free: amount.free(), total: amount.total }
}
