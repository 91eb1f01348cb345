//! Owns libvirt's event loop: one for the process, in a thread of its own, for as long as the process lives.
//!
//! Must not: know connections or events. It has to be started before the first connection is opened.

use std::sync::OnceLock;
use std::time::Duration;

/// The rest after an iteration that failed, so that a broken loop does not spin.
const REST_AFTER_ERROR: Duration = Duration::from_millis(100);

/// Why the loop does not run.
#[derive(Debug, Clone, thiserror::Error)]
#[error("libvirt's event loop cannot be started: {0}")]
pub struct EventLoopError(String);

/// Starts the loop; later calls only tell how the first one ended.
pub(super) fn start() -> Result<(), EventLoopError> {
    static STARTED: OnceLock<Result<(), EventLoopError>> = OnceLock::new();
    STARTED
        .get_or_init(|| {
            // Otherwise libvirt prints every error to stderr by itself.
            virt::error::clear_error_callback();
            virt::event::event_register_default_impl().map_err(|error| EventLoopError(error.to_string()))?;
            std::thread::Builder::new()
                .name("libvirt-events".to_owned())
                .spawn(run)
                .map_err(|error| EventLoopError(error.to_string()))?;
            Ok(())
        })
        .clone()
}

/// There is no way to stop it: callbacks may be delivered as long as anything of libvirt is alive, and the loop wakes
/// by itself when a connection adds its socket.
fn run() {
    loop {
        if let Err(error) = virt::event::event_run_default_impl() {
            log::warn!("libvirt's event loop stumbled: {}", error.message());
            std::thread::sleep(REST_AFTER_ERROR);
        }
    }
}
