//! Ports, receive buffers, and what the kernel's UDP has thrown away.

use std::{collections::HashSet, fs, net::SocketAddr};

use super::{finding::Finding, wanted::Wanted};
use crate::{
    text,
    worker::udp::{self, RECEIVE_BUFFER},
};

/// What the host's UDP is like.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// Sockets that are not the running agent's.
    foreign: Vec<Bound>,
    /// Listeners on addresses that this host does not have.
    absent: Vec<SocketAddr>,
    /// The most that a process without privileges gets as receive buffer, in bytes.
    rmem_max: Option<u64>,
    /// This process may go beyond it (`SO_RCVBUFFORCE`).
    may_exceed: bool,
    /// The most that all UDP sockets together may hold, in bytes.
    udp_memory: Option<u64>,
    /// Datagrams thrown away for their checksum since boot.
    checksum_errors: u64,
}

/// A socket and the process that holds it.
#[derive(Debug)]
struct Bound {
    address: SocketAddr,
    owner: String,
}

/// Looks; sockets of the process `agent` are no obstacles.
pub(super) fn facts(agent: Option<u32>, wanted: &Wanted) -> Facts {
    let own = agent.map(sockets_of).unwrap_or_default();
    let foreign = udp::bound_sockets()
        .filter(|bound| !own.contains(&bound.inode))
        .filter(|bound| wanted.listeners.iter().any(|listener| overlap(*listener, bound.address)))
        .map(|bound| Bound { address: bound.address, owner: udp::owner(bound.inode) });
    let snmp = fs::read_to_string("/proc/self/net/snmp").unwrap_or_default();
    Facts {
        foreign: foreign.collect(),
        absent: wanted
            .listeners
            .iter()
            .copied()
            .filter(|one| udp::is_local(one.ip()).is_ok_and(|here| !here))
            .collect(),
        rmem_max: read("/proc/sys/net/core/rmem_max").and_then(|text| text.trim().parse().ok()),
        may_exceed: super::privileges::facts().may_administer_network(),
        udp_memory: read("/proc/sys/net/ipv4/udp_mem").and_then(|text| udp_memory(&text, page_size()?)),
        checksum_errors: checksum_errors(&snmp).unwrap_or(0),
    }
}

/// Judges.
pub(super) fn judge(facts: &Facts, wanted: &Wanted) -> Vec<Finding> {
    let mut findings = ports(&facts.foreign, &wanted.listeners);
    findings.extend(facts.absent.iter().map(|listener| absent(*listener)));
    findings.push(receive_buffer(facts));
    findings.extend(udp_memory_suffices(facts, wanted));
    if facts.checksum_errors > 0 {
        let thrown = text::plural(facts.checksum_errors, "datagram was", "datagrams were");
        let finding = format!("{thrown} thrown away for a wrong checksum since boot (UdpInCsumErrors)");
        let hint = "watch `nstat -az UdpInCsumErrors`: if it grows with traffic from a veth, ethtool -K PEER tx off";
        findings.push(Finding::warn("udp", finding).hint(hint));
    }
    findings
}

fn ports(foreign: &[Bound], listeners: &[SocketAddr]) -> Vec<Finding> {
    let port = |listener: &SocketAddr| match foreign.iter().find(|bound| overlap(*listener, bound.address)) {
        None => Finding::ok("port", format!("{listener} is free")),
        Some(Bound { address, owner }) => {
            let finding = format!("{listener} is in use: a socket on {address} ({owner})");
            Finding::fail("port", finding).hint("stop that process, or listen on another port")
        }
    };
    listeners.iter().map(port).collect()
}

/// It is bound all the same, and served once the host has the address.
fn absent(listener: SocketAddr) -> Finding {
    Finding::warn("port", format!("{listener}: this host does not have the address (yet); nothing comes to it"))
        .hint("ip address show; a mistyped address, unless another node has it now")
}

