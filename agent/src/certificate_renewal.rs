//! Owns the renewal of this host's certificate: when it is due, the request for it, and putting it to use.
//!
//! Must not: send anything; the session does.

use std::sync::{Arc, PoisonError};

use reeve_common::clock::Clock;
use reeve_common::text::chain;

use crate::coordinator_link::CurrentCredentials;
use crate::identity::IdentityDirectory;
use crate::session::CertificateRenewal;

/// Renews the identity on the disk and what is dialled with.
pub(crate) struct IdentityRenewal {
    pub(crate) directory: IdentityDirectory,
    pub(crate) credentials: CurrentCredentials,
    pub(crate) clock: Arc<dyn Clock>,
}

impl CertificateRenewal for IdentityRenewal {
    fn is_due(&self) -> bool {
        let credentials = self.credentials.lock().unwrap_or_else(PoisonError::into_inner);
        credentials.facts().needs_renewal(self.clock.now())
    }

    fn request(&self) -> Result<String, String> {
        self.directory.begin_renewal().map_err(|error| chain(&error))
    }

    fn install(&self, certificate: &str) -> Result<(), String> {
        let renewed = self.directory.install_renewed(certificate, self.clock.now());
        let renewed = renewed.map_err(|error| chain(&error))?;
        let until = renewed.credentials.facts().not_after;
        *self.credentials.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(renewed.credentials);
        log::info!("this host's certificate was renewed and is good until {until}");
        Ok(())
    }
}
