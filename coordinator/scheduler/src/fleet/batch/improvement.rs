//! Owns making a plan better by small changes, as long as there are some and steps are left.
//!
//! ```text
//!   make room     a VM without a place takes another's, which finds a new one
//!   move          a VM goes where it costs least now
//!   empty         all VMs of the plan leave a host and look for places anew
//!   swap          two VMs change places
//! ```
//!
//! Must not: make a plan worse. A change that does not help is taken back.

use std::collections::BTreeMap;

use reeve_common::ids::HostId;

use super::super::Fleet;
use super::super::trial::Trial;
use super::{BatchCost, Draft, Wanted};

/// How many steps are taken at most; in a step a VM is taken from its place or put in one. A count and not a clock, so
/// that the same question gets the same answer; it is what can be afforded within 50 ms for 500 VMs on 250 hosts.
const STEPS_MAX: usize = 6_000;

/// How many of them may go into making room, which is in vain where the fleet is full.
const MAKING_ROOM_MAX: usize = STEPS_MAX / 2;

/// A smaller gain is a rounding error.
const GAIN_MIN: f64 = 1e-9;

/// A plan that is being changed.
struct Improvement<'a> {
    trial: Trial<'a>,
    wanted: &'a Wanted,
    hosts: Vec<Option<HostId>>,
    steps: usize,
}

/// The hosts of `draft` after some changes for the better. `largest` has the VMs largest first.
pub(super) fn improve(
    fleet: &mut Fleet,
    wanted: &Wanted,
    largest: &[usize],
    draft: &Draft,
) -> Vec<Option<HostId>> {
    let mut trial = Trial::on(fleet);
    for index in &draft.order {
        let (vm, request) = &wanted[*index];
        if let Some(host) = draft.hosts[*index] {
            trial.put(*vm, host, request);
        }
    }
    let mut improvement = Improvement { trial, wanted, hosts: draft.hosts.clone(), steps: 0 };
    // Whoever has its place from before is not to be moved.
    let movable: Vec<usize> = draft.order.clone();
    let unplaced: Vec<usize> =
        largest.iter().copied().filter(|index| draft.hosts[*index].is_none()).collect();
    loop {
        let mut helped = improvement.make_room(&unplaced, &movable);
        helped |= improvement.move_each(&movable);
        helped |= improvement.empty_each(largest);
        helped |= improvement.swap_some(&movable);
        if !helped || improvement.is_exhausted() {
            return improvement.hosts;
        }
    }
}

