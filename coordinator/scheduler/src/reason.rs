//! Owns why a host cannot take a VM, in numbers: one variant for each constraint.

use std::collections::BTreeSet;
use std::fmt;

use reeve_common::device::{DeviceSelector, Share};
use reeve_common::hardware_profile::HugePageSize;
use reeve_common::ids::{HostId, RealmName};
use reeve_common::units::{Mebibytes, Millicores};

use crate::host::HostState;
use crate::quota::{QuotaHolder, QuotaKind};
use crate::request::{CpuDemand, HostLabelRule};

/// Why a host cannot take a VM.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Reason {
    /// The fleet has no such host.
    #[error("host {host} is not known")]
    UnknownHost {
        /// The host asked for.
        host: HostId,
    },
    /// The VM's owner or team would have more of the realm than it may.
    #[error("quota of {holder}: {kind}: {} asked, {} used of {} allowed", kind.amount(*asked), kind.amount(*used), kind.amount(*allowed))]
    Quota {
        /// Whose limit it is.
        holder: QuotaHolder,
        /// What is limited, and the unit of the amounts.
        kind: QuotaKind,
        /// What the VM needs.
        asked: u64,
        /// What the holder's other VMs have together.
        used: u64,
        /// What they all may have.
        allowed: u64,
    },
    /// Realms never mix.
    #[error("realm: the VM is of {asked}, the host of {host}")]
    Realm {
        /// The VM's realm.
        asked: RealmName,
        /// The host's.
        host: RealmName,
    },
    /// An administrator took the host out.
    #[error("state: the host is {state}; only enabled hosts are chosen")]
    State {
        /// The host's state.
        state: HostState,
    },
    /// The host is being emptied.
    #[error("draining: the host is being emptied")]
    Draining,
    /// Nothing can be started there now.
    #[error("connection: the host's agent is not connected")]
    Disconnected,
    /// Nothing should be started there now: it may be about to be lost.
    #[error("connection: the host's agent has not been heard for a moment")]
    Suspected,
    /// The realm's pools are not usable there.
    #[error("storage: {problem}")]
    Storage {
        /// What is wrong with them.
        problem: String,
    },
    /// The VM's processor must be able to do something, and of the host's nothing is known.
    #[error("cpu: {asked} asked, and the host has not said what its processor can do")]
    CpuUnknown {
        /// What the VM needs.
        asked: CpuDemand,
    },
    /// The host's processor cannot do what the VM's must.
    #[error("cpu: {}", CannotDo(model.as_deref(), *models, missing, *features))]
    Cpu {
        /// The model asked for, if the host cannot give it.
        model: Option<String>,
        /// How many models the host can give.
        models: usize,
        /// The features asked for that the host's processor lacks.
        missing: BTreeSet<String>,
        /// How many features were asked for.
        features: usize,
    },
    /// A label of the host says what the VM does not want.
    #[error("host label {}: {}", .rule.key, Mislabelled(rule, found.as_deref()))]
    HostLabel {
        /// What the VM wants.
        rule: HostLabelRule,
        /// The value of the host's label; none when it has no such label.
        found: Option<String>,
    },
    /// Some storage pools that the VM's disks are in cannot be used on the host.
    #[error("storage: {} of {asked} pools cannot be used, {}", .problems.len(), .problems.join(", "))]
    Pools {
        /// In how many pools the VM's disks are.
        asked: usize,
        /// What is wrong, for each that cannot be used.
        problems: Vec<String>,
    },
    /// The VMs it must be with are not there.
    #[error("affinity: together with {who} asked, none is here and {elsewhere} elsewhere")]
    Together {
        /// Which VMs.
        who: String,
        /// How many of them are on other hosts of the realm.
        elsewhere: u64,
    },
    /// VMs it must not be with are there.
    #[error("anti-affinity: apart from {who} asked, {here} here")]
    Apart {
        /// Which VMs.
        who: String,
        /// How many of them are on the host.
        here: u64,
    },
    /// The VM has been there, and was started elsewhere since.
    #[error("left: the VM has been on this host, and a host starts a VM once")]
    Left,
    /// Not enough processor time is free.
    #[error("cores: {asked} asked, {free} free of {total}")]
    Cores {
        /// What the VM needs.
        asked: Millicores,
        /// What is left.
        free: Millicores,
        /// What may be promised in all.
        total: Millicores,
    },
    /// Not enough memory is free.
    #[error("memory: {asked} asked, {free} free of {total}")]
    Memory {
        /// What the VM needs.
        asked: Mebibytes,
        /// What is left.
        free: Mebibytes,
        /// What may be promised in all.
        total: Mebibytes,
    },
    /// Not enough whole devices are free.
    #[error(
        "devices: {asked} {selector} asked, {free} free of {total}{hint}",
        hint = NotOfOneClass { asked: *.asked, free: *.free, free_of_one: *.free_of_one }
    )]
    Devices {
        /// The classes that would do.
        selector: DeviceSelector,
        /// How many the VM needs, all of one class.
        asked: u32,
        /// How many are wholly free in these classes.
        free: u64,
        /// How many are wholly free in the class that has the most.
        free_of_one: u64,
        /// How many the host has.
        total: u64,
    },
    /// No device has enough left for a share.
    #[error("devices: {asked} of one {selector} asked, at most {largest} permille of one free, of {total}")]
    DeviceShare {
        /// The classes that would do.
        selector: DeviceSelector,
        /// The share that the VM needs.
        asked: Share,
        /// The largest free part of one device in thousandths.
        largest: u64,
        /// How many devices that may be shared the host has.
        total: u64,
    },
    /// The host has such devices, and VMs may not share them.
    #[error("devices: {asked} of one {selector} asked, and those of the host may not be shared")]
    DevicesNotDivisible {
        /// The classes that would do.
        selector: DeviceSelector,
        /// The share that the VM needs.
        asked: Share,
    },
    /// Not enough huge pages are free.
    #[error("huge pages: {asked} of {size} asked, {free} free of {total}")]
    HugePages {
        /// Their size.
        size: HugePageSize,
        /// How many the VM needs.
        asked: u64,
        /// How many are left.
        free: u64,
        /// How many there are.
        total: u64,
    },
    /// Too few NUMA nodes have room for an equal part of the VM.
    #[error("numa: {nodes} nodes with {cores} cores and {} each asked, {fitting} of {total} have that free", PartOfMemory(*memory, *pages))]
    Numa {
        /// How many nodes the VM needs.
        nodes: u32,
        /// Processor time on each.
        cores: Millicores,
        /// Ordinary memory on each.
        memory: Mebibytes,
        /// Huge pages on each, and their size; none when its memory is ordinary.
        pages: Option<(u64, HugePageSize)>,
        /// How many nodes have that left.
        fitting: usize,
        /// How many nodes the host has.
        total: usize,
    },
    /// The cost of placing the VM there is not a finite number, which means "never here".
    #[error("cost: {part} is {value}, so never here", value = NotFinite(*.value))]
    Cost {
        /// The term, or the sum of all, that is not finite.
        part: CostPart,
        /// Its value.
        value: f64,
    },
    /// The VM already has its place; a second one would start it twice.
    #[error("the VM is already placed on host {host}")]
    PlacedElsewhere {
        /// Where.
        host: HostId,
    },
}

