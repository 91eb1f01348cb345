//! Owns how a replay is shown: the figures of several cost functions side by side.

use crate::cli::amounts;
use crate::cli::arguments::Format;
use crate::cli::plot::{self, Axis, Chart, Line};
use crate::cli::screen::{Column, Screen, json, number, table, words};
use crate::cli::terminal::Terminal;
use crate::replay::{CostReport, Order, Point, Refusals, Report, Resource, Spread};

pub(in crate::cli) fn report(screen: &Screen, terminal: &Terminal, report: &Report) -> String {
    if screen.format == Format::Json {
        return json(report);
    }
    if screen.quiet {
        return report.cost_functions.iter().map(|cost| title(report, cost) + "\n").collect();
    }
    let mut text = if screen.header { head(report) + "\n" } else { String::new() };
    text += &figures(screen, report);
    text + "\n" + &plot::terminal(&chart(report), terminal.columns, terminal.characters)
}

/// The course of every cost function: hosts in use over the time; or what was allocated over what was asked for.
pub(in crate::cli) fn chart(report: &Report) -> Chart {
    let lines = |value: &dyn Fn(&Point) -> f64| {
        let line = |cost: &CostReport| Line {
            name: title(report, cost),
            main: report.cost_functions.len() == 1,
            points: mean_course(cost, value),
        };
        report.cost_functions.iter().map(line).collect()
    };
    match report.order {
        Order::Times => Chart {
            title: "Hosts in use".to_owned(),
            x: Axis::new("days of the trace"),
            y: Axis::new("hosts"),
            lines: lines(&|point| float(point.hosts_in_use as u64)),
            notes: Vec::new(),
        },
        Order::Drawn { of, demand_percent } => Chart {
            title: format!("{of} allocated, of all there are"),
            x: Axis::new(format!("{of} asked for, %")).within(0.0, demand_percent),
            y: Axis::new("%"),
            lines: lines(&|point| point.allocated_percent.of(of).unwrap_or(0.0)),
            notes: Vec::new(),
        },
    }
}

/// The mean of a value over all runs, from point to point. All runs have points at the same places.
fn mean_course(cost: &CostReport, value: &dyn Fn(&Point) -> f64) -> Vec<(f64, f64)> {
    let Some(first) = cost.runs.first() else { return Vec::new() };
    let places = first.outcome.course.iter().enumerate();
    let point = |(index, at): (usize, &Point)| {
        let values = cost.runs.iter().filter_map(|run| run.outcome.course.get(index)).map(value);
        let x = if first.seed.is_some() { at.at } else { at.at / SECONDS_OF_A_DAY };
        Spread::of(values).map(|spread| (x, spread.mean))
    };
    places.filter_map(point).collect()
}

const SECONDS_OF_A_DAY: f64 = 86_400.0;

/// A cost function's name, with its file where two have the same.
fn title(report: &Report, cost: &CostReport) -> String {
    let alike = report.cost_functions.iter().filter(|other| other.name == cost.name).count();
    match &cost.file {
        Some(file) if alike > 1 => format!("{file}:{}", cost.name),
        _ => cost.name.to_string(),
    }
}

/// What was replayed, in a few lines.
fn head(report: &Report) -> String {
    let trace = &report.trace;
    let alike = if trace.hosts_are_alike { " of one size" } else { "" };
    let devices = match trace.capacity.devices {
        0 => String::new(),
        permille => format!(", {} devices", permille / 1000),
    };
    let hosts = format!(
        "{} hosts{alike}: {} cores, {}{devices}\n",
        trace.hosts,
        amounts::cores(trace.capacity.cores),
        amounts::memory(trace.capacity.memory)
    );
    let runs = report.cost_functions.first().map_or(0, |cost| cost.runs.len());
    let order = match report.order {
        Order::Times => "come and go at the trace's times".to_owned(),
        Order::Drawn { demand_percent, of } => {
            let runs = if runs > 1 { format!(", {runs} seeds: mean (least to most)") } else { String::new() };
            format!("drawn at random until they ask for {demand_percent} % of all {of}; nobody leaves{runs}")
        }
    };
    format!("{hosts}{} VMs of {} shapes, {order}\n", trace.vms, trace.shapes)
}

