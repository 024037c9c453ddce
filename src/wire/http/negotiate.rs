//! What a client would like: media type and language with weights (RFC 9110 section 12), and its cookies (RFC 6265).

use super::head::Head;

/// The value of a cookie, without quotes around it; the first if it is there twice.
pub fn cookie<'a>(head: &Head<'a>, name: &str) -> Option<&'a str> {
    head.headers()
        .filter(|(header, _)| header.eq_ignore_ascii_case("cookie"))
        .filter_map(|(_, value)| str::from_utf8(value).ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim_matches([' ', '\t']).split_once('='))
        .find(|(known, _)| *known == name)
        .map(|(_, value)| value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value))
}

/// Whether an Accept lists this media type by name with a weight above zero; a wildcard is no wish for it.
pub fn prefers(accept: Option<&[u8]>, media: &str) -> bool {
    weighed(accept.unwrap_or_default())
        .find(|(range, _)| range.eq_ignore_ascii_case(media.as_bytes()))
        .is_some_and(|(_, weight)| weight > 0)
}

/// Which of the offered languages an Accept-Language likes best. `zh-CN` takes an offered `zh`, and `zh` an offered `zh-CN`;
/// of equal weights the one listed first wins. The first offered, if none is liked; empty if nothing is offered.
pub fn language<'l>(accept_language: Option<&[u8]>, offered: &[&'l str]) -> &'l str {
    let value = accept_language.unwrap_or_default();
    let mut best: Option<(u16, usize, &'l str)> = None;
    for language in offered.iter().copied() {
        // The longest range that fits says what this language weighs (RFC 4647 section 3.3.1).
        let fitting = weighed(value)
            .enumerate()
            .filter(|(_, (range, _))| fits(range, language))
            .max_by_key(|(at, (range, _))| (range.len(), usize::MAX - at));
        let Some((at, (_, weight))) = fitting else {
            continue;
        };
        if weight > 0 && best.is_none_or(|(most, first, _)| weight > most || (weight == most && at < first)) {
            best = Some((weight, at, language));
        }
    }
    best.map_or(offered.first().copied().unwrap_or_default(), |(_, _, language)| language)
}

fn fits(range: &[u8], language: &str) -> bool {
    let language = language.as_bytes();
    let (shorter, longer) = if range.len() < language.len() { (range, language) } else { (language, range) };
    let prefix = longer[..shorter.len()].eq_ignore_ascii_case(shorter);
    range == b"*" || (prefix && matches!(longer.get(shorter.len()), None | Some(b'-')))
}

/// The elements of a weighted list, their other parameters left out, with their weights in thousandths.
/// An element whose weight is malformed weighs nothing.
fn weighed(value: &[u8]) -> impl Iterator<Item = (&[u8], u16)> {
    split_unquoted(value, b',').filter_map(|element| {
        let mut parts = split_unquoted(element, b';').map(<[u8]>::trim_ascii);
        let name = parts.next().filter(|name| !name.is_empty())?;
        let weight = parts.find_map(|part| part.strip_prefix(b"q=").or_else(|| part.strip_prefix(b"Q=")));
        Some((name, weight.map_or(1000, |weight| thousandths(weight).unwrap_or(0))))
    })
}

/// Splits where the separator is not within a quoted string.
fn split_unquoted(value: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    value.split(move |&byte| {
        let splits = byte == separator && !quoted;
        quoted ^= byte == b'"' && !escaped;
        escaped = quoted && byte == b'\\' && !escaped;
        splits
    })
}

/// `0`, `0.5`, `1.000`: at most three decimals, at most 1 (RFC 9110 section 12.4.2).
fn thousandths(weight: &[u8]) -> Option<u16> {
    let (whole, decimals) = match weight {
        [whole @ (b'0' | b'1')] => (whole, &[][..]),
        [whole @ (b'0' | b'1'), b'.', decimals @ ..] if decimals.len() <= 3 => (whole, decimals),
        _ => return None,
    };
    let mut thousandths = u16::from(whole - b'0') * 1000;
    for (digit, unit) in decimals.iter().zip([100, 10, 1]) {
        thousandths += u16::from(digit.is_ascii_digit().then(|| digit - b'0')?) * unit;
    }
    (thousandths <= 1000).then_some(thousandths)
}

#[cfg(test)]
mod tests {
    use super::super::head::{HeadLimits, Hosts, parse};
    use super::*;

    #[test]
    fn media() {
        let rows = [
            (None, false),
            (Some(""), false),
            (Some("*/*"), false),
            (Some("text/*"), false),
            (Some("text/event-stream"), true),
            (Some("Text/Event-Stream"), true),
            (Some("application/json, text/event-stream;q=0.1"), true),
            (Some("text/event-stream;charset=utf-8 ; q=0.5"), true),
            (Some("text/event-stream;q=0"), false),
            (Some("text/event-stream; Q=0.000"), false),
            (Some("text/event-stream;q=2"), false),
            (Some("text/event-stream;q=x"), false),
            (Some("text/event-stream-not"), false),
            (Some("a/b;c=\"\\\", text/event-stream, \""), false),
            (Some("a/b;c=\"d\\\\\", text/event-stream"), true),
        ];
        for (accept, expected) in rows {
            assert_eq!(prefers(accept.map(str::as_bytes), "text/event-stream"), expected, "{accept:?}");
        }
    }

    #[test]
    fn languages() {
        let rows = [
            (None, "en"),
            (Some("zh"), "zh"),
            (Some("zh-CN,zh;q=0.9,en;q=0.8"), "zh"),
            (Some("ZH-hans-cn"), "zh"),
            (Some("en-US,en;q=0.9,zh;q=0.8"), "en"),
            (Some("fr, zh;q=0.2"), "zh"),
            (Some("fr"), "en"),
            (Some("*"), "en"),
            (Some("en;q=0, *"), "zh"),
            (Some("en;q=0.1, zh;q=0.2"), "zh"),
            (Some("zh, en"), "zh"),
            (Some("en, zh"), "en"),
            (Some("zho"), "en"),
            (Some("z"), "en"),
            (Some("zh;q=0"), "en"),
            (Some("zh;q=1.001"), "en"),
        ];
        for (accept, expected) in rows {
            assert_eq!(language(accept.map(str::as_bytes), &["en", "zh"]), expected, "{accept:?}");
        }
        assert_eq!(language(Some(b"zh"), &["en", "zh-TW"]), "zh-TW");
        assert_eq!(language(Some(b"zh-CN"), &["en", "zh-TW"]), "en");
        assert_eq!(language(Some(b"zh"), &[]), "");
    }

    #[test]
    fn cookies() {
        let request = b"GET / HTTP/1.1\r\nHost: a\r\nCookie: a=1; b=\"2\"; a=3\r\ncookie: c=4=5;d\r\n\r\n";
        let limits = HeadLimits { head_bytes_max: 1000, target_bytes_max: 100, body_bytes_max: 0, hosts: Hosts::Same };
        let (head, _) = parse(request, &limits).unwrap().unwrap();
        for (name, expected) in [("a", Some("1")), ("b", Some("2")), ("c", Some("4=5")), ("d", None), ("A", None)] {
            assert_eq!(cookie(&head, name), expected, "{name}");
        }
    }
}
