//! Owns what the doctor asks of libvirt: its versions, and which pools and networks there are, whoever they belong to.
//!
//! Must not: judge.

use reeve_common::text::{TEXT_LENGTH_MAX, printable};
use virt::connect::Connect;

use super::capabilities::version;
use super::failure::Failure;

/// What libvirt says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Examined {
    /// Such as `libvirt 9.0.0, QEMU 7.2.19`.
    pub version: String,
    /// libvirt's own version as a number: major * 1,000,000 + minor * 1,000 + release.
    pub library: u32,
    /// Storage pools by name, and whether they are started.
    pub pools: Vec<(String, bool)>,
    /// Virtual networks by name, and whether they are started.
    pub networks: Vec<(String, bool)>,
}

pub(super) fn examine(connect: &Connect) -> Result<Examined, Failure> {
    let library = connect.lib_version()?;
    let mut pools = Vec::new();
    for pool in connect.list_all_storage_pools(0)? {
        pools.push((printable(&pool.name()?, TEXT_LENGTH_MAX), pool.is_active()?));
    }
    let mut networks = Vec::new();
    for network in connect.list_all_networks(0)? {
        networks.push((printable(&network.name()?, TEXT_LENGTH_MAX), network.is_active()?));
    }
    pools.sort();
    networks.sort();
    let version = format!("libvirt {}, QEMU {}", version(library), version(connect.hyp_version()?));
    Ok(Examined { version, library, pools, networks })
}
