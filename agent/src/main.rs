//! Owns the process of the agent: the command line, the runtime, signals, and how an error is shown: once, as a chain
//! that ends in what to do.

use std::future::Future;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser as _;
use reeve_agent::agent::Agent;
use reeve_agent::command_line::{
    Command, CommandLine, DoctorArguments, EXIT_FAILURE, EXIT_NOT_JOINED, EXIT_OK, EXIT_REFUSED, EXIT_USAGE,
    JoinArguments, OutputFormat, RunArguments,
};
use reeve_agent::configuration::{Configuration, ConfigurationError, HypervisorKind};
use reeve_agent::doctor;
use reeve_agent::enrolment::{self, JoinError};
use reeve_agent::fleet::{self, Fleet, FleetError, FleetJoinError};
use reeve_agent::hypervisor::Hypervisor;
use reeve_agent::hypervisor::libvirt::{LibvirtHypervisor, LibvirtSettings};
use reeve_agent::hypervisor::simulated::{SimulatedHypervisor, SimulationSettings};
use reeve_agent::identity::{IdentityDirectory, IdentityError};
use reeve_agent::machine::ThisMachine;
use reeve_agent::state_directory::StateDirectory;
use reeve_agent::vm::driver::BLOCKING_THREADS_MAX;
use reeve_common::check::{Verdict, told, worst};
use reeve_common::clock::{Clock, SystemClock, monotonic_count};
use reeve_common::logging::{self, messages};
use reeve_common::service_manager::ServiceManager;
use reeve_common::service_user::become_owner;
use reeve_common::tls::{InvalidJoinLine, JoinLine};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

/// The deepest that a blocking call goes are a TLS handshake and libvirt's client; both stay below 100 KiB.
const STACK_SIZE: usize = 512 << 10;

/// How long the end waits for calls to the hypervisor that are under way. What is cut off is what a crash cuts off.
const LAST_CALLS: Duration = Duration::from_secs(5);

/// A join line has a few hundred bytes.
const JOIN_LINE_LENGTH_MAX: u64 = 4096;
/// As many lines as a fleet has hosts.
const FLEET_LINES_LENGTH_MAX: u64 = fleet::HOSTS_MAX as u64 * JOIN_LINE_LENGTH_MAX;

fn main() -> ExitCode {
    let arguments = CommandLine::parse();
    let result = match arguments.command {
        Command::Join(arguments) => join(&arguments),
        Command::Run(arguments) => run(&arguments),
        Command::Doctor(arguments) => match examine(&arguments) {
            Ok(Verdict::Failure) => return ExitCode::from(EXIT_FAILURE),
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        },
    };
    match result {
        Ok(()) => {
            logging::finish();
            ExitCode::from(EXIT_OK)
        }
        Err(error) => {
            show(&error);
            logging::finish();
            ExitCode::from(exit_code(&error))
        }
    }
}

/// Shows an error with all its causes, one below the other.
#[allow(clippy::print_stderr)] // the one place where the agent speaks to a person and not to a log
fn show(error: &anyhow::Error) {
    if logging::goes_to_journal() {
        log::error!(MESSAGE_ID:% = messages::AGENT_FAILED; "{error:#}");
        return;
    }
    eprintln!("reeve-agent: {error}");
    for cause in error.chain().skip(1) {
        eprintln!("  because: {cause}");
    }
}

fn exit_code(error: &anyhow::Error) -> u8 {
    if error.is::<ConfigurationError>() || error.is::<InvalidJoinLine>() {
        return EXIT_USAGE;
    }
    let join_error = match error.downcast_ref() {
        Some(FleetJoinError::Line { .. } | FleetJoinError::TooMany(_)) => return EXIT_USAGE,
        Some(FleetJoinError::Join { source, .. }) => Some(source),
        None => error.downcast_ref(),
    };
    match (error.downcast_ref(), error.downcast_ref()) {
        (Some(IdentityError::NotJoined { .. }), _) | (_, Some(FleetError::NotJoined { .. })) => {
            return EXIT_NOT_JOINED;
        }
        (_, Some(FleetError::NotSimulated)) => return EXIT_USAGE,
        _ => {}
    }
    match join_error {
        Some(JoinError::Refused(_) | JoinError::NotTheCoordinator { .. } | JoinError::OtherAuthority) => {
            EXIT_REFUSED
        }
        _ => EXIT_FAILURE,
    }
}