/// Whether a socket on `bound` is in the way of one on `listener`: the same port and address, or
/// one of them any address.
pub(super) fn overlap(listener: SocketAddr, bound: SocketAddr) -> bool {
    let any = listener.ip().is_unspecified() || bound.ip().is_unspecified();
    listener.port() == bound.port() && listener.is_ipv4() == bound.is_ipv4() && (listener.ip() == bound.ip() || any)
}

fn receive_buffer(facts: &Facts) -> Finding {
    let wanted = text::bytes(RECEIVE_BUFFER as u64);
    match facts.rmem_max {
        _ if facts.may_exceed => Finding::ok(
            "buffers",
            format!("sockets get {wanted} to receive, whatever net.core.rmem_max is (CAP_NET_ADMIN)"),
        ),
        Some(most) if most < RECEIVE_BUFFER as u64 => {
            let most = text::bytes(most);
            let finding = format!("sockets get {most} to receive, not {wanted}: bursts will be dropped");
            Finding::warn("buffers", finding)
                .hint(format!("sysctl -w net.core.rmem_max={RECEIVE_BUFFER}, or CAP_NET_ADMIN"))
        }
        Some(_) => Finding::ok("buffers", format!("sockets get {wanted} to receive")),
        None => Finding::warn("buffers", "net.core.rmem_max cannot be seen from this namespace: buffers may be small")
            .hint("CAP_NET_ADMIN, which goes beyond it"),
    }
}

/// All full receive buffers together, against what the kernel lets UDP have. It accounts twice
/// the size asked for.
fn udp_memory_suffices(facts: &Facts, wanted: &Wanted) -> Option<Finding> {
    let sockets = wanted.listeners.len() as u64 * u64::from(wanted.workers);
    let (full, most) = (sockets * 2 * RECEIVE_BUFFER as u64, facts.udp_memory?);
    (full > most).then(|| {
        let (full, most) = (text::bytes(full), text::bytes(most));
        let finding = format!("full receive buffers would take {full}, the kernel lets UDP have {most}");
        Finding::warn("buffers", finding).hint("fewer workers, or larger numbers in sysctl net.ipv4.udp_mem (pages)")
    })
}

/// The inodes of the sockets that a process holds.
pub(super) fn sockets_of(pid: u32) -> HashSet<u64> {
    let inode = |link: &str| link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok();
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    descriptors.filter_map(|entry| inode(fs::read_link(entry.path()).ok()?.to_str()?)).collect()
}

/// The third number of `net.ipv4.udp_mem`, in bytes.
fn udp_memory(text: &str, page_size: u64) -> Option<u64> {
    text.split_whitespace().nth(2)?.parse::<u64>().ok()?.checked_mul(page_size)
}

/// Octets of a page, as the kernel accounts this process' memory.
fn page_size() -> Option<u64> {
    let smaps = read("/proc/self/smaps")?;
    let line = smaps.lines().find_map(|line| line.strip_prefix("KernelPageSize:"))?;
    Some(line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? << 10)
}

