//! Owns what is placed where in the benchmarks: a catalogue of 100 setups, hosts of three profiles judged by the preset
//! `balanced` (four terms), and fleets filled to the same share whatever their size.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use reeve_common::device::DeviceAmount;
use reeve_common::hardware_profile::Capacity;
use reeve_common::ids::{CostFunctionName, DeviceClass, HostId, HostName, RealmName, VmId};
use reeve_common::units::{Mebibytes, Millicores};
use reeve_scheduler::{ChoiceRule, CostFunction, Fleet, HostDescription, Request, presets};
use uuid::Uuid;

/// How many setups there are.
const SETUPS: u32 = 100;
/// How many users own VMs, in fifty teams.
const OWNERS: usize = 2000;
/// Numerator and denominator of the share of all memory that is promised before anything is timed.
const FILLED: (u64, u64) = (2, 3);

/// Numbers that look random and are the same in every run (SplitMix64: Steele, Lea and Flood, 2014).
pub(crate) struct Choices(pub(crate) u64);

impl Choices {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % (limit.max(1) as u64)).unwrap_or_default()
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> Result<&'a T> {
        let index = self.below(from.len());
        from.get(index).context("nothing to pick from")
    }

    fn vm(&mut self) -> VmId {
        VmId(Uuid::from_u64_pair(self.next(), self.next()))
    }
}

/// A fleet at work: its VMs, and who comes next.
pub(crate) struct Workload {
    /// The hosts.
    pub(crate) fleet: Fleet,
    /// The VMs that run.
    pub(crate) vms: Vec<VmId>,
    /// How many hosts there are.
    pub(crate) hosts: u32,
    setups: Vec<Request>,
    choices: Choices,
}

impl Workload {
    /// A fleet of so many hosts, filled.
    pub(crate) fn new(hosts: u32) -> Result<Self> {
        let mut workload = Self::empty(hosts)?;
        let memory: u64 = workload.fleet.hosts().map(|host| host.capacity.memory.0).sum();
        let mut promised = 0;
        while promised * FILLED.1 < memory * FILLED.0 {
            promised += workload.put_anywhere()?.unwrap_or_default().0;
        }
        Ok(workload)
    }

    /// Hosts without VMs.
    pub(crate) fn empty(hosts: u32) -> Result<Self> {
        let cost_function = Arc::new(cost_function()?);
        let mut fleet = Fleet::new();
        for id in 1..=hosts {
            fleet.upsert_host(host(id, &cost_function)?);
        }
        let mut choices = Choices(42);
        let setups = catalogue(&mut choices)?;
        Ok(Self { fleet, vms: Vec::new(), hosts, setups, choices })
    }

    /// Puts a VM on a host chosen at random, without asking the scheduler, and says how much memory it takes; none if it
    /// does not fit there.
    pub(crate) fn put_anywhere(&mut self) -> Result<Option<Mebibytes>> {
        let (vm, request) = self.next()?;
        let host = HostId(u32::try_from(self.choices.below(self.hosts as usize))? + 1);
        if self.fleet.reserve(vm, host, &request).is_err() {
            return Ok(None);
        }
        self.vms.push(vm);
        Ok(Some(request.memory))
    }

    /// Who comes next.
    pub(crate) fn next(&mut self) -> Result<(VmId, Request)> {
        let setup = self.choices.pick(&self.setups)?.clone();
        let owner = self.choices.below(OWNERS);
        let request =
            Request { owner: format!("user-{owner}"), team: format!("team-{}", owner % 50), ..setup };
        Ok((self.choices.vm(), request))
    }

    /// The place in [`Self::vms`] of who leaves next.
    pub(crate) fn leaving(&mut self) -> usize {
        self.choices.below(self.vms.len())
    }

    /// Asks for every setup often enough for its scores to be kept.
    pub(crate) fn ask_for_all(&mut self) {
        for request in self.setups.iter().chain(&self.setups) {
            // Which host it is does not matter here.
            let _ = self.fleet.decide(request);
        }
    }
}

fn cost_function() -> Result<CostFunction> {
    let name = CostFunctionName::new("balanced")?;
    let preset = presets().into_iter().find(|(preset, _)| *preset == name);
    let (_, terms) = preset.context("there is no preset called balanced")?;
    CostFunction::compile(&name, &terms, ChoiceRule::Increase).map_err(|errors| {
        anyhow!("{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    })
}

fn host(id: u32, cost_function: &Arc<CostFunction>) -> Result<HostDescription> {
    let (cores, memory_gib, a100) = *[(124, 252, 0), (248, 492, 0), (120, 492, 4)]
        .get(id as usize % 3)
        .context("there are three profiles")?;
    let capacity = Capacity {
        cores: Millicores::from_cores(cores),
        memory: Mebibytes(memory_gib << 10),
        devices: if a100 > 0 { BTreeMap::from([(DeviceClass::new("a100")?, a100)]) } else { BTreeMap::new() },
        ..Capacity::default()
    };
    let name = HostName::new(format!("host-{id}"))?;
    Ok(HostDescription::new(
        HostId(id),
        name,
        RealmName::new("production")?,
        capacity,
        Arc::clone(cost_function),
    ))
}

fn catalogue(choices: &mut Choices) -> Result<Vec<Request>> {
    let realm = RealmName::new("production")?;
    let mut setup = |number: u32| {
        let cores = *choices.pick(&[250, 500, 1000, 2000, 2000, 4000, 4000, 8000, 16_000])?;
        let memory = cores * choices.pick(&[1024, 2048, 4096, 4096, 6144, 8192])? / 1000;
        // A few MiB make every setup a size of its own.
        let memory = Mebibytes(memory + u64::from(number) * 16);
        let mut request = Request::new(realm.clone(), Millicores(cores), memory);
        if number.is_multiple_of(20) {
            request.devices.insert("a100".parse()?, DeviceAmount::Whole(1));
        }
        Ok(request)
    };
    (0..SETUPS).map(&mut setup).collect()
}
