//! The benchmarks: each prints lines `bench NAME VALUE UNIT`. Figures that depend on the machine are ratios within one
//! run where that is possible. `make bench` builds with optimisation and runs them all; names as arguments choose some.

#![allow(clippy::print_stdout)] // the figures are the output

mod agents;
mod bare;
mod batch;
mod detect;
mod durable;
mod exporter;
mod figures;
mod hosts;
mod memory;
mod native;
mod packages;
mod placing;
mod relay;
mod replaying;
mod simulating;
mod workload;

use anyhow::Result;
use clap::Parser;
use clap::builder::PossibleValuesParser;
use placing::Wanted;

/// What there is: the names by which figures are chosen, and what each says.
const FIGURES: [(&str, &str); 31] = [
    ("place/5000", "placements a second, every one of 5,000 hosts considered"),
    ("place/50000", "the same with 50,000 hosts"),
    ("place/100000", "the same with 100,000 hosts"),
    ("place-ratio/100000", "place/100000 over place/5000, measured in turns"),
    ("place-p99/100000", "99 of 100 placements take no longer, with 100,000 hosts"),
    ("place-cold/5000", "placements a second when each request has a new shape"),
    ("cost-vs-native", "a host scored by the language, over the same formula in Rust"),
    ("batch/250x500", "500 VMs placed on 250 hosts at once, under each preset"),
    ("batch-cost/250x500", "what that costs, of what placing one by one costs"),
    ("memory/100000", "scheduler state of 100,000 hosts and 1,000,000 VMs"),
    (
        "replay/openb",
        "percent of all GPUs allocated when 130 % are asked for, preset unfragmented, mean of 10 seeds",
    ),
    ("replay/azure", "hosts ever used by the preset that takes the fewest"),
    ("durable-place", "placements a second, each on the disk before it is acknowledged; 1,000 hosts"),
    ("restart", "from kill -9 of a coordinator of 20,000 VMs to its successor's first placement"),
    ("simulation", "seeds of the whole product's simulation that break no rule, of 2,000"),
    ("agents/100", "processor time of a coordinator with 100 agents, each telling a sample a second"),
    ("agents/1000", "the same with 1,000 agents"),
    ("agents/10000", "the same with 10,000 agents"),
    ("agents-memory/10000", "what each of 10,000 agents takes of the coordinator's memory"),
    (
        "storm/1000",
        "from the start of a killed coordinator's successor until all agents have reported, and its ratio to bare handshakes",
    ),
    ("storm/10000", "the same with 10,000 agents"),
    ("storm-ratio", "storm/10000 over as many bare handshakes with client certificates"),
    (
        "detect",
        "99 of 100 hosts that are gone are known as lost so soon, without a false alarm on a bad network",
    ),
    ("start-overhead", "from `vm start` to the domain, over virsh alone (needs root)"),
    ("agent-start", "from an agent's start until its coordinator has it connected (needs root)"),
    ("agent-rss/idle", "resident memory of an agent without domains (needs root)"),
    ("agent-rss/100", "resident memory of an agent with 100 domains (needs root)"),
    ("agent-cpu/100", "processor time of an agent with 100 domains, sampled every 5 s (needs root)"),
    ("exporter-cpu/100", "the same of Debian's libvirt exporter, asked every 5 s (needs root)"),
    ("exporter-rss/100", "its resident memory"),
    ("package-size", "each of the packages that `make packages` has built"),
];

/// Measures, and prints lines `bench NAME VALUE UNIT`.
#[derive(Debug, Parser)]
#[command(name = "reeve-bench", after_help = after_help())]
struct Arguments {
    /// The figures to measure; all when none is named. A name up to its slash means all sizes.
    #[arg(value_name = "NAME", value_parser = PossibleValuesParser::new(names()), hide_possible_values = true)]
    names: Vec<String>,
}

fn after_help() -> String {
    let mut text = "Figures:\n".to_owned();
    for (name, meaning) in FIGURES {
        text += &format!("  {name:<20} {meaning}\n");
    }
    text + "\nExamples:\n  reeve-bench place/5000 place/100000\n  reeve-bench cost-vs-native memory"
}

/// Whole names, and those without a size.
fn names() -> Vec<&'static str> {
    let mut names: Vec<&str> = FIGURES.iter().map(|(name, _)| *name).collect();
    names.extend(FIGURES.iter().filter_map(|(name, _)| name.split_once('/').map(|(kind, _)| kind)));
    names.extend([memory::HERE, bare::SERVER, bare::CLIENTS]);
    names.sort_unstable();
    names.dedup();
    names
}

fn main() -> Result<()> {
    let chosen = Arguments::parse().names;
    if chosen.iter().any(|name| name == memory::HERE) {
        return memory::measure_here();
    }
    match chosen.first().map(String::as_str) {
        Some(bare::SERVER) => return bare::serve(),
        Some(bare::CLIENTS) => return bare::connect(),
        _ => {}
    }
    let wanted = |name: &str| {
        let kind = name.split_once('/').map_or(name, |(kind, _)| kind);
        chosen.is_empty() || chosen.iter().any(|chosen| chosen == name || chosen == kind)
    };
    // A ratio is of the first of them.
    let sizes = [5_000, 50_000, 100_000].map(|hosts| Wanted {
        hosts,
        rate: wanted(&format!("place/{hosts}")),
        ratio: hosts == 100_000 && wanted("place-ratio/100000"),
        p99: hosts == 100_000 && wanted("place-p99/100000"),
    });
    placing::side_by_side(sizes)?;
    if wanted("place-cold/5000") {
        placing::cold(5_000)?;
    }
    if wanted("cost-vs-native") {
        native::measure()?;
    }
    if ["batch/250x500", "batch-cost/250x500"].into_iter().any(wanted) {
        batch::measure()?;
    }
    if wanted("memory/100000") {
        memory::measure()?;
    }
    if wanted("replay/openb") {
        replaying::openb()?;
    }
    if wanted("replay/azure") {
        replaying::azure()?;
    }
    if ["durable-place", "restart"].into_iter().any(wanted) {
        durable::measure(wanted("durable-place"), wanted("restart"))?;
    }
    if wanted("simulation") {
        simulating::measure()?;
    }
    for hosts in [100, 1_000, 10_000] {
        let [agents, memory, storm] =
            ["agents", "agents-memory", "storm"].map(|kind| wanted(&format!("{kind}/{hosts}")));
        // The sizes beside the largest are for whoever names them.
        let is_named = !chosen.is_empty() || hosts == 10_000;
        let idle = is_named && (agents || (memory && hosts == 10_000));
        let storm = is_named && (storm || (hosts == 10_000 && wanted("storm-ratio")));
        if idle || storm {
            agents::measure(hosts, agents::Wanted { idle, storm })?;
        }
    }
    if wanted("detect") {
        detect::measure()?;
    }
    let of_hosts = [
        "start-overhead",
        "agent-start",
        "agent-rss/idle",
        "agent-rss/100",
        "agent-cpu/100",
        "exporter-cpu/100",
        "exporter-rss/100",
    ];
    if of_hosts.into_iter().any(wanted) {
        hosts::measure()?;
    }
    if wanted("package-size") {
        packages::measure()?;
    }
    Ok(())
}
