//! Owns the certificate authority: its key on the disk, and what it signs.
//!
//! ```text
//!   pki/ca.key.pem   0600   the key; whoever has it is the fleet
//!   pki/ca.pem       0644   the certificate, 10 years
//! ```
//!
//! Must not: decide who is who. Callers say which identity a certificate is for.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber as RcgenSerialNumber,
};
use reeve_common::clock::Timestamp;
use reeve_common::durable_file::{self, FileError, PRIVATE_FILE, PUBLIC_FILE};
use reeve_common::lasting_keys::LastingKeys;
use reeve_common::tls::certificate::{certificate_from_pem, key_fingerprint};
use reeve_common::tls::{
    COORDINATOR_SERVER_NAME, CaFingerprint, Credentials, Identity, InvalidCertificate, InvalidCredentials,
    KeyFingerprint, NoRandomness, SerialNumber,
};
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

use super::checkpoint_signer::CheckpointSigner;
use super::signing_request::{RequestRefusal, SigningRequest};

/// The authority's own certificate. It outlives hardware generations; exchanging it means joining every host anew.
const AUTHORITY_LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// A host's certificate, from its first valid second to its last. A stolen one is worthless within a day, and a
/// coordinator may be down for eight hours (the last third) before any host falls out.
pub const HOST_CERTIFICATE_LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// The coordinator's own.
const SERVER_CERTIFICATE_LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// Certificates start this long before they are made, for hosts whose clock is behind.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(300);
/// Random serial numbers of 126 bits never meet.
const SERIAL_NUMBER_LENGTH: usize = 16;
/// As much of the fingerprint as the authority's name carries, so that two authorities are told apart by name.
const NAME_FINGERPRINT_LENGTH: usize = 8;
/// Neither file comes near this.
const FILE_LENGTH_MAX: u64 = 8 * 1024;

const KEY_FILE: &str = "ca.key.pem";
const CERTIFICATE_FILE: &str = "ca.pem";

/// The certificate authority of one fleet.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate_pem: String,
    fingerprint: CaFingerprint,
    not_after: Timestamp,
}

/// Why there is no authority to work with.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// There is one already; making another would lock all hosts out.
    #[error(
        "{directory} exists: an authority is made once, and a new one locks out every host that joined the old one; to start all over, move the directory away"
    )]
    Exists {
        /// Where.
        directory: PathBuf,
    },
    /// There is none.
    #[error("{directory} does not exist: make the certificate authority with `reeve-coordinator init`")]
    Missing {
        /// Where.
        directory: PathBuf,
    },
    /// A file cannot be used.
    #[error("the certificate authority's files cannot be used")]
    File(#[from] FileError),
    /// The key is none.
    #[error("{path} is not a readable private key: restore it from a backup")]
    Key {
        /// Which file.
        path: PathBuf,
        /// The library's words.
        #[source]
        source: rcgen::Error,
    },
    /// The certificate is none.
    #[error("{path} is not a readable certificate: restore it from a backup")]
    Certificate {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: InvalidCertificate,
    },
    /// They are of two different authorities.
    #[error("{directory}: the key and the certificate do not belong together: restore both from one backup")]
    Mismatch {
        /// Where.
        directory: PathBuf,
    },
    /// Its time is over.
    #[error(
        "the certificate authority in {directory} expired at {at}: check the clock; if it is right, make a new authority and join all hosts again"
    )]
    Expired {
        /// Where.
        directory: PathBuf,
        /// When.
        at: Timestamp,
    },
    /// It could not be made.
    #[error("the certificate authority could not be made")]
    Generate(#[source] rcgen::Error),
}

