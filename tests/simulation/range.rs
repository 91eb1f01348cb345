//! Owns the playing of many seeds, by several threads.

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use reeve_common::mutation::Mutation;

use super::play::play;
use super::story::Story;

/// How many seeds went well, and the lowest of those found that did not.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// So many were played to the end and broke no rule.
    pub clean: u64,
    /// Those that broke one, each with the first rule it broke.
    pub broken: Vec<(u64, String)>,
}

/// Plays all seeds of a range. Stops soon after `broken_max` of them have broken a rule.
///
/// # Errors
/// When the simulation cannot be set up.
pub fn play_range(
    seeds: RangeInclusive<u64>,
    mutation: Option<Mutation>,
    jobs: usize,
    broken_max: usize,
    progress: impl Fn(u64) + Sync,
) -> Result<Tally> {
    let next = AtomicU64::new(*seeds.start());
    let enough = AtomicBool::new(false);
    let tally = Mutex::new(Tally::default());
    let locked = || tally.lock().unwrap_or_else(PoisonError::into_inner);
    let work = || -> Result<()> {
        while !enough.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed > *seeds.end() {
                break;
            }
            let outcome = play(&Story::of(seed), mutation)?;
            let mut tally = locked();
            match outcome.broken.into_iter().next() {
                None => tally.clean += 1,
                Some(first) => tally.broken.push((seed, first)),
            }
            if tally.broken.len() >= broken_max {
                enough.store(true, Ordering::Relaxed);
            }
            progress(tally.clean);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..jobs.max(1)).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| match thread.join() {
            Ok(result) => result,
            Err(_) => anyhow::bail!("a simulation panicked"),
        })
    })?;
    let mut tally = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    tally.broken.sort();
    Ok(tally)
}
