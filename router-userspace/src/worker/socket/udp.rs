//! The listeners' UDP sockets: opened together before any worker starts, so that what is
//! wrong with them is known before anything runs.

use std::{
    collections::HashMap,
    fs, io,
    net::{IpAddr, SocketAddr, UdpSocket},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::fs::MetadataExt as _,
    },
};

use nix::sys::socket::{setsockopt, sockopt::RcvBufForce};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// Receive buffer asked for on each socket, in bytes: some five thousand full datagrams.
/// The default of most hosts holds under a hundred.
pub const RECEIVE_BUFFER: usize = 8 << 20;

/// Send buffer asked for on each socket, in bytes.
const SEND_BUFFER: usize = 4 << 20;

/// Why a listener's sockets cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has the port.
    #[error("listener {0}: the port is in use")]
    InUse(SocketAddr),
    /// A socket that is not ours is in the reuseport group, and would get packets of ours.
    #[error("listener {address}: a foreign socket shares the port (inode {inode}, {owner})")]
    Foreign {
        /// The listener.
        address: SocketAddr,
        /// The foreign socket's inode.
        inode: u64,
        /// The process that holds it, as far as it can be found.
        owner: String,
    },
    /// A socket that is not ours has one of the addresses that a listener on all of them is for.
    #[error("listener {address}: a foreign socket on {other} gets what comes there (inode {inode}, {owner})")]
    MoreSpecific {
        /// The listener.
        address: SocketAddr,
        /// The socket's address.
        other: SocketAddr,
        /// Its inode.
        inode: u64,
        /// The process that holds it, as far as it can be found.
        owner: String,
    },
    /// The system refused.
    #[error("listener {address}: {source}")]
    System {
        /// The listener.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

impl OpenError {
    /// The way out.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::InUse(address) => Some(format!("`ss -ulpn sport = :{}` names the process", address.port())),
            Self::Foreign { .. } => {
                Some("stop that process: the kernel would give it packets of our connections".to_owned())
            }
            Self::MoreSpecific { .. } => {
                Some("a listener for each address that is ours, or stop that process".to_owned())
            }
            Self::System { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some("running as root or with CAP_NET_BIND_SERVICE".to_owned())
            }
            Self::System { .. } => None,
        }
    }
}

/// Opens `count` sockets on `address`, one for each worker, in one reuseport group, in which
/// those with the inodes `known` may be already.
///
/// # Errors
/// If the address cannot be bound, or if another process is in the group.
pub fn open(address: SocketAddr, count: usize, known: &[u64]) -> Result<Vec<UdpSocket>, OpenError> {
    let sockets = (0..count).map(|_| open_one(address)).collect::<Result<Vec<_>, _>>()?;
    refuse_foreign(address, &sockets, known)?;
    if is_local(address.ip()).is_ok_and(|local| !local) {
        tracing::warn!("listener {address}: this host does not have the address (yet); it is served once it has");
    }
    Ok(sockets)
}

fn open_one(address: SocketAddr) -> Result<UdpSocket, OpenError> {
    let bound = || -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_reuse_port(true)?;
        socket.set_nonblocking(true)?;
        set_buffers(&socket)?;
        bind(&socket, address)?;
        Ok(socket)
    };
    bound().map(UdpSocket::from).map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => OpenError::InUse(address),
        _ => OpenError::System { address, source },
    })
}

/// Binds a socket, also to an address that this host does not have yet: one that is tentative, or on
/// another node now. It gets what comes once the host has it.
///
/// # Errors
/// If it cannot be bound.
pub(in crate::worker) fn bind(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    match socket.bind(&address.into()) {
        Err(e) if e.kind() == io::ErrorKind::AddrNotAvailable => {
            match address {
                SocketAddr::V4(_) => socket.set_freebind_v4(true)?,
                SocketAddr::V6(_) => socket.set_freebind_v6(true)?,
            }
            socket.bind(&address.into())
        }
        bound => bound,
    }
}

