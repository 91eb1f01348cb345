//! Owns when a connected agent is asked for everything it has although nothing seems to have changed: what events and
//! their repetitions missed is found by it.
//!
//! Must not: compare; the report that comes is followed like any other.

use std::time::Duration;

use reeve_common::ids::HostId;

use super::AgentHandle;
use crate::service::Service;

/// Parts into which the first interval is divided, so that a fleet that connected at once does not report at once.
const SPREAD: u32 = 61;
/// How soon it is looked again whether a realm that was not configured is by now.
const UNCONFIGURED_RETRY: Duration = Duration::from_secs(60);

/// Asks one agent from time to time, until the task is dropped.
pub(super) async fn keep_comparing(service: Service, host: HostId, agent: AgentHandle) {
    let mut part = 1 + host.0 % SPREAD;
    loop {
        let frequency = service.comparison_frequency(host).unwrap_or(UNCONFIGURED_RETRY);
        tokio::time::sleep(frequency / SPREAD * part).await;
        part = SPREAD;
        // In a box: it is needed once in a long while, and this task lives as long as the connection.
        if let Err(error) = Box::pin(service.ask_for_comparison(host, &agent)).await {
            // What cannot be asked is unknown; whether it is connected is told elsewhere.
            log::debug!(REEVE_HOST:% = service.host_label_of(host);
                "host {} was not compared: {error}", service.host_label_of(host));
        }
    }
}
