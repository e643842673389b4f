//! Firewall rules that packets would pass by.

use super::{
    finding::Finding,
    wanted::{Need, Wanted},
};
use crate::{config::Engine, datapath};

/// The chains with rules that packets meet before a socket.
pub(super) fn facts() -> Vec<String> {
    datapath::chains_before_sockets()
}

/// Judges.
pub(super) fn judge(chains: &[String], wanted: &Wanted) -> Option<Finding> {
    if wanted.af_xdp() == Need::Unused {
        return None;
    }
    if chains.is_empty() {
        return Some(Finding::ok("netfilter", "no rules that AF_XDP would pass by"));
    }
    let finding = format!("what comes by AF_XDP passes netfilter rules by: {}", chains.join(", "));
    Some(match wanted.engine {
        Engine::Auto => Finding::ok("netfilter", format!("{finding}; so auto takes XDP without it")),
        _ => Finding::warn("netfilter", finding).hint("engine = \"xdp\", if they concern QUIC"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_that_are_passed_by_are_named() {
        let chains = ["inet filter input".to_owned()];
        let text = "what comes by AF_XDP passes netfilter rules by: inet filter input";
        let warned = Finding::warn("netfilter", text).hint("engine = \"xdp\", if they concern QUIC");
        assert_eq!(judge(&chains, &Wanted::sample(Engine::AfXdp)), Some(warned));
        let auto = Finding::ok("netfilter", format!("{text}; so auto takes XDP without it"));
        assert_eq!(judge(&chains, &Wanted::sample(Engine::Auto)), Some(auto));
        assert_eq!(judge(&chains, &Wanted::sample(Engine::Xdp)), None);
        let none = Finding::ok("netfilter", "no rules that AF_XDP would pass by");
        assert_eq!(judge(&[], &Wanted::sample(Engine::Auto)), Some(none));
    }
}
