//! Owns how the state directory's files are written: versioned JSON records of their own, apart from the values the
//! agent works with, so that either can change without the other.
//!
//! Must not: touch files.

use std::time::Duration;

use reeve_common::checkpoint::{Checkpoint, CheckpointKey, LogHash, LogHead, Signature, SignedCheckpoint};
use reeve_common::clock::Timestamp;
use reeve_common::ids::{Epoch, Generation, PoolName, VmId, VolumeName};
use reeve_common::text::{TEXT_LENGTH_MAX, printable};
use reeve_common::vm::StopReason;
use serde::{Deserialize, Serialize};

use crate::steady_clock::ClockAnchor;
use crate::vm::known::{Preparation, Tombstone};
use crate::vm::request_policy::VMS_MAX;

/// The version written into the files. A reader refuses higher ones.
const VERSION: u32 = 1;

/// Why a file's content cannot be taken over.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnreadableRecord {
    /// A newer release wrote it.
    #[error("it has version {found}, and this release reads version {VERSION}")]
    Version {
        /// The version in the file.
        found: u32,
    },
    /// There are more records than an agent writes.
    #[error("it has {found} records, more than an agent keeps")]
    TooMany {
        /// How many.
        found: usize,
    },
}

/// VMs whose tombstones were forgotten, the oldest first, with the generation of each.
pub(crate) type Forgotten = Vec<(VmId, Generation)>;

/// `tombstones.json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct TombstonesFile {
    version: u32,
    tombstones: Vec<TombstoneRecord>,
    forgotten: Vec<ForgottenRecord>,
}

/// One VM that is gone.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct TombstoneRecord {
    vm: VmId,
    generation: u64,
    epoch: u64,
    reason: ReasonRecord,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct ForgottenRecord {
    vm: VmId,
    generation: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ReasonRecord {
    ShutDown,
    DestroyedAfterGrace,
    Destroyed,
    GuestPowerOff,
    Crashed,
    RegistrationTimeout,
    StartFailed(String),
    FoundStopped,
    Released,
}

/// `preparations.json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct PreparationsFile {
    version: u32,
    preparations: Vec<PreparationRecord>,
}

/// One disk about to be made.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct PreparationRecord {
    vm: VmId,
    generation: u64,
    epoch: u64,
    pool: PoolName,
    volume: VolumeName,
}

/// `checkpoint.json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct CheckpointFile {
    version: u32,
    size: u64,
    hash: LogHash,
    at: u64,
    epoch: u64,
    key: CheckpointKey,
    signature: Signature,
}

/// `clock.json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ClockFile {
    version: u32,
    boot: String,
    since_boot_ms: u64,
    said: u64,
}

impl From<&ClockAnchor> for ClockFile {
    fn from(anchor: &ClockAnchor) -> Self {
        let since_boot_ms = u64::try_from(anchor.since_boot.as_millis()).unwrap_or(u64::MAX);
        Self { version: VERSION, boot: anchor.boot.clone(), since_boot_ms, said: anchor.said.0 }
    }
}

impl ClockFile {
    pub(crate) fn into_anchor(self) -> Result<ClockAnchor, UnreadableRecord> {
        check(self.version, 1)?;
        let since_boot = Duration::from_millis(self.since_boot_ms);
        Ok(ClockAnchor { boot: self.boot, since_boot, said: Timestamp(self.said) })
    }
}

impl From<&SignedCheckpoint> for CheckpointFile {
    fn from(signed: &SignedCheckpoint) -> Self {
        let Checkpoint { head, at, epoch } = signed.checkpoint;
        Self {
            version: VERSION,
            size: head.size,
            hash: head.hash,
            at: at.0,
            epoch: epoch.0,
            key: signed.key,
            signature: signed.signature,
        }
    }
}

impl CheckpointFile {
    pub(crate) fn into_checkpoint(self) -> Result<SignedCheckpoint, UnreadableRecord> {
        check(self.version, 1)?;
        let head = LogHead { size: self.size, hash: self.hash };
        let checkpoint = Checkpoint { head, at: Timestamp(self.at), epoch: Epoch(self.epoch) };
        Ok(SignedCheckpoint { checkpoint, key: self.key, signature: self.signature })
    }
}

