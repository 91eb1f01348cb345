//! Owns what a fence command is told on its standard input, secrets read from their files among it.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use reeve_common::ids::HostName;
use zeroize::Zeroizing;

use super::FenceAction;
use crate::config::{FenceMeans, OptionValue};

/// The largest secret read: a password or a token.
const SECRET_LENGTH_MAX: u64 = 4 << 10;
/// Shorter secrets than this are not looked for in output: they would stain every word.
const SECRET_LENGTH_HIDDEN_MIN: usize = 3;
/// Options whose values are secrets also where they stand in the configuration.
const SECRET_OPTIONS: [&str; 5] = ["password", "passwd", "snmp_priv_passwd", "token", "community"];

/// What a command is told, and what of it must not be repeated.
pub(super) struct Input {
    /// All of standard input.
    pub(super) text: Zeroizing<String>,
    /// Values that are replaced wherever they show up in output.
    pub(super) secrets: Vec<Zeroizing<String>>,
}

/// Whether an option's value is a secret.
pub(crate) fn is_secret(option: &str) -> bool {
    SECRET_OPTIONS.contains(&option)
}

/// The lines for one action on one host.
pub(super) fn input(means: &FenceMeans, host: &HostName, action: FenceAction) -> Result<Input, String> {
    let mut text = Zeroizing::new(format!("action={}\nnodename={host}\n", action.as_str()));
    let mut secrets = Vec::new();
    for (name, value) in &means.options {
        let value = match value {
            OptionValue::Text(value) => {
                let value = Zeroizing::new(value.clone());
                if is_secret(name) {
                    hide(&mut secrets, &value);
                }
                value
            }
            OptionValue::File(path) => {
                let value = read_secret(path).map_err(|why| {
                    format!("the option {name} cannot be read from {}: {why}", path.display())
                })?;
                hide(&mut secrets, &value);
                value
            }
        };
        text.push_str(name);
        text.push('=');
        text.push_str(&value);
        text.push('\n');
    }
    Ok(Input { text, secrets })
}

fn hide(secrets: &mut Vec<Zeroizing<String>>, value: &Zeroizing<String>) {
    if value.len() >= SECRET_LENGTH_HIDDEN_MIN {
        secrets.push(value.clone());
    }
}

fn read_secret(path: &Path) -> Result<Zeroizing<String>, String> {
    let mut text = Zeroizing::new(String::new());
    let file = File::open(path).map_err(|error| error.to_string())?;
    file.take(SECRET_LENGTH_MAX + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    let value = Zeroizing::new(text.trim_end_matches(['\n', '\r']).to_owned());
    if u64::try_from(text.len()).is_ok_and(|length| length > SECRET_LENGTH_MAX) {
        return Err(format!("it has more than {SECRET_LENGTH_MAX} bytes"));
    }
    if value.chars().any(char::is_control) {
        return Err("it has more than one line".to_owned());
    }
    Ok(value)
}
