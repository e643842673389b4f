//! The engine `etcd` against a real etcd: the contract of all engines, and what becomes of a cluster while etcd is stopped,
//! hangs, has lost its data, or says what no node has written.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends there")]

#[path = "contract/mod.rs"]
mod contract;
#[path = "etcd/server.rs"]
mod server;

use std::{
    collections::BTreeSet,
    fs,
    sync::{Arc, Mutex},
    time::Duration,
};

use nix::sys::signal::Signal;
use router_cluster::{
    membership::{
        CidShape, Claim, Freshness, Incarnation, Membership, MembershipError, NodeNumber, Order, Presence, View, Write,
        etcd::{Etcd, EtcdIdentity, EtcdSettings, EtcdTls},
        rotation,
    },
    secret::ClusterSecret,
};

use self::{
    contract::{Cluster, Node},
    server::{Server, secret},
};

impl Cluster for Server {
    fn join(&self) -> Box<dyn Membership> {
        Box::new(self.engine())
    }
}

/// A cluster that was made, and two nodes that are up.
async fn two_nodes(server: &Server) -> [Node; 2] {
    let mut first = Node::new(server.join(), 1).await;
    let mut second = Node::new(server.join(), 2).await;
    first.engine.commit(rotation::make(SHAPE, 1_000)).await.unwrap();
    for node in [&mut first, &mut second] {
        node.until("the cluster", |view| view.state.revision == 1).await;
        node.come_up(1).await;
    }
    for node in [&first, &second] {
        node.until("both are up", |view| present(view) == [1, 2]).await;
    }
    [first, second]
}

/// The numbers of the nodes that are present.
fn present(view: &View) -> Vec<u16> {
    let nodes = view.state.nodes.iter().filter(|(_, member)| member.presence() == Presence::Present);
    nodes.map(|(number, _)| number.get()).collect()
}

/// Notes every view of a node in which one of the two is not present.
struct Watched {
    seen: Arc<Mutex<Vec<Arc<View>>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Watched {
    fn new(node: &Node) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (mut views, noted) = (node.engine.watch(), Arc::clone(&seen));
        let task = tokio::spawn(async move {
            while views.changed().await.is_ok() {
                let view = Arc::clone(&views.borrow_and_update());
                if !present(&view).starts_with(&[1, 2]) || view.state.master.is_none() {
                    noted.lock().unwrap().push(view);
                }
            }
        });
        Self { seen, task }
    }

    fn nobody_was_missed(self) {
        self.task.abort();
        let seen = self.seen.lock().unwrap();
        assert!(seen.is_empty(), "{:?}", seen[0]);
    }
}

async fn until_away(node: &Node) -> Arc<View> {
    node.until("etcd is away", |view| matches!(view.freshness, Freshness::LastKnown { .. })).await
}

async fn until_live(node: &Node) -> Arc<View> {
    node.until("etcd is back", |view| view.freshness.is_live()).await
}

#[tokio::test]
async fn the_contract() {
    let server = Server::start("contract").await;
    contract::of_engine(&server).await;
}

#[tokio::test]
async fn nodes_that_come_at_once_get_different_numbers() {
    let server = Server::start("numbers").await;
    let maker = Node::new(server.join(), 1).await;
    maker.engine.commit(rotation::make(SHAPE, 1_000)).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for node in 1..=8_u8 {
        let engine = server.join();
        let (address, incarnation, host) = ([10, 0, 0, node].into(), Incarnation::new(node.into()), node.into());
        tasks.spawn(async move {
            let mut views = engine.watch();
            views.wait_for(|view| view.state.revision == 1).await.unwrap();
            engine.register(Claim { address, incarnation, host }).await.unwrap().get()
        });
    }
    let numbers: BTreeSet<u16> = tasks.join_all().await.into_iter().collect();
    assert_eq!(numbers, (1..=8).collect());
}

