//! A journald that hangs: the daemons go on, and when it takes lines again they say how many are missing.

use std::time::Duration;

use nix::sys::signal::Signal;
use reeve_common::clock::{Clock as _, SystemClock};
use reeve_common::logging::messages;
use reeve_tests::harness::waiting::poll_until;

use super::place::{Place, apart};
use super::stage::{PATIENCE, Stage, Words};

/// More acts than journald's socket and the daemon's queue together have room for their lines.
const ACTS: u32 = 900;
/// An act takes milliseconds.
const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn a_journal_that_hangs_holds_nobody_up_and_what_is_missing_is_said() {
    apart(|| {
        let place = Place::enter();
        let mut stage = Stage::new(Words::Journal, "");
        stage.start_coordinator();
        place.signal(Signal::SIGSTOP);
        let begun = SystemClock.monotonic();
        for number in 0..ACTS {
            stage.reeve(&format!("host add node-{number} --realm lab --profile p"));
        }
        assert!(begun.elapsed() < LIMIT, "{:?}", begun.elapsed());
        place.signal(Signal::SIGCONT);
        let missing = poll_until("the missing lines to be told", PATIENCE, || {
            stage
                .ask("host delete node-0")
                .or_else(|_| stage.ask("host add node-0 --realm lab --profile p"))?;
            Ok(place.entries(&[&format!("MESSAGE_ID={}", messages::LINES_LOST)]).pop())
        })
        .unwrap();
        let words = missing["MESSAGE"].as_str().unwrap();
        assert!(words.ends_with("lines were not written: the journal did not take them"), "{words}");
        assert_eq!(
            (&missing["PRIORITY"], &missing["SYSLOG_IDENTIFIER"]),
            (&"4".into(), &"reeve-coordinator".into())
        );
        // And from then on it is as before.
        stage.stop("reeve-coordinator");
        assert!(!place.entries(&[&format!("MESSAGE_ID={}", messages::COORDINATOR_STOPPING)]).is_empty());
    });
}
