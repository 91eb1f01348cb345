//! Many agents at one coordinator: what they cost it when nothing happens, and how soon all are back after it was killed.
//!
//! The coordinator and a process of simulated hosts share this machine's processors, as do the two sides of the bare
//! handshakes that the storm is compared with: as many clients, with the same certificates and the same TLS settings, and
//! nothing said once both sides are sure of each other. They are made twice, with the product's settings of QUIC and with those
//! that the library comes with.

use std::collections::BTreeMap;
use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reeve_common::clock::{Clock, SystemClock};
use reeve_tests::harness::simulated_fleet::{FleetSettings, SimulatedFleet};

use super::bare::{self, Settings};
use super::figures::{median, print, resident_mebibytes};

/// How long the coordinator's processor time is counted.
const MEASURED_FOR: Duration = Duration::from_secs(20);
/// After the last agent has connected, its first samples and acknowledgements are still on their way.
const SETTLING: Duration = Duration::from_secs(5);
/// How often hosts tell how busy they are while the coordinator's processor time is counted.
const SAMPLED_OFTEN: Duration = Duration::from_secs(1);
/// How often they do where nobody says otherwise; so they do when a coordinator comes back.
const SAMPLED_BY_DEFAULT: Duration = Duration::from_secs(5);
/// How often the coordinator is killed, and how often bare clients connect.
const ROUNDS: usize = 3;
/// Ten times what is hoped for.
const PATIENCE: Duration = Duration::from_secs(300);
/// By then each host that tells a sample a second has told a new one.
const SAMPLE_AGE_MAX: Duration = Duration::from_secs(4);

/// Which figures are wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    /// Processor time and memory while nothing happens.
    pub(crate) idle: bool,
    /// The coming back.
    pub(crate) storm: bool,
}

/// Measures a fleet of so many hosts.
pub(crate) fn measure(hosts: u32, wanted: Wanted) -> Result<()> {
    let settings = FleetSettings {
        hosts,
        sample_interval: if wanted.idle { SAMPLED_OFTEN } else { SAMPLED_BY_DEFAULT },
        lost_after: Duration::from_secs(10),
        agents_log_level: "error",
    };
    let mut fleet = SimulatedFleet::prepare(settings, |_, port| Ok(format!("127.0.0.1:{port}")))?;
    let mut bare_rounds = Vec::new();
    if wanted.storm {
        bare_rounds.push(bare_round(&fleet, hosts)?);
    }
    fleet.start_coordinator()?;
    let alone = resident_mebibytes(&fleet.coordinator_process()?.to_string())?;
    fleet.start_agents()?;
    fleet.wait_for_all(PATIENCE)?;
    thread::sleep(SETTLING);
    if wanted.idle {
        idle(&fleet, hosts, alone)?;
    }
    if wanted.storm {
        if wanted.idle {
            fleet.set_sample_interval(SAMPLED_BY_DEFAULT)?;
            storm(&mut fleet)?;
            thread::sleep(SETTLING);
        }
        let mut storms = Vec::new();
        for _ in 0..ROUNDS {
            storms.push(storm(&mut fleet)?);
            thread::sleep(SETTLING);
        }
        fleet.end_all();
        while bare_rounds.len() < ROUNDS {
            bare_rounds.push(bare_round(&fleet, hosts)?);
        }
        let storm = median(storms);
        let bare = |number: usize| median(bare_rounds.iter().map(|round| round[number]).collect());
        let [product, library] = [bare(0), bare(1)];
        print(&format!("storm/{hosts}"), storm, "s");
        print(&format!("storm-bare/{hosts}"), product, "s");
        print(&format!("storm-ratio/{hosts}"), storm / product, "of bare handshakes");
        print(&format!("storm-bare-library/{hosts}"), library, "s");
        print(
            &format!("storm-ratio-library/{hosts}"),
            storm / library,
            "of bare handshakes as the library comes",
        );
    }
    Ok(())
}

/// As many bare handshakes, with the product's settings and with the library's.
fn bare_round(fleet: &SimulatedFleet, hosts: u32) -> Result<[f64; 2]> {
    Ok([
        bare::connect_all(fleet, hosts, Settings::Product)?,
        bare::connect_all(fleet, hosts, Settings::Library)?,
    ])
}

fn idle(fleet: &SimulatedFleet, hosts: u32, alone: f64) -> Result<()> {
    let process = fleet.coordinator_process()?;
    let clock = SystemClock;
    let (begun, before) = (clock.monotonic(), processor_seconds(process)?);
    thread::sleep(MEASURED_FOR);
    let used = processor_seconds(process)? - before;
    let percent = 100.0 * used / begun.elapsed().as_secs_f64();
    let grown = resident_mebibytes(&process.to_string())? - alone;
    check_samples(fleet, hosts)?;
    print(&format!("agents/{hosts}"), percent, "percent of one core");
    print(&format!("agents-memory/{hosts}"), grown * 1024.0 / f64::from(hosts), "KiB for each agent");
    Ok(())
}

/// What is measured must have happened: within a few seconds each host tells a new sample.
fn check_samples(fleet: &SimulatedFleet, hosts: u32) -> Result<()> {
    let before = samples(fleet)?;
    thread::sleep(SAMPLE_AGE_MAX);
    let after = samples(fleet)?;
    let fresh = after.iter().filter(|(name, at)| before.get(*name).is_some_and(|before| before != *at));
    let fresh = fresh.count();
    ensure!(fresh == usize::try_from(hosts)?, "only {fresh} of {hosts} hosts told how busy they are");
    Ok(())
}

/// When each host took its last sample.
fn samples(fleet: &SimulatedFleet) -> Result<BTreeMap<String, String>> {
    let listed = fleet.reeve(&["host", "list"])?;
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    let listed = listed.as_array().context("the list of hosts is none")?.iter();
    Ok(listed.filter_map(|host| Some((text(&host["name"])?, text(&host["sample"]["at"])?))).collect())
}

/// Seconds from the start of a coordinator whose predecessor was killed until all agents are back and have reported.
fn storm(fleet: &mut SimulatedFleet) -> Result<f64> {
    fleet.kill_coordinator()?;
    let begun = SystemClock.monotonic();
    fleet.launch_coordinator()?;
    fleet.wait_for_all(PATIENCE)?;
    Ok(begun.elapsed().as_secs_f64())
}

/// What a process has used of processors so far, by the kernel's accounting.
fn processor_seconds(process: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    let (_, behind) = stat.rsplit_once(')').context("no such process")?;
    // The fields 14 and 15 of the line; the state behind the name is field 3.
    let ticks: Vec<f64> =
        behind.split_whitespace().skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    let second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)?.context("no length of a tick")?;
    #[allow(clippy::cast_precision_loss)] // a hundred
    Ok(ticks.iter().sum::<f64>() / second as f64)
}
