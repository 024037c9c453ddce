//! TOML values as JSON: compact, members in the order of the file.

use std::fmt::Write;

use toml::de::{DeFloat, DeInteger, DeValue};

use super::value::{describe, quote, wrong_type};
use crate::base::limits::JSON_DEPTH_MAX;

/// What [`scalar`] takes.
pub(super) const SCALAR_ALLOWED: &str = "a text, a number of at most 64 bits, true or false";

/// A text, number or truth value.
pub(super) fn scalar(value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(string(text)),
        DeValue::Integer(number) => integer(number).ok_or_else(|| format!("{} is out of range", describe(value))),
        DeValue::Float(number) => float(number).ok_or_else(|| format!("{} is no number in JSON", describe(value))),
        DeValue::Boolean(value) => Ok(value.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
            Err(wrong_type(value, "a text, a number, true or false"))
        }
    }
}

/// Any value but a date.
pub(super) fn compact(value: &DeValue<'_>) -> Result<String, String> {
    let mut json = String::new();
    write(&mut json, value, JSON_DEPTH_MAX)?;
    Ok(json)
}

/// The text, if it is JSON; in one line, which only changes white space between values.
pub(super) fn checked(text: &str) -> Result<String, String> {
    match serde_json::from_str::<serde_json::Value>(text) {
        Ok(_) => Ok(text.trim().replace(['\n', '\r', '\t'], " ")),
        Err(error) => Err(format!("{} is not JSON: {error}", quote(text))),
    }
}

fn write(json: &mut String, value: &DeValue<'_>, depth_left: usize) -> Result<(), String> {
    let deeper = || depth_left.checked_sub(1).ok_or_else(|| format!("it is nested deeper than {JSON_DEPTH_MAX}"));
    match value {
        DeValue::Array(list) => {
            for (index, entry) in list.iter().enumerate() {
                json.push(if index == 0 { '[' } else { ',' });
                write(json, entry.get_ref(), deeper()?)?;
            }
            json.push_str(if list.is_empty() { "[]" } else { "]" });
        }
        DeValue::Table(table) => {
            let mut members: Vec<_> = table.iter().collect();
            members.sort_by_key(|(key, _)| key.span().start);
            for (index, (key, member)) in members.iter().enumerate() {
                let before = if index == 0 { '{' } else { ',' };
                write!(json, "{before}{}:", string(key.get_ref())).expect("a String takes everything");
                write(json, member.get_ref(), deeper()?)?;
            }
            json.push_str(if table.is_empty() { "{}" } else { "}" });
        }
        DeValue::Datetime(_) => return Err(wrong_type(value, "JSON")),
        DeValue::String(_) | DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) => {
            json.push_str(&scalar(value)?);
        }
    }
    Ok(())
}

fn string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn integer(number: &DeInteger<'_>) -> Option<String> {
    i64::from_str_radix(number.as_str(), number.radix()).ok().map(|number| number.to_string())
}

/// `None` of what JSON cannot say: no number, or an infinite one.
fn float(number: &DeFloat<'_>) -> Option<String> {
    let number: f64 = number.as_str().parse().ok()?;
    serde_json::Number::from_f64(number).map(|number| number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> DeValue<'_> {
        DeValue::parse(text).expect("a value of the test").into_inner()
    }

    #[test]
    fn values_are_json_in_the_order_of_the_file() {
        for (toml, json) in [
            ("'小明 \"'", r#""小明 \"""#),
            ("\"\\n\"", r#""\n""#),
            ("-1_000", "-1000"),
            ("+0x1F", ""),
            ("0x1F", "31"),
            ("1.50", "1.5"),
            ("1e3", "1000.0"),
            ("true", "true"),
            ("9223372036854775807", "9223372036854775807"),
            ("9223372036854775808", ""),
            ("inf", ""),
            ("nan", ""),
            ("1e999", ""),
            ("2024-01-01", ""),
        ] {
            let Ok(parsed) = DeValue::parse(toml) else {
                assert_eq!(json, "", "{toml} is no TOML");
                continue;
            };
            let expected = (!json.is_empty()).then(|| json.to_owned());
            assert_eq!(scalar(parsed.get_ref()).ok(), expected, "{toml}");
            assert_eq!(compact(parsed.get_ref()).ok(), expected, "{toml}");
        }
        for (toml, json) in [
            (
                "{ z = 1, a = [true, { }, []], b.y = 'x', 'ü \"' = 2.0 }",
                r#"{"z":1,"a":[true,{},[]],"b":{"y":"x"},"ü \"":2.0}"#,
            ),
            ("[[], [1, 'a']]", r#"[[],[1,"a"]]"#),
        ] {
            assert_eq!(compact(&value(toml)), Ok(json.to_owned()), "{toml}");
            assert_eq!(checked(json), Ok(json.to_owned()));
            assert!(scalar(&value(toml)).is_err(), "{toml}");
        }
        for (toml, wrong) in [("[1, [nan]]", "no number in JSON"), ("{ a = 1979-05-27 }", "a date where JSON belongs")]
        {
            let error = compact(&value(toml)).expect_err(toml);
            assert!(error.contains(wrong), "{error}");
        }
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(compact(&value(&nested(JSON_DEPTH_MAX))).is_ok());
        for text in ["", "{", "{a:1}", "[1,]", "1 2", &nested(1000)] {
            assert!(checked(text).is_err(), "{text}");
        }
        assert_eq!(checked(" {\"a\":\n1}\n"), Ok("{\"a\": 1}".to_owned()));
    }
}
