//! Owns where the agent's few settings come from: the command line, else the configuration file, else defaults.
//!
//! The file (`/etc/reeve/agent.conf`) holds lines `key = value`, with `#` comments and values in quotes or not: the
//! part of HOCON that eight keys need. What is wrong in it is named with file, line and key.
//!
//! Must not: touch the hypervisor or the network.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use reeve_common::text::printable;
use reeve_common::tls::check_address;
use reeve_common::units::parse_duration;

use crate::hypervisor::libvirt::KvmTrust;

/// Where the file is unless the command line says otherwise.
pub const CONFIGURATION_FILE: &str = "/etc/reeve/agent.conf";

/// Where the state is unless somebody says otherwise.
pub const STATE_DIRECTORY: &str = "/var/lib/reeve-agent";

/// The libvirt used unless somebody says otherwise.
pub const LIBVIRT_URI: &str = "qemu:///system";

/// Eight keys and their comments; what is larger is another file.
const FILE_LENGTH_MAX: u64 = 64 << 10;

/// The keys of the file.
const KEYS: &str = "state-directory, hypervisor, libvirt-uri, kvm, coordinator, log-level, watchdog-device, watchdog-timeout";

/// The longest time of a watchdog that makes sense: drivers go to some minutes.
const WATCHDOG_TIMEOUT_MAX: Duration = Duration::from_secs(60 * 60);

/// Which hypervisor is used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HypervisorKind {
    /// libvirt's.
    #[default]
    Libvirt,
    /// A pretence of one, in the state directory.
    Simulated,
}

impl FromStr for HypervisorKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "libvirt" => Ok(Self::Libvirt),
            "simulated" => Ok(Self::Simulated),
            other => {
                Err(format!("{:?} is no hypervisor; allowed are libvirt and simulated", printable(other, 80)))
            }
        }
    }
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLevel(pub log::LevelFilter);

impl FromStr for LogLevel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "error" => Ok(Self(log::LevelFilter::Error)),
            "warn" => Ok(Self(log::LevelFilter::Warn)),
            "info" => Ok(Self(log::LevelFilter::Info)),
            "debug" => Ok(Self(log::LevelFilter::Debug)),
            "trace" => Ok(Self(log::LevelFilter::Trace)),
            other => {
                let text = printable(other, 80);
                Err(format!("{text:?} is no level; allowed are error, warn, info, debug and trace"))
            }
        }
    }
}

/// What was said in one place; what was not is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Where the agent keeps what it must remember.
    pub state_directory: Option<PathBuf>,
    /// Which hypervisor.
    pub hypervisor: Option<HypervisorKind>,
    /// Which libvirt.
    pub libvirt_uri: Option<String>,
    /// When `virt-type = auto` means KVM.
    pub kvm: Option<KvmTrust>,
    /// Where the coordinator is, instead of where it was when the host joined.
    pub coordinator: Option<String>,
    /// How much is logged.
    pub log_level: Option<LogLevel>,
    /// The watchdog that stands behind this host's lease.
    pub watchdog_device: Option<PathBuf>,
    /// After which time it resets the machine, where the kernel does not say.
    pub watchdog_timeout: Option<Duration>,
}

/// The settings in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configuration {
    /// Where the agent keeps what it must remember.
    pub state_directory: PathBuf,
    /// Which hypervisor.
    pub hypervisor: HypervisorKind,
    /// Which libvirt.
    pub libvirt_uri: String,
    /// When `virt-type = auto` means KVM.
    pub kvm: KvmTrust,
    /// Where the coordinator is, if not where it was when the host joined.
    pub coordinator: Option<String>,
    /// How much is logged, if anybody said.
    pub log_level: Option<LogLevel>,
    /// The watchdog that stands behind this host's lease; none when there is none.
    pub watchdog_device: Option<PathBuf>,
    /// After which time it resets the machine, where the kernel does not say.
    pub watchdog_timeout: Option<Duration>,
}

/// What is wrong with the configuration file.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// It cannot be read.
    #[error("the configuration file {} cannot be read", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It is larger than any such file.
    #[error("{} is larger than {FILE_LENGTH_MAX} bytes: it is not an agent's configuration file", path.display())]
    TooLarge {
        /// Which.
        path: PathBuf,
    },
    /// One of its lines is wrong.
    #[error("{}:{line}: {why}", path.display())]
    Line {
        /// Which file.
        path: PathBuf,
        /// Which line, counted from 1.
        line: usize,
        /// What is wrong, and what is allowed.
        why: String,
    },
}

