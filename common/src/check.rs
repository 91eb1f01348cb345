//! Owns what a doctor says: checks with a verdict, what was found, what it means and what to do; how they are shown, and
//! which exit code they make. Pure.
//!
//! Must not: look at anything. Agent and coordinator gather their facts and judge them; they share these words.

use serde::Serialize;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, and something should be seen to.
    Warning,
    /// It does not work.
    Failure,
}

impl Verdict {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failure => "FAILURE",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Check {
    /// What was looked at, in a word or two.
    pub about: &'static str,
    /// How it is.
    pub verdict: Verdict,
    /// What was found, and what that means.
    pub found: String,
    /// What to do about it; none when nothing needs to be done.
    pub advice: Option<String>,
}

impl Check {
    /// As it should be.
    #[must_use]
    pub fn ok(about: &'static str, found: impl Into<String>) -> Self {
        Self { about, verdict: Verdict::Ok, found: found.into(), advice: None }
    }

    /// It works, and something should be seen to.
    #[must_use]
    pub fn warning(about: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { about, verdict: Verdict::Warning, found: found.into(), advice: Some(advice.into()) }
    }

    /// It does not work.
    #[must_use]
    pub fn failure(about: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { about, verdict: Verdict::Failure, found: found.into(), advice: Some(advice.into()) }
    }
}

/// The worst verdict; all is well where nothing was looked at.
#[must_use]
pub fn worst(checks: &[Check]) -> Verdict {
    checks.iter().map(|check| check.verdict).max().unwrap_or(Verdict::Ok)
}

/// The checks for people, one below the other; with `only_failures` no others.
#[must_use]
pub fn told(checks: &[Check], only_failures: bool) -> String {
    let width = checks.iter().map(|check| check.about.chars().count()).max().unwrap_or_default();
    let mut text = String::new();
    for check in checks.iter().filter(|check| !only_failures || check.verdict == Verdict::Failure) {
        let Check { about, verdict, found, advice } = check;
        text.push_str(&format!("{:<8} {about:<width$}  {found}\n", verdict.as_str()));
        if let Some(advice) = advice {
            text.push_str(&format!("{:<8} {:<width$}  -> {advice}\n", "", ""));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checks() -> Vec<Check> {
        vec![
            Check::ok("KVM", "guests make progress"),
            Check::warning("time", "it is not synchronised", "start chrony"),
            Check::failure("libvirt", "nobody answers", "start libvirtd"),
        ]
    }

    #[test]
    fn each_check_says_how_it_is_and_what_to_do() {
        assert_eq!(
            told(&checks(), false),
            "ok       KVM      guests make progress\n\
             warning  time     it is not synchronised\n                  -> start chrony\n\
             FAILURE  libvirt  nobody answers\n                  -> start libvirtd\n"
        );
        assert_eq!(
            told(&checks(), true),
            "FAILURE  libvirt  nobody answers\n                  -> start libvirtd\n"
        );
    }

    #[test]
    fn the_worst_counts() {
        assert_eq!(worst(&checks()), Verdict::Failure);
        assert_eq!(worst(&checks()[..2]), Verdict::Warning);
        assert_eq!(worst(&[]), Verdict::Ok);
        let json = serde_json::to_value(&checks()[0]).unwrap();
        assert_eq!(json["verdict"], "ok");
    }
}
