//! Are only the TLS versions and groups negotiated that the configuration allows, over TCP and QUIC alike?

use anyhow::{Result, ensure};
use router_tests::lab::{
    Lab, PORT, Running,
    peers::openssl::{Agreed, agree},
};

const QUIC: [&str; 3] = ["-quic", "-alpn", "h3"];

fn lab(keys: &str) -> Result<Running> {
    let keys = format!("tcp = true\n{keys}");
    Lab::new().config(|config| config.listener_keys = keys).start()
}

fn with(lab: &Running, options: &[&[&str]]) -> Result<Agreed> {
    agree(lab.wire().namespace(), lab.wire().router(PORT), &options.concat())
}

#[test]
fn versions_and_groups_by_default() -> Result<()> {
    let lab = lab("")?;
    assert_eq!(with(&lab, &[&["-tls1_2"]])?.version, "TLSv1.2");
    ensure!(with(&lab, &[&["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]]).is_err());
    for (groups, expected) in [
        ("X25519MLKEM768:X25519", "X25519MLKEM768"),
        // A client whose key share will do is spared the round trip to a better one.
        ("X25519:X25519MLKEM768", "X25519, 253 bits"),
        ("P-384", "ECDH, secp384r1, 384 bits"),
    ] {
        assert_eq!(with(&lab, &[&["-groups", groups]])?.group.as_deref(), Some(expected), "{groups}");
    }
    for (over, version) in [(&[][..], "TLSv1.3"), (&QUIC[..], "QUICv1")] {
        // The first one's key share makes the first flight over QUIC two datagrams.
        for group in ["X25519MLKEM768", "X25519", "P-256", "P-384"] {
            assert_eq!(with(&lab, &[over, &["-groups", group]])?.version, version, "{group}");
        }
        ensure!(with(&lab, &[over, &["-groups", "P-521"]]).is_err(), "{version}");
    }
    Ok(())
}

#[test]
fn versions_and_groups_of_a_listener() -> Result<()> {
    let lab = lab("minimum_tls = \"1.3\"\ngroups = [\"P-256\"]\n")?;
    ensure!(with(&lab, &[&["-tls1_2"]]).is_err());
    for (over, version) in [(&[][..], "TLSv1.3"), (&QUIC[..], "QUICv1")] {
        let agreed = with(&lab, &[over])?;
        let group = agreed.group.as_deref();
        assert_eq!((agreed.version.as_str(), group), (version, Some("ECDH, prime256v1, 256 bits")));
        ensure!(with(&lab, &[over, &["-groups", "X25519:X25519MLKEM768"]]).is_err(), "{version}");
    }
    Ok(())
}
