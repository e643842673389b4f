//! Which worker is to have which receive queue: what is seen in, what is wanted out.

use std::collections::BTreeMap;

use router_common::identifiers::{InterfaceQueue, SlotId};

/// A queue's worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Share {
    /// The slot of the worker.
    pub(super) slot: SlotId,
    /// Whether new connections that come in on the queue are its own. Else the assignment places them.
    pub(super) places: bool,
}

/// A worker that gets new connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Load {
    pub(super) slot: SlotId,
    /// How many it has, and those once more that it has taken in lately.
    pub(super) connections: u64,
}

/// Spreads the queues over the workers: evenly, and so that few change hands.
pub(super) fn plan(
    queues: &[InterfaceQueue],
    before: &BTreeMap<InterfaceQueue, Share>,
    workers: &[Load],
) -> BTreeMap<InterfaceQueue, Share> {
    let owners = owners(queues, before, workers);
    // With fewer queues than workers, who has none would get no connection from them.
    let enough = queues.len() >= workers.len();
    let share = |(&queue, &slot): (&InterfaceQueue, &SlotId)| {
        let was_busy = before.get(&queue).is_some_and(|share| share.slot == slot && !share.places);
        let last = if was_busy { LastLook::Busy } else { LastLook::NoBusier };
        (queue, Share { slot, places: enough && is_no_busier(slot, workers, last) })
    };
    owners.iter().map(share).collect()
}

fn owners(
    queues: &[InterfaceQueue],
    before: &BTreeMap<InterfaceQueue, Share>,
    workers: &[Load],
) -> BTreeMap<InterfaceQueue, SlotId> {
    let Some(each) = queues.len().checked_div(workers.len()) else { return BTreeMap::new() };
    let mut larger = queues.len() % workers.len();
    let mut counts: BTreeMap<SlotId, usize> = workers.iter().map(|worker| (worker.slot, 0)).collect();
    let mut owners = BTreeMap::new();
    for queue in queues {
        let Some(share) = before.get(queue) else { continue };
        let Some(count) = counts.get_mut(&share.slot) else { continue };
        let is_larger = *count == each;
        if *count > each || is_larger && larger == 0 {
            continue;
        }
        larger -= usize::from(is_larger);
        *count += 1;
        owners.insert(*queue, share.slot);
    }
    for queue in queues {
        if !owners.contains_key(queue)
            && let Some((slot, count)) = counts.iter_mut().min_by_key(|(slot, count)| (**count, **slot))
        {
            *count += 1;
            owners.insert(*queue, *slot);
        }
    }
    owners
}

/// What a worker was found to be at the last look.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LastLook {
    Busy,
    NoBusier,
}

/// Whether a worker has about as many connections as the others. One that was found busy has to come
/// down further than what made it so: else it would change at every look.
fn is_no_busier(slot: SlotId, workers: &[Load], last: LastLook) -> bool {
    let total: u64 = workers.iter().map(|worker| worker.connections).sum();
    let mean = total / workers.len().max(1) as u64;
    let own = workers.iter().find(|worker| worker.slot == slot).map_or(0, |worker| worker.connections);
    own <= match last {
        LastLook::NoBusier => mean + mean / 4 + SOME,
        LastLook::Busy => mean + mean / 10 + SOME / 2,
    }
}

/// So few connections are no load to speak of.
const SOME: u64 = 16;

#[cfg(test)]
mod tests {
    use router_common::identifiers::{IfIndex, QueueId};

    use super::*;

    fn queues(count: u32) -> Vec<InterfaceQueue> {
        (0..count).map(|queue| InterfaceQueue { interface: IfIndex::new(7), queue: QueueId::new(queue) }).collect()
    }

    fn workers(connections: &[u64]) -> Vec<Load> {
        SlotId::all().zip(connections).map(|(slot, &connections)| Load { slot, connections }).collect()
    }

    fn counts(plan: &BTreeMap<InterfaceQueue, Share>, slots: usize) -> Vec<usize> {
        SlotId::all().take(slots).map(|slot| plan.values().filter(|share| share.slot == slot).count()).collect()
    }

    #[test]
    fn everybody_gets_as_many() {
        let none = BTreeMap::new();
        for (of, to, expected) in [(4, 4, vec![1; 4]), (8, 3, vec![3, 3, 2]), (2, 4, vec![1, 1, 0, 0]), (1, 1, vec![1])]
        {
            let plan = plan(&queues(of), &none, &workers(&vec![0; to]));
            assert_eq!(counts(&plan, to), expected, "{of} queues, {to} workers");
        }
        assert!(plan(&queues(4), &none, &[]).is_empty(), "there is no worker");
    }

    #[test]
    fn few_change_hands() {
        let four = plan(&queues(4), &BTreeMap::new(), &workers(&[0; 4]));
        assert_eq!(plan(&queues(4), &four, &workers(&[0; 4])), four);
        // One leaves: only its queue moves.
        let without: Vec<_> = workers(&[0; 4]).into_iter().filter(|worker| worker.slot != SlotId::new(2)).collect();
        let three = plan(&queues(4), &four, &without);
        assert_eq!(four.iter().filter(|(queue, share)| three[*queue].slot != share.slot).count(), 1);
        assert_eq!(counts(&three, 4), [2, 1, 0, 1]);
        // It comes back: it gets one.
        let again = plan(&queues(4), &three, &workers(&[0; 4]));
        assert_eq!(counts(&again, 4), [1; 4]);
        assert_eq!(three.iter().filter(|(queue, share)| again[*queue].slot != share.slot).count(), 1);
        // Queues are added.
        assert_eq!(counts(&plan(&queues(6), &four, &workers(&[0; 4])), 4), [2, 2, 1, 1]);
    }

    #[test]
    fn who_has_many_more_connections_gets_none_until_it_has_come_down() {
        let mut now = plan(&queues(2), &BTreeMap::new(), &workers(&[0, 0]));
        for (connections, places) in [
            ([16, 0], [true, true]),
            ([100, 40], [true, true]),
            ([200, 40], [false, true]),
            // Between the two bounds it stays as it was.
            ([155, 110], [false, true]),
            ([140, 130], [true, true]),
            ([155, 110], [true, true]),
        ] {
            now = plan(&queues(2), &now, &workers(&connections));
            assert_eq!(now.values().map(|share| share.places).collect::<Vec<_>>(), places, "{connections:?}");
        }
    }

    #[test]
    fn with_fewer_queues_than_workers_the_assignment_places() {
        let plan = plan(&queues(2), &BTreeMap::new(), &workers(&[0; 3]));
        assert!(plan.values().all(|share| !share.places) && plan.len() == 2);
    }
}
