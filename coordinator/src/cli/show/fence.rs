//! Owns how fencings are shown.

use crate::api::types::{Fence, FenceTrial};
use crate::cli::moments::relative;
use crate::cli::screen::{Screen, Sheet, some_text};

/// One fencing in one line.
pub(in crate::cli) fn line(fence: &Fence, screen: &Screen) -> String {
    let at = fence.ended_at.unwrap_or(fence.requested_at);
    let means = fence.command.as_deref().map_or("stated by", |_| "asked for by");
    let mut line =
        format!("{} {}, {means} {}", fence.state.as_str(), relative(at, screen.now), fence.requested_by);
    if let Some(reason) = &fence.reason {
        line.push_str(": ");
        line.push_str(reason);
    }
    if let Some(returned) = fence.returned_at {
        line.push_str(&format!("; the host returned {}", relative(returned, screen.now)));
    }
    line
}

pub(in crate::cli) fn fence(screen: &Screen, fence: &Fence) -> String {
    screen.one(
        fence,
        |fence| fence.state.as_str().to_owned(),
        |fence| {
            Sheet::new()
                .line("Host", fence.host.as_str())
                .line("State", fence.state.as_str())
                .optional("Reason", fence.reason.clone())
                .optional("Command", fence.command.clone())
                .line("Asked for by", &*fence.requested_by)
                .line("Asked for", relative(fence.requested_at, screen.now))
                .optional("Ended", fence.ended_at.map(|at| relative(at, screen.now)))
                .line("Attempts", fence.attempts.to_string())
                .section("Output", &output(&fence.output))
                .render()
        },
    )
}

pub(in crate::cli) fn trial(screen: &Screen, trial: &FenceTrial) -> String {
    screen.one(
        trial,
        |trial| is_on(trial).to_owned(),
        |trial| {
            Sheet::new()
                .line("Host", trial.host.as_str())
                .line("Is on", is_on(trial))
                .optional("Problem", trial.problem.clone())
                .line("Command", &*trial.command)
                .line("Time limit", format!("{} s for each run", trial.timeout_seconds))
                .several("Options", trial.options.iter().map(|(name, value)| format!("{name} = {value}")))
                .section("Output", &output(&trial.output))
                .render()
        },
    )
}

const fn is_on(trial: &FenceTrial) -> &'static str {
    match trial.is_on {
        Some(true) => "yes",
        Some(false) => "no",
        None => "unknown",
    }
}

fn output(text: &str) -> String {
    some_text(text.to_owned()).map(|text| format!("{text}\n")).unwrap_or_default()
}
