//! Owns a fleet of simulated hosts beside a real coordinator: two processes on this machine, joined by loopback, without
//! libvirt and without root.
//!
//! Hosts need not join one by one: their identities are made with the coordinator's own authority, by the code that makes
//! them in earnest. Everything lies in memory where the machine offers that (`/dev/shm`), since each of a fleet's hosts has
//! a disk of its own in real life, and here they would all wait for one.

use std::fs::{self, File};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reeve_agent::fleet::host_directory;
use reeve_agent::identity::{IdentityDirectory, make_key};
use reeve_common::clock::{Clock, SystemClock};
use reeve_common::ids::{HostName, ProfileName, RealmName};
use reeve_common::tls::Identity;
use reeve_common::wire::join::Joined;
use reeve_coordinator::model::host::NewHost;
use reeve_coordinator::pki::Authority;
use reeve_coordinator::service::{Actor, Service};
use reeve_coordinator::store::SqliteStore;
use reeve_scheduler::HostState;
use serde_json::Value;
use tempfile::TempDir;

use super::waiting::{poll_every, poll_until};
use crate::lab::Workspace;

/// Memory that looks like a disk.
const MEMORY_DISK: &str = "/dev/shm";
/// The realm that all of them are in.
const REALM: &str = "fleet";
/// How often is looked whether a whole fleet is there: each look counts all hosts, and takes time from what is waited for.
const FLEET_LOOK_EVERY: Duration = Duration::from_millis(250);
/// A daemon opens its store within this.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// What a fleet is like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetSettings {
    /// How many hosts.
    pub hosts: u32,
    /// How often each tells how busy it is.
    pub sample_interval: Duration,
    /// After how much silence a host is lost.
    pub lost_after: Duration,
    /// What the agents write into their log: `error`, `warn`, `info` or `debug`.
    pub agents_log_level: &'static str,
}

/// Hosts by connection, as the coordinator counts them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connected.
    pub connected: u64,
    /// Of those, the ones that have reported all they have.
    pub reported: u64,
    /// Not heard for a moment.
    pub suspected: u64,
    /// Lost.
    pub lost: u64,
}

/// A coordinator and a fleet of simulated hosts.
#[derive(Debug)]
pub struct SimulatedFleet {
    directory: TempDir,
    workspace: Workspace,
    settings: FleetSettings,
    port: u16,
    coordinator: Option<Child>,
    agents: Option<Child>,
}

impl SimulatedFleet {
    /// Prepares a coordinator that knows the hosts, and the hosts' identities. `address` says where a host finds the
    /// coordinator, given the host's number, counted from 1, and the coordinator's port. Nothing runs yet.
    ///
    /// # Errors
    /// When the product has not been built, or files cannot be written.
    pub fn prepare(
        settings: FleetSettings,
        mut address: impl FnMut(u32, u16) -> Result<String>,
    ) -> Result<Self> {
        let directory = if Path::new(MEMORY_DISK).is_dir() {
            tempfile::Builder::new().prefix("reeve-fleet-").tempdir_in(MEMORY_DISK)?
        } else {
            tempfile::tempdir()?
        };
        let (port, join_port) = (free_port()?, free_port()?);
        let fleet = Self {
            directory,
            workspace: Workspace::locate()?,
            settings,
            port,
            coordinator: None,
            agents: None,
        };
        fs::write(fleet.configuration(), fleet.configuration_text(join_port))?;
        let (config, _) =
            reeve_coordinator::config::check(&fleet.configuration()).map_err(|errors| anyhow!("{errors}"))?;
        reeve_coordinator::initialise::initialise(&config, SystemClock.now())?;
        let authority = Arc::new(Authority::open(&config.pki_directory(), SystemClock.now())?);
        let store = Arc::new(SqliteStore::open(&config.store_path())?);
        let hosts = fleet.settings.hosts;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let names = runtime.block_on(async {
            let clock: Arc<dyn Clock> = Arc::new(SystemClock);
            let service = Service::open(config, store, clock, Arc::clone(&authority)).await?;
            let actor = Actor { uid: 0, name: "fleet".to_owned() };
            let mut names = Vec::new();
            for number in 1..=hosts {
                let host = service.add_host(new_host(number)?, &actor).await?.host;
                names.push((number, host.id, host.name));
            }
            anyhow::Ok(names)
        })?;
        drop(runtime);
        for (number, host, name) in names {
            let joined = joined(&authority, host, name, address(number, port)?)?;
            let path = host_directory(&fleet.state_directory(), number);
            fs::create_dir_all(&path)?;
            IdentityDirectory::within(&path).store(&joined.1, &joined.0, SystemClock.now())?;
        }
        Ok(fleet)
    }

