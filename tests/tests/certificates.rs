//! Does a client get the certificate of the server name (SNI) that it asks for?

use anyhow::Result;
use router_tests::lab::{Lab, Running, peers::Summary};

#[test]
fn the_certificate_is_chosen_by_sni() -> Result<()> {
    let mut lab = Lab::new().config(|config| config.certificates.push("other".into())).build()?;
    lab.home().write_certificate("other", &["other.test", "*.other.test"])?;
    lab.start_agent()?;
    for (name, certificate) in [
        ("router.test", "certificate"),
        ("other.test", "other"),
        ("a.other.test", "other"),
        // For names that no certificate has there is the first one.
        ("localhost", "certificate"),
    ] {
        assert_eq!(ask(&lab, name, certificate)?.requests_ok, 10, "{name}");
    }
    // A client that trusts only the other certificate would have noticed.
    let summary = ask(&lab, "router.test", "other")?;
    assert_eq!((summary.requests_ok, summary.connections_failed), (0, 10), "{summary:?}");
    lab.expect_no_packet_lost()
}

/// Ten clients that ask for `name` and trust only `certificate`.
fn ask(lab: &Running, name: &str, certificate: &str) -> Result<Summary> {
    let trusted = lab.home().path(&format!("{certificate}.pem"));
    let clients = lab.quic_go().get("/bytes/1000").connections(10);
    clients.option("sni", name).option("ca", trusted.display()).run()
}
