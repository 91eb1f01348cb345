//! The language: what terms are worth, and what is said of mistakes.

use proptest::prelude::*;
use reeve_scheduler::{ChoiceRule, Fleet, Measured, Request, When};

use crate::fixture::{compile, devices, function, host, request, vm, whole};

/// A host with 10 cores (4 used by one VM), 16 GiB (8 used), 4 devices of class `nvidia-a100` (1 used), and a request for
/// 2 cores, 4 GiB and one device.
fn scene(expression: &str) -> (Fleet, Request) {
    let mut fleet = Fleet::new();
    let mut described = host(1, 10, 16, &function(&[("term", expression)]));
    described.capacity.devices = devices("nvidia-a100", 4);
    for (key, value) in [("rack", "r1"), ("app", "web"), ("who", "ann"), ("it.s", "it's")] {
        described.labels.insert(key.to_owned(), value.to_owned());
    }
    fleet.upsert_host(described);
    let mut there = request(4, 8);
    there.devices = whole("nvidia-a100", 1);
    there.owner = "ann".to_owned();
    there.team = "blue".to_owned();
    there.labels.insert("app".to_owned(), "web".to_owned());
    fleet.restore(vm(1), reeve_common::ids::HostId(1), &there);
    let mut wanted = request(2, 4);
    wanted.devices = whole("nvidia-a100", 1);
    wanted.owner = "ann".to_owned();
    wanted.team = "red".to_owned();
    wanted.labels.insert("app".to_owned(), "web".to_owned());
    (fleet, wanted)
}

/// The term's value before and after.
fn values(expression: &str) -> (f64, f64) {
    let (fleet, wanted) = scene(expression);
    let explanation = fleet.explain(&wanted);
    let term = &explanation.hosts[0].terms[0];
    (term.before, term.after)
}

#[track_caller]
fn check(expression: &str, before: f64, after: f64) {
    let (found_before, found_after) = values(expression);
    let near = |left: f64, right: f64| left == right || (left - right).abs() < 1e-12;
    assert!(
        near(found_before, before) && near(found_after, after),
        "{expression}: {found_before} and {found_after} instead of {before} and {after}"
    );
}

#[test]
fn attributes_describe_the_host_with_the_vm() {
    check("cores.total + cores.used", 14.0, 16.0);
    check("cores.free", 6.0, 4.0);
    check("cores.load", 0.4, 0.6);
    check("memory.used", 8192.0, 12288.0);
    check("memory.free == 4 GiB ? 1 : 0", 0.0, 1.0);
    check("memory.load", 0.5, 0.75);
    check("devices.used + 10 * devices.free", 31.0, 22.0);
    check("devices.nvidia-a100.load", 0.25, 0.5);
    check("devices.'nvidia-a100'.free", 3.0, 2.0);
    check("devices.other.free + vms", 1.0, 2.0);
    check("vms", 1.0, 2.0);
    check("same.owner", 1.0, 2.0);
    check("same.team", 0.0, 1.0);
    check("same.label.app", 1.0, 2.0);
    check("same.label.other", 0.0, 1.0);
}

#[test]
fn what_placement_does_not_change_is_a_charge() {
    check("vm.cores + vm.memory + vm.devices + vm.devices.'nvidia-a100'", 0.0, 4100.0);
    check("cores.total", 0.0, 10.0);
    check("before.cores.load", 0.0, 0.4);
    check("before.same.owner", 0.0, 1.0);
    check("5", 0.0, 5.0);
    check("vm.devices == 0 and devices.total > 0 ? 10 : 0", 0.0, 0.0);
    // With a state in it the same weight counts on both sides.
    check("vm.cores * cores.load", 0.8, 1.2);
    check("cores.load - before.cores.load", 0.0, 0.2);
}

