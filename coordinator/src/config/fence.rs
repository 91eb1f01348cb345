//! Owns the sections of a realm about hosts that are lost: `fence`, how a host is switched off, and `self-fencing`, how
//! long a host may go on without hearing from the coordinator.
//!
//! ```text
//! fence {
//!   command = /usr/sbin/fence_ipmilan          # speaks the fence-agents convention
//!   timeout = 60 seconds                       # for each of its runs
//!   options { username = reeve, password { file = /etc/reeve/ipmi-password }, lanplus = 1 }
//!   hosts {
//!     node-1 { options { ip = 10.0.1.1 } }     # only hosts that are named here are fenced
//!     node-2 { options { ip = 10.0.1.2 }, timeout = 2 minutes }
//!   }
//! }
//! self-fencing { lease = 30 seconds }
//! ```
//!
//! A host without an entry of its own is never fenced: options that all hosts share would switch off another machine.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use reeve_common::ids::HostName;

use super::finding::Severity;
use super::section::{Entry, Section, all_or_none};
use super::value::{absolute_path, duration};

/// A management controller answers within seconds; switching off may take it half a minute.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);
/// No controller does anything in less.
const TIMEOUT_MIN: Duration = Duration::from_secs(1);
/// Whoever waits for longer waits for a person.
const TIMEOUT_MAX: Duration = Duration::from_secs(30 * 60);
/// Below this, a restart of the coordinator would stop VMs.
const LEASE_MIN: Duration = Duration::from_secs(10);
/// With longer ones nobody would wait for them to run out.
const LEASE_MAX: Duration = Duration::from_secs(60 * 60);
/// The longest value of an option.
const VALUE_LENGTH_MAX: usize = 1024;
/// The longest name of an option.
const OPTION_LENGTH_MAX: usize = 64;

/// How the hosts of a realm are fenced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FenceRules {
    hosts: BTreeMap<HostName, FenceMeans>,
}

/// How one host is fenced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FenceMeans {
    /// The fence agent's program.
    pub command: PathBuf,
    /// How long one run of it may take.
    pub timeout: Duration,
    /// What it is told besides the action.
    pub options: BTreeMap<String, OptionValue>,
}

/// The value of an option.
#[derive(Clone, PartialEq, Eq)]
pub enum OptionValue {
    /// As it stands in the configuration.
    Text(String),
    /// Read from a file each time.
    File(PathBuf),
}

impl fmt::Debug for OptionValue {
    /// A value may be a secret, wherever it stands.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => formatter.write_str("Text(…)"),
            Self::File(path) => formatter.debug_tuple("File").field(path).finish(),
        }
    }
}

impl FenceRules {
    /// Every host that can be fenced, and how.
    pub fn hosts(&self) -> impl Iterator<Item = (&HostName, &FenceMeans)> {
        self.hosts.iter()
    }

    /// How a host is fenced; none when the realm does not say.
    #[must_use]
    pub fn means(&self, host: &HostName) -> Option<&FenceMeans> {
        self.hosts.get(host)
    }
}

/// The `self-fencing` section: the lease, if there is one.
#[allow(clippy::option_option)] // bad, missing, and there are three things
pub(super) fn read_self_fencing(entry: Option<Entry<'_>>) -> Option<Option<Duration>> {
    let Some(entry) = entry else { return Some(None) };
    let mut section = entry.section()?;
    let lease = section.required("lease", "30 seconds", |entry| duration(entry, LEASE_MIN, LEASE_MAX));
    section.refuse_unknown();
    lease.map(Some)
}

/// The `fence` section, if there is one.
#[allow(clippy::option_option)]
pub(super) fn read_fence(entry: Option<Entry<'_>>) -> Option<Option<FenceRules>> {
    let Some(entry) = entry else { return Some(None) };
    let mut section = entry.section()?;
    let command = section.optional("command", absolute_path);
    let timeout = section.optional("timeout", timeout).unwrap_or(TIMEOUT_DEFAULT);
    let options = read_options(&section.section("options"));
    let hosts = section.section("hosts");
    section.refuse_unknown();
    let options = options?;
    let entries = hosts.entries();
    if entries.is_empty() {
        section.report(
            Severity::Warning,
            "no host can be fenced: each has an entry of its own, as in hosts { node-1 { options { ip = 10.0.1.1 } } }"
                .to_owned(),
        );
    }
    let read = |(key, entry): &(String, Entry<'_>)| {
        let name = match HostName::new(key.clone()) {
            Ok(name) => name,
            Err(error) => {
                entry.report_key(Severity::Error, error.to_string());
                return None;
            }
        };
        let mut own = entry.section()?;
        let own_command = own.optional("command", absolute_path).or_else(|| command.clone());
        let timeout = own.optional("timeout", self::timeout).unwrap_or(timeout);
        let own_options = read_options(&own.section("options"));
        own.refuse_unknown();
        let mut all = options.clone();
        all.extend(own_options?);
        let Some(command) = own_command else {
            entry.report_key(
                Severity::Error,
                "it says no command, and neither does the realm; write for example command = /usr/sbin/fence_ipmilan"
                    .to_owned(),
            );
            return None;
        };
        Some((name, FenceMeans { command, timeout, options: all }))
    };
    let hosts: Option<BTreeMap<HostName, FenceMeans>> = all_or_none(entries.iter().map(read));
    hosts.map(|hosts| Some(FenceRules { hosts }))
}

fn timeout(entry: &Entry<'_>) -> Option<Duration> {
    duration(entry, TIMEOUT_MIN, TIMEOUT_MAX)
}

fn read_options(section: &Section<'_>) -> Option<BTreeMap<String, OptionValue>> {
    all_or_none(
        section.entries().iter().map(|(name, entry)| Some((option(name, entry)?, option_value(entry)?))),
    )
}

/// Options are named as fence agents name them; what is done, and to whom, is ours to say.
fn option(name: &str, entry: &Entry<'_>) -> Option<String> {
    let allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-';
    let problem = if name == "action" || name == "nodename" {
        format!("{name} is said by the coordinator; leave it out")
    } else if name.is_empty() || name.len() > OPTION_LENGTH_MAX || !name.bytes().all(allowed) {
        "an option of a fence agent is named with lower-case letters, digits, _ and -".to_owned()
    } else {
        return Some(name.to_owned());
    };
    entry.report_key(Severity::Error, problem);
    None
}

fn option_value(entry: &Entry<'_>) -> Option<OptionValue> {
    if entry.is_section() {
        let mut section = entry.section()?;
        let file = section.required("file", "/etc/reeve/secret", absolute_path);
        section.refuse_unknown();
        return file.map(OptionValue::File);
    }
    let text = entry.text("a value, or { file = … },")?;
    if text.len() > VALUE_LENGTH_MAX || text.chars().any(char::is_control) {
        entry.refuse(format!("a value is one line of at most {VALUE_LENGTH_MAX} bytes"));
        return None;
    }
    Some(OptionValue::Text(text.to_owned()))
}
