//! `reeve cost` without a coordinator: checking, drawing, the reference; and what is said to files and expressions that
//! nobody would write by mistake.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::Value;

use crate::typed::{Answer, typed};

/// Types `reeve cost WORDS` where no coordinator is.
async fn cost(words: &[&str]) -> Answer {
    let start = ["reeve", "--socket", "/nonexistent/api.sock", "cost"];
    typed(start.iter().chain(words).map(Into::into).collect(), "").await
}

struct Directory(tempfile::TempDir);

impl Directory {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        fs::write(self.path(name), content).unwrap();
        self.path(name).to_str().unwrap().to_owned()
    }
}

async fn check(content: impl AsRef<[u8]>) -> Answer {
    let directory = Directory::new();
    cost(&["check", &directory.file("f.conf", content)]).await
}

#[tokio::test]
async fn a_file_is_a_configuration_its_section_or_one_function() {
    let inside = "a { x = \"vms\", y = \"cores.load\" }\nb { by = total, z = \"memory.load\" }";
    for (content, said) in [
        (
            format!("agent-listen = nonsense\ncost-functions {{ {inside} }}"),
            "2 cost functions, 3 terms, no mistake",
        ),
        (inside.to_owned(), "2 cost functions, 3 terms, no mistake"),
        ("by = total\nx = \"vms\"".to_owned(), "1 cost function, 1 term, no mistake"),
        ("{\"f\": {\"x\": \"vms\"}}".to_owned(), "1 cost function, 1 term, no mistake"),
    ] {
        check(&content).await.ended(0).says(&[said]);
    }
    let directory = Directory::new();
    let file = directory.file("night.conf", "x = \"vms\"");
    let document = cost(&["check", &file, "-o", "json"]).await.ended(0).json();
    assert_eq!(document["cost-functions"][0]["name"], "night");
    assert_eq!(document["cost-functions"][0]["by"], "increase");
    cost(&["check", &file, "-q"]).await.ended(0).says(&["night\n"]);
}

#[tokio::test]
async fn every_mistake_is_shown_at_once_with_its_place() {
    let content = "f {\n  a = \"powr(vms, 2)\"\n  b = \"vms +\"\n}\ng { c = { d = 1 } }\nh { }\n";
    let answer = check(content).await.ended(2).complains(&[
        "f.conf:2:8: f.a: `powr` is no curve; did you mean `power`?",
        "    2 |   a = \"powr(vms, 2)\"\n      |        ^^^^",
        "f.conf:3:13: f.b: a number, an attribute, a curve or `(` is expected here, not the end",
        "f.conf:5:5: g.c: a term",
        "f.conf:6:1: h: a cost function has at least one term",
        "f.conf: 4 mistakes",
    ]);
    assert_eq!(answer.out, "");
    let directory = Directory::new();
    let document = cost(&["check", &directory.file("f.conf", content), "-o", "json"]).await.ended(2).json();
    assert_eq!(document["ok"], false);
    let place = |finding: &Value| (finding["line"].as_u64(), finding["column"].as_u64());
    let places: Vec<_> = document["findings"].as_array().unwrap().iter().map(place).collect();
    assert_eq!(places, [(2, 8), (3, 13), (5, 5), (6, 1)].map(|(line, column)| (Some(line), Some(column))));
}

