//! Owns the placing of many VMs at once, so that together they cost less than placed one by one.
//!
//! ```text
//!   one by one in the given order ─┐
//!   largest first                 ─┴▶ the better ─▶ improvement ─▶ the best of the three
//! ```
//!
//! Which plan is better says a [`BatchGoal`]; of two as good, the one that makes the fleet's cost rise less. The plan that
//! places one by one is always among them, so no plan is worse. Everything is placed on trial, by the rule that
//! places VMs in earnest, and given back.
//!
//! Must not: know what a host's numbers are; it asks the fleet.

mod improvement;

use std::collections::BTreeMap;

use reeve_common::ids::{HostId, VmId};

use super::Fleet;
use super::realm::Realm;
use super::trial::Trial;
use crate::request::Request;

/// What is wanted of a plan before its cost is looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BatchGoal {
    /// As many VMs as possible have a place.
    #[default]
    MostPlaced,
    /// Nobody is left out for the sake of those who stand behind: of two plans the one is better that places the first VM
    /// in which they differ.
    FirstComeFirst,
}

/// Where many VMs go.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchPlan {
    /// For each VM, in the order in which they were given, its host; none where no place was found. A VM that had its place
    /// before is there.
    pub hosts: Vec<Option<HostId>>,
    /// The VMs to place, by their place in the given order, in an order in which each fits when its turn comes.
    pub order: Vec<usize>,
    /// What the plan comes to.
    pub cost: BatchCost,
    /// What placing them one by one in the given order comes to.
    pub one_by_one: BatchCost,
}

/// What a plan comes to.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct BatchCost {
    /// How many VMs are placed.
    pub placed: usize,
    /// By how much the fleet's cost rises: the sum, over the VMs as they come, of what each adds to the cost of its host.
    pub rise: f64,
}

impl BatchCost {
    fn add(&mut self, rise: f64) {
        self.placed += 1;
        self.rise += rise;
    }
}

/// VMs that are to be placed.
type Wanted = [(VmId, Request)];

/// A plan that was carried out on trial.
#[derive(Debug, Clone, Default)]
struct Draft {
    hosts: Vec<Option<HostId>>,
    order: Vec<usize>,
    cost: BatchCost,
}

impl Draft {
    fn nothing(wanted: &Wanted) -> Self {
        Self { hosts: vec![None; wanted.len()], ..Self::default() }
    }

    fn put(&mut self, index: usize, host: HostId, rise: f64) {
        self.hosts[index] = Some(host);
        self.order.push(index);
        self.cost.add(rise);
    }

    /// This one, unless `other` is better.
    fn or_better(self, other: Self, goal: BatchGoal) -> Self {
        let is_placed = |draft: &Self| draft.hosts.iter().map(Option::is_some).collect::<Vec<bool>>();
        let order = match goal {
            BatchGoal::MostPlaced => other.cost.placed.cmp(&self.cost.placed),
            // True is greater than false, and the first difference counts.
            BatchGoal::FirstComeFirst => is_placed(&other).cmp(&is_placed(&self)),
        };
        if order.is_gt() || (order.is_eq() && other.cost.rise < self.cost.rise) { other } else { self }
    }
}

/// How often VMs that did not fit are tried again while a plan is carried out: each time only those are left that need
/// another one beside them, and chains of those are short.
const ROUNDS_MAX: usize = 8;

