//! The `reeve` command: the API's only client that ships with it.
//!
//! ```text
//!   arguments/ ─▶ action/ ─▶ client/ ─▶ UNIX socket
//!                   │  ├── definition/  (files given to `create -f`)
//!                   │  └── replay       (traces, replayed in this process)
//!                   └────▶ show/ ─▶ screen ─▶ standard output
//! ```
//!
//! Must not: know the coordinator by anything but the API's documents (`api::types`). Answers go to standard output;
//! progress, remarks and errors to standard error.

mod action;
mod amounts;
mod arguments;
mod bundle;
pub mod client;
mod cost_chart;
mod definition;
mod exit;
mod failure;
mod moments;
mod plot;
mod progress;
mod screen;
mod selector;
mod show;
mod terminal;

use std::ffi::OsString;
use std::io::{self, IsTerminal, Read, Write};
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use reeve_common::clock::{Clock, SystemClock, Timestamp};

use self::action::Run;
pub use self::arguments::{Arguments, SOCKET_DEFAULT};
use self::client::Client;
pub use self::exit::Exit;
pub use self::failure::Failure;
use self::progress::Style;
use self::screen::Screen;
pub use self::selector::VmSelector;
pub use self::terminal::{Characters, Terminal};

/// Where a command reads and writes, and when it is.
pub struct Surroundings<'a> {
    /// Standard input.
    pub input: &'a mut dyn Read,
    /// Standard output.
    pub out: &'a mut dyn Write,
    /// Standard error.
    pub err: &'a mut dyn Write,
    /// Somebody watches standard error.
    pub watched: bool,
    /// What standard output can show.
    pub terminal: Terminal,
    /// The moment that distances are told from.
    pub now: Timestamp,
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let (mut input, mut out, mut err) = (io::stdin(), io::stdout(), io::stderr());
    let watched = err.is_terminal();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = writeln!(err, "reeve: cannot wait for answers: {error}");
            return ExitCode::from(Exit::Failed.code());
        }
    };
    let surroundings = Surroundings {
        input: &mut input,
        out: &mut out,
        err: &mut err,
        watched,
        terminal: Terminal::of_this_process(),
        now: SystemClock.now(),
    };
    ExitCode::from(runtime.block_on(run(std::env::args_os(), surroundings)).code())
}

/// Runs one command line, the program's name first.
pub async fn run(arguments: impl IntoIterator<Item = OsString>, surroundings: Surroundings<'_>) -> Exit {
    let Surroundings { input, out, err, watched, terminal, now } = surroundings;
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => return answer_without_command(&error, out, err, watched),
    };
    let global = arguments.global;
    let screen = Screen { format: global.output, header: !global.no_header, quiet: global.quiet, now };
    let progress = match (global.quiet, watched) {
        (true, _) => Style::Silent,
        (false, true) => Style::Spinner,
        (false, false) => Style::Lines,
    };
    let mut run = Run { client: Client::new(global.socket), screen, progress, terminal, input, out, err };
    match Box::pin(run.carry_out(arguments.command)).await {
        Ok(exit) => exit,
        Err(failure) => {
            // Where standard error is closed nobody is to be told.
            let _ = writeln!(run.err, "{failure}");
            failure.exit
        }
    }
}

/// Help, the version, or what is wrong with the arguments.
fn answer_without_command(
    error: &clap::Error,
    out: &mut dyn Write,
    err: &mut dyn Write,
    watched: bool,
) -> Exit {
    let asked_for = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    let text = error.render();
    let text = if watched { text.ansi().to_string() } else { text.to_string() };
    let _ = if asked_for { out.write_all(text.as_bytes()) } else { err.write_all(text.as_bytes()) };
    if asked_for { Exit::Done } else { Exit::Usage }
}
