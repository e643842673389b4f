//! Is only who shows a certificate let in, and are servers told whose it is?

use anyhow::{Result, ensure};
use router_tests::lab::{Lab, Running, peers::Curl};

const VERSIONS: [&str; 3] = ["--http1.1", "--http2", "--http3-only"];

fn lab(required: bool) -> Result<Running> {
    let mut lab = Lab::new().build()?;
    lab.home().write_certificate("member", &["member.test"])?;
    lab.home().write_certificate("stranger", &["stranger.test"])?;
    let ca = lab.home().path("member.pem");
    let keys = format!("tcp = true\nclient_certificates = {{ ca = \"{}\", required = {required} }}\n", ca.display());
    lab.reconfigure(|config| config.listener_keys = keys);
    lab.start_agent()?;
    Ok(lab)
}

/// What the server is told of a client that shows `certificate`, whatever the client itself says.
fn told<'lab>(lab: &'lab Running, version: &str, certificate: Option<&str>) -> Curl<'lab> {
    let url = lab.url("/field/x-client-cert-subject");
    let curl = Curl::over(version, lab.wire().namespace(), &url);
    let curl = curl.option("--header").option("X-Client-Cert-Subject: CN=admin");
    let Some(name) = certificate else { return curl };
    let path = |kind: &str| lab.home().path(&format!("{name}.{kind}")).display().to_string();
    curl.option("--cert").option(&path("pem")).option("--key").option(&path("key"))
}

#[test]
fn where_one_is_required() -> Result<()> {
    let lab = lab(true)?;
    for version in VERSIONS {
        let subject = told(&lab, version, Some("member")).succeed()?;
        assert_eq!(subject.trim_end(), "CN=rcgen self signed cert", "{version}");
        ensure!(told(&lab, version, None).succeed().is_err(), "{version}: without one");
        ensure!(told(&lab, version, Some("stranger")).succeed().is_err(), "{version}: somebody else's");
    }
    Ok(())
}

#[test]
fn where_none_is_required() -> Result<()> {
    let lab = lab(false)?;
    for version in VERSIONS {
        let subject = told(&lab, version, Some("member")).succeed()?;
        assert_eq!(subject.trim_end(), "CN=rcgen self signed cert", "{version}");
        assert_eq!(told(&lab, version, None).succeed()?.trim_end(), "none", "{version}: nobody makes one up");
    }
    Ok(())
}
