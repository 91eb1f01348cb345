//! Owns the figures of a coordinator whose records are on a disk: how many placements a second are durable before they
//! are acknowledged, and how soon a coordinator that was killed places again.
//!
//! The agents are ends of real connections that take every wish and make nothing of it, so that the two processors are the
//! coordinator's.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use reeve_common::clock::{Clock as _, SystemClock};
use reeve_common::ids::{Epoch, HostId, OperationId};
use reeve_common::inventory::HostInventory;
use reeve_common::protocol::{CommandBody, Event, Hello, HostReport, Reply, ReplyBody};
use reeve_common::quic::{client_endpoint, shared_client_endpoint};
use reeve_common::storage::{LockManager, PoolReport, PoolState};
use reeve_common::tls::{Credentials, Identity};
use reeve_common::units::{Bytes, Mebibytes};
use reeve_common::vm::{DesiredVm, ObservedVm, VmObservation};
use reeve_common::wire::agent_end::AgentEnd;
use reeve_coordinator::config::{self, CoordinatorConfig};
use reeve_coordinator::model::host::NewHost;
use reeve_coordinator::pki::Authority;
use reeve_coordinator::service::{Actor, Service};
use reeve_coordinator::store::SqliteStore;
use reeve_coordinator::{agents, initialise};
use reeve_tests::lab::Workspace;
use serde_json::json;
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::figures;

/// Hosts and VMs of both figures, as the restart's goal is set.
const HOSTS: u32 = 1_000;
const VMS: usize = 20_000;
/// Starts at the same time: as many as a busy coordinator's API has under way.
const AT_ONCE: usize = 512;
/// Placed before the measuring begins.
const WARM_UP: usize = 1_000;
/// How often the restart is measured; the middle one counts.
const RESTARTS: usize = 5;
/// How long an agent of the fleet waits for its welcome: they all dial at once, and wait in the coordinator's line. Whoever
/// gives up and dials anew makes the line longer, for itself and for everybody else.
const DIAL_PATIENCE: Duration = Duration::from_secs(30);
/// The same of one that dials a coordinator that is not there yet: that one does not refuse, and a short attempt finds it
/// soon after it is.
const SOON: Duration = Duration::from_millis(50);
/// Nothing here takes this long.
const PATIENCE: Duration = Duration::from_secs(120);

/// Measures what is wanted; the restart needs the store that the placements make.
pub(crate) fn measure(place: bool, restart: bool) -> Result<()> {
    let stage = Stage::new()?;
    let rate = stage.place()?;
    if place {
        figures::print("durable-place", rate, "1/s");
    }
    if restart {
        let mut seconds = Vec::new();
        for _ in 0..RESTARTS {
            seconds.push(stage.restart()?);
        }
        figures::print("restart", figures::median(seconds), "s");
    }
    Ok(())
}

struct Stage {
    directory: TempDir,
    address: SocketAddr,
}

impl Stage {
    /// On the disk of the build directory: temporary directories may be in memory.
    fn new() -> Result<Self> {
        let directory = tempfile::tempdir_in(Workspace::locate()?.programs())?;
        let port = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let stage = Self { directory, address: (Ipv4Addr::LOCALHOST, port).into() };
        initialise::initialise(&stage.config()?, SystemClock.now())?;
        Ok(stage)
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("coordinator.conf")
    }

    fn config(&self) -> Result<CoordinatorConfig> {
        let text = format!(
            "state-directory = \"{state}\"\napi-socket = \"{state}/api.sock\"\nagent-listen = \"{address}\"\njoin-listen = \"127.0.0.1:0\"\nrealms {{ lab {{ disabled = no, driver = libvirt, name = Lab\n drives.lazy-allocation = on }} }}\nhardware-profiles {{ p {{ cores = 64, memory = 512 GiB }} }}",
            state = self.directory.path().join("state").display(),
            address = self.address,
        );
        std::fs::write(self.file(), text)?;
        config::check(&self.file()).map(|(config, _)| config).map_err(|errors| anyhow!("{errors}"))
    }