/// Beyond the system's limit where we may (CAP_NET_ADMIN), up to it where not.
pub(in crate::worker) fn set_buffers(socket: &Socket) -> io::Result<()> {
    if setsockopt(&socket.as_fd(), RcvBufForce, &RECEIVE_BUFFER).is_err() {
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    }
    socket.set_send_buffer_size(SEND_BUFFER)
}

/// Bytes of receive buffer that the kernel granted. (It doubles what is asked for, to
/// account for its own overhead, and reports the double.)
pub fn receive_buffer(socket: &UdpSocket) -> usize {
    SockRef::from(socket).recv_buffer_size().unwrap_or(0)
}

/// The inode by which the kernel's tables name a socket.
pub fn inode(socket: &UdpSocket) -> Option<u64> {
    let descriptor = std::os::fd::AsRawFd::as_raw_fd(socket);
    fs::metadata(format!("/proc/self/fd/{descriptor}")).ok().map(|metadata| metadata.ino())
}

/// Another handle on the socket of this process that has this inode.
pub fn own_socket(inode: u64) -> Option<OwnedFd> {
    let ours = pidfd_open(getpid(), PidfdFlags::empty()).ok()?;
    let number = fs::read_dir("/proc/self/fd").ok()?.flatten().find_map(|entry| {
        let is_it = fs::metadata(entry.path()).is_ok_and(|metadata| metadata.ino() == inode)
            && fs::read_link(entry.path()).is_ok_and(|link| link.to_string_lossy().starts_with("socket:"));
        entry.file_name().to_str().filter(|_| is_it)?.parse().ok()
    })?;
    pidfd_getfd(ours, number, PidfdGetfdFlags::empty()).ok()
}

/// Whether an address is one of this host's. The kernel lets a socket be bound to nothing else.
///
/// # Errors
/// If the kernel says neither.
pub fn is_local(address: IpAddr) -> io::Result<bool> {
    match Socket::new(Domain::for_address((address, 0).into()), Type::DGRAM, Some(Protocol::UDP))?
        .bind(&SocketAddr::new(address, 0).into())
    {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::AddrNotAvailable => Ok(false),
        Err(e) => Err(e),
    }
}

/// Datagrams that the kernel dropped, by inode of the socket, because its buffer was full.
pub fn drops() -> HashMap<u64, u64> {
    bound_sockets().map(|bound| (bound.inode, bound.drops)).collect()
}

fn refuse_foreign(address: SocketAddr, ours: &[UdpSocket], known: &[u64]) -> Result<(), OpenError> {
    let ours: Vec<_> = ours.iter().filter_map(inode).chain(known.iter().copied()).collect();
    let foreign = bound_sockets().find(|bound| takes_from(bound.address, address) && !ours.contains(&bound.inode));
    match foreign {
        Some(bound) if bound.address != address => Err(OpenError::MoreSpecific {
            address,
            other: bound.address,
            inode: bound.inode,
            owner: owner(bound.inode),
        }),
        Some(bound) => Err(OpenError::Foreign { address, inode: bound.inode, owner: owner(bound.inode) }),
        None => Ok(()),
    }
}

/// Whether a socket on `other` gets datagrams that a listener on `address` is for: it has the same address, or
/// a more specific one. The kernel's stack gives that one what XDP gives a worker.
fn takes_from(other: SocketAddr, address: SocketAddr) -> bool {
    let same_family = other.is_ipv4() == address.is_ipv4();
    same_family && other.port() == address.port() && (other.ip() == address.ip() || address.ip().is_unspecified())
}

/// A line of the kernel's table of UDP sockets.
#[derive(Clone, Debug)]
pub struct Bound {
    /// What the socket is bound to.
    pub address: SocketAddr,
    /// The inode by which the kernel names it.
    pub inode: u64,
    /// Datagrams dropped because its buffer was full.
    pub drops: u64,
}

/// Every bound UDP socket of this network namespace.
pub fn bound_sockets() -> impl Iterator<Item = Bound> {
    ["/proc/thread-self/net/udp", "/proc/thread-self/net/udp6"].into_iter().flat_map(|table| {
        let text = fs::read_to_string(table).unwrap_or_default();
        text.lines().skip(1).filter_map(parse_line).collect::<Vec<_>>()
    })
}

