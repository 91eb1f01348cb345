//! Owns the commands about workflows.

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum WorkflowCommand {
    /// Lists the workflows that are under way, and the most recent ones that are over.
    #[command(after_help = "Examples:\n  reeve workflow list\n  reeve workflow list -o json")]
    List,
    /// Shows one workflow step by step.
    #[command(after_help = "Example:\n  reeve workflow show 3")]
    Show {
        /// Its number.
        #[arg(value_name = "WORKFLOW")]
        id: u64,
    },
    /// Turns a workflow round: what was begun of it is undone as far as it can be. One that is stuck is tried again.
    #[command(after_help = "Example:\n  reeve workflow cancel 3")]
    Cancel {
        /// Its number.
        #[arg(value_name = "WORKFLOW")]
        id: u64,
    },
}
