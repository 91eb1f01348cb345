//! Owns the score of a request on a host: infeasible, or the number of its cost that is compared.
//!
//! ```text
//!   rows    one host, the W classes of a group     after one host changed
//!   picks   one request, W hosts                   for a request without a class, and for a single host
//! ```
//!
//! Both go through the same lanes, so a score does not depend on how it came about.

use std::cell::RefCell;

use super::asked::{Asked, float, float_of_sum};
use super::asks::Asks;
use super::binding::{BoundFunction, LaneAmount, Lanes, Shared};
use super::columns::{Columns, Vital};
use super::demands::{Demands, GroupDemands};
use super::function_table::{FunctionTable, Workspaces};
use super::holding::{Book, Tenants};
use super::interning::Number;
use super::particulars::Particulars;
use super::strands::Taken;
use super::texts;
use super::tournament::INFEASIBLE;
use crate::constraint::Amount;
use crate::cost::{ChoiceRule, Reading, StrandedPart, TextTest, When, Workspace};
use crate::device_choice::HostDevices;
use crate::host::HostDescription;
use crate::reason::{CostPart, Reason};
use crate::request::Request;
use crate::stranded::Catalogue;

/// How many classes are scored at once on a host. A row of sixteen floats is two cache lines.
pub(super) const LANES: usize = 16;
/// How many hosts are scored at once for a request: more, since then each step of a cost function is looked up more seldom,
/// and few enough for all of its numbers to stay in a processor's first cache.
pub(super) const PICKED: usize = 16;

/// Hosts of one cost function that will be scored together.
struct Waiting<'a> {
    function: usize,
    slots: [usize; PICKED],
    vital: [&'a Vital; PICKED],
    count: usize,
}

/// The scores of all lanes; infeasible where one is not finite.
#[inline(always)]
fn scores_of<const W: usize>(rule: ChoiceRule, before: impl Fn(usize) -> f64, after: &[f64; W]) -> [f32; W] {
    let mut scores = [0.0; W];
    for lane in 0..W {
        #[allow(clippy::cast_possible_truncation)] // see `ChoiceRule::score`
        let rounded = rule.compared(before(lane), after[lane]) as f32;
        scores[lane] = rounded;
    }
    // Seldom: a number is not finite, or is so only with all its digits. Seen for several lanes at a time.
    if scores.iter().fold(false, |is_any, score| is_any | !score.is_finite()) {
        for lane in 0..W {
            let score = rule.score(before(lane), after[lane]);
            scores[lane] = if score.is_finite() { score } else { INFEASIBLE };
        }
    }
    scores
}

/// Whose a VM is, by the numbers in the book. Who has no owner, no team or no such label shares it with nobody.
#[derive(Debug, Clone, Copy)]
pub(super) struct Belonging<'a> {
    owner: Option<Number>,
    team: Option<Number>,
    /// Its labels, and owner and team as texts.
    request: Option<&'a Request>,
}

impl<'a> Belonging<'a> {
    /// Nobody's.
    const NOBODY: Self = Self { owner: None, team: None, request: None };

    /// Looks `request` up.
    pub(super) fn of(request: &'a Request, book: &Book) -> Self {
        let find = |word: &String| if word.is_empty() { None } else { book.words.find(word) };
        Self { owner: find(&request.owner), team: find(&request.team), request: Some(request) }
    }

    /// How many of `tenants` share it.
    fn count(&self, tenants: Option<&Tenants>, shared: Shared<'_>, book: &Book) -> f64 {
        let Some(tenants) = tenants else { return 0.0 };
        let count = match shared {
            Shared::Owner => {
                let Some(owner) = self.owner else { return 0.0 };
                tenants.holdings().filter(|holding| holding.owner == owner).count()
            }
            Shared::Team => {
                let Some(team) = self.team else { return 0.0 };
                tenants.holdings().filter(|holding| holding.team == team).count()
            }
            Shared::Label(key) => {
                let Some(value) = self.request.and_then(|request| request.labels.get(key)) else {
                    return 0.0;
                };
                let has_it = |labels: Number| {
                    book.labels.get(labels).and_then(|labels| labels.get(key)) == Some(value)
                };
                tenants.holdings().filter(|holding| has_it(holding.labels)).count()
            }
        };
        float(count as u64)
    }
}

