//! Owns what libvirt's errors mean to us: out of reach, not there, refused, or failed.
//!
//! Must not: swallow one. The words are libvirt's own, made printable, with a hint where one is known.

use reeve_common::text::{TEXT_LENGTH_MAX, printable};
use virt::connect::Connect;
use virt::enumutil::Enum;
use virt::error::{Error, ErrorDomain, ErrorNumber};

use super::super::HypervisorError;

/// How a piece of work on a connection fails: by libvirt, or by our own judgement.
#[derive(Debug)]
pub(super) enum Failure {
    /// libvirt's error.
    Libvirt(Error),
    /// Ours.
    Own(HypervisorError),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Libvirt(error) => formatter.write_str(&words(error)),
            Self::Own(error) => error.fmt(formatter),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Libvirt(error)
    }
}

impl From<HypervisorError> for Failure {
    fn from(error: HypervisorError) -> Self {
        Self::Own(error)
    }
}

impl Failure {
    /// Whether libvirt said this.
    pub(super) fn is(&self, number: ErrorNumber) -> bool {
        matches!(self, Self::Libvirt(error) if error.code() == Enum::Known(number))
    }

    /// In the words of the trait.
    pub(super) fn into_error(self, doing: &'static str) -> HypervisorError {
        match self {
            Self::Own(error) => error,
            Self::Libvirt(error) => meaning(doing, &error),
        }
    }
}

/// Whether the connection still stands. A call that broke with it fails with any of a dozen codes; the connection knows.
pub(super) fn is_alive(connect: &Connect) -> bool {
    matches!(connect.is_alive(), Ok(true))
}

/// Says that an operation would be refused again.
pub(super) fn refused(doing: &'static str, why: impl Into<String>) -> Failure {
    Failure::Own(HypervisorError::Refused { doing, why: why.into() })
}

/// Says that an operation failed and may be repeated.
pub(super) fn failed(doing: &'static str, why: impl Into<String>) -> Failure {
    Failure::Own(HypervisorError::Failed { doing, why: why.into() })
}

/// Says that something is not there.
pub(super) fn not_found(what: impl Into<String>) -> Failure {
    Failure::Own(HypervisorError::NotFound { what: what.into() })
}

/// libvirt's words, safe to log and to store, with a hint where one helps.
pub(super) fn words(error: &Error) -> String {
    let text = printable(error.message(), TEXT_LENGTH_MAX);
    match error.code() {
        Enum::Known(ErrorNumber::AuthFailed | ErrorNumber::AuthUnavailable | ErrorNumber::AuthCancelled) => {
            format!("{text}; the agent's user must be in the group libvirt, or allowed by a polkit rule")
        }
        _ => text,
    }
}

fn meaning(doing: &'static str, error: &Error) -> HypervisorError {
    use ErrorNumber as Number;
    let why = words(error);
    let Enum::Known(number) = error.code() else { return HypervisorError::Failed { doing, why } };
    let of_the_link = error.domain() == Enum::Known(ErrorDomain::Rpc) && number != Number::Rpc;
    match number {
        Number::NoConnect
        | Number::InvalidConn
        | Number::AuthFailed
        | Number::AuthUnavailable
        | Number::AuthCancelled => HypervisorError::Unreachable(why),
        _ if of_the_link => HypervisorError::Unreachable(why),
        Number::NoDomain | Number::NoStoragePool | Number::NoStorageVolume => {
            HypervisorError::NotFound { what: why }
        }
        Number::XmlError
        | Number::XmlDetail
        | Number::XmlInvalidSchema
        | Number::ConfigUnsupported
        | Number::ArgumentUnsupported
        | Number::NoSupport
        | Number::InvalidArg
        | Number::AccessDenied
        | Number::OperationDenied
        | Number::OperationUnsupported
        | Number::DomExist
        | Number::StorageVolExist
        | Number::CpuIncompatible => HypervisorError::Refused { doing, why },
        _ => HypervisorError::Failed { doing, why },
    }
}

#[cfg(test)]
mod tests {
    use super::super::event_loop;
    use super::*;

    fn failing(work: impl FnOnce(&Connect) -> Error) -> HypervisorError {
        event_loop::start().unwrap();
        let connect = Connect::open(Some("test:///default")).unwrap();
        Failure::from(work(&connect)).into_error("testing")
    }

    #[test]
    fn what_libvirt_says_is_sorted() {
        let missing = failing(|connect| connect.lookup_domain_by_name("no-such").unwrap_err());
        assert!(matches!(missing, HypervisorError::NotFound { .. }), "{missing:?}");
        let nonsense = failing(|connect| connect.define_domain_xml("<domain type='x'>").unwrap_err());
        assert!(matches!(nonsense, HypervisorError::Refused { .. }), "{nonsense:?}");
        let nowhere = Connect::open(Some("qemu+unix:///system?socket=/nonexistent")).unwrap_err();
        let nowhere = meaning("opening", &nowhere);
        assert!(matches!(nowhere, HypervisorError::Unreachable(_)), "{nowhere:?}");
    }
}