#[test]
fn texts_are_compared() {
    for (condition, holds) in [
        ("host.label.rack == 'r1'", true),
        ("'r1' == host.label.rack", true),
        ("host.label.rack == \"r1\"", true),
        ("host.label.rack == 'r2'", false),
        ("host.label.rack != 'r2'", true),
        ("host.label.rack == 'R1'", false),
        ("host.label.'it.s' == \"it's\"", true),
        ("host.label.app == vm.label.app", true),
        ("host.label.who == vm.owner", true),
        ("vm.owner == 'ann' and vm.team == 'red'", true),
        ("vm.team != 'red'", false),
        ("vm.label.\"app\" == 'web'", true),
        // What is missing equals what is missing, and the empty text, and no other.
        ("host.label.none == vm.label.none", true),
        ("host.label.none == vm.label.other", true),
        ("host.label.none == ''", true),
        ("host.label.none != 'r1'", true),
        ("host.label.rack == ''", false),
        ("host.label.none == host.label.rack", false),
        ("vm.owner == ''", false),
        // Known without a host.
        ("'a' == 'a'", true),
        ("'a' == 'b'", false),
        ("'a' != 'b'", true),
        ("vm.label.none == vm.label.none", true),
    ] {
        let value = f64::from(u8::from(holds));
        check(&format!("vms * 0 + ({condition} ? 1 : 0)"), value, value);
    }
    // Placing a VM changes no text: a term of nothing else is a charge.
    check("host.label.rack == 'r1' ? 5 : 0", 0.0, 5.0);
    check("host.label.rack == 'r1' ? cores.load : 0", 0.4, 0.6);
}

#[test]
fn comparisons_of_texts_are_made_once_and_constants_not_at_all() {
    let compiled = |text: &str| compile(&[("term", text)], ChoiceRule::Increase).unwrap();
    let term = "(vm.owner == 'a' ? 1 : 0) + ('a' == vm.owner ? 1 : 0) + (vm.owner != 'a' ? 1 : 0)";
    assert_eq!(compiled(term).inputs(When::After), ["vm.owner == 'a'"]);
    assert_eq!(compiled("'a' == 'a' and vm.team == vm.team ? 1 : 0").inputs(When::After), [""; 0]);
    assert_eq!(compiled(term), compiled(term));
    assert_ne!(compiled("vm.owner == 'a' ? 1 : 0"), compiled("vm.owner == 'b' ? 1 : 0"));
}

#[test]
fn comparisons_of_texts_are_bounded() {
    let test = |number: usize| format!("(host.label.rack == 'r{number}' ? 1 : 0)");
    let term = |numbers: std::ops::Range<usize>| numbers.map(test).collect::<Vec<_>>().join(" + ");
    assert!(compile(&[("all", &term(0..256)), ("again", &term(0..256))], ChoiceRule::Increase).is_ok());
    let terms = [("all", &*term(0..256)), ("more", &*term(200..260))];
    let errors = compile(&terms, ChoiceRule::Increase).unwrap_err();
    assert_eq!(errors.len(), 1);
    assert!(errors[0].message.contains("at most 256 comparisons of texts"), "{}", errors[0]);
}

#[test]
fn mistakes_with_texts_show_the_place_and_the_way_out() {
    let mut shown = String::new();
    for text in [
        "host.label.rack",
        "'r1'",
        "vm.owner < 'r1'",
        "vm.owner + 1",
        "-vm.owner",
        "power(vm.team, 2)",
        "vm.owner and vms > 0",
        "not 'r1' ? 1 : 0",
        "vm.owner ? 1 : 0",
        "vms > 1 ? 'r1' : 2",
        "vms > 1 ? 'r1' : 'r2'",
        "host.label.rack == 7 ? 1 : 0",
        "vms == 'r1' ? 1 : 0",
        "measured.known == vm.team ? 1 : 0",
        "host.label.rack == r1 ? 1 : 0",
        "host.label.rack == 'r1 ? 1 : 0",
        "vm.owner == 'a' == 'b' ? 1 : 0",
        "host.label == 'r1' ? 1 : 0",
        "before.vm.owner == 'r1' ? 1 : 0",
        "vm.ownr == 'r1' ? 1 : 0",
        "vms 'r1'",
        "vm.owner == 'a\u{7}b' ? 1 : 0",
    ] {
        let errors = compile(&[("term", text)], ChoiceRule::Increase).unwrap_err();
        shown += &format!("{}\n────\n", errors[0].render().trim_end());
    }
    insta::assert_snapshot!(shown);
}

#[test]
fn operators_follow_the_rules_of_arithmetic() {
    check("vms * 0 + 2 + 3 * 4 - 6 / 2", 11.0, 11.0);
    check("vms * 0 - -2 - 1", 1.0, 1.0);
    check("not (vms > 1) ? 1 : vms >= 2 and vms <= 2 ? 2 : 3", 1.0, 2.0);
    check("vms < 1 or vms != 1 ? 1 : 0", 0.0, 1.0);
    check("vms == 2 ? 30 % : 1.5e1", 15.0, 0.3);
}

