//! Owns join tokens in the store: made for one host, kept by the hash of their secret, redeemed once. Of any number of
//! redemptions at the same moment exactly one wins, since each requires the version of the record it has read.

use std::net::SocketAddr;
use std::time::Duration;

use reeve_common::clock::Timestamp;
use reeve_common::ids::{HostId, HostName};
use serde::{Deserialize, Serialize};

use super::catalogue::store_failed;
use super::core::Kept;
use super::views::JoinToken as ShownToken;
use super::{Actor, ErrorKind, Service, ServiceError};
use crate::audit::Who;
use crate::config::CoordinatorConfig;
use crate::model::host::Host;
use crate::pki::{JoinLine, JoinSecret, JoinToken, JoiningHost, SecretHash, TokenBook, TokenRefusal};
use crate::records::{Record, TOKENS, host_key};
use crate::store::{Batch, InvalidKey, Key, Precondition, Stored};

/// The shortest life of a token: less is over before the line is pasted.
const LIFETIME_MIN: Duration = Duration::from_secs(60);
/// The longest: a line that lies around for longer than a day is a key under the mat.
const LIFETIME_MAX: Duration = Duration::from_secs(24 * 3600);
/// How many expired tokens are cleared away each time one is made; the rest next time.
const CLEARED_AT_ONCE: usize = 100;

/// A token as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TokenRecord {
    host: HostId,
    expires_at: Timestamp,
    used_at: Option<Timestamp>,
}

impl Record for TokenRecord {
    const KIND: &'static str = "join-token";
}

impl From<JoinToken> for TokenRecord {
    fn from(token: JoinToken) -> Self {
        Self { host: token.host, expires_at: token.expires_at, used_at: token.used_at }
    }
}

impl From<TokenRecord> for JoinToken {
    fn from(record: TokenRecord) -> Self {
        Self { host: record.host, expires_at: record.expires_at, used_at: record.used_at }
    }
}

fn token_key(secret: SecretHash) -> Result<Key, InvalidKey> {
    Key::new(format!("{}/{secret}", TOKENS.prefix()))
}

impl Service {
    /// Makes a line with which a machine becomes this host. A host that has joined already can join again, as after
    /// its disk was replaced.
    ///
    /// # Errors
    /// [`ServiceError`] when there is no such host, the lifetime is out of range, no address can be given, or the store
    /// fails.
    pub async fn create_join_token(
        &self,
        name: &HostName,
        lifetime: Duration,
        actor: &Actor,
    ) -> Result<ShownToken, ServiceError> {
        if lifetime < LIFETIME_MIN || lifetime > LIFETIME_MAX {
            return Err(ServiceError::invalid("a join line lives from one minute to one day"));
        }
        let host = self.host_id(name)?;
        let address = join_address(&self.config())?;
        let now = self.now();
        let secret = JoinSecret::generate().map_err(|error| ServiceError::internal(error.to_string()))?;
        let token = JoinToken { expires_at: now.after(lifetime), ..JoinToken::new(host, now) };
        let expires_at = token.expires_at;
        let key = token_key(secret.hash()).map_err(|error| ServiceError::internal(error.to_string()))?;
        let text =
            TokenRecord::from(token).encode().map_err(|error| ServiceError::internal(error.to_string()))?;
        let batch = Batch::new().put(key, Precondition::Absent, text);
        self.write(self.clear_expired(batch, now).await?).await?;
        log::info!(REEVE_HOST:% = name, REEVE_OPERATOR:% = actor.name;
            "a join line for host {name} was made by {}, good until {expires_at}", actor.name);
        let line = JoinLine { address, fingerprint: self.authority().fingerprint(), secret };
        Ok(ShownToken { line: line.to_string(), host: name.clone(), expires_at })
    }

    /// Adds the removal of tokens that have been of no use for a day.
    async fn clear_expired(&self, mut batch: Batch, now: Timestamp) -> Result<Batch, ServiceError> {
        let stored = self.store().list(TOKENS.prefix()).await.map_err(|error| store_failed(&error))?;
        let useless = |stored: &&Stored| {
            TokenRecord::decode(stored).is_ok_and(|token| now > token.expires_at.after(LIFETIME_MAX))
        };
        for stored in stored.iter().filter(useless).take(CLEARED_AT_ONCE) {
            batch = batch.delete(stored.key.clone(), Precondition::At(stored.version));
        }
        Ok(batch)
    }
}

/// Where a joining machine finds this coordinator.
fn join_address(config: &CoordinatorConfig) -> Result<String, ServiceError> {
    address(config, config.join_listen)
}

/// Where an agent finds this coordinator.
pub(crate) fn agent_address(config: &CoordinatorConfig) -> Result<String, ServiceError> {
    address(config, config.agent_listen)
}

fn address(config: &CoordinatorConfig, listen: SocketAddr) -> Result<String, ServiceError> {
    if let Some(address) = config.advertised(listen.port()) {
        return Ok(address);
    }
    if listen.ip().is_unspecified() {
        return Err(ServiceError::conflict("hosts cannot be told where this coordinator is: it listens on every address")
            .advise("set `advertised-address` in the configuration to the name or address that hosts reach it by, and reload"));
    }
    Ok(listen.to_string())
}

/// The tokens in the coordinator's store.
#[derive(Debug, Clone)]
pub struct StoredTokens(pub Service);

impl TokenBook for StoredTokens {
    async fn redeem(&self, secret: SecretHash, now: Timestamp) -> Result<JoiningHost, TokenRefusal> {
        let unavailable = |error: String| TokenRefusal::Unavailable(error);
        let service = &self.0;
        let key = token_key(secret).map_err(|error| unavailable(error.to_string()))?;
        let _writer = service.inner.catalogue_writer.lock().await;
        let stored = service.store().get(&key).await.map_err(|error| unavailable(crate::chain(&error)))?;
        let stored = stored.ok_or(TokenRefusal::Unknown)?;
        let record = TokenRecord::decode(&stored).map_err(|error| unavailable(crate::chain(&error)))?;
        let used = JoinToken::from(record).redeem(now)?;
        let kept = service.core().hosts.get(&used.host).map(|entry| entry.kept.clone());
        let kept = kept.ok_or(TokenRefusal::RemovedHost)?;
        let host = Host { joined_at: Some(now), ..Host::clone(&kept.value) };
        let texts = (TokenRecord::from(used).encode(), host.encode());
        let (Ok(token_text), Ok(host_text)) = texts else {
            return Err(unavailable("a record cannot be written".to_owned()));
        };
        let batch = Batch::new().put(key, Precondition::At(stored.version), token_text).put(
            host_key(host.id),
            Precondition::At(kept.version),
            host_text,
        );
        let who = Who::Host { id: host.id, name: host.name.to_string() };
        let act = service.begin_act(who, "join", format!("host {}", host.name));
        let version = match act.scope(service.write(batch)).await {
            Ok(version) => version,
            // Somebody else was faster, with this line or with the host.
            Err(error) if error.kind == ErrorKind::Conflict => return Err(TokenRefusal::Used { at: now }),
            Err(error) => return Err(unavailable(error.message)),
        };
        let joining = JoiningHost { realm: host.realm.clone(), host: host.id, name: host.name.clone() };
        if let Some(entry) = service.core().hosts.get_mut(&host.id) {
            entry.kept = Kept { version, value: std::sync::Arc::new(host) };
        }
        Ok(joining)
    }

    async fn note_refusal(&self, remote: SocketAddr, reason: &str) {
        let who = Who::Stranger { address: remote.to_string() };
        self.0.record_stranger(who, "join", "the port for joining", "denied", reason).await;
    }
}
