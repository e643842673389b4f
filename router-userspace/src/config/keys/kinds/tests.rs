//! The words of each kind: what the file writes, what is refused, and what the document says.

use std::{fmt::Debug, ops::RangeInclusive, time::Duration};

use super::*;
use crate::config::raw::{RawCount, RawDuration, RawNumber, RawStatus, RawSwitched};

/// What is wrong with it, and the hint after ` | `.
fn refused<K: Reads<Value: Debug>>(kind: &K, raw: K::Raw) -> String {
    let Wrong { why, hint } = kind.read(&raw).expect_err("it is taken");
    hint.map_or_else(|| why.clone(), |hint| format!("{why} | {hint}"))
}

/// What is taken; none is the default.
fn taken<K: Reads>(kind: &K, raw: K::Raw) -> Option<K::Value> {
    kind.read(&raw).unwrap_or_else(|wrong| panic!("{wrong:?}"))
}

fn time(text: &str) -> RawDuration {
    RawDuration::Text(text.to_owned())
}

#[test]
fn numbers() {
    let kind = Number { range: 1..=10_000_u32, unit: "octets" };
    assert_eq!((taken(&kind, 1), taken(&kind, 10_000)), (Some(1), Some(10_000)));
    for beyond in [0, 10_001, -1, i64::MAX] {
        assert_eq!(refused(&kind, beyond), format!("{beyond} is out of range, 1 to 10000"));
    }
    assert_eq!((kind.written(&4_096), kind.takes()), ("4_096".to_owned(), "1 to 10,000 octets".to_owned()));
    let kind = Number { range: 0..=u16::MAX, unit: "" };
    assert_eq!((taken(&kind, 65_535), kind.takes()), (Some(65_535), "0 to 65,535".to_owned()));
    assert_eq!(refused(&kind, 65_536), "65536 is out of range, 0 to 65535");
    let grouped = [1, 12, 123, 1_234, 1_234_567].map(|number: u32| Number { range: 0..=9, unit: "" }.written(&number));
    assert_eq!(grouped, ["1", "12", "123", "1_234", "1_234_567"]);
}

#[test]
fn numbers_and_words() {
    let kind = NumberOrAuto { range: 1..=255_u16 };
    assert_eq!(taken(&kind, RawCount::Word("auto".to_owned())), Some(None));
    assert_eq!(taken(&kind, RawCount::Number(255)), Some(Some(255)));
    assert_eq!(refused(&kind, RawCount::Number(256)), "256 is not \"auto\" or a number from 1 to 255");
    assert_eq!(refused(&kind, RawCount::Word("all".to_owned())), "\"all\" is not \"auto\" or a number from 1 to 255");
    assert_eq!((kind.written(&Auto), kind.takes()), ("\"auto\"".to_owned(), "`\"auto\"`, 1 to 255".to_owned()));

    let kind = NumberOrOff { range: 1_200..=65_527_u16, unit: "octets" };
    assert_eq!(taken(&kind, RawNumber::Switch(true)), None);
    assert_eq!(taken(&kind, RawNumber::Switch(false)), Some(None));
    assert_eq!(taken(&kind, RawNumber::Number(1_200)), Some(Some(1_200)));
    assert_eq!(refused(&kind, RawNumber::Number(1_199)), "1199 is out of range, 1200 to 65527, or false");
    assert_eq!(
        (kind.written(&1_452), kind.takes()),
        ("1_452".to_owned(), "1,200 to 65,527 octets, `false`".to_owned())
    );

    let kind = OneOf { of: &[301, 308] };
    assert_eq!((taken(&kind, 308), refused(&kind, 300)), (Some(308), "300 is none of 301, 308".to_owned()));
}

#[test]
fn parts() {
    assert_eq!((taken(&Part {}, 1.0), taken(&Part {}, 0.001)), (Some(1.0), Some(0.001)));
    for (wrong, said) in [(0.0, "0"), (1.1, "1.1"), (-0.5, "-0.5"), (f64::NAN, "NaN")] {
        assert_eq!(refused(&Part {}, wrong), format!("{said} is no part: above 0, at most 1"));
    }
    assert_eq!([1.0, 0.75].map(|part| Part {}.written(&part)), ["1.0", "0.75"]);
}

