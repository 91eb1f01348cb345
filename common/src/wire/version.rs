//! Owns the versions of the protocol and how two sides agree on one. Pure.

use std::fmt;

/// A version of the messages. Each has a module of frozen types (`v1`, `v2`), which holds what differs from the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProtocolVersion(pub u16);

impl fmt::Display for ProtocolVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// The oldest version this release speaks: that of the release before it, at least.
pub const MIN_SUPPORTED: ProtocolVersion = ProtocolVersion(1);
/// The newest version this release speaks.
pub const CURRENT: ProtocolVersion = ProtocolVersion(2);

/// The versions one side speaks, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VersionRange {
    /// The oldest.
    pub minimum: ProtocolVersion,
    /// The newest.
    pub maximum: ProtocolVersion,
}

impl VersionRange {
    /// What this release speaks.
    pub const SUPPORTED: Self = Self { minimum: MIN_SUPPORTED, maximum: CURRENT };

    /// The newest version that both sides speak.
    #[must_use]
    pub fn common_with(self, other: Self) -> Option<ProtocolVersion> {
        let newest = self.maximum.min(other.maximum);
        let oldest = self.minimum.max(other.minimum);
        (oldest <= newest).then_some(newest)
    }

    /// Whether a version lies in it.
    #[must_use]
    pub fn contains(self, version: ProtocolVersion) -> bool {
        self.minimum <= version && version <= self.maximum
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.minimum == self.maximum {
            write!(formatter, "version {}", self.minimum)
        } else {
            write!(formatter, "versions {} to {}", self.minimum, self.maximum)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn range(minimum: u16, maximum: u16) -> VersionRange {
        VersionRange { minimum: ProtocolVersion(minimum), maximum: ProtocolVersion(maximum) }
    }

    #[test]
    fn the_newest_common_version_is_chosen() {
        for (ours, theirs, common) in [
            (range(1, 1), range(1, 1), Some(1)),
            (range(1, 3), range(2, 5), Some(3)),
            (range(2, 5), range(1, 3), Some(3)),
            (range(1, 2), range(3, 4), None),
            (range(3, 4), range(1, 2), None),
            // A range written backwards holds nothing.
            (range(1, 4), range(3, 2), None),
        ] {
            assert_eq!(ours.common_with(theirs), common.map(ProtocolVersion), "{ours} and {theirs}");
        }
    }
}