impl Configuration {
    /// What the command line says, else the file, else the defaults. A file that was not named may be missing.
    ///
    /// # Errors
    /// [`ConfigurationError`] names file, line and key.
    pub fn load(spoken: Settings, file: Option<&Path>) -> Result<Self, ConfigurationError> {
        let written = match file {
            Some(path) => read(path)?,
            None => match read(Path::new(CONFIGURATION_FILE)) {
                Err(ConfigurationError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                    Settings::default()
                }
                other => other?,
            },
        };
        Ok(Self {
            state_directory: spoken
                .state_directory
                .or(written.state_directory)
                .unwrap_or_else(|| STATE_DIRECTORY.into()),
            hypervisor: spoken.hypervisor.or(written.hypervisor).unwrap_or_default(),
            libvirt_uri: spoken.libvirt_uri.or(written.libvirt_uri).unwrap_or_else(|| LIBVIRT_URI.to_owned()),
            kvm: spoken.kvm.or(written.kvm).unwrap_or_default(),
            coordinator: spoken.coordinator.or(written.coordinator),
            log_level: spoken.log_level.or(written.log_level),
            watchdog_device: spoken.watchdog_device.or(written.watchdog_device),
            watchdog_timeout: spoken.watchdog_timeout.or(written.watchdog_timeout),
        })
    }
}

fn read(path: &Path) -> Result<Settings, ConfigurationError> {
    let failed = |source| ConfigurationError::Io { path: path.to_owned(), source };
    let mut text = String::new();
    let length = File::open(path)
        .and_then(|file| file.take(FILE_LENGTH_MAX + 1).read_to_string(&mut text))
        .map_err(failed)?;
    if u64::try_from(length).unwrap_or(u64::MAX) > FILE_LENGTH_MAX {
        return Err(ConfigurationError::TooLarge { path: path.to_owned() });
    }
    parse(&text).map_err(|(line, why)| ConfigurationError::Line { path: path.to_owned(), line, why })
}

fn parse(text: &str) -> Result<Settings, (usize, String)> {
    let mut settings = Settings::default();
    for (index, line) in text.lines().enumerate() {
        take_line(&mut settings, line).map_err(|why| (index + 1, why))?;
    }
    Ok(settings)
}

fn take_line(settings: &mut Settings, line: &str) -> Result<(), String> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') || line.starts_with("//") {
        return Ok(());
    }
    let Some((key, rest)) = line.split_once(['=', ':']) else {
        return Err(format!("a line is `key = value`; allowed keys are {KEYS}"));
    };
    let key = key.trim();
    let value = value_of(key, rest.trim())?;
    let wrong = |why: String| format!("{key}: {why}");
    match key {
        "state-directory" => once(&mut settings.state_directory, key, value.into()),
        "hypervisor" => once(&mut settings.hypervisor, key, value.parse().map_err(wrong)?),
        "libvirt-uri" => once(&mut settings.libvirt_uri, key, value),
        "kvm" => once(&mut settings.kvm, key, value.parse().map_err(wrong)?),
        "coordinator" => once(&mut settings.coordinator, key, checked_address(&value).map_err(wrong)?),
        "log-level" => once(&mut settings.log_level, key, value.parse().map_err(wrong)?),
        "watchdog-device" => once(&mut settings.watchdog_device, key, value.into()),
        "watchdog-timeout" => {
            once(&mut settings.watchdog_timeout, key, checked_watchdog_timeout(&value).map_err(wrong)?)
        }
        other => Err(format!("{:?} is no key of this file; allowed keys are {KEYS}", printable(other, 80))),
    }
}

fn once<T>(slot: &mut Option<T>, key: &str, value: T) -> Result<(), String> {
    if slot.replace(value).is_some() {
        return Err(format!("{key} is set a second time; once is enough"));
    }
    Ok(())
}