#[test]
fn curves_are_worked_out() {
    let exponential = |load: f64| ((8.0 * load).exp() - 1.0) / (8.0_f64.exp() - 1.0);
    check("4 * exponential(memory.load, 8)", 4.0 * exponential(0.5), 4.0 * exponential(0.75));
    check("power(cores.load, 2)", 0.16, 0.36);
    check("power(cores.load, 0.5)", 0.4_f64.sqrt(), 0.6_f64.sqrt());
    check("ramp(vms, 1, 3)", 0.0, 0.5);
    check("step(vms, 2)", 0.0, 1.0);
    check("linear(vms, 3, 1)", 4.0, 7.0);
    check("linear(vms)", 1.0, 2.0);
    check("constant(vms)", 1.0, 2.0);
    check("logarithmic(memory.load, 9)", 5.5_f64.ln() / 10_f64.ln(), 7.75_f64.ln() / 10_f64.ln());
    check("sigmoid(cores.load, 0.6, 10)", 1.0 / (1.0 + 2.0_f64.exp()), 0.5);
    check("barrier(memory.load, 1)", 1.0, 3.0);
    check("table(memory.load, 0, 0, 0.5, 1, 1, 5)", 1.0, 3.0);
    // A parameter that is no constant is looked at when it is known.
    check("power(vms, vms)", 1.0, 4.0);
}

#[test]
fn a_result_that_is_not_finite_means_never_here() {
    for (expression, reason) in [
        ("1 / (vms - 2)", "cost: the term term is infinite, so never here"),
        ("(vms - 2) / (vms - 2)", "cost: the term term is not a number, so never here"),
        ("-1 / (vms - 2)", "cost: the term term is minus infinite, so never here"),
        ("1 / (vms - 1)", "cost: the term term before the VM is infinite, so never here"),
        ("barrier(memory.load, 0.7)", "cost: the term term is infinite, so never here"),
        ("measured.cpu.load", "cost: the term term is not a number, so never here"),
        ("measured.cpu.load > 0.9 ? 1 : 0", "cost: the term term is not a number, so never here"),
        ("power(vms, 66 - vms)", "cost: the term term before the VM is not a number, so never here"),
    ] {
        let (mut fleet, wanted) = scene(expression);
        let host = &fleet.explain(&wanted).hosts[0];
        assert_eq!(host.reason.as_deref(), Some(reason), "{expression}");
        assert_eq!(fleet.decide(&wanted), None, "{expression}");
        let refusal = fleet.reserve(vm(9), reeve_common::ids::HostId(1), &wanted).unwrap_err();
        assert_eq!(refusal.to_string(), reason);
    }
}

#[test]
fn measured_numbers_enter_as_they_are_known() {
    let (mut fleet, wanted) = scene("measured.known ? 10 * measured.cpu.load + measured.disk.rate : 3");
    let after = |fleet: &Fleet| fleet.explain(&wanted).hosts[0].terms[0].after;
    let id = reeve_common::ids::HostId(1);
    assert!((after(&fleet) - 3.0).abs() < 1e-12);
    fleet.set_measured(id, Some(Measured { cpu_load: 0.5, disk_rate: 2.0, ..Measured::default() }));
    assert!((after(&fleet) - 7.0).abs() < 1e-12);
    fleet.set_measured(id, None);
    assert!((after(&fleet) - 3.0).abs() < 1e-12);
}

/// What is said of each of these mistakes, with carets.
#[test]
fn mistakes_are_shown_with_carets() {
    let mistakes = [
        "",
        "2 * power(core.load, 2)",
        "cores",
        "2 * pow(cores.load, 2)",
        "ramp",
        "ramp(vms, 30)",
        "ramp(vms, 60, 30)",
        "4 * exponential(memory.load, 800)",
        "table(vms, 1, 2, 1, 3)",
        "table(vms, 1, 2, vms, 3)",
        "cores.load > 0.5",
        "1 + (vms > 3)",
        "vms and vms",
        "vms > 3 ? 1 : vms > 2",
        "1 < vms < 3",
        "(vms + 1",
        "vms + ",
        "vms vms",
        "vms && vms",
        "memory.free > 8 Gib ? 1 : 0",
        "1 / 0",
        "before.cores.total",
        "devices.a100.fre",
        "stranded.gpus",
        "vms + ü",
        "vms ? : 3",
        "1e999",
    ];
    let mut shown = String::new();
    for text in mistakes {
        let errors = compile(&[("term", text)], ChoiceRule::Increase).unwrap_err();
        shown += &format!("{}\n{}\n", errors[0].render().trim_end(), errors[0]);
        shown += "────\n";
    }
    insta::assert_snapshot!(shown);
}

