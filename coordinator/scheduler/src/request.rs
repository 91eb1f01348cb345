//! Owns what is asked of the scheduler: the part of a VM that decides where it may live and what that costs.
//!
//! Must not: know images, drives or how a VM is started.

use std::collections::BTreeMap;

use reeve_common::ids::{DeviceClass, RealmName};
use reeve_common::units::{Mebibytes, Millicores};
use serde::{Deserialize, Serialize};

/// A place is wanted for one VM.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Request {
    /// The realm it belongs to; only hosts of this realm come into question.
    pub realm: RealmName,
    /// Processor time.
    pub cores: Millicores,
    /// Memory.
    pub memory: Mebibytes,
    /// Devices by class; a class with zero devices is as good as absent.
    #[serde(default)]
    pub devices: BTreeMap<DeviceClass, u32>,
    /// Who starts it; counted by `same.owner`.
    #[serde(default)]
    pub owner: String,
    /// The owner's team; counted by `same.team`.
    #[serde(default)]
    pub team: String,
    /// Its labels; counted by `same.label.KEY`.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}
