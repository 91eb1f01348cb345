//! Owns what is shown while something takes time: spinners for VMs and a bar for work where somebody watches a terminal, a
//! line for each change where output is kept, nothing with `-q`. Always on standard error.

use std::io::Write;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use reeve_common::text::{TEXT_LENGTH_MAX, printable};

use crate::api::types::Vm;

/// How often a spinner turns.
const TICK: Duration = Duration::from_millis(120);

/// Where progress goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// A person watches.
    Spinner,
    /// It is kept.
    Lines,
    /// Nobody wants it.
    Silent,
}

/// The progress of several VMs, numbered in the order they were asked for.
pub(super) struct Progress {
    style: Style,
    screen: MultiProgress,
    bars: Vec<ProgressBar>,
    said: Vec<String>,
}

impl Progress {
    pub(super) fn new(style: Style, count: usize) -> Self {
        let screen = MultiProgress::new();
        let bars = if style == Style::Spinner {
            (0..count).map(|_| screen.add(ProgressBar::new_spinner().with_style(spinner_style()))).collect()
        } else {
            Vec::new()
        };
        Self { style, screen, bars, said: vec![String::new(); count] }
    }

    /// The VM numbered `index` has changed.
    pub(super) fn changed(&mut self, index: usize, vm: &Vm, err: &mut dyn Write) {
        self.say(index, &describe(vm), err);
    }

    /// Something else happened to the wait for it.
    pub(super) fn say(&mut self, index: usize, text: &str, err: &mut dyn Write) {
        let text = printable(text, TEXT_LENGTH_MAX);
        match self.said.get_mut(index) {
            Some(said) if *said != text => said.clone_from(&text),
            _ => return,
        }
        match self.style {
            Style::Spinner => {
                if let Some(bar) = self.bars.get(index) {
                    bar.set_message(text);
                    bar.enable_steady_tick(TICK);
                }
            }
            // Progress that cannot be written is no reason to stop.
            Style::Lines => drop(writeln!(err, "{text}")),
            Style::Silent => {}
        }
    }

    /// It is over; the screen is left as it was.
    pub(super) fn finish(self) {
        self.bars.iter().for_each(ProgressBar::finish_and_clear);
        // The screen is the terminal; one that is gone needs no tidying.
        let _ = self.screen.clear();
    }
}

/// A spinner for something that cannot say how far it is; none where nobody watches a terminal.
pub(super) fn spinner(style: Style, what: &str) -> Option<ProgressBar> {
    (style == Style::Spinner).then(|| {
        let bar = ProgressBar::new_spinner().with_style(spinner_style());
        bar.set_message(printable(what, TEXT_LENGTH_MAX));
        bar.enable_steady_tick(TICK);
        bar
    })
}

/// Work shorter than this shows no progress: it would only flicker.
const PATIENCE: Duration = Duration::from_secs(1);
/// The parts a bar has; nobody sees more.
const BAR_PARTS: u64 = 1000;

/// The progress of work that this process does itself, in parts that are known beforehand.
pub(super) struct Work {
    style: Style,
    parts: usize,
    done: usize,
    bar: Option<ProgressBar>,
}

impl Work {
    /// Work in so many parts.
    pub(super) fn new(style: Style, parts: usize) -> Self {
        Self { style, parts, done: 0, bar: None }
    }

    /// A fraction of the current part is done, `elapsed` after the whole began.
    pub(super) fn advance(&mut self, part: &str, fraction: f64, elapsed: Duration) {
        if self.style != Style::Spinner || elapsed < PATIENCE {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| {
            let style = ProgressStyle::with_template("{bar:30} {percent}% {msg} ({elapsed})");
            let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::new(BAR_PARTS).with_style(style).with_elapsed(elapsed)
        });
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        // 0 to 1000
        let position =
            ((self.done as f64 + fraction) / (self.parts.max(1) as f64) * BAR_PARTS as f64).round() as u64;
        bar.set_message(printable(part, TEXT_LENGTH_MAX));
        bar.set_position(position);
    }

    /// The current part is done.
    pub(super) fn finish_part(&mut self, part: &str, elapsed: Duration, err: &mut dyn Write) {
        self.done += 1;
        if self.style == Style::Lines && elapsed >= PATIENCE && self.parts > 1 {
            let part = printable(part, TEXT_LENGTH_MAX);
            // Progress that cannot be written is no reason to stop.
            let _ = writeln!(err, "{part}: done ({} of {})", self.done, self.parts);
        }
    }

    /// It is over; the screen is left as it was.
    pub(super) fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

fn spinner_style() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {msg} ({elapsed})")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// `web-1-0f8fad5b: registering on node-2`.
fn describe(vm: &Vm) -> String {
    let host = vm.host.as_ref().map_or_else(String::new, |host| format!(" on {host}"));
    let reason = vm.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
    format!("{}: {}{host}{reason}", vm.name, vm.state.as_str())
}
