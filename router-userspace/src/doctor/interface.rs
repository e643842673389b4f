//! Judges an interface: whether XDP will run on it, natively, and whether what arrives there
//! survives.

use super::{
    finding::Finding,
    link::{AfXdp, Facts, Peer, Program, Whose},
    wanted::{Need, Wanted},
};

/// Judges the interface `name`, of which `facts` are known if it is there at all.
pub(super) fn judge(name: &str, facts: Option<&Facts>, wanted: &Wanted) -> Vec<Finding> {
    let Some(facts) = facts else {
        let absent = Finding::fail(name, "there is no interface of this name");
        return vec![absent.hint("ip link show, or another name under [router] interfaces")];
    };
    let mut findings = vec![wire(name, facts)];
    if wanted.xdp() != Need::Unused {
        findings.extend(unlike_the_stack(name, facts, wanted));
        findings.push(driver(name, facts));
        findings.extend(mtu(name, facts));
        findings.push(program(name, facts.program.as_ref(), wanted.xdp()));
        findings.push(queues(name, facts, wanted.workers));
        findings.extend(large_receive_offload(name, facts));
        findings.extend(facts.peer.as_ref().map(|other| peer(name, other)));
    }
    if wanted.af_xdp() != Need::Unused {
        findings.push(af_xdp(name, &facts.af_xdp, wanted.af_xdp()));
        findings.extend(wanted.sends_frames.then(|| sending(name)));
    }
    findings.push(generic_receive_offload(name, facts));
    findings
}

fn wire(name: &str, facts: &Facts) -> Finding {
    match (facts.up, facts.carrier) {
        (true, true) => Finding::ok(name, format!("is up, MTU {}", facts.mtu)),
        (true, false) => {
            Finding::warn(name, "is up, but has no carrier: no packet comes").hint("plug in the other end")
        }
        (false, _) => Finding::warn(name, "is down: no packet comes").hint(format!("ip link set dev {name} up")),
    }
}

/// What XDP programs or AF_XDP sockets would see otherwise than the kernel's stack does.
fn unlike_the_stack(name: &str, facts: &Facts, wanted: &Wanted) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !facts.ethernet {
        let finding = "its packets have no Ethernet header, which XDP programs read: no XDP";
        findings
            .push(wanted.xdp().missing(name, finding).hint("engine = \"reuseport\", or an interface below the tunnel"));
    }
    if let Some(vlan) = &facts.vlan {
        let finding = format!("takes VLAN tags out of frames: XDP would take those of {vlan} for untagged ones");
        findings.push(Finding::warn(name, finding).hint(format!("ethtool -K {name} rxvlan off")));
    }
    if let Some(vrf) = facts.vrf.as_ref().filter(|_| wanted.af_xdp() != Need::Unused) {
        let finding = format!("belongs to the VRF {vrf}: AF_XDP sockets would get what sockets outside of it do not");
        findings.push(wanted.af_xdp().missing(name, finding).hint("engine = \"xdp\""));
    }
    findings
}

fn driver(name: &str, facts: &Facts) -> Finding {
    match facts.driver.as_deref() {
        Some(driver) if NATIVE.contains(&driver) => Finding::ok(name, format!("driver {driver} runs XDP natively")),
        Some(driver) => Finding::warn(
            name,
            format!(
                "driver {driver} is not known to run XDP natively: if it cannot, generic XDP runs, which is slower"
            ),
        )
        .hint("quic-router status, which says what it got"),
        None => Finding::warn(name, "has no driver that could run XDP natively: generic XDP runs, which is slower")
            .hint("engine = \"reuseport\", which needs no XDP"),
    }
}

fn mtu(name: &str, facts: &Facts) -> Option<Finding> {
    // Without a driver XDP is generic, which takes packets of any size.
    (facts.driver.is_some() && facts.mtu > NATIVE_MTU).then(|| {
        let finding = format!("MTU {}: most drivers run XDP natively only up to about {NATIVE_MTU}", facts.mtu);
        Finding::warn(name, finding).hint(format!("ip link set dev {name} mtu 1500"))
    })
}