#[test]
fn durations_of_a_range() {
    let kind = |range: RangeInclusive<Duration>| Time { range };
    let hour = kind(seconds(1)..=seconds(3_600));
    assert_eq!((taken(&hour, time("1s")), taken(&hour, time("60m"))), (Some(seconds(1)), Some(seconds(3_600))));
    assert_eq!(refused(&hour, time("9h")), "\"9h\" is out of range, 1s to 1h");
    assert_eq!(refused(&hour, time("999ms")), "\"999ms\" is out of range, 1s to 1h");
    let day = kind(seconds(1)..=TIME_MAX);
    assert_eq!(refused(&day, time("999ms")), "\"999ms\" is too short: at least 1s");
    assert_eq!(refused(&day, time("25h")), "\"25h\" is out of range: above 0, at most 24h");
    let any = kind(TIME);
    assert_eq!((taken(&any, time("1ms")), taken(&any, time("24h"))), (Some(Duration::from_millis(1)), Some(TIME_MAX)));
    assert_eq!((hour.takes(), any.takes()), ("1s to 1h".to_owned(), "1ms to 24h".to_owned()));
    let written = [seconds(60), seconds(7_200), Duration::from_millis(1_500)].map(|one| any.written(&one));
    assert_eq!(written, ["\"60s\"", "\"2h\"", "\"1500ms\""]);

    let off = TimeOrOff { range: TIME };
    assert_eq!(taken(&off, RawSwitched::Switch(false)), Some(None));
    assert_eq!(taken(&off, RawSwitched::Switch(true)), None);
    assert_eq!(taken(&off, RawSwitched::Value(time("2s"))), Some(Some(seconds(2))));

    let optional = Optional { of: hour };
    assert_eq!(taken(&optional, time("2s")), Some(Some(seconds(2))));
    assert_eq!((Optional::<Time>::usual(&Nothing), optional.written(&Nothing)), (None, "-".to_owned()));
}

#[test]
fn sizes() {
    let kind = Size { range: 1 << 20..=4 << 30 };
    assert_eq!((taken(&kind, "1 MiB".to_owned()), taken(&kind, "4GiB".to_owned())), (Some(1 << 20), Some(4 << 30)));
    assert_eq!(refused(&kind, "512 KiB".to_owned()), "\"512 KiB\" is out of range, 1 MiB to 4 GiB");
    let written = [1 << 10, 1_536 << 10, 64 << 20, 1 << 40].map(|octets| kind.written(&octets));
    assert_eq!(written, ["\"1 KiB\"", "\"1536 KiB\"", "\"64 MiB\"", "\"1024 GiB\""]);
    let auto = SizeOrAuto { range: 16 << 20..=1 << 40 };
    assert_eq!(taken(&auto, "auto".to_owned()), Some(None));
    assert_eq!(refused(&auto, "1 MiB".to_owned()), "\"1 MiB\" is out of range, 16 MiB to 1024 GiB");
    assert!(refused(&auto, "a lot".to_owned()).ends_with(", or \"auto\""));
}

#[test]
fn words_and_statuses() {
    let kind = Word { words: &[("one", 1), ("other", 2)] };
    assert_eq!(taken(&kind, "other".to_owned()), Some(2));
    assert_eq!(refused(&kind, "othre".to_owned()), "\"othre\" is none of \"one\", \"other\" | did you mean \"other\"?");
    assert_eq!((kind.written(&1), kind.takes()), ("\"one\"".to_owned(), "`\"one\"`, `\"other\"`".to_owned()));

    let kind = Statuses { examples: ["200-399", "204"] };
    assert_eq!(taken(&kind, RawStatus::Number(204)), Some(204..=204));
    assert_eq!(taken(&kind, RawStatus::Text("200-599".to_owned())), Some(200..=599));
    for wrong in ["199", "200-600", "300-200", "ok"] {
        let expected = format!(
            "\"{wrong}\" is no status from 200 to 599, or range of them | status = \"200-399\" or status = \"204\""
        );
        assert_eq!(refused(&kind, RawStatus::Text(wrong.to_owned())), expected);
    }
    assert_eq!(kind.written(&(200..=399)), "\"200-399\"");
}
