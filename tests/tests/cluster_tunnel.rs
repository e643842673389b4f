//! Does a node take from the tunnel what a node of its cluster has sent, and nothing else?

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use router_tests::{
    lab::{
        Namespace, PORT,
        cluster::{Cluster, Counts, FABRIC, Family, Running, TUNNEL_PORT},
        peers::Clients,
        run, until,
        wire::{Capture, Direction, Sender},
    },
    packets::{Packet, Random, cid, quic::Quic},
};
use serde_json::Value;

/// Point 10: everything but what a node of the cluster made, for this packet, is counted and ends there.
#[test]
fn forged_packets_are_counted_and_dropped() -> Result<()> {
    let cluster = two_nodes()?;
    let tunnel = Tunnel::observe(&cluster)?;
    let forgeries = tunnel.forgeries();
    let (before, read) = (cluster.counts()?, read(&cluster)?);
    // First and last what was not forged: it shows that the others came, and that they came to the right place.
    tunnel.sender.send(&tunnel.frame())?;
    forgeries.iter().try_for_each(|forgery| tunnel.sender.send(forgery))?;
    tunnel.sender.send(&tunnel.frame())?;
    until(|| Ok(cluster.counts()?.since(&before).of(2, "unwrap.cid")), |taken| *taken == 2)?;
    // What has no room for a tag is found out by the tunnel's socket, to which XDP leaves it beside hellos.
    let forged = |counts: &Counts| ["unwrap", "tunnel"].map(|stage| counts.of(2, &format!("{stage}.tunnel_forged")));
    let is_all = |counts: &Counts| forged(counts).iter().sum::<u64>() == forgeries.len() as u64;
    let counts = until(|| Ok(cluster.counts()?.since(&before)), is_all)?;
    let [by_xdp, by_socket] = forged(&counts);
    ensure!(by_socket == GUE as u64, "{by_socket} of {GUE} by the socket: {counts:#?}");
    let taken = counts.of(2, "unwrap.received") - control(&counts) - by_xdp;
    ensure!(taken == 2, "{taken} of 2 were taken: {counts:#?}");
    until(|| Ok(self::read(&cluster)? - read), |more| *more == 2).map(drop)
}

/// A flood of them costs other clients nothing.
#[test]
fn a_million_forged_packets_harm_no_connection() -> Result<()> {
    let cluster = two_nodes()?;
    let tunnel = Tunnel::observe(&cluster)?;
    let before = cluster.counts()?;
    let clients = cluster.quic_go().echo(2_000).connections(20).requests(2).until_told();
    let clients = clients.pausing(Duration::from_millis(20)).start()?;
    let heads: Vec<_> = tunnel.random_tags(4_096);
    let (head, behind) = (heads[0].len(), tunnel.frame());
    let frames = heads.iter().cycle().take(1_000_000).map(|one| [&one[..], &behind[head..]]);
    tunnel.sender.flood(frames, || true)?;
    let counts = cluster.counts()?.since(&before);
    let forged = counts.of(2, "unwrap.tunnel_forged");
    // What the wire had no room for came nowhere.
    ensure!(forged > 100_000, "only {forged} came: {counts:#?}");
    ensure!(counts.of(2, "unwrap.received") == forged + control(&counts), "one was taken: {counts:#?}");
    served_after(&clients)?;
    clients.succeed().map(drop)
}

/// Point 11: by their tables each of two nodes takes the other one for the owner. A packet makes one hop.
#[test]
fn nodes_that_name_each_other_forward_once() -> Result<()> {
    let cluster = two_nodes()?;
    for (index, other) in [(0, 2), (1, 1)] {
        copy_node(&cluster, index, [other, NOBODY])?;
    }
    let before = cluster.counts()?;
    for (index, [first, second]) in [(0, [1, 2]), (1, [2, 1])] {
        send_by(&cluster, index, NOBODY)?;
        let misrouted = || Ok(cluster.counts()?.since(&before).of(second, "unwrap.misrouted"));
        until(misrouted, |count| *count == 1)?;
        let counts = cluster.counts()?.since(&before);
        ensure!(counts.of(first, "xdp.forwarded") == 1, "node {first} did not forward it: {counts:#?}");
    }
    let counts = cluster.counts()?.since(&before);
    let [forwarded, unwrapped] = counts.sums();
    ensure!([forwarded, unwrapped] == [2, 2], "a packet made more than one hop: {counts:#?}");
    Ok(())
}