impl TombstonesFile {
    pub(crate) fn new(tombstones: Vec<TombstoneRecord>, forgotten: Forgotten) -> Self {
        let record = |(vm, generation): (VmId, Generation)| ForgottenRecord { vm, generation: generation.0 };
        Self { version: VERSION, tombstones, forgotten: forgotten.into_iter().map(record).collect() }
    }

    pub(crate) fn into_parts(self) -> Result<(Vec<Tombstone>, Forgotten), UnreadableRecord> {
        check(self.version, self.tombstones.len().max(self.forgotten.len()))?;
        let tombstones = self.tombstones.into_iter().map(Tombstone::from).collect();
        let forgotten = self.forgotten.into_iter().map(|record| (record.vm, Generation(record.generation)));
        Ok((tombstones, forgotten.collect()))
    }
}

impl PreparationsFile {
    pub(crate) const fn new(preparations: Vec<PreparationRecord>) -> Self {
        Self { version: VERSION, preparations }
    }

    pub(crate) fn into_parts(self) -> Result<Vec<Preparation>, UnreadableRecord> {
        check(self.version, self.preparations.len())?;
        Ok(self.preparations.into_iter().map(Preparation::from).collect())
    }
}

/// VMs that were kept when the host was full can all become tombstones on top of those that were there.
const RECORDS_MAX: usize = 2 * VMS_MAX;

const fn check(version: u32, found: usize) -> Result<(), UnreadableRecord> {
    if version != VERSION {
        return Err(UnreadableRecord::Version { found: version });
    }
    if found > RECORDS_MAX {
        return Err(UnreadableRecord::TooMany { found });
    }
    Ok(())
}

impl From<&Tombstone> for TombstoneRecord {
    fn from(tombstone: &Tombstone) -> Self {
        Self {
            vm: tombstone.vm,
            generation: tombstone.generation.0,
            epoch: tombstone.epoch.0,
            reason: (&tombstone.reason).into(),
        }
    }
}

impl From<TombstoneRecord> for Tombstone {
    fn from(record: TombstoneRecord) -> Self {
        Self {
            vm: record.vm,
            generation: Generation(record.generation),
            epoch: Epoch(record.epoch),
            reason: record.reason.into(),
        }
    }
}

impl From<&Preparation> for PreparationRecord {
    fn from(preparation: &Preparation) -> Self {
        let (pool, volume) = preparation.disk.clone();
        Self {
            vm: preparation.vm,
            generation: preparation.generation.0,
            epoch: preparation.epoch.0,
            pool,
            volume,
        }
    }
}

impl From<PreparationRecord> for Preparation {
    fn from(record: PreparationRecord) -> Self {
        Self {
            vm: record.vm,
            generation: Generation(record.generation),
            epoch: Epoch(record.epoch),
            disk: (record.pool, record.volume),
        }
    }
}

impl From<&StopReason> for ReasonRecord {
    fn from(reason: &StopReason) -> Self {
        match reason {
            StopReason::ShutDown => Self::ShutDown,
            StopReason::DestroyedAfterGrace => Self::DestroyedAfterGrace,
            StopReason::Destroyed => Self::Destroyed,
            StopReason::GuestPowerOff => Self::GuestPowerOff,
            StopReason::Crashed => Self::Crashed,
            StopReason::RegistrationTimeout => Self::RegistrationTimeout,
            StopReason::StartFailed(why) => Self::StartFailed(printable(why, TEXT_LENGTH_MAX)),
            StopReason::FoundStopped => Self::FoundStopped,
            StopReason::Released => Self::Released,
        }
    }
}

impl From<ReasonRecord> for StopReason {
    fn from(record: ReasonRecord) -> Self {
        match record {
            ReasonRecord::ShutDown => Self::ShutDown,
            ReasonRecord::DestroyedAfterGrace => Self::DestroyedAfterGrace,
            ReasonRecord::Destroyed => Self::Destroyed,
            ReasonRecord::GuestPowerOff => Self::GuestPowerOff,
            ReasonRecord::Crashed => Self::Crashed,
            ReasonRecord::RegistrationTimeout => Self::RegistrationTimeout,
            ReasonRecord::StartFailed(why) => Self::StartFailed(printable(&why, TEXT_LENGTH_MAX)),
            ReasonRecord::FoundStopped => Self::FoundStopped,
            ReasonRecord::Released => Self::Released,
        }
    }
}
