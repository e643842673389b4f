//! Dates as logs write them, in UTC.

use std::time::{Duration, SystemTime};

/// A moment, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Date {
    pub(super) year: u64,
    /// 1 to 12
    pub(super) month: u64,
    /// 1 to 31
    pub(super) day: u64,
    pub(super) hour: u64,
    pub(super) minute: u64,
    pub(super) second: u64,
    pub(super) millisecond: u32,
}

impl Date {
    /// What a clock says then; before 1970 it says 1970.
    pub(super) fn of(when: SystemTime) -> Self {
        let since = when.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let (days, second) = (since.as_secs() / DAY, since.as_secs() % DAY);
        let (year, month, day) = civil(days);
        Self {
            year,
            month,
            day,
            hour: second / 3_600,
            minute: second / 60 % 60,
            second: second % 60,
            millisecond: since.subsec_millis(),
        }
    }

    /// `Jan` to `Dec`
    pub(super) fn month_name(&self) -> &'static str {
        MONTHS[(self.month as usize).saturating_sub(1) % 12]
    }
}

/// Year, month and day, so many days after 1970 began (Gregorian; Howard Hinnant,
/// <https://howardhinnant.github.io/date_algorithms.html#civil_from_days>). Its year begins with
/// March, so that the day that comes every four years is the last.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + DAYS_BEFORE_1970;
    let (era, of_era) = (days / ERA, days % ERA);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year + era * 400 + u64::from(month <= 2), month, day)
}

/// Seconds
const DAY: u64 = 86_400;
/// Days of 400 years.
const ERA: u64 = 146_097;
/// From the first of March of the year 0.
const DAYS_BEFORE_1970: u64 = 719_468;
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_of_the_calendar() {
        for (seconds, expected) in [
            (0, (1970, 1, 1, 0, 0, 0)),
            (951_782_399, (2000, 2, 28, 23, 59, 59)),
            (951_782_400, (2000, 2, 29, 0, 0, 0)),
            (951_868_800, (2000, 3, 1, 0, 0, 0)),
            (971_211_336, (2000, 10, 10, 20, 55, 36)),
            (1_735_689_599, (2024, 12, 31, 23, 59, 59)),
            (4_107_542_400, (2100, 3, 1, 0, 0, 0)),
        ] {
            let date = Date::of(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
            let Date { year, month, day, hour, minute, second, .. } = date;
            assert_eq!((year, month, day, hour, minute, second), expected);
        }
        let before = Date::of(SystemTime::UNIX_EPOCH - Duration::from_secs(1));
        assert_eq!((before.year, before.month_name()), (1970, "Jan"));
        let whole = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(971_211_336));
        assert_eq!(whole, "Tue, 10 Oct 2000 20:55:36 GMT");
    }
}