/// What scores are made from.
#[derive(Clone, Copy)]
pub(super) struct Ground<'a> {
    /// The numbers.
    pub(super) columns: &'a Columns,
    /// The cost functions.
    pub(super) functions: &'a FunctionTable,
    /// The VMs of each slot.
    pub(super) tenants: &'a [Tenants],
    /// What they hold.
    pub(super) book: &'a Book,
    /// Whether any cost function asks whose a VM is.
    pub(super) asks_whose_it_is: bool,
    /// What is known of the hosts; only demanding requests and comparisons of texts look at it.
    pub(super) hosts: &'a [Option<HostDescription>],
    /// Likewise.
    pub(super) particulars: &'a Particulars,
    /// What is expected to be asked for.
    pub(super) catalogue: Option<&'a Catalogue>,
}

/// What the classes of a group ask for, whose their VMs are if anybody asks, and what they demand if they do.
#[derive(Debug)]
pub(super) struct Questions<'a> {
    /// Amounts.
    pub(super) asks: &'a Asks,
    /// Owners and the like.
    pub(super) belongings: Option<[Option<Belonging<'a>>; LANES]>,
    /// Everything else.
    pub(super) demands: Option<GroupDemands<'a>>,
}

/// One host, the classes of a group.
struct RowLanes<'a> {
    ground: Ground<'a>,
    slot: usize,
    vital: Vital,
    asks: &'a Asks,
    /// Which classes the host can take.
    fits: [bool; LANES],
    belongings: Option<&'a [Option<Belonging<'a>>; LANES]>,
    /// Room to work in.
    devices: RefCell<HostDevices>,
}

#[inline(always)] // see `measure`
fn lane_amount(amount: Amount, asked: f64) -> LaneAmount {
    LaneAmount { total: float_of_sum(amount.total), used: float_of_sum(amount.used), asked }
}

impl Lanes<LANES> for RowLanes<'_> {
    #[inline(always)]
    fn cores(&self, lane: usize) -> LaneAmount {
        lane_amount(self.vital.cores, self.asks.cores_asked[lane])
    }

    #[inline(always)]
    fn memory(&self, lane: usize) -> LaneAmount {
        lane_amount(self.vital.memory, self.asks.memory_asked[lane])
    }

    #[inline(always)]
    fn devices(&self, lane: usize) -> LaneAmount {
        lane_amount(self.vital.devices, self.asks.devices_asked[lane])
    }

    fn devices_of(&self, class: usize) -> [LaneAmount; LANES] {
        let Columns { host_devices, .. } = self.ground.columns;
        let mut amounts = [lane_amount(self.ground.columns.devices_of(class, self.slot), 0.0); LANES];
        for (lane, entries) in self.asks.devices() {
            amounts[lane].asked = float(host_devices[self.slot].asked_of(class, entries));
        }
        amounts
    }

    fn devices_whole(&self, class: Option<usize>, when: When) -> [f64; LANES] {
        let devices = &self.ground.columns.host_devices[self.slot];
        let mut whole = [float(devices.whole(class, &[])); LANES];
        if when == When::After {
            for (lane, entries) in self.asks.devices() {
                whole[lane] = float(devices.whole(class, entries));
            }
        }
        whole
    }

    fn stranded(&self, what: StrandedPart, when: When) -> [f64; LANES] {
        let stranded = |taken| self.ground.stranded(self.slot, what, taken, &self.devices);
        if when == When::Before {
            return [stranded(Taken::default()); LANES];
        }
        let mut out = [0.0; LANES];
        for lane in (0..LANES).filter(|lane| self.fits[*lane]) {
            out[lane] = stranded(self.asks.taken(lane));
        }
        out
    }

    #[inline(always)]
    fn vms(&self, _lane: usize) -> f64 {
        f64::from(self.vital.vms)
    }

    fn same(&self, shared: Shared<'_>) -> [f64; LANES] {
        let tenants = self.ground.tenants.get(self.slot);
        let count = |belonging: Belonging<'_>| belonging.count(tenants, shared, self.ground.book);
        self.belongings.map_or([0.0; LANES], |all| all.map(|belonging| belonging.map_or(0.0, count)))
    }

    fn measured(&self, reading: Reading) -> [f64; LANES] {
        [self.ground.columns.measured(self.slot, reading); LANES]
    }

    fn is_same_text(&self, test: &TextTest) -> [f64; LANES] {
        let answer = |request| texts::is_same(test, self.ground.host(self.slot), request);
        match self.belongings {
            Some(all) if !test.is_of_host() => {
                all.each_ref().map(|belonging| answer(belonging.and_then(|belonging| belonging.request)))
            }
            _ => [answer(None); LANES],
        }
    }
}

