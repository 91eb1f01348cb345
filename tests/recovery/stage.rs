//! A coordinator on a directory of its own that can be killed, and agents that go on without it.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use reeve_agent::agent::Agent;
use reeve_agent::configuration::{Configuration, HypervisorKind, Settings};
use reeve_agent::hypervisor::Hypervisor as _;
use reeve_agent::hypervisor::simulated::{GuestMode, GuestPace, SimulatedHypervisor, SimulationSettings};
use reeve_agent::identity::HostIdentity;
use reeve_agent::machine::ThisMachine;
use reeve_agent::state_directory::StateDirectory;
use reeve_common::clock::{Clock as _, SystemClock};
use reeve_common::ids::HostId;
use reeve_common::tls::{Credentials, Identity};
use reeve_coordinator::config::{self, CoordinatorConfig};
use reeve_coordinator::model::host::NewHost;
use reeve_coordinator::pki::Authority;
use reeve_coordinator::service::{Actor, Service, VmView};
use reeve_coordinator::store::SqliteStore;
use reeve_coordinator::{agents, initialise};
use reeve_tests::harness::waiting::poll_until;
use serde_json::json;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Nothing on the loopback takes this long; what does has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

pub(crate) fn actor() -> Actor {
    Actor { uid: 0, name: "root".to_owned() }
}

/// A coordinator's directory and configuration.
pub(crate) struct Place {
    pub(crate) directory: TempDir,
    port: u16,
}

impl Place {
    /// Initialised, with one realm and one profile.
    pub(crate) fn new() -> Self {
        let probe = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = probe.local_addr().unwrap().port();
        let place = Self { directory: tempfile::tempdir().unwrap(), port };
        initialise::initialise(&place.config(), SystemClock.now()).unwrap();
        place
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    pub(crate) fn config(&self) -> CoordinatorConfig {
        let file = self.path().join("coordinator.conf");
        let text = format!(
            "state-directory = \"{}/state\"\nagent-listen = \"{}\"\nrealms {{ lab {{ disabled = no, driver = libvirt, name = Lab\n drives.lazy-allocation = on }} }}\nhardware-profiles {{ p {{ cores = 8, memory = 16 GiB }} }}",
            self.path().display(),
            self.address()
        );
        std::fs::write(&file, text).unwrap();
        config::check(&file).unwrap_or_else(|errors| panic!("{errors}")).0
    }
}

/// A coordinator that serves agents.
pub(crate) struct Coordinator {
    pub(crate) service: Service,
    runtime: Option<Runtime>,
}

impl Coordinator {
    /// Takes up its work, or says why not.
    pub(crate) fn try_start(place: &Place) -> Result<Self, String> {
        let runtime = Runtime::new().unwrap();
        let config = place.config();
        let store = Arc::new(SqliteStore::open(&config.store_path()).map_err(|error| error.to_string())?);
        let authority = Arc::new(Authority::open(&config.pki_directory(), SystemClock.now()).unwrap());
        let credentials = authority.server_credentials(SystemClock.now()).unwrap();
        let keys = authority.lasting_keys();
        let service = runtime.block_on(async {
            let service = Service::open(config, store, Arc::new(SystemClock), authority)
                .await
                .map_err(|error| reeve_common::text::chain(&error))?;
            let endpoint =
                agents::listen(place.address(), &credentials, &keys, Arc::new(SystemClock)).unwrap();
            tokio::spawn(agents::serve(service.clone(), endpoint));
            tokio::spawn(service.clone().keep_placing());
            Ok::<_, String>(service)
        })?;
        Ok(Self { service, runtime: Some(runtime) })
    }

    pub(crate) fn start(place: &Place) -> Self {
        Self::try_start(place).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Dies, and has let go of its store and its port when this returns.
    pub(crate) fn kill(mut self, place: &Place) {
        self.runtime.take().unwrap().shutdown_timeout(Duration::from_secs(5));
        drop(self);
        poll_until("the port to be free", PATIENCE, || Ok(UdpSocket::bind(place.address()).ok())).unwrap();
    }

    pub(crate) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.as_ref().unwrap().block_on(work)
    }

