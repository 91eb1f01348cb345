//! Owns drives: users' disks in a realm's drives pool, and the rules of the realm's `drives` section.

use reeve_common::clock::Timestamp;
use reeve_common::ids::{DriveName, RealmName, VolumeName};
use reeve_common::storage::DiskFormat;
use reeve_common::units::Bytes;
use serde::{Deserialize, Serialize};

/// A user's disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Drive {
    /// Its name.
    pub name: DriveName,
    /// Its realm.
    pub realm: RealmName,
    /// Whose it is.
    pub owner: String,
    /// The owner's team.
    pub team: String,
    /// The size its user sees.
    pub size: Bytes,
    /// Its volume's format.
    pub format: DiskFormat,
    /// Its volume in the realm's drives pool.
    pub volume: VolumeName,
    /// When it was made.
    pub created_at: Timestamp,
    /// Whether its volume is known to be there: a drive is recorded before its volume is made.
    pub ready: bool,
}
