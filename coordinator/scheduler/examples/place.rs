//! How many VMs a second the scheduler places, every host considered and every placement committed.
//!
//! `cargo run --release -p reeve-scheduler --example place -- [HOSTS] [PLACEMENTS]`
//!
//! A catalogue of 100 setups, three hardware profiles, a cost of four terms. The fleet is filled to about two thirds, then
//! each new VM is decided and reserved while another, chosen at random, leaves.

#![allow(clippy::print_stderr)] // a program for a person at a terminal

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use reeve_common::clock::{Clock, SystemClock};
use reeve_common::device::DeviceAmount;
use reeve_common::hardware_profile::Capacity;
use reeve_common::ids::{CostFunctionName, DeviceClass, HostId, HostName, RealmName, VmId};
use reeve_common::units::{Mebibytes, Millicores};
use reeve_scheduler::{ChoiceRule, CostFunction, Fleet, HostDescription, Request, presets};
use uuid::Uuid;

type Failure = Box<dyn std::error::Error>;

/// A reproducible row of numbers (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % (limit.max(1) as u64)).unwrap_or_default()
    }
}

fn catalogue(random: &mut Random) -> Result<Vec<Request>, Failure> {
    let mut setups = Vec::new();
    for number in 0..100 {
        let cores = [250, 500, 1000, 2000, 2000, 4000, 4000, 8000, 16_000][random.below(9)];
        let memory = cores * [1024, 2048, 4096, 4096, 6144, 8192][random.below(6)] / 1000;
        let devices = if number % 20 == 0 {
            BTreeMap::from([("a100".parse()?, DeviceAmount::Whole(1))])
        } else {
            BTreeMap::new()
        };
        // A few MiB make every setup a size of its own.
        let memory = Mebibytes(memory + number * 16);
        setups.push(Request {
            devices,
            ..Request::new(RealmName::new("production")?, Millicores(cores), memory)
        });
    }
    Ok(setups)
}

fn host(id: u32, cost_function: &Arc<CostFunction>) -> Result<HostDescription, Failure> {
    let (cores, memory_gib, a100) = [(124, 252, 0), (248, 492, 0), (120, 492, 4)][id as usize % 3];
    let capacity = Capacity {
        cores: Millicores::from_cores(cores),
        memory: Mebibytes(memory_gib << 10),
        devices: if a100 > 0 { BTreeMap::from([(DeviceClass::new("a100")?, a100)]) } else { BTreeMap::new() },
        ..Capacity::default()
    };
    let name = HostName::new(format!("host-{id}"))?;
    let realm = RealmName::new("production")?;
    Ok(HostDescription::new(HostId(id), name, realm, capacity, Arc::clone(cost_function)))
}

fn owned(setup: &Request, random: &mut Random) -> Request {
    let owner = random.below(2000);
    Request { owner: format!("user-{owner}"), team: format!("team-{}", owner % 50), ..setup.clone() }
}

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let hosts: u32 = arguments.next().map_or(Ok(5_000), |text| text.parse())?;
    let placements: usize = arguments.next().map_or(Ok(200_000), |text| text.parse())?;
    let clock = SystemClock;
    let mut random = Random(42);
    let setups = catalogue(&mut random)?;
    let preset = presets().into_iter().find(|(name, _)| name.as_str() == "balanced");
    let (_, terms) = preset.ok_or("there is no preset called balanced")?;
    let name = CostFunctionName::new("balanced")?;
    let function = CostFunction::compile(&name, &terms, ChoiceRule::Increase)
        .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
    let function = Arc::new(function);

    let started = clock.monotonic();
    let mut fleet = Fleet::new();
    for id in 0..hosts {
        fleet.upsert_host(host(id, &function)?);
    }
    let mut vms: Vec<VmId> = Vec::new();
    let mut next_vm: u128 = 0;
    let mut new_vm = || {
        next_vm += 1;
        // Spread over the whole range, as random ids are.
        VmId(Uuid::from_u128(next_vm.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)))
    };
    // Two thirds of memory, at 10.9 GiB a VM on average and 412 GiB a host.
    for _ in 0..u64::from(hosts) * 25 {
        let request = owned(&setups[random.below(setups.len())], &mut random);
        let host = HostId(u32::try_from(random.below(hosts as usize))?);
        let vm = new_vm();
        if fleet.reserve(vm, host, &request).is_ok() {
            vms.push(vm);
        }
    }
    eprintln!("{hosts} hosts filled with {} VMs in {:?}", vms.len(), clock.monotonic() - started);

    let mut refused = 0;
    let mut slowest = Vec::with_capacity(placements);
    let mut busy = Duration::ZERO;
    for number in 0..placements + placements / 4 {
        // The first fifth is not counted: classes are made then.
        if number == placements / 4 {
            slowest.clear();
            busy = Duration::ZERO;
        }
        let request = owned(&setups[random.below(setups.len())], &mut random);
        let leaving = random.below(vms.len());
        let vm = new_vm();
        let before = clock.monotonic();
        fleet.release(vms[leaving]);
        match fleet.decide(&request) {
            Some(host) => {
                fleet.reserve(vm, host, &request)?;
                vms[leaving] = vm;
            }
            None => {
                refused += 1;
                vms.swap_remove(leaving);
            }
        }
        let took = clock.monotonic() - before;
        busy += took;
        slowest.push(took);
    }
    slowest.sort_unstable();
    let percentile = |share: usize| slowest.get(slowest.len() * share / 1000).copied().unwrap_or_default();
    eprintln!(
        "{} VMs at the end, {refused} refused; half within {:?}, 99 % within {:?}, 99.9 % within {:?}",
        vms.len(),
        percentile(500),
        percentile(990),
        percentile(999)
    );
    let rate = f64::from(u32::try_from(placements)?) / busy.as_secs_f64();
    print_bench(&format!("place/{hosts}"), rate, "placements/s");

    // Each request a size that was never asked for before.
    let cold = 2_000_u32;
    let mut busy = Duration::ZERO;
    for number in 0..cold {
        let mut request = owned(&setups[random.below(setups.len())], &mut random);
        request.cores.0 += 1 + u64::from(number);
        let leaving = random.below(vms.len());
        let vm = new_vm();
        let before = clock.monotonic();
        fleet.release(vms[leaving]);
        if let Some(host) = fleet.decide(&request) {
            fleet.reserve(vm, host, &request)?;
            vms[leaving] = vm;
        } else {
            vms.swap_remove(leaving);
        }
        busy += clock.monotonic() - before;
    }
    print_bench(&format!("place-cold/{hosts}"), f64::from(cold) / busy.as_secs_f64(), "placements/s");
    Ok(())
}

#[allow(clippy::print_stdout)] // printing is what a benchmark is for
fn print_bench(name: &str, value: f64, unit: &str) {
    println!("bench {name} {value:.0} {unit}");
}
