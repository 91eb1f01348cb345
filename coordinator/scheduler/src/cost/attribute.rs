//! Owns the names that a term may use for a host and a VM, and what each of them means.
//!
//! Must not: know where the values come from.
//!
//! | name | value |
//! |---|---|
//! | `cores.total`, `.used`, `.free`, `.load` | processor time that may be promised, in cores; load is used / total |
//! | `memory.total`, `.used`, `.free`, `.load` | memory that may be promised, in MiB; huge pages, here as in `vm.memory`, are apart |
//! | `devices.total`, `.used`, `.free`, `.load` | devices of all classes; a device shared by VMs counts in part |
//! | `devices.whole` | devices that are wholly free |
//! | `devices.CLASS.total`, … `.whole` | devices of one class; 0 on a host without it |
//! | `stranded.cores`, `stranded.memory`, `stranded.devices` | cores, MiB and devices that are free and of no use to the VMs that are to be expected, by the realm's catalogue; 0 without one |
//! | `stranded` | their sum, each as a share of what the host has |
//! | `vms` | VMs of ours on the host |
//! | `vm.cores`, `vm.memory`, `vm.devices` | what the VM asks for |
//! | `vm.devices.CLASS` | what of it would be of this class there, if several would do |
//! | `same.owner`, `same.team`, `same.label.KEY` | VMs on the host that share it with this one, this one included |
//! | `host.label.KEY`, `vm.label.KEY`, `vm.owner`, `vm.team` | texts, to be compared with each other or with `'…'`; see `text.rs` |
//! | `measured.cpu.load`, `measured.memory.load` | share in use, as measured |
//! | `measured.cpu.pressure`, `measured.memory.pressure`, `measured.disk.pressure` | share of time some task waited |
//! | `measured.network.rate`, `measured.disk.rate` | MiB per second |
//! | `measured.vms.load` | share of all processor time that VMs of ours used |
//! | `measured.known` | whether there is a measurement young enough; without one the others are not a number |
//!
//! What placing the VM changes (used, free, load, vms, same) is given as it would be *with* the VM; `before.` in front
//! gives it as it is. Used includes what domains take that are not ours. The load of nothing is 0.

use super::lexer::MEASURES;
use super::suggestion::did_you_mean;
use super::text::{TEXT_NAMES, TEXT_TESTS_MAX, Text, TextTest, part};

/// A column of numbers on a thing there is an amount of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Measure {
    /// What may be promised.
    Total,
    /// What is promised or taken.
    Used,
    /// The difference, never below zero.
    Free,
    /// Used / total.
    Load,
}

/// What is stranded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum StrandedPart {
    /// The others as shares of what the host has, added up.
    All,
    /// In cores.
    Cores,
    /// In MiB.
    Memory,
    /// In devices.
    Devices,
}

impl Measure {
    /// The word for it.
    const fn word(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::Used => "used",
            Self::Free => "free",
            Self::Load => "load",
        }
    }
}

/// A reading of the agent's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Reading {
    /// Whether there is one at all.
    Known,
    /// `cpu_load`
    CpuLoad,
    /// `memory_load`
    MemoryLoad,
    /// `cpu_pressure`
    CpuPressure,
    /// `memory_pressure`
    MemoryPressure,
    /// `io_pressure`
    DiskPressure,
    /// `network_rate`
    NetworkRate,
    /// `disk_rate`
    DiskRate,
    /// `vms_load`
    VmsLoad,
}

/// Something a term can ask for. Classes, label keys and comparisons of texts are the function's own, by their number in
/// its lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Attribute {
    /// `cores.…`
    Cores(Measure),
    /// `memory.…`
    Memory(Measure),
    /// `devices.…`
    Devices(Measure),
    /// `devices.CLASS.…`
    DevicesOf(usize, Measure),
    /// `devices.whole`
    DevicesWhole,
    /// `devices.CLASS.whole`
    DevicesOfWhole(usize),
    /// `stranded`, `stranded.…`
    Stranded(StrandedPart),
    /// `vms`
    Vms,
    /// `vm.cores`
    VmCores,
    /// `vm.memory`
    VmMemory,
    /// `vm.devices`
    VmDevices,
    /// `vm.devices.CLASS`
    VmDevicesOf(usize),
    /// `same.owner`
    SameOwner,
    /// `same.team`
    SameTeam,
    /// `same.label.KEY`
    SameLabel(usize),
    /// `measured.…`
    Measured(Reading),
    /// Whether two texts are the same.
    TextTest(usize),
    /// `x`, in a curve that is drawn by itself; no host has it.
    Argument,
}

