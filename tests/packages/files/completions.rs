//! Owns the shells' completions, made of the command lines themselves.

use std::fs;
use std::path::Path;

use anyhow::Result;
use clap::CommandFactory as _;
use clap_complete::aot::{Shell, generate_to};
use reeve_agent::command_line::CommandLine;
use reeve_coordinator::{cli, command_line};

/// Writes a file for each program and shell, named as the shell looks for it.
///
/// # Errors
/// When one cannot be written.
pub(crate) fn write(directory: &Path) -> Result<()> {
    for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
        let directory = directory.join(shell.to_string());
        fs::create_dir_all(&directory)?;
        for mut command in
            [CommandLine::command(), command_line::Arguments::command(), cli::Arguments::command()]
        {
            let name = command.get_name().to_owned();
            let written = generate_to(shell, &mut command, name.as_str(), &directory)?;
            if shell == Shell::Bash {
                // Where bash looks, a file is named as the command alone.
                fs::rename(written, directory.join(name))?;
            }
        }
    }
    Ok(())
}
