//! Owns the commands about cost functions.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use reeve_common::ids::CostFunctionName;

use super::cost_explain::CostExplainArguments;

const CHECK_EXAMPLES: &str = "\
Examples:
  reeve cost check /etc/reeve/coordinator.conf
  reeve cost check mine.conf -o json

mine.conf holds a whole configuration, of which the section `cost-functions` is looked at, or only what would stand in
that section, or only the terms of one cost function:

  by     = total
  cpu    = \"2 * power(cores.load, 2)\"
  memory = \"barrier(memory.load, 95 %)\"

The exit code is 2 when there is a mistake. No coordinator is asked.";

const PLOT_EXAMPLES: &str = "\
Examples:
  reeve cost plot balanced
  reeve cost plot balanced --attribute memory.load --with cores.load=0.9
  reeve cost plot mine --file mine.conf --svg mine.svg
  reeve cost plot pack spread balanced --attribute memory.load
  reeve cost plot \"power(x, 2)\" \"exponential(x, 8)\"
  reeve cost plot \"barrier(memory.free, 64 GiB)\" --from 0 --to \"128 GiB\" -o json

Numbers are written as in a term. No coordinator is asked.";

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum CostCommand {
    /// Lists the coordinator's cost functions with their terms.
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
    /// Lists the curves that terms are made of; or tells all about one, with a picture.
    #[command(
        after_help = "Examples:\n  reeve cost curves\n  reeve cost curves barrier\n  reeve cost curves -o json"
    )]
    Curves {
        /// The curve.
        #[arg(value_name = "CURVE")]
        name: Option<String>,
    },
    /// Lists the attributes of hosts and VMs that terms are made of.
    #[command(after_help = "Examples:\n  reeve cost attributes\n  reeve cost attributes -o json")]
    Attributes,
    /// Checks the cost functions in a file and shows every mistake with its line and column.
    #[command(after_help = CHECK_EXAMPLES)]
    Check {
        /// The file, in HOCON or JSON.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Draws cost functions or expressions over an attribute.
    #[command(after_help = PLOT_EXAMPLES)]
    Plot(PlotArguments),
}

/// What is drawn, and how.
#[derive(Debug, Args)]
pub(in crate::cli) struct PlotArguments {
    /// A cost function of the file, a preset, or an expression in which `x` may stand; several are compared by their
    /// sums. All of the file's when left out.
    #[arg(value_name = "NAME", required_unless_present = "file")]
    pub(in crate::cli) names: Vec<String>,
    /// A file with cost functions, as for `reeve cost check`.
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) file: Option<PathBuf>,
    /// The attribute to draw over. When left out, the first in use that placing a VM changes.
    #[arg(long, value_name = "ATTRIBUTE")]
    pub(in crate::cli) attribute: Option<String>,
    /// Where the picture begins.
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pub(in crate::cli) from: Option<String>,
    /// Where the picture ends.
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pub(in crate::cli) to: Option<String>,
    /// What another attribute is taken to be. May be given several times.
    #[arg(long, value_name = "ATTRIBUTE=NUMBER", value_parser = value)]
    pub(in crate::cli) with: Vec<(String, String)>,
    /// Write the picture to this file as SVG instead of drawing it here.
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) svg: Option<PathBuf>,
}

/// Reads `ATTRIBUTE=NUMBER`.
fn value(text: &str) -> Result<(String, String), String> {
    // A comparison of texts holds such signs itself; a number does not.
    match text.rsplit_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => {
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        }
        _ => Err("write ATTRIBUTE=NUMBER, such as cores.load=0.5 or \"memory.free=8 GiB\"".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::value;

    #[test]
    fn the_last_sign_divides_name_and_value() {
        let read = |name: &str, value: &str| Ok((name.to_owned(), value.to_owned()));
        assert_eq!(value("memory.free=8 GiB"), read("memory.free", "8 GiB"));
        assert_eq!(value("host.label.rack == 'r1'=true"), read("host.label.rack == 'r1'", "true"));
        assert!(value("cores.load").is_err() && value("=1").is_err() && value("vms=").is_err());
    }
}
