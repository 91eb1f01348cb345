//! The coordinator's command: initialise, check the configuration, run, and keep what it knows from being lost.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, Subcommand};
use reeve_common::clock::{Clock, SystemClock};
use reeve_common::ids::{HostName, ProfileName};
use reeve_common::logging::{self, messages};
use reeve_common::units::parse_duration;
use reeve_coordinator::audit::offline;
use reeve_coordinator::backup::{Restored, restore, save, verify};
use reeve_coordinator::config::CoordinatorConfig;
use reeve_coordinator::recovery::{RecoverRequest, recover};
use reeve_coordinator::{chain, config, daemon, initialise};

const EXAMPLES: &str = "\
Examples:
  reeve-coordinator check                 Is the configuration right?
  reeve-coordinator init                  Make the certificate authority and the store, once
  reeve-coordinator run                   Serve until SIGTERM; SIGHUP reads the configuration anew
  reeve-coordinator backup /mnt/b/monday  Save store and certificate authority, while it runs
  reeve-coordinator verify /mnt/b/monday  Is the backup whole?
  reeve-coordinator restore /mnt/b/monday && reeve-coordinator recover && reeve-coordinator run
  reeve-coordinator audit-verify          Is the audit log whole? (when no coordinator runs)

Exit codes: 0 done, 1 it failed, 2 wrong usage or a wrong configuration.";

const RECOVER_EXAMPLES: &str = "\
After `restore`, or with nothing but the certificate authority (the pki directory of the state directory) left.
No VM is started, stopped or moved.

Examples:
  reeve-coordinator recover --hosts 12 --profile r750
  reeve-coordinator recover --wait 5m --profile r750 --host-profile gpu-1=dgx
  reeve-coordinator recover --dry-run";

/// Decides where virtual machines live, and tells the agents of the hosts.
#[derive(Debug, Parser)]
#[command(name = "reeve-coordinator", version, after_help = EXAMPLES)]
struct Arguments {
    /// The configuration.
    #[arg(long, global = true, value_name = "FILE", default_value = "/etc/reeve/coordinator.conf")]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the certificate authority and the store; refuses when they are there already.
    Init,
    /// Read the configuration and say what is wrong with it, without starting anything.
    Check,
    /// Serve agents and the API until SIGTERM.
    Run,
    /// Save the store and the certificate authority into a new file, while the coordinator runs or not.
    Backup {
        /// The file to make; whoever can read it can issue certificates: keep it as secret as the authority itself.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Make the store of a backup; the coordinator must not run, and `recover` comes next.
    Restore {
        /// The backup.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Set the store that is there aside.
        #[arg(long)]
        replace: bool,
    },
    /// Prove a store or a backup whole, and what its records say of each other; the coordinator may run.
    Verify {
        /// A backup or a store; the store of the configuration when none is given.
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Prove the audit log in the store's file, of a coordinator that is stopped or of a backup.
    AuditVerify {
        /// The store's file, when it is not the configuration's.
        #[arg(long, value_name = "FILE")]
        store: Option<PathBuf>,
        /// Take the key that each checkpoint names for the right one: the authority's is not at hand.
        #[arg(long)]
        any_key: bool,
    },
    /// Ask the hosts what is really on them and write it into the store; the coordinator must not run.
    #[command(after_help = RECOVER_EXAMPLES)]
    Recover(RecoverArguments),
}

#[derive(Debug, clap::Args)]
struct RecoverArguments {
    /// Wait for agents for at most so long. One that was refused meanwhile dials again after a minute.
    #[arg(long, value_name = "DURATION", default_value = "90s", value_parser = duration)]
    wait: Duration,
    /// Go on as soon as so many hosts, and all that the store knows, have answered.
    #[arg(long, value_name = "NUMBER")]
    hosts: Option<usize>,
    /// The hardware profile of hosts that the store does not know; not needed when the configuration has but one.
    #[arg(long, value_name = "PROFILE")]
    profile: Option<ProfileName>,
    /// The hardware profile of one such host.
    #[arg(long, value_name = "HOST=PROFILE", value_parser = host_profile)]
    host_profile: Vec<(HostName, ProfileName)>,
    /// On a store that is in use: take in what hosts have that it does not know.
    #[arg(long)]
    again: bool,
    /// Say what would become of it and write nothing.
    #[arg(long)]
    dry_run: bool,
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|error| error.to_string())
}

fn host_profile(text: &str) -> Result<(HostName, ProfileName), String> {
    let (host, profile) = text.split_once('=').ok_or("expected HOST=PROFILE")?;
    let host = HostName::new(host).map_err(|error| error.to_string())?;
    Ok((host, ProfileName::new(profile).map_err(|error| error.to_string())?))
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let path = &arguments.config;
    match arguments.command {
        Command::Check => config::command_check(path),
        Command::Init => with_config(path, init),
        Command::Run => run(path),
        Command::AuditVerify { store, any_key } => {
            with_config(path, |config| audit_verify(&config, store, any_key))
        }
        Command::Backup { file } => {
            with_config(path, |config| match save(&config, &file, SystemClock.now()) {
                Err(error) => fail(1, &chain(&error)),
                Ok(()) => say(&[
                    format!("Saved to {}: the store and the certificate authority.", file.display()),
                    "Keep it as secret as the authority; the configuration in /etc/reeve is saved apart."
                        .to_owned(),
                ]),
            })
        }
        Command::Restore { file, replace } => with_config(path, |config| restored(&config, &file, replace)),
        Command::Verify { file } => with_config(path, |config| verified(&config, file.as_deref())),
        Command::Recover(arguments) => with_config(path, |config| recovered(config, arguments)),
    }
}

fn with_config(path: &Path, command: impl FnOnce(CoordinatorConfig) -> ExitCode) -> ExitCode {
    match config::check(path) {
        Err(errors) => fail(2, &errors.to_string()),
        Ok((config, _)) => command(config),
    }
}

#[allow(clippy::needless_pass_by_value)] // as the other commands are handed it
fn init(config: CoordinatorConfig) -> ExitCode {
    match initialise::initialise(&config, SystemClock.now()) {
        Err(error) => fail(1, &chain(&error)),
        Ok(fingerprint) => say(&[
            format!("The coordinator is initialised in {}.", config.state_directory.display()),
            format!(
                "Its certificate authority is {fingerprint}: `reeve-coordinator backup FILE` saves it; keep that secret."
            ),
            "Next: `reeve-coordinator run`, then `reeve host add` and `reeve host join-token`.".to_owned(),
        ]),
    }
}

fn run(path: &Path) -> ExitCode {
    logging::init("reeve-coordinator", None);
    let ended = on_runtime(daemon::run(path));
    let code = match ended {
        Err(code) => code,
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error @ daemon::DaemonError::Config(_))) => fail_to_run(2, &chain(&error)),
        Ok(Err(error)) => fail_to_run(1, &chain(&error)),
    };
    logging::finish();
    code
}

