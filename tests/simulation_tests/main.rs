//! The whole product in simulation: many seeds are clean, the same seed is the same run, and each rule of the product that
//! is broken on purpose is seen.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use reeve_common::mutation::Mutation;
use reeve_tests::simulation::play::play;
use reeve_tests::simulation::range::play_range;
use reeve_tests::simulation::shrink::shrink;
use reeve_tests::simulation::story::Story;

/// The seeds that every change must pass. By hand many more are played: `reeve-simulate --seeds 0..100000`.
const SEEDS: u64 = 2000;

/// A broken rule must show within so many seeds.
const SEEDS_TO_CATCH: u64 = 400;

fn jobs() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[test]
fn every_rule_holds_whatever_goes_wrong() {
    let tally = play_range(0..=SEEDS - 1, None, jobs(), 1, |_| {}).unwrap();
    if let Some((seed, _)) = tally.broken.first() {
        let (story, outcome) = shrink(&Story::of(*seed), None).unwrap();
        let told: Vec<String> = outcome.entries.iter().map(ToString::to_string).collect();
        let first = outcome.broken.first().cloned().unwrap_or_default();
        panic!("seed {seed} broke a rule: {first}\n{story}\n{}", told.join("\n"));
    }
    assert_eq!(tally.clean, SEEDS);
}

/// Stories that broke a rule once and are rare: 79737, a clock that was set before an agent was restarted under a guest that
/// was booting; 51650 and 87399, VMs stopped while their host was proved to be off.
const BROKE_A_RULE_ONCE: [u64; 3] = [51_650, 79_737, 87_399];

#[test]
fn stories_that_broke_a_rule_once_break_none() {
    for seed in BROKE_A_RULE_ONCE {
        let outcome = play(&Story::of(seed), None).unwrap();
        assert_eq!(outcome.broken, Vec::<String>::new(), "seed {seed}");
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 0..40 {
        let story = Story::of(seed);
        let (first, second) = (play(&story, None).unwrap(), play(&story, None).unwrap());
        for (one, other) in first.entries.iter().zip(&second.entries) {
            assert_eq!(one, other, "seed {seed}");
        }
        assert_eq!(first.entries.len(), second.entries.len(), "seed {seed}");
        assert!(first.entries.len() > 50, "seed {seed}: hardly anything happened");
    }
    assert_ne!(play(&Story::of(1), None).unwrap().entries, play(&Story::of(2), None).unwrap().entries);
}

#[test]
fn each_rule_that_is_broken_on_purpose_is_seen() {
    let mut missed = Vec::new();
    for mutation in Mutation::ALL {
        let tally = play_range(0..=SEEDS_TO_CATCH - 1, Some(mutation), jobs(), 1, |_| {}).unwrap();
        match tally.broken.first() {
            Some((seed, rule)) => println!("{mutation:?}: seed {seed}: {rule}"),
            None => missed.push(mutation),
        }
    }
    assert!(missed.is_empty(), "not seen within {SEEDS_TO_CATCH} seeds: {missed:?}");
}

#[test]
fn a_story_that_fails_is_told_in_few_steps() {
    let tally = play_range(0..=SEEDS_TO_CATCH - 1, Some(Mutation::ForgetDisk), 1, 1, |_| {}).unwrap();
    let (seed, _) = tally.broken.first().unwrap();
    let story = Story::of(*seed);
    let (short, outcome) = shrink(&story, Some(Mutation::ForgetDisk)).unwrap();
    assert!(!outcome.broken.is_empty() && short.steps.len() <= 3, "{short}");
    assert!(short.steps.len() < story.steps.len());
}