    fn configuration(&self) -> PathBuf {
        self.directory.path().join("coordinator.conf")
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("reeve.sock")
    }

    /// Where the coordinator's certificate authority is.
    #[must_use]
    pub fn authority_directory(&self) -> PathBuf {
        self.directory.path().join("coordinator").join("pki")
    }

    /// Where the hosts' identities are, as the agents' process finds them.
    #[must_use]
    pub fn state_directory(&self) -> PathBuf {
        self.directory.path().join("agents")
    }

    fn configuration_text(&self, join_port: u16) -> String {
        let directory = self.directory.path().display();
        let FleetSettings { sample_interval, lost_after, .. } = self.settings;
        format!(
            r#"agent-listen = "127.0.0.1:{port}"
join-listen = "127.0.0.1:{join_port}"
state-directory = "{directory}/coordinator"
api-socket = "{directory}/reeve.sock"
sample-interval = {sample} milliseconds
lost-after = {lost} milliseconds
realms {{
  {REALM} {{ disabled = no, driver = libvirt, name = "Simulated hosts"
    drives.lazy-allocation = on }}
}}
hardware-profiles {{
  simulated {{ cores = 32, memory = 256 GiB }}
}}
"#,
            port = self.port,
            sample = sample_interval.as_millis(),
            lost = lost_after.as_millis(),
        )
    }

    /// Starts the coordinator and waits until it answers.
    ///
    /// # Errors
    /// When it does not.
    pub fn start_coordinator(&mut self) -> Result<()> {
        self.launch_coordinator()?;
        poll_until("the coordinator to answer", START_PATIENCE, || Ok(self.counts().ok())).map(drop)
    }

    /// Starts the coordinator without waiting.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn launch_coordinator(&mut self) -> Result<()> {
        let log = self.log("coordinator")?;
        let child = Command::new(self.workspace.program("reeve-coordinator")?)
            .args(["run", "--config"])
            .arg(self.configuration())
            .env("REEVE_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        self.coordinator = Some(child);
        Ok(())
    }

    /// How often each host tells how busy it is from the next start of the coordinator on.
    ///
    /// # Errors
    /// When the configuration cannot be written.
    pub fn set_sample_interval(&mut self, interval: Duration) -> Result<()> {
        self.settings.sample_interval = interval;
        let text = fs::read_to_string(self.configuration())?;
        let other = |line: &&str| !line.starts_with("sample-interval");
        let mut lines: Vec<&str> = text.lines().filter(other).collect();
        let line = format!("sample-interval = {} milliseconds", interval.as_millis());
        lines.insert(0, &line);
        Ok(fs::write(self.configuration(), lines.join("\n") + "\n")?)
    }