/// A line for each figure, a column for each cost function.
fn figures(screen: &Screen, report: &Report) -> String {
    let costs = &report.cost_functions;
    let line = |name: &str, figure: &dyn Fn(&CostReport) -> String| {
        std::iter::once(name.to_owned()).chain(costs.iter().map(figure)).collect::<Vec<String>>()
    };
    let mut rows = Vec::new();
    if screen.header {
        rows.push(line(" ", &|cost| title(report, cost)));
    }
    rows.push(line("hosts ever used", &|cost| count(&cost.over_runs.hosts_ever_used)));
    rows.push(line("hosts in use at the peak", &|cost| count(&cost.over_runs.hosts_in_use_peak)));
    rows.push(line("  no fewer would do", &|cost| count(&cost.over_runs.hosts_lower_bound)));
    rows.push(line("VMs placed", &|cost| count(&cost.over_runs.placed)));
    rows.push(line("VMs refused", &|cost| count(&cost.over_runs.refused)));
    for (index, (refusal, _)) in Refusals::default().by_reason().into_iter().enumerate() {
        let of = |cost: &CostReport| {
            let counts =
                cost.runs.iter().filter_map(|run| run.outcome.refusals.by_reason().get(index).copied());
            Spread::of(counts.map(|(_, count)| float(count)))
        };
        if costs.iter().filter_map(of).any(|spread| spread.max > 0.0) {
            rows.push(line(&format!("  {refusal}"), &|cost| {
                of(cost).as_ref().map_or_else(String::new, count)
            }));
        }
    }
    let time = if report.order == Order::Times { "at the peak" } else { "in the end" };
    for resource in Resource::ALL.into_iter().filter(|resource| *report.trace.capacity.of(*resource) > 0) {
        rows.push(line(&format!("{resource} allocated {time}"), &|cost| {
            let spread = cost.over_runs.allocated_peak_percent.of(resource);
            spread.as_ref().map_or_else(String::new, percent)
        }));
    }
    for resource in Resource::ALL.into_iter().filter(|resource| *report.trace.capacity.of(*resource) > 0) {
        rows.push(line(&format!("{resource} stranded in the end"), &|cost| {
            let spread = cost.over_runs.stranded_end_percent.of(resource);
            spread.as_ref().map_or_else(String::new, percent)
        }));
    }
    rows.push(line("decisions a second", &|cost| format!("{:.0}", cost.over_runs.decisions_per_second.mean)));
    let columns: Vec<Column> = std::iter::once(words("")).chain(costs.iter().map(|_| number(""))).collect();
    table(None, &columns, rows.into_iter())
}

/// `503`, or over several runs `503.5 (502 to 505)`.
fn count(spread: &Spread) -> String {
    if spread.min < spread.max {
        format!("{:.1} ({:.0} to {:.0})", spread.mean, spread.min, spread.max)
    } else {
        format!("{:.0}", spread.mean)
    }
}

/// `95.39%`, or over several runs `95.39% (94.91 to 95.82)`.
fn percent(spread: &Spread) -> String {
    if spread.min < spread.max {
        format!("{:.2}% ({:.2} to {:.2})", spread.mean, spread.min, spread.max)
    } else {
        format!("{:.2}%", spread.mean)
    }
}

