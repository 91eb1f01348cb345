//! Owns the commands about standing warnings.

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum WarningCommand {
    /// Lists what is wrong now, how bad it is, since when, and how often it has come up.
    #[command(
        after_help = "Examples:\n  reeve warning list\n  reeve warning list --all\n  reeve warning list -o json\n\nA warning stands as long as what it says is so, and nothing needs to be reset. Of one kind the first fifty are listed by name and the rest together as `others`."
    )]
    List {
        /// Also those that are gone; they are remembered for a week.
        #[arg(long)]
        all: bool,
    },
    /// Shows one warning with what to do about it.
    #[command(after_help = "Example:\n  reeve warning show silent-host/node-1")]
    Show {
        /// The warning, as `reeve warning list` names it.
        #[arg(value_name = "WARNING", value_parser = warning_id)]
        id: String,
    },
    /// Says that you know: it is not counted any more until it is worse, or comes up again.
    #[command(
        after_help = "Examples:\n  reeve warning ack silent-host/node-1\n  reeve warning ack clock-skew/node-1 clock-skew/node-2"
    )]
    Ack {
        /// The warnings, as `reeve warning list` names them.
        #[arg(value_name = "WARNING", required = true, value_parser = warning_id)]
        ids: Vec<String>,
    },
}

/// Two words with a slash between them, which can stand in a path.
fn warning_id(text: &str) -> Result<String, String> {
    let is_word = |word: &str| {
        !word.is_empty()
            && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
    };
    match text.split_once('/') {
        Some((kind, subject)) if is_word(kind) && is_word(subject) => Ok(text.to_owned()),
        _ => Err("a warning is named as `reeve warning list` does, such as silent-host/node-1".to_owned()),
    }
}
