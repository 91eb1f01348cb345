//! Owns a libvirtd of a test's own: in its own mount, network and host name namespaces, with its own directories, so
//! that it can be killed and started again without anybody noticing.
//!
//! Must not: outlive the test. A shell in the namespaces reads from a pipe that the test holds; when the test ends,
//! however it ends, the shell ends every process that belongs to this libvirtd, its QEMUs first.
//!
//! The lab (`tests/lab`) brings up whole hosts; this is only the daemon, for tests of the hypervisor itself.

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::kvm_device::GIVE_KVM_TO_ITS_GROUP;
use super::waiting::poll_until;

/// How long the daemon has for its first start on a busy machine.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// The programs that are needed, and the Debian package that has each.
const PROGRAMS: [(&str, &str); 6] = [
    ("libvirtd", "libvirt-daemon-system"),
    ("virtlogd", "libvirt-daemon-system"),
    ("virsh", "libvirt-clients"),
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("qemu-img", "qemu-utils"),
    ("nsenter", "util-linux"),
];
/// What libvirt keeps anywhere, and where a private one keeps it.
const DIRECTORIES: [(&str, &str); 5] = [
    ("run", "/run"),
    ("etc", "/etc/libvirt"),
    ("lib", "/var/lib/libvirt"),
    ("cache", "/var/cache/libvirt"),
    ("log", "/var/log/libvirt"),
];

/// What QEMU's driver is told.
const QEMU_SETTINGS: &str = "security_driver = \"none\"\n";

/// A libvirtd of a test's own.
#[derive(Debug)]
pub struct PrivateLibvirtd {
    root: TempDir,
    holder: Child,
    /// Closing it ends everything.
    lifeline: Option<ChildStdin>,
    daemon: Option<Child>,
}

impl PrivateLibvirtd {
    /// Starts one, with virtlogd beside it.
    ///
    /// # Errors
    /// Something that is needed is not installed, the caller is not root, or the daemon does not come up.
    pub fn start() -> Result<Self> {
        ensure!(nix::unistd::geteuid().is_root(), "namespaces need root: run the tests as root");
        for (program, package) in PROGRAMS {
            ensure!(
                is_installed(program),
                "{program} is not installed: run `make setup`, or install {package}"
            );
        }
        let root = tempfile::Builder::new().prefix("reeve-").tempdir().context("no temporary directory")?;
        // QEMU runs as a user of its own and has to pass through.
        fs::set_permissions(root.path(), Permissions::from_mode(0o755))?;
        write_files(root.path())?;
        let mut holder = Command::new("unshare")
            .args(["--mount", "--net", "--uts", "sh", "-c", &holder_script(root.path())])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .context("unshare cannot be run")?;
        let lifeline = holder.stdin.take();
        let mut libvirtd = Self { root, holder, lifeline, daemon: None };
        let ready = libvirtd.path("ready");
        poll_until("the namespaces of a private libvirtd", START_PATIENCE, || {
            ensure!(libvirtd.holder.try_wait()?.is_none(), "the namespaces cannot be made; is this root?");
            Ok(ready.exists().then_some(()))
        })?;
        libvirtd.revive()?;
        Ok(libvirtd)
    }

    /// The URI it is reached by.
    #[must_use]
    pub fn uri(&self) -> String {
        format!("qemu+unix:///system?socket={}", self.path("run/libvirt/libvirt-sock").display())
    }

    /// A path beneath its own directory, the same inside and outside of its namespaces.
    #[must_use]
    pub fn path(&self, below: &str) -> PathBuf {
        self.root.path().join(below)
    }

    /// Kills the daemon as a crash or the kernel would. Its QEMUs run on.
    ///
    /// # Errors
    /// It is not running.
    pub fn kill(&mut self) -> Result<()> {
        let mut daemon = self.daemon.take().context("libvirtd is not running")?;
        daemon.kill()?;
        daemon.wait()?;
        Ok(())
    }