/// `sl local_address rem_address st queues timer retrnsmt uid timeout inode ref pointer drops`
fn parse_line(line: &str) -> Option<Bound> {
    let fields: Vec<_> = line.split_whitespace().collect();
    let (address, port) = fields.get(1)?.split_once(':')?;
    // Words of the address as the host reads them, in hex.
    let mut octets = Vec::with_capacity(16);
    for word in address.as_bytes().chunks(8) {
        let word = u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?;
        octets.extend(word.to_ne_bytes());
    }
    let port = u16::from_str_radix(port, 16).ok()?;
    let address = match octets.len() {
        4 => SocketAddr::from((<[u8; 4]>::try_from(octets).ok()?, port)),
        _ => SocketAddr::from((<[u8; 16]>::try_from(octets).ok()?, port)),
    };
    Some(Bound { address, inode: fields.get(9)?.parse().ok()?, drops: fields.get(12)?.parse().ok()? })
}

/// Which process holds a socket, in words.
pub fn owner(inode: u64) -> String {
    let wanted = format!("socket:[{inode}]");
    let holds = |pid: &str| {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
        descriptors
            .flatten()
            .any(|entry| fs::read_link(entry.path()).is_ok_and(|to| to.as_os_str() == wanted.as_str()))
            .then(|| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default())
    };
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.bytes().all(|b| b.is_ascii_digit()))
        .find_map(|pid| holds(&pid).map(|name| format!("process {pid}, {}", name.trim())))
        .unwrap_or_else(|| "held by no process that can be seen from here".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_table() {
        let line = "  123: 0100007F:1F90 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4242 2 0000000000000000 7";
        let bound = parse_line(line).unwrap();
        assert_eq!((bound.address, bound.inode, bound.drops), ("127.0.0.1:8080".parse().unwrap(), 4242, 7));
        let line = "  9: 00000000000000000000000001000000:01BB 00000000000000000000000000000000:0000 07 0:0 00:0 0 0 0 99 2 0 0";
        assert_eq!(parse_line(line).unwrap().address, "[::1]:443".parse().unwrap());
    }

    #[test]
    fn a_foreign_socket_in_the_group_is_named() {
        let foreign = open_one("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = foreign.local_addr().unwrap();
        let error = open(address, 2, &[]).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(&format!("process {}", std::process::id())), "{text}");
        let known = inode(&foreign).unwrap();
        assert!(text.contains(&known.to_string()), "{text}");
        assert_eq!(open(address, 2, &[known]).unwrap().len(), 2);
    }

    /// inetstack#198: it was not named, and what came there went to one or the other by the engine.
    #[test]
    fn a_foreign_socket_on_one_of_all_addresses_is_named() {
        let foreign = open_one("127.0.0.77:0".parse().unwrap()).unwrap();
        let there = foreign.local_addr().unwrap();
        let all = SocketAddr::from(([0, 0, 0, 0], there.port()));
        let error = open(all, 1, &[]).unwrap_err();
        assert!(error.to_string().contains(&format!("a foreign socket on {there}")), "{error}");
        assert_eq!(open(all, 1, &[inode(&foreign).unwrap()]).unwrap().len(), 1);
        let elsewhere = SocketAddr::from(([127, 0, 0, 1], there.port()));
        assert_eq!(open(elsewhere, 1, &[]).unwrap().len(), 1, "that one gets nothing of it");
    }

    /// systemd#650: addresses are tentative for a while at boot.
    #[test]
    fn an_address_that_is_not_here_yet_is_bound_all_the_same() {
        for absent in ["192.0.2.77:0", "[2001:db8::77]:0"] {
            let absent: SocketAddr = absent.parse().unwrap();
            assert!(!is_local(absent.ip()).unwrap());
            assert_eq!(open_one(absent).unwrap().local_addr().unwrap().ip(), absent.ip());
        }
    }

    #[test]
    fn a_port_in_use_is_named() {
        let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        assert!(matches!(open(address, 1, &[]), Err(OpenError::InUse(a)) if a == address));
    }
}
