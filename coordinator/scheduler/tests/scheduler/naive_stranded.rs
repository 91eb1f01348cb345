//! What is stranded, request by request of the catalogue. The numbers are put together in the order that the definition
//! gives, so that they can be compared to the last bit.

use reeve_scheduler::Request;

use crate::naive_devices::{Rack, entries};
use crate::naive_nodes::ordinary;

/// A catalogue, and what is expected to stay free of a device with so many thousandths free, in 2^-20 of a thousandth.
#[derive(Debug, Clone, Default)]
pub(crate) struct Expected {
    requests: Vec<(Request, u32)>,
    left: Vec<u64>,
}

/// A host and what is used of it.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) cores: (u64, u64),
    pub(crate) memory: (u64, u64),
    pub(crate) rack: Rack,
}

impl State {
    fn cores_free(&self) -> u64 {
        self.cores.0.saturating_sub(self.cores.1)
    }

    fn memory_free(&self) -> u64 {
        self.memory.0.saturating_sub(self.memory.1)
    }

    fn devices_total(&self) -> u64 {
        self.rack.shelves.values().map(|shelf| shelf.total()).sum()
    }

    fn frees(&self) -> Vec<u64> {
        self.rack.shelves.values().flat_map(|shelf| shelf.free.clone()).collect()
    }
}

fn place(free: u64) -> usize {
    usize::try_from(free).unwrap()
}

impl Expected {
    pub(crate) fn new(requests: Vec<(Request, u32)>) -> Self {
        let offers: Vec<(u64, u64)> = requests
            .iter()
            .flat_map(|(request, weight)| {
                let each =
                    |permille: u64| if permille < 1000 { (permille, 1) } else { (1000, permille / 1000) };
                let offers = entries(request).into_iter().map(move |(_, amount)| each(amount.permille()));
                offers.map(|(share, count)| (share, count * u64::from(*weight))).collect::<Vec<_>>()
            })
            .filter(|(_, weight)| *weight > 0)
            .collect();
        let all: u64 = offers.iter().map(|(_, weight)| weight).sum();
        let mut left: Vec<u64> = (0..=1000).map(|free| if all == 0 { 0 } else { free << 20 }).collect();
        for _ in 0..if all == 0 { 0 } else { 64 } {
            let before = left.clone();
            for free in 0..=1000_u64 {
                let expected = offers.iter().map(|(share, weight)| {
                    let rest = if *share <= free { free - share } else { free };
                    before[place(rest)] * weight
                });
                left[place(free)] = expected.sum::<u64>() / all;
            }
        }
        Self { requests, left }
    }

    fn mean(&self, of: impl Fn(&Request) -> u64) -> f64 {
        let total: u64 = self.requests.iter().map(|(_, weight)| u64::from(*weight)).sum();
        let sum: u64 = self.requests.iter().map(|(request, weight)| of(request) * u64::from(*weight)).sum();
        sum as f64 / total as f64
    }

    fn mean_devices(&self) -> f64 {
        self.mean(|request| request.devices.values().map(|amount| amount.permille()).sum())
    }

    /// How many VMs of the mean find cores and memory.
    fn count(&self, state: &State) -> f64 {
        let limit = |free: u64, mean: f64| if mean == 0.0 { f64::INFINITY } else { free as f64 / mean };
        let cores = limit(state.cores_free(), self.mean(|request| request.cores.0));
        cores.min(limit(state.memory_free(), self.mean(ordinary)))
    }

    fn devices(&self, state: &State) -> f64 {
        let free: u64 = state.frees().iter().sum();
        if free == 0 {
            return 0.0;
        }
        let free = free as f64 / 1000.0;
        let wanting = || self.requests.iter().filter(|(request, _)| !entries(request).is_empty());
        let refused = |request: &Request| {
            request.cores.0 > state.cores_free()
                || ordinary(request) > state.memory_free()
                || !state.rack.can_serve(request)
        };
        let weight = |requests: &mut dyn Iterator<Item = &(Request, u32)>| -> u64 {
            requests.map(|(_, weight)| u64::from(*weight)).sum()
        };
        let all = weight(&mut wanting());
        let locked = weight(&mut wanting().filter(|(request, _)| refused(request)));
        let lockout = if all == 0 { 0.0 } else { free * locked as f64 / all as f64 };
        let splinters: u64 = state.frees().iter().map(|free| self.left[place(*free)]).sum();
        let mean = self.mean_devices() / 1000.0;
        let accompanied = if mean == 0.0 { 0.0 } else { mean * self.count(state) };
        lockout + splinters as f64 / (1000.0 * f64::from(1 << 20)) + (free - accompanied).max(0.0)
    }

    /// Millicores or MiB that are left when as many VMs of the mean as find room are there.
    fn left_of(&self, free: u64, mean: f64, state: &State) -> f64 {
        let mut count = self.count(state);
        if state.devices_total() > 0 && self.mean_devices() > 0.0 {
            count = count.min(state.frees().iter().sum::<u64>() as f64 / self.mean_devices());
        }
        let is_limit = mean > 0.0 && free as f64 / mean == count;
        if is_limit || count == f64::INFINITY { 0.0 } else { free as f64 - mean * count }
    }

    /// `stranded` and its parts by name.
    pub(crate) fn stranded(&self, name: &str, state: &State) -> f64 {
        if self.requests.iter().all(|(_, weight)| *weight == 0) {
            return 0.0;
        }
        let cores = self.left_of(state.cores_free(), self.mean(|request| request.cores.0), state);
        let memory = self.left_of(state.memory_free(), self.mean(ordinary), state);
        let share = |stranded: f64, total: u64| if total == 0 { 0.0 } else { stranded / total as f64 };
        match name {
            "cores" => cores / 1000.0,
            "memory" => memory,
            "devices" => self.devices(state),
            _ => {
                share(self.devices(state) * 1000.0, state.devices_total())
                    + share(cores, state.cores.0)
                    + share(memory, state.memory.0)
            }
        }
    }
}