/// Two nodes whose connection IDs are in clear, so that packets for either can be made here.
fn two_nodes() -> Result<Running> {
    let cluster = Cluster::new().nodes(2).config(|config| {
        config.set_connection_id("encryption", "\"none\"");
        if !config.has_xdp_engine() {
            config.set_router("engine", "\"xdp\"");
        }
    });
    cluster.start()
}

/// What came to the workers of the second node.
fn read(cluster: &Running) -> Result<u64> {
    Ok(cluster.node(1).control().status()?.totals.datagrams_received)
}

/// What the second node got by the tunnel that nodes told each other.
fn control(counts: &Counts) -> u64 {
    counts.of(2, "unwrap.tunnel_socket")
}

/// Waits until each of the connections has exchanged something more.
fn served_after(clients: &Clients) -> Result<()> {
    ensure!(!clients.ends_within(Duration::from_millis(500)), "the clients ended: {}", clients.said());
    Ok(())
}

/// Has a client send a packet to the cluster, by the node `index`, whose connection ID names `node`.
fn send_by(cluster: &Running, index: u8, node: u16) -> Result<()> {
    let link = cluster.node(index).wiring().at_fabric();
    let [fabric, own] =
        [mac(cluster.fabric().router(), &link)?, mac(cluster.node(index).wiring().namespace(), FABRIC)?];
    let sender = Sender::new(cluster.fabric().router(), &link)?;
    sender.send(&short(node).overwrite(0, &[own, fabric].concat()).frame())
}

/// From a client, with a short header, for `node`.
fn short(node: u16) -> Packet {
    let quic = Quic::short(cid(0, node, 0).as_slice()).padded_to(200);
    Packet::udp((CLIENT, 4_000), (Family::V4.vip(), PORT), quic)
}

/// The way from the first node to the second, and a packet that went there.
struct Tunnel {
    sender: Sender,
    macs: Vec<u8>,
    outer: [SocketAddr; 2],
    payload: Vec<u8>,
}

impl Tunnel {
    /// Has the first node forward a packet, and looks at that.
    fn observe(cluster: &Running) -> Result<Self> {
        let before = cluster.counts()?;
        let (fabric, link) = (cluster.fabric().router(), cluster.node(1).wiring().at_fabric());
        let capture = Capture::start(fabric, &link)?;
        send_by(cluster, 0, 2)?;
        until(|| Ok(cluster.counts()?.since(&before).of(2, "unwrap.cid")), |taken| *taken == 1)?;
        let frames = capture.stop()?.into_iter().filter(|(direction, _)| *direction == Direction::Out);
        let mut forwarded = frames.map(|(_, frame)| frame).filter(|frame| is_forwarded(frame));
        let frame = forwarded.next().context("nothing was forwarded")?;
        let port = u16::from_be_bytes([frame[34], frame[35]]);
        let [from, to] = [0, 1].map(|index| cluster.node(index).wiring().address(Family::V4));
        Ok(Self {
            sender: Sender::new(fabric, &link)?,
            macs: frame[..12].to_vec(),
            outer: [(from, port).into(), (to, TUNNEL_PORT).into()],
            payload: frame[OUTER..].to_vec(),
        })
    }

    /// As it was.
    fn frame(&self) -> Vec<u8> {
        self.with(self.outer, self.payload.clone())
    }

    /// Between other addresses, or with something else in it.
    fn with(&self, [from, to]: [SocketAddr; 2], payload: Vec<u8>) -> Vec<u8> {
        Packet::udp(from, to, payload).overwrite(0, &self.macs).frame()
    }

    /// With another octet of the payload.
    fn changed(&self, at: usize) -> Vec<u8> {
        let mut payload = self.payload.clone();
        payload[at] ^= 0x55;
        self.with(self.outer, payload)
    }

    /// All that no node of the cluster has sent.
    fn forgeries(&self) -> Vec<Vec<u8>> {
        let [from, to] = self.outer;
        let mut all = Vec::new();
        // The right form, from a host outside, and from the owner itself.
        all.extend([CLIENT, to.ip()].map(|other| self.with([(other, from.port()).into(), to], self.payload.clone())));
        // Each octet of GUE's header and of what stands behind it, and of the inner packet those that the tag is about.
        let inner = [0, 2, 3, 9].into_iter().chain(12..26).chain(28..44).map(|at| GUE + at);
        all.extend((0..GUE).chain(inner).map(|at| self.changed(at)));
        // A tunnel in a tunnel.
        let nested = Packet::udp(from, to, self.payload.clone()).frame();
        all.push(self.with(self.outer, [&self.payload[..GUE], &nested[14..]].concat()));
        // Cut off at each octet.
        all.extend((0..self.payload.len()).map(|length| self.with(self.outer, self.payload[..length].to_vec())));
        all
    }

