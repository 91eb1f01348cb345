//! Owns what libvirt is told on a lab host: the texts of its configuration files, pools and network. Pure.

use super::description::HostDescription;

/// The realm's pools (seed 000's default names), all directories that the lab's hosts share.
pub(crate) const POOLS: [&str; 3] = ["ticrypt-vm", "ticrypt-vm-drives", "ticrypt-bricks"];

/// Where the images are; the others are empty at first.
pub(crate) const BRICKS_POOL: &str = "ticrypt-bricks";

/// Where a host has its pools.
pub(crate) const POOL_ROOT: &str = "/var/lib/libvirt/reeve";

/// The network VMs are plugged into.
pub(crate) const NETWORK: &str = "default";

/// The group whose members may use libvirt's socket.
pub(crate) const GROUP: &str = "libvirt";

/// `libvirtd.conf`: reached by the group alone, without polkit, since there is no system bus in a lab.
pub(crate) fn libvirtd(host: &HostDescription) -> String {
    format!(
        r#"unix_sock_group = "{GROUP}"
unix_sock_ro_perms = "0770"
unix_sock_rw_perms = "0770"
auth_unix_ro = "none"
auth_unix_rw = "none"
host_uuid = "{}"
log_outputs = "2:file:/var/log/libvirt/libvirtd.log"
"#,
        host.uuid
    )
}

/// `qemu.conf`: no mandatory access control, whose profiles would be loaded into the machine itself. There are no
/// control groups either, which a lab host does not see; users and file ownership are as on any host.
pub(crate) const QEMU: &str = "security_driver = \"none\"\ncgroup_controllers = []\n";

/// A pool that is a directory.
pub(crate) fn pool(name: &str) -> String {
    format!(
        "<pool type='dir'>\n  <name>{name}</name>\n  <target>\n    <path>{POOL_ROOT}/{name}</path>\n  </target>\n</pool>\n"
    )
}

/// A network that leads nowhere: guests reach each other and the host, and get addresses. Every host has the same
/// one, each in its own namespace.
pub(crate) fn network() -> String {
    format!(
        "<network>
  <name>{NETWORK}</name>
  <bridge name='virbr0' stp='off' delay='0'/>
  <ip address='192.168.122.1' netmask='255.255.255.0'>
    <dhcp>
      <range start='192.168.122.2' end='192.168.122.254'/>
    </dhcp>
  </ip>
</network>
"
    )
}