/// One request, any hosts.
struct PickLanes<'a, const W: usize> {
    ground: Ground<'a>,
    slots: [usize; W],
    vital: [&'a Vital; W],
    asked: &'a Asked,
    /// Of all classes together.
    devices_asked: f64,
    belonging: Belonging<'a>,
    /// Room to work in.
    devices: RefCell<HostDevices>,
}

impl<const W: usize> Lanes<W> for PickLanes<'_, W> {
    #[inline(always)]
    fn cores(&self, lane: usize) -> LaneAmount {
        lane_amount(self.vital[lane].cores, self.asked.cores_float())
    }

    #[inline(always)]
    fn memory(&self, lane: usize) -> LaneAmount {
        lane_amount(self.vital[lane].memory, self.asked.memory_float())
    }

    #[inline(always)]
    fn devices(&self, lane: usize) -> LaneAmount {
        lane_amount(self.vital[lane].devices, self.devices_asked)
    }

    fn devices_of(&self, class: usize) -> [LaneAmount; W] {
        let Columns { host_devices, .. } = self.ground.columns;
        self.slots.map(|slot| {
            let asked = float(host_devices[slot].asked_of(class, &self.asked.devices));
            lane_amount(self.ground.columns.devices_of(class, slot), asked)
        })
    }

    fn devices_whole(&self, class: Option<usize>, when: When) -> [f64; W] {
        let entries = match when {
            When::Before => &[],
            When::After => self.asked.devices.as_slice(),
        };
        self.slots.map(|slot| float(self.ground.columns.host_devices[slot].whole(class, entries)))
    }

    fn stranded(&self, what: StrandedPart, when: When) -> [f64; W] {
        let taken = match when {
            When::Before => Taken::default(),
            When::After => self.asked.taken(),
        };
        self.slots.map(|slot| self.ground.stranded(slot, what, taken, &self.devices))
    }

    #[inline(always)]
    fn vms(&self, lane: usize) -> f64 {
        f64::from(self.vital[lane].vms)
    }

    fn same(&self, shared: Shared<'_>) -> [f64; W] {
        let Ground { tenants, book, .. } = self.ground;
        self.slots.map(|slot| self.belonging.count(tenants.get(slot), shared, book))
    }

    fn measured(&self, reading: Reading) -> [f64; W] {
        self.slots.map(|slot| self.ground.columns.measured(slot, reading))
    }

    fn is_same_text(&self, test: &TextTest) -> [f64; W] {
        self.slots.map(|slot| texts::is_same(test, self.ground.host(slot), self.belonging.request))
    }
}

