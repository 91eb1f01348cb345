//! Owns the commands about what the configuration declares, and about pools' volumes.

use std::time::Duration;

use clap::Subcommand;
use reeve_common::ids::RealmName;

use super::duration;
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
    /// Compares all hosts of a realm with the records of their VMs, and repairs what repairs by itself.
    #[command(
        after_help = "Examples:\n  reeve realm fix-vms primary\n  reeve realm fix-vms primary --dry-run\n  reeve realm fix-vms primary -o json\n\nWhat needs a decision is told with the choices. The exit code is 5 when a host could not be asked: what runs there is unknown, and is never taken for off. It is 1 when a repair could not be recorded.\n\nWhat somebody does to a VM with virsh is seen within a second, and this becomes of it:\n  started                    kept as if reeve had started it: its guest must register in time\n  stopped                    recorded as ended, and what is left of it is removed\n  stopped while starting     the same: it is not tried again\n  suspended, resumed         recorded\n  undefined while it runs    kept as long as it runs\n  undefined while it is off  recorded as ended\n  its ledger removed         shown as unknown and left alone, until the ledger is back or the domain gone\n  given another size         left as it is; what it takes beyond its own counts as used\n  found stopped              as after its host lost power: failed, and started anew where when-host-lost is restart"
    )]
    FixVms {
        /// The realm's key in the configuration.
        #[arg(value_name = "REALM")]
        name: RealmName,
        /// Look, and repair nothing.
        #[arg(long)]
        dry_run: bool,
        /// How long all hosts together may take; those not heard by then could not be asked.
        #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "2 minutes")]
        timeout: Duration,
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
