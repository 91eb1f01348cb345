//! Owns one run: VMs come and go in the order of a schedule, the fleet decides for each, and it is counted what comes of
//! it.
//!
//! Must not: decide. A VM that is refused is counted and forgotten.

use std::collections::BTreeMap;
use std::sync::Arc;

use reeve_common::device::WHOLE_PERMILLE;
use reeve_common::ids::{DeviceClass, HostId, InvalidName, RealmName, VmId};
use reeve_scheduler::{CostFunction, Fleet, HostDescription, Reason, Request};
use uuid::Uuid;

use super::bound::Demanded;
use super::outcome::{AllocatedByClass, Moment, Outcome, Point, Refusals, Resources, TraceSummary};
use super::refusal::{Judge, host_id, host_index};
use super::schedule::{Schedule, Step};
use super::trace::Trace;

/// Parts that the course of a run is told in: as many as a plot can show.
const COURSE_PARTS: u64 = 100;
/// Steps after which whoever watches is told.
const STEPS_PER_TELLING: usize = 256;

/// Shapes of a catalogue. A host is compared with each of them whenever it is scored; real traces have some hundred, and those
/// with more have them of sizes nobody would have chosen.
const CATALOGUE_MAX: usize = 1000;

/// Why a run could not be carried out.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RunError {
    /// A fault of ours: the choice and the check that follows it disagree.
    #[error(
        "host {host} was chosen and then refused ({reason}); this is a fault of the scheduler: please report it"
    )]
    Contradiction {
        /// The host chosen.
        host: HostId,
        /// Why it was refused.
        reason: Reason,
    },
    /// A fault of ours: no realm to replay in.
    #[error(transparent)]
    Name(#[from] InvalidName),
}

/// A fleet that waits for the VMs of a trace.
#[derive(Debug)]
pub struct Replay<'a> {
    trace: &'a Trace,
    schedule: &'a Schedule,
    fleet: Fleet,
    requests: Vec<Request>,
    judge: Judge<'a>,
}

impl<'a> Replay<'a> {
    /// The trace's hosts, empty, judged by a cost function.
    ///
    /// # Errors
    /// [`RunError::Name`], which is a fault of ours.
    pub fn new(trace: &'a Trace, schedule: &'a Schedule, cost: &Arc<CostFunction>) -> Result<Self, RunError> {
        let realm = RealmName::new("replay")?;
        let mut fleet = Fleet::new();
        for (index, host) in trace.hosts.iter().enumerate() {
            let (id, name) = (host_id(index), host.name.clone());
            let description =
                HostDescription::new(id, name, realm.clone(), host.capacity(), Arc::clone(cost));
            fleet.upsert_host(description);
        }
        let requests: Vec<Request> =
            trace.shapes.iter().map(|(shape, _)| shape.request(realm.clone())).collect();
        fleet.set_catalogue(&realm, &catalogue(trace, &requests));
        Ok(Self { trace, schedule, fleet, requests, judge: Judge::new(&trace.hosts, realm) })
    }

    /// Carries it out. `watch` is told now and then how many steps of how many are done.
    ///
    /// # Errors
    /// [`RunError::Contradiction`], which is a fault of ours.
    pub fn run(mut self, watch: &mut dyn FnMut(usize, usize)) -> Result<Outcome, RunError> {
        let (trace, schedule) = (self.trace, self.schedule);
        let mut count = Count::new(trace, schedule);
        for (index, step) in schedule.steps(trace).enumerate() {
            if index % STEPS_PER_TELLING == 0 {
                watch(index, schedule.len());
            }
            if step.comes {
                count.comes(&step);
                self.place(&step, &mut count)?;
            } else {
                count.leaves(&step);
                if let Some(host) = self.fleet.release(vm_id(step.number)) {
                    self.judge.left(host);
                    count.left(&step, host);
                }
            }
        }
        watch(schedule.len(), schedule.len());
        Ok(count.finish(&self.fleet))
    }

    fn place(&mut self, step: &Step, count: &mut Count<'_>) -> Result<(), RunError> {
        let number = step.vm.shape;
        let (Some(request), Some((shape, _))) = (self.requests.get(number), self.trace.shapes.get(number))
        else {
            return Ok(());
        };
        match self.fleet.decide(request) {
            Some(host) => {
                let held = self.fleet.reserve(vm_id(step.number), host, request);
                held.map_err(|reason| RunError::Contradiction { host, reason })?;
                count.placed(step, host);
            }
            None => count.refusals.count(self.judge.judge(number, shape, &self.fleet)),
        }
        Ok(())
    }
}

