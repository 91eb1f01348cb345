//! Owns how a compiled cost function is given its inputs from the columns, many at a time.
//!
//! Must not: decide what an attribute is called or how a term is computed (`cost/`).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::cost::{
    Attribute, CostFunction, Input, Measure, Program, StrandedPart, TextTest, When, Workspace,
};

/// An amount in one lane, as floats: what there is, what is used, and what the VM would add.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LaneAmount {
    /// In all.
    pub(super) total: f64,
    /// Used as it is.
    pub(super) used: f64,
    /// Asked for.
    pub(super) asked: f64,
}

/// Who shares what with the VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shared<'a> {
    /// The owner.
    Owner,
    /// The team.
    Team,
    /// The value of a label.
    Label(&'a str),
}

/// Where lanes come from: `W` hosts for one request or `W` requests for one host.
pub(super) trait Lanes<const W: usize> {
    /// Processor time in millicores. Lane by lane, as are the next ones: these are in nearly every function, and arrays
    /// of them would be written only to be read once.
    fn cores(&self, lane: usize) -> LaneAmount;
    /// Memory in MiB.
    fn memory(&self, lane: usize) -> LaneAmount;
    /// Devices of all classes, in thousandths.
    fn devices(&self, lane: usize) -> LaneAmount;
    /// Devices of the class with this number, in thousandths; asked is what the VM would get of it.
    fn devices_of(&self, class: usize) -> [LaneAmount; W];
    /// How many devices, of one class or of all, are wholly free.
    fn devices_whole(&self, class: Option<usize>, when: When) -> [f64; W];
    /// What is stranded.
    fn stranded(&self, what: StrandedPart, when: When) -> [f64; W];
    /// VMs as it is.
    fn vms(&self, lane: usize) -> f64;
    /// VMs as it is that share something with the VM.
    fn same(&self, shared: Shared<'_>) -> [f64; W];
    /// A measured number.
    fn measured(&self, reading: crate::cost::Reading) -> [f64; W];
    /// Whether two texts are the same: 1 or 0.
    fn is_same_text(&self, test: &TextTest) -> [f64; W];
}

/// A cost function and where its inputs are in the columns of one realm.
#[derive(Debug, Clone)]
pub(super) struct BoundFunction {
    /// The function.
    pub(super) function: Arc<CostFunction>,
    /// The class numbers of the device classes that it names.
    classes: Vec<usize>,
    /// Whether the cost before is the same for every VM.
    pub(super) is_before_of_host: bool,
    /// Whether anything measured goes into it.
    pub(super) is_measured: bool,
}

/// Thousandths of a core in a core: amounts of processor time are counted in the one and written in the other.
const MILLICORES: f64 = 1000.0;
/// The same for devices.
const PERMILLE: f64 = 1000.0;

impl BoundFunction {
    /// `class_number` gives the column of each device class.
    pub(super) fn new(function: Arc<CostFunction>, class_number: impl FnMut(&str) -> usize) -> Self {
        let classes = function.things().device_classes.iter().map(String::as_str).map(class_number).collect();
        let inputs = || function.after().inputs().iter().chain(function.before().inputs());
        let is_measured = inputs().any(|input| matches!(input.attribute, Attribute::Measured(_)));
        let is_of_host = |input: &Input| input.attribute.is_of_host(function.things());
        let is_before_of_host = function.before().inputs().iter().all(is_of_host);
        Self { classes, is_before_of_host, is_measured, function }
    }

