//! Owns opening the files of a trace: plain files, so that nothing waits for a pipe.

use std::fs::File;
use std::path::Path;

use super::mistake::TraceErrors;
use super::reading;
use super::trace::Trace;

/// Reads a trace: a table of hosts and a table of VMs.
///
/// # Errors
/// Everything that is wrong with the first file in which something is, up to a limit.
pub fn read(hosts: &Path, vms: &Path) -> Result<Trace, TraceErrors> {
    let (source, name) = open(hosts)?;
    let hosts = reading::hosts(source, &name)?;
    let (source, name) = open(vms)?;
    reading::trace(hosts, source, &name)
}

fn open(path: &Path) -> Result<(File, String), TraceErrors> {
    let name = path.display().to_string();
    // What is not a plain file, such as a pipe, is refused before it is opened: opening it may wait.
    let file = match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Err("it is a directory; name the CSV file in it".to_owned()),
        Ok(metadata) if !metadata.is_file() => Err("it is not a plain file".to_owned()),
        Ok(_) => File::open(path).map_err(|error| unreadable(&error)),
        Err(error) => Err(unreadable(&error)),
    };
    match file {
        Ok(file) => Ok((file, name)),
        Err(message) => Err(TraceErrors::of_file(name, message)),
    }
}

fn unreadable(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        _ => format!("it cannot be read: {error}; check its owner and mode"),
    }
}
