//! What happens to a packet between two nodes of a cluster: is a handshake split over them completed, does a mark of
//! congestion survive, and what is too long for the network between them?

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use router_tests::lab::{
    Namespace, PORT, Towards,
    cluster::{Cluster, Family, RouteChange, TUNNEL_PORT},
    datagram::{Datagram, End, Kind},
    peers::{Ngtcp2, QuicGo},
    until,
    wire::{Direction, Tap},
};

/// Point 6: the route changes between the two datagrams of a ClientHello. Neither node has all of it; the client goes on
/// with the one that has answered, and sends the other half again.
#[test]
fn a_client_hello_that_is_split_over_two_nodes_is_completed() -> Result<()> {
    let mut cluster = Cluster::new().nodes(2).start()?;
    cluster.route([0])?;
    let changes = [cluster.fabric().change([1]), cluster.fabric().change([0])];
    let made = Arc::new(AtomicUsize::new(0));
    let relay = cluster.relay(between_two_initials(changes, made.clone()))?;
    let clients = QuicGo::new(relay.clients(), cluster.vip(Family::V4)).get("/bytes/1000").connections(20).at_once(1);
    let summary = clients.succeed()?;
    let made = made.load(Ordering::Relaxed);
    ensure!(made == 20, "{made} of 20 ClientHellos were split");
    let worst = Duration::from_micros(summary.handshakes.worst);
    ensure!(worst < SPLIT_HANDSHAKE, "a handshake took {worst:?}");
    Ok(())
}

/// A relay's policy: before the second Initial of each client, the route changes.
fn between_two_initials(
    changes: [RouteChange; 2],
    made: Arc<AtomicUsize>,
) -> impl Fn(Towards, &[u8]) -> Vec<Vec<u8>> + Clone + Send + 'static {
    let initials = Arc::new(Mutex::new(BTreeMap::<u16, u64>::new()));
    move |towards, frame| {
        let mut frame = frame.to_vec();
        if let (Towards::Router, Some(datagram)) = (towards, Datagram::of(&mut frame))
            && datagram.kind() == Kind::Initial
        {
            let mut initials = initials.lock().unwrap_or_else(PoisonError::into_inner);
            let count = initials.entry(datagram.port(End::Source)).or_default();
            *count += 1;
            if *count == 2 {
                let change = &changes[made.fetch_add(1, Ordering::Relaxed) % 2];
                change.make().expect("both nodes are there");
            }
        }
        vec![frame]
    }
}

/// Point 13: a router between the nodes marks what they forward; the owner tells the client so.
#[test]
fn a_congestion_mark_of_the_tunnel_reaches_the_client() -> Result<()> {
    let marked = Arc::new(AtomicU64::new(0));
    let count = marked.clone();
    let cluster = Cluster::new().nodes(2).relay(0, move |towards, frame| {
        let mut frame = frame.to_vec();
        if let (Towards::Router, Some(mut datagram)) = (towards, Datagram::of(&mut frame))
            && datagram.port(End::Destination) == TUNNEL_PORT
            && datagram.ecn() == ECT_0
        {
            datagram.mark_congestion();
            count.fetch_add(1, Ordering::Relaxed);
        }
        vec![frame]
    });
    let mut cluster = cluster.start()?;
    cluster.route([0])?;
    let client = Ngtcp2::new(cluster.wire().namespace(), cluster.vip(Family::V4), "/bytes/1000000");
    // The request is made when the route has changed.
    let client = client.option("--delay-stream=2s").start()?;
    until(|| Ok(cluster.node(0).control().status()?.totals.accepted), |accepted| *accepted == 1)?;
    cluster.route([1])?;
    let said = Ngtcp2::finish(client)?;
    let (marked, seen) = (marked.load(Ordering::Relaxed), congestion_seen(&said)?);
    ensure!(0 < seen && seen <= marked, "{marked} were marked, and the client was told of {seen}");
    cluster.expect_nothing_lost()
}

/// The most marks of congestion that an ACK frame told a client of.
fn congestion_seen(said: &str) -> Result<u64> {
    let counts = said.lines().filter(|line| line.contains(" frm rx ")).filter_map(|line| line.split_once(" ce="));
    let counts = counts.map(|(_, count)| count.split_whitespace().next().unwrap_or_default().parse::<u64>());
    counts
        .max_by_key(|count| count.clone().unwrap_or_default())
        .context("no ACK frame has counts of ECN")?
        .context("ce=")
}

/// Point 12: a client that goes by `max_udp_payload_size` never sends what no tunnel over an Ethernet carries.
#[test]
fn an_obeying_client_sends_nothing_that_is_too_long() -> Result<()> {
    let mut cluster = Cluster::new().nodes(2).start()?;
    let longest = Arc::new(AtomicUsize::new(0));
    let _tap = lengths(cluster.fabric().router(), longest.clone())?;
    cluster.route([0])?;
    let clients = cluster.quic_go().post("/sink", 2_000_000).connections(5).requests(3).until_told().start()?;
    clients.run_until(|| Ok(cluster.node(0).control().status()?.totals.accepted == 5))?;
    cluster.route([1])?;
    // Those that have found a longer path meanwhile send as much as they may.
    clients.run_until(|| Ok(longest.load(Ordering::Relaxed) > PAYLOAD_BEFORE))?;
    clients.succeed()?;
    let longest = longest.load(Ordering::Relaxed);
    ensure!(longest <= PAYLOAD_MAX, "a payload of {longest} octets, where {PAYLOAD_MAX} are allowed");
    cluster.expect_nothing_lost()
}

/// The other half of it: one that does not, loses what comes to another node, and that is counted; what is short passes.
#[test]
fn what_is_too_long_to_forward_is_counted_and_lost() -> Result<()> {
    let mut cluster = Cluster::new().nodes(2).start()?;
    cluster.route([0])?;
    let upload = cluster.aioquic("/sink").option("--post").option("100000").option("--mtu").option("1452");
    let upload = upload.requests(20).pausing(Duration::from_millis(100)).start()?;
    upload.run_until(|| Ok(cluster.node(0).control().status()?.totals.accepted == 1))?;
    cluster.route([1])?;
    upload.run_until(|| Ok(cluster.too_long()? > 0))?;
    cluster.route([0])?;
    upload.succeed()?;
    cluster.expect_nothing_lost_but(&["too_long_to_forward"])
}

/// Keeps the length of the longest payload of UDP that clients send to the cluster.
fn lengths(fabric: &Namespace, longest: Arc<AtomicUsize>) -> Result<Tap> {
    Tap::start(fabric, "clients0", move |direction, frame| {
        let mut frame = frame.to_vec();
        if let (Direction::In, Some(datagram)) = (direction, Datagram::of(&mut frame))
            && datagram.port(End::Destination) == PORT
        {
            longest.fetch_max(datagram.payload().len(), Ordering::Relaxed);
        }
        Ok(())
    })
}

/// A client's first PTO (0.3 s: RFC 9002 section 6.2.2 has three times 333 ms at most), a round trip, and a busy machine.
const SPLIT_HANDSHAKE: Duration = Duration::from_millis(1_500);
/// ECT(0) (RFC 3168).
const ECT_0: u8 = 2;
/// 1,500 octets but for the tunnel's 44, and 28 of the inner headers.
const PAYLOAD_MAX: usize = 1_428;
/// What clients send before they have found a longer path.
const PAYLOAD_BEFORE: usize = 1_300;
