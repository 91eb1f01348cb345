//! Owns the cost functions that a realm's hosts are judged by, and the room to run them in.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::binding::BoundFunction;
use crate::cost::{Attribute, CostFunction, Text, Workspace};
use crate::device_choice::HostDevices;

/// Cost functions by number. A number is never given to another function, so nothing kept by number goes stale.
#[derive(Debug, Clone, Default)]
pub(super) struct FunctionTable {
    entries: Vec<Option<Entry>>,
}

#[derive(Debug, Clone)]
struct Entry {
    bound: BoundFunction,
    hosts: usize,
}

/// Which of a VM's belongings the cost functions ask about; those are part of a request's class.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct SharedUse {
    /// `same.owner` or `vm.owner` is used.
    pub(super) owner: bool,
    /// `same.team` or `vm.team` is used.
    pub(super) team: bool,
    /// The keys used in `same.label.KEY` and `vm.label.KEY`.
    pub(super) label_keys: BTreeSet<String>,
}

impl SharedUse {
    /// A comparison has `text` on one side.
    fn add(&mut self, text: &Text) {
        match text {
            Text::VmOwner => self.owner = true,
            Text::VmTeam => self.team = true,
            Text::VmLabel(key) => {
                self.label_keys.insert(key.clone());
            }
            Text::Literal(_) | Text::HostLabel(_) => {}
        }
    }

    /// Whether nothing of the kind is used.
    pub(super) fn is_nothing(&self) -> bool {
        !self.owner && !self.team && self.label_keys.is_empty()
    }
}

impl FunctionTable {
    /// The number of `function`, used by one more host; the same function comes as another value after each reload.
    pub(super) fn acquire(
        &mut self,
        function: &Arc<CostFunction>,
        class_number: impl FnMut(&str) -> usize,
    ) -> usize {
        let known = self.entries.iter_mut().enumerate().find_map(|(number, entry)| {
            let entry = entry.as_mut()?;
            let is_same = Arc::ptr_eq(&entry.bound.function, function) || entry.bound.function == *function;
            is_same.then_some((number, entry))
        });
        if let Some((number, entry)) = known {
            entry.hosts += 1;
            return number;
        }
        let bound = BoundFunction::new(Arc::clone(function), class_number);
        self.entries.push(Some(Entry { bound, hosts: 1 }));
        self.entries.len() - 1
    }

    /// Used by one host less.
    pub(super) fn release(&mut self, number: usize) {
        if let Some(place) = self.entries.get_mut(number)
            && let Some(entry) = place
        {
            entry.hosts = entry.hosts.saturating_sub(1);
            if entry.hosts == 0 {
                *place = None;
            }
        }
    }

    /// The function with this number.
    pub(super) fn get(&self, number: usize) -> Option<&BoundFunction> {
        self.entries.get(number)?.as_ref().map(|entry| &entry.bound)
    }

    /// What all functions together ask about.
    pub(super) fn shared_use(&self) -> SharedUse {
        let mut uses = SharedUse::default();
        for entry in self.entries.iter().flatten() {
            let function = &entry.bound.function;
            for input in function.after().inputs().iter().chain(function.before().inputs()) {
                match input.attribute {
                    Attribute::SameOwner => uses.owner = true,
                    Attribute::SameTeam => uses.team = true,
                    Attribute::SameLabel(number) => {
                        uses.label_keys.extend(function.things().label_keys.get(number).cloned());
                    }
                    _ => {}
                }
            }
            for test in &function.things().text_tests {
                uses.add(&test.left);
                uses.add(&test.right);
            }
        }
        uses
    }
}

/// Room to run each function in, by its number.
#[derive(Debug, Clone)]
pub(super) struct Workspaces<const W: usize> {
    entries: Vec<Option<(Workspace<W>, Workspace<W>)>>,
    /// Room for the devices of a host as they would be.
    pub(super) devices: HostDevices,
}

impl<const W: usize> Default for Workspaces<W> {
    fn default() -> Self {
        Self { entries: Vec::new(), devices: HostDevices::default() }
    }
}

impl<const W: usize> Workspaces<W> {
    /// The cells for after and before.
    pub(super) fn get(&mut self, number: usize, bound: &BoundFunction) -> &mut (Workspace<W>, Workspace<W>) {
        if self.entries.len() <= number {
            self.entries.resize(number + 1, None);
        }
        self.entries[number]
            .get_or_insert_with(|| (bound.function.after().workspace(), bound.function.before().workspace()))
    }
}
