//! The `reeve-lab` program: several isolated hosts on one machine. It only reads arguments and prints results.
#![allow(clippy::print_stdout)] // it is a program for people

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};
use reeve_tests::image::{Builder, Variant};

#[derive(Debug, Parser)]
#[command(name = "reeve-lab", version, about = "Several isolated hosts on one machine.")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Builds a guest image, unless it is built already, and prints its path.
    Image {
        /// How the guest behaves.
        #[arg(long, value_enum, default_value = "good")]
        variant: Variant,
    },
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Image { variant } => {
            println!("{}", Builder::new(&PathBuf::from("target/reeve-lab/images")).image(variant)?.display());
        }
    }
    Ok(())
}
