//! Is `steer` attached to each interface that the configuration names, of whatever name and kind, and detached when it
//! should be?

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use router_tests::lab::{Lab, Running, Wire, peers::QuicGo, run, until};
use router_userspace::agent::api::{Flow, Interface};

/// ingress-node-firewall#686: a bpffs refuses dots in the names of pins, and VLAN interfaces have them.
#[test]
fn an_interface_with_a_dot_in_its_name() -> Result<()> {
    let mut lab = Lab::new().by_xdp().build()?;
    let is_attached = |lab: &Running| lab.network().router().has_xdp("eth0.100");
    lab.network().router().ip("link add eth0.100 type veth peer name peer\nlink set eth0.100 up\nlink set peer up")?;
    lab.reconfigure(|config| config.set_router("interfaces", BOTH));
    lab.start_agent()?;
    assert!(is_attached(&lab)?);
    lab.reload(|config| config.set_router("interfaces", "[\"clients0\"]"))?;
    assert!(!is_attached(&lab)?);
    lab.reload(|config| config.set_router("interfaces", BOTH))?;
    assert!(is_attached(&lab)?);
    lab.agent()?.upgrade(None)?;
    assert!(is_attached(&lab)?);
    lab.quic_go().get("/bytes/1000").connections(5).succeed()?;
    lab.take_agent()?.terminate()?;
    assert!(!is_attached(&lab)?);
    assert_eq!(lab.home().pinned(), [""; 0]);
    Ok(())
}

/// redbpf#87: a frame of a tunnel begins with its IP header, and every one had been misread.
#[test]
fn an_interface_without_ethernet_header_gets_no_xdp() -> Result<()> {
    let mut lab = Lab::new().engine("auto").set("interfaces", "[\"tun0\", \"clients0\"]").build()?;
    let router = lab.network().router();
    run(router.command("ip").args(["tuntap", "add", "dev", "tun0", "mode", "tun"]))?;
    router.ip("link set tun0 up")?;
    lab.start_agent()?;
    ensure!(!lab.network().router().has_xdp("tun0")?);
    let tunnel = interface(&lab, "tun0")?;
    ensure!(tunnel.engine == "reuseport" && why(&tunnel).contains("no Ethernet header"), "{tunnel:?}");
    ensure!(interface(&lab, "clients0")?.engine == "af_xdp");
    let refused = lab.refuse(|config| {
        config.set_router("engine", "\"xdp\"");
        config.set_router("bpf_dir", "\"/sys/fs/bpf/quic-router-tests-none\"");
        config.set_router("state_dir", "\"/tmp/quic-router-tests-none\"");
        config.set_router("control", "\"/tmp/quic-router-tests-none.sock\"");
        config.listeners = vec!["127.0.0.1:444".into()];
    })?;
    ensure!(refused.stderr.contains("interface tun0: its packets have no Ethernet header"), "{}", refused.stderr);
    ensure!(refused.stderr.contains("try: engine = \"reuseport\""), "{}", refused.stderr);
    Ok(())
}

/// The kernel attaches nothing below an interface that has a program; "File exists" was all it said.
#[test]
fn a_macvlan_and_the_interface_below_in_any_order() -> Result<()> {
    for order in ["[\"above\", \"clients0\"]", "[\"clients0\", \"above\"]"] {
        let mut lab = Lab::new().by_xdp().set("interfaces", order).build()?;
        let router = lab.network().router();
        router.ip("link add above link clients0 type macvlan mode bridge\nlink set above up")?;
        lab.start_agent()?;
        let router = lab.network().router();
        ensure!(router.has_xdp("above")? && router.has_xdp("clients0")?, "{order}");
        let names: Vec<_> = lab.control().status()?.interfaces.into_iter().map(|one| one.name).collect();
        ensure!(format!("{names:?}") == order, "{names:?}");
        lab.quic_go().get("/bytes/1000").connections(5).succeed()?;
    }
    Ok(())
}

