//! Does a node of a cluster take what another one has given to a client, the token of a Retry and the ticket of a session,
//! and does it refuse what the other would refuse?

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use router_tests::{
    lab::{
        PORT, Towards,
        cluster::{Cluster, Counts, Family, RouteChange, Running},
        datagram::{Datagram, End, Kind},
        peers::QuicGo,
        until,
        wire::{Direction, Sender, Tap},
    },
    packets::Packet,
};
use router_userspace::agent::api::Totals;
use rustls::{
    Side,
    quic::{Keys, Version},
};

/// The route changes behind the Retry. Its connection ID names no node, so the node that gets the token takes it as valid,
/// whether a kernel program or a worker has made it, and nothing is forwarded.
#[test]
fn a_retry_of_one_node_is_taken_by_another() -> Result<()> {
    let mut cluster = asking(Cluster::new()).start()?;
    let behind_retry = Arc::new(Mutex::new(None));
    let relay = cluster.relay(changing_at_retry(behind_retry.clone()))?;
    for (from, to) in PAIRS {
        cluster.route([from])?;
        *behind_retry.lock().unwrap_or_else(PoisonError::into_inner) = Some(cluster.fabric().change([to]));
        let before = Seen::now(&cluster)?;
        let client = QuicGo::new(relay.clients(), cluster.vip(Family::V4)).get("/bytes/20000").flag("classic");
        client.succeed().with_context(|| format!("from {} to {}", ENGINES[from as usize], ENGINES[to as usize]))?;
        ensure!(
            behind_retry.lock().unwrap_or_else(PoisonError::into_inner).is_none(),
            "no Retry came by from {}",
            ENGINES[from as usize]
        );
        let seen = before.since(&cluster)?;
        seen.expect(|index| Node { retried: u64::from(index == from), accepted: u64::from(index == to) })?;
        ensure!(seen.forwarded == 0, "{} packets were forwarded", seen.forwarded);
    }
    cluster.expect_nothing_lost()
}

/// Whose token a node is shown, and whether it was made by a kernel program, makes no difference: it is good for its
/// client and its time, on each of them; what was moved is refused, and who has none that can be read is asked anew.
#[test]
fn a_token_is_worth_the_same_on_each_node() -> Result<()> {
    let mut cluster = asking(Cluster::new()).start()?;
    cluster.wire().namespace().ip(&format!("addr add {NEIGHBOUR}/24 dev router0\n"))?;
    let client = Client::new(&cluster)?;
    for issuer in 0..4 {
        cluster.route([issuer])?;
        let token = client.token()?;
        let issued = Instant::now();
        for index in 0..4 {
            cluster.route([index])?;
            let what = format!("of {}, shown to {}", ENGINES[issuer as usize], ENGINES[index as usize]);
            let shown = |presented: &Presented| client.show(&cluster, index, presented).with_context(|| what.clone());
            ensure!(shown(&token)? == Outcome::Taken, "good {what}");
            ensure!(shown(&token)? == Outcome::Taken, "good, a second time {what}");
            let port = SocketAddrV4::new(*CLIENT.ip(), CLIENT.port() + 1);
            for elsewhere in [port, SocketAddrV4::new(NEIGHBOUR, CLIENT.port())] {
                let moved = Presented { client: elsewhere, ..token.clone() };
                ensure!(shown(&moved)? == Outcome::Refused, "moved to {elsewhere} {what}");
            }
            let cut = Presented { token: token.token[..token.token.len() - 1].to_vec(), ..token.clone() };
            ensure!(shown(&cut)? == Outcome::Asked, "cut {what}");
        }
        // Its time is what the test waits for.
        std::thread::sleep(LIFETIME.saturating_sub(issued.elapsed()));
        for index in 0..4 {
            cluster.route([index])?;
            let outcome = client.show(&cluster, index, &token)?;
            ensure!(outcome == Outcome::Refused, "late, of {issuer}, shown to {index}: {outcome:?}");
        }
    }
    Ok(())
}

