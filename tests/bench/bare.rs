//! Handshakes and nothing else: a process that takes connections with the coordinator's own TLS settings, and one that makes
//! as many as the fleet has hosts, each with its host's certificate. A few hundred are under way at a time, which is as fast
//! as it goes; nobody waits, is refused or asks again.
//!
//! QUIC's settings are the product's, which spare both sides a good part of the datagrams, or those that the library comes with.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, ensure};
use reeve_agent::fleet::{SOCKETS_MAX, host_directory};
use reeve_agent::identity::IdentityDirectory;
use reeve_common::clock::{Clock, SystemClock};
use reeve_common::quic::{server_endpoint, shared_client_endpoint};
use reeve_common::tls::{COORDINATOR_SERVER_NAME, agent_client_config, coordinator_server_config};
use reeve_coordinator::pki::Authority;
use reeve_tests::harness::simulated_fleet::SimulatedFleet;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// The names by which this program is told to be one side.
pub(crate) const SERVER: &str = "bare-server";
/// The other side.
pub(crate) const CLIENTS: &str = "bare-clients";

/// Handshakes that clients have under way: more are no faster, and fill queues.
const UNDER_WAY: usize = 256;

/// With which settings of QUIC both sides speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settings {
    /// The product's.
    Product,
    /// As the library comes.
    Library,
}

impl Settings {
    const fn word(self) -> &'static str {
        match self {
            Self::Product => "product",
            Self::Library => "library",
        }
    }

    fn of_word(word: &str) -> Result<Self> {
        let all = [Self::Product, Self::Library];
        all.into_iter().find(|settings| settings.word() == word).context("no such settings")
    }
}

/// Seconds from the first dial until the server is sure of all clients.
pub(crate) fn connect_all(fleet: &SimulatedFleet, hosts: u32, settings: Settings) -> Result<f64> {
    let mut server = Side::start(SERVER, settings, &fleet.authority_directory(), hosts, "")?;
    let address = server.hear()?;
    let mut clients = Side::start(CLIENTS, settings, &fleet.state_directory(), hosts, &address)?;
    ensure!(clients.hear()? == "ready", "the clients are not ready");
    let begun = SystemClock.monotonic();
    clients.say("go")?;
    ensure!(server.hear()? == "all", "not all connected");
    Ok(begun.elapsed().as_secs_f64())
}

/// One of the two processes.
struct Side {
    child: Child,
    says: BufReader<std::process::ChildStdout>,
}

impl Side {
    fn start(side: &str, settings: Settings, directory: &Path, hosts: u32, address: &str) -> Result<Self> {
        let told = format!("{} {hosts} {} {address}", settings.word(), directory.display());
        let mut child = Command::new(std::env::current_exe()?)
            .arg(side)
            .env("REEVE_BARE", told)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let says = BufReader::new(child.stdout.take().context("no output")?);
        Ok(Self { child, says })
    }

    fn hear(&mut self) -> Result<String> {
        let mut line = String::new();
        self.says.read_line(&mut line)?;
        ensure!(!line.is_empty(), "one side of the bare handshakes has ended");
        Ok(line.trim().to_owned())
    }

    fn say(&mut self, line: &str) -> Result<()> {
        writeln!(self.child.stdin.as_mut().context("no input")?, "{line}")?;
        Ok(())
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a side is told: with which settings, how many, where its files are, and whom to dial.
fn told() -> Result<(Settings, u32, PathBuf, String)> {
    let told = std::env::var("REEVE_BARE").context("this is for the benchmark itself")?;
    let mut words = told.split(' ');
    let mut next = || words.next().map(str::to_owned).context("too few words");
    Ok((Settings::of_word(&next()?)?, next()?.parse()?, next()?.into(), next()?))
}

/// Takes connections until all are there.
pub(crate) fn serve() -> Result<()> {
    let (settings, hosts, directory, _) = told()?;
    run(async move {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let authority = Authority::open(&directory, clock.now())?;
        let mut config = coordinator_server_config(&authority.server_credentials(clock.now())?, clock)?;
        if settings == Settings::Library {
            config.transport_config(Arc::default());
        }
        let endpoint = server_endpoint(SocketAddr::from(([127, 0, 0, 1], 0)), config)?;
        println!("{}", endpoint.local_addr()?);
        let mut handshakes = JoinSet::new();
        let mut connections = Vec::new();
        while connections.len() < usize::try_from(hosts)? {
            tokio::select! {
                incoming = endpoint.accept() => {
                    let connecting = incoming.context("the socket was closed")?.accept()?;
                    handshakes.spawn(connecting.into_future());
                }
                Some(connected) = handshakes.join_next() => connections.push(connected??),
            }
        }
        println!("all");
        wait_for_the_end().await
    })
}

/// Makes all connections when told to.
pub(crate) fn connect() -> Result<()> {
    let (settings, hosts, directory, address) = told()?;
    let address: SocketAddr = address.parse()?;
    run(async move {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let credentials = (1..=hosts).map(|number| {
            let identity = IdentityDirectory::within(&host_directory(&directory, number)).load()?;
            Ok(identity.credentials)
        });
        let credentials: Vec<_> = credentials.collect::<Result<_>>()?;
        let sockets: Vec<quinn::Endpoint> = (0..credentials.len().min(SOCKETS_MAX))
            .map(|_| Ok(shared_client_endpoint(SocketAddr::from(([127, 0, 0, 1], 0)))?))
            .collect::<Result<_>>()?;
        println!("ready");
        let mut line = String::new();
        std::io::stdin().read_line(&mut line)?;
        let places = Arc::new(Semaphore::new(UNDER_WAY));
        let mut dials = JoinSet::new();
        for (credentials, socket) in credentials.into_iter().zip(sockets.iter().cycle()) {
            let (clock, socket) = (Arc::clone(&clock), socket.clone());
            let place = Arc::clone(&places).acquire_owned().await?;
            dials.spawn(async move {
                let mut config = agent_client_config(&credentials, clock)?;
                if settings == Settings::Library {
                    config.transport_config(Arc::default());
                }
                let connected = socket.connect_with(config, address, COORDINATOR_SERVER_NAME)?.await?;
                drop(place);
                anyhow::Ok(connected)
            });
        }
        let mut connections = Vec::new();
        while let Some(connected) = dials.join_next().await {
            connections.push(connected?.map_err(|error| anyhow!("a bare client: {error}"))?);
        }
        wait_for_the_end().await
    })
}

/// Until whoever started this process ends it.
async fn wait_for_the_end() -> Result<()> {
    std::future::pending().await
}

fn run(work: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}
