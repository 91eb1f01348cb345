//! Owns gathering what a doctor knows: the configuration, files and their owners, the store, ports, the kernel.
//!
//! Must not: judge, or change anything.

use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::Uid;
use reeve_common::clock::Clock;
use reeve_common::machine_facts::{is_time_synchronised, room};

use super::facts::{AuthorityFacts, DoctorFacts, FileFacts, Port, PortState, StoreFacts};
use crate::backup::verify;
use crate::config::{self, CoordinatorConfig};
use crate::pki::Authority;
use crate::service::agent_address;

/// Permissions of a file, without its kind.
const PERMISSIONS: u32 = 0o7777;

/// Looks at everything that the configuration in `path` speaks of. Reads all of the store.
#[must_use]
pub fn gather(path: &Path, clock: &dyn Clock) -> DoctorFacts {
    let (config, warnings) = match config::check(path) {
        Ok((config, warnings)) => (config, warnings.len()),
        Err(errors) => return without_configuration(path, errors.to_string(), clock),
    };
    let is_running = UnixStream::connect(&config.api_socket).is_ok();
    let state = &config.state_directory;
    let pki = config.pki_directory();
    let files =
        ["", "ca.key.pem", "ca.pem"].map(|name| if name.is_empty() { pki.clone() } else { pki.join(name) });
    DoctorFacts {
        configuration: Ok(warnings),
        is_running,
        advertised: agent_address(&config).ok(),
        state_directory: (state.clone(), file(state), room(state)),
        authority: authority(&pki, clock),
        authority_files: files.into_iter().map(|path| (path.clone(), file(&path))).collect(),
        store: store(&config),
        ports: ports(&config, is_running),
        ..without_configuration(path, String::new(), clock)
    }
}

fn without_configuration(path: &Path, why: String, clock: &dyn Clock) -> DoctorFacts {
    DoctorFacts {
        configuration: Err(why),
        configuration_file: path.to_owned(),
        uid: Uid::effective().as_raw(),
        is_running: false,
        advertised: None,
        state_directory: (PathBuf::new(), None, None),
        authority: AuthorityFacts::Missing,
        authority_files: Vec::new(),
        store: StoreFacts::Missing,
        ports: Vec::new(),
        files_max: getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft),
        now: clock.now(),
        synchronised: is_time_synchronised(),
    }
}

fn file(path: &Path) -> Option<FileFacts> {
    let metadata = fs::symlink_metadata(path).ok()?;
    Some(FileFacts { owner: metadata.uid(), mode: metadata.mode() & PERMISSIONS })
}

/// Whether this user may not look at a file that is there.
fn is_forbidden(path: &Path) -> bool {
    matches!(fs::File::open(path), Err(error) if error.kind() == ErrorKind::PermissionDenied)
}

fn authority(pki: &Path, clock: &dyn Clock) -> AuthorityFacts {
    let key = pki.join("ca.key.pem");
    if is_forbidden(pki) || is_forbidden(&key) {
        return AuthorityFacts::NotReadable;
    }
    if !pki.exists() {
        return AuthorityFacts::Missing;
    }
    let owner = file(&key).map(|facts| facts.owner);
    match Authority::open(pki, clock.now()) {
        Ok(authority) => AuthorityFacts::Good { ends: authority.not_after() },
        // It is its owner's alone, which root respects.
        Err(_) if owner.is_some_and(|owner| owner != Uid::effective().as_raw()) => {
            AuthorityFacts::NotReadable
        }
        Err(error) => AuthorityFacts::Unusable(crate::chain(&error)),
    }
}

fn store(config: &CoordinatorConfig) -> StoreFacts {
    let path = config.store_path();
    if is_forbidden(&path) || is_forbidden(&config.state_directory) {
        return StoreFacts::NotReadable;
    }
    if !path.exists() {
        return StoreFacts::Missing;
    }
    match verify(&path, config) {
        Ok(verdict) => StoreFacts::Read { records: verdict.facts.join(", "), problems: verdict.problems },
        Err(error) => StoreFacts::Damaged(crate::chain(&error)),
    }
}