    /// Kills the coordinator as a power failure would.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill_coordinator(&mut self) -> Result<()> {
        end(self.coordinator.take().context("the coordinator does not run")?)
    }

    /// Starts the process of all agents.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_agents(&mut self) -> Result<()> {
        let log = self.log("agents")?;
        let child = Command::new(self.workspace.program("reeve-agent")?)
            .args([
                "run",
                "--hypervisor",
                "simulated",
                "--log-level",
                self.settings.agents_log_level,
                "--hosts",
            ])
            .arg(self.settings.hosts.to_string())
            .arg("--state-directory")
            .arg(self.state_directory())
            // What this machine's own agent is told does not concern them.
            .args(["--config", "/dev/null"])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        self.agents = Some(child);
        Ok(())
    }

    /// Sends a signal to the process of all agents.
    ///
    /// # Errors
    /// When it does not run.
    pub fn signal_agents(&self, signal: Signal) -> Result<()> {
        let child = self.agents.as_ref().context("the agents do not run")?;
        kill(Pid::from_raw(i32::try_from(child.id())?), signal)?;
        Ok(())
    }

    /// The coordinator's process.
    ///
    /// # Errors
    /// When it does not run.
    pub fn coordinator_process(&self) -> Result<u32> {
        Ok(self.coordinator.as_ref().context("the coordinator does not run")?.id())
    }

    /// Waits until so many agents are connected and have reported all they have.
    ///
    /// # Errors
    /// When they have not after `patience`, with the ends of both logs.
    pub fn wait_for_all(&self, patience: Duration) -> Result<()> {
        let all = u64::from(self.settings.hosts);
        let waited = poll_every(FLEET_LOOK_EVERY, "all agents", patience, || {
            Ok(self.counts().is_ok_and(|counts| counts.reported == all).then_some(()))
        });
        waited.with_context(|| {
            format!(
                "{:?}; coordinator: {}; agents: {}",
                self.counts(),
                self.end_of("coordinator"),
                self.end_of("agents")
            )
        })
    }

    /// Hosts by connection, as the coordinator counts them now.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn counts(&self) -> Result<Counts> {
        let status = self.reeve(&["status"])?;
        let count = |key: &str| {
            status["hosts"][key].as_u64().with_context(|| format!("the status has no {key}: {status}"))
        };
        Ok(Counts {
            connected: count("connected")?,
            reported: count("reported")?,
            suspected: count("suspected")?,
            lost: count("lost")?,
        })
    }

    /// What the command line says in JSON.
    ///
    /// # Errors
    /// When it refuses.
    pub fn reeve(&self, arguments: &[&str]) -> Result<Value> {
        let output = Command::new(self.workspace.program("reeve")?)
            .arg("--socket")
            .arg(self.socket())
            .args(["-o", "json"])
            .args(arguments)
            .stdin(Stdio::null())
            .output()?;
        if !output.status.success() {
            bail!("reeve {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    fn log(&self, name: &str) -> Result<File> {
        let path = self.directory.path().join(format!("{name}.log"));
        Ok(File::options().create(true).append(true).open(path)?)
    }

    /// What the agents have written into their log so far.
    #[must_use]
    pub fn agents_log(&self) -> String {
        self.log_text("agents")
    }

    fn log_text(&self, name: &str) -> String {
        let text = fs::read(self.directory.path().join(format!("{name}.log"))).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    }

    fn end_of(&self, name: &str) -> String {
        let text = self.log_text(name);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for SimulatedFleet {
    fn drop(&mut self) {
        self.end_all();
    }
}

impl SimulatedFleet {
    /// Ends both processes, if they run.
    pub fn end_all(&mut self) {
        for child in [self.agents.take(), self.coordinator.take()].into_iter().flatten() {
            let _ = end(child);
        }
    }
}

fn end(mut child: Child) -> Result<()> {
    child.kill()?;
    child.wait()?;
    Ok(())
}

fn free_port() -> Result<u16> {
    Ok(UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn new_host(number: u32) -> Result<NewHost> {
    Ok(NewHost {
        name: HostName::new(format!("sim-{number}"))?,
        realm: RealmName::new(REALM)?,
        uri: "qemu:///system".to_owned(),
        profile: ProfileName::new("simulated")?,
        state: HostState::Enabled,
        labels: std::collections::BTreeMap::new(),
    })
}

/// A key, and what a coordinator answers to the host that has it.
fn joined(
    authority: &Authority,
    host: reeve_common::ids::HostId,
    name: HostName,
    address: String,
) -> Result<(String, Joined)> {
    let realm = RealmName::new(REALM)?;
    let key = make_key()?;
    let identity = Identity::Host { realm: realm.clone(), host };
    let certificate = authority.issue_host(&key.signing_request, &identity, SystemClock.now())?;
    let joined = Joined {
        certificate: certificate.pem,
        authority: authority.certificate_pem().to_owned(),
        agent_address: address,
        realm,
        host,
        host_name: name,
    };
    Ok((key.key.to_string(), joined))
}
