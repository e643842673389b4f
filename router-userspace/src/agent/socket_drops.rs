//! Datagrams that the kernel dropped at our sockets, for longer than the kernel remembers.

use std::{collections::BTreeMap, mem};

/// Drops by the inode of the socket. The kernel forgets a socket's with the socket; a sum may not.
#[derive(Clone, Debug, Default)]
pub(super) struct SocketDrops {
    known: BTreeMap<u64, u64>,
    gone: u64,
}

impl SocketDrops {
    /// The sum, given what the kernel says now of the sockets there are.
    pub(super) fn sum(&mut self, now: BTreeMap<u64, u64>) -> u64 {
        for (inode, before) in mem::replace(&mut self.known, now) {
            // Another socket may have got the same number.
            if self.known.get(&inode).is_none_or(|&now| now < before) {
                self.gone += before;
            }
        }
        self.gone + self.known.values().sum::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_of_a_socket_outlive_it() {
        let mut drops = SocketDrops::default();
        assert_eq!(drops.sum([(1, 10), (2, 5)].into()), 15);
        assert_eq!(drops.sum([(1, 12), (2, 5)].into()), 17);
        // One is closed; another gets a number that was used before.
        assert_eq!(drops.sum([(2, 6)].into()), 18);
        assert_eq!(drops.sum([(1, 1), (2, 0)].into()), 19);
        assert_eq!(drops.sum([].into()), 19);
    }
}