#[tokio::test]
async fn what_no_term_can_be_is_refused_and_what_it_can_be_is_taken() {
    for (term, words) in [
        (String::new(), "the term is empty"),
        ("   ".to_owned(), "the term is empty"),
        (format!("{}1{}", "(".repeat(10_000), ")".repeat(10_000)), "at most 16384 bytes"),
        (format!("{}1{}", "(".repeat(8_000), ")".repeat(8_000)), "nested more than 64 deep"),
        ("-".repeat(10_000), "nested more than 64 deep"),
        ("heat".to_owned(), "`heat` is no attribute"),
        ("vms and cores.load".to_owned(), "takes conditions"),
        ("(vms > 1) + 1".to_owned(), "takes numbers"),
        ("vms > 1".to_owned(), "a condition"),
        ("1 / 0".to_owned(), "never a finite number"),
        ("0 / 0".to_owned(), "never a finite number"),
        ("1e200 * 1e200".to_owned(), "never a finite number"),
        ("1e999".to_owned(), "larger than can be counted with"),
        ("power(vms, 65)".to_owned(), "out of range"),
        ("table(vms, 1, 1)".to_owned(), "2 to 64 points"),
        ("vms \u{202e}+ 1".to_owned(), "f.conf:1:"),
    ] {
        let shown: String = term.chars().take(40).collect();
        let answer = check(format!("t = \"{term}\"")).await;
        assert_eq!(answer.code, 2, "{shown}: {}", answer.err);
        assert!(answer.err.contains(words), "{shown}: {}", answer.err);
        assert!(answer.err.len() < 4000 && !answer.err.contains('\u{202e}'), "{shown}");
    }
    // What may become so on some host is no mistake: there it means "never here".
    for term in ["1 / vms", "1 / (vms - 3)", "power(cores.load - 1, 0.5)", "exponential(vms * 1e300, 100)"] {
        check(format!("t = \"{term}\"")).await.ended(0);
    }
    let mebibyte = check(format!("t = \"{}\"", "1+".repeat(1 << 19))).await.ended(2);
    mebibyte.complains(&["more than 256 KiB"]);
}

#[tokio::test]
async fn a_file_that_cannot_be_one_is_refused_at_once() {
    let directory = Directory::new();
    let pipe = directory.path("pipe.conf");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRUSR | nix::sys::stat::Mode::S_IWUSR).unwrap();
    // A file with a hole takes no space and has 100 MiB all the same.
    let large = directory.path("large.conf");
    fs::File::create(&large).unwrap().set_len(100 << 20).unwrap();
    let binary = directory.path("binary.conf");
    fs::write(&binary, [0x7f, b'E', b'L', b'F', 0xff, 0xfe, 0, 1]).unwrap();
    let empty = directory.path("empty.conf");
    fs::write(&empty, "").unwrap();
    for (path, words) in [
        (directory.path("none.conf"), "there is no such file"),
        (directory.0.path().to_owned(), "not a plain file"),
        (pipe, "not a plain file"),
        (PathBuf::from("/dev/zero"), "not a plain file"),
        (large, "more than 256 KiB"),
        (binary, "not UTF-8 text"),
        (empty, "there is no cost function here"),
    ] {
        let path = path.to_str().unwrap();
        cost(&["check", path]).await.ended(2).complains(&[words]);
        cost(&["plot", "mine", "--file", path]).await.ended(2).complains(&[words]);
    }
}

#[tokio::test]
async fn functions_presets_and_expressions_are_drawn() {
    let directory = Directory::new();
    let file = directory.file(
        "mine.conf",
        "mine { cpu = \"2 * power(cores.load, 2)\", memory = \"barrier(memory.load, 0.9)\" }",
    );
    cost(&["plot", "mine", "--file", &file]).await.ended(0).says(&[
        "cores.load",
        "a cpu",
        "total",
        "memory.load=0.5",
    ]);
    cost(&["plot", "--file", &file, "--attribute", "memory.load"])
        .await
        .ended(0)
        .says(&["never", "a memory"]);
    cost(&["plot", "mine", "pack", "power(x, 2)", "--file", &file])
        .await
        .ended(0)
        .says(&["a mine  b pack  c power(x, 2)"]);
    let wanted = ["plot", "barrier(memory.free, 64 GiB)", "--from", "0", "--to", "128 GiB", "-o", "json"];
    let document = cost(&wanted).await.ended(0).json();
    let points = document["lines"][0]["points"].as_array().unwrap();
    assert_eq!((&points[0][0], &points[0][1]), (&Value::from(0.0), &Value::from(0.0)));
    assert_eq!(points.last().unwrap(), &serde_json::json!([131_072.0, null]));
    let texts = ["plot", "vm.owner == 'ann' ? vms : 0", "--with", "vm.owner == 'ann'=true", "-o", "json"];
    assert_eq!(cost(&texts).await.ended(0).json()["lines"][0]["points"][480][1], 60.0);
    let with = ["plot", "cores.load + memory.load", "--with", "memory.load=25 %", "-o", "json"];
    assert_eq!(cost(&with).await.ended(0).json()["lines"][0]["points"][0][1], 0.25);
}

