//! Placing 500 VMs on 250 hosts at once: how long it takes, and what the plan costs against placing one by one in the
//! order given. The hosts are of three sizes and half in use, the VMs of a hundred sizes, and four fifths of the cores are taken
//! in the end. Once under each preset.

use std::sync::Arc;

use anyhow::{Context, anyhow};
use reeve_common::clock::{Clock, SystemClock};
use reeve_common::hardware_profile::Capacity;
use reeve_common::ids::{CostFunctionName, HostId, HostName, RealmName, VmId};
use reeve_common::units::{Mebibytes, Millicores};
use reeve_scheduler::{BatchGoal, ChoiceRule, CostFunction, Fleet, HostDescription, Request};

use super::figures::{median, print};

const HOSTS: u32 = 250;
const VMS: u32 = 500;
/// How often it is timed: the fleet is new each time, as after a restart.
const ROUNDS: usize = 9;
/// VMs that are there before, for each host.
const RESIDENTS: u32 = 4;

/// Measures both.
pub(crate) fn measure() -> anyhow::Result<()> {
    for preset in ["balanced", "pack", "spread", "opportunity", "unfragmented"] {
        let (mut took, mut ratio) = (Vec::new(), f64::NAN);
        for _ in 0..ROUNDS {
            let mut fleet = fleet(preset)?;
            let wanted = wanted()?;
            let clock = SystemClock;
            let begun = clock.monotonic();
            let plan = fleet.plan_batch(&wanted, BatchGoal::MostPlaced);
            took.push((clock.monotonic() - begun).as_secs_f64() * 1000.0);
            anyhow::ensure!(plan.cost.placed >= plan.one_by_one.placed, "worse than one by one: {plan:?}");
            let (planned, one_by_one) = (plan.cost.rise, plan.one_by_one.rise);
            anyhow::ensure!(
                plan.cost.placed > plan.one_by_one.placed || planned <= one_by_one,
                "it costs more"
            );
            // Costs below zero, as of `pack`, are compared by how far they lie apart.
            ratio = 1.0 + (planned - one_by_one) / one_by_one.abs();
        }
        let name = if preset == "balanced" { "batch".to_owned() } else { format!("batch-{preset}") };
        print(&format!("{name}/{HOSTS}x{VMS}"), median(took), "ms");
        print(&format!("{name}-cost/{HOSTS}x{VMS}"), ratio, "of one by one");
    }
    Ok(())
}

fn fleet(preset: &str) -> anyhow::Result<Fleet> {
    let name = CostFunctionName::new(preset)?;
    let presets = reeve_scheduler::presets();
    let (_, terms) = presets.iter().find(|(known, _)| *known == name).context("there is no such preset")?;
    let cost =
        CostFunction::compile(&name, terms, ChoiceRule::Increase).map_err(|errors| anyhow!("{errors:?}"))?;
    let cost = Arc::new(cost);
    let mut fleet = Fleet::new();
    for number in 1..=HOSTS {
        let scale = 1_u32 << (number % 3);
        let capacity = Capacity {
            cores: Millicores::from_cores(10 * scale),
            memory: Mebibytes(u64::from(44 * scale) << 10),
            ..Capacity::default()
        };
        let name = HostName::new(format!("node-{number}"))?;
        fleet.upsert_host(HostDescription::new(HostId(number), name, realm()?, capacity, Arc::clone(&cost)));
        for resident in 0..number % RESIDENTS * 2 {
            let request = request(number * 7 + resident * 13)?;
            if fleet.fits(HostId(number), &request).is_ok() {
                fleet
                    .reserve(VmId::random(), HostId(number), &request)
                    .map_err(|reason| anyhow!("{reason}"))?;
            }
        }
    }
    Ok(fleet)
}

fn wanted() -> anyhow::Result<Vec<(VmId, Request)>> {
    (0..VMS).map(|number| Ok((VmId::random(), request(number * 37)?))).collect()
}

/// One of a hundred sizes.
fn request(number: u32) -> anyhow::Result<Request> {
    let number = number % 100;
    let cores = [1, 2, 4, 8][(number % 4) as usize];
    let memory = Mebibytes(u64::from(cores) * 1024 * u64::from(1 + number % 5) + u64::from(number) * 64);
    Ok(Request::new(realm()?, Millicores::from_cores(cores), memory))
}

fn realm() -> anyhow::Result<RealmName> {
    Ok(RealmName::new("primary")?)
}
