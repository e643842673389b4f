//! Judges what other nodes need of this host: its address and port, the shared addresses, the files, the way back.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::facts::{Facts, FileFacts, PortUse, ReversePath, Told};
use crate::doctor::finding::Finding;

/// Judges.
pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings: Vec<_> = facts.files.iter().map(file).collect();
    if let Some(addresses) = &facts.addresses {
        findings.push(own_address(facts, addresses));
        findings.extend(shared_addresses(facts).into_iter().map(|shared| shared_address(shared, addresses)));
    } else {
        findings.push(Finding::warn("address", "cannot list local addresses"));
    }
    findings.extend(not_its_own(facts));
    findings.push(port(facts));
    findings.extend(reverse_path(&facts.reverse_path));
    findings
}

fn file(file: &FileFacts) -> Finding {
    match &file.flaw {
        None => Finding::ok(file.what, format!("{} can be read", file.path.display())),
        Some(flaw) => Finding::fail(file.what, &flaw.what).hint(&flaw.hint),
    }
}

fn own_address(facts: &Facts, addresses: &BTreeMap<IpAddr, String>) -> Finding {
    let own = facts.tunnel.ip();
    match addresses.get(&own) {
        Some(interface) => Finding::ok("address", format!("cluster.address {own} is on {interface}")),
        None => {
            let finding = format!("cluster.address {own} is on no interface: other nodes do not reach this one");
            Finding::fail("address", finding).hint("ip address show, and this host's own address as cluster.address")
        }
    }
}

fn shared_addresses(facts: &Facts) -> BTreeSet<IpAddr> {
    facts.listeners.iter().map(|listener| listener.ip()).filter(|ip| !ip.is_unspecified()).collect()
}

/// A listener's address that is not any address: it has to be on each node, or the stack does not take what others forward.
fn shared_address(shared: IpAddr, addresses: &BTreeMap<IpAddr, String>) -> Finding {
    let on_lo = format!("ip addr add {shared}/{} dev lo", if shared.is_ipv4() { 32 } else { 128 });
    if shared.is_loopback() {
        let finding =
            format!("{shared}, where a listener is, is each host's own: clients of other nodes have another one");
        return Finding::warn("shared", finding).hint("the address that the nodes share, on lo of each");
    }
    match addresses.get(&shared) {
        Some(interface) => Finding::ok("shared", format!("{shared} is on {interface}")),
        None => {
            let finding = format!("{shared}, where a listener is, is on no interface: forwarded packets are not taken");
            Finding::warn("shared", finding).hint(on_lo)
        }
    }
}

fn not_its_own(facts: &Facts) -> Option<Finding> {
    let own = facts.tunnel.ip();
    shared_addresses(facts).contains(&own).then(|| {
        let finding = format!(
            "cluster.address {own} is a listener's, too: where nodes share it, others do not reach this one there"
        );
        Finding::warn("address", finding).hint("an address of this host alone as cluster.address")
    })
}

fn port(facts: &Facts) -> Finding {
    let tunnel = facts.tunnel;
    match (&facts.port, &facts.told) {
        (PortUse::Agent, _) => Finding::ok("tunnel", format!("the agent has UDP {tunnel}")),
        (PortUse::Free, Told::NoAgent | Told::NoCluster) => Finding::ok("tunnel", format!("UDP {tunnel} is free")),
        (PortUse::Free, Told::Cluster(_)) => {
            let finding = format!("the agent runs, and no socket has UDP {tunnel}: nothing comes from other nodes");
            Finding::warn("tunnel", finding).hint("quic-router status, and the agent's log")
        }
        (PortUse::Foreign(owner), _) => {
            let finding = format!("UDP {tunnel} is in use ({owner}): nothing comes from other nodes");
            Finding::fail("tunnel", finding).hint("stop that process, or another cluster.port on all nodes")
        }
    }
}

/// The greater of the interface's number and that of `all` counts (the kernel's `ip-sysctl`): 1 is strict, 2 is loose.
fn reverse_path(facts: &ReversePath) -> Vec<Finding> {
    let ways: Vec<_> = facts.interfaces.keys().map(String::as_str).collect();
    let strict: Vec<_> = facts.interfaces.iter().filter(|(_, own)| facts.all.max(**own) == STRICT).collect();
    if strict.is_empty() || ways.len() < 2 {
        return vec![Finding::ok("rp_filter", "no packet is dropped for the way back to its source")];
    }
    let warn = |(name, own): (&String, &u8)| {
        let finding = format!(
            "{name} drops packets whose way back leaves elsewhere (rp_filter: all {}, {name} {own}), and this host has {} ways out: {}",
            facts.all,
            ways.len(),
            ways.join(", ")
        );
        Finding::warn("rp_filter", finding).hint(format!("sysctl -w net.ipv4.conf.{name}.rp_filter=2"))
    };
    strict.into_iter().map(warn).collect()
}

