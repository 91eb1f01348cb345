//! Owns the command line of the simulation.

#![allow(clippy::print_stdout)] // what is printed is the result

use std::io::Write as _;
use std::ops::RangeInclusive;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Parser;
use reeve_common::mutation::Mutation;
use reeve_tests::simulation::play::play;
use reeve_tests::simulation::range::play_range;
use reeve_tests::simulation::shrink::shrink;
use reeve_tests::simulation::story::Story;

/// After so many failures it is clear that something is wrong.
const BROKEN_MAX: usize = 10;

/// Plays stories of a fleet in which everything goes wrong, and sees whether the product's rules hold.
#[derive(Debug, Parser)]
#[command(
    name = "reeve-simulate",
    after_help = "Examples:\n  reeve-simulate --seeds 0..2000\n  reeve-simulate --story 1742\n  reeve-simulate --story 1742 --shrink\n  reeve-simulate --mutate skip-epoch-check --seeds 0..500\n\nExit codes: 0 every rule held; 1 one was broken."
)]
struct Arguments {
    /// The seeds to play: the first and the one after the last.
    #[arg(long, value_name = "A..B", value_parser = seeds, default_value = "0..2000")]
    seeds: RangeInclusive<u64>,
    /// Play one seed only, and tell everything that happens.
    #[arg(long, value_name = "SEED")]
    story: Option<u64>,
    /// Make the story of --story as short as it can be and still break its rule.
    #[arg(long, requires = "story")]
    shrink: bool,
    /// Break a rule of the product on purpose (not in builds with optimisation alone).
    #[arg(long, value_name = "NAME", value_parser = mutation)]
    mutate: Option<Mutation>,
    /// Threads.
    #[arg(long, value_name = "N", default_value_t = std::thread::available_parallelism().map_or(1, usize::from))]
    jobs: usize,
}

fn seeds(text: &str) -> Result<RangeInclusive<u64>, String> {
    let (from, to) = text.split_once("..").ok_or("such as 0..2000")?;
    let number = |text: &str| text.parse::<u64>().map_err(|error| format!("{text:?}: {error}"));
    let (from, to) = (number(from)?, number(to)?);
    if from < to { Ok(from..=to - 1) } else { Err("the second number must be above the first".to_owned()) }
}

/// A mutation's name on the command line.
fn name_of(mutation: Mutation) -> String {
    let mut name = String::new();
    for character in format!("{mutation:?}").chars() {
        if character.is_uppercase() && !name.is_empty() {
            name.push('-');
        }
        name.extend(character.to_lowercase());
    }
    name
}

fn mutation(text: &str) -> Result<Mutation, String> {
    let found = Mutation::ALL.into_iter().find(|mutation| name_of(*mutation) == text);
    found.ok_or_else(|| format!("one of {}", Mutation::ALL.map(name_of).join(", ")))
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    if cfg!(not(debug_assertions)) && arguments.mutate.is_some() {
        bail!("this build has no rules that can be broken; build it without --release");
    }
    match arguments.story {
        Some(seed) => tell(&Story::of(seed), &arguments),
        None => range(&arguments),
    }
}

fn tell(story: &Story, arguments: &Arguments) -> Result<ExitCode> {
    let (story, outcome) = if arguments.shrink {
        shrink(story, arguments.mutate)?
    } else {
        (story.clone(), play(story, arguments.mutate)?)
    };
    println!("seed {}: what is done\n{story}\nwhat happens", story.seed);
    for entry in &outcome.entries {
        println!("{entry}");
    }
    Ok(verdict(&outcome.broken))
}

fn verdict(broken: &[String]) -> ExitCode {
    match broken.first() {
        None => {
            println!("every rule held");
            ExitCode::SUCCESS
        }
        Some(first) => {
            println!("BROKEN: {first}");
            ExitCode::FAILURE
        }
    }
}

fn range(arguments: &Arguments) -> Result<ExitCode> {
    let progress = |clean: u64| {
        if clean > 0 && clean.is_multiple_of(1000) {
            print!("\r{clean} seeds clean");
            // Nobody is served by a progress line that cannot be shown.
            let _ = std::io::stdout().flush();
        }
    };
    let tally = play_range(arguments.seeds.clone(), arguments.mutate, arguments.jobs, BROKEN_MAX, progress)?;
    println!("\r{} seeds clean, {} broken", tally.clean, tally.broken.len());
    let Some((seed, _)) = tally.broken.first() else { return Ok(ExitCode::SUCCESS) };
    for (seed, rule) in &tally.broken {
        println!("  seed {seed}: {rule}");
    }
    let (story, outcome) = shrink(&Story::of(*seed), arguments.mutate)?;
    println!("\nseed {seed}, made as short as it can be\n{story}\nwhat happens");
    for entry in &outcome.entries {
        println!("{entry}");
    }
    Ok(verdict(&outcome.broken))
}
