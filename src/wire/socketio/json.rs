//! JSON as far as packets need it: is it JSON, how deep, what stands first, where are the placeholders. Nothing here
//! recurses, and nothing is copied.

use std::ops::Range;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::Violation;
use crate::base::limits::{ATTACHMENTS_MAX, JSON_DEPTH_MAX};

const _: () = assert!(ATTACHMENTS_MAX <= u64::BITS as usize, "one bit for each attachment");
const _: () = assert!(JSON_DEPTH_MAX <= 64, "serde_json gives up at 128, and whoever reads the text later may recurse");

/// Between tokens.
const SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

/// What JSON consists of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Token {
    /// `[` or `{`
    Open,
    /// `]` or `}`
    Close,
    Comma,
    Colon,
    /// With its quotes.
    Text,
    /// A number, `true`, `false`, `null`.
    Scalar,
}

/// The tokens of a text and where they lie. For any text there is an answer; for one that is JSON it is the right one.
#[derive(Clone, Debug)]
pub(super) struct Tokens<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(text: &'a str) -> Tokens<'a> {
        Tokens { text, at: 0 }
    }
}

impl Iterator for Tokens<'_> {
    type Item = (Token, Range<usize>);

    fn next(&mut self) -> Option<(Token, Range<usize>)> {
        let bytes = self.text.as_bytes();
        let start = self.at + bytes[self.at..].iter().position(|byte| !is_space(*byte))?;
        let (token, end) = match bytes[start] {
            b'[' | b'{' => (Token::Open, start + 1),
            b']' | b'}' => (Token::Close, start + 1),
            b',' => (Token::Comma, start + 1),
            b':' => (Token::Colon, start + 1),
            b'"' => (Token::Text, end_of_text(bytes, start + 1)),
            _ => (Token::Scalar, end_of_scalar(bytes, start + 1)),
        };
        self.at = end;
        Some((token, start..end))
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// Behind the quote that ends a text which begins before `at`.
fn end_of_text(bytes: &[u8], mut at: usize) -> usize {
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        at += found;
        if bytes[at] == b'"' {
            return at + 1;
        }
        at += 2;
    }
    bytes.len()
}

fn end_of_scalar(bytes: &[u8], at: usize) -> usize {
    let ends = |byte: &u8| is_space(*byte) || matches!(byte, b'[' | b'{' | b']' | b'}' | b',' | b':' | b'"');
    bytes[at..].iter().position(ends).map_or(bytes.len(), |found| at + found)
}

/// The JSON without the space around it, if it is JSON, nested no deeper than [`JSON_DEPTH_MAX`].
pub(super) fn check(text: &str) -> Result<&str, Violation> {
    let mut depth = 0_usize;
    for (token, _) in Tokens::new(text) {
        match token {
            Token::Open => depth += 1,
            Token::Close => depth = depth.saturating_sub(1),
            Token::Comma | Token::Colon | Token::Text | Token::Scalar => {}
        }
        if depth > JSON_DEPTH_MAX {
            return Err(Violation::Depth);
        }
    }
    serde_json::from_str::<IgnoredAny>(text).map_err(|_| Violation::Data)?;
    Ok(text.trim_matches(SPACE))
}

/// An array's first element, and what is behind it and its comma: further elements and `]`. `None`: no array, or empty, or
/// its first element is neither a text nor a scalar. `array` was checked.
pub(super) fn split_first(array: &str) -> Option<(&str, &str)> {
    if !array.starts_with('[') {
        return None;
    }
    let mut tokens = Tokens { text: array, at: 1 };
    let first = match tokens.next()? {
        (Token::Text | Token::Scalar, place) => &array[place],
        (Token::Open | Token::Close | Token::Comma | Token::Colon, _) => return None,
    };
    let rest = match tokens.next()? {
        (Token::Comma, place) => array[place.end..].trim_start_matches(SPACE),
        (_, place) => &array[place.start..],
    };
    Some((first, rest))
}

/// What stands for an attachment.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Placeholder {
    #[serde(rename = "_placeholder")]
    is_one: bool,
    num: usize,
}

/// The number of the attachment that a value stands for.
pub(super) fn placeholder(value: &str) -> Option<usize> {
    let placeholder: Placeholder = serde_json::from_str(value).ok().filter(|_| value.starts_with('{'))?;
    placeholder.is_one.then_some(placeholder.num)
}

/// Each attachment must have its placeholder, one, and each placeholder its attachment: what the reference writes. (What
/// it reads may also have attachments without a place, and one attachment in several.) Without attachments, an object
/// that looks like a placeholder is an object. `json` was checked.
pub(super) fn check_placeholders(json: &str, attachments: usize) -> Result<(), Violation> {
    if attachments == 0 {
        return Ok(());
    }
    let mut found = 0_u64;
    let mut open: Vec<Container> = Vec::new();
    let mut last_text = 0..0;
    for (token, place) in Tokens::new(json) {
        match (token, open.last_mut()) {
            (Token::Text, container) => {
                if let Some(container) = container {
                    container.value(false);
                }
                last_text = place;
            }
            (Token::Colon, Some(container)) => container.names = is_placeholder_name(&json[last_text.clone()]),
            (Token::Scalar, Some(container)) => container.value(&json[place] == "true"),
            (Token::Open, container) => {
                if let Some(container) = container {
                    container.value(false);
                }
                open.push(Container { start: place.start, names: false, is_placeholder: false });
            }
            (Token::Close, Some(container)) => {
                if container.is_placeholder {
                    let number = placeholder(&json[container.start..place.end]).filter(|number| *number < attachments);
                    let bit = 1 << number.ok_or(Violation::Attachments)?;
                    if found & bit != 0 {
                        return Err(Violation::Attachments);
                    }
                    found |= bit;
                }
                open.pop();
            }
            (Token::Comma, _) | (Token::Colon | Token::Scalar | Token::Close, None) => {}
        }
    }
    if found.count_ones() as usize == attachments { Ok(()) } else { Err(Violation::Attachments) }
}

/// An array or object that is being walked through.
struct Container {
    start: usize,
    /// The last name is `_placeholder`, and its value is to come.
    names: bool,
    /// Its `_placeholder` is true: the last of them, as JavaScript has it.
    is_placeholder: bool,
}

impl Container {
    /// A value, or a name, begins.
    fn value(&mut self, is_true: bool) {
        if self.names {
            self.is_placeholder = is_true;
        }
        self.names = false;
    }
}

/// Written with escapes, too, it is that name.
fn is_placeholder_name(quoted: &str) -> bool {
    quoted == "\"_placeholder\""
        || (quoted.contains('\\') && serde_json::from_str(quoted).is_ok_and(|name: String| name == "_placeholder"))
}
