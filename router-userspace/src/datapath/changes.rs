//! The kernel's word that something has changed: links, and addresses of the host (rtnetlink).
//!
//! Messages only trigger a rescan; their content is not parsed, because netlink may drop them.

use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd},
};

use nix::{
    errno::Errno,
    sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket},
};
use tokio::io::{Interest, unix::AsyncFd};

/// A subscription to what the kernel announces in this network namespace.
#[derive(Debug)]
pub struct Changes(AsyncFd<OwnedFd>);

impl Changes {
    /// Begins; within a tokio runtime.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn subscribe() -> io::Result<Self> {
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, GROUPS as u32))?;
        #[expect(unsafe_code, reason = "tokio wants a promise about the file descriptor")]
        // SAFETY: the registration owns the descriptor, and nothing else closes or replaces it.
        Ok(Self(unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }?))
    }

    /// Waits until something has been announced that is not [known](Self::are_known).
    ///
    /// # Errors
    /// If the runtime ends.
    pub async fn announced(&self) -> io::Result<()> {
        self.0.readable().await.map(drop)
    }

    /// What was announced up to now is known.
    pub fn are_known(&self) {
        let mut message = [0; MESSAGE_PART];
        let mut read = |socket: &OwnedFd| match recv(socket.as_raw_fd(), &mut message, MsgFlags::empty()) {
            // There was no room for all of them: then this is the last word on it.
            Ok(_) | Err(Errno::ENOBUFS | Errno::EINTR) => Ok(()),
            Err(e) => Err(e.into()),
        };
        // With the first error it is known that there is nothing more to read.
        while self.0.try_io(Interest::READABLE, &mut read).is_ok() {}
    }
}

const GROUPS: libc::c_int = libc::RTMGRP_LINK | libc::RTMGRP_IPV4_IFADDR | libc::RTMGRP_IPV6_IFADDR;
/// Of a message, what is read of it: the rest goes with that.
const MESSAGE_PART: usize = 64;
