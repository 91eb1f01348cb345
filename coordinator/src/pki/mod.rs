//! Placeholder.
#![allow(missing_docs, clippy::todo, clippy::needless_pass_by_value)]
use reeve_common::clock::Timestamp;
use reeve_common::tls::{CaFingerprint, Credentials, Identity};
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct AuthorityError;
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct IssueError;
#[derive(Debug)]
pub struct Authority;
pub struct Issued {
    pub pem: String,
    pub not_after: Timestamp,
}
impl Authority {
    pub fn create(_: &std::path::Path, _: Timestamp) -> Result<Self, AuthorityError> {
        todo!()
    }
    pub fn open(_: &std::path::Path) -> Result<Self, AuthorityError> {
        todo!()
    }
    pub fn fingerprint(&self) -> CaFingerprint {
        todo!()
    }
    pub fn issue_host(&self, _: &str, _: &Identity, _: Timestamp) -> Result<Issued, IssueError> {
        todo!()
    }
    pub fn server_credentials(&self, _: Timestamp) -> Result<Credentials, AuthorityError> {
        todo!()
    }
}
