//! Cost functions as the tests make them up: an expression, how it is written, and its value by walking the tree.

use proptest::prelude::*;

use crate::naive::Scene;

/// An expression, as the tests make it up.
#[derive(Debug, Clone)]
pub(crate) enum Expression {
    Number(f64),
    Attribute(&'static str),
    Negate(Box<Self>),
    Arithmetic(char, Box<Self>, Box<Self>),
    Choice(Box<Condition>, Box<Self>, Box<Self>),
    Curve(&'static str, Box<Self>, Vec<f64>),
}

/// A condition in one.
#[derive(Debug, Clone)]
pub(crate) enum Condition {
    Compare(&'static str, Expression, Expression),
    Not(Box<Self>),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
    Known,
    Texts(&'static str, &'static str, &'static str),
}

/// The texts that are compared; hosts and requests have some in common.
const TEXTS: [&str; 11] = [
    "host.label.zone",
    "host.label.app",
    "host.label.who",
    "vm.label.app",
    "vm.label.none",
    "vm.owner",
    "vm.team",
    "'zone1'",
    "'app-2'",
    "'owner-1'",
    "''",
];

/// The attributes used, and whether placement changes them.
const ATTRIBUTES: [(&str, bool); 35] = [
    ("cores.total", false),
    ("cores.used", true),
    ("cores.free", true),
    ("cores.load", true),
    ("before.cores.load", false),
    ("memory.total", false),
    ("memory.used", true),
    ("memory.free", true),
    ("memory.load", true),
    ("before.memory.free", false),
    ("devices.total", false),
    ("devices.used", true),
    ("devices.free", true),
    ("devices.load", true),
    ("devices.whole", true),
    ("devices.a100.free", true),
    ("devices.a100.whole", true),
    ("before.devices.a100.whole", false),
    ("before.devices.a100.used", false),
    ("stranded", true),
    ("stranded.cores", true),
    ("stranded.memory", true),
    ("stranded.devices", true),
    ("before.stranded.devices", false),
    ("vms", true),
    ("before.vms", false),
    ("vm.cores", false),
    ("vm.memory", false),
    ("vm.devices", false),
    ("vm.devices.a100", false),
    ("same.owner", true),
    ("before.same.team", false),
    ("same.label.app", true),
    ("measured.cpu.load", false),
    ("measured.disk.rate", false),
];

/// Any expression of a few levels.
pub(crate) fn expression() -> impl Strategy<Value = Expression> {
    let number = (-8_i32..40).prop_map(|value| Expression::Number(f64::from(value) * 0.25));
    let attribute = (0..ATTRIBUTES.len()).prop_map(|index| Expression::Attribute(ATTRIBUTES[index].0));
    let leaf = prop_oneof![1 => number, 3 => attribute];
    leaf.prop_recursive(4, 24, 3, |inner| {
        let both = (inner.clone(), inner.clone());
        let condition = condition(inner.clone());
        prop_oneof![
            4 => (proptest::sample::select(vec!['+', '-', '*', '/']), both.clone())
                .prop_map(|(sign, (a, b))| Expression::Arithmetic(sign, Box::new(a), Box::new(b))),
            1 => inner.clone().prop_map(|a| Expression::Negate(Box::new(a))),
            2 => (condition, both)
                .prop_map(|(question, (a, b))| Expression::Choice(Box::new(question), Box::new(a), Box::new(b))),
            3 => (proptest::sample::select(CURVES.to_vec()), inner)
                .prop_map(|((name, parameters), x)| Expression::Curve(name, Box::new(x), parameters.to_vec())),
        ]
    })
}

const CURVES: [(&str, &[f64]); 11] = [
    ("constant", &[]),
    ("linear", &[2.0, 1.0]),
    ("ramp", &[0.25, 4.0]),
    ("power", &[2.0]),
    ("power", &[0.5]),
    ("exponential", &[3.0]),
    ("logarithmic", &[9.0]),
    ("sigmoid", &[0.5, 8.0]),
    ("step", &[1.0]),
    ("barrier", &[4.0]),
    ("table", &[0.0, 1.0, 0.5, 3.0, 2.0, -1.0]),
];

fn condition(inner: impl Strategy<Value = Expression> + Clone + 'static) -> impl Strategy<Value = Condition> {
    let signs = proptest::sample::select(vec!["<", "<=", ">", ">=", "==", "!="]);
    let compare = (signs, inner.clone(), inner).prop_map(|(sign, a, b)| Condition::Compare(sign, a, b));
    let text = || proptest::sample::select(TEXTS.to_vec());
    let texts = (proptest::sample::select(vec!["==", "!="]), text(), text())
        .prop_map(|(sign, left, right)| Condition::Texts(sign, left, right));
    let leaf = prop_oneof![8 => compare, 1 => Just(Condition::Known), 3 => texts];
    leaf.prop_recursive(2, 4, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|a| Condition::Not(Box::new(a))),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| Condition::And(Box::new(a), Box::new(b))),
            (inner.clone(), inner).prop_map(|(a, b)| Condition::Or(Box::new(a), Box::new(b))),
        ]
    })
}

