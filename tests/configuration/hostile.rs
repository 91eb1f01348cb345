//! Files that nobody would write by mistake: whatever stands in one, a check ends soon, with a configuration or with
//! errors. A stack that overflows or a loop without end would take the whole test program with it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::{Just, Strategy, any, prop, prop_oneof, proptest};
use proptest::test_runner::Config;
use reeve_common::clock::{Clock as _, SystemClock};
use reeve_coordinator::config::check;

/// The longest that a check may take here, in a build without optimisation on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

struct Directory(tempfile::TempDir);

impl Directory {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }
}

/// What a check says, which is bounded and comes in time.
fn answer(path: &Path) -> String {
    let begin = SystemClock.monotonic();
    let said = match check(path) {
        Ok((_, warnings)) => warnings.iter().map(|warning| format!("{warning}\n")).collect(),
        Err(errors) => errors.to_string(),
    };
    let taken = SystemClock.monotonic().duration_since(begin);
    assert!(taken < PATIENCE, "{} took {taken:?}", path.display());
    assert!(said.len() < 300_000, "{} bytes were said", said.len());
    said
}

fn answer_to(content: impl AsRef<[u8]>) -> String {
    answer(&Directory::new().file("coordinator.conf", content))
}

#[test]
fn what_is_no_plain_file_is_refused_without_waiting() {
    let directory = Directory::new();
    let pipe = directory.0.path().join("pipe.conf");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRUSR | nix::sys::stat::Mode::S_IWUSR).unwrap();
    assert!(answer(&pipe).contains("not a plain file"));
    assert!(answer(directory.0.path()).contains("not a plain file"));
    assert!(answer(&directory.0.path().join("none.conf")).contains("no such file"));
    assert!(answer(Path::new("/dev/zero")).contains("not a plain file"));
    let circle = directory.0.path().join("circle.conf");
    std::os::unix::fs::symlink(&circle, &circle).unwrap();
    assert!(answer(&circle).contains("cannot be read"));
    let includes = directory.file("coordinator.conf", "realms { a { include \"pipe.conf\" } }");
    assert!(answer(&includes).contains("pipe.conf cannot be included: it is not a plain file"));
}

#[test]
fn large_files_are_refused_by_their_size() {
    assert!(answer_to(vec![b'#'; 10 << 20]).contains("more than 256 KiB"));
    let directory = Directory::new();
    directory.file("part.conf", "# a comment that takes space\n".repeat(8000));
    let many = directory.file("coordinator.conf", "include \"part.conf\"\n".repeat(60));
    assert!(answer(&many).contains("more than 1024 KiB in all files"));
    directory.file("small.conf", "lost-after = 5 s");
    let many = directory.file("coordinator.conf", "include \"small.conf\"\n".repeat(100));
    assert!(answer(&many).contains("more than 64 files"));
}

#[test]
fn includes_that_multiply_are_bounded() {
    let directory = Directory::new();
    for level in 0..10 {
        let text = format!("include \"{}.conf\"\n", level + 1).repeat(30);
        directory.file(&format!("{level}.conf"), text);
    }
    assert!(answer(&directory.0.path().join("0.conf")).contains("deep"));
}

#[test]
fn deep_nesting_of_every_kind_is_refused() {
    const DEPTH: usize = 80_000;
    for text in [
        "a{".repeat(DEPTH),
        "a={".repeat(DEPTH / 2),
        format!("a = {}", "[".repeat(DEPTH)),
        format!("{} = 1", vec!["a"; DEPTH].join(".")),
        format!("a = ${{{}}}", vec!["a"; DEPTH].join(".")),
        format!("a = ${{?{}}}", vec!["a"; DEPTH].join(".")),
        "{".repeat(DEPTH),
        "[{".repeat(DEPTH / 2),
        "}".repeat(DEPTH),
        "a { b = 1 } }\nlost-after = 1 fortnight".to_owned(),
        format!("a {}", "{}".repeat(DEPTH)),
        format!("a = {}", "[] ".repeat(DEPTH / 2)),
    ] {
        // Not in the main thread, whose stack is larger than those the service works on.
        let said = std::thread::spawn(move || answer_to(text)).join().unwrap();
        assert!(said.contains("error"), "{said}");
    }
}

