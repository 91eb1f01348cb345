//! Owns the documents of a replay: what `reeve replay -o json` prints. Amounts are millicores, MiB and thousandths of
//! devices; percent are of the whole fleet's capacity, and `null` where the fleet has nothing of it.
//!
//! Everything but `timing` is the same for the same files, cost functions and seeds.

use std::collections::BTreeMap;
use std::fmt;

use reeve_common::ids::{CostFunctionName, DeviceClass};
use reeve_scheduler::ChoiceRule;
use serde::{Deserialize, Serialize};

use super::refusal::Refusal;

/// All that was replayed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// What was read.
    pub trace: TraceSummary,
    /// In which order VMs came.
    pub order: Order,
    /// One for each cost function, in the order in which they were named.
    pub cost_functions: Vec<CostReport>,
}

/// A trace in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TraceSummary {
    /// Hosts.
    pub hosts: usize,
    /// All hosts are of one size.
    pub hosts_are_alike: bool,
    /// What the hosts have together.
    pub capacity: Resources<u64>,
    /// VMs.
    pub vms: usize,
    /// Different things that VMs ask for.
    pub shapes: usize,
}

/// In which order VMs come.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", tag = "kind")]
pub enum Order {
    /// At the trace's own times.
    Times,
    /// Drawn at random from the trace; nobody leaves.
    Drawn {
        /// How much is asked for, in percent of the fleet's.
        demand_percent: f64,
        /// Of what.
        of: Resource,
    },
}

/// What one cost function made of the trace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CostReport {
    /// Its name.
    pub name: CostFunctionName,
    /// The file it is declared in, as it was named; none for a preset.
    pub file: Option<String>,
    /// Which of its numbers is compared.
    pub by: ChoiceRule,
    /// Its terms: name and expression.
    pub terms: Vec<(String, String)>,
    /// One run for each seed, or a single one at the trace's own times.
    pub runs: Vec<Run>,
    /// All runs together.
    pub over_runs: OverSeeds,
}

/// One run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Run {
    /// What the VMs were drawn with; none at the trace's own times.
    pub seed: Option<u64>,
    /// What came of it.
    pub outcome: Outcome,
    /// How long it took on this machine.
    pub timing: Timing,
}

/// How long a run took. Reading the files is not counted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Timing {
    /// In all.
    pub wall_seconds: f64,
    /// VMs that came, each decided once with all hosts considered; counting and VMs' leaving are in the time.
    pub decisions_per_second: f64,
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Outcome {
    /// VMs that came.
    pub arrived: u64,
    /// Those that were placed.
    pub placed: u64,
    /// Those that were not.
    pub refused: u64,
    /// Why not.
    pub refusals: Refusals,
    /// Hosts that ever had a VM.
    pub hosts_ever_used: usize,
    /// The most hosts that had a VM at the same time.
    pub hosts_in_use_peak: usize,
    /// When that was first reached; none when nothing was placed.
    pub hosts_in_use_peak_at: Option<Moment>,
    /// The hosts with a VM at the end.
    pub hosts_in_use_end: usize,
    /// Fewer hosts in use at the peak would not do, had all VMs that came been placed.
    pub hosts_lower_bound: HostsBound,
    /// The most that was asked for at the same time by all VMs that had come, placed or not.
    pub demand_peak_percent: Resources<Option<f64>>,
    /// What was promised at the end.
    pub allocated_end_percent: Resources<Option<f64>>,
    /// The most that was promised at the same time, of each for itself.
    pub allocated_peak_percent: Resources<Option<f64>>,
    /// What was free at the end and of no use to the VMs that are to be expected, which are those of the trace: the attributes
    /// `stranded.cores`, `stranded.memory` and `stranded.devices` of all hosts, on each host at most what was free.
    pub stranded_end_percent: Resources<Option<f64>>,
    /// The devices promised at the end, by class.
    pub devices_end: BTreeMap<DeviceClass, AllocatedByClass>,
    /// How it went, evenly spread over the time, or over the demand when VMs were drawn.
    pub course: Vec<Point>,
}

/// The devices of one class in the whole fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AllocatedByClass {
    /// Thousandths of devices that are promised.
    pub used_permille: u64,
    /// Thousandths of devices that there are.
    pub total_permille: u64,
}

/// When something was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Moment {
    /// VMs that had come by then.
    pub arrived: u64,
    /// The trace's time in seconds; none when times are ignored.
    pub time_s: Option<u64>,
}

/// How many hosts there must be, by volume: as many of the largest as hold what is asked for of one resource at the worst
/// moment. With hosts of one size that is the sum over the size, rounded up. No placement can do with less; none may reach
/// it either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct HostsBound {
    /// So many; all of the fleet when even they do not suffice.
    pub hosts: usize,
    /// The resource that takes the most hosts; cores when all take as many.
    pub resource: Resource,
    /// When its demand is highest.
    pub at: Moment,
    /// More is asked for than the fleet has.
    pub exceeds_fleet: bool,
}

/// VMs refused, by reason; each counts once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Refusals {
    /// No host could take them even if it were empty.
    pub too_large: u64,
    /// No host has devices enough left.
    pub devices: u64,
    /// No host has cores enough left.
    pub cores: u64,
    /// No host has memory enough left.
    pub memory: u64,
    /// Some host has cores enough left, some has memory, some has devices, but none all of it.
    pub together: u64,
    /// A host has all of it, but placing there would cost what is not a finite number, which means "never here".
    pub cost: u64,
}

impl Refusals {
    /// Counts one.
    pub(super) fn count(&mut self, refusal: Refusal) {
        *match refusal {
            Refusal::TooLarge => &mut self.too_large,
            Refusal::Devices => &mut self.devices,
            Refusal::Cores => &mut self.cores,
            Refusal::Memory => &mut self.memory,
            Refusal::Together => &mut self.together,
            Refusal::Cost => &mut self.cost,
        } += 1;
    }

