//! Owns why a host cannot take a VM, in numbers: one variant for each constraint.

use std::fmt;

use reeve_common::device::{DeviceSelector, Share};
use reeve_common::ids::{HostId, RealmName};
use reeve_common::units::{Mebibytes, Millicores};

use crate::host::HostState;

/// Why a host cannot take a VM.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Reason {
    /// The fleet has no such host.
    #[error("host {host} is not known")]
    UnknownHost {
        /// The host asked for.
        host: HostId,
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
    /// The realm's pools are not usable there.
    #[error("storage: {problem}")]
    Storage {
        /// What is wrong with them.
        problem: String,
    },
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
