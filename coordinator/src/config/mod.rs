//! Placeholder of the configuration's types until the reader is merged.
#![allow(missing_docs)]
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reeve_common::hardware_profile::HardwareProfile;
use reeve_common::ids::*;
use reeve_common::storage::DiskCache;
use reeve_common::units::Bytes;
use reeve_common::vm::VirtType;
use reeve_scheduler::CostFunction;

#[derive(Debug, Clone)]
pub struct CoordinatorConfig {
    pub agent_listen: SocketAddr,
    pub join_listen: SocketAddr,
    pub advertised_address: Option<String>,
    pub state_directory: PathBuf,
    pub api_socket: PathBuf,
    pub lost_after: Duration,
    pub sample_interval: Duration,
    pub realms: BTreeMap<RealmName, Realm>,
    pub cost_functions: BTreeMap<CostFunctionName, Arc<CostFunction>>,
    pub hardware_profiles: BTreeMap<ProfileName, HardwareProfile>,
}
#[derive(Debug, Clone)]
pub struct Realm {
    pub key: RealmName,
    pub disabled: bool,
    pub name: String,
    pub volumes_pool: PoolName,
    pub drives_pool: PoolName,
    pub bricks_pool: PoolName,
    pub log_scheduling: bool,
    pub registration_timeout: Duration,
    pub poll_frequency: Duration,
    pub network_filter: Option<NetworkFilterName>,
    pub drives: DriveRules,
    pub virt_type: VirtType,
    pub network: Option<NetworkName>,
    pub shutdown_timeout: Duration,
}
#[derive(Debug, Clone)]
pub struct DriveRules {
    pub lazy_allocation: bool,
    pub cache: DiskCache,
    pub min_size: Option<Bytes>,
    pub max_size: Option<Bytes>,
}
