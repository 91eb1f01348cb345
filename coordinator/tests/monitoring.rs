//! Holds the alert rules and the dashboard in `packaging/` against the metrics there are: what is renamed or removed shows
//! here, and not in an alert that never fires.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use reeve_coordinator::metrics::exposition::Kind;
use reeve_coordinator::metrics::families::ALL;

fn packaged(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("packaging").join(path)
}

/// Every series that can be asked for.
fn series() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for family in ALL {
        let suffixes: &[&str] =
            if family.kind == Kind::Histogram { &["_bucket", "_sum", "_count"] } else { &[""] };
        names.extend(suffixes.iter().map(|suffix| format!("{}{suffix}", family.name)));
    }
    names
}

/// The names of metrics in a query: words that begin like ours.
fn named(query: &str) -> impl Iterator<Item = &str> {
    query
        .split(|character: char| !character.is_ascii_alphanumeric() && character != '_')
        .filter(|word| word.starts_with("reeve_") || word.starts_with("process_"))
}

fn unknown<'a>(queries: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let known = series();
    let names = queries.into_iter().flat_map(named);
    names.filter(|name| !known.contains(*name)).map(str::to_owned).collect()
}

#[test]
fn an_unknown_metric_is_noticed() {
    assert_eq!(unknown(["rate(reeve_nothing_total[5m]) / reeve_hosts{x=\"y\"}"]), ["reeve_nothing_total"]);
    assert_eq!(unknown(["reeve_decision_duration_seconds"]), ["reeve_decision_duration_seconds"]);
}

#[test]
fn every_alert_asks_for_metrics_there_are() {
    let text = std::fs::read_to_string(packaged("prometheus/reeve.rules.yml")).unwrap();
    let text: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    let alerts = text.iter().filter(|line| line.trim_start().starts_with("- alert:")).count();
    assert!(alerts >= 15, "{alerts}");
    // Everything in the file that looks like a metric is in a query.
    assert_eq!(unknown(text.iter().copied()), Vec::<String>::new());
    for needed in ["expr:", "severity:", "summary:", "description:"] {
        assert_eq!(text.iter().filter(|line| line.contains(needed)).count(), alerts, "{needed}");
    }
}

#[test]
#[ignore = "needs promtool, of Debian's package prometheus, which would start a service where it is installed"]
fn prometheus_takes_the_alerts() {
    let rules = packaged("prometheus/reeve.rules.yml");
    let checked = Command::new("promtool").args(["check", "rules"]).arg(&rules).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

#[test]
fn every_panel_asks_for_metrics_there_are() {
    let text = std::fs::read_to_string(packaged("grafana/reeve.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(panels.len() > 20, "{}", panels.len());
    let mut queries = vec![dashboard["templating"]["list"][1]["query"]["query"].as_str().unwrap()];
    queries.push(dashboard["annotations"]["list"][0]["expr"].as_str().unwrap());
    for panel in panels {
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{}", panel["title"]);
        queries.extend(targets.iter().map(|target| target["expr"].as_str().unwrap()));
    }
    assert!(queries.iter().all(|query| named(query).next().is_some()), "a query asks for nothing of ours");
    assert_eq!(unknown(queries), Vec::<String>::new());
}