#[tokio::test]
async fn etcd_is_stopped_and_started_again() {
    let mut server = Server::start("stopped").await;
    let [mut first, second] = two_nodes(&server).await;
    let watched = [Watched::new(&first), Watched::new(&second)];
    server.stop();
    let before = until_away(&first).await;
    assert!(matches!(&before.freshness, Freshness::LastKnown { why, .. } if why.contains("127.0.0.1")), "{before:?}");
    until_away(&second).await;
    let error = first
        .engine
        .commit(rotation::announce(&first.state(), SHAPE, 2_000, &rotation::Unleased::new()).unwrap())
        .await
        .unwrap_err();
    assert!(matches!(error, MembershipError::Away { .. }), "{error}");
    // What a node says meanwhile is told later.
    first.ack(77).await;
    // Longer than a lease.
    tokio::time::sleep(Duration::from_secs(3)).await;
    server.run().await;
    until_live(&first).await;
    let told = |view: &View| {
        let first = view.state.node(NodeNumber::new(1).unwrap()).and_then(|member| member.record.clone());
        first.and_then(|record| record.run).is_some_and(|run| run.acks == 77)
    };
    second.until("what the first said meanwhile", told).await;
    watched.into_iter().for_each(Watched::nobody_was_missed);
}

#[tokio::test]
async fn etcd_hangs() {
    let server = Server::start("hangs").await;
    let [first, second] = two_nodes(&server).await;
    let watched = [Watched::new(&first), Watched::new(&second)];
    server.signal(Signal::SIGSTOP);
    until_away(&first).await;
    until_away(&second).await;
    // The leases run out meanwhile, which etcd notices when it goes on.
    tokio::time::sleep(Duration::from_secs(4)).await;
    server.signal(Signal::SIGCONT);
    for node in [&first, &second] {
        until_live(node).await;
    }
    // Past the time for which vanished records are kept: both have to be there by themselves.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let keys = server.ctl(&["get", "--prefix", "--keys-only", "/quic-router/edge/nodes/"]);
    assert_eq!(keys.split_whitespace().count(), 2, "{keys}");
    watched.into_iter().for_each(Watched::nobody_was_missed);
}

#[tokio::test]
async fn etcd_loses_its_data() {
    let mut server = Server::start("wiped").await;
    let [first, second] = two_nodes(&server).await;
    let change = rotation::announce(&first.state(), SHAPE, 2_000, &rotation::Unleased::new()).unwrap();
    let revision = first.engine.commit(change).await.unwrap();
    for node in [&first, &second] {
        node.until("the announcement", |view| view.state.revision == revision).await;
    }
    let before = first.state();
    let watched = [Watched::new(&first), Watched::new(&second)];
    server.wipe();
    until_away(&first).await;
    server.run().await;
    for node in [&first, &second] {
        let after = until_live(node).await;
        assert_eq!((&after.state.master, &after.state.cid), (&before.master, &before.cid));
        assert_eq!((after.state.revision, after.state.next_id), (revision, 3));
    }
    let mut third = Node::new(server.join(), 3).await;
    assert_eq!(third.come_up(revision).await.get(), 3, "no number is given twice");
    first.until("the third", |view| present(view) == [1, 2, 3]).await;
    watched.into_iter().for_each(Watched::nobody_was_missed);
}

#[tokio::test]
async fn what_etcd_has_compacted_is_read_anew() {
    let mut server = Server::start("compacted").await;
    let [first, second] = two_nodes(&server).await;
    let watched = Watched::new(&second);
    for count in 0..20 {
        server.ctl(&["put", "/elsewhere", &count.to_string()]);
    }
    server.stop();
    until_away(&first).await;
    until_away(&second).await;
    server.run().await;
    let status = server.ctl(&["endpoint", "status", "--write-out", "json"]);
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    let revision = status[0]["Status"]["header"]["revision"].as_u64().unwrap();
    server.ctl(&["compact", &revision.to_string()]);
    until_live(&first).await;
    until_live(&second).await;
    let revision = first.commit(vec![]).await;
    second.until("a change after the compaction", |view| view.state.revision == revision).await;
    watched.nobody_was_missed();
}

