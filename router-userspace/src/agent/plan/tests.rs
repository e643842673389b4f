//! Every kind of way from what is there to what is asked for.

use super::*;
use crate::config::Config;

fn places(pairs: &[(u8, u32)]) -> Vec<Place> {
    pairs.iter().copied().map(Place::from).collect()
}

fn listener(port: u16) -> Listener {
    let text = format!("[[listener]]\naddress = \"127.0.0.1:{port}\"\n");
    Config::parse(&text, "test").expect("a configuration").listeners.remove(0)
}

fn numbered(id: u16, port: u16) -> Numbered {
    Numbered { id: ListenerId::new(id), listener: listener(port) }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// Two workers on two CPUs, one listener, one interface.
fn running() -> Present {
    Present {
        cpus: [0, 1].map(CpuId::new).to_vec(),
        workers: places(&[(0, 0), (1, 1)]),
        taken: places(&[(0, 0), (1, 1)]),
        listeners: vec![numbered(0, 1)],
        interfaces: names(&["eth0"]),
        ..Present::default()
    }
}

fn steps(workers: usize, ports: &[u16], interfaces: &[&str], present: &Present) -> Result<Steps, PlanError> {
    let (listeners, interfaces): (Vec<_>, _) = (ports.iter().copied().map(listener).collect(), names(interfaces));
    plan(&Desired { workers, listeners: &listeners, interfaces: &interfaces }, present)
}

#[test]
fn the_first_start_starts_everything() {
    let present = Present { cpus: [0, 1].map(CpuId::new).to_vec(), ..Present::default() };
    let expected = Steps {
        new: vec![numbered(0, 1), numbered(1, 2)],
        starting: places(&[(0, 0), (1, 1), (2, 0)]),
        added: names(&["eth0"]),
        ..Steps::default()
    };
    assert_eq!(steps(3, &[1, 2], &["eth0"], &present), Ok(expected));
}

/// Its slots are others, its listeners' numbers the same: the maps are shared.
#[test]
fn a_start_beside_another_generation_shares_its_numbers() {
    let present = Present {
        cpus: [0, 1].map(CpuId::new).to_vec(),
        taken: places(&[(0, 0), (1, 1)]),
        others: vec![(4, "127.0.0.1:2".parse().unwrap()).into()],
        ..Present::default()
    };
    let expected = Steps {
        new: vec![numbered(0, 1), numbered(4, 2)],
        starting: places(&[(2, 0), (3, 1)]),
        added: names(&["eth0"]),
        ..Steps::default()
    };
    assert_eq!(steps(2, &[1, 2], &["eth0"], &present), Ok(expected));
}

#[test]
fn a_reload_changes_only_what_differs() {
    let nothing = Steps { kept: vec![numbered(0, 1)], staying: places(&[(0, 0), (1, 1)]), ..Steps::default() };
    assert_eq!(steps(2, &[1], &["eth0"], &running()), Ok(nothing));
    let fewer = Steps {
        new: vec![numbered(1, 2)],
        gone: vec![numbered(0, 1)],
        staying: places(&[(0, 0)]),
        leaving: places(&[(1, 1)]),
        added: names(&["eth1"]),
        removed: names(&["eth0"]),
        ..Steps::default()
    };
    assert_eq!(steps(1, &[2], &["eth1"], &running()), Ok(fewer));
    let more = Steps {
        kept: vec![numbered(0, 1)],
        staying: places(&[(0, 0), (1, 1)]),
        starting: places(&[(2, 0)]),
        ..Steps::default()
    };
    assert_eq!(steps(3, &[1], &["eth0"], &running()), Ok(more));
}

/// The successor gets the CPU, and another slot while there is one.
#[test]
fn a_worker_that_crashed_is_replaced() {
    let starting = |taken: &[(u8, u32)], crashed: (u8, u32)| {
        let (workers, taken) = (places(taken), places(taken));
        let present = Present { workers, taken, crashed: Some(crashed.into()), ..running() };
        steps(2, &[1], &["eth0"], &present).map(|steps| steps.starting)
    };
    assert_eq!(starting(&[(1, 1)], (0, 0)), Ok(places(&[(2, 0)])));
    assert_eq!(starting(&[(0, 0)], (1, 1)), Ok(places(&[(2, 1)])));
    assert_eq!(starting(&[(0, 0)], (255, 1)), Ok(places(&[(1, 1)])));
    let but_one: Vec<_> = (0..255).map(|slot| (slot, 0)).collect();
    let present =
        Present { workers: places(&[(0, 0)]), taken: places(&but_one), crashed: Some((255, 1).into()), ..running() };
    assert_eq!(steps(2, &[1], &["eth0"], &present).map(|steps| steps.starting), Ok(places(&[(255, 1)])));
    // A reload came first.
    assert_eq!(starting(&[(0, 0), (2, 1)], (1, 1)), Ok(places(&[])));
}

#[test]
fn workers_take_free_slots_and_the_emptiest_cpus() {
    let placed = |count, taken: &[(u8, u32)], cpus: &[u32]| {
        place(
            count,
            &Present {
                taken: places(taken),
                cpus: cpus.iter().copied().map(CpuId::new).collect(),
                ..Present::default()
            },
        )
    };
    assert_eq!(placed(3, &[], &[0, 1]), places(&[(0, 0), (1, 1), (2, 0)]));
    assert_eq!(placed(2, &[(0, 0), (2, 0)], &[0, 1]), places(&[(1, 1), (3, 1)]));
    assert_eq!(placed(1, &[], &[]), []);
    let full: Vec<_> = (0..=255).map(|slot| (slot, 0)).collect();
    assert_eq!(placed(1, &full, &[0]), []);
}

#[test]
fn listeners_keep_their_numbers() {
    let present = Present { listeners: vec![numbered(0, 1), numbered(2, 3)], ..running() };
    let steps = steps(2, &[3, 4, 5], &["eth0"], &present).unwrap();
    assert_eq!((steps.kept, steps.new), (vec![numbered(2, 3)], vec![numbered(1, 4), numbered(3, 5)]));
}

#[test]
fn what_cannot_be_had_is_refused() {
    let closing = Present { closing: vec![numbered(1, 2)], ..running() };
    let address = |port: u16| format!("127.0.0.1:{port}").parse().unwrap();
    assert_eq!(steps(2, &[1, 2], &["eth0"], &closing), Err(PlanError::StillClosing(address(2))));
    let others = (0..LISTENERS_MAX as u16).map(|id| (id, address(1_000 + id)).into()).collect();
    let full = Present { listeners: Vec::new(), others, ..running() };
    assert_eq!(steps(2, &[1], &["eth0"], &full), Err(PlanError::NoNumber(address(1))));
    let taken: Vec<_> = (0..=255).map(|slot| (slot, 0)).collect();
    let full = Present { taken: places(&taken), ..running() };
    assert_eq!(steps(4, &[1], &["eth0"], &full), Err(PlanError::NoSlots { taken: 256, wanted: 2 }));
    // Fewer can always be had.
    assert!(steps(1, &[1], &["eth0"], &full).is_ok());
}
