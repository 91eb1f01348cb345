//! The coordinator's command: initialise, check the configuration, run.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use reeve_common::clock::{Clock, SystemClock};
use reeve_coordinator::audit::offline;
use reeve_coordinator::{chain, config, daemon, initialise};

const EXAMPLES: &str = "\
Examples:
  reeve-coordinator check                 Is the configuration right?
  reeve-coordinator init                  Make the certificate authority and the store, once
  reeve-coordinator run                   Serve until SIGTERM; SIGHUP reads the configuration anew
  reeve-coordinator audit-verify          Is the audit log whole? (when no coordinator runs)

Exit codes: 0 done, 1 it failed, 2 wrong usage or a wrong configuration.";

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
    /// Prove the audit log in the store's file, of a coordinator that is stopped or of a backup.
    AuditVerify {
        /// The store's file, when it is not the configuration's.
        #[arg(long, value_name = "FILE")]
        store: Option<PathBuf>,
        /// Take the key that each checkpoint names for the right one: the authority's is not at hand.
        #[arg(long)]
        any_key: bool,
    },
}

#[allow(clippy::print_stdout)] // a command's answer
fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.command {
        Command::Check => config::command_check(&arguments.config),
        Command::Init => match config::check(&arguments.config) {
            Err(errors) => fail(2, &errors.to_string()),
            Ok((config, _)) => match initialise::initialise(&config, SystemClock.now()) {
                Err(error) => fail(1, &chain(&error)),
                Ok(fingerprint) => {
                    println!("The coordinator is initialised in {}.", config.state_directory.display());
                    println!(
                        "Its certificate authority is {fingerprint}: back up this directory, and keep it secret."
                    );
                    println!(
                        "Next: `reeve-coordinator run`, then `reeve host add` and `reeve host join-token`."
                    );
                    ExitCode::SUCCESS
                }
            },
        },
        Command::AuditVerify { store, any_key } => audit_verify(&arguments.config, store, any_key),
        Command::Run => {
            reeve_common::logging::init("reeve-coordinator", None);
            let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return fail(1, &format!("no runtime: {error}")),
            };
            match runtime.block_on(daemon::run(&arguments.config)) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error @ daemon::DaemonError::Config(_)) => fail(2, &chain(&error)),
                Err(error) => fail(1, &chain(&error)),
            }
        }
    }
}

#[allow(clippy::print_stdout)] // a command's answer
fn audit_verify(config: &Path, store: Option<PathBuf>, any_key: bool) -> ExitCode {
    let (config, _) = match config::check(config) {
        Ok(checked) => checked,
        Err(errors) => return fail(2, &errors.to_string()),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, &format!("no runtime: {error}")),
    };
    let store = store.unwrap_or_else(|| config.store_path());
    let pki = config.pki_directory();
    let pki = (!any_key).then_some(pki.as_path());
    match runtime.block_on(offline::verify_file(&store, pki, SystemClock.now())) {
        Ok(report) => {
            print!("{}", offline::words(&report));
            if report.is_whole() { ExitCode::SUCCESS } else { ExitCode::from(1) }
        }
        Err(error) => fail(1, &chain(&error)),
    }
}

#[allow(clippy::print_stderr)] // the one place where a failure is shown
fn fail(code: u8, message: &str) -> ExitCode {
    eprintln!("reeve-coordinator: {message}");
    ExitCode::from(code)
}
