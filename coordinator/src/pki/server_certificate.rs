//! Owns keeping the coordinator's own certificate fresh on its open ports. Connections that stand are not disturbed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reeve_common::clock::{Clock, Timestamp};
use reeve_common::lasting_keys::LastingKeys;
use reeve_common::logging::messages;
use reeve_common::text::chain;
use reeve_common::tls::{Credentials, TlsError, join_server_config, lasting_coordinator_config};

use super::authority::{Authority, IssueError};

/// How often is looked whether the certificate has reached its last third: often against 24 h, so that a clock that
/// jumps is noticed too.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);

/// A port on which the coordinator proves itself.
#[derive(Debug, Clone)]
pub enum ServedPort {
    /// For agents, which are known again by these keys when they come back.
    Agents(quinn::Endpoint, LastingKeys),
    /// For joining hosts.
    Joining(quinn::Endpoint),
}

/// Why the certificate on the ports could not be renewed.
#[derive(Debug, thiserror::Error)]
pub enum RenewError {
    /// The authority did not sign.
    #[error("the coordinator's certificate could not be renewed")]
    Issue(#[from] IssueError),
    /// What it signed does not work.
    #[error("the coordinator's new certificate cannot be used")]
    Tls(#[from] TlsError),
}

/// The certificate on the coordinator's open ports.
pub struct ServerCertificate {
    authority: Arc<Authority>,
    ports: Vec<ServedPort>,
    current: Credentials,
    clock: Arc<dyn Clock>,
    ends: Arc<AtomicU64>,
}

impl ServerCertificate {
    /// `current` is what the ports were opened with.
    #[must_use]
    pub fn new(
        authority: Arc<Authority>,
        ports: Vec<ServedPort>,
        current: Credentials,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { authority, ports, current, clock, ends: Arc::default() }
    }

    /// The same, saying from now on when the certificate in use ends, in milliseconds since 1970.
    #[must_use]
    pub fn telling(self, ends: Arc<AtomicU64>) -> Self {
        let this = Self { ends, ..self };
        this.tell();
        this
    }

    fn tell(&self) {
        self.ends.store(self.not_after().0, Ordering::Relaxed);
    }

    /// When the certificate in use ends.
    #[must_use]
    pub const fn not_after(&self) -> Timestamp {
        self.current.facts().not_after
    }

    /// Puts a new certificate on the ports if the one in use has reached the last third of its life; says whether.
    ///
    /// # Errors
    /// [`RenewError`]; the one in use stays.
    pub fn renew_when_due(&mut self) -> Result<bool, RenewError> {
        let now = self.clock.now();
        if !self.current.facts().needs_renewal(now) {
            return Ok(false);
        }
        let credentials = self.authority.server_credentials(now)?;
        for port in &self.ports {
            let clock = Arc::clone(&self.clock);
            match port {
                ServedPort::Agents(endpoint, keys) => {
                    let config = lasting_coordinator_config(&credentials, keys, clock)?;
                    endpoint.set_server_config(Some(config));
                }
                ServedPort::Joining(endpoint) => {
                    endpoint.set_server_config(Some(join_server_config(&credentials, clock)?));
                }
            }
        }
        self.current = credentials;
        self.tell();
        Ok(true)
    }

    /// Renews the certificate whenever it is due. Runs until it is dropped.
    pub async fn keep_fresh(mut self) {
        loop {
            match self.renew_when_due() {
                Ok(false) => {}
                Ok(true) => {
                    log::info!("the coordinator's certificate was renewed until {}", self.not_after())
                }
                Err(error) => log::error!(
                    MESSAGE_ID:% = messages::AUTHORITY_NOT_USABLE;
                    "{}; hosts can connect until {}, and it is tried again every {} s",
                    chain(&error),
                    self.not_after(),
                    LOOK_INTERVAL.as_secs()
                ),
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }
}
