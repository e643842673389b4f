//! Are clients let in only with a certificate where one is required, and are servers told its subject?

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use router_tests::lab::{
    Lab, PORT, Running,
    peers::{
        Curl,
        openssl::{self, Heard, Question},
    },
    until,
};

fn lab(required: bool) -> Result<Running> {
    lab_of(|lab| {
        let ca = lab.home().path("member.pem");
        format!("tcp = true\nclient_certificates = {{ ca = \"{}\", required = {required} }}\n", ca.display())
    })
}

/// With these keys of listeners, and certificates of a member and a stranger, each its own authority.
fn lab_of(keys: impl FnOnce(&Running) -> String) -> Result<Running> {
    let mut lab = Lab::new().build()?;
    lab.home().write_certificate("member", &["member.test"])?;
    lab.home().write_certificate("stranger", &["stranger.test"])?;
    let keys = keys(&lab);
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
fn a_required_certificate_is_demanded() -> Result<()> {
    let lab = lab(true)?;
    for version in Curl::VERSIONS {
        let subject = told(&lab, version, Some("member")).succeed()?;
        assert_eq!(subject.trim_end(), "CN=rcgen self signed cert", "{version}");
        ensure!(told(&lab, version, None).succeed().is_err(), "{version}: without one");
        ensure!(told(&lab, version, Some("stranger")).succeed().is_err(), "{version}: of another authority");
    }
    Ok(())
}

#[test]
fn an_optional_certificate_is_passed_on() -> Result<()> {
    let lab = lab(false)?;
    for version in Curl::VERSIONS {
        let subject = told(&lab, version, Some("member")).succeed()?;
        assert_eq!(subject.trim_end(), "CN=rcgen self signed cert", "{version}");
        assert_eq!(told(&lab, version, None).succeed()?.trim_end(), "none", "{version}: the client's own field passed");
    }
    Ok(())
}

/// A session of a client without a certificate is refused once one is required, and one of a client with
/// a certificate is good until the file of authorities changes: randombit/botan#5818,
/// junkurihara/rust-rpxy#603, CVE-2025-23419.
#[test]
fn session_resumption_does_not_bypass_a_required_certificate() -> Result<()> {
    let mut lab = lab_of(|_| "tcp = true\n".into())?;
    let ca = lab.home().path("ca.pem");
    fs::copy(lab.home().path("member.pem"), &ca)?;
    for way in &WAYS {
        assert!(!resumed(way.ask(&lab, None, Some("open"))?)?, "{way:?}");
        assert!(resumed(way.ask(&lab, Some("open"), Some("open"))?)?, "{way:?}: none is required yet");
    }
    lab.reload(|config| {
        config.listener_keys = format!("tcp = true\nclient_certificates = {{ ca = \"{}\" }}\n", ca.display());
    })?;
    for way in &WAYS {
        way.is_refused(&lab, "open").context("one is required now")?;
        let member = Way { with: Some("member"), ..*way };
        assert!(!resumed(member.ask(&lab, None, Some("member"))?)?, "{way:?}");
        assert!(resumed(way.ask(&lab, Some("member"), Some("member"))?)?, "{way:?}: it was shown");
    }
    lab.agent()?.upgrade(None)?;
    for way in &WAYS {
        way.is_refused(&lab, "open").context("another process")?;
        assert!(resumed(way.ask(&lab, Some("member"), Some("member"))?)?, "{way:?}: another process");
    }
    lab.start_agent()?;
    for way in &WAYS {
        way.is_refused(&lab, "open").context("after a restart")?;
        assert!(resumed(way.ask(&lab, Some("member"), Some("member"))?)?, "{way:?}: after a restart");
    }
    // The agent is not told.
    fs::copy(lab.home().path("stranger.pem"), &ca)?;
    let is_refused = |heard: &Heard| matches!(heard, Heard::Refusal(_));
    until(|| WAYS[0].ask(&lab, Some("member"), Some("member")), is_refused)?;
    for way in &WAYS {
        way.is_refused(&lab, "member").context("another authority")?;
    }
    Ok(())
}

/// A client with quic-go that resumes over HTTP/3, before a reload and behind it.
#[test]
fn http3_session_resumption_does_not_bypass_a_required_certificate() -> Result<()> {
    let mut lab = lab_of(|_| String::new())?;
    let clients =
        lab.quic_go().get("/bytes/100").holding(HOLD).connections(3).at_once(1).requests(1).flag("resume").start()?;
    lab.await_accepted(&clients, 2)?;
    let ca = lab.home().path("member.pem");
    lab.reload(|config| {
        config.listener_keys = format!("client_certificates = {{ ca = \"{}\" }}\n", ca.display());
    })?;
    let summary = clients.finish()?;
    // The first and the second; the third sees its handshake complete before the server has judged it.
    assert_eq!((summary.requests_ok, summary.requests_failed, summary.resumed), (2, 1, 1), "{summary:?}");
    let why: Vec<_> = summary.errors.keys().collect();
    // certificate_required
    ensure!(why.len() == 1 && why[0].contains("CRYPTO_ERROR 0x174"), "{summary:?}");
    Ok(())
}

/// A reload takes less.
const HOLD: Duration = Duration::from_secs(3);

/// How a client comes.
#[derive(Clone, Copy, Debug)]
struct Way {
    name: &'static str,
    options: &'static [&'static str],
    text: &'static str,
    answer: &'static str,
    /// What `s_client` says when it has to show a certificate. Over QUIC it does not say why.
    refusal: &'static str,
    /// The name of a certificate to show.
    with: Option<&'static str>,
}