    /// Heads of frames whose tags are random, up to behind the tag.
    fn random_tags(&self, count: usize) -> Vec<Vec<u8>> {
        let mut random = Random(17);
        let head = |_| {
            let mut head = self.frame()[..OUTER + GUE].to_vec();
            head[OUTER + GUE - 8..].fill_with(|| random.below(256) as u8);
            head
        };
        (0..count).map(head).collect()
    }
}

/// Whether a frame is a forwarded packet.
fn is_forwarded(frame: &[u8]) -> bool {
    frame.len() > OUTER + GUE
        && frame[12..14] == [0x08, 0x00]
        && frame[36..38] == TUNNEL_PORT.to_be_bytes()
        && frame[OUTER] & CONTROL == 0
}

/// Writes the entry of one node in the table of the node `index` once more, for another number, at a place of its own.
fn copy_node(cluster: &Running, index: u8, [from, to]: [u16; 2]) -> Result<()> {
    let pins = cluster.node(index).home().pins();
    let (nodes, places) = (pins.join("nodes"), pins.join("node_places"));
    let place =
        u32_at(&value(&places, u32::from(from))?, 0)?.checked_sub(1).with_context(|| format!("no node {from}"))?;
    let mut entry = value(&nodes, place)?;
    // State, number, place.
    entry[4..8].copy_from_slice(&u32::from(to).to_le_bytes());
    entry[8..12].copy_from_slice(&COPY.to_le_bytes());
    update(&nodes, COPY, &entry)?;
    update(&places, to.into(), &(COPY + 1).to_le_bytes())
}

/// The value of a key of a map.
fn value(map: &Path, key: u32) -> Result<Vec<u8>> {
    let mut command = Command::new("bpftool");
    command.args(["-j", "map", "lookup", "pinned"]).arg(map).arg("key").args(words(&key.to_le_bytes()));
    let said: Value = serde_json::from_slice(&run(&mut command)?.stdout).context("bpftool's answer is no JSON")?;
    let octet = |word: &Value| u8::from_str_radix(word.as_str()?.trim_start_matches("0x"), 16).ok();
    Ok(said["value"].as_array().into_iter().flatten().filter_map(octet).collect())
}

fn update(map: &Path, key: u32, value: &[u8]) -> Result<()> {
    let mut command = Command::new("bpftool");
    command.args(["map", "update", "pinned"]).arg(map).arg("key").args(words(&key.to_le_bytes()));
    run(command.arg("value").args(words(value))).map(drop)
}

/// Octets as bpftool reads them.
fn words(octets: &[u8]) -> impl Iterator<Item = String> + '_ {
    octets.iter().map(u8::to_string)
}

fn u32_at(octets: &[u8], at: usize) -> Result<u32> {
    let word = octets.get(at..at + 4).and_then(|word| word.try_into().ok());
    word.map(u32::from_le_bytes).with_context(|| format!("no number in {octets:?}"))
}

/// The link address of an interface.
fn mac(namespace: &Namespace, link: &str) -> Result<Vec<u8>> {
    let shown = run(Command::new("ip").args(["-n", namespace.name(), "-brief", "link", "show", link]))?;
    let shown = String::from_utf8(shown.stdout)?;
    let address = shown.split_whitespace().nth(2).with_context(|| format!("no link address in {shown:?}"))?;
    address.split(':').map(|octet| Ok(u8::from_str_radix(octet, 16)?)).collect()
}

/// A client's address.
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 2));
/// A place in the table of nodes that none has.
const COPY: u32 = 1_000;
/// A number that no node has.
const NOBODY: u16 = 3;
/// Octets of a frame before the payload of the outer datagram.
const OUTER: usize = 14 + 20 + 8;
/// Octets of that before the inner packet.
const GUE: usize = 16;
/// Of the first of those: what nodes tell each other.
const CONTROL: u8 = 0x20;
