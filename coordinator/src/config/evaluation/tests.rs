//! Tries the evaluation by hand where rules meet, and at random against the library's own on files that it can take.

use hocon::{Config, HoconValue};
use proptest::prelude::{Just, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::*;
use crate::config::tree;

/// What a text comes to in our hands, in a form that can be compared; none when something was refused.
fn ours(text: &str) -> Option<String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("test.conf");
    std::fs::write(&path, text).unwrap();
    let (mut sources, mut findings) = (Sources::default(), Findings::default());
    let tree = tree::read(&path, &mut sources, &mut findings);
    let table = evaluate(&tree, &sources, &mut findings)?;
    (!findings.has_errors()).then(|| show_table(&table))
}

fn show_table(table: &Table) -> String {
    let fields: BTreeMap<_, _> = table.fields.iter().map(|field| (&field.key, show(&field.value))).collect();
    format!("{fields:?}")
}

fn show(value: &Value) -> String {
    match &value.kind {
        Kind::Scalar { text, kind } => format!("{kind:?} {text}"),
        Kind::List(items) => format!("{:?}", items.iter().map(show).collect::<Vec<_>>()),
        Kind::Section(table) => show_table(table),
        Kind::Bad => "bad".to_owned(),
    }
}

/// The same in the hands of the library.
fn theirs(text: &str) -> Option<String> {
    let config: Config = hocon::parse(text).ok()?;
    let fields: BTreeMap<_, _> =
        config.keys().into_iter().map(|key| (key, show_theirs(config.get(key).unwrap()))).collect();
    Some(format!("{fields:?}"))
}

fn show_theirs(value: &HoconValue) -> String {
    match value {
        HoconValue::Scalar(scalar) => format!("{:?} {}", scalar.value_type, scalar.raw),
        HoconValue::Array(items) => format!("{:?}", items.iter().map(show_theirs).collect::<Vec<_>>()),
        HoconValue::Object(fields) => {
            let fields: BTreeMap<_, _> =
                fields.iter().map(|(key, value)| (key, show_theirs(value))).collect();
            format!("{fields:?}")
        }
        _ => "unresolved".to_owned(),
    }
}

fn check(text: &str, expected: &str) {
    assert_eq!(ours(text).as_deref(), Some(expected), "{text}");
    assert_eq!(theirs(text).as_deref(), Some(expected), "the library on {text}");
}