    /// The cost of `lanes` with the VM.
    pub(super) fn after<'a, const W: usize>(
        &self,
        lanes: &impl Lanes<W>,
        workspace: &'a mut Workspace<W>,
    ) -> &'a [f64; W] {
        let program = self.function.after();
        self.fill(program, lanes, workspace);
        program.run(workspace)
    }

    /// The cost of `lanes` as they are, charges left out.
    pub(super) fn before<'a, const W: usize>(
        &self,
        lanes: &impl Lanes<W>,
        workspace: &'a mut Workspace<W>,
    ) -> &'a [f64; W] {
        let program = self.function.before();
        self.fill(program, lanes, workspace);
        program.run(workspace)
    }

    /// The same as [`Self::after`]; the terms stand in the workspace then.
    pub(super) fn after_by_term<'a>(
        &self,
        lanes: &impl Lanes<1>,
        workspace: &'a mut Workspace<1>,
    ) -> &'a [f64; 1] {
        let program = self.function.after();
        self.fill(program, lanes, workspace);
        program.run_by_term(workspace)
    }

    /// The same as [`Self::before`]; likewise.
    pub(super) fn before_by_term<'a>(
        &self,
        lanes: &impl Lanes<1>,
        workspace: &'a mut Workspace<1>,
    ) -> &'a [f64; 1] {
        let program = self.function.before();
        self.fill(program, lanes, workspace);
        program.run_by_term(workspace)
    }

    fn fill<const W: usize>(&self, program: &Program, lanes: &impl Lanes<W>, workspace: &mut Workspace<W>) {
        for (cell, input) in workspace.inputs_mut().iter_mut().zip(program.inputs()) {
            self.value(*input, lanes, cell);
        }
    }

    /// Every attribute that goes into the function, by name, with its value before and after.
    pub(super) fn attributes(&self, lanes: &impl Lanes<1>) -> Vec<(String, f64, f64)> {
        let inputs = self.function.after().inputs().iter().chain(self.function.before().inputs());
        let named = inputs.map(|input| (input.attribute.name(self.function.things()), input.attribute));
        let each: BTreeMap<String, Attribute> = named.collect();
        let values = each.into_iter().map(|(name, attribute)| {
            let [mut before, mut after] = [[0.0]; 2];
            self.value(Input { attribute, when: When::Before }, lanes, &mut before);
            self.value(Input { attribute, when: When::After }, lanes, &mut after);
            (name, before[0], after[0])
        });
        values.collect()
    }

    /// Works one input out, in place: this is done for every input of every function for every host.
    #[inline]
    fn value<const W: usize>(&self, input: Input, lanes: &impl Lanes<W>, out: &mut [f64; W]) {
        let Input { attribute, when } = input;
        let class = |number: usize| self.classes.get(number).copied().unwrap_or(usize::MAX);
        let mut shared = |shared| *out = with_one(lanes.same(shared), when);
        match attribute {
            Attribute::Cores(wanted) => measure(wanted, when, |lane| lanes.cores(lane), MILLICORES, out),
            Attribute::Memory(wanted) => measure(wanted, when, |lane| lanes.memory(lane), 1.0, out),
            Attribute::Devices(wanted) => measure(wanted, when, |lane| lanes.devices(lane), PERMILLE, out),
            Attribute::DevicesOf(number, wanted) => {
                let amounts = lanes.devices_of(class(number));
                measure(wanted, when, |lane| amounts[lane], PERMILLE, out);
            }
            Attribute::DevicesWhole => *out = lanes.devices_whole(None, when),
            Attribute::DevicesOfWhole(number) => *out = lanes.devices_whole(Some(class(number)), when),
            Attribute::Stranded(what) => *out = lanes.stranded(what, when),
            Attribute::Vms => {
                let added = if when == When::After { 1.0 } else { 0.0 };
                each(out, |lane| lanes.vms(lane) + added);
            }
            Attribute::VmCores => each(out, |lane| lanes.cores(lane).asked / MILLICORES),
            Attribute::VmMemory => each(out, |lane| lanes.memory(lane).asked),
            Attribute::VmDevices => each(out, |lane| lanes.devices(lane).asked / PERMILLE),
            Attribute::VmDevicesOf(number) => {
                let amounts = lanes.devices_of(class(number));
                each(out, |lane| amounts[lane].asked / PERMILLE);
            }
            Attribute::SameOwner => shared(Shared::Owner),
            Attribute::SameTeam => shared(Shared::Team),
            Attribute::SameLabel(number) => {
                let key = self.function.things().label_keys.get(number);
                shared(Shared::Label(key.map_or("", String::as_str)));
            }
            Attribute::Measured(reading) => *out = lanes.measured(reading),
            Attribute::TextTest(number) => {
                let test = self.function.things().text_tests.get(number);
                *out = test.map_or([f64::NAN; W], |test| lanes.is_same_text(test));
            }
            Attribute::Argument => *out = [f64::NAN; W],
        }
    }
}

fn with_one<const W: usize>(count: [f64; W], when: When) -> [f64; W] {
    match when {
        When::Before => count,
        When::After => count.map(|count| count + 1.0),
    }
}

/// The same formula in every lane. One plain loop, so that the compiler can do several at a time.
#[inline(always)]
fn each<const W: usize>(out: &mut [f64; W], formula: impl Fn(usize) -> f64) {
    for (lane, value) in out.iter_mut().enumerate() {
        *value = formula(lane);
    }
}

/// One measure of amounts; those that are no share are counted in `unit`s.
#[inline(always)] // so that what is the same in all lanes is worked out once
fn measure<const W: usize>(
    wanted: Measure,
    when: When,
    amount: impl Fn(usize) -> LaneAmount,
    unit: f64,
    out: &mut [f64; W],
) {
    let used = |amount: LaneAmount| match when {
        When::Before => amount.used,
        When::After => amount.used + amount.asked,
    };
    match wanted {
        Measure::Total => each(out, |lane| amount(lane).total / unit),
        Measure::Used => each(out, |lane| used(amount(lane)) / unit),
        Measure::Free => each(out, |lane| {
            let amount = amount(lane);
            (amount.total - used(amount)).max(0.0) / unit
        }),
        Measure::Load => each(out, |lane| {
            let amount = amount(lane);
            load(used(amount), amount.total)
        }),
    }
}

/// The share that is used; of nothing, nothing is used.
#[inline]
fn load(used: f64, total: f64) -> f64 {
    if used == 0.0 { 0.0 } else { used / total }
}
