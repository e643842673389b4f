//! Does a large body take no more memory than a small one, and a slow reader no more than its flow control window?

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use router_tests::lab::{
    Lab, Peak, Program,
    peers::{Curl, QuicGo},
};

const GIB: u64 = 1 << 30;

/// What the allocator and the windows may take beside what a first transfer took.
const SLACK: u64 = 24 << 20;

#[test]
fn a_gibibyte_down_and_up() -> Result<()> {
    let lab = Lab::new().start()?;
    let patient =
        |clients: QuicGo<'_>| clients.within(Duration::from_secs(150)).in_all(Duration::from_secs(170)).succeed();
    patient(lab.quic_go().get("/bytes/50000000").connections(2))?;
    patient(lab.quic_go().post("/sink", 50_000_000).connections(2))?;
    for (what, clients) in
        [("down", lab.quic_go().get(&format!("/bytes/{GIB}"))), ("up", lab.quic_go().post("/sink", GIB))]
    {
        let peak = Peak::begin(&lab)?;
        patient(clients)?;
        let grown = peak.grown()?;
        println!("1 GiB {what}: {} KiB more at the peak", grown >> 10);
        ensure!(grown < SLACK, "1 GiB {what} took {grown} octets");
    }
    Ok(())
}

/// The server would send a gibibyte to each; each reads 100 kB a second.
#[test]
fn slow_readers_of_a_fast_server() -> Result<()> {
    const READERS: u64 = 20;
    let lab = Lab::new().start()?;
    lab.quic_go().get("/bytes/20000000").connections(READERS).succeed()?;
    let peak = Peak::begin(&lab)?;
    let url = lab.url(&format!("/bytes/{GIB}"));
    let slow = Curl::new(lab.wire().namespace(), &url).option("--limit-rate").option("100k");
    let slow = slow.option("--max-time").option("6").writing("%{size_download}");
    let readers = (0..READERS).map(|_| slow.start()).collect::<Result<Vec<Program>>>()?;
    for reader in readers {
        let finished = reader.finish(Duration::from_secs(40))?;
        let read: u64 = finished.stdout.trim().parse().with_context(|| finished.stdout.clone())?;
        ensure!(finished.status.code() == Some(OUT_OF_TIME), "{finished:?}");
        ensure!((200_000..5_000_000).contains(&read), "it read {read} octets");
    }
    let (grown, window) = (peak.grown()?, 2_097_152);
    println!("{READERS} slow readers: {} KiB more at the peak, {} KiB each", grown >> 10, (grown / READERS) >> 10);
    ensure!(grown < READERS * window + SLACK, "{READERS} slow readers took {grown} octets");
    Ok(())
}

/// How curl says that `--max-time` is over.
const OUT_OF_TIME: i32 = 28;
