//! Takes flows that are no longer used out of the table.
//!
//! Sweeping one is always safe: its connection ID says by itself where it belongs. So one
//! that was never used goes soon (spare connection IDs mostly stay unused), and a used one
//! once its connection must have idled out, or must have other connection IDs.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use router_common::{
    connection_id::{ConnectionId, UNROUTABLE},
    maps::{Flow, Origin},
};

use crate::{clock::monotonic_now, datapath::FlowWriter};

/// Starts the sweeper; it ends when the last sender of the result is dropped.
///
/// Of flows that connections need for `lifetimes`; how many went is counted in `swept`.
pub(super) fn start(writer: FlowWriter, lifetimes: Lifetimes, swept: Arc<AtomicU64>) -> std::io::Result<Sweeper> {
    let Lifetimes { idle, cid } = lifetimes;
    let (sender, receiver) = mpsc::channel();
    let longest = Arc::new(AtomicU64::new(nanoseconds(idle)));
    let thread = thread::Builder::new().name("sweeper".to_owned()).spawn({
        let longest = Arc::clone(&longest);
        move || {
            run(
                writer,
                || Lifetimes { idle: Duration::from_nanos(longest.load(Ordering::Relaxed)), cid },
                &receiver,
                &swept,
            )
        }
    })?;
    Ok(Sweeper { sender, longest, _thread: thread })
}

/// How long a connection may need a flow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lifetimes {
    /// For so long it may be silent (`limits.idle_timeout`).
    pub(super) idle: Duration,
    /// After so long its connection IDs are replaced (`connection_id.lifetime`).
    pub(super) cid: Duration,
}

/// The way to the sweeper.
pub(super) struct Sweeper {
    sender: mpsc::Sender<ConnectionId>,
    /// The longest idle timeout that a connection may have begun with, in nanoseconds.
    longest: Arc<AtomicU64>,
    _thread: thread::JoinHandle<()>,
}

impl Sweeper {
    /// Where to tell it of flows that were written.
    pub(super) fn sender(&self) -> mpsc::Sender<ConnectionId> {
        self.sender.clone()
    }

    /// New connections have this idle timeout. Those there are keep theirs.
    pub(super) fn at_least(&self, idle: Duration) {
        self.longest.fetch_max(nanoseconds(idle), Ordering::Relaxed);
    }
}

