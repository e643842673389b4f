//! What is silence, and what is none.

use super::*;

#[test]
fn a_pause_of_this_process_is_nobodys_silence() {
    let mut course =
        course(Engine::Leased, &[(0.0, Live, Up), (0.5, Hello, Up), (1.0, LiveWithout, Up), (1.4, Hello, Up)]);
    // Stopped for a minute, and what has arrived meanwhile is read after the first look.
    course.milliseconds += 60_000;
    assert_eq!(course.judgement().unwrap().state, Up);
    course.until(62.3);
    assert_eq!(course.judgement().unwrap().state, Up);
    course.until(62.4);
    assert_eq!(course.judgement().unwrap().state, Silent);
    course.until(69.4);
    assert_eq!(course.judgement().unwrap().state, Gone);
}

#[test]
fn time_never_goes_back() {
    let mut course = course(Engine::Leased, &[(0.0, Live, Up), (0.5, Hello, Up), (5.0, Look, Silent)]);
    course.milliseconds = 100;
    assert_eq!(course.judgement().unwrap().state, Silent);
    course.milliseconds = 10_500;
    // From 5 s on, two seconds at most were listened.
    assert_eq!(course.judgement().unwrap().state, Silent);
}

#[test]
fn when_to_look_again_is_when_something_changes() {
    let mut course = course(Engine::Leased, &[(0.0, Live, Up), (0.7, Hello, Up), (1.0, Look, Up)]);
    let mut changes = Vec::new();
    let mut before = course.judgement().unwrap();
    while course.milliseconds < 15_000 {
        let look_again = course.health.judge(course.now()).look_again;
        let pause = look_again.duration_since(course.now());
        assert!(Duration::ZERO < pause && pause <= Duration::from_secs(1), "{pause:?}");
        course.milliseconds += pause.as_millis() as u64;
        let judgement = course.judgement().unwrap();
        if judgement.state != before.state {
            changes.push(course.milliseconds);
        }
        before = judgement;
    }
    assert_eq!(changes, [3_700, 10_700]);
}

#[test]
fn a_node_that_does_not_hear_this_one_is_up_and_says_so() {
    let mut course = course(Engine::Leased, &[(0.0, Live, Up)]);
    course.health.heard(course.now(), number(PEER), Word { hears_us: false, ..word() });
    let judgement = course.judgement().unwrap();
    assert_eq!(judgement.state, Up);
    assert!(judgement.reason.to_string().contains("it does not hear this node"), "{}", judgement.reason);
}

#[test]
fn a_node_that_takes_none_is_up_and_given_none() {
    let mut course = course(Engine::Leased, &[(0.0, Live, Up)]);
    let mut none = word();
    none.announcement.takes_new_connections = false;
    course.health.heard(course.now(), number(PEER), none);
    let judgement = course.judgement().unwrap();
    assert!(judgement.state == Up && !judgement.takes_new_connections);
}

#[test]
fn this_node_is_not_judged() {
    let mut course = course(Engine::Leased, &[(0.0, Live, Up)]);
    course.health.heard(course.now(), number(OWN), word());
    course.happens(Live);
    assert_eq!(course.health.judge(course.now()).nodes.into_keys().collect::<Vec<_>>(), [number(PEER)]);
}

#[test]
fn dead_after_is_not_less_than_what_makes_silent() {
    let now = Instant::now();
    let config = HealthConfig { own: number(OWN), engine: Engine::File, dead_after: Duration::ZERO };
    let mut health = Health::new(config, now);
    health.membership(now, &view(Freshness::Live, [(number(PEER), member(number(PEER)))]));
    assert_eq!(health.judge(now).nodes[&number(PEER)].state, Up);
}
