//! Owns how workflows are shown.

use crate::api::types::{Workflow, WorkflowStep};
use crate::cli::moments::{relative, relative_and_absolute};
use crate::cli::screen::{Screen, Sheet, number, table, words};

/// How many of the steps under way a line of progress names.
const NAMED_MAX: usize = 3;

pub(in crate::cli) fn workflows(screen: &Screen, workflows: &[Workflow]) -> String {
    let columns = [
        number("ID"),
        words("FOR"),
        words("HOST"),
        words("STATE"),
        words("STEPS"),
        words("BY"),
        words("STARTED"),
        words("PROBLEM"),
    ];
    screen.list(
        workflows,
        |workflow| workflow.id.to_string(),
        &columns,
        |workflow| {
            vec![
                workflow.id.to_string(),
                workflow.purpose.clone(),
                workflow.host.to_string(),
                workflow.state.as_str().to_owned(),
                count(workflow),
                workflow.by.clone(),
                relative(workflow.started_at, screen.now),
                workflow.problem.clone().unwrap_or_default(),
            ]
        },
    )
}

pub(in crate::cli) fn workflow(screen: &Screen, workflow: &Workflow) -> String {
    screen.one(
        workflow,
        |workflow| workflow.id.to_string(),
        |workflow| {
            Sheet::new()
                .line("Workflow", workflow.id.to_string())
                .line("For", &*workflow.purpose)
                .line("Host", workflow.host.as_str())
                .line("State", workflow.state.as_str())
                .optional("Problem", workflow.problem.clone())
                .line("By", &*workflow.by)
                .line("Started", relative_and_absolute(workflow.started_at, screen.now))
                .optional("Ended", workflow.ended_at.map(|at| relative_and_absolute(at, screen.now)))
                .section("Steps", &steps(&workflow.steps))
                .render()
        },
    )
}

fn steps(steps: &[WorkflowStep]) -> String {
    let columns = [words("STATE"), words("STEP"), words("NOTE")];
    let rows = steps.iter().map(|step| {
        vec![step.state.clone(), step.step.clone(), step.note.clone().unwrap_or_else(|| " ".to_owned())]
    });
    table(None, &columns, rows)
}

fn count(workflow: &Workflow) -> String {
    format!("{} of {}", workflow.steps_done, workflow.steps.len())
}

/// `drain of node-1: 3 of 9 steps; stop web-1 (it has 30 s to shut down), stop web-2`.
pub(in crate::cli) fn progress(workflow: &Workflow) -> String {
    let begun: Vec<String> = workflow
        .steps
        .iter()
        .filter(|step| step.state == "begun")
        .map(|step| match &step.note {
            Some(note) => format!("{} ({note})", step.step),
            None => step.step.clone(),
        })
        .collect();
    let more = begun.len().saturating_sub(NAMED_MAX);
    let named = begun.into_iter().take(NAMED_MAX).collect::<Vec<_>>().join(", ");
    let named = if named.is_empty() { named } else { format!("; {named}") };
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!(
        "{} of {}: {}, {} steps{named}{more}",
        workflow.purpose,
        workflow.host,
        workflow.state.as_str(),
        count(workflow)
    )
}

#[cfg(test)]
mod tests {
    use reeve_common::clock::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::cli::arguments::Format;

    fn example() -> Workflow {
        let step = |step: &str, state: &str, note: Option<&str>| json!({ "step": step, "state": state, "note": note, "begun-at": null });
        serde_json::from_value(json!({
            "id": 3, "version": 40, "purpose": "drain", "host": "node-1", "state": "running", "problem": null,
            "steps-done": 2, "by": "root", "started-at": "2026-03-01T10:00:00.000Z", "ended-at": null,
            "steps": [
                step("choose the host for nothing more", "done", Some("4 VMs were on it")),
                step("stop web-1-0f8fad5b", "done", Some("it is gone")),
                step("stop web-2-7d444840", "begun", Some("it has 30 s to shut down")),
                step("stop \u{1b}[31mx", "begun", None),
                step("see that the host is empty", "waiting", None),
            ],
        }))
        .unwrap()
    }

    #[test]
    fn workflows_are_shown_step_by_step() {
        let now = Timestamp(1_772_359_260_000);
        let screen = Screen { format: Format::Table, header: true, quiet: false, now };
        insta::assert_snapshot!(workflows(&screen, &[example()]));
        insta::assert_snapshot!(workflow(&screen, &example()));
        insta::assert_snapshot!(progress(&example()), @"drain of node-1: running, 2 of 5 steps; stop web-2-7d444840 (it has 30 s to shut down), stop \u{1b}[31mx");
    }
}