/// What is to be expected, for the attribute `stranded`: what VMs of the trace ask for, as often as they do; the most frequent
/// when that is much.
pub(super) fn catalogue(trace: &Trace, requests: &[Request]) -> Vec<(Request, u32)> {
    let mut shapes: Vec<(&Request, u32)> = requests
        .iter()
        .zip(&trace.shapes)
        .map(|(request, (_, count))| (request, u32::try_from(*count).unwrap_or(u32::MAX)))
        .collect();
    // Stable: of those that are equally frequent the first to come up.
    shapes.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    shapes.truncate(CATALOGUE_MAX);
    shapes.into_iter().map(|(request, count)| (request.clone(), count)).collect()
}

/// A trace in numbers.
#[must_use]
pub fn summary(trace: &Trace) -> TraceSummary {
    let first = trace.hosts.first();
    let is_like_first = |host: &super::trace::TraceHost| {
        first.is_some_and(|first| (first.size(), &first.devices) == (host.size(), &host.devices))
    };
    TraceSummary {
        hosts: trace.hosts.len(),
        hosts_are_alike: trace.hosts.iter().all(is_like_first),
        capacity: trace.capacity(),
        vms: trace.vms.len(),
        shapes: trace.shapes.len(),
    }
}

fn vm_id(number: usize) -> VmId {
    VmId(Uuid::from_u128(number as u128))
}

/// What is counted in the course of a run.
struct Count<'a> {
    trace: &'a Trace,
    schedule: &'a Schedule,
    capacity: Resources<u64>,
    moment: Moment,
    demanded: Demanded,
    refusals: Refusals,
    placed: u64,
    /// The VMs on each host, and whether it ever had one.
    hosts: Vec<(u32, bool)>,
    in_use: usize,
    in_use_peak: usize,
    in_use_peak_at: Option<Moment>,
    allocated: Resources<u64>,
    allocated_peak: Resources<u64>,
    course: Vec<Point>,
}

impl<'a> Count<'a> {
    fn new(trace: &'a Trace, schedule: &'a Schedule) -> Self {
        Self {
            trace,
            schedule,
            capacity: trace.capacity(),
            moment: Moment::default(),
            demanded: Demanded::new(),
            refusals: Refusals::default(),
            placed: 0,
            hosts: vec![(0, false); trace.hosts.len()],
            in_use: 0,
            in_use_peak: 0,
            in_use_peak_at: None,
            allocated: Resources::default(),
            allocated_peak: Resources::default(),
            course: Vec::new(),
        }
    }

    /// A VM comes, wherever it goes.
    fn comes(&mut self, step: &Step) {
        let size = self.trace.size_of(&step.vm);
        let asked = self.demanded.now().plus(size);
        self.draw_course_before(self.schedule.position(step, &asked));
        self.moment = Moment { arrived: self.moment.arrived + 1, time_s: step.time_s };
        self.demanded.come(size, self.moment);
    }

    /// A VM leaves, wherever it was.
    fn leaves(&mut self, step: &Step) {
        self.draw_course_before(self.schedule.position(step, self.demanded.now()));
        self.moment.time_s = step.time_s;
        self.demanded.leave(self.trace.size_of(&step.vm));
    }

    fn placed(&mut self, step: &Step, host: HostId) {
        self.placed += 1;
        self.allocated = self.allocated.plus(self.trace.size_of(&step.vm));
        self.allocated_peak = self.allocated_peak.or_more(self.allocated);
        let Some((vms, was_used)) = self.hosts.get_mut(host_index(host)) else { return };
        *vms += 1;
        *was_used = true;
        if *vms == 1 {
            self.in_use += 1;
        }
        if self.in_use > self.in_use_peak {
            self.in_use_peak = self.in_use;
            self.in_use_peak_at = Some(self.moment);
        }
    }

