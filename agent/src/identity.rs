//! Owns who this host is, on the disk: its key, its certificate, its authority, and where its coordinator is.
//!
//! ```text
//!   identity/              0700
//!     key.pem              0600   never leaves the host
//!     certificate.pem      0600   exchanged every few hours
//!     ca.pem               0600
//!     host.json            0600   realm, number, name, the coordinator's address
//!     renewal.pem          0600   the next key, while its certificate is awaited
//! ```
//!
//! A key and its certificate change together: a new set is made whole beside the old one, and then takes its place.
//! Whenever the machine dies there is one whole set.
//!
//! ```text
//!   identity ──▶ identity.old        (1)
//!   identity.new ──▶ identity        (2)   between (1) and (2) the next start finishes (2)
//!   remove identity.old              (3)
//! ```

use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use reeve_common::clock::Timestamp;
use reeve_common::durable_file::{self, FileError, PRIVATE_FILE};
use reeve_common::ids::{HostId, HostName, RealmName};
use reeve_common::tls::certificate::certificate_from_pem;
use reeve_common::tls::{
    CertificateFacts, Credentials, Identity, InvalidCertificate, InvalidCredentials, Side, TlsRefusal,
    check_address, verify_host_certificate,
};
use reeve_common::wire::join::Joined;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

const KEY_FILE: &str = "key.pem";
const CERTIFICATE_FILE: &str = "certificate.pem";
const AUTHORITY_FILE: &str = "ca.pem";
const HOST_FILE: &str = "host.json";
const RENEWAL_KEY_FILE: &str = "renewal.pem";
/// None of the files comes near this.
const FILE_LENGTH_MAX: u64 = 8 * 1024;

/// Where a host keeps who it is.
#[derive(Debug, Clone)]
pub struct IdentityDirectory {
    path: PathBuf,
}

/// Who a host is.
#[derive(Debug, Clone)]
pub struct HostIdentity {
    /// Its realm.
    pub realm: RealmName,
    /// Its number.
    pub host: HostId,
    /// Its name, for people.
    pub name: HostName,
    /// Where its coordinator takes agents, as `HOST:PORT`.
    pub coordinator: String,
    /// What it proves itself with.
    pub credentials: Credentials,
}

impl HostIdentity {
    /// Whether it is time to ask for a new certificate: two thirds of this one's life are over.
    #[must_use]
    pub fn needs_renewal(&self, now: Timestamp) -> bool {
        self.credentials.facts().needs_renewal(now)
    }

    /// As the certificate says it.
    #[must_use]
    pub fn identity(&self) -> Identity {
        Identity::Host { realm: self.realm.clone(), host: self.host }
    }
}

/// What is in `host.json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct HostRecord {
    realm: RealmName,
    host: HostId,
    name: HostName,
    coordinator: String,
}

/// A key made on this host, and the request for its certificate.
pub struct NewKey {
    /// The key, PEM.
    pub key: Zeroizing<String>,
    /// The signing request, PEM.
    pub signing_request: String,
}

