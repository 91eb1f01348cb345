//! Owns a machine of its own: a minimal Debian with systemd as its first process, in namespaces made by systemd-nspawn.
//! It has no network but its own and goes with whoever made it, whatever state it is in.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use anyhow::bail;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reeve_tests::harness::waiting::poll_until;
use tempfile::TempDir;

/// systemd starts a dozen services here, on processors that others use too.
const BOOT_PATIENCE: Duration = Duration::from_secs(120);
/// The longest that one command may take: stopping a daemon has half a minute by itself.
const COMMAND_PATIENCE_SECONDS: &str = "180";

/// A machine. Dropping it ends and removes everything of it.
pub(crate) struct Machine {
    directory: TempDir,
    container: Child,
    /// The machine's first process.
    first: i32,
}

impl Machine {
    /// Boots one from an archive.
    pub(crate) fn boot(archive: &Path) -> Self {
        let directory = tempfile::Builder::new().prefix("reeve-machine-").tempdir_in("/var/tmp").unwrap();
        let unpacked =
            Command::new("tar").arg("-C").arg(directory.path()).arg("-xf").arg(archive).status().unwrap();
        assert!(unpacked.success(), "{} cannot be unpacked", archive.display());
        let log = fs::File::create(directory.path().join("console.log")).unwrap();
        let container = Command::new("systemd-nspawn")
            .args(["--quiet", "--boot", "--register=no", "--keep-unit", "--private-network"])
            .args(["--bind=/dev/net/tun", "--console=read-only", "--hostname=machine"])
            .arg("--directory")
            .arg(directory.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("systemd-nspawn runs: packaging/setup-packages.sh installs it");
        let mut machine = Self { directory, container, first: 0 };
        let first = poll_until("the machine's first process", BOOT_PATIENCE, || {
            // One that is not allowed here ends at once, and says why on its console.
            if let Some(status) = machine.container.try_wait()? {
                bail!("systemd-nspawn ended ({status}): it needs root and what namespaces and mounts need");
            }
            Ok(child_of(machine.container.id()))
        });
        machine.first = first.unwrap_or_else(|error| panic!("{error}: {}", machine.read_console()));
        let booted = poll_until("the machine to boot", BOOT_PATIENCE, || {
            let state = machine.try_run(&["systemctl", "is-system-running"]);
            Ok(matches!(words(&state).as_str(), "running" | "degraded").then_some(()))
        });
        booted.unwrap_or_else(|error| panic!("{error}: {}", machine.read_console()));
        machine
    }

    /// A path of the machine's as this one sees it.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path.trim_start_matches('/'))
    }

    /// Writes a file.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Copies a file in.
    pub(crate) fn copy_in(&self, from: &Path, to: &str) {
        let to = self.path(to);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from, &to).unwrap_or_else(|error| panic!("{} to {}: {error}", from.display(), to.display()));
    }

    /// Runs a command as the machine's root, to its end, whatever that is.
    pub(crate) fn try_run(&self, command: &[&str]) -> Output {
        Command::new("timeout")
            .args([COMMAND_PATIENCE_SECONDS, "nsenter", "--all", "--target", &self.first.to_string()])
            .arg(format!("--wd=/proc/{}/root", self.first))
            .args(["env", "--ignore-environment", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"])
            .args(["LC_ALL=C.UTF-8", "SYSTEMD_PAGER=", "SYSTEMD_COLORS=0", "DEBIAN_FRONTEND=noninteractive"])
            .args(command)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// Runs a command that must succeed; gives what it wrote.
    pub(crate) fn run(&self, command: &[&str]) -> String {
        let output = self.try_run(command);
        assert!(
            output.status.success(),
            "`{}` failed ({}):\n{}{}\n{}",
            command.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
            self.last_words()
        );
        words(&output)
    }

    /// Runs a command that must fail; gives everything that it wrote.
    pub(crate) fn refuse(&self, command: &[&str]) -> String {
        let output = self.try_run(command);
        let said = format!("{}{}", words(&output), String::from_utf8_lossy(&output.stderr));
        assert!(!output.status.success(), "`{}` succeeded: {said}", command.join(" "));
        said
    }

    /// Runs a shell script that must succeed.
    pub(crate) fn shell(&self, script: &str) -> String {
        self.run(&["sh", "-euc", script])
    }

    /// One property of a unit.
    pub(crate) fn property(&self, unit: &str, name: &str) -> String {
        self.run(&["systemctl", "show", "--value", &format!("--property={name}"), unit])
    }

    /// The main process of a unit; 0 when it does not run.
    pub(crate) fn main_process(&self, unit: &str) -> i32 {
        self.property(unit, "MainPID").parse().unwrap()
    }

    fn last_words(&self) -> String {
        let units = ["--unit=reeve-agent", "--unit=reeve-coordinator", "--unit=libvirtd"];
        words(&self.try_run(&[&["journalctl", "--no-pager", "--lines=40"][..], &units].concat()))
    }

    fn read_console(&self) -> String {
        fs::read_to_string(self.path("console.log")).unwrap_or_default()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let groups = control_group(self.first);
        // Everything in the machine ends with its first process.
        if self.first > 0 {
            let _ = kill(Pid::from_raw(self.first), Signal::SIGKILL);
        }
        let _ = self.container.kill();
        let _ = self.container.wait();
        for group in groups {
            remove_groups(&group);
        }
    }
}

/// The control groups that were made for the machine: its own and the container's, in each hierarchy that there is.
fn control_group(first: i32) -> Vec<PathBuf> {
    let text = fs::read_to_string(format!("/proc/{first}/cgroup")).unwrap_or_default();
    let path = text.lines().filter_map(|line| line.splitn(3, ':').nth(2)).find_map(|path| {
        let (parent, _) = path.split_once("/payload")?;
        Some(parent.trim_start_matches('/').to_owned())
    });
    let Some(parent) = path else { return Vec::new() };
    let hierarchies = ["/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified", "/sys/fs/cgroup"];
    let below = |name: &'static str| hierarchies.map(|root| Path::new(root).join(&parent).join(name));
    [below("payload"), below("supervisor")].concat()
}

/// Removes empty groups; one that is in use stays.
fn remove_groups(group: &Path) {
    let Ok(entries) = fs::read_dir(group) else { return };
    for entry in entries.flatten().filter(|entry| entry.path().is_dir()) {
        remove_groups(&entry.path());
    }
    let _ = fs::remove_dir(group);
}

/// The child that has become the machine's systemd: systemd-nspawn has others before it, which come and go.
fn child_of(parent: u32) -> Option<i32> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
    children.split_whitespace().filter_map(|child| child.parse().ok()).find(|child: &i32| {
        fs::read_to_string(format!("/proc/{child}/comm")).is_ok_and(|name| name.trim() == "systemd")
    })
}

/// What a command wrote, without the last line's end.
pub(crate) fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}
