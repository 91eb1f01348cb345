//! Owns how standing warnings are shown.

use crate::api::types::Warning;
use crate::cli::moments::{relative, relative_and_absolute};
use crate::cli::screen::{Screen, Sheet, number, words};

pub(in crate::cli) fn warnings(screen: &Screen, warnings: &[Warning]) -> String {
    let columns = [
        words("WARNING"),
        words("SEVERITY"),
        words("STATE"),
        number("COUNT"),
        words("FIRST SEEN"),
        words("LAST SEEN"),
        words("WHAT"),
    ];
    screen.list(
        warnings,
        |warning| warning.id.clone(),
        &columns,
        |warning| {
            vec![
                warning.id.clone(),
                warning.severity.as_str().to_owned(),
                warning.state.as_str().to_owned(),
                warning.count.to_string(),
                relative(warning.first_seen, screen.now),
                relative(warning.last_seen, screen.now),
                warning.message.clone(),
            ]
        },
    )
}

pub(in crate::cli) fn warning(screen: &Screen, warning: &Warning) -> String {
    screen.one(
        warning,
        |warning| warning.id.clone(),
        |warning| {
            let at = |at| relative_and_absolute(at, screen.now);
            Sheet::new()
                .line("Warning", &*warning.id)
                .line("Severity", warning.severity.as_str())
                .line("State", warning.state.as_str())
                .line("What", &*warning.message)
                .line("What to do", &*warning.advice)
                .line("Count", warning.count.to_string())
                .line("First seen", at(warning.first_seen))
                .line("Last seen", at(warning.last_seen))
                .optional("Acknowledged by", warning.acknowledged_by.clone())
                .optional("Acknowledged", warning.acknowledged_at.map(at))
                .optional("Gone", warning.gone_at.map(at))
                .render()
        },
    )
}

/// One line for each that was acknowledged.
pub(in crate::cli) fn acknowledged(screen: &Screen, warning: &Warning) -> String {
    screen.one(warning, |warning| warning.id.clone(), |warning| format!("{} acknowledged\n", warning.id))
}
