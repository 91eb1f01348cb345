//! Owns how the amounts in the API's documents are told to people.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

use reeve_common::ids::DeviceClass;
use reeve_common::units::{Bytes, Mebibytes, Millicores, format_duration};

pub(super) fn cores(millicores: u64) -> String {
    Millicores(millicores).to_string()
}

pub(super) fn memory(mebibytes: u64) -> String {
    Mebibytes(mebibytes).to_string()
}

pub(super) fn size(bytes: u64) -> String {
    Bytes(bytes).to_string()
}

pub(super) fn duration(milliseconds: u64) -> String {
    format_duration(Duration::from_millis(milliseconds))
}

/// `3 of 64`.
pub(super) fn part(used: impl Display, whole: impl Display) -> String {
    format!("{used} of {whole}")
}

/// `12.5%`.
pub(super) fn percent(permille: u32) -> String {
    format!("{}.{}%", permille / 10, permille % 10)
}

/// `nvidia-a100 4, mi300 2`; nothing when there are none.
pub(super) fn devices(devices: &BTreeMap<DeviceClass, u32>) -> String {
    devices.iter().map(|(class, count)| format!("{class} {count}")).collect::<Vec<_>>().join(", ")
}

/// `rack=r3, tier=web`; nothing when there are none.
pub(super) fn labels(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_told_in_percent() {
        assert_eq!(percent(125), "12.5%");
    }
}