/// Says it where it is read: a service's error stands in the journal as an error.
fn fail_to_run(code: u8, message: &str) -> ExitCode {
    if logging::goes_to_journal() {
        log::error!(MESSAGE_ID:% = messages::COORDINATOR_FAILED; "{message}");
        return ExitCode::from(code);
    }
    fail(code, message)
}

fn restored(config: &CoordinatorConfig, file: &Path, replace: bool) -> ExitCode {
    let chance = match random() {
        Ok(chance) => chance,
        Err(problem) => return fail(1, &problem),
    };
    let outcome = match on_runtime(restore(config, file, replace, chance, SystemClock.now())) {
        Ok(outcome) => outcome,
        Err(code) => return code,
    };
    match outcome {
        Err(error) => fail(1, &chain(&error)),
        Ok(Restored { made_at, records, epoch, set_aside, authority_restored }) => {
            let made_at = made_at.map_or_else(|| "an unknown time".to_owned(), |at| at.to_string());
            let mut lines = vec![format!("Restored: {records} records as they were at {made_at}.")];
            if authority_restored {
                lines.push("The certificate authority was missing and is the backup's now.".to_owned());
            }
            lines.extend(
                set_aside.map(|aside| format!("The store that was there is {} now.", aside.display())),
            );
            lines.push(format!("The next coordinator's epoch is above {epoch}, so that agents obey it."));
            lines.push("What has happened since is not in it, so no coordinator runs on it yet. Next: `reeve-coordinator recover`.".to_owned());
            say(&lines)
        }
    }
}

fn verified(config: &CoordinatorConfig, file: Option<&Path>) -> ExitCode {
    let store = config.store_path();
    let path = file.unwrap_or(&store);
    match verify(path, config) {
        Err(error) => fail(1, &chain(&error)),
        Ok(verdict) => {
            let code = say(&verdict.facts);
            if verdict.problems.is_empty() {
                say(&[format!("{} is whole.", path.display())]);
                return code;
            }
            fail(
                1,
                &format!("{} does not hold together:\n  {}", path.display(), verdict.problems.join("\n  ")),
            )
        }
    }
}

fn recovered(config: CoordinatorConfig, arguments: RecoverArguments) -> ExitCode {
    logging::init("reeve-coordinator", None);
    let request = RecoverRequest {
        wait: arguments.wait,
        hosts: arguments.hosts,
        profile: arguments.profile,
        profiles: arguments.host_profile.into_iter().collect(),
        again: arguments.again,
        dry_run: arguments.dry_run,
    };
    match on_runtime(recover(config, &request, Arc::new(SystemClock))) {
        Err(code) => code,
        Ok(Err(error)) => fail(1, &chain(&error)),
        Ok(Ok(recovered)) => say(&recovered.lines),
    }
}

fn random() -> Result<u64, String> {
    use ring::rand::{SecureRandom as _, SystemRandom};
    let mut bytes = [0; 8];
    SystemRandom::new().fill(&mut bytes).map_err(|_| "this machine gives no random numbers".to_owned())?;
    Ok(u64::from_le_bytes(bytes))
}

fn on_runtime<T>(work: impl Future<Output = T>) -> Result<T, ExitCode> {
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => Ok(runtime.block_on(work)),
        Err(error) => Err(fail(1, &format!("no runtime: {error}"))),
    }
}

#[allow(clippy::print_stdout)] // a command's answer
fn say(lines: &[String]) -> ExitCode {
    for line in lines {
        println!("{line}");
    }
    ExitCode::SUCCESS
}

#[allow(clippy::print_stdout)] // a command's answer
fn audit_verify(config: &CoordinatorConfig, store: Option<PathBuf>, any_key: bool) -> ExitCode {
    let store = store.unwrap_or_else(|| config.store_path());
    let pki = config.pki_directory();
    let pki = (!any_key).then_some(pki.as_path());
    match on_runtime(offline::verify_file(&store, pki, SystemClock.now())) {
        Err(code) => code,
        Ok(Err(error)) => fail(1, &chain(&error)),
        Ok(Ok(report)) => {
            print!("{}", offline::words(&report));
            if report.is_whole() { ExitCode::SUCCESS } else { ExitCode::from(1) }
        }
    }
}

#[allow(clippy::print_stderr)] // the one place where a failure is shown
fn fail(code: u8, message: &str) -> ExitCode {
    eprintln!("reeve-coordinator: {message}");
    ExitCode::from(code)
}
