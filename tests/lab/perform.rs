//! Owns the doing of a plan's steps, and the running of commands in a lab's places.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::place::Place;
use super::plan::{Step, UPLINK};
use super::process::ProcessIdentity;
use super::record::Lab;
use crate::harness::waiting::poll_until;

/// The environment variable that marks a lab's processes. Their children inherit it; QEMU and dnsmasq, whose
/// environment libvirt clears, are known by their mounts.
pub(crate) const MARK_VARIABLE: &str = "REEVE_LAB";

/// The role of the process that keeps a place.
pub(crate) const ANCHOR: &str = "anchor";

/// Administrators' programs are not in every user's path.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How memory is got from the system is a daemon's own affair, as on a host: whoever measures may have set it for himself.
const ALLOCATOR_VARIABLE: &str = "GLIBC_TUNABLES";

/// Making namespaces takes milliseconds; this is for a machine that is very busy.
const ANCHOR_PATIENCE: Duration = Duration::from_secs(20);

impl Lab {
    /// Does the steps in order.
    pub(crate) fn perform(&self, steps: &[Step]) -> Result<()> {
        steps.iter().try_for_each(|step| self.perform_one(step))
    }

    fn perform_one(&self, step: &Step) -> Result<()> {
        match step {
            Step::Directory { path, mode, owner } => make_directory(path, *mode, *owner)
                .with_context(|| format!("cannot create {}", path.display())),
            Step::File { path, contents } => {
                fs::write(path, contents).with_context(|| format!("cannot write {}", path.display()))
            }
            Step::Link { path, target } => {
                symlink(target, path).with_context(|| format!("cannot create {}", path.display()))
            }
            Step::Copies { from, suffix, to } => copy_files(from, suffix, to)
                .with_context(|| format!("cannot copy {} to {}", from.display(), to.display())),
            Step::Extended { from, line, to } => extend(from, line, to)
                .with_context(|| format!("cannot copy {} to {}", from.display(), to.display())),
            Step::Anchor { place } => self.anchor(place),
            Step::Cable { port, place } => self.lay_cable(port, place),
            Step::Run { place, command } => self.run(place, command).map(drop),
        }
    }

    /// Starts the process that keeps a place and waits until the place is whole.
    fn anchor(&self, place: &Place) -> Result<()> {
        let process = self.launch(&place.making(), &self.log_path(place, ANCHOR))?;
        self.remember(place, ANCHOR, process)?;
        // Only when it has become `sleep` are its mounts its own: entering earlier could change the machine's.
        let command_line = PathBuf::from(format!("/proc/{}/cmdline", process.pid));
        poll_until(&format!("the namespaces of {place}"), ANCHOR_PATIENCE, || {
            if !process.is_alive() {
                bail!("cannot make namespaces: {}", self.last_words(place, ANCHOR));
            }
            Ok(fs::read(&command_line).is_ok_and(|line| line.starts_with(b"sleep\0")).then_some(()))
        })
    }

    fn lay_cable(&self, port: &str, place: &Place) -> Result<()> {
        let far_end = self.anchor_of(place)?.pid.to_string();
        let command =
            ["ip", "link", "add", port, "type", "veth", "peer", "name", UPLINK, "netns", far_end.as_str()];
        self.run(&Place::Switch, &command).map(drop)
    }

    /// The process that keeps a place.
    pub(crate) fn anchor_of(&self, place: &Place) -> Result<ProcessIdentity> {
        let Some(process) = self.process(place, ANCHOR) else {
            bail!("{place} is not up; `reeve-lab status` shows what is");
        };
        Ok(process)
    }

    /// A command that will run in a place, marked as the lab's.
    ///
    /// # Errors
    /// When the place is not up.
    pub fn command<S: AsRef<OsStr>>(&self, place: &Place, command: &[S]) -> Result<Command> {
        let entering = place.entering(self.anchor_of(place)?);
        let mut whole = self.marked(&entering);
        whole.args(command);
        Ok(whole)
    }

    /// Runs a command in a place to its end; gives what it wrote.
    ///
    /// # Errors
    /// When it cannot be run, or fails; the message has what it wrote to standard error.
    pub fn run<S: AsRef<OsStr>>(&self, place: &Place, command: &[S]) -> Result<String> {
        self.run_with_input(place, command, "")
    }

    /// As [`Lab::run`], with what the command reads from its standard input: little enough to fit a pipe.
    ///
    /// # Errors
    /// As for [`Lab::run`].
    pub fn run_with_input<S: AsRef<OsStr>>(
        &self,
        place: &Place,
        command: &[S],
        input: &str,
    ) -> Result<String> {
        let shown: Vec<_> = command.iter().map(|word| word.as_ref().to_string_lossy()).collect();
        let shown = shown.join(" ");
        let run = || -> Result<Output> {
            let mut child = self
                .command(place, command)?
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()?;
            if let Some(mut stdin) = child.stdin.take() {
                match stdin.write_all(input.as_bytes()) {
                    // It ended without reading: its status says why.
                    Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
                    other => other?,
                }
            }
            Ok(child.wait_with_output()?)
        };
        let output = run().with_context(|| format!("cannot run `{shown}` on {place}"))?;
        if !output.status.success() {
            let words = String::from_utf8_lossy(&output.stderr);
            bail!("`{shown}` failed on {place} ({}): {}", output.status, words.trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Starts a process that goes on by itself when this program ends, in a session of its own.
    pub(crate) fn launch(&self, command: &[String], log: &Path) -> Result<ProcessIdentity> {
        let shown = command.join(" ");
        let output = OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("cannot open {}", log.display()))?;
        let child = self
            .marked(&["setsid"])
            .args(command)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot start `{shown}`"))?;
        let pid = i32::try_from(child.id()).context("a process number beyond the kernel's")?;
        // Nobody waits for it yet, so it is still there, running or ended.
        ProcessIdentity::of(pid).with_context(|| format!("`{shown}` vanished when it was started"))
    }

    pub(crate) fn marked<S: AsRef<OsStr>>(&self, command: &[S]) -> Command {
        let mut words = command.iter();
        let mut marked = Command::new(words.next().map_or(OsStr::new("true"), AsRef::as_ref));
        marked
            .args(words)
            .env("PATH", PATH)
            .env("LC_ALL", "C.UTF-8")
            .env_remove(ALLOCATOR_VARIABLE)
            .env(MARK_VARIABLE, self.description().id.to_string());
        marked
    }

    /// Where the output of a process goes.
    pub(crate) fn log_path(&self, place: &Place, role: &str) -> PathBuf {
        self.description().log_directory().join(format!("{place}.{role}.log"))
    }

    /// The last line that a process wrote, for error messages.
    pub(crate) fn last_words(&self, place: &Place, role: &str) -> String {
        let text = fs::read(self.log_path(place, role)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing").to_owned()
    }
}

fn make_directory(path: &Path, mode: u32, owner: Option<u32>) -> Result<()> {
    fs::create_dir_all(path)?;
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    if owner.is_some() {
        chown(path, owner, owner)?;
    }
    Ok(())
}

fn extend(from: &Path, line: &str, to: &Path) -> Result<()> {
    let mut text = fs::read_to_string(from)?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(line);
    text.push('\n');
    Ok(fs::write(to, text)?)
}

fn copy_files(from: &Path, suffix: &str, to: &Path) -> Result<()> {
    if !from.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().ends_with(suffix) {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}