const WAYS: [Way; 3] = [
    Way { name: "tls12", options: &["-tls1_2", "-alpn", "http/1.1"], ..HTTP },
    Way { name: "tls13", options: &["-tls1_3", "-alpn", "http/1.1"], ..HTTP },
    Way {
        name: "quic",
        options: &["-quic", "-alpn", "echo"],
        text: "come back\n",
        answer: "come back",
        refusal: "protocol is shutdown",
        with: None,
    },
];

const HTTP: Way = Way {
    name: "",
    options: &[],
    text: GET,
    answer: "HTTP/1.1 200",
    refusal: "alert certificate required",
    with: None,
};

const GET: &str = "GET /bytes/10 HTTP/1.1\r\nHost: localhost\r\n\r\n";

impl Way {
    /// With the session of the file `session`, and keeping the new one in `keep`.
    fn ask(&self, lab: &Running, session: Option<&str>, keep: Option<&str>) -> Result<Heard> {
        let path = |name: &str| lab.home().path(&format!("{}-{name}.session", self.name));
        let mut options: Vec<String> = self.options.iter().map(|&option| option.into()).collect();
        let mut add = |option: &str, path: PathBuf| options.extend([option.to_owned(), path.display().to_string()]);
        if let Some(name) = session {
            add("-sess_in", path(name));
        }
        if let Some(name) = self.with {
            add("-cert", lab.home().path(&format!("{name}.pem")));
            add("-key", lab.home().path(&format!("{name}.key")));
        }
        let options: Vec<_> = options.iter().map(String::as_str).collect();
        let question = Question { options: &options, text: self.text, answer: self.answer };
        openssl::ask(lab.wire().namespace(), lab.wire().router(PORT), question, keep.map(path).as_deref())
    }

    /// Makes sure that a client that has nothing but `session` is not let in.
    fn is_refused(&self, lab: &Running, session: &str) -> Result<()> {
        match self.ask(lab, Some(session), None)? {
            Heard::Refusal(why) if why.contains(self.refusal) => Ok(()),
            heard => bail!("{self:?}: {heard:?}"),
        }
    }
}

fn resumed(heard: Heard) -> Result<bool> {
    match heard {
        Heard::Answer { resumed, .. } => Ok(resumed),
        Heard::Refusal(why) => bail!("refused: {why}"),
    }
}
