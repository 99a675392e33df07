//! Durations as people write them: a number and a unit, or several (`1h30m`). A number alone means nothing.

use std::time::Duration;

/// Units, the largest first, in milliseconds.
const UNITS: [(&str, u64); 6] =
    [("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Why a text is no duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a duration is a number with a unit, such as 30s, 10m, 1h30m or 7d (ms, s, m, h, d, w)")]
pub(crate) struct NoDuration;

/// Reads `30s`, `1h30m`.
pub(crate) fn parse(text: &str) -> Result<Duration, NoDuration> {
    let (mut rest, mut total_ms) = (text, 0u64);
    while !rest.is_empty() || text.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, behind) = rest.split_at(digits);
        let letters = behind.len() - behind.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
        let (unit, behind) = behind.split_at(letters);
        let (_, unit_ms) = UNITS.iter().find(|(name, _)| *name == unit).ok_or(NoDuration)?;
        let number: u64 = number.parse().map_err(|_| NoDuration)?;
        let part_ms = number.checked_mul(*unit_ms).ok_or(NoDuration)?;
        total_ms = total_ms.checked_add(part_ms).ok_or(NoDuration)?;
        rest = behind;
    }
    Ok(Duration::from_millis(total_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_needs_a_unit() {
        assert_eq!(parse("10m"), Ok(Duration::from_mins(10)));
        assert_eq!(parse("1h30m"), Ok(Duration::from_mins(90)));
        assert_eq!(parse("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse("2w"), Ok(Duration::from_hours(336)));
        for wrong in [
            "",
            "10",
            "m",
            "10 m",
            "-1s",
            "1.5h",
            "10x",
            "h1",
            "99999999999999999999w",
            "18446744073709551615w",
        ] {
            assert_eq!(parse(wrong), Err(NoDuration), "{wrong}");
        }
    }
}
