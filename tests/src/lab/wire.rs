//! Raw frames, put on a wire and taken off it, octet by octet as they are.

use std::{
    io::IoSlice,
    os::fd::{AsRawFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use nix::{
    errno::Errno,
    ifaddrs::getifaddrs,
    sys::{
        socket::{
            self, AddressFamily, LinkAddr, MsgFlags, MultiHeaders, SockFlag, SockProtocol, SockType, setsockopt,
            sockopt,
        },
        time::TimeVal,
    },
};

use super::netns::Namespace;

/// Sends frames on an interface of a namespace.
#[derive(Debug)]
pub struct Sender {
    socket: OwnedFd,
}

impl Sender {
    /// A sender on the interface `link` of `namespace`.
    pub fn new(namespace: &Namespace, link: &str) -> Result<Self> {
        // No protocol: it receives nothing.
        Ok(Self { socket: open(namespace, link, None)? })
    }

    /// Sends one whole Ethernet frame, without its checksum.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        let sent = socket::send(self.socket.as_raw_fd(), frame, MsgFlags::empty())?;
        if sent != frame.len() {
            bail!("only {sent} of {} octets were sent", frame.len());
        }
        Ok(())
    }

    /// Sends whole frames, each in two parts, as fast as the kernel takes them, while there are any and `goes_on` says
    /// so. What the wire has no room for is lost.
    pub fn flood<'f>(&self, frames: impl Iterator<Item = [&'f [u8]; 2]>, goes_on: impl Fn() -> bool) -> Result<()> {
        let mut headers = MultiHeaders::<LinkAddr>::preallocate(BURST, None);
        // The socket is bound to its interface.
        let nowhere_else = [None; BURST];
        let mut frames = frames.map(|parts| parts.map(IoSlice::new));
        while goes_on() {
            let burst: Vec<_> = frames.by_ref().take(BURST).collect();
            if burst.is_empty() {
                break;
            }
            let socket = self.socket.as_raw_fd();
            match socket::sendmmsg(socket, &mut headers, &burst, nowhere_else, [], MsgFlags::empty()) {
                Ok(_) | Err(Errno::ENOBUFS) => {}
                Err(error) => return Err(error).context("cannot send a burst of frames"),
            }
        }
        Ok(())
    }
}

/// Which way a frame goes, as the interface sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// It was received.
    In,
    /// It is being sent.
    Out,
}

/// Looks at every frame that passes an interface until it is dropped.
#[derive(Debug)]
pub struct Tap {
    stop: Arc<AtomicBool>,
    reader: Option<JoinHandle<Result<()>>>,
}

impl Tap {
    /// Calls `look` for each frame that passes the interface `link` of `namespace` from now on.
    pub fn start(
        namespace: &Namespace,
        link: &str,
        look: impl FnMut(Direction, &[u8]) -> Result<()> + Send + 'static,
    ) -> Result<Self> {
        let socket = open(namespace, link, Some(SockProtocol::EthAll))?;
        setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER)?;
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(0, LOOK_UP.subsec_micros().into()))?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let reader = thread::spawn(move || read(&socket, &stopped, look));
        Ok(Self { stop, reader: Some(reader) })
    }

    /// Ends it when all that has passed has been looked at.
    pub fn stop(mut self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let reader = self.reader.take().context("it reads")?;
        reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn read(socket: &OwnedFd, stop: &AtomicBool, mut look: impl FnMut(Direction, &[u8]) -> Result<()>) -> Result<()> {
    let mut buffer = vec![0; usize::from(u16::MAX) + 64];
    loop {
        match socket::recvfrom::<LinkAddr>(socket.as_raw_fd(), &mut buffer) {
            Ok((length, from)) => {
                let outgoing = from.is_some_and(|from| from.pkttype() == PACKET_OUTGOING);
                look(if outgoing { Direction::Out } else { Direction::In }, &buffer[..length])?;
            }
            // Only when nothing is left to read: what passed before the stop is all there.
            Err(Errno::EAGAIN) if stop.load(Ordering::Relaxed) => return Ok(()),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Records every frame that passes an interface.
#[derive(Debug)]
pub struct Capture {
    tap: Tap,
    frames: Receiver<(Direction, Vec<u8>)>,
}

impl Capture {
    /// Begins to record on the interface `link` of `namespace`.
    pub fn start(namespace: &Namespace, link: &str) -> Result<Self> {
        let (record, frames) = mpsc::channel();
        let tap = Tap::start(namespace, link, move |direction, frame| Ok(record.send((direction, frame.to_vec()))?))?;
        Ok(Self { tap, frames })
    }

    /// Ends it; what was recorded, in order.
    pub fn stop(self) -> Result<Vec<(Direction, Vec<u8>)>> {
        self.tap.stop()?;
        Ok(self.frames.try_iter().collect())
    }
}

fn open(namespace: &Namespace, link: &str, protocol: Option<SockProtocol>) -> Result<OwnedFd> {
    namespace.enter(|| {
        let socket = socket::socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)
            .context("cannot open a packet socket")?;
        let address = link_address(link)?;
        socket::bind(socket.as_raw_fd(), &address).with_context(|| format!("cannot bind to {link}"))?;
        Ok(socket)
    })
}

/// The address of `link` in this thread's namespace; its protocol is zero, which leaves a
/// socket bound to it the protocol that it has.
fn link_address(link: &str) -> Result<LinkAddr> {
    let addresses = getifaddrs()?.filter(|interface| interface.interface_name == link);
    let address = addresses.filter_map(|interface| interface.address?.as_link_addr().copied()).next();
    address.with_context(|| format!("no interface {link}"))
}

/// `sll_pkttype` of a frame that this host sends (packet(7)).
const PACKET_OUTGOING: u8 = 4;
/// Frames that one system call sends.
const BURST: usize = 64;
/// A burst of a hundred handshakes fits.
const RECEIVE_BUFFER: usize = 16 << 20;
const LOOK_UP: Duration = Duration::from_millis(50);
