//! Owns the options of `setup simulate`, and how hosts that are not there are written.

use std::collections::BTreeMap;

use clap::Args;
use reeve_common::ids::{CostFunctionName, HostName, SetupName};

use super::label;
use crate::api::types::AddedHosts;

pub(super) const EXAMPLES: &str = "\
Examples:
  reeve setup simulate small
  reeve setup simulate small --terms
  reeve setup simulate small --owner ann --team physics
  reeve setup simulate small --count 40
  reeve setup simulate small --count 40 --with-host r750=2
  reeve setup simulate small --with-host r750=2,rack=r9,tier=gpu --with-host r650
  reeve setup simulate small --count 40 --without-host node-1 --without-host node-2
  reeve setup simulate small --cost pack -o json

A host to be added is PROFILE, PROFILE=N for N of them, and may carry labels: PROFILE=N,KEY=VALUE,...
The exit code is 6 when no host can take it, and with --count when not all of them fit.";

/// What is simulated.
#[derive(Debug, Args)]
pub(in crate::cli) struct SimulateArguments {
    /// The setup.
    #[arg(value_name = "SETUP")]
    pub(in crate::cli) name: SetupName,
    /// How many VMs, one after the other: how many of them fit, where, and what stops the next one.
    #[arg(long, value_name = "NUMBER")]
    pub(in crate::cli) count: Option<usize>,
    /// As if there were hosts of this hardware profile besides; may be repeated.
    #[arg(long = "with-host", value_name = "PROFILE[=N][,KEY=VALUE...]", value_parser = added_hosts)]
    pub(in crate::cli) with_hosts: Vec<AddedHosts>,
    /// As if this host were not there; may be repeated.
    #[arg(long = "without-host", value_name = "HOST")]
    pub(in crate::cli) without_hosts: Vec<HostName>,
    /// As if all hosts were judged by this cost function.
    #[arg(long, value_name = "COST-FUNCTION")]
    pub(in crate::cli) cost: Option<CostFunctionName>,
    /// Whose VM it would be, for cost functions that count an owner's VMs, and for quotas.
    #[arg(long, requires = "team")]
    pub(in crate::cli) owner: Option<String>,
    /// The owner's team.
    #[arg(long, requires = "owner")]
    pub(in crate::cli) team: Option<String>,
    /// Show each term of each host's cost as well.
    #[arg(long, conflicts_with = "count")]
    pub(in crate::cli) terms: bool,
}

/// Reads `PROFILE[=N][,KEY=VALUE...]`.
fn added_hosts(text: &str) -> Result<AddedHosts, String> {
    let mut parts = text.split(',');
    let first = parts.next().unwrap_or_default();
    let (profile, count) = first.split_once('=').unwrap_or((first, "1"));
    let count: usize = count
        .parse()
        .map_err(|_| format!("{count:?} is no number of hosts: write PROFILE=N, such as r750=2"))?;
    if count == 0 {
        return Err("no host at all would be added: write PROFILE=N with N of at least 1".to_owned());
    }
    let profile = profile.parse().map_err(|error: reeve_common::ids::InvalidName| error.to_string())?;
    let labels = parts.map(label).collect::<Result<BTreeMap<String, String>, String>>()?;
    Ok(AddedHosts { profile, count, labels })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_are_not_there_are_read() {
        let added = added_hosts("r750=2,rack=r9,tier=gpu").unwrap();
        assert_eq!((added.profile.as_str(), added.count), ("r750", 2));
        assert_eq!(added.labels.len(), 2);
        assert_eq!(added.labels["rack"], "r9");
        assert_eq!(added_hosts("r650").unwrap().count, 1);
        for (bad, words) in [
            ("", "empty"),
            ("r750=", "no number"),
            ("r750=-1", "no number"),
            ("r750=0", "at least 1"),
            ("r750=99999999999999999999999", "no number"),
            ("r750=1,rack", "KEY=VALUE"),
            ("a b=1", "' '"),
        ] {
            let error = added_hosts(bad).unwrap_err();
            assert!(error.contains(words), "{bad:?}: {error}");
        }
    }
}