    /// Placements a second, each acknowledged when it is on the disk.
    fn place(&self) -> Result<f64> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let rate = runtime.block_on(self.place_all())?;
        runtime.shutdown_timeout(PATIENCE);
        Ok(rate)
    }

    async fn place_all(&self) -> Result<f64> {
        let config = self.config()?;
        let pools = pools(&config);
        let store = Arc::new(SqliteStore::open(&config.store_path())?);
        let authority = Arc::new(Authority::open(&config.pki_directory(), SystemClock.now())?);
        let credentials = authority.server_credentials(SystemClock.now())?;
        let endpoint =
            agents::listen(self.address, &credentials, &authority.lasting_keys(), Arc::new(SystemClock))?;
        let service = Service::open(config, store, Arc::new(SystemClock), Arc::clone(&authority)).await?;
        let mut working = JoinSet::new();
        working.spawn(agents::serve(service.clone(), endpoint.clone()));
        // Without it a host that says nothing new counts as silent, though its connection is kept alive.
        working.spawn(service.clone().keep_watching_hosts());
        working.spawn(service.clone().keep_checkpoints());
        furnish(&service).await?;
        let runs = Arc::new(AtomicBool::new(false));
        let dialling = shared_client_endpoint((Ipv4Addr::LOCALHOST, 0).into())?;
        let mut fleet = JoinSet::new();
        for number in 1..=HOSTS {
            let agent = IdleAgent::new(&authority, number, self.address, dialling.clone(), pools.clone())?;
            fleet.spawn(agent.serve(DIAL_PATIENCE, Arc::clone(&runs)));
        }
        wait_until("agents to be connected", || service.status().hosts.reported == HOSTS as usize).await?;
        start_many(&service, WARM_UP).await?;
        let begun = SystemClock.monotonic();
        start_many(&service, VMS - WARM_UP).await?;
        #[allow(clippy::cast_precision_loss)] // thousands
        let rate = (VMS - WARM_UP) as f64 / begun.elapsed().as_secs_f64();
        // From now on the VMs are told to run, so that the store is one of a fleet at work.
        runs.store(true, Ordering::Relaxed);
        wait_until("all VMs to run", || {
            service.vms().iter().filter(|view| view.state.as_str() == "running").count() == VMS
        })
        .await?;
        fleet.shutdown().await;
        working.shutdown().await;
        endpoint.close(0_u32.into(), b"");
        Ok(rate)
    }

    /// Seconds from the kill of a coordinator to the first placement of the next, on a host whose agent dials just then.
    fn restart(&self) -> Result<f64> {
        let config = self.config()?;
        let authority = Authority::open(&config.pki_directory(), SystemClock.now())?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let mut first = self.coordinator()?;
        let begun = SystemClock.monotonic();
        first.kill()?;
        first.wait()?;
        let (address, pools) = (self.address, pools(&config));
        runtime.spawn(async move {
            let endpoint = client_endpoint((Ipv4Addr::LOCALHOST, 0).into())?;
            IdleAgent::new(&authority, HOSTS, address, endpoint, pools)?.serve(SOON, Arc::default()).await
        });
        let mut second = self.spawn()?;
        let placed = loop {
            if is_reported(&config.api_socket).unwrap_or(false) {
                start_over_api(&config.api_socket)?;
                break begun.elapsed();
            }
            ensure!(begun.elapsed() < PATIENCE, "the coordinator places nothing");
            std::thread::sleep(Duration::from_millis(5));
        };
        second.kill()?;
        second.wait()?;
        runtime.shutdown_background();
        Ok(placed.as_secs_f64())
    }

    fn spawn(&self) -> Result<Child> {
        let program = Workspace::locate()?.program("reeve-coordinator")?;
        let mut command = Command::new(program);
        command.arg("--config").arg(self.file()).arg("run").stdout(Stdio::null()).stderr(Stdio::piped());
        Ok(command.spawn()?)
    }

    /// A coordinator that is ready.
    fn coordinator(&self) -> Result<Child> {
        let mut child = self.spawn()?;
        let mut lines = BufReader::new(child.stderr.take().context("no output")?).lines();
        let ready = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains("is ready")));
        ready.context("the coordinator did not start")??;
        // What it says from now on is of no interest; a full pipe would stop it.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Ok(child)
    }
}

fn pools(config: &CoordinatorConfig) -> Vec<PoolReport> {
    let state = PoolState::Active { capacity: Bytes(1 << 50), available: Bytes(1 << 49) };
    let names = config
        .realms
        .values()
        .flat_map(|realm| [realm.volumes_pool.clone(), realm.drives_pool.clone(), realm.bricks_pool.clone()]);
    names.map(|name| PoolReport { name, state: state.clone() }).collect()
}

fn actor() -> Actor {
    Actor { uid: 0, name: "root".to_owned() }
}

async fn furnish(service: &Service) -> Result<()> {
    for number in 1..=HOSTS {
        let new = NewHost {
            name: format!("node-{number}").parse()?,
            realm: "lab".parse()?,
            uri: "qemu:///system".to_owned(),
            profile: "p".parse()?,
            state: "enabled".parse().map_err(|error| anyhow!("{error}"))?,
            labels: std::collections::BTreeMap::new(),
        };
        service.add_host(new, &actor()).await?;
    }
    let image = json!({"name": "debian", "realm": "lab", "volume": "debian.qcow2", "format": "qcow2",
        "operating-system": "Debian", "created-at": 1});
    service.create_image(serde_json::from_value(image)?, &actor()).await?;
    let setup = json!({"name": "small", "realm": "lab", "image": "debian", "cores": 1, "memory": 2048,
        "devices": {}, "virt-type": null, "machine": "q35", "cpu-model": "default", "networks": null,
        "console": false, "vnc": false, "labels": {"tier": "front"}, "created-at": 1});
    service.create_setup(serde_json::from_value(setup)?, &actor()).await?;
    let configuration = json!({"name": "web", "title": "Web", "setup": "small", "owner": "ada",
        "team": "engines", "project": null, "drives": [], "created-at": 1});
    service.create_configuration(serde_json::from_value(configuration)?, &actor()).await?;
    Ok(())
}

