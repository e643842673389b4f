//! Does the access log have one line for each request and raw stream, with the right values, also after logrotate?

use std::fs;

use anyhow::Result;
use router_tests::lab::{Lab, peers::Curl};
use serde_json::Value;

#[test]
fn each_request_is_logged_once() -> Result<()> {
    let mut lab = Lab::new().build()?;
    let file = lab.home().path("access.log");
    let log = format!("[access_log]\nfile = \"{}\"\n", file.display());
    lab.reconfigure(|config| {
        config.listen_on_tcp();
        config.rest = log + &config.rest;
    });
    lab.start_agent()?;
    let clients = lab.wire().namespace();
    let trace = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for version in Curl::VERSIONS {
        let curl = Curl::over(version, clients, &lab.url("/bytes/1000?x=1"));
        curl.option("--header").option(trace).option("--user-agent").option("a \"quoted\" one").succeed()?;
    }
    Curl::over("--http3-only", clients, &lab.url("/none")).succeed()?;
    lab.quic_go().echo(5_000).connections(1).requests(2).succeed()?;

    let lines = lab.await_access_log(|lines| lines.len() >= 6)?;
    let text = |line: &Value, key: &str| line[key].as_str().unwrap_or_default().to_owned();
    for (line, protocol) in lines.iter().zip(["HTTP/1.1", "HTTP/2", "HTTP/3", "HTTP/3"]) {
        assert_eq!(text(line, "protocol"), protocol, "{line}");
        assert_eq!(text(line, "trace_id").len(), 32, "{line}");
        assert_eq!(text(line, "outcome"), "complete", "{line}");
        assert_eq!(text(line, "upstream"), "web", "{line}");
    }
    for line in &lines[..3] {
        assert_eq!(
            (line["status"].as_u64(), line["sent_bytes"].as_u64(), line["received_bytes"].as_u64()),
            (Some(200), Some(1000), Some(0)),
            "{line}"
        );
        assert_eq!(text(line, "path"), "/bytes/1000?x=1");
        assert_eq!(text(line, "trace_id"), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(text(line, "user_agent"), "a \"quoted\" one");
    }
    assert_eq!(lines[3]["status"].as_u64(), Some(404));
    for line in &lines[4..] {
        assert_eq!((text(line, "protocol"), text(line, "upstream")), ("raw".into(), "echo".into()), "{line}");
        assert_eq!(
            (line["sent_bytes"].as_u64(), line["received_bytes"].as_u64()),
            (Some(5_000), Some(5_000)),
            "{line}"
        );
    }

    // Moved away, as logrotate does, and opened anew.
    fs::rename(&file, lab.home().path("access.log.1"))?;
    lab.control().reload()?;
    Curl::over("--http2", clients, &lab.url("/bytes/1")).succeed()?;
    assert_eq!(lab.await_access_log(|lines| !lines.is_empty())?.len(), 1);
    Ok(())
}
