//! `reeve replay` as a person types it: no coordinator anywhere, files in a folder of their own.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;

use crate::typed::{Answer, typed};

const HOSTS: &str = "host,millicores,memory_mib,device_class,device_count\n\
    rack-1,16000,65536,A100,2\nrack-2,16000,65536,A100,2\nrack-3,32000,131072,,0\n";
const VM_COLUMNS: &str =
    "vm,millicores,memory_mib,device_class,device_count,device_permille,arrive_s,depart_s\n";

/// A folder with a trace.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        let vms: String = (0..60)
            .map(|number: u64| {
                let depart =
                    if number.is_multiple_of(5) { String::new() } else { (number * 60 + 1800).to_string() };
                let devices = if number.is_multiple_of(7) { "A100,1,1000" } else { ",0,0" };
                let (cores, memory) = (1000 * (1 + number % 4), 4096 * (1 + number % 3));
                format!("vm-{number},{cores},{memory},{devices},{},{depart}\n", number * 60)
            })
            .collect();
        folder.write("h.csv", HOSTS);
        folder.write("v.csv", &format!("{VM_COLUMNS}{vms}"));
        folder
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Types `reeve replay` with the folder's trace; `@x` is a file of the folder.
    async fn replay(&self, line: &str) -> Answer {
        self.type_in(&format!("replay --hosts @h.csv --vms @v.csv {line}")).await
    }

    async fn type_in(&self, line: &str) -> Answer {
        let word = |word: &str| match word.strip_prefix('@') {
            Some(file) => self.path(file).into_os_string(),
            None => OsString::from(word),
        };
        let words = ["reeve", "--socket", "/nowhere"].into_iter().chain(line.split_whitespace());
        typed(words.map(word).collect(), "").await
    }
}

/// A report without what depends on the machine.
fn without_time(mut report: Value) -> Value {
    for cost in report["cost-functions"].as_array_mut().unwrap() {
        cost["over-runs"]["decisions-per-second"].take();
        for run in cost["runs"].as_array_mut().unwrap() {
            run["timing"].take();
        }
    }
    report
}

#[tokio::test]
async fn cost_functions_stand_side_by_side() {
    let folder = Folder::new();
    let answer = folder.replay("--cost pack --cost spread").await.ended(0);
    let header: Vec<&str> = answer.out.lines().nth(3).unwrap().split_whitespace().collect();
    assert_eq!(header, ["pack", "spread"]);
    let answer = answer.says(&[
        "3 hosts: 64 cores",
        "60 VMs",
        "hosts ever used",
        "Hosts in use",
        "decisions a second",
    ]);
    assert!(answer.err.is_empty(), "{}", answer.err);
    // All presets when none is named.
    folder.replay("-q").await.ended(0).says(&["balanced\npack\nspread\nopportunity\nunfragmented"]);
}

#[tokio::test]
async fn the_same_question_has_the_same_answer() {
    let folder = Folder::new();
    for line in ["-o json", "--ignore-times --demand 1.5 --seeds 3..6 -o json"] {
        let (one, other) =
            (folder.replay(line).await.ended(0).json(), folder.replay(line).await.ended(0).json());
        assert!(one["cost-functions"][0]["runs"][0]["timing"]["wall-seconds"].as_f64().unwrap() > 0.0);
        assert_eq!(without_time(one), without_time(other));
    }
}

