//! Owns the words of `reeve replay`.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use clap::Args;

use crate::replay::{DEMAND_MAX, Demand};

/// Seeds of one call: enough for a mean to stand still.
const SEEDS_MAX: u64 = 1000;

/// What is replayed, and how.
#[derive(Debug, Args)]
pub(in crate::cli) struct ReplayArguments {
    /// The hosts, as CSV: host,millicores,memory_mib,device_class,device_count
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) hosts: PathBuf,
    /// The VMs, as CSV: vm,millicores,memory_mib,device_class,device_count,device_permille,arrive_s,depart_s
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) vms: PathBuf,
    /// A cost function: a preset's name, a file with cost functions for all in it, or FILE:NAME for one of them. May be
    /// given several times; without it all presets are compared.
    #[arg(long = "cost", value_name = "NAME|FILE[:NAME]")]
    pub(in crate::cli) costs: Vec<String>,
    /// Draw VMs at random instead of letting them come and go at the trace's times; nobody leaves.
    #[arg(long)]
    pub(in crate::cli) ignore_times: bool,
    /// How much the drawn VMs ask for in all, as a part of the fleet's devices (of its cores, when no VM asks for devices):
    /// 1.3, or "130 %".
    #[arg(long, value_name = "PART", requires = "ignore_times", default_value = "1.3", value_parser = demand)]
    pub(in crate::cli) demand: Demand,
    /// What the random order begins with: the same seed, the same order.
    #[arg(
        long,
        value_name = "NUMBER",
        requires = "ignore_times",
        conflicts_with = "seeds",
        default_value_t = 1
    )]
    pub(in crate::cli) seed: u64,
    /// Several seeds, each replayed by itself; the last one included.
    #[arg(long, value_name = "FIRST..LAST", requires = "ignore_times", value_parser = seeds)]
    pub(in crate::cli) seeds: Option<RangeInclusive<u64>>,
    /// Write the picture to a file as well, as an SVG image.
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) svg: Option<PathBuf>,
}

impl ReplayArguments {
    /// The seeds to replay with.
    pub(in crate::cli) fn all_seeds(&self) -> RangeInclusive<u64> {
        self.seeds.clone().unwrap_or(self.seed..=self.seed)
    }
}

/// Reads a part such as `1.3` or `130 %`.
fn demand(text: &str) -> Result<Demand, String> {
    let mistake = || {
        let most = DEMAND_MAX.0 / 1000;
        format!(
            "a demand is a part of what the fleet has, above 0 and up to {most}, such as 1.3 or \"130 %\""
        )
    };
    let (number, scale) = match text.trim().strip_suffix('%') {
        Some(percent) => (percent.trim_end(), 10.0),
        None => (text.trim(), 1000.0),
    };
    let permille = number.parse::<f64>().map_err(|_| mistake())? * scale;
    let range = 1.0..=f64::from(DEMAND_MAX.0);
    if !range.contains(&permille.round()) {
        return Err(mistake());
    }
    // Checked to be in a range of positive whole numbers.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    Ok(Demand(permille.round() as u32))
}

/// Reads `1..10`.
fn seeds(text: &str) -> Result<RangeInclusive<u64>, String> {
    let range = text.split_once("..").and_then(|(first, last)| {
        let last = last.strip_prefix('=').unwrap_or(last);
        Some((first.trim().parse::<u64>().ok()?, last.trim().parse::<u64>().ok()?))
    });
    match range {
        Some((first, last)) if first <= last && last - first < SEEDS_MAX => Ok(first..=last),
        Some((first, last)) if first <= last => {
            Err(format!("at most {SEEDS_MAX} seeds can be replayed in one call"))
        }
        _ => Err("seeds are FIRST..LAST, such as 1..10".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn demands_are_parts_or_percent() {
        assert_eq!(demand("1.3"), Ok(Demand(1300)));
        assert_eq!(demand("130 %"), Ok(Demand(1300)));
        assert_eq!(demand("10"), Ok(Demand(10_000)));
        for bad in ["0", "-1", "11", "NaN", "inf", "much", "", "%", "1e300"] {
            assert!(demand(bad).unwrap_err().contains("1.3"), "{bad}");
        }
    }

    #[test]
    fn seeds_are_a_range_with_its_end() {
        assert_eq!(seeds("1..10"), Ok(1..=10));
        assert_eq!(seeds("1..=10"), Ok(1..=10));
        assert_eq!(seeds("7..7"), Ok(7..=7));
        assert!(seeds("0..18446744073709551615").unwrap_err().contains("at most"));
        for bad in ["10..1", "10", "a..b", "1..", "..", "-1..3"] {
            assert!(seeds(bad).unwrap_err().contains("FIRST..LAST"), "{bad}");
        }
    }
}
