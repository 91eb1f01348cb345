//! Owns what a picture takes a host and a VM to be: the attribute that is drawn over has the value of the place, others
//! follow from it where they must, and all that is left is given by whoever asked or assumed by the language's reference.
//!
//! ```text
//!   drawn over memory.load     memory.free, memory.used follow, with memory.total
//!   before.cores.load          cores.load without the cores of the VM
//!   before.vms                 one less than vms
//! ```
//!
//! Must not: know terms. Pure.

use std::collections::BTreeMap;

use reeve_scheduler::attribute_named;

/// What a picture of devices takes there to be of them, where it takes there to be none otherwise.
const DEVICES_TOTAL: f64 = 4.0;
/// The name of the number that a curve by itself is drawn over.
pub(super) const ARGUMENT: &str = "x";
/// What stands before the name of an attribute of the host as it is.
pub(super) const BEFORE: &str = "before.";

/// One host and one VM for each place of the axis.
#[derive(Debug, Clone)]
pub(super) struct Assumptions {
    /// The attribute that is drawn over.
    axis: String,
    /// What was said.
    given: BTreeMap<String, f64>,
}

/// What there is an amount of, and which number of it is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Amount<'a> {
    /// `cores`, `memory`, `devices`, `devices.CLASS`
    of: &'a str,
    /// `total`, `used`, `free`, `load`
    measure: &'a str,
}

impl<'a> Amount<'a> {
    fn read(name: &'a str) -> Option<Self> {
        let (of, measure) = name.rsplit_once('.')?;
        let is_amount = of == "cores" || of == "memory" || of == "devices" || of.starts_with("devices.");
        (is_amount && ["total", "used", "free", "load"].contains(&measure)).then_some(Self { of, measure })
    }

    /// It says how much is used, in whatever way.
    fn is_use(self) -> bool {
        self.measure != "total"
    }
}

impl Assumptions {
    /// Whatever is drawn over `axis`, with what was said of the others.
    ///
    /// # Errors
    /// Two names that say the same in different words.
    pub(super) fn new(axis: &str, given: &[(String, f64)]) -> Result<Self, (String, String)> {
        let names = || given.iter().map(|(name, _)| name.as_str()).chain([axis]);
        for (index, name) in names().enumerate() {
            for other in names().skip(index + 1) {
                let both = Amount::read(name).zip(Amount::read(other));
                let is_same =
                    both.is_some_and(|(left, right)| left.of == right.of && left.is_use() && right.is_use());
                if name == other || is_same {
                    return Err((name.to_owned(), other.to_owned()));
                }
            }
        }
        Ok(Self { axis: axis.to_owned(), given: given.iter().cloned().collect() })
    }

