//! Owns what can be said on the coordinator's command line.
//!
//! Must not: do anything.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};
use reeve_common::ids::{HostName, ProfileName};
use reeve_common::units::parse_duration;

/// Something failed; the message says what.
pub const EXIT_FAILURE: u8 = 1;
/// The command line or the configuration is wrong.
pub const EXIT_USAGE: u8 = 2;
/// Another coordinator has taken over: starting this one again would depose that one in turn.
pub const EXIT_DEPOSED: u8 = 3;

const EXAMPLES: &str = "\
Examples:
  reeve-coordinator check                 Is the configuration right?
  reeve-coordinator init                  Make the certificate authority and the store, once
  reeve-coordinator doctor                Does this machine have what a coordinator needs?
  reeve-coordinator run                   Serve until SIGTERM; SIGHUP reads the configuration anew
  reeve-coordinator backup /mnt/b/monday  Save store and certificate authority, while it runs
  reeve-coordinator verify /mnt/b/monday  Is the backup whole?
  reeve-coordinator restore /mnt/b/monday && reeve-coordinator recover && reeve-coordinator run
  reeve-coordinator audit-verify          Is the audit log whole? (when no coordinator runs)

Exit codes: 0 done, 1 it failed, 2 wrong usage or a wrong configuration, 3 another coordinator has taken over the store.

Run as root, every command but `run` and `check` works as the user to whom the state directory belongs.";

const DOCTOR_EXAMPLES: &str = "\
Nothing is changed. Run it as the coordinator's user, or as root.

Examples:
  sudo -u reeve-coordinator reeve-coordinator doctor
  reeve-coordinator doctor -q          Failures only
  reeve-coordinator doctor -o json     For programs

Exit codes: 0 nothing fails (there may be warnings), 1 something fails, 2 wrong usage.";

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
pub struct Arguments {
    /// The configuration.
    #[arg(long, global = true, value_name = "FILE", default_value = "/etc/reeve/coordinator.conf")]
    pub config: PathBuf,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What it can be told to do.
#[derive(Debug, Subcommand)]
pub enum Command {
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
    /// Look whether this machine has what a coordinator needs, and say what to do where it does not; it may run.
    #[command(after_help = DOCTOR_EXAMPLES)]
    Doctor {
        /// Print failures only.
        #[arg(short, long)]
        quiet: bool,
        /// Text for people, or JSON for programs.
        #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t)]
        output: OutputFormat,
    },
    /// Ask the hosts what is really on them and write it into the store; the coordinator must not run.
    #[command(after_help = RECOVER_EXAMPLES)]
    Recover(RecoverArguments),
}

/// How an answer is written.
#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
pub enum OutputFormat {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// How the hosts are asked.
#[derive(Debug, clap::Args)]
pub struct RecoverArguments {
    /// Wait for agents for at most so long. One that was refused meanwhile dials again after a minute.
    #[arg(long, value_name = "DURATION", default_value = "90s", value_parser = duration)]
    pub wait: Duration,
    /// Go on as soon as so many hosts, and all that the store knows, have answered.
    #[arg(long, value_name = "NUMBER")]
    pub hosts: Option<usize>,
    /// The hardware profile of hosts that the store does not know; not needed when the configuration has but one.
    #[arg(long, value_name = "PROFILE")]
    pub profile: Option<ProfileName>,
    /// The hardware profile of one such host.
    #[arg(long, value_name = "HOST=PROFILE", value_parser = host_profile)]
    pub host_profile: Vec<(HostName, ProfileName)>,
    /// On a store that is in use: take in what hosts have that it does not know.
    #[arg(long)]
    pub again: bool,
    /// Say what would become of it and write nothing.
    #[arg(long)]
    pub dry_run: bool,
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|error| error.to_string())
}

fn host_profile(text: &str) -> Result<(HostName, ProfileName), String> {
    let (host, profile) = text.split_once('=').ok_or("expected HOST=PROFILE")?;
    let host = HostName::new(host).map_err(|error| error.to_string())?;
    Ok((host, ProfileName::new(profile).map_err(|error| error.to_string())?))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }
}
