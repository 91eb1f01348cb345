//! Owns the minimal Debian that packages are installed into: made once by mmdebstrap, and kept as an archive outside of the
//! build directory, since it is the same for all.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// Where archives are kept. It is a cache: what is missing is made anew.
const CACHE: &str = "/var/cache/reeve-lab";
/// What the product needs on a host, and what a test asks with. systemd as the first process, libvirt with QEMU, polkit.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,polkitd,libvirt-daemon-system,libvirt-clients,qemu-system-x86,qemu-utils,\
                        dnsmasq-base,iproute2,nftables,iptables,procps";
const SUITE: &str = "bookworm";

/// The archive, made unless it is there already.
pub(crate) fn archive() -> PathBuf {
    let path = PathBuf::from(CACHE).join(format!("{SUITE}-{:016x}.tar", fingerprint(PACKAGES)));
    if path.exists() {
        return path;
    }
    fs::create_dir_all(CACHE).unwrap();
    let unfinished = path.with_extension("new.tar");
    let output = Command::new("mmdebstrap")
        .args(["--variant=apt", &format!("--include={PACKAGES}")])
        .args([r#"--aptopt=Apt::Install-Recommends "false""#, r#"--aptopt=Acquire::Languages "none""#])
        .arg(r#"--aptopt=Acquire::Retries "3""#)
        .args([SUITE.as_ref(), unfinished.as_os_str()])
        .output()
        .expect("mmdebstrap runs: packaging/setup-packages.sh installs it");
    assert!(output.status.success(), "mmdebstrap failed: {}", String::from_utf8_lossy(&output.stderr));
    fs::rename(unfinished, &path).unwrap();
    path
}

/// Tells one list of packages from another.
fn fingerprint(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
