//! Owns how the demo looks on the terminal: its steps with their durations, and the product's answers beneath them.

use std::io::Write as _;
use std::time::Instant;

use anyhow::Result;
use reeve_common::clock::{Clock as _, SystemClock};
use reeve_tests::lab::Lab;

/// The steps so far.
pub(crate) struct Stage {
    begun: Instant,
    steps: usize,
}

impl Stage {
    /// Before the first step.
    pub(crate) fn begin() -> Self {
        Self { begun: SystemClock.monotonic(), steps: 0 }
    }

    /// Says what is being done, does it, and says how long it took.
    pub(crate) fn step<T>(&mut self, title: &str, act: impl FnOnce() -> Result<T>) -> Result<T> {
        self.steps += 1;
        print!("{:>2} {title} …", self.steps);
        std::io::stdout().flush()?;
        let begun = SystemClock.monotonic();
        let result = act();
        let seconds = begun.elapsed().as_secs_f64();
        println!(" {} {seconds:.1} s", if result.is_ok() { "done in" } else { "failed after" });
        result
    }

    /// Shows a command of the product and its whole answer.
    pub(crate) fn show(&self, lab: &Lab, command: &[&str]) -> Result<()> {
        let answer = lab.reeve(command)?;
        print_answer(command, answer.lines());
        Ok(())
    }

    /// Shows the paragraph of the answer that begins with `heading`.
    pub(crate) fn show_part(&self, lab: &Lab, command: &[&str], heading: &str) -> Result<()> {
        let answer = lab.reeve(command)?;
        let part = answer.lines().skip_while(|line| *line != heading).take_while(|line| !line.is_empty());
        print_answer(command, part);
        Ok(())
    }

    /// After the last step.
    pub(crate) fn end(&self) {
        println!("{} steps in {:.1} s\n", self.steps, self.begun.elapsed().as_secs_f64());
    }
}

fn print_answer<'a>(command: &[&str], lines: impl Iterator<Item = &'a str>) {
    println!("\n   $ reeve {}", command.join(" "));
    for line in lines {
        println!("   {line}");
    }
    println!();
}
