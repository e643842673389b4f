//! The nonces of one key: for each slot a counter from a random start, used once each.
//!
//! What a slot may use is leased in advance and written down before it is used, so that a
//! run that ends in any way leaves behind a number beyond all that it has used.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use router_common::{
    connection_id::MAX_LENGTH,
    identifiers::{EraId, SlotId},
};

/// Where leases are written down.
pub trait Ledger: Send + Sync {
    /// Notes durably that `slot` may use the nonces before number `up_to` in `era`.
    ///
    /// # Errors
    /// If it cannot be written; then they are not used.
    fn lease(&self, era: EraId, slot: SlotId, up_to: u64) -> io::Result<()>;
}

/// The nonces of one configuration.
pub struct Nonces {
    era: EraId,
    start: [u8; MAX_LENGTH],
    octets: usize,
    slots: Box<[Counter; 256]>,
    ledger: Arc<dyn Ledger>,
    renewing: Mutex<()>,
}

/// One slot's: numbers below `leased` may be used, those below `next` have been.
#[derive(Debug, Default)]
struct Counter {
    next: AtomicU64,
    leased: AtomicU64,
}

impl Nonces {
    /// Nonces of `octets` octets (1 to 20) that count from `start` on, none of them used.
    pub fn new(era: EraId, start: [u8; MAX_LENGTH], octets: usize, ledger: Arc<dyn Ledger>) -> Self {
        let slots = Box::new(std::array::from_fn(|_| Counter::default()));
        Self { era, start, octets, slots, ledger, renewing: Mutex::default() }
    }

    /// Which one of all configurations that this node has had they are of.
    pub fn era(&self) -> EraId {
        self.era
    }

    /// The same, after runs that may have used those before number `up_to` for `slot`.
    pub fn leased(mut self, slot: SlotId, up_to: u64) -> Self {
        let up_to = up_to.min(self.space());
        self.slots[usize::from(slot)] = Counter { next: up_to.into(), leased: up_to.into() };
        self
    }