#[tokio::test]
async fn every_figure_is_there_for_programs() {
    let folder = Folder::new();
    let report =
        folder.replay("--ignore-times --demand 150% --seeds 1..2 --cost pack -o json").await.ended(0).json();
    assert_eq!(report["trace"]["capacity"]["devices"], 4000);
    assert_eq!(
        report["order"],
        serde_json::json!({ "kind": "drawn", "demand-percent": 150.0, "of": "devices" })
    );
    let cost = &report["cost-functions"][0];
    assert_eq!((&cost["name"], &cost["file"]), (&"pack".into(), &Value::Null));
    assert_eq!(cost["runs"][1]["seed"], 2);
    let outcome = &cost["runs"][0]["outcome"];
    for figure in ["arrived", "placed", "refused", "hosts-ever-used", "hosts-in-use-peak", "hosts-in-use-end"]
    {
        assert!(outcome[figure].is_u64(), "{figure}: {outcome}");
    }
    let reasons: u64 = outcome["refusals"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
    assert_eq!(Some(reasons), outcome["refused"].as_u64());
    assert!(outcome["hosts-lower-bound"]["hosts"].as_u64() <= outcome["hosts-in-use-peak"].as_u64());
    assert_eq!(outcome["course"].as_array().unwrap().len(), 101);
    let spread = &cost["over-runs"]["allocated-end-percent"]["devices"];
    assert!(
        spread["min"].as_f64() <= spread["mean"].as_f64()
            && spread["mean"].as_f64() <= spread["max"].as_f64()
    );
}

#[tokio::test]
async fn cost_functions_come_from_files_too() {
    let folder = Folder::new();
    folder
        .write("mine.conf", "mine { load = \"cores.load\" }\npack { by = total, load = \"-cores.load\" }\n");
    folder.write("service.conf", "api-socket = /x\ncost-functions { other { load = \"memory.load\" } }\n");
    let names = |answer: Answer| answer.ended(0).out.lines().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(names(folder.replay("-q --cost @mine.conf").await), ["mine", "pack"]);
    let both = names(folder.replay("-q --cost @service.conf --cost pack --cost @mine.conf").await);
    let file = folder.path("mine.conf").display().to_string();
    assert_eq!(both, ["other".to_owned(), "pack".to_owned(), "mine".to_owned(), format!("{file}:pack")]);
    let report = folder.replay("-o json --cost @mine.conf:pack").await.ended(0).json();
    assert_eq!(report["cost-functions"][0]["by"], "total");
    assert_eq!(report["cost-functions"][0]["terms"], serde_json::json!([["load", "-cores.load"]]));
    folder
        .replay("--cost @mine.conf:nothing")
        .await
        .ended(3)
        .complains(&["no cost function nothing", "mine, pack"]);
    folder
        .replay("--cost nothing")
        .await
        .ended(3)
        .complains(&["neither a preset nor a file", "balanced, pack"]);
    folder.write("bad.conf", "mine {\n  load = \"cores.laod\"\n}\n");
    folder.replay("--cost @bad.conf").await.ended(2).complains(&[
        "bad.conf:2",
        "mine.load",
        "cores.load",
        "^",
    ]);
    folder.write("empty.conf", "cost-functions { }\n");
    folder.replay("--cost @empty.conf").await.ended(2).complains(&["empty.conf", "no cost function"]);
}

#[tokio::test]
async fn the_picture_can_be_kept() {
    let folder = Folder::new();
    folder.replay("--cost pack --svg @hosts.svg").await.ended(0);
    let image = fs::read_to_string(folder.path("hosts.svg")).unwrap();
    assert!(image.starts_with("<svg") && image.contains("Hosts in use"), "{image}");
    folder
        .replay("--cost pack --svg @no/hosts.svg")
        .await
        .ended(1)
        .complains(&["hosts.svg", "cannot be written"]);
}

#[tokio::test]
async fn bad_files_are_told_with_their_lines() {
    let folder = Folder::new();
    folder.write("bad.csv", &format!("{VM_COLUMNS}a,1,1,,0,0,5,4\nb,x,1,,0,0,0,\nc,1,1,H100,1,1000,0,\n"));
    let told = folder.type_in("replay --hosts @h.csv --vms @bad.csv").await.ended(2);
    told.complains(&[
        "bad.csv:2: depart_s",
        "bad.csv:3: millicores: \"x\"",
        "bad.csv:4: device_class",
        "H100",
        "A100",
    ]);
    let hosts = |file: &str| format!("replay --hosts {file} --vms @v.csv");
    folder.type_in(&hosts("@none.csv")).await.ended(2).complains(&["none.csv", "no such file"]);
    folder.type_in(&hosts(".")).await.ended(2).complains(&["it is a directory"]);
    folder.type_in(&hosts("/dev/null")).await.ended(2).complains(&["/dev/null", "not a plain file"]);
    nix::unistd::mkfifo(&folder.path("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    folder.type_in(&hosts("@pipe")).await.ended(2).complains(&["pipe: it is not a plain file"]);
    folder.type_in(&hosts("@v.csv")).await.ended(2).complains(&["v.csv:1: host: there is no column"]);
}

#[tokio::test]
async fn contradicting_words_are_refused() {
    let folder = Folder::new();
    folder.replay("--demand 1.3").await.ended(2).complains(&["--ignore-times"]);
    folder.replay("--seed 3").await.ended(2).complains(&["--ignore-times"]);
    folder.replay("--ignore-times --seed 3 --seeds 1..2").await.ended(2).complains(&["--seeds"]);
    folder.replay("--ignore-times --demand 11").await.ended(2).complains(&["up to 10"]);
    folder.replay("--ignore-times --seeds 1..100000").await.ended(2).complains(&["at most 1000"]);
    folder.type_in("replay --hosts @h.csv").await.ended(2).complains(&["--vms"]);
    let many = "--cost pack ".repeat(13);
    folder.replay(&many).await.ended(2).complains(&["13 cost functions", "at most 12"]);
}
