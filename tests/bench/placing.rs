//! Placements per second with every host considered and every placement committed, VMs leaving as others come.
//!
//! All fleets asked for are filled first. Then rounds on each of them take turns, so that whatever else this machine does
//! meets all of them, and what is printed is the middle of the rounds: of rates, and of ratios between two rounds that
//! were neighbours. A placement is `release` of a VM that leaves, `decide`, `reserve`; making up the next request and who leaves is
//! not timed.

use std::time::Duration;

use anyhow::{Result, anyhow};
use reeve_common::clock::{Clock, SystemClock};
use reeve_common::ids::VmId;
use reeve_scheduler::Request;

use super::figures::{median, print};
use super::workload::Workload;

/// Rounds on each fleet.
const ROUNDS: usize = 15;
/// Placements that are timed in each round.
const PLACEMENTS: usize = 20_000;
/// Placements before them that are not: the caches hold another fleet until then.
const WARMING: usize = 5_000;
/// Rounds of requests of shapes that were never met before, and how many in each.
const COLD_ROUNDS: u32 = 10;
const COLD: u32 = 200;
/// The fleet that others are compared with.
const REFERENCE: u32 = 5_000;

/// Which figures of a size are wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    /// How many hosts.
    pub(crate) hosts: u32,
    /// The rate.
    pub(crate) rate: bool,
    /// The rate over that of the fleets of 5,000 hosts.
    pub(crate) ratio: bool,
    /// The slowest hundredth.
    pub(crate) p99: bool,
}

impl Wanted {
    fn is_anything(&self) -> bool {
        self.rate || self.ratio || self.p99
    }
}

/// One fleet that is measured.
struct Fleet {
    wanted: Wanted,
    workload: Workload,
    rates: Vec<f64>,
    each: Vec<Duration>,
}

/// Measures fleets side by side. The first of them is what ratios are of.
pub(crate) fn side_by_side(sizes: impl IntoIterator<Item = Wanted>) -> Result<()> {
    let mut sizes: Vec<Wanted> = sizes.into_iter().collect();
    let is_reference = sizes.iter().any(|wanted| wanted.ratio);
    sizes.retain(|wanted| wanted.is_anything() || (is_reference && wanted.hosts == REFERENCE));
    let mut fleets = sizes.into_iter().map(Fleet::new).collect::<Result<Vec<_>>>()?;
    for _ in 0..ROUNDS {
        for fleet in &mut fleets {
            place(&mut fleet.workload, WARMING)?;
            let mut each = place(&mut fleet.workload, PLACEMENTS)?;
            fleet.rates.push(rate(&each));
            fleet.each.append(&mut each);
        }
    }
    let reference = fleets.iter().find(|fleet| fleet.wanted.hosts == REFERENCE);
    let reference = reference.map(|fleet| fleet.rates.clone()).unwrap_or_default();
    for fleet in &mut fleets {
        fleet.print(&reference);
    }
    Ok(())
}

impl Fleet {
    fn new(wanted: Wanted) -> Result<Self> {
        let mut workload = Workload::new(wanted.hosts)?;
        workload.ask_for_all();
        Ok(Self { wanted, workload, rates: Vec::new(), each: Vec::new() })
    }

    fn print(&mut self, reference: &[f64]) {
        let Wanted { hosts, rate, ratio, p99 } = self.wanted;
        if rate {
            print(&format!("place/{hosts}"), median(self.rates.clone()), "placements/s");
        }
        if ratio {
            let ratios = self.rates.iter().zip(reference).map(|(rate, reference)| rate / reference);
            print(&format!("place-ratio/{hosts}"), median(ratios.collect()), "of place/5000");
        }
        if p99 {
            self.each.sort_unstable();
            let p99 = self.each.get(self.each.len() * 99 / 100).copied().unwrap_or_default();
            print(&format!("place-p99/{hosts}"), p99.as_secs_f64() * 1000.0, "ms");
        }
    }
}

/// Placements per second.
#[allow(clippy::cast_precision_loss)] // some ten thousand
fn rate(each: &[Duration]) -> f64 {
    each.len() as f64 / each.iter().sum::<Duration>().as_secs_f64()
}

/// So many placements, and how long each took.
fn place(workload: &mut Workload, placements: usize) -> Result<Vec<Duration>> {
    let mut each = Vec::with_capacity(placements);
    for _ in 0..placements {
        let (vm, request) = workload.next()?;
        each.push(replace_one(workload, vm, &request)?);
    }
    Ok(each)
}

/// One VM leaves and another one comes.
fn replace_one(workload: &mut Workload, vm: VmId, request: &Request) -> Result<Duration> {
    let clock = SystemClock;
    let leaving = workload.leaving();
    let leaver = *workload.vms.get(leaving).ok_or_else(|| anyhow!("there are no VMs"))?;
    let begun = clock.monotonic();
    workload.fleet.release(leaver);
    let host = workload.fleet.decide(request);
    let reserved = host.map(|host| workload.fleet.reserve(vm, host, request));
    let took = begun.elapsed();
    if let Some(reserved) = reserved {
        reserved.map_err(|reason| anyhow!("{reason}"))?;
        workload.vms[leaving] = vm;
    } else {
        workload.vms.swap_remove(leaving);
    }
    Ok(took)
}

/// Placements per second when each request has a shape that was never met before.
pub(crate) fn cold(hosts: u32) -> Result<()> {
    let mut workload = Workload::new(hosts)?;
    let mut rates = Vec::new();
    for round in 0..COLD_ROUNDS {
        let mut each = Vec::new();
        for number in 0..COLD {
            let (vm, mut request) = workload.next()?;
            // No setup has such an amount of processor time.
            request.cores.0 += u64::from(1 + round * COLD + number);
            each.push(replace_one(&mut workload, vm, &request)?);
        }
        rates.push(rate(&each));
    }
    print(&format!("place-cold/{hosts}"), median(rates), "placements/s");
    Ok(())
}
