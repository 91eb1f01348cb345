//! Owns images (bricks): a volume of a realm's bricks pool, and the operating system in it. At most one per volume.

use reeve_common::clock::Timestamp;
use reeve_common::ids::{ImageName, RealmName, VolumeName};
use reeve_common::storage::DiskFormat;
use serde::{Deserialize, Serialize};

/// What VMs boot from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Image {
    /// Its name.
    pub name: ImageName,
    /// Its realm.
    pub realm: RealmName,
    /// The volume in the realm's bricks pool.
    pub volume: VolumeName,
    /// The volume's format; never guessed from its content.
    pub format: DiskFormat,
    /// What is installed in it, in the administrator's words.
    pub operating_system: String,
    /// When it was made known.
    pub created_at: Timestamp,
}
