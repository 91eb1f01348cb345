//! The `reeve-package-files` program: writes what packages hold besides programs and files of the repository. All of it
//! is made of the sources, and the same sources give the same bytes.
#![allow(clippy::print_stdout)] // it is a program for people

mod completions;
mod licences;
mod manual;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{CommandFactory as _, Parser};
use manual::{Manual, Page};
use reeve_agent::command_line::CommandLine;
use reeve_coordinator::{cli, command_line};

/// Writes man pages, shell completions and the dependencies' licences.
#[derive(Debug, Parser)]
#[command(
    name = "reeve-package-files",
    version,
    after_help = "Examples:
  reeve-package-files --date 2026-11-28 target/packages/files

It writes man/*.1, *.5 and *.8, completions/bash, fish and zsh, and licences/*.txt below DIRECTORY."
)]
struct Arguments {
    /// The day that man pages show.
    #[arg(long, value_name = "YYYY-MM-DD")]
    date: String,
    /// Where to write.
    directory: PathBuf,
}

fn main() -> ExitCode {
    match write_all(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("reeve-package-files: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn write_all(arguments: &Arguments) -> Result<()> {
    let manual = Manual { date: &arguments.date, release: concat!("reeve ", env!("CARGO_PKG_VERSION")) };
    let mut pages = Vec::new();
    for (command, section) in
        [(CommandLine::command(), 8), (command_line::Arguments::command(), 8), (cli::Arguments::command(), 1)]
    {
        pages.extend(manual.of_command(command, section)?);
    }
    pages.extend(manual.of_configurations());
    let directory = arguments.directory.join("man");
    fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    for Page { file, text } in pages {
        let path = directory.join(file);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    completions::write(&arguments.directory.join("completions"))?;
    licences::write(&arguments.directory.join("licences"))
}