impl Attribute {
    /// Whether placing a VM on the host changes it.
    pub(crate) const fn is_changed_by_placement(self) -> bool {
        match self {
            Self::Cores(measure)
            | Self::Memory(measure)
            | Self::Devices(measure)
            | Self::DevicesOf(_, measure) => !matches!(measure, Measure::Total),
            Self::Stranded(_)
            | Self::DevicesWhole
            | Self::DevicesOfWhole(_)
            | Self::Vms
            | Self::SameOwner
            | Self::SameTeam
            | Self::SameLabel(_)
            | Self::Argument => true,
            Self::VmCores
            | Self::VmMemory
            | Self::VmDevices
            | Self::VmDevicesOf(_)
            | Self::Measured(_)
            | Self::TextTest(_) => false,
        }
    }

    /// Whether its value is the same for every VM, on the host as it is. `things` is what the function it belongs to names.
    pub(crate) fn is_of_host(self, things: &NamedThings) -> bool {
        match self {
            Self::TextTest(number) => things.text_tests.get(number).is_some_and(TextTest::is_of_host),
            Self::VmCores
            | Self::VmMemory
            | Self::VmDevices
            | Self::VmDevicesOf(_)
            | Self::SameOwner
            | Self::SameTeam
            | Self::SameLabel(_) => false,
            Self::Cores(_)
            | Self::Memory(_)
            | Self::Devices(_)
            | Self::DevicesOf(..)
            | Self::DevicesWhole
            | Self::DevicesOfWhole(_)
            | Self::Stranded(_)
            | Self::Vms
            | Self::Measured(_)
            | Self::Argument => true,
        }
    }

    /// How it is written. `things` is what the function it belongs to names.
    pub(crate) fn name(self, things: &NamedThings) -> String {
        if let Some((name, _)) = NAMES.iter().find(|(_, known)| *known == self) {
            return (*name).to_owned();
        }
        let class = |number: usize| things.device_classes.get(number).map_or("", String::as_str);
        match self {
            Self::DevicesOf(number, wanted) => {
                format!("devices.{}.{}", part(class(number)), wanted.word())
            }
            Self::VmDevicesOf(number) => format!("vm.devices.{}", part(class(number))),
            Self::SameLabel(number) => {
                format!("same.label.{}", part(things.label_keys.get(number).map_or("", String::as_str)))
            }
            Self::Argument => ARGUMENT.to_owned(),
            Self::TextTest(number) => things.text_tests.get(number).map_or_else(String::new, TextTest::name),
            Self::DevicesOfWhole(number) => format!("devices.{}.{WHOLE}", part(class(number))),
            // These stand in the list.
            Self::Cores(_)
            | Self::Memory(_)
            | Self::Devices(_)
            | Self::DevicesWhole
            | Self::Vms
            | Self::VmCores
            | Self::VmMemory
            | Self::VmDevices
            | Self::SameOwner
            | Self::SameTeam
            | Self::Stranded(_)
            | Self::Measured(_) => String::new(),
        }
    }

    /// Whether it is true or false rather than a number.
    pub(crate) const fn is_truth(self) -> bool {
        matches!(self, Self::Measured(Reading::Known) | Self::TextTest(_))
    }
}

/// Whether the VM is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum When {
    /// The host as it is.
    Before,
    /// The host with the VM.
    After,
}

/// An attribute at a time: one input of a compiled function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Input {
    /// What.
    pub(crate) attribute: Attribute,
    /// Before or after; always `Before` for what placement does not change.
    pub(crate) when: When,
}

/// What in front of a name asks for the host as it is.
pub(super) const BEFORE: &str = "before";

/// The name of [`Attribute::Argument`].
pub(super) const ARGUMENT: &str = "x";