#[test]
fn sections_are_merged_and_values_replaced() {
    check("a = 5\na { b = 1 }", r#"{"a": "{\"b\": \"Number 1\"}"}"#);
    check("a { b = 1 }\na { c = 2 }", r#"{"a": "{\"b\": \"Number 1\", \"c\": \"Number 2\"}"}"#);
    check("a { b = 1 }\na = 5\na { c = 2 }", r#"{"a": "{\"c\": \"Number 2\"}"}"#);
    let text = "a { b { x = 1 } }\na = 5\na { b { y = 2 } }";
    check(text, r#"{"a": "{\"b\": \"{\\\"y\\\": \\\"Number 2\\\"}\"}"}"#);
    check("a = 5 minutes", r#"{"a": "String 5 minutes"}"#);
}

#[test]
fn substitutions_mean_the_final_value_and_sections_from_elsewhere_are_added_to() {
    check("a = ${b}\nb = 1\nb = 2", r#"{"a": "Number 2", "b": "Number 2"}"#);
    check("a = 1\na = ${?b}", r#"{"a": "Number 1"}"#);
    let base = r#""x": "{\"p\": \"Number 1\", \"q\": \"Number 2\"}""#;
    let text = "x { p = 1, q = 2 }\na = ${x} { q = 3 }\na.r = 4";
    check(
        text,
        &format!(r#"{{"a": "{{\"p\": \"Number 1\", \"q\": \"Number 3\", \"r\": \"Number 4\"}}", {base}}}"#),
    );
}

#[test]
fn nothing_is_forgotten_where_the_library_forgets() {
    for (text, expected) in [
        ("a = 0\na = ${?b}\na = ${?b}", r#"{"a": "Number 0"}"#),
        ("b { a = 0 }\nb = ${?c}\nb = ${?c}", r#"{"b": "{\"a\": \"Number 0\"}"}"#),
        (
            "c.d = ${e}\nc = ${f}\nc { }\ne.a = 1\nf.d.b = 2",
            concat!(
                r#"{"c": "{\"d\": \"{\\\"a\\\": \\\"Number 1\\\", \\\"b\\\": \\\"Number 2\\\"}\"}", "#,
                r#""e": "{\"a\": \"Number 1\"}", "f": "{\"d\": \"{\\\"b\\\": \\\"Number 2\\\"}\"}"}"#
            ),
        ),
    ] {
        assert_eq!(ours(text).as_deref(), Some(expected), "{text}");
    }
}

#[test]
fn what_an_included_file_names_is_looked_for_beside_it_first() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("part.conf"), "near = 1\na = ${near}\nb = ${far}").unwrap();
    let root = directory.path().join("root.conf");
    std::fs::write(&root, "near = 2\nfar = 3\npart { include \"part.conf\" }").unwrap();
    let (mut sources, mut findings) = (Sources::default(), Findings::default());
    let tree = tree::read(&root, &mut sources, &mut findings);
    let table = evaluate(&tree, &sources, &mut findings).unwrap();
    let part = show(&table.field("part").unwrap().value);
    assert_eq!(part, r#"{"a": "Number 1", "b": "Number 3", "near": "Number 1"}"#);
    let library = hocon::parse_file(&root).unwrap();
    assert_eq!(show_theirs(library.get("part").unwrap()), part);
}

/// What we are compared with the library on. It overflows its stack on circles, takes minutes for repeated dotted
/// keys, and forgets keys where substitutions or values are merged twice. So `a`, `b` are values, `c`, `d`
/// sections, and what is referred to stands apart.
const BASE: &str = "base { p = 1, q = \"x y\", s { a = 1, c { a = 2, b = 3 } }, l = [7] }\n";

fn assignments() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        4 => (0..9_u8).prop_map(|number| number.to_string()),
        1 => Just("true".to_owned()),
        1 => Just("null".to_owned()),
        1 => Just("\"x: {y}\"".to_owned()),
        1 => Just("word".to_owned()),
        2 => Just("${base.p}".to_owned()),
        2 => Just("${base.q}".to_owned()),
        1 => Just("${base.s.c.b}".to_owned()),
    ];
    let list = prop::sample::select(vec!["[1, ${base.p}]", "${base.l}", "[${base.s}, []]", "${base.l} [2]"]);
    let value = prop_oneof![
        3 => scalar.clone(),
        1 => prop::collection::vec(scalar.clone(), 1..4).prop_map(|parts| parts.join("  ")),
        1 => scalar.prop_map(|scalar| format!("x${{?none}} {scalar} ${{?none}}")),
        1 => list.prop_map(str::to_owned),
    ];
    let value = (path(&["a", "b"]), value).prop_map(|(path, value)| format!("{path} = {value}"));
    value.prop_recursive(3, 20, 4, |inner| {
        let fields = prop::collection::vec(inner, 0..4).prop_map(|fields| fields.join(", "));
        (path(&["c", "d"]), fields).prop_map(|(path, fields)| format!("{path} {{ {fields} }}"))
    })
}

/// At most one section that builds on another one: with two of them the library forgets keys.
fn extension() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "",
        "e = ${base.s}",
        "e = ${base.s} { a = 5, c.b = 6, c.d = 7, f { g = 8 } }",
        "e = { a = 5, c { b = 6, x = 9 } } ${base.s}",
        "e { a = 5, c { x = 9 } }\ne = ${base.s}",
        "e = ${base.s}\ne { a = 5, c { x = 9 } }",
        "e = ${base.s}\ne.c.b = 9",
        "f { e = ${base.s.c} { x = ${base.p} } }",
    ])
}

fn path(last: &'static [&'static str]) -> impl Strategy<Value = String> {
    let sections = prop::collection::vec(prop::sample::select(vec!["c", "d"]), 0..3);
    (sections, prop::sample::select(last)).prop_map(|(mut path, last)| {
        path.push(last);
        path.join(".")
    })
}

proptest! {
    #![proptest_config(proptest::test_runner::Config {
        failure_persistence: None, cases: 500, ..proptest::test_runner::Config::default()
    })]

    #[test]
    fn ordinary_files_come_to_the_same_as_in_the_library(
        assignments in prop::collection::vec(assignments(), 0..8),
        extension in extension(),
        is_base_first in any::<bool>(),
    ) {
        let assignments = format!("{}\n{extension}", assignments.join("\n"));
        let text = match is_base_first {
            true => format!("{BASE}{assignments}"),
            false => format!("{assignments}\n{BASE}"),
        };
        let (ours, theirs) = (ours(&text), theirs(&text));
        prop_assert!(ours.is_some(), "{}", text);
        prop_assert_eq!(ours, theirs, "{}", text);
    }
}
