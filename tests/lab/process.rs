//! Owns what a process is: its number together with the moment it started, since numbers are used again.

use std::fs;

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// A process that can be told from a later one with the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct ProcessIdentity {
    /// Its number.
    pub(crate) pid: i32,
    /// When it started, in clock ticks since the machine did.
    pub(crate) started: u64,
}

/// The part of `/proc/PID/stat` that says who and in what state it is.
#[derive(Debug, PartialEq, Eq)]
struct Status {
    state: char,
    started: u64,
}

impl Status {
    /// Whether a process with so many threads holds anything yet. One that has ended and was not waited for has one.
    const fn is_alive(&self, threads: usize) -> bool {
        !matches!(self.state, 'Z' | 'X') || threads > 1
    }
}

/// The fields behind the program's name, which may hold anything, even parentheses.
fn parse_status(text: &str) -> Option<Status> {
    let (_, behind) = text.rsplit_once(')')?;
    let mut fields = behind.split_whitespace();
    let state = fields.next()?.chars().next()?;
    // The start is field 22 of the line and the state field 3.
    let started = fields.nth(18)?.parse().ok()?;
    Some(Status { state, started })
}

impl ProcessIdentity {
    /// The process that has this number now; none if there is none.
    #[must_use]
    pub(crate) fn of(pid: i32) -> Option<Self> {
        let status = parse_status(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?;
        Some(Self { pid, started: status.started })
    }

    /// Whether it still runs. One that has ended and was not waited for counts as ended, and is waited for if it is
    /// our child. After a kill the first thread may be gone while another still waits for the disk: until that is gone,
    /// too, the process holds its sockets, and they take connections.
    #[must_use]
    pub(crate) fn is_alive(self) -> bool {
        // Fails for a process that is no child of ours, which is as well.
        let _ = waitpid(Pid::from_raw(self.pid), Some(WaitPidFlag::WNOHANG));
        let Ok(text) = fs::read_to_string(format!("/proc/{}/stat", self.pid)) else { return false };
        let threads = fs::read_dir(format!("/proc/{}/task", self.pid)).map_or(0, Iterator::count);
        parse_status(&text).is_some_and(|status| status.started == self.started && status.is_alive(threads))
    }

    /// Sends it a signal; none is sent if it has ended.
    ///
    /// # Errors
    /// When the signal may not be sent.
    pub(crate) fn signal(self, signal: Signal) -> Result<()> {
        if !self.is_alive() {
            return Ok(());
        }
        match kill(Pid::from_raw(self.pid), signal) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("cannot send {signal} to process {}", self.pid)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_hostile_program_name_does_not_move_the_fields() {
        let text = "12 (a) Z 9 (b)) S 1 12 12 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4711 0 0";
        assert_eq!(parse_status(text), Some(Status { state: 'S', started: 4711 }));
        assert_eq!(parse_status("12 (a"), None);
        assert_eq!(parse_status(""), None);
    }

    #[test]
    fn a_process_lives_until_its_last_thread_is_gone() {
        let status = |state| Status { state, started: 1 };
        assert!(status('S').is_alive(1) && status('Z').is_alive(2));
        assert!(!status('Z').is_alive(1) && !status('Z').is_alive(0) && !status('X').is_alive(1));
    }

    #[test]
    fn a_process_is_known_until_it_ends_and_a_later_one_is_another() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let identity = ProcessIdentity::of(pid).unwrap();
        assert!(identity.is_alive());
        assert!(!ProcessIdentity { pid, started: identity.started + 1 }.is_alive());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!identity.is_alive());
        identity.signal(Signal::SIGKILL).unwrap();
    }
}