/// A client that was at one node comes to another one with the ticket of before, and with the token of a NEW_TOKEN frame;
/// meanwhile all nodes have other keys of connection IDs. It goes on with its session. Its address is asked for as any
/// other's: that token is good at the process that has issued it, and there, too, for less than a Retry's.
#[test]
fn a_session_of_one_node_goes_on_at_another() -> Result<()> {
    let mut cluster = asking(Cluster::new().etcd()).start()?;
    for (turn, (from, to)) in [(0, 3), (3, 1), (1, 2), (2, 0)].into_iter().enumerate() {
        cluster.route([from])?;
        let before = Seen::now(&cluster)?;
        // The first goes on until it is told; then the others come, one after the other.
        let clients = cluster.quic_go().get("/bytes/1000").flag("classic").flag("resume").requests(2);
        let clients = clients.pausing(PAUSE).connections(4).at_once(1).until_told().start()?;
        clients.run_until(|| Ok(before.since(&cluster)?.nodes[usize::from(from)].accepted == 1))?;
        cluster.node(0).cli(&["cid", "rotate"])?.succeeded()?;
        (0..4).try_for_each(|index| cluster.await_issued(index, turn as u8 + 1))?;
        cluster.route([to])?;
        let summary = clients.succeed()?;
        ensure!(summary.resumed == 3, "{summary:?}");
        before.since(&cluster)?.expect(|index| match index {
            _ if index == from => Node { retried: 1, accepted: 1 },
            _ if index == to => Node { retried: 3, accepted: 3 },
            _ => Node::default(),
        })?;
    }
    cluster.expect_nothing_lost()
}

/// Four nodes, each with another engine, that ask each client.
fn asking(cluster: Cluster) -> Cluster {
    cluster.nodes(4).engines(&ENGINES).config(|config| {
        config.set_admission("challenge", "\"always\"");
        config.set_admission("answer_in_xdp", "\"always\"");
    })
}

/// A relay's policy: the change is made before a Retry is passed on.
fn changing_at_retry(
    change: Arc<Mutex<Option<RouteChange>>>,
) -> impl Fn(Towards, &[u8]) -> Vec<Vec<u8>> + Clone + Send + 'static {
    move |towards, frame| {
        let mut frame = frame.to_vec();
        if let (Towards::Clients, Some(datagram)) = (towards, Datagram::of(&mut frame))
            && datagram.kind() == Kind::Retry
            && let Some(change) = change.lock().unwrap_or_else(PoisonError::into_inner).take()
        {
            change.make().expect("the nodes are there");
        }
        vec![frame]
    }
}

/// What all nodes have counted, by their index.
struct Seen {
    nodes: Vec<Node>,
    forwarded: u64,
    counts: Counts,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Node {
    /// Retries, of kernel programs and of workers.
    retried: u64,
    /// Handshakes that were completed.
    accepted: u64,
}

impl Seen {
    fn now(cluster: &Running) -> Result<Self> {
        let counts = cluster.counts()?;
        let node = |index: u8| {
            let Totals { retried, accepted, .. } = cluster.node(index).control().status()?.totals;
            Ok(Node { retried: retried + counts.of(u16::from(index) + 1, "xdp.retried"), accepted })
        };
        let nodes = (0..4).map(node).collect::<Result<_>>()?;
        Ok(Self { nodes, forwarded: counts.sums()[0], counts })
    }

    fn since(&self, cluster: &Running) -> Result<Self> {
        let now = Self::now(cluster)?;
        let since = |(now, before): (&Node, &Node)| Node {
            retried: now.retried - before.retried,
            accepted: now.accepted - before.accepted,
        };
        let nodes = now.nodes.iter().zip(&self.nodes).map(since).collect();
        Ok(Self { nodes, forwarded: now.forwarded - self.forwarded, counts: now.counts.since(&self.counts) })
    }

    fn expect(&self, expected: impl Fn(u8) -> Node) -> Result<()> {
        let expected: Vec<_> = (0..4).map(expected).collect();
        ensure!(self.nodes == expected, "{:?} in place of {expected:?}: {:#?}", self.nodes, self.counts);
        Ok(())
    }
}

/// A client that begins with what is no ClientHello, so that a connection with it ends as soon as it is begun.
struct Client {
    sender: Sender,
    answers: Arc<Mutex<Vec<Answer>>>,
    _tap: Tap,
}

/// What an Initial shows.
#[derive(Clone, Debug)]
struct Presented {
    client: SocketAddrV4,
    destination: Vec<u8>,
    token: Vec<u8>,
}

#[derive(Clone, Debug)]
struct Answer {
    kind: Kind,
    payload: Vec<u8>,
}

/// What becomes of an Initial with a token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    /// A connection is begun, and ends by an error of TLS.
    Taken,
    /// It is answered by INVALID_TOKEN, and no connection is begun.
    Refused,
    /// It is answered by another Retry, of a worker.
    Asked,
}