/// `InCsumErrors` of the two lines that begin with `Udp:`, names and numbers.
fn checksum_errors(snmp: &str) -> Option<u64> {
    let mut lines = snmp.lines().filter_map(|line| line.strip_prefix("Udp: "));
    let column = lines.next()?.split(' ').position(|name| name == "InCsumErrors")?;
    lines.next()?.split(' ').nth(column)?.parse().ok()
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Engine;

    fn judged(facts: &Facts) -> Vec<Finding> {
        judge(facts, &Wanted::sample(Engine::Auto))
    }

    #[test]
    fn a_quiet_host() {
        let facts = Facts { may_exceed: true, rmem_max: Some(212_992), udp_memory: Some(1 << 40), ..Facts::default() };
        let expected = [
            Finding::ok("port", "192.0.2.1:443 is free"),
            Finding::ok("buffers", "sockets get 8.0 MiB to receive, whatever net.core.rmem_max is (CAP_NET_ADMIN)"),
        ];
        assert_eq!(judged(&facts), expected);
    }

    #[test]
    fn a_busy_and_narrow_one() {
        let owner = "process 77, nginx".to_owned();
        let facts = Facts {
            absent: Vec::new(),
            foreign: vec![Bound { address: "0.0.0.0:443".parse().unwrap(), owner }],
            may_exceed: false,
            rmem_max: Some(212_992),
            udp_memory: Some(16 << 20),
            checksum_errors: 1,
        };
        let expected = [
            Finding::fail("port", "192.0.2.1:443 is in use: a socket on 0.0.0.0:443 (process 77, nginx)")
                .hint("stop that process, or listen on another port"),
            Finding::warn("buffers", "sockets get 208.0 KiB to receive, not 8.0 MiB: bursts will be dropped")
                .hint("sysctl -w net.core.rmem_max=8388608, or CAP_NET_ADMIN"),
            Finding::warn("buffers", "full receive buffers would take 32.0 MiB, the kernel lets UDP have 16.0 MiB")
                .hint("fewer workers, or larger numbers in sysctl net.ipv4.udp_mem (pages)"),
            Finding::warn("udp", "1 datagram was thrown away for a wrong checksum since boot (UdpInCsumErrors)").hint(
                "watch `nstat -az UdpInCsumErrors`: if it grows with traffic from a veth, ethtool -K PEER tx off",
            ),
        ];
        assert_eq!(judged(&facts), expected);
    }

    #[test]
    fn sockets_overlap_on_the_same_or_any_address() {
        let meet = |a: &str, b: &str| overlap(a.parse().unwrap(), b.parse().unwrap());
        assert!(meet("192.0.2.1:443", "192.0.2.1:443"));
        assert!(meet("0.0.0.0:443", "192.0.2.1:443"));
        assert!(meet("[2001:db8::1]:443", "[::]:443"));
        assert!(!meet("192.0.2.1:443", "192.0.2.2:443"));
        assert!(!meet("192.0.2.1:443", "192.0.2.1:444"));
        assert!(!meet("0.0.0.0:443", "[::1]:443"));
    }

    #[test]
    fn reads_what_the_kernel_writes() {
        let snmp = "Tcp: InErrs\nTcp: 9\nUdp: InDatagrams NoPorts InCsumErrors IgnoredMulti\nUdp: 100 2 7 0\nUdpLite: InCsumErrors\nUdpLite: 5\n";
        assert_eq!(checksum_errors(snmp), Some(7));
        assert_eq!(udp_memory("757341\t1009789\t1514682\n", 4_096), Some(1_514_682 * 4_096));
        assert!(page_size().unwrap().is_power_of_two());
    }

    #[test]
    fn an_agents_own_sockets_are_found() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let own = sockets_of(std::process::id());
        assert!(own.contains(&udp::inode(&socket).unwrap()));
        let wanted = Wanted { listeners: vec![socket.local_addr().unwrap()], ..Wanted::sample(Engine::Auto) };
        assert!(facts(Some(std::process::id()), &wanted).foreign.is_empty());
        assert_eq!(facts(None, &wanted).foreign.len(), 1);
    }

    #[test]
    fn a_listener_on_an_address_that_is_not_here_is_named() {
        let wanted = Wanted::sample(Engine::Auto);
        let text = "192.0.2.1:443: this host does not have the address (yet); nothing comes to it";
        let hint = "ip address show; a mistyped address, unless another node has it now";
        let warned = Finding::warn("port", text).hint(hint);
        let facts = |absent: Vec<SocketAddr>| Facts { absent, ..Facts::default() };
        assert!(judge(&facts(vec!["192.0.2.1:443".parse().unwrap()]), &wanted).contains(&warned));
        assert!(!judge(&facts(Vec::new()), &wanted).contains(&warned));
    }
}
