//! `ExposeProtoCasing`, `ExposeInvalidFormat`.

use std::ops::Range;

use super::Found;

/// Looks at one port, with variables expanded: `[[ADDRESS:]HOST_PORT:]PORT[/PROTOCOL]`.
pub(super) fn check(port: &str, instruction: &Range<usize>, found: &mut Found<'_>) {
    let (host, container) = match port.rsplit_once(':') {
        Some((host, container)) => (host, container),
        None => ("", port),
    };
    let (number, protocol) = container.split_once('/').unwrap_or((container, ""));
    if protocol != protocol.to_lowercase() {
        let place = found.place(instruction, port);
        let message = format!("the protocol of `{port}` is not in lower case");
        let label = format!("write `{number}/{}`", protocol.to_lowercase());
        found.warn("ExposeProtoCasing", place, message, &label);
    }
    if host.chars().any(|c| c != ':') {
        let place = found.place(instruction, port);
        let message = format!("EXPOSE names the host's side of a port: `{port}`");
        found.warn("ExposeInvalidFormat", place, message, &format!("write `{container}`"));
    }
}
