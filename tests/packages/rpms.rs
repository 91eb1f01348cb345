//! Owns the rpms, installed into a root of their own by Debian's rpm: their scripts run there, their files land, and nothing
//! of the state goes with them. There is no systemd running in that root, as when an image is built.

use std::path::Path;
use std::process::Command;

use super::base;
use super::built::{CURRENT, NAMES, PREVIOUS, rpm};
use super::machine::words;

/// A command with the root's own /proc, which scripts need, in a mount namespace that goes with it.
fn with_processes(root: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-euc", r#"mount -t proc proc "$0/proc"; exec "$@""#]).arg(root);
    command
}

fn rpm_in(root: &Path, arguments: &[&str], versions: &[(&str, &str)]) -> String {
    let mut command = with_processes(root);
    // The packages of that root are dpkg's, so none of their names are known to rpm.
    command.args(["rpm", "--root"]).arg(root).args(["--nodeps", "--dbpath", "/var/lib/rpm"]).args(arguments);
    for (name, version) in versions {
        command.arg(rpm(name, version));
    }
    let output = command.output().expect("rpm runs: packaging/setup-packages.sh installs it");
    let said = format!("{}{}", words(&output), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {said}");
    // A script that fails is only warned of.
    assert!(!said.contains("scriptlet failed"), "{said}");
    said
}

fn within(root: &Path, script: &str) -> String {
    let output = with_processes(root).arg("chroot").arg(root).args(["sh", "-euc", script]).output().unwrap();
    assert!(
        output.status.success(),
        "{script}: {}{}",
        words(&output),
        String::from_utf8_lossy(&output.stderr)
    );
    words(&output)
}

#[test]
#[ignore = "needs packages: run `make test-packages`"]
fn rpms_are_installed_upgraded_and_removed() {
    let directory = tempfile::Builder::new().prefix("reeve-rpms-").tempdir_in("/var/tmp").unwrap();
    let root = directory.path();
    let unpacked = Command::new("tar").arg("-C").arg(root).arg("-xf").arg(base::archive()).status().unwrap();
    assert!(unpacked.success());
    let all = |version| NAMES.map(|name| (name, version));
    rpm_in(root, &["--install"], &all(PREVIOUS));
    assert_eq!(
        within(root, "stat --format=%U:%G:%a /var/lib/reeve-agent /var/lib/reeve-coordinator"),
        "reeve-agent:reeve-agent:700\nreeve-coordinator:reeve:700"
    );
    assert!(within(root, "id -nG reeve-agent").contains("libvirt"));
    within(root, "systemctl is-enabled reeve-agent reeve-coordinator");
    within(root, "reeve --version; reeve-coordinator check; reeve-coordinator init");
    within(root, "printf '# mine\\n' >>/etc/reeve/coordinator.conf");
    rpm_in(root, &["--upgrade"], &all(CURRENT));
    assert!(
        within(root, "tail -n 1 /etc/reeve/coordinator.conf").contains("# mine"),
        "the configuration was lost"
    );
    assert_eq!(
        within(root, "stat --format=%U:%a /var/lib/reeve-coordinator/pki/ca.pem"),
        "reeve-coordinator:644"
    );
    let changed = Command::new("rpm")
        .arg("--root")
        .arg(root)
        .args(["--verify", "--nodeps", "--dbpath", "/var/lib/rpm"])
        .args(NAMES)
        .output();
    let changed = words(&changed.unwrap());
    let only_configuration = changed.lines().all(|line| line.contains(" c /etc/reeve/"));
    assert!(only_configuration, "what is installed is not what was packed:\n{changed}");
    rpm_in(root, &[&["--erase"][..], &NAMES].concat(), &[]);
    within(
        root,
        "test ! -e /usr/bin/reeve-agent; test -s /var/lib/reeve-coordinator/pki/ca.pem; id reeve-agent",
    );
    // What the administrator changed is kept, under rpm's name for it, and nothing else of the configuration.
    let left = within(root, "find /etc/reeve");
    assert_eq!(left, "/etc/reeve\n/etc/reeve/coordinator.conf.rpmsave");
}