impl Fleet {
    /// Places many VMs at once, never worse than one by one in the order given. Nothing is reserved; whoever follows the plan
    /// reserves in [`BatchPlan::order`]. A VM that has its place already keeps it, and is no part of the cost.
    #[must_use]
    pub fn plan_batch(&mut self, wanted: &[(VmId, Request)], goal: BatchGoal) -> BatchPlan {
        let given: Vec<usize> = (0..wanted.len()).collect();
        let one_by_one = self.place_in_order(wanted, &given);
        let baseline = one_by_one.cost;
        let largest = self.largest_first(wanted);
        let largest_first =
            if largest == given { one_by_one.clone() } else { self.place_in_order(wanted, &largest) };
        let better = one_by_one.or_better(largest_first, goal);
        let improved = improvement::improve(self, wanted, &largest, &better);
        let improved = self.carry_out(wanted, &improved);
        let best =
            improved.map_or_else(|| better.clone(), |improved| better.clone().or_better(improved, goal));
        let hosts = wanted.iter().zip(best.hosts).map(|((vm, _), host)| host.or_else(|| self.host_of(*vm)));
        BatchPlan { hosts: hosts.collect(), order: best.order, cost: best.cost, one_by_one: baseline }
    }

    /// Places each where it costs least when its turn comes.
    fn place_in_order(&mut self, wanted: &Wanted, order: &[usize]) -> Draft {
        let mut draft = Draft::nothing(wanted);
        let mut trial = Trial::on(self);
        for index in order {
            let (vm, request) = &wanted[*index];
            if let Some((host, rise)) = trial.place(*vm, request) {
                draft.put(*index, host, rise);
            }
        }
        draft
    }

    /// Puts each on the host it is meant for, in the given order as far as they fit in that order; none when some never do.
    fn carry_out(&mut self, wanted: &Wanted, hosts: &[Option<HostId>]) -> Option<Draft> {
        let mut draft = Draft::nothing(wanted);
        let mut trial = Trial::on(self);
        let mut waiting: Vec<(usize, HostId)> =
            hosts.iter().enumerate().filter_map(|(index, host)| Some((index, (*host)?))).collect();
        for _ in 0..ROUNDS_MAX {
            waiting.retain(|(index, host)| {
                let (vm, request) = &wanted[*index];
                let rise = trial.put(*vm, *host, request);
                if let Some(rise) = rise {
                    draft.put(*index, *host, rise);
                }
                rise.is_none()
            });
            if waiting.is_empty() {
                return Some(draft);
            }
        }
        None
    }

    /// The order in which those come first that take the largest share of what the realm has of anything.
    fn largest_first(&self, wanted: &Wanted) -> Vec<usize> {
        let mut totals = BTreeMap::new();
        for host in self.realms.iter().flat_map(Realm::hosts) {
            let total: &mut Amounts = totals.entry(&host.realm).or_default();
            total.cores += u128::from(host.capacity.cores.0);
            total.memory += u128::from(host.capacity.memory.0);
            total.devices +=
                host.capacity.devices.values().map(|count| u128::from(*count) * 1000).sum::<u128>();
        }
        let nothing = Amounts::default();
        let share = |request: &Request| {
            let total = totals.get(&request.realm).unwrap_or(&nothing);
            let devices = request.devices.values().map(|amount| u128::from(amount.permille())).sum();
            let asked = [u128::from(request.cores.0), u128::from(request.memory.0), devices];
            let each = asked.into_iter().zip([total.cores, total.memory, total.devices]);
            each.map(|(asked, total)| share(asked, total)).max().unwrap_or(0)
        };
        let mut order: Vec<(u128, usize)> =
            wanted.iter().enumerate().map(|(index, (_, request))| (share(request), index)).collect();
        order.sort_by(|one, other| other.0.cmp(&one.0).then(one.1.cmp(&other.1)));
        order.into_iter().map(|(_, index)| index).collect()
    }
}

/// What the hosts of a realm have together.
#[derive(Debug, Clone, Copy, Default)]
struct Amounts {
    cores: u128,
    memory: u128,
    /// In thousandths of a device.
    devices: u128,
}

/// `asked` of `total` in parts of 2^40; of what there is nothing of, all.
fn share(asked: u128, total: u128) -> u128 {
    const WHOLE: u128 = 1 << 40;
    if asked == 0 { 0 } else { (asked.min(1 << 80) * WHOLE).checked_div(total).unwrap_or(WHOLE) }
}
