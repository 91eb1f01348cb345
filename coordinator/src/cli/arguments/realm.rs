//! Owns the commands about what the configuration declares, and about pools' volumes.

use clap::Subcommand;
use reeve_common::ids::{CostFunctionName, RealmName};

use super::cost_explain::CostExplainArguments;
use crate::api::types::PoolKind;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum RealmCommand {
    /// Lists the realms.
    #[command(after_help = "Examples:\n  reeve realm list\n  reeve realm list -o json")]
    List,
    /// Shows one realm: its pools, its rules, and what is in it.
    #[command(after_help = "Example:\n  reeve realm show primary")]
    Show {
        /// The realm's key in the configuration.
        #[arg(value_name = "REALM")]
        name: RealmName,
    },
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ProfileCommand {
    /// Lists the hardware profiles, what VMs may be promised on each, and the hosts that have them.
    #[command(after_help = "Examples:\n  reeve profile list\n  reeve profile list -o json")]
    List,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum CostCommand {
    /// Lists the cost functions with their terms.
    #[command(after_help = "Examples:\n  reeve cost list\n  reeve cost list -o json")]
    List,
    /// Works out a cost function for a host as it stands and a VM of a setup: what goes into it, and what comes out.
    #[command(after_help = super::cost_explain::EXAMPLES)]
    Explain {
        /// The cost function, declared or preset.
        #[arg(value_name = "COST-FUNCTION")]
        name: CostFunctionName,
        #[command(flatten)]
        arguments: CostExplainArguments,
    },
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum VolumeCommand {
    /// Lists the volumes in a realm's pools, as one of its hosts sees them.
    #[command(
        after_help = "Examples:\n  reeve volume list --realm primary\n  reeve volume list --realm primary --pool bricks"
    )]
    List {
        /// The realm.
        #[arg(long)]
        realm: RealmName,
        /// Which of its pools; all three when left out.
        #[arg(long, value_enum)]
        pool: Option<PoolKind>,
    },
}