impl Client {
    fn new(cluster: &Running) -> Result<Self> {
        let (answers, namespace) = (Arc::new(Mutex::new(Vec::new())), cluster.wire().namespace());
        let noted = answers.clone();
        let tap = Tap::start(namespace, "router0", move |direction, frame| {
            let mut frame = frame.to_vec();
            if let (Direction::In, Some(datagram)) = (direction, Datagram::of(&mut frame))
                && datagram.port(End::Source) == PORT
            {
                let answer = Answer { kind: datagram.kind(), payload: datagram.payload().to_vec() };
                noted.lock().unwrap_or_else(PoisonError::into_inner).push(answer);
            }
            Ok(())
        })?;
        Ok(Self { sender: Sender::new(namespace, "router0")?, answers, _tap: tap })
    }

    /// Begins without a token, and takes what the Retry says.
    fn token(&self) -> Result<Presented> {
        self.clear();
        self.send(&Presented { client: CLIENT, destination: b"original".to_vec(), token: Vec::new() })?;
        let Answer { kind, payload } = self.answer()?;
        ensure!(kind == Kind::Retry, "{kind:?} in place of a Retry");
        // Flags, version, our connection ID, that of the Retry, the token, and 16 octets of tag (RFC 9000 section 17.2.5).
        let behind_ours = 6 + usize::from(payload[5]);
        let (length, rest) = (usize::from(payload[behind_ours]), &payload[behind_ours + 1..]);
        let (destination, rest) = rest.split_at(length);
        let token = &rest[..rest.len() - 16];
        Ok(Presented { client: CLIENT, destination: destination.to_vec(), token: token.to_vec() })
    }

    /// What becomes of it at one node.
    fn show(&self, cluster: &Running, index: u8, presented: &Presented) -> Result<Outcome> {
        let totals = || Ok(cluster.node(index).control().status()?.totals);
        let before = totals()?;
        self.clear();
        self.send(presented)?;
        let Answer { kind, payload } = self.answer()?;
        let (outcome, [failed, retried]) = match kind {
            Kind::Retry => (Outcome::Asked, [0, 1]),
            Kind::Initial => match error_of(&presented.destination, payload)? {
                INVALID_TOKEN => (Outcome::Refused, [0, 0]),
                CRYPTO_ERROR..CRYPTO_ERRORS_END => (Outcome::Taken, [1, 0]),
                other => bail!("error {other:#x}"),
            },
            other => bail!("{other:?}"),
        };
        let counted = |now: &Totals| [now.handshakes_failed - before.handshakes_failed, now.retried - before.retried];
        until(totals, |now| counted(now) == [failed, retried])?;
        Ok(outcome)
    }

    fn send(&self, presented: &Presented) -> Result<()> {
        let vip = SocketAddrV4::new(VIP, PORT);
        self.sender.send(&Packet::udp(presented.client, vip, initial(presented)?).frame())
    }

    fn answer(&self) -> Result<Answer> {
        let answers = until(|| Ok(self.answers()), |answers| !answers.is_empty())?;
        answers.first().cloned().context("waited for")
    }

