//! Owns the reference of the language as values: every curve and every attribute with what it means. `reeve cost curves`,
//! `reeve cost attributes` and the guide's tables are made of it.
//!
//! Must not: say what the code does not do: names, ranges and defaults come from the curves and attributes themselves,
//! and what is added to those without a word here does not compile, or fails a test.

use serde::Serialize;

use super::attribute::{Attribute, Input, Measure, NAMES, NamedThings, Reading, StrandedPart, resolve};
use super::curve::{Curve, POINTS_MAX};
use super::lexer::{MEASURES, Symbol};
use super::parser::{Node, NodeKind, parse};
use super::text::{Text, TextTest};

/// A curve.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CurveReference {
    /// Its name.
    pub name: &'static str,
    /// How it is written, with defaults.
    pub usage: &'static str,
    /// What it computes.
    pub formula: &'static str,
    /// What it is good for.
    pub meaning: &'static str,
    /// Its parameters behind `x`, in order.
    pub parameters: Vec<ParameterReference>,
    /// A curve to look at.
    pub example: &'static str,
}

/// A parameter of a curve.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ParameterReference {
    /// Its name.
    pub name: &'static str,
    /// Which numbers it may have, in words.
    pub range: String,
    /// What it is when it is left out; none when it must be given.
    pub default: Option<f64>,
    /// What it does to the curve.
    pub meaning: &'static str,
}

/// An attribute of a host and a VM.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AttributeReference {
    /// Its name; `CLASS` stands for a device class and `KEY` for a label's key.
    pub name: String,
    /// What it is counted in.
    pub unit: &'static str,
    /// What it says.
    pub meaning: &'static str,
    /// Placing a VM changes it: it is given with the VM, and `before.` in front gives it as it is.
    pub changes: bool,
    /// It is true or false rather than a number.
    pub condition: bool,
    /// It is a text, which can only be compared with another; a picture takes it to be missing.
    pub text: bool,
    /// From where to where it usually goes: what a picture of it shows.
    pub usual: (f64, f64),
    /// What a picture of something else takes it to be when nobody says.
    pub assumed: f64,
}

/// Every curve.
#[must_use]
pub fn curves() -> Vec<CurveReference> {
    Curve::ALL.into_iter().map(curve).collect()
}

fn curve(curve: Curve) -> CurveReference {
    let (formula, meaning, example) = words_of(curve);
    let known = curve.parameters().iter().map(|parameter| ParameterReference {
        name: parameter.name,
        range: parameter.range.describe(),
        default: parameter.default,
        meaning: parameter.meaning,
    });
    let more = (curve == Curve::Table).then(|| ParameterReference {
        name: "x1, y1, …",
        range: format!("2 to {POINTS_MAX} points, finite constants, by growing x"),
        default: None,
        meaning: "the points it goes through",
    });
    let parameters = known.chain(more).collect();
    CurveReference { name: curve.name(), usage: curve.usage(), formula, meaning, parameters, example }
}

/// A curve's formula, what it is good for, and an example.
const fn words_of(curve: Curve) -> (&'static str, &'static str, &'static str) {
    match curve {
        Curve::Constant => {
            ("value", "the same on every host; switches a term off or gives a weight a name", "constant(3)")
        }
        Curve::Linear => ("slope · x + offset", "each further bit costs the same", "linear(x, 2, 0.5)"),
        Curve::Ramp => (
            "0 up to from, 1 beyond to, (x - from) / (to - from) between",
            "free up to a point, then rising to a fixed price",
            "ramp(x, 30, 60)",
        ),
        Curve::Power => (
            "x ^ exponent",
            "evens out: under the rule of increase each further bit costs more than the one before",
            "power(x, 2)",
        ),
        Curve::Exponential => (
            "(e^(bend · x) - 1) / (e^bend - 1)",
            "nearly free for long, then dear: 0 at 0 and 1 at 1",
            "exponential(x, 8)",
        ),
        Curve::Logarithmic => (
            "ln(1 + bend · x) / ln(1 + bend), 0 below 0",
            "the first bit is dear, the rest nearly free: 0 at 0 and 1 at 1",
            "logarithmic(x, 100)",
        ),
        Curve::Sigmoid => {
            ("1 / (1 + e^(-steepness · (x - middle)))", "a soft threshold", "sigmoid(x, 0.7, 20)")
        }
        Curve::Step => ("0 below at, 1 from there on", "a hard threshold", "step(x, 0.9)"),
        Curve::Barrier => (
            "x / (limit - x) below limit, infinite from it on",
            "grows without bound near a limit: never beyond it, and reluctantly close to it",
            "barrier(x, 1)",
        ),
        Curve::Table => (
            "straight lines between the points, level outside of them",
            "any shape, by hand",
            "table(x, 0, 0, 0.5, 0.2, 0.8, 1, 1, 4)",
        ),
    }
}

