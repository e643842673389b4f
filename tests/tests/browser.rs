//! Does a browser find HTTP/3?

use std::fs;

use anyhow::{Context, Result, ensure};
use router_tests::lab::{Lab, peers::chromium};
use serde_json::Value;

/// Asks for something again and again until that comes by HTTP/3, and says by what each came.
const PAGE: &str = "<!doctype html><title>the page</title><pre id=protocols></pre><script>
(async () => {
  const came = [performance.getEntriesByType('navigation')[0].nextHopProtocol];
  while (came.at(-1) !== 'h3' && came.length < 50) {
    const url = `/part.txt?${came.length}`;
    await (await fetch(url, { cache: 'no-store' })).text();
    came.push(performance.getEntriesByName(location.origin + url)[0].nextHopProtocol);
    await new Promise(resolve => setTimeout(resolve, 100));
  }
  document.getElementById('protocols').textContent = came.join(' ');
})();
</script>";

#[test]
fn chromium_goes_from_http2_to_http3_by_alt_svc() -> Result<()> {
    browse(Lab::new()).map(drop)
}

/// It takes the Retry of the XDP program for a server's.
#[test]
fn chromium_obeys_a_retry_of_xdp() -> Result<()> {
    let lab = Lab::new().by_xdp().admission("answer_in_xdp", "\"always\"").admission("challenge", "\"always\"");
    let retried = browse(lab)?;
    ensure!(retried >= 1, "it was not asked");
    Ok(())
}

/// How many Retries XDP sent it on its way to HTTP/3.
fn browse(lab: Lab) -> Result<u64> {
    let mut lab = lab.build()?;
    let (www, log) = (lab.home().path("www"), lab.home().path("access.log"));
    fs::create_dir(&www)?;
    lab.home().write("www/index.html", PAGE)?;
    lab.home().write("www/part.txt", "a part of it")?;
    lab.reconfigure(|config| {
        config.listen_on_tcp();
        config.rest = format!(
            "[access_log]\nfile = \"{}\"\n[[route]]\nupstream = \"site\"\n[upstream.site]\nservers = [\"files:{}\"]\n",
            log.display(),
            www.display()
        );
    });
    lab.start_agent()?;
    let _passing = lab.wire().receiving_by_xdp()?;
    let before = lab.counters()?;
    let page = chromium::page(&lab, "/")?;
    let retried = before.moved()?.get("xdp.retried").copied().unwrap_or(0);
    let (_, rest) = page.split_once("<pre id=\"protocols\">").with_context(|| page.clone())?;
    let came: Vec<_> = rest.split('<').next().unwrap_or_default().split(' ').collect();
    println!("by {came:?}");
    ensure!(came.first() == Some(&"h2") && came.last() == Some(&"h3"), "{page}");
    ensure!(came[1..came.len() - 1].iter().all(|by| *by == "h2"), "{came:?}");

    // We have seen the same.
    lab.take_agent()?.terminate()?;
    let log = fs::read_to_string(log)?;
    let lines = log.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    let of = |protocol: &str, path: &str| {
        lines
            .iter()
            .filter(|line| line["protocol"] == protocol && line["path"].as_str().is_some_and(|p| p.starts_with(path)))
            .count()
    };
    assert_eq!((of("HTTP/2", "/part.txt"), of("HTTP/3", "/part.txt")), (came.len() - 2, 1), "{log}");
    ensure!(of("HTTP/2", "/") > of("HTTP/2", "/part.txt"), "{log}");
    Ok(retried)
}
