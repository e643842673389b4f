//! Does the load balancing of an upstream choose the server that it should, and does PROXY protocol name the client?

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream},
    os::fd::AsRawFd,
    sync::mpsc,
    thread,
};

use anyhow::{Context, Result, ensure};
use nix::sys::socket::{Shutdown, shutdown};
use router_tests::lab::{Lab, Running, UPSTREAM4, Upstream};

/// The same one for the same client address, whatever its port and worker.
#[test]
fn source_hash_keeps_a_client_at_its_server() -> Result<()> {
    let mut lab = Lab::new().build()?;
    let behind = lab.network().upstream();
    let _others =
        [8080, 8081, 8082].map(|port| Upstream::http(behind, port)).into_iter().collect::<Result<Vec<_>>>()?;
    lab.reconfigure(|config| {
        config.rest = format!(
            "[[route]]\nupstream = \"web\"\n[upstream.web]\nbalance = \"source-hash\"\n\
             servers = [\"http://{UPSTREAM4}:8080\", \"http://{UPSTREAM4}:8081\", \"http://{UPSTREAM4}:8082\"]\n"
        );
    });
    lab.start_agent()?;
    for client in lab.wire().client4() {
        let before = asked(&lab)?;
        lab.quic_go().get("/bytes/100").option("local", client).connections(12).requests(3).succeed()?;
        let mut by: Vec<_> = asked(&lab)?.iter().zip(before).map(|(now, before)| now - before).collect();
        by.sort_unstable();
        assert_eq!(by, [0, 0, 36], "{client}");
    }
    Ok(())
}

/// Raw streams, each told of by PROXY protocol version 2, section 2.2.
#[test]
fn proxy_protocol_names_client_and_listener() -> Result<()> {
    let mut lab = Lab::new().build()?;
    let listener = lab.network().upstream().enter(|| Ok(TcpListener::bind((UPSTREAM4, 8090))?))?;
    let (told, hear) = mpsc::channel();
    let accepting = thread::spawn({
        let listener = listener.try_clone()?;
        move || {
            for stream in listener.incoming().map_while(std::result::Result::ok) {
                let told = told.clone();
                thread::spawn(move || told.send(echo(stream)));
            }
        }
    });
    lab.reconfigure(|config| {
        config.rest = format!(
            "[[route]]\nalpn = \"echo\"\nupstream = \"echo\"\n\
             [upstream.echo]\nservers = [\"tcp://{UPSTREAM4}:8090\"]\nproxy_protocol = true\n"
        );
    });
    lab.start_agent()?;
    lab.quic_go().echo(10_000).connections(5).requests(3).succeed()?;
    shutdown(listener.as_raw_fd(), Shutdown::Both)?;
    ensure!(accepting.join().is_ok());
    let told = hear.into_iter().collect::<Result<Vec<_>>>()?;
    assert_eq!(told.len(), 15);
    let (client, router) = (lab.wire().client4()[0], lab.wire().router(443));
    ensure!(told.iter().all(|(from, to)| *from.ip() == client && SocketAddr::V4(*to) == router), "{told:?}");
    let ports: BTreeSet<_> = told.iter().map(|(from, _)| from.port()).collect();
    assert_eq!(ports.len(), 5, "a port for each connection: {told:?}");
    Ok(())
}

/// Sends everything behind the header back; what the header says.
fn echo(mut stream: TcpStream) -> Result<(SocketAddrV4, SocketAddrV4)> {
    let mut header = [0; 28];
    stream.read_exact(&mut header)?;
    // Version 2, PROXY; TCP over IPv4; 12 octets of addresses and ports.
    ensure!(header.starts_with(b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"), "{header:?}");
    let ip = |at: usize| Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]);
    let port = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let mut octets = Vec::new();
    stream.read_to_end(&mut octets).context("up to the client's end")?;
    stream.write_all(&octets)?;
    stream.shutdown(std::net::Shutdown::Write)?;
    Ok((SocketAddrV4::new(ip(16), port(24)), SocketAddrV4::new(ip(20), port(26))))
}

fn asked(lab: &Running) -> Result<Vec<u64>> {
    Ok(lab.control().status()?.upstreams.into_iter().map(|server| server.requests_total).collect())
}