/// The ends of every name that has a part for a class or a key.
const CLASS: &str = "CLASS";
const KEY: &str = "KEY";

/// Every attribute, texts last.
#[must_use]
pub fn attributes() -> Vec<AttributeReference> {
    let whole = NAMES.into_iter().map(|(name, attribute)| (name.to_owned(), attribute));
    let mut all: Vec<(String, Attribute)> = whole.collect();
    let devices = MEASURES.iter().map(|measure| ["devices", CLASS, measure].map(str::to_owned).to_vec());
    let others =
        [["vm", "devices", CLASS], ["same", "label", KEY]].map(|parts| parts.map(str::to_owned).to_vec());
    for parts in devices.chain(others) {
        let name = parts.join(".");
        // Behind its like, so that the list reads well.
        let first = name.split_once('.').map_or("", |(first, _)| first);
        let is_alike = |(known, _): &(String, Attribute)| known.split('.').next() == Some(first);
        let place = all.iter().rposition(is_alike).map_or(all.len(), |last| last + 1);
        if let Ok(Input { attribute, .. }) = resolve(&parts, &mut NamedThings::default()) {
            all.insert(place, (name, attribute));
        }
    }
    let texts = [Text::HostLabel(KEY.to_owned()), Text::VmLabel(KEY.to_owned()), Text::VmOwner, Text::VmTeam];
    let numbers = all.into_iter().map(|(name, attribute)| described(name, attribute));
    numbers.chain(texts.iter().map(described_text)).collect()
}

/// The attribute that a term calls `name`, without `before.`, or a comparison of texts as a function's inputs call it; none
/// when there is none of this name.
#[must_use]
pub fn attribute_named(name: &str) -> Option<AttributeReference> {
    let nodes: Vec<NodeKind> = parse(name).ok()?.into_iter().map(|Node { kind, .. }| kind).collect();
    match nodes.as_slice() {
        [NodeKind::Name(parts)] => text_of(parts).map(|text| described_text(&text)).or_else(|| {
            let input = resolve(parts, &mut NamedThings::default()).ok()?;
            Some(described(name.to_owned(), input.attribute))
        }),
        [left, right, NodeKind::Binary(Symbol::Equal)] => {
            let text = |node: &NodeKind| match node {
                NodeKind::Text(text) => Some(Text::Literal(text.clone())),
                NodeKind::Name(parts) => text_of(parts),
                _ => None,
            };
            let test = TextTest::new(text(left)?, text(right)?);
            let assumed = f64::from(u8::from(test.of_nothing()));
            Some(AttributeReference { assumed, ..described(name.to_owned(), Attribute::TextTest(0)) })
        }
        _ => None,
    }
}

fn text_of(parts: &[String]) -> Option<Text> {
    Text::named(&parts.iter().map(String::as_str).collect::<Vec<_>>())
}

fn described_text(text: &Text) -> AttributeReference {
    let meaning = match text {
        Text::Literal(_) => "itself",
        Text::HostLabel(_) => {
            "the host's label KEY; to be compared by == and != with another text, as are the next"
        }
        Text::VmLabel(_) => "the VM's label KEY",
        Text::VmOwner => "the VM's owner",
        Text::VmTeam => "the team of the VM's owner",
    };
    let Words { unit, usual, assumed, .. } = of("text", 1.0, 0.0, meaning);
    AttributeReference {
        name: text.name(),
        unit,
        meaning,
        changes: false,
        condition: false,
        text: true,
        usual,
        assumed,
    }
}

