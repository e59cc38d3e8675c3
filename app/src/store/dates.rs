//! Dates as people and other programs write them.

/// Days from 1970-01-01 to a date of the Gregorian calendar; see <https://howardhinnant.github.io/date_algorithms.html>.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Year, month and day of a number of days since 1970-01-01; from the same page.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let years = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * years + years / 4 - years / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (years + era * 400 + i64::from(month <= 2), month, of_year - (153 * shifted + 2) / 5 + 1)
}

/// `2024-05-31-235959` (UTC), for names of files.
pub(super) fn stamp(ms: u64) -> String {
    let seconds = i64::try_from(ms / 1000).unwrap_or(0);
    let (year, month, day) = civil(seconds.div_euclid(86_400));
    let of_day = seconds.rem_euclid(86_400);
    format!("{year:04}-{month:02}-{day:02}-{:02}{:02}{:02}", of_day / 3600, of_day / 60 % 60, of_day % 60)
}

/// Milliseconds since 1970 of a date as SillyTavern wrote it over the years: `2023-6-5 @12h 34m 56s 789ms`,
/// `2023-06-05@12h34m56s`, `June 19, 2023 4:20pm`, ISO 8601. Without a zone it is taken as UTC.
pub(super) fn parse(text: &str) -> Option<u64> {
    let mut numbers = Vec::new();
    for digits in text.split(|c: char| !c.is_ascii_digit()).filter(|digits| !digits.is_empty()) {
        numbers.push(digits.parse::<i64>().ok()?);
    }
    let lower = text.to_ascii_lowercase();
    let date = if lower.starts_with(|c: char| c.is_ascii_alphabetic()) {
        let months = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
        let month = months.iter().position(|month| lower.starts_with(month))?;
        let [day, year, ..] = numbers[..] else { return None };
        numbers.drain(..2);
        (year, i64::try_from(month).ok()? + 1, day)
    } else {
        let [year, month, day, ..] = numbers[..] else { return None };
        numbers.drain(..3);
        (year, month, day)
    };
    let (year, month, day) = date;
    let at = |place: usize| numbers.get(place).copied().unwrap_or(0);
    let (mut hour, minute) = (at(0), at(1));
    if lower.ends_with("pm") || lower.ends_with("am") {
        hour = hour % 12 + if lower.ends_with("pm") { 12 } else { 0 };
    }
    // In an ISO date with a zone and without seconds, what follows is the zone.
    let zone = zone(text);
    let second = if zone.is_some_and(|zone| zone != 0) && text.matches(':').count() < 3 { 0 } else { at(2) };
    let ms = if lower.ends_with("ms") || text.contains('.') { at(3) } else { 0 };
    let sane = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..=60).contains(&second)
        && (0..1000).contains(&ms);
    let minutes = days(year, month, day) * 1440 + hour * 60 + minute - zone.unwrap_or(0);
    u64::try_from((minutes * 60 + second) * 1000 + ms).ok().filter(|_| sane)
}

/// The minutes that an ISO date's clock is ahead of UTC.
fn zone(text: &str) -> Option<i64> {
    let (_, time) = text.split_once('T')?;
    let place = time.rfind(['+', '-'])?;
    let (hours, minutes) = time[place + 1..].split_once(':')?;
    let minutes = hours.parse::<i64>().ok()?.checked_mul(60)?.checked_add(minutes.parse().ok()?)?;
    (0..=1440).contains(&minutes).then_some(if time[place..].starts_with('-') { -minutes } else { minutes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_other_programs_are_read() {
        let of = |text| parse(text).map(stamp);
        for (text, date) in [
            ("2023-6-5 @12h 34m 56s 789ms", "2023-06-05-123456"),
            ("2024-02-29@23h59m01s", "2024-02-29-235901"),
            ("June 19, 2023 4:20pm", "2023-06-19-162000"),
            ("January 1, 2000 12:05am", "2000-01-01-000500"),
            ("2025-01-02T03:04:05.678Z", "2025-01-02-030405"),
            ("2025-01-02T03:04:05+02:00", "2025-01-02-010405"),
            ("2025-01-02T03:04-01:30", "2025-01-02-043400"),
            ("1970-01-01", "1970-01-01-000000"),
        ] {
            assert_eq!(of(text).as_deref(), Some(date), "{text}");
        }
        assert_eq!(parse("2023-6-5 @12h 34m 56s 789ms").map(|ms| ms % 1000), Some(789));
        for text in ["", "yesterday", "2023", "2023-13-01", "99999999999999999999-1-1", "June", "2023-6-5 @77h"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn days_and_dates_are_inverse() {
        for day in (0..60_000).step_by(17) {
            let (year, month, of_month) = civil(day);
            assert_eq!(days(year, month, of_month), day);
        }
    }
}
