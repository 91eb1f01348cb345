//! Owns how a compiled cost function is given its inputs from the columns, many at a time.
//!
//! Must not: decide what an attribute is called or how a term is computed (`cost/`).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::cost::{
    Attribute, CostFunction, Input, Measure, Program, StrandedPart, TextTest, When, Workspace,
};

/// An amount in `W` lanes, as floats: what there is, what is used, and what the VM would add.
#[derive(Debug, Clone, Copy)]
pub(super) struct Amounts<const W: usize> {
    /// In all.
    pub(super) total: [f64; W],
    /// Used as it is.
    pub(super) used: [f64; W],
    /// Asked for.
    pub(super) asked: [f64; W],
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
    /// Processor time in millicores.
    fn cores(&self) -> Amounts<W>;
    /// Memory in MiB.
    fn memory(&self) -> Amounts<W>;
    /// Devices of all classes, in thousandths.
    fn devices(&self) -> Amounts<W>;
    /// Devices of the class with this number, in thousandths; asked is what the VM would get of it.
    fn devices_of(&self, class: usize) -> Amounts<W>;
    /// How many devices, of one class or of all, are wholly free.
    fn devices_whole(&self, class: Option<usize>, when: When) -> [f64; W];
    /// What is stranded.
    fn stranded(&self, what: StrandedPart, when: When) -> [f64; W];
    /// VMs as it is.
    fn vms(&self) -> [f64; W];
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
        self.run(self.function.after(), lanes, workspace)
    }

    /// The cost of `lanes` as they are, charges left out.
    pub(super) fn before<'a, const W: usize>(
        &self,
        lanes: &impl Lanes<W>,
        workspace: &'a mut Workspace<W>,
    ) -> &'a [f64; W] {
        self.run(self.function.before(), lanes, workspace)
    }

    fn run<'a, const W: usize>(
        &self,
        program: &Program,
        lanes: &impl Lanes<W>,
        workspace: &'a mut Workspace<W>,
    ) -> &'a [f64; W] {
        for (cell, input) in workspace.inputs_mut().iter_mut().zip(program.inputs()) {
            self.value(*input, lanes, cell);
        }
        program.run(workspace)
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
            Attribute::Cores(wanted) => measure(wanted, when, &lanes.cores(), MILLICORES, out),
            Attribute::Memory(wanted) => measure(wanted, when, &lanes.memory(), 1.0, out),
            Attribute::Devices(wanted) => measure(wanted, when, &lanes.devices(), PERMILLE, out),
            Attribute::DevicesOf(number, wanted) => {
                measure(wanted, when, &lanes.devices_of(class(number)), PERMILLE, out);
            }
            Attribute::DevicesWhole => *out = lanes.devices_whole(None, when),
            Attribute::DevicesOfWhole(number) => *out = lanes.devices_whole(Some(class(number)), when),
            Attribute::Stranded(what) => *out = lanes.stranded(what, when),
            Attribute::Vms => *out = with_one(lanes.vms(), when),
            Attribute::VmCores => *out = lanes.cores().asked.map(|amount| amount / MILLICORES),
            Attribute::VmMemory => *out = lanes.memory().asked,
            Attribute::VmDevices => *out = lanes.devices().asked.map(|amount| amount / PERMILLE),
            Attribute::VmDevicesOf(number) => {
                *out = lanes.devices_of(class(number)).asked.map(|amount| amount / PERMILLE);
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

/// One measure of amounts; those that are no share are counted in `unit`s.
#[inline(always)] // so that amounts never become arrays where they are the same in all lanes
fn measure<const W: usize>(wanted: Measure, when: When, amounts: &Amounts<W>, unit: f64, out: &mut [f64; W]) {
    let Amounts { total, used, asked } = amounts;
    let mut each = |formula: fn(f64, f64) -> f64| {
        for lane in 0..W {
            let used = match when {
                When::Before => used[lane],
                When::After => used[lane] + asked[lane],
            };
            out[lane] = formula(used, total[lane]);
        }
    };
    match wanted {
        Measure::Total => each(|_, total| total),
        Measure::Used => each(|used, _| used),
        Measure::Free => each(|used, total| (total - used).max(0.0)),
        Measure::Load => return each(load),
    }
    if unit != 1.0 {
        for value in out {
            *value /= unit;
        }
    }
}

/// The share that is used; of nothing, nothing is used.
#[inline]
fn load(used: f64, total: f64) -> f64 {
    if used == 0.0 { 0.0 } else { used / total }
}