    fn answers(&self) -> Vec<Answer> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn clear(&self) {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// An Initial that can be decrypted, of 1,200 octets (RFC 9000 section 17.2.2), with 16 zeros where a ClientHello belongs.
fn initial(Presented { destination, token, .. }: &Presented) -> Result<Vec<u8>> {
    let mut header = vec![0xc3, 0, 0, 0, 1, u8::try_from(destination.len())?];
    header.extend(destination);
    header.extend([4]);
    header.extend(SOURCE);
    header.extend((0x4000 | u16::try_from(token.len())?).to_be_bytes());
    header.extend(token);
    let keys = keys(destination)?.local;
    // The length, and a packet number of four octets.
    let rest = 1_200 - header.len() - 2;
    header.extend((0x4000 | u16::try_from(rest)?).to_be_bytes());
    header.extend([0; 4]);
    // A CRYPTO frame; what follows is PADDING.
    let mut payload = vec![0x06, 0, 16];
    payload.resize(rest - 4 - keys.packet.tag_len(), 0);
    let tag = keys.packet.encrypt_in_place(0, &header, &mut payload)?;
    payload.extend(tag.as_ref());
    let at = header.len() - 4;
    let (first, number) = header.split_at_mut(at);
    keys.header.encrypt_in_place(&payload[..keys.header.sample_len()], &mut first[0], number)?;
    Ok([header, payload].concat())
}

/// The error code of the CONNECTION_CLOSE frame in a server's Initial.
fn error_of(destination: &[u8], mut packet: Vec<u8>) -> Result<u64> {
    let keys = keys(destination)?.remote;
    let behind_ours = 6 + usize::from(packet[5]);
    // No token, and the length in two octets.
    let at = behind_ours + 1 + usize::from(packet[behind_ours]) + 1;
    let (length, at) = variable(&packet, at)?;
    let end = at + usize::try_from(length)?;
    let (header, protected) = packet.split_at_mut(at);
    let sample = protected[4..4 + keys.header.sample_len()].to_vec();
    keys.header.decrypt_in_place(&sample, &mut header[0], &mut protected[..4])?;
    let numbered = at + 1 + usize::from(packet[0] & 3);
    let number = packet[at..numbered].iter().fold(0, |number, octet| number << 8 | u64::from(*octet));
    let (header, payload) = packet.split_at_mut(numbered);
    let frames = keys.packet.decrypt_in_place(number, header, &mut payload[..end - numbered])?;
    let mut at = 0;
    loop {
        match frames.get(at).context("no CONNECTION_CLOSE")? {
            0x00 | 0x01 => at += 1,
            // Largest, delay, count, first range.
            0x02 => at = (0..4).try_fold(at + 1, |at, _| Ok::<_, anyhow::Error>(variable(frames, at)?.1))?,
            0x1c => return Ok(variable(frames, at + 1)?.0),
            other => bail!("a frame of type {other:#x}"),
        }
    }
}

/// A variable-length integer (RFC 9000 section 16), and what is behind it.
fn variable(octets: &[u8], at: usize) -> Result<(u64, usize)> {
    let first = *octets.get(at).context("cut short")?;
    let end = at + (1 << (first >> 6));
    let rest = octets.get(at + 1..end).context("cut short")?;
    Ok((rest.iter().fold(u64::from(first & 0x3f), |value, octet| value << 8 | u64::from(*octet)), end))
}

/// Those of Initial packets, a client's own being the local ones.
fn keys(destination: &[u8]) -> Result<Keys> {
    let suite = rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
    let suite = suite.tls13().and_then(|suite| suite.quic_suite()).context("a suite for QUIC")?;
    Ok(suite.keys(destination, Side::Client, Version::V1))
}

/// Of the nodes, by their index.
const ENGINES: [&str; 4] = ["xdp", "af_xdp", "reuseport", "userspace"];
/// Where a client's Retry is from, and where it comes then.
const PAIRS: [(u8, u8); 12] =
    [(0, 1), (0, 2), (0, 3), (1, 0), (1, 2), (1, 3), (2, 0), (2, 1), (2, 3), (3, 0), (3, 1), (3, 2)];
/// That of all nodes.
const VIP: Ipv4Addr = Ipv4Addr::new(10, 80, 0, 1);
const CLIENT: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 77, 0, 2), 40_000);
/// A client's connection ID.
const SOURCE: [u8; 4] = *b"test";
/// RFC 9000 section 20.1.
const INVALID_TOKEN: u64 = 0x0b;
/// That, too: 0x0100 and an alert of TLS.
const CRYPTO_ERROR: u64 = 0x100;
const CRYPTO_ERRORS_END: u64 = 0x200;
/// Another host on the client's network.
const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 77);
/// Between two requests of a connection.
const PAUSE: Duration = Duration::from_millis(50);
/// A token is good for 15 seconds, and a clock may be one behind.
const LIFETIME: Duration = Duration::from_secs(17);