#[test]
fn each_term_has_its_own_mistake() {
    let terms = [("good", "vms"), ("bad", "vm"), ("good", "1"), ("worse", ")"), ("a b", "1")];
    let errors = compile(&terms, ChoiceRule::Increase).unwrap_err();
    let found: Vec<_> = errors.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(found.join("\n"), @r"
    cost function tested, term bad, column 1: `vm` is no attribute of a host or a VM; write one of vm.cores, vm.memory, vm.devices, vm.owner, vm.team, vm.label.KEY
    cost function tested, term good, column 1: a term of this name is there already
    cost function tested, term worse, column 1: a number, an attribute, a curve or `(` is expected here, not `)`
    cost function tested, term a b, column 1: a term's name has 1 to 63 bytes: letters, digits, '.', '_' and '-'
    ");
}

#[test]
fn hostile_texts_are_refused_quickly() {
    let long = "1".repeat(1 << 20);
    for text in [
        long,
        "(".repeat(10_000),
        "-".repeat(10_000),
        "not ".repeat(4_000),
        "1?".repeat(8_000),
        "ramp(".repeat(3_000),
        "x".repeat(16_000),
        ".".repeat(100),
        "devices.'".to_owned(),
        "1 +".repeat(5_000),
        "\u{202e}\0\u{1b}[2J".to_owned(),
    ] {
        let errors = compile(&[("term", &text)], ChoiceRule::Increase).unwrap_err();
        let (shown, line) = (errors[0].render(), errors[0].to_string());
        assert!(shown.len() < 4_000 && line.len() < 40_000, "{} bytes are shown", shown.len());
        assert!(!shown.contains('\u{1b}') && !line.contains('\u{1b}') && !line.contains('\n'), "{line:?}");
    }
    assert!(compile(&[("term", &format!("1{}", "+vms".repeat(4_000)))], ChoiceRule::Increase).is_ok());
    assert!(compile(&[("term", &format!("1{}", "+vms*vms".repeat(2_000)))], ChoiceRule::Increase).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_text_compiles_or_is_refused(text in any::<String>()) {
        if let Err(errors) = compile(&[("term", &text)], ChoiceRule::Increase) {
            prop_assert!(!errors[0].render().is_empty() && errors[0].column() > 0);
        }
    }

    #[test]
    fn any_row_of_tokens_compiles_or_is_refused(tokens in proptest::collection::vec(token(), 0..30)) {
        let text = tokens.join(" ");
        match compile(&[("term", &text)], ChoiceRule::Increase) {
            Ok(function) => {
                let mut fleet = Fleet::new();
                fleet.upsert_host(host(1, 8, 8, &std::sync::Arc::new(function)));
                let wanted = request(1, 1);
                prop_assert_eq!(fleet.explain(&wanted).chosen, fleet.decide(&wanted));
            }
            Err(errors) => prop_assert!(!errors[0].render().is_empty() && errors[0].column() > 0),
        }
    }
}

fn token() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(vec![
        "vms",
        "cores.load",
        "before.memory.free",
        "measured.cpu.load",
        "vm.devices",
        "same.owner",
        "vm.owner",
        "host.label.rack",
        "'r1'",
        "1",
        "0",
        "0.5",
        "8 GiB",
        "30 %",
        "+",
        "-",
        "*",
        "/",
        "(",
        ")",
        "(",
        ")",
        ",",
        "?",
        ":",
        "<",
        "<=",
        ">",
        "==",
        "!=",
        "and",
        "or",
        "not",
        "ramp(",
        "power(",
        "exponential(",
        "table(",
        "barrier(",
        "step(",
        "sigmoid(",
        "logarithmic(",
        "linear(",
        "constant(",
    ])
}