/// Why a certificate was not issued.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The request is not acceptable.
    #[error("the signing request was refused")]
    Request(#[from] RequestRefusal),
    /// Only hosts get their certificates on request.
    #[error("only hosts are issued certificates on request, and {0} is none")]
    NotAHost(String),
    /// Signing failed.
    #[error("the certificate could not be made")]
    Sign(#[source] rcgen::Error),
    /// No random number to be had.
    #[error("the certificate could not be made")]
    Randomness(#[from] NoRandomness),
    /// The key for checkpoints could not be made; a mistake in this program.
    #[error("the key that signs the audit log's checkpoints could not be made")]
    CheckpointKey,
    /// What came out cannot be used; a mistake in this program.
    #[error("the coordinator's certificate could not be made")]
    Credentials(#[source] InvalidCredentials),
}

/// A certificate for a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedCertificate {
    /// The certificate, PEM.
    pub pem: String,
    /// Whom it names.
    pub identity: Identity,
    /// Its number.
    pub serial: SerialNumber,
    /// When it ends.
    pub not_after: Timestamp,
}

impl Authority {
    /// Makes a new authority in `directory`, which must not exist yet. It appears there whole or not at all.
    ///
    /// # Errors
    /// [`AuthorityError`], in particular when there is one already.
    pub fn create(directory: &Path, now: Timestamp) -> Result<Self, AuthorityError> {
        if durable_file::exists(directory)? {
            return Err(AuthorityError::Exists { directory: directory.to_owned() });
        }
        let key = KeyPair::generate().map_err(AuthorityError::Generate)?;
        let params = authority_params(&key, now);
        let certificate = params.self_signed(&key).map_err(AuthorityError::Generate)?;
        let key_pem = Zeroizing::new(key.serialize_pem());
        let mut name = directory.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let beside = directory.with_file_name(name);
        durable_file::remove_directory(&beside)?;
        durable_file::create_private_directory(&beside)?;
        durable_file::write(&beside.join(KEY_FILE), key_pem.as_bytes(), PRIVATE_FILE)?;
        durable_file::write(&beside.join(CERTIFICATE_FILE), certificate.pem().as_bytes(), PUBLIC_FILE)?;
        durable_file::rename(&beside, directory)?;
        Self::open(directory, now)
    }

    /// Reads the authority in `directory`.
    ///
    /// # Errors
    /// [`AuthorityError`] says which file is wrong and what to do.
    pub fn open(directory: &Path, now: Timestamp) -> Result<Self, AuthorityError> {
        if !durable_file::exists(directory)? {
            return Err(AuthorityError::Missing { directory: directory.to_owned() });
        }
        durable_file::check_private_directory(directory)?;
        let key_path = directory.join(KEY_FILE);
        let certificate_path = directory.join(CERTIFICATE_FILE);
        let key_pem = durable_file::read_private(&key_path, FILE_LENGTH_MAX)?;
        let key =
            KeyPair::from_pem(&key_pem).map_err(|source| AuthorityError::Key { path: key_path, source })?;
        let certificate_pem = durable_file::read(&certificate_path, FILE_LENGTH_MAX)?;
        let unreadable = |source| AuthorityError::Certificate { path: certificate_path.clone(), source };
        let certificate = certificate_from_pem(&certificate_pem).map_err(unreadable)?;
        let fingerprint = key_fingerprint(&certificate).map_err(unreadable)?;
        if fingerprint != KeyFingerprint::of_public_key(&key.subject_public_key_info()) {
            return Err(AuthorityError::Mismatch { directory: directory.to_owned() });
        }
        let not_after = end_of_life(&certificate).map_err(unreadable)?;
        if now > not_after {
            return Err(AuthorityError::Expired { directory: directory.to_owned(), at: not_after });
        }
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(AuthorityError::Generate)?;
        Ok(Self { issuer, certificate_pem, fingerprint, not_after })
    }

    /// The authority's files in `directory` by name, to be kept in a backup.
    ///
    /// # Errors
    /// [`AuthorityError`] as for [`Self::open`].
    pub fn export(directory: &Path) -> Result<Vec<(String, Zeroizing<String>)>, AuthorityError> {
        durable_file::check_private_directory(directory)?;
        let key = durable_file::read_private(&directory.join(KEY_FILE), FILE_LENGTH_MAX)?;
        let certificate = durable_file::read(&directory.join(CERTIFICATE_FILE), FILE_LENGTH_MAX)?;
        Ok(vec![(KEY_FILE.to_owned(), key), (CERTIFICATE_FILE.to_owned(), Zeroizing::new(certificate))])
    }

    /// Puts exported files into `directory`, which must not exist yet. It appears there whole or not at all.
    ///
    /// # Errors
    /// [`AuthorityError`], in particular when there is one already.
    pub fn import(
        directory: &Path,
        files: &[(String, Zeroizing<String>)],
        now: Timestamp,
    ) -> Result<Self, AuthorityError> {
        if durable_file::exists(directory)? {
            return Err(AuthorityError::Exists { directory: directory.to_owned() });
        }
        let mut name = directory.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let beside = directory.with_file_name(name);
        durable_file::remove_directory(&beside)?;
        durable_file::create_private_directory(&beside)?;
        for (file, mode) in [(KEY_FILE, PRIVATE_FILE), (CERTIFICATE_FILE, PUBLIC_FILE)] {
            let text = files.iter().find(|(name, _)| name == file).map_or("", |(_, text)| text.as_str());
            durable_file::write(&beside.join(file), text.as_bytes(), mode)?;
        }
        Self::open(&beside, now)?;
        durable_file::rename(&beside, directory)?;
        Self::open(directory, now)
    }

    /// What a join line pins.
    #[must_use]
    pub const fn fingerprint(&self) -> CaFingerprint {
        self.fingerprint
    }

    /// The authority's certificate, PEM.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// When the authority's own certificate ends.
    #[must_use]
    pub const fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Issues a certificate for a host, on its signing request. `identity` is who the coordinator knows the host to
    /// be; of the request only the key is used.
    ///
    /// # Errors
    /// [`IssueError`], in particular when the request asks for another name.
    pub fn issue_host(
        &self,
        signing_request_pem: &str,
        identity: &Identity,
        now: Timestamp,
    ) -> Result<IssuedCertificate, IssueError> {
        self.issue(&SigningRequest::read(signing_request_pem)?, identity, now)
    }

    /// The same with a request that has been read.
    ///
    /// # Errors
    /// [`IssueError`], in particular when the request asks for another name.
    pub fn issue(
        &self,
        request: &SigningRequest,
        identity: &Identity,
        now: Timestamp,
    ) -> Result<IssuedCertificate, IssueError> {
        let Identity::Host { host, .. } = identity else {
            return Err(IssueError::NotAHost(identity.to_string()));
        };
        request.check_names(identity)?;
        let serial = random_serial_number()?;
        let mut params = leaf_params(identity, &format!("reeve host {host}"), &serial)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let not_after = set_lifetime(&mut params, now, HOST_CERTIFICATE_LIFETIME);
        let certificate = params.signed_by(&request.key, &self.issuer).map_err(IssueError::Sign)?;
        Ok(IssuedCertificate {
            pem: certificate.pem(),
            identity: identity.clone(),
            serial: SerialNumber::from_bytes(serial),
            not_after,
        })
    }

    /// What this coordinator knows its agents again by, the same after each restart. The secret that they are derived from
    /// is only for this purpose; nothing about the authority's key can be learnt from it.
    #[must_use]
    pub fn lasting_keys(&self) -> LastingKeys {
        LastingKeys::of(&self.secret_for(b"reeve lasting secret"))
    }

    /// What signs the audit log's checkpoints: a key of its own, made of the authority's, so that it is there on every
    /// coordinator that was ever initialised, and the same again when the authority comes from a backup.
    ///
    /// # Errors
    /// [`IssueError::CheckpointKey`] when no key can be made, a mistake in this program.
    pub fn checkpoint_signer(&self) -> Result<CheckpointSigner, IssueError> {
        let seed = self.secret_for(b"reeve audit checkpoint key");
        CheckpointSigner::from_seed(&seed).ok_or(IssueError::CheckpointKey)
    }

    fn secret_for(&self, purpose: &[u8]) -> Zeroizing<Vec<u8>> {
        let key = Zeroizing::new(self.issuer.key().serialize_der());
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        Zeroizing::new(hmac::sign(&key, purpose).as_ref().to_vec())
    }

    /// A new certificate and key for the coordinator itself. They live in memory only: a coordinator that starts makes
    /// itself new ones.
    ///
    /// # Errors
    /// [`IssueError`] when signing fails.
    pub fn server_credentials(&self, now: Timestamp) -> Result<Credentials, IssueError> {
        let key = KeyPair::generate().map_err(IssueError::Sign)?;
        let mut params = leaf_params(&Identity::Coordinator, "reeve coordinator", &random_serial_number()?)?;
        let name = COORDINATOR_SERVER_NAME.try_into().map_err(IssueError::Sign)?;
        params.subject_alt_names.push(SanType::DnsName(name));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        set_lifetime(&mut params, now, SERVER_CERTIFICATE_LIFETIME);
        let certificate = params.signed_by(&key, &self.issuer).map_err(IssueError::Sign)?;
        let key_pem = Zeroizing::new(key.serialize_pem());
        Credentials::from_pem(&certificate.pem(), &key_pem, &self.certificate_pem)
            .map_err(IssueError::Credentials)
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Authority").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

fn authority_params(key: &KeyPair, now: Timestamp) -> CertificateParams {
    let fingerprint = KeyFingerprint::of_public_key(&key.subject_public_key_info()).to_string();
    let short: String = fingerprint.chars().take(NAME_FINGERPRINT_LENGTH).collect();
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name(&format!("reeve authority {short}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_lifetime(&mut params, now, AUTHORITY_LIFETIME);
    params
}

fn leaf_params(identity: &Identity, name: &str, serial: &[u8]) -> Result<CertificateParams, IssueError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name(name);
    params.serial_number = Some(RcgenSerialNumber::from_slice(serial));
    let uri = identity.to_string().try_into().map_err(IssueError::Sign)?;
    params.subject_alt_names = vec![SanType::URI(uri)];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished_name = DistinguishedName::new();
    distinguished_name.push(DnType::CommonName, name);
    distinguished_name
}

/// Sets both ends of a certificate's life and returns the later one, in the whole seconds that certificates know.
fn set_lifetime(params: &mut CertificateParams, now: Timestamp, lifetime: Duration) -> Timestamp {
    let whole_seconds = Timestamp(now.0 - now.0 % 1000);
    let not_before = Timestamp(whole_seconds.0.saturating_sub(milliseconds(CLOCK_TOLERANCE)));
    let not_after = not_before.after(lifetime);
    params.not_before = not_before.to_offset_date_time();
    params.not_after = not_after.to_offset_date_time();
    not_after
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn random_serial_number() -> Result<Vec<u8>, NoRandomness> {
    let mut bytes = [0; SERIAL_NUMBER_LENGTH];
    SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandomness)?;
    // Positive, and of full length: one number has one spelling.
    if let Some(first) = bytes.first_mut() {
        *first = (*first & 0x3f) | 0x40;
    }
    Ok(bytes.to_vec())
}

fn end_of_life(der: &[u8]) -> Result<Timestamp, InvalidCertificate> {
    let (_, certificate) =
        x509_parser::parse_x509_certificate(der).map_err(|_| InvalidCertificate::Malformed)?;
    let seconds = u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or(0);
    Ok(Timestamp(seconds.saturating_mul(1000)))
}
