//! What a driver says of itself and its offloads: the ioctl behind `ethtool`.
//!
//! Asked by ioctl and not read under /sys, whose net devices are those of the namespace in which
//! it was mounted. The rule this file keeps: its one system call only ever asks.

use std::{
    ffi::{CStr, c_char},
    net::UdpSocket,
    os::fd::AsRawFd as _,
};

/// The driver's name.
pub(crate) fn driver(interface: &str) -> Option<String> {
    // struct ethtool_drvinfo: the command, then the name in 32 octets, then 160 octets more.
    let words: [u32; 49] = ask(interface, GDRVINFO)?;
    let octets: Vec<u8> = words[1..9].iter().flat_map(|word| word.to_ne_bytes()).collect();
    let name = CStr::from_bytes_until_nul(&octets).ok()?.to_str().ok()?;
    (!name.is_empty()).then(|| name.to_owned())
}

/// The queues of an interface.
pub(crate) struct Queues {
    /// Receive queues in use, at least one.
    pub(crate) receive: u32,
    /// How many there could be.
    pub(crate) receive_most: u32,
    /// Transmit queues in use.
    pub(crate) transmit: u32,
}

/// The queues of `interface`, if its driver tells.
pub(crate) fn queues(interface: &str) -> Option<Queues> {
    // struct ethtool_channels: the command, four maxima and four counts, each rx, tx, other, combined.
    let [_, most_rx, _, _, most_combined, rx, tx, _, combined]: [u32; 9] = ask(interface, GCHANNELS)?;
    let queues = Queues { receive: rx + combined, receive_most: most_rx + most_combined, transmit: tx + combined };
    Some(queues).filter(|queues| queues.receive > 0)
}

/// Whether checksums of sent packets are left to the device.
pub(crate) fn transmit_checksums(interface: &str) -> Option<bool> {
    ask(interface, GTXCSUM).map(|[_, on]: [u32; 2]| on != 0)
}

/// Whether received packets are merged in software (GRO).
pub(crate) fn generic_receive_offload(interface: &str) -> Option<bool> {
    ask(interface, GGRO).map(|[_, on]: [u32; 2]| on != 0)
}

/// Whether received packets are merged by the device (LRO).
pub(crate) fn large_receive_offload(interface: &str) -> Option<bool> {
    ask(interface, GFLAGS).map(|[_, flags]: [u32; 2]| flags & FLAG_LRO != 0)
}

/// Whether the device takes VLAN tags out of received frames.
pub(crate) fn receive_vlan_offload(interface: &str) -> Option<bool> {
    ask(interface, GFLAGS).map(|[_, flags]: [u32; 2]| flags & FLAG_RXVLAN != 0)
}

/// The answer to `command`, whose structure is `N` words long, beginning with the command;
/// nothing if there is no such interface or if its driver does not know.
fn ask<const N: usize>(interface: &str, command: u32) -> Option<[u32; N]> {
    let socket = UdpSocket::bind("127.0.0.1:0").ok()?;
    let mut answer = [0; N];
    answer[0] = command;
    let mut name: [c_char; libc::IFNAMSIZ] = [0; libc::IFNAMSIZ];
    if interface.len() >= name.len() {
        return None;
    }
    for (to, octet) in name.iter_mut().zip(interface.bytes()) {
        *to = octet as c_char;
    }
    let mut request = libc::ifreq {
        ifr_name: name,
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_data: answer.as_mut_ptr().cast() },
    };
    #[expect(unsafe_code, reason = "nothing safe wraps SIOCETHTOOL")]
    // SAFETY: the request is a whole `ifreq` with a terminated name; each caller gives a command
    // of `linux/ethtool.h` with the length of its structure, which is all that the kernel writes.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
    (result == 0).then_some(answer)
}

// Commands of `linux/ethtool.h`.
const GDRVINFO: u32 = 0x03;
const GTXCSUM: u32 = 0x16;
const GFLAGS: u32 = 0x25;
const GGRO: u32 = 0x2b;
const GCHANNELS: u32 = 0x3c;
const FLAG_LRO: u32 = 1 << 15;
const FLAG_RXVLAN: u32 = 1 << 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_answers_and_what_is_not_there_does_not() {
        assert!(transmit_checksums("lo").is_some());
        assert!(generic_receive_offload("lo").is_some());
        assert_eq!(large_receive_offload("lo"), Some(false));
        assert_eq!(transmit_checksums("no-such-if"), None);
        assert_eq!(driver("a-name-that-is-longer-than-any-interface"), None);
    }
}
