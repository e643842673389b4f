//! Random courses of events; a model that knows the two witnesses alone says when a node may be gone.

use super::*;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}

/// What really happened.
struct Truth {
    heard: u64,
    has_record: bool,
    is_live: bool,
    /// Both witnesses have said so, and it was neither heard nor had a new record since.
    is_witnessed: bool,
    /// An operator has said so, and it had no new record since.
    is_forgotten: bool,
}

impl Truth {
    fn sees(&mut self, at: u64, event: Event) {
        match event {
            Hello | DrainingHello => (self.heard, self.is_witnessed) = (at, false),
            Live => {
                // One that was gone is given its time.
                self.heard = if self.is_gone() { at } else { self.heard };
                (self.is_witnessed, self.is_forgotten) = (false, false);
                (self.is_live, self.has_record) = (true, true);
            }
            LiveWithout | LiveUnknown => (self.is_live, self.has_record) = (true, false),
            Away | AwayWithout => self.is_live = false,
            Forgotten => (self.is_live, self.has_record, self.is_forgotten) = (true, false, true),
            _ => {}
        }
        self.is_witnessed |= self.is_live && !self.has_record && at - self.heard >= 10_000;
    }

    fn is_gone(&self) -> bool {
        self.is_witnessed || self.is_forgotten
    }
}

fn event(random: &mut Random) -> Event {
    match random.below(40) {
        0 => Live,
        1 | 2 => LiveWithout,
        3 => LiveUnknown,
        4 => Away,
        5 => AwayWithout,
        6 if random.below(20) == 0 => Forgotten,
        7..=12 => Hello,
        13 => DrainingHello,
        _ => Look,
    }
}

#[test]
fn never_gone_by_one_witness_and_always_by_two() {
    let (mut gone, mut back) = (0, 0);
    for seed in 0..2_000 {
        let mut random = Random(seed);
        let mut course = course(Engine::Leased, &[(0.0, Live, Up)]);
        let mut truth = Truth { heard: 0, has_record: true, is_live: true, is_witnessed: false, is_forgotten: false };
        let mut was_gone = false;
        for _ in 0..200 {
            course.milliseconds += random.below(1_500);
            let event = event(&mut random);
            course.happens(event);
            truth.sees(course.milliseconds, event);
            let judgement = course.judgement().unwrap();
            let is_gone = judgement.state == Gone;
            assert_eq!(is_gone, truth.is_gone(), "seed {seed}, {} ms: {event:?}", course.milliseconds);
            let silent = course.milliseconds - truth.heard;
            let is_dropped = judgement.state == Unreachable;
            assert!(silent >= 10_000 || !is_dropped, "seed {seed}: dropped after {silent} ms");
            gone += u32::from(is_gone && !was_gone);
            back += u32::from(was_gone && !is_gone);
            was_gone = is_gone;
        }
    }
    assert!(gone > 500 && back > 200, "{gone} {back}");
}
