//! What the language costs: a host scored by the compiled cost function against the same formula written in Rust.
//!
//! Both answer one question over the same 5,000 hosts with the same numbers: which host can take this VM, and where does its
//! cost rise least? The scheduler is asked with shapes it never met, so that it scores every host. The Rust program is as short
//! as it gets: one list, one loop, the formula in place; the cost of a host as it is stands ready for both. They must choose
//! the same host. What is printed is the time of the one over that of the other, the middle of many pairs.

use std::hint::black_box;

use anyhow::{Context, Result, ensure};
use reeve_common::clock::{Clock, SystemClock};
use reeve_common::ids::HostId;
use reeve_scheduler::Request;

use super::figures::{median, print};
use super::workload::Workload;

const HOSTS: u32 = 5_000;
/// How many questions are asked of both.
const QUESTIONS: u32 = 2_000;
/// How many of them are timed together.
const TOGETHER: u32 = 20;

/// A host as the Rust program knows it.
struct Host {
    id: HostId,
    cores_total: f64,
    cores_used: f64,
    memory_total: f64,
    memory_used: f64,
    devices_total: f64,
    devices_used: f64,
    vms: f64,
    before: f64,
}

/// A VM likewise.
struct Vm {
    cores: f64,
    memory: f64,
    devices: f64,
}

/// What depends on the load alone: the terms `cpu`, `memory` and `crowding` of the preset `balanced`.
fn terms(cores_load: f64, memory_load: f64, vms: f64) -> f64 {
    let cpu = 2.0 * cores_load * cores_load;
    let memory = 4.0 * (((8.0 * memory_load).exp() - 1.0) / (8.0_f64.exp() - 1.0));
    let crowding = ((vms - 30.0) / (60.0 - 30.0)).clamp(0.0, 1.0);
    cpu + memory + crowding
}

fn increase(host: &Host, vm: &Vm) -> f64 {
    let gpus = if vm.devices == 0.0 && host.devices_total > 0.0 { 10.0 } else { 0.0 };
    let cores_load = (host.cores_used + vm.cores) / host.cores_total;
    let memory_load = (host.memory_used + vm.memory) / host.memory_total;
    terms(cores_load, memory_load, host.vms + 1.0) + gpus - host.before
}

fn fits(host: &Host, vm: &Vm) -> bool {
    host.cores_used + vm.cores <= host.cores_total
        && host.memory_used + vm.memory <= host.memory_total
        && host.devices_used + vm.devices <= host.devices_total
}

fn choose(hosts: &[Host], vm: &Vm) -> Option<HostId> {
    let mut best = None;
    let mut lowest = f64::INFINITY;
    for host in hosts {
        if fits(host, vm) {
            let increase = increase(host, vm);
            if increase < lowest {
                (best, lowest) = (Some(host.id), increase);
            }
        }
    }
    best
}

/// Measures it.
pub(crate) fn measure() -> Result<()> {
    let mut workload = Workload::new(HOSTS)?;
    let hosts = hosts(&workload)?;
    let clock = SystemClock;
    let mut ratios = Vec::new();
    for round in 0..QUESTIONS / TOGETHER {
        let questions: Vec<Request> = (0..TOGETHER)
            .map(|number| {
                let mut request = workload.next()?.1;
                // No setup has such an amount of processor time.
                request.cores.0 += u64::from(1 + round * TOGETHER + number);
                Ok(request)
            })
            .collect::<Result<_>>()?;
        let vms = questions.iter().map(vm).collect::<Result<Vec<_>>>()?;
        let begun = clock.monotonic();
        let by_language: Vec<_> =
            questions.iter().map(|request| workload.fleet.decide(black_box(request))).collect();
        let language = begun.elapsed();
        let begun = clock.monotonic();
        let by_rust: Vec<_> = vms.iter().map(|vm| choose(black_box(&hosts), black_box(vm))).collect();
        let rust = begun.elapsed();
        ensure!(by_language == by_rust, "the formula in Rust is another one: {by_language:?} {by_rust:?}");
        ratios.push(language.as_secs_f64() / rust.as_secs_f64());
    }
    print("cost-vs-native", median(ratios), "times Rust");
    Ok(())
}

#[allow(clippy::cast_precision_loss)] // no amount here is beyond 2^53
fn hosts(workload: &Workload) -> Result<Vec<Host>> {
    (1..=workload.hosts)
        .map(|id| {
            let usage = workload.fleet.usage(HostId(id)).context("a host is not there")?;
            let mut host = Host {
                id: HostId(id),
                cores_total: usage.capacity.cores.0 as f64,
                cores_used: usage.used.cores.0 as f64,
                memory_total: usage.capacity.memory.0 as f64,
                memory_used: usage.used.memory.0 as f64,
                devices_total: usage.capacity.devices.values().copied().map(f64::from).sum(),
                devices_used: usage.used.devices_permille.values().map(|share| *share as f64 / 1000.0).sum(),
                vms: usage.vms as f64,
                before: 0.0,
            };
            host.before =
                terms(host.cores_used / host.cores_total, host.memory_used / host.memory_total, host.vms);
            Ok(host)
        })
        .collect()
}

#[allow(clippy::cast_precision_loss)] // likewise
fn vm(request: &Request) -> Result<Vm> {
    let devices = u32::try_from(request.devices.len())?;
    Ok(Vm { cores: request.cores.0 as f64, memory: request.memory.0 as f64, devices: f64::from(devices) })
}
