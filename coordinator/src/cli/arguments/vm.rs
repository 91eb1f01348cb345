//! Owns the commands about VMs.

use std::time::Duration;

use clap::{Args, Subcommand};
use reeve_common::ids::{ConfigurationName, HostName};

use super::{AdoptArguments, JournalPart, duration};
use crate::cli::selector::VmSelector;

/// Whether and how long to wait.
#[derive(Debug, Clone, Copy, Args)]
pub(in crate::cli) struct Waiting {
    /// Return as soon as the coordinator has taken note.
    #[arg(long)]
    pub(in crate::cli) no_wait: bool,
    /// How long to wait; after that the exit code is 7, and things go on by themselves.
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "15 minutes", conflicts_with = "no_wait")]
    pub(in crate::cli) timeout: Duration,
}

impl Waiting {
    /// For what is done at once by a host that is connected.
    pub(in crate::cli) const BRIEFLY: Self = Self { no_wait: false, timeout: Duration::from_secs(60) };
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum VmCommand {
    /// Starts a VM of each configuration, several planned together, and waits until their guests have registered.
    #[command(
        after_help = "Examples:\n  reeve vm start web-1\n  reeve vm start web-1 web-2 web-3 --timeout 10m\n  reeve vm start web-1 --no-wait\n  reeve vm start web-1 -o json\n\nThe exit code is 1 when a VM failed, 6 when no host can take one, 7 when the time was up.\nA VM that no host can take is kept and tried again when the fleet changes; `reeve vm destroy` gives it up.\nWith -o json the answer is always a list."
    )]
    Start {
        /// The VM configurations.
        #[arg(value_name = "CONFIGURATION", required = true)]
        configurations: Vec<ConfigurationName>,
        #[command(flatten)]
        waiting: Waiting,
    },
    /// Lists the VMs that are not over.
    #[command(
        after_help = "Examples:\n  reeve vm list\n  reeve vm list -o json\n  reeve vm list -q\n  reeve vm list --unmanaged"
    )]
    List {
        /// Instead, the domains on all hosts that nobody manages, and whether they can be adopted.
        #[arg(long)]
        unmanaged: bool,
    },
    /// Makes a domain that nobody manages a VM, where it runs and without a restart.
    #[command(
        after_help = "Examples:\n  reeve vm list --unmanaged\n  reeve vm adopt node-1/legacy-db --owner ada --team engines\n  reeve vm adopt node-1/6f3c1a52-57b2-4c1e-9d0a-0d7a3c1e2b4f --owner ada --team engines --title \"Old database\" -o json\n\nThe domain must run, be persistent, have a VM's name, and be managed by nobody else; its disks must not be in use by another VM. Nothing of it is changed but that reeve's ledger is written into its metadata; its capacity, which counted as others', is its own from then on. When it stops, by `reeve vm shutdown` or by itself, its domain and its disks are left as they are and nobody manages it again; reeve has no image to start it from."
    )]
    Adopt(AdoptArguments),
    /// Gives VMs that were adopted back as they are: they run on, and nobody manages them.
    #[command(
        after_help = "Examples:\n  reeve vm release legacy-db\n  reeve vm release legacy-db -o json\n\nOnly what was adopted can be released."
    )]
    Release {
        /// The VMs.
        #[arg(value_name = "VM", required = true)]
        vms: Vec<VmSelector>,
    },
    /// Shows one VM: its life so far, and why it is where it is.
    #[command(
        after_help = "Examples:\n  reeve vm show web-1\n  reeve vm show 0f8fad5b -o json\n\nA VM is named by its id, the unique start of its id, its name, or a configuration with one VM."
    )]
    Show {
        /// The VM.
        #[arg(value_name = "VM")]
        vm: VmSelector,
    },
    /// Says why a VM is not on a host, or is: when it was placed, and now.
    #[command(
        after_help = "Examples:\n  reeve vm why web-1 --host node-2\n  reeve vm why web-1 --host node-2 -o json\n\nNow is told as if the VM were nowhere: what it holds itself is left out of the account."
    )]
    Why {
        /// The VM.
        #[arg(value_name = "VM")]
        vm: VmSelector,
        /// The host.
        #[arg(long, value_name = "HOST")]
        host: HostName,
    },
    /// Asks guests to shut down, and waits until their VMs are gone.
    #[command(
        after_help = "Examples:\n  reeve vm shutdown web-1\n  reeve vm shutdown web-1 web-2 --grace \"30 seconds\"\n  reeve vm shutdown web-1 --no-wait\n\nA guest that has not shut down when its grace is over is destroyed."
    )]
    Shutdown {
        /// The VMs.
        #[arg(value_name = "VM", required = true)]
        vms: Vec<VmSelector>,
        /// How long the guest has; the coordinator's default when left out.
        #[arg(long, value_name = "DURATION", value_parser = duration)]
        grace: Option<Duration>,
        #[command(flatten)]
        waiting: Waiting,
    },
    /// Pulls VMs' plugs, and waits until they are gone. What their guests had not written is lost.
    #[command(after_help = "Examples:\n  reeve vm destroy web-1\n  reeve vm destroy web-1 web-2 --no-wait")]
    Destroy {
        /// The VMs.
        #[arg(value_name = "VM", required = true)]
        vms: Vec<VmSelector>,
        #[command(flatten)]
        waiting: Waiting,
    },
    /// Starts VMs of a lost host elsewhere.
    #[command(
        after_help = "Examples:\n  reeve vm restart-elsewhere web-1\n  reeve vm restart-elsewhere web-1 web-2 -o json\n\nWithout a proof that the lost host runs the VM no more it is refused, with what is missing: the host was fenced, its lease ran out with a watchdog behind it, or a person has stated with `reeve host confirm-off` that it is off.\nWhat the guest had on its system disk is lost; its drives are as they were."
    )]
    RestartElsewhere {
        /// The VMs.
        #[arg(value_name = "VM", required = true)]
        vms: Vec<VmSelector>,
    },
    /// Shows what happened to a VM, what its hosts' journals say of it, and the end of its serial console's output.
    #[command(
        after_help = "Examples:\n  reeve vm logs web-1\n  reeve vm logs web-1 --since 1h\n  reeve vm logs web-1 -f\n  reeve vm logs web-1 --console\n  reeve vm logs web-1 -f -o json\n\nWith -f the journal alone is shown and gone on with; with -o json each line is then one document.\nThe journals are those of all hosts that the VM was on, for as long as each keeps its own; one that does not answer is named.\nThe console is kept for setups with `debug { console = on }`."
    )]
    Logs {
        /// The VM, which may be over.
        #[arg(value_name = "VM")]
        vm: VmSelector,
        /// The console's output alone.
        #[arg(long, conflicts_with_all = ["follow", "since", "lines"])]
        console: bool,
        #[command(flatten)]
        part: JournalPart,
    },
    /// Lists the hundred most recent VMs that are over, and how they ended.
    #[command(after_help = "Examples:\n  reeve vm past\n  reeve vm past -o json")]
    Past,
}
