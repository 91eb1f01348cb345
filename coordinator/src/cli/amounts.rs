//! Owns how the amounts in the API's documents are told to people.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::time::Duration;

use reeve_common::units::{Bytes, Mebibytes, Millicores, format_duration};

pub(super) fn cores(millicores: u64) -> String {
    Millicores(millicores).to_string()
}

/// `0.25` of a device.
pub(super) fn device_share(permille: u64) -> String {
    // Thousandths of a core and of a device read alike.
    Millicores(permille).to_string()
}

/// `64 pages of 1 GiB`, of a size in MiB.
pub(super) fn huge_pages(count: impl Display, size: u32) -> String {
    format!("{count} pages of {}", Mebibytes(u64::from(size)))
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
pub(super) fn devices(devices: &BTreeMap<impl Display, impl Display>) -> String {
    devices.iter().map(|(class, amount)| format!("{class} {amount}")).collect::<Vec<_>>().join(", ")
}

/// `rack=r3, tier=web`; nothing when there are none.
pub(super) fn labels(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(", ")
}

/// `rack=r1|r2, tier=web`; nothing when there are none.
pub(super) fn label_values(labels: &BTreeMap<String, BTreeSet<String>>) -> String {
    let values = |values: &BTreeSet<String>| values.iter().map(String::as_str).collect::<Vec<_>>().join("|");
    let rules = labels.iter().map(|(key, allowed)| format!("{key}={}", values(allowed)));
    rules.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_told_in_percent() {
        assert_eq!(percent(125), "12.5%");
    }
}