    /// An image, a setup and a configuration, and hosts called `node-1` and so on.
    pub(crate) fn furnish(&self, hosts: u32) {
        let service = &self.service;
        self.block_on(async {
            for number in 1..=hosts {
                let new = NewHost {
                    name: format!("node-{number}").parse().unwrap(),
                    realm: "lab".parse().unwrap(),
                    uri: "qemu:///system".to_owned(),
                    profile: "p".parse().unwrap(),
                    state: "enabled".parse().unwrap(),
                    labels: std::collections::BTreeMap::new(),
                };
                service.add_host(new, &actor()).await.unwrap();
            }
            let image = json!({"name": "debian", "realm": "lab", "volume": "debian.qcow2", "format": "qcow2",
                "operating-system": "Debian", "created-at": 1});
            service.create_image(serde_json::from_value(image).unwrap(), &actor()).await.unwrap();
            let setup = json!({"name": "small", "realm": "lab", "image": "debian", "cores": 2, "memory": 2048,
                "devices": {}, "virt-type": null, "machine": "q35", "cpu-model": "default", "networks": null,
                "console": false, "vnc": false, "labels": {"tier": "front"}, "created-at": 1});
            service.create_setup(serde_json::from_value(setup).unwrap(), &actor()).await.unwrap();
            let configuration = json!({"name": "web", "title": "Web", "setup": "small", "owner": "ada",
                "team": "engines", "project": "difference", "drives": [], "created-at": 1});
            service
                .create_configuration(serde_json::from_value(configuration).unwrap(), &actor())
                .await
                .unwrap();
        });
    }

    pub(crate) fn wait_for_hosts(&self, count: usize) {
        poll_until("the hosts to be connected", PATIENCE, || {
            let all = self.service.hosts();
            let reported = all.iter().filter(|host| !host.pools.is_empty()).count();
            Ok((reported == count).then_some(()))
        })
        .unwrap();
    }

    /// Starts a VM and waits until it runs.
    pub(crate) fn start_vm(&self) -> VmView {
        let detail = self.block_on(self.service.start_vm(&"web".parse().unwrap(), &actor())).unwrap();
        let id = detail.view.vm.id;
        self.wait_for_state(&id.to_string(), "running")
    }

    pub(crate) fn wait_for_state(&self, id: &str, state: &str) -> VmView {
        poll_until(&format!("VM {id} to be {state}"), PATIENCE, || {
            let found = self.service.vms().into_iter().chain(self.service.past_vms());
            Ok(found.into_iter().find(|view| view.vm.id.to_string() == id && view.state.as_str() == state))
        })
        .unwrap()
    }
}

/// An agent, its host's hypervisor, and where it dials.
pub(crate) struct Host {
    pub(crate) hypervisor: Arc<SimulatedHypervisor>,
    _runtime: Runtime,
}

impl Host {
    pub(crate) fn run(place: &Place, number: u32) -> Self {
        let authority = Authority::open(&place.config().pki_directory(), SystemClock.now()).unwrap();
        let identity = Identity::Host { realm: "lab".parse().unwrap(), host: HostId(number) };
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&key).unwrap().pem().unwrap();
        let issued = authority.issue_host(&request, &identity, SystemClock.now()).unwrap();
        let credentials =
            Credentials::from_pem(&issued.pem, &key.serialize_pem(), authority.certificate_pem()).unwrap();
        let pace = GuestPace { boot: Duration::from_millis(50), shutdown: Duration::from_millis(50) };
        let settings =
            SimulationSettings { guests: GuestMode::Automatic(pace), ..SimulationSettings::default() };
        let hypervisor = Arc::new(SimulatedHypervisor::new(settings, Arc::new(SystemClock)).unwrap());
        hypervisor.run_by_itself().unwrap();
        let state_directory = place.path().join(format!("agent-{number}"));
        let state = Arc::new(StateDirectory::open(&state_directory).unwrap());
        let spoken = Settings {
            state_directory: Some(state_directory),
            hypervisor: Some(HypervisorKind::Simulated),
            ..Settings::default()
        };
        let agent = Agent {
            configuration: Configuration::load(spoken, None).unwrap(),
            identity: HostIdentity {
                realm: "lab".parse().unwrap(),
                host: HostId(number),
                name: format!("node-{number}").parse().unwrap(),
                coordinator: place.address().to_string(),
                credentials,
            },
            state,
            hypervisor: Arc::<SimulatedHypervisor>::clone(&hypervisor),
            machine: Box::new(ThisMachine),
            clock: Arc::new(SystemClock),
            seed: u64::from(number),
        };
        let runtime = Runtime::new().unwrap();
        runtime.spawn(agent.run(std::future::pending()));
        Self { hypervisor, _runtime: runtime }
    }

    /// Its domains by id and the moments at which they were started.
    pub(crate) fn domains(&self) -> Vec<(String, Option<u64>)> {
        let domains = self.hypervisor.domains().unwrap();
        domains
            .own
            .into_iter()
            .map(|domain| (domain.vm.to_string(), domain.ledger.started_at.map(|at| at.0)))
            .collect()
    }
}
