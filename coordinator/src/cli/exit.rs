//! Owns what the exit codes of `reeve` mean. They are part of its interface: scripts branch on them.

use crate::api::types::ProblemKind;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Exit {
    /// Done.
    Done,
    /// It was tried and failed; for a start, the VM failed.
    Failed,
    /// The command, a name or a file makes no sense.
    Usage,
    /// There is no such thing.
    NotFound,
    /// It contradicts how things are now, or whoever asks may not.
    Refused,
    /// The coordinator, or a host that is needed, cannot be reached.
    Unreachable,
    /// No host can take the VM.
    Unplaceable,
    /// What was waited for did not happen in time; it may happen yet.
    TimedOut,
}

/// The table in `reeve --help`.
pub(super) const EXIT_CODES_HELP: &str = "\
Exit codes:
  0  done
  1  it was tried and failed (for `vm start`: the VM failed)
  2  the command, a name or a file makes no sense
  3  there is no such thing
  4  refused: it contradicts how things are now, or you may not
  5  the coordinator, or a host that is needed, cannot be reached
  6  no host can take the VM
  7  what was waited for did not happen in time (it may happen yet)";

impl Exit {
    /// The number the process ends with.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Refused => 4,
            Self::Unreachable => 5,
            Self::Unplaceable => 6,
            Self::TimedOut => 7,
        }
    }

    /// Of several things done in order, the first that did not work out tells how the command ended.
    #[must_use]
    pub fn of_several(exits: impl IntoIterator<Item = Self>) -> Self {
        exits.into_iter().find(|exit| *exit != Self::Done).unwrap_or(Self::Done)
    }
}

impl From<ProblemKind> for Exit {
    fn from(kind: ProblemKind) -> Self {
        match kind {
            ProblemKind::NotFound => Self::NotFound,
            ProblemKind::Invalid => Self::Usage,
            ProblemKind::Conflict | ProblemKind::Denied => Self::Refused,
            ProblemKind::Unavailable => Self::Unreachable,
            ProblemKind::TimedOut => Self::TimedOut,
            ProblemKind::Internal => Self::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_exit_code_is_explained_in_the_help() {
        for exit in [
            Exit::Done,
            Exit::Failed,
            Exit::Usage,
            Exit::NotFound,
            Exit::Refused,
            Exit::Unreachable,
            Exit::Unplaceable,
            Exit::TimedOut,
        ] {
            assert!(EXIT_CODES_HELP.contains(&format!("\n  {}  ", exit.code())), "{exit:?} is not explained");
        }
    }

    #[test]
    fn the_first_that_went_wrong_counts() {
        assert_eq!(Exit::of_several([Exit::Done, Exit::Unplaceable, Exit::Failed]), Exit::Unplaceable);
        assert_eq!(Exit::of_several([]), Exit::Done);
    }
}