/// xdp-tutorial#160: clients of the same host leave checksums to a device that is none. AF_XDP had lost every
/// packet of theirs, and so had the CPU map.
#[test]
fn clients_of_this_host_that_leave_checksums_out() -> Result<()> {
    for (engine, queues) in [("auto", 4), ("xdp", 1)] {
        let lab = Lab::new().engine(engine).queues(queues).start()?;
        lab.wire().namespace().offload("router0", &["tx", "on"])?;
        for server in [lab.wire().router4().into(), lab.wire().router6().into()] {
            let server = std::net::SocketAddr::new(server, 443);
            QuicGo::new(lab.wire().namespace(), server).get("/bytes/100000").connections(10).succeed()?;
        }
        ensure!(interface(&lab, "clients0")?.engine == if engine == "auto" { "af_xdp" } else { "xdp" });
        lab.expect_no_packet_astray()?;
    }
    Ok(())
}

/// Rules for the listener's port were bypassed under `auto`, and `status` did not say so.
#[test]
fn auto_leaves_af_xdp_where_it_would_bypass_netfilter_rules() -> Result<()> {
    let mut lab = Lab::new().engine("auto").start()?;
    ensure!(interface(&lab, "clients0")?.engine == "af_xdp");
    let rule = ["INPUT", "-p", "udp", "--dport", "443", "-j", "ACCEPT"];
    let iptables = |lab: &Running, verb: &str| {
        run(lab.network().router().command("iptables").arg("-w").arg(verb).args(rule)).map(drop)
    };
    iptables(&lab, "-A")?;
    let interfaces = |lab: &Running| Ok(lab.control().status()?.interfaces);
    let one = until(|| interfaces(&lab), |all| all[0].engine == "xdp")?.remove(0);
    ensure!(why(&one).contains("netfilter rules would be passed by: ip filter INPUT"), "{one:?}");
    lab.quic_go().get("/bytes/20000").connections(10).succeed()?;
    iptables(&lab, "-D")?;
    until(|| interfaces(&lab), |all| all[0].engine == "af_xdp")?;
    iptables(&lab, "-A")?;
    drop(lab.take_agent()?);
    // Asked for by name, it is had, and the rules are named.
    lab.reconfigure(|config| config.set_router("engine", "\"af_xdp\""));
    lab.start_agent()?;
    let one = interface(&lab, "clients0")?;
    ensure!(one.engine == "af_xdp" && why(&one).contains("netfilter rules are passed by: ip filter INPUT"), "{one:?}");
    Ok(())
}

/// docker-keepalived#3, FRR#5274: a loopback that is down, an address that is on another node. And a
/// link-local one, which needs to know its interface.
#[test]
fn an_upgrade_where_a_listener_is_not_reached_from_this_host() -> Result<()> {
    let mut lab = Lab::new().by_xdp().build()?;
    let router = lab.network().router();
    router.set("ipv4/ip_nonlocal_bind", "1")?;
    router.ip("link set lo down\naddr add fe80::77/64 dev clients0 nodad")?;
    let index = router.enter(|| Ok(nix::net::if_::if_nametoindex("clients0")?))?;
    lab.reconfigure(|config| {
        config.listeners = vec!["10.77.0.1:443".into(), "10.9.9.9:443".into(), format!("[fe80::77%{index}]:443")];
    });
    lab.start_agent()?;
    let upgraded = lab.agent()?.upgrade(None)?;
    ensure!(upgraded.unprobed.iter().any(|one| one.starts_with("10.9.9.9:443 is not reached")), "{upgraded:?}");
    lab.await_log("10.9.9.9:443 is not reached from this host")?;
    lab.quic_go().get("/bytes/1000").connections(5).succeed().map(drop)
}

