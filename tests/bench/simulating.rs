//! How many seeds of the whole product's simulation are clean: those of `cargo test`, with optimisation.

use anyhow::{Result, ensure};
use reeve_tests::simulation::range::play_range;

use super::figures::print_to;

/// As many as every change must pass.
const SEEDS: u64 = 2000;

/// Plays them all.
pub(crate) fn measure() -> Result<()> {
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let tally = play_range(0..=SEEDS - 1, None, jobs, usize::MAX, |_| {})?;
    #[allow(clippy::cast_precision_loss)] // some thousands
    print_to(0, "simulation", tally.clean as f64, "seeds");
    ensure!(tally.broken.is_empty(), "rules were broken: {:?}", tally.broken);
    Ok(())
}