    /// Sends a signal to the daemon.
    ///
    /// # Errors
    /// It is not running.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let daemon = self.daemon.as_ref().context("libvirtd is not running")?;
        kill(Pid::from_raw(i32::try_from(daemon.id())?), signal)?;
        Ok(())
    }

    /// Starts the daemon, for the first time or again, and waits until it answers.
    ///
    /// # Errors
    /// It does not come up; the error has the end of its log.
    pub fn revive(&mut self) -> Result<()> {
        ensure!(self.daemon.is_none(), "libvirtd is running");
        let namespaces = self.holder.id().to_string();
        let daemon = Command::new("nsenter")
            .args(["--target", &namespaces, "--mount", "--net", "--uts", "libvirtd", "--pid-file"])
            .arg(self.path("libvirtd.pid"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        self.daemon = Some(daemon);
        let answers = poll_until("libvirtd to answer", START_PATIENCE, || {
            Ok(self.virsh(&["uri"]).is_ok().then_some(()))
        });
        answers.with_context(|| {
            let log = fs::read_to_string(self.path("log/libvirtd.log")).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(10).collect();
            format!("the end of its log: {}", tail.into_iter().rev().collect::<Vec<_>>().join("\n"))
        })
    }

    /// Has the daemon go by libvirt's lock manager `lockd`, or by none, from its next start on, with virtlockd beside it.
    ///
    /// # Errors
    /// The configuration cannot be written, or virtlockd does not start.
    pub fn configure_lock_manager(&self, lockd: bool) -> Result<()> {
        let line = if lockd { "lock_manager = \"lockd\"\n" } else { "" };
        fs::write(self.path("etc/qemu.conf"), format!("{QEMU_SETTINGS}{line}"))?;
        let pid_file = self.path("virtlockd.pid");
        if lockd && !pid_file.exists() {
            let namespaces = self.holder.id().to_string();
            let started = Command::new("nsenter")
                .args([
                    "--target",
                    &namespaces,
                    "--mount",
                    "--net",
                    "--uts",
                    "virtlockd",
                    "--daemon",
                    "--pid-file",
                ])
                .arg(&pid_file)
                .stdin(Stdio::null())
                .status()?;
            ensure!(started.success(), "virtlockd does not start");
        }
        Ok(())
    }

    /// Runs virsh against it and returns what it printed.
    ///
    /// # Errors
    /// virsh fails; the error has its words.
    pub fn virsh(&self, arguments: &[&str]) -> Result<String> {
        let output = Command::new("virsh").args(["--connect", &self.uri()]).args(arguments).output()?;
        if !output.status.success() {
            bail!("virsh {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Gives virsh a document: the arguments, with the path of a file that holds it behind them.
    ///
    /// # Errors
    /// As for [`Self::virsh`].
    pub fn virsh_with(&self, arguments: &[&str], document: &str) -> Result<String> {
        let mut file = tempfile::NamedTempFile::new_in(self.root.path())?;
        file.write_all(document.as_bytes())?;
        let path = file.path().to_string_lossy().into_owned();
        self.virsh(&[arguments, &[path.as_str()]].concat())
    }

    /// Defines a pool that is a directory of its own, and starts it if asked.
    ///
    /// # Errors
    /// As for [`Self::virsh`].
    pub fn add_pool(&self, name: &str, start: bool) -> Result<PathBuf> {
        let path = self.path("pools").join(name);
        fs::create_dir_all(&path)?;
        self.virsh(&["pool-define-as", name, "dir", "--target", &path.to_string_lossy()])?;
        if start {
            self.virsh(&["pool-start", name])?;
        }
        Ok(path)
    }

    /// Sends a signal to a running domain's QEMU.
    ///
    /// # Errors
    /// There is no such QEMU.
    pub fn signal_qemu(&self, domain: &str, signal: Signal) -> Result<()> {
        let file = self.path("run/libvirt/qemu").join(format!("{domain}.pid"));
        let pid: i32 =
            fs::read_to_string(&file).with_context(|| format!("{} has no QEMU", domain))?.trim().parse()?;
        kill(Pid::from_raw(pid), signal)?;
        Ok(())
    }
}

impl Drop for PrivateLibvirtd {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        // The shell has ended the daemon; here its zombie and the shell itself are collected.
        let _ = self.holder.wait();
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

fn is_installed(program: &str) -> bool {
    ["/usr/sbin", "/usr/bin", "/sbin", "/bin"]
        .iter()
        .any(|directory| Path::new(directory).join(program).exists())
}

fn write_files(root: &Path) -> Result<()> {
    for (name, _) in DIRECTORIES {
        fs::create_dir(root.join(name))?;
    }
    let uuid = uuid::Uuid::new_v4();
    let log = "log_outputs = \"2:file:/var/log/libvirt/libvirtd.log\"\n";
    fs::write(
        root.join("etc/libvirtd.conf"),
        format!("host_uuid = \"{uuid}\"\nauth_unix_rw = \"none\"\nunix_sock_group = \"root\"\n{log}"),
    )?;
    fs::write(root.join("etc/qemu.conf"), QEMU_SETTINGS)?;
    Ok(())
}

/// What runs in the namespaces: mounts, virtlogd, and the wait for the test's end. The lifeline is read from a second
/// descriptor, as a shell gives its background processes no input.
fn holder_script(root: &Path) -> String {
    let root = root.display();
    let mounts: String =
        DIRECTORIES.iter().map(|(name, place)| format!("mount --bind {root}/{name} {place}\n")).collect();
    format!(
        "set -e
mount --make-rprivate /
mkdir -p /run /etc/libvirt /var/lib/libvirt /var/cache/libvirt /var/log/libvirt
{mounts}
{GIVE_KVM_TO_ITS_GROUP}
ip link set lo up
virtlogd --daemon --pid-file {root}/virtlogd.pid
touch {root}/ready
set +e
cat > /dev/null
for file in {root}/libvirtd.pid {root}/run/libvirt/qemu/*.pid {root}/virtlockd.pid {root}/virtlogd.pid; do
  [ -s \"$file\" ] && kill -KILL \"$(cat \"$file\")\"
done 2> /dev/null
# Here too, as a test that was killed cannot.
rm -rf {root}
"
    )
}