fn join(arguments: &JoinArguments) -> anyhow::Result<()> {
    let configuration = Configuration::load(arguments.settings(), arguments.common.config.as_deref())?;
    start_logging(&configuration);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    if arguments.fleet {
        let lines = read_join_line(&arguments.line, FLEET_LINES_LENGTH_MAX)?;
        become_owner(&configuration.state_directory)?;
        let runtime = start_fleet_runtime()?;
        let joined = runtime.block_on(fleet::join(&lines, &configuration.state_directory, clock))?;
        log::info!(
            "{joined} simulated hosts have joined; start them with `reeve-agent run --hypervisor simulated --hosts N`"
        );
        return Ok(());
    }
    let line: JoinLine = read_join_line(&arguments.line, JOIN_LINE_LENGTH_MAX)?.parse()?;
    // After the line was read, which may be in a file of root's.
    become_owner(&configuration.state_directory)?;
    // A running agent would go on with the old identity; its lock keeps it from being exchanged.
    let _state = StateDirectory::open(&configuration.state_directory)?;
    let directory = IdentityDirectory::within(&configuration.state_directory);
    let runtime = start_runtime()?;
    let joined = runtime.block_on(enrolment::join(&line, &directory, arguments.replace, clock))?;
    log::info!(
        REEVE_HOST:% = joined.name, REEVE_REALM:% = joined.realm;
        "this machine is now host {} ({}) of realm {}; its certificate is good until {} and renews itself. Start it with \
         `systemctl start reeve-agent`, or by hand with `reeve-agent run`",
        joined.name, joined.host, joined.realm, joined.credentials.facts().not_after
    );
    Ok(())
}

/// The line itself, or what stands in a file or comes from standard input, up to so many bytes.
fn read_join_line(said: &str, length_max: u64) -> anyhow::Result<String> {
    let mut line = String::new();
    match said.strip_prefix('@') {
        _ if said == "-" => {
            let read = std::io::stdin().take(length_max).read_to_string(&mut line);
            read.context("the join line cannot be read from standard input")?;
        }
        Some(path) => {
            let read =
                std::fs::File::open(path).and_then(|file| file.take(length_max).read_to_string(&mut line));
            read.with_context(|| format!("the join line cannot be read from {path}"))?;
        }
        None => said.clone_into(&mut line),
    }
    Ok(line)
}

fn run(arguments: &RunArguments) -> anyhow::Result<()> {
    let configuration = Configuration::load(arguments.settings(), arguments.common.config.as_deref())?;
    become_owner(&configuration.state_directory)?;
    start_logging(&configuration);
    let manager = ServiceManager::from_environment();
    if let Some(hosts) = arguments.hosts {
        return run_fleet(&configuration, hosts);
    }
    let identity = IdentityDirectory::within(&configuration.state_directory).load()?;
    logging::speak_for(identity.name.as_str(), identity.realm.as_str());
    let state = Arc::new(StateDirectory::open(&configuration.state_directory)?);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let hypervisor = start_hypervisor(&configuration, Arc::clone(&clock))?;
    let (seed, _) = uuid::Uuid::new_v4().as_u64_pair();
    let machine = Box::new(ThisMachine);
    let agent_settings = configuration.clone();
    let agent = Agent { configuration, identity, state, hypervisor, machine, clock, seed };
    let runtime = start_runtime()?;
    let ended = runtime.block_on(async {
        let stop = stop_signal()?;
        let mut hangup = signal(SignalKind::hangup()).context("SIGHUP cannot be listened for")?;
        let reloads = async {
            while hangup.recv().await.is_some() {
                manager.reloading(monotonic_count());
                let problem = reload(arguments, &agent_settings).err();
                manager.ready(problem.as_deref().unwrap_or("the configuration was read anew"));
            }
            std::future::pending().await
        };
        tokio::select! {
            ended = agent.run_under(&manager, stop) => ended.map_err(anyhow::Error::from),
            () = reloads => Ok(()),
        }
    });
    runtime.shutdown_timeout(LAST_CALLS);
    ended
}

