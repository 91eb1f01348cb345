//! Owns the commands about the audit log.

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum AuditCommand {
    /// Shows the audit log's last records: who did what, when, and what became of it.
    #[command(
        after_help = "Examples:\n  reeve audit tail\n  reeve audit tail -n 200 -o json\n  reeve audit tail -f\n\nWith -f and -o json each record is one line. The log keeps what was done and what was refused, not what was read."
    )]
    Tail {
        /// Go on with records as they are made, until interrupted.
        #[arg(short, long)]
        follow: bool,
        /// How many records to begin with.
        #[arg(short, long, value_name = "COUNT", default_value_t = 20)]
        number: u64,
    },
    /// Proves the audit log whole: its chain, its checkpoints' signatures, and what hosts keep of it as witnesses.
    #[command(
        after_help = "Examples:\n  reeve audit verify\n  reeve audit verify -o json\n\nThe exit code is 1 when something is wrong. `reeve-coordinator audit-verify` does the same without a coordinator that runs, and without witnesses."
    )]
    Verify,
}
