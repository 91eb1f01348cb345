//! Owns the keys at the root of the coordinator's file: where it listens, where it keeps its things, and how long it
//! waits.
//!
//! Must not: open sockets or directories; it only says which.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reeve_common::hardware_profile::HardwareProfile;
use reeve_common::ids::{CostFunctionName, DeviceClass, ProfileName, RealmName};
use reeve_common::units::format_duration;
use reeve_scheduler::CostFunction;

use super::cost_functions::{self, read_cost_functions};
use super::device_classes::{DeviceClassMembers, read_device_classes};
use super::profiles::read_profiles;
use super::realm::{Realm, read_realms};
use super::section::{Entry, Section};
use super::value::{absolute_path, duration, host_address, listen_address};

/// Where agents connect.
const AGENT_PORT: u16 = 7443;
/// Where hosts join.
const JOIN_PORT: u16 = 7444;
/// Where Prometheus reads metrics, on loopback.
const METRICS_PORT: u16 = 7445;
const STATE_DIRECTORY: &str = "/var/lib/reeve-coordinator";
const API_SOCKET: &str = "/run/reeve-coordinator/api.sock";
/// The kernel's limit on the path of a UNIX socket, without its end mark.
const SOCKET_PATH_LENGTH_MAX: usize = 107;
/// Long enough for a lost packet or two and a busy host, short enough for a person to wait.
const LOST_AFTER_DEFAULT: Duration = Duration::from_secs(10);
/// Two signs of life that come every other second may be late before nothing new is placed on a host.
const SUSPECT_AFTER_DEFAULT: Duration = Duration::from_secs(5);
/// Below this, ordinary pauses of a busy host count as its loss.
const LOST_AFTER_MIN: Duration = Duration::from_secs(2);
/// An hour of silence is a lost host whoever asks.
const LOST_AFTER_MAX: Duration = Duration::from_secs(60 * 60);
/// Recent enough to place by, rare enough to cost a fleet nothing.
const SAMPLE_INTERVAL_DEFAULT: Duration = Duration::from_secs(5);
/// More often than this measures mostly the measuring.
const SAMPLE_INTERVAL_MIN: Duration = Duration::from_millis(250);
/// What is older than this says nothing of a host's load.
const SAMPLE_INTERVAL_MAX: Duration = Duration::from_secs(60 * 60);
/// Measured values are believed for so long, and no shorter than [`SAMPLES_MISSED`] samples: load moves in seconds.
const MEASURED_AGE_DEFAULT: Duration = Duration::from_secs(30);
/// Of so many samples two may be late or lost before a host counts as not measured.
const SAMPLES_MISSED: u32 = 3;
/// What is older than this describes another day.
const MEASURED_AGE_MOST: Duration = Duration::from_secs(24 * 60 * 60);

/// The whole configuration, checked.
#[derive(Debug, Clone)]
pub struct CoordinatorConfig {
    /// Where agents connect (UDP, client certificate required).
    pub agent_listen: SocketAddr,
    /// Where hosts join (UDP, no client certificate yet).
    pub join_listen: SocketAddr,
    /// The host name or address, without a port, that join lines give to hosts.
    pub advertised_address: Option<String>,
    /// Where the store and the keys are.
    pub state_directory: PathBuf,
    /// The UNIX socket of the API.
    pub api_socket: PathBuf,
    /// Where Prometheus reads metrics (TCP, whoever reaches it); none when nobody may.
    pub metrics_listen: Option<SocketAddr>,
    /// How long an agent may be silent before nothing new is placed on its host; at most `lost_after`.
    pub suspect_after: Duration,
    /// How long an agent may be silent before its host counts as lost.
    pub lost_after: Duration,
    /// How often agents send samples.
    pub sample_interval: Duration,
    /// How long measured values are believed.
    pub measured_age_max: Duration,
    /// The realms.
    pub realms: BTreeMap<RealmName, Realm>,
    /// The cost functions, presets included.
    pub cost_functions: BTreeMap<CostFunctionName, Arc<CostFunction>>,
    /// The hardware profiles. Each names a cost function that is there.
    pub hardware_profiles: BTreeMap<ProfileName, HardwareProfile>,
    /// What belongs to which class of devices.
    pub device_classes: BTreeMap<DeviceClass, DeviceClassMembers>,
}

impl CoordinatorConfig {
    /// The store's file.
    #[must_use]
    pub fn store_path(&self) -> PathBuf {
        self.state_directory.join("store.sqlite")
    }

    /// Where the certificate authority's files are.
    #[must_use]
    pub fn pki_directory(&self) -> PathBuf {
        self.state_directory.join("pki")
    }

    /// `HOST:PORT` for an agent or a joining host, if an address to give away is configured; an IPv6 address stands in
    /// brackets.
    #[must_use]
    pub fn advertised(&self, port: u16) -> Option<String> {
        self.advertised_address.as_ref().map(|host| {
            if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
        })
    }
}

