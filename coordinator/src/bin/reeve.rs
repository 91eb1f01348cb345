//! The `reeve` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    reeve_coordinator::cli::main()
}
