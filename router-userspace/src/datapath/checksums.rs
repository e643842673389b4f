//! UDP without checksums, as tunnels have it (RFC 6935, RFC 6936): the packet within has its own.

use std::{
    io,
    net::UdpSocket,
    os::fd::{AsRawFd, RawFd},
};

/// Has a socket send datagrams without checksums, and take such over IPv6, where the kernel drops them by default. What XDP
/// programs put into a tunnel has none.
///
/// # Errors
/// If the kernel refuses.
pub fn leave_out(socket: &UdpSocket) -> io::Result<()> {
    let descriptor = socket.as_raw_fd();
    if socket.local_addr()?.is_ipv4() {
        return switch_on(descriptor, libc::SOL_SOCKET, libc::SO_NO_CHECK);
    }
    switch_on(descriptor, libc::SOL_UDP, UDP_NO_CHECK6_TX)?;
    switch_on(descriptor, libc::SOL_UDP, UDP_NO_CHECK6_RX)
}

#[expect(unsafe_code, reason = "nothing safe wraps these options")]
fn switch_on(descriptor: RawFd, level: i32, option: i32) -> io::Result<()> {
    let on: libc::c_int = 1;
    let length = size_of_val(&on) as libc::socklen_t;
    // SAFETY: the descriptor is an open socket's, and the value is there for the length that is said.
    let result = unsafe { libc::setsockopt(descriptor, level, option, (&raw const on).cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// `linux/udp.h`
const UDP_NO_CHECK6_TX: i32 = 101;
const UDP_NO_CHECK6_RX: i32 = 102;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn datagrams_without_a_checksum_arrive() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let [one, other] = [address; 2].map(|address| UdpSocket::bind(address).unwrap());
            leave_out(&one).unwrap();
            leave_out(&other).unwrap();
            other.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            one.send_to(b"hello", other.local_addr().unwrap()).unwrap();
            let mut octets = [0; 8];
            assert_eq!(other.recv(&mut octets).unwrap(), 5, "{address}");
        }
    }
}