/// The names that are whole by themselves.
pub(super) const NAMES: [(&str, Attribute); 32] = [
    ("cores.total", Attribute::Cores(Measure::Total)),
    ("cores.used", Attribute::Cores(Measure::Used)),
    ("cores.free", Attribute::Cores(Measure::Free)),
    ("cores.load", Attribute::Cores(Measure::Load)),
    ("memory.total", Attribute::Memory(Measure::Total)),
    ("memory.used", Attribute::Memory(Measure::Used)),
    ("memory.free", Attribute::Memory(Measure::Free)),
    ("memory.load", Attribute::Memory(Measure::Load)),
    ("devices.total", Attribute::Devices(Measure::Total)),
    ("devices.used", Attribute::Devices(Measure::Used)),
    ("devices.free", Attribute::Devices(Measure::Free)),
    ("devices.load", Attribute::Devices(Measure::Load)),
    ("devices.whole", Attribute::DevicesWhole),
    ("stranded", Attribute::Stranded(StrandedPart::All)),
    ("stranded.cores", Attribute::Stranded(StrandedPart::Cores)),
    ("stranded.memory", Attribute::Stranded(StrandedPart::Memory)),
    ("stranded.devices", Attribute::Stranded(StrandedPart::Devices)),
    ("vms", Attribute::Vms),
    ("vm.cores", Attribute::VmCores),
    ("vm.memory", Attribute::VmMemory),
    ("vm.devices", Attribute::VmDevices),
    ("same.owner", Attribute::SameOwner),
    ("same.team", Attribute::SameTeam),
    ("measured.known", Attribute::Measured(Reading::Known)),
    ("measured.cpu.load", Attribute::Measured(Reading::CpuLoad)),
    ("measured.vms.load", Attribute::Measured(Reading::VmsLoad)),
    ("measured.memory.load", Attribute::Measured(Reading::MemoryLoad)),
    ("measured.cpu.pressure", Attribute::Measured(Reading::CpuPressure)),
    ("measured.memory.pressure", Attribute::Measured(Reading::MemoryPressure)),
    ("measured.disk.pressure", Attribute::Measured(Reading::DiskPressure)),
    ("measured.network.rate", Attribute::Measured(Reading::NetworkRate)),
    ("measured.disk.rate", Attribute::Measured(Reading::DiskRate)),
];

/// Why a name means nothing, and what to write.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UnknownName {
    /// What is wrong.
    pub(super) message: String,
    /// What to write instead.
    pub(super) help: String,
}

/// The device classes, label keys and comparisons of texts that a function names, each once, in the order they are met.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NamedThings {
    /// `devices.CLASS.…`, `vm.devices.CLASS`
    pub(crate) device_classes: Vec<String>,
    /// `same.label.KEY`
    pub(crate) label_keys: Vec<String>,
    /// `… == …` and `… != …` of texts
    pub(crate) text_tests: Vec<TextTest>,
}

impl NamedThings {
    /// The input that says how a comparison of texts comes out; none when there are [`TEXT_TESTS_MAX`] others.
    pub(super) fn text_test(&mut self, test: TextTest) -> Option<Input> {
        let known = self.text_tests.iter().position(|known| *known == test);
        if known.is_none() && self.text_tests.len() == TEXT_TESTS_MAX {
            return None;
        }
        let number = known.unwrap_or_else(|| {
            self.text_tests.push(test);
            self.text_tests.len() - 1
        });
        Some(Input { attribute: Attribute::TextTest(number), when: When::Before })
    }
}

fn number_in(list: &mut Vec<String>, name: &str) -> usize {
    list.iter().position(|known| known == name).unwrap_or_else(|| {
        list.push(name.to_owned());
        list.len() - 1
    })
}

/// What the dotted name `parts` means.
pub(super) fn resolve(parts: &[String], things: &mut NamedThings) -> Result<Input, UnknownName> {
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let [first, rest @ ..] = parts.as_slice() else { return Err(unknown(&parts)) };
    if *first != BEFORE {
        let attribute = attribute(&parts, things)?;
        let when = if attribute.is_changed_by_placement() { When::After } else { When::Before };
        return Ok(Input { attribute, when });
    }
    if Text::named(rest).is_none() {
        let attribute = attribute(rest, things)?;
        if attribute.is_changed_by_placement() {
            return Ok(Input { attribute, when: When::Before });
        }
    }
    let name = rest.join(".");
    Err(UnknownName {
        message: format!("`before.` says nothing new of `{name}`: placing a VM does not change it"),
        help: format!("write `{name}`"),
    })
}

