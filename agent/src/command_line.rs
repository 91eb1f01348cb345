//! Owns what can be said on the agent's command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::configuration::{
    CONFIGURATION_FILE, HypervisorKind, LogLevel, Settings, checked_address, checked_watchdog_timeout,
};
use crate::fleet::HOSTS_MAX;
use crate::hypervisor::libvirt::KvmTrust;

/// Everything went well.
pub const EXIT_OK: u8 = 0;
/// Something failed; the message says what.
pub const EXIT_FAILURE: u8 = 1;
/// The command line or the configuration file is wrong.
pub const EXIT_USAGE: u8 = 2;
/// This machine has not joined a coordinator.
pub const EXIT_NOT_JOINED: u8 = 3;
/// The coordinator refused, or is not the one that the join line names.
pub const EXIT_REFUSED: u8 = 4;

const EXAMPLES: &str = "Examples:
  reeve-agent join 'reeve-join:v1:coordinator.example:7444:…'   with a line from `reeve host join-token NAME`
  reeve-agent join @/root/join-line                             the line from a file, which no process list shows
  reeve-agent join - < join-line                                the line from standard input
  reeve-agent run                                               keep this host's VMs, as a service does
  reeve-agent doctor                                            does this machine have what a host needs?
  reeve-agent run --hypervisor simulated --log-level debug      without libvirt, for trying things out
  reeve-agent join --fleet --state-directory DIR - < lines      a hundred simulated hosts, one for each line …
  reeve-agent run --hypervisor simulated --hosts 100 --state-directory DIR          … in one process

Exit status:
  0  all went well
  1  something failed; the message says what
  2  the command line or the configuration file is wrong
  3  this machine has not joined a coordinator
  4  the coordinator refused, or is not the one that the join line names";

const JOINING: &str = "The key is made here and never leaves this machine. The line works once.
Run as root, this and `run` work as the user to whom the state directory belongs.

Trying a fleet of simulated hosts, without libvirt and without root, beside a coordinator on the same machine:
  for n in $(seq 100); do
    reeve host add sim-$n --realm primary --profile r750 >/dev/null 2>&1
    reeve host join-token sim-$n 2>/dev/null
  done | reeve-agent join --fleet --state-directory /tmp/fleet -
  reeve-agent run --hypervisor simulated --hosts 100 --state-directory /tmp/fleet";

const DOCTOR: &str = "Nothing is changed, but for a guest that is run for a second to see whether KVM works. The agent may run meanwhile.
Run it as the agent's user to see what that user may do, and as root to see all of libvirt's configuration.

Examples:
  sudo -u reeve-agent reeve-agent doctor      all checks
  reeve-agent doctor -q                       failures only
  reeve-agent doctor -o json                  for programs

Exit status:
  0  nothing fails; there may be warnings
  1  something fails
  2  the command line or the configuration file is wrong";

/// The agent of one KVM host.
#[derive(Debug, Parser)]
#[command(name = "reeve-agent", version, about = "Keeps the VMs of one KVM host for a reeve coordinator", after_help = EXAMPLES)]
pub struct CommandLine {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What an agent can be told to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make this machine a host of a coordinator, with a line printed by `reeve host join-token NAME` there
    #[command(after_help = JOINING)]
    Join(JoinArguments),
    /// Keep this host's VMs and obey its coordinator, until told to stop; VMs run on after that
    #[command(
        after_help = "SIGTERM and SIGINT end the agent and leave its VMs running; SIGHUP reads the configuration file anew.\nThe configuration file holds lines `key = value` with the keys state-directory, hypervisor, libvirt-uri,\nkvm, coordinator, log-level, watchdog-device and watchdog-timeout; the command line goes before it."
    )]
    Run(RunArguments),
    /// Look whether this machine has what a host needs, and say what to do where it does not
    #[command(after_help = DOCTOR)]
    Doctor(DoctorArguments),
}

/// How a machine joins.
#[derive(Debug, Args)]
pub struct JoinArguments {
    /// The join line, `@FILE` to read it from a file, or `-` to read it from standard input
    #[arg(value_name = "LINE")]
    pub line: String,
    /// Join although this machine is a host already; its old identity is lost
    #[arg(long)]
    pub replace: bool,
    /// One line for each host of a simulated fleet, from a file or standard input; hosts are added to those there are
    #[arg(long, conflicts_with = "replace")]
    pub fleet: bool,
    /// Where to look, and what to say.
    #[command(flatten)]
    pub common: CommonArguments,
}

