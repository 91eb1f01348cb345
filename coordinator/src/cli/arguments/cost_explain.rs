//! Owns the options of `cost explain`.

use clap::Args;
use reeve_common::ids::{HostName, SetupName};

pub(super) const EXAMPLES: &str = "\
Examples:
  reeve cost explain balanced --host node-1 --setup small
  reeve cost explain spread --host node-1 --setup small --owner ann --team physics
  reeve cost explain unfragmented --host node-1 --setup small -o json";

/// For which host and which VM a cost function is worked out.
#[derive(Debug, Args)]
pub(in crate::cli) struct CostExplainArguments {
    /// The host, as it stands now.
    #[arg(long, value_name = "HOST")]
    pub(in crate::cli) host: HostName,
    /// The setup that the VM would be of.
    #[arg(long, value_name = "SETUP")]
    pub(in crate::cli) setup: SetupName,
    /// Whose VM it would be, for cost functions that count an owner's VMs.
    #[arg(long, requires = "team")]
    pub(in crate::cli) owner: Option<String>,
    /// The owner's team.
    #[arg(long, requires = "owner")]
    pub(in crate::cli) team: Option<String>,
}
