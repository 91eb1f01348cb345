//! Whose turn it is, at every moment that matters.

use std::collections::BTreeSet;

use reeve_common::clock::{Clock as _, SystemClock};

use super::*;

fn written(names: &[&str]) -> Written {
    Written { domains: names.iter().map(|name| (*name).to_owned()).collect(), more: false }
}

fn many(names: std::ops::Range<usize>) -> Written {
    let domains: BTreeSet<String> = names.map(|number| format!("domain-{number:04}")).collect();
    Written { domains, more: false }
}

fn these(names: &[&str]) -> Turn {
    Turn::These(names.iter().map(|name| (*name).to_owned()).collect())
}

/// Turns of a host with so many domains that have just been looked at.
fn looked_at(domains: usize, all_is_told: bool) -> (AskingTurns, Instant) {
    let now = SystemClock.monotonic();
    let mut turns = AskingTurns::new(now);
    assert_eq!(turns.next(now), Turn::All);
    turns.all_were_looked_at(Some(domains), all_is_told, now);
    (turns, now)
}

/// Plays until `end`: each step waits as it is told to, and `write` says what was written meanwhile. Returns what was asked
/// for, by the time since the beginning.
fn play(
    turns: &mut AskingTurns,
    begin: Instant,
    end: Duration,
    mut write: impl FnMut(Duration) -> Written,
) -> Vec<(Duration, usize)> {
    let (mut now, mut asked) = (begin, Vec::new());
    while now < begin + end {
        match turns.next(now) {
            Turn::These(names) => asked.push((now - begin, names.len())),
            Turn::All => panic!("a look at all was not expected"),
            Turn::Nothing => {}
        }
        let (Pause::Watching(rest) | Pause::Resting(rest)) = turns.pause(now);
        // A watch ends at once when something is written all the time.
        now += if turns.waiting.is_empty() { rest.min(Duration::from_millis(1)) } else { rest };
        turns.note(write(now - begin), now);
    }
    asked
}

#[test]
fn a_crowded_host_is_looked_at_later_where_nothing_is_told() {
    assert_eq!([pause(0), pause(2)], [LOOK_INTERVAL; 2]);
    assert_eq!(pause(100), Duration::from_secs(20));
    let (turns, now) = looked_at(100, false);
    assert_eq!(turns.pause(now), Pause::Watching(Duration::from_secs(20)));
}

#[test]
fn the_net_is_rare_where_all_is_told() {
    let (mut turns, now) = looked_at(100, true);
    assert_eq!(turns.pause(now), Pause::Watching(NET_INTERVAL));
    assert_eq!(turns.next(now + NET_INTERVAL), Turn::All);
    let (turns, now) = looked_at(1000, true);
    assert_eq!(turns.pause(now), Pause::Watching(Duration::from_secs(200)));
}

#[test]
fn what_is_written_is_asked_for_almost_at_once_and_once() {
    let (mut turns, now) = looked_at(100, true);
    let hinted = now + Duration::from_secs(3);
    turns.note(written(&["web"]), hinted);
    turns.note(written(&["web", "mail"]), hinted);
    assert_eq!(turns.next(hinted), Turn::Nothing);
    assert_eq!(turns.pause(hinted), Pause::Resting(GATHER));
    assert_eq!(turns.next(hinted + GATHER), these(&["web", "mail"]));
    assert_eq!(turns.next(hinted + GATHER), Turn::Nothing);
    // The next one rests, and then it is its turn again.
    turns.note(written(&["web"]), hinted + GATHER);
    assert_eq!(turns.pause(hinted + GATHER), Pause::Resting(TURN_INTERVAL));
    assert_eq!(turns.next(hinted + GATHER + TURN_INTERVAL), these(&["web"]));
}

#[test]
fn one_that_is_written_all_the_time_is_asked_for_four_times_a_second_and_holds_nobody_up() {
    let (mut turns, now) = looked_at(100, true);
    let asked = play(&mut turns, now, Duration::from_secs(5), |_| written(&["busy"]));
    assert!((15..=21).contains(&asked.len()), "{asked:?}");
    turns.note(written(&["other"]), now + Duration::from_secs(5));
    assert_eq!(turns.next(now + Duration::from_secs(6)), these(&["busy", "other"]));
}

#[test]
fn a_hundred_at_once_are_asked_for_within_a_second_in_small_turns() {
    let (mut turns, now) = looked_at(100, true);
    let mut once = Some(many(0..100));
    let asked = play(&mut turns, now, Duration::from_secs(10), |_| once.take().unwrap_or_default());
    assert_eq!(asked.iter().map(|(_, count)| *count).collect::<Vec<_>>(), [TURN_MAX; 4]);
    assert!(asked.last().unwrap().0 < Duration::from_secs(1), "{asked:?}");
}

#[test]
fn a_flood_costs_no_more_than_looks_at_all_would() {
    let (mut turns, now) = looked_at(100, true);
    let asked = play(&mut turns, now, Duration::from_secs(40), |_| many(0..100));
    let count: usize = asked.iter().map(|(_, count)| count).sum();
    // What was saved up, and five a second.
    assert!((290..=300).contains(&count), "{count}");
    // And nobody is left out: in the order in which they wait.
    let (mut turns, now) = looked_at(100, true);
    turns.allowance = 0;
    turns.note(many(0..2), now);
    let begun = now + Duration::from_secs(10);
    turns.grown_until = begun;
    assert_eq!(turns.next(begun), Turn::Nothing);
    let Pause::Resting(rest) = turns.pause(begun) else { panic!("it watches") };
    assert_eq!(turns.next(begun + rest), these(&["domain-0000"]));
}

#[test]
fn what_cannot_be_remembered_is_looked_at_with_all() {
    let (mut turns, now) = looked_at(100, true);
    turns.note(many(0..WAITING_MAX + 1), now);
    assert_eq!(turns.waiting.len(), WAITING_MAX);
    assert_eq!(turns.next(now + Duration::from_secs(20)), Turn::All);
    turns.all_were_looked_at(Some(100), true, now + Duration::from_secs(20));
    assert!(turns.waiting.is_empty(), "they were looked at with all others");
}

#[test]
fn lost_hints_mean_a_look_at_all_as_soon_as_it_may_be() {
    let lost = Written { more: true, ..Written::default() };
    let (mut turns, now) = looked_at(50, true);
    turns.note(lost, now + Duration::from_secs(1));
    assert_eq!(turns.next(now + Duration::from_secs(9)), Turn::Nothing);
    assert_eq!(turns.next(now + Duration::from_secs(10)), Turn::All);
}

#[test]
fn while_libvirt_is_away_it_is_tried_often_and_hints_are_kept() {
    let (mut turns, now) = looked_at(100, true);
    turns.note(written(&["web"]), now + Duration::from_secs(20));
    let failed_at = now + Duration::from_secs(20) + GATHER;
    assert_eq!(turns.next(failed_at), these(&["web"]));
    turns.look_at_all();
    assert_eq!(turns.next(failed_at), Turn::All);
    turns.note(written(&["mail"]), failed_at);
    turns.all_were_looked_at(None, true, failed_at);
    assert_eq!(turns.next(failed_at + LOOK_INTERVAL), Turn::All);
    assert_eq!(turns.waiting, ["mail"]);
}
