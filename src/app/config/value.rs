//! Single values: numbers, sizes and durations with their units, and the words for them in messages.

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::de::{DeInteger, DeValue};

/// Units of sizes, in bytes. The largest comes last.
const SIZE_UNITS: [(&str, usize); 4] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
/// Units of durations, in milliseconds. The largest comes last.
const DURATION_UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];
/// Characters of a value that a message quotes.
const QUOTED_CHARS_MAX: usize = 60;

/// What stands there, for a message.
pub(super) fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => quote(text),
        DeValue::Integer(number) => format!("the number {number}"),
        DeValue::Float(number) => format!("the number {number}"),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(_) => "a date".into(),
        DeValue::Array(_) => "a list".into(),
        DeValue::Table(_) => "a table".into(),
    }
}

/// The text in quotation marks, cut if it is long.
pub(super) fn quote(text: &str) -> String {
    match text.char_indices().nth(QUOTED_CHARS_MAX) {
        Some((end, _)) => format!("{:?}", format!("{}...", &text[..end])),
        None => format!("{text:?}"),
    }
}

/// All of them in quotation marks.
pub(super) fn quote_all<'t>(texts: impl IntoIterator<Item = &'t str>) -> String {
    texts.into_iter().map(quote).collect::<Vec<_>>().join(", ")
}

/// The one of `known` that is most like `text`.
pub(super) fn nearest<'k>(text: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    known
        .into_iter()
        .map(|known| (strsim::normalized_damerau_levenshtein(text, known), known))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}

/// A text.
pub(super) fn text<'t>(value: &'t DeValue<'t>) -> Result<&'t str, String> {
    value.as_str().ok_or_else(|| wrong_type(value, "a text"))
}

/// `true` or `false`.
pub(super) fn boolean(value: &DeValue<'_>) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| wrong_type(value, "true or false"))
}

/// A whole number.
pub(super) fn number(value: &DeValue<'_>, range: &RangeInclusive<usize>) -> Result<usize, String> {
    let number = value.as_integer().ok_or_else(|| wrong_type(value, "a whole number"))?;
    within(range, integer(number), describe(value))
}

/// A size in bytes: a number, or a text with a unit.
pub(super) fn size(value: &DeValue<'_>, range: &RangeInclusive<usize>) -> Result<usize, String> {
    if let Some(number) = value.as_integer() {
        return within(range, integer(number), describe(value));
    }
    let text = value.as_str().ok_or_else(|| wrong_type(value, "a size"))?;
    let (digits, unit) = split(text).ok_or_else(|| format!("{} is not a size", quote(text)))?;
    let (_, bytes) = SIZE_UNITS.into_iter().find(|(name, _)| *name == unit).ok_or_else(|| unknown_unit(text, unit))?;
    let size = digits.parse::<usize>().ok().and_then(|count| count.checked_mul(bytes));
    within(range, size, quote(text))
}

/// A duration: a text with a unit, or `"0"`.
pub(super) fn duration(value: &DeValue<'_>, range: &RangeInclusive<Duration>) -> Result<Duration, String> {
    if value.is_integer() {
        return Err(format!("{} has no unit and is not a text", describe(value)));
    }
    let text = value.as_str().ok_or_else(|| wrong_type(value, "a duration"))?;
    let (digits, unit) = split(text).ok_or_else(|| format!("{} is not a duration", quote(text)))?;
    let count = digits.parse::<u64>().ok();
    let millis = if unit.is_empty() && count == Some(0) {
        Some(0)
    } else {
        let (_, millis) =
            DURATION_UNITS.into_iter().find(|(name, _)| *name == unit).ok_or_else(|| unknown_unit(text, unit))?;
        count.and_then(|count| count.checked_mul(millis))
    };
    within(range, millis.map(Duration::from_millis), quote(text))
}

/// What a number may be.
pub(super) fn allowed_number(range: &RangeInclusive<usize>) -> String {
    format!("a whole number from {} to {}", range.start(), range.end())
}

/// What a size may be.
pub(super) fn allowed_size(range: &RangeInclusive<usize>) -> String {
    format!(
        "a whole number of bytes, or a text with a unit (B, KiB, MiB, GiB) such as \"64 KiB\", from {} to {}",
        write_size(*range.start()),
        write_size(*range.end())
    )
}

/// What a duration may be.
pub(super) fn allowed_duration(range: &RangeInclusive<Duration>, or_zero: bool) -> String {
    format!(
        "a text of a whole number and a unit (ms, s, m, h) such as \"2s\" or \"300ms\", from {} to {}{}",
        write_duration(*range.start()),
        write_duration(*range.end()),
        if or_zero { ", or \"0\"" } else { "" }
    )
}

/// As [`size`] reads it, in the largest unit that is exact.
pub(crate) fn write_size(bytes: usize) -> String {
    let exact = |(_, unit): &&(&str, usize)| bytes != 0 && bytes.is_multiple_of(*unit);
    let (name, unit) = SIZE_UNITS.iter().rfind(exact).unwrap_or(&SIZE_UNITS[0]);
    format!("{} {name}", bytes / unit)
}