#[tokio::test]
async fn a_node_that_dies_loses_its_record_and_not_its_number() {
    let server = Server::start("dies").await;
    let [first, second] = two_nodes(&server).await;
    let number = NodeNumber::new(2).unwrap();
    // Past the time for which vanished records are kept.
    tokio::time::sleep(Duration::from_secs(3)).await;
    drop(second);
    first.until_presence(number, Presence::LeaseGone).await;
    assert!(first.engine.view().freshness.is_live());
    let mut again = Node::new(server.join(), 2).await;
    assert_eq!(again.come_up(1).await, number);
    first.until_presence(number, Presence::Present).await;
}

#[tokio::test]
async fn a_record_that_was_taken_away_is_put_back() {
    let server = Server::start("deleted").await;
    let [first, _second] = two_nodes(&server).await;
    let key = "/quic-router/edge/nodes/1";
    server.ctl(&["del", key]);
    let is_back = async {
        while server.ctl(&["get", "--keys-only", key]).trim().is_empty() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), is_back).await.unwrap();
    // Not so that of a node that stops, or that its operator has forgotten.
    let number = NodeNumber::new(1).unwrap();
    first.commit(vec![Write::Order(number, Order::Forget)]).await;
    server.ctl(&["del", key]);
    let revision = first.commit(vec![]).await;
    first.until("what came after", |view| view.state.revision == revision).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(server.ctl(&["get", "--keys-only", key]).trim().is_empty());
}

#[tokio::test]
async fn what_no_node_has_written_is_not_believed() {
    let server = Server::start("forged").await;
    let [first, second] = two_nodes(&server).await;
    let before = first.state();
    let (config, cid) = ("/quic-router/edge/config", "/quic-router/edge/cid/0");
    let old = server.ctl(&["get", "--print-value-only", config]);
    let revision = first.commit(vec![]).await;
    let new = server.ctl(&["get", "--print-value-only", config]);
    second.until("the change", |view| view.state.revision == revision).await;
    for (key, value) in [(config, "forged"), (cid, new.trim_end())] {
        let right = server.ctl(&["get", "--print-value-only", key]);
        server.ctl(&["put", key, value]);
        let view = until_away(&first).await;
        let name = key.strip_prefix("/quic-router/edge/").unwrap();
        assert!(matches!(&view.freshness, Freshness::LastKnown { why, .. } if why.contains(name)), "{view:?}");
        assert_eq!((&view.state.cid, &view.state.master), (&before.cid, &before.master));
        server.ctl(&["put", key, right.trim_end()]);
        until_live(&first).await;
    }
    // What was true once is put right.
    server.ctl(&["put", config, old.trim_end()]);
    let is_right = async {
        while server.ctl(&["get", "--print-value-only", config]).trim_end() != new.trim_end() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), is_right).await.unwrap();
    assert_eq!(until_live(&first).await.state.revision, revision);
    // A single record that is wrong is that node's fault alone.
    server.ctl(&["put", "/quic-router/edge/nodes/9", "forged"]);
    let view = first.until("the fault", |view| !view.state.faults.is_empty()).await;
    assert!(view.freshness.is_live() && view.state.faults[0].contains("nodes/9"), "{:?}", view.state.faults);
}