/// A value with or without quotes, and without a comment behind it.
fn value_of(key: &str, text: &str) -> Result<String, String> {
    if let Some(quoted) = text.strip_prefix('"') {
        let Some((value, behind)) = quoted.split_once('"') else {
            return Err(format!("{key}: the closing quote is missing"));
        };
        let behind = behind.trim();
        if value.contains('\\') || !(behind.is_empty() || behind.starts_with('#')) {
            return Err(format!("{key}: write one value in quotes, without backslashes"));
        }
        return not_empty(key, value);
    }
    let value = text.split(" #").next().unwrap_or(text).trim();
    if value.contains(['"', '{', '}', '[', ']', '$']) {
        return Err(format!("{key}: write the value in quotes"));
    }
    not_empty(key, value)
}

fn not_empty(key: &str, value: &str) -> Result<String, String> {
    if value.is_empty() { Err(format!("{key}: a value is missing")) } else { Ok(value.to_owned()) }
}

/// `HOST:PORT`, with a name or an address.
///
/// # Errors
/// What is wrong, and a good one.
pub fn checked_address(text: &str) -> Result<String, String> {
    match check_address(text) {
        Ok(()) => Ok(text.to_owned()),
        Err(_) => Err(format!(
            "{:?} is no address; write HOST:PORT, for example coordinator.example:7443 or [2001:db8::1]:7443",
            printable(text, 80)
        )),
    }
}

/// A watchdog's time, in whole seconds as drivers count.
///
/// # Errors
/// What is wrong, and a good one.
pub fn checked_watchdog_timeout(text: &str) -> Result<Duration, String> {
    let duration = parse_duration(text).map_err(|error| error.to_string())?;
    if duration < Duration::from_secs(1) || duration > WATCHDOG_TIMEOUT_MAX {
        return Err(format!(
            "{:?} is out of range; write for example \"30 seconds\", an hour at most",
            printable(text, 80)
        ));
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_goes_before_the_file_and_the_file_before_the_defaults() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.conf");
        let text = "# an agent\nhypervisor = simulated\nlibvirt-uri = \"qemu:///session\" # mine\n\nlog-level: debug\n";
        std::fs::write(&path, text).unwrap();
        let spoken = Settings { libvirt_uri: Some("test:///default".to_owned()), ..Settings::default() };
        let configuration = Configuration::load(spoken, Some(&path)).unwrap();
        assert_eq!(configuration.libvirt_uri, "test:///default");
        assert_eq!(configuration.hypervisor, HypervisorKind::Simulated);
        assert_eq!(configuration.state_directory, Path::new(STATE_DIRECTORY));
        assert_eq!(configuration.log_level, Some(LogLevel(log::LevelFilter::Debug)));
    }

    #[test]
    fn mistakes_are_named_with_their_line_and_what_is_allowed() {
        for (text, line, expected) in [
            ("hypervisor = xen", 1, "allowed are libvirt and simulated"),
            ("\n# x\ncolour = red", 3, "allowed keys are state-directory"),
            ("state-directory", 1, "key = value"),
            ("libvirt-uri =", 1, "a value is missing"),
            ("libvirt-uri = \"a", 1, "closing quote"),
            ("coordinator = somewhere", 1, "is no address"),
            ("coordinator = \"a b:1\"", 1, "is no address"),
            ("coordinator = \"2001:db8::1:7443\"", 1, "is no address"),
            ("coordinator = \"a:0\"", 1, "HOST:PORT"),
            ("log-level = loud", 1, "error, warn, info"),
            ("watchdog-timeout = 30", 1, "watchdog-timeout"),
            ("watchdog-timeout = 0 s", 1, "out of range"),
            ("hypervisor = libvirt\nhypervisor = libvirt", 2, "second time"),
        ] {
            let (found, why) = parse(text).unwrap_err();
            assert!(found == line && why.contains(expected), "{text:?}: {found}: {why}");
        }
    }

    #[test]
    fn a_named_file_must_be_there() {
        let error =
            Configuration::load(Settings::default(), Some(Path::new("/nowhere/agent.conf"))).unwrap_err();
        assert!(error.to_string().contains("/nowhere/agent.conf"), "{error}");
    }

    #[test]
    fn addresses_may_be_names_and_both_kinds_of_numbers() {
        for good in ["coordinator:7443", "10.0.0.1:7443", "[2001:db8::1]:7443", "a-b.example:1"] {
            assert!(checked_address(good).is_ok(), "{good}");
        }
    }
}
