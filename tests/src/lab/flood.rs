//! More packets than a router could answer: `xdp-trafficgen` has the kernel send one frame again and
//! again, as fast as it can.

use std::{net::Ipv6Addr, time::Duration};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;

use super::{PORT, Program, Wire, netns::run, peers};

/// A flood on the clients' wire; it ends when it is dropped.
#[derive(Debug)]
pub struct Flood<'lab> {
    wire: &'lab Wire,
    program: Program,
    before: OnWire,
}

/// What became of frames that XDP sent at the clients' end of a wire, as this counts them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OnWire {
    /// Received at the router's end.
    pub carried: u64,
    /// Lost, because there was no room at the router's end.
    pub lost: u64,
}

impl<'lab> Flood<'lab> {
    /// Frames of so many octets to the router's port over IPv6, at most `count`: UDP whose octets are
    /// all zero. They come from an address that no host has, so that nothing answers the answers.
    pub fn start(wire: &'lab Wire, octets: u16, count: u64) -> Result<Self> {
        let before = OnWire::of(wire)?;
        let [router_mac, client_mac] = wire.macs().map(super::topology::mac);
        let mut command = wire.namespace().command(peers::find("xdp-trafficgen")?);
        command.args(["udp", "--dst-mac", &router_mac, "--src-mac", &client_mac]);
        command.args(["--dst-addr", &wire.router6().to_string(), "--src-addr", &unused_address(wire).to_string()]);
        command.args(["--dst-port", &PORT.to_string(), "--src-port", "4000"]);
        command.args(["--pkt-size", &octets.to_string(), "--num-packets", &count.to_string(), "router0"]);
        Ok(Self { wire, program: Program::start("xdp-trafficgen", &mut command)?, before })
    }

    /// What became of it so far.
    pub fn so_far(&self) -> Result<OnWire> {
        Ok(OnWire::of(self.wire)?.since(self.before))
    }

    /// Makes sure that it still goes on.
    pub fn goes_on(&self) -> Result<()> {
        ensure!(!self.program.ends_within(Duration::ZERO), "the flood has ended: {}", self.program.said());
        Ok(())
    }

    /// Ends it if it has not ended by itself; what became of it.
    pub fn stop(self) -> Result<OnWire> {
        // Asked to end, it would first send all it was told to.
        self.program.signal(Signal::SIGKILL)?;
        let (wire, before) = (self.wire, self.before);
        self.program.finish(TO_END)?;
        Ok(OnWire::of(wire)?.since(before))
    }
}

impl OnWire {
    fn of(wire: &Wire) -> Result<Self> {
        let output = run(wire.namespace().command("ethtool").args(["--statistics", "router0"]))?;
        let (mut carried, mut lost) = (0, 0);
        for line in String::from_utf8(output.stdout)?.lines() {
            let Some((name, value)) = line.trim().split_once(": ") else { continue };
            match name.trim_start_matches("tx_queue_").trim_start_matches(|c: char| c.is_ascii_digit()) {
                "_xdp_xmit" => carried += number(value)?,
                "_xdp_xmit_errors" => lost += number(value)?,
                _ => {}
            }
        }
        Ok(Self { carried, lost })
    }

    fn since(self, before: Self) -> Self {
        Self { carried: self.carried - before.carried, lost: self.lost - before.lost }
    }
}

fn number(value: &str) -> Result<u64> {
    value.trim().parse().with_context(|| format!("ethtool counts {value:?}"))
}

fn unused_address(wire: &Wire) -> Ipv6Addr {
    let mut segments = wire.router6().segments();
    segments[7] = 0x99;
    segments.into()
}

/// It ends with the batch of frames it is in.
const TO_END: Duration = Duration::from_secs(20);
