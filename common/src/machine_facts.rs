//! Owns what a doctor asks of the machine that both daemons run on: whether its time is synchronised, the room on a file
//! system, and a program's answer within bounds.
//!
//! Must not: judge any of it.

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::clock::{Clock as _, SystemClock};

/// How long a program may take to answer. Those that are asked answer at once.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is looked whether it has.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// How much of an answer is read: less than a pipe holds, so that nobody has to wait for the reader.
const ANSWER_LENGTH_MAX: u64 = 32 << 10;

/// What a program wrote, if it ended well within [`PATIENCE`]; none when there is no such program, too.
#[must_use]
pub fn answer_of(program: &str, arguments: &[&str]) -> Option<String> {
    let mut child = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let until = SystemClock.monotonic() + PATIENCE;
    let ended = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if SystemClock.monotonic() < until => std::thread::sleep(LOOK_INTERVAL),
            Ok(None) | Err(_) => {
                // It is ours, and has had its time.
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
        }
    };
    let mut text = String::new();
    child.stdout.take()?.take(ANSWER_LENGTH_MAX).read_to_string(&mut text).ok()?;
    ended.success().then_some(text)
}

/// Whether the machine's clock is kept by something; none when nobody says.
#[must_use]
pub fn is_time_synchronised() -> Option<bool> {
    let answer = answer_of("timedatectl", &["show", "--property=NTPSynchronized", "--value"]);
    match answer.as_deref().map(str::trim) {
        Some("yes") => return Some(true),
        Some("no") => return Some(false),
        _ => {}
    }
    if Path::new("/run/systemd/timesync/synchronized").exists() {
        return Some(true);
    }
    let answer = answer_of("chronyc", &["-n", "tracking"])?;
    let status = answer.lines().find_map(|line| line.strip_prefix("Leap status"))?;
    Some(!status.contains("Not synchronised"))
}

/// What may still be written where `path` is, and all of the file system, in bytes.
#[must_use]
pub fn room(path: &Path) -> Option<(u64, u64)> {
    let system = nix::sys::statvfs::statvfs(path).ok()?;
    let unit = system.fragment_size();
    Some((system.blocks_available().saturating_mul(unit), system.blocks().saturating_mul(unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_answers_fails_is_missing_or_hangs() {
        assert_eq!(answer_of("echo", &["hello"]).as_deref(), Some("hello\n"));
        assert_eq!(answer_of("false", &[]), None);
        assert_eq!(answer_of("no-such-program-here", &[]), None);
        let begun = SystemClock.monotonic();
        assert_eq!(answer_of("sleep", &["60"]), None);
        assert!(begun.elapsed() < PATIENCE * 2);
    }

    #[test]
    fn a_file_system_has_room() {
        let (free, space) = room(Path::new("/")).unwrap();
        assert!(space > 0 && free <= space);
        assert_eq!(room(Path::new("/nowhere/at/all")), None);
    }
}
