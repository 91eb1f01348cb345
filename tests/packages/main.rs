//! The packages, tried for real: installed in a minimal Debian under systemd, with real guests, and as rpms into a root of
//! their own. They need root and the packages themselves, and take minutes: `make test-packages` builds and runs them, and
//! so does continuous integration.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking
#![allow(clippy::print_stdout)] // what was measured is told beside the verdict

mod base;
mod built;
mod contents;
mod fine_grained;
mod life;
mod machine;
mod removal;
mod rpms;
mod site;
mod upgrade;

/// One machine after the other things that are done to packages on it, in the order of an administrator's days.
#[test]
#[ignore = "boots a machine under systemd: run `make test-packages`"]
fn packages_are_installed_run_upgraded_and_removed_and_no_vm_notices() {
    let site = site::Site::install();
    life::first_contact(&site);
    life::story_is_read_by_vm(&site);
    life::reload(&site);
    life::hardening(&site);
    life::daemons_restart_and_die(&site);
    life::hanging_daemons_are_replaced(&site);
    upgrade::to_the_next_version(&site);
    fine_grained::access(&site);
    removal::remove_and_purge(&site);
}