    /// A nonce that `slot` has never used: the first octets of these.
    ///
    /// `None` if all have been used, or if the next lease cannot be written down.
    pub fn take(&self, slot: SlotId) -> Option<[u8; MAX_LENGTH]> {
        let counter = &self.slots[usize::from(slot)];
        loop {
            let leased = counter.leased.load(Ordering::Acquire);
            let below = |next: u64| (next < leased).then_some(next + 1);
            match counter.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, below) {
                Ok(number) => return Some(self.nonce(number)),
                // Not reached while the agent renews in time.
                Err(_) => self.renew(slot, leased).ok()?,
            }
        }
    }

    /// Renews the leases that are running out, for slots that use any. The agent calls it
    /// often, so that no worker has to wait for a disk.
    ///
    /// # Errors
    /// If a lease cannot be written down.
    pub fn renew_in_time(&self) -> io::Result<()> {
        for (slot, counter) in SlotId::all().zip(self.slots.iter()) {
            let (next, leased) = (counter.next.load(Ordering::Relaxed), counter.leased.load(Ordering::Acquire));
            let running_out = leased - next.min(leased) < self.lease() / 2;
            if leased > 0 && leased < self.space() && running_out {
                self.renew(slot, leased)?;
            }
        }
        Ok(())
    }

    /// Leases more for each of `slots`: a whole lease is there then, and no disk is needed for a while.
    ///
    /// # Errors
    /// If a lease cannot be written down, or if there are no more nonces.
    pub fn stock_up(&self, slots: &[SlotId]) -> io::Result<()> {
        slots.iter().try_for_each(|&slot| {
            let leased = self.slots[usize::from(slot)].leased.load(Ordering::Acquire);
            self.renew(slot, leased)
        })
    }

    /// Leaves out what another generation may have used for `slot`: all before number `up_to`.
    /// No worker uses that slot here.
    pub fn skip_to(&self, slot: SlotId, up_to: u64) {
        let _alone = self.renewing.lock().unwrap_or_else(PoisonError::into_inner);
        let counter = &self.slots[usize::from(slot)];
        if counter.leased.load(Ordering::Acquire) < up_to {
            counter.next.store(up_to, Ordering::Relaxed);
            counter.leased.store(up_to, Ordering::Release);
        }
    }

    /// The largest share of its nonces that any slot may have used, 0 to 1.
    pub fn used(&self) -> f64 {
        let next = self.slots.iter().map(|counter| counter.next.load(Ordering::Relaxed)).max().unwrap_or(0);
        next as f64 / self.space() as f64
    }

    /// Leases more for `slot`, unless another thread has done so since it had `seen`.
    fn renew(&self, slot: SlotId, seen: u64) -> io::Result<()> {
        let _alone = self.renewing.lock().unwrap_or_else(PoisonError::into_inner);
        let counter = &self.slots[usize::from(slot)];
        if counter.leased.load(Ordering::Acquire) != seen {
            return Ok(());
        }
        let up_to = seen.saturating_add(self.lease()).min(self.space());
        if up_to == seen {
            return Err(io::Error::other("all nonces have been used"));
        }
        self.ledger.lease(self.era, slot, up_to)?;
        counter.leased.store(up_to, Ordering::Release);
        Ok(())
    }

    /// Nonces there are for each slot; beyond 2^63 they are not counted.
    fn space(&self) -> u64 {
        1 << (8 * self.octets).min(63)
    }

    /// Nonces in a lease: enough for seconds, and few enough for hundreds of restarts.
    fn lease(&self) -> u64 {
        (self.space() >> 8).clamp(1, 1 << 32)
    }

    /// Nonce `number`: so far behind the start, around the end of the space to its beginning.
    fn nonce(&self, number: u64) -> [u8; MAX_LENGTH] {
        let mut nonce = self.start;
        let mut carry = u128::from(number);
        for octet in nonce[..self.octets].iter_mut().rev() {
            carry += u128::from(*octet);
            *octet = carry as u8;
            carry >>= 8;
        }
        nonce
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};

    use super::*;

    /// A state folder on a disk that fails when told to.
    #[derive(Default)]
    struct Disk {
        leases: Mutex<BTreeMap<SlotId, u64>>,
        fails: std::sync::atomic::AtomicBool,
    }

    impl Ledger for Disk {
        fn lease(&self, era: EraId, slot: SlotId, up_to: u64) -> io::Result<()> {
            assert_eq!(era, EraId::new(7));
            if self.fails.load(Ordering::Relaxed) {
                return Err(io::Error::other("disk full"));
            }
            self.leases.lock().unwrap().insert(slot, up_to);
            Ok(())
        }
    }

    fn nonces(octets: usize, disk: &Arc<Disk>) -> Nonces {
        Nonces::new(EraId::new(7), [0xff; MAX_LENGTH], octets, Arc::clone(disk) as _)
    }

    #[test]
    fn every_one_once_and_then_none() {
        let disk = Arc::new(Disk::default());
        let nonces = nonces(2, &disk);
        let mut seen = HashSet::new();
        for _ in 0..1 << 16 {
            assert!(seen.insert(nonces.take(SlotId::new(3)).unwrap()));
        }
        assert_eq!(nonces.take(SlotId::new(3)), None);
        assert!(nonces.used() >= 1.0);
        assert!(nonces.take(SlotId::new(4)).is_some(), "another slot has its own");
    }

    /// Whatever a run has used, the next one uses none of it.
    #[test]
    fn a_run_goes_on_beyond_the_last_ones_lease() {
        let disk = Arc::new(Disk::default());
        let mut seen = HashSet::new();
        for _ in 0..20 {
            let leases = disk.leases.lock().unwrap().clone();
            let run = leases.into_iter().fold(nonces(3, &disk), |nonces, (slot, to)| nonces.leased(slot, to));
            for slot in [0, 9].map(SlotId::new) {
                for _ in 0..1_000 {
                    assert!(seen.insert((slot, run.take(slot).unwrap())));
                }
            }
        }
    }

    #[test]
    fn what_another_generation_used_is_left_out() {
        let disk = Arc::new(Disk::default());
        let (one, other) = (nonces(3, &disk), nonces(3, &disk));
        one.stock_up(&[SlotId::new(5)]).unwrap();
        other.stock_up(&[SlotId::new(6)]).unwrap();
        let leases = disk.leases.lock().unwrap().clone();
        assert_eq!(leases, BTreeMap::from([(SlotId::new(5), one.lease()), (SlotId::new(6), one.lease())]));
        let used: HashSet<_> = (0..one.lease()).map(|_| other.take(SlotId::new(6)).unwrap()).collect();
        let own = one.take(SlotId::new(5)).unwrap();
        leases.into_iter().for_each(|(slot, up_to)| one.skip_to(slot, up_to));
        assert!(!used.contains(&one.take(SlotId::new(6)).unwrap()));
        assert_eq!(one.take(SlotId::new(5)).unwrap(), one.nonce(1), "its own goes on");
        assert_ne!(own, one.nonce(1));
    }

    #[test]
    fn leases_are_renewed_before_they_run_out() {
        let disk = Arc::new(Disk::default());
        let nonces = nonces(3, &disk);
        let lease = nonces.lease();
        nonces.renew_in_time().unwrap();
        assert!(disk.leases.lock().unwrap().is_empty(), "none has been used");
        for _ in 0..=lease / 2 {
            nonces.take(SlotId::new(1)).unwrap();
        }
        nonces.renew_in_time().unwrap();
        assert_eq!(disk.leases.lock().unwrap()[&SlotId::new(1)], 2 * lease);
        nonces.renew_in_time().unwrap();
        assert_eq!(disk.leases.lock().unwrap()[&SlotId::new(1)], 2 * lease, "there is enough left");
    }

    #[test]
    fn what_cannot_be_written_down_is_not_used() {
        let disk = Arc::new(Disk::default());
        let nonces = nonces(3, &disk);
        nonces.take(SlotId::new(1)).unwrap();
        disk.fails.store(true, Ordering::Relaxed);
        assert_eq!(nonces.take(SlotId::new(2)), None);
        for _ in 1..nonces.lease() {
            nonces.take(SlotId::new(1)).unwrap();
        }
        assert_eq!(nonces.take(SlotId::new(1)), None);
        assert!(nonces.renew_in_time().is_err());
        disk.fails.store(false, Ordering::Relaxed);
        assert!(nonces.take(SlotId::new(1)).is_some());
    }

    #[test]
    fn counting_wraps_within_the_octets_there_are() {
        let disk = Arc::new(Disk::default());
        for octets in [1, 3, 13, 17, 18] {
            let nonces = nonces(octets, &disk);
            assert_eq!(nonces.nonce(0), [0xff; MAX_LENGTH]);
            let next = nonces.nonce(1);
            assert!(next[..octets].iter().all(|&octet| octet == 0), "{octets}: {next:?}");
            assert!(next[octets..].iter().all(|&octet| octet == 0xff), "{octets}: {next:?}");
            let far = nonces.nonce(0x0102);
            assert_eq!(far[octets - 1], 0x01, "{octets}");
        }
    }
}