impl<'a> Ground<'a> {
    /// Whose the VM is, if anybody asks.
    fn belonging<'r>(&self, request: &'r Request) -> Belonging<'r> {
        if self.asks_whose_it_is { Belonging::of(request, self.book) } else { Belonging::NOBODY }
    }

    /// What is known of the host in a slot.
    pub(super) fn host(&self, slot: usize) -> Option<&'a HostDescription> {
        self.hosts.get(slot).and_then(Option::as_ref)
    }

    fn bound(&self, slot: usize) -> Option<(usize, &'a BoundFunction)> {
        let number = self.columns.function(slot);
        self.functions.get(number).map(|bound| (number, bound))
    }

    /// The scores of a group's classes on one host.
    pub(super) fn row(
        &self,
        questions: &Questions<'_>,
        slot: usize,
        workspaces: &mut Workspaces<LANES>,
    ) -> [f32; LANES] {
        let Questions { asks, belongings, demands } = questions;
        let mut scores = [INFEASIBLE; LANES];
        let mut fits = asks.fits(self.columns, slot);
        for (fits, demands) in fits.iter_mut().zip(demands.iter().flatten()) {
            *fits = *fits && demands.as_ref().is_none_or(|demands| self.meets(slot, demands));
        }
        let Some((number, bound)) = self.bound(slot).filter(|_| fits.contains(&true)) else { return scores };
        let devices = RefCell::new(std::mem::take(&mut workspaces.devices));
        let vital = *self.columns.vital(slot);
        let lanes =
            RowLanes { ground: *self, slot, vital, asks, fits, belongings: belongings.as_ref(), devices };
        let (after, before) = workspaces.get(number, bound);
        let after = bound.after(&lanes, after);
        let uniform = [vital.before; LANES];
        let before = if bound.is_before_of_host { &uniform } else { bound.before(&lanes, before) };
        let found = scores_of(bound.function.rule(), |lane| before[lane], after);
        for lane in 0..LANES {
            scores[lane] = if fits[lane] { found[lane] } else { INFEASIBLE };
        }
        workspaces.devices = lanes.devices.into_inner();
        scores
    }

    /// Calls `found` with the slots of all hosts that have room and meet the demands, some at a time, and their scores.
    pub(super) fn scan(
        &self,
        request: &Request,
        asked: &Asked,
        demands: Option<&Demands<'_>>,
        workspaces: &mut Workspaces<PICKED>,
        found: impl FnMut(&[usize], &[f32]),
    ) {
        let belonging = self.belonging(request);
        if asked.devices.is_empty() && demands.is_none() {
            return self.scan_where(|_, vital| asked.has_room(vital), asked, belonging, workspaces, found);
        }
        let fits = |slot: usize, vital: &Vital| {
            asked.has_room(vital)
                && asked.fits(self.columns, slot)
                && demands.is_none_or(|demands| self.meets(slot, demands))
        };
        self.scan_where(fits, asked, belonging, workspaces, found);
    }

    fn scan_where(
        &self,
        fits: impl Fn(usize, &Vital) -> bool,
        asked: &Asked,
        belonging: Belonging<'_>,
        workspaces: &mut Workspaces<PICKED>,
        mut found: impl FnMut(&[usize], &[f32]),
    ) {
        let Some((_, first)) = self.columns.vitals().next() else { return };
        // Hosts wait, by cost function, until there are enough to be scored at once. Most have the same function as the
        // one before, so the list of that one is at hand and the others are put aside.
        let empty = |function| Waiting { function, slots: [0; PICKED], vital: [first; PICKED], count: 0 };
        let mut aside: Vec<Waiting<'_>> = Vec::new();
        let mut list = empty(first.function());
        // Here and not in the list, where each host would wait for the count of the one before to be written.
        let mut count = 0;
        for (slot, vital) in self.columns.vitals() {
            let function = vital.function();
            if function != list.function {
                list.count = count;
                let known = aside.iter_mut().find(|list| list.function == function);
                if let Some(known) = known {
                    std::mem::swap(known, &mut list);
                } else {
                    aside.push(std::mem::replace(&mut list, empty(function)));
                }
                count = list.count;
            }
            // Without a branch, see `has_room`.
            list.slots[count % PICKED] = slot;
            list.vital[count % PICKED] = vital;
            count += usize::from(fits(slot, vital));
            if count == PICKED {
                list.count = count;
                self.pick(&list, asked, belonging, workspaces, &mut found);
                count = 0;
            }
        }
        list.count = count;
        for list in aside.iter().chain([&list]) {
            self.pick(list, asked, belonging, workspaces, &mut found);
        }
    }

    /// Scores the hosts that wait.
    fn pick(
        &self,
        list: &Waiting<'_>,
        asked: &Asked,
        belonging: Belonging<'_>,
        workspaces: &mut Workspaces<PICKED>,
        found: &mut impl FnMut(&[usize], &[f32]),
    ) {
        let Waiting { function: number, mut slots, mut vital, count } = *list;
        let Some(bound) = self.functions.get(number).filter(|_| count > 0) else { return };
        if count < PICKED {
            // Lanes that are left over do what the first does.
            let first = (slots[0], vital[0]);
            slots[count..].fill(first.0);
            vital[count..].fill(first.1);
        }
        let devices = RefCell::new(std::mem::take(&mut workspaces.devices));
        let devices_asked = asked.devices_float();
        let lanes = PickLanes { ground: *self, slots, vital, asked, devices_asked, belonging, devices };
        let (after, before) = workspaces.get(number, bound);
        let after = bound.after(&lanes, after);
        let rule = bound.function.rule();
        let scores = if bound.is_before_of_host {
            scores_of(rule, |lane| lanes.vital[lane].before, after)
        } else {
            let before = bound.before(&lanes, before);
            scores_of(rule, |lane| before[lane], after)
        };
        found(&slots[..count], &scores[..count]);
        workspaces.devices = lanes.devices.into_inner();
    }

    fn pick_one<'r>(&self, slot: usize, asked: &'r Asked, belonging: Belonging<'r>) -> PickLanes<'r, 1>
    where
        'a: 'r,
    {
        let vital = [self.columns.vital(slot)];
        let (devices_asked, devices) = (asked.devices_float(), RefCell::default());
        PickLanes { ground: *self, slots: [slot], vital, asked, devices_asked, belonging, devices }
    }

    /// What a function is given for one host and one request.
    pub(super) fn lanes_of_one<'r>(
        &self,
        request: &'r Request,
        asked: &'r Asked,
        slot: usize,
    ) -> impl Lanes<1> + use<'a, 'r>
    where
        'a: 'r,
    {
        let belonging = self.belonging(request);
        self.pick_one(slot, asked, belonging)
    }

    /// The cost of one host, whether it can take the request or not.
    pub(super) fn cost(
        &self,
        request: &Request,
        asked: &Asked,
        slot: usize,
        workspaces: &mut Workspaces<1>,
    ) -> Option<HostCost> {
        let (number, bound) = self.bound(slot)?;
        let lanes = self.lanes_of_one(request, asked, slot);
        let (after, before) = workspaces.get(number, bound);
        let [after_sum] = *bound.after(&lanes, after);
        let [before_sum] = *bound.before(&lanes, before);
        Some(HostCost { rule: bound.function.rule(), before: before_sum, after: after_sum })
    }

    /// The same with each term: its value before and after.
    pub(super) fn cost_by_term(
        &self,
        request: &Request,
        asked: &Asked,
        slot: usize,
        workspaces: &mut Workspaces<1>,
    ) -> Option<(HostCost, Vec<(f64, f64)>)> {
        let (number, bound) = self.bound(slot)?;
        Some(self.cost_by_term_of(bound, request, asked, slot, workspaces.get(number, bound)))
    }

    /// The same by a function that may not be the host's own. `cells` are those for after and before.
    pub(super) fn cost_by_term_of(
        &self,
        bound: &BoundFunction,
        request: &Request,
        asked: &Asked,
        slot: usize,
        cells: &mut (Workspace<1>, Workspace<1>),
    ) -> (HostCost, Vec<(f64, f64)>) {
        let lanes = self.lanes_of_one(request, asked, slot);
        let (after, before) = cells;
        let [after_sum] = *bound.after_by_term(&lanes, after);
        let [before_sum] = *bound.before_by_term(&lanes, before);
        let cost = HostCost { rule: bound.function.rule(), before: before_sum, after: after_sum };
        let mut values_before = bound.function.before().terms(before).map(|[value]| value);
        let values_after = bound.function.after().terms(after).map(|[value]| value);
        let terms = bound.function.charges().zip(values_after).map(|(is_charge, after)| {
            let before = if is_charge { None } else { values_before.next() };
            (before.unwrap_or(0.0), after)
        });
        (cost, terms.collect())
    }

    /// The cost of a host as it is, for a function whose cost before does not depend on the VM.
    pub(super) fn cost_before(&self, slot: usize, workspaces: &mut Workspaces<1>) -> f64 {
        let Some((number, bound)) = self.bound(slot).filter(|(_, bound)| bound.is_before_of_host) else {
            return f64::NAN;
        };
        let nothing = Asked::default();
        let lanes = self.pick_one(slot, &nothing, Belonging::NOBODY);
        let (_, before) = workspaces.get(number, bound);
        let [sum] = *bound.before(&lanes, before);
        sum
    }
}

