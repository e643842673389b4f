//! Do metrics, log, qlog and the flow table agree with what clients did, and does asking for them cost little?

use std::{fs, time::Duration};

use anyhow::{Context, Result, ensure};
use router_common::{connection_id::ConnectionId, identifiers::SlotId, maps::Origin};
use router_tests::lab::{Lab, Running, peers::Curl, until};
use router_userspace::{
    agent::api::Flow,
    datapath::{FlowCount, FlowWriter},
};

const ADMIN: &str = "127.0.0.1:9180";

fn lab(section: &str) -> Result<Running> {
    let section = section.to_owned();
    Lab::new()
        .config(|config| {
            config.listen_on_tcp();
            config.rest = section + &config.rest;
        })
        .start()
}

#[test]
fn metrics_count_what_clients_did() -> Result<()> {
    let lab = lab(&format!("[admin]\naddress = \"{ADMIN}\"\n"))?;
    lab.quic_go().get("/bytes/1000").connections(5).requests(10).succeed()?;
    lab.quic_go().echo(3_000).connections(2).requests(3).succeed()?;
    for version in ["--http1.1", "--http2"] {
        Curl::over(version, lab.wire().namespace(), &lab.url("/nothing")).succeed()?;
    }
    let page = scrape(&lab, "/metrics")?;
    for (sample, value) in [
        (r#"quic_router_requests_total{route="/",protocol="HTTP/3",status="200"}"#, 50),
        (r#"quic_router_requests_total{route="/",protocol="HTTP/2",status="404"}"#, 1),
        (r#"quic_router_requests_total{route="/",protocol="HTTP/1.1",status="404"}"#, 1),
        (r#"quic_router_request_outcomes_total{route="/",outcome="complete"}"#, 52),
        (r#"quic_router_request_duration_seconds_count{route="/"}"#, 52),
        (r#"quic_router_streams_total{route="alpn echo",outcome="complete"}"#, 6),
        (r#"quic_router_received_bytes_total{route="alpn echo"}"#, 6 * 3_000),
        (r#"quic_router_handshakes_total{transport="quic",outcome="complete"}"#, 7),
        (r#"quic_router_handshakes_total{transport="tcp",outcome="complete"}"#, 2),
        (r#"quic_router_upstream_server_requests_total{upstream="echo",server="tcp://10.78.0.2:7"}"#, 6),
        ("quic_router_generation", 1),
    ] {
        assert_eq!(read(&page, sample)?, value, "{sample}");
    }
    // The kernel's stages are there, and their sums close.
    let received = read(&page, r#"quic_router_kernel_packets_received_total{stage="xdp"}"#)?;
    let fates = page.lines().filter(|line| line.starts_with(r#"quic_router_kernel_packets_total{stage="xdp""#));
    let sum: u64 = fates.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum();
    ensure!(received > 100 && sum == received, "{sum} of {received}");
    assert_eq!(scrape(&lab, "/healthz")?.trim_end(), "ok");

    // The next generation answers on the same address, by its own counts.
    lab.agent()?.upgrade(None)?;
    assert_eq!(read(&scrape(&lab, "/metrics")?, "quic_router_generation")?, 2);
    Ok(())
}

#[test]
fn the_log_filter_changes_at_run_time() -> Result<()> {
    let lab = lab("")?;
    let log = |arguments: &[&str]| lab.cli(&[&["log"], arguments].concat());
    assert_eq!(log(&[])?.succeeded()?.stdout.trim_end(), "info");
    log(&["info,router_userspace::edge=debug"])?.succeeded()?;
    assert_eq!(log(&[])?.succeeded()?.stdout.trim_end(), "info,router_userspace::edge=debug");
    let said = |lab: &Running| lab.home().log().matches(": serving").count();
    let before = said(&lab);
    lab.quic_go().get("/bytes/1").succeed()?;
    until(|| Ok(said(&lab)), |said| *said == before + 1)?;
    let refused = log(&["nonsense"])?;
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    lab.control().reload()?;
    assert_eq!(log(&[])?.succeeded()?.stdout.trim_end(), "info", "until the next reload");
    Ok(())
}

#[test]
fn a_qlog_file_for_each_connection() -> Result<()> {
    let mut lab = Lab::new().build()?;
    let folder = lab.home().path("qlog");
    let refused =
        lab.refuse(|config| config.rest = format!("[qlog]\ndir = \"{}\"\n", folder.display()) + &config.rest)?;
    ensure!(refused.stderr.contains("qlog.dir: ") && !refused.status.success(), "no such folder: {refused:?}");
    fs::create_dir(&folder)?;
    lab.reconfigure(|config| config.rest = format!("[qlog]\ndir = \"{}\"\n", folder.display()) + &config.rest);
    lab.start_agent()?;
    lab.quic_go().get("/bytes/100000").connections(3).succeed()?;
    // Its last words are in the files when it has ended.
    lab.take_agent()?.terminate()?;
    let traces = fs::read_dir(&folder)?.collect::<Result<Vec<_>, _>>()?;
    assert_eq!(traces.len(), 3);
    for trace in traces {
        let text = fs::read_to_string(trace.path())?;
        ensure!(text.contains("\"transport:packet_received\"") && text.contains("\"transport:packet_sent\""), "{text}");
    }
    Ok(())
}

/// A status had taken 625 ms and a scrape 608, and all other questions had waited for both. What is measured is
/// processor time, which other programs' load does not change: a walk through the table took half a second of it.
#[test]
fn a_million_flows_are_no_burden_to_the_agent() -> Result<()> {
    let admin = format!("[admin]\naddress = \"{ADMIN}\"\n");
    let lab = Lab::new().by_xdp().config(|config| config.rest.insert_str(0, &admin)).start()?;
    let mut writer = FlowWriter::open(&lab.home().pins().join("flows"), FlowCount::default())?;
    for number in 0..MANY {
        let cid = [[0x10; 13].as_slice(), &number.to_be_bytes()].concat();
        let cid = ConnectionId::new(&cid).context("17 octets")?;
        ensure!(writer.insert(&cid, SlotId::new(0), Origin::Issued), "there is no room for {number}");
    }
    let agent = lab.agent()?.pid()?;
    let before = ticks(agent)?;
    for _ in 0..ROUNDS {
        lab.control().status()?;
        lab.control().workers()?;
        scrape(&lab, "/metrics")?;
    }
    let spent = ticks(agent)? - before;
    // Nor is anything else kept waiting meanwhile, not even by a walk of the whole table.
    ensure!(lab.control().flows()?.flows.len() > 1, "there are flows");
    let page = scrape(&lab, "/metrics")?;
    let longest: f64 = sample(&page, "quic_router_agent_longest_turn_seconds")?.parse()?;
    ensure!(longest > 0.0 && longest < 0.01, "the agent's thread was busy for {longest} s");
    assert_eq!(lab.control().status()?.flow_table.context("a flow table")?.capacity, 1_000_000);
    ensure!(spent < 10 * ROUNDS, "{spent} ticks for {ROUNDS} rounds");
    Ok(())
}

/// Processor time of a process in hundredths of a second, but for the thread that keeps the table and counts it anew
/// now and then (proc_pid_task(5)).
fn ticks(pid: i32) -> Result<u64> {
    let mut ticks = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let stat = fs::read_to_string(thread?.path().join("stat"))?;
        let (name, fields) = stat.rsplit_once(") ").context("a name in brackets")?;
        let mut times = fields.split(' ').skip(11).map(str::parse::<u64>);
        if !name.ends_with("(sweeper") {
            ticks += times.next().context("utime")?? + times.next().context("stime")??;
        }
    }
    Ok(ticks)
}

/// Not quite all that the table has room for: clients come, too.
const MANY: u32 = 990_000;
const ROUNDS: u64 = 10;

/// What the admin listener answers.
fn scrape(lab: &Running, path: &str) -> Result<String> {
    Curl::over("--http1.1", lab.network().router(), &format!("http://{ADMIN}{path}")).succeed()
}

/// The value of a sample.
fn read(page: &str, sample: &str) -> Result<u64> {
    Ok(self::sample(page, sample)?.parse()?)
}

fn sample<'p>(page: &'p str, sample: &str) -> Result<&'p str> {
    let line = page.lines().find(|line| line.strip_prefix(sample).is_some_and(|rest| rest.starts_with(' ')));
    line.and_then(|line| line.rsplit(' ').next()).with_context(|| format!("no {sample} in\n{page}"))
}

/// ANOLISA#3121: where the agent's clock is ahead of the host's by days, flows in use had been swept as idle.
#[test]
fn ages_of_flows_in_a_time_namespace() -> Result<()> {
    let under = ["unshare", "--time", "--monotonic", "172800", "--fork", "--kill-child"].map(str::to_owned);
    let lab = Lab::new().by_xdp().config(|config| config.under = under.into()).start()?;
    let pause = Duration::from_millis(250);
    let clients = lab.quic_go().get("/bytes/1000").connections(2).until_told().pausing(pause).start()?;
    let used = |flow: &Flow| flow.packets > 10 && flow.age_ms > 11_000;
    let flows = until(
        || Ok(lab.control().flows()?.flows),
        |flows: &Vec<Flow>| flows.iter().filter(|flow| used(flow)).count() >= 2,
    )?;
    ensure!(
        flows.iter().all(|flow| flow.age_ms < 60_000 && flow.idle_ms.is_none_or(|idle| idle < 60_000)),
        "{flows:?}"
    );
    clients.succeed().map(drop)
}

/// To walk a million entries took half a second, at every scrape. The number is kept; it is the same.
#[test]
fn the_number_of_flows_is_that_of_the_table() -> Result<()> {
    let lab = Lab::new().by_xdp().start()?;
    for _ in 0..2 {
        lab.quic_go().get("/bytes/1000").connections(40).succeed()?;
        let both = || {
            let kept = lab.control().status()?.flow_table.map(|table| table.entries);
            Ok((kept, lab.control().flows()?.entries))
        };
        until(both, |(kept, walked)| *kept == Some(*walked) && *walked > 40)?;
    }
    Ok(())
}