/// The whole configuration; `None` when a part of it is missing or bad, which was then reported.
pub(super) fn read_root(mut root: Section<'_>) -> Option<CoordinatorConfig> {
    let agent_listen = listen(&mut root, "agent-listen", AGENT_PORT);
    let join_entry = root.entry("join-listen");
    let join_listen = join_entry.as_ref().map_or(Some(any_address(JOIN_PORT)), listen_address);
    if let (Some(agents), Some(joining)) = (agent_listen, join_listen)
        && collide(agents, joining)
    {
        let message =
            format!("agent-listen ({agents}) and join-listen ({joining}) take the same port; give them two");
        match join_entry.or_else(|| root.entry("agent-listen")) {
            Some(entry) => entry.refuse(message),
            None => root.report(super::finding::Severity::Error, message),
        }
    }
    let advertised_address = root.optional("advertised-address", host_address);
    let state_directory = path(&mut root, "state-directory", STATE_DIRECTORY, absolute_path);
    let api_socket = path(&mut root, "api-socket", API_SOCKET, socket_path);
    let metrics_listen = read_metrics_listen(root.entry("metrics-listen"));
    let lost_after = root
        .optional("lost-after", |entry| duration(entry, LOST_AFTER_MIN, LOST_AFTER_MAX))
        .unwrap_or(LOST_AFTER_DEFAULT);
    let suspect_after = read_suspect_after(root.entry("suspect-after"), lost_after);
    let sample_interval = root
        .optional("sample-interval", |entry| duration(entry, SAMPLE_INTERVAL_MIN, SAMPLE_INTERVAL_MAX))
        .unwrap_or(SAMPLE_INTERVAL_DEFAULT);
    let measured_age_max = read_measured_age(root.entry("measured-age-max"), sample_interval);
    let functions = read_cost_functions(&root.section(cost_functions::SECTION));
    let hardware_profiles = read_profiles(&root.section("hardware-profiles"), &functions);
    let device_classes = read_device_classes(&root.section("device-classes"));
    let realms = read_realms(&root.section("realms"));
    // For what several places shall share by substitution: read by nobody, and whatever it likes to be.
    root.entry("shared");
    root.refuse_unknown();
    Some(CoordinatorConfig {
        agent_listen: agent_listen?,
        join_listen: join_listen?,
        advertised_address,
        state_directory: state_directory?,
        api_socket: api_socket?,
        metrics_listen: metrics_listen?,
        suspect_after: suspect_after?,
        lost_after,
        sample_interval,
        measured_age_max: measured_age_max?,
        realms,
        cost_functions: functions.compiled,
        hardware_profiles,
        device_classes,
    })
}

/// At least the interval at which values come; what is younger would be forgotten before its successor is there.
fn read_measured_age(entry: Option<Entry<'_>>, sample_interval: Duration) -> Option<Duration> {
    let Some(entry) = entry else {
        return Some(MEASURED_AGE_DEFAULT.max(sample_interval.saturating_mul(SAMPLES_MISSED)));
    };
    let age = duration(&entry, SAMPLE_INTERVAL_MIN, MEASURED_AGE_MOST)?;
    if age < sample_interval {
        let (age, interval) = (format_duration(age), format_duration(sample_interval));
        entry.refuse(format!(
            "{age} is shorter than sample-interval ({interval}), so that every sample would be forgotten before the next; write {interval} or more"
        ));
        return None;
    }
    Some(age)
}

/// A host is suspected before it is lost, or at the same moment.
fn read_suspect_after(entry: Option<Entry<'_>>, lost_after: Duration) -> Option<Duration> {
    let Some(entry) = entry else { return Some(SUSPECT_AFTER_DEFAULT.min(lost_after)) };
    let suspect_after = duration(&entry, LOST_AFTER_MIN, LOST_AFTER_MAX)?;
    if suspect_after > lost_after {
        let (suspect_after, lost_after) = (format_duration(suspect_after), format_duration(lost_after));
        entry.refuse(format!(
            "{suspect_after} is longer than lost-after ({lost_after}), so that a host would be lost before it is suspected; write {lost_after} or less"
        ));
        return None;
    }
    Some(suspect_after)
}

fn listen(root: &mut Section<'_>, key: &'static str, port: u16) -> Option<SocketAddr> {
    root.entry(key).map_or(Some(any_address(port)), |entry| listen_address(&entry))
}

/// On loopback unless something else is said; off when that is said.
fn read_metrics_listen(entry: Option<Entry<'_>>) -> Option<Option<SocketAddr>> {
    let Some(entry) = entry else {
        return Some(Some(SocketAddr::from((Ipv4Addr::LOCALHOST, METRICS_PORT))));
    };
    if matches!(entry.text("an address and a port, or off")?, "off" | "no" | "false") {
        return Some(None);
    }
    listen_address(&entry).map(Some)
}

fn any_address(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))
}

/// Two sockets of one protocol cannot share a port on one address, and an unspecified address is all of them. Port 0
/// is a new one each time.
fn collide(left: SocketAddr, right: SocketAddr) -> bool {
    let same_address = left.ip() == right.ip() || left.ip().is_unspecified() || right.ip().is_unspecified();
    left.port() == right.port() && left.port() != 0 && same_address
}

fn path(
    root: &mut Section<'_>,
    key: &'static str,
    default: &str,
    read: impl Fn(&Entry<'_>) -> Option<PathBuf>,
) -> Option<PathBuf> {
    root.entry(key).map_or_else(|| Some(PathBuf::from(default)), |entry| read(&entry))
}

fn socket_path(entry: &Entry<'_>) -> Option<PathBuf> {
    let path = absolute_path(entry)?;
    let length = path.as_os_str().len();
    if length > SOCKET_PATH_LENGTH_MAX {
        entry.refuse(format!(
            "a socket's path has at most {SOCKET_PATH_LENGTH_MAX} bytes, this one has {length}"
        ));
        return None;
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_collide_on_one_port_of_one_address() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert!(collide(address("0.0.0.0:1"), address("192.0.2.1:1")));
        assert!(collide(address("[::]:1"), address("192.0.2.1:1")));
        assert!(!collide(address("192.0.2.1:1"), address("192.0.2.2:1")));
        assert!(!collide(address("0.0.0.0:1"), address("0.0.0.0:2")));
        assert!(!collide(address("0.0.0.0:0"), address("0.0.0.0:0")));
    }
}