/// How an agent runs.
#[derive(Debug, Args)]
pub struct RunArguments {
    /// The hypervisor: libvirt, or simulated (a pretence of one, kept in the state directory)
    #[arg(long, value_name = "KIND")]
    pub hypervisor: Option<HypervisorKind>,
    /// So many simulated hosts in this process, each with an identity that `join --fleet` gave it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(HOSTS_MAX)))]
    pub hosts: Option<u32>,
    /// Which libvirt [default: qemu:///system]
    #[arg(long, value_name = "URI")]
    pub libvirt_uri: Option<String>,
    /// When `virt-type = auto` means KVM: after a probe has shown that guests make progress under it (probe), when
    /// libvirt offers it (offered), or never [default: probe]
    #[arg(long, value_name = "TRUST")]
    pub kvm: Option<KvmTrust>,
    /// Where the coordinator takes agents, instead of where it was when this host joined
    #[arg(long, value_name = "HOST:PORT", value_parser = checked_address)]
    pub coordinator: Option<String>,
    /// The watchdog that resets this machine when the agent does not obey its lease, such as /dev/watchdog; used when the
    /// realm asks for self-fencing
    #[arg(long, value_name = "DEVICE")]
    pub watchdog_device: Option<PathBuf>,
    /// After which time it resets the machine, where the kernel does not say
    #[arg(long, value_name = "DURATION", value_parser = checked_watchdog_timeout)]
    pub watchdog_timeout: Option<Duration>,
    /// Where to look, and what to say.
    #[command(flatten)]
    pub common: CommonArguments,
}

/// What a doctor looks at.
#[derive(Debug, Args)]
pub struct DoctorArguments {
    /// Print failures only
    #[arg(short, long)]
    pub quiet: bool,
    /// Text for people, or JSON for programs
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t)]
    pub output: OutputFormat,
    /// Which libvirt [default: qemu:///system]
    #[arg(long, value_name = "URI")]
    pub libvirt_uri: Option<String>,
    /// Whether KVM is looked at: `never` leaves it out [default: probe]
    #[arg(long, value_name = "TRUST")]
    pub kvm: Option<KvmTrust>,
    /// Where the coordinator takes agents, instead of where it was when this host joined
    #[arg(long, value_name = "HOST:PORT", value_parser = checked_address)]
    pub coordinator: Option<String>,
    /// Where to look, and what to say.
    #[command(flatten)]
    pub common: CommonArguments,
}

/// How an answer is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum OutputFormat {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

impl DoctorArguments {
    /// What was said, as settings.
    #[must_use]
    pub fn settings(&self) -> Settings {
        Settings {
            state_directory: self.common.state_directory.clone(),
            libvirt_uri: self.libvirt_uri.clone(),
            kvm: self.kvm,
            coordinator: self.coordinator.clone(),
            log_level: self.common.log_level,
            ..Settings::default()
        }
    }
}

/// What both commands take.
#[derive(Debug, Args)]
pub struct CommonArguments {
    /// Where the agent keeps its identity and what it must remember [default: /var/lib/reeve-agent]
    #[arg(long, value_name = "DIRECTORY")]
    pub state_directory: Option<PathBuf>,
    /// The configuration file; the default one may be missing
    #[arg(long, value_name = "FILE", help = format!("The configuration file [default: {CONFIGURATION_FILE}, which may be missing]"))]
    pub config: Option<PathBuf>,
    /// How much to log: error, warn, info, debug or trace [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<LogLevel>,
}

impl JoinArguments {
    /// What was said, as settings.
    #[must_use]
    pub fn settings(&self) -> Settings {
        Settings {
            state_directory: self.common.state_directory.clone(),
            log_level: self.common.log_level,
            ..Settings::default()
        }
    }
}

impl RunArguments {
    /// What was said, as settings.
    #[must_use]
    pub fn settings(&self) -> Settings {
        Settings {
            state_directory: self.common.state_directory.clone(),
            hypervisor: self.hypervisor,
            libvirt_uri: self.libvirt_uri.clone(),
            kvm: self.kvm,
            coordinator: self.coordinator.clone(),
            log_level: self.common.log_level,
            watchdog_device: self.watchdog_device.clone(),
            watchdog_timeout: self.watchdog_timeout,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed_and_its_help_has_examples() {
        let mut command = CommandLine::command();
        command.clone().debug_assert();
        let help = command.render_long_help().to_string();
        assert!(help.contains("reeve-agent join @") && help.contains("Exit status"), "{help}");
    }

    #[test]
    fn all_settings_can_be_said() {
        let said = CommandLine::try_parse_from([
            "reeve-agent",
            "run",
            "--state-directory",
            "/s",
            "--hypervisor",
            "simulated",
            "--libvirt-uri",
            "test:///default",
            "--coordinator",
            "c:1",
            "--log-level",
            "debug",
            "--watchdog-device",
            "/dev/watchdog1",
            "--watchdog-timeout",
            "30 s",
            "--config",
            "/c",
        ])
        .unwrap();
        let Command::Run(arguments) = said.command else { panic!("{said:?}") };
        assert_eq!(arguments.settings().hypervisor, Some(HypervisorKind::Simulated));
        assert_eq!(arguments.settings().coordinator.as_deref(), Some("c:1"));
        assert_eq!(arguments.settings().watchdog_timeout, Some(Duration::from_secs(30)));
        for wrong in
            [["run", "--hypervisor=xen"], ["run", "--coordinator=nowhere"], ["run", "--log-level=loud"]]
        {
            let refused = CommandLine::try_parse_from(["reeve-agent"].iter().chain(&wrong)).unwrap_err();
            assert_eq!(refused.exit_code(), i32::from(EXIT_USAGE));
        }
    }
}
