//! Owns join tokens in the store: made for one host, kept by the hash of their secret, redeemed once. Of any number of
//! redemptions at the same moment exactly one wins, since each requires the version of the record it has read.

use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reeve_common::clock::Timestamp;
use reeve_common::ids::{HostId, HostName};
use serde::{Deserialize, Serialize};

use super::acting::acting_on;
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
/// How many tokens are looked at for expired ones each time one is made; the next ones next time.
const LOOKED_AT_ONCE: usize = 100;

/// Where the next look for expired tokens begins: after the last one that was looked at, and at the first again behind the
/// last. So making a token takes no longer when there are many, and each is looked at in its turn.
#[derive(Debug, Default)]
pub(super) struct Round(Mutex<Option<Key>>);

impl Round {
    fn next(&self) -> MutexGuard<'_, Option<Key>> {
        // It holds one value that is replaced at once.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

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
        acting_on(|| format!("host {name}"));
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
        let round = &self.inner.token_round;
        let from = match round.next().take() {
            Some(key) => key,
            None => first_key().map_err(|error| ServiceError::internal(error.to_string()))?,
        };
        // One more than is looked at: the next look begins there.
        let page = self.store().page(TOKENS.prefix(), &from, LOOKED_AT_ONCE + 1).await;
        let mut page = page.map_err(|error| store_failed(&error))?;
        let rest = page.split_off(page.len().min(LOOKED_AT_ONCE));
        *round.next() = rest.into_iter().next().map(|stored| stored.key);
        let useless = |stored: &&Stored| {
            TokenRecord::decode(stored).is_ok_and(|token| now > token.expires_at.after(LIFETIME_MAX))
        };
        for stored in page.iter().filter(useless) {
            batch = batch.delete(stored.key.clone(), Precondition::At(stored.version));
        }
        Ok(batch)
    }
}

/// Not above the key of any token: those are letters, digits, '-' and '_', of which '-' comes first.
fn first_key() -> Result<Key, InvalidKey> {
    Key::new(format!("{}/-", TOKENS.prefix()))
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use reeve_common::ids::{ProfileName, RealmName};
    use reeve_scheduler::HostState;

    use super::*;
    use crate::model::host::NewHost;
    use crate::service::test_service_on;
    use crate::store::{MemoryStore, Store, StoreFuture, Version, Watch};

    /// A store that never lists its tokens: there may be any number of them.
    #[derive(Debug, Default)]
    struct ManyTokens(MemoryStore);

    impl Store for ManyTokens {
        fn get<'a>(&'a self, key: &'a Key) -> StoreFuture<'a, Option<Stored>> {
            self.0.get(key)
        }

        fn list<'a>(&'a self, prefix: &'a str) -> StoreFuture<'a, Vec<Stored>> {
            assert_ne!(prefix, TOKENS.prefix(), "all tokens are listed");
            self.0.list(prefix)
        }

        fn page<'a>(&'a self, prefix: &'a str, from: &'a Key, count: usize) -> StoreFuture<'a, Vec<Stored>> {
            assert!(count <= LOOKED_AT_ONCE + 1, "{count} are looked at");
            self.0.page(prefix, from, count)
        }

        fn apply(&self, batch: Batch) -> StoreFuture<'_, Version> {
            self.0.apply(batch)
        }

        fn watch<'a>(&'a self, prefix: &'a str) -> StoreFuture<'a, Watch> {
            self.0.watch(prefix)
        }
    }

    #[tokio::test]
    async fn expired_tokens_go_in_their_turn_and_making_one_never_looks_at_all() {
        let store = Arc::new(ManyTokens::default());
        let (service, _directory) = test_service_on(Arc::<ManyTokens>::clone(&store)).await;
        let actor = Actor { uid: 0, name: "root".to_owned() };
        let name = HostName::new("node-1").unwrap();
        let new = NewHost {
            name: name.clone(),
            realm: RealmName::new("r").unwrap(),
            uri: "qemu:///system".to_owned(),
            profile: ProfileName::new("p").unwrap(),
            state: HostState::Enabled,
            labels: std::collections::BTreeMap::new(),
        };
        let host = service.add_host(new, &actor).await.unwrap().host.id;
        let count = 2 * LOOKED_AT_ONCE + 10;
        for number in 0..count {
            let secret = JoinSecret::generate().unwrap();
            // Every second one expired long ago.
            let expires_at =
                if number % 2 == 0 { Timestamp(1) } else { service.now().after(Duration::from_secs(600)) };
            let token = TokenRecord { host, expires_at, used_at: None };
            let key = token_key(secret.hash()).unwrap();
            let batch = Batch::new().put(key, Precondition::Absent, token.encode().unwrap());
            store.apply(batch).await.unwrap();
        }
        for _ in 0..3 {
            service.create_join_token(&name, Duration::from_secs(600), &actor).await.unwrap();
        }
        let left = store.0.list(TOKENS.prefix()).await.unwrap();
        assert_eq!(left.len(), count / 2 + 3);
        assert!(left.iter().all(|stored| TokenRecord::decode(stored).unwrap().expires_at > Timestamp(1)));
    }
}
