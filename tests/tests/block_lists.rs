//! Does what comes from a prefix that the operator named become what the list says, and nothing else?

use std::{
    fmt::Write as _,
    io::{self, Read as _},
    net::{Ipv4Addr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use router_tests::{
    lab::{ENGINES, Finished, Lab, PORT, Running, peers::QuicGo, until, wire::Sender},
    packets::{
        Packet,
        quic::{Quic, V1},
    },
};
use router_userspace::agent::api::{Block, Blocks};

/// Each packet that is dropped is counted once, by the entry that decides, whichever stage sees it first.
#[test]
fn the_longest_prefix_decides_and_counts() -> Result<()> {
    for engine in ENGINES {
        let lab = Lab::new().engine(engine).start()?;
        let mut flood = Flood::new(&lab)?;
        done(&lab, &["block", "add", "10.77.0.64/26", "--why", "a test"])?;
        flood.drops(&lab, 50).context(engine)?;
        hits(&lab, &[("10.77.0.64/26", 50)]).context(engine)?;
        lab.quic_go().get("/bytes/20000").connections(5).succeed()?;

        done(&lab, &["allow", "add", "10.77.0.99"])?;
        flood.passes(&lab, 20).context(engine)?;
        hits(&lab, &[("10.77.0.64/26", 50), ("10.77.0.99/32", 20)]).context(engine)?;
        done(&lab, &["allow", "remove", "10.77.0.99"])?;
        flood.drops(&lab, 7).context(engine)?;
        hits(&lab, &[("10.77.0.64/26", 57)]).context(engine)?;

        let explained = lab.control().explain(&first_flight(0))?;
        let finding =
            |step: &str| explained.steps.iter().any(|one| one.step == "admission" && one.finding.contains(step));
        ensure!(explained.reason == "blocked" && finding("drop of 10.77.0.64/26 by a verb: a test"), "{explained:?}");
        done(&lab, &["block", "remove", "10.77.0.64/26"])?;
        flood.passes(&lab, 10).context(engine)?;
        ensure!(list(&lab)?.is_empty());
    }
    Ok(())
}

/// Who is blocked has no connection, and who is not any more has one.
#[test]
fn clients_come_in_again_when_their_prefix_is_removed_or_has_ended() -> Result<()> {
    for engine in ENGINES {
        let lab = Lab::new().engine(engine).start()?;
        let client = || lab.quic_go().get("/bytes/20000").within(Duration::from_secs(2));
        done(&lab, &["block", "add", "10.77.0.0/24"])?;
        let refused = client().run()?;
        ensure!((refused.connections_ok, refused.connections_failed) == (0, 1), "{engine}: {refused:?}");
        ensure!(lab.control().status()?.totals.accepted == 0, "{engine}");
        done(&lab, &["block", "remove", "10.77.0.0/24"])?;
        lab.quic_go().get("/bytes/20000").succeed().context(engine)?;

        done(&lab, &["block", "add", "10.77.0.0/24", "--for", "1s"])?;
        let named = list(&lab)?;
        ensure!(named[0].seconds_left.is_some_and(|left| left <= 1) && named[0].until.is_some(), "{named:?}");
        until(|| list(&lab), Vec::is_empty)?;
        lab.quic_go().get("/bytes/20000").succeed().context(engine)?;
    }
    Ok(())
}

#[test]
fn who_is_challenged_shows_its_address_first() -> Result<()> {
    for engine in ENGINES {
        let lab = Lab::new().engine(engine).start()?;
        let retried = || Ok::<_, anyhow::Error>(lab.control().status()?.totals.retried);
        lab.quic_go().get("/bytes/20000").connections(3).succeed()?;
        ensure!(retried()? == 0, "{engine}");
        done(&lab, &["block", "add", "10.77.0.2", "--challenge"])?;
        lab.quic_go().get("/bytes/20000").connections(3).succeed().context(engine)?;
        ensure!(retried()? >= 3, "{engine}: {} were sent a Retry", retried()?);
        // The first flight, and what answers the Retry, of each.
        let named = list(&lab)?;
        ensure!(named[0].action == "challenge" && named[0].hits >= 6, "{engine}: {named:?}");
    }
    Ok(())
}

/// Those of others go on, and so do those of a prefix that is challenged.
#[test]
fn what_a_blocked_prefix_has_open_is_closed() -> Result<()> {
    for engine in ENGINES {
        let lab = Lab::new().engine(engine).clients(2).start()?;
        let [first, second] = [0, 1].map(|n| {
            let wire = &lab.network().clients()[n];
            QuicGo::new(wire.namespace(), wire.router(PORT)).get("/bytes/100000").connections(4).until_told().start()
        });
        let (first, second) = (first?, second?);
        lab.await_status(|status| status.totals.accepted == 8)?;
        done(&lab, &["block", "add", "10.77.0.0/24", "--challenge"])?;
        done(&lab, &["allow", "add", "10.77.1.0/24"])?;
        ensure!(lab.control().status()?.totals.connections_now == 8, "{engine}");

        let said = done(&lab, &["block", "add", "10.77.0.0/16", "--json"])?;
        ensure!(said.contains("\"closed\":0"), "{engine}: the longer prefixes except them: {said}");
        let said = done(&lab, &["block", "add", "10.77.0.0/24"])?;
        ensure!(said == "10.77.0.0/24 is in the list; 4 connections closed\n", "{engine}: {said}");
        let closed = first.finish()?;
        ensure!(closed.requests_failed >= 4 && closed.errors.keys().any(|e| e.contains("blocked")), "{closed:?}");
        second.succeed().context(engine)?;
    }
    Ok(())
}

/// Also by generations that drain, whose connections nothing else reaches.
#[test]
fn what_it_has_open_at_an_earlier_generation_is_closed() -> Result<()> {
    // Without a kernel program there is no upgrade.
    for engine in &ENGINES[..3] {
        let lab = Lab::new().engine(engine).set("drain_timeout", "\"300s\"").start()?;
        let clients = lab.quic_go().echo(1_000).connections(4).until_told().pausing(PAUSE).start()?;
        lab.await_status(|status| status.totals.accepted == 4)?;
        lab.agent()?.upgrade(None)?;
        lab.await_status(|status| status.generations.len() == 2 && status.generations[1].connections == 4)?;
        let said = done(&lab, &["block", "add", "10.77.0.0/24"])?;
        ensure!(said == "10.77.0.0/24 is in the list; 4 connections closed\n", "{engine}: {said}");
        let closed = clients.finish()?;
        ensure!(closed.errors.keys().any(|e| e.contains("blocked")), "{engine}: {closed:?}");
        lab.await_status(|status| status.generations.len() == 1)?;
    }
    Ok(())
}

/// HTTP over TCP is no way around the list.
#[test]
fn connections_of_tcp_are_closed_and_kept_out() -> Result<()> {
    let lab = Lab::new().config(|config| config.listener_keys = "tcp = true\n".into()).start()?;
    let wire = lab.wire();
    let connect = || {
        let stream = wire.namespace().enter(|| Ok(TcpStream::connect(wire.router(PORT))?))?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok::<_, anyhow::Error>(stream)
    };
    let is_closed = |mut stream: TcpStream| {
        let read = stream.read(&mut [0]);
        matches!(&read, Ok(0)) || read.is_err_and(|e| e.kind() == io::ErrorKind::ConnectionReset)
    };
    let open = connect()?;
    lab.await_status(|status| status.totals.tcp_connections_now == 1)?;
    let said = done(&lab, &["block", "add", "10.77.0.0/24"])?;
    ensure!(said == "10.77.0.0/24 is in the list; 1 connection closed\n", "{said}");
    ensure!(is_closed(open), "it is still open");
    ensure!(is_closed(connect()?), "one that came later is open");
    hits(&lab, &[("10.77.0.0/24", 1)])?;
    ensure!(lab.control().status()?.totals.tcp_accepted == 1);
    Ok(())
}

/// A list as long as people have them, while clients come and go.
#[test]
fn a_list_of_fifty_thousand_prefixes() -> Result<()> {
    for engine in ENGINES {
        let mut lab = Lab::new().engine(engine).start()?;
        let file = lab.home().write("blocks.txt", &lines(MANY))?;
        let clients = lab.quic_go().get("/bytes/20000").connections(4).until_told().start()?;
        lab.await_status(|status| status.totals.accepted == 4)?;
        let begun = Instant::now();
        lab.reload(|config| config.set_admission("block_files", &format!("[\"{}\"]", file.display())))?;
        println!("{engine}: {MANY} prefixes in {:?}", begun.elapsed());
        let named = list(&lab)?;
        ensure!(named.len() == MANY as usize + 1, "{engine}: {} are in the list", named.len());
        lab.quic_go().get("/bytes/20000").connections(10).succeed().context(engine)?;
        let mut flood = Flood::new(&lab)?;
        flood.drops_beside_others(&lab, 20).context(engine)?;
        let of_flood = |block: &&Block| block.prefix == "10.77.0.99/32";
        let block = named.iter().find(of_flood).context("it is in the file")?;
        ensure!(
            block.source == format!("{}:1", file.display()) && block.why.as_deref() == Some("the flood"),
            "{block:?}"
        );

        // What stays keeps its count, and what goes is let in.
        lab.home().write("blocks.txt", &lines(10))?;
        let changed = lab.reload(|_| ())?;
        ensure!(changed == ["what is admitted has changed"], "{changed:?}");
        let named = list(&lab)?;
        let block = named.iter().find(of_flood).context("it is in the file still")?;
        ensure!(named.len() == 11 && block.hits == 20, "{named:?}");
        clients.succeed().context(engine)?;
        lab.home().write("blocks.txt", "")?;
        lab.reload(|_| ())?;
        flood.passes(&lab, 5).context(engine)?;
    }
    Ok(())
}

/// What verbs have named is there as long as the state folder is, and what was counted as long as the maps are.
#[test]
fn what_is_named_outlives_reloads_upgrades_and_restarts() -> Result<()> {
    let mut lab = Lab::new().by_xdp().start()?;
    let file = lab.home().write("blocks.txt", "10.88.0.0/16 challenge # by file\n10.77.0.64/26 allow\n")?;
    let mut flood = Flood::new(&lab)?;
    done(&lab, &["block", "add", "10.77.0.64/26", "--why", "a \"test\"", "--for", "1h"])?;
    flood.drops(&lab, 5)?;
    let expect = |lab: &Running, hits: u64, after: &str| {
        let named = list(lab)?;
        let said: Vec<_> = named.iter().map(|one| (&*one.prefix, one.action.as_str(), one.hits)).collect();
        ensure!(said == [("10.77.0.64/26", "drop", hits), ("10.88.0.0/16", "challenge", 0)], "{after}: {named:?}");
        ensure!(named[0].why.as_deref() == Some("a \"test\"") && named[0].source == "verb", "{after}: {named:?}");
        ensure!(named[0].seconds_left.is_some_and(|left| left > 3_000), "{after}: {named:?}");
        Ok(())
    };
    lab.reload(|config| config.set_admission("block_files", &format!("[\"{}\"]", file.display())))?;
    flood.drops(&lab, 5)?;
    expect(&lab, 10, "reload")?;
    lab.agent()?.upgrade(None)?;
    expect(&lab, 10, "upgrade")?;
    flood.drops(&lab, 5)?;
    expect(&lab, 15, "upgrade")?;
    lab.take_agent()?.terminate()?;
    lab.start_agent()?;
    expect(&lab, 0, "restart")?;
    flood.drops(&lab, 5)?;
    // The file's word counts when the verb's is taken back.
    done(&lab, &["block", "remove", "10.77.0.64/26"])?;
    flood.passes(&lab, 5)?;
    ensure!(list(&lab)?[0].action == "allow");
    Ok(())
}

#[test]
fn what_is_wrong_is_said_with_the_way_out() -> Result<()> {
    let mut lab = Lab::new().by_xdp().start()?;
    let refused = |words: &[&str]| -> Result<(Option<i32>, String)> {
        let finished = lab.cli(words)?;
        Ok((finished.status.code(), finished.stderr))
    };
    for (words, code, said) in [
        (&["block", "add", "10.77.0.99/24"][..], 2, "bits are set beyond the length: the prefix is 10.77.0.0/24"),
        (&["block", "add", "10.77.0.0/33"], 2, "its length is 0 to 32"),
        (&["block", "add", "::/0"], 2, "it would hold the IPv4 addresses too"),
        (&["block", "add", "10.77.0.99", "--for", "0s"], 2, "out of range"),
        (&["block", "remove", "10.77.0.99"], 1, "10.77.0.99/32 is not in the list"),
        (&["allow", "remove", "10.77.0.99"], 1, "10.77.0.99/32 is not in the list"),
    ] {
        let (exit, why) = refused(words)?;
        ensure!(exit == Some(code) && why.contains(said), "{words:?}: {exit:?}, {why}");
    }
    done(&lab, &["block", "add", "10.88.0.0/16"])?;
    let (exit, why) = refused(&["allow", "remove", "10.88.0.0/16"])?;
    ensure!(exit == Some(1) && why.contains("try: quic-router block remove 10.88.0.0/16"), "{why}");

    let file = lab.home().write("blocks.txt", "10.99.0.0/16\n10.99.0.1/16\n")?;
    let set = |config: &mut router_tests::lab::AgentConfig| {
        config.set_admission("block_files", &format!("[\"{}\"]", file.display()));
    };
    let why = format!("{:#}", lab.reload(set).err().context("the second line is wrong")?);
    ensure!(why.contains("blocks.txt:2: 10.99.0.1/16: bits are set beyond"), "{why}");
    ensure!(list(&lab)?.len() == 1, "nothing has changed");
    lab.home().write("blocks.txt", "10.99.0.0/16\n")?;
    lab.reload(set)?;
    let finished = lab.cli(&["block", "remove", "10.99.0.0/16"])?;
    ensure!(finished.stderr.contains("but by") && finished.stderr.contains("blocks.txt:1"), "{}", finished.stderr);
    Ok(())
}

/// The list has a limit, and says so before the kernel does.
#[test]
fn a_full_list_refuses_one_more() -> Result<()> {
    let mut lab = Lab::new().by_xdp().start()?;
    let file = lab.home().write("blocks.txt", &lines(99_999))?;
    lab.reload(|config| config.set_admission("block_files", &format!("[\"{}\"]", file.display())))?;
    let finished = lab.cli(&["block", "add", "10.88.0.0/16"])?;
    ensure!(finished.status.code() == Some(1) && finished.stderr.contains("room for 100000 prefixes"), "{finished:?}");
    // In place of one that is there, there is room; and all may be replaced at once.
    done(&lab, &["allow", "add", "10.77.0.99"])?;
    let others = lines(99_999).replace("100.", "101.");
    lab.home().write("blocks.txt", &others)?;
    lab.reload(|_| ())?;
    let named = list(&lab)?;
    ensure!(named.len() == 100_000 && named.iter().filter(|one| one.prefix.starts_with("101.")).count() == 99_999);
    Ok(())
}

/// First flights from an address of no client, each from another port: none is taken for another's copy.
struct Flood {
    sender: Sender,
    sent: u32,
}

impl Flood {
    fn new(lab: &Running) -> Result<Self> {
        Ok(Self { sender: Sender::new(lab.wire().namespace(), "router0")?, sent: 0 })
    }

    fn drops(&mut self, lab: &Running, count: u64) -> Result<()> {
        self.send(lab, count, |before, now| (now.blocked - before.blocked, now.own - before.own) == (count, 0))
    }

    /// The same while clients are at work.
    fn drops_beside_others(&mut self, lab: &Running, count: u64) -> Result<()> {
        self.send(lab, count, |before, now| now.blocked - before.blocked == count)
    }

    fn passes(&mut self, lab: &Running, count: u64) -> Result<()> {
        self.send(lab, count, |before, now| (now.blocked - before.blocked, now.own - before.own) == (0, count))
    }

    fn send(&mut self, lab: &Running, count: u64, is_so: impl Fn(&Fates, &Fates) -> bool) -> Result<()> {
        let before = Fates::of(lab)?;
        for _ in 0..count {
            self.sender.send(&first_flight(self.sent))?;
            self.sent += 1;
        }
        let now = until(|| Fates::of(lab), |now| is_so(&before, now));
        now.with_context(|| format!("of {count}, before: {before:?}")).map(drop)
    }
}

/// What became of datagrams that are no connection's.
#[derive(Clone, Copy, Debug)]
struct Fates {
    blocked: u64,
    own: u64,
}

impl Fates {
    fn of(lab: &Running) -> Result<Self> {
        let totals = lab.control().status()?.totals;
        let by_kernel = lab.control().counters()?.stages.iter().filter_map(|stage| stage.dropped.get("blocked")).sum();
        // Without a kernel program a worker drops it.
        let blocked = if lab.has_maps()? { by_kernel } else { totals.datagrams_dropped };
        // What is no client's goes to the worker that is to answer it.
        Ok(Self { blocked, own: totals.datagrams_own + totals.handed_over })
    }
}

fn first_flight(n: u32) -> Vec<u8> {
    let port = 10_000 + (n % 50_000) as u16;
    Packet::udp(([10, 77, 0, 99], port), ([10, 77, 0, 1], PORT), Quic::initial(V1, &u64::from(n).to_be_bytes())).frame()
}

/// A file of so many prefixes, and the flood's address first.
fn lines(count: u32) -> String {
    let mut text = "10.77.0.99 # the flood\n".to_owned();
    for n in 0..count {
        let address = Ipv4Addr::from_bits(0x6400_0000 + (n << 4));
        let _ = writeln!(text, "{address}/{}", 28 + n % 5);
    }
    text
}

fn list(lab: &Running) -> Result<Vec<Block>> {
    let blocks: Blocks = serde_json::from_str(&done(lab, &["block", "list", "--json"])?)?;
    Ok(blocks.blocks)
}

/// Each entry's packets, when they are as many.
fn hits(lab: &Running, expected: &[(&str, u64)]) -> Result<()> {
    let counted = || Ok(list(lab)?.into_iter().map(|one| (one.prefix, one.hits)).collect::<Vec<_>>());
    let is_so =
        |counted: &Vec<(String, u64)>| counted.iter().map(|(prefix, hits)| (&**prefix, *hits)).eq(expected.to_vec());
    until(counted, is_so).map(drop)
}

fn done(lab: &Running, words: &[&str]) -> Result<String> {
    let Finished { stdout, .. } = lab.cli(words)?.succeeded()?;
    Ok(stdout)
}

/// As many as the list of a careful operator has.
const MANY: u32 = 50_000;

/// Between two requests of a client.
const PAUSE: Duration = Duration::from_millis(100);
