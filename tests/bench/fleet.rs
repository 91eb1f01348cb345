//! Placements per second with every host considered: mixed sizes from a catalogue of 100 setups, three profiles, a
//! cost of four terms, VMs leaving as others come, every placement committed to the fleet.

use std::collections::VecDeque;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use reeve_common::clock::{Clock, SystemClock};
use reeve_common::hardware_profile::Capacity;
use reeve_common::ids::{CostFunctionName, HostId, HostName, RealmName, VmId};
use reeve_common::units::{Mebibytes, Millicores};
use reeve_scheduler::{ChoiceRule, CostFunction, Fleet, HostDescription, Request};

use super::figures::print;

/// How many placements are timed.
const PLACEMENTS: usize = 20_000;
/// The part of the fleet's cores that is in use while it is timed.
const FILLED: f64 = 0.6;

const TERMS: [(&str, &str); 4] = [
    ("cpu", "2 * power(cores.load, 2)"),
    ("memory", "4 * exponential(memory.load, 8)"),
    ("crowding", "ramp(vms, 30, 60)"),
    ("spread", "step(cores.load, 0.9) * 5"),
];

/// Measures one size of fleet.
pub(crate) fn place(hosts: usize) -> anyhow::Result<()> {
    let mut fleet = fleet(hosts)?;
    let catalogue = catalogue()?;
    let mut choices = Choices(0x5eed);
    let mut running: VecDeque<VmId> = VecDeque::new();
    let mut used = 0_u64;
    let capacity = hosts as u64 * (32_000 + 64_000 + 128_000) / 3;
    #[allow(clippy::cast_precision_loss)]
    while (used as f64) < capacity as f64 * FILLED {
        let request = choices.pick(&catalogue);
        let vm = VmId::random();
        let Some(host) = spread(&fleet, &mut choices, hosts, request) else { break };
        fleet.reserve(vm, host, request).map_err(|reason| anyhow!("{reason}"))?;
        running.push_back(vm);
        used += request.cores.0;
    }
    for request in &catalogue {
        // What a fleet in service knows by then.
        fleet.decide(request).context("the fleet is full")?;
    }
    let clock = SystemClock;
    let begun = clock.monotonic();
    let mut each = Vec::with_capacity(PLACEMENTS);
    for _ in 0..PLACEMENTS {
        let one = clock.monotonic();
        let request = choices.pick(&catalogue);
        let host = fleet.decide(request).context("the fleet is full")?;
        let vm = VmId::random();
        fleet.reserve(vm, host, request).map_err(|reason| anyhow!("{reason}"))?;
        running.push_back(vm);
        if let Some(leaving) = running.pop_front() {
            fleet.release(leaving);
        }
        each.push(clock.monotonic() - one);
    }
    let took = clock.monotonic() - begun;
    each.sort();
    #[allow(clippy::cast_precision_loss)]
    print(&format!("place/{hosts}"), PLACEMENTS as f64 / took.as_secs_f64(), "placements/s");
    let p99 = each.get(each.len() * 99 / 100).copied().unwrap_or_default();
    print(&format!("place-p99/{hosts}"), p99.as_secs_f64() * 1000.0, "ms");
    Ok(())
}

/// A host with room for the request, found by trying: the fleet is filled without asking the scheduler.
fn spread(fleet: &Fleet, choices: &mut Choices, hosts: usize, request: &Request) -> Option<HostId> {
    (0..200)
        .map(|_| HostId(u32::try_from(choices.next() % hosts as u64).unwrap_or(0) + 1))
        .find(|host| fleet.fits(*host, request).is_ok())
}

fn fleet(hosts: usize) -> anyhow::Result<Fleet> {
    let name = CostFunctionName::new("four-terms")?;
    let terms: Vec<(String, String)> =
        TERMS.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    let cost = CostFunction::compile(&name, &terms, ChoiceRule::Increase).map_err(|errors| {
        anyhow!("{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    })?;
    let cost = Arc::new(cost);
    let mut fleet = Fleet::new();
    for number in 1..=u32::try_from(hosts)? {
        let scale = 1_u32 << (number % 3);
        let capacity = Capacity {
            cores: Millicores::from_cores(32 * scale),
            memory: Mebibytes(u64::from(128 * scale) << 10),
            ..Capacity::default()
        };
        let name = HostName::new(format!("node-{number}"))?;
        let realm = RealmName::new("primary")?;
        fleet.upsert_host(HostDescription::new(HostId(number), name, realm, capacity, Arc::clone(&cost)));
    }
    Ok(fleet)
}

fn catalogue() -> anyhow::Result<Vec<Request>> {
    (0..100_u32)
        .map(|number| {
            let cores = [1, 2, 4, 8][(number % 4) as usize];
            let memory =
                Mebibytes(u64::from(cores) * 1024 * u64::from(1 + number % 5) + u64::from(number) * 64);
            Ok(Request::new(RealmName::new("primary")?, Millicores::from_cores(cores), memory))
        })
        .collect()
}

/// Numbers that look random and are the same in every run (Marsaglia's xorshift, 64 bits, 13-7-17).
struct Choices(u64);

impl Choices {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn pick<'a>(&mut self, from: &'a [Request]) -> &'a Request {
        let index = usize::try_from(self.next() % from.len() as u64).unwrap_or(0);
        &from[index]
    }
}