impl Improvement<'_> {
    fn is_exhausted(&self) -> bool {
        self.steps >= STEPS_MAX
    }

    /// Takes a VM from its place, and says what it added to the cost of its host.
    fn take(&mut self, index: usize) -> Option<(HostId, f64)> {
        let host = self.hosts[index].take()?;
        let (vm, request) = &self.wanted[index];
        self.steps += 1;
        self.trial.take(*vm);
        Some((host, self.trial.fleet().rise(host, request)))
    }

    /// Puts a VM on a host, if it fits there.
    fn put(&mut self, index: usize, host: HostId) -> Option<f64> {
        let (vm, request) = &self.wanted[index];
        self.steps += 1;
        let rise = self.trial.put(*vm, host, request)?;
        self.hosts[index] = Some(host);
        Some(rise)
    }

    /// Puts a VM where it costs least now.
    fn place(&mut self, index: usize) -> Option<f64> {
        let (vm, request) = &self.wanted[index];
        self.steps += 1;
        let (host, rise) = self.trial.place(*vm, request)?;
        self.hosts[index] = Some(host);
        Some(rise)
    }

    /// Puts VMs back where they were. They fitted there together, the first of them last.
    fn put_back(&mut self, places: &[(usize, HostId)]) {
        for (index, _) in places {
            self.take(*index);
        }
        for (index, host) in places.iter().rev() {
            self.put(*index, *host);
        }
    }

    /// Finds places for those without one, by moving one of the others.
    fn make_room(&mut self, unplaced: &[usize], movable: &[usize]) -> bool {
        let mut helped = false;
        for index in unplaced {
            if self.hosts[*index].is_some() || self.steps >= MAKING_ROOM_MAX {
                continue;
            }
            helped |= self.place(*index).is_some() || self.take_a_place(*index, movable);
        }
        helped
    }

    fn take_a_place(&mut self, index: usize, movable: &[usize]) -> bool {
        for other in movable {
            if self.steps >= MAKING_ROOM_MAX {
                return false;
            }
            let Some((host, _)) = self.take(*other) else { continue };
            if self.put(index, host).is_some() {
                if self.place(*other).is_some() {
                    return true;
                }
                self.take(index);
            }
            self.put(*other, host);
        }
        false
    }

    /// Moves each VM where it costs least now.
    fn move_each(&mut self, movable: &[usize]) -> bool {
        let mut helped = false;
        for index in movable {
            if self.is_exhausted() {
                break;
            }
            let Some((host, before)) = self.take(*index) else { continue };
            match self.place(*index) {
                Some(after) if after < before - GAIN_MIN => helped = true,
                _ => self.put_back(&[(*index, host)]),
            }
        }
        helped
    }

    /// Lets the plan's VMs leave a host together, those with the fewest first: where the first VM of a host costs most, none
    /// of them leaves it alone.
    fn empty_each(&mut self, largest: &[usize]) -> bool {
        let mut by_host: BTreeMap<HostId, Vec<usize>> = BTreeMap::new();
        for index in largest {
            if let Some(host) = self.hosts[*index] {
                by_host.entry(host).or_default().push(*index);
            }
        }
        let mut by_host: Vec<(HostId, Vec<usize>)> = by_host.into_iter().collect();
        by_host.sort_by_key(|(host, there)| (there.len(), *host));
        let mut helped = false;
        for (host, there) in by_host {
            if self.is_exhausted() {
                break;
            }
            // Those that came meanwhile stay.
            let there: Vec<usize> =
                there.into_iter().filter(|index| self.hosts[*index] == Some(host)).collect();
            helped |= self.empty(host, &there);
        }
        helped
    }

    fn empty(&mut self, host: HostId, there: &[usize]) -> bool {
        let places: Vec<(usize, HostId)> = there.iter().map(|index| (*index, host)).collect();
        let before: f64 = there.iter().filter_map(|index| self.take(*index)).map(|(_, rise)| rise).sum();
        let mut after = BatchCost::default();
        for index in there {
            match self.place(*index) {
                Some(rise) => after.add(rise),
                None => break,
            }
        }
        let helped = after.placed == there.len() && after.rise < before - GAIN_MIN;
        if !helped {
            self.put_back(&places);
        }
        helped
    }

    /// Lets pairs of VMs change their places, first those that stand next to each other.
    fn swap_some(&mut self, movable: &[usize]) -> bool {
        let mut helped = false;
        for distance in 1..movable.len() {
            for (one, other) in movable.iter().zip(movable.iter().skip(distance)) {
                if self.is_exhausted() {
                    return helped;
                }
                helped |= self.swap(*one, *other);
            }
        }
        helped
    }

    fn swap(&mut self, one: usize, other: usize) -> bool {
        // Looking at a pair is a step as well: there are more pairs than can be looked at.
        self.steps += 1;
        let is_alike = self.wanted[one].1 == self.wanted[other].1;
        if is_alike || self.hosts[one] == self.hosts[other] {
            return false;
        }
        let Some((host_of_one, rise_of_one)) = self.take(one) else { return false };
        let Some((host_of_other, rise_of_other)) = self.take(other) else {
            self.put(one, host_of_one);
            return false;
        };
        let before = rise_of_one + rise_of_other;
        let after = self.put(one, host_of_other).and_then(|rise| Some(rise + self.put(other, host_of_one)?));
        let helped = after.is_some_and(|after| after < before - GAIN_MIN);
        if !helped {
            self.put_back(&[(one, host_of_one), (other, host_of_other)]);
        }
        helped
    }
}
