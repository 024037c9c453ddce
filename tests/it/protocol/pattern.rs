//! What an example shows and what came, compared: exactly, but for words in angle brackets that stand for what varies.

use std::collections::BTreeMap;

/// What the words in angle brackets stand for, as far as it has been seen.
#[derive(Default)]
pub(super) struct Meanings(BTreeMap<String, String>);

/// A piece of a pattern.
enum Piece<'p> {
    Text(&'p str),
    Word(&'p str),
}

/// Whether a word stands for the same in all of an example, and which letters may be in it.
fn class(word: &str) -> Option<(bool, &'static str)> {
    match word {
        // Of two channels in one example.
        "epoch" | "other" => Some((true, "0123456789abcdef")),
        "who" => Some((true, "0123456789abcdefms.")),
        "sid" | "another" | "session" => Some((true, "0123456789abcdef.")),
        "id" => Some((false, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")),
        "length" => Some((false, "0123456789")),
        _ => None,
    }
}

fn pieces(pattern: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut text = 0;
    for (at, _) in pattern.match_indices('<') {
        let Some(end) = pattern[at..].find('>') else { break };
        let word = &pattern[at + 1..at + end];
        if class(word).is_some() {
            pieces.extend([Piece::Text(&pattern[text..at]), Piece::Word(word)]);
            text = at + end + 1;
        }
    }
    pieces.push(Piece::Text(&pattern[text..]));
    pieces
}

impl Meanings {
    /// Whether `actual` is what `pattern` shows. Learns what its words stand for.
    pub(super) fn fits(&mut self, pattern: &str, actual: &str) -> bool {
        let mut rest = actual;
        for piece in pieces(pattern) {
            let taken = match piece {
                Piece::Text(text) => rest.strip_prefix(text),
                Piece::Word(word) => {
                    let (lasting, letters) = class(word).expect("a known word");
                    let value = &rest[..rest.find(|letter| !letters.contains(letter)).unwrap_or(rest.len())];
                    let known = self.0.get(word).filter(|_| lasting);
                    match known {
                        Some(known) if known != value => return false,
                        _ if value.is_empty() => return false,
                        _ => self.0.insert(word.to_owned(), value.to_owned()),
                    };
                    rest.get(value.len()..)
                }
            };
            match taken {
                Some(taken) => rest = taken,
                None => return false,
            }
        }
        rest.is_empty()
    }

    /// The text with what its words stand for; an error if that has not been seen yet.
    pub(super) fn fill(&self, pattern: &str) -> Result<String, String> {
        let mut text = String::new();
        for piece in pieces(pattern) {
            text.push_str(match piece {
                Piece::Text(text) => text,
                Piece::Word(word) => self.0.get(word).ok_or_else(|| format!("<{word}> was not seen before"))?,
            });
        }
        Ok(text)
    }
}

#[test]
fn words_stand_for_what_varies_and_for_nothing_else() {
    let mut meanings = Meanings::default();
    assert!(meanings.fill("since=<epoch>-1").is_err());
    assert!(meanings.fits(r#"{"at":"<epoch>-1"}<br>"#, r#"{"at":"e1f-1"}<br>"#));
    assert!(!meanings.fits("<epoch>-1", "e1e-1"), "another epoch");
    assert!(meanings.fits("<epoch>-2, <epoch>-3", "e1f-2, e1f-3"));
    assert!(meanings.fits("<length> <length>", "12 345"), "lengths are not all the same");
    for (pattern, actual) in [("<epoch>-1", "-1"), ("<epoch>-1", "e1f-12"), ("a", "ab"), ("ab", "a"), ("<x>", "1")] {
        assert!(!meanings.fits(pattern, actual), "{pattern}");
    }
    assert_eq!(meanings.fill("since=<epoch>-1 <b>").as_deref(), Ok("since=e1f-1 <b>"));
}