fn program(name: &str, program: Option<&Program>, xdp: Need) -> Finding {
    let Some(Program { id, name: of_program, whose }) = program else {
        return Finding::ok(name, "no XDP program is attached");
    };
    let which = format!("id {id}, name {of_program:?}");
    match whose {
        Whose::Ours => Finding::ok(name, format!("the running agent's XDP program is attached ({which})")),
        Whose::Stale => {
            Finding::warn(name, format!("the XDP program of an agent that no longer runs is attached ({which})"))
                .hint("quic-router detach; the next start does it, too")
        }
        Whose::Foreign => xdp
            .missing(name, format!("another XDP program is attached ({which})"))
            .hint(format!("`ip link set dev {name} xdp off` if nothing needs it, or engine = \"reuseport\"")),
    }
}

fn queues(name: &str, facts: &Facts, workers: u16) -> Finding {
    let (queues, workers) = (facts.queues, u32::from(workers));
    let text = format!("{queues} receive {}", if queues == 1 { "queue" } else { "queues" });
    let wanted = workers.min(facts.most_queues);
    if queues >= wanted {
        let few = if queues < workers { ", as many as there can be" } else { "" };
        return Finding::ok(name, format!("{text}{few}"));
    }
    Finding::warn(name, format!("{text} for {workers} workers: fewer CPUs than could do the first step of steering"))
        .hint(format!("ethtool -L {name} combined {wanted} (of a veth: rx {wanted})"))
}

fn af_xdp(name: &str, sockets: &AfXdp, need: Need) -> Finding {
    match sockets {
        AfXdp::Used { zero_copy, copying: 0 } => Finding::ok(name, format!("AF_XDP on {zero_copy} queues, zero-copy")),
        AfXdp::Used { zero_copy: 0, copying } => Finding::ok(name, format!("AF_XDP on {copying} queues, with copying")),
        AfXdp::Used { zero_copy, copying } => {
            Finding::ok(name, format!("AF_XDP on {zero_copy} queues zero-copy, on {copying} with copying"))
        }
        AfXdp::Possible => {
            Finding::ok(name, "takes AF_XDP sockets; whether without copying, status says once the agent runs")
        }
        AfXdp::Refused(why) => need
            .missing(name, format!("takes no AF_XDP socket: {why}"))
            .hint("engine = \"xdp\", which needs none; CAP_NET_RAW and locked memory, where those are missing"),
    }
}

fn sending(name: &str) -> Finding {
    Finding::ok(name, "workers send by AF_XDP, too: past netfilter, tc and IPsec, where a route leads out here")
}

fn large_receive_offload(name: &str, facts: &Facts) -> Option<Finding> {
    facts.lro.then(|| {
        let finding = "LRO is on: the device merges packets before XDP sees them, and most drivers then refuse XDP";
        Finding::warn(name, finding).hint(format!("ethtool -K {name} lro off"))
    })
}

fn generic_receive_offload(name: &str, facts: &Facts) -> Finding {
    Finding::ok(
        name,
        if facts.gro {
            "GRO is on: trains of datagrams reach the workers in one piece"
        } else {
            "GRO is off: every datagram climbs the stack alone, which costs CPU under load"
        },
    )
}

/// A packet that XDP redirects carries no verdict on its checksum, so the stack verifies what the
/// sending end of a veth never computed: it is thrown away, counted as `UdpInCsumErrors`.
fn peer(name: &str, peer: &Peer) -> Finding {
    match peer {
        Peer::Here { name: peer, transmit_checksums: false } => {
            Finding::ok(name, format!("its other end, {peer}, computes checksums"))
        }
        Peer::Here { name: peer, transmit_checksums: true } => Finding::warn(
            name,
            format!("its other end, {peer}, leaves checksums out: packets that XDP redirects will be thrown away"),
        )
        .hint(format!("ethtool -K {peer} tx off")),
        Peer::Elsewhere => Finding::warn(
            name,
            "its other end is in another namespace: if that leaves checksums out, packets that XDP redirects are lost",
        )
        .hint("`ethtool -K PEER tx off` there; UdpInCsumErrors in `nstat -az` shows such losses"),
    }
}

/// Drivers of the kernel that run XDP natively.
const NATIVE: &[&str] = &[
    "atlantic",
    "bnxt_en",
    "bonding",
    "cpsw",
    "dpaa2-eth",
    "ena",
    "fsl_enetc",
    "gve",
    "hv_netvsc",
    "i40e",
    "iavf",
    "ice",
    "igb",
    "igc",
    "ionic",
    "ixgbe",
    "ixgbevf",
    "mana",
    "mlx4_en",
    "mlx5_core",
    "mvneta",
    "mvpp2",
    "netsec",
    "nfp",
    "qede",
    "sfc",
    "st_gmac",
    "tsnep",
    "tun",
    "veth",
    "virtio_net",
    "vmxnet3",
];