/// Flows of such packets had neither peer nor packets, and were swept while they were used.
#[test]
fn packets_by_an_interface_without_xdp_are_accounted() -> Result<()> {
    let lab = Lab::new().by_xdp().clients(2).set("interfaces", "[\"clients0\"]").start()?;
    let [with, without] = lab.network().clients() else { anyhow::bail!("two wires") };
    ensure!(!lab.network().router().has_xdp(&without.router_interface())?);
    let client = |wire: &Wire| {
        QuicGo::new(wire.namespace(), wire.router(443)).get("/bytes/1000").until_told().pausing(PAUSE * 2).start()
    };
    let clients = [client(without)?, client(with)?];
    let is_seen = |flow: &Flow, wire: &Wire| {
        let peer = flow.peer.map(|peer| peer.ip());
        flow.packets > 3 && peer.is_some_and(|peer| wire.client4().iter().any(|client| peer == *client))
    };
    let seen = |flows: &Vec<Flow>| [without, with].iter().all(|wire| flows.iter().any(|flow| is_seen(flow, wire)));
    let flows = until(|| Ok(lab.control().flows()?.flows), seen)?;
    // Unused ones go after ten seconds: those are used.
    let used: Vec<_> = flows.into_iter().filter(|flow| is_seen(flow, without)).map(|flow| flow.cid).collect();
    let is_old = |flow: &Flow| flow.age_ms > 10_500 && used.contains(&flow.cid);
    until(|| Ok(lab.control().flows()?.flows), |flows: &Vec<Flow>| flows.iter().any(is_old))
        .context("they were swept")?;
    let [first, second] = clients;
    first.succeed()?;
    second.succeed().map(drop)
}

/// suricata#16208: the first interface had taken all memory, and `auto` gave the second none.
#[test]
fn af_xdp_on_several_interfaces() -> Result<()> {
    let memory = "[af_xdp]\nmemory = \"8MiB\"\n";
    let lab = Lab::new().engine("auto").clients(2).config(|config| config.rest.insert_str(0, memory)).start()?;
    for name in ["clients0", "clients1"] {
        let one = interface(&lab, name)?;
        ensure!(one.engine == "af_xdp" && one.queues.len() == 4, "{one:?}");
    }
    for wire in lab.network().clients() {
        QuicGo::new(wire.namespace(), wire.router(443)).get("/bytes/20000").connections(10).succeed()?;
    }
    Ok(())
}

/// Interface indices 64 apart share places in the maps: sockets had been made and bound in vain, without end.
#[test]
fn an_interface_whose_queue_entries_are_taken_has_xdp_only() -> Result<()> {
    let mut lab = Lab::new().engine("auto").build()?;
    let router = lab.network().router();
    let far = router.enter(|| Ok(nix::net::if_::if_nametoindex("clients0")?))? + 64;
    router.ip(&format!("link add far0 index {far} type veth peer name far1\nlink set far0 up\nlink set far1 up"))?;
    lab.reconfigure(|config| config.set_router("interfaces", "[\"clients0\", \"far0\"]"));
    lab.start_agent()?;
    let one = interface(&lab, "far0")?;
    ensure!(one.engine == "xdp" && why(&one).contains("whose index differs by a multiple of 64"), "{one:?}");
    ensure!(interface(&lab, "clients0")?.engine == "af_xdp");
    lab.quic_go().get("/bytes/20000").connections(10).requests(30).pausing(PAUSE).succeed()?;
    let said = lab.home().log().matches("whose index differs by a multiple of 64").count();
    ensure!(said <= 2, "said {said} times: in the summary of the start, and by itself");
    Ok(())
}

fn interface(lab: &Running, name: &str) -> Result<Interface> {
    let interfaces = lab.control().status()?.interfaces;
    interfaces.into_iter().find(|one| one.name == name).context("the interface is in status")
}

fn why(interface: &Interface) -> &str {
    interface.why.as_deref().unwrap_or_default()
}

const PAUSE: Duration = Duration::from_millis(100);
const BOTH: &str = "[\"clients0\", \"eth0.100\"]";
