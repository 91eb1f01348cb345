//! Owns how a VM is pointed at on the command line: its id, the unique start of one, its name, or the name of a
//! configuration that has one VM. Which of these it is, the coordinator knows.

use std::fmt;
use std::str::FromStr;

use reeve_common::ids::{InvalidName, VmId, VmName};

/// Words that point at a VM. They hold only characters of names, so they can stand in a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VmSelector(String);

impl FromStr for VmSelector {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        // An id is made of a name's characters as well.
        VmName::new(text).map(|name| Self(name.into()))
    }
}

impl From<VmId> for VmSelector {
    fn from(id: VmId) -> Self {
        Self(id.to_string())
    }
}

impl fmt::Display for VmSelector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_names_point_at_vms_and_paths_do_not() {
        for good in ["0f8fad5b-d9cb-469f-a165-70867728950e", "0f8f", "web-0f8fad5b", "web"] {
            assert_eq!(good.parse::<VmSelector>().unwrap().to_string(), good);
        }
        for bad in ["", "../hosts/a", "web?x", "a b", "</name><x/>"] {
            assert!(bad.parse::<VmSelector>().is_err(), "{bad:?} was taken");
        }
    }
}
