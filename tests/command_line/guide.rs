//! COST-FUNCTIONS.md is what it says: its commands answer what stands there, its tables and pictures are those of the code.
//!
//! Run with `REEVE_WRITE_EXPECTED=1` to write all that is generated anew, then read it.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use reeve_scheduler::{AttributeReference, CurveReference, attributes, curves, presets};

use crate::coordinator::Coordinator;
use crate::typed::typed;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn guide() -> PathBuf {
    root().join("COST-FUNCTIONS.md")
}

const PICTURES: &str = "packaging/pictures";

fn writes() -> bool {
    std::env::var_os("REEVE_WRITE_EXPECTED").is_some()
}

/// Compares what is there with what should be, or writes it.
fn compare(path: &Path, expected: &str) {
    if writes() {
        fs::write(path, expected).unwrap();
    }
    let found = fs::read_to_string(path).unwrap_or_default();
    let advice =
        "is not what the code makes it; run this test with REEVE_WRITE_EXPECTED=1 and read what changes";
    assert!(found == expected, "{} {advice}:\n{expected}", path.display());
}

/// Words as a shell splits them, with double quotes.
fn words(line: &str) -> Vec<OsString> {
    let mut words = Vec::new();
    for (index, part) in line.split('"').enumerate() {
        if index % 2 == 1 {
            words.push(part.into());
        } else {
            words.extend(part.split_whitespace().map(OsString::from));
        }
    }
    words
}

/// A fenced block of the guide: what stands behind its opening, and its lines.
struct Block<'a> {
    info: &'a str,
    text: String,
}

fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(info) = line.strip_prefix("```") {
            let body = lines.by_ref().take_while(|line| *line != "```");
            blocks.push(Block { info, text: body.map(|line| format!("{line}\n")).collect() });
        }
    }
    blocks
}

/// What stands behind the opening of a block whose commands ask a coordinator: one with the guide's own cost function, and
/// the tests' catalogue and one host.
const FLEET: &str = "fleet";

/// A directory with the files that the guide shows.
fn workshop(text: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for Block { info, text } in blocks(text) {
        if let Some(name) = info.strip_prefix("hocon ") {
            fs::write(directory.path().join(name), text).unwrap();
        }
    }
    directory
}

/// What `reeve` answers to a line of the guide; files are those of `directory`, and called as in the guide.
async fn answer(line: &str, directory: &Path) -> String {
    let place = format!("{}/", directory.display());
    let at_home = |word: OsString| match word.to_str() {
        Some(word) if Path::new(word).extension().is_some_and(|kind| kind == "conf") => {
            format!("{place}{word}").into()
        }
        _ => word,
    };
    let answer = typed(words(line).into_iter().map(at_home).collect(), "").await;
    format!("{}{}", answer.out, answer.err).replace(&place, "")
}

#[tokio::test]
async fn its_commands_answer_what_stands_there_and_its_tables_are_those_of_the_code() {
    let text = with_tables(fs::read_to_string(guide()).unwrap());
    let directory = workshop(&text);
    let mine = fs::read_to_string(directory.path().join("mine.conf")).unwrap();
    let coordinator = Coordinator::start().await.with_a_catalogue().await;
    coordinator.reload_with(&mine);
    let mut expected = text.clone();
    let mut count = 0;
    for block in blocks(&text).iter().filter(|block| block.text.starts_with("$ ")) {
        let mut answered = String::new();
        for line in block.text.lines().filter_map(|line| line.strip_prefix("$ ")) {
            let answer = match (block.info, line.strip_prefix("reeve ")) {
                (FLEET, Some(line)) => {
                    let answer = coordinator.reeve(line).await;
                    format!("{}{}", answer.out, answer.err)
                }
                _ => answer(line, directory.path()).await,
            };
            answered.push_str(&format!("$ {line}\n{answer}"));
            count += 1;
        }
        let (old, new) =
            (format!("```{}\n{}```", block.info, block.text), format!("```{}\n{answered}```", block.info));
        expected = expected.replacen(&old, &new, 1);
    }
    assert!(count >= 6, "only {count} commands were found");
    compare(&guide(), &expected);
}