/// Octets: a page of memory less the room XDP reserves on both sides of a packet, for drivers
/// that keep a packet in one page.
const NATIVE_MTU: u32 = 3_498;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Engine;

    fn fine() -> Facts {
        Facts {
            driver: Some("ice".to_owned()),
            up: true,
            carrier: true,
            mtu: 1_500,
            queues: 4,
            most_queues: 8,
            program: None,
            lro: false,
            gro: true,
            peer: None,
            af_xdp: AfXdp::Possible,
            ethernet: true,
            vlan: None,
            vrf: None,
        }
    }

    fn judged(facts: &Facts, engine: Engine) -> Vec<Finding> {
        judge("eth0", Some(facts), &Wanted::sample(engine))
    }

    #[test]
    fn an_interface_as_it_should_be() {
        let expected = [
            Finding::ok("eth0", "is up, MTU 1500"),
            Finding::ok("eth0", "driver ice runs XDP natively"),
            Finding::ok("eth0", "no XDP program is attached"),
            Finding::ok("eth0", "4 receive queues"),
            Finding::ok("eth0", "GRO is on: trains of datagrams reach the workers in one piece"),
        ];
        assert_eq!(judged(&fine(), Engine::Xdp), expected);
        assert_eq!(judged(&fine(), Engine::Reuseport), [expected[0].clone(), expected[4].clone()]);
    }

    #[test]
    fn an_absent_one_fails_whatever_the_engine() {
        let findings = judge("eth7", None, &Wanted::sample(Engine::Auto));
        let expected = Finding::fail("eth7", "there is no interface of this name");
        assert_eq!(findings, [expected.hint("ip link show, or another name under [router] interfaces")]);
    }

    #[test]
    fn another_program_is_named_and_fails_where_xdp_is_asked_for_by_name() {
        let program = |whose| Some(Program { id: 7, name: "katran".to_owned(), whose });
        let text = "another XDP program is attached (id 7, name \"katran\")";
        let way_out = "`ip link set dev eth0 xdp off` if nothing needs it, or engine = \"reuseport\"";
        let foreign = Facts { program: program(Whose::Foreign), ..fine() };
        assert!(judged(&foreign, Engine::Xdp).contains(&Finding::fail("eth0", text).hint(way_out)));
        assert!(judged(&foreign, Engine::Auto).contains(&Finding::warn("eth0", text).hint(way_out)));
        let ours = Facts { program: program(Whose::Ours), ..fine() };
        let text = "the running agent's XDP program is attached (id 7, name \"katran\")";
        assert!(judged(&ours, Engine::Xdp).contains(&Finding::ok("eth0", text)));
        let stale = Facts { program: program(Whose::Stale), ..fine() };
        let text = "the XDP program of an agent that no longer runs is attached (id 7, name \"katran\")";
        let way_out = "quic-router detach; the next start does it, too";
        assert!(judged(&stale, Engine::Xdp).contains(&Finding::warn("eth0", text).hint(way_out)));
    }

    #[test]
    fn what_is_known_of_af_xdp() {
        let judged = |af_xdp, engine| judged(&Facts { af_xdp, ..fine() }, engine);
        let used = Finding::ok("eth0", "AF_XDP on 4 queues, with copying");
        assert!(judged(AfXdp::Used { zero_copy: 0, copying: 4 }, Engine::AfXdp).contains(&used));
        let refused = |engine| judged(AfXdp::Refused("no".to_owned()), engine);
        let hint = "engine = \"xdp\", which needs none; CAP_NET_RAW and locked memory, where those are missing";
        let text = "takes no AF_XDP socket: no";
        assert!(refused(Engine::AfXdp).contains(&Finding::fail("eth0", text).hint(hint)));
        assert!(refused(Engine::Auto).contains(&Finding::warn("eth0", text).hint(hint)));
        assert_eq!(refused(Engine::Xdp), judge("eth0", Some(&fine()), &Wanted::sample(Engine::Xdp)));
        let says_so = |engine| {
            let wanted = Wanted { sends_frames: true, ..Wanted::sample(engine) };
            judge("eth0", Some(&fine()), &wanted).contains(&sending("eth0"))
        };
        assert!(
            says_so(Engine::AfXdp)
                && !says_so(Engine::Xdp)
                && !judged(AfXdp::Possible, Engine::AfXdp).contains(&sending("eth0"))
        );
    }

    #[test]
    fn the_checksum_trap_of_veth_is_known() {
        let veth = |peer| Facts { driver: Some("veth".to_owned()), peer: Some(peer), ..fine() };
        let here = |transmit_checksums| Peer::Here { name: "eth1".to_owned(), transmit_checksums };
        let text = "its other end, eth1, leaves checksums out: packets that XDP redirects will be thrown away";
        let trap = Finding::warn("eth0", text).hint("ethtool -K eth1 tx off");
        assert!(judged(&veth(here(true)), Engine::Auto).contains(&trap));
        let text = "its other end, eth1, computes checksums";
        assert!(judged(&veth(here(false)), Engine::Auto).contains(&Finding::ok("eth0", text)));
        let unseen = judged(&veth(Peer::Elsewhere), Engine::Auto);
        assert_eq!(unseen.iter().filter(|f| **f == peer("eth0", &Peer::Elsewhere)).count(), 1);
        assert_eq!(judged(&veth(here(true)), Engine::Reuseport).len(), 2, "without XDP there is no trap");
    }

    #[test]
    fn what_slows_xdp_down_is_a_warning_with_a_way_out() {
        let slow = Facts { driver: Some("e1000e".to_owned()), mtu: 9_000, queues: 1, lro: true, gro: false, ..fine() };
        let text = super::super::finding::Findings::new(judged(&slow, Engine::Xdp)).text();
        for line in [
            "warn  eth0  driver e1000e is not known to run XDP natively",
            "warn  eth0  MTU 9000: most drivers",
            "try: ip link set dev eth0 mtu 1500",
            "warn  eth0  1 receive queue for 2 workers",
            "try: ethtool -L eth0 combined 2",
            "warn  eth0  LRO is on",
            "try: ethtool -K eth0 lro off",
            "ok    eth0  GRO is off",
        ] {
            assert!(text.contains(line), "{line:?} is not in:\n{text}");
        }
        let virtual_one = judged(&Facts { driver: None, mtu: 65_536, ..fine() }, Engine::Xdp);
        assert!(virtual_one.contains(&driver("eth0", &Facts { driver: None, ..fine() })));
        assert!(
            !super::super::finding::Findings::new(virtual_one).text().contains("MTU 65536: most drivers"),
            "generic XDP takes any size"
        );
        let full = Facts { queues: 1, most_queues: 1, ..fine() };
        assert!(judged(&full, Engine::Xdp).contains(&Finding::ok("eth0", "1 receive queue, as many as there can be")));
    }

    #[test]
    fn what_would_be_seen_otherwise_than_by_the_stack_is_named() {
        let some = |name: &str| Some(name.to_owned());
        let facts = Facts { ethernet: false, vlan: some("eth0.7"), vrf: some("blue"), ..fine() };
        let text = |engine| super::super::finding::Findings::new(judged(&facts, engine)).text();
        for line in [
            "warn  eth0  its packets have no Ethernet header",
            "warn  eth0  takes VLAN tags out of frames: XDP would take those of eth0.7 for untagged ones",
            "try: ethtool -K eth0 rxvlan off",
            "warn  eth0  belongs to the VRF blue",
        ] {
            assert!(text(Engine::Auto).contains(line), "{line:?} is not in:\n{}", text(Engine::Auto));
        }
        let by_name = judged(&facts, Engine::Xdp);
        let refused = Finding::fail("eth0", "its packets have no Ethernet header, which XDP programs read: no XDP");
        let way_out = "engine = \"reuseport\", or an interface below the tunnel";
        assert!(by_name.contains(&refused.hint(way_out)) && !text(Engine::Xdp).contains("VRF"), "{by_name:?}");
        assert_eq!(judged(&facts, Engine::Reuseport), judged(&fine(), Engine::Reuseport));
    }

    #[test]
    fn a_dead_wire_is_told() {
        let down = Facts { up: false, carrier: false, ..fine() };
        let expected = Finding::warn("eth0", "is down: no packet comes").hint("ip link set dev eth0 up");
        assert_eq!(judged(&down, Engine::Auto)[0], expected);
        let unplugged = Facts { carrier: false, ..fine() };
        assert!(judged(&unplugged, Engine::Auto)[0] != judged(&fine(), Engine::Auto)[0]);
    }
}
