//! Owns the commands about what the configuration declares, and about pools' volumes.

use clap::Subcommand;
use reeve_common::ids::RealmName;

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
