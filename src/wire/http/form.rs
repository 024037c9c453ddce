//! Forms and query strings: `application/x-www-form-urlencoded` as the URL standard reads it, but strictly: what browsers
//! send is read as they mean it, and what they never send is an error instead of a guess.

use std::borrow::Cow;

use super::path::{Undecodable, decode};

/// What is wrong with a form.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FormError {
    /// A `%` that is not followed by two hexadecimal digits.
    EscapeInvalid,
    /// A name or value that is not UTF-8.
    NotUtf8,
    /// The field that was asked for is there twice.
    FieldTwice,
}

impl FormError {
    /// What would have been right, for the one who sent it.
    pub fn expected(&self) -> &'static str {
        match self {
            FormError::EscapeInvalid => "% followed by two hexadecimal digits",
            FormError::NotUtf8 => "UTF-8",
            FormError::FieldTwice => "each field once",
        }
    }
}

/// A field's name and value.
pub type Field<'a> = (Cow<'a, str>, Cow<'a, str>);

/// The fields in their order. A field without `=` has an empty value; empty pieces are left out.
pub fn fields(body: &[u8]) -> impl Iterator<Item = Result<Field<'_>, FormError>> {
    body.split(|&byte| byte == b'&').filter(|piece| !piece.is_empty()).map(|piece| {
        let equals = memchr::memchr(b'=', piece);
        let name = &piece[..equals.unwrap_or(piece.len())];
        let value = equals.map_or(&[][..], |equals| &piece[equals + 1..]);
        Ok((decode_piece(name)?, decode_piece(value)?))
    })
}

/// The value of one field; `None` if there is no such field. The whole form is judged, not that field alone.
pub fn field<'a>(body: &'a [u8], name: &str) -> Result<Option<Cow<'a, str>>, FormError> {
    let mut found = None;
    for field in fields(body) {
        let (known, value) = field?;
        if known == name && found.replace(value).is_some() {
            return Err(FormError::FieldTwice);
        }
    }
    Ok(found)
}

fn decode_piece(piece: &[u8]) -> Result<Cow<'_, str>, FormError> {
    let error = |error| match error {
        Undecodable::Escape => FormError::EscapeInvalid,
        Undecodable::Utf8 => FormError::NotUtf8,
    };
    if memchr::memchr(b'+', piece).is_none() {
        return decode(piece).map_err(error);
    }
    let spaced: Vec<u8> = piece.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect();
    decode(&spaced).map(|text| Cow::Owned(text.into_owned())).map_err(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rows() {
        type Expected<'a> = Result<&'a [(&'a str, &'a str)], FormError>;
        let rows: &[(&[u8], Expected<'_>)] = &[
            (b"", Ok(&[])),
            (b"nid=1", Ok(&[("nid", "1")])),
            (b"a=1&b=2", Ok(&[("a", "1"), ("b", "2")])),
            (b"&&a=1&&", Ok(&[("a", "1")])),
            (b"a", Ok(&[("a", "")])),
            (b"=1", Ok(&[("", "1")])),
            (b"a=b=c", Ok(&[("a", "b=c")])),
            (b"a+b=c+%2B%26", Ok(&[("a b", "c +&")])),
            ("名=小明".as_bytes(), Ok(&[("名", "小明")])),
            (b"%E5%90%8D=%E5%B0%8F", Ok(&[("名", "小")])),
            (b"a=%", Err(FormError::EscapeInvalid)),
            (b"a=%4&b=1", Err(FormError::EscapeInvalid)),
            (b"%zz=1", Err(FormError::EscapeInvalid)),
            (b"a=%+1", Err(FormError::EscapeInvalid)),
            (b"a=%ff", Err(FormError::NotUtf8)),
            (b"\xff=1", Err(FormError::NotUtf8)),
        ];
        for (body, expected) in rows {
            let found: Result<Vec<_>, _> = fields(body).collect();
            let found = found.as_ref().map(|fields| fields.iter().map(|(name, value)| (&**name, &**value)).collect());
            let expected = expected.as_ref().map(|fields| fields.to_vec());
            assert_eq!(found, expected, "{}", body.escape_ascii());
        }
    }

    #[test]
    fn one_field() {
        type Row<'a> = (&'a [u8], Result<Option<&'a str>, FormError>);
        let rows: &[Row<'_>] = &[
            (b"uid=2", Ok(Some("2"))),
            (b"x=1&uid=2", Ok(Some("2"))),
            (b"x=1", Ok(None)),
            (b"UID=1", Ok(None)),
            (b"uid=", Ok(Some(""))),
            (b"u%69d=2", Ok(Some("2"))),
            (b"uid=1&uid=1", Err(FormError::FieldTwice)),
            (b"uid=1&%75id=2", Err(FormError::FieldTwice)),
            (b"x=1&x=2&uid=3", Ok(Some("3"))),
            (b"uid=1&x=%", Err(FormError::EscapeInvalid)),
        ];
        for (body, expected) in rows {
            let found = field(body, "uid");
            let found = found.as_ref().map(|value| value.as_deref()).map_err(|error| *error);
            assert_eq!(found, *expected, "{}", body.escape_ascii());
        }
        assert_eq!(FormError::FieldTwice.expected(), "each field once");
    }

    proptest! {
        /// Where the strict reader reads at all, it reads what the URL standard's lenient one does.
        #[test]
        fn agrees_with_the_lenient_reader(body in "[ab%0-9=&+小]{0,24}") {
            if let Ok(strict) = fields(body.as_bytes()).collect::<Result<Vec<_>, _>>() {
                let lenient: Vec<_> = form_urlencoded::parse(body.as_bytes()).collect();
                prop_assert_eq!(strict, lenient);
            }
        }

        /// And it reads back all that the standard's writer writes.
        #[test]
        fn reads_what_is_written(pairs in prop::collection::vec((".{1,6}", ".{0,6}"), 0..4)) {
            let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(&pairs).finish();
            let read: Result<Vec<_>, _> = fields(body.as_bytes()).collect();
            let read: Vec<(String, String)> =
                read.unwrap().into_iter().map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
            prop_assert_eq!(read, pairs);
        }
    }
}