#[tokio::test]
async fn who_reads_etcd_learns_nothing_secret() {
    let server = Server::start("sealed").await;
    let [first, _second] = two_nodes(&server).await;
    let all = server.ctl(&["get", "--prefix", "/quic-router/", "--write-out", "fields"]);
    assert!(all.contains("10.0.0.1") && all.contains("issuing"), "what is no secret can be read: {all}");
    let state = first.state();
    let (master, cid) = (state.master.as_ref().unwrap(), state.issuing().unwrap());
    for secret in [&master.octets()[..], cid.secrets.key(), cid.secrets.salt(), secret().octets()] {
        use base64::Engine as _;
        let hex: String = secret.iter().map(|octet| format!("{octet:02x}")).collect();
        let base64 = base64::engine::general_purpose::STANDARD_NO_PAD.encode(secret);
        assert!(!all.contains(&hex) && !all.contains(&base64) && !format!("{state:?}").contains(&hex));
    }
    let other = Etcd::start(server.settings(), &ClusterSecret::from([8; 32])).unwrap();
    let mut views = other.watch();
    let unread = |view: &Arc<View>| matches!(&view.freshness, Freshness::Unread { why } if why.contains("not sealed"));
    tokio::time::timeout(Duration::from_secs(10), views.wait_for(unread)).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_node_starts_with_what_it_knew_while_etcd_is_away() {
    let mut server = Server::start("snapshot").await;
    let settings = EtcdSettings { snapshot: Some(server.file("snapshot.json")), ..server.settings() };
    let start = || Etcd::start(settings.clone(), &secret()).unwrap();
    let mut node = Node::new(Box::new(start()), 1).await;
    node.engine.commit(rotation::make(SHAPE, 1_000)).await.unwrap();
    node.until("the cluster", |view| view.state.revision == 1).await;
    let number = node.come_up(1).await;
    node.until_presence(number, Presence::Present).await;
    let before = node.state();
    drop(node);
    server.wipe();
    let engine = start();
    let mut views = engine.watch();
    let is_known = |view: &Arc<View>| matches!(view.freshness, Freshness::LastKnown { .. });
    let view = Arc::clone(&*views.wait_for(is_known).await.unwrap());
    assert_eq!(view.state, before);
    let claim = Claim { address: [10, 0, 0, 1].into(), incarnation: Incarnation::new(1), host: 1 };
    assert_eq!(engine.register(claim).await.unwrap(), number, "a number that is known needs no etcd");
    let stranger = Claim { incarnation: Incarnation::new(5), ..claim };
    assert!(matches!(engine.register(stranger).await.unwrap_err(), MembershipError::Away { .. }));
    // All is lost but for what this node has kept.
    server.run().await;
    let after = Arc::clone(&*views.wait_for(|view| view.freshness.is_live()).await.unwrap());
    assert_eq!((&after.state.master, &after.state.cid), (&before.master, &before.cid));
    fs::write(server.file("snapshot.json"), "{").unwrap();
    let view = Etcd::start(settings.clone(), &secret()).unwrap().view();
    assert!(matches!(&view.freshness, Freshness::Unread { why } if why.contains("snapshot.json")), "{view:?}");
}

#[tokio::test]
async fn etcd_and_nodes_know_each_other_by_certificates() {
    let server = Server::start_with("tls", |folder| {
        let path = |name: &str| folder.join(name).display().to_string();
        let authority_key = rcgen::KeyPair::generate().unwrap();
        let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority_cert = authority.self_signed(&authority_key).unwrap();
        let issuer = rcgen::Issuer::new(authority, authority_key);
        fs::write(path("ca.pem"), authority_cert.pem()).unwrap();
        for name in ["server", "client"] {
            let key = rcgen::KeyPair::generate().unwrap();
            let params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
            fs::write(path(&format!("{name}.pem")), params.signed_by(&key, &issuer).unwrap().pem()).unwrap();
            fs::write(path(&format!("{name}.key")), key.serialize_pem()).unwrap();
        }
        let files = [("--cert-file", "server.pem"), ("--key-file", "server.key"), ("--trusted-ca-file", "ca.pem")];
        let arguments = files.iter().flat_map(|(option, name)| [(*option).to_owned(), path(name)]);
        let arguments = arguments.chain(["--client-cert-auth".to_owned()]);
        let identity = EtcdIdentity { cert: folder.join("client.pem"), key: folder.join("client.key") };
        (arguments.collect(), Some(EtcdTls { ca: folder.join("ca.pem"), identity: Some(identity) }))
    })
    .await;
    two_nodes(&server).await;
    let mut settings = server.settings();
    settings.tls.as_mut().unwrap().identity = None;
    let mut views = Etcd::start(settings.clone(), &secret()).unwrap().watch();
    let refused = |view: &Arc<View>| matches!(&view.freshness, Freshness::Unread { why } if why.contains("https://"));
    tokio::time::timeout(Duration::from_secs(10), views.wait_for(refused)).await.unwrap().unwrap();
    let without = Etcd::start(EtcdSettings { tls: None, ..settings }, &secret()).unwrap_err();
    assert!(without.to_string().contains("cluster.ca"), "{without}");
}

const SHAPE: CidShape = CidShape { length: 17, describes_length: true };
