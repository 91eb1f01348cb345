//! Owns what can be typed after `reeve`: commands, options, their help and its examples.
//!
//! Must not: do anything.

mod adoption;
mod audit;
mod catalogue;
mod cost;
mod cost_explain;
mod debug;
mod host;
mod journal;
mod realm;
mod replay;
mod simulation;
mod vm;
mod warning;
mod workflow;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use reeve_common::units::parse_duration;

pub(super) use self::adoption::AdoptArguments;
pub(super) use self::audit::AuditCommand;
pub(super) use self::catalogue::{
    ConfigurationCommand, CreateFrom, DriveCommand, ImageCommand, SetupCommand,
};
pub(super) use self::cost::{CostCommand, PlotArguments};
pub(super) use self::cost_explain::CostExplainArguments;
pub(super) use self::debug::DebugCommand;
pub(super) use self::host::HostCommand;
pub(super) use self::journal::JournalPart;
pub(super) use self::realm::{ProfileCommand, RealmCommand, VolumeCommand};
pub(super) use self::replay::ReplayArguments;
pub(super) use self::simulation::SimulateArguments;
pub(super) use self::vm::{VmCommand, Waiting};
pub(super) use self::warning::WarningCommand;
pub(super) use self::workflow::WorkflowCommand;
use super::exit::EXIT_CODES_HELP;

/// Where the coordinator listens unless something else is said.
pub const SOCKET_DEFAULT: &str = "/run/reeve-coordinator/api.sock";

const EXAMPLES: &str = "\
Examples:
  reeve status
  reeve host list
  reeve setup create -f small.conf
  reeve setup simulate small --count 40
  reeve vm start web-1 web-2
  reeve vm list -o json
  reeve vm show web-1
  reeve vm why web-1 --host node-2
  reeve vm shutdown web-1

`reeve COMMAND --help` shows the examples of a command.";

/// Places virtual machines on KVM hosts, keeps them running, and says why each is where it is.
#[derive(Debug, Parser)]
#[command(name = "reeve", version)]
#[command(after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES_HELP}"))]
#[command(arg_required_else_help = true, max_term_width = 110)]
pub struct Arguments {
    /// What holds for every command.
    #[command(flatten)]
    pub(super) global: Global,
    /// What to do.
    #[command(subcommand)]
    pub(super) command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options of every command")]
pub(super) struct Global {
    /// The coordinator's socket.
    #[arg(long, global = true, value_name = "PATH", env = "REEVE_SOCKET", default_value = SOCKET_DEFAULT, hide_env_values = true)]
    pub(super) socket: PathBuf,
    /// A table for people, or JSON for programs.
    #[arg(short, long, global = true, value_name = "FORMAT", value_enum, default_value_t)]
    pub(super) output: Format,
    /// Leave out the line with the columns' names.
    #[arg(long, global = true)]
    pub(super) no_header: bool,
    /// Print names (of VMs: ids) alone, one on a line, and no progress.
    #[arg(short, long, global = true)]
    pub(super) quiet: bool,
}

/// How answers are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
}

const REPLAY_EXAMPLES: &str = "\
Examples:
  reeve replay --hosts cluster.hosts.csv --vms cluster.vms.csv
  reeve replay --hosts cluster.hosts.csv --vms cluster.vms.csv --cost pack --cost spread
  reeve replay --hosts gpus.hosts.csv --vms gpus.vms.csv --ignore-times --demand 1.3 --seeds 1..10
  reeve replay --hosts gpus.hosts.csv --vms gpus.vms.csv --cost unfragmented -o json
  reeve replay --hosts cluster.hosts.csv --vms cluster.vms.csv --cost mine.conf --cost pack --svg hosts.svg

A file of cost functions is a configuration with a section cost-functions, or only what would stand in it.

