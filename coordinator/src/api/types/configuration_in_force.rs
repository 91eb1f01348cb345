//! Owns the document of the configuration in force, as far as no other document has it. No secret has a place in it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Where the coordinator listens, where it keeps its things, how long it waits, and how hosts are fenced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ConfigurationInForce {
    /// Where agents connect.
    pub agent_listen: String,
    /// Where hosts join.
    pub join_listen: String,
    /// Where metrics are read; none when they are off.
    pub metrics_listen: Option<String>,
    /// What join lines give to hosts.
    pub advertised_address: Option<String>,
    /// Where the store and the keys are.
    pub state_directory: String,
    /// The socket of the API.
    pub api_socket: String,
    /// In milliseconds.
    pub suspect_after_ms: u64,
    /// In milliseconds.
    pub lost_after_ms: u64,
    /// In milliseconds.
    pub sample_interval_ms: u64,
    /// In milliseconds.
    pub measured_age_max_ms: u64,
    /// Of each realm that says how its hosts are fenced: by host, the command.
    pub fence_commands: BTreeMap<String, BTreeMap<String, String>>,
    /// The realms whose hosts go by leases, and the lease in milliseconds.
    pub leases_ms: BTreeMap<String, u64>,
}