fn attribute(parts: &[&str], things: &mut NamedThings) -> Result<Attribute, UnknownName> {
    let name = parts.join(".");
    if let Some((_, attribute)) = NAMES.iter().find(|(known, _)| *known == name) {
        return Ok(*attribute);
    }
    match parts {
        ["devices", class, measure] => {
            let wanted = self::measure(measure);
            if wanted.is_none() && *measure != WHOLE {
                return Err(UnknownName {
                    message: format!("devices have no `{measure}`"),
                    help: format!("they have {}", MEASURES.join(", ")),
                });
            }
            let number = number_in(&mut things.device_classes, class);
            Ok(wanted
                .map_or(Attribute::DevicesOfWhole(number), |wanted| Attribute::DevicesOf(number, wanted)))
        }
        ["vm", "devices", class] => Ok(Attribute::VmDevicesOf(number_in(&mut things.device_classes, class))),
        ["same", "label", key] => Ok(Attribute::SameLabel(number_in(&mut things.label_keys, key))),
        _ => Err(unknown(parts)),
    }
}

/// How many devices are wholly free; other things there is an amount of are not counted one by one.
const WHOLE: &str = "whole";

fn measure(word: &str) -> Option<Measure> {
    let measures = [Measure::Total, Measure::Used, Measure::Free, Measure::Load];
    MEASURES.iter().zip(measures).find(|(known, _)| **known == word).map(|(_, measure)| measure)
}

fn unknown(parts: &[&str]) -> UnknownName {
    let name = parts.join(".");
    let message = format!("`{name}` is no attribute of a host or a VM");
    let known = || NAMES.iter().map(|(known, _)| *known).chain(TEXT_NAMES);
    let beneath = |prefix: &str| -> Vec<&str> {
        let whole = format!("{prefix}.");
        known().filter(|known| known.starts_with(&whole)).collect()
    };
    let group = beneath(&name);
    let help = if group.is_empty() {
        did_you_mean(&name, known()).or_else(|| {
            let group = beneath(parts.first()?);
            (!group.is_empty()).then(|| format!("write one of {}", group.join(", ")))
        })
    } else {
        Some(format!("write one of {}", group.join(", ")))
    };
    let help = help.unwrap_or_else(|| {
        "attributes begin with cores, memory, devices, stranded, vms, vm, host, same, measured or before; a class or a key with a hyphen may need quotes: `devices.'nvidia-a100'.free`; a text is put in quotes: `'r1'`"
            .to_owned()
    });
    UnknownName { message, help }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(name: &str) -> Result<Input, UnknownName> {
        let parts: Vec<String> = name.split('.').map(str::to_owned).collect();
        resolve(&parts, &mut NamedThings::default())
    }

    #[test]
    fn every_listed_name_is_found() {
        for (name, attribute) in NAMES {
            assert_eq!(find(name).map(|input| input.attribute), Ok(attribute), "{name}");
        }
        assert_eq!(find("before.vms"), Ok(Input { attribute: Attribute::Vms, when: When::Before }));
        assert_eq!(find("vms"), Ok(Input { attribute: Attribute::Vms, when: When::After }));
    }

    #[test]
    fn unknown_names_come_with_advice() {
        for (name, advice) in [
            ("core.load", "did you mean `cores.load`?"),
            ("cores", "cores.total, cores.used, cores.free, cores.load"),
            ("measured.heat", "measured.cpu.load"),
            ("devices.a100.fre", "total, used, free, load"),
            ("zzz", "attributes begin with"),
            ("before.cores.total", "write `cores.total`"),
            ("before", "attributes begin with"),
            ("vm.ownr", "did you mean `vm.owner`?"),
            ("host.rack", "write one of host.label.KEY"),
            ("before.vm.team", "write `vm.team`"),
        ] {
            let help = find(name).unwrap_err().help;
            assert!(help.contains(advice), "{name}: {help}");
        }
    }
}