fn ports(config: &CoordinatorConfig, is_running: bool) -> Vec<Port> {
    let udp = |address: SocketAddr| UdpSocket::bind(address).map(drop);
    let tcp = |address: SocketAddr| TcpListener::bind(address).map(drop);
    let mut ports = Vec::new();
    let mut look = |key, address: SocketAddr, tried: std::io::Result<()>| {
        let state = match tried {
            // One that is chosen anew each time cannot be held against what is served.
            Ok(()) if is_running && address.port() != 0 => PortState::NotServed,
            Ok(()) => PortState::Free,
            Err(error) if error.kind() == ErrorKind::AddrInUse && is_running => PortState::Ours,
            Err(error) if error.kind() == ErrorKind::AddrInUse => PortState::Taken,
            Err(error) => PortState::Impossible(error.to_string()),
        };
        ports.push(Port { key, address: address.to_string(), state });
    };
    look("agent-listen", config.agent_listen, udp(config.agent_listen));
    look("join-listen", config.join_listen, udp(config.join_listen));
    if let Some(address) = config.metrics_listen {
        look("metrics-listen", address, tcp(address));
    }
    ports
}

#[cfg(test)]
mod tests {
    use reeve_common::check::{Verdict, worst};
    use reeve_common::clock::SystemClock;

    use super::super::judge;
    use super::*;
    use crate::initialise::initialise;

    fn written(directory: &Path, agents: u16) -> PathBuf {
        let file = directory.join("coordinator.conf");
        let text = format!(
            "state-directory = {directory:?}\napi-socket = \"{}/api.sock\"\nadvertised-address = \"192.0.2.1\"\nagent-listen = \"127.0.0.1:{agents}\"\njoin-listen = \"127.0.0.1:0\"\nmetrics-listen = off\nrealms {{ r {{ disabled = no, driver = libvirt, name = R\n drives.lazy-allocation = on }} }}\nhardware-profiles {{ p {{ cores = 4, memory = 8 GiB }} }}",
            directory.display()
        );
        fs::write(&file, text).unwrap();
        file
    }

    fn verdict(facts: &DoctorFacts, about: &str) -> Verdict {
        judge(facts).into_iter().find(|check| check.about == about).unwrap().verdict
    }

    #[test]
    fn a_coordinator_is_looked_at_from_its_first_day_on() {
        let directory = tempfile::tempdir().unwrap();
        let path = written(directory.path(), 0);
        let before = gather(&path, &SystemClock);
        assert_eq!(
            (verdict(&before, "authority"), verdict(&before, "store")),
            (Verdict::Failure, Verdict::Failure)
        );
        let (config, _) = config::check(&path).unwrap_or_else(|errors| panic!("{errors}"));
        initialise(&config, SystemClock.now()).unwrap();
        let after = gather(&path, &SystemClock);
        let checks = judge(&after);
        assert_ne!(worst(&checks), Verdict::Failure, "{checks:?}");
        // The key for everybody: that is no coordinator any more.
        let key = config.pki_directory().join("ca.key.pem");
        fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        assert_eq!(verdict(&gather(&path, &SystemClock), "files"), Verdict::Failure);
    }

    #[test]
    fn a_port_that_somebody_has_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
        let path = written(directory.path(), taken.local_addr().unwrap().port());
        let facts = gather(&path, &SystemClock);
        assert_eq!(facts.ports[0].state, PortState::Taken);
        assert_eq!(facts.ports[1].state, PortState::Free);
        // A coordinator that runs has it.
        let _api = std::os::unix::net::UnixListener::bind(directory.path().join("api.sock")).unwrap();
        assert_eq!(gather(&path, &SystemClock).ports[0].state, PortState::Ours);
        drop(taken);
        assert_eq!(gather(&path, &SystemClock).ports[0].state, PortState::NotServed);
    }

    #[test]
    fn a_configuration_that_cannot_be_read_is_all_that_is_said() {
        let facts = gather(Path::new("/nowhere/coordinator.conf"), &SystemClock);
        let checks = judge(&facts);
        assert_eq!((checks.len(), checks[0].verdict), (1, Verdict::Failure));
    }
}