/// A host's cost in numbers.
#[derive(Debug, Clone, Copy)]
pub(super) struct HostCost {
    /// Which of them is compared.
    rule: ChoiceRule,
    /// As it is.
    pub(super) before: f64,
    /// With the VM.
    pub(super) after: f64,
}

impl HostCost {
    /// The number that is compared.
    pub(super) fn score(&self) -> f32 {
        self.rule.score(self.before, self.after)
    }

    /// By how much the VM makes it rise. Under [`ChoiceRule::Total`] a host may be chosen that costs infinitely much as it
    /// is; then all that it costs with the VM counts.
    pub(super) fn rise(&self) -> f64 {
        let rise = self.after - self.before;
        if rise.is_finite() { rise } else { self.after }
    }

    /// Why it means "never here", if it does. `terms` gives their names with their values before and after.
    pub(super) fn veto<'a>(
        &self,
        terms: &(impl Iterator<Item = (&'a str, f64, f64)> + Clone),
    ) -> Option<Reason> {
        let score = self.score();
        if score.is_finite() {
            return None;
        }
        let after = || {
            let mut terms = terms.clone().filter(|(_, _, after)| !after.is_finite());
            terms.next().map(|(name, _, value)| (CostPart::Term(name.to_owned()), value))
        };
        let before = || {
            let mut terms = terms.clone().filter(|(_, before, _)| !before.is_finite());
            terms.next().map(|(name, value, _)| (CostPart::TermBefore(name.to_owned()), value))
        };
        let (part, value) = after().or_else(before).unwrap_or((CostPart::Sum, f64::from(score)));
        Some(Reason::Cost { part, value })
    }
}
