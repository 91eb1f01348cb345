//! Owns how devices are asked for: which classes would do, and how much of one.
//!
//! Must not: know which devices a host has; a class names the PCI ids or mediated device types that belong to it, and a
//! host's agent finds the instances.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::{DeviceClass, InvalidName};

/// The most classes one selector may name; an explanation lists them all.
pub const ALTERNATIVES_MAX: usize = 16;
/// A whole device in thousandths.
pub const WHOLE_PERMILLE: u16 = 1000;

/// The classes of devices any of which would do: `nvidia-a100`, `nvidia-a100|nvidia-h100`, or `*` for any class.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeviceSelector {
    /// Empty for any class.
    alternatives: BTreeSet<DeviceClass>,
}

/// A text that selects no devices.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSelector {
    /// One of the classes is no name.
    #[error("{0}; alternatives are separated by '|', and '*' means any class")]
    Class(#[from] InvalidName),
    /// More alternatives than [`ALTERNATIVES_MAX`].
    #[error("at most {ALTERNATIVES_MAX} alternative classes may be named, not {0}")]
    TooMany(usize),
}

impl DeviceSelector {
    /// Devices of any class.
    #[must_use]
    pub const fn any() -> Self {
        Self { alternatives: BTreeSet::new() }
    }

    /// The classes that would do, by name; empty when any would.
    #[must_use]
    pub const fn alternatives(&self) -> &BTreeSet<DeviceClass> {
        &self.alternatives
    }

    /// Whether a device of `class` would do.
    #[must_use]
    pub fn admits(&self, class: &DeviceClass) -> bool {
        self.alternatives.is_empty() || self.alternatives.contains(class)
    }
}

impl From<DeviceClass> for DeviceSelector {
    fn from(class: DeviceClass) -> Self {
        Self { alternatives: BTreeSet::from([class]) }
    }
}

impl fmt::Display for DeviceSelector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.alternatives.is_empty() {
            return formatter.pad("*");
        }
        let names: Vec<&str> = self.alternatives.iter().map(DeviceClass::as_str).collect();
        formatter.pad(&names.join("|"))
    }
}

impl FromStr for DeviceSelector {
    type Err = InvalidSelector;

    fn from_str(text: &str) -> Result<Self, InvalidSelector> {
        if text == "*" {
            return Ok(Self::any());
        }
        let count = text.split('|').count();
        if count > ALTERNATIVES_MAX {
            return Err(InvalidSelector::TooMany(count));
        }
        let alternatives = text.split('|').map(|class| DeviceClass::new(class.trim()));
        Ok(Self { alternatives: alternatives.collect::<Result<_, _>>()? })
    }
}

impl TryFrom<String> for DeviceSelector {
    type Error = InvalidSelector;
    fn try_from(text: String) -> Result<Self, InvalidSelector> {
        text.parse()
    }
}

impl From<DeviceSelector> for String {
    fn from(selector: DeviceSelector) -> String {
        selector.to_string()
    }
}

/// How much of the devices is asked for. Written as a number of whole devices (`2`) or as a share of a single one in
/// thousandths (`"250 permille"`), for vGPU and mediated devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a number of whole devices, or a share of one such as \"250 permille\""
)]
pub enum DeviceAmount {
    /// So many whole devices.
    Whole(u32),
    /// A share of one device.
    Share(Share),
}

/// A share of one device in thousandths: from 1 to 999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Share(u16);

/// A number that is no share of a device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no share of a device: write 1 to 999 permille, such as \"250 permille\", or a number of whole devices"
)]
pub struct InvalidShare(String);

impl Share {
    /// `permille` thousandths of a device.
    ///
    /// # Errors
    /// [`InvalidShare`] for nothing, a whole device, or more.
    pub fn new(permille: u16) -> Result<Self, InvalidShare> {
        if (1..WHOLE_PERMILLE).contains(&permille) {
            Ok(Self(permille))
        } else {
            Err(InvalidShare(permille.to_string()))
        }
    }

    /// In thousandths.
    #[must_use]
    pub const fn permille(self) -> u16 {
        self.0
    }
}

impl fmt::Display for Share {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} permille", self.0)
    }
}

impl FromStr for Share {
    type Err = InvalidShare;

    fn from_str(text: &str) -> Result<Self, InvalidShare> {
        let number = text.strip_suffix("permille").map(str::trim_end);
        let permille = number.and_then(|number| number.parse::<u16>().ok());
        permille.and_then(|permille| Self::new(permille).ok()).ok_or_else(|| InvalidShare(text.to_owned()))
    }
}

impl TryFrom<String> for Share {
    type Error = InvalidShare;
    fn try_from(text: String) -> Result<Self, InvalidShare> {
        text.parse()
    }
}

impl From<Share> for String {
    fn from(share: Share) -> String {
        share.to_string()
    }
}

impl DeviceAmount {
    /// In thousandths of a device: 2000 for two whole ones.
    #[must_use]
    pub const fn permille(self) -> u64 {
        match self {
            Self::Whole(count) => count as u64 * WHOLE_PERMILLE as u64,
            Self::Share(share) => share.0 as u64,
        }
    }

    /// Whether nothing is asked for.
    #[must_use]
    pub const fn is_nothing(self) -> bool {
        matches!(self, Self::Whole(0))
    }
}

impl fmt::Display for DeviceAmount {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(count) => count.fmt(formatter),
            Self::Share(share) => share.fmt(formatter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_read_as_they_are_written() {
        for text in ["nvidia-a100", "a100|h100", "*"] {
            assert_eq!(text.parse::<DeviceSelector>().unwrap().to_string(), text);
        }
        assert_eq!("h100 | a100".parse::<DeviceSelector>().unwrap().to_string(), "a100|h100");
        assert!("".parse::<DeviceSelector>().is_err());
        assert!("a100||h100".parse::<DeviceSelector>().unwrap_err().to_string().contains("empty"));
        assert!(vec!["a"; 17].join("|").parse::<DeviceSelector>().unwrap_err().to_string().contains("17"));
    }

    #[test]
    fn a_selector_admits_its_classes_or_all() {
        let class = |name: &str| DeviceClass::new(name).unwrap();
        let either: DeviceSelector = "a100|h100".parse().unwrap();
        assert!(either.admits(&class("h100")) && !either.admits(&class("t4")));
        assert!(DeviceSelector::any().admits(&class("t4")));
        assert!(!DeviceSelector::from(class("a100")).admits(&class("h100")));
    }

    #[test]
    fn amounts_are_numbers_or_shares() {
        let read = |text: &str| serde_json::from_str::<DeviceAmount>(text);
        assert_eq!(read("2").unwrap(), DeviceAmount::Whole(2));
        assert_eq!(read("\"250 permille\"").unwrap().permille(), 250);
        assert_eq!(DeviceAmount::Whole(2).permille(), 2000);
        for bad in ["\"0 permille\"", "\"1000 permille\"", "\"half\"", "-1", "0.5"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        let share = DeviceAmount::Share(Share::new(250).unwrap());
        assert_eq!(serde_json::to_string(&share).unwrap(), "\"250 permille\"");
        assert!(Share::new(1000).unwrap_err().to_string().contains("whole devices"));
    }
}
