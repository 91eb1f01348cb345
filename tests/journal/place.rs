//! Owns a place with a journal of its own: mounts that only this thread and what it starts can see, and a journald in
//! them. It ends with this value; the mounts end with the thread.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reeve_tests::harness::waiting::poll_until;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(30);
const JOURNALD: &str = "/lib/systemd/systemd-journald";
const SOCKET: &str = "/run/systemd/journal/socket";

/// What a machine's journal lies in.
const OWN_DIRECTORIES: [&str; 4] = ["/run/systemd", "/run/log", "/var/log/journal", "/var/lib/systemd"];

pub(crate) struct Place {
    journald: Child,
}

impl Place {
    /// Takes this thread into a place of its own and starts a journald there.
    pub(crate) fn enter() -> Self {
        unshare(CloneFlags::CLONE_NEWNS).expect("making mounts of one's own: run as root");
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
        for directory in OWN_DIRECTORIES {
            // On the machine itself an empty directory stays where there was none; nothing else of this does.
            fs::create_dir_all(directory).unwrap();
            cover(directory);
        }
        fs::create_dir_all("/run/systemd/journal").unwrap();
        let journald = Command::new(JOURNALD)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("journald is part of the package systemd");
        let place = Self { journald };
        poll_until("journald to listen", PATIENCE, || Ok(Path::new(SOCKET).exists().then_some(()))).unwrap();
        place
    }

    /// Sends journald a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.journald.id()).unwrap()), signal).unwrap();
    }

    /// What `journalctl` says to this, entry by entry.
    #[allow(clippy::unused_self)] // it can only be asked in the place
    pub(crate) fn entries(&self, arguments: &[&str]) -> Vec<Value> {
        let output = journalctl(&[&["-o", "json", "--no-pager"], arguments].concat());
        output.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = self.journald.kill();
        let _ = self.journald.wait();
    }
}

/// Covers a directory with an empty one that only this place sees.
pub(crate) fn cover(directory: &str) {
    mount(Some("reeve-test"), directory, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
}

/// What `journalctl` prints; it must succeed.
pub(crate) fn journalctl(arguments: &[&str]) -> String {
    let output =
        Command::new("journalctl").args(arguments).env("LC_ALL", "C").stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "journalctl {arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// Does `work` in a thread of its own, so that what it covers is covered for nobody else.
pub(crate) fn apart(work: impl FnOnce() + Send + 'static) {
    if let Err(panic) = std::thread::spawn(work).join() {
        std::panic::resume_unwind(panic);
    }
}
