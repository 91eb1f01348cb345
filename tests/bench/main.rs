//! The benchmarks: each prints lines `bench NAME VALUE UNIT`. Figures that depend on the machine are ratios within one
//! run where that is possible. `make bench` builds with optimisation and runs them all; a name as argument runs one.

#![allow(clippy::print_stdout)] // the figures are the output

mod batch;
mod figures;
mod fleet;
mod hosts;

use std::process::ExitCode;

fn main() -> anyhow::Result<ExitCode> {
    let chosen: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let wanted =
        |name: &str| chosen.is_empty() || chosen.iter().any(|chosen| name.starts_with(chosen.as_str()));
    if wanted("place") {
        for size in [5_000, 50_000, 100_000] {
            fleet::place(size)?;
        }
    }
    if wanted("batch") {
        batch::measure()?;
    }
    if wanted("agent") || wanted("start-overhead") {
        hosts::measure()?;
    }
    Ok(ExitCode::SUCCESS)
}
