//! Owns how a daemon tells the service manager how it is: systemd's notification protocol, datagrams on the socket that
//! `NOTIFY_SOCKET` names. Without that variable nobody is told, and everything else is the same.
//!
//! Must not: decide when a daemon is ready or alive, or start a thread that says so by itself: a watchdog that is fed
//! by a timer would be fed by a daemon that hangs.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::text::printable;

/// Names the socket.
pub const SOCKET_VARIABLE: &str = "NOTIFY_SOCKET";
/// Says after how many microseconds of silence a daemon is taken for dead.
pub const WATCHDOG_VARIABLE: &str = "WATCHDOG_USEC";
/// Says whose silence that is.
pub const WATCHDOG_PROCESS_VARIABLE: &str = "WATCHDOG_PID";
/// The longest text that is told as a status: one line of `systemctl status`.
const STATUS_LENGTH_MAX: usize = 200;
/// How much more often than needed a sign of life is given.
const SIGNS_PER_TIMEOUT: u32 = 3;

/// Whoever started this daemon and watches it. Clones are one.
#[derive(Debug, Clone, Default)]
pub struct ServiceManager {
    inner: Option<Arc<Inner>>,
}

#[derive(Debug)]
struct Inner {
    socket: UnixDatagram,
    address: SocketAddr,
    watchdog: Option<Duration>,
    /// What was last told as the status, so that it is told once.
    status: Mutex<String>,
}

impl ServiceManager {
    /// The one that the environment names; none, when a person has started this process.
    #[must_use]
    pub fn from_environment() -> Self {
        let Some(path) = std::env::var_os(SOCKET_VARIABLE) else { return Self::default() };
        let read = |name| std::env::var(name).ok();
        let watchdog = watchdog_timeout(
            read(WATCHDOG_VARIABLE).as_deref(),
            read(WATCHDOG_PROCESS_VARIABLE).as_deref(),
            std::process::id(),
        );
        Self::at(&path, watchdog).unwrap_or_else(|error| {
            log::warn!(
                "the service manager cannot be told anything: {SOCKET_VARIABLE} names no socket: {error}"
            );
            Self::default()
        })
    }

    /// The one that listens at `path`, where a leading `@` names an abstract socket.
    ///
    /// # Errors
    /// The path is none, or there is no socket to be had.
    pub fn at(path: &OsStr, watchdog: Option<Duration>) -> io::Result<Self> {
        let address = match path.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            _ => SocketAddr::from_pathname(path)?,
        };
        let socket = UnixDatagram::unbound()?;
        // Whoever does not read must not hold a daemon up.
        socket.set_nonblocking(true)?;
        let inner = Inner { socket, address, watchdog, status: Mutex::default() };
        Ok(Self { inner: Some(Arc::new(inner)) })
    }

    /// Whether anybody is told anything.
    #[must_use]
    pub const fn is_there(&self) -> bool {
        self.inner.is_some()
    }

    /// How often a sign of life is expected; none when nobody waits for one.
    #[must_use]
    pub fn sign_interval(&self) -> Option<Duration> {
        self.inner.as_ref()?.watchdog.map(|timeout| timeout / SIGNS_PER_TIMEOUT)
    }

    /// The daemon does its work from now on.
    pub fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={}", self.remembered(status)));
    }

    /// The daemon reads its configuration anew; [`Self::ready`] ends it. `monotonic` is the time now since the machine was
    /// started, so that the manager can tell this reload from an earlier one.
    pub fn reloading(&self, monotonic: Duration) {
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={}", monotonic.as_micros()));
    }

    /// The daemon ends.
    pub fn stopping(&self, status: &str) {
        self.tell(&format!("STOPPING=1\nSTATUS={}", self.remembered(status)));
    }

    /// How the daemon is, for `systemctl status`. The same again is not told.
    pub fn status(&self, status: &str) {
        let Some(inner) = &self.inner else { return };
        let line = line_of(status);
        if *inner.status.lock().unwrap_or_else(PoisonError::into_inner) != line {
            self.tell(&format!("STATUS={}", self.remembered(status)));
        }
    }

    /// A sign of life, from whoever would not give it if the daemon hung.
    pub fn alive(&self) {
        self.tell("WATCHDOG=1");
    }

    fn remembered(&self, status: &str) -> String {
        let line = line_of(status);
        if let Some(inner) = &self.inner {
            inner.status.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&line);
        }
        line
    }

    fn tell(&self, message: &str) {
        let Some(inner) = &self.inner else { return };
        if let Err(error) = inner.socket.send_to_addr(message.as_bytes(), &inner.address) {
            log::debug!("the service manager was not told {message:?}: {error}");
        }
    }
}

fn line_of(status: &str) -> String {
    printable(&status.replace('\n', " "), STATUS_LENGTH_MAX)
}

/// After how long a silence this process is taken for dead; none when it is another process that is watched.
fn watchdog_timeout(timeout: Option<&str>, process: Option<&str>, own: u32) -> Option<Duration> {
    if process.is_some_and(|process| process.parse() != Ok(own)) {
        return None;
    }
    let microseconds: u64 = timeout?.parse().ok()?;
    (microseconds > 0).then(|| Duration::from_micros(microseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 1024];
        let length = socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    #[test]
    fn the_manager_hears_what_the_protocol_says() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let listener = UnixDatagram::bind(&path).unwrap();
        let manager = ServiceManager::at(path.as_os_str(), Some(Duration::from_secs(30))).unwrap();
        manager.ready("keeps 3 VMs");
        assert_eq!(heard(&listener), "READY=1\nSTATUS=keeps 3 VMs");
        manager.status("keeps 3 VMs");
        manager.status("keeps 4 VMs\nREADY=0");
        assert_eq!(heard(&listener), "STATUS=keeps 4 VMs READY=0", "what is the same is not told again");
        manager.alive();
        assert_eq!(heard(&listener), "WATCHDOG=1");
        manager.reloading(Duration::from_millis(1500));
        assert_eq!(heard(&listener), "RELOADING=1\nMONOTONIC_USEC=1500000");
        manager.stopping("goes down");
        assert_eq!(heard(&listener), "STOPPING=1\nSTATUS=goes down");
        assert_eq!(manager.sign_interval(), Some(Duration::from_secs(10)));
    }

    #[test]
    fn an_abstract_socket_is_found() {
        let name = format!("reeve-test-{}", std::process::id());
        let listener = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        ServiceManager::at(OsStr::new(&format!("@{name}")), None).unwrap().alive();
        assert_eq!(heard(&listener), "WATCHDOG=1");
    }

    #[test]
    fn a_manager_that_is_away_or_none_disturbs_nobody() {
        let manager = ServiceManager::at(OsStr::new("/nowhere/notify"), None).unwrap();
        manager.ready("on");
        ServiceManager::default().ready("on");
        assert_eq!(ServiceManager::default().sign_interval(), None);
    }

    #[test]
    fn only_this_process_is_watched() {
        let second = Some(Duration::from_secs(1));
        assert_eq!(watchdog_timeout(Some("1000000"), None, 7), second);
        assert_eq!(watchdog_timeout(Some("1000000"), Some("7"), 7), second);
        for (timeout, process) in
            [(Some("1000000"), Some("8")), (Some("0"), None), (Some("x"), None), (None, Some("7"))]
        {
            assert_eq!(watchdog_timeout(timeout, process, 7), None, "{timeout:?} {process:?}");
        }
    }
}
