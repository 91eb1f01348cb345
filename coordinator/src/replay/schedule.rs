//! Owns in which order VMs come and go: at the trace's own times, or drawn from it at random until they ask for more than
//! there is.
//!
//! Must not: place anything. The same trace, demand and seed give the same order on every machine, for ever.

use super::outcome::{Order, Resource, Resources, float};
use super::trace::{Trace, TraceVm};

/// The most that may be asked for: ten times what there is. Beyond it nothing more is placed.
pub const DEMAND_MAX: Demand = Demand(10_000);
/// The most VMs drawn in one run; with them it takes some minutes.
pub const DRAWS_MAX: usize = 10_000_000;

/// How much is asked for in all, in thousandths of the fleet's capacity: 1300 for 130 %.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Demand(pub u32);

/// Why VMs cannot be drawn from a trace.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// The hosts have nothing of it, so that any demand is reached at once.
    #[error("the hosts have no {0}, so that no demand can be drawn for them; leave out --ignore-times")]
    NoCapacity(Resource),
    /// The VMs ask for so little that the demand is out of reach.
    #[error(
        "{DRAWS_MAX} VMs ask for less {resource} than {percent} % of the fleet's; use fewer hosts or a lower demand"
    )]
    TooManyDraws {
        /// What is asked for.
        resource: Resource,
        /// How much was to be asked for.
        percent: String,
    },
}

/// The order in which VMs come and go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Timed(Vec<Event>),
    Drawn { rows: Vec<u32>, resource: Resource, target: u64, demand: Demand, seed: u64 },
}

/// What happens at a second, in the order of the fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Event {
    time_s: u64,
    phase: Phase,
    row: u32,
}

/// What happens first within one second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// Those that came earlier leave.
    Leave,
    /// Others come.
    Come,
    /// Those that came just now leave.
    LeaveAtOnce,
}

/// One VM comes or leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    /// Which VM of the run: each coming has a number of its own.
    pub(super) number: usize,
    /// What it asks for.
    pub(super) vm: TraceVm,
    /// It comes; otherwise it leaves.
    pub(super) comes: bool,
    /// When, in seconds; none when times are ignored.
    pub(super) time_s: Option<u64>,
}

impl Schedule {
    /// At the trace's own times. Within one second those that are there leave before others come, in the order of their
    /// lines; whoever leaves in the second of coming leaves last.
    #[must_use]
    pub fn timed(trace: &Trace) -> Self {
        let mut events = Vec::with_capacity(trace.vms.len() * 2);
        for (row, vm) in (0_u32..).zip(&trace.vms) {
            events.push(Event { time_s: vm.arrive_s, phase: Phase::Come, row });
            if let Some(time_s) = vm.depart_s {
                let phase = if time_s > vm.arrive_s { Phase::Leave } else { Phase::LeaveAtOnce };
                events.push(Event { time_s, phase, row });
            }
        }
        events.sort_unstable();
        Self { kind: Kind::Timed(events) }
    }

    /// VMs drawn from the trace, each as likely as any other and as often as it comes, until they ask for `demand` of the
    /// fleet's devices, or of its cores when no VM asks for devices. Nobody leaves.
    ///
    /// # Errors
    /// [`ScheduleError`] when that can never be reached.
    pub fn drawn(trace: &Trace, demand: Demand, seed: u64) -> Result<Self, ScheduleError> {
        let asks_devices = trace.shapes.iter().any(|(shape, _)| shape.devices.is_some());
        let resource = if asks_devices { Resource::Devices } else { Resource::Cores };
        let capacity = *trace.capacity().of(resource);
        if capacity == 0 {
            return Err(ScheduleError::NoCapacity(resource));
        }
        let target = u128::from(capacity) * u128::from(demand.0);
        let length = u64::try_from(trace.vms.len()).unwrap_or(u64::MAX).max(1);
        let mut numbers = SplitMix64(seed);
        let (mut rows, mut asked) = (Vec::new(), 0_u64);
        while u128::from(asked) * 1000 < target {
            if rows.len() >= DRAWS_MAX {
                let percent = format!("{}.{}", demand.0 / 10, demand.0 % 10);
                return Err(ScheduleError::TooManyDraws { resource, percent });
            }
            let row = u32::try_from(numbers.next() % length).unwrap_or(0);
            let vm = trace.vms.get(row as usize);
            asked += vm.map_or(0, |vm| *trace.size_of(vm).of(resource));
            rows.push(row);
        }
        let target = u64::try_from(target / 1000).unwrap_or(u64::MAX);
        Ok(Self { kind: Kind::Drawn { rows, resource, target, demand, seed } })
    }

    /// How many steps there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.kind {
            Kind::Timed(events) => events.len(),
            Kind::Drawn { rows, .. } => rows.len(),
        }
    }

    /// Whether nothing happens.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The seed it was drawn with.
    #[must_use]
    pub fn seed(&self) -> Option<u64> {
        match &self.kind {
            Kind::Timed(_) => None,
            Kind::Drawn { seed, .. } => Some(*seed),
        }
    }

    /// How it was made, for the report.
    #[must_use]
    pub fn order(&self) -> Order {
        match &self.kind {
            Kind::Timed(_) => Order::Times,
            Kind::Drawn { resource, demand, .. } => {
                Order::Drawn { demand_percent: f64::from(demand.0) / 10.0, of: *resource }
            }
        }
    }

    /// Who comes and leaves, in order.
    pub(super) fn steps<'a>(&'a self, trace: &'a Trace) -> impl Iterator<Item = Step> + 'a {
        let count = self.len();
        (0..count).filter_map(move |index| match &self.kind {
            Kind::Timed(events) => {
                let event = events.get(index)?;
                let number = event.row as usize;
                let vm = *trace.vms.get(number)?;
                let comes = event.phase == Phase::Come;
                Some(Step { number, vm, comes, time_s: Some(event.time_s) })
            }
            Kind::Drawn { rows, .. } => {
                let vm = *trace.vms.get(*rows.get(index)? as usize)?;
                Some(Step { number: index, vm, comes: true, time_s: None })
            }
        })
    }

    /// From where to where it goes: seconds, or the amount asked for so far.
    pub(super) fn range(&self) -> (u64, u64) {
        match &self.kind {
            Kind::Timed(events) => {
                let time = |event: Option<&Event>| event.map_or(0, |event| event.time_s);
                (time(events.first()), time(events.last()))
            }
            Kind::Drawn { target, .. } => (0, *target),
        }
    }

    /// Where on its way a step is: its second, or what was asked for with it.
    pub(super) fn position(&self, step: &Step, asked: &Resources<u64>) -> u64 {
        match &self.kind {
            Kind::Timed(_) => step.time_s.unwrap_or(0),
            Kind::Drawn { resource, .. } => *asked.of(*resource),
        }
    }

    /// A position as it is told: seconds, or percent of the fleet's capacity.
    pub(super) fn told(&self, position: u64, capacity: &Resources<u64>) -> f64 {
        match &self.kind {
            Kind::Timed(_) => float(position),
            Kind::Drawn { resource, .. } => 100.0 * float(position) / float(*capacity.of(*resource)).max(1.0),
        }
    }
}

/// Numbers that look random and are the same everywhere: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