No coordinator is needed. A VM whose device_class is empty takes any class, A|B one of these; device_permille below
1000 is a share of one device; without depart_s it stays.";

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// The coordinator and its fleet at a glance.
    #[command(after_help = "Examples:\n  reeve status\n  reeve status -o json")]
    Status,
    /// Realms: environments of hosts, images and drives, declared in the configuration.
    #[command(subcommand)]
    Realm(RealmCommand),
    /// Hosts: the machines that VMs run on.
    #[command(subcommand)]
    Host(HostCommand),
    /// Hardware profiles: what of a kind of host may be scheduled.
    #[command(subcommand)]
    Profile(ProfileCommand),
    /// Cost functions: what placement minimises.
    #[command(subcommand)]
    Cost(CostCommand),
    /// Images (bricks): what VMs boot from.
    #[command(subcommand)]
    Image(ImageCommand),
    /// Hardware setups: templates of VMs.
    #[command(subcommand)]
    Setup(SetupCommand),
    /// VM configurations: setups made somebody's, to be started again and again.
    #[command(subcommand, visible_alias = "configuration")]
    Config(ConfigurationCommand),
    /// Drives: users' disks.
    #[command(subcommand)]
    Drive(DriveCommand),
    /// Volumes in a realm's storage pools.
    #[command(subcommand)]
    Volume(VolumeCommand),
    /// VMs: runs of configurations.
    #[command(subcommand)]
    Vm(VmCommand),
    /// The audit log: who did what, and the proof that nobody changed what it says.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Standing warnings: what is wrong now, and what to do about it.
    #[command(subcommand)]
    Warning(WarningCommand),
    /// Workflows: actions of several steps, such as emptying a host.
    #[command(subcommand)]
    Workflow(WorkflowCommand),
    /// For whoever helps with trouble.
    #[command(subcommand)]
    Debug(DebugCommand),
    /// Replays a trace of VMs against a fleet, offline, to choose a cost function by its outcome.
    #[command(after_help = REPLAY_EXAMPLES)]
    Replay(ReplayArguments),
}

/// Reads a duration as people write it.
fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|error| error.to_string())
}

/// Reads `KEY=VALUE`.
fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("a label is KEY=VALUE, such as rack=r3".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_commands_are_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_command_that_does_something_shows_an_example() {
        fn visit(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            let mut below = command.get_subcommands().filter(|below| below.get_name() != "help").peekable();
            if below.peek().is_none() {
                let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
                let typed = path.trim_start();
                assert!(
                    help.contains("Example") && help.contains(typed),
                    "`{typed}` shows no example of itself"
                );
                assert!(command.get_about().is_some(), "`{typed}` does not say what it does");
            }
            below.for_each(|command| visit(command, &path));
        }
        visit(&Arguments::command(), "");
    }

    #[test]
    fn the_examples_of_the_help_can_be_typed() {
        fn visit(command: &clap::Command, examples: &mut Vec<String>) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let lines = help.lines().map(str::trim).filter(|line| line.starts_with("reeve "));
            examples.extend(lines.map(|line| line.split(" | ").next().unwrap_or(line).to_owned()));
            command.get_subcommands().for_each(|command| visit(command, examples));
        }
        let mut examples = Vec::new();
        visit(&Arguments::command(), &mut examples);
        assert!(examples.len() > 40, "{examples:?}");
        for example in examples.iter().filter(|example| !example.contains("COMMAND")) {
            let words = split_words(example);
            if let Err(error) = Arguments::try_parse_from(words) {
                panic!("{example:?} cannot be typed: {error}");
            }
        }
    }

    #[test]
    fn the_journals_catalogue_names_commands_that_there_are() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/journal/reeve.catalog");
        let text = std::fs::read_to_string(file).unwrap().replace('\n', " ");
        let quoted = text.split('"').skip(1).step_by(2).filter(|quoted| quoted.starts_with("reeve "));
        let mut count = 0;
        for typed in quoted {
            let mut command = Arguments::command();
            for word in typed.split_whitespace().skip(1).take_while(|word| !word.starts_with('-')) {
                if !command.has_subcommands() {
                    break; // the rest is what it is about
                }
                let below = command.find_subcommand(word).cloned();
                command = below.unwrap_or_else(|| panic!("{typed:?} in the catalogue is no command"));
            }
            count += 1;
        }
        assert!(count > 15, "only {count} commands were found");
    }

    /// Words as a shell splits them, with double quotes.
    fn split_words(line: &str) -> Vec<String> {
        let mut words = Vec::new();
        for (index, part) in line.split('"').enumerate() {
            if index % 2 == 1 {
                words.push(part.to_owned());
            } else {
                words.extend(part.split_whitespace().map(str::to_owned));
            }
        }
        words
    }
}
