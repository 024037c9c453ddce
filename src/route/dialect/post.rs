//! The bodies of HTTP POSTs, read.

use super::read::{self, Object};
use super::{Content, Dialect, Raw};
use crate::engine::{Refusal, UserName};
use crate::kind::{Kind, user_name};
use crate::wire::http::form;

pub(super) const BALLOT_BODY: &str = r#"a form with choice=ID, JSON {"choice":"ID"}, or the id as text/plain"#;
const TEXT_BODY: &str = r#"a form with text=.., JSON {"text":".."}, or text/plain"#;
const CHANGE_BODY: &str = r#"JSON with one of "set", "insert", "move", "delete""#;
const UTF8: &str = "UTF-8";

/// What a POST says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Posted<'a> {
    /// What it says.
    pub content: Content<'a>,
    /// Who says so, if they gave a name.
    pub from: Option<UserName>,
}

/// Reads the body of a POST to `/c/{channel}`. `None`: this media type means nothing to this kind (415).
///
/// # Errors
/// A refusal that says what was expected.
pub fn read_post<'a>(kind: Kind, media: &str, body: &'a [u8]) -> Option<Result<Posted<'a>, Refusal>> {
    let is = |name: &str| media.eq_ignore_ascii_case(name);
    let (form, json) = (is("application/x-www-form-urlencoded"), is("application/json"));
    let textual = media.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("text/"));
    Some(match kind {
        Kind::Vote if form => field(body, "choice", BALLOT_BODY),
        Kind::Vote if json => object(body, read::ballot, BALLOT_BODY),
        Kind::Vote if is("text/plain") || media.is_empty() => text(body),
        Kind::Group | Kind::Direct if json => object(body, read::said, TEXT_BODY),
        Kind::Table if json => object(body, read::change, CHANGE_BODY),
        Kind::Vote | Kind::Table => return None,
        Kind::Feed | Kind::Group | Kind::Direct | Kind::Echo if form => field(body, "text", "a field text"),
        Kind::Feed | Kind::Group | Kind::Direct | Kind::Echo if textual || json => text(body),
        Kind::Feed | Kind::Group | Kind::Direct | Kind::Echo => nameless(Content::Binary(body)),
        #[cfg(feature = "faults")]
        Kind::Fault if form => field(body, "text", "a field text"),
        #[cfg(feature = "faults")]
        Kind::Fault => text(body),
    })
}

impl Dialect {
    /// Reads the body of a POST of JSON in this dialect.
    ///
    /// # Errors
    /// A refusal that says what was expected.
    pub fn read_json<'a>(&self, kind: Kind, body: &'a [u8]) -> Result<Posted<'a>, Refusal> {
        let json = utf8(body)?;
        let incoming = self.read(kind, Raw::Text(json)).map_err(|(refusal, _)| refusal)?;
        nameless(incoming.content)
    }
}

fn nameless(content: Content<'_>) -> Result<Posted<'_>, Refusal> {
    Ok(Posted { content, from: None })
}

fn utf8(body: &[u8]) -> Result<&str, Refusal> {
    std::str::from_utf8(body).map_err(|_| Refusal::Malformed { expected: UTF8 })
}

fn text(body: &[u8]) -> Result<Posted<'_>, Refusal> {
    nameless(Content::Text(utf8(body)?.into()))
}

fn object<'a>(
    body: &'a [u8],
    read: fn(&'a str) -> Option<Object<'a>>,
    expected: &'static str,
) -> Result<Posted<'a>, Refusal> {
    let malformed = Refusal::Malformed { expected };
    let Object { content, from, .. } = read(utf8(body)?).ok_or(malformed.clone())?;
    // Who is not there for longer than a request edits nothing.
    if let Content::Editing(_) = content {
        return Err(malformed);
    }
    Ok(Posted { content, from: from.map(|from| user_name(&from)).transpose()? })
}

fn field<'a>(body: &'a [u8], name: &str, expected: &'static str) -> Result<Posted<'a>, Refusal> {
    let field = |name: &str| form::field(body, name).map_err(|error| Refusal::Malformed { expected: error.expected() });
    let content = field(name)?.ok_or(Refusal::Malformed { expected })?;
    let from = field("from")?.map(|from| user_name(&from)).transpose()?;
    Ok(Posted { content: Content::Text(content), from })
}