    /// The reasons with their numbers.
    #[must_use]
    pub fn by_reason(&self) -> [(Refusal, u64); 6] {
        [
            (Refusal::TooLarge, self.too_large),
            (Refusal::Devices, self.devices),
            (Refusal::Cores, self.cores),
            (Refusal::Memory, self.memory),
            (Refusal::Together, self.together),
            (Refusal::Cost, self.cost),
        ]
    }
}

/// How it was at one point of the way.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Point {
    /// The trace's time in seconds, or what was asked for so far in percent of the fleet's.
    pub at: f64,
    /// Hosts with a VM.
    pub hosts_in_use: usize,
    /// What was promised.
    pub allocated_percent: Resources<Option<f64>>,
}

/// The figures of all runs of one cost function: mean, least and most.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct OverSeeds {
    /// Hosts that ever had a VM.
    pub hosts_ever_used: Spread,
    /// The most hosts that had a VM at the same time.
    pub hosts_in_use_peak: Spread,
    /// The fewest hosts that could do.
    pub hosts_lower_bound: Spread,
    /// VMs placed.
    pub placed: Spread,
    /// VMs refused.
    pub refused: Spread,
    /// What was promised at the end.
    pub allocated_end_percent: Resources<Option<Spread>>,
    /// The most that was promised at the same time.
    pub allocated_peak_percent: Resources<Option<Spread>>,
    /// What was free at the end and of no use.
    pub stranded_end_percent: Resources<Option<Spread>>,
    /// Decisions per second on this machine.
    pub decisions_per_second: Spread,
}

impl OverSeeds {
    /// Puts runs together; none when there is no run.
    #[must_use]
    pub fn of(runs: &[Run]) -> Option<Self> {
        let of = |figure: fn(&Run) -> f64| Spread::of(runs.iter().map(figure));
        let percent = |figure: fn(&Run) -> &Resources<Option<f64>>| {
            let spread = |resource| Spread::of(runs.iter().filter_map(|run| *figure(run).of(resource)));
            Resources {
                cores: spread(Resource::Cores),
                memory: spread(Resource::Memory),
                devices: spread(Resource::Devices),
            }
        };
        Some(Self {
            hosts_ever_used: of(|run| float(run.outcome.hosts_ever_used as u64))?,
            hosts_in_use_peak: of(|run| float(run.outcome.hosts_in_use_peak as u64))?,
            hosts_lower_bound: of(|run| float(run.outcome.hosts_lower_bound.hosts as u64))?,
            placed: of(|run| float(run.outcome.placed))?,
            refused: of(|run| float(run.outcome.refused))?,
            allocated_end_percent: percent(|run| &run.outcome.allocated_end_percent),
            allocated_peak_percent: percent(|run| &run.outcome.allocated_peak_percent),
            stranded_end_percent: percent(|run| &run.outcome.stranded_end_percent),
            decisions_per_second: of(|run| run.timing.decisions_per_second)?,
        })
    }
}

/// A figure over several runs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Spread {
    /// The arithmetic mean.
    pub mean: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
}

impl Spread {
    /// Of some figures; none when there are none.
    #[must_use]
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let (mut count, mut sum) = (0_u32, 0.0);
        let (mut min, mut max) = (f64::INFINITY, f64::NEG_INFINITY);
        for figure in figures {
            (count, sum) = (count + 1, sum + figure);
            (min, max) = (min.min(figure), max.max(figure));
        }
        (count > 0).then(|| Self { mean: sum / f64::from(count), min, max })
    }
}

/// What hosts have and VMs ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resource {
    /// Processor time.
    Cores,
    /// Memory.
    Memory,
    /// Devices of any class.
    Devices,
}

impl Resource {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Cores, Self::Memory, Self::Devices];
}

impl fmt::Display for Resource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Cores => "cores",
            Self::Memory => "memory",
            Self::Devices => "devices",
        })
    }
}

/// A figure for each resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Resources<T> {
    /// For processor time.
    pub cores: T,
    /// For memory.
    pub memory: T,
    /// For devices of any class.
    pub devices: T,
}

impl<T> Resources<T> {
    /// That of one resource.
    pub const fn of(&self, resource: Resource) -> &T {
        match resource {
            Resource::Cores => &self.cores,
            Resource::Memory => &self.memory,
            Resource::Devices => &self.devices,
        }
    }

    /// Works one out for each resource.
    pub fn make(mut figure: impl FnMut(Resource) -> T) -> Self {
        Self {
            cores: figure(Resource::Cores),
            memory: figure(Resource::Memory),
            devices: figure(Resource::Devices),
        }
    }
}

impl Resources<u64> {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self::make(|resource| self.of(resource).saturating_add(*other.of(resource)))
    }

    /// What is left.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self::make(|resource| self.of(resource).saturating_sub(*other.of(resource)))
    }

    /// The larger of both, for each.
    #[must_use]
    pub fn or_more(self, other: Self) -> Self {
        Self::make(|resource| *self.of(resource).max(other.of(resource)))
    }

    /// In percent of `whole`; none where there is no whole.
    #[must_use]
    pub fn percent_of(&self, whole: &Self) -> Resources<Option<f64>> {
        Resources::make(|resource| {
            let whole = *whole.of(resource);
            (whole > 0).then(|| 100.0 * float(*self.of(resource)) / float(whole))
        })
    }
}

/// As a float. Sums over a trace stay far below 2^53, where floats are exact.
#[allow(clippy::cast_precision_loss)]
pub(super) fn float(number: u64) -> f64 {
    number as f64
}
