//! Owns the commands about hosts.

use std::time::Duration;

use clap::Subcommand;
use reeve_common::ids::{HostName, ProfileName, RealmName};

use super::{JournalPart, Waiting, duration, label};
use crate::api::types::{HostState, NewHost};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum HostCommand {
    /// Lists the hosts, whether they are connected, and what of them is promised to VMs.
    #[command(after_help = "Examples:\n  reeve host list\n  reeve host list -o json\n  reeve host list -q")]
    List,
    /// Shows all that is known of one host.
    #[command(after_help = "Example:\n  reeve host show node-1")]
    Show {
        /// The host.
        #[arg(value_name = "HOST")]
        name: HostName,
    },
    /// Adds a host; `join-token` then lets its agent in.
    #[command(
        after_help = "Examples:\n  reeve host add node-1 --realm primary --profile r750\n  reeve host add node-2 --realm primary --profile r750 --state no-scheduler --label rack=r3"
    )]
    Add {
        /// Its name.
        #[arg(value_name = "HOST")]
        name: HostName,
        /// Its realm.
        #[arg(long)]
        realm: RealmName,
        /// Its hardware profile.
        #[arg(long)]
        profile: ProfileName,
        /// How its agent reaches libvirt.
        #[arg(long, default_value = NewHost::URI_DEFAULT)]
        uri: String,
        /// Its first state.
        #[arg(long, value_enum, default_value_t)]
        state: HostState,
        /// A label, for affinity and cost functions; may be given several times.
        #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
        labels: Vec<(String, String)>,
    },
    /// Changes whether a host may be used.
    #[command(
        after_help = "Examples:\n  reeve host set-state node-1 no-scheduler\n  reeve host set-state node-1 enabled"
    )]
    SetState {
        /// The host.
        #[arg(value_name = "HOST")]
        name: HostName,
        /// Its new state.
        #[arg(value_enum)]
        state: HostState,
    },
    /// Makes the line with which a host's agent joins. It holds a secret, works once, and expires.
    #[command(
        after_help = "Examples:\n  reeve host join-token node-1\n  reeve host join-token node-1 --lifetime \"15 minutes\"\n  reeve host join-token node-1 | ssh node-1 sudo -u reeve-agent reeve-agent join -"
    )]
    JoinToken {
        /// The host.
        #[arg(value_name = "HOST")]
        name: HostName,
        /// How long it can be used; 15 minutes when left out.
        #[arg(long, value_name = "DURATION", value_parser = duration)]
        lifetime: Option<Duration>,
    },
    /// Empties a host: it is chosen for nothing new, and its VMs are stopped, those of low priority first.
    #[command(
        after_help = "Examples:\n  reeve host drain node-1\n  reeve host drain node-1 --grace \"30 seconds\"\n  reeve host drain node-1 --no-wait -o json\n  reeve host drain node-1 --cancel\n\nVMs whose configuration says when-host-lost = restart are started again on another host.\nA drain survives a restart of the coordinator. When it is cancelled, VMs that were not asked to stop stay, and the host is chosen again."
    )]
    Drain {
        /// The host.
        #[arg(value_name = "HOST")]
        name: HostName,
        /// How long each guest has to shut down; the realm's `shutdown-timeout` when left out.
        #[arg(long, value_name = "DURATION", value_parser = duration, conflicts_with = "cancel")]
        grace: Option<Duration>,
        /// End it instead.
        #[arg(long)]
        cancel: bool,
        #[command(flatten)]
        waiting: Waiting,
    },
    /// Lets a host that was emptied be chosen again.
    #[command(after_help = "Example:\n  reeve host undrain node-1")]
    Undrain {
        /// The host.
        #[arg(value_name = "HOST")]
        name: HostName,
    },
    /// Switches a host off with the fence command of its realm, and waits for the outcome.
    ///
    /// Its VMs end. The host counts as off only when the command's status says so and its agent does not answer.
    #[command(after_help = "Examples:\n  reeve host fence node-1\n  reeve host fence node-1 --dry-run")]
    Fence {
        /// The host.
        #[arg(value_name = "HOST")]
        name: HostName,
        /// Only asks the command for the host's status, and shows what it would be told.
        #[arg(long)]
        dry_run: bool,
    },
    /// States that a host is off, so that its VMs may be started elsewhere. You answer for it.
    ///
    /// If the host is not off, VMs run twice and their disks are lost: go and look at it, or pull its plug.
    #[command(after_help = "Example:\n  reeve host confirm-off node-1 --yes-it-is-off")]
    ConfirmOff {
        /// The host.
        #[arg(value_name = "HOST")]
        name: HostName,
        /// You have made sure that it is off.
        #[arg(long, required = true)]
        yes_it_is_off: bool,
    },
    /// Shows what a host's agent and its libvirt write into its journal.
    #[command(
        after_help = "Examples:\n  reeve host logs node-1\n  reeve host logs node-1 -n 20 -o json\n  reeve host logs node-1 --since \"30 minutes\"\n  reeve host logs node-1 -f\n\nThe host's agent reads the journal: its user must be in the group systemd-journal.\nWith -f and -o json each line is one document."
    )]
    Logs {
        /// The host.
        #[arg(value_name = "HOST")]
        name: HostName,
        #[command(flatten)]
        part: JournalPart,
    },
    /// Removes a host that runs no VMs. Its certificate is refused from then on.
    #[command(after_help = "Example:\n  reeve host delete node-1")]
    Delete {
        /// The host.
        #[arg(value_name = "HOST")]
        name: HostName,
    },
}