    /// Whether the attribute `name` can follow from what is drawn over.
    pub(super) fn is_drawn_over(&self, name: &str) -> bool {
        let name = name.strip_prefix(BEFORE).unwrap_or(name);
        let of = |name| Amount::read(name).map(|amount: Amount<'_>| amount.of);
        name == self.axis || name == ARGUMENT || (of(name).is_some() && of(name) == of(&self.axis))
    }

    /// What the attribute `name` is worked out with, besides what is drawn over.
    pub(super) fn behind(&self, name: &str) -> Vec<String> {
        let before = name.strip_prefix(BEFORE);
        let Some(Amount { of, .. }) = Amount::read(before.unwrap_or(name)) else { return Vec::new() };
        let asked = before.map(|_| format!("vm.{of}"));
        let behind = [format!("{of}.total")].into_iter().chain(asked);
        behind.filter(|name| !self.is_axis(name)).collect()
    }

    /// The value of the attribute `name` where the axis is at `x`.
    pub(super) fn value(&self, name: &str, x: f64) -> f64 {
        if let Some(value) = self.said(name, x) {
            return value;
        }
        if let Some(name) = name.strip_prefix(BEFORE) {
            return self.before(name, x);
        }
        match Amount::read(name) {
            Some(amount) => measured(amount.measure, self.used(amount.of, x), self.total(amount.of, x)),
            None => assumed(name),
        }
    }

    /// Whether the attribute `name` has the value of the place itself.
    pub(super) fn is_axis(&self, name: &str) -> bool {
        name == self.axis || name == ARGUMENT
    }

    /// The axis, or what was given.
    fn said(&self, name: &str, x: f64) -> Option<f64> {
        if self.is_axis(name) { Some(x) } else { self.given.get(name).copied() }
    }

    /// The same for the host without the VM.
    fn before(&self, name: &str, x: f64) -> f64 {
        let after = self.value(name, x);
        match Amount::read(name) {
            Some(Amount { of, measure }) => {
                let asked = self.value(&format!("vm.{of}"), x);
                measured(measure, (self.used(of, x) - asked).max(0.0), self.total(of, x))
            }
            None if attribute_named(name).is_some_and(|known| known.unit == "VMs") => (after - 1.0).max(0.0),
            None => after,
        }
    }

    fn total(&self, of: &str, x: f64) -> f64 {
        let name = format!("{of}.total");
        let devices = of.starts_with("devices") && Amount::read(&self.axis).is_some_and(|axis| axis.of == of);
        self.said(&name, x).unwrap_or(if devices { DEVICES_TOTAL } else { assumed(&name) })
    }

    fn used(&self, of: &str, x: f64) -> f64 {
        let said = |measure: &str| self.said(&format!("{of}.{measure}"), x);
        let total = self.total(of, x);
        let used = said("used").or_else(|| said("free").map(|free| total - free));
        used.unwrap_or_else(|| total * said("load").unwrap_or_else(|| assumed(&format!("{of}.load"))))
    }
}

/// As the scheduler counts: nothing is free below 0, and the load of nothing is 0.
fn measured(measure: &str, used: f64, total: f64) -> f64 {
    match measure {
        "total" => total,
        "used" => used,
        "free" => (total - used).max(0.0),
        _ if used == 0.0 => 0.0,
        _ => used / total,
    }
}

fn assumed(name: &str) -> f64 {
    attribute_named(name).map_or(f64::NAN, |known| known.assumed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn over(axis: &str, given: &[(&str, f64)]) -> Assumptions {
        let given: Vec<_> = given.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        Assumptions::new(axis, &given).unwrap()
    }

    #[test]
    fn what_must_follow_from_the_axis_does() {
        let assumptions = over("memory.free", &[("memory.total", 100.0), ("vm.memory", 10.0)]);
        for (name, value) in [
            ("memory.free", 25.0),
            ("memory.used", 75.0),
            ("memory.load", 0.75),
            ("before.memory.load", 0.65),
            ("before.memory.free", 35.0),
            ("cores.load", 0.5),
            ("cores.used", 32.0),
            ("before.cores.used", 30.0),
            ("before.vms", 9.0),
            ("devices.total", 0.0),
            ("devices.load", 0.0),
            ("devices.'10de:20b0'.free", 0.0),
            ("same.label.app", 1.0),
            ("x", 25.0),
        ] {
            let found = assumptions.value(name, 25.0);
            assert!((found - value).abs() < 1e-12, "{name}: {found}");
        }
        assert!(assumptions.is_drawn_over("before.memory.load") && !assumptions.is_drawn_over("cores.load"));
    }

    #[test]
    fn a_picture_of_devices_has_some() {
        let assumptions = over("devices.a100.load", &[]);
        assert!((assumptions.value("devices.a100.free", 0.25) - 3.0).abs() < 1e-12);
        assert!(assumptions.value("devices.total", 0.25) == 0.0);
    }

    #[test]
    fn nothing_is_said_twice() {
        let given = |name: &str| vec![(name.to_owned(), 1.0)];
        assert!(Assumptions::new("memory.load", &given("memory.used")).is_err());
        assert!(Assumptions::new("memory.load", &given("memory.load")).is_err());
        assert!(Assumptions::new("memory.load", &given("memory.total")).is_ok());
    }
}
