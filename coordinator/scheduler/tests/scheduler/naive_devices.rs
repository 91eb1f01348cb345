//! Devices as one would write them first: a list of instances for each class, counted anew for every question.

use std::collections::{BTreeMap, BTreeSet};

use reeve_common::device::{DeviceAmount, DeviceSelector};
use reeve_common::hardware_profile::Capacity;
use reeve_scheduler::Request;

/// What a VM has for one entry of its devices.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Held {
    pub(crate) selector: DeviceSelector,
    pub(crate) amount: DeviceAmount,
    /// What it is counted for.
    pub(crate) class: Option<String>,
    /// None when it is only counted.
    pub(crate) instances: Vec<usize>,
}

impl Held {
    /// What is taken of each instance.
    pub(crate) fn each(&self) -> u64 {
        self.amount.permille().min(1000)
    }
}

/// The entries of a request in the order in which they are served.
pub(crate) fn entries(request: &Request) -> Vec<(DeviceSelector, DeviceAmount)> {
    let mut entries: Vec<_> =
        request.devices.clone().into_iter().filter(|(_, amount)| amount.permille() > 0).collect();
    let choices = |selector: &DeviceSelector| match selector.to_string().as_str() {
        "*" => 99,
        names => names.split('|').count(),
    };
    entries.sort_by_key(|(selector, _)| (choices(selector), selector.to_string()));
    entries
}

/// The devices of one class.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shelf {
    pub(crate) divisible: bool,
    pub(crate) free: Vec<u64>,
    pub(crate) used: u64,
}

impl Shelf {
    pub(crate) fn total(&self) -> u64 {
        self.free.len() as u64 * 1000
    }

    /// How many are wholly free and may be promised.
    pub(crate) fn whole(&self) -> u64 {
        let free = self.free.iter().filter(|free| **free == 1000).count() as u64;
        free.min(self.total().saturating_sub(self.used) / 1000)
    }

    fn find(&self, amount: DeviceAmount) -> Option<Vec<usize>> {
        let mut places: Vec<usize> = (0..self.free.len()).collect();
        let count = match amount {
            DeviceAmount::Whole(count) => {
                places.retain(|place| self.free[*place] == 1000);
                count as usize
            }
            DeviceAmount::Share(share) => {
                places.retain(|place| self.divisible && self.free[*place] >= u64::from(share.permille()));
                places.sort_by_key(|place| (self.free[*place] == 1000, self.free[*place], *place));
                1
            }
        };
        places.truncate(count);
        (places.len() == count).then_some(places)
    }
}

/// The devices of one host.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rack {
    pub(crate) shelves: BTreeMap<String, Shelf>,
    unclassed: u64,
}

impl Rack {
    pub(crate) fn new(capacity: &Capacity) -> Self {
        let divisible: BTreeSet<&str> =
            capacity.divisible_devices.iter().map(|class| class.as_str()).collect();
        let shelf = |class: &str, count: u32| Shelf {
            divisible: divisible.contains(class),
            free: vec![1000; count as usize],
            used: 0,
        };
        let shelves =
            capacity.devices.iter().map(|(class, count)| (class.to_string(), shelf(class.as_str(), *count)));
        Self { shelves: shelves.collect(), unclassed: 0 }
    }

    /// Puts in what is there; false when somebody has it already.
    pub(crate) fn put(&mut self, held: &Held) -> bool {
        let Some(class) = &held.class else {
            self.unclassed += held.amount.permille();
            return true;
        };
        let shelf = self.shelves.entry(class.clone()).or_default();
        if held.instances.iter().any(|place| shelf.free.get(*place).is_some_and(|free| *free < held.each())) {
            return false;
        }
        for place in &held.instances {
            if let Some(free) = shelf.free.get_mut(*place) {
                *free -= held.each();
            }
        }
        shelf.used += held.amount.permille();
        true
    }

    /// What an entry would get; what runs already gets a free instance though too much may be promised.
    pub(crate) fn get(&self, selector: &DeviceSelector, amount: DeviceAmount, runs: bool) -> Held {
        let admitted = |name: &&String| {
            let text = selector.to_string();
            text == "*" || text.split('|').any(|alternative| alternative == **name)
        };
        let names: Vec<&String> = self.shelves.keys().filter(admitted).collect();
        let look = |strictly: bool| {
            names.iter().find_map(|name| {
                let shelf = &self.shelves[*name];
                let is_promised = !strictly || shelf.used + amount.permille() <= shelf.total();
                Some(((*name).clone(), shelf.find(amount).filter(|_| is_promised)?))
            })
        };
        let found = look(true).or_else(|| if runs { look(false) } else { None });
        let (class, instances) = match found {
            Some((class, instances)) => (Some(class), instances),
            None => {
                let present = names.iter().find(|name| self.shelves[**name].total() > 0);
                let named = selector.alternatives().first().map(ToString::to_string);
                (present.map(|name| (*name).clone()).or(named), Vec::new())
            }
        };
        Held { selector: selector.clone(), amount, class, instances }
    }

    /// What a request would get, entry by entry.
    pub(crate) fn serve(&self, request: &Request) -> Vec<Held> {
        let mut rack = self.clone();
        let mut all = Vec::new();
        for (selector, amount) in entries(request) {
            let held = rack.get(&selector, amount, false);
            rack.put(&held);
            all.push(held);
        }
        all
    }

    /// The devices with the request.
    pub(crate) fn with(&self, request: &Request) -> Self {
        let mut rack = self.clone();
        for held in self.serve(request) {
            assert!(rack.put(&held));
        }
        rack
    }

    pub(crate) fn can_serve(&self, request: &Request) -> bool {
        self.serve(request).iter().all(|held| !held.instances.is_empty())
    }

    /// One of total, used, free, load, whole; of a class or of all.
    pub(crate) fn attribute(&self, class: Option<&str>, measure: &str) -> f64 {
        let shelves = || {
            let wanted = self.shelves.iter().filter(|(name, _)| class.is_none_or(|class| class == *name));
            wanted.map(|(_, shelf)| shelf)
        };
        let total: u64 = shelves().map(Shelf::total).sum();
        let unclassed = if class.is_none() { self.unclassed } else { 0 };
        let used = shelves().map(|shelf| shelf.used).sum::<u64>() + unclassed;
        match measure {
            "total" => total as f64 / 1000.0,
            "used" => used as f64 / 1000.0,
            "free" => total.saturating_sub(used) as f64 / 1000.0,
            "whole" => shelves().map(Shelf::whole).sum::<u64>() as f64,
            _ if used == 0 => 0.0,
            _ => used as f64 / total as f64,
        }
    }
}
