//! Owns waiting for something to become true: by looking often, never by sleeping for a guessed time.

use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};
use reeve_common::clock::{Clock as _, SystemClock};

/// How often is looked: short beside anything that is waited for, long beside what a look costs.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// Looks until `look` gives a value, which is returned.
///
/// # Errors
/// When `look` fails, or when it has given nothing for as long as `patience`.
pub fn poll_until<T>(what: &str, patience: Duration, look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    poll_every(LOOK_EVERY, what, patience, look)
}

/// The same with a pause of one's own between two looks, where looking costs what is measured.
///
/// # Errors
/// As above.
pub fn poll_every<T>(
    pause: Duration,
    what: &str,
    patience: Duration,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let begun = SystemClock.monotonic();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if begun.elapsed() >= patience {
            bail!("waited {} s for {what} in vain", patience.as_secs());
        }
        thread::sleep(pause);
    }
}
