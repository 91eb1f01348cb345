//! Owns the machine's watchdog: a device that resets the machine when it gets no sign for its time. Opening it arms it;
//! closing it disarms it only after the letter `V`, so an agent that is killed leaves it armed.
//!
//! Nothing but reading and writing is used: the time is what the kernel says of the device, or what the configuration
//! says where the kernel does not.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::OFlag;
use reeve_common::logging::messages;

/// Where the kernel tells of watchdogs.
const KERNEL_DIRECTORY: &str = "/sys/class/watchdog";
/// The device that stands for the first.
const FIRST_DEVICE: &str = "watchdog";
/// What it is called there.
const FIRST_NAME: &str = "watchdog0";
/// A sign of life; any byte but the one below.
const SIGN: &[u8] = b"\0";
/// What must be written last for closing to disarm it.
const MAGIC_CLOSE: &[u8] = b"V";

/// Why there is no watchdog.
#[derive(Debug, thiserror::Error)]
pub enum WatchdogError {
    /// It cannot be opened.
    #[error(
        "the watchdog {} cannot be opened: load a driver for it (softdog where there is no hardware), let the agent's user write it, and see that nobody else holds it", path.display()
    )]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Nobody says how long it waits.
    #[error(
        "the kernel does not say after which time the watchdog {} resets the machine: set watchdog-timeout in the agent's configuration", path.display()
    )]
    Timeout {
        /// Which.
        path: PathBuf,
    },
}

/// A watchdog that can be armed. The simulation has some of its own.
pub trait WatchdogDevice: fmt::Debug + Send + Sync + 'static {
    /// Arms it.
    ///
    /// # Errors
    /// [`WatchdogError`]; it is not armed then.
    fn arm(&self) -> Result<Box<dyn ArmedWatchdog>, WatchdogError>;

    /// Where it is, for messages.
    fn place(&self) -> String;
}

/// One that is armed. When it goes out of use it stays armed.
pub trait ArmedWatchdog: fmt::Debug + Send + 'static {
    /// After which time without a sign it resets the machine.
    fn timeout(&self) -> Duration;

    /// Gives a sign of life.
    ///
    /// # Errors
    /// The device's own; it may reset the machine soon.
    fn sign(&mut self) -> io::Result<()>;

    /// Disarms it.
    ///
    /// # Errors
    /// The device's own; it may still be armed.
    fn disarm(self: Box<Self>) -> io::Result<()>;
}

/// A watchdog by its device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchdogFile {
    /// The device.
    pub path: PathBuf,
    /// Its time, where the kernel does not tell it.
    pub timeout: Option<Duration>,
}

impl WatchdogDevice for WatchdogFile {
    fn arm(&self) -> Result<Box<dyn ArmedWatchdog>, WatchdogError> {
        Ok(Box::new(Watchdog::arm(&self.path, self.timeout)?))
    }

    fn place(&self) -> String {
        self.path.display().to_string()
    }
}

impl ArmedWatchdog for Watchdog {
    fn timeout(&self) -> Duration {
        self.timeout
    }

    fn sign(&mut self) -> io::Result<()> {
        self.file.write_all(SIGN)
    }

    // Drivers that were loaded with `nowayout` do not let themselves be disarmed.
    fn disarm(mut self: Box<Self>) -> io::Result<()> {
        self.file.write_all(MAGIC_CLOSE)
    }
}

/// A device that is armed.
#[derive(Debug)]
struct Watchdog {
    file: File,
    timeout: Duration,
}

impl Watchdog {
    /// Arms a watchdog. `configured` is its time where the kernel does not tell it.
    ///
    /// # Errors
    /// [`WatchdogError`]; it is not armed then.
    fn arm(path: &Path, configured: Option<Duration>) -> Result<Self, WatchdogError> {
        let timeout = kernel_timeout(path).or(configured);
        let timeout = timeout.ok_or_else(|| WatchdogError::Timeout { path: path.to_owned() })?;
        let failed = |source| WatchdogError::Open { path: path.to_owned(), source };
        let mut options = OpenOptions::new();
        // Not blocking: what has no driver behind it must not stop the agent.
        options.write(true).custom_flags(OFlag::O_NONBLOCK.bits());
        let file = options.open(path).map_err(failed)?;
        if !file.metadata().map_err(failed)?.file_type().is_char_device() {
            log::error!(MESSAGE_ID:% = messages::WATCHDOG_MISSING;
                "{} is no device: a watchdog that resets nothing protects nothing", path.display());
        }
        Ok(Self { file, timeout })
    }
}

fn kernel_timeout(path: &Path) -> Option<Duration> {
    let name = path.file_name()?.to_str()?;
    let name = if name == FIRST_DEVICE { FIRST_NAME } else { name };
    if path.parent() != Some(Path::new("/dev")) {
        return None;
    }
    let text = fs::read_to_string(Path::new(KERNEL_DIRECTORY).join(name).join("timeout")).ok()?;
    text.trim().parse().ok().filter(|seconds| *seconds > 0).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_gets_signs_and_is_disarmed_by_a_letter_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("watchdog");
        fs::write(&path, "").unwrap();
        let timeout = Duration::from_secs(10);
        let mut watchdog = Watchdog::arm(&path, Some(timeout)).unwrap();
        assert_eq!(watchdog.timeout(), timeout);
        watchdog.sign().unwrap();
        watchdog.sign().unwrap();
        drop(watchdog);
        assert_eq!(fs::read(&path).unwrap(), b"\0\0", "an agent that is killed leaves it armed");
        let watchdog = Watchdog::arm(&path, Some(timeout)).unwrap();
        Box::new(watchdog).disarm().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"V\0", "a plain file begins at its beginning");
    }

    #[test]
    fn what_cannot_be_trusted_is_not_armed() {
        let directory = tempfile::tempdir().unwrap();
        let missing = Watchdog::arm(&directory.path().join("none"), Some(Duration::from_secs(1)));
        assert!(matches!(missing, Err(WatchdogError::Open { .. })));
        let path = directory.path().join("watchdog");
        fs::write(&path, "").unwrap();
        assert!(matches!(Watchdog::arm(&path, None), Err(WatchdogError::Timeout { .. })));
    }

    #[test]
    fn a_pipe_that_nobody_reads_does_not_stop_the_agent() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pipe");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(Watchdog::arm(&path, Some(Duration::from_secs(1))).is_err());
    }
}
