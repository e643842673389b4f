//! Is the laboratory of several nodes what it says: one address, spread by ECMP, changed at will, and gone afterwards?

use std::{
    cell::RefCell,
    collections::BTreeSet,
    io::ErrorKind,
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use router_tests::lab::{
    Namespace, Towards,
    cluster::{Cluster, Ecmp, Family, Running},
    until,
};

#[test]
fn each_node_gets_a_share_and_follows_the_route() -> Result<()> {
    for ecmp in [Ecmp::Plain, Ecmp::Resilient] {
        let mut cluster = Cluster::new().ecmp(ecmp).build()?;
        for family in Family::BOTH {
            let shares = shares(&cluster, family)?;
            ensure!(shares.iter().all(|&share| share > 0), "{ecmp:?}, {family:?}: {shares:?}");
        }
        for route in [[0, 2], [1, 2], [0, 1]] {
            cluster.route(route)?;
            for family in Family::BOTH {
                let got: Vec<_> = shares(&cluster, family)?;
                let with: Vec<_> = (0..3).filter(|&node| got[usize::from(node)] > 0).collect();
                ensure!(with == route, "{ecmp:?}, {family:?}: routed to {route:?}, got {got:?}");
            }
        }
    }
    Ok(())
}

#[test]
fn a_wire_that_is_cut_leaves_the_route_and_is_mended() -> Result<()> {
    let mut cluster = Cluster::new().build()?;
    cluster.cut(1)?;
    assert_eq!(cluster.fabric().in_route(), &BTreeSet::from([0, 2]));
    let got = shares(&cluster, Family::V4)?;
    ensure!(got[0] > 0 && got[1] == 0 && got[2] > 0, "{got:?}");
    cluster.mend(1)?;
    cluster.route([1])?;
    for family in Family::BOTH {
        assert_eq!(shares(&cluster, family)?, [0, CONNECTIONS, 0], "{family:?}");
    }
    Ok(())
}

#[test]
fn a_node_that_is_added_is_routed_to() -> Result<()> {
    let mut cluster = Cluster::new().nodes(2).build()?;
    assert_eq!(cluster.add_node()?, 2);
    assert_eq!(cluster.members().nodes().len(), 3);
    assert_eq!(shares(&cluster, Family::V4)?[2], 0);
    cluster.route([2])?;
    for family in Family::BOTH {
        assert_eq!(shares(&cluster, family)?, [0, 0, CONNECTIONS], "{family:?}");
    }
    Ok(())
}

/// By way of the fabric, for which they have to know its link address.
#[test]
fn nodes_reach_each_other() -> Result<()> {
    let cluster = Cluster::new().build()?;
    for [from, to] in [[0, 1], [1, 0], [1, 2], [2, 0]] {
        for family in Family::BOTH {
            let address = SocketAddr::from((cluster.node(to).wiring().address(family), 9));
            let refused = cluster.node(from).wiring().namespace().enter(|| Ok(TcpStream::connect(address)))?;
            let error = refused.map(drop).expect_err("no program listens on the discard port");
            ensure!(error.kind() == ErrorKind::ConnectionRefused, "{from} to {to}: {error}");
        }
    }
    Ok(())
}

#[test]
fn a_relay_stands_between_the_fabric_and_a_node() -> Result<()> {
    let cut = Arc::new(AtomicBool::new(false));
    let passed = Arc::new(AtomicUsize::new(0));
    let (is_cut, count) = (cut.clone(), passed.clone());
    let cluster = Cluster::new().relay(1, move |towards, frame| {
        count.fetch_add(usize::from(towards == Towards::Router), Ordering::Relaxed);
        if is_cut.load(Ordering::Relaxed) { Vec::new() } else { vec![frame.to_vec()] }
    });
    let mut cluster = cluster.build()?;
    cluster.route([1])?;
    assert_eq!(shares(&cluster, Family::V4)?, [0, CONNECTIONS, 0]);
    ensure!(passed.load(Ordering::Relaxed) >= CONNECTIONS, "they came another way");
    cut.store(true, Ordering::Relaxed);
    let address = cluster.vip(Family::V4);
    let refused = cluster.wire().namespace().enter(|| Ok(TcpStream::connect_timeout(&address, CONNECT)))?;
    assert_eq!(refused.map(drop).expect_err("the relay drops all").kind(), ErrorKind::TimedOut);
    Ok(())
}

#[test]
fn nothing_is_left_of_it() -> Result<()> {
    let cluster = Cluster::new().nodes(2).build()?;
    let fabric = cluster.fabric();
    let nodes = cluster.nodes().iter().map(|node| node.wiring().namespace());
    let all = nodes.chain([fabric.router(), fabric.upstream(), cluster.wire().namespace()]);
    let namespaces: Vec<_> = all.map(|namespace| Path::new("/run/netns").join(namespace.name())).collect();
    let folders: Vec<_> = cluster.nodes().iter().map(|node| node.home().path("")).collect();
    assert!(namespaces.iter().chain(&folders).all(|path| path.exists()));
    drop(cluster);
    let left: Vec<_> = namespaces.iter().chain(&folders).filter(|path| path.exists()).collect();
    ensure!(left.is_empty(), "{left:?}");
    Ok(())
}

/// How many of [`CONNECTIONS`] connections each node got.
fn shares(cluster: &Running, family: Family) -> Result<Vec<usize>> {
    let address = SocketAddr::from((family.vip(), 5_000));
    let listen = |namespace: &Namespace| namespace.enter(|| Ok(TcpListener::bind(address)?));
    let nodes = cluster.nodes().iter().map(|node| node.wiring().namespace());
    let listeners: Vec<_> = nodes.map(listen).collect::<Result<_>>()?;
    let _open: Vec<_> = cluster.wire().namespace().enter(|| {
        let connect = |number| {
            let connection = TcpStream::connect_timeout(&address, CONNECT);
            connection.with_context(|| format!("connection {number} to {address}"))
        };
        (0..CONNECTIONS).map(connect).collect::<Result<_>>()
    })?;
    listeners.iter().try_for_each(|listener| listener.set_nonblocking(true))?;
    let accepted = RefCell::new(vec![0; listeners.len()]);
    let accept = || {
        for (listener, count) in listeners.iter().zip(accepted.borrow_mut().iter_mut()) {
            while let Some(_connection) = accept(listener)? {
                *count += 1;
            }
        }
        Ok(accepted.borrow().clone())
    };
    until(accept, |shares| shares.iter().sum::<usize>() == CONNECTIONS)
}

/// A connection, if one waits.
fn accept(listener: &TcpListener) -> Result<Option<TcpStream>> {
    match listener.accept() {
        Ok((connection, _)) => Ok(Some(connection)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// None of three nodes gets none of them, but once in ten billion times.
const CONNECTIONS: usize = 60;
const CONNECT: Duration = Duration::from_secs(2);
