//! The arguments of an event or an acknowledgement.

use super::json::{self, Token, Tokens};

/// Arguments: a JSON array, compact or not, in which `{"_placeholder":true,"num":N}` stands for an attachment.
///
/// With attachments, each of them has one placeholder, somewhere, and no placeholder has none. Without, what looks like a
/// placeholder is an object like others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Args {
    /// The array, `[1,"2"]`; of an event, without its name.
    pub json: String,
    /// By their numbers.
    pub attachments: Vec<Vec<u8>>,
}

/// One of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Argument<'a> {
    /// A JSON value, as it came. It may hold placeholders further down.
    Json(&'a str),
    /// Bytes.
    Attachment(&'a [u8]),
}

impl Args {
    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = Argument<'_>> {
        let mut tokens = Tokens::new(&self.json);
        tokens.next();
        std::iter::from_fn(move || next_value(&self.json, &mut tokens)).map(|value| self.argument(value))
    }

    /// The first, if there is one.
    pub fn first(&self) -> Option<Argument<'_>> {
        self.iter().next()
    }

    fn argument<'a>(&'a self, value: &'a str) -> Argument<'a> {
        let number = if self.attachments.is_empty() { None } else { json::placeholder(value) };
        match number.and_then(|number| self.attachments.get(number)) {
            Some(bytes) => Argument::Attachment(bytes),
            None => Argument::Json(value),
        }
    }
}

/// The next element, from its first token to its last; of an array that was checked.
fn next_value<'a>(json: &'a str, tokens: &mut Tokens<'_>) -> Option<&'a str> {
    let (mut depth, mut start) = (0_usize, None);
    loop {
        let (token, place) = tokens.next()?;
        match token {
            Token::Comma | Token::Colon if depth == 0 => continue,
            Token::Close if depth == 0 => return None,
            Token::Open => depth += 1,
            Token::Close => depth -= 1,
            Token::Comma | Token::Colon | Token::Text | Token::Scalar => {}
        }
        let start = *start.get_or_insert(place.start);
        if depth == 0 {
            return Some(&json[start..place.end]);
        }
    }
}
