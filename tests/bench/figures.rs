//! Owns how a figure is printed, what is taken from several runs of the same thing, and how much memory a process has.

use anyhow::{Context, Result};

/// Prints one figure with so many decimals that three digits are seen.
pub(crate) fn print(name: &str, value: f64, unit: &str) {
    let digits = if value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        3
    };
    print_to(digits, name, value, unit);
}

/// Prints one figure with so many decimals.
pub(crate) fn print_to(digits: usize, name: &str, value: f64, unit: &str) {
    println!("bench {name} {value:.digits$} {unit}");
}

/// The middle of some figures.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The resident memory of a process, by its id or `self`.
pub(crate) fn resident_mebibytes(process: &str) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
    let kibibytes: f64 = line.split_whitespace().nth(1).context("no figure")?.parse()?;
    Ok(kibibytes / 1024.0)
}
