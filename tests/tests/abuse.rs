//! Are ordinary clients served while hostile ones do, all at once, what is known to bring proxies down?

use std::{
    collections::BTreeMap,
    env,
    fs::read_to_string,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use router_tests::lab::{
    Lab, PORT, Program, Running,
    peers::{self, Curl},
};

/// For ten seconds; `QUIC_ROUTER_ABUSE_SECONDS` says otherwise. No request of ordinary clients fails, no server is
/// blamed, memory stays within its budget, and no line is logged more than once a second. From a minute on, when there
/// are requests enough to tell, 99 of 100 take at most twice as long as without the hostile ones.
#[test]
fn ordinary_clients_are_served_beside_hostile_ones() -> Result<()> {
    let seconds: u32 = env::var("QUIC_ROUTER_ABUSE_SECONDS").map_or(Ok(10), |text| text.parse())?;
    let lab = Lab::new().clients(2).workers(2).limit("memory", "\"64 MiB\"").limit("max_handshakes", "64");
    let lab = lab.tcp().start()?;
    let is_long = seconds >= 60;
    let quiet = ordinary(&lab, if is_long { 300 } else { 20 })?.succeed()?;
    // At idle priority: the test asks what they cost the router, not what they cost the machine that all share.
    let mut hostile = lab.network().clients()[1].namespace().command("chrt");
    hostile.args(["--idle", "0"]).arg(peers::find("hostile")?);
    hostile.args([lab.network().clients()[1].router4().to_string(), PORT.to_string(), seconds.to_string()]);
    let (begun, hostile) = (Instant::now(), Program::start("hostile", &mut hostile)?);
    // They go on for as long as the others do.
    let requests = u64::from(seconds) * 1_000 / PAUSE.as_millis() as u64;
    let clients = ordinary(&lab, requests)?;
    let over_http2 = over_http2(&lab, requests)?;
    let mut held = 0;
    while !clients.ends_within(Duration::from_millis(500)) {
        let status = lab.control().status()?;
        let memory = status.memory.context("a memory budget")?;
        ensure!(memory.held <= memory.budget, "{memory:?}");
        held = held.max(memory.held);
        ensure!(status.upstreams.iter().all(|server| server.health == "up"), "{:?}", status.upstreams);
    }
    let loud = clients.succeed()?;
    over_http2.finish(LONG)?.succeeded()?;
    let attempts = hostile.finish(Duration::from_secs(u64::from(seconds) + 60))?.succeeded()?.stdout;
    let attempts: BTreeMap<String, u64> = serde_json::from_str(&attempts)?;
    for kind in ["unread", "uploads", "handshakes", "resets", "trickle", "junk", "retire"] {
        ensure!(attempts.get(kind) > Some(&0), "no hostile client did {kind}: {attempts:?}");
    }
    println!("{attempts:?}; {held} octets held; requests {:?}, quiet {:?}", loud.requests, quiet.requests);
    ensure!(held > 0, "nothing was held");
    ensure!(!is_long || loud.requests.p99 <= 2 * quiet.requests.p99, "{:?}, quiet {:?}", loud.requests, quiet.requests);
    nothing_is_said_too_often(&lab, begun.elapsed())
}

/// Fifty clients with a request now and then.
fn ordinary(lab: &Running, requests: u64) -> Result<peers::Clients> {
    lab.quic_go().get("/bytes/20000").connections(50).requests(requests).pausing(PAUSE).within(LONG).start()
}

/// One more, over HTTP/2, ten requests a second.
fn over_http2(lab: &Running, requests: u64) -> Result<Program> {
    let url = format!("https://{}:{PORT}/bytes/20000?[1-{requests}]", lab.wire().router4());
    let client = Curl::over("--http2", lab.wire().namespace(), &url).option("--fail").option("--rate").option("10/s");
    client.option("--output").option("/dev/null").option("--max-time").option("900").start()
}

/// Lines that differ by numbers only are the same.
fn nothing_is_said_too_often(lab: &Running, time: Duration) -> Result<()> {
    let mut lines = BTreeMap::<String, u64>::new();
    for line in read_to_string(lab.home().log_path())?.lines() {
        let words = line.split_once(' ').map_or(line, |(_, words)| words);
        *lines.entry(words.chars().filter(|c| !c.is_ascii_digit()).collect()).or_default() += 1;
    }
    for (line, times) in lines {
        ensure!(times <= time.as_secs() + 2, "{times} times in {time:?}: {line}");
    }
    Ok(())
}

const PAUSE: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_secs(900);
