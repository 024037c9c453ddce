//! Percent-decoding of paths (RFC 3986 section 2.1).

use std::borrow::Cow;

use percent_encoding::percent_decode;

/// The text that a path or query stands for, `+` being a plus. `None`: an escape that is none, no UTF-8, or a control character
/// (NUL too), escaped or not. An escaped slash is a slash then.
pub fn decode_path(raw: &str) -> Option<Cow<'_, str>> {
    let text = decode(raw.as_bytes()).ok()?;
    if text.chars().any(char::is_control) { None } else { Some(text) }
}

/// What is wrong with an encoded text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Undecodable {
    Escape,
    Utf8,
}

/// Decodes strictly: every `%` begins an escape, and the whole is UTF-8.
pub(super) fn decode(raw: &[u8]) -> Result<Cow<'_, str>, Undecodable> {
    let escapes = memchr::memchr_iter(b'%', raw);
    let is_escape = |at: usize| raw.get(at + 1..at + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    // "%%41" has its second `%` where a digit must be, so every `%` can be looked at alone.
    if !escapes.into_iter().all(is_escape) {
        return Err(Undecodable::Escape);
    }
    percent_decode(raw).decode_utf8().map_err(|_| Undecodable::Utf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows() {
        let rows = [
            ("", Some("")),
            ("/c/poll", Some("/c/poll")),
            ("/c/a%2Fb", Some("/c/a/b")),
            ("/my_ws/%E5%B0%8F%e6%98%8e", Some("/my_ws/小明")),
            ("/a+b%2B", Some("/a+b+")),
            ("/%25", Some("/%")),
            ("/%2541", Some("/%41")),
            ("/%", None),
            ("/%4", None),
            ("/%%41", None),
            ("/%4g", None),
            ("/%+1", None),
            ("/%00", None),
            ("/%0A", None),
            ("/%7f", None),
            ("/%C2%85", None),
            ("/%ff", None),
            ("/%C0%AF", None),
            ("/%ED%A0%80", None),
        ];
        for (raw, expected) in rows {
            assert_eq!(decode_path(raw).as_deref(), expected, "{raw}");
        }
        assert!(matches!(decode_path("/plain"), Some(Cow::Borrowed(_))), "what needs no decoding is not copied");
    }
}
