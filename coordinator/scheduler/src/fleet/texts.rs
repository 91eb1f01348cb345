//! Owns the texts that cost functions compare, as a host and a request have them.
//!
//! Must not: decide what a term may do with a text (`cost/`).

use crate::cost::{Text, TextTest};
use crate::host::HostDescription;
use crate::request::Request;

/// 1 when the texts of `test` are the same for this host and this request, 0 when not.
pub(super) fn is_same(test: &TextTest, host: Option<&HostDescription>, request: Option<&Request>) -> f64 {
    f64::from(u8::from(find(&test.left, host, request) == find(&test.right, host, request)))
}

/// A text; empty where it is missing.
fn find<'a>(text: &'a Text, host: Option<&'a HostDescription>, request: Option<&'a Request>) -> &'a str {
    let found = match text {
        Text::Literal(text) => Some(text),
        Text::HostLabel(key) => host.and_then(|host| host.labels.get(key)),
        Text::VmLabel(key) => request.and_then(|request| request.labels.get(key)),
        Text::VmOwner => request.map(|request| &request.owner),
        Text::VmTeam => request.map(|request| &request.team),
    };
    found.map_or("", String::as_str)
}
