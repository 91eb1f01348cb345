//! Owns how the configuration in force becomes a document without secrets: it names what it tells, so that a key that will
//! be added is not told by accident.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::api::types::ConfigurationInForce;
use crate::config::{CoordinatorConfig, Realm};

pub(in crate::api) fn configuration_in_force_of(config: &CoordinatorConfig) -> ConfigurationInForce {
    let fences = config.realms.values().filter_map(|realm| Some((realm.key.to_string(), commands(realm)?)));
    let leases =
        config.realms.values().filter_map(|realm| Some((realm.key.to_string(), milliseconds(realm.lease?))));
    ConfigurationInForce {
        agent_listen: config.agent_listen.to_string(),
        join_listen: config.join_listen.to_string(),
        metrics_listen: config.metrics_listen.map(|address| address.to_string()),
        advertised_address: config.advertised_address.clone(),
        state_directory: config.state_directory.display().to_string(),
        api_socket: config.api_socket.display().to_string(),
        suspect_after_ms: milliseconds(config.suspect_after),
        lost_after_ms: milliseconds(config.lost_after),
        sample_interval_ms: milliseconds(config.sample_interval),
        measured_age_max_ms: milliseconds(config.measured_age_max),
        fence_commands: fences.collect(),
        leases_ms: leases.collect(),
    }
}

fn commands(realm: &Realm) -> Option<BTreeMap<String, String>> {
    let rules = realm.fence.as_ref()?;
    Some(rules.hosts().map(|(host, means)| (host.to_string(), means.command.display().to_string())).collect())
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
