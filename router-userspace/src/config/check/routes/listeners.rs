//! Listeners of a route: those that clients must have come to for it, by their addresses.

use std::net::SocketAddr;

use crate::config::{
    error::Findings,
    keys::{ROUTE, RawRoute},
    raw::{At, each},
};

/// Each is one of `known`.
pub(super) fn check(raw: &RawRoute, known: &[SocketAddr], findings: &mut Findings<'_>) -> Vec<SocketAddr> {
    let key = ROUTE.listeners.name();
    let mut listeners = Vec::new();
    for At { place, value: text } in each(&raw.listeners) {
        match text.parse::<SocketAddr>() {
            Ok(address) if listeners.contains(&address) => {
                findings.problem(*place, key, format_args!("\"{text}\" is listed twice"));
            }
            Ok(address) if known.contains(&address) => listeners.push(address),
            Ok(_) | Err(_) => {
                findings.problem(*place, key, format_args!("\"{text}\" is no listener's address"));
                let known: Vec<_> = known.iter().map(ToString::to_string).collect();
                if !known.is_empty() {
                    findings.hint(known.join(", "));
                }
            }
        }
    }
    listeners
}

/// Whether clients that come to one of `later` have come to one of `earlier`.
pub(super) fn covers(earlier: &[SocketAddr], later: &[SocketAddr]) -> bool {
    earlier.is_empty() || !later.is_empty() && later.iter().all(|listener| earlier.contains(listener))
}
