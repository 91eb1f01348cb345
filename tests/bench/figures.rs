//! Owns how a figure is printed, and what is taken from several runs of the same thing.

/// Prints one figure.
pub(crate) fn print(name: &str, value: f64, unit: &str) {
    let digits = if value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        3
    };
    println!("bench {name} {value:.digits$} {unit}");
}

/// The middle of some figures.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
