//! Do clients over TCP (HTTP/1.1, HTTP/2) get the same as over HTTP/3, and learn of it by Alt-Svc?

use std::{collections::BTreeMap, thread};

use anyhow::{Result, ensure};
use router_tests::lab::{Lab, Running, peers::Curl};

fn lab() -> Result<Running> {
    Lab::new().tcp().start()
}

#[test]
fn requests_over_each_version_of_http() -> Result<()> {
    let lab = lab()?;
    let clients = lab.wire().namespace();
    for (version, spoken) in [("--http1.1", "1.1"), ("--http2", "2"), ("--http3-only", "3")] {
        let curl = Curl::over(version, clients, &lab.url("/bytes/100000"));
        let [spoken_, status, size] = &written(&curl, "%{http_version} %{http_code} %{size_download}")?[..] else {
            anyhow::bail!("curl writes three words");
        };
        assert_eq!((spoken_.as_str(), status.as_str(), size.as_str()), (spoken, "200", "100000"), "{version}");
        let post = Curl::over(version, clients, &lab.url("/echo")).option("--data-raw").option("twelve bytes");
        assert_eq!(post.succeed()?.trim_end(), "twelve bytes", "{version}");
    }
    let totals = lab.control().status()?.totals;
    assert_eq!((totals.tcp_accepted, totals.accepted), (4, 2));
    Ok(())
}

#[test]
fn alt_svc_is_sent_over_tcp() -> Result<()> {
    let lab = lab()?;
    let head =
        |version: &str| Curl::over(version, lab.wire().namespace(), &lab.url("/bytes/1")).option("--head").succeed();
    for version in ["--http1.1", "--http2"] {
        let head = head(version)?.to_ascii_lowercase();
        ensure!(head.contains("\r\nalt-svc: h3=\":443\"; ma=86400\r\n"), "{version}: {head}");
    }
    let head = head("--http3-only")?;
    ensure!(!head.contains("alt-svc"), "it is there already: {head}");
    Ok(())
}

#[test]
fn plain_http_is_redirected_to_https() -> Result<()> {
    let keys = "tcp = true\nredirect_from = \"0.0.0.0:80\"\n";
    let lab = Lab::new()
        .config(|config| {
            config.listeners = vec!["0.0.0.0:443".into()];
            config.listener_keys = keys.into();
        })
        .start()?;
    let plain = format!("http://{}/bytes/10?x=1", lab.wire().router(80));
    let curl = Curl::over("--http1.1", lab.wire().namespace(), &plain);
    let to = format!("https://{}/bytes/10?x=1", lab.wire().router(443).ip());
    assert_eq!(written(&curl, "%{http_code} %{redirect_url}")?, ["308", to.as_str()]);
    assert_eq!(written(&curl.option("--location"), "%{http_code} %{size_download}")?, ["200", "10"]);
    Ok(())
}

/// A reload closes ports and opens them, and an upgrade hands them on; clients that ask meanwhile are served.
#[test]
fn requests_over_reloads_and_upgrades() -> Result<()> {
    let mut lab = lab()?;
    let url = lab.url("/bytes/1000");
    let ask = |lab: &Running, version: &str| {
        written(&Curl::over(version, lab.wire().namespace(), &url), "%{http_code} %{size_download}")
    };
    lab.reload(|config| config.listener_keys.clear())?;
    ensure!(ask(&lab, "--http2").is_err(), "the port is closed");
    assert_eq!(ask(&lab, "--http3-only")?, ["200", "1000"]);
    lab.reload(|config| config.listen_on_tcp())?;
    for round in 0..3 {
        assert_eq!(ask(&lab, "--http2")?, ["200", "1000"], "{round}");
        lab.agent()?.upgrade(None)?;
        for _ in 0..10 {
            assert_eq!(ask(&lab, "--http1.1")?, ["200", "1000"], "{round}");
        }
    }
    Ok(())
}

/// New connections all the time, each for one request, while generations follow one another: the
/// kernel may bring one to a socket that no thread accepts from, or that is closed under it.
#[test]
fn no_tcp_connection_is_lost_over_upgrades() -> Result<()> {
    let lab = lab()?;
    lab.network().router().set("ipv4/tcp_migrate_req", "1")?;
    let url = lab.url(&format!("/bytes/100?[1-{MANY}]"));
    let curl = Curl::over("--http1.1", lab.wire().namespace(), &url).option("--parallel").option("--parallel-max");
    let curl = curl.option("8").option("--header").option("connection: close");
    let asked = thread::scope(|scope| {
        let asking = scope.spawn(|| written(&curl, "%{http_code}\\n"));
        while !asking.is_finished() {
            lab.agent()?.upgrade(None)?;
        }
        asking.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    let mut statuses = BTreeMap::<_, usize>::new();
    asked.into_iter().for_each(|status| *statuses.entry(status).or_default() += 1);
    assert_eq!(statuses, BTreeMap::from([("200".to_owned(), MANY)]));
    let generations = lab.control().status()?.generation;
    ensure!(generations > 2, "{generations} generations");
    Ok(())
}

/// What curl writes out at the end, in words.
fn written(curl: &Curl<'_>, format: &str) -> Result<Vec<String>> {
    Ok(curl.clone().writing(format).succeed()?.split_whitespace().map(str::to_owned).collect())
}

/// Connections over upgrades.
const MANY: usize = 3_000;
