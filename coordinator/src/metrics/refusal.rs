//! Owns the few words by which refusals of hosts are counted: the first word of the scheduler's reasons, which a test
//! holds against every reason there is. Pure.

/// The words, and last the one for what has none.
pub(super) const REASONS: [&str; 18] = [
    "affinity",
    "anti-affinity",
    "connection",
    "cores",
    "cost",
    "cpu",
    "devices",
    "draining",
    "host-label",
    "huge-pages",
    "left",
    "memory",
    "numa",
    "quota",
    "realm",
    "state",
    "storage",
    OTHER,
];

const OTHER: &str = "other";

/// Which of [`REASONS`] a reason in the scheduler's words is.
pub(super) fn reason_of(words: &str) -> usize {
    let subject = words.split(':').next().unwrap_or_default();
    let word = match subject {
        "huge pages" => "huge-pages",
        _ if subject.starts_with("host label ") => "host-label",
        _ if subject.starts_with("quota of ") => "quota",
        _ => subject,
    };
    REASONS.iter().position(|known| *known == word).unwrap_or(REASONS.len() - 1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use reeve_common::ids::RealmName;
    use reeve_common::units::{Mebibytes, Millicores};
    use reeve_scheduler::{HostState, Reason};

    use super::*;

    fn word(reason: &Reason) -> &'static str {
        REASONS[reason_of(&reason.to_string())]
    }

    #[test]
    fn the_schedulers_reasons_have_their_words() {
        let realm = |name: &str| RealmName::new(name).unwrap();
        let reasons = [
            (Reason::Realm { asked: realm("a"), host: realm("b") }, "realm"),
            (Reason::State { state: HostState::Disabled }, "state"),
            (Reason::Draining, "draining"),
            (Reason::Disconnected, "connection"),
            (Reason::Suspected, "connection"),
            (Reason::Storage { problem: "x".to_owned() }, "storage"),
            (Reason::Pools { asked: 2, problems: vec!["p: q".to_owned()] }, "storage"),
            (
                Reason::Cpu {
                    model: None,
                    models: 1,
                    missing: BTreeSet::from(["avx".to_owned()]),
                    features: 1,
                },
                "cpu",
            ),
            (Reason::Together { who: "label rack: 1".to_owned(), elsewhere: 2 }, "affinity"),
            (Reason::Apart { who: "x".to_owned(), here: 2 }, "anti-affinity"),
            (Reason::Left, "left"),
            (Reason::Cores { asked: Millicores(1), free: Millicores(0), total: Millicores(1) }, "cores"),
            (Reason::Memory { asked: Mebibytes(1), free: Mebibytes(0), total: Mebibytes(1) }, "memory"),
        ];
        for (reason, expected) in &reasons {
            assert_eq!(word(reason), *expected, "{reason}");
        }
        for (text, expected) in [
            ("host label rack: a asked, the host has none", "host-label"),
            ("quota of owner ann: cores: 1 asked", "quota"),
            ("huge pages: 2 of 1 GiB asked", "huge-pages"),
            ("numa: 2 nodes", "numa"),
            ("devices: 1 x asked", "devices"),
            ("cost: the term heat is infinite, so never here", "cost"),
            ("the VM is already placed on host 3", "other"),
            ("", "other"),
        ] {
            assert_eq!(REASONS[reason_of(text)], expected, "{text}");
        }
    }
}