#[test]
fn substitutions_that_multiply_are_refused() {
    let mut objects = String::from("a0 { x = 0123456789 }\n");
    let mut lists = String::from("a0 = [0123456789]\n");
    let mut nested = String::from("a0 { x = 0123456789 }\n");
    let mut optional = String::from("a0 = 0123456789\n");
    for level in 1..60 {
        let before = level - 1;
        writeln!(objects, "a{level} {{ left = ${{a{before}}}, right = ${{a{before}}} }}").unwrap();
        writeln!(lists, "a{level} = ${{a{before}}} ${{a{before}}}").unwrap();
        writeln!(nested, "a{level} = ${{a{before}}} {{ y = ${{a{before}}} }}").unwrap();
        writeln!(optional, "a{level} = ${{?a{before}}}${{?a{before}}}").unwrap();
    }
    for text in [objects, lists, nested, optional] {
        // From the last to the first, so that neither the depth of the references nor what is made of them is small.
        let said = answer_to(&text);
        assert!(said.contains("more than 4 MiB") || said.contains("deep"), "{text}\n{said}");
        let backwards: Vec<&str> = text.lines().rev().collect();
        let said = answer_to(backwards.join("\n"));
        assert!(said.contains("more than 4 MiB") || said.contains("deep"), "{text}\n{said}");
    }
    let tripling: String =
        (1..16).map(|level| format!("a{level} = {}\n", format!("${{a{}}}", level - 1).repeat(9))).collect();
    assert!(answer_to(format!("a0 = 0123456789\n{tripling}")).contains("more than 4 MiB"));
    let nothing: String =
        (1..16).map(|level| format!("a{level} = {}\n", format!("${{?a{}}}", level - 1).repeat(9))).collect();
    assert!(answer_to(nothing).contains("more than 4 MiB"));
    let keys: String = (0..10_000).map(|number| format!("k{number} = 1\n")).collect();
    answer_to(format!("a {{ {keys} }}\n{}", "b = ${?a}\n".repeat(5_000)));
    answer_to(format!("a {{ {keys} }}\n{}", "b = ${a} ${a}\n".repeat(5)));
    answer_to(format!("a {{ {keys} }}\n{}", "b = ${a.k9999}\n".repeat(9_000)));
}

#[test]
fn circles_are_refused() {
    for text in [
        "a = ${a}",
        "a = ${b}, b = ${a}",
        "a { b = ${a} }",
        "a = ${a.b}, a.b = ${a}",
        "a = ${?a} x",
        "a = [1], a += 2",
        "a += ${a}",
        "a { include \"coordinator.conf\" }",
    ] {
        let said = answer_to(text);
        assert!(said.contains("itself") || said.contains("never end"), "{text}: {said}");
    }
}

#[test]
fn repetition_does_not_make_a_check_slow() {
    for text in [
        "a = 1\n".repeat(40_000),
        "a { b = 1 }\n".repeat(20_000),
        (0..19_000).map(|number| format!("k{number} = 1\n")).collect(),
        (0..9_000).map(|number| format!("a.b.c.d.e.k{number} = 1\n")).collect(),
        format!("a = {}", "x ".repeat(120_000)),
        format!("a = \"{}\"", "\\u0041".repeat(40_000)),
        format!("a = \"\"\"{}\"\"\"", "\"\" ".repeat(80_000)),
        format!("a = [{}]", "1,".repeat(120_000)),
        format!("a = {}", "{ x = 1 } ".repeat(20_000)),
        format!("{} = 1", "a ".repeat(100_000)),
        "include\n".repeat(30_000),
        "\n".repeat(250_000),
        "a = ${?b}\n".repeat(250),
        format!("realms {{ {} }}", "x { a = 1 }, ".repeat(15_000)),
    ] {
        answer_to(&text);
    }
}

#[test]
fn text_from_a_file_cannot_steer_a_terminal() {
    let said = answer_to("\"\u{1b}[2J\u{202e}key\" = \"\u{1b}]0;title\u{7}\"\nlost-after = \"5 \u{1b}[31m\"");
    assert!(!said.contains('\u{1b}') && !said.contains('\u{202e}') && !said.contains('\u{7}'), "{said:?}");
}

/// Pieces of which a configuration is made, good and bad.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => prop::sample::select(vec![
            "{", "}", "[", "]", "=", ":", "+=", ",", "\n", " ", "\"", "\"\"\"", "${", "${?", "}", ".", "#", "//",
            "include ", "include \"coordinator.conf\"", "include required(file(\"x.conf\"))", "null", "on",
            "realms", "primary", "hardware-profiles", "r750", "cost-functions", "balanced", "driver = libvirt",
            "disabled = false", "name = x", "drives", "lazy-allocation = on", "max-size", "500 GiB", "5 minutes",
            "lost-after", "cores = 4", "memory", "by = total", "${lost-after}", "${?HOME}", "\"2 * power(vms, 2)\"",
            "\\", "\u{feff}", "\u{2028}", "ä", "\0", "-1", "1e999", "[]", "()",
        ]).prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
        1 => Just("realms { primary { disabled = false, driver = libvirt, name = x\n drives.lazy-allocation = on } }\n"
            .to_owned()),
    ];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(Config { failure_persistence: None, cases: 3000, ..Config::default() })]

    #[test]
    fn any_mixture_of_its_pieces_is_answered(text in pieces()) {
        answer_to(text);
    }

    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        answer_to(bytes);
    }
}