/// Reads the configuration anew: all of it or nothing. Only the log's level can change while the agent runs; an agent
/// takes a second to start anew, and its VMs run on.
fn reload(arguments: &RunArguments, running: &Configuration) -> Result<(), String> {
    match Configuration::load(arguments.settings(), arguments.common.config.as_deref()) {
        Ok(read) => {
            start_logging(&read);
            if (Configuration { log_level: running.log_level, ..read }) != *running {
                log::warn!("what else than log-level has changed is taken up when the agent is restarted");
            }
            log::info!("the configuration was read anew");
            Ok(())
        }
        Err(error) => {
            let error = anyhow::Error::from(error);
            log::error!(MESSAGE_ID:% = messages::CONFIGURATION_REFUSED; "the configuration stays as it was: {error:#}");
            Err("the configuration stays as it was, for its file is wrong: see the log".to_owned())
        }
    }
}

/// Looks at this machine and says what was found.
fn examine(arguments: &DoctorArguments) -> anyhow::Result<Verdict> {
    let configuration = Configuration::load(arguments.settings(), arguments.common.config.as_deref())?;
    // What is logged meanwhile is said by the findings.
    let level = configuration.log_level.map_or(log::LevelFilter::Off, |level| level.0);
    logging::init("reeve-agent", Some(level));
    let runtime = start_runtime()?;
    let facts = runtime.block_on(doctor::gather(&configuration, Arc::new(SystemClock)));
    runtime.shutdown_timeout(LAST_CALLS);
    let checks = doctor::judge(&facts);
    match arguments.output {
        OutputFormat::Text => say(&told(&checks, arguments.quiet)),
        OutputFormat::Json => {
            let failures =
                checks.iter().filter(|check| !arguments.quiet || check.verdict == Verdict::Failure);
            say(&format!("{}\n", serde_json::to_string_pretty(&failures.collect::<Vec<_>>())?));
        }
    }
    Ok(worst(&checks))
}

/// A command's answer. Whoever reads it may have seen enough, as `head` does.
fn say(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn run_fleet(configuration: &Configuration, hosts: u32) -> anyhow::Result<()> {
    if configuration.hypervisor != HypervisorKind::Simulated {
        return Err(FleetError::NotSimulated.into());
    }
    let fleet = Fleet::open(configuration, hosts, Arc::new(SystemClock))?;
    let runtime = start_fleet_runtime()?;
    let ended = runtime.block_on(async { fleet.run(stop_signal()?).await.map_err(anyhow::Error::from) });
    runtime.shutdown_timeout(LAST_CALLS);
    ended
}

fn start_logging(configuration: &Configuration) {
    logging::init("reeve-agent", configuration.log_level.map(|level| level.0));
}

/// One thread does all the work that does not block: an agent is idle nearly always, and should be small.
fn start_runtime() -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_stack_size(STACK_SIZE)
        .build()
        .context("the agent's threads cannot be started")
}

/// A fleet is as busy as its hosts are many, and works on all processors.
fn start_fleet_runtime() -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_stack_size(STACK_SIZE)
        .build()
        .context("the fleet's threads cannot be started")
}

fn start_hypervisor(
    configuration: &Configuration,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<Arc<dyn Hypervisor>> {
    match configuration.hypervisor {
        HypervisorKind::Libvirt => {
            let settings = LibvirtSettings {
                uri: configuration.libvirt_uri.clone(),
                kvm: configuration.kvm,
                ..LibvirtSettings::default()
            };
            Ok(Arc::new(LibvirtHypervisor::start(&settings, clock)?))
        }
        HypervisorKind::Simulated => {
            let state_file = Some(simulation_file(&configuration.state_directory));
            let settings = SimulationSettings { state_file, ..SimulationSettings::default() };
            let hypervisor = Arc::new(SimulatedHypervisor::new(settings, clock)?);
            hypervisor.run_by_itself().context("the simulated guests cannot be started")?;
            log::warn!("the hypervisor is simulated: no VM here is real");
            Ok(hypervisor)
        }
    }
}

/// Where simulated domains run on while the agent is restarted.
fn simulation_file(state_directory: &Path) -> std::path::PathBuf {
    state_directory.join("simulated.json")
}

/// Comes true when the process is asked to end.
fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be listened for")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be listened for")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
