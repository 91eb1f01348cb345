//! A real coordinator in this process: configuration from a file, store in memory, API on a socket of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reeve_common::clock::{Clock, SystemClock};
use reeve_coordinator::api::{self, ServeError};
use reeve_coordinator::config::{self, CoordinatorConfig};
use reeve_coordinator::pki::Authority;
use reeve_coordinator::service::Service;
use reeve_coordinator::store::MemoryStore;
use tempfile::TempDir;
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::typed::{Answer, reeve, reeve_with_input};

const CONFIGURATION: &str = r#"
state-directory = "STATE"
api-socket = "STATE/api.sock"
advertised-address = "192.0.2.1"
realms {
  primary {
    disabled = false
    driver = libvirt
    name = "Primary Libvirt Realm"
    drives { lazy-allocation = on, max-size = 500 GiB }
  }
  other {
    disabled = false
    driver = libvirt
    name = "Another"
    drives.lazy-allocation = on
  }
}
hardware-profiles {
  r750 { cores = 64, memory = 500 GiB, devices { nvidia-a100 = 4 }, cost-function = balanced }
}
"#;

pub(crate) struct Coordinator {
    pub(crate) socket: PathBuf,
    pub(crate) service: Service,
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<(), ServeError>>,
    directory: TempDir,
}

impl Coordinator {
    /// Starts one and waits until it answers.
    pub(crate) async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = read(directory.path(), CONFIGURATION);
        let socket = config.api_socket.clone();
        let authority = Authority::create(&config.pki_directory(), SystemClock.now()).unwrap();
        let service =
            Service::open(config, Arc::new(MemoryStore::new()), Arc::new(SystemClock), Arc::new(authority))
                .await
                .unwrap();
        let (stop, stopping) = watch::channel(false);
        let task = tokio::spawn(api::serve(service.clone(), socket.clone(), stopping));
        wait_for_socket(&socket).await;
        Self { socket, service, stop, task, directory }
    }

    /// Reads the configuration anew as on SIGHUP, with `section` added to realm `primary`.
    pub(crate) fn reload(&self, section: &str) {
        let place = "disabled = false\n    driver = libvirt\n    name = \"Primary";
        let changed = CONFIGURATION.replacen(place, &format!("{section}\n    {place}"), 1);
        self.service.reconfigure(read(self.directory.path(), &changed));
    }

    /// The same with more sections at the end.
    pub(crate) fn reload_with(&self, sections: &str) {
        let changed = format!("{CONFIGURATION}\n{sections}");
        self.service.reconfigure(read(self.directory.path(), &changed));
    }

    /// Types a command.
    pub(crate) async fn reeve(&self, line: &str) -> Answer {
        reeve(&self.socket, line).await
    }

    /// Types a command with something on its standard input.
    pub(crate) async fn reeve_with_input(&self, line: &str, input: &str) -> Answer {
        reeve_with_input(&self.socket, line, input).await
    }

    /// With a host that has never joined, an image, two setups and a configuration.
    pub(crate) async fn with_a_catalogue(self) -> Self {
        self.reeve("host add node-1 --realm primary --profile r750 --label rack=r3").await.ended(0);
        self.reeve_with_input(
            "image create -f -",
            "name = debian, realm = primary, volume = debian.qcow2, operating-system = \"Debian 12\"",
        )
        .await
        .ended(0);
        self.reeve_with_input(
            "setup create -f -",
            "[{ name = small, realm = primary, image = debian, cores = 2, memory = 2 GiB }\n{ name = huge, realm = primary, image = debian, cores = 64, memory = 9 TiB }]",
        )
        .await
        .ended(0);
        self.reeve_with_input(
            "config create -f -",
            "name = web-1, setup = small, owner = ann, team = physics",
        )
        .await
        .ended(0);
        self
    }

    /// Stops serving, as on SIGTERM.
    pub(crate) async fn stop(self) -> Result<(), ServeError> {
        self.stop.send_replace(true);
        self.task.await.unwrap()
    }
}

/// Writes a configuration to its file and reads it from there.
fn read(directory: &Path, text: &str) -> CoordinatorConfig {
    let file = directory.join("coordinator.conf");
    fs::write(&file, text.replace("STATE", directory.to_str().unwrap())).unwrap();
    let (config, _) = config::check(&file).unwrap_or_else(|errors| panic!("{errors}"));
    config
}

/// Waits until somebody listens at `socket`.
pub(crate) async fn wait_for_socket(socket: &Path) {
    let listening = async {
        while UnixStream::connect(socket).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), listening).await.expect("nobody listens");
}
