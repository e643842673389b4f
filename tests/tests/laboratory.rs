//! Is the laboratory itself what it says: wired, quiet, exact, and gone afterwards?

use std::{
    fs,
    io::{self, Read, Write},
    net::{IpAddr, SocketAddr, TcpStream, UdpSocket},
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use router_tests::{
    content,
    lab::{Lab, Namespace, Towards, UPSTREAM4, UPSTREAM6, run, until, wire},
};

#[test]
fn every_namespace_is_reached_and_the_wires_are_quiet() -> Result<()> {
    let lab = Lab::new().clients(2).queues(3).build()?;
    let first = lab.wire();
    let capture = wire::Capture::start(first.namespace(), "router0")?;
    for wire in lab.network().clients() {
        reach(wire.namespace(), wire.router4().into())?;
        reach(wire.namespace(), wire.router6().into())?;
    }
    reach(lab.network().router(), UPSTREAM4.into())?;
    reach(lab.network().router(), UPSTREAM6.into())?;
    let frames = capture.stop()?;
    assert_eq!(frames.len(), 4, "a SYN and its RST for each address: {frames:02x?}");

    let queues = Path::new("/sys/class/net/router0/queues");
    let listed = run(Command::new("ip").args(["netns", "exec", first.namespace().name(), "ls"]).arg(queues))?;
    let listed = String::from_utf8(listed.stdout)?;
    assert_eq!(listed.matches("rx-").count(), 3, "{listed}");
    Ok(())
}

#[test]
fn clients_move_and_are_still_reached() -> Result<()> {
    let lab = Lab::new().build()?;
    let wire = lab.wire();
    for which in [1, 0] {
        wire.move_clients(which)?;
        let route = run(wire.namespace().command("ip").args(["route", "get", &wire.router4().to_string()]))?;
        let route = String::from_utf8(route.stdout)?;
        assert!(route.contains(&format!("src {} ", wire.client4()[which])), "{route}");
        let route = run(wire.namespace().command("ip").args(["route", "get", &wire.router6().to_string()]))?;
        let route = String::from_utf8(route.stdout)?;
        assert!(route.contains(&format!("src {} ", wire.client6()[which])), "{route}");
        reach(wire.namespace(), wire.router4().into())?;
        reach(wire.namespace(), wire.router6().into())?;
    }
    Ok(())
}

#[test]
fn the_upstream_serves_what_it_promises() -> Result<()> {
    let lab = Lab::new().build()?;
    let router = lab.network().router();
    let whole = content::pattern(0, 200_000);

    let (head, body) = http(router, "GET /bytes/200000 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")?;
    assert!(head.contains(&content::sha256(&whole)), "{head}");
    assert!(body == whole, "other octets");

    let post = "POST /sink HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 3\r\n\r\nabc";
    let (_, body) = http(router, post)?;
    assert_eq!(String::from_utf8(body)?, format!("3 {}\n", content::sha256(b"abc")));

    let (_, body) = http(router, &post.replace("/sink", "/echo"))?;
    assert!(String::from_utf8_lossy(&body).contains("abc"));

    let (head, _) = http(router, "GET /bytes/x HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")?;
    assert!(head.starts_with("HTTP/1.1 404"), "{head}");

    let echoed = router.enter(|| {
        let mut stream = TcpStream::connect((UPSTREAM4, 7))?;
        stream.write_all(&whole[..5000])?;
        stream.shutdown(std::net::Shutdown::Write)?;
        let mut back = Vec::new();
        stream.read_to_end(&mut back)?;
        Ok(back)
    })?;
    assert!(echoed == whole[..5000], "other octets");
    Ok(())
}

#[test]
fn frames_arrive_as_they_were_sent() -> Result<()> {
    let lab = Lab::new().build()?;
    let wire = lab.wire();
    let capture = wire::Capture::start(lab.network().router(), &wire.router_interface())?;
    let sender = wire::Sender::new(wire.namespace(), "router0")?;
    let [router, clients] = wire.macs();
    let sent: Vec<Vec<u8>> = (0..100_u8)
        .map(|i| [&router[..], &clients[..], &[0x88, 0xb5], &vec![i; 60 + usize::from(i)]].concat())
        .collect();
    sent.iter().try_for_each(|frame| sender.send(frame))?;
    let received = capture.stop()?;
    assert_eq!(received.len(), sent.len());
    for (i, (direction, frame)) in received.iter().enumerate() {
        assert_eq!((*direction, frame), (wire::Direction::In, &sent[i]), "frame {i}");
    }
    Ok(())
}

#[test]
fn a_relay_passes_on_what_its_policy_says() -> Result<()> {
    let lab = Lab::new().build()?;
    let router = lab.network().router();
    let sent = Arc::new(AtomicUsize::new(0));
    let count = sent.clone();
    // Every second frame of the clients is lost.
    let relay = lab.relay(move |towards, frame| match towards {
        Towards::Router if count.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) => Vec::new(),
        Towards::Router | Towards::Clients => vec![frame.to_vec()],
    })?;
    let server = router.enter(|| Ok(UdpSocket::bind((lab.wire().router4(), 5000))?))?;
    server.set_read_timeout(Some(Duration::from_secs(5)))?;
    let client = relay.clients().enter(|| {
        let client = UdpSocket::bind("0.0.0.0:0")?;
        client.set_read_timeout(Some(Duration::from_secs(5)))?;
        client.connect((lab.wire().router4(), 5000))?;
        (0..10_u8).try_for_each(|i| client.send(&[i]).map(drop))?;
        Ok(client)
    })?;
    let mut octet = [0];
    for expected in [1, 3, 5, 7, 9] {
        let (_, from) = server.recv_from(&mut octet)?;
        assert_eq!(octet, [expected]);
        server.send_to(&octet, from)?;
        client.recv(&mut octet)?;
    }
    assert_eq!(sent.load(Ordering::Relaxed), 10);
    Ok(())
}

