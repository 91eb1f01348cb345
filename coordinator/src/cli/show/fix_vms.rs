//! Owns how the comparison of hosts with the records of their VMs is shown.

use reeve_common::ids::HostName;
use serde::Serialize;

use crate::api::types::{HostComparison, Treatment};
use crate::cli::arguments::Format;
use crate::cli::failure::Failure;
use crate::cli::screen::{Screen, json, number, table, words};

/// What came of asking one host.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::cli) struct Asked {
    /// Which.
    pub(in crate::cli) host: HostName,
    /// Why nothing is known of it; none when it answered.
    pub(in crate::cli) unknown: Option<String>,
    /// What was found.
    comparison: Option<HostComparison>,
}

impl Asked {
    pub(in crate::cli) fn new(host: HostName, answer: Result<HostComparison, Failure>) -> Self {
        match answer {
            Ok(comparison) => Self { host, unknown: None, comparison: Some(comparison) },
            Err(failure) => Self { host, unknown: Some(failure.message), comparison: None },
        }
    }

    /// Whether a repair failed.
    pub(in crate::cli) fn has_failed(&self) -> bool {
        self.count(Treatment::Failed) > 0
    }

    fn count(&self, treatment: Treatment) -> usize {
        let differences = self.comparison.iter().flat_map(|comparison| &comparison.differences);
        differences.filter(|difference| difference.treatment == treatment).count()
    }
}

pub(in crate::cli) fn hosts(screen: &Screen, hosts: &[Asked]) -> String {
    if screen.format == Format::Json {
        return json(&hosts);
    }
    let columns = [
        words("HOST"),
        words("ASKED"),
        number("SAME"),
        number("REPAIRED"),
        number("DECISIONS"),
        number("FAILED"),
        number("OTHERS' DOMAINS"),
    ];
    let summary = screen.list(
        hosts,
        |host| host.host.to_string(),
        &columns,
        |host| {
            let of = |count: usize| host.comparison.as_ref().map_or_else(String::new, |_| count.to_string());
            vec![
                host.host.to_string(),
                if host.comparison.is_some() { "yes" } else { "no: unknown" }.to_owned(),
                of(host.comparison.as_ref().map_or(0, |comparison| comparison.same)),
                of(host.count(Treatment::Repaired) + host.count(Treatment::Repairable)),
                of(host.count(Treatment::Decision)),
                of(host.count(Treatment::Failed)),
                of(host.comparison.as_ref().map_or(0, |comparison| comparison.foreign_domains.len())),
            ]
        },
    );
    if screen.quiet {
        return summary;
    }
    format!("{summary}{}", details(hosts))
}

fn details(hosts: &[Asked]) -> String {
    let columns =
        [words("HOST"), words("VM"), words("DIFFERENCE"), words("CLASS"), words("WHAT WAS OR CAN BE DONE")];
    let mut rows = Vec::new();
    for host in hosts {
        if let Some(why) = &host.unknown {
            rows.push(vec![
                host.host.to_string(),
                String::new(),
                "unknown".to_owned(),
                String::new(),
                why.clone(),
            ]);
        }
        for difference in host.comparison.iter().flat_map(|comparison| &comparison.differences) {
            for (index, action) in difference.actions.iter().enumerate() {
                let once = |text: String| if index == 0 { text } else { String::new() };
                rows.push(vec![
                    once(host.host.to_string()),
                    once(difference.name.clone().unwrap_or_else(|| difference.vm.to_string())),
                    once(difference.difference.clone()),
                    once(difference.treatment.as_str().to_owned()),
                    action.clone(),
                ]);
            }
        }
    }
    if rows.is_empty() {
        String::new()
    } else {
        format!("\n{}", table(Some(&columns), &columns, rows.into_iter()))
    }
}
