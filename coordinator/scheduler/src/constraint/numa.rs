//! Constraint: as many NUMA nodes as are asked for have room for an equal part of the VM each.

use reeve_common::units::{Mebibytes, Millicores};

use super::{Demand, Standing};
use crate::numa::NodeDemand;
use crate::reason::Reason;
use crate::request::Request;

pub(super) const DEMAND: Demand = Demand { is_met, reason };

fn is_met(standing: &Standing<'_>, request: &Request) -> bool {
    let Some(demand) = NodeDemand::of(request) else { return true };
    demand.nodes == 0 || standing.nodes.fitting(&demand) >= demand.nodes as usize
}

fn reason(standing: &Standing<'_>, request: &Request) -> Reason {
    let demand = NodeDemand::of(request);
    Reason::Numa {
        nodes: demand.map_or(0, |demand| demand.nodes),
        cores: Millicores(demand.map_or(0, |demand| demand.cores)),
        memory: Mebibytes(demand.map_or(0, |demand| demand.memory)),
        pages: demand.and_then(|demand| demand.pages).map(|pages| (pages.count, pages.size)),
        fitting: demand.map_or(0, |demand| standing.nodes.fitting(&demand)),
        total: standing.nodes.node_count(),
    }
}