/// What of a cost is not finite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CostPart {
    /// One term, with the VM.
    Term(String),
    /// One term, for the host as it is.
    TermBefore(String),
    /// The terms' sum, or the rise of it, though each term is finite.
    Sum,
}

impl fmt::Display for CostPart {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Term(term) => write!(formatter, "the term {term}"),
            Self::TermBefore(term) => write!(formatter, "the term {term} before the VM"),
            Self::Sum => formatter.write_str("the sum of the terms"),
        }
    }
}

/// What is added when there would be enough, were it not for the classes.
struct NotOfOneClass {
    asked: u32,
    free: u64,
    free_of_one: u64,
}

impl fmt::Display for NotOfOneClass {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.free < u64::from(self.asked) {
            return Ok(());
        }
        write!(formatter, ", at most {} of one class", self.free_of_one)
    }
}

/// What a processor cannot do, in words: the model it cannot give, of how many it can; the features it lacks, of how many that were asked for.
struct CannotDo<'a>(Option<&'a str>, usize, &'a BTreeSet<String>, usize);

impl fmt::Display for CannotDo<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(model, models, missing, features) = self;
        if let Some(model) = model {
            write!(formatter, "model {model} asked, it is not among the {models} the host can give")?;
        }
        if missing.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = missing.iter().map(String::as_str).collect();
        let separator = if model.is_some() { "; " } else { "" };
        write!(formatter, "{separator}{} of {features} features missing: ", names.len())?;
        formatter.write_str(&names.join(", "))
    }
}

/// What a label was to be and what it is, in words.
struct Mislabelled<'a>(&'a HostLabelRule, Option<&'a str>);

impl fmt::Display for Mislabelled<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values: Vec<&str> = self.0.values.iter().map(String::as_str).collect();
        let values = values.join(" or ");
        let wish = if self.0.wanted { "asked" } else { "not wanted" };
        match self.1 {
            Some(found) => write!(formatter, "{values} {wish}, the host has {found}"),
            None => write!(formatter, "{values} {wish}, the host has none"),
        }
    }
}

/// The part of a VM's memory on one node, in words.
struct PartOfMemory(Mebibytes, Option<(u64, HugePageSize)>);

impl fmt::Display for PartOfMemory {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            None => self.0.fmt(formatter),
            Some((count, size)) => write!(formatter, "{count} huge pages of {size}"),
        }
    }
}

/// A number that is not finite, in words.
struct NotFinite(f64);

impl fmt::Display for NotFinite {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.0.is_nan() {
            "not a number"
        } else if self.0 > 0.0 {
            "infinite"
        } else {
            "minus infinite"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_give_the_numbers() {
        let memory =
            Reason::Memory { asked: Mebibytes(8192), free: Mebibytes(3584), total: Mebibytes(15_872) };
        assert_eq!(memory.to_string(), "memory: 8 GiB asked, 3.5 GiB free of 15.5 GiB");
        let cost = Reason::Cost { part: CostPart::Term("heat".into()), value: f64::NAN };
        assert_eq!(cost.to_string(), "cost: the term heat is not a number, so never here");
    }
}
