//! Owns what is typed to adopt a domain that nobody manages.

use std::str::FromStr;

use clap::Args;
use reeve_common::ids::HostName;

use super::Waiting;

/// A domain on a host, as `HOST/DOMAIN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct DomainPlace {
    pub(in crate::cli) host: HostName,
    /// Its name in libvirt, or its UUID.
    pub(in crate::cli) domain: String,
}

impl FromStr for DomainPlace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (host, domain) = text
            .split_once('/')
            .filter(|(_, domain)| !domain.is_empty())
            .ok_or("a domain is HOST/DOMAIN, such as node-1/legacy-db")?;
        let host = HostName::new(host).map_err(|error| error.to_string())?;
        Ok(Self { host, domain: domain.to_owned() })
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct AdoptArguments {
    /// The host, and the domain's name or UUID there.
    #[arg(value_name = "HOST/DOMAIN")]
    pub(in crate::cli) place: DomainPlace,
    /// Whose it is to be.
    #[arg(long)]
    pub(in crate::cli) owner: String,
    /// The owner's team.
    #[arg(long)]
    pub(in crate::cli) team: String,
    /// The project it is tagged with.
    #[arg(long)]
    pub(in crate::cli) project: Option<String>,
    /// Its name for people; the domain's name when left out.
    #[arg(long)]
    pub(in crate::cli) title: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) waiting: Waiting,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_a_host_and_a_domain() {
        let place: DomainPlace = "node-1/my db/2".parse().unwrap();
        assert_eq!((place.host.as_str(), place.domain.as_str()), ("node-1", "my db/2"));
        for bad in ["", "node-1", "node-1/", "/db", "a b/db"] {
            assert!(bad.parse::<DomainPlace>().is_err(), "{bad:?}");
        }
    }
}