/// As [`duration`] reads it, in the largest unit that is exact.
pub(crate) fn write_duration(duration: Duration) -> String {
    let millis = duration.as_millis() as u64;
    let exact = |(_, unit): &&(&str, u64)| millis != 0 && millis.is_multiple_of(*unit);
    match DURATION_UNITS.iter().rfind(exact) {
        Some((name, unit)) => format!("{}{name}", millis / unit),
        None => "0".into(),
    }
}

fn integer(number: &DeInteger<'_>) -> Option<usize> {
    usize::from_str_radix(number.as_str(), number.radix()).ok()
}

/// That another type belongs there.
pub(super) fn wrong_type(value: &DeValue<'_>, wanted: &str) -> String {
    format!("{} where {wanted} belongs", describe(value))
}

fn unknown_unit(text: &str, unit: &str) -> String {
    match unit {
        "" => format!("{} has no unit", quote(text)),
        unit => format!("{} has the unknown unit {}", quote(text), quote(unit)),
    }
}

/// Digits and the unit behind them; one space may stand between. `None` if there is no digit.
fn split(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    (!digits.is_empty()).then(|| (digits, unit.strip_prefix(' ').unwrap_or(unit)))
}

/// `None` is too large to be counted, or negative.
fn within<T: PartialOrd>(range: &RangeInclusive<T>, value: Option<T>, described: String) -> Result<T, String> {
    value.filter(|value| range.contains(value)).ok_or_else(|| format!("{described} is out of range"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> DeValue<'_> {
        DeValue::parse(text).expect("a value of the test").into_inner()
    }

    #[test]
    fn sizes_are_read_as_they_are_written() {
        let all = 0..=usize::MAX;
        for (text, bytes) in [
            ("0", 0),
            ("65536", 65536),
            ("0x10", 16),
            ("1_000", 1000),
            ("\"0 B\"", 0),
            ("\"12 B\"", 12),
            ("\"64 KiB\"", 64 << 10),
            ("\"32MiB\"", 32 << 20),
            ("\"1 GiB\"", 1 << 30),
        ] {
            assert_eq!(size(&value(text), &all), Ok(bytes), "{text}");
            let written = format!("{:?}", write_size(bytes));
            assert_eq!(size(&value(&written), &all), Ok(bytes), "{written}");
        }
        for (text, wrong) in [
            ("\"64 KB\"", "unknown unit \"KB\""),
            ("\"64  KiB\"", "unknown unit"),
            ("\"64\"", "has no unit"),
            ("\"KiB\"", "is not a size"),
            ("\"-1 B\"", "is not a size"),
            ("\"1.5 MiB\"", "unknown unit \".5 MiB\""),
            ("-1", "the number -1 is out of range"),
            ("99999999999999999999999", "out of range"),
            ("\"99999999999999999999 GiB\"", "out of range"),
            ("1.5", "the number 1.5 where a size belongs"),
            ("true", "true where a size belongs"),
        ] {
            let error = size(&value(text), &all).expect_err(text);
            assert!(error.contains(wrong), "{text}: {error}");
        }
    }

    #[test]
    fn durations_are_read_as_they_are_written() {
        let all = Duration::ZERO..=Duration::MAX;
        for (text, millis) in [
            ("\"0\"", 0),
            ("\"0s\"", 0),
            ("\"300ms\"", 300),
            ("\"2s\"", 2000),
            ("\"2 s\"", 2000),
            ("\"1m\"", 60_000),
            ("\"36h\"", 36 * 3_600_000),
            ("\"1500ms\"", 1500),
        ] {
            let duration_read = Duration::from_millis(millis);
            assert_eq!(duration(&value(text), &all), Ok(duration_read), "{text}");
            let written = format!("{:?}", write_duration(duration_read));
            assert_eq!(duration(&value(&written), &all), Ok(duration_read), "{written}");
        }
        for (text, wrong) in [
            ("2", "the number 2 has no unit"),
            ("\"2\"", "has no unit"),
            ("\"2 parsecs\"", "unknown unit \"parsecs\""),
            ("\"two seconds\"", "is not a duration"),
            ("\"-2s\"", "is not a duration"),
            ("\"99999999999999999999h\"", "out of range"),
            ("[]", "a list where a duration belongs"),
            ("{}", "a table where a duration belongs"),
            ("2024-01-01", "a date where a duration belongs"),
        ] {
            let error = duration(&value(text), &all).expect_err(text);
            assert!(error.contains(wrong), "{text}: {error}");
        }
    }

    #[test]
    fn the_nearest_is_the_most_alike() {
        assert_eq!(nearest("adress", ["name", "address", "origins"]), Some("address"));
        assert_eq!(nearest("x", []), None);
        assert_eq!(quote(&"x".repeat(61)), format!("\"{}...\"", "x".repeat(60)));
    }
}