fn run(
    mut writer: FlowWriter,
    lifetimes: impl Fn() -> Lifetimes,
    written: &mpsc::Receiver<ConnectionId>,
    swept: &AtomicU64,
) {
    let mut young = Queue::new(UNUSED);
    let mut used = Queue::new(lifetimes().idle + SLACK);
    // Also at once: another generation's may be there.
    let mut counted = None::<Instant>;
    loop {
        if counted.is_none_or(|counted| counted.elapsed() > BETWEEN_COUNTS) {
            writer.recount();
            counted = Some(Instant::now());
        }
        match written.recv_timeout(TICK) {
            Ok(cid) => {
                // Writers have no thread to wake meanwhile.
                thread::sleep(GATHERED);
                let now = monotonic_now();
                std::iter::once(cid).chain(written.try_iter()).for_each(|cid| young.push(cid, now));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let now = monotonic_now();
        while let Some(cid) = young.due(now).or_else(|| used.due(now)) {
            match writer.get(&cid).map(|flow| is_over(&cid, &flow, lifetimes(), now)) {
                Some(true) => {
                    writer.remove(&cid);
                    swept.fetch_add(1, Ordering::Relaxed);
                }
                Some(false) => used.push(cid, now),
                None => {}
            }
        }
    }
}

/// Whether no connection needs a flow any more. It is at least [`UNUSED`] old.
fn is_over(cid: &ConnectionId, flow: &Flow, lifetimes: Lifetimes, now: u64) -> bool {
    let Lifetimes { idle, cid: lifetime } = lifetimes;
    let (age, silence) = (now.saturating_sub(flow.created()), now.saturating_sub(flow.last_seen()));
    // Such a one nothing else can place, and it may be used long after it was issued.
    let is_needed = cid.rotation() == UNROUTABLE && flow.origin() == Origin::Issued;
    match flow.packets() {
        0 if is_needed => age > nanoseconds(UNROUTABLE_KEPT),
        0 => true,
        // Packets are counted, no matter from where they came. So what keeps one is also that its connection can have it:
        // by then it has been asked to retire it, and asked again.
        _ => silence > nanoseconds(idle + SLACK) || !is_needed && age > nanoseconds(2 * lifetime + idle + SLACK),
    }
}

/// Connection IDs, each to be looked at a fixed time after it came; so the oldest is always next.
struct Queue {
    wait: u64,
    entries: VecDeque<(u64, ConnectionId)>,
}

impl Queue {
    fn new(wait: Duration) -> Self {
        Self { wait: nanoseconds(wait), entries: VecDeque::new() }
    }

    fn push(&mut self, cid: ConnectionId, now: u64) {
        self.entries.push_back((now + self.wait, cid));
    }

    fn due(&mut self, now: u64) -> Option<ConnectionId> {
        let &(due, cid) = self.entries.front()?;
        (due <= now).then(|| {
            self.entries.pop_front();
            cid
        })
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / 2)
}

/// How long a flow without a single packet stays.
const UNUSED: Duration = Duration::from_secs(10);
/// How much longer than the idle timeout a used one stays: the other side's clock may be late.
const SLACK: Duration = Duration::from_secs(5);
/// How long an unused one stays whose connection ID does not say where it belongs.
const UNROUTABLE_KEPT: Duration = Duration::from_secs(3_600);
/// How long the number of entries may miss what others have written and removed.
const BETWEEN_COUNTS: Duration = Duration::from_secs(300);
const TICK: Duration = Duration::from_secs(1);
/// How long flows that are written gather before they are taken note of.
const GATHERED: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use router_common::{
        frame::{Address, Endpoint},
        identifiers::SlotId,
        maps::Origin,
    };

    use super::*;

    const IDLE: Duration = Duration::from_secs(30);
    const TIMES: Lifetimes = Lifetimes { idle: IDLE, cid: Duration::from_secs(3_600) };
    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_flow_is_over_when_unused_or_idle() {
        let cid = ConnectionId::new(&[1; 8]).unwrap();
        let mut flow = Flow::new(SlotId::new(1), Origin::Issued, 0);
        let unroutable = ConnectionId::new(&[0xe1; 8]).unwrap();
        assert!(!is_over(&unroutable, &flow, TIMES, 60 * SECOND), "nothing else can place it");
        assert!(is_over(&unroutable, &flow, TIMES, 3_601 * SECOND));
        assert!(is_over(&cid, &flow, TIMES, 11 * SECOND), "never used");
        flow.account(1200, &Endpoint { address: Address::UNSPECIFIED, port: 1 }, 9 * SECOND);
        assert!(!is_over(&cid, &flow, TIMES, 11 * SECOND), "used just now");
        assert!(!is_over(&cid, &flow, TIMES, 44 * SECOND), "may still be alive");
        assert!(is_over(&cid, &flow, TIMES, 45 * SECOND), "idled out");
    }

    /// Anybody who has seen a connection ID can send packets to it, also when its connection has ended.
    #[test]
    fn packets_alone_keep_no_flow() {
        let cid = ConnectionId::new(&[1; 8]).unwrap();
        let unroutable = ConnectionId::new(&[0xe1; 8]).unwrap();
        let mut flow = Flow::new(SlotId::new(1), Origin::Issued, 0);
        for (seconds, over) in [(3_600, false), (7_235, false), (7_236, true)] {
            flow.account(1200, &Endpoint { address: Address::UNSPECIFIED, port: 1 }, seconds * SECOND);
            assert_eq!(is_over(&cid, &flow, TIMES, seconds * SECOND), over, "{seconds} s");
            assert!(!is_over(&unroutable, &flow, TIMES, seconds * SECOND), "nothing else can place it");
        }
    }

    #[test]
    fn a_queue_gives_back_what_is_due_in_order() {
        let mut queue = Queue::new(Duration::from_secs(10));
        let cid = |n| ConnectionId::new(&[n; 8]).unwrap();
        queue.push(cid(1), 0);
        queue.push(cid(2), SECOND);
        assert_eq!(queue.due(9 * SECOND), None);
        assert_eq!(queue.due(10 * SECOND), Some(cid(1)));
        assert_eq!(queue.due(10 * SECOND), None);
        assert_eq!(queue.due(11 * SECOND), Some(cid(2)));
    }
}
