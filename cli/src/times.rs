//! Times and durations as people write and read them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::failure::{Error, local};

/// `90d`, `15m`, `1h 30m`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| match error {
        // Its words repeat what was written, which may be a value in the wrong place.
        humantime::DurationError::UnknownUnit { .. } => "its unit is not known; write it as 15m, 12h or 90d".to_owned(),
        error => format!("{error}; write it as 15m, 12h or 90d"),
    })?;
    if duration.is_zero() {
        return Err("nothing lives for no time at all; write it as 15m, 12h or 90d".to_owned());
    }
    Ok(duration)
}

/// Milliseconds since 1970, now.
pub(crate) fn now_ms() -> Result<u64, Error> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let ms = since.ok().and_then(|since| u64::try_from(since.as_millis()).ok());
    ms.ok_or_else(|| local("the clock of this machine stands before 1970").next("set the clock"))
}

/// Milliseconds of a duration; what does not fit is for ever.
pub(crate) fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// RFC 3339 in UTC; 0 is `never`.
pub(crate) fn show_ms(ms: u64) -> String {
    if ms == 0 {
        return "never".to_owned();
    }
    // Year 10,000: beyond, RFC 3339 has no form.
    const LAST_MS: u64 = 253_402_300_799_999;
    let time = UNIX_EPOCH + Duration::from_millis(ms.min(LAST_MS));
    humantime::format_rfc3339_millis(time).to_string()
}

/// As data: RFC 3339 in UTC, nothing for never.
pub(crate) fn time(ms: u64) -> Value {
    match ms {
        0 => Value::Null,
        ms => show_ms(ms).into(),
    }
}

/// As short as a person needs it, in UTC: the time of today, else the day and the minute.
pub(crate) fn brief(ms: u64, now_ms: u64) -> String {
    let (text, now) = (show_ms(ms), show_ms(now_ms));
    let today = text.get(..10) == now.get(..10);
    let shown = if today {
        text.get(11..19).map(str::to_owned)
    } else {
        text.get(..16).map(|text| text.replace('T', " "))
    };
    shown.unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_brief_time_is_that_of_today_or_a_day_and_a_minute() {
        let day = 24 * 60 * 60 * 1000;
        assert_eq!(brief(61_000, day - 1), "00:01:01");
        assert_eq!(brief(61_000, day), "1970-01-01 00:01");
        assert_eq!(brief(0, day), "never");
        assert_eq!(time(0), Value::Null);
    }

    #[test]
    fn times_are_rfc_3339_and_never_panic() {
        assert_eq!(show_ms(1_000), "1970-01-01T00:00:01.000Z");
        assert_eq!(show_ms(0), "never");
        assert!(show_ms(u64::MAX).starts_with("9999-"));
    }

    #[test]
    fn durations_need_a_unit_and_a_length() {
        assert_eq!(parse_duration("15m"), Ok(Duration::from_secs(900)));
        assert!(parse_duration("15").is_err());
        assert!(parse_duration("0s").is_err());
    }
}