fn curve_rows(curves: &[CurveReference]) -> String {
    let mut text = "| curve | value | good for | |\n|---|---|---|---|\n".to_owned();
    for CurveReference { name, usage, formula, meaning, example, .. } in curves {
        let picture = format!("<img src=\"{PICTURES}/curve-{name}.svg\" alt=\"{example}\" width=\"260\">");
        text.push_str(&format!("| `{usage}` | {formula} | {meaning} | {picture} |\n"));
    }
    text.push_str("\n| curve | parameter | range | when left out | what it does |\n|---|---|---|---|---|\n");
    for curve in curves {
        for parameter in &curve.parameters {
            let default =
                parameter.default.map_or_else(|| "must be given".to_owned(), |default| default.to_string());
            let (name, word, range, meaning) =
                (curve.name, parameter.name, &parameter.range, parameter.meaning);
            text.push_str(&format!("| `{name}` | `{word}` | {range} | {default} | {meaning} |\n"));
        }
    }
    text
}

fn attribute_rows(attributes: &[AttributeReference]) -> String {
    let mut text = "| attribute | counted in | `before.` | what it says |\n|---|---|---|---|\n".to_owned();
    for AttributeReference { name, unit, meaning, changes, .. } in attributes {
        let before = if *changes { "yes" } else { "" };
        text.push_str(&format!("| `{name}` | {unit} | {before} | {meaning} |\n"));
    }
    text
}

/// What the picture of a preset shows it over: something that it is about.
fn pictured_over(preset: &str) -> &'static str {
    if preset == "unfragmented" { "stranded.devices" } else { "memory.load" }
}

fn preset_text(name: &str, terms: &[(String, String)]) -> String {
    let longest = terms.iter().map(|(term, _)| term.len()).max().unwrap();
    let lines = terms.iter().map(|(term, text)| format!("  {term:longest$} = \"{text}\"\n"));
    let picture = format!("![{name} over {}]({PICTURES}/preset-{name}.svg)", pictured_over(name));
    format!("```hocon\n{name} {{\n{}}}\n```\n\n{picture}\n", lines.collect::<String>())
}

/// Puts `content` between the marks of `part`.
fn fill(text: &str, part: &str, content: &str) -> String {
    let (open, close) = (format!("<!-- {part} -->\n"), format!("<!-- /{part} -->\n"));
    let start = text.find(&open).unwrap_or_else(|| panic!("{open} is missing")) + open.len();
    let end = text.find(&close).unwrap_or_else(|| panic!("{close} is missing"));
    format!("{}{content}{}", &text[..start], &text[end..])
}

/// The guide with the tables of the code.
fn with_tables(mut text: String) -> String {
    text = fill(&text, "curves", &curve_rows(&curves()));
    text = fill(&text, "attributes", &attribute_rows(&attributes()));
    for (name, terms) in presets() {
        text = fill(&text, &format!("preset {name}"), &preset_text(name.as_str(), &terms));
    }
    text
}

#[tokio::test]
async fn its_pictures_are_those_of_the_code() {
    let text = fs::read_to_string(guide()).unwrap();
    let directory = workshop(&text);
    let curves =
        curves().into_iter().map(|curve| (format!("curve-{}", curve.name), format!("\"{}\"", curve.example)));
    let over = |name: &str| format!("{name} --attribute {}", pictured_over(name));
    let presets = presets().into_iter().map(|(name, _)| (format!("preset-{name}"), over(name.as_str())));
    let mine = ("mine".to_owned(), "mine --file mine.conf --attribute memory.load".to_owned());
    let mut drawn = Vec::new();
    for (name, what) in curves.chain(presets).chain([mine]) {
        let file = directory.path().join(format!("{name}.svg"));
        answer(&format!("reeve cost plot {what} --svg {}", file.display()), directory.path()).await;
        let image = fs::read_to_string(&file).unwrap();
        assert!(text.contains(&format!("{PICTURES}/{name}.svg")), "{name} is not shown");
        compare(&root().join(PICTURES).join(format!("{name}.svg")), &image);
        drawn.push(format!("{name}.svg"));
    }
    for entry in fs::read_dir(root().join(PICTURES)).unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        assert!(drawn.contains(&name), "{name} is made by nobody");
    }
}