#[test]
fn nothing_is_left_of_it() -> Result<()> {
    let lab = Lab::new().build()?;
    let namespaces: Vec<_> = [lab.network().router(), lab.network().upstream(), lab.wire().namespace()]
        .map(|namespace| Path::new("/run/netns").join(namespace.name()))
        .into();
    let folder = lab.home().path("");
    assert!(namespaces.iter().all(|path| path.exists()) && folder.exists());
    // Also when a test fails.
    let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _lab = lab;
        std::panic::resume_unwind(Box::new("a failed assertion"));
    }));
    assert!(failed.is_err());
    assert!(namespaces.iter().all(|path| !path.exists()) && !folder.exists());
    Ok(())
}

/// A test fails after an upgrade that its laboratory was not told of, and what took over is no child of its.
#[test]
fn the_generation_that_took_over_ends_with_it() -> Result<()> {
    let lab = Lab::new().start()?;
    let successor = lab.control().upgrade(None)?.pid;
    let others = [successor, outlives_its_parent(lab.network().router())?];
    // A process that has ended and that nobody has waited for has no program any more.
    let running = || Ok(others.map(|pid| fs::read_link(format!("/proc/{pid}/exe")).is_ok()));
    assert_eq!(running()?, [true; 2]);
    let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _lab = lab;
        std::panic::resume_unwind(Box::new("a failed assertion"));
    }));
    assert!(failed.is_err());
    until(running, |running| *running == [false; 2]).map(drop)
}

/// The process of a program in a namespace that goes on when the one that has started it has ended.
fn outlives_its_parent(namespace: &Namespace) -> Result<u32> {
    let script = "sleep 600 >/dev/null 2>&1 & echo $!";
    let said = run(namespace.command("sh").args(["-c", script]))?;
    Ok(String::from_utf8(said.stdout)?.trim().parse()?)
}

#[test]
fn what_a_killed_laboratory_left_is_swept() -> Result<()> {
    let lab = Lab::new().build()?;
    let mut child = Command::new("true").spawn()?;
    let dead = child.id();
    child.wait()?;
    let orphan = std::env::temp_dir().join(format!("qr-{dead}-0"));
    fs::create_dir_all(orphan.join("state"))?;
    let swept = Command::new(std::env::current_exe()?).args(["--exact", "frames_arrive_as_they_were_sent"]).output()?;
    assert!(swept.status.success(), "{}", String::from_utf8_lossy(&swept.stdout));
    assert!(!orphan.exists(), "not swept");
    assert!(lab.home().path("").exists(), "a living one was swept");
    Ok(())
}

/// Makes sure that `to` answers: with a refusal, as no program listens on that port.
fn reach(from: &Namespace, to: IpAddr) -> Result<()> {
    let refused = from.enter(|| Ok(TcpStream::connect_timeout(&(to, 9).into(), Duration::from_secs(2))))?;
    let error = refused.map(drop).expect_err("no program listens on the discard port");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{to}: {error}");
    Ok(())
}

/// One exchange with the upstream from `namespace`: head and body of the answer.
fn http(namespace: &Namespace, request: &str) -> Result<(String, Vec<u8>)> {
    let answer = namespace.enter(|| {
        let mut stream = TcpStream::connect(SocketAddr::from((UPSTREAM4, 80)))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer)
    })?;
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
    Ok((String::from_utf8(answer[..end].to_vec())?, answer[end + 4..].to_vec()))
}
