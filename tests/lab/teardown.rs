//! Owns the taking down of a lab, whatever state it is in, and the proof that nothing of it is left.
//!
//! Killing the lab's processes is all it takes: its mounts, links, bridges, domains and packet filters live in its
//! namespaces, and the kernel removes those with their last process.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::Signal;

use super::description::Description;
use super::members::members;
use super::record::{Lab, Lock};
use crate::harness::waiting::poll_until;

/// How many looks in a row must find nobody: a process that is just becoming another program shows no environment, and so
/// no mark, for that moment.
const QUIET_LOOKS: u32 = 3;

/// A killed process is gone at once unless the kernel is writing for it.
const END_PATIENCE: Duration = Duration::from_secs(30);

impl Lab {
    /// Takes down the lab in `directory`, up, half up or broken. Returns whether there was anything.
    ///
    /// # Errors
    /// When something of the lab is left; the message says what.
    pub fn down(directory: &Path) -> Result<bool> {
        if !directory.exists() {
            return Ok(false);
        }
        let _lock = Lock::take(directory)?;
        let found = Self::find(directory)?;
        let Some(lab) = found else {
            remove_beginnings(directory)?;
            return Ok(true);
        };
        end_members(lab.description())?;
        remove_directory(&lab.description().socket_refuge())?;
        remove_directory(directory)?;
        let left = residue(lab.description());
        if !left.is_empty() {
            bail!("the lab is down, but this is left of it:\n{}", left.join("\n"));
        }
        Ok(true)
    }
}

/// Kills until nobody is left: a process may start another while its like are being looked for.
fn end_members(lab: &Description) -> Result<()> {
    let mut quiet_looks = 0;
    poll_until("the lab's processes to end", END_PATIENCE, || {
        let left = members(lab);
        for process in &left {
            process.signal(Signal::SIGKILL)?;
        }
        quiet_looks = if left.is_empty() { quiet_looks + 1 } else { 0 };
        Ok((quiet_looks >= QUIET_LOOKS).then_some(()))
    })
}

/// A lab that was interrupted before it was written down has made nothing but these.
fn remove_beginnings(directory: &Path) -> Result<()> {
    for name in ["lab.json.new", "lock"] {
        match fs::remove_file(directory.join(name)) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    fs::remove_dir(directory)
        .with_context(|| format!("{} is no lab's directory, and is left as it is", directory.display()))
}

fn remove_directory(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot remove {}", path.display())),
    }
}

/// What is left of a lab: nothing, after it has been taken down.
#[must_use]
pub fn residue(lab: &Description) -> Vec<String> {
    let processes = members(lab).into_iter().map(|process| {
        let line = fs::read(format!("/proc/{}/cmdline", process.pid)).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        format!("process {}: {line}", process.pid)
    });
    let beneath = |field: &str| Path::new(field).starts_with(&lab.directory);
    let mark = lab.mark();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mounts: Vec<String> = mounts
        .lines()
        .filter(|line| line.contains(&mark) || line.split(' ').any(beneath))
        .map(|line| format!("mount {line}"))
        .collect();
    let paths = [lab.directory.clone(), lab.socket_refuge()]
        .into_iter()
        .filter(|path| path.exists())
        .map(|path| format!("directory {}", path.display()));
    processes.chain(mounts).chain(paths).collect()
}