#[tokio::test]
async fn a_picture_is_written_as_svg_with_the_same_bytes_each_time() {
    let directory = Directory::new();
    let write = async |name: &str| {
        let path = directory.path(name);
        let answer = cost(&["plot", "balanced", "--svg", path.to_str().unwrap()]).await.ended(0);
        assert_eq!(answer.out, "");
        answer.complains(&["written"]);
        fs::read_to_string(path).unwrap()
    };
    let (first, second) = (write("a.svg").await, write("b.svg").await);
    assert!(first == second && first.starts_with("<svg xmlns=") && first.contains("<title>balanced</title>"));
    let nowhere = directory.path("none/a.svg");
    cost(&["plot", "balanced", "--svg", nowhere.to_str().unwrap()])
        .await
        .ended(1)
        .complains(&["cannot be written"]);
}

#[tokio::test]
async fn what_cannot_be_drawn_is_told_why() {
    for (words, code, said) in [
        (&["plot", "nosuch"][..], 3, "there is no cost function nosuch"),
        (&["plot"], 2, "NAME"),
        (&["plot", ""], 2, "the term is empty"),
        (&["plot", "powr(x, 2)"], 2, "powr(x, 2)\n       ^^^^"),
        (&["plot", "x > 1"], 2, "a condition"),
        (&["plot", "balanced", "--attribute", "heat"], 2, "no attribute"),
        (&["plot", "balanced", "--from", "1", "--to", "-1"], 2, "nothing to draw"),
        (&["plot", "balanced", "--with", "vms"], 2, "ATTRIBUTE=NUMBER"),
        (&["curves", "wave"], 3, "the curves are constant, linear"),
    ] {
        cost(words).await.ended(code).complains(&[said]);
    }
}

#[tokio::test]
async fn the_reference_is_a_table_a_page_and_a_document() {
    cost(&["curves"]).await.ended(0).says(&["ramp(x, from, to)", "steepness", "10000"]);
    cost(&["curves", "barrier"]).await.ended(0).says(&["Parameters:", "above 0", "never"]);
    cost(&["attributes"]).await.ended(0).says(&["devices.CLASS.free", "measured.known", "same.label.KEY"]);
    let curves = cost(&["curves", "-o", "json"]).await.ended(0).json();
    assert_eq!(curves[1]["parameters"][0]["default"], 1.0);
    let attributes = cost(&["attributes", "-o", "json"]).await.ended(0).json();
    assert!(attributes.as_array().unwrap().iter().any(|attribute| attribute["name"] == "cores.load"));
    cost(&["attributes", "-q", "--no-header"]).await.ended(0).says(&["cores.total\n"]);
}

fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just("cost-functions {".to_owned()),
        Just("f { a = \"".to_owned()),
        Just("\" }\n".to_owned()),
        Just("\"\"\"".to_owned()),
        Just("power(vms, 2)".to_owned()),
        Just("by = total\n".to_owned()),
        Just("}".to_owned()),
        Just("${f.a}".to_owned()),
        "[ -~äß\\n]{0,12}",
    ];
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..300),
        proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat().into_bytes()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_in_a_file_are_answered(bytes in pieces()) {
        let directory = Directory::new();
        directory.file("f.conf", bytes);
        let said = match reeve_coordinator::config::check_cost_functions(Path::new(&directory.path("f.conf"))) {
            Ok((functions, _)) => {
                prop_assert!(!functions.is_empty());
                String::new()
            }
            Err(errors) => errors.to_string(),
        };
        prop_assert!(said.len() < 300_000);
        prop_assert!(said.chars().all(|character| character == '\n' || !character.is_control()));
    }
}
