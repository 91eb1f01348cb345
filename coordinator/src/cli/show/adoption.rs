//! Owns how domains that nobody manages are shown.

use crate::api::types::UnmanagedDomain;
use crate::cli::amounts;
use crate::cli::screen::{Screen, number, words};

pub(in crate::cli) fn unmanaged(screen: &Screen, domains: &[UnmanagedDomain]) -> String {
    let columns = [
        words("HOST"),
        words("DOMAIN"),
        words("UUID"),
        number("CORES"),
        number("MEMORY"),
        words("STATE"),
        words("ADOPTABLE"),
    ];
    screen.list(
        domains,
        |domain| format!("{}/{}", domain.host, domain.name),
        &columns,
        |domain| {
            vec![
                domain.host.to_string(),
                domain.name.clone(),
                domain.id.to_string(),
                domain.cores.to_string(),
                amounts::memory(domain.memory_mib),
                domain.state.as_str().to_owned(),
                domain.obstacle.as_ref().map_or_else(|| "yes".to_owned(), |why| format!("no: {why}")),
            ]
        },
    )
}