/// Why a host does not know who it is, or cannot change it.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// It was never joined.
    #[error(
        "this host has not joined a coordinator ({path} does not exist): print a line with `reeve host join-token NAME` there, and run `reeve-agent join LINE` here"
    )]
    NotJoined {
        /// Where the identity should be.
        path: PathBuf,
    },
    /// A file cannot be used.
    #[error("this host's identity cannot be used")]
    File(#[from] FileError),
    /// Key, certificate and authority do not work together.
    #[error("the identity in {path} cannot be used; join the host again with `reeve-agent join`")]
    Credentials {
        /// Where.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: InvalidCredentials,
    },
    /// Key and certificate are of two different pairs.
    #[error(
        "key.pem and certificate.pem in {path} do not belong together; join the host again with `reeve-agent join`"
    )]
    Mismatch {
        /// Where.
        path: PathBuf,
    },
    /// The record is not readable.
    #[error("{path} is not readable; join the host again with `reeve-agent join`")]
    Record {
        /// Which file.
        path: PathBuf,
        /// Where it is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// The record and the certificate name two hosts, or the record's address is none.
    #[error(
        "{path} says that this host is {record}, and the certificate beside it says {certificate}; join the host again with `reeve-agent join`"
    )]
    Contradiction {
        /// Which file.
        path: PathBuf,
        /// What it says.
        record: String,
        /// What the certificate says.
        certificate: String,
    },
    /// A key could not be made.
    #[error("a key could not be made")]
    Generate(#[source] rcgen::Error),
    /// A received certificate is unreadable.
    #[error("the certificate received cannot be read; the present one stays in use")]
    Received(#[source] InvalidCertificate),
    /// A received certificate is for nothing that was asked.
    #[error("the certificate received is not for a key that was sent; the present one stays in use")]
    Unasked,
    /// A received certificate is somebody else's.
    #[error("the certificate received is {received}'s, and this host is {own}; the present one stays in use")]
    ReceivedOther {
        /// Whose it is.
        received: String,
        /// Who this host is.
        own: String,
    },
    /// A received certificate would not be accepted by the coordinator that sent it.
    #[error("the certificate received cannot be used ({}); the present one stays in use", refusal.advice_to_refuser(Side::Host))]
    ReceivedUnusable {
        /// Why.
        refusal: TlsRefusal,
    },
}

impl IdentityDirectory {
    /// The identity within an agent's state directory.
    #[must_use]
    pub fn within(state_directory: &Path) -> Self {
        Self { path: state_directory.join("identity") }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads who this host is.
    ///
    /// # Errors
    /// [`IdentityError`] says what is wrong and what to do; [`IdentityError::NotJoined`] when nothing is wrong but that.
    pub fn load(&self) -> Result<HostIdentity, IdentityError> {
        self.finish_exchange()?;
        if !durable_file::exists(&self.path)? {
            return Err(IdentityError::NotJoined { path: self.path.clone() });
        }
        durable_file::check_private_directory(&self.path)?;
        let key = self.read_private(KEY_FILE)?;
        let certificate = self.read_private(CERTIFICATE_FILE)?;
        let authority = self.read_private(AUTHORITY_FILE)?;
        let credentials = Credentials::from_pem(&certificate, &key, &authority)
            .map_err(|source| IdentityError::Credentials { path: self.path.clone(), source })?;
        if !belongs_to(credentials.facts(), &key)? {
            return Err(IdentityError::Mismatch { path: self.path.clone() });
        }
        let record_path = self.path.join(HOST_FILE);
        let record: HostRecord = serde_json::from_str(&self.read_private(HOST_FILE)?)
            .map_err(|source| IdentityError::Record { path: record_path.clone(), source })?;
        let identity = Identity::Host { realm: record.realm.clone(), host: record.host };
        if identity != credentials.facts().identity || check_address(&record.coordinator).is_err() {
            return Err(IdentityError::Contradiction {
                path: record_path,
                record: format!("{identity} at {}", record.coordinator),
                certificate: credentials.facts().identity.to_string(),
            });
        }
        let HostRecord { realm, host, name, coordinator } = record;
        Ok(HostIdentity { realm, host, name, coordinator, credentials })
    }

    /// Stores who this host has become, in place of whatever it was.
    ///
    /// # Errors
    /// [`IdentityError`] when what was received does not fit the key, or cannot be stored. The old identity is still
    /// there then.
    pub fn store(&self, joined: &Joined, key: &str, now: Timestamp) -> Result<HostIdentity, IdentityError> {
        let own = Identity::Host { realm: joined.realm.clone(), host: joined.host };
        check_received(&joined.certificate, &joined.authority, key, &own, now)?;
        let record = HostRecord {
            realm: joined.realm.clone(),
            host: joined.host,
            name: joined.host_name.clone(),
            coordinator: joined.agent_address.clone(),
        };
        self.replace(key, &joined.certificate, &joined.authority, &record)?;
        self.load()
    }

    /// Makes the key for the next certificate, or takes the one that was made before, and returns the request to send.
    /// The present pair stays in use.
    ///
    /// # Errors
    /// [`IdentityError`] when the key cannot be made or stored.
    pub fn begin_renewal(&self) -> Result<String, IdentityError> {
        let path = self.path.join(RENEWAL_KEY_FILE);
        if durable_file::exists(&path)?
            && let Ok(waiting) = KeyPair::from_pem(&self.read_private(RENEWAL_KEY_FILE)?)
        {
            return signing_request(&waiting);
        }
        let new = make_key()?;
        durable_file::write(&path, new.key.as_bytes(), PRIVATE_FILE)?;
        Ok(new.signing_request)
    }

    /// Puts a renewed certificate to use, with the key it was asked for. Connect with what comes back, and close the old
    /// connection when the new one is welcome. Installing the certificate that is in use already is success.
    ///
    /// # Errors
    /// [`IdentityError`] when it is not what was asked for, or cannot be stored; the present pair stays in use.
    pub fn install_renewed(&self, certificate: &str, now: Timestamp) -> Result<HostIdentity, IdentityError> {
        let present = self.load()?;
        let facts = CertificateFacts::read_pem(certificate).map_err(IdentityError::Received)?;
        if facts == *present.credentials.facts() {
            return Ok(present);
        }
        if !durable_file::exists(&self.path.join(RENEWAL_KEY_FILE))? {
            return Err(IdentityError::Unasked);
        }
        let key = self.read_private(RENEWAL_KEY_FILE)?;
        let authority = self.read_private(AUTHORITY_FILE)?;
        check_received(certificate, &authority, &key, &present.identity(), now)?;
        let record = HostRecord {
            realm: present.realm,
            host: present.host,
            name: present.name,
            coordinator: present.coordinator,
        };
        self.replace(&key, certificate, &authority, &record)?;
        self.load()
    }

    fn read_private(&self, name: &str) -> Result<Zeroizing<String>, IdentityError> {
        Ok(durable_file::read_private(&self.path.join(name), FILE_LENGTH_MAX)?)
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(suffix);
        self.path.with_file_name(name)
    }

    fn replace(
        &self,
        key: &str,
        certificate: &str,
        authority: &str,
        record: &HostRecord,
    ) -> Result<(), IdentityError> {
        self.finish_exchange()?;
        let new = self.beside(".new");
        durable_file::create_private_directory(&new)?;
        // A record of checked names and numbers always becomes JSON.
        let record = serde_json::to_string_pretty(record)
            .map_err(|source| IdentityError::Record { path: new.join(HOST_FILE), source })?;
        for (name, contents) in [
            (KEY_FILE, key),
            (CERTIFICATE_FILE, certificate),
            (AUTHORITY_FILE, authority),
            (HOST_FILE, &record),
        ] {
            durable_file::write(&new.join(name), contents.as_bytes(), PRIVATE_FILE)?;
        }
        if durable_file::exists(&self.path)? {
            durable_file::rename(&self.path, &self.beside(".old"))?;
        }
        durable_file::rename(&new, &self.path)?;
        Ok(durable_file::remove_directory(&self.beside(".old"))?)
    }

    /// Ends an exchange that was interrupted: forward when the old set had been moved away, for then the new one was
    /// whole; otherwise back.
    fn finish_exchange(&self) -> Result<(), FileError> {
        let (new, old) = (self.beside(".new"), self.beside(".old"));
        if !durable_file::exists(&self.path)? && durable_file::exists(&old)? {
            let whole = if durable_file::exists(&new)? { &new } else { &old };
            durable_file::rename(whole, &self.path)?;
        }
        durable_file::remove_directory(&new)?;
        durable_file::remove_directory(&old)
    }
}

/// Makes a key and the request for its certificate. The request names nobody: the coordinator says who the host is.
///
/// # Errors
/// [`IdentityError::Generate`] when there is no randomness.
pub fn make_key() -> Result<NewKey, IdentityError> {
    let pair = KeyPair::generate().map_err(IdentityError::Generate)?;
    Ok(NewKey { key: Zeroizing::new(pair.serialize_pem()), signing_request: signing_request(&pair)? })
}

fn signing_request(pair: &KeyPair) -> Result<String, IdentityError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.serialize_request(pair).and_then(|request| request.pem()).map_err(IdentityError::Generate)
}

fn belongs_to(facts: &CertificateFacts, key: &str) -> Result<bool, IdentityError> {
    use rcgen::PublicKeyData as _;
    use reeve_common::tls::KeyFingerprint;
    let pair = KeyPair::from_pem(key).map_err(IdentityError::Generate)?;
    Ok(facts.key == KeyFingerprint::of_public_key(&pair.subject_public_key_info()))
}

/// Checks a certificate that was received before anything of the old is touched.
fn check_received(
    certificate: &str,
    authority: &str,
    key: &str,
    own: &Identity,
    now: Timestamp,
) -> Result<(), IdentityError> {
    let der = certificate_from_pem(certificate).map_err(IdentityError::Received)?;
    let authority = certificate_from_pem(authority).map_err(IdentityError::Received)?;
    let facts = CertificateFacts::read(&der).map_err(IdentityError::Received)?;
    if !belongs_to(&facts, key)? {
        return Err(IdentityError::Unasked);
    }
    if facts.identity != *own {
        let received = facts.identity.to_string();
        return Err(IdentityError::ReceivedOther { received, own: own.to_string() });
    }
    verify_host_certificate(&der, &authority, now)
        .map(|_| ())
        .map_err(|refusal| IdentityError::ReceivedUnusable { refusal })
}