fn described(name: String, attribute: Attribute) -> AttributeReference {
    let Words { unit, usual, assumed, meaning } = words(attribute);
    let (changes, condition) = (attribute.is_changed_by_placement(), attribute.is_truth());
    AttributeReference { name, unit, meaning, changes, condition, text: false, usual, assumed }
}

struct Words {
    unit: &'static str,
    usual: (f64, f64),
    assumed: f64,
    meaning: &'static str,
}

/// Cores of a large host.
const CORES: f64 = 128.0;
/// MiB of a large host: 1 TiB.
const MEBIBYTES: f64 = 1_048_576.0;
/// Devices of a host full of them.
const DEVICES: f64 = 8.0;
/// VMs on a well filled host.
const VMS: f64 = 60.0;
/// VMs of one owner, of one team or with one label on a host.
const COMPANIONS: f64 = 20.0;
/// MiB per second: a fast disk or network.
const RATE: f64 = 1000.0;

/// In `unit`, usually from 0 up to `most`.
const fn of(unit: &'static str, most: f64, assumed: f64, meaning: &'static str) -> Words {
    Words { unit, usual: (0.0, most), assumed, meaning }
}

/// A share of something.
const fn share(assumed: f64, meaning: &'static str) -> Words {
    of("share", 1.0, assumed, meaning)
}

/// What is said of an attribute. One that is added has to be listed here, and in [`attributes`] if it has a class or a
/// key in its name.
const fn words(attribute: Attribute) -> Words {
    match attribute {
        Attribute::Cores(measure) => match measure {
            Measure::Total => {
                of("cores", CORES, 64.0, "processor time the host may promise, overcommit included")
            }
            Measure::Used => {
                of("cores", CORES, 32.0, "promised to VMs, or taken by domains that are not ours")
            }
            Measure::Free => of("cores", CORES, 32.0, "total less used, never below 0"),
            Measure::Load => share(0.5, "used / total; 0 of nothing"),
        },
        Attribute::Memory(measure) => match measure {
            Measure::Total => {
                of("MiB", MEBIBYTES, 524_288.0, "memory the host may promise, its reserve taken off")
            }
            Measure::Used => {
                of("MiB", MEBIBYTES, 262_144.0, "promised to VMs, or taken by domains that are not ours")
            }
            Measure::Free => of("MiB", MEBIBYTES, 262_144.0, "total less used, never below 0"),
            Measure::Load => share(0.5, "used / total; 0 of nothing"),
        },
        Attribute::Devices(measure) => match measure {
            Measure::Total => of("devices", DEVICES, 0.0, "devices of all classes"),
            Measure::Used => of("devices", DEVICES, 0.0, "given to VMs; one that VMs share counts in part"),
            Measure::Free => of("devices", DEVICES, 0.0, "total less used"),
            Measure::Load => share(0.0, "used / total; 0 on a host without devices"),
        },
        Attribute::DevicesOf(_, measure) => match measure {
            Measure::Total => of("devices", DEVICES, 0.0, "devices of one class; 0 on a host without it"),
            Measure::Used => of("devices", DEVICES, 0.0, "of the class, given to VMs"),
            Measure::Free => of("devices", DEVICES, 0.0, "total less used, of the class"),
            Measure::Load => share(0.0, "used / total of the class; 0 on a host without it"),
        },
        Attribute::DevicesWhole => of("devices", DEVICES, 0.0, "devices that are wholly free"),
        Attribute::DevicesOfWhole(_) => {
            of("devices", DEVICES, 0.0, "devices of the class that are wholly free")
        }
        Attribute::Stranded(part) => match part {
            StrandedPart::All => share(0.0, "what follows, each as a share of what the host has, added up"),
            StrandedPart::Cores => {
                of("cores", 32.0, 0.0, "free, and of no use to the VMs of the realm's catalogue")
            }
            StrandedPart::Memory => {
                of("MiB", 131_072.0, 0.0, "free, and of no use to the VMs of the realm's catalogue")
            }
            StrandedPart::Devices => {
                of("devices", DEVICES, 0.0, "free, and of no use to the VMs of the realm's catalogue")
            }
        },
        Attribute::Vms => of("VMs", VMS, 10.0, "VMs of ours on the host"),
        Attribute::VmCores => of("cores", 32.0, 2.0, "what the VM asks for"),
        Attribute::VmMemory => of("MiB", 262_144.0, 8192.0, "what the VM asks for"),
        Attribute::VmDevices => of("devices", DEVICES, 0.0, "devices of all classes that the VM asks for"),
        Attribute::VmDevicesOf(_) => of("devices", DEVICES, 0.0, "what the VM would get of the class there"),
        Attribute::SameOwner => {
            of("VMs", COMPANIONS, 1.0, "VMs on the host with this VM's owner, it included")
        }
        Attribute::SameTeam => of("VMs", COMPANIONS, 1.0, "VMs on the host with this VM's team, it included"),
        Attribute::SameLabel(_) => {
            of("VMs", COMPANIONS, 1.0, "VMs on the host whose label KEY has this VM's value, it included")
        }
        Attribute::Measured(reading) => measured(reading),
        Attribute::TextTest(_) => of("condition", 1.0, 0.0, "the two texts are the same"),
        Attribute::Argument => of("", 1.0, 0.0, "what a curve by itself is drawn over"),
    }
}