    fn left(&mut self, step: &Step, host: HostId) {
        self.allocated = self.allocated.minus(self.trace.size_of(&step.vm));
        let Some((vms, _)) = self.hosts.get_mut(host_index(host)) else { return };
        *vms = vms.saturating_sub(1);
        if *vms == 0 {
            self.in_use -= 1;
        }
    }

    /// Where a part of the way begins, as a number and as it is told.
    fn course_point(&self, part: u64) -> (u64, f64) {
        let (start, end) = self.schedule.range();
        let way = u128::from(end.saturating_sub(start)) * u128::from(part) / u128::from(COURSE_PARTS);
        let position = start.saturating_add(u64::try_from(way).unwrap_or(u64::MAX));
        (position, self.schedule.told(position, &self.capacity))
    }

    /// Tells the course up to, and without, a position, from how things are now.
    fn draw_course_before(&mut self, position: u64) {
        loop {
            let part = self.course.len() as u64;
            let (threshold, _) = self.course_point(part);
            if part >= COURSE_PARTS || threshold >= position {
                return;
            }
            self.draw_point(part);
        }
    }

    fn draw_point(&mut self, part: u64) {
        self.course.push(Point {
            at: self.course_point(part).1,
            hosts_in_use: self.in_use,
            allocated_percent: self.allocated.percent_of(&self.capacity),
        });
    }

    fn finish(mut self, fleet: &Fleet) -> Outcome {
        for part in self.course.len() as u64..=COURSE_PARTS {
            self.draw_point(part);
        }
        Outcome {
            arrived: self.moment.arrived,
            placed: self.placed,
            refused: self.moment.arrived - self.placed,
            refusals: self.refusals,
            hosts_ever_used: self.hosts.iter().filter(|(_, was_used)| *was_used).count(),
            hosts_in_use_peak: self.in_use_peak,
            hosts_in_use_peak_at: self.in_use_peak_at,
            hosts_in_use_end: self.in_use,
            hosts_lower_bound: self.demanded.bound(&self.trace.hosts),
            demand_peak_percent: self.demanded.peak().percent_of(&self.capacity),
            allocated_end_percent: self.allocated.percent_of(&self.capacity),
            allocated_peak_percent: self.allocated_peak.percent_of(&self.capacity),
            stranded_end_percent: stranded(fleet, self.trace, &self.capacity),
            devices_end: devices(fleet, self.trace),
            course: self.course,
        }
    }
}

/// The devices by class, over all hosts.
fn devices(fleet: &Fleet, trace: &Trace) -> BTreeMap<DeviceClass, AllocatedByClass> {
    let mut classes: BTreeMap<DeviceClass, AllocatedByClass> = BTreeMap::new();
    for (index, host) in trace.hosts.iter().enumerate() {
        let Some((class, count)) = &host.devices else { continue };
        let sum = classes.entry(class.clone()).or_default();
        sum.total_permille += u64::from(*count) * u64::from(WHOLE_PERMILLE);
        let used = fleet.usage(host_id(index)).map(|usage| usage.used.devices_permille);
        sum.used_permille += used.and_then(|used| used.get(class).copied()).unwrap_or(0);
    }
    classes
}

/// What is stranded on all hosts, in percent of what there is.
fn stranded(fleet: &Fleet, trace: &Trace, capacity: &Resources<u64>) -> Resources<Option<f64>> {
    let mut sum = Resources::<u64>::default();
    for (index, host) in trace.hosts.iter().enumerate() {
        let (id, size) = (host_id(index), host.size());
        let (Some(stranded), Some(usage)) = (fleet.stranded(id), fleet.usage(id)) else { continue };
        let used = Resources {
            cores: usage.used.cores.0,
            memory: usage.used.memory.0,
            devices: usage.used.devices_permille.values().sum(),
        };
        let stranded = Resources {
            cores: rounded(stranded.cores * 1000.0),
            memory: rounded(stranded.memory),
            devices: rounded(stranded.devices * f64::from(WHOLE_PERMILLE)),
        };
        let free = size.minus(used);
        // What is stranded for two reasons counts twice in the attribute, and once here.
        sum = sum.plus(Resources::make(|resource| *stranded.of(resource).min(free.of(resource))));
    }
    sum.percent_of(capacity)
}

/// In whole units: a sum of these does not depend on the order of the hosts.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // too small for either; a cast never panics
fn rounded(amount: f64) -> u64 {
    amount.round() as u64
}
