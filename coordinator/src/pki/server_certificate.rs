//! Owns keeping the coordinator's own certificate fresh on its open ports. Connections that stand are not disturbed.

use std::sync::Arc;
use std::time::Duration;

use reeve_common::clock::Clock;
use reeve_common::text::chain;
use reeve_common::tls::{Credentials, TlsError, coordinator_server_config, join_server_config};

use super::authority::{Authority, IssueError};

/// How often is looked whether the certificate has reached its last third: often against 24 h, so that a clock that
/// jumps is noticed too.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);

/// A port on which the coordinator proves itself.
#[derive(Debug, Clone)]
pub enum ServedPort {
    /// For agents.
    Agents(quinn::Endpoint),
    /// For joining hosts.
    Joining(quinn::Endpoint),
}

/// Why the certificate on the ports could not be renewed.
#[derive(Debug, thiserror::Error)]
enum RenewError {
    #[error("the coordinator's certificate could not be renewed")]
    Issue(#[from] IssueError),
    #[error("the coordinator's new certificate cannot be used")]
    Tls(#[from] TlsError),
}

/// Puts a new certificate on the ports whenever the one in use reaches the last third of its life. Runs until it is
/// dropped; `current` is what the ports were opened with.
pub async fn keep_server_certificates(
    authority: Arc<Authority>,
    ports: Vec<ServedPort>,
    mut current: Credentials,
    clock: Arc<dyn Clock>,
) {
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        if !current.facts().needs_renewal(clock.now()) {
            continue;
        }
        match renew(&authority, &ports, &clock) {
            Ok(renewed) => {
                log::info!("the coordinator's certificate was renewed until {}", renewed.facts().not_after);
                current = renewed;
            }
            Err(error) => log::error!(
                "{}; hosts can connect until {}, and it is tried again every {} s",
                chain(&error),
                current.facts().not_after,
                LOOK_INTERVAL.as_secs()
            ),
        }
    }
}

fn renew(
    authority: &Authority,
    ports: &[ServedPort],
    clock: &Arc<dyn Clock>,
) -> Result<Credentials, RenewError> {
    let credentials = authority.server_credentials(clock.now())?;
    for port in ports {
        match port {
            ServedPort::Agents(endpoint) => {
                endpoint.set_server_config(Some(coordinator_server_config(&credentials, Arc::clone(clock))?));
            }
            ServedPort::Joining(endpoint) => {
                endpoint.set_server_config(Some(join_server_config(&credentials, Arc::clone(clock))?));
            }
        }
    }
    Ok(credentials)
}