#[allow(clippy::cast_precision_loss)] // at most ten million
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use reeve_common::clock::Timestamp;
    use serde_json::{Value, json};

    use super::*;

    const SCREEN: Screen = Screen { format: Format::Table, header: true, quiet: false, now: Timestamp(0) };

    fn resources(cores: &Value, memory: &Value) -> Value {
        json!({ "cores": cores, "memory": memory, "devices": null })
    }

    fn spread(mean: f64, beside: f64) -> Value {
        json!({ "mean": mean, "min": mean - beside, "max": mean + beside })
    }

    /// A cost function with two runs, `more` hosts apart from a round number.
    fn cost(name: &str, file: Option<&str>, more: u64) -> Value {
        let share = |percent: u64| json!(percent + more);
        let point = |at: u64| {
            let allocated = resources(&share(at * 2 / 3), &share(at / 3));
            json!({ "at": at, "hosts-in-use": at / 2, "allocated-percent": allocated })
        };
        let run = |seed: u64| {
            json!({
                "seed": seed,
                "timing": { "wall-seconds": 0.5, "decisions-per-second": 20_000.0 },
                "outcome": {
                    "arrived": 500, "placed": 490 - more, "refused": 10 + more,
                    "refusals": {
                        "too-large": 0, "devices": 0, "cores": seed, "memory": 0, "together": 10 + more - seed, "cost": 0
                    },
                    "hosts-ever-used": 40 + more, "hosts-in-use-peak": 40 + more,
                    "hosts-in-use-peak-at": { "arrived": 300, "time-s": null }, "hosts-in-use-end": 40 + more,
                    "hosts-lower-bound": {
                        "hosts": 36, "resource": "cores", "at": { "arrived": 500, "time-s": null }, "exceeds-fleet": false
                    },
                    "demand-peak-percent": resources(&json!(130.0), &json!(60.0)),
                    "allocated-end-percent": resources(&share(90), &share(45)),
                    "allocated-peak-percent": resources(&share(90), &share(45)),
                    "stranded-end-percent": resources(&share(5), &share(25)),
                    "devices-end": {},
                    "course": [point(0), point(65), point(130)],
                }
            })
        };
        let percent = |cores: f64| resources(&spread(cores + more as f64, 0.125), &spread(45.0, 0.0));
        json!({
            "name": name, "file": file, "by": "increase", "terms": [["load", "cores.load"]],
            "runs": [run(1), run(2)],
            "over-runs": {
                "hosts-ever-used": spread(40.0 + more as f64, 1.0),
                "hosts-in-use-peak": spread(40.0 + more as f64, 0.0),
                "hosts-lower-bound": spread(36.0, 0.0), "placed": spread(490.0, 0.0), "refused": spread(10.0, 2.0),
                "allocated-end-percent": percent(90.0), "allocated-peak-percent": percent(90.0),
                "stranded-end-percent": percent(5.0), "decisions-per-second": spread(20_000.0, 100.0),
            }
        })
    }

    fn drawn(costs: &[Value]) -> Report {
        let report = json!({
            "trace": {
                "hosts": 50, "hosts-are-alike": true, "vms": 200, "shapes": 12,
                "capacity": { "cores": 3_200_000, "memory": 26_214_400, "devices": 0 },
            },
            "order": { "kind": "drawn", "demand-percent": 130.0, "of": "cores" },
            "cost-functions": costs,
        });
        serde_json::from_value(report).unwrap()
    }

    #[test]
    fn cost_functions_stand_side_by_side() {
        let costs = [cost("pack", None, 0), cost("spread", None, 7), cost("pack", Some("mine.conf"), 2)];
        insta::assert_snapshot!(report(&SCREEN, &Terminal::default(), &drawn(&costs)), @r#"
        50 hosts of one size: 3200 cores, 25 TiB
        200 VMs of 12 shapes, drawn at random until they ask for 130 % of all cores; nobody leaves, 2 seeds: mean (least to most)

                                                        pack                   spread           mine.conf:pack
        hosts ever used                      40.0 (39 to 41)          47.0 (46 to 48)          42.0 (41 to 43)
        hosts in use at the peak                          40                       47                       42
          no fewer would do                               36                       36                       36
        VMs placed                                       490                      490                      490
        VMs refused                           10.0 (8 to 12)           10.0 (8 to 12)           10.0 (8 to 12)
          cores                                 1.5 (1 to 2)             1.5 (1 to 2)             1.5 (1 to 2)
          not together                          8.5 (8 to 9)          15.5 (15 to 16)          10.5 (10 to 11)
        cores allocated in the end   90.00% (89.88 to 90.12)  97.00% (96.88 to 97.12)  92.00% (91.88 to 92.12)
        memory allocated in the end                   45.00%                   45.00%                   45.00%
        cores stranded in the end       5.00% (4.88 to 5.12)  12.00% (11.88 to 12.12)     7.00% (6.88 to 7.12)
        memory stranded in the end                    45.00%                   45.00%                   45.00%
        decisions a second                             20000                    20000                    20000

        cores allocated, of all there are
        %
        100 ┤
            │                                                                     ⣀⡠⠔b⠉
            │                                                               ⢀⣀⠤⠔⠊⠉⣀⣠⡴⠶⠛
         80 ┤                                                          ⣀⡠⠤⠒⠊⢁⣀⣤a⠞⠛⠉⠁
            │                                                     ⣀⠤⠔b⠉⣀⣠⣤c⠞⠋⠉
            │                                               ⢀⡠⠤⠒⠊⠉⣀⣤⡴⠶⠛⠉⠁
         60 ┤                                          ⣀⡠⠔⠒⠉⢁⣠⣤a⠞⠛⠉
            │                                    ⢀⣀⠤⠔b⠉⣀⣠⡴c⠛⠋⠁
            │                               ⢀⡠⠤⠒⠊⢁⣀⣤⡴⠞⠛⠉⠁
         40 ┤                          ⣀⡠⠔⠒⠉⣁⣠⣤a⠛⠋⠉
            │                    ⢀⣀⠤⠔b⢉⣀⣤⡴c⠛⠉⠁
            │               ⢀⣀⠤⠒⠊⣁⣠⣤⠶⠛⠋⠉
         20 ┤          ⣀⡠⠤⠒⢉⣁⣤⡴a⠛⠉⠁
            │     ⣀⠤⠔b⣉⣠⣤⠶c⠋⠉
            │⣀⠤⠒⢊⣉⣤⡴⠶⠛⠉⠁
          0 ┤⣤⠶a⠋⠉
            └┴───────────────────────────┴───────────────────────────┴─────────────────
             0                          50                          100
                                         cores asked for, %
          a pack  b spread  c mine.conf:pack
        "#);
    }

    #[test]
    fn names_alone_and_documents_are_for_programs() {
        let one = drawn(&[cost("pack", None, 0)]);
        let terminal = Terminal::default();
        assert_eq!(report(&Screen { quiet: true, ..SCREEN }, &terminal, &one), "pack\n");
        let document = report(&Screen { format: Format::Json, ..SCREEN }, &terminal, &one);
        let read: Report = serde_json::from_str(&document).unwrap();
        assert_eq!(read, one);
        assert!(document.contains("\"hosts-ever-used\": 40"), "{document}");
    }
}
