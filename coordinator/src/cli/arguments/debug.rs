//! Owns the commands for whoever helps with trouble.

use std::path::PathBuf;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum DebugCommand {
    /// Gathers what somebody who helps will ask for into one file, without secrets.
    ///
    /// Versions, the configuration in force, status, hosts, VMs, setups, warnings, metrics, workflows, the audit log's last
    /// records and the coordinator's last journal lines. It holds names of hosts, VMs and people: look at it before it is
    /// given away.
    #[command(
        after_help = "Examples:\n  reeve debug bundle /tmp/reeve-bundle.tar\n  reeve debug bundle /tmp/reeve-bundle.tar -q\n\nThe file is new and only its owner can read it. `tar -tf` lists what is in it. What could not be asked is named in problems.txt; with a coordinator that does not answer the journal is gathered all the same."
    )]
    Bundle {
        /// The file to make.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}