const fn measured(reading: Reading) -> Words {
    match reading {
        Reading::Known => of("condition", 1.0, 1.0, "there is a measurement that is young enough"),
        Reading::CpuLoad => share(0.5, "processor time in use"),
        Reading::VmsLoad => share(0.5, "processor time in use by VMs of ours"),
        Reading::MemoryLoad => share(0.5, "memory in use"),
        Reading::CpuPressure => share(0.0, "time in which some task waited for a processor"),
        Reading::MemoryPressure => share(0.0, "time in which some task waited for memory"),
        Reading::DiskPressure => share(0.0, "time in which some task waited for a disk"),
        Reading::NetworkRate => of("MiB/s", RATE, 0.0, "sent and received"),
        Reading::DiskRate => of("MiB/s", RATE, 0.0, "read and written"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use reeve_common::ids::CostFunctionName;

    use super::super::text::TEXT_NAMES;
    use super::super::{ChoiceRule, CostError, CostFunction, When};
    use super::*;

    fn compile(text: &str) -> Result<CostFunction, Vec<CostError>> {
        let terms = [("term".to_owned(), text.to_owned())];
        CostFunction::compile(&CostFunctionName::new("f").unwrap(), &terms, ChoiceRule::Increase)
    }

    /// The names of an enum's variants as they stand in the source.
    fn variants_in_source(source: &str, of: &str) -> BTreeSet<String> {
        let start = source.find(&format!("enum {of} {{")).unwrap();
        let body = &source[start..start + source[start..].find("\n}").unwrap()];
        let lines = body.lines().skip(1).map(str::trim).filter(|line| !line.starts_with("//"));
        lines.map(|line| line.chars().take_while(|letter| letter.is_alphanumeric()).collect()).collect()
    }

    #[test]
    fn every_attribute_is_in_the_reference() {
        let mut listed: BTreeSet<String> = BTreeSet::from(["Argument", "TextTest"].map(str::to_owned));
        let mut texts = BTreeSet::from(["Literal".to_owned()]);
        let variant = |debug: String| debug.chars().take_while(|letter| letter.is_alphanumeric()).collect();
        for attribute in attributes() {
            let parts: Vec<String> = attribute.name.split('.').map(str::to_owned).collect();
            if let Some(text) = text_of(&parts) {
                texts.insert(variant(format!("{text:?}")));
                assert!(attribute.text && TEXT_NAMES.contains(&attribute.name.as_str()));
                continue;
            }
            let input = resolve(&parts, &mut NamedThings::default()).unwrap();
            listed.insert(variant(format!("{:?}", input.attribute)));
        }
        assert_eq!(listed, variants_in_source(include_str!("attribute.rs"), "Attribute"));
        assert_eq!(texts, variants_in_source(include_str!("text.rs"), "Text"));
        assert_eq!(texts.len(), TEXT_NAMES.len() + 1);
    }

    #[test]
    fn every_attribute_is_what_the_reference_says() {
        let all = attributes();
        let names: BTreeSet<&str> = all.iter().map(|attribute| attribute.name.as_str()).collect();
        assert_eq!(names.len(), all.len(), "a name is listed twice");
        for attribute in all {
            let name = attribute.name.replace(CLASS, "a100").replace(KEY, "app");
            let name = if attribute.text { format!("{name} == 'a b'") } else { name };
            let number = if attribute.condition || attribute.text {
                format!("({name} ? 1 : 0)")
            } else {
                name.clone()
            };
            let function = compile(&number).unwrap_or_else(|errors| panic!("{}", errors[0]));
            assert_eq!(function.inputs(When::After), std::slice::from_ref(&name));
            assert_eq!(
                compile(&format!("before.{number}")).is_ok() && !attribute.condition && !attribute.text,
                attribute.changes,
                "{name}"
            );
            let known = attribute_named(&name).unwrap();
            if attribute.text {
                assert!(known.condition && known.assumed == 0.0 && !attribute.condition);
            } else {
                assert_eq!((known.unit, known.meaning), (attribute.unit, attribute.meaning));
            }
            let (from, to) = attribute.usual;
            assert!(from < to && (from..=to).contains(&attribute.assumed) && !attribute.meaning.is_empty());
        }
        assert_eq!(attribute_named("devices.'10de:20b0'.free").unwrap().unit, "devices");
        assert_eq!(attribute_named("heat"), None);
    }

    #[test]
    fn a_picture_takes_texts_to_be_missing() {
        for (text, assumed) in [
            ("host.label.rack == 'r1'", 0.0),
            ("host.label.'a.b' == \"it's\"", 0.0),
            ("host.label.rack == vm.label.rack", 1.0),
            ("vm.owner == ''", 1.0),
        ] {
            let function = compile(&format!("{text} ? 1 : 0")).unwrap();
            assert_eq!(function.inputs(When::After), [text]);
            let known = attribute_named(text).unwrap();
            assert!(known.condition && known.assumed == assumed && known.name == text, "{text}");
            assert!(function.evaluate(When::After, &[1.0]).total == 1.0);
        }
        assert_eq!(attribute_named("vm.owner").unwrap().unit, "text");
        assert_eq!(attribute_named("vm.owner == vms"), None);
    }

    #[test]
    fn every_curve_is_what_the_reference_says() {
        for curve in curves() {
            assert!(curve.usage.starts_with(&format!("{}(", curve.name)), "{}", curve.usage);
            for parameter in &curve.parameters {
                let word = parameter.name.split(',').next().unwrap();
                assert!(curve.usage.contains(word), "{word} is not in {}", curve.usage);
                let default = parameter.default.map(|default| format!("{word} = {default}"));
                assert!(default.is_none_or(|default| curve.usage.contains(&default)), "{}", curve.usage);
            }
            let drawn =
                CostFunction::compile_of_x(&CostFunctionName::new("f").unwrap(), "curve", curve.example);
            let drawn = drawn.unwrap_or_else(|errors| panic!("{}", errors[0]));
            assert!(drawn.evaluate(When::After, &[0.5]).total.is_finite(), "{}", curve.example);
        }
    }

    #[test]
    fn a_parameter_out_of_its_range_is_refused() {
        for curve in curves().iter().filter(|curve| curve.name != "table") {
            for (index, parameter) in curve.parameters.iter().enumerate() {
                let arguments = curve.parameters.iter().enumerate().map(|(other, _)| match other == index {
                    true => "(-1 / 0)".to_owned(),
                    false => other.to_string(),
                });
                let arguments: Vec<String> = arguments.collect();
                let text = format!("{}(vms, {})", curve.name, arguments.join(", "));
                let errors = compile(&text).expect_err(&text);
                assert!(errors[0].message.contains("out of range"), "{text}: {}", errors[0]);
                assert!(!parameter.range.is_empty());
            }
        }
    }
}