/// `rp_filter`: the way back has to leave by the interface that the packet came in by (RFC 3704).
const STRICT: u8 = 1;

#[cfg(test)]
mod tests {
    use super::{
        super::facts::{Flaw, tests::sample},
        *,
    };

    #[test]
    fn a_host_as_it_should_be() {
        let expected = [
            Finding::ok("secret", "/cluster.key can be read"),
            Finding::ok("address", "cluster.address 10.0.0.11 is on eth0"),
            Finding::ok("shared", "192.0.2.80 is on lo"),
            Finding::ok("tunnel", "UDP 10.0.0.11:6080 is free"),
            Finding::ok("rp_filter", "no packet is dropped for the way back to its source"),
        ];
        assert_eq!(judge(&sample()), expected);
        let agent = Facts { port: PortUse::Agent, ..sample() };
        assert!(judge(&agent).contains(&Finding::ok("tunnel", "the agent has UDP 10.0.0.11:6080")));
    }

    #[test]
    fn addresses_that_are_not_here_are_named() {
        let findings = judge(&Facts { addresses: Some(BTreeMap::new()), ..sample() });
        let text = "cluster.address 10.0.0.11 is on no interface: other nodes do not reach this one";
        let hint = "ip address show, and this host's own address as cluster.address";
        assert!(findings.contains(&Finding::fail("address", text).hint(hint)));
        let text = "192.0.2.80, where a listener is, is on no interface: forwarded packets are not taken";
        assert!(findings.contains(&Finding::warn("shared", text).hint("ip addr add 192.0.2.80/32 dev lo")));
        let unknown = judge(&Facts { addresses: None, ..sample() });
        assert!(unknown.contains(&Finding::warn("address", "cannot list local addresses")));
    }

    #[test]
    fn listeners_on_addresses_that_cannot_be_shared() {
        let listeners = ["127.0.0.1:443", "10.0.0.11:443", "[::]:443"].map(|one| one.parse().unwrap()).to_vec();
        let findings = judge(&Facts { listeners, ..sample() });
        let text = "127.0.0.1, where a listener is, is each host's own: clients of other nodes have another one";
        let hint = "the address that the nodes share, on lo of each";
        assert!(findings.contains(&Finding::warn("shared", text).hint(hint)));
        let text =
            "cluster.address 10.0.0.11 is a listener's, too: where nodes share it, others do not reach this one there";
        let hint = "an address of this host alone as cluster.address";
        assert!(findings.contains(&Finding::warn("address", text).hint(hint)));
        assert_eq!(findings.len(), 7, "any address has to be nowhere: {findings:?}");
    }

    #[test]
    fn a_port_that_another_has_and_one_that_the_agent_has_not() {
        let foreign = Facts { port: PortUse::Foreign("process 7, nc".to_owned()), ..sample() };
        let text = "UDP 10.0.0.11:6080 is in use (process 7, nc): nothing comes from other nodes";
        let hint = "stop that process, or another cluster.port on all nodes";
        assert!(judge(&foreign).contains(&Finding::fail("tunnel", text).hint(hint)));
        let lost = Facts { told: Told::Cluster(Box::default()), ..sample() };
        let text = "the agent runs, and no socket has UDP 10.0.0.11:6080: nothing comes from other nodes";
        assert!(judge(&lost).contains(&Finding::warn("tunnel", text).hint("quic-router status, and the agent's log")));
    }

    #[test]
    fn a_file_that_is_no_good_says_why() {
        let flaw = Some(Flaw { what: "/k is open".to_owned(), hint: "chmod 600 /k".to_owned() });
        let files = vec![FileFacts { what: "secret", path: "/k".into(), flaw }];
        let failed = Finding::fail("secret", "/k is open").hint("chmod 600 /k");
        assert_eq!(judge(&Facts { files, ..sample() })[0], failed);
    }

    /// Which interface is named, for `all` and the numbers of eth0 and eth1.
    #[test]
    fn the_greater_of_two_numbers_counts_and_only_with_two_ways() {
        let named = |all, numbers: &[(&str, u8)]| {
            let interfaces = numbers.iter().map(|(name, own)| ((*name).to_owned(), *own)).collect();
            let findings = reverse_path(&ReversePath { all, interfaces });
            let text = crate::doctor::finding::Findings::new(findings).text();
            ["eth0", "eth1"].map(|name| text.contains(&format!("sysctl -w net.ipv4.conf.{name}.rp_filter=2")))
        };
        assert_eq!(named(0, &[("eth0", 0), ("eth1", 1)]), [false, true]);
        assert_eq!(named(1, &[("eth0", 0), ("eth1", 2)]), [true, false]);
        assert_eq!(named(2, &[("eth0", 1), ("eth1", 1)]), [false, false]);
        assert_eq!(named(1, &[("eth0", 1)]), [false, false], "one way out");
    }
}