impl Expression {
    /// How it is written.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Number(value) => format!("({value})"),
            Self::Attribute(name) => (*name).to_owned(),
            Self::Negate(a) => format!("(-{})", a.text()),
            Self::Arithmetic(sign, a, b) => format!("({} {sign} {})", a.text(), b.text()),
            Self::Choice(question, a, b) => format!("({} ? {} : {})", question.text(), a.text(), b.text()),
            Self::Curve(name, x, parameters) => {
                let parameters: String = parameters.iter().map(|value| format!(", {value}")).collect();
                format!("{name}({}{parameters})", x.text())
            }
        }
    }

    fn names(&self) -> Vec<&'static str> {
        match self {
            Self::Number(_) => Vec::new(),
            Self::Attribute(name) => vec![name],
            Self::Negate(a) | Self::Curve(_, a, _) => a.names(),
            Self::Arithmetic(_, a, b) => [a.names(), b.names()].concat(),
            Self::Choice(question, a, b) => [question.names(), a.names(), b.names()].concat(),
        }
    }

    /// Whether placement changes nothing in it.
    pub(crate) fn is_charge(&self) -> bool {
        self.names().iter().all(|name| ATTRIBUTES.iter().any(|(known, changes)| known == name && !changes))
    }

    /// Its value.
    pub(crate) fn value(&self, scene: &Scene<'_>) -> f64 {
        match self {
            Self::Number(value) => *value,
            Self::Attribute(name) => scene.attribute(name),
            Self::Negate(a) => -a.value(scene),
            Self::Arithmetic(sign, a, b) => {
                let (a, b) = (a.value(scene), b.value(scene));
                match sign {
                    '+' => a + b,
                    '-' => a - b,
                    '*' => a * b,
                    _ => a / b,
                }
            }
            Self::Choice(question, a, b) => match question.value(scene) {
                None => f64::NAN,
                Some(true) => a.value(scene),
                Some(false) => b.value(scene),
            },
            Self::Curve(name, x, parameters) => curve(name, x.value(scene), parameters),
        }
    }
}

fn curve(name: &str, x: f64, parameters: &[f64]) -> f64 {
    if x.is_nan() {
        return x;
    }
    let parameter = |number: usize| parameters.get(number).copied().unwrap_or(f64::NAN);
    let (a, b) = (parameter(0), parameter(1));
    match name {
        "constant" => x,
        "linear" => a * x + b,
        "ramp" if x <= a => 0.0,
        "ramp" if x >= b => 1.0,
        "ramp" => (x - a) / (b - a),
        "power" if a == 2.0 => x * x,
        "power" => x.powf(a),
        "exponential" => ((a * x).exp() - 1.0) / (a.exp() - 1.0),
        "logarithmic" if x <= 0.0 => 0.0,
        "logarithmic" => (a * x).ln_1p() / a.ln_1p(),
        "sigmoid" => 1.0 / (1.0 + (-b * (x - a)).exp()),
        "step" => f64::from(u8::from(x >= a)),
        "barrier" if x >= a => f64::INFINITY,
        "barrier" => x / (a - x),
        "table" => {
            let points: Vec<(f64, f64)> = parameters.chunks(2).map(|pair| (pair[0], pair[1])).collect();
            let Some(right) = points.iter().position(|(place, _)| *place >= x) else {
                return points.last().unwrap().1;
            };
            if right == 0 {
                return points[0].1;
            }
            let ((x1, y1), (x2, y2)) = (points[right - 1], points[right]);
            y1 + (y2 - y1) * ((x - x1) / (x2 - x1))
        }
        other => panic!("{other} is no curve"),
    }
}

impl Condition {
    fn text(&self) -> String {
        match self {
            Self::Compare(sign, a, b) => format!("({} {sign} {})", a.text(), b.text()),
            Self::Not(a) => format!("(not {})", a.text()),
            Self::And(a, b) => format!("({} and {})", a.text(), b.text()),
            Self::Or(a, b) => format!("({} or {})", a.text(), b.text()),
            Self::Known => "measured.known".to_owned(),
            Self::Texts(sign, left, right) => format!("({left} {sign} {right})"),
        }
    }

    fn names(&self) -> Vec<&'static str> {
        match self {
            Self::Compare(_, a, b) => [a.names(), b.names()].concat(),
            Self::Not(a) => a.names(),
            Self::And(a, b) | Self::Or(a, b) => [a.names(), b.names()].concat(),
            Self::Known | Self::Texts(..) => Vec::new(),
        }
    }

    /// None where it cannot be known.
    fn value(&self, scene: &Scene<'_>) -> Option<bool> {
        match self {
            Self::Compare(sign, a, b) => {
                let order = a.value(scene).partial_cmp(&b.value(scene))?;
                Some(match *sign {
                    "<" => order.is_lt(),
                    "<=" => order.is_le(),
                    ">" => order.is_gt(),
                    ">=" => order.is_ge(),
                    "==" => order.is_eq(),
                    _ => order.is_ne(),
                })
            }
            Self::Not(a) => a.value(scene).map(|truth| !truth),
            Self::And(a, b) => match (a.value(scene), b.value(scene)) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (a, b) => Some(a? && b?),
            },
            Self::Or(a, b) => match (a.value(scene), b.value(scene)) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (a, b) => Some(a? || b?),
            },
            Self::Known => Some(scene.host.measured.is_some()),
            Self::Texts(sign, left, right) => {
                Some((scene.text(left) == scene.text(right)) == (*sign == "=="))
            }
        }
    }
}
