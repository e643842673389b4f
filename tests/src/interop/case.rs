//! The runner's cases: what a client is asked, over which network, and what has to be seen.
//!
//! Files and times are smaller than the runner's by about ten, so that the whole matrix takes
//! minutes; the proportions to round trips and to the queue are its own.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::lab::{Link, Passed, Scenario};

/// A case of the runner.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// What the runner calls it.
    pub name: &'static str,
    /// What the server sees in `TESTCASE`.
    pub testcase: &'static str,
    /// What is asked of the client.
    pub client: &'static str,
    /// Octets of each file.
    pub files: &'static [usize],
    /// The files, one after the other, this many times; each has another name.
    pub times: usize,
    /// Characters of a file's name.
    pub name_length: usize,
    /// Over IPv6.
    pub v6: bool,
    /// Certificates in the server's chain.
    pub chain: usize,
    scenario: fn() -> Scenario,
    delay: Duration,
    proof: fn(&Passed) -> Result<()>,
}

impl Case {
    /// What the network does.
    pub fn scenario(&self) -> Scenario {
        (self.scenario)()
    }

    /// The runner's link: 10 Mbit/s, 15 ms, 25 frames.
    pub fn link(&self) -> Link {
        Link { delay: self.delay, rate: 10_000_000, queue: 25 }
    }

    /// Whether the wire carried what the case is about.
    ///
    /// # Errors
    /// What it did not.
    pub fn prove(&self, passed: &Passed) -> Result<()> {
        (self.proof)(passed)
    }

    /// The case of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        CASES.iter().find(|case| case.name == name)
    }
}

const PLAIN: Case = Case {
    name: "transfer",
    testcase: "transfer",
    client: "transfer",
    files: &[300_000, 500_000],
    times: 1,
    name_length: 10,
    v6: false,
    chain: 1,
    scenario: || Scenario::Clear,
    delay: Duration::from_millis(15),
    proof: |_| Ok(()),
};

const SMALL: Case = Case { files: &[1_000], ..PLAIN };

/// A transfer that is long enough for something to happen to it.
const LONG: Case = Case { files: &[2_000_000], ..PLAIN };

/// All of them.
pub const CASES: [Case; 23] = [
    Case { name: "handshake", testcase: "handshake", ..SMALL },
    PLAIN,
    Case { name: "longrtt", testcase: "handshake", delay: Duration::from_millis(750), ..SMALL },
    Case { name: "multiplexing", files: &[32], times: 256, ..PLAIN },
    Case { name: "amplificationlimit", files: &[5_000], chain: 9, scenario: drop_2_to_7, proof: amplified, ..PLAIN },
    Case { name: "blackhole", scenario: blackhole, proof: disturbed, ..LONG },
    Case { name: "keyupdate", client: "keyupdate", ..LONG },
    Case { name: "transferloss", scenario: loss_2, proof: disturbed, ..PLAIN },
    Case { name: "transfercorruption", scenario: corrupt_2, proof: disturbed, ..PLAIN },
    Case { name: "ipv6", v6: true, ..PLAIN },
    Case { name: "rebind-port", scenario: || rebind(false), proof: rebound, ..LONG },
    Case { name: "rebind-addr", scenario: || rebind(true), proof: rebound, ..LONG },
    Case { name: "chacha20", testcase: "chacha20", client: "chacha20", ..SMALL },
    Case { name: "retry", testcase: "retry", client: "retry", proof: retried, ..SMALL },
    Case {
        name: "resumption",
        testcase: "resumption",
        client: "resumption",
        times: 2,
        chain: 9,
        proof: resumed,
        ..SMALL
    },
    Case {
        name: "zerortt",
        testcase: "zerortt",
        client: "zerortt",
        files: &[32],
        times: 40,
        name_length: 250,
        proof: early,
        ..SMALL
    },
    Case { name: "http3", testcase: "http3", client: "http3", ..PLAIN },
    Case { name: "ecn", testcase: "ecn", client: "ecn", proof: marked, ..PLAIN },
    Case {
        name: "handshakeloss",
        testcase: "multiconnect",
        client: "multiconnect",
        times: 5,
        scenario: loss_30,
        proof: disturbed,
        ..SMALL
    },
    Case {
        name: "handshakecorruption",
        testcase: "multiconnect",
        client: "multiconnect",
        times: 5,
        scenario: corrupt_30,
        proof: disturbed,
        ..SMALL
    },
    Case { name: "multiconnect", testcase: "multiconnect", client: "multiconnect", times: 5, ..SMALL },
    Case { name: "v2", testcase: "v2", ..SMALL },
    Case { name: "connectionmigration", testcase: "connectionmigration", ..SMALL },
];

fn drop_2_to_7() -> Scenario {
    Scenario::DropList(2..=7)
}

fn blackhole() -> Scenario {
    Scenario::Blackhole { on: Duration::from_millis(800), off: Duration::from_millis(400) }
}

fn rebind(address: bool) -> Scenario {
    Scenario::Rebind { first: Duration::from_millis(500), every: Duration::from_millis(600), address }
}

fn loss_2() -> Scenario {
    Scenario::Loss { percent: 2, burst: 3 }
}

fn loss_30() -> Scenario {
    Scenario::Loss { percent: 30, burst: 3 }
}

fn corrupt_2() -> Scenario {
    Scenario::Corrupt { percent: 2, burst: 3 }
}

fn corrupt_30() -> Scenario {
    Scenario::Corrupt { percent: 30, burst: 3 }
}

fn disturbed(passed: &Passed) -> Result<()> {
    ensure!(passed.disturbed > 0, "nothing was lost or changed");
    Ok(())
}

fn rebound(passed: &Passed) -> Result<()> {
    ensure!(passed.rebound >= 2, "the client got another address only {} times", passed.rebound);
    Ok(())
}

fn retried(passed: &Passed) -> Result<()> {
    ensure!(passed.retries > 0, "no Retry was seen");
    Ok(())
}

/// A server sends its certificates where no session is taken up.
fn resumed(passed: &Passed) -> Result<()> {
    let flights: Vec<u64> = passed.flights.iter().map(|(_, octets)| *octets).collect();
    ensure!(matches!(flights[..], [first, second] if second * 2 < first), "octets of the handshakes: {flights:?}");
    Ok(())
}

fn early(passed: &Passed) -> Result<()> {
    let [early, late] = passed.early;
    // The runner's bound: at most half in 1-RTT, acknowledgements included.
    ensure!(early > late, "{early} octets in 0-RTT, {late} in 1-RTT");
    Ok(())
}

/// RFC 9000 section 8.1 says three times what came. quinn fills a datagram that it has begun below that
/// (quinn-rs/quinn#1082), and the runner tolerates four times.
fn amplified(passed: &Passed) -> Result<()> {
    ensure!(passed.disturbed > 0, "nothing was lost");
    ensure!(passed.amplification <= 4.0, "{:.2} octets were sent for each received", passed.amplification);
    Ok(())
}

fn marked(passed: &Passed) -> Result<()> {
    let [router, clients] = passed.ect;
    ensure!(router > 0 && clients > 0, "ECT on {router} datagrams of the router, {clients} of the client");
    Ok(())
}
