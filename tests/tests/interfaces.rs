//! Is `steer` on each interface that the configuration names, whatever it is called, and gone from it when it
//! should be?

use anyhow::Result;
use router_tests::lab::Lab;

/// ingress-node-firewall#686: a bpffs refuses dots in the names of pins, and VLAN interfaces have them.
#[test]
fn a_dot_in_its_name() -> Result<()> {
    let mut lab = Lab::new().by_xdp().build()?;
    let is_attached = |lab: &router_tests::lab::Running| lab.network().router().has_xdp("eth0.100");
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

const BOTH: &str = "[\"clients0\", \"eth0.100\"]";
