//! What the presets make of real fleets: published traces, replayed as `reeve replay` does. The traces are not part of the
//! project; where they are not found the figures are left out.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, anyhow};
use reeve_coordinator::replay::{self, Demand, Outcome, Replay, Schedule, Spread, Trace};
use reeve_scheduler::{ChoiceRule, CostFunction, presets};

use super::figures::print_to;

/// Names the folder with the traces.
const FOLDER_VARIABLE: &str = "REEVE_TRACES";
/// Where they are looked for besides, from the project's root.
const FOLDERS: [&str; 2] = ["traces", "../shared/data"];

/// 1,523 hosts with 6,212 GPUs of several kinds, and requests for shares of one up to eight (Alibaba, 2023).
const OPENB: [&str; 2] = ["openb.hosts.csv", "openb-default.vms.csv"];
/// 2,000 hosts of one size and VMs of concrete sizes that come and go (Azure; the sample of CoSpot, SoCC 2022).
const AZURE: [&str; 2] = ["azure.hosts.csv", "azure-batched-0.vms.csv"];

/// How the others were measured that this is compared with.
const DEMAND: Demand = Demand(1300);
const SEEDS: std::ops::RangeInclusive<u64> = 1..=10;
const PRESET_FOR_DEVICES: &str = "unfragmented";

/// Draws requests until they ask for 130 % of all GPUs, ten times.
pub(crate) fn openb() -> Result<()> {
    let Some(trace) = find("replay/openb", OPENB)? else { return Ok(()) };
    let mut figures = Vec::new();
    for cost in costs().filter(|cost| cost.name().as_str() == PRESET_FOR_DEVICES) {
        for seed in SEEDS {
            let outcome = run(&trace, &Schedule::drawn(&trace, DEMAND, seed)?, &cost)?;
            figures.extend(outcome.allocated_end_percent.devices);
        }
    }
    let spread = Spread::of(figures).ok_or_else(|| anyhow!("there is no preset {PRESET_FOR_DEVICES}"))?;
    print_to(2, "replay/openb", spread.mean, "percent");
    let (first, last) = (SEEDS.start(), SEEDS.end());
    println!("  {PRESET_FOR_DEVICES}, seeds {first} to {last}: {:.2} to {:.2}", spread.min, spread.max);
    Ok(())
}

/// Lets VMs come and go at their own times, once for each preset.
pub(crate) fn azure() -> Result<()> {
    let Some(trace) = find("replay/azure", AZURE)? else { return Ok(()) };
    let schedule = Schedule::timed(&trace);
    let mut figures = Vec::new();
    for cost in costs() {
        let outcome = run(&trace, &schedule, &cost)?;
        figures.push((outcome.hosts_ever_used, cost.name().to_string(), outcome.hosts_lower_bound.hosts));
    }
    figures.sort();
    let (best, name, bound) = figures.first().ok_or_else(|| anyhow!("there are no presets"))?;
    #[allow(clippy::cast_precision_loss)] // hosts of a trace
    print_to(0, "replay/azure", *best as f64, "hosts");
    let all: Vec<String> = figures.iter().map(|(hosts, name, _)| format!("{name} {hosts}")).collect();
    println!("  best is {name}; no fewer than {bound} would do; all presets: {}", all.join(", "));
    Ok(())
}

fn costs() -> impl Iterator<Item = Arc<CostFunction>> {
    let compiled = presets()
        .into_iter()
        .map(|(name, terms)| CostFunction::compile(&name, &terms, ChoiceRule::default()));
    compiled.filter_map(Result::ok).map(Arc::new)
}

fn run(trace: &Trace, schedule: &Schedule, cost: &Arc<CostFunction>) -> Result<Outcome> {
    Ok(Replay::new(trace, schedule, cost)?.run(&mut |_, _| {})?)
}

/// Reads a trace from the first folder that has it; says so when none does.
fn find(figure: &str, [hosts, vms]: [&str; 2]) -> Result<Option<Trace>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or_else(|| Path::new(""));
    let named = std::env::var_os(FOLDER_VARIABLE).map(PathBuf::from);
    let folders = named.into_iter().chain(FOLDERS.iter().map(|folder| root.join(folder)));
    for folder in folders {
        let (hosts, vms) = (folder.join(hosts), folder.join(vms));
        if hosts.exists() && vms.exists() {
            return Ok(Some(replay::read(&hosts, &vms)?));
        }
    }
    println!(
        "{figure} is left out: {hosts} and {vms} are not in the folder that {FOLDER_VARIABLE} names, nor in {}.\n  \
         openb is Alibaba's GPU cluster trace of 2023 (clusterdata, cluster-trace-gpu-v2023: node list and default pod \
         list); azure is the sample of Azure's VM trace that came with CoSpot (SoCC 2022).\n  Put them into the columns \
         that `reeve replay --help` names; a GPU model is the device_class, gpu_milli the device_permille.",
        FOLDERS.join(" or ")
    );
    Ok(None)
}