/// Starts so many VMs, some at a time; all are durably placed when this returns.
async fn start_many(service: &Service, count: usize) -> Result<()> {
    let left = Arc::new(AtomicUsize::new(count));
    let mut starting = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (service, left) = (service.clone(), Arc::clone(&left));
        starting.spawn(async move {
            let name = "web".parse()?;
            let another =
                || left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
            while another().is_ok() {
                let detail = service.start_vm(&name, &actor()).await?;
                ensure!(detail.view.host.is_some(), "a VM found no place");
            }
            Ok(())
        });
    }
    while let Some(ended) = starting.join_next().await {
        ended??;
    }
    Ok(())
}

async fn wait_until(what: &str, holds: impl Fn() -> bool) -> Result<()> {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.with_context(|| format!("waited for {what} in vain"))
}

/// An agent that takes every wish.
struct IdleAgent {
    credentials: Credentials,
    number: u32,
    address: SocketAddr,
    endpoint: quinn::Endpoint,
    pools: Vec<PoolReport>,
}

impl IdleAgent {
    /// Its endpoint is shared by the agents of one runtime.
    fn new(
        authority: &Authority,
        number: u32,
        address: SocketAddr,
        endpoint: quinn::Endpoint,
        pools: Vec<PoolReport>,
    ) -> Result<Self> {
        let identity = Identity::Host { realm: "lab".parse()?, host: HostId(number) };
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&key)?.pem()?;
        let issued = authority.issue_host(&request, &identity, SystemClock.now())?;
        let credentials =
            Credentials::from_pem(&issued.pem, &key.serialize_pem(), authority.certificate_pem())?;
        Ok(Self { credentials, number, address, endpoint, pools })
    }

    /// Serves for ever; dials until somebody answers, each time for so long. What it was told runs as soon as `runs` says so.
    async fn serve(self, patience: Duration, runs: Arc<AtomicBool>) -> Result<()> {
        let inventory =
            HostInventory { logical_cpus: 64, memory: Mebibytes(512 << 10), ..HostInventory::default() };
        let hello = Hello {
            host: HostId(self.number),
            realm: "lab".parse()?,
            name: format!("node-{}", self.number).parse()?,
            instance: OperationId::random(),
            highest_epoch: Epoch(0),
            inventory,
        };
        let mut agent = loop {
            let dialling = AgentEnd::connect(&self.endpoint, self.address, &self.credentials, hello.clone());
            if let Ok(Ok((agent, _))) = tokio::time::timeout(patience, dialling).await {
                break agent;
            }
        };
        let report = HostReport {
            hypervisor_reachable: true,
            vms: Vec::new(),
            foreign: Vec::new(),
            pools: self.pools.clone(),
            sizes: Vec::new(),
            answers: Vec::new(),
            lock_manager: LockManager::Unknown,
        };
        agent.send_event(Event::Report(report)).await?;
        let mut told = Vec::new();
        loop {
            let command = tokio::select! {
                command = agent.next_command() => command?,
                () = tokio::time::sleep(Duration::from_millis(200)), if !told.is_empty() => {
                    if runs.load(Ordering::Relaxed) {
                        for event in told.drain(..) {
                            agent.send_event(Event::Vm(event)).await?;
                        }
                    }
                    continue;
                }
            };
            agent.reply(Reply { operation: command.operation, outcome: Ok(ReplyBody::Accepted) }).await?;
            if let CommandBody::EnsureVm { vm, generation, desired: DesiredVm::Running(_) } = command.body {
                let now = SystemClock.now();
                let observed = ObservedVm::Running { started_at: now, registered_at: now };
                told.push(VmObservation { vm, generation, epoch: command.epoch, observed });
            }
        }
    }
}

/// Whether the host whose agent dials has told what it has: before that nothing is placed there.
fn is_reported(socket: &Path) -> Result<bool> {
    let answer = asked(socket, &format!("GET /v1/hosts/node-{HOSTS}"), "")?;
    Ok(answer["connection"] == "connected"
        && answer["pools"].as_array().is_some_and(|pools| !pools.is_empty()))
}

/// Starts a VM over the API; an error when it has no host.
fn start_over_api(socket: &Path) -> Result<()> {
    let answer = asked(socket, "POST /v1/vms", r#"{"configuration":"web"}"#)?;
    ensure!(answer["host"].is_string(), "the VM found no place: {answer}");
    Ok(())
}

fn asked(socket: &Path, what: &str, body: &str) -> Result<serde_json::Value> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "{what} HTTP/1.0\r\nhost: reeve\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.") && answer.contains(" 20"), "{answer}");
    let (_, document) = answer.split_once("\r\n\r\n").context("no document")?;
    Ok(serde_json::from_str(document)?)
}
